//! Seqs that lie in memory, as cursors: a list, a set, or whatever was gathered.

use std::sync::Arc;

use roaring::RoaringTreemap;

use super::{Cursor, rank};
use crate::domain::command::Order;
use crate::error::Result;

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
#[derive(Clone)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::cursor::Boxed;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
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
