//! For unit tests: a file system of which calls fail when a test says so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::memory::Memory;
use super::{File, Open, Storage};

/// A call that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call<'c> {
    /// To open a file.
    Open,
    /// To read a file.
    Read,
    /// To write these bytes. One that fails has written half of them.
    Write(&'c [u8]),
    /// To sync a file.
    Sync,
    /// To cut a file, or make it longer.
    SetLength,
    /// To give a file another name.
    Rename,
    /// To remove a file.
    Remove,
    /// To sync a folder.
    SyncFolder,
}

type Hook = dyn Fn(Call<'_>, &Path) -> io::Result<()> + Send + Sync;

/// Asks before each call whether it fails.
pub struct Failing {
    inner: Arc<dyn Storage>,
    hook: Arc<Hook>,
}

impl Failing {
    /// Over another file system. The hook is told the call, and the path of its file or folder.
    pub fn over(
        inner: Arc<dyn Storage>,
        hook: impl Fn(Call<'_>, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Arc<dyn Storage> {
        Arc::new(Failing { inner, hook: Arc::new(hook) })
    }

    /// Over one in memory.
    pub fn in_memory(
        hook: impl Fn(Call<'_>, &Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Arc<dyn Storage> {
        Failing::over(Arc::new(Memory::default()), hook)
    }
}

/// Fails while this is set.
pub fn fail_if(fault: &AtomicBool) -> io::Result<()> {
    if fault.load(Ordering::SeqCst) { Err(io::Error::other("the disk is bad")) } else { Ok(()) }
}

struct FailingFile {
    inner: Arc<dyn File>,
    path: PathBuf,
    hook: Arc<Hook>,
}

impl File for FailingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        (self.hook)(Call::Read, &self.path).and_then(|()| self.inner.read_at(buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = (self.hook)(Call::Write(bytes), &self.path) {
            self.inner.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.inner.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        (self.hook)(Call::Sync, &self.path).and_then(|()| self.inner.sync())
    }

    fn length(&self) -> io::Result<u64> {
        self.inner.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        (self.hook)(Call::SetLength, &self.path).and_then(|()| self.inner.set_length(length))
    }
}

impl Storage for Failing {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        (self.hook)(Call::Open, path)?;
        let (inner, hook) = (self.inner.open(path, how)?, Arc::clone(&self.hook));
        Ok(Arc::new(FailingFile { inner, path: path.to_owned(), hook }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.inner.list(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.inner.create_folder(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.hook)(Call::Rename, from).and_then(|()| self.inner.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.hook)(Call::Remove, path).and_then(|()| self.inner.remove(path))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        (self.hook)(Call::SyncFolder, folder).and_then(|()| self.inner.sync_folder(folder))
    }
}
