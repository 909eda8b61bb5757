//! Reads blocks of a run that follow each other in one go, for whoever walks through them.

use std::sync::Arc;

use super::piece::CHECKSUM_BYTES;
use super::run::{Block, Run};
use crate::error::Result;

/// Bytes that are read in one go, at the most, unless a block is larger.
const MOST_BYTES: u64 = 32 << 10;
/// Blocks that are read in one go, at the most: the more were walked through, the more are likely to follow.
const MOST_BLOCKS: usize = 8;

/// The blocks that a walk comes to.
#[derive(Default)]
pub struct ReadAhead {
    /// Blocks that were walked through one after the other.
    walked: usize,
    /// What was read from `place` on. Each block is checked when the walk comes to it.
    bytes: Arc<[u8]>,
    place: u64,
}

impl ReadAhead {
    /// The walk goes on elsewhere.
    pub fn begin_anew(&mut self) {
        self.walked = 0;
    }

    /// The next block of the walk.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn next(&mut self, run: &Run, number: usize) -> Result<Block> {
        self.walked += 1;
        if let Some(block) = self.block(run, number) {
            return block;
        }
        // Damage behind a block is said when the walk comes there.
        if self.walked > 1
            && self.read(run, number).is_ok()
            && let Some(block) = self.block(run, number)
        {
            return block;
        }
        // Whoever walks through blocks may walk through many, once: they must not push out others.
        run.block(number, false)
    }

    fn block(&self, run: &Run, number: usize) -> Option<Result<Block>> {
        let (place, length) = run.block_piece(number);
        let start = usize::try_from(place.checked_sub(self.place)?).ok()?;
        let end = start.checked_add(length + CHECKSUM_BYTES)?;
        (end <= self.bytes.len()).then(|| run.check(place, Block::unchecked_among(&self.bytes, start..end)))
    }

    /// Reads a block and some behind it.
    fn read(&mut self, run: &Run, number: usize) -> Result<()> {
        let end = |number: usize| {
            let (place, length) = run.block_piece(number);
            place + (length + CHECKSUM_BYTES) as u64
        };
        let (place, _) = run.block_piece(number);
        let behind = run.blocks().len().min(number + self.walked.min(MOST_BLOCKS));
        let fits = |last: &usize| end(*last).checked_sub(place).is_some_and(|bytes| bytes <= MOST_BYTES);
        let last = (number + 1..behind).rev().find(fits).unwrap_or(number);
        // What was read before is given back first.
        self.bytes = Arc::default();
        let bytes = usize::try_from(end(last).saturating_sub(place)).unwrap_or(0);
        (self.bytes, self.place) = (run.read_shared(place, bytes)?, place);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::index::meta::Meta;
    use crate::index::position::Position;
    use crate::index::testing::{Counted, file_of};
    use crate::storage::File;
    use std::sync::atomic::Ordering;

    const KEYS: u32 = 3000;

    /// A file of some dozen blocks.
    fn file() -> Arc<Counted> {
        let file = file_of(Meta { first: 1, last: 1, dense_from: 2, ..Meta::default() }, 1, &[], |writer| {
            for key in 0..KEYS {
                writer.add(&[&[1], key.to_be_bytes().as_slice()].concat(), &[7; 100]).expect("memory");
            }
        });
        Counted::new(file)
    }

    fn run_of(file: &Arc<Counted>) -> Run {
        let file = Arc::clone(file) as Arc<dyn File>;
        Run::open(file, "/index/one.run", &Arc::default(), true).expect("a whole file")
    }

    /// How many keys a walk from the first one on gives, and how it ends.
    fn walk(run: &Run) -> (u32, Result<bool>) {
        let mut place = Position::new(run);
        let mut here = place.seek(b"");
        let mut keys = 0_u32;
        while here == Ok(true) {
            assert_eq!(place.key()[1..], keys.to_be_bytes());
            keys += 1;
            here = place.advance();
        }
        (keys, here)
    }

    #[test]
    fn a_walk_reads_several_blocks_in_one_go() {
        let file = file();
        let run = run_of(&file);
        let blocks = u32::try_from(run.blocks().len()).expect("few");
        file.reads.store(0, Ordering::Relaxed);
        assert_eq!(walk(&run), (KEYS, Ok(false)));
        let reads = file.reads.load(Ordering::Relaxed);
        assert!(blocks > 60 && reads < blocks / 4, "{reads} reads of {blocks} blocks");
    }

    #[test]
    fn damage_is_said_where_a_walk_comes_to_it_and_not_before() {
        let file = file();
        let run = run_of(&file);
        for number in [3, 10, run.blocks().len() - 1] {
            let (place, _) = run.block_piece(number);
            let mut byte = [0];
            file.read_at(&mut byte, place + 5).expect("memory");
            file.write_at(&[byte[0] ^ 1], place + 5).expect("memory");
            let (keys, end) = walk(&run_of(&file));
            let error = end.expect_err("damage");
            assert_eq!((error.code(), error.offset()), (Code::Corrupt, Some(place)));
            assert!(keys as usize > number, "{keys} keys before block {number}");
            file.write_at(&byte, place + 5).expect("memory");
        }
        assert_eq!(walk(&run), (KEYS, Ok(false)));
    }
}
