//! Postings: the seqs of a term, ascending, in chunks that are entries of a run.
//!
//! ```text
//! key:     the term (ending in its terminator), then the chunk's last seq, ordered
//! payload: nothing at all where a term has one posting; else
//!          count  varint   postings in this chunk, at most 256: twice that, and one more when there
//!                          are earlier chunks of the term in this run
//!          before varint   postings in those, if there are any
//!          span   varint   last seq minus first
//!          nothing when they are consecutive; when more than one of 16 is there
//!          a bit for each seq from first to last, lowest first; else
//!          those between the first and the last, `packed`
//! ```
//!
//! So seeking in a list is seeking in the run, and `before + count` of the last chunk is the
//! length of the list.

use super::packed;
use super::position::Position;
use super::run::Run;
use crate::codec::{read_ordered, read_varint, write_ordered};
use crate::error::{Code, Error, Result};

/// Postings in a chunk, at the most.
pub const CHUNK_POSTINGS: usize = 256;
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
}

fn malformed() -> Error {
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
    let sane = chunk.count <= CHUNK_POSTINGS as u64 && before.checked_add(chunk.count).is_some();
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

fn decode_into(chunk: Chunk, deltas: &[u8], out: &mut Vec<u64>) -> Option<()> {
    if is_without_gaps(chunk.count, chunk.last - chunk.first) {
        out.extend(chunk.first..=chunk.last);
        return Some(());
    }
    if is_bits(chunk.count, chunk.last - chunk.first) {
        return decode_bits(chunk, deltas, out);
    }
    let (first, last) = (chunk.first, chunk.last);
    out.push(first);
    if chunk.count == 1 {
        return Some(());
    }
    let between = usize::try_from(chunk.count).ok()?.checked_sub(2)?;
    packed::read(deltas, between, last - first, |more| out.push(first.saturating_add(more)))?;
    out.push(last);
    Some(())
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

/// Sets the bits of a chunk's postings in a window that begins with the seq `low`. The chunk must lie
/// in it.
fn mark(chunk: Chunk, deltas: &[u8], low: u64, window: &mut [u64]) -> Option<()> {
    let from = usize::try_from(chunk.first.checked_sub(low)?).ok()?;
    let to = usize::try_from(chunk.last - low).ok()?;
    if is_without_gaps(chunk.count, chunk.last - chunk.first) {
        for place in from..=to {
            *window.get_mut(place / 64)? |= 1 << (place % 64);
        }
        return Some(());
    }
    if is_bits(chunk.count, chunk.last - chunk.first) {
        for (place, bytes) in deltas.chunks(8).enumerate() {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            let (bits, at) = (u64::from_le_bytes(eight), from + 64 * place);
            *window.get_mut(at / 64)? |= bits << (at % 64);
            if at % 64 > 0
                && let carried = bits >> (64 - at % 64)
                && carried != 0
            {
                *window.get_mut(at / 64 + 1)? |= carried;
            }
        }
        return Some(());
    }
    window.get(to / 64)?;
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

/// Walks the postings of one term in one run, chunk by chunk.
pub struct List<'r> {
    place: Position<'r>,
    term: Vec<u8>,
    key: Vec<u8>,
    chunk: Chunk,
    deltas: usize,
}

impl<'r> List<'r> {
    /// The term's list. `None` when the run does not hold the term.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn open(run: &'r Run, term: &[u8]) -> Result<Option<Self>> {
        let Some(mut list) = List::of(run, term) else { return Ok(None) };
        Ok(list.seek(0)?.then_some(list))
    }

    /// The term's list at its last chunk. `None` when the run does not hold the term.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn open_last(run: &'r Run, term: &[u8]) -> Result<Option<Self>> {
        let Some(mut list) = List::of(run, term) else { return Ok(None) };
        Ok(list.seek_before(u64::MAX)?.then_some(list))
    }

    /// The list, at no chunk yet. `None` when the run surely does not hold the term.
    fn of(run: &'r Run, term: &[u8]) -> Option<Self> {
        let chunk = Chunk { before: 0, count: 0, first: 0, last: 0 };
        let list =
            || List { place: Position::new(run), term: term.to_vec(), key: Vec::new(), chunk, deltas: 0 };
        run.may_hold(term).then(list)
    }

    /// The chunk it is at.
    #[must_use]
    pub fn chunk(&self) -> Chunk {
        self.chunk
    }

    fn read_head(&mut self) -> Result<bool> {
        let Some(rest) = self.place.key().strip_prefix(self.term.as_slice()) else { return Ok(false) };
        (self.chunk, self.deltas) = head(rest, self.place.payload()).ok_or_else(malformed)?;
        Ok(true)
    }

    /// Goes to the first chunk whose last posting is at `seq` or behind. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn seek(&mut self, seq: u64) -> Result<bool> {
        self.key.clear();
        self.key.extend_from_slice(&self.term);
        write_ordered(&mut self.key, seq);
        Ok(self.place.seek(&self.key)? && self.read_head()?)
    }

    /// Goes to the next chunk. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn advance(&mut self) -> Result<bool> {
        Ok(self.place.advance()? && self.read_head()?)
    }

    /// Goes to the last chunk whose last posting is before `seq`. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn seek_before(&mut self, seq: u64) -> Result<bool> {
        self.key.clear();
        self.key.extend_from_slice(&self.term);
        write_ordered(&mut self.key, seq);
        Ok(self.place.seek_before(&self.key)? && self.read_head()?)
    }

    /// What says the chunk's postings.
    #[must_use]
    pub fn postings(&self) -> &[u8] {
        self.place.payload().get(self.deltas..).unwrap_or_default()
    }

    /// Appends the chunk's postings to `out`, ascending.
    ///
    /// # Errors
    /// `internal` when the chunk makes no sense.
    pub fn decode(&self, out: &mut Vec<u64>) -> Result<()> {
        decode(self.chunk, self.postings(), out)
    }
}

