//! Counts the messages that have all of some terms, exactly, without visiting them.
//!
//! Long lists are put into bitmaps, a window of seqs at a time, as in "Roaring" (Lemire and others:
//! "Consistently faster and smaller compressed bitmaps with Roaring", 2016), less those that are dead, and the
//! longest is counted against what is left. When that takes longer than to look the postings of the shortest list up in
//! the others, each in the one chunk that may hold it, they are looked up.

use super::and::And;
use super::bitmap::intersect;
use super::candidates::{Dead, changed_since, holds_forms_of};
use super::chunk::{is_bits, malformed};
use super::cursor::{Boxed, Cursor};
use super::postings::List;
use super::query::Plan;
use super::source::Source;
use crate::domain::command::Order;
use crate::error::Result;

/// Words of 64 seqs in a window: a bitmap of 32 KiB.
const WINDOW_WORDS: usize = 4096;
const WINDOW_SEQS: u64 = 64 * WINDOW_WORDS as u64;
/// To look a posting up in a list takes as long as to read so many of one.
const LOOK_UP: u64 = 24;
/// So many postings that are stored as bits are read in the time of one that is not.
const BITS: u64 = 8;

/// How many messages match, when all that is asked for is terms. `None` otherwise.
///
/// # Errors
/// `corrupt`.
pub fn count_at_once(sources: &[Source<'_>], plan: &Plan) -> Result<Option<u64>> {
    let (Some(posts), Some(edits)) = (plan.conjunction(false), plan.conjunction(true)) else {
        return Ok(None);
    };
    let mut total = 0;
    let mut windows = Windows::default();
    for (number, source) in sources.iter().enumerate() {
        for (edit, terms) in [(false, &posts), (true, &edits)] {
            if edit && !source.has_edits() {
                continue;
            }
            total += windows.count(sources, number, edit, terms)?;
        }
    }
    Ok(Some(total))
}

/// Bitmaps, a bit for each seq of a window.
#[derive(Default)]
struct Windows {
    common: Vec<u64>,
    one: Vec<u64>,
    spare: Vec<u64>,
}

/// Which messages of a window there are before any list is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Among {
    Live,
    Dead,
}

impl Windows {
    /// How many live messages of piece `number` have all terms.
    fn count(&mut self, sources: &[Source<'_>], number: usize, edit: bool, terms: &[Vec<u8>]) -> Result<u64> {
        let source = sources[number];
        let mut lengths = Vec::with_capacity(terms.len());
        for term in terms {
            match source.count(term)? {
                0 => return Ok(0),
                length => lengths.push(length),
            }
        }
        let changed = changed_since(sources, number, edit, Order::Oldest)?;
        let shortest = lengths.iter().copied().min().unwrap_or(0);
        // Of edits a tail has also some that are not current.
        let exact = !edit || matches!(source, Source::Run(_));
        if terms.len() == 1 && changed.is_empty() && exact {
            return Ok(shortest);
        }
        let Source::Run(run) = source else { return walk(source, terms, &lengths, changed) };
        let mut order: Vec<usize> = (0..terms.len()).collect();
        order.sort_unstable_by_key(|place| lengths[*place]);
        let mut lists = Vec::with_capacity(terms.len());
        for place in order {
            let Some(list) = List::open(run, &terms[place])? else { return Ok(0) };
            lists.push(list);
        }
        let (dead, last) = (changed.size(), run.meta().last);
        lengths.sort_unstable();
        let reading = |(list, length): (&List<'_>, &u64)| {
            let bits = is_bits(*length, last.saturating_sub(list.chunk().first));
            if bits { length / BITS } else { *length }
        };
        let reading: Vec<u64> = lists.iter().zip(&lengths).map(reading).collect();
        if let [list] = lists.as_mut_slice() {
            if dead.saturating_mul(LOOK_UP) < reading.iter().sum() {
                let held = held(list, &all_of(changed, holds_forms_of(source, edit))?)?;
                return shortest.checked_sub(held).ok_or_else(malformed);
            }
            let dead = self.count_in_windows(lists, changed, Among::Dead)?;
            return shortest.checked_sub(dead).ok_or_else(malformed);
        }
        if shortest.saturating_mul(LOOK_UP) >= reading.iter().skip(1).sum() {
            return self.count_in_windows(lists, changed, Among::Live);
        }
        self.look_up(lists, changed)
    }

    /// Looks the postings of the first list, the shortest, up in the others.
    fn look_up(&mut self, mut lists: Vec<List<'_>>, mut dead: Dead<'_>) -> Result<u64> {
        let Some((shortest, others)) = lists.split_first_mut() else { return Ok(0) };
        let mut total = 0;
        let mut here = true;
        while here {
            self.spare.clear();
            shortest.decode(&mut self.spare)?;
            'next: for seq in &self.spare {
                for list in others.iter_mut() {
                    if !list.go_on(*seq)? {
                        return Ok(total);
                    }
                    if !list.holds(*seq) {
                        continue 'next;
                    }
                }
                total += u64::from(!dead.holds(*seq)?);
            }
            here = shortest.advance()?;
        }
        Ok(total)
    }

