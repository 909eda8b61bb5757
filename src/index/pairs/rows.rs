//! Columns turned into rows, as they lie in a run file.
//!
//! ```text
//! window:  of up to 32,768 columns
//!   row ---- 64 times, one for each bit: a bit for each column, lowest first, in whole u64s LE; CRC-32
//!   starts   for each column its seq less the window's first, as `packed` writes them; CRC-32
//! table:   per window: its first seq less the one before, how many columns, its place, and what the last column's
//!          seq has more than the first's: varints
//! ```
//!
//! A column stands for the messages from its seq up to the one before the next column's, or for the first
//! of these alone where the next column has the same seq: that goes on with a long message.

use crate::codec::{read_varint, write_varint};

use super::columns::FULL_BITS;
use crate::index::packed;
use crate::index::piece::{self, CHECKSUM_BYTES, Piece};

/// Columns in a window.
const WINDOW_COLUMNS: usize = 1 << 15;
/// Seqs that a column may stand for: for so many a search has to look whether they are messages at all.
const MESSAGES_MOST: u64 = 255;
/// Where no message is for so long, a window of its own costs less than what all columns of one take more.
const FAR: u64 = 1 << 20;
/// Where a window lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The seq of its first column.
    pub first: u64,
    /// How many columns it has.
    pub columns: u32,
    /// Where it begins in the file.
    pub place: u64,
    /// What the seq of its last column has more than that of its first.
    pub reach: u64,
}

impl Window {
    fn row_bytes(self) -> usize {
        (self.columns as usize).div_ceil(64) * 8
    }

    /// A row.
    #[must_use]
    pub fn row(self, bit: u32) -> Piece {
        (self.place + u64::from(bit) * (self.row_bytes() + CHECKSUM_BYTES) as u64, self.row_bytes())
    }

    /// Where its columns begin; see `starts`.
    #[must_use]
    pub fn starts(self) -> Piece {
        (self.row(64).0, packed::bytes(self.columns as usize, self.reach.saturating_add(1)))
    }

    /// Where it ends in the file. `None` when there is no such place.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        let (start, length) = Window { place: 0, ..self }.starts();
        self.place.checked_add(start + (length + CHECKSUM_BYTES) as u64)
    }

    /// All of its pieces, in order.
    pub fn pieces(self) -> impl Iterator<Item = Piece> {
        (0..64).map(move |bit| self.row(bit)).chain([self.starts()])
    }
}

/// Appends the table.
pub fn write_table(windows: &[Window], out: &mut Vec<u8>) {
    let mut before = 0;
    for Window { first, columns, place, reach } in windows {
        write_varint(out, first - before);
        write_varint(out, u64::from(*columns));
        write_varint(out, *place);
        write_varint(out, *reach);
        before = *first;
    }
}

/// Reads the table. `None` when it is none.
#[must_use]
pub fn read_table(mut bytes: &[u8]) -> Option<Vec<Window>> {
    let (mut windows, mut first, mut end) = (Vec::new(), 0_u64, 0);
    while !bytes.is_empty() {
        first = first.checked_add(read_varint(&mut bytes)?)?;
        let columns = u32::try_from(read_varint(&mut bytes)?).ok()?;
        let place = read_varint(&mut bytes)?;
        let reach = read_varint(&mut bytes)?;
        if columns == 0 || columns as usize > WINDOW_COLUMNS || first < end {
            return None;
        }
        end = first.checked_add(reach)?;
        windows.push(Window { first, columns, place, reach });
    }
    Some(windows)
}

/// Packs columns into windows.
#[derive(Debug, Default)]
pub struct RowsWriter {
    /// The columns of one seq, of which more may come.
    held: Vec<u64>,
    held_seq: u64,
    /// The column before, if others may be put into it.
    open: Option<(u64, u64)>,
    /// The window that is being filled: its seqs, its rows, and columns that are not turned yet.
    seqs: Vec<u64>,
    rows: Vec<Vec<u64>>,
    upright: Vec<u64>,
    /// The windows that were written.
    windows: Vec<Window>,
}

