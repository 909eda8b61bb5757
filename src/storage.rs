//! The one door to files. Log, runs and manifest go through [`Storage`] and [`File`], so that a
//! test can put a twin behind them that fails, tears or forgets any single call.

pub mod folder;

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::paths::own_uid;

/// One open file. Reads and writes name their place, so that readers share it with the writer.
pub trait File: Send + Sync {
    /// Reads at `offset` until `buffer` is full or the file ends; answers how many bytes it read.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system says; some of the bytes may be there.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Puts all that was written on disk (fdatasync).
    ///
    /// # Errors
    /// What the system says; what was written since the last sync may be there or not.
    fn sync(&self) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file, or makes it longer with zero bytes.
    ///
    /// # Errors
    /// What the system says.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Whether it has a name still: one that was removed is lost when it is closed.
    fn has_name(&self) -> bool {
        true
    }
}

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// It must be there, and is only read.
    Read,
    /// It must be there.
    Write,
    /// It is made anew, whatever was there.
    Create,
}

/// A file system, as far as this daemon needs one.
pub trait Storage: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// What the system says; when it is no regular file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;

    /// The names in a folder, sorted.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Makes a folder (mode 0700) unless it is there.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Gives a file another name, in one step; what had that name is gone.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Puts a folder's entries on disk: a file that was made or renamed is sure only after this.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// Longest list of files that there is: each file of it is open at a time, and takes some 30 bytes.
pub const LIST_BYTES_MAX: u64 = 64 << 20;

/// Reads a whole file.
///
/// # Errors
/// What the system says; `OutOfMemory` when there is no memory for so much.
pub fn read_whole(storage: &dyn Storage, path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(storage, path, u64::MAX)
}

/// Reads a list of files.
///
/// # Errors
/// What the system says; `InvalidData` when it is longer than any list.
pub fn read_list(storage: &dyn Storage, path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(storage, path, LIST_BYTES_MAX)
}

