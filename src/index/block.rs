//! A block: sorted entries of key and payload, packed.
//!
//! ```text
//! entry:   lengths u8       high half: bytes that the key has in common with the key before,
//!                           low half: length of the rest of the key; where a half is 15 a varint
//!                           follows that says how much more it is
//!          suffix           the rest of the key
//!          length  varint   of the payload, then its bytes
//! trailer: restart u32 LE   for every 16th entry, where it begins; it shares nothing
//!          count   u32 LE   of the restarts
//! ```
//!
//! The layout is that of LevelDB's tables (`doc/table_format.md` there).

use std::cmp::Ordering;
use std::ops::Range;

use crate::codec::{read_varint, write_varint};

/// A block is closed when it has grown to this many bytes.
pub const BLOCK_BYTES: usize = 4096;
/// The same for entries of the table, once it has a group of them: of those, one is looked up mostly, anywhere. A
/// block of small ones then takes less than the 1032 bytes up to which glibc keeps a thread's freed pieces at hand.
pub const TABLE_BLOCK_BYTES: usize = 896;
/// Entries from one restart to the next: a group.
pub const RESTART_ENTRIES: usize = 16;
/// A block is closed when it has this many groups, too.
pub const BLOCK_GROUPS: usize = 16;

/// Packs entries that come in order.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u32>,
    entries: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    /// Adds an entry; keys must come in order.
    pub fn add(&mut self, key: &[u8], payload: &[u8]) {
        let shared = if self.entries.is_multiple_of(RESTART_ENTRIES) {
            self.restarts.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
            0
        } else {
            common_prefix(&self.last_key, key)
        };
        write_lengths(&mut self.bytes, shared, key.len() - shared);
        self.bytes.extend_from_slice(&key[shared..]);
        write_varint(&mut self.bytes, payload.len() as u64);
        self.bytes.extend_from_slice(payload);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.entries += 1;
    }

    /// Which group the next entry will be in.
    #[must_use]
    pub fn group(&self) -> usize {
        self.entries / RESTART_ENTRIES
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no entry yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Appends the finished block to `out` and begins anew.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.bytes);
        for restart in &self.restarts {
            out.extend_from_slice(&restart.to_le_bytes());
        }
        out.extend_from_slice(&u32::try_from(self.restarts.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.restarts.clear();
        self.entries = 0;
        self.last_key.clear();
    }
}

const HALF_MOST: usize = 15;

fn write_lengths(out: &mut Vec<u8>, shared: usize, suffix: usize) {
    let half = |length: usize| u8::try_from(length.min(HALF_MOST)).unwrap_or(0);
    out.push(half(shared) << 4 | half(suffix));
    for more in [shared, suffix].into_iter().filter_map(|length| length.checked_sub(HALF_MOST)) {
        write_varint(out, more as u64);
    }
}

fn read_lengths(bytes: &mut &[u8]) -> Option<(usize, usize)> {
    let (halves, rest) = bytes.split_first()?;
    *bytes = rest;
    let mut length = |half: u8| {
        let half = usize::from(half);
        if half < HALF_MOST {
            return Some(half);
        }
        half.checked_add(usize::try_from(read_varint(bytes)?).ok()?)
    };
    Some((length(halves >> 4)?, length(halves & 15)?))
}

/// The first eight bytes of a key as a number. Keys that differ in them are in the order of these
/// numbers; of two that do not, nothing is known.
#[must_use]
pub fn beginning(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(8);
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

/// How many bytes two keys begin with in common.
#[must_use]
pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut length = 0;
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return length + (differing.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    length + a[length..].iter().zip(&b[length..]).take_while(|(a, b)| a == b).count()
}

/// A place in a block: the entry that `next` read last.
#[derive(Debug, Default, Clone)]
pub struct BlockPlace {
    /// The entry's key.
    pub key: Vec<u8>,
    /// Where its payload lies in the block.
    pub payload: Range<usize>,
    next: usize,
    /// The key of the entry before, while that one is sought.
    before: Vec<u8>,
}

/// Where the entries end, and how many restarts there are.
fn shape(block: &[u8]) -> Option<(usize, usize)> {
    let (rest, count) = block.split_last_chunk::<4>()?;
    let restarts = u32::from_le_bytes(*count) as usize;
    Some((rest.len().checked_sub(restarts.checked_mul(4)?)?, restarts))
}

fn restart(block: &[u8], end: usize, index: usize) -> Option<usize> {
    let bytes = block.get(end + index * 4..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes) as usize)
}

fn restart_key(block: &[u8], end: usize, index: usize) -> Option<&[u8]> {
    let mut bytes = block.get(restart(block, end, index)?..end)?;
    let (_, length) = read_lengths(&mut bytes)?;
    bytes.get(..length)
}

