//! Sets of seqs as bitmaps, a bit for each seq of a range.

use std::sync::Arc;

use super::bitmap::{highest_below, lowest};
use super::chunk::{self, Chunk};
use super::cursor::{Cursor, rank};
use crate::domain::command::Order;
use crate::error::Result;

/// Seqs of a range that are in a set.
#[derive(Debug)]
pub struct Bits {
    /// The seq of the lowest bit of the first word: a multiple of 64.
    start: u64,
    words: Vec<u64>,
}

impl Bits {
    /// None of the seqs from `low` to `high`.
    #[must_use]
    pub fn none_of(low: u64, high: u64) -> Self {
        let start = low & !63;
        let words = usize::try_from(high.saturating_sub(start) / 64 + 1).unwrap_or(0);
        Bits { start, words: vec![0; words] }
    }

    /// Puts one in. Answers whether it was not there; one that is not in the range is left out.
    pub fn insert(&mut self, seq: u64) -> bool {
        let place = seq.checked_sub(self.start).and_then(|place| usize::try_from(place).ok());
        let place = place.unwrap_or(usize::MAX);
        let Some(word) = self.words.get_mut(place / 64) else { return false };
        let is_new = *word >> (place % 64) & 1 == 0;
        *word |= 1 << (place % 64);
        is_new
    }

    /// Puts the postings of a chunk in.
    ///
    /// # Errors
    /// `internal` when the chunk makes no sense, or reaches out of the range.
    pub fn insert_chunk(&mut self, chunk: Chunk, postings: &[u8]) -> Result<()> {
        chunk::mark(chunk, postings, self.start, &mut self.words)
    }

    /// Whether a seq is in it.
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

    /// The last one at `seq` or before.
    #[must_use]
    pub fn last_to(&self, seq: u64) -> Option<u64> {
        let end = usize::try_from(seq.checked_sub(self.start)?).unwrap_or(usize::MAX).saturating_add(1);
        highest_below(&self.words, end).map(|place| self.start + place as u64)
    }

    /// Sets their bits in a window that begins with the seq `low`, a multiple of 64.
    pub fn mark(&self, low: u64, window: &mut [u64]) {
        let place = |seqs: u64| usize::try_from(seqs / 64).unwrap_or(usize::MAX);
        let (skipped, empty) = (place(low.saturating_sub(self.start)), place(self.start.saturating_sub(low)));
        let words = self.words.get(skipped..).unwrap_or_default();
        let window = window.get_mut(empty..).unwrap_or_default();
        window.iter_mut().zip(words).for_each(|(all, word)| *all |= word);
    }
}

/// Walks a set, which others may have, too.
#[derive(Clone)]
pub struct Marked {
    bits: Arc<Bits>,
    order: Order,
    /// About how many there are.
    size: u64,
    current: Option<u64>,
}

impl Marked {
    /// Stands at the first.
    #[must_use]
    pub fn open(bits: Arc<Bits>, size: u64, order: Order) -> Self {
        let mut cursor = Marked { bits, order, size, current: None };
        cursor.current = cursor.first_from(0);
        cursor
    }

    fn first_from(&self, target: u64) -> Option<u64> {
        let seq = rank(self.order, target);
        let found = match self.order {
            Order::Oldest => self.bits.first_from(seq),
            Order::Newest => self.bits.last_to(seq),
        };
        found.map(|seq| rank(self.order, seq))
    }
}

impl Cursor for Marked {
    fn size(&self) -> u64 {
        self.size
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_set_has_what_was_put_in_and_is_walked_in_either_direction(
            seqs in prop::collection::btree_set(100_u64..2000, 0..60),
            steps in prop::collection::vec(1_u64..300, 0..20),
            newest: bool,
        ) {
            let mut bits = Bits::none_of(100, 1999);
            for seq in &seqs {
                prop_assert!(bits.insert(*seq) && !bits.insert(*seq) && bits.holds(*seq));
            }
            prop_assert!(!bits.insert(5) && !bits.insert(5000), "they are out of the range");
            for seq in 0..2100 {
                prop_assert_eq!(bits.first_from(seq), seqs.range(seq..).next().copied(), "{}", seq);
                prop_assert_eq!(bits.last_to(seq), seqs.range(..=seq).next_back().copied(), "{}", seq);
            }
            let order = if newest { Order::Newest } else { Order::Oldest };
            let ranks: BTreeSet<u64> = seqs.iter().map(|seq| rank(order, *seq)).collect();
            let mut walked = Marked::open(Arc::new(bits), seqs.len() as u64, order);
            let mut at = 0;
            for step in steps {
                prop_assert_eq!(walked.current(), ranks.range(at..).next().copied());
                let Some(current) = walked.current() else { break };
                at = current.saturating_add(step);
                walked.seek(at).expect("memory");
            }
        }
    }
}
