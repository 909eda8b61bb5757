//! Blocks of run files that were read lately, whole and checked, within a bound.
//!
//! A look-up in a run file costs a system call, a copy and a checksum; most look-ups are for the same
//! few blocks (frequent words, busy chats, the newest keys). The cache is a table of small sets, each
//! behind its own lock and emptied by the clock algorithm (Corbato 1968): a block that was asked for
//! since the hand passed it gets a second chance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::changed::Changed;
use crate::limits::{CACHED_BLOCK_BYTES, CACHED_BLOCKS};

const SLOTS_A_SET: usize = 16;
const SEEN_A_SET: usize = 32;

/// Blocks of run files, shared by all who read.
pub struct BlockCache {
    sets: Vec<Mutex<Set>>,
    next_run: AtomicU64,
    /// What the runs that were asked last changed.
    pub(super) changed: Mutex<Option<Arc<Changed>>>,
}

#[derive(Default)]
struct Set {
    slots: Vec<Slot>,
    hand: usize,
    /// Marks of blocks that were read once, lately: only the second time they are kept. Another block with
    /// the same mark may be kept the first time.
    seen: [u32; SEEN_A_SET],
    next_seen: usize,
}

struct Slot {
    run: u64,
    place: u64,
    block: Arc<[u8]>,
    asked_for: bool,
}

impl Default for BlockCache {
    fn default() -> Self {
        let sets = (0..CACHED_BLOCKS.div_ceil(SLOTS_A_SET)).map(|_| Mutex::default()).collect();
        BlockCache { sets, next_run: AtomicU64::new(0), changed: Mutex::default() }
    }
}

impl BlockCache {
    /// A number that tells a run's blocks from those of all others.
    pub fn new_run(&self) -> u64 {
        self.next_run.fetch_add(1, Ordering::Relaxed)
    }

    /// The set of a block, and its mark there, which is never 0.
    fn set(&self, run: u64, place: u64) -> (&Mutex<Set>, u32) {
        // Blocks lie some kibibytes apart: the low bits say little. Fibonacci hashing (Knuth).
        let mixed = (place ^ run.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = usize::try_from(mixed >> 32).unwrap_or(0) % self.sets.len();
        (&self.sets[set], u32::try_from(mixed >> 20 & 0xffff_ffff).unwrap_or(0) | 1)
    }

    /// The block of a run that begins at `place`, if it is here.
    #[must_use]
    pub fn find(&self, run: u64, place: u64) -> Option<Arc<[u8]>> {
        // What a panic elsewhere left is whole: slots are replaced in one step.
        let mut set = self.set(run, place).0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = set.slots.iter_mut().find(|slot| slot.place == place && slot.run == run)?;
        slot.asked_for = true;
        Some(Arc::clone(&slot.block))
    }

    /// Keeps a block that was read and checked, unless it is a large one, or nobody asked for it
    /// before: then it is likely that nobody will again, and keeping it costs more than reading it.
    pub fn keep(&self, run: u64, place: u64, block: &Arc<[u8]>) {
        if block.len() > CACHED_BLOCK_BYTES {
            return;
        }
        let (set, mark) = self.set(run, place);
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        if set.slots.iter().any(|slot| slot.place == place && slot.run == run) {
            return;
        }
        if !set.seen.contains(&mark) {
            let next = set.next_seen;
            set.seen[next] = mark;
            set.next_seen = (next + 1) % SEEN_A_SET;
            return;
        }
        let slot = Slot { run, place, block: Arc::clone(block), asked_for: false };
        if set.slots.len() < SLOTS_A_SET {
            set.slots.push(slot);
            return;
        }
        loop {
            let hand = set.hand;
            set.hand = (hand + 1) % SLOTS_A_SET;
            if !std::mem::take(&mut set.slots[hand].asked_for) {
                set.slots[hand] = slot;
                return;
            }
        }
    }

    /// Forgets the blocks of a run whose file is gone.
    pub fn forget(&self, run: u64) {
        for set in &self.sets {
            let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
            set.slots.retain(|slot| slot.run != run);
            set.hand = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(byte: u8) -> Arc<[u8]> {
        Arc::from([byte; 4])
    }

    #[test]
    fn a_block_is_found_under_its_run_and_place_only() {
        let cache = BlockCache::default();
        let (one, other) = (cache.new_run(), cache.new_run());
        for _ in 0..2 {
            cache.keep(one, 4096, &block(1));
            cache.keep(other, 4096, &block(2));
        }
        assert_eq!(cache.find(one, 4096), Some(block(1)));
        assert_eq!(cache.find(other, 4096), Some(block(2)));
        assert_eq!(cache.find(one, 8192), None);
        cache.forget(one);
        assert_eq!(cache.find(one, 4096), None);
        assert_eq!(cache.find(other, 4096), Some(block(2)));
    }

    #[test]
    fn there_are_never_more_blocks_than_the_bound_and_what_is_asked_for_stays() {
        let cache = BlockCache::default();
        cache.keep(0, 0, &block(7));
        assert_eq!(cache.find(0, 0), None, "it was asked for just once");
        cache.keep(0, 0, &block(7));
        for place in 1..20 * CACHED_BLOCKS as u64 {
            assert_eq!(cache.find(0, 0), Some(block(7)), "before block {place}");
            cache.keep(0, place, &block(0));
            cache.keep(0, place, &block(0));
        }
        let kept: usize = cache.sets.iter().map(|set| set.lock().expect("no panic").slots.len()).sum();
        assert_eq!(kept, CACHED_BLOCKS);
        for _ in 0..3 {
            cache.keep(0, 1 << 40, &Arc::from(vec![0; CACHED_BLOCK_BYTES + 1]));
        }
        assert_eq!(cache.find(0, 1 << 40), None, "large blocks are not kept");
    }
}