impl List<'_> {
    /// Sets the bits of the chunk's postings that lie in a window of seqs from `low` on.
    ///
    /// # Errors
    /// `internal` when the chunk makes no sense.
    pub fn mark(&self, low: u64, window: &mut [u64], spare: &mut Vec<u64>) -> Result<()> {
        let end = low + 64 * window.len() as u64;
        if self.chunk.first >= low && self.chunk.last < end {
            return mark(self.chunk, self.postings(), low, window).ok_or_else(malformed);
        }
        spare.clear();
        self.decode(spare)?;
        for seq in spare.iter().filter(|seq| **seq >= low && **seq < end) {
            let place = usize::try_from(seq - low).unwrap_or(0);
            window[place / 64] |= 1 << (place % 64);
        }
        Ok(())
    }
}

impl List<'_> {
    /// Whether `seq` is among the chunk's postings.
    #[must_use]
    pub fn holds(&self, seq: u64) -> bool {
        let Chunk { count, first, last, .. } = self.chunk;
        if seq < first || seq > last {
            return false;
        }
        let (span, place) = (last - first, seq - first);
        if is_without_gaps(count, span) || place == 0 || place == span {
            return true;
        }
        let postings = self.postings();
        let between = usize::try_from(count).unwrap_or(0).saturating_sub(2);
        if is_bits(count, span) {
            let byte = usize::try_from(place / 8).ok().and_then(|byte| postings.get(byte));
            return byte.is_some_and(|byte| byte >> (place % 8) & 1 != 0);
        }
        packed::contains(postings, between, span, place)
    }

    /// Goes on to the first chunk whose last posting is at `seq` or behind. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn go_on(&mut self, seq: u64) -> Result<bool> {
        // The next chunk or the one behind it is quicker stepped to than sought.
        for _ in 0..CHUNKS_STEPPED {
            if self.chunk.last >= seq {
                return Ok(true);
            }
            if !self.advance()? {
                return Ok(false);
            }
        }
        Ok(self.chunk.last >= seq || self.seek(seq)?)
    }
}

/// Chunks that are stepped over before one is sought.
const CHUNKS_STEPPED: usize = 3;

/// All postings of a term in a run, ascending.
///
/// # Errors
/// `corrupt`.
pub fn all(run: &Run, term: &[u8]) -> Result<Vec<u64>> {
    let mut seqs = Vec::new();
    if let Some(mut list) = List::open(run, term)? {
        loop {
            list.decode(&mut seqs)?;
            if !list.advance()? {
                break;
            }
        }
    }
    Ok(seqs)
}

/// The first posting of a term in a run that is at `seq` or behind it.
///
/// # Errors
/// `corrupt`.
pub fn first_at_or_after(run: &Run, term: &[u8], seq: u64) -> Result<Option<u64>> {
    let Some(mut list) = List::open(run, term)? else { return Ok(None) };
    if !list.seek(seq)? {
        return Ok(None);
    }
    let mut seqs = Vec::new();
    list.decode(&mut seqs)?;
    Ok(seqs.into_iter().find(|found| *found >= seq))
}

/// How many postings a term has in a run.
///
/// # Errors
/// `corrupt`.
pub fn count(run: &Run, term: &[u8]) -> Result<u64> {
    Ok(List::open_last(run, term)?.map_or(0, |list| list.chunk.before + list.chunk.count))
}

/// Splits a key of the index into its term and the rest. `None` for a key of the table.
#[must_use]
pub fn split_key(key: &[u8]) -> Option<(&[u8], &[u8])> {
    if *key.first()? < crate::domain::table::FIRST_POSTINGS_TAG {
        return None;
    }
    let end = memchr::memchr(0, key)?;
    Some(key.split_at(end + 1))
}