impl RowsWriter {
    /// Adds a column of the message `seq`; they come ascending. `place` is where the next byte of `out`
    /// lies in the file.
    pub fn add(&mut self, seq: u64, bits: u64, place: u64, out: &mut Vec<u8>) {
        if seq != self.held_seq {
            self.release(place, out);
            self.held_seq = seq;
        }
        self.held.push(bits);
    }

    /// Adds the columns of another file's window, which are behind all others, as they are: its rows, each
    /// in words, and the seqs of its columns.
    pub fn take_over(&mut self, rows: &[Vec<u64>], seqs: &[u64], place: u64, out: &mut Vec<u8>) {
        self.release(place, out);
        self.close(place, out);
        let mut taken = 0;
        while let [first, ..] = &seqs[taken..] {
            self.make_room(*first, place, out);
            self.turn_upright();
            let count = (WINDOW_COLUMNS - self.seqs.len()).min(seqs.len() - taken);
            for (row, more) in self.rows.iter_mut().zip(rows) {
                append_bits(row, self.seqs.len(), more, taken, count);
            }
            self.seqs.extend_from_slice(&seqs[taken..taken + count]);
            taken += count;
        }
    }

    /// Passes on what was held. A lone column goes into the one before when there is room for it.
    fn release(&mut self, place: u64, out: &mut Vec<u8>) {
        let (seq, held) = (self.held_seq, std::mem::take(&mut self.held));
        if let [bits] = held.as_slice() {
            match &mut self.open {
                Some((first, open))
                    if (*open | bits).count_ones() <= FULL_BITS && seq - *first < MESSAGES_MOST =>
                {
                    *open |= bits;
                }
                _ => {
                    self.close(place, out);
                    self.open = Some((seq, *bits));
                }
            }
        } else {
            self.close(place, out);
            held.iter().for_each(|bits| self.push(seq, *bits, place, out));
        }
        self.held = held;
        self.held.clear();
    }

    fn close(&mut self, place: u64, out: &mut Vec<u8>) {
        if let Some((seq, bits)) = self.open.take() {
            self.push(seq, bits, place, out);
        }
    }

    fn push(&mut self, seq: u64, bits: u64, place: u64, out: &mut Vec<u8>) {
        self.make_room(seq, place, out);
        self.seqs.push(seq);
        self.upright.push(bits);
        if self.upright.len() == 64 {
            self.turn_upright();
        }
    }

    /// Begins another window when none of the columns to come, of which `seq` is the first one's, may go into
    /// this one.
    fn make_room(&mut self, seq: u64, place: u64, out: &mut Vec<u8>) {
        let far = self.seqs.last().is_some_and(|last| seq - last > FAR);
        if self.seqs.len() >= WINDOW_COLUMNS || far {
            self.finish_window(place, out);
        }
    }

    /// Puts the columns that still stand upright into the rows.
    fn turn_upright(&mut self) {
        self.rows.resize_with(64, || Vec::with_capacity(WINDOW_COLUMNS / 64));
        let count = self.upright.len();
        self.upright.resize(count.next_multiple_of(64), 0);
        turn(&mut self.upright);
        for (row, more) in self.rows.iter_mut().zip(self.upright.chunks(1)) {
            append_bits(row, self.seqs.len() - count, more, 0, count);
        }
        self.upright.clear();
    }

