//! The files of this host; and reads of them that do not wait for a disk.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::{ReadWriteFlags, preadv2};

use super::{File, Open, Storage};

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
}
