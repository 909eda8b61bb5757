//! Writes runs: entries in the order of their keys, then the parts that find them again.

use std::sync::Arc;

use super::block::{BLOCK_BYTES, BLOCK_GROUPS, BlockBuilder, TABLE_BLOCK_BYTES, common_prefix, value_in};
use super::block_index::BlockIndex;
use super::filter::{self, Filter};
use super::grams::Grams;
use super::pairs::rows::{self, RowsWriter, Window};
use super::piece;
use super::postings::split_key;
use super::run::{BLOCK_OFFSETS, CHECKPOINT_MAGIC, MAGIC, Meta};
use super::scratch::Scratch;
use super::terms::{is_of_grams, is_of_words};
use crate::codec::write_varint;
use crate::courtesy::Breaks;
use crate::domain::table::FIRST_POSTINGS_TAG;
use crate::error::{Code, Error, Result};
use crate::storage::File;

/// Who knows where the records of following seqs lie.
pub trait EachOffsets {
    /// Gives their offsets as bytes (u32 LE each), piece by piece.
    ///
    /// # Errors
    /// `corrupt` when a file cannot be read, and what `each` says.
    fn each_offsets(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>;
}

/// A file that is written from its beginning to its end.
struct Sink {
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    written: u64,
}

/// What is written at once: a write takes no break.
const SINK_BYTES: usize = 64 << 10;

/// Writes a run, entry by entry in the order of the keys.
pub struct RunWriter {
    breaks: Breaks,
    sink: Sink,
    block: BlockBuilder,
    /// The beginning of the block's first key.
    first_key: Vec<u8>,
    /// The last key of the block before.
    last_key: Vec<u8>,
    index: BlockIndex,
    filter: Filter,
    rows: RowsWriter,
    grams: Grams,
    windows: Vec<Window>,
    /// Keys and terms that are in the filter.
    filtered: u64,
    /// How many keys were removed.
    removed: u64,
}

impl RunWriter {
    /// A run in a new file, with at most so many keys of the table and terms together.
    #[must_use]
    pub fn to_file(file: Arc<dyn File>, keys: u64, breaks: Breaks) -> Self {
        RunWriter {
            breaks,
            sink: Sink { file, buffer: Vec::with_capacity(SINK_BYTES), written: 0 },
            block: BlockBuilder::default(),
            first_key: Vec::new(),
            last_key: Vec::new(),
            index: BlockIndex::default(),
            filter: Filter::with_room(keys),
            rows: RowsWriter::default(),
            grams: Grams::default(),
            windows: Vec::new(),
            filtered: 0,
            removed: 0,
        }
    }

    /// Keeps grams that memory has no room for in a scratch file until they are written. Without one they stay in
    /// memory.
    pub(super) fn keep_grams_in(&mut self, scratch: Scratch) {
        self.grams.keep_in(scratch);
    }

    /// A step between entries was done: takes a break if one is due.
    pub fn step(&mut self) {
        self.breaks.step();
    }

    /// Adds a column of pairs of the message `seq`; they come ascending, before all entries.
    ///
    /// # Errors
    /// What the system says.
    pub fn add_column(&mut self, seq: u64, bits: u64) -> std::io::Result<()> {
        self.breaks.step();
        self.rows.add(seq, bits, self.sink.written, &mut self.sink.buffer);
        self.sink.spill()
    }

    /// Adds the columns of another run's window; see [`RowsWriter::take_over`].
    ///
    /// # Errors
    /// What the system says.
    pub fn take_over_columns(&mut self, rows: &[Vec<u64>], seqs: &[u64]) -> std::io::Result<()> {
        self.breaks.take_if_due();
        self.rows.take_over(rows, seqs, self.sink.written, &mut self.sink.buffer);
        self.sink.spill()
    }

    /// Ends the columns.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish_columns(&mut self) -> std::io::Result<()> {
        self.windows = self.rows.finish(self.sink.written, &mut self.sink.buffer);
        self.sink.spill()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&mut self, key: &[u8], payload: &[u8]) -> std::io::Result<()> {
        self.breaks.step();
        if self.block.is_empty() {
            // Enough to tell it from the last key of the block before; all of it would stay in memory.
            let told = common_prefix(&self.last_key, key) + 1;
            self.first_key.clear();
            self.first_key.extend_from_slice(key.get(..told).unwrap_or(key));
        }
        let in_table = key.first().is_some_and(|tag| *tag < FIRST_POSTINGS_TAG);
        if in_table {
            self.filter.add(filter::hash(key));
            self.filtered += 1;
            self.removed += u64::from(value_in(payload).is_none());
        }
        if is_of_words(key)
            && let Some((term, _)) = split_key(key)
        {
            let group = self.index.len() * BLOCK_GROUPS + self.block.group();
            self.grams.add(&term[1..], group as u64)?;
        }
        self.block.add(key, payload);
        // What stays in memory of a block of long keys is to be of several.
        let enough = if in_table && self.block.group() > 0 { TABLE_BLOCK_BYTES } else { BLOCK_BYTES };
        if self.block.len() >= enough || self.block.group() >= BLOCK_GROUPS {
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
            self.close_block()?;
        }
        Ok(())
    }

