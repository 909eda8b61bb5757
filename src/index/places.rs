//! Places: where the records lie in a part of the log that was compacted, where most seqs may be
//! gone. A run holds them in chunks that are entries like those of postings.
//!
//! ```text
//! key:     the term of [`Kind::Place`], then the chunk's last seq, ordered
//! payload: count  varint   records in this chunk, at most 128
//!          span   varint   last seq minus first
//!          offset varint   where the first one's line begins in its segment
//!          then for each further one: what its seq and its offset have more, varints
//! ```
//!
//! A chunk's records lie in one segment. A part of the log that was not compacted has every seq, so
//! there a run has an array of offsets instead: see [`Run::place`].

use super::position::Position;
use super::run::{BLOCK_OFFSETS, Run};
use super::run_writer::RunWriter;
use super::terms::{Kind, term};
use crate::codec::{read_ordered, read_varint, write_ordered, write_varint};
use crate::domain::table::FIRST_POSTINGS_TAG;
use crate::error::{Code, Error, Result};

/// Records in a chunk.
const CHUNK_RECORDS: usize = 128;

/// Where a record lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its seq.
    pub seq: u64,
    /// Where its line begins.
    pub offset: u32,
    /// Where the next one begins, where that is known.
    pub next: Option<u32>,
}

/// Where the records of a run lie.
pub enum Places {
    /// The offset of each, from `dense_from` to the last.
    All(Vec<u32>),
    /// Seq and offset of those that are left, in order.
    Some(Vec<(u64, u32)>),
}

/// Writes the places of a run, after all of its other entries.
pub struct PlacesWriter {
    term: Vec<u8>,
    pending: Vec<(u64, u32)>,
}

impl Default for PlacesWriter {
    fn default() -> Self {
        PlacesWriter { term: term(Kind::Place, false, b""), pending: Vec::new() }
    }
}

impl Run {
    /// Checks what a compaction reads of a run: its table, and where records lie.
    ///
    /// # Errors
    /// `corrupt`, naming the first damaged place.
    pub fn verify_table(&self) -> Result<()> {
        let blocks = self.blocks();
        // A walk through either meets its end in the block behind it.
        let end = |tag| (blocks.beginning_before(&[tag], false) + 1).min(blocks.len());
        let table = 0..end(FIRST_POSTINGS_TAG);
        let begin = blocks.beginning_before(&[Kind::Place.tag(false)], false).saturating_sub(1);
        let places = begin..end(Kind::Place.tag(true));
        table.chain(places).try_for_each(|number| self.block(number, false).map(drop))?;
        let mut seqs = (self.meta().dense_from..=self.meta().last).step_by(BLOCK_OFFSETS);
        seqs.try_for_each(|seq| self.place(seq).map(drop))
    }
}

impl PlacesWriter {
    /// Adds a record's place; they must come in order of seq.
    ///
    /// # Errors
    /// What the system says.
    pub fn push(&mut self, writer: &mut RunWriter, seq: u64, offset: u32) -> std::io::Result<()> {
        let next_segment = self.pending.last().is_some_and(|(_, last)| offset <= *last);
        if next_segment || self.pending.len() == CHUNK_RECORDS {
            self.finish(writer)?;
        }
        self.pending.push((seq, offset));
        Ok(())
    }

    /// Ends the places.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(&mut self, writer: &mut RunWriter) -> std::io::Result<()> {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else { return Ok(()) };
        let mut key = self.term.clone();
        write_ordered(&mut key, last.0);
        let mut payload = Vec::with_capacity(4 * self.pending.len());
        for number in [self.pending.len() as u64, last.0 - first.0, u64::from(first.1)] {
            write_varint(&mut payload, number);
        }
        for pair in self.pending.windows(2) {
            write_varint(&mut payload, pair[1].0 - pair[0].0);
            write_varint(&mut payload, u64::from(pair[1].1 - pair[0].1));
        }
        self.pending.clear();
        writer.add(&key, &payload)
    }
}

/// The place of the first record with `seq` or behind it among the chunks of a run.
///
/// # Errors
/// `corrupt`.
pub fn first_at_or_after(run: &Run, seq: u64) -> Result<Option<Place>> {
    let mut key = term(Kind::Place, false, b"");
    let length = key.len();
    write_ordered(&mut key, seq);
    let mut position = Position::new(run);
    if !position.seek(&key)? {
        return Ok(None);
    }
    match position.key().strip_prefix(&key[..length]) {
        Some(rest) => find(rest, position.payload(), seq).map(Some).ok_or_else(malformed),
        None => Ok(None),
    }
}

fn malformed() -> Error {
    Error::new(Code::Internal, "a chunk of places cannot be read: please report this")
}

/// The first place at `seq` or behind it, in a chunk whose last seq is not smaller.
fn find(key_rest: &[u8], payload: &[u8], wanted: u64) -> Option<Place> {
    let last = read_ordered(&mut &*key_rest)?;
    let mut bytes = payload;
    let mut next = || read_varint(&mut bytes);
    let (count, span) = (next()?, next()?);
    let (mut seq, mut offset) = (last.checked_sub(span)?, u32::try_from(next()?).ok()?);
    for _ in 1..count {
        let (later, further) = (next()?, u32::try_from(next()?).ok()?);
        let following = offset.checked_add(further)?;
        if seq >= wanted {
            return Some(Place { seq, offset, next: Some(following) });
        }
        (seq, offset) = (seq.checked_add(later)?, following);
    }
    (seq >= wanted).then_some(Place { seq, offset, next: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::file_run;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn run_of(places: &[(u64, u32)]) -> Run {
        let last = places.last().map_or(1, |(seq, _)| *seq);
        file_run(last, 0, |writer| {
            let mut out = PlacesWriter::default();
            for (seq, offset) in places {
                out.push(writer, *seq, *offset).expect("memory");
            }
            out.finish(writer).expect("memory");
        })
    }

    proptest! {
        #[test]
        fn every_place_is_found_and_every_gap_leads_to_the_next_record(
            gaps in prop::collection::vec((1_u64..2000, 1_u32..5000, 0_u8..20), 1..700),
            wanted in 0_u64..700_000,
        ) {
            let (mut seq, mut offset, mut places) = (0, 0, Vec::new());
            for (gap, length, segment) in gaps {
                seq += gap;
                offset = if segment == 0 { 7 } else { offset + length };
                places.push((seq, offset));
            }
            let (run, all) = (run_of(&places), places.iter().copied().collect::<BTreeMap<u64, u32>>());
            for (seq, offset) in &all {
                prop_assert_eq!(run.place(*seq).expect("whole").map(|place| place.0), Some(*offset));
            }
            let found = first_at_or_after(&run, wanted).expect("whole");
            let expected = all.range(wanted..).next().map(|(seq, offset)| (*seq, *offset));
            prop_assert_eq!(found.map(|place| (place.seq, place.offset)), expected);
            if let Some(Place { seq, next: Some(next), .. }) = found {
                prop_assert_eq!(all.range(seq + 1..).next().map(|(_, offset)| *offset), Some(next));
            }
        }
    }
}
