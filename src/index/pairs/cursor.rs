//! Walks the messages that may have pairs next to each other.

use super::rows::{Window, words_of};
use super::starts::Starts;
use crate::domain::command::Order;
use crate::error::Result;
use crate::index::bitmap::{highest_below, lowest};
use crate::index::cursor::{Cursor, rank};
use crate::index::run::Run;

/// The messages of a run whose columns have all of some bits.
pub struct Adjacent<'r> {
    run: &'r Run,
    bits: u64,
    order: Order,
    loaded: Option<Loaded>,
    /// How many windows were looked through.
    looked_through: usize,
    /// What rows are read over that are not kept.
    row: Vec<u8>,
    current: Option<u64>,
}

/// The rows of so many windows are kept in memory for others, as most walks end there. What a longer one reads is
/// seldom asked for again before it would be pushed out.
const KEPT_WINDOWS: usize = 2;

/// A window, looked through.
struct Loaded {
    number: usize,
    window: Window,
    /// The last seq that its last column stands for.
    end: u64,
    /// A bit for each column that has all of the bits.
    matches: Vec<u64>,
    /// Where its columns begin, once that was asked for.
    starts: Option<Starts>,
}

impl<'r> Adjacent<'r> {
    /// Stands at the first.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn open(run: &'r Run, bits: u64, order: Order) -> Result<Self> {
        let mut cursor =
            Adjacent { run, bits, order, loaded: None, looked_through: 0, row: Vec::new(), current: Some(0) };
        cursor.find(0)?;
        Ok(cursor)
    }

    /// Goes to the first at `target` or behind it.
    fn find(&mut self, target: u64) -> Result<()> {
        let seq = rank(self.order, target);
        let run = self.run;
        let windows = run.windows();
        self.current = None;
        let found = match self.order {
            Order::Newest => {
                let mut number = windows.partition_point(|window| window.first <= seq);
                loop {
                    let Some(before) = number.checked_sub(1) else { break None };
                    number = before;
                    if let Some(found) = self.load(number)?.newest(run, seq)? {
                        break Some(found);
                    }
                }
            }
            Order::Oldest => {
                let mut number = windows.partition_point(|window| window.first < seq).saturating_sub(1);
                loop {
                    if number >= windows.len() {
                        break None;
                    }
                    if let Some(found) = self.load(number)?.oldest(run, seq)? {
                        break Some(found);
                    }
                    number += 1;
                }
            }
        };
        self.current = found.map(|seq| rank(self.order, seq));
        Ok(())
    }

    /// Looks through a window, unless it is the one that was looked through last.
    fn load(&mut self, number: usize) -> Result<&mut Loaded> {
        let known = self.loaded.take().filter(|loaded| loaded.number == number);
        let loaded = if let Some(loaded) = known {
            loaded
        } else {
            self.looked_through += 1;
            let row = (self.looked_through > KEPT_WINDOWS).then_some(&mut self.row);
            Loaded::new(self.run, number, self.bits, row)?
        };
        Ok(self.loaded.insert(loaded))
    }
}

impl Cursor for Adjacent<'_> {
    fn current(&self) -> Option<u64> {
        self.current
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        match self.current {
            Some(current) if current < target => self.find(target),
            _ => Ok(()),
        }
    }
}

impl Loaded {
    /// With rows that are read over `row`, or looked for in the cache.
    fn new(run: &Run, number: usize, bits: u64, row: Option<&mut Vec<u8>>) -> Result<Self> {
        let windows = run.windows();
        let window = windows[number];
        let end = windows.get(number + 1).map_or(run.meta().last, |next| next.first.saturating_sub(1));
        let rows = (0..64).filter(|bit| bits >> bit & 1 != 0).map(|bit| window.row(bit));
        let mut matches = Vec::new();
        if let Some(row) = row {
            for piece in rows {
                run.read_piece_over(piece, row)?;
                keep_common(&mut matches, row);
            }
        } else {
            for piece in rows {
                keep_common(&mut matches, &run.piece(piece, true)?);
            }
        }
        Ok(Loaded { number, window, end: end.max(window.first), matches, starts: None })
    }

