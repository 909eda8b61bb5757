//! Filters: tell of most keys that a run does not hold them, without reading the run.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom
//! Filters", 2007): a key's six bits lie in one block of 512, so a question costs one cache miss.
//! With ten bits a key about one absent key in a hundred is looked up in vain.

use xxhash_rust::xxh3::xxh3_64;

const WORDS_A_BLOCK: usize = 8;
const BITS_A_KEY: usize = 10;
const PROBES: u32 = 6;
/// Words in a piece of the stored form.
const PIECE_WORDS: usize = 4096;

/// The hash of a key that filters go by. It is part of the format of run files.
#[must_use]
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The filter of one run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Filter(Vec<u64>);

impl Filter {
    /// An empty filter with room for so many keys.
    #[must_use]
    pub fn with_room(keys: u64) -> Self {
        let blocks = blocks_for(keys);
        // A multiple of a power of two can be folded in halves when fewer keys come.
        let unit = (blocks / 64).next_power_of_two();
        Filter(vec![0; blocks.next_multiple_of(unit) * WORDS_A_BLOCK])
    }

    /// Adds a key by its hash.
    pub fn add(&mut self, hash: u64) {
        if self.0.is_empty() {
            return;
        }
        let start = self.block(hash);
        for bit in bits(hash) {
            self.0[start + bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Folds the filter in halves while that leaves enough room for `keys`, which is how many were
    /// added. Two neighbouring blocks become one, which is just where their keys are looked for then.
    pub fn fold(&mut self, keys: u64) {
        let enough = blocks_for(keys);
        let blocks = |words: usize| words / WORDS_A_BLOCK;
        while blocks(self.0.len()).is_multiple_of(2) && blocks(self.0.len()) / 2 >= enough.max(1) {
            for block in 0..blocks(self.0.len()) / 2 {
                for word in 0..WORDS_A_BLOCK {
                    let pair = 2 * block * WORDS_A_BLOCK + word;
                    self.0[block * WORDS_A_BLOCK + word] = self.0[pair] | self.0[pair + WORDS_A_BLOCK];
                }
            }
            self.0.truncate(self.0.len() / 2);
        }
        self.0.shrink_to_fit();
    }

    /// Where a key's block begins.
    fn block(&self, hash: u64) -> usize {
        let blocks = (self.0.len() / WORDS_A_BLOCK) as u64;
        // The high half of the hash, scaled to the number of blocks.
        usize::try_from(((hash >> 32) * blocks) >> 32).unwrap_or(0) * WORDS_A_BLOCK
    }

    /// Whether the run may hold a key with this hash. `false` is certain.
    #[must_use]
    pub fn may_hold(&self, hash: u64) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let start = self.block(hash);
        bits(hash).all(|bit| self.0[start + bit / 64] & (1 << (bit % 64)) != 0)
    }

    /// The stored form, in pieces.
    pub fn pieces(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.chunks(PIECE_WORDS).map(|words| words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// For the stored form of so many bytes. `None` when a filter never takes so many, or there is no memory for it.
    #[must_use]
    pub fn to_read(bytes: usize) -> Option<Self> {
        let mut words = Vec::new();
        // No checksum vouches for it yet.
        let has_room = bytes.is_multiple_of(8 * WORDS_A_BLOCK) && words.try_reserve_exact(bytes / 8).is_ok();
        has_room.then_some(Filter(words))
    }

    /// Reads the next words of the stored form.
    pub fn read(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len() * 8
    }
}

fn blocks_for(keys: u64) -> usize {
    (usize::try_from(keys).unwrap_or(usize::MAX / BITS_A_KEY) * BITS_A_KEY).div_ceil(64 * WORDS_A_BLOCK)
}

/// The bits of a key in its block: nine bits of a remixed hash each.
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..PROBES).map(move |probe| (mixed >> (10 * probe) & 511) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter_of(hashes: &[u64], room: u64) -> Filter {
        let mut filter = Filter::with_room(room);
        hashes.iter().for_each(|hash| filter.add(*hash));
        filter.fold(hashes.len() as u64);
        filter
    }

    proptest! {
        #[test]
        fn every_key_that_is_there_may_be_there(
            keys in prop::collection::vec(any::<Vec<u8>>(), 0..200),
            more_room in 0_u64..20_000,
        ) {
            let hashes: Vec<u64> = keys.iter().map(|key| hash(key)).collect();
            let filter = filter_of(&hashes, hashes.len() as u64 + more_room);
            prop_assert!(hashes.iter().all(|hash| filter.may_hold(*hash)));
            let mut again = Filter::to_read(filter.bytes()).expect("whole blocks");
            filter.pieces().for_each(|piece| again.read(&piece));
            prop_assert_eq!(again, filter);
        }
    }

    #[test]
    fn few_absent_keys_may_be_there() {
        let hashes: Vec<u64> = (0..10_000_u32).map(|key| hash(&key.to_le_bytes())).collect();
        for room in [10_000, 25_000, 1_000_000] {
            let filter = filter_of(&hashes, room);
            let absent = (10_000..30_000_u32).filter(|key| filter.may_hold(hash(&key.to_le_bytes()))).count();
            assert!(absent < 600, "{absent} of 20000");
            assert!((10_000..30_000).contains(&filter.bytes()), "{} bytes", filter.bytes());
        }
    }

    #[test]
    fn what_has_no_whole_blocks_is_no_filter() {
        let block = 8 * WORDS_A_BLOCK;
        assert!(Filter::to_read(0).is_some() && Filter::to_read(3 * block).is_some());
        assert!(Filter::to_read(8).is_none() && Filter::to_read(3 * block - 8).is_none());
        assert!(Filter::to_read(usize::MAX / block * block).is_none(), "more than there is memory for");
    }

    #[test]
    fn the_hash_is_part_of_the_format() {
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
    }
}
