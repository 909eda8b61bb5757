//! A chunk of postings: some of a term's seqs, ascending, as one entry of a run.
//!
//! ```text
//! key:     the term (ending in its terminator), then the chunk's last seq, ordered
//! payload: nothing at all where a term has one posting; else
//!          count  varint   postings in this chunk, at most 256, or 1,024 where they are consecutive or bits:
//!                          twice that, and one more when there are earlier chunks of the term in this run
//!          before varint   postings in those, if there are any
//!          span   varint   last seq minus first
//!          nothing when they are consecutive; when more than one of 16 is there
//!          a bit for each seq from first to last, lowest first; else
//!          those between the first and the last, `packed`
//! ```

use super::packed;
use crate::codec::{read_ordered, read_varint};
use crate::error::{Code, Error, Result};

/// Postings in a chunk that are packed, at the most.
pub const CHUNK_POSTINGS: usize = 256;
/// Postings in a chunk that needs not be unpacked, at the most.
pub const CHUNK_DENSE_POSTINGS: usize = 1024;
/// Postings in each chunk of a list that has several, at the least; only the last may have fewer. So chunks
/// of some length can be taken over as they are when lists become one.
pub(super) const CHUNK_LEAST: usize = CHUNK_POSTINGS / 2;

/// A chunk, less its postings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Postings of the term before this chunk.
    pub before: u64,
    /// Postings in it.
    pub count: u64,
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Chunk {
    /// Whether it surely is all of its list. Of a list that goes on every chunk says that it may.
    #[must_use]
    pub fn is_whole_list(&self) -> bool {
        self.before == 0 && self.count < CHUNK_LEAST as u64
    }

    /// Whether its postings are consecutive.
    #[must_use]
    pub fn is_without_gaps(&self) -> bool {
        is_without_gaps(self.count, self.span())
    }

    /// How far its last posting is from its first.
    fn span(&self) -> u64 {
        self.last - self.first
    }

    /// Whether it is stored as bits.
    fn is_bits(&self) -> bool {
        is_bits(self.count, self.span())
    }

    /// Whether what is beside a place is found there, without unpacking any postings.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.is_without_gaps() || self.is_bits()
    }
}

pub(super) fn malformed() -> Error {
    Error::new(Code::Internal, "a chunk of postings cannot be read: please report this")
}

/// Reads a chunk's head, and what follows it.
fn head(key_rest: &[u8], payload: &[u8]) -> Option<(Chunk, usize)> {
    let last = read_ordered(&mut &*key_rest)?;
    let mut bytes = payload;
    if bytes.is_empty() {
        return Some((Chunk { before: 0, count: 1, first: last, last }, 0));
    }
    let count = read_varint(&mut bytes)?;
    let before = if count & 1 == 0 { 0 } else { read_varint(&mut bytes)? };
    let span = read_varint(&mut bytes)?;
    let chunk = Chunk { before, count: count >> 1, first: last.checked_sub(span)?, last };
    let sane = chunk.count <= CHUNK_DENSE_POSTINGS as u64 && before.checked_add(chunk.count).is_some();
    sane.then_some((chunk, payload.len() - bytes.len()))
}

/// Whether a chunk's postings are consecutive, so that its head says all.
pub(super) fn is_without_gaps(count: u64, span: u64) -> bool {
    count.checked_sub(1) == Some(span)
}

/// Whether a chunk is stored as bits: up to twice the room, and far quicker to count by.
pub(super) fn is_bits(count: u64, span: u64) -> bool {
    span < 16 * count
}

impl Chunk {
    /// The last posting at `seq` or before. `postings` are what says the chunk's.
    ///
    /// # Errors
    /// `internal` when they make no sense.
    pub fn at_or_before(self, postings: &[u8], seq: u64) -> Result<Option<u64>> {
        let Some(place) = seq.min(self.last).checked_sub(self.first) else { return Ok(None) };
        let found = match self.beside(postings, place) {
            Beside::Here => Some(place),
            Beside::Bits => highest(postings, place),
            Beside::Packed((before, _)) => Some(before.unwrap_or(0)),
        };
        self.found(found)
    }

