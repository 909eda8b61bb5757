//! The pieces of a run file: read from the disk and checked, or found in the cache.

use std::ops::Range;
use std::sync::Arc;

use super::Run;
use crate::error::{Error, Result};
use crate::index::piece::{self, CHECKSUM_BYTES, Piece};

/// A block of a run file, shared with the cache or with others that were read with it. Its checksum lies behind
/// it; `check` looks whether it is right.
#[derive(Default)]
pub struct Block {
    shared: Arc<[u8]>,
    /// Where it lies there, less its checksum.
    part: Range<usize>,
}

impl Block {
    /// Of bytes with a checksum behind them.
    pub(in crate::index) fn unchecked(bytes: Arc<[u8]>) -> Self {
        let part = 0..bytes.len().saturating_sub(CHECKSUM_BYTES);
        Block { shared: bytes, part }
    }

    /// Of some among other bytes, with a checksum behind them.
    pub(in crate::index) fn unchecked_among(bytes: &Arc<[u8]>, Range { start, end }: Range<usize>) -> Self {
        Block { shared: Arc::clone(bytes), part: start..end.saturating_sub(CHECKSUM_BYTES) }
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.shared.get(self.part.clone()).unwrap_or_default()
    }
}

impl Run {
    /// Reads bytes that may have to wait for the disk.
    pub(super) fn read(&self, place: u64, bytes: &mut [u8]) -> Result<()> {
        let damaged = |what: String| Error::corrupt(self.path.as_str(), place, what);
        match self.file.read_at(bytes, place) {
            Ok(read) if read == bytes.len() => Ok(()),
            Ok(_) => Err(damaged("the index file ends too early".to_owned())),
            Err(error) => Err(damaged(format!("the index file cannot be read: {error}"))),
        }
    }

    /// Reads what may be too much to have in memory twice.
    pub(super) fn read_in_pieces(&self, from: u64, to: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut piece = [0; 8 << 10];
        let mut place = from;
        while place < to {
            let length = usize::try_from(to - place).map_or(piece.len(), |left| left.min(piece.len()));
            self.read(place, &mut piece[..length])?;
            each(&piece[..length]);
            place += length as u64;
        }
        Ok(())
    }

    /// Reads bytes that may be shared.
    pub(in crate::index) fn read_shared(&self, place: u64, length: usize) -> Result<Arc<[u8]>> {
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
        self.read(place, Arc::get_mut(&mut bytes).unwrap_or_default())?;
        Ok(bytes)
    }

    /// Reads a piece of the file over what `bytes` held, and checks it.
    pub(in crate::index) fn read_piece_over(
        &self,
        (place, length): Piece,
        bytes: &mut Vec<u8>,
    ) -> Result<()> {
        bytes.resize(length + CHECKSUM_BYTES, 0);
        self.read(place, bytes)?;
        piece::checked(bytes).ok_or_else(|| self.fails_checksum(place))?;
        bytes.truncate(length);
        Ok(())
    }

    /// A block from the file, checked.
    pub(super) fn read_block(&self, (place, length): Piece) -> Result<Block> {
        self.check(place, Block::unchecked(self.read_shared(place, length + CHECKSUM_BYTES)?))
    }

    /// A block that was read at a place, if its checksum is right.
    pub(in crate::index) fn check(&self, place: u64, block: Block) -> Result<Block> {
        let Range { start, end } = block.part;
        let bytes = block.shared.get(start..end + CHECKSUM_BYTES).unwrap_or_default();
        piece::checked(bytes).ok_or_else(|| self.fails_checksum(place))?;
        Ok(block)
    }

    fn fails_checksum(&self, place: u64) -> Error {
        Error::corrupt(self.path.as_str(), place, "a block of the index fails its checksum")
    }

    /// A block, from the cache if it is there. `keep`: it is likely to be asked for again.
    pub(in crate::index) fn block(&self, number: usize, keep: bool) -> Result<Block> {
        self.piece(self.block_piece(number), keep)
    }

    /// Where a block lies, and how long it is without its checksum.
    pub(in crate::index) fn block_piece(&self, number: usize) -> Piece {
        let (_, place, length) = self.index.blocks[number];
        (place, length as usize)
    }

    /// A piece with a checksum behind it, from the cache if it is there. `keep`: it is likely to be asked
    /// for again.
    pub(in crate::index) fn piece(&self, piece: Piece, keep: bool) -> Result<Block> {
        let place = piece.0;
        if let Some(block) = self.cache.find(self.number, place) {
            return Ok(Block::unchecked(block));
        }
        let block = self.read_block(piece)?;
        if keep {
            self.cache.keep(self.number, place, &block.shared);
        }
        Ok(block)
    }
}
