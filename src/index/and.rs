//! What is in all of some sets.
//!
//! The one with the fewest items leads, and where another is further the others leap there. Long lists that are hardly
//! ever at the same place leap past each other all the time; these are put into bitmaps instead, a window of seqs at
//! a time, and what the bitmaps have in common leads. Windows begin small, as most walks end soon.

use super::bitmap::{highest_below, intersect, lowest};
use super::cursor::{Boxed, Cursor, rank};
use crate::domain::command::Order;
use crate::error::Result;

/// Leaps before long lists are put into bitmaps: as long as the first window takes.
const LEAPS: u32 = 32;
/// A list with fewer items leads by itself.
const LONG: u64 = 1024;
/// How many times as long as the first another list may be: to put so many items into a bitmap takes as long as a
/// leap past them.
const FAR_LONGER: u64 = 32;
/// Leaps in one go, where whoever walks may want to rest: a fraction of a millisecond. Few in tests, so that it rests
/// in their small sets, too.
const LEAPS_IN_ONE_GO: u32 = if cfg!(test) { 3 } else { 1024 };
/// Words of 64 seqs in the first window, and in a large one.
const WORDS_AT_FIRST: usize = 64;
const WORDS_AT_MOST: usize = 4096;

/// What is in all of them.
pub struct And<'r> {
    /// The one with the fewest items first.
    parts: Vec<Boxed<'r>>,
    order: Order,
    current: Option<u64>,
    /// How many of the parts, from the first on, are long lists that can be put into bitmaps.
    long: usize,
    leaps: u32,
    window: Window,
    /// After how many leaps it rests.
    in_one_go: u32,
    rests: bool,
}

/// What long lists have in common among some seqs.
#[derive(Default)]
struct Window {
    low: u64,
    /// A bit for each seq from `low` on; those before the walk's place may be there, too.
    common: Vec<u64>,
    one: Vec<u64>,
}

/// Where parts that are sought to a place stand.
enum Found {
    /// One is at its end.
    End,
    /// One is further.
    Further(u64),
    /// All are there.
    All,
}

impl<'r> And<'r> {
    /// Of at least one part, each of which walks in `order`.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn of(parts: Vec<Boxed<'r>>, order: Order) -> Result<Boxed<'r>> {
        Self::that_may_rest(parts, order, u32::MAX)
    }

    /// The same, for someone who asks whether it [`rests`](Cursor::rests): where the parts are hardly ever at the
    /// same place it does now and then.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn that_rests(parts: Vec<Boxed<'r>>, order: Order) -> Result<Boxed<'r>> {
        Self::that_may_rest(parts, order, LEAPS_IN_ONE_GO)
    }

    fn that_may_rest(mut parts: Vec<Boxed<'r>>, order: Order, in_one_go: u32) -> Result<Boxed<'r>> {
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        parts.sort_by_key(Cursor::size);
        let least = parts.first().map_or(0, Cursor::size);
        let is_long = |part: &mut Boxed<'r>| {
            (LONG..=FAR_LONGER.saturating_mul(least)).contains(&part.size()) && part.as_list().is_some()
        };
        let long = parts.iter_mut().position(|part| !is_long(part)).unwrap_or(parts.len());
        let (leaps, window) = (0, Window::default());
        let mut and = And { parts, order, current: Some(0), long, leaps, window, in_one_go, rests: false };
        and.seek(0)?;
        Ok(Box::new(and))
    }

    /// The first place from `target` on where the long lists have something in common.
    fn common_from(&mut self, mut target: u64) -> Result<Option<u64>> {
        let long = self.parts.get_mut(..self.long).unwrap_or_default();
        loop {
            if let Some(found) = self.window.first_from(target, self.order) {
                return Ok(Some(found));
            }
            let Some(behind) = self.window.behind(self.order) else { return Ok(None) };
            target = target.max(behind);
            // A window begins where every list has something left.
            for list in &mut *long {
                list.seek(target)?;
                let Some(current) = list.current() else { return Ok(None) };
                target = target.max(current);
            }
            self.window.fill(target, self.order, long)?;
        }
    }
}

