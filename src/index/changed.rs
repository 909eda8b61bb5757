//! The messages that the events of all run files changed, a bit for each: their posts in run files are dead.
//!
//! Every search asks this of each message that it comes to, and a count of all of them. A change follows what it
//! changes, so that one set serves all runs: what a run says of a message is of a post in an older run, or in its own.

use std::sync::{Arc, PoisonError};

use super::bitmap::lowest;
use super::postings;
use super::run::Run;
use super::source::Source;
use super::terms::{Kind, term};
use crate::error::Result;

/// What the bits take, at the most: of 16 million messages. The lists of the runs are walked where it were more.
const MOST_BYTES: u64 = 2 << 20;

/// Messages that were changed by the events of some runs.
pub struct Changed {
    /// The runs, by their numbers in the cache.
    runs: Vec<u64>,
    /// The seq of the lowest bit of the first word.
    start: u64,
    words: Vec<u64>,
    count: u64,
}

impl Changed {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether a message was changed.
    #[must_use]
    pub fn holds(&self, seq: u64) -> bool {
        let place = seq.checked_sub(self.start).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| Some(self.words.get(place / 64)? >> (place % 64) & 1)) == Some(1)
    }

    /// The first one at `seq` or behind.
    #[must_use]
    pub fn first_from(&self, seq: u64) -> Option<u64> {
        let from = usize::try_from(seq.saturating_sub(self.start)).ok()?;
        lowest(&self.words, from).map(|place| self.start + place as u64)
    }

    /// Sets their bits in a window that begins with the seq `low`, a multiple of 64.
    pub fn mark(&self, low: u64, window: &mut [u64]) {
        let place = |seqs: u64| usize::try_from(seqs / 64).unwrap_or(usize::MAX);
        let (skipped, empty) = (place(low.saturating_sub(self.start)), place(self.start.saturating_sub(low)));
        let words = self.words.get(skipped..).unwrap_or_default();
        let window = window.get_mut(empty..).unwrap_or_default();
        window.iter_mut().zip(words).for_each(|(all, word)| *all |= word);
    }

    fn insert(&mut self, seq: u64) {
        let place = seq.checked_sub(self.start).and_then(|place| usize::try_from(place).ok());
        let place = place.unwrap_or(usize::MAX);
        if let Some(word) = self.words.get_mut(place / 64) {
            self.count += u64::from(*word >> (place % 64) & 1 == 0);
            *word |= 1 << (place % 64);
        }
    }

    /// The set of some runs.
    fn gather(runs: &[&Run], (low, high): (u64, u64)) -> Result<Self> {
        let start = low & !63;
        let words = usize::try_from((high - start) / 64 + 1).unwrap_or(0);
        let runs_there = runs.iter().map(|run| run.number()).collect();
        let mut changed = Changed { runs: runs_there, start, words: vec![0; words], count: 0 };
        for run in runs.iter().filter(|run| run.meta().changed.is_some()) {
            for kind in [Kind::Edited, Kind::Deleted] {
                postings::each(run, &term(kind, false, b""), &mut |seqs| {
                    seqs.iter().for_each(|seq| changed.insert(*seq));
                })?;
            }
        }
        Ok(changed)
    }
}