    /// Notes that all postings of a term were added.
    pub fn note_term(&mut self, term: &[u8]) {
        // Whoever looks up grams looks up several, and most are there.
        if !is_of_grams(term) {
            self.filter.add(filter::hash(term));
            self.filtered += 1;
        }
    }

    fn close_block(&mut self) -> std::io::Result<()> {
        let place = self.sink.position();
        let out = &mut self.sink.buffer;
        let start = out.len();
        self.block.finish(out);
        let length = out.len() - start;
        piece::close(out, start);
        self.index.push(&self.first_key, place, length);
        self.sink.spill()
    }

    /// Finishes a run file, and syncs it if `sync` says so. Where the records lie is taken over from
    /// `pieces`, which follow each other. `pause` is called now and then, for other work.
    ///
    /// # Errors
    /// `read_only` when it cannot be written, `corrupt` when one of `pieces` cannot be read.
    pub fn into_file(
        mut self,
        mut meta: Meta,
        pieces: &[&dyn EachOffsets],
        sync: bool,
        pause: &mut dyn FnMut(),
    ) -> Result<()> {
        let grams = std::mem::take(&mut self.grams);
        meta.grams = grams.write(&mut self, pause).map_err(|error| cannot_write(&error))?;
        if !self.block.is_empty() {
            self.close_block().map_err(|error| cannot_write(&error))?;
        }
        let offsets_place = self.sink.position();
        let mut left = Vec::new();
        for piece in pieces {
            piece.each_offsets(&mut |bytes| {
                pause();
                self.breaks.take_if_due();
                left.extend_from_slice(bytes);
                let whole = left.len() / (4 * BLOCK_OFFSETS) * (4 * BLOCK_OFFSETS);
                left.drain(..whole).as_slice().chunks(4 * BLOCK_OFFSETS).for_each(|block| {
                    piece::write(block, &mut self.sink.buffer);
                });
                self.sink.spill().map_err(|error| cannot_write(&error))
            })?;
        }
        left.chunks(4 * BLOCK_OFFSETS).for_each(|block| piece::write(block, &mut self.sink.buffer));
        self.write_end(meta, offsets_place, sync).map_err(|error| cannot_write(&error))
    }

    /// Writes what a run has in memory while it is open, piece by piece: it is here once already.
    fn write_end(mut self, mut meta: Meta, offsets_place: u64, sync: bool) -> std::io::Result<()> {
        let mut hash = crc32fast::Hasher::new();
        let mut places = vec![offsets_place, self.sink.position()];
        self.filter.fold(self.filtered);
        for piece in self.filter.pieces() {
            self.sink.put(&piece, &mut hash)?;
        }
        places.push(self.sink.position());
        let mut piece = Vec::new();
        rows::write_table(&self.windows, &mut piece);
        self.sink.put(&piece, &mut hash)?;
        places.push(self.sink.position());
        for (key, place, length) in self.index.iter() {
            self.breaks.step();
            piece.clear();
            write_varint(&mut piece, key.len() as u64);
            piece.extend_from_slice(key);
            write_varint(&mut piece, place);
            write_varint(&mut piece, u64::from(length));
            self.sink.put(&piece, &mut hash)?;
        }
        places.push(self.sink.position());
        (meta.keys, meta.removed) = (self.filtered, self.removed);
        piece.clear();
        meta.write(&mut piece);
        // The places are the footer's beginning.
        places.iter().for_each(|place| piece.extend_from_slice(&place.to_le_bytes()));
        self.sink.put(&piece, &mut hash)?;
        self.sink.buffer.extend_from_slice(&hash.finalize().to_le_bytes());
        self.sink.buffer.extend_from_slice(if meta.checkpoint { CHECKPOINT_MAGIC } else { MAGIC });
        self.sink.finish(sync)
    }
}

/// What the system says of a write. Whoever made the file knows its path.
pub(super) fn cannot_write(error: &std::io::Error) -> Error {
    Error::new(Code::ReadOnly, error.to_string())
}

impl Sink {
    /// Where the next byte will lie.
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds bytes that one checksum covers together with others.
    fn put(&mut self, bytes: &[u8], hash: &mut crc32fast::Hasher) -> std::io::Result<()> {
        hash.update(bytes);
        self.buffer.extend_from_slice(bytes);
        self.spill()
    }

    /// Writes what is there if that is much.
    fn spill(&mut self) -> std::io::Result<()> {
        if self.buffer.len() >= SINK_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> std::io::Result<()> {
        self.file.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self, sync: bool) -> std::io::Result<()> {
        self.write()?;
        if sync { self.file.sync() } else { Ok(()) }
    }
}