    /// The first posting at `seq` or behind. `postings` are what says the chunk's.
    ///
    /// # Errors
    /// `internal` when they make no sense.
    pub fn at_or_behind(self, postings: &[u8], seq: u64) -> Result<Option<u64>> {
        if seq > self.last {
            return Ok(None);
        }
        let place = seq.max(self.first) - self.first;
        let span = self.span();
        let found = match self.beside(postings, place) {
            Beside::Here => Some(place),
            Beside::Bits => lowest(postings, place),
            Beside::Packed((_, behind)) => Some(behind.unwrap_or(span)),
        };
        self.found(found)
    }

    /// The seq at a place, counted from the first.
    fn found(self, place: Option<u64>) -> Result<Option<u64>> {
        let inside = place.filter(|place| *place <= self.last - self.first);
        inside.map(|place| Some(self.first + place)).ok_or_else(malformed)
    }

    /// Whether `seq` is among the postings.
    #[must_use]
    pub fn holds(self, postings: &[u8], seq: u64) -> bool {
        if seq < self.first || seq > self.last {
            return false;
        }
        let place = seq - self.first;
        match self.beside(postings, place) {
            Beside::Here => true,
            Beside::Bits => bit(postings, place),
            Beside::Packed((before, _)) => before == Some(place),
        }
    }

    /// What is at a place, counted from the first, or beside it.
    fn beside(self, postings: &[u8], place: u64) -> Beside {
        let span = self.span();
        if self.is_without_gaps() || place == 0 || place == span {
            return Beside::Here;
        }
        if self.is_bits() {
            return Beside::Bits;
        }
        let between = usize::try_from(self.count).unwrap_or(0).saturating_sub(2);
        Beside::Packed(packed::beside(postings, between, span, place))
    }
}

/// What is at a place of a chunk, or beside it.
enum Beside {
    /// A posting.
    Here,
    /// The bits say.
    Bits,
    /// Of those between the first and the last: the last one at the place or before, the first one there or
    /// behind.
    Packed((Option<u64>, Option<u64>)),
}

fn bit(bits: &[u8], place: u64) -> bool {
    let byte = usize::try_from(place / 8).ok().and_then(|byte| bits.get(byte));
    byte.is_some_and(|byte| byte >> (place % 8) & 1 != 0)
}

/// The highest bit that is set at `place` or below.
fn highest(bits: &[u8], place: u64) -> Option<u64> {
    let (mut number, cut) = (usize::try_from(place / 8).ok()?, 7 - place % 8);
    let mut byte = bits.get(number)? << cut >> cut;
    while byte == 0 {
        number = number.checked_sub(1)?;
        byte = bits[number];
    }
    Some(8 * number as u64 + u64::from(byte.ilog2()))
}

/// The lowest bit that is set at `place` or above.
fn lowest(bits: &[u8], place: u64) -> Option<u64> {
    let (mut number, cut) = (usize::try_from(place / 8).ok()?, place % 8);
    let mut byte = bits.get(number)? >> cut << cut;
    while byte == 0 {
        number += 1;
        byte = *bits.get(number)?;
    }
    Some(8 * number as u64 + u64::from(byte.trailing_zeros()))
}

fn decode_into(chunk: Chunk, deltas: &[u8], out: &mut Vec<u64>) -> Option<()> {
    if chunk.is_without_gaps() {
        out.extend(chunk.first..=chunk.last);
        return Some(());
    }
    if chunk.is_bits() {
        return decode_bits(chunk, deltas, out);
    }
    let (first, last) = (chunk.first, chunk.last);
    let start = out.len();
    out.push(first);
    if chunk.count == 1 {
        return (first == last).then_some(());
    }
    let between = usize::try_from(chunk.count).ok()?.checked_sub(2)?;
    packed::read(deltas, between, last - first, |more| out.push(first.saturating_add(more)))?;
    out.push(last);
    (out.get(start + 1) != Some(&first)).then_some(())
}

