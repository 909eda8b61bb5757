//! Bitmaps in words of 64 bits, the lowest bit of the first word first.

/// The highest bit that is set below `end`.
#[must_use]
pub fn highest_below(words: &[u64], end: usize) -> Option<usize> {
    let end = end.min(64 * words.len());
    let (whole, part) = (end / 64, end % 64);
    if part > 0
        && let cut = words[whole] & ((1 << part) - 1)
        && cut != 0
    {
        return Some(64 * whole + cut.ilog2() as usize);
    }
    let word = words[..whole].iter().rposition(|word| *word != 0)?;
    Some(64 * word + words[word].ilog2() as usize)
}

/// The lowest bit that is set at `start` or above.
#[must_use]
pub fn lowest(words: &[u64], start: usize) -> Option<usize> {
    let (whole, part) = (start / 64, start % 64);
    let cut = words.get(whole)? & (u64::MAX << part);
    if cut != 0 {
        return Some(64 * whole + cut.trailing_zeros() as usize);
    }
    let word = whole + 1 + words[whole + 1..].iter().position(|word| *word != 0)?;
    Some(64 * word + words[word].trailing_zeros() as usize)
}

/// Leaves in `all` what is in `other`, too.
pub fn intersect(all: &mut [u64], other: &[u64]) {
    all.iter_mut().zip(other).for_each(|(all, other)| *all &= *other);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_next_bit_is_found_in_either_direction(
            words in prop::collection::vec(prop_oneof![Just(0), any::<u64>(), Just(1 << 63)], 0..5),
            from in 0_usize..400,
        ) {
            let is_set = |place: &usize| words.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 != 0);
            prop_assert_eq!(lowest(&words, from), (from..320).find(is_set));
            prop_assert_eq!(highest_below(&words, from), (0..from).rev().find(is_set));
        }
    }
}