    /// Where its columns begin; `None` when none of them matches.
    fn starts(&mut self, run: &Run) -> Result<Option<&Starts>> {
        if self.starts.is_none() && self.matches.iter().any(|word| *word != 0) {
            self.starts = Some(run.starts(self.window)?);
        }
        Ok(self.starts.as_ref())
    }

    /// The newest message up to `seq` in a column that matches.
    fn newest(&mut self, run: &Run, seq: u64) -> Result<Option<u64>> {
        let wanted = seq.saturating_sub(self.window.first);
        let Some(here) = self.starts(run)?.map(|starts| starts.last_from(wanted)) else { return Ok(None) };
        let found = highest_below(&self.matches, here + 1);
        Ok(found.map(|column| self.last_of(column).min(seq)))
    }

    /// The oldest message from `seq` on in a column that matches.
    fn oldest(&mut self, run: &Run, seq: u64) -> Result<Option<u64>> {
        let before = seq.checked_sub(1).and_then(|before| before.checked_sub(self.window.first));
        let Some(starts) = self.starts(run)? else { return Ok(None) };
        let mut from = before.map_or(0, |before| starts.last_from(before));
        while let Some(column) = lowest(&self.matches, from) {
            if self.last_of(column) >= seq {
                return Ok(Some(self.first_of(column).max(seq)));
            }
            from = column + 1;
        }
        Ok(None)
    }

    /// The seq of a column.
    fn first_of(&self, column: usize) -> u64 {
        self.window.first + self.starts.as_ref().map_or(0, |starts| starts.start(column))
    }

    /// The last seq that a column stands for.
    fn last_of(&self, column: usize) -> u64 {
        let first = self.first_of(column);
        if column + 1 >= self.window.columns as usize {
            return self.end.max(first);
        }
        self.first_of(column + 1).saturating_sub(1).max(first)
    }
}

