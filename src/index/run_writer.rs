//! Writes runs: entries in the order of their keys, then the parts that find them again.

use std::sync::Arc;

use super::block::{BLOCK_BYTES, BLOCK_GROUPS, BlockBuilder};
use super::block_index::BlockIndex;
use super::filter::{self, Filter};
use super::grams::Grams;
use super::pairs::rows::{self, RowsWriter, Window, write_piece};
use super::postings::split_key;
use super::run::{BLOCK_OFFSETS, MAGIC, Meta, PLACES, Run};
use super::terms::{Kind, is_of_grams};
use crate::codec::write_varint;
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

/// Where a run's bytes go.
enum Sink {
    Memory(Vec<u8>),
    File { file: Arc<dyn File>, buffer: Vec<u8>, written: u64 },
}

/// A run that may have so many keys and terms has grams of its words. Smaller ones come often and are soon
/// merged: to gather grams for them costs more than their searches.
pub const GRAM_KEYS: u64 = 1 << 16;

const SINK_BYTES: usize = 256 << 10;

/// Writes a run, entry by entry in the order of the keys.
pub struct RunWriter {
    sink: Sink,
    block: BlockBuilder,
    first_key: Vec<u8>,
    index: BlockIndex,
    filter: Filter,
    rows: RowsWriter,
    /// Of a run with so many words that reading all of them takes long.
    grams: Option<Grams>,
    windows: Vec<Window>,
    /// Keys that are in the filter, and terms that are not.
    filtered: u64,
    others: u64,
}