    /// How many live, or dead, messages are in all lists.
    fn count_in_windows(&mut self, lists: Vec<List<'_>>, mut dead: Dead<'_>, among: Among) -> Result<u64> {
        let mut lists: Vec<Option<List<'_>>> = lists.into_iter().map(Some).collect();
        let (mut total, mut next) = (0, 0);
        // A window begins where every list has something left.
        while let Some(mut low) =
            lists.iter().try_fold(next, |low: u64, list| Some(low.max(list.as_ref()?.chunk().first)))
        {
            if among == Among::Dead {
                let Some(first) = dead.first_from(low)? else { break };
                low = first;
            }
            // Such are the words of those that are dead.
            low &= !63;
            self.begin(low, &mut dead, among)?;
            let Some((longest, others)) = lists.split_last_mut() else { break };
            for list in others {
                self.one.clear();
                self.one.resize(WINDOW_WORDS, 0);
                let Windows { one, spare, common } = self;
                in_window(list, low, &mut |chunk| chunk.mark(low, one, spare))?;
                intersect(common, one);
            }
            let Windows { spare, common, .. } = self;
            in_window(longest, low, &mut |chunk| {
                total += chunk.marked(low, common, spare)?;
                Ok(())
            })?;
            next = low.saturating_add(WINDOW_SEQS);
        }
        Ok(total)
    }

    /// Begins a window with those that are live, or dead.
    fn begin(&mut self, low: u64, dead: &mut Dead<'_>, among: Among) -> Result<()> {
        self.common.clear();
        self.common.resize(WINDOW_WORDS, 0);
        self.spare.clear();
        for list in &mut dead.lists {
            list.seek(low)?;
            list.take_before(low.saturating_add(WINDOW_SEQS), &mut self.spare)?;
        }
        for seq in &self.spare {
            let place = usize::try_from(seq - low).unwrap_or(0);
            self.common[place / 64] |= 1 << (place % 64);
        }
        if let Some(changed) = &dead.changed {
            changed.mark(low, &mut self.common);
        }
        if among == Among::Live {
            self.common.iter_mut().for_each(|word| *word = !*word);
        }
        Ok(())
    }
}

