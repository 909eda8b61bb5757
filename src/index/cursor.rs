//! Cursors: sets of seqs to walk in one direction, and their combinations.
//!
//! A cursor speaks in *ranks*, which ascend in the direction of the walk: the seq itself when the
//! oldest come first, its complement when the newest do. So AND, OR and NOT are written once. For AND see `and`.

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::postings::{List, count};
use super::run::Run;
use crate::domain::command::Order;
use crate::error::Result;

/// A seq's rank in a direction, and back: the same function both ways.
#[must_use]
pub fn rank(order: Order, seq: u64) -> u64 {
    match order {
        Order::Oldest => seq,
        Order::Newest => !seq,
    }
}

/// A set to walk. After `seek` it stands at an item or at its end.
pub trait Cursor {
    /// The rank it stands at; `None` at the end.
    fn current(&self) -> Option<u64>;

    /// Goes to the first item whose rank is `target` or more; it never goes back.
    ///
    /// # Errors
    /// `corrupt`.
    fn seek(&mut self, target: u64) -> Result<()>;

    /// About how many items it has, where that is known; else very many.
    fn size(&self) -> u64 {
        u64::MAX
    }

    /// Whether it rests: it stands where it has come to, before which there is nothing, and which need not be an
    /// item. It goes on when it is told to seek that place.
    fn rests(&self) -> bool {
        false
    }

    /// Appends the ranks of the items before `end` that are left, and goes there.
    ///
    /// # Errors
    /// `corrupt`.
    fn take_before(&mut self, end: u64, out: &mut Vec<u64>) -> Result<()> {
        while let Some(current) = self.current().filter(|current| *current < end) {
            out.push(current);
            self.seek(current + 1)?;
        }
        Ok(())
    }

    /// Itself as a list that is quicker put into a bitmap than walked, if it is one.
    fn as_list(&mut self) -> Option<&mut dyn Mark> {
        None
    }
}

/// A list that can be put into a bitmap.
pub trait Mark {
    /// Sets the bits of its items among the seqs from `low` on: the lowest bit of the first word is that of `low`.
    /// Where it stands does not change.
    ///
    /// # Errors
    /// `corrupt`.
    fn mark(&mut self, low: u64, window: &mut [u64]) -> Result<()>;
}

/// A cursor of any kind.
pub type Boxed<'r> = Box<dyn Cursor + 'r>;

impl Cursor for Boxed<'_> {
    fn current(&self) -> Option<u64> {
        self.as_ref().current()
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        self.as_mut().seek(target)
    }

    fn size(&self) -> u64 {
        self.as_ref().size()
    }

    fn rests(&self) -> bool {
        self.as_ref().rests()
    }

    fn take_before(&mut self, end: u64, out: &mut Vec<u64>) -> Result<()> {
        self.as_mut().take_before(end, out)
    }

    fn as_list(&mut self) -> Option<&mut dyn Mark> {
        self.as_mut().as_list()
    }
}

/// A cursor in a box, unless it has nothing.
pub fn boxed<'r, C: Cursor + 'r>(cursor: C) -> Option<Boxed<'r>> {
    cursor.current().is_some().then(|| Box::new(cursor) as Boxed<'r>)
}

/// The postings of a term in a run.
pub struct Postings<'r> {
    run: &'r Run,
    list: List<'r>,
    order: Order,
    /// How many there are. Oldest first that is known when somebody asks: the last chunk says it.
    size: OnceCell<u64>,
    /// The seq it stands at.
    current: Option<u64>,
    /// Whether it was marked, and the list is at some other chunk than that which `current` is in.
    elsewhere: bool,
    /// Seeks in this chunk so far.
    seeks: usize,
    /// The chunk's postings, ascending, once it was sought in often; those that are not passed are the first
    /// `left` when newest come first, the last `left` otherwise.
    seqs: Vec<u64>,
    left: usize,
}

/// Seeks in a chunk that together take as long as to decode it.
const SEEKS_DECODED: usize = 8;