fn read_at_most(storage: &dyn Storage, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = storage.open(path, Open::Read)?;
    let length = file.length()?;
    if length > most {
        let what = format!("it has {length} bytes, and no such file has more than {most}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    // What a damaged folder says of a file must not end the process.
    bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.resize(length, 0);
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// What the system says of a file, and what to do about it: where this process may not have it, where a folder is in
/// its place, and where no more files may be open.
#[must_use]
pub fn explained(path: &Path, error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) {
        return format!("{error}; allow more of them (LimitNOFILE= of the service, or ulimit -n)");
    }
    match error.kind() {
        io::ErrorKind::IsADirectory => {
            format!("{error}; a file has its place there: move the folder away")
        }
        io::ErrorKind::PermissionDenied => closed(path, error),
        _ => error.to_string(),
    }
}

/// Whose a file is that this process may not have; or whose the folder above it is, where that is closed.
fn closed(path: &Path, error: &io::Error) -> String {
    let about = |path: &Path| fs::symlink_metadata(path).ok();
    let found = path.ancestors().find_map(|above| Some((above, about(above)?)));
    let Some((found, about)) = found else { return error.to_string() };
    let it = if found == path { "it".to_owned() } else { found.display().to_string() };
    let (owner, own, mode) = (about.uid(), own_uid(), about.mode() & 0o7777);
    if owner == own {
        return format!(
            "{error}; {it} belongs to this user, and has mode {mode:03o}: change that, or the mode of the folder that \
             it is in, with chmod"
        );
    }
    format!(
        "{error}; {it} belongs to user {owner} (mode {mode:03o}), and this is user {own}: run this as user {owner}, or \
         change the owner with chown"
    )
}

/// An error that says of which file or folder it is, and what to do about it.
#[must_use]
pub fn of_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {}", path.display(), explained(path, error)))
}

/// Where a copy of these bytes goes: `path`, or that with a number behind it where another copy has the name. The
/// same copy has the same name again.
///
/// # Errors
/// What the system says.
pub fn path_of_copy(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut number = 1;
    let mut free = path.to_owned();
    loop {
        let is_free = match storage.open(&free, Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            file => file?.length()? == bytes.len() as u64 && read_whole(storage, &free)? == bytes,
        };
        if is_free {
            return Ok(free);
        }
        number += 1;
        free = with_suffix(path, &format!(".{number}"));
    }
}

/// Puts a small file in place in one durable step: a temporary file, synced, renamed, and the
/// folder synced, in that order.
///
/// # Errors
/// What the system says; then the old file is still there, or, if only the folder's sync failed, nobody knows which.
pub fn replace(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(path);
    let write = || {
        let file = storage.open(&temporary, Open::Create)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        storage.rename(&temporary, path)
    };
    write().inspect_err(|_| drop(storage.remove(&temporary)))?;
    storage.sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// The name a file has until it is whole.
#[must_use]
pub fn temporary_name(path: &Path) -> PathBuf {
    with_suffix(path, ".tmp")
}

/// A path with more at its end.
#[must_use]
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// How the reads of a thread are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Each waits for the disk when it must.
    Wait,
    /// One that would have to wait fails instead.
    FromMemory,
    /// One has failed for that.
    Failed,
}

thread_local! {
    static READS: Cell<Reads> = const { Cell::new(Reads::Wait) };
}

/// Does work whose reads of files must not wait for a disk. `None` when one would have had to: then
/// what came of the work says nothing.
pub fn without_waiting<T>(work: impl FnOnce() -> T) -> Option<T> {
    READS.set(Reads::FromMemory);
    let done = work();
    (READS.replace(Reads::Wait) == Reads::FromMemory).then_some(done)
}

/// Reads what the page cache holds. Less than the whole is taken for something that a disk would have
/// to bring, be it the file's end.
fn read_from_memory(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let length = buffer.len();
    match preadv2(file, &mut [io::IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT) {
        Ok(count) if count == length => Ok(count),
        _ => {
            READS.set(Reads::Failed);
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
}

/// The files of this host. New ones have mode 0600.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        if READS.get() != Reads::Wait {
            return read_from_memory(self, buffer, offset);
        }
        let mut done = 0;
        while done < buffer.len() {
            match FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn has_name(&self) -> bool {
        self.metadata().map_or(true, |about| about.nlink() > 0)
    }
}

impl Storage for Disk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        // A pipe would be waited for, and a device never ends.
        options.read(true).mode(0o600).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        match how {
            Open::Read => {}
            Open::Write => {
                options.write(true);
            }
            Open::Create => {
                options.write(true).create(true).truncate(true);
            }
        }
        let file = options.open(path)?;
        match file.metadata()? {
            about if about.is_file() => Ok(Arc::new(file)),
            about if about.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "this is no regular file")),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use memory::Memory;

    #[test]
    fn an_error_says_whose_a_file_is_or_that_more_may_be_open() {
        let said = |error: io::Error| explained(Path::new("/"), &error);
        let own = std::env::current_exe().expect("this test");
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        let said_of_own = explained(&own, &refused());
        assert!(said_of_own.contains("chmod") && !said_of_own.contains("this is user"), "{said_of_own}");
        let said_of_missing = explained(&own.join("file/in/it"), &refused());
        assert!(
            said_of_missing.contains(&format!("{} belongs to this user", own.display())),
            "{said_of_missing}"
        );
        assert!(said(io::ErrorKind::IsADirectory.into()).contains("move the folder away"));
        assert!(said(Errno::MFILE.into()).contains("LimitNOFILE="));
        assert_eq!(said(io::Error::other("it is gone")), "it is gone");
    }

    #[test]
    fn what_is_no_regular_file_is_neither_waited_for_nor_read() {
        let pipe = std::env::temp_dir().join(format!("msglogd-pipe-{}", std::process::id()));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        for (path, why) in [
            (pipe.as_path(), "this is no regular file"),
            (Path::new("/dev/zero"), "this is no regular file"),
            (Path::new("/"), "is a directory"),
        ] {
            let said = Disk.open(path, Open::Read).err().map(|error| error.to_string());
            assert_eq!(said.as_deref(), Some(why), "{}", path.display());
        }
        fs::remove_file(&pipe).expect("it is there");
    }

    #[test]
    fn a_copy_takes_the_place_of_no_other_and_its_own_again() {
        let storage = Memory::default();
        let path = Path::new("/log/1.log.40.torn");
        for (bytes, expected) in [
            ("one", "/log/1.log.40.torn"),
            ("two", "/log/1.log.40.torn.2"),
            ("three", "/log/1.log.40.torn.3"),
            ("two", "/log/1.log.40.torn.2"),
            ("one", "/log/1.log.40.torn"),
        ] {
            let copy = path_of_copy(&storage, path, bytes.as_bytes()).expect("memory");
            assert_eq!(copy, Path::new(expected), "{bytes}");
            replace(&storage, &copy, bytes.as_bytes()).expect("memory");
        }
    }
}

#[cfg(test)]
pub mod failing;
/// Files in memory, for tests.
#[cfg(test)]
#[path = "../tests/support_in_process/memory.rs"]
pub mod memory;