/// The messages that the runs among the pieces changed, from the cache if they are there. `None` where there are none,
/// or the bits would take too much.
///
/// # Errors
/// `corrupt`.
pub fn in_runs(sources: &[Source<'_>]) -> Result<Option<Arc<Changed>>> {
    let runs: Vec<&Run> = sources
        .iter()
        .filter_map(|source| match source {
            Source::Run(run) => Some(*run),
            Source::Tail(_) => None,
        })
        .collect();
    let ranges = runs.iter().filter_map(|run| run.meta().changed);
    let range = ranges.reduce(|(low, high), (lowest, highest)| (low.min(lowest), high.max(highest)));
    let few = range.filter(|(low, high)| low <= high && high - low <= 8 * MOST_BYTES);
    let (Some(newest), Some(range)) = (runs.last(), few) else { return Ok(None) };
    let mut kept = newest.cache().changed.lock().unwrap_or_else(PoisonError::into_inner);
    let is_of = |changed: &Changed| changed.runs.iter().copied().eq(runs.iter().map(|run| run.number()));
    if let Some(changed) = kept.as_ref().filter(|changed| is_of(changed)) {
        return Ok(Some(Arc::clone(changed)));
    }
    let changed = Arc::new(Changed::gather(&runs, range)?);
    *kept = Some(Arc::clone(&changed));
    Ok(Some(changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::cache::BlockCache;
    use crate::index::meta::Meta;
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::testing::file_of;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const FIRST: u64 = 1 << 30;

    /// A run whose events edited and deleted some older messages.
    fn run_of(edited: &BTreeSet<u64>, deleted: &BTreeSet<u64>, cache: &Arc<BlockCache>) -> Run {
        let both: BTreeSet<u64> = edited.union(deleted).copied().collect();
        let changed = both.first().copied().zip(both.last().copied());
        let meta = Meta { first: FIRST, last: FIRST, dense_from: FIRST + 1, changed, ..Meta::default() };
        let file = file_of(meta, 2, &[], |writer| {
            let mut postings = PostingsWriter::default();
            for (kind, seqs) in [(Kind::Edited, edited), (Kind::Deleted, deleted)] {
                postings.write(writer, &term(kind, false, b""), seqs.iter().copied()).expect("memory");
            }
        });
        Run::open(file, "/index/one.run", cache, true).expect("a whole file")
    }

    fn seqs() -> impl Strategy<Value = BTreeSet<u64>> {
        prop::collection::btree_set(1_u64..100_000, 0..200)
    }

    proptest! {
        #[test]
        fn what_any_of_the_runs_changed_is_there_and_nothing_else(
            (one, two, three) in (seqs(), seqs(), seqs()),
            asked in prop::collection::vec(0_u64..100_100, 20),
        ) {
            let cache = Arc::default();
            let runs = [run_of(&one, &two, &cache), run_of(&BTreeSet::new(), &three, &cache)];
            let all: BTreeSet<u64> = one.iter().chain(&two).chain(&three).copied().collect();
            let Some(changed) = in_runs(&runs.each_ref().map(Source::Run)).expect("whole") else {
                prop_assert!(all.is_empty());
                return Ok(());
            };
            prop_assert_eq!(changed.count(), all.len() as u64);
            for seq in asked.into_iter().chain(all.iter().copied()) {
                prop_assert_eq!(changed.holds(seq), all.contains(&seq), "{}", seq);
                prop_assert_eq!(changed.first_from(seq), all.range(seq..).next().copied(), "{}", seq);
                let (low, mut window) = (seq & !63, [0; 9]);
                changed.mark(low, &mut window);
                let marked = (0..9 * 64).filter(|place| window[place / 64] >> (place % 64) & 1 == 1);
                let marked: Vec<u64> = marked.map(|place| low + place as u64).collect();
                prop_assert_eq!(marked, all.range(low..low + 9 * 64).copied().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn other_runs_have_another_set() {
        let cache = Arc::default();
        let set = |seqs: &[u64]| seqs.iter().copied().collect::<BTreeSet<u64>>();
        let runs = [run_of(&set(&[5]), &set(&[7]), &cache), run_of(&set(&[]), &set(&[9]), &cache)];
        let [one, two] = runs.each_ref().map(Source::Run);
        for (sources, count) in [(vec![one, two], 3), (vec![one], 2), (vec![two], 1), (vec![one, two], 3)] {
            let changed = in_runs(&sources).expect("whole").expect("some are there");
            let again = in_runs(&sources).expect("whole").expect("some are there");
            assert_eq!(changed.count(), count);
            assert!(Arc::ptr_eq(&changed, &again), "it is kept");
        }
        assert!(in_runs(&[]).expect("whole").is_none());
    }

    #[test]
    fn what_lies_too_far_apart_is_no_set() {
        let cache = Arc::default();
        let far = 8 * MOST_BYTES + 2;
        for (highest, is_set) in [(far - 1, true), (far, false)] {
            let run = run_of(&BTreeSet::from([1, highest]), &BTreeSet::new(), &cache);
            assert_eq!(in_runs(&[Source::Run(&run)]).expect("whole").is_some(), is_set);
        }
    }
}