impl<'r> Postings<'r> {
    /// Stands at the first item. `None` when the run does not hold the term.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn open(run: &'r Run, term: &[u8], order: Order) -> Result<Option<Self>> {
        let list = match order {
            Order::Oldest => List::open(run, term)?,
            Order::Newest => List::open_last(run, term)?,
        };
        let Some(list) = list else { return Ok(None) };
        let chunk = list.chunk();
        let (size, first) = match order {
            Order::Newest => (OnceCell::from(chunk.before + chunk.count), chunk.last),
            Order::Oldest if chunk.is_whole_list() => (OnceCell::from(chunk.count), chunk.first),
            Order::Oldest => (OnceCell::new(), chunk.first),
        };
        let current = Some(first);
        Ok(Some(Postings {
            run,
            list,
            order,
            size,
            current,
            elsewhere: false,
            seeks: 0,
            seqs: Vec::new(),
            left: 0,
        }))
    }

    /// Goes to the chunk that holds the first item from `seq` on. `false`: there is none.
    fn seek_chunk(&mut self, seq: u64) -> Result<bool> {
        (self.seeks, self.elsewhere) = (0, false);
        if self.order == Order::Oldest {
            return self.list.seek(seq);
        }
        if self.list.seek(seq)? && self.list.chunk().first <= seq {
            return Ok(true);
        }
        self.list.seek_before(seq)
    }

    /// The first item of the chunk from `seq` on.
    fn in_chunk(&mut self, seq: u64) -> Result<Option<u64>> {
        self.seeks += 1;
        if self.seeks < SEEKS_DECODED || self.list.chunk().is_dense() {
            return self.list.next_from(seq, self.order);
        }
        if self.seeks == SEEKS_DECODED {
            self.seqs.clear();
            self.list.decode(&mut self.seqs)?;
            self.left = self.seqs.len();
        }
        let index = match self.order {
            Order::Oldest => {
                let start = self.seqs.len() - self.left;
                self.left -= self.seqs[start..].partition_point(|each| *each < seq);
                self.seqs.len().checked_sub(self.left)
            }
            Order::Newest => {
                self.left = self.seqs[..self.left].partition_point(|each| *each <= seq);
                self.left.checked_sub(1)
            }
        };
        Ok(index.and_then(|index| self.seqs.get(index).copied()))
    }
}

impl Cursor for Postings<'_> {
    fn size(&self) -> u64 {
        // Damage is said where the list is walked.
        *self.size.get_or_init(|| count(self.run, self.list.term()).unwrap_or(u64::MAX))
    }

    fn current(&self) -> Option<u64> {
        self.current.map(|seq| rank(self.order, seq))
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        if self.current().is_none_or(|current| current >= target) {
            return Ok(());
        }
        let (seq, chunk) = (rank(self.order, target), self.list.chunk());
        let here = !self.elsewhere
            && match self.order {
                Order::Oldest => seq <= chunk.last,
                Order::Newest => seq >= chunk.first,
            };
        self.current = if here || self.seek_chunk(seq)? { self.in_chunk(seq)? } else { None };
        Ok(())
    }

    fn as_list(&mut self) -> Option<&mut dyn Mark> {
        Some(self)
    }
}

impl Mark for Postings<'_> {
    fn mark(&mut self, low: u64, window: &mut [u64]) -> Result<()> {
        let end = low.saturating_add(64 * window.len() as u64);
        self.elsewhere = true;
        if self.list.seek(low)? {
            self.list.chunks_before(end, &mut |list| list.mark(low, window, &mut self.seqs))?;
        }
        Ok(())
    }
}