fn decode_bits(chunk: Chunk, bits: &[u8], out: &mut Vec<u64>) -> Option<()> {
    let start = out.len();
    for (place, byte) in bits.iter().enumerate() {
        let (mut byte, base) = (*byte, chunk.first.checked_add(8 * place as u64)?);
        while byte != 0 {
            out.push(base.checked_add(u64::from(byte.trailing_zeros()))?);
            byte &= byte - 1;
        }
    }
    let whole = (out.len() - start) as u64 == chunk.count && out.last() == Some(&chunk.last);
    whole.then_some(())
}

/// The words of 64 bits that bytes are.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (whole, rest) = bytes.as_chunks::<8>();
    let rest = if rest.is_empty() { None } else { Some(packed::load(rest, 0)) };
    whole.iter().map(|eight| u64::from_le_bytes(*eight)).chain(rest)
}

/// Sets the bits of a chunk's postings in a window that begins with the seq `low`. The chunk must lie
/// in it.
///
/// # Errors
/// `internal` when the chunk makes no sense.
pub fn mark(chunk: Chunk, postings: &[u8], low: u64, window: &mut [u64]) -> Result<()> {
    mark_in(chunk, postings, low, window).ok_or_else(malformed)
}

fn mark_in(chunk: Chunk, deltas: &[u8], low: u64, window: &mut [u64]) -> Option<()> {
    let from = usize::try_from(chunk.first.checked_sub(low)?).ok()?;
    let to = usize::try_from(chunk.last - low).ok()?;
    window.get(to / 64)?;
    if chunk.is_without_gaps() {
        for place in from..=to {
            *window.get_mut(place / 64)? |= 1 << (place % 64);
        }
        return Some(());
    }
    if chunk.is_bits() {
        let (window, shift) = (window.get_mut(from / 64..)?, from % 64);
        let mut carried = 0;
        for (bits, word) in words(deltas).zip(window.iter_mut()) {
            *word |= bits << shift | carried;
            // Shifted in two steps, since by 64 at once is not possible.
            carried = bits >> 1 >> (63 - shift);
        }
        let behind = window.get_mut(deltas.len().div_ceil(8));
        return match behind {
            Some(word) => {
                *word |= carried;
                Some(())
            }
            None => (carried == 0).then_some(()),
        };
    }
    let mut set = |place: usize| {
        if let Some(word) = window.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    };
    set(from);
    set(to);
    let between = usize::try_from(chunk.count).ok()?.checked_sub(2)?;
    packed::read(deltas, between, chunk.last - chunk.first, |more| {
        set(from + usize::try_from(more).unwrap_or(usize::MAX / 2));
    })
}

/// How many of a chunk's postings have their bits set in a window that begins with the seq `low`. The chunk must
/// lie in it.
///
/// # Errors
/// `internal` when the chunk makes no sense.
pub fn marked(chunk: Chunk, postings: &[u8], low: u64, window: &[u64]) -> Result<u64> {
    marked_in(chunk, postings, low, window).ok_or_else(malformed)
}

fn marked_in(chunk: Chunk, deltas: &[u8], low: u64, window: &[u64]) -> Option<u64> {
    let from = usize::try_from(chunk.first.checked_sub(low)?).ok()?;
    let span = chunk.span();
    let to = usize::try_from(chunk.last - low).ok()?;
    window.get(to / 64)?;
    let is_set = |place: usize| window.get(place / 64).map_or(0, |word| word >> (place % 64) & 1);
    if chunk.is_without_gaps() {
        return Some((from..=to).map(is_set).sum());
    }
    if chunk.is_bits() {
        let (window, shift) = (window.get(from / 64..)?, from % 64);
        let behind = window.iter().skip(1).copied().chain([0]);
        let there =
            window.iter().zip(behind).map(|(here, behind)| here >> shift | behind << 1 << (63 - shift));
        return Some(
            words(deltas).zip(there).map(|(bits, there)| u64::from((bits & there).count_ones())).sum(),
        );
    }
    let mut count = is_set(from) + is_set(to);
    let between = usize::try_from(chunk.count).ok()?.checked_sub(2)?;
    packed::read(deltas, between, span, |more| {
        count += is_set(from + usize::try_from(more).unwrap_or(usize::MAX / 2));
    })?;
    Some(count)
}

