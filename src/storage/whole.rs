//! Whole files, read or put in place at once, and the names that they have meanwhile.

use std::io;
use std::path::{Path, PathBuf};

use super::{Open, Storage};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;

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