impl BlockPlace {
    /// Before the first entry.
    pub fn rewind(&mut self) {
        self.key.clear();
        self.next = 0;
    }

    /// Goes before the first entry of a group.
    pub fn go_to(&mut self, block: &[u8], group: usize) -> Option<()> {
        let (end, restarts) = shape(block)?;
        self.key.clear();
        self.next = if group < restarts { restart(block, end, group)? } else { return None };
        Some(())
    }

    /// Reads the next entry. `None` at the end, or when the block makes no sense.
    pub fn next(&mut self, block: &[u8]) -> Option<()> {
        let (end, _) = shape(block)?;
        let mut bytes = block.get(self.next..end)?;
        if bytes.is_empty() {
            return None;
        }
        let (shared, suffix) = read_lengths(&mut bytes)?;
        let (rest_of_key, mut bytes) = bytes.split_at_checked(suffix)?;
        let length = usize::try_from(read_varint(&mut bytes)?).ok()?;
        let start = end - bytes.len();
        bytes.get(..length)?;
        self.key.truncate(shared);
        self.key.extend_from_slice(rest_of_key);
        self.payload = start..start + length;
        self.next = start + length;
        Some(())
    }

    /// Goes before the last restart whose key is smaller than `key`, or not larger when `or_equal`.
    fn approach(&mut self, block: &[u8], key: &[u8], or_equal: bool) -> Option<()> {
        let (end, restarts) = shape(block)?;
        let (mut low, mut high) = (0, restarts);
        while low < high {
            let middle = usize::midpoint(low, high);
            let smaller = match restart_key(block, end, middle)?.cmp(key) {
                Ordering::Less => true,
                Ordering::Equal => or_equal,
                Ordering::Greater => false,
            };
            if smaller {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        self.key.clear();
        self.next = if low == 0 { 0 } else { restart(block, end, low - 1)? };
        Some(())
    }

    /// Reads the first entry whose key is not smaller than `key`. `None` when there is none here.
    pub fn seek(&mut self, block: &[u8], key: &[u8]) -> Option<()> {
        self.approach(block, key, true)?;
        loop {
            self.next(block)?;
            if self.key.as_slice() >= key {
                return Some(());
            }
        }
    }

    /// Reads the last entry whose key is smaller than `key`. `None` when there is none here.
    pub fn seek_before(&mut self, block: &[u8], key: &[u8]) -> Option<()> {
        self.approach(block, key, false)?;
        let mut found = None;
        loop {
            self.before.clone_from(&self.key);
            let (payload, next) = (self.payload.clone(), self.next);
            if self.next(block).is_none() || self.key.as_slice() >= key {
                std::mem::swap(&mut self.key, &mut self.before);
                (self.payload, self.next) = (payload, next);
                return found;
            }
            found = Some(());
        }
    }
}

/// The payload of a table's key that is set, or removed.
pub fn write_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.clear();
    out.push(u8::from(value.is_some()));
    out.extend_from_slice(value.unwrap_or_default());
}

/// What [`write_value`] wrote.
#[must_use]
pub fn value_in(payload: &[u8]) -> Option<&[u8]> {
    match payload.split_first() {
        Some((1, value)) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn build(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        entries.iter().for_each(|(key, payload)| builder.add(key, payload));
        let mut block = Vec::new();
        builder.finish(&mut block);
        block
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0_u8..4, 0..6)
    }

    proptest! {
        #[test]
        fn a_block_finds_what_a_sorted_map_finds(
            entries in prop::collection::btree_map(key(), prop::collection::vec(any::<u8>(), 0..3), 0..60),
            wanted in key(),
        ) {
            let block = build(&entries);
            let mut place = BlockPlace::default();
            let mut all = Vec::new();
            while place.next(&block).is_some() {
                all.push((place.key.clone(), block[place.payload.clone()].to_vec()));
            }
            prop_assert_eq!(all, entries.clone().into_iter().collect::<Vec<_>>());
            let at_or_after = place.seek(&block, &wanted).map(|()| place.key.clone());
            prop_assert_eq!(at_or_after.as_ref(), entries.range(wanted.clone()..).next().map(|(key, _)| key));
            let before = place.seek_before(&block, &wanted).map(|()| place.key.clone());
            prop_assert_eq!(before.as_ref(), entries.range(..wanted).next_back().map(|(key, _)| key));
        }

        #[test]
        fn bytes_that_are_no_block_are_no_panic(bytes: Vec<u8>, wanted in key()) {
            let mut place = BlockPlace::default();
            while place.next(&bytes).is_some() {}
            place.seek(&bytes, &wanted);
            place.seek_before(&bytes, &wanted);
        }
    }
}