/// The chunk of an entry, and where in its payload that begins which says its postings. `key_rest` is what
/// follows the term in its key.
///
/// # Errors
/// `internal` when it makes no sense.
pub fn chunk_head(key_rest: &[u8], payload: &[u8]) -> Result<(Chunk, usize)> {
    head(key_rest, payload).ok_or_else(malformed)
}

/// The chunk of an entry, and what says its postings.
///
/// # Errors
/// `internal` when it makes no sense.
pub fn chunk_of<'p>(key_rest: &[u8], payload: &'p [u8]) -> Result<(Chunk, &'p [u8])> {
    let (chunk, start) = chunk_head(key_rest, payload)?;
    Ok((chunk, payload.get(start..).unwrap_or_default()))
}

/// Appends a chunk's postings to `out`, ascending.
///
/// # Errors
/// `internal` when it makes no sense.
pub fn decode(chunk: Chunk, postings: &[u8], out: &mut Vec<u64>) -> Result<()> {
    decode_into(chunk, postings, out).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::postings::List;
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::testing::file_run;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Seqs that are packed, that are bits, and that need none.
    fn seqs() -> impl Strategy<Value = BTreeSet<u64>> {
        let near = (1_u64..90, 1_usize..1600).prop_flat_map(|(first, span)| {
            prop::collection::btree_set(first..first + span as u64, 1..=span.min(CHUNK_DENSE_POSTINGS))
        });
        prop_oneof![prop::collection::btree_set(0_u64..20_000, 1..=CHUNK_POSTINGS), near]
    }

    proptest! {
        #[test]
        fn what_is_beside_a_seq_is_found_without_reading_all(
            seqs in seqs(),
            more in prop::collection::vec(0_u64..20_001, 9),
        ) {
            let run = file_run(1 << 30, 1, |writer| {
                PostingsWriter::default().write(writer, b"a\0", seqs.iter().copied()).expect("memory");
            });
            let list = List::open(&run, b"a\0").expect("whole").expect("a list");
            let (chunk, postings) = (list.chunk(), list.postings());
            prop_assert_eq!(chunk.count, seqs.len() as u64);
            let near = seqs.iter().flat_map(|seq| [seq.saturating_sub(1), *seq, seq + 1]);
            for seq in near.chain(more) {
                let before = chunk.at_or_before(postings, seq).expect("whole");
                prop_assert_eq!(before, seqs.range(..=seq).next_back().copied(), "before {}", seq);
                let behind = chunk.at_or_behind(postings, seq).expect("whole");
                prop_assert_eq!(behind, seqs.range(seq..).next().copied(), "behind {}", seq);
                prop_assert_eq!(chunk.holds(postings, seq), seqs.contains(&seq), "{}", seq);
            }
        }

        #[test]
        fn other_bytes_are_no_panic(bytes: Vec<u8>, key: [u8; 9], seq: u64, words in 1_usize..9) {
            if let Ok((chunk, postings)) = chunk_of(&key, &bytes) {
                let _ = decode(chunk, postings, &mut Vec::new());
                let _ = mark(chunk, postings, chunk.first, &mut vec![0; words]);
                let _ = marked(chunk, postings, chunk.first, &vec![u64::MAX; words]);
                let _ = chunk.at_or_before(postings, seq);
                let _ = chunk.at_or_behind(postings, seq);
                let _ = chunk.holds(postings, seq);
            }
        }
    }
}
