//! Where the records of a run's events lie.

use super::{BLOCK_OFFSETS, Block, Run};
use crate::error::Result;
use crate::index::piece::{CHECKSUM_BYTES, Piece};
use crate::index::places;
use crate::index::run_writer::EachOffsets;

/// A record that seems to be as long as this is not read without a proof of that.
pub const UNPROVED_BYTES: u32 = 64 << 10;

impl Run {
    /// Where the record of `seq` lies in its segment, and the next one's if it is known. `None` when
    /// the run does not cover it, or it was compacted away.
    ///
    /// # Errors
    /// `corrupt` when the file cannot be read there.
    pub fn place(&self, seq: u64) -> Result<Option<(u32, Option<u32>)>> {
        if seq < self.meta.first || seq > self.meta.last {
            return Ok(None);
        }
        if seq < self.meta.dense_from {
            let found = places::first_at_or_after(self, seq)?;
            return Ok(found.filter(|place| place.seq == seq).map(|place| (place.offset, place.next)));
        }
        let (piece, index) = self.offset_at(seq);
        Ok(offset_in(&self.piece(piece, true)?, index))
    }

    /// The same without proof, for who sees from the record itself whether it is the right one: then no
    /// whole block of offsets need be read and summed for one of them. `None` also when that cannot be.
    ///
    /// # Errors
    /// `corrupt` when the file cannot be read there.
    pub fn unproved_place(&self, seq: u64) -> Result<Option<(u32, Option<u32>)>> {
        if seq < self.meta.first.max(self.meta.dense_from) || seq > self.meta.last {
            return Ok(None);
        }
        let ((place, length), index) = self.offset_at(seq);
        if let Some(block) = self.cache.find(self.number, place) {
            return Ok(offset_in(&Block::unchecked(block), index));
        }
        let mut two = [0; 8];
        let two = &mut two[..8.min(length - 4 * index)];
        self.read(place + 4 * index as u64, two)?;
        // The length of a record that nobody vouches for must not be believed in.
        let near = |(offset, next): &(u32, Option<u32>)| {
            next.is_none_or(|next| next.wrapping_sub(*offset) < UNPROVED_BYTES)
        };
        Ok(offset_in(two, 0).filter(near))
    }

    /// The block of offsets that has the one of a seq of the dense part, and which it is there.
    fn offset_at(&self, seq: u64) -> (Piece, usize) {
        let index = usize::try_from(seq - self.meta.dense_from).unwrap_or(usize::MAX);
        (self.offset_piece(index / BLOCK_OFFSETS), index % BLOCK_OFFSETS)
    }

    /// The first seq at `seq` or behind it that has a record, as far as the run goes.
    ///
    /// # Errors
    /// `corrupt` when the file cannot be read there.
    pub fn next_record(&self, seq: u64) -> Result<Option<u64>> {
        let seq = seq.max(self.meta.first);
        if seq < self.meta.dense_from
            && let Some(place) = places::first_at_or_after(self, seq)?
        {
            return Ok(Some(place.seq));
        }
        Ok(Some(seq.max(self.meta.dense_from)).filter(|seq| *seq <= self.meta.last))
    }

    /// A block of offsets.
    fn offset_piece(&self, number: usize) -> Piece {
        let count = usize::try_from(self.meta.last + 1 - self.meta.dense_from).unwrap_or(0);
        let length = 4 * BLOCK_OFFSETS.min(count.saturating_sub(number * BLOCK_OFFSETS));
        (self.offsets + (number * (4 * BLOCK_OFFSETS + CHECKSUM_BYTES)) as u64, length)
    }

    /// All blocks of offsets.
    pub(super) fn offset_pieces(&self) -> impl Iterator<Item = Piece> {
        let count = usize::try_from(self.meta.last + 1 - self.meta.dense_from).unwrap_or(0);
        (0..count.div_ceil(BLOCK_OFFSETS)).map(|number| self.offset_piece(number))
    }
}

/// An offset in a block of them, and the next one: the last one of a block does not know where the next
/// record begins.
fn offset_in(block: &[u8], index: usize) -> Option<(u32, Option<u32>)> {
    let number = |at: usize| block.as_chunks::<4>().0.get(at).map(|four| u32::from_le_bytes(*four));
    number(index).map(|offset| (offset, number(index + 1)))
}

impl EachOffsets for Run {
    fn each_offsets(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut pieces = self.offset_pieces();
        pieces.try_for_each(|piece| each(&self.read_block(piece)?))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::index::position::Position;
    use crate::index::run::Meta;
    use crate::index::testing::file_of;
    use crate::storage::File;

    /// Offsets of as many records, a hundred bytes each.
    struct Offsets(u32);

    impl EachOffsets for Offsets {
        fn each_offsets(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
            (0..self.0).try_for_each(|number| each(&(100 * number).to_le_bytes()))
        }
    }

    fn written(meta: Meta, keys: u32, offsets: &[&dyn EachOffsets]) -> Arc<dyn File> {
        file_of(meta, u64::from(keys), offsets, |writer| {
            for key in 0..keys {
                writer.add(&[&[1], key.to_be_bytes().as_slice()].concat(), &[7; 100]).expect("memory");
            }
        })
    }

    #[test]
    fn a_run_that_was_written_in_many_pieces_reads_back() {
        let (keys, events) = (10_000, 5000);
        let meta = Meta { first: 11, last: 10 + u64::from(events), dense_from: 11, ..Meta::default() };
        let offsets: [&dyn EachOffsets; 2] = [&Offsets(3000), &Offsets(2000)];
        let file = written(meta, keys, &offsets);
        let run = Run::open(Arc::clone(&file), "/index/one.run", &Arc::default(), true);
        let run = run.expect("a whole file");
        let mut bytes = 0;
        run.verify(&mut |moved| {
            bytes += moved;
            Ok(())
        })
        .expect("a whole file");
        assert!((u64::from(100 * keys)..run.bytes()).contains(&bytes), "{bytes}");
        assert_eq!(run.file().1, "one.run");
        let mut place = Position::new(&run);
        let mut open = place.seek(b"").expect("whole");
        for key in 0..keys {
            assert!(open && place.key()[1..] == key.to_be_bytes() && place.payload() == [7; 100], "{key}");
            open = place.advance().expect("whole");
        }
        assert!(!open);
        let anew = Run::open(file, "/index/two.run", &Arc::default(), true);
        let anew = anew.expect("a whole file");
        for number in 0..events {
            let (offset, next) = run.place(11 + u64::from(number)).expect("whole").expect("its place");
            assert_eq!(offset, 100 * if number < 3000 { number } else { number - 3000 });
            assert_eq!(next.is_none(), number % 1024 == 1023 || number == events - 1, "{number}");
            let unproved = anew.unproved_place(11 + u64::from(number)).expect("whole");
            // The next one lies in another segment: what seems to be the length of the record is none.
            assert_eq!(unproved, Some((offset, next)).filter(|_| number != 2999), "{number}");
        }
    }
}
