//! The blocks of a run: where each lies, and the beginning of its first key, as much of it as tells it from the
//! last key of the block before.

use crate::codec::read_varint;

/// The beginning of the first key of each block, and where it lies.
#[derive(Default)]
pub struct BlockIndex {
    keys: Vec<u8>,
    /// Per block: where its first key ends in `keys`, and its place and length in the run.
    pub blocks: Vec<(u32, u64, u32)>,
}

impl BlockIndex {
    pub fn push(&mut self, first_key: &[u8], place: u64, length: usize) {
        self.keys.extend_from_slice(first_key);
        let end = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.blocks.push((end, place, u32::try_from(length).unwrap_or(u32::MAX)));
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    pub fn first_key(&self, block: usize) -> &[u8] {
        let start = if block == 0 { 0 } else { self.blocks[block - 1].0 as usize };
        &self.keys[start..self.blocks[block].0 as usize]
    }

    /// Beginning of the first key, place and length of every block.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64, u32)> {
        let blocks = self.blocks.iter().enumerate();
        blocks.map(|(number, (_, place, length))| (self.first_key(number), *place, *length))
    }

    /// How many blocks begin with a key smaller than `key`, or equal when `or_equal`.
    pub fn beginning_before(&self, key: &[u8], or_equal: bool) -> usize {
        let (mut low, mut high) = (0, self.blocks.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let first = self.first_key(middle);
            if first < key || (or_equal && first == key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// Reads what a run file says of its blocks. `None` when it makes no sense.
pub fn read_index(blocks: &[u8]) -> Option<BlockIndex> {
    let (mut bytes, mut index) = (blocks, BlockIndex::default());
    while !bytes.is_empty() {
        let length = usize::try_from(read_varint(&mut bytes)?).ok()?;
        let (key, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let (place, length) = (read_varint(&mut bytes)?, read_varint(&mut bytes)?);
        index.push(key, place, usize::try_from(length).ok()?);
    }
    // It stays in memory as long as the run.
    index.keys.shrink_to_fit();
    index.blocks.shrink_to_fit();
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_the_blocks_that_begin_before_it() {
        let mut index = BlockIndex::default();
        for (number, key) in (0..).zip([b"b".as_slice(), b"bb", b"d"]) {
            index.push(key, 100 * number, 90);
        }
        let before = |key: &[u8]| (index.beginning_before(key, false), index.beginning_before(key, true));
        assert_eq!([b"a".as_slice(), b"b", b"ba", b"bb"].map(before), [(0, 0), (0, 1), (1, 1), (1, 2)]);
        assert_eq!([b"c".as_slice(), b"d", b"e"].map(before), [(2, 2), (2, 3), (3, 3)]);
        assert_eq!(index.len(), 3);
        assert_eq!(index.iter().last(), Some((b"d".as_slice(), 200, 90)));
    }
}
