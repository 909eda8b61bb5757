//! Numbers that look random and are the same in every run.

/// A sequence of numbers.
pub struct Dice(u64);

impl Dice {
    /// The sequence that belongs to a name.
    pub fn named(name: &str) -> Self {
        Dice(hash(0, name))
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = mix(self.0);
        usize::try_from((u128::from(self.0) * bound as u128) >> 64).unwrap_or(0)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Small numbers far more often than large ones, as words are in texts.
    pub fn uneven(&mut self, bound: usize) -> usize {
        let bound = 1 + self.below(bound);
        self.below(bound)
    }
}

/// The number that follows another one: splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number for a text.
pub fn hash(seed: u64, text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), seed)
}
