//! The data folder: one process at a time has it, and has it only where it was.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::{File, Open, Storage, of_path};

/// The lock of a data folder, held as long as this is.
pub struct Lock {
    folder: fs::File,
    _file: Option<fs::File>,
}

impl Lock {
    /// Takes it. The folder itself is locked, and a file in it, since not every file system locks folders.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it, or looks at the folder.
    pub fn take(data: &Path) -> io::Result<Self> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Lock::with(data, &options, fs::File::try_lock)
    }

    /// Takes it to look at the folder, as others may, too. The file is not made.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it for itself.
    pub fn look(data: &Path) -> io::Result<Self> {
        let mut options = fs::OpenOptions::new();
        // A pipe would be waited for.
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        Lock::with(data, &options, fs::File::try_lock_shared)
    }

    fn with(
        data: &Path,
        file: &fs::OpenOptions,
        lock: impl Fn(&fs::File) -> Result<(), fs::TryLockError>,
    ) -> io::Result<Self> {
        let folder = fs::File::open(data).map_err(|error| of_path(data, &error))?;
        if matches!(lock(&folder), Err(fs::TryLockError::WouldBlock)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let path = data.join("lock");
        let file = match file.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => Some(file.map_err(|error| of_path(&path, &error))?),
        };
        // One that is only read can be opened.
        if file.as_ref().is_some_and(|file| file.metadata().is_ok_and(|about| about.is_dir())) {
            return Err(of_path(&path, &io::ErrorKind::IsADirectory.into()));
        }
        match file.as_ref().map_or(Ok(()), lock) {
            Err(fs::TryLockError::Error(error)) => return Err(of_path(&path, &error)),
            locked => locked?,
        }
        Ok(Lock { folder, _file: file })
    }

    /// The door to its files at `data`, as long as it is there; once it is not, calls fail with
    /// `StaleNetworkFileHandle`, as those of a file server do.
    ///
    /// # Errors
    /// What the system says.
    pub fn storage(&self, data: &Path, inner: Arc<dyn Storage>) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(InPlace { inner, data: data.to_owned(), folder: self.folder.try_clone()? }))
    }
}

/// What became of a file or folder that is still open, and what to do about it. Not every file system tells one that
/// was removed from one that was moved.
pub const GONE: &str = "was removed, moved or replaced beneath this daemon: if it was moved, stop the daemon and put \
                        it back; else what it held is lost when the daemon ends: before that, `msglog log backup \
                        DIR` copies all to a new folder";

/// A data folder that may be moved away while a daemon has it, and another be made in its place. What is open
/// already is still its own; by their paths it would have the other's files, and remove them.
struct InPlace {
    inner: Arc<dyn Storage>,
    data: PathBuf,
    folder: fs::File,
}

impl InPlace {
    /// What is at a path, if that is in the folder, only while the folder is in its place.
    fn at(&self, path: &Path) -> io::Result<&dyn Storage> {
        if path.starts_with(&self.data) {
            let there = match fs::metadata(&self.data) {
                Ok(about) => Some((about.dev(), about.ino())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let ours = self.folder.metadata()?;
            if there != Some((ours.dev(), ours.ino())) {
                let what = format!("the data folder {} {GONE}", self.data.display());
                return Err(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, what));
            }
        }
        Ok(self.inner.as_ref())
    }
}

impl Storage for InPlace {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        self.at(path)?.open(path, how)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.at(folder)?.list(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.at(folder)?.create_folder(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(to)?.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.at(path)?.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.at(folder)?.sync_folder(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Disk;

    #[test]
    fn a_folder_that_is_locked_stays_so_without_its_file_and_is_not_taken_for_another_in_its_place() {
        let root = std::env::temp_dir().join(format!("msglogd-lock-{}", std::process::id()));
        let (data, away) = (root.join("data"), root.join("away"));
        fs::create_dir_all(&data).expect("a folder");
        let lock = Lock::take(&data).expect("nobody has it");
        let storage = lock.storage(&data, Arc::new(Disk)).expect("it is there");
        let is_taken = || Lock::take(&data).err().map(|error| error.kind());
        assert_eq!(is_taken(), Some(io::ErrorKind::WouldBlock));
        fs::remove_file(data.join("lock")).expect("a file");
        assert_eq!(is_taken(), Some(io::ErrorKind::WouldBlock));
        let looks = Lock::look(&data).err().map(|error| error.kind());
        assert_eq!(looks, Some(io::ErrorKind::WouldBlock));
        storage.open(&data.join("a"), Open::Create).expect("it is in its place");

        fs::rename(&data, &away).expect("a folder");
        fs::create_dir(&data).expect("a folder");
        fs::write(data.join("b"), "another's").expect("a file");
        let refused = storage.remove(&data.join("b")).expect_err("it is another's");
        assert!(refused.to_string().contains("moved or replaced"), "{refused}");
        assert!(storage.open(&data.join("c"), Open::Create).is_err() && storage.list(&data).is_err());
        storage.open(&root.join("elsewhere"), Open::Create).expect("no part of it");
        fs::remove_dir_all(root).expect("a folder");
    }
}
