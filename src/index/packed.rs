//! Ascending numbers in about two bits more than the logarithm of their mean distance (Elias, 1974;
//! Vigna: "Quasi-succinct Indices", 2013).
//!
//! The low bits of each number lie one behind the other; of the rest, which ascends slowly, each number
//! is a one behind as many zeros as it has more than the number before.

/// How many low bits numbers below `span` have, `count` of them.
pub(super) fn low_bits(count: usize, span: u64) -> u32 {
    (span / count.max(1) as u64).checked_ilog2().unwrap_or(0)
}

/// Bytes of the low bits of `count` numbers.
pub(super) fn low_bytes(count: usize, low: u32) -> usize {
    (count * low as usize).div_ceil(8)
}

/// Bytes that so many numbers below `span` take.
#[must_use]
pub fn bytes(count: usize, span: u64) -> usize {
    if count == 0 {
        return 0;
    }
    let low = low_bits(count, span);
    let high = usize::try_from(span >> low).unwrap_or(usize::MAX / 2) + count;
    low_bytes(count, low) + high.div_ceil(8)
}

/// Appends `numbers`, which are below `span` and ascend, or stay as they are.
pub fn write(numbers: impl ExactSizeIterator<Item = u64>, span: u64, out: &mut Vec<u8>) {
    let count = numbers.len();
    let start = out.len();
    out.resize(start + bytes(count, span), 0);
    let low = low_bits(count, span);
    let (lows, highs) = out[start..].split_at_mut(low_bytes(count, low));
    let mut lows = lows.chunks_mut(8);
    let mask = (1_u64 << low) - 1;
    // Low bits that do not make eight bytes yet, and how many.
    let (mut held, mut bits) = (0_u128, 0);
    let mut put = |held: u128| {
        if let Some(eight) = lows.next() {
            eight.copy_from_slice(&held.to_le_bytes()[..eight.len()]);
        }
    };
    for (place, number) in numbers.enumerate() {
        held |= u128::from(number & mask) << bits;
        bits += low;
        if bits >= 64 {
            put(held);
            held >>= 64;
            bits -= 64;
        }
        let at = usize::try_from(number >> low).unwrap_or(0) + place;
        highs[at / 8] |= 1 << (at % 8);
    }
    put(held);
}

/// Gives `count` numbers below `span` again. `None` when the bytes make no sense.
pub fn read(bytes: &[u8], count: usize, span: u64, mut each: impl FnMut(u64)) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let low = low_bits(count, span);
    if low > 56 {
        return None;
    }
    let highs = bytes.get(low_bytes(count, low)..)?;
    let mask = (1_u64 << low) - 1;
    let (mut place, mut at) = (0, 0);
    // The least that the next one may be, and whether all were that and more.
    let (mut next, mut ascending) = (0, true);
    for (number, eight) in highs.chunks(8).enumerate() {
        let mut word = load(eight, 0);
        // A number is the place-th that is set, so that it stands at `place` or behind.
        let base = 64 * number as u64;
        let here = (word.count_ones() as usize).min(count - place);
        for _ in 0..here {
            let high = (base + u64::from(word.trailing_zeros())).wrapping_sub(place as u64);
            // What lies behind the low bits is cut off, so that there are mostly eight bytes to load.
            let one = high << low | (load(bytes, at / 8) >> (at % 8) & mask);
            ascending &= one >= next;
            next = one.saturating_add(1);
            each(one);
            word &= word - 1;
            place += 1;
            at += low as usize;
        }
    }
    (place == count && ascending && next <= span).then_some(())
}

/// Of `count` numbers below `span` the last that is `wanted` or less, and the first that is `wanted` or more.
#[must_use]
pub fn beside(bytes: &[u8], count: usize, span: u64, wanted: u64) -> (Option<u64>, Option<u64>) {
    let low = low_bits(count, span);
    let Some((lows, highs)) = bytes.split_at_checked(low_bytes(count, low)) else { return (None, None) };
    if count == 0 || low > 56 {
        return (None, None);
    }
    let mask = (1_u64 << low) - 1;
    let number = |high: u64, place: usize| {
        let at = place * low as usize;
        high << low | (load(lows, at / 8) >> (at % 8) & mask)
    };
    // The high bits of a number are how many zeros stand before it.
    let sought = wanted >> low;
    // Of the last number that has less in its high bits: these, and its place.
    let mut less = None;
    let (mut zeros, mut place) = (0, 0);
    for eight in highs.chunks(8) {
        let mut word = load(eight, 0);
        let here = u64::from(word.count_zeros());
        if zeros + here < sought {
            if word != 0 {
                place += word.count_ones() as usize;
                less = Some((zeros + here - u64::from(word.leading_zeros()), place - 1));
            }
            zeros += here;
            continue;
        }
        let mut passed = 0;
        while word != 0 && place < count {
            let high = zeros + u64::from(word.trailing_zeros()) - passed;
            if high >= sought {
                let found = number(high, place);
                if found >= wanted {
                    let before = less.map(|(high, place)| number(high, place));
                    return (if found == wanted { Some(found) } else { before }, Some(found));
                }
            }
            less = Some((high, place));
            word &= word - 1;
            place += 1;
            passed += 1;
        }
        if place >= count {
            break;
        }
        zeros += here;
    }
    (less.map(|(high, place)| number(high, place)), None)
}

/// Eight bytes from a place on, zeros behind the end.
pub(super) fn load(bytes: &[u8], place: usize) -> u64 {
    let rest = bytes.get(place..).unwrap_or_default();
    if let Some(eight) = rest.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(
            numbers in prop_oneof![
                prop::collection::btree_set(0_u64..400, 0..300),
                prop::collection::btree_set(0_u64..1 << 50, 0..300),
            ],
            more in 0_u64..1000,
        ) {
            let span = numbers.last().map_or(0, |last| last + 1) + more;
            let numbers: Vec<u64> = numbers.into_iter().collect();
            let mut out = Vec::new();
            write(numbers.iter().copied(), span, &mut out);
            prop_assert_eq!(out.len(), bytes(numbers.len(), span));
            let mut read_again = Vec::new();
            read(&out, numbers.len(), span, |number| read_again.push(number)).expect("whole");
            let near = numbers.iter().flat_map(|number| [number.saturating_sub(1), *number, number + 1]);
            for number in near.chain([0, span / 2]).filter(|number| *number < span) {
                let before = numbers.iter().rfind(|other| **other <= number);
                let behind = numbers.iter().find(|other| **other >= number);
                let found = beside(&out, numbers.len(), span, number);
                prop_assert_eq!(found, (before.copied(), behind.copied()), "{}", number);
            }
            prop_assert_eq!(read_again, numbers);
        }

        #[test]
        fn other_bytes_are_no_panic(bytes: Vec<u8>, count in 0_usize..300, span: u64) {
            let mut numbers = Vec::new();
            if read(&bytes, count, span, |number| numbers.push(number)).is_some() {
                prop_assert!(numbers.is_sorted_by(|one, next| one < next), "{:?}", numbers);
                prop_assert!(numbers.len() == count && numbers.last().is_none_or(|last| *last < span));
            }
            let _ = beside(&bytes, count, span, span / 2);
        }
    }
}