impl Cursor for And<'_> {
    fn size(&self) -> u64 {
        self.parts.first().map_or(0, Cursor::size)
    }

    fn current(&self) -> Option<u64> {
        self.current
    }

    fn rests(&self) -> bool {
        self.rests
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        if self.current.is_none_or(|current| current > target) {
            return Ok(());
        }
        let mut target = target;
        self.rests = false;
        for leap in 0.. {
            if leap >= self.in_one_go {
                (self.current, self.rests) = (Some(target), true);
                return Ok(());
            }
            let in_bitmaps = if self.leaps < LEAPS || self.long < 2 { 0 } else { self.long };
            if in_bitmaps > 0 {
                let Some(common) = self.common_from(target)? else { break };
                target = common;
            }
            match all_at(self.parts.get_mut(in_bitmaps..).unwrap_or_default(), target)? {
                Found::End => break,
                Found::Further(found) => target = found,
                Found::All => {
                    self.current = Some(target);
                    return Ok(());
                }
            }
            self.leaps = self.leaps.saturating_add(1);
        }
        self.current = None;
        Ok(())
    }
}

/// Seeks `target` in each, as long as it is found.
fn all_at(parts: &mut [Boxed<'_>], target: u64) -> Result<Found> {
    for part in parts {
        part.seek(target)?;
        match part.current() {
            None => return Ok(Found::End),
            Some(found) if found > target => return Ok(Found::Further(found)),
            Some(_) => {}
        }
    }
    Ok(Found::All)
}

impl Window {
    /// The first place from `target` on.
    fn first_from(&self, target: u64, order: Order) -> Option<u64> {
        let seq = rank(order, target);
        let place = |seq: u64| usize::try_from(seq).unwrap_or(usize::MAX);
        let found = match order {
            Order::Oldest => lowest(&self.common, place(seq.saturating_sub(self.low))),
            Order::Newest => highest_below(&self.common, place(seq.checked_sub(self.low)?).saturating_add(1)),
        };
        found.map(|place| rank(order, self.low + place as u64))
    }

    /// The first place that is no more in it. `None` when there is none.
    fn behind(&self, order: Order) -> Option<u64> {
        match order {
            _ if self.common.is_empty() => Some(0),
            Order::Oldest => self.low.checked_add(64 * self.common.len() as u64),
            Order::Newest => self.low.checked_sub(1).map(|seq| rank(order, seq)),
        }
    }

    /// Makes it what the lists have in common from `start` on; as long as that goes on, twice as much each time.
    fn fill(&mut self, start: u64, order: Order, lists: &mut [Boxed<'_>]) -> Result<()> {
        let words = (2 * self.common.len()).clamp(WORDS_AT_FIRST, WORDS_AT_MOST);
        self.low = match order {
            Order::Oldest => start,
            Order::Newest => rank(order, start).saturating_sub(64 * words as u64 - 1),
        };
        self.common.clear();
        self.common.resize(words, u64::MAX);
        for list in lists.iter_mut().filter_map(Cursor::as_list) {
            self.one.clear();
            self.one.resize(words, 0);
            list.mark(self.low, &mut self.one)?;
            intersect(&mut self.common, &self.one);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::cursor::{Listed, Postings};
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::run::Run;
    use crate::index::testing::file_run;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const LAST: u64 = 700_000;

    /// A list: what is asked for, from where on, and how far from each other its items are.
    fn lists() -> impl Strategy<Value = BTreeSet<u64>> {
        (1_u64..LAST, prop_oneof![2_u64..9, 60_u64..400], 1_u64..1000).prop_map(|(first, step, salt)| {
            (first.min(LAST / 2)..LAST)
                .step_by(usize::try_from(step).expect("small"))
                .filter(|seq| (seq / step).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ salt) >> 63 == 0)
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_all_have_is_found_in_either_direction_however_long_they_are(
            lists in prop::collection::vec(lists(), 2..4),
            few in prop::option::of(prop::collection::btree_set(1..LAST, 1..5000)),
            steps in prop::collection::vec(prop_oneof![9 => 1_u64..30, 1 => 1_u64..300_000], 1..2000),
            newest: bool,
            in_one_go in prop_oneof![Just(u32::MAX), 1_u32..40],
        ) {
            let order = if newest { Order::Newest } else { Order::Oldest };
            let terms: Vec<Vec<u8>> = (b'a'..).take(lists.len()).map(|name| vec![name, 0]).collect();
            let run = file_run(LAST, terms.len() as u64, |writer| {
                let mut postings = PostingsWriter::default();
                for (term, seqs) in terms.iter().zip(&lists) {
                    postings.write(writer, term, seqs.iter().copied()).expect("memory");
                }
            });
            let mut parts: Vec<Boxed<'_>> = Vec::new();
            for term in &terms {
                parts.extend(Postings::open(&run, term, order).expect("whole").map(|list| Box::new(list) as Boxed<'_>));
            }
            prop_assume!(parts.len() == lists.len());
            parts.extend(few.iter().map(|few| {
                Box::new(Listed::new(few.iter().copied().collect(), order)) as Boxed<'_>
            }));
            let all: BTreeSet<u64> = (lists[0].iter())
                .filter(|seq| lists.iter().chain(&few).all(|list| list.contains(seq)))
                .map(|seq| rank(order, *seq))
                .collect();
            let mut and = And::that_may_rest(parts, order, in_one_go).expect("whole");
            let mut at = 0;
            for step in steps {
                while let Some(place) = and.current().filter(|_| and.rests()) {
                    prop_assert!(all.range(at..).next().is_none_or(|first| *first >= place));
                    and.seek(place).expect("whole");
                }
                prop_assert_eq!(and.current(), all.range(at..).next().copied());
                let Some(current) = and.current() else { break };
                at = current.saturating_add(step);
                and.seek(at).expect("whole");
            }
        }
    }

    /// What is in both lists of a run, after so many leaps.
    fn of_both(run: &Run, order: Order, leaps: u32) -> And<'_> {
        let list = |term| Postings::open(run, term, order).expect("whole").expect("a list");
        let mut and = And {
            parts: vec![Box::new(list(b"a\0")), Box::new(list(b"b\0"))],
            order,
            current: Some(0),
            long: 2,
            leaps,
            window: Window::default(),
            in_one_go: u32::MAX,
            rests: false,
        };
        and.seek(0).expect("whole");
        and
    }

    #[test]
    fn long_lists_that_have_nothing_in_common_are_not_leapt_through() {
        let of = |rest: u64| (1..LAST).filter(move |seq| seq % 16 == rest);
        let run = file_run(LAST, 2, |writer| {
            let mut postings = PostingsWriter::default();
            postings.write(writer, b"a\0", of(3)).expect("memory");
            postings.write(writer, b"b\0", of(11)).expect("memory");
        });
        for order in [Order::Newest, Order::Oldest] {
            let and = of_both(&run, order, 0);
            assert_eq!((and.current, and.leaps), (None, LEAPS), "{order:?}");
        }
    }

    #[test]
    fn lists_that_share_everything_are_walked_without_a_gap_where_windows_meet() {
        let seqs = || (2..40_000_u64).step_by(2);
        let run = file_run(LAST, 2, |writer| {
            let mut postings = PostingsWriter::default();
            [b"a\0", b"b\0"].iter().for_each(|term| postings.write(writer, *term, seqs()).expect("memory"));
        });
        for order in [Order::Newest, Order::Oldest] {
            let mut and = of_both(&run, order, LEAPS);
            let mut found = Vec::new();
            while let Some(current) = and.current() {
                found.push(rank(order, current));
                and.seek(current + 1).expect("whole");
            }
            found.sort_unstable();
            assert!(found.into_iter().eq(seqs()), "{order:?}");
        }
    }
}
