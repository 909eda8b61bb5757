//! The one door to files. Log, runs and manifest go through [`Storage`] and [`File`], so that a
//! test can put a twin behind them that fails, tears or forgets any single call.
//!
//! `disk` is this host's file system; `whole` reads and writes small files at once; `explained` says what to do
//! about an error; `folder` is the data folder and its lock.

mod disk;
mod explained;
pub mod folder;
mod whole;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use disk::{Disk, without_waiting};
pub use explained::{explained, of_path};
pub use whole::{LIST_BYTES_MAX, path_of_copy, read_list, read_whole, replace, temporary_name, with_suffix};

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

#[cfg(test)]
pub mod failing;
/// Files in memory, for tests.
#[cfg(test)]
#[path = "../tests/support_in_process/memory.rs"]
pub mod memory;
