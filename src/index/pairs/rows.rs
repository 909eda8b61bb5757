//! Columns turned into rows, as they lie in a run file.
//!
//! ```text
//! window:  of up to 32,768 columns
//!   row ---- 64 times, one for each bit: a bit for each column, lowest first, in whole u64s LE; CRC-32
//!   samples  for every 64th column its seq less the window's first, u32 LE; CRC-32
//!   steps -- for each column what its seq has more than the one before, u8, 4,096 to a block; CRC-32 each
//! table:   per window: its first seq less the one before, how many columns, its place: varints
//! ```
//!
//! A column stands for the messages from its seq up to the one before the next column's, or for the first
//! of these alone where the next column has the same seq: that goes on with a long message.

use crate::codec::{read_varint, write_varint};

use super::columns::FULL_BITS;

/// Columns in a window.
const WINDOW_COLUMNS: usize = 1 << 15;
/// Columns from one sample to the next.
pub(super) const SAMPLE_COLUMNS: usize = 64;
/// Steps in a block.
pub(super) const STEP_BLOCK: usize = 4096;
/// Columns without bits that may be put in where no message is for long; a window costs more.
const FILLERS: u64 = 64;
const STEP_MOST: u64 = u8::MAX as u64;
/// What stands behind each piece of a run file.
pub(in crate::index) const CHECKSUM_BYTES: usize = 4;

/// Where a window lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The seq of its first column.
    pub first: u64,
    /// How many columns it has.
    pub columns: u32,
    /// Where it begins in the file.
    pub place: u64,
}

/// A checked piece of the file: where it begins, and its length less its checksum.
pub type Piece = (u64, usize);

impl Window {
    fn row_bytes(self) -> usize {
        (self.columns as usize).div_ceil(64) * 8
    }

    fn samples(self) -> usize {
        (self.columns as usize).div_ceil(SAMPLE_COLUMNS)
    }

    /// A row.
    #[must_use]
    pub fn row(self, bit: u32) -> Piece {
        (self.place + u64::from(bit) * (self.row_bytes() + CHECKSUM_BYTES) as u64, self.row_bytes())
    }

    /// The samples.
    #[must_use]
    pub fn sample_piece(self) -> Piece {
        (self.row(64).0, 4 * self.samples())
    }

    /// The block of steps that holds a column's.
    #[must_use]
    pub fn steps(self, column: usize) -> Piece {
        let (samples, length) = self.sample_piece();
        let block = column / STEP_BLOCK;
        let start = samples + (length + CHECKSUM_BYTES + block * (STEP_BLOCK + CHECKSUM_BYTES)) as u64;
        (start, STEP_BLOCK.min(self.columns as usize - block * STEP_BLOCK))
    }

    /// Where it ends in the file. `None` when there is no such place.
    #[must_use]
    pub fn end(self) -> Option<u64> {
        let pieces = Window { place: 0, ..self }.pieces();
        let bytes: u64 = pieces.map(|(_, length)| (length + CHECKSUM_BYTES) as u64).sum();
        self.place.checked_add(bytes)
    }

    /// All of its pieces, in order.
    pub fn pieces(self) -> impl Iterator<Item = Piece> {
        let rows = (0..64).map(move |bit| self.row(bit));
        let blocks = (0..self.columns as usize).step_by(STEP_BLOCK).map(move |column| self.steps(column));
        rows.chain([self.sample_piece()]).chain(blocks)
    }
}

/// Appends the table.
pub fn write_table(windows: &[Window], out: &mut Vec<u8>) {
    let mut before = 0;
    for Window { first, columns, place } in windows {
        write_varint(out, first - before);
        write_varint(out, u64::from(*columns));
        write_varint(out, *place);
        before = *first;
    }
}

