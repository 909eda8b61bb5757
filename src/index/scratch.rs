//! A scratch file: what a run that is being made needs only until it is whole, and memory has no room for.
//!
//! It has no name: it is removed as soon as it is open, and its room is given back when it is closed, however that
//! comes about.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::piece::{self, CHECKSUM_BYTES};
use crate::storage::{File, Open, Storage};

/// Bytes of a piece, each with a checksum of its own: what is read at once.
const PIECE_BYTES: usize = 16 << 10;

/// A scratch file, made when something is first put there.
pub struct Scratch {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    file: Option<Arc<dyn File>>,
    length: u64,
}

impl Scratch {
    /// One that has a name, for a moment, at `path`.
    #[must_use]
    pub fn at(storage: Arc<dyn Storage>, path: PathBuf) -> Self {
        Scratch { storage, path, file: None, length: 0 }
    }

    /// Puts bytes there. Answers where they lie.
    ///
    /// # Errors
    /// What the system says.
    pub fn put(&mut self, bytes: &[u8]) -> io::Result<Range<u64>> {
        let file = if let Some(file) = &self.file {
            file
        } else {
            let file = self.storage.open(&self.path, Open::Create)?;
            self.storage.remove(&self.path)?;
            self.file.insert(file)
        };
        let mut pieces = Vec::with_capacity(bytes.len() + CHECKSUM_BYTES * bytes.len().div_ceil(PIECE_BYTES));
        bytes.chunks(PIECE_BYTES).for_each(|bytes| piece::write(bytes, &mut pieces));
        file.write_at(&pieces, self.length)?;
        let start = self.length;
        self.length += pieces.len() as u64;
        Ok(start..self.length)
    }

    /// Reads the next piece of what lies in `place`, and takes it off there. The bytes are appended to `out`.
    ///
    /// # Errors
    /// What the system says, and when they are not those that were put there.
    pub fn take_piece(&self, place: &mut Range<u64>, out: &mut Vec<u8>) -> io::Result<()> {
        let left = usize::try_from(place.end - place.start).unwrap_or(usize::MAX);
        let (start, length) = (out.len(), left.min(PIECE_BYTES + CHECKSUM_BYTES));
        out.resize(start + length, 0);
        let read = self.file.as_ref().map_or(Ok(0), |file| file.read_at(&mut out[start..], place.start))?;
        if read != length || piece::checked(&out[start..]).is_none() {
            return Err(io::Error::other("a scratch file fails its checksum"));
        }
        out.truncate(start + length - CHECKSUM_BYTES);
        place.start += length as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;
    use std::path::Path;

    fn scratch() -> (Arc<Memory>, Scratch) {
        let storage = Arc::new(Memory::default());
        storage.create_folder(Path::new("/index")).expect("memory");
        (Arc::clone(&storage), Scratch::at(storage, "/index/1.run.grams.tmp".into()))
    }

    fn taken(scratch: &Scratch, mut place: Range<u64>) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while !place.is_empty() {
            scratch.take_piece(&mut place, &mut out)?;
        }
        Ok(out)
    }

    #[test]
    fn what_was_put_there_is_read_back_and_no_file_has_a_name() {
        let (storage, mut scratch) = scratch();
        let lengths = [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES + 7];
        let bytes = |length: usize| -> Vec<u8> { (0..length).map(|byte| (byte % 251) as u8).collect() };
        let places: Vec<Range<u64>> =
            lengths.iter().map(|length| scratch.put(&bytes(*length)).expect("memory")).collect();
        for (place, length) in places.into_iter().zip(lengths) {
            assert_eq!(taken(&scratch, place).expect("memory"), bytes(length), "{length}");
        }
        assert_eq!(storage.list(Path::new("/index")).expect("memory"), Vec::<String>::new());
    }

    #[test]
    fn a_flipped_bit_is_an_error() {
        let (_, mut scratch) = scratch();
        let place = scratch.put(&[7; 100]).expect("memory");
        scratch.file.as_ref().expect("it is open").write_at(&[6], 50).expect("memory");
        assert!(taken(&scratch, place).is_err());
    }
}
