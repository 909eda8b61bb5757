//! Postings: the seqs of a term in a run, ascending, in chunks; see `chunk`.
//!
//! Seeking in a list is seeking in the run, and `before + count` of the last chunk is the length of the list.

use roaring::RoaringTreemap;

use super::chunk::{self, Chunk, chunk_head};
use super::position::Position;
use super::run::Run;
use super::terms::is_of_grams;
use crate::codec::write_ordered;
use crate::domain::command::Order;
use crate::error::Result;

/// Walks the postings of one term in one run, chunk by chunk.
pub struct List<'r> {
    place: Position<'r>,
    term: Vec<u8>,
    /// No posting is larger.
    most: u64,
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
        if !run.may_hold(term) {
            return None;
        }
        let chunk = Chunk { before: 0, count: 0, first: 0, last: 0 };
        // The postings of a gram are no seqs.
        let most = if is_of_grams(term) { u64::MAX } else { run.meta().last };
        let (place, term, key) = (Position::new(run), term.to_vec(), Vec::new());
        Some(List { place, term, most, key, chunk, deltas: 0 })
    }

    /// The term.
    #[must_use]
    pub fn term(&self) -> &[u8] {
        &self.term
    }

    /// The chunk it is at.
    #[must_use]
    pub fn chunk(&self) -> Chunk {
        self.chunk
    }

    fn read_head(&mut self) -> Result<bool> {
        let Some(rest) = self.place.key().strip_prefix(self.term.as_slice()) else { return Ok(false) };
        (self.chunk, self.deltas) = chunk_head(rest, self.place.payload())?;
        if self.chunk.last > self.most { Err(chunk::malformed()) } else { Ok(true) }
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
        let last = self.chunk.last;
        let goes_on = self.place.advance()? && self.read_head()?;
        if goes_on && self.chunk.first <= last { Err(chunk::malformed()) } else { Ok(goes_on) }
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
        chunk::decode(self.chunk, self.postings(), out)
    }
}

impl List<'_> {
    /// Sets the bits of the chunk's postings that lie in a window of seqs from `low` on.
    ///
    /// # Errors
    /// `internal` when the chunk makes no sense.
    pub fn mark(&self, low: u64, window: &mut [u64], spare: &mut Vec<u64>) -> Result<()> {
        let end = low.saturating_add(64 * window.len() as u64);
        if self.chunk.first >= low && self.chunk.last < end {
            return chunk::mark(self.chunk, self.postings(), low, window);
        }
        for place in self.places_inside(low, end, spare)? {
            window[place / 64] |= 1 << (place % 64);
        }
        Ok(())
    }

    /// How many of the chunk's postings have their bits set in a window of seqs from `low` on.
    ///
    /// # Errors
    /// `internal` when the chunk makes no sense.
    pub fn marked(&self, low: u64, window: &[u64], spare: &mut Vec<u64>) -> Result<u64> {
        let end = low.saturating_add(64 * window.len() as u64);
        if self.chunk.first >= low && self.chunk.last < end {
            return chunk::marked(self.chunk, self.postings(), low, window);
        }
        let places = self.places_inside(low, end, spare)?;
        Ok(places.map(|place| window[place / 64] >> (place % 64) & 1).sum())
    }

    /// The chunk's postings from `low` on and before `end`, counted from `low`.
    fn places_inside<'s>(
        &self,
        low: u64,
        end: u64,
        spare: &'s mut Vec<u64>,
    ) -> Result<impl Iterator<Item = usize> + use<'s>> {
        spare.clear();
        self.decode(spare)?;
        let inside = spare.iter().filter(move |seq| **seq >= low && **seq < end);
        Ok(inside.map(move |seq| usize::try_from(seq - low).unwrap_or(0)))
    }

    /// Gives the chunk that it is at and those behind it, as far as they have postings before `end`, and is left at the
    /// first that reaches there. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`, and what `each` says.
    pub fn chunks_before(&mut self, end: u64, each: &mut dyn FnMut(&Self) -> Result<()>) -> Result<bool> {
        loop {
            if self.chunk.first < end {
                each(self)?;
            }
            if self.chunk.last >= end {
                return Ok(true);
            }
            if !self.advance()? {
                return Ok(false);
            }
        }
    }

    /// Whether `seq` is among the chunk's postings.
    #[must_use]
    pub fn holds(&self, seq: u64) -> bool {
        self.chunk.holds(self.postings(), seq)
    }

    /// Of the chunk's postings the one that comes first in a direction, from `seq` on.
    ///
    /// # Errors
    /// `internal` when the chunk makes no sense.
    pub fn next_from(&self, seq: u64, order: Order) -> Result<Option<u64>> {
        match order {
            Order::Oldest => self.chunk.at_or_behind(self.postings(), seq),
            Order::Newest => self.chunk.at_or_before(self.postings(), seq),
        }
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

/// Gives all postings of a term in a run, ascending, a chunk at a time.
///
/// # Errors
/// `corrupt`.
pub fn each(run: &Run, term: &[u8], give: &mut dyn FnMut(&[u64])) -> Result<()> {
    let Some(mut list) = List::open(run, term)? else { return Ok(()) };
    let mut seqs = Vec::new();
    loop {
        seqs.clear();
        list.decode(&mut seqs)?;
        give(&seqs);
        if !list.advance()? {
            return Ok(());
        }
    }
}

/// All postings of a term in a run, ascending.
///
/// # Errors
/// `corrupt`.
pub fn all(run: &Run, term: &[u8]) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    each(run, term, &mut |seqs| all.extend_from_slice(seqs))?;
    Ok(all)
}

/// The same as a set: so many of them take little memory.
///
/// # Errors
/// `corrupt`.
pub fn set(run: &Run, term: &[u8]) -> Result<RoaringTreemap> {
    let mut set = RoaringTreemap::new();
    let Some(mut list) = List::open(run, term)? else { return Ok(set) };
    let mut seqs = Vec::new();
    loop {
        let Chunk { first, last, .. } = list.chunk();
        if list.chunk().is_without_gaps() {
            set.insert_range(first..=last);
        } else {
            seqs.clear();
            list.decode(&mut seqs)?;
            set.extend(seqs.iter().copied());
        }
        if !list.advance()? {
            return Ok(set);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::testing::file_run;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn run_of(lists: &[(&[u8], &BTreeSet<u64>)]) -> Run {
        file_run(1 << 30, lists.len() as u64, |writer| {
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
                let marks = window(&run, seq, words);
                let set: u64 = marks.iter().map(|word| u64::from(word.count_ones())).sum();
                prop_assert_eq!(marked(&run, seq, &marks), set);
                let some: Vec<u64> = marks.iter().map(|word| word & 0x5555_5555_5555_5555).collect();
                let set: u64 = some.iter().map(|word| u64::from(word.count_ones())).sum();
                prop_assert_eq!(marked(&run, seq, &some), set);
                prop_assert_eq!(marks, expected(&seqs, seq, words));
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

    /// How many postings of a list are marked in a window.
    fn marked(run: &Run, low: u64, window: &[u64]) -> u64 {
        let (mut spare, mut count) = (Vec::new(), 0);
        let mut list = List::open(run, b"a\0").expect("whole").expect("a list");
        let mut more = list.seek(low).expect("whole");
        while more {
            count += list.marked(low, window, &mut spare).expect("whole");
            more = list.advance().expect("whole");
        }
        count
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

    fn expected(seqs: &BTreeSet<u64>, low: u64, words: usize) -> Vec<u64> {
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