impl RunWriter {
    /// A run in memory, of about so many bytes and with at most so many keys of the table.
    #[must_use]
    pub fn in_memory(bytes: u64, keys: u64) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(0);
        RunWriter::new(Sink::Memory(Vec::with_capacity(bytes)), keys)
    }

    /// A run in a new file, with at most so many keys of the table and terms together.
    #[must_use]
    pub fn to_file(file: Arc<dyn File>, keys: u64) -> Self {
        RunWriter::new(Sink::File { file, buffer: Vec::with_capacity(SINK_BYTES), written: 0 }, keys)
    }

    fn new(sink: Sink, keys: u64) -> Self {
        let (block, index) = (BlockBuilder::default(), BlockIndex::default());
        RunWriter {
            sink,
            block,
            first_key: Vec::new(),
            index,
            filter: Filter::with_room(keys),
            rows: RowsWriter::default(),
            grams: (keys >= GRAM_KEYS).then(Grams::default),
            windows: Vec::new(),
            filtered: 0,
            others: 0,
        }
    }

    /// Adds a column of pairs of the message `seq`; they come ascending, before all entries.
    ///
    /// # Errors
    /// What the system says.
    pub fn add_column(&mut self, seq: u64, bits: u64) -> std::io::Result<()> {
        let place = self.sink.position() - self.sink.buffer().len() as u64;
        self.rows.add(seq, bits, place, self.sink.buffer());
        self.sink.spill()
    }

    /// Ends the columns.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish_columns(&mut self) -> std::io::Result<()> {
        let place = self.sink.position() - self.sink.buffer().len() as u64;
        self.windows = self.rows.finish(place, self.sink.buffer());
        self.sink.spill()
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&mut self, key: &[u8], payload: &[u8]) -> std::io::Result<()> {
        if self.block.is_empty() {
            self.first_key.clear();
            self.first_key.extend_from_slice(key);
        }
        if key.first().is_some_and(|tag| *tag < FIRST_POSTINGS_TAG) {
            self.filter.add(filter::hash(key));
            self.filtered += 1;
        }
        if let Some(grams) = &mut self.grams
            && key.first() == Some(&Kind::Word.tag(false))
            && let Some((term, _)) = split_key(key)
        {
            let group = self.index.len() * BLOCK_GROUPS + self.block.group();
            grams.add(&term[1..], group as u64);
        }
        self.block.add(key, payload);
        if self.block.len() >= BLOCK_BYTES || self.block.group() >= BLOCK_GROUPS {
            self.close_block()?;
        }
        Ok(())
    }

    /// Notes that all postings of a term were added. The filter of a run in memory does not know of
    /// terms: looking one up there costs about as much as asking.
    pub fn note_term(&mut self, term: &[u8]) {
        if is_of_grams(term) {
            // Whoever looks one up looks up several, and most are there.
        } else if matches!(self.sink, Sink::File { .. }) {
            self.filter.add(filter::hash(term));
            self.filtered += 1;
        } else {
            self.others += 1;
        }
    }

    fn close_block(&mut self) -> std::io::Result<()> {
        let place = self.sink.position();
        let out = self.sink.buffer();
        let start = out.len();
        self.block.finish(out);
        let length = out.len() - start;
        if matches!(self.sink, Sink::File { .. }) {
            let out = self.sink.buffer();
            let checksum = crc32fast::hash(&out[start..]);
            out.extend_from_slice(&checksum.to_le_bytes());
        }
        self.index.push(&self.first_key, place, length);
        self.sink.spill()
    }

    /// Finishes a run in memory.
    #[must_use]
    pub fn into_memory(mut self, mut meta: Meta, offsets: Vec<u32>) -> Run {
        if !self.block.is_empty() {
            // Nothing that goes to memory can fail.
            let _ = self.close_block();
        }
        let mut bytes = match self.sink {
            Sink::Memory(bytes) => bytes,
            Sink::File { .. } => Vec::new(),
        };
        // What lies in memory for long should take no more than it needs.
        bytes.shrink_to_fit();
        self.index.shrink();
        self.filter.fold(self.filtered);
        meta.keys = self.filtered + self.others;
        Run::in_memory_of(meta, bytes, self.index, offsets, self.filter)
    }

    /// Finishes a run file, and syncs it if `sync` says so. Where the records lie is taken over from
    /// `pieces`, which follow each other.
    ///
    /// # Errors
    /// `read_only` when it cannot be written, `corrupt` when one of `pieces` cannot be read.
    pub fn into_file(mut self, mut meta: Meta, pieces: &[&dyn EachOffsets], sync: bool) -> Result<()> {
        meta.grams = self.grams.is_some();
        if let Some(grams) = self.grams.take() {
            grams.write(&mut self).map_err(|error| cannot_write(&error))?;
        }
        if !self.block.is_empty() {
            self.close_block().map_err(|error| cannot_write(&error))?;
        }
        let offsets_place = self.sink.position();
        let mut left = Vec::new();
        for piece in pieces {
            piece.each_offsets(&mut |bytes| {
                left.extend_from_slice(bytes);
                let whole = left.len() / (4 * BLOCK_OFFSETS) * (4 * BLOCK_OFFSETS);
                left.drain(..whole).as_slice().chunks(4 * BLOCK_OFFSETS).for_each(|block| {
                    write_piece(block, self.sink.buffer());
                });
                self.sink.spill().map_err(|error| cannot_write(&error))
            })?;
        }
        left.chunks(4 * BLOCK_OFFSETS).for_each(|block| write_piece(block, self.sink.buffer()));
        let filter_place = self.sink.position();
        self.filter.fold(self.filtered);
        let mut tail = Vec::with_capacity(self.filter.bytes() + self.index.bytes());
        self.filter.write(&mut tail);
        let windows_place = filter_place + tail.len() as u64;
        rows::write_table(&self.windows, &mut tail);
        let index_place = filter_place + tail.len() as u64;
        for (key, place, length) in self.index.iter() {
            write_varint(&mut tail, key.len() as u64);
            tail.extend_from_slice(key);
            write_varint(&mut tail, place);
            write_varint(&mut tail, u64::from(length));
        }
        let meta_place = filter_place + tail.len() as u64;
        meta.keys = self.filtered;
        meta.write(&mut tail);
        let places: [u64; PLACES] = [offsets_place, filter_place, windows_place, index_place, meta_place];
        let places: Vec<u8> = places.into_iter().flat_map(u64::to_le_bytes).collect();
        let mut hash = crc32fast::Hasher::new();
        hash.update(&tail);
        hash.update(&places);
        let out = self.sink.buffer();
        out.extend_from_slice(&tail);
        out.extend_from_slice(&places);
        out.extend_from_slice(&hash.finalize().to_le_bytes());
        out.extend_from_slice(MAGIC);
        self.sink.flush(sync).map_err(|error| cannot_write(&error))
    }
}

pub(super) fn cannot_write(error: &std::io::Error) -> Error {
    Error::new(Code::ReadOnly, format!("the index cannot be written: {error}"))
}

impl Sink {
    fn buffer(&mut self) -> &mut Vec<u8> {
        match self {
            Sink::Memory(bytes) => bytes,
            Sink::File { buffer, .. } => buffer,
        }
    }

    fn position(&self) -> u64 {
        match self {
            Sink::Memory(bytes) => bytes.len() as u64,
            Sink::File { buffer, written, .. } => written + buffer.len() as u64,
        }
    }

    fn spill(&mut self) -> std::io::Result<()> {
        if let Sink::File { file, buffer, written } = self
            && buffer.len() >= SINK_BYTES
        {
            file.write_at(buffer, *written)?;
            *written += buffer.len() as u64;
            buffer.clear();
        }
        Ok(())
    }

    fn flush(&mut self, sync: bool) -> std::io::Result<()> {
        if let Sink::File { file, buffer, written } = self {
            file.write_at(buffer, *written)?;
            *written += buffer.len() as u64;
            buffer.clear();
            if sync {
                file.sync()?;
            }
        }
        Ok(())
    }
}
