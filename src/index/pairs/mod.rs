//! Pairs: which messages may have two words next to each other, told without reading their texts.
//!
//! A *pair* is the end of a word and the beginning of the next: the last two characters of the one and the
//! first two of the other. That is little enough to be known of a piece that is cut out of a text anywhere,
//! and says as much of a phrase. Each pair sets four of 64 bits, chosen by hashes of all four characters
//! and of three of them, so that a bit is also known where on one side only one character is.
//!
//! A *column* is 64 bits for the pairs of some messages: of one message, of several short ones that follow
//! each other, or of a part of a long one, whose columns then share one pair. So two pairs that follow each
//! other in a text are always in one column. Some two fifths of its bits are set, and a pair that is not there
//! looks as if it were in about one of forty.
//!
//! In a file columns lie turned by 90 degrees (Goodwin and others: "`BitFunnel`: Revisiting Signatures for
//! Search", 2017): a *row* has one bit of each of many columns, and a search reads only the rows of its own
//! bits, 32,768 columns at once. See `rows`.
//!
//! - `columns` makes columns of messages; `rows` turns, writes and reads them; `starts` says of which messages
//!   they are.
//! - `cursor` walks the messages whose columns have some bits.

pub mod columns;
pub mod cursor;
pub mod rows;
pub mod starts;

/// What is known of the characters on one side of a pair, from the border between the words on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// The character next to the border.
    near: char,
    /// The one behind it, or that there is none, where that is known.
    far: Option<char>,
}

/// Stands for a second character where a word has only one. No word has it.
const NONE: char = '\0';

impl Side {
    #[inline]
    fn of(mut characters: impl Iterator<Item = char>, whole: bool) -> Option<Self> {
        let near = characters.next()?;
        let far = characters.next().or(whole.then_some(NONE));
        Some(Side { near, far })
    }

    /// The end of a word that has another behind it. `whole`: the word begins where `word` does.
    #[inline]
    #[must_use]
    pub fn end_of(word: &str, whole: bool) -> Option<Self> {
        Side::of(word.chars().rev(), whole)
    }

    /// The beginning of a word that has another before it. `whole`: the word ends where `word` does.
    #[inline]
    #[must_use]
    pub fn start_of(word: &str, whole: bool) -> Option<Self> {
        Side::of(word.chars(), whole)
    }
}

/// The bits that a pair sets, as far as they are known; 0 when none is.
#[inline]
#[must_use]
pub fn bits(left: Side, right: Side) -> u64 {
    let mut bits = 0;
    let behind = right.far.map(|second| mixed(three(left.near, right.near, second), 1));
    let before = left.far.map(|second| mixed(three(second, left.near, right.near), 2));
    for hash in [behind, before].into_iter().flatten() {
        bits |= 1 << (hash >> 58);
    }
    if let (Some(behind), Some(before)) = (behind, before) {
        let both = mixed(behind ^ before.rotate_left(32), 3);
        bits |= 1 << (both >> 58) | 1 << (both >> 52 & 63);
    }
    bits
}

/// Three characters in one number: each has 21 bits.
fn three(first: char, second: char, third: char) -> u64 {
    u64::from(first) | u64::from(second) << 21 | u64::from(third) << 42
}

/// A number whose upper bits depend on all of another's: both halves of a product, as in `wyhash` (Wang Yi,
/// 2019). It is part of the format of run files, and called several times a word.
fn mixed(number: u64, which: u64) -> u64 {
    let (low, high) =
        (number ^ which.wrapping_mul(0x9e37_79b9_7f4a_7c15)).carrying_mul(0xd6e8_feb8_6659_fd93, 0);
    low ^ high
}

/// The bits of the most telling pairs of words that follow each other, at most two. `whole_start` and
/// `whole_end`: whether the first word begins and the last one ends where it does here.
#[must_use]
pub fn bits_of(words: &[&str], whole_start: bool, whole_end: bool) -> u64 {
    let pairs: Vec<u64> = words
        .windows(2)
        .enumerate()
        .map(|(place, pair)| {
            let left = Side::end_of(pair[0], place > 0 || whole_start);
            let right = Side::start_of(pair[1], place + 2 < words.len() || whole_end);
            left.zip(right).map_or(0, |(left, right)| bits(left, right))
        })
        .collect();
    let both = pairs.windows(2).map(|both| both[0] | both[1]);
    both.chain(pairs.iter().copied()).max_by_key(|bits| bits.count_ones()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::words::words;
    use proptest::prelude::*;

    #[test]
    fn the_bits_are_part_of_the_format() {
        assert_eq!(bits_of(&["all", "of"], true, true), 0x9000_4040);
    }

    proptest! {
        #[test]
        fn a_piece_knows_no_bit_that_its_text_does_not_set(
            text in prop::collection::vec("[a-c\u{e9}]{1,4}", 2..6),
            from in 0_usize..12,
            to in 0_usize..12,
        ) {
            let text = text.join(" ");
            let characters: Vec<char> = text.chars().collect();
            let (from, to) = (from.min(characters.len()), to.min(characters.len()));
            let piece: String = characters.get(from..to).unwrap_or_default().iter().collect();
            let all = words(&text);
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let set = all.windows(2).map(|pair| bits_of(pair, true, true)).fold(0, |all, bits| all | bits);
            let known = words(&piece);
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            prop_assert_eq!(bits_of(&known, false, false) & !set, 0);
        }
    }
}
