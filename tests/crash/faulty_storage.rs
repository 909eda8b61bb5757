//! The twin of the disk: a file system in memory that fails any call on demand, and tells of every
//! call, so that a test can take the power away right after it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use msglogd::storage::{File, Open, Storage};

use super::image::{Content, FileId, Folder, Image};
use super::random::Random;

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Open,
    Create,
    Read,
    Length,
    List,
    Write,
    SetLength,
    Sync,
    CreateFolder,
    Rename,
    Remove,
    SyncFolder,
}

impl Call {
    /// Whether it can change what a crash leaves.
    pub fn changes(self) -> bool {
        !matches!(self, Call::Open | Call::Read | Call::Length | Call::List)
    }
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done: EIO.
    Broken,
    /// Nothing is done: ENOSPC.
    Full,
    /// Half of a write is done, then EIO. Other calls do nothing.
    Half,
    /// All of a write but its last byte is done, then ENOSPC. Other calls do nothing.
    AllButOne,
    /// Nothing is done: EINTR.
    Interrupted,
}

impl Fault {
    /// Every way to fail.
    pub const ALL: [Fault; 5] =
        [Fault::Broken, Fault::Full, Fault::Half, Fault::AllButOne, Fault::Interrupted];

    fn error(self) -> io::Error {
        /// The numbers of EINTR, EIO and ENOSPC.
        const EINTR: i32 = 4;
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        io::Error::from_raw_os_error(match self {
            Fault::Broken | Fault::Half => EIO,
            Fault::Full | Fault::AllButOne => ENOSPC,
            Fault::Interrupted => EINTR,
        })
    }

    /// How many of a write's bytes are written.
    fn written(self, length: usize) -> usize {
        match self {
            Fault::Broken | Fault::Full | Fault::Interrupted => 0,
            Fault::Half => length / 2,
            Fault::AllButOne => length.saturating_sub(1),
        }
    }
}

type Decide = Box<dyn FnMut(Call, &Path) -> Option<Fault> + Send>;
type Watch = Box<dyn FnMut(&Image, Call, &Path) + Send>;

struct World {
    image: Image,
    /// Bytes that all files may hold together.
    capacity: usize,
    random: Random,
    fault: Option<Decide>,
    /// Whether a test reads for itself: such calls count for nothing.
    quiet: bool,
}