/// The chunk of an entry, and what says its postings: `key_rest` is what follows the term in its key.
///
/// # Errors
/// `internal` when it makes no sense.
pub fn chunk_of<'p>(key_rest: &[u8], payload: &'p [u8]) -> Result<(Chunk, &'p [u8])> {
    let (chunk, start) = head(key_rest, payload).ok_or_else(malformed)?;
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
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::testing::file_run;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn run_of(lists: &[(&[u8], &BTreeSet<u64>)]) -> Run {
        file_run(1, lists.len() as u64, |writer| {
            let mut postings = PostingsWriter::default();
            for (term, seqs) in lists {
                postings.write(writer, term, seqs.iter().copied()).expect("memory");
            }
        })
    }

    /// Seqs in lists of all kinds: far apart, without a gap, and near each other.
    fn seqs() -> impl Strategy<Value = BTreeSet<u64>> {
        let dense = (0_u64..5000, 0_u64..900).prop_map(|(start, length)| (start..start + length).collect());
        let near = (0_u64..5000, 0_u64..900, 1_u64..13).prop_map(|(start, length, kept)| {
            (start..start + length).filter(|seq| seq * seq % 13 < kept).collect()
        });
        prop_oneof![prop::collection::btree_set(0_u64..20_000, 0..900), dense, near]
    }

    proptest! {
        #[test]
        fn a_list_gives_back_what_was_written(
            sparse in prop::collection::btree_set(0_u64..1_000_000, 0..900),
            start in 0_u64..100_000,
            length in 0_u64..900,
            thinned in 1_u64..7,
        ) {
            let dense: BTreeSet<u64> = (start..start + length).collect();
            let some: BTreeSet<u64> = dense.iter().copied().filter(|seq| seq % 7 < thinned).collect();
            let run = run_of(&[(b"a\0", &sparse), (b"b\0", &dense), (b"d\0", &some)]);
            for (term, seqs) in [(b"a\0", &sparse), (b"b\0", &dense), (b"d\0", &some)] {
                prop_assert_eq!(all(&run, term).expect("whole"), seqs.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(count(&run, term).expect("whole"), seqs.len() as u64);
            }
            prop_assert_eq!(count(&run, b"c\0").expect("whole"), 0);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_of_a_list_is_what_its_seqs_say(
            seqs in seqs(),
            asked in prop::collection::vec(0_u64..20_000, 1..20),
            words in 1_usize..40,
        ) {
            // The lists around it tell its ends from what lies before and behind it.
            let other = BTreeSet::from([1, 30_000]);
            let run = run_of(&[(b"A\0", &other), (b"a\0", &seqs), (b"b\0", &other)]);
            for seq in asked {
                let behind = seqs.range(seq..).next().copied();
                prop_assert_eq!(first_at_or_after(&run, b"a\0", seq).expect("whole"), behind);
                let Some(mut list) = List::open(&run, b"a\0").expect("whole") else {
                    prop_assert!(seqs.is_empty());
                    continue;
                };
                prop_assert_eq!(list.go_on(seq).expect("whole"), behind.is_some());
                if list.seek(seq).expect("whole") {
                    prop_assert_eq!(list.holds(seq), seqs.contains(&seq));
                    let before = seqs.range(..list.chunk().first).count() as u64;
                    prop_assert!(list.chunk().before == before && behind <= Some(list.chunk().last));
                }
                let before = list.seek_before(seq).expect("whole").then(|| list.chunk().last);
                prop_assert_eq!(before, ends(&run).into_iter().rfind(|end| *end < seq));
                prop_assert_eq!(window(&run, seq, words), marked(&seqs, seq, words));
            }
        }
    }

    /// Where the chunks of a list end.
    fn ends(run: &Run) -> Vec<u64> {
        let mut list = List::open(run, b"a\0").expect("whole").expect("a list");
        let mut ends = vec![list.chunk().last];
        while list.advance().expect("whole") {
            ends.push(list.chunk().last);
        }
        ends
    }

    /// What a list marks in a window.
    fn window(run: &Run, low: u64, words: usize) -> Vec<u64> {
        let (mut window, mut spare) = (vec![0; words], Vec::new());
        let mut list = List::open(run, b"a\0").expect("whole").expect("a list");
        let mut more = list.seek(low).expect("whole");
        while more {
            list.mark(low, &mut window, &mut spare).expect("whole");
            more = list.advance().expect("whole");
        }
        window
    }

    fn marked(seqs: &BTreeSet<u64>, low: u64, words: usize) -> Vec<u64> {
        let mut window = vec![0; words];
        for seq in seqs.range(low..low + 64 * words as u64) {
            let place = usize::try_from(seq - low).expect("small");
            window[place / 64] |= 1 << (place % 64);
        }
        window
    }

    #[test]
    fn seqs_near_each_other_are_stored_as_bits_and_others_in_few_bytes() {
        let bytes = |seqs: BTreeSet<u64>| run_of(&[(b"a\0", &seqs)]).bytes();
        let none = bytes(BTreeSet::from([1]));
        assert!(bytes((1..=2000).collect()) < none + 100, "without a gap");
        let bits = bytes((1..=2000).filter(|seq| seq % 8 != 3).collect()) - none;
        assert!((200..450).contains(&bits), "{bits} bytes for 1750 of 2000 seqs");
        let apart = bytes((1..=2000).map(|seq| 500 * seq).collect()) - none;
        assert!((1500..4000).contains(&apart), "{apart} bytes for 2000 seqs");
    }
}