/// The first place from `start` on that is not before something; all behind it are not, too. Goes in steps that
/// double, then between the last two (Bentley and Yao 1976): most are not far.
fn first_not(start: usize, before: impl Fn(usize) -> bool) -> usize {
    if !before(start) {
        return start;
    }
    let (mut low, mut step) = (start, 1);
    while before(low + step) {
        low += step;
        step *= 2;
    }
    let mut high = low + step;
    low += 1;
    while low < high {
        let middle = usize::midpoint(low, high);
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Seqs in memory, ascending, which others may have, too.
pub struct Listed {
    seqs: Arc<[u64]>,
    order: Order,
    /// How many were passed.
    passed: usize,
}

impl Listed {
    /// Stands at the first.
    #[must_use]
    pub fn new(seqs: Arc<[u64]>, order: Order) -> Self {
        Listed { seqs, order, passed: 0 }
    }

    /// The rank at a place in the direction of the walk.
    fn at(&self, place: usize) -> Option<u64> {
        let index = match self.order {
            Order::Oldest => place,
            Order::Newest => self.seqs.len().checked_sub(place + 1)?,
        };
        self.seqs.get(index).map(|seq| rank(self.order, *seq))
    }
}

impl Cursor for Listed {
    fn size(&self) -> u64 {
        self.seqs.len() as u64
    }

    fn current(&self) -> Option<u64> {
        self.at(self.passed)
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        let before = |place: usize| self.at(place).is_some_and(|rank| rank < target);
        self.passed = first_not(self.passed, before);
        Ok(())
    }

    fn take_before(&mut self, end: u64, out: &mut Vec<u64>) -> Result<()> {
        let start = self.passed;
        self.seek(end)?;
        out.extend((start..self.passed).filter_map(|place| self.at(place)));
        Ok(())
    }
}

/// Seqs in a set, which others may have, too.
pub struct Members {
    set: Arc<RoaringTreemap>,
    order: Order,
    current: Option<u64>,
}

impl Members {
    /// Stands at the first.
    #[must_use]
    pub fn of(set: Arc<RoaringTreemap>, order: Order) -> Self {
        let mut cursor = Members { set, order, current: None };
        cursor.current = cursor.first_from(0);
        cursor
    }

    fn first_from(&self, target: u64) -> Option<u64> {
        let (seq, mut seqs) = (rank(self.order, target), self.set.iter());
        let found = match self.order {
            Order::Oldest => {
                seqs.advance_to(seq);
                seqs.next()
            }
            Order::Newest => {
                seqs.advance_back_to(seq);
                seqs.next_back()
            }
        };
        found.map(|seq| rank(self.order, seq))
    }
}

impl Cursor for Members {
    fn size(&self) -> u64 {
        self.set.len()
    }

    fn current(&self) -> Option<u64> {
        self.current
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        if self.current.is_some_and(|current| current < target) {
            self.current = self.first_from(target);
        }
        Ok(())
    }
}

/// Seqs that were gathered in whatever order, some perhaps twice. Most walks end soon, so only the first few are
/// put in order at once.
pub struct Gathered {
    ranks: Vec<u64>,
    /// So many are in order, and before all others.
    sorted: usize,
    /// How many were passed.
    passed: usize,
}

/// Items that are put in order at first.
const SORTED_AT_FIRST: usize = 64;

impl Gathered {
    /// Stands at the first.
    #[must_use]
    pub fn of(seqs: Vec<u64>, order: Order) -> Self {
        let mut ranks = seqs;
        ranks.iter_mut().for_each(|seq| *seq = rank(order, *seq));
        let sorted = ranks.len().min(SORTED_AT_FIRST);
        if sorted < ranks.len() {
            ranks.select_nth_unstable(sorted);
        }
        ranks[..sorted].sort_unstable();
        Gathered { ranks, sorted, passed: 0 }
    }
}

impl Cursor for Gathered {
    fn size(&self) -> u64 {
        self.ranks.len() as u64
    }

    fn current(&self) -> Option<u64> {
        self.ranks.get(self.passed).copied()
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        if self.sorted < self.ranks.len() && self.ranks[self.sorted - 1] < target {
            self.ranks[self.sorted..].sort_unstable();
            self.sorted = self.ranks.len();
        }
        self.passed =
            first_not(self.passed, |place| self.ranks.get(place).is_some_and(|rank| *rank < target));
        Ok(())
    }
}

/// What is in any of them. Those that stand before the target of a seek move, the others are not looked at.
pub struct Or<C> {
    parts: Vec<C>,
    /// Where each part stands that is not at its end, and its number.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<C: Cursor> Or<C> {
    /// Of so many parts, or none.
    #[must_use]
    pub fn of(parts: Vec<C>) -> Self {
        let heads = parts.iter().enumerate();
        let heads = heads.filter_map(|(number, part)| Some(Reverse((part.current()?, number)))).collect();
        Or { parts, heads }
    }

    /// Adds a part.
    pub fn push(&mut self, part: C) {
        self.heads.extend(part.current().map(|current| Reverse((current, self.parts.len()))));
        self.parts.push(part);
    }
}

impl<C: Cursor> Cursor for Or<C> {
    fn size(&self) -> u64 {
        self.parts.iter().fold(0, |all: u64, part| all.saturating_add(part.size()))
    }

    fn current(&self) -> Option<u64> {
        self.heads.peek().map(|Reverse((current, _))| *current)
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        while let Some(mut head) = self.heads.peek_mut().filter(|head| head.0.0 < target) {
            let Some(part) = self.parts.get_mut(head.0.1) else { break };
            part.seek(target)?;
            match part.current() {
                Some(current) => head.0.0 = current,
                None => drop(PeekMut::pop(head)),
            }
        }
        Ok(())
    }
}

/// A set, and others that are left out of it.
pub struct Less<'r> {
    /// The set.
    pub wanted: Boxed<'r>,
    /// What is left out.
    pub excluded: Vec<Boxed<'r>>,
}

impl Less<'_> {
    /// Whether the item of a rank is left out. Ranks are asked for in order.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn excludes(&mut self, rank: u64) -> Result<bool> {
        for excluded in &mut self.excluded {
            excluded.seek(rank)?;
            if excluded.current() == Some(rank) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What is in one and in none of the others.
pub struct Not<'r>(Less<'r>);

impl<'r> Not<'r> {
    /// `wanted` less `excluded`.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn of(wanted: Boxed<'r>, excluded: Vec<Boxed<'r>>) -> Result<Boxed<'r>> {
        if excluded.is_empty() {
            return Ok(wanted);
        }
        let mut not = Not(Less { wanted, excluded });
        not.pass_excluded()?;
        Ok(Box::new(not))
    }

    fn pass_excluded(&mut self) -> Result<()> {
        while let Some(current) = self.current() {
            let Some(next) = current.checked_add(1) else { break };
            if !self.0.excludes(current)? {
                break;
            }
            self.0.wanted.seek(next)?;
        }
        Ok(())
    }
}