/// The twin. Clones share one file system.
#[derive(Clone)]
pub struct FaultyStorage {
    world: Arc<Mutex<World>>,
    watch: Arc<Mutex<Option<Watch>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

/// The folder of a path, and the name in it.
fn split(path: &Path) -> (PathBuf, String) {
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    (folder, path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

impl FaultyStorage {
    /// A file system that holds this.
    pub fn new(image: Image) -> Self {
        let world = World { image, capacity: usize::MAX, random: Random::new(1), fault: None, quiet: false };
        FaultyStorage { world: Arc::new(Mutex::new(world)), watch: Arc::default() }
    }

    /// As the trait object that the daemon takes.
    pub fn shared(&self) -> Arc<dyn Storage> {
        Arc::new(self.clone())
    }

    /// What it holds now.
    pub fn image(&self) -> Image {
        lock(&self.world).image.clone()
    }

    /// Lets `decide` say of every call from now on whether it fails.
    pub fn fail(&self, decide: impl FnMut(Call, &Path) -> Option<Fault> + Send + 'static) {
        lock(&self.world).fault = Some(Box::new(decide));
    }

    /// Lets all files hold only so many bytes together.
    pub fn set_capacity(&self, bytes: usize) {
        lock(&self.world).capacity = bytes;
    }

    /// Tells `watch` of every call right after it. The watcher may panic, as if the power went away.
    pub fn watch(&self, watch: impl FnMut(&Image, Call, &Path) + Send + 'static) {
        *lock(&self.watch) = Some(Box::new(watch));
    }

    /// Reads for the test itself: no such call fails or is told of.
    pub fn quietly<T>(&self, read: impl FnOnce() -> T) -> T {
        lock(&self.world).quiet = true;
        let done = read();
        lock(&self.world).quiet = false;
        done
    }

    fn call<T>(
        &self,
        call: Call,
        path: &Path,
        act: impl FnOnce(&mut World, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut world = lock(&self.world);
        if world.quiet {
            return act(&mut world, None);
        }
        let fault = world.fault.as_mut().and_then(|decide| decide(call, path));
        let done = act(&mut world, fault);
        if let Some(watch) = &mut *lock(&self.watch) {
            watch(&world.image, call, path);
        }
        done
    }

    /// A call that does nothing when it fails.
    fn simple<T>(
        &self,
        call: Call,
        path: &Path,
        act: impl FnOnce(&mut Image) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call(call, path, |world, fault| match fault {
            Some(fault) => Err(fault.error()),
            None => act(&mut world.image),
        })
    }

    fn file(&self, file: FileId, path: &Path) -> Arc<dyn File> {
        Arc::new(FaultyFile { storage: self.clone(), file, path: path.to_owned() })
    }
}

impl Storage for FaultyStorage {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let (folder, name) = split(path);
        let call = if how == Open::Create { Call::Create } else { Call::Open };
        let file = self.simple(call, path, |image| {
            let names = image.folders.get(&folder).ok_or_else(|| missing(path))?.names();
            match (names.get(&name).copied(), how) {
                (Some(file), Open::Create) => {
                    let moment = image.tick();
                    image.files[file].set_length(moment, 0);
                    Ok(file)
                }
                (Some(file), _) => Ok(file),
                (None, Open::Create) => {
                    let moment = image.tick();
                    image.files.push(Content::default());
                    let file = image.files.len() - 1;
                    image.folders.entry(folder).or_default().add(moment, &name, file);
                    Ok(file)
                }
                (None, _) => Err(missing(path)),
            }
        })?;
        Ok(self.file(file, path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.simple(Call::List, folder, |image| {
            let found = image.folders.get(folder).ok_or_else(|| missing(folder))?;
            Ok(found.names().keys().cloned().collect())
        })
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.simple(Call::CreateFolder, folder, |image| {
            let moment = image.tick();
            image.folders.entry(folder.to_owned()).or_insert_with(|| Folder::made(moment));
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((folder, from_name), (other, to_name)) = (split(from), split(to));
        assert_eq!(folder, other, "files are renamed within their folder");
        self.simple(Call::Rename, to, |image| {
            let moment = image.tick();
            let found = image.folders.get_mut(&folder).ok_or_else(|| missing(from))?;
            let file = *found.names().get(&from_name).ok_or_else(|| missing(from))?;
            found.rename(moment, &from_name, &to_name, file);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (folder, name) = split(path);
        self.simple(Call::Remove, path, |image| {
            let moment = image.tick();
            let found = image.folders.get_mut(&folder).ok_or_else(|| missing(path))?;
            found.names().get(&name).ok_or_else(|| missing(path))?;
            found.remove(moment, &name);
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.simple(Call::SyncFolder, folder, |image| {
            image.folders.get_mut(folder).ok_or_else(|| missing(folder))?.sync();
            for (path, inside) in &mut image.folders {
                if path.parent() == Some(folder) {
                    inside.is_known();
                }
            }
            Ok(())
        })
    }
}

struct FaultyFile {
    storage: FaultyStorage,
    file: FileId,
    path: PathBuf,
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("the twin's files are small")
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.storage.simple(Call::Read, &self.path, |image| {
            let rest = image.files[self.file].bytes().get(place(offset)..).unwrap_or_default();
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.storage.call(Call::Write, &self.path, |world, fault| {
            let moment = world.image.tick();
            let growth =
                (place(offset) + bytes.len()).saturating_sub(world.image.files[self.file].bytes().len());
            let lacking = (world.image.used() + growth).saturating_sub(world.capacity).min(growth);
            let (count, failed) = match fault {
                Some(fault) => (fault.written(bytes.len()), Some(fault)),
                None if lacking > 0 => (bytes.len() - lacking.min(bytes.len()), Some(Fault::Full)),
                None => (bytes.len(), None),
            };
            if count > 0 {
                world.image.files[self.file].write(moment, place(offset), &bytes[..count]);
            }
            failed.map_or(Ok(()), |fault| Err(fault.error()))
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.storage.call(Call::Sync, &self.path, |world, fault| {
            let World { image, random, .. } = world;
            match fault {
                Some(fault) => {
                    image.files[self.file].fail_sync(random);
                    Err(fault.error())
                }
                None => {
                    image.files[self.file].sync();
                    Ok(())
                }
            }
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.storage.simple(Call::Length, &self.path, |image| Ok(image.files[self.file].bytes().len() as u64))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.storage.simple(Call::SetLength, &self.path, |image| {
            let moment = image.tick();
            image.files[self.file].set_length(moment, place(length));
            Ok(())
        })
    }
}