/// Those that are dead from `low` to `high`, ascending. The lists walk oldest first.
fn all_of(dead: Dead<'_>, (low, high): (u64, u64)) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for mut list in dead.lists {
        list.seek(low)?;
        list.take_before(high.saturating_add(1), &mut all)?;
    }
    if let Some(changed) = dead.changed {
        let mut next = low;
        while let Some(seq) = changed.first_from(next).filter(|seq| *seq <= high) {
            all.push(seq);
            next = seq.saturating_add(1);
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// How many of some seqs, ascending, a list has.
fn held(list: &mut List<'_>, seqs: &[u64]) -> Result<u64> {
    let mut held = 0;
    for seq in seqs {
        if !list.go_on(*seq)? {
            break;
        }
        held += u64::from(list.holds(*seq));
    }
    Ok(held)
}

/// Gives the chunks of a list that reach into the window from `low` on. The list is left at its first chunk that
/// reaches behind the window; at its end it is gone.
fn in_window(
    list: &mut Option<List<'_>>,
    low: u64,
    each: &mut dyn FnMut(&List<'_>) -> Result<()>,
) -> Result<()> {
    let Some(chunks) = list else { return Ok(()) };
    let here = chunks.chunk().last >= low || chunks.seek(low)?;
    if !(here && chunks.chunks_before(low.saturating_add(WINDOW_SEQS), each)?) {
        *list = None;
    }
    Ok(())
}

/// Looks the postings of the shortest list up in the others.
fn walk(source: Source<'_>, terms: &[Vec<u8>], lengths: &[u64], mut dead: Dead<'_>) -> Result<u64> {
    let mut order: Vec<usize> = (0..terms.len()).collect();
    order.sort_unstable_by_key(|place| lengths[*place]);
    let mut parts: Vec<Boxed<'_>> = Vec::with_capacity(terms.len());
    for place in order {
        let Some(found) = source.postings(&terms[place], Order::Oldest)? else { return Ok(0) };
        parts.push(found);
    }
    let mut all = And::of(parts, Order::Oldest)?;
    let mut count = 0;
    while let Some(found) = all.current() {
        count += u64::from(!dead.holds(found)?);
        all.seek(found.saturating_add(1))?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::write_ordered;
    use crate::error::Code;
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::run::{Meta, Run};
    use crate::index::terms::{Kind, term};
    use crate::index::testing::file_run_of;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// More than two windows.
    const LAST: u64 = 550_000;

    /// A run of posts, or of changes to older messages, with a list of each kind.
    fn run_of(lists: &[(Kind, &[u8], &BTreeSet<u64>)], first: u64, changed: Option<(u64, u64)>) -> Run {
        let last = first + LAST;
        let meta = Meta { first, last, dense_from: last + 1, changed, ..Meta::default() };
        file_run_of(meta, lists.len() as u64, |writer| {
            let mut postings = PostingsWriter::default();
            for (kind, bytes, seqs) in lists {
                let written = postings.write(writer, &term(*kind, false, bytes), seqs.iter().copied());
                written.expect("memory");
            }
        })
    }

    /// Seqs that are many, or few.
    fn seqs() -> impl Strategy<Value = BTreeSet<u64>> {
        let many =
            (1_u64..300_000, 7_usize..60).prop_map(|(first, step)| (first..LAST).step_by(step).collect());
        prop_oneof![many, prop::collection::btree_set(1..LAST, 1..60), Just(BTreeSet::from([LAST - 1]))]
    }

    /// How many messages are in all of up to three lists, and how many of them are left when some are dead.
    fn counted(lists: &[&BTreeSet<u64>], dead: &BTreeSet<u64>) -> (u64, u64) {
        let counted = counted_among(lists, dead, LAST);
        // What lies so far apart is not in one set.
        assert_eq!(counted_among(lists, dead, u64::MAX - 1), counted);
        counted
    }

    /// The same, where it is said that those which are dead go up to some seq.
    fn counted_among(lists: &[&BTreeSet<u64>], dead: &BTreeSet<u64>, highest: u64) -> (u64, u64) {
        let terms: [(Kind, &[u8]); 3] =
            [(Kind::Originator, b"o"), (Kind::Recipient, b"r"), (Kind::App, b"a")];
        let lists: Vec<_> =
            terms.iter().zip(lists).map(|((kind, bytes), seqs)| (*kind, *bytes, *seqs)).collect();
        let posts = run_of(&lists, 1, None);
        let changed = dead.first().map(|first| (*first, highest));
        let changes = run_of(&[(Kind::Deleted, b"", dead)], LAST + 1, changed);
        let mut plan = Plan::default();
        lists.iter().for_each(|(kind, bytes, _)| plan.require(*kind, bytes));
        let count =
            |sources: &[Source<'_>]| count_at_once(sources, &plan).expect("whole").expect("terms alone");
        (count(&[Source::Run(&posts)]), count(&[Source::Run(&posts), Source::Run(&changes)]))
    }

    #[test]
    fn a_short_list_is_looked_up_in_long_ones() {
        let many: BTreeSet<u64> = (1..LAST).step_by(7).collect();
        let few = BTreeSet::from([1, 2, 8, 7001, 70_001, 70_002, 140_001, 262_144, 262_145]);
        let all = few.intersection(&many).count() as u64;
        let dead = BTreeSet::from([1, 2, 70_001, 140_000]);
        assert_eq!(counted(&[&few, &many, &many], &dead), (all, all - 2));
        assert_eq!(counted(&[&many, &few, &many], &BTreeSet::from([140_001])), (all, all - 1));
    }

    #[test]
    fn a_dead_message_at_the_border_of_a_window_is_not_counted() {
        let many: BTreeSet<u64> = (1..LAST).step_by(8).collect();
        let (all, border) = (many.len() as u64, 1 + WINDOW_SEQS);
        assert!(many.contains(&border));
        for dead in [border - 8, border, border + 8] {
            assert_eq!(counted(&[&many, &many, &many], &BTreeSet::from([dead])), (all, all - 1), "{dead}");
        }
    }

    #[test]
    fn the_last_message_of_a_run_is_not_counted_when_it_is_dead() {
        let last = 1 + LAST;
        let many: BTreeSet<u64> = (0..LAST / 8).map(|place| last - 8 * place).collect();
        let (all, dead) = (many.len() as u64, BTreeSet::from([last]));
        for highest in [last, u64::MAX - 1] {
            for lists in [&[&many][..], &[&many, &many]] {
                assert_eq!(counted_among(lists, &dead, highest), (all, all - 1), "{highest}");
            }
        }
    }

    /// A run whose only entry is a chunk of a recipient's postings.
    fn run_with(last_posting: u64, payload: &[u8]) -> Run {
        file_run_of(Meta { first: 1, last: 10, dense_from: 11, ..Meta::default() }, 1, |writer| {
            let term = term(Kind::Recipient, false, b"r");
            let mut key = term.clone();
            write_ordered(&mut key, last_posting);
            writer.add(&key, payload).expect("memory");
            writer.note_term(&term);
        })
    }

    #[test]
    fn postings_behind_the_end_of_their_run_are_refused() {
        let mut plan = Plan::default();
        plan.require(Kind::Recipient, b"r");
        assert_eq!(count_at_once(&[Source::Run(&run_with(10, &[]))], &plan).expect("whole"), Some(1));
        for last in [11, u64::MAX - 100] {
            let refused = count_at_once(&[Source::Run(&run_with(last, &[]))], &plan).expect_err("no count");
            assert_eq!(refused.code(), Code::Internal);
        }
    }

    #[test]
    fn a_chunk_that_holds_more_than_it_says_is_refused_when_more_are_dead() {
        // It says that it has one posting, and has ten.
        let posts = run_with(10, &[2, 9, 0xff, 0x03]);
        let dead: BTreeSet<u64> = (1..=10).collect();
        let changes = run_of(&[(Kind::Deleted, b"", &dead)], 11, Some((1, 10)));
        let mut plan = Plan::default();
        plan.require(Kind::Recipient, b"r");
        let sources = [Source::Run(&posts), Source::Run(&changes)];
        assert_eq!(count_at_once(&sources, &plan).expect_err("no count").code(), Code::Internal);
    }

    proptest! {
        #[test]
        fn messages_with_all_terms_are_counted_and_changed_ones_are_not(
            one in seqs(),
            other in seqs(),
            third in seqs(),
            dead in prop::collection::btree_set(1..LAST, 0..60),
            hit in 0_usize..50,
        ) {
            let all: BTreeSet<u64> =
                one.iter().copied().filter(|seq| other.contains(seq) && third.contains(seq)).collect();
            // Some that are there, also where few are.
            let dead: BTreeSet<u64> = dead.into_iter().chain(all.iter().copied().take(hit)).collect();
            let (there, live) = counted(&[&one, &other, &third], &dead);
            prop_assert_eq!(there, all.len() as u64);
            prop_assert_eq!(live, all.difference(&dead).count() as u64);
            for some_dead in [&dead, &third] {
                let (there, live) = counted(&[&one], some_dead);
                prop_assert_eq!(there, one.len() as u64);
                prop_assert_eq!(live, one.difference(some_dead).count() as u64);
            }
        }
    }
}