/// Reads the table. `None` when it is none.
#[must_use]
pub fn read_table(mut bytes: &[u8]) -> Option<Vec<Window>> {
    let (mut windows, mut first) = (Vec::new(), 0_u64);
    while !bytes.is_empty() {
        first = first.checked_add(read_varint(&mut bytes)?)?;
        let columns = u32::try_from(read_varint(&mut bytes)?).ok()?;
        let place = read_varint(&mut bytes)?;
        if columns == 0 || columns as usize > WINDOW_COLUMNS {
            return None;
        }
        windows.push(Window { first, columns, place });
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
    /// The window that is being filled: bits and seqs.
    bits: Vec<u64>,
    seqs: Vec<u64>,
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

    /// Passes on what was held. A lone column goes into the one before when there is room for it.
    fn release(&mut self, place: u64, out: &mut Vec<u8>) {
        let (seq, held) = (self.held_seq, std::mem::take(&mut self.held));
        if let [bits] = held.as_slice() {
            match &mut self.open {
                Some((first, open))
                    if (*open | bits).count_ones() <= FULL_BITS && seq - *first < STEP_MOST =>
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
        if let Some(mut last) = self.seqs.last().copied() {
            let fillers = (seq - last).saturating_sub(1) / STEP_MOST;
            if self.seqs.len() + usize::try_from(fillers).unwrap_or(WINDOW_COLUMNS) >= WINDOW_COLUMNS
                || fillers > FILLERS
            {
                self.finish_window(place, out);
            } else {
                for _ in 0..fillers {
                    last += STEP_MOST;
                    self.seqs.push(last);
                    self.bits.push(0);
                }
            }
        }
        self.seqs.push(seq);
        self.bits.push(bits);
    }

    /// Writes a window. `place` is where what `out` had at first begins in the file.
    fn finish_window(&mut self, place: u64, out: &mut Vec<u8>) {
        let Some(first) = self.seqs.first().copied() else { return };
        let columns = u32::try_from(self.seqs.len()).unwrap_or(0);
        self.windows.push(Window { first, columns, place: place + out.len() as u64 });
        self.bits.resize(self.bits.len().next_multiple_of(64), 0);
        turn(&mut self.bits);
        let mut piece = Vec::with_capacity(STEP_BLOCK);
        for row in 0..64 {
            piece.clear();
            self.bits
                .iter()
                .skip(row)
                .step_by(64)
                .for_each(|word| piece.extend_from_slice(&word.to_le_bytes()));
            write_piece(&piece, out);
        }
        piece.clear();
        for seq in self.seqs.iter().step_by(SAMPLE_COLUMNS) {
            piece.extend_from_slice(&u32::try_from(seq - first).unwrap_or(u32::MAX).to_le_bytes());
        }
        write_piece(&piece, out);
        let mut before = first;
        for block in self.seqs.chunks(STEP_BLOCK) {
            piece.clear();
            for seq in block {
                piece.push(u8::try_from(seq - before).unwrap_or(u8::MAX));
                before = *seq;
            }
            write_piece(&piece, out);
        }
        self.bits.clear();
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

/// Appends a piece and its checksum.
pub fn write_piece(piece: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(piece);
    out.extend_from_slice(&crc32fast::hash(piece).to_le_bytes());
}

/// Columns and seqs of a window again, from its pieces: rows, samples, blocks of steps.
#[must_use]
pub fn columns_of(window: Window, pieces: &[&[u8]]) -> Option<Vec<(u64, u64)>> {
    let (rows, others) = pieces.split_at_checked(64)?;
    let words = window.row_bytes() / 8;
    let mut bits = vec![0; 64 * words];
    for (bit, row) in rows.iter().enumerate() {
        for (place, eight) in row.as_chunks::<8>().0.iter().enumerate() {
            *bits.get_mut(64 * place + bit)? = u64::from_le_bytes(*eight);
        }
    }
    turn(&mut bits);
    let mut seq = window.first;
    let steps = others.iter().skip(1).flat_map(|block| block.iter());
    let columns = steps.zip(bits).map(|(step, bits)| {
        seq = seq.saturating_add(u64::from(*step));
        (seq, bits)
    });
    Some(columns.collect())
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
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Windows and their pieces, as they would be read.
    fn written(columns: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let (mut writer, mut out) = (RowsWriter::default(), Vec::new());
        columns.iter().for_each(|(seq, bits)| writer.add(*seq, *bits, 7, &mut out));
        let windows = writer.finish(7, &mut out);
        let mut table = Vec::new();
        write_table(&windows, &mut table);
        assert_eq!(read_table(&table).as_ref(), Some(&windows));
        let mut all = Vec::new();
        for window in windows {
            let mut pieces = Vec::new();
            for (place, length) in window.pieces() {
                let start = usize::try_from(place).expect("small") - 7;
                let (piece, checksum) = out[start..start + length + 4].split_at(length);
                assert_eq!(crc32fast::hash(piece).to_le_bytes(), checksum);
                pieces.push(piece);
            }
            all.extend(columns_of(window, &pieces).expect("a window"));
        }
        all
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
            let mut columns = Vec::new();
            for (gap, bits) in messages {
                seq += gap;
                columns.extend(bits.into_iter().map(|bits| (seq, if thin { 1 << (bits % 64) } else { bits })));
            }
            let read = written(&columns);
            prop_assert!(read.is_sorted_by_key(|(seq, _)| *seq));
            let mut starts: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            read.iter().for_each(|(seq, bits)| starts.entry(*seq).or_default().push(*bits));
            for (seq, bits) in &columns {
                let (_, over) = starts.range(..=seq).next_back().expect("a column at or before");
                prop_assert!(over.iter().any(|own| own & bits == *bits), "{seq}");
            }
            prop_assert!(read.len() <= columns.len() + 300 * 65);
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