/// Leaves of the columns that match those that a row has, too; the first row leaves all that it has.
fn keep_common(matches: &mut Vec<u64>, row: &[u8]) {
    let words = words_of(row);
    if matches.is_empty() {
        matches.extend(words);
    } else {
        matches.iter_mut().zip(words).for_each(|(all, one)| *all &= one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::index::meta::Meta;
    use crate::index::pairs::bits_of;
    use crate::index::pairs::columns::Columns;
    use crate::index::testing::{file_of, file_run};
    use crate::storage::File;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    #[test]
    fn a_long_first_message_is_looked_at_from_its_first_column_on() {
        let mut columns = Columns::default();
        let letter = |number: u8| char::from(b'a' + number);
        let words: Vec<String> =
            (0..200).map(|word| [letter(word / 26), letter(word % 26)].iter().collect()).collect();
        words.iter().for_each(|word| columns.add_word(5, word));
        columns.end_message(5);
        let list = columns.list();
        assert!(list.len() > 3);
        let bits = bits_of(&["aa", "ab"], true, true);
        assert!(list[0].1 & bits == bits && list[list.len() - 1].1 & bits != bits);
        let run = file_run(5, 0, |writer| {
            list.iter().for_each(|(number, bits)| {
                writer.add_column(u64::from(*number), *bits).expect("memory");
            });
            writer.finish_columns().expect("memory");
        });
        for seq in 0..=5 {
            let found = Loaded::new(&run, 0, bits, None).and_then(|mut loaded| loaded.oldest(&run, seq));
            assert_eq!(found.expect("whole"), Some(5), "{seq}");
        }
    }

    /// A run of messages that are so far from each other that each has a window of its own.
    fn far_apart(seqs: &[u32]) -> (Arc<dyn File>, Run) {
        let mut columns = Columns::default();
        for seq in seqs {
            ["ab", "cd"].iter().for_each(|word| columns.add_word(*seq, word));
            columns.end_message(*seq);
        }
        let last = u64::from(seqs[seqs.len() - 1]);
        let meta = Meta { first: 1, last, dense_from: last + 1, ..Meta::default() };
        let file = file_of(meta, 0, &[], |writer| {
            columns.list().iter().for_each(|(seq, bits)| {
                writer.add_column(u64::from(*seq), *bits).expect("memory");
            });
            writer.finish_columns().expect("memory");
        });
        let run =
            Run::open(Arc::clone(&file), "/index/one.run", &Arc::default(), true).expect("a whole file");
        (file, run)
    }

    /// Whether a walk from window to window finds each of these messages.
    fn finds_all(run: &Run, order: Order, seqs: &[u32]) -> Result<bool> {
        let mut cursor = Adjacent::open(run, bits_of(&["ab", "cd"], true, true), order)?;
        let mut places: Vec<u64> = seqs.iter().map(|seq| rank(order, u64::from(*seq))).collect();
        places.sort_unstable();
        for place in places {
            cursor.seek(place)?;
            if cursor.current() != Some(place) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    #[test]
    fn many_windows_are_walked_through_and_damage_in_any_of_them_is_said() {
        let seqs: Vec<u32> = (1..=6).map(|number| number << 21).collect();
        let (file, run) = far_apart(&seqs);
        let windows = run.windows().to_vec();
        assert!(windows.len() > 2 * KEPT_WINDOWS);
        for order in [Order::Newest, Order::Oldest] {
            assert_eq!(finds_all(&run, order, &seqs), Ok(true));
        }
        let bit = bits_of(&["ab", "cd"], true, true).trailing_zeros();
        for window in windows {
            let (place, _) = window.row(bit);
            let mut byte = [0];
            file.read_at(&mut byte, place).expect("memory");
            file.write_at(&[byte[0] ^ 1], place).expect("memory");
            let damaged =
                Run::open(Arc::clone(&file), "/index/one.run", &Arc::default(), true).expect("its end");
            for order in [Order::Newest, Order::Oldest] {
                let error = finds_all(&damaged, order, &seqs).expect_err("damage");
                assert_eq!((error.code(), error.offset()), (Code::Corrupt, Some(place)));
            }
            file.write_at(&byte, place).expect("memory");
        }
    }

    proptest! {
        #[test]
        fn no_message_with_the_pairs_is_passed_over(
            messages in prop::collection::vec((1_u32..300, prop::collection::vec("[a-d]{1,3}", 0..40)), 1..200),
            wanted in prop::collection::vec("[a-d]{1,3}", 2..4),
            newest: bool,
        ) {
            let (mut columns, mut number) = (Columns::default(), 0);
            let mut holders = BTreeSet::new();
            for (gap, words) in &messages {
                number += gap;
                words.iter().for_each(|word| columns.add_word(number, word));
                columns.end_message(number);
                if words.windows(wanted.len()).any(|some| some == wanted) {
                    holders.insert(u64::from(number));
                }
            }
            let run = file_run(u64::from(number), 0, |writer| {
                for (number, bits) in columns.list() {
                    writer.add_column(u64::from(*number), *bits).expect("memory");
                }
                writer.finish_columns().expect("memory");
            });
            let order = if newest { Order::Newest } else { Order::Oldest };
            let words: Vec<&str> = wanted.iter().map(String::as_str).collect();
            let bits = bits_of(&words, true, true);
            let mut cursor = Adjacent::open(&run, bits, order).expect("whole");
            let mut found = BTreeSet::new();
            while let Some(current) = cursor.current() {
                prop_assert!(found.last().is_none_or(|last| *last < current), "it goes on");
                found.insert(current);
                cursor.seek(current + 1).expect("whole");
            }
            prop_assert!(holders.iter().all(|seq| found.contains(&rank(order, *seq))), "{holders:?}");
            let mut cursor = Adjacent::open(&run, bits, order).expect("whole");
            let mut holders: Vec<u64> = holders.into_iter().map(|seq| rank(order, seq)).collect();
            holders.sort_unstable();
            for holder in holders {
                cursor.seek(holder).expect("whole");
                prop_assert_eq!(cursor.current(), Some(holder));
            }
        }
    }
}