    /// Writes a window. `place` is where what `out` had at first begins in the file.
    fn finish_window(&mut self, place: u64, out: &mut Vec<u8>) {
        let Some(first) = self.seqs.first().copied() else { return };
        let columns = u32::try_from(self.seqs.len()).unwrap_or(0);
        let reach = self.seqs.last().map_or(0, |last| last - first);
        self.windows.push(Window { first, columns, place: place + out.len() as u64, reach });
        self.turn_upright();
        let mut piece = Vec::with_capacity(WINDOW_COLUMNS / 8);
        for row in &mut self.rows {
            piece.clear();
            row.iter().for_each(|word| piece.extend_from_slice(&word.to_le_bytes()));
            piece::write(&piece, out);
            row.clear();
        }
        piece.clear();
        packed::write(self.seqs.iter().map(|seq| seq - first), reach.saturating_add(1), &mut piece);
        piece::write(&piece, out);
        self.seqs.clear();
    }

    /// Ends the columns; answers where the windows lie.
    pub fn finish(&mut self, place: u64, out: &mut Vec<u8>) -> Vec<Window> {
        self.release(place, out);
        self.close(place, out);
        self.finish_window(place, out);
        std::mem::take(&mut self.windows)
    }
}

/// Puts `count` bits of `more`, from its bit `start` on, behind the first `length` ones of `row`, which has no
/// others.
fn append_bits(row: &mut Vec<u64>, length: usize, more: &[u64], start: usize, count: usize) {
    row.resize((length + count).div_ceil(64), 0);
    let mut done = 0;
    while done < count {
        let (from, to) = (start + done, length + done);
        let taken = (64 - to % 64).min(count - done);
        let low = more.get(from / 64).map_or(0, |word| word >> (from % 64));
        let high = more.get(from / 64 + 1).map_or(0, |word| word << 1 << (63 - from % 64));
        row[to / 64] |= ((low | high) & u64::MAX >> (64 - taken)) << (to % 64);
        done += taken;
    }
}

/// The words of a row, as it was written.
pub fn words_of(row: &[u8]) -> impl Iterator<Item = u64> {
    row.as_chunks::<8>().0.iter().map(|eight| u64::from_le_bytes(*eight))
}

