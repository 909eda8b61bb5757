//! A position: where a walk through the entries of a run is.

use super::block::{BLOCK_GROUPS, BlockPlace};
use super::read_ahead::ReadAhead;
use super::run::{Block, Run, value_in};
use crate::error::Result;

/// A place in a run.
pub struct Position<'r> {
    run: &'r Run,
    number: usize,
    block: Block,
    place: BlockPlace,
    ahead: ReadAhead,
}

impl Run {
    /// The value of a table's key, whose hash by `filter::hash` is given: `Some(None)` when it was
    /// removed here.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn value(&self, key: &[u8], hash: u64) -> Result<Option<Option<Vec<u8>>>> {
        if !self.may_hold_hash(hash) {
            return Ok(None);
        }
        let mut place = Position::new(self);
        if !place.seek(key)? || place.key() != key {
            return Ok(None);
        }
        Ok(Some(value_in(place.payload()).map(<[u8]>::to_vec)))
    }
}

impl<'r> Position<'r> {
    /// Nowhere yet.
    #[must_use]
    pub fn new(run: &'r Run) -> Self {
        let (block, place, ahead) = (Block::default(), BlockPlace::default(), ReadAhead::default());
        Position { run, number: usize::MAX, block, place, ahead }
    }

    /// The entry's key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.place.key
    }

    /// The entry's payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.block.get(self.place.payload.clone()).unwrap_or_default()
    }

    fn load(&mut self, number: usize) -> Result<()> {
        if self.number != number {
            self.block = self.run.block(number, true)?;
            self.number = number;
            self.ahead.begin_anew();
        }
        self.place.rewind();
        Ok(())
    }

    /// Goes to the first entry whose key is not smaller. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn seek(&mut self, key: &[u8]) -> Result<bool> {
        if self.run.blocks().len() == 0 {
            return Ok(false);
        }
        self.load(self.run.blocks().beginning_before(key, true).saturating_sub(1))?;
        if self.place.seek(&self.block, key).is_some() {
            return Ok(true);
        }
        self.next_block()
    }

    /// Goes before the first entry of a group of a block. `false` when there is none. See `grams`.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn seek_group(&mut self, group: u64) -> Result<bool> {
        let (block, group) = (group / BLOCK_GROUPS as u64, group % BLOCK_GROUPS as u64);
        let block = usize::try_from(block).unwrap_or(usize::MAX);
        if block >= self.run.blocks().len() {
            return Ok(false);
        }
        self.load(block)?;
        Ok(self.place.go_to(&self.block, usize::try_from(group).unwrap_or(0)).is_some())
    }

    /// Goes to the next entry, in this block only.
    pub fn advance_in_block(&mut self) -> bool {
        self.place.next(&self.block).is_some()
    }

    /// Goes to the next entry. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn advance(&mut self) -> Result<bool> {
        if self.place.next(&self.block).is_some() {
            return Ok(true);
        }
        self.next_block()
    }

    fn next_block(&mut self) -> Result<bool> {
        let next = self.number + 1;
        if next >= self.run.blocks().len() {
            return Ok(false);
        }
        self.block = self.ahead.next(self.run, next)?;
        self.number = next;
        self.place.rewind();
        Ok(self.place.next(&self.block).is_some())
    }

    /// Goes to the last entry whose key is smaller. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn seek_before(&mut self, key: &[u8]) -> Result<bool> {
        let blocks = self.run.blocks().beginning_before(key, false);
        // Of a block only the beginning of its first key is known, so it may lie in the one before.
        for number in (blocks.saturating_sub(2)..blocks).rev() {
            self.load(number)?;
            if self.place.seek_before(&self.block, key).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::file_run;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn run_of(keys: &BTreeSet<Vec<u8>>) -> Run {
        file_run(1, keys.len() as u64, |writer| {
            keys.iter().for_each(|key| writer.add(key, b"v").expect("memory"));
        })
    }

    /// What stays in memory of the keys.
    fn kept(keys: &BTreeSet<Vec<u8>>) -> usize {
        run_of(keys).blocks().iter().map(|(key, ..)| key.len()).sum()
    }

    #[test]
    fn of_long_keys_little_stays_in_memory() {
        let alike =
            (0..4000).map(|number| format!("{}{number:020}", "k".repeat(1000)).into_bytes()).collect();
        let of_alike = kept(&alike);
        assert!(of_alike < 4000 * 1020 / 15, "{of_alike} of {} bytes", 4000 * 1020);
        let hashed = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let other = (0..4000).map(|number| [&[1], &hashed(number)[..], &[b'k'; 1000]].concat()).collect();
        let of_other = kept(&other);
        assert!(of_other < 4000, "{of_other} of {} bytes", 4000 * 1009);
    }

    proptest! {
        #[test]
        fn an_entry_is_found_from_both_sides(
            keys in prop::collection::btree_set("[a-c]{1,3}(x{200}|y{600}|)[a-c]{0,3}", 1..200),
            sought in prop::collection::vec("[a-d]{0,3}(x{200}|y{600}|)[a-c]{0,3}", 1..40),
        ) {
            let keys: BTreeSet<Vec<u8>> = keys.into_iter().map(|key| [&[1], key.as_bytes()].concat()).collect();
            let run = run_of(&keys);
            for key in sought.into_iter().map(|key| [&[1], key.as_bytes()].concat()) {
                let mut place = Position::new(&run);
                let behind = place.seek(&key).expect("whole").then(|| place.key().to_vec());
                prop_assert_eq!(behind.as_ref(), keys.range(key.clone()..).next());
                let before = place.seek_before(&key).expect("whole").then(|| place.key().to_vec());
                prop_assert_eq!(before.as_ref(), keys.range(..key.clone()).next_back());
                let next = place.advance().expect("whole").then(|| place.key().to_vec());
                let (next, behind) = if before.is_some() { (next, behind) } else { (None, None) };
                prop_assert_eq!(next, behind);
            }
        }
    }
}
