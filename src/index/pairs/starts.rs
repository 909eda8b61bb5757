//! Where the columns of a window begin: their seqs, as `packed` writes numbers, to look into at any place.
//!
//! The ones before each word of the high bits are counted when a window is loaded; with them a look-up reads one
//! word (Jacobson: "Space-efficient Static Trees and Graphs", 1989).

use crate::index::packed::{load, low_bits, low_bytes};
use crate::index::run::Block;

/// The starts of a window's columns, less that of its first.
pub struct Starts {
    block: Block,
    count: usize,
    low: u32,
    highs: Vec<u64>,
    /// The ones before each word of `highs`.
    ones_before: Vec<u32>,
}

impl Starts {
    /// Of `count` columns below `span`. `None` when the bytes are none.
    #[must_use]
    pub fn new(block: Block, count: usize, span: u64) -> Option<Self> {
        let low = low_bits(count, span);
        let bytes = block.get(low_bytes(count, low)..).filter(|_| low <= 56)?;
        let mut ones = 0;
        let (mut highs, mut ones_before) = (Vec::new(), Vec::new());
        highs.reserve_exact(bytes.len().div_ceil(8));
        ones_before.reserve_exact(highs.capacity());
        for eight in bytes.chunks(8) {
            let word = load(eight, 0);
            highs.push(word);
            ones_before.push(ones);
            ones += word.count_ones();
        }
        (ones as usize == count && count > 0).then_some(Starts { block, count, low, highs, ones_before })
    }

    /// Where the columns begin, one after the other.
    pub fn all(&self) -> impl Iterator<Item = u64> {
        let ones = |(number, word): (usize, &u64)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let place = (left != 0).then(|| 64 * number + left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(place)
            })
        };
        let ones = self.highs.iter().enumerate().flat_map(ones);
        ones.enumerate().map(|(column, place)| self.whole(place - column, column))
    }

    /// Where a column begins.
    #[must_use]
    pub fn start(&self, column: usize) -> u64 {
        let column = column.min(self.count - 1);
        let number = self.ones_before.partition_point(|before| *before as usize <= column) - 1;
        let place = nth_one(self.highs[number], column - self.ones_before[number] as usize);
        self.whole(64 * number + place - column, column)
    }

    fn whole(&self, high: usize, column: usize) -> u64 {
        let at = column * self.low as usize;
        let mask = (1_u64 << self.low) - 1;
        (high as u64) << self.low | (load(&self.block, at / 8) >> (at % 8) & mask)
    }

    /// The last column that begins at `wanted` or before; the first if none does.
    #[must_use]
    pub fn last_from(&self, wanted: u64) -> usize {
        let high = usize::try_from(wanted >> self.low).unwrap_or(usize::MAX);
        // Columns with less in their high bits, and with as much.
        let (from, to) = (self.columns_below(high), self.columns_below(high.saturating_add(1)));
        let (mut low, mut end) = (from, to);
        while low < end {
            let middle = usize::midpoint(low, end);
            if self.whole(high, middle) <= wanted {
                low = middle + 1;
            } else {
                end = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// How many columns have less than `high` in their high bits: those before the zero of that number.
    fn columns_below(&self, high: usize) -> usize {
        let Some(zero) = high.checked_sub(1) else { return 0 };
        let zeros_before = |number: usize| 64 * number - self.ones_before[number] as usize;
        let (mut low, mut end) = (0, self.highs.len());
        while low < end {
            let middle = usize::midpoint(low, end);
            if zeros_before(middle) <= zero {
                low = middle + 1;
            } else {
                end = middle;
            }
        }
        let number = low - 1;
        let (word, before) = (self.highs[number], zeros_before(number));
        if zero - before >= word.count_zeros() as usize {
            return self.count;
        }
        64 * number + nth_one(!word, zero - before) - zero
    }
}

/// The place of the one of a number in a word that has it.
fn nth_one(mut word: u64, number: usize) -> usize {
    for _ in 0..number {
        word &= word - 1;
    }
    word.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::packed;
    use proptest::prelude::*;

    /// What a run file would give.
    fn starts_of(starts: &[u64], span: u64) -> Option<Starts> {
        let mut bytes = Vec::new();
        packed::write(starts.iter().copied(), span, &mut bytes);
        assert_eq!(bytes.len(), packed::bytes(starts.len(), span));
        bytes.extend([0; 4]);
        Starts::new(Block::unchecked(bytes.into()), starts.len(), span)
    }

    proptest! {
        #[test]
        fn every_column_is_found_by_its_number_and_by_what_it_stands_for(
            steps in prop::collection::vec(
                prop_oneof![6 => Just(0), 6 => Just(1), 2 => 1_u64..300, 1 => 1_u64..100_000],
                1..400,
            ),
            wanted in prop::collection::vec(0_u64..100_000, 20),
        ) {
            let starts: Vec<u64> = steps.iter().skip(1).scan(0, |at, step| { *at += step; Some(*at) }).collect();
            let starts: Vec<u64> = std::iter::once(0).chain(starts).collect();
            let span = starts[starts.len() - 1] + 1;
            let packed = starts_of(&starts, span).expect("whole");
            for (column, start) in starts.iter().enumerate() {
                prop_assert_eq!(packed.start(column), *start, "{}", column);
            }
            prop_assert_eq!(packed.all().collect::<Vec<_>>(), starts.clone());
            let near = starts.iter().flat_map(|start| [start.saturating_sub(1), *start, start + 1]);
            for wanted in near.chain(wanted).chain([u64::MAX]) {
                let expected = starts.iter().rposition(|start| *start <= wanted).unwrap_or(0);
                prop_assert_eq!(packed.last_from(wanted), expected, "{}", wanted);
            }
        }

        #[test]
        fn other_bytes_are_no_panic(bytes: Vec<u8>, count in 0_usize..300, span: u64, wanted: u64) {
            if let Some(starts) = Starts::new(Block::unchecked(bytes.into()), count, span) {
                let _ = starts.start(count / 2);
                let _ = starts.last_from(wanted);
            }
        }
    }
}
