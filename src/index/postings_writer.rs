//! Writes postings: see `postings` for how they lie.

use super::chunk::{
    CHUNK_DENSE_POSTINGS, CHUNK_LEAST, CHUNK_POSTINGS, Chunk, decode, is_bits, is_without_gaps,
};
use super::packed;
use super::run_writer::{RunWriter, cannot_write};
use crate::codec::{write_ordered, write_varint};
use crate::error::Result;

/// Writes the postings of one term after the other.
#[derive(Debug, Default)]
pub struct PostingsWriter {
    pending: Vec<u64>,
    before: u64,
    key: Vec<u8>,
    payload: Vec<u8>,
}

impl PostingsWriter {
    /// Adds a posting of `term`; they must come ascending.
    ///
    /// # Errors
    /// What the system says.
    pub fn push(&mut self, writer: &mut RunWriter, term: &[u8], seq: u64) -> std::io::Result<()> {
        self.pending.push(seq);
        if self.pending.len() < CHUNK_DENSE_POSTINGS { Ok(()) } else { self.close_chunks(writer, term) }
    }

    /// Writes a whole list.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(
        &mut self,
        writer: &mut RunWriter,
        term: &[u8],
        seqs: impl Iterator<Item = u64>,
    ) -> std::io::Result<()> {
        for seq in seqs {
            self.push(writer, term, seq)?;
        }
        self.finish(writer, term)
    }

    /// Adds a chunk of another list of `term`, which lies behind what was added. One of some length is taken
    /// over as it is, unless less than that waits for it.
    ///
    /// # Errors
    /// What the system says.
    pub fn take_over(
        &mut self,
        writer: &mut RunWriter,
        term: &[u8],
        chunk: Chunk,
        postings: &[u8],
    ) -> Result<()> {
        let unwritten = |error: std::io::Error| cannot_write(&error);
        let count = usize::try_from(chunk.count).unwrap_or(usize::MAX);
        if count >= CHUNK_LEAST && (self.pending.is_empty() || self.pending.len() >= CHUNK_LEAST) {
            self.close_chunks(writer, term).map_err(unwritten)?;
            self.write_head(term, chunk.count, chunk.first, chunk.last);
            self.payload.extend_from_slice(postings);
            self.before += chunk.count;
            return writer.add(&self.key, &self.payload).map_err(unwritten);
        }
        decode(chunk, postings, &mut self.pending)?;
        if self.pending.len() >= CHUNK_DENSE_POSTINGS {
            self.close_chunks(writer, term).map_err(unwritten)?;
        }
        Ok(())
    }

    /// Ends the term's list.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(&mut self, writer: &mut RunWriter, term: &[u8]) -> std::io::Result<()> {
        self.close_chunks(writer, term)?;
        if std::mem::take(&mut self.before) > 0 {
            writer.note_term(term);
        }
        Ok(())
    }

    /// Begins a chunk: its key, and the payload less the postings.
    fn write_head(&mut self, term: &[u8], count: u64, first: u64, last: u64) {
        self.key.clear();
        self.key.extend_from_slice(term);
        write_ordered(&mut self.key, last);
        self.payload.clear();
        let lone = self.before == 0 && count == 1;
        if !lone {
            write_varint(&mut self.payload, count << 1 | u64::from(self.before > 0));
            if self.before > 0 {
                write_varint(&mut self.payload, self.before);
            }
            write_varint(&mut self.payload, last - first);
        }
    }

    /// Makes chunks of all that waits.
    fn close_chunks(&mut self, writer: &mut RunWriter, term: &[u8]) -> std::io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.as_slice();
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at(chunk_length(rest));
            self.write_chunk(writer, term, chunk)?;
            rest = behind;
        }
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    fn write_chunk(&mut self, writer: &mut RunWriter, term: &[u8], seqs: &[u64]) -> std::io::Result<()> {
        let (Some(&first), Some(&last)) = (seqs.first(), seqs.last()) else { return Ok(()) };
        let count = seqs.len() as u64;
        self.write_head(term, count, first, last);
        if is_without_gaps(count, last - first) {
            // The head says it all.
        } else if is_bits(count, last - first) {
            let start = self.payload.len();
            self.payload.resize(start + usize::try_from((last - first) / 8 + 1).unwrap_or(0), 0);
            for seq in seqs {
                let place = usize::try_from(seq - first).unwrap_or(0);
                self.payload[start + place / 8] |= 1 << (place % 8);
            }
        } else {
            let between = seqs.get(1..seqs.len() - 1).unwrap_or_default();
            packed::write(between.iter().map(|seq| seq - first), last - first, &mut self.payload);
        }
        self.before += count;
        writer.add(&self.key, &self.payload)
    }
}

/// How many of some seqs, from the first on, are the next chunk.
fn chunk_length(seqs: &[u64]) -> usize {
    let (count, span) = (seqs.len(), seqs.last().zip(seqs.first()).map_or(0, |(last, first)| last - first));
    let dense = is_without_gaps(count as u64, span) || is_bits(count as u64, span);
    if count <= CHUNK_POSTINGS || dense && count <= CHUNK_DENSE_POSTINGS {
        count
    } else if count < CHUNK_POSTINGS + CHUNK_LEAST {
        // Two of some length rather than a short one that everything behind would have to wait for.
        count / 2
    } else {
        CHUNK_POSTINGS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::postings::{List, all};
    use crate::index::testing::file_run;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn lists_that_follow_each_other_become_one_of_chunks_of_some_length(
            lists in prop::collection::vec((0_u64..2500, 1_u64..40), 1..7),
        ) {
            let (mut seq, mut all_seqs, mut runs) = (0, Vec::<u64>::new(), Vec::new());
            for (length, gap) in lists {
                let seqs: BTreeSet<u64> =
                    (0..length).map(|number| seq + 1 + number * gap + number % 2 * (gap / 2)).collect();
                seq = seqs.last().copied().unwrap_or(seq);
                all_seqs.extend(&seqs);
                runs.push(file_run(1 << 30, 1, |writer| {
                    let mut out = PostingsWriter::default();
                    out.write(writer, b"a\0", seqs.iter().copied()).expect("memory");
                }));
            }
            let merged = file_run(1 << 30, 1, |writer| {
                let mut out = PostingsWriter::default();
                for run in &runs {
                    let mut list = List::open(run, b"a\0").expect("whole");
                    while let Some(at) = &mut list {
                        out.take_over(writer, b"a\0", at.chunk(), at.postings()).expect("memory");
                        if !at.advance().expect("whole") {
                            list = None;
                        }
                    }
                }
                out.finish(writer, b"a\0").expect("memory");
            });
            let mut list = List::open(&merged, b"a\0").expect("whole");
            prop_assert_eq!(list.is_some(), !all_seqs.is_empty());
            let mut before = 0;
            while let Some(at) = &mut list {
                let Chunk { count, .. } = at.chunk();
                prop_assert_eq!(at.chunk().before, before);
                before += count;
                let last = before == all_seqs.len() as u64;
                let most = if at.chunk().is_dense() { CHUNK_DENSE_POSTINGS } else { CHUNK_POSTINGS };
                prop_assert!(count <= most as u64 && (last || count >= CHUNK_LEAST as u64), "{count}");
                prop_assert_eq!(at.chunk().is_whole_list(), last && before < CHUNK_LEAST as u64);
                prop_assert_eq!(at.advance().expect("whole"), !last);
                if last {
                    list = None;
                }
            }
            prop_assert_eq!(all(&merged, b"a\0").expect("whole"), all_seqs);
        }
    }
}