/// Turns 64 by 64 bits at a time: bit `b` of word `w` becomes bit `w` of word `b` (Warren: "Hacker's
/// Delight", 7-3).
fn turn(words: &mut [u64]) {
    for square in words.as_chunks_mut::<64>().0 {
        let (mut width, mut mask) = (32, 0x0000_0000_ffff_ffff_u64);
        while width > 0 {
            let mut row = 0;
            while row < 64 {
                let swapped = (square[row] >> width ^ square[row + width]) & mask;
                square[row] ^= swapped << width;
                square[row + width] ^= swapped;
                row = (row + width + 1) & !width;
            }
            width /= 2;
            mask ^= mask << width;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::pairs::starts::Starts;
    use crate::index::run::Block;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Where a file's windows begin in these tests.
    const PLACE: u64 = 7;

    /// The rows and the seqs of the windows that a writer made.
    fn read(mut writer: RowsWriter, mut out: Vec<u8>) -> Vec<(Vec<Vec<u64>>, Vec<u64>)> {
        let windows = writer.finish(PLACE, &mut out);
        let mut table = Vec::new();
        write_table(&windows, &mut table);
        assert_eq!(read_table(&table).as_ref(), Some(&windows));
        let window = |window: &Window| {
            let mut pieces = Vec::new();
            for (place, length) in window.pieces() {
                let start = usize::try_from(place - PLACE).expect("small");
                let (piece, checksum) = out[start..start + length + 4].split_at(length);
                assert_eq!(crc32fast::hash(piece).to_le_bytes(), checksum);
                pieces.push(piece);
            }
            let starts = pieces.pop().expect("starts");
            let block = Block::unchecked([starts, &[0; CHECKSUM_BYTES]].concat().into());
            let starts = Starts::new(block, window.columns as usize, window.reach + 1).expect("starts");
            let seqs = starts.all().map(|start| window.first + start).collect();
            (pieces.into_iter().map(|row| words_of(row).collect()).collect(), seqs)
        };
        windows.iter().map(window).collect()
    }

    /// Windows of columns that come one by one.
    fn written(columns: &[(u64, u64)]) -> Vec<(Vec<Vec<u64>>, Vec<u64>)> {
        let (mut writer, mut out) = (RowsWriter::default(), Vec::new());
        columns.iter().for_each(|(seq, bits)| writer.add(*seq, *bits, PLACE, &mut out));
        read(writer, out)
    }

    /// The columns of windows, each with its seq.
    fn columns(windows: &[(Vec<Vec<u64>>, Vec<u64>)]) -> Vec<(u64, u64)> {
        let bit = |row: &Vec<u64>, column: usize| row[column / 64] >> (column % 64) & 1;
        let upright = |(rows, seqs): &(Vec<Vec<u64>>, Vec<u64>)| {
            let column = |column: usize| (0..64).fold(0, |bits, row| bits | bit(&rows[row], column) << row);
            seqs.iter().copied().enumerate().map(|(place, seq)| (seq, column(place))).collect::<Vec<_>>()
        };
        windows.iter().flat_map(upright).collect()
    }

    proptest! {
        #[test]
        fn every_message_keeps_its_bits(
            messages in prop::collection::vec(
                (prop_oneof![1_u64..4, 1_u64..70_000], prop::collection::vec(any::<u64>(), 1..4)),
                1..300,
            ),
            thin: bool,
        ) {
            let mut seq = 0;
            let mut given = Vec::new();
            for (gap, bits) in messages {
                seq += gap;
                given.extend(bits.into_iter().map(|bits| (seq, if thin { 1 << (bits % 64) } else { bits })));
            }
            let read = columns(&written(&given));
            prop_assert!(read.is_sorted_by_key(|(seq, _)| *seq));
            let mut starts: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            read.iter().for_each(|(seq, bits)| starts.entry(*seq).or_default().push(*bits));
            for (seq, bits) in &given {
                let (_, over) = starts.range(..=seq).next_back().expect("a column at or before");
                prop_assert!(over.iter().any(|own| own & bits == *bits), "{seq}");
            }
            prop_assert!(read.len() <= given.len());
        }

        #[test]
        fn windows_are_taken_over_as_they_are(
            files in prop::collection::vec(prop::collection::vec(
                (prop_oneof![20 => 0_u64..3, 1 => 1_u64..3_000_000], any::<u64>()),
                0..200,
            ), 1..5),
            repeated in prop_oneof![3 => Just(1), 1 => Just(300)],
        ) {
            let mut seq = 0;
            let (mut writer, mut out) = (RowsWriter::default(), Vec::new());
            let mut expected = Vec::new();
            for file in files {
                let mut given = Vec::new();
                seq += 1;
                for (gap, bits) in file.iter().cycle().take(file.len() * repeated) {
                    seq += gap;
                    given.push((seq, *bits));
                }
                let windows = written(&given);
                expected.extend(columns(&windows));
                windows.iter().for_each(|(rows, seqs)| writer.take_over(rows, seqs, PLACE, &mut out));
            }
            let windows = read(writer, out);
            prop_assert!(columns(&windows) == expected);
            let gaps = |seqs: &Vec<u64>| seqs.windows(2).all(|two| two[1] - two[0] <= FAR);
            prop_assert!(windows.iter().all(|(_, seqs)| seqs.len() <= WINDOW_COLUMNS && gaps(seqs)));
        }

        #[test]
        fn what_is_turned_twice_is_as_it_was(words in prop::collection::vec(any::<u64>(), 128)) {
            let mut turned = words.clone();
            turn(&mut turned);
            for (row, word) in words.iter().enumerate() {
                for bit in 0..64 {
                    let other = turned[row / 64 * 64 + bit] >> (row % 64) & 1;
                    prop_assert_eq!(word >> bit & 1, other);
                }
            }
            turn(&mut turned);
            prop_assert_eq!(turned, words);
        }
    }
}