impl Cursor for Not<'_> {
    fn size(&self) -> u64 {
        self.0.wanted.size()
    }

    fn current(&self) -> Option<u64> {
        self.0.wanted.current()
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        self.0.wanted.seek(target)?;
        self.pass_excluded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::testing::file_run;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_list_knows_how_long_it_is_whichever_comes_first(length in 1_u64..1500, newest: bool) {
            let run = file_run(20_000, 1, |writer| {
                PostingsWriter::default().write(writer, b"a\0", (1..=length).map(|n| 7 * n)).expect("memory");
            });
            let order = if newest { Order::Newest } else { Order::Oldest };
            let mut list = Postings::open(&run, b"a\0", order).expect("memory").expect("a list");
            prop_assert_eq!(list.size(), length);
            list.seek(rank(order, 35)).expect("memory");
            prop_assert_eq!(list.size(), length);
        }

        #[test]
        fn a_list_is_walked_in_either_direction_in_steps_of_any_length(
            gathered in prop::collection::vec(0_u64..2000, 0..300),
            steps in prop::collection::vec((1_u64..600, any::<bool>()), 0..40),
            newest: bool,
            kind in 0..3,
        ) {
            let order = if newest { Order::Newest } else { Order::Oldest };
            let seqs: BTreeSet<u64> = gathered.iter().copied().collect();
            let ranks: BTreeSet<u64> = seqs.iter().map(|seq| rank(order, *seq)).collect();
            let mut listed: Boxed<'_> = match kind {
                0 => Box::new(Listed::new(seqs.into_iter().collect(), order)),
                1 => Box::new(Members::of(Arc::new(seqs.into_iter().collect()), order)),
                _ => Box::new(Gathered::of(gathered, order)),
            };
            let mut at = 0;
            for (step, taken) in steps {
                prop_assert_eq!(listed.current(), ranks.range(at..).next().copied());
                let Some(current) = listed.current() else { break };
                let next = current.saturating_add(step);
                let mut found = Vec::new();
                if taken {
                    listed.take_before(next, &mut found).expect("memory");
                    prop_assert_eq!(found, ranks.range(at..next).copied().collect::<Vec<_>>());
                } else {
                    listed.seek(next).expect("memory");
                }
                at = next;
            }
        }
    }
}
