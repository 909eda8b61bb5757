//! A file system in memory: nothing to sync, nothing to clean up.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use msglogd::storage::{File, Open, Storage};

/// The files by path. Whoever has a file open keeps it, whatever becomes of its name.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<PathBuf, Arc<Bytes>>>);

/// One file.
#[derive(Default)]
pub struct Bytes(Mutex<Vec<u8>>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("a file that fits in memory")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl File for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = locked(&self.0);
        let rest = bytes.get(place(offset)..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, new: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = locked(&self.0);
        let end = place(offset) + new.len();
        let length = bytes.len().max(end);
        bytes.resize(length, 0);
        bytes[end - new.len()..end].copy_from_slice(new);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(locked(&self.0).len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        locked(&self.0).resize(place(length), 0);
        Ok(())
    }
}

impl Storage for Memory {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut files = locked(&self.0);
        if how == Open::Create {
            files.insert(path.to_owned(), Arc::new(Bytes::default()));
        }
        let file = files.get(path).ok_or_else(missing)?;
        Ok(Arc::clone(file) as Arc<dyn File>)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let files = locked(&self.0);
        let inside = files.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = locked(&self.0);
        let file = files.remove(from).ok_or_else(missing)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        locked(&self.0).remove(path).map(|_| ()).ok_or_else(missing)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
