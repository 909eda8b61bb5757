//! A run: an immutable piece of index and table over a range of seqs.
//!
//! ```text
//! block* ---- each followed by its CRC-32 (u32 LE)
//! offsets --- u32 LE for each seq from `dense_from` to last: where its record lies in its segment
//! filter ---- of the table's keys and the terms: see `filter`
//! index ----- per block: first key (varint length, bytes), place and length (varints)
//! meta ------ see `Meta`, with the counts of the table as of the last seq
//! footer ---- places of offsets, filter, index and meta (u64 LE), CRC-32 of all from the filter on, magic
//! ```
//!
//! The checksum of the offsets is looked at only when a whole file is: a record says its seq and has
//! one of its own. In memory a run
//! has the same blocks without checksums. A run is written once and then only read.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::block::BlockPlace;
use super::cache::BlockCache;
use super::filter::{self, Filter};
use super::places;
use super::run_writer::EachOffsets;
use crate::codec::{read_varint, write_varint};
use crate::domain::table::Counts;
use crate::error::{Code, Error, Result};
use crate::storage::File;
use crate::time::Timestamp;

/// The last bytes of a run file; the digits are the version of the format.
pub const MAGIC: &[u8; 8] = b"MLGRUN04";
/// Places that the footer names.
pub(super) const PLACES: usize = 4;
const FOOTER_BYTES: usize = PLACES * 8 + 4 + 8;

/// What a run covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The first seq it covers.
    pub first: u64,
    /// The last seq it covers.
    pub last: u64,
    /// The first seq whose record has its place in the array of offsets. The records before have
    /// theirs in entries, see `places`: that part of the log was compacted.
    pub dense_from: u64,
    /// The compaction of the log that these entries are of; 0 where there was none.
    pub generation: u64,
    /// The time of the first.
    pub first_at: Timestamp,
    /// The time of the last.
    pub last_at: Timestamp,
    /// The smallest and the largest seq of a message that was edited or deleted by its events and
    /// may stand in an older run, or in this one.
    pub changed: Option<(u64, u64)>,
    /// Whether it holds words of edited messages.
    pub edits: bool,
    /// The counts of the table as of the last seq.
    pub counts: Counts,
    /// How many keys of the table and terms it holds; set when it is written.
    pub keys: u64,
}

impl Meta {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (low, high) = self.changed.map_or((0, 0), |(low, high)| (low, high + 1));
        for number in [
            self.first,
            self.last,
            self.dense_from,
            self.generation,
            self.first_at.0,
            self.last_at.0,
            low,
            high,
            u64::from(self.edits),
            self.keys,
        ] {
            write_varint(out, number);
        }
        self.counts.write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut next = || read_varint(bytes);
        let (first, last, dense_from, generation) = (next()?, next()?, next()?, next()?);
        let (first_at, last_at) = (Timestamp(next()?), Timestamp(next()?));
        let (low, high, edits, keys) = (next()?, next()?, next()? == 1, next()?);
        let changed = high.checked_sub(1).map(|high| (low, high));
        let counts = Counts::read(bytes)?;
        Some(Meta { first, last, dense_from, generation, first_at, last_at, changed, edits, counts, keys })
    }
}

/// The first key of each block, and where it lies.
#[derive(Default)]
pub(super) struct BlockIndex {
    keys: Vec<u8>,
    /// Per block: where its first key ends in `keys`, and its place and length in the run.
    blocks: Vec<(u32, u64, u32)>,
}

impl BlockIndex {
    pub(super) fn push(&mut self, first_key: &[u8], place: u64, length: usize) {
        self.keys.extend_from_slice(first_key);
        let end = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.blocks.push((end, place, u32::try_from(length).unwrap_or(u32::MAX)));
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len() + 16 * self.blocks.len()
    }

    pub(super) fn shrink(&mut self) {
        self.keys.shrink_to_fit();
        self.blocks.shrink_to_fit();
    }

    fn first_key(&self, block: usize) -> &[u8] {
        let start = if block == 0 { 0 } else { self.blocks[block - 1].0 as usize };
        &self.keys[start..self.blocks[block].0 as usize]
    }

    /// First key, place and length of every block.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u64, u32)> {
        let blocks = self.blocks.iter().enumerate();
        blocks.map(|(number, (_, place, length))| (self.first_key(number), *place, *length))
    }

    /// How many blocks begin with a key smaller than `key`, or equal when `or_equal`.
    fn beginning_before(&self, key: &[u8], or_equal: bool) -> usize {
        let (mut low, mut high) = (0, self.blocks.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            let first = self.first_key(middle);
            if first < key || (or_equal && first == key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

enum Source {
    Memory(Vec<u8>),
    File { file: Arc<dyn File>, path: String, cache: Arc<BlockCache>, number: u64, synced: AtomicBool },
}

/// A block, in the run's own memory or shared with the cache.
enum Block<'r> {
    Memory(&'r [u8]),
    Shared(Arc<[u8]>),
}

impl std::ops::Deref for Block<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Block::Memory(bytes) => bytes,
            Block::Shared(bytes) => bytes,
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Source::File { cache, number, .. } = &self.source {
            cache.forget(*number);
        }
    }
}

/// An immutable piece of the index.
pub struct Run {
    meta: Meta,
    source: Source,
    index: BlockIndex,
    offsets: Offsets,
    filter: Filter,
    bytes: u64,
}

enum Offsets {
    Memory(Vec<u32>),
    At(u64),
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("meta", &self.meta).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Run {
    /// A run in memory.
    pub(super) fn in_memory_of(
        meta: Meta,
        bytes: Vec<u8>,
        index: BlockIndex,
        offsets: Vec<u32>,
        filter: Filter,
    ) -> Self {
        let size = (bytes.len() + 4 * offsets.len() + index.bytes() + filter.bytes()) as u64;
        Run {
            meta,
            source: Source::Memory(bytes),
            index,
            offsets: Offsets::Memory(offsets),
            filter,
            bytes: size,
        }
    }

    /// What it covers.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Its file and the file's name. `None` when it lies in memory.
    #[must_use]
    pub fn file(&self) -> Option<(&dyn File, &str)> {
        match &self.source {
            Source::Memory(_) => None,
            Source::File { file, path, .. } => {
                let name = path.rsplit('/').next().unwrap_or_default();
                Some((file.as_ref(), name))
            }
        }
    }

    /// Its size in bytes, in memory or in its file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it lies in memory.
    #[must_use]
    pub fn in_memory(&self) -> bool {
        matches!(self.source, Source::Memory(_))
    }

    /// Where the record of `seq` lies in its segment, and the next one's if it is known. `None` when
    /// the run does not cover it, or it was compacted away.
    ///
    /// # Errors
    /// `corrupt` when the file cannot be read there.
    pub fn place(&self, seq: u64) -> Result<Option<(u32, Option<u32>)>> {
        if seq < self.meta.first || seq > self.meta.last {
            return Ok(None);
        }
        if seq < self.meta.dense_from {
            let found = places::first_at_or_after(self, seq)?;
            return Ok(found.filter(|place| place.seq == seq).map(|place| (place.offset, place.next)));
        }
        let index = usize::try_from(seq - self.meta.dense_from).unwrap_or(usize::MAX);
        match &self.offsets {
            Offsets::Memory(offsets) => {
                Ok(offsets.get(index).map(|offset| (*offset, offsets.get(index + 1).copied())))
            }
            Offsets::At(place) => {
                let count = if seq == self.meta.last { 1 } else { 2 };
                let bytes = self.read(place + 4 * index as u64, 4 * count)?;
                let number = |at: usize| {
                    bytes
                        .get(at..)
                        .and_then(|rest| rest.first_chunk::<4>())
                        .map(|four| u32::from_le_bytes(*four))
                };
                Ok(number(0).map(|offset| (offset, number(4))))
            }
        }
    }

    /// The first seq at `seq` or behind it that has a record, as far as the run goes.
    ///
    /// # Errors
    /// `corrupt` when the file cannot be read there.
    pub fn next_record(&self, seq: u64) -> Result<Option<u64>> {
        let seq = seq.max(self.meta.first);
        if seq < self.meta.dense_from
            && let Some(place) = places::first_at_or_after(self, seq)?
        {
            return Ok(Some(place.seq));
        }
        Ok(Some(seq.max(self.meta.dense_from)).filter(|seq| *seq <= self.meta.last))
    }

    /// Whether the run may hold a term. `false` is certain.
    #[must_use]
    pub fn may_hold(&self, term: &[u8]) -> bool {
        self.in_memory() || self.filter.may_hold(filter::hash(term))
    }

    /// The value of a table's key, whose hash by `filter::hash` is given: `Some(None)` when it was
    /// removed here.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn value(&self, key: &[u8], hash: u64) -> Result<Option<Option<Vec<u8>>>> {
        if !self.filter.may_hold(hash) {
            return Ok(None);
        }
        let mut place = Position::new(self);
        if !place.seek(key)? || place.key() != key {
            return Ok(None);
        }
        Ok(Some(value_in(place.payload()).map(<[u8]>::to_vec)))
    }

    fn read(&self, place: u64, length: usize) -> Result<Cow<'_, [u8]>> {
        match &self.source {
            Source::Memory(bytes) => {
                let start = usize::try_from(place).unwrap_or(usize::MAX);
                let slice = bytes.get(start..start.saturating_add(length));
                slice.map(Cow::Borrowed).ok_or_else(|| Error::new(Code::Internal, "a run in memory is cut"))
            }
            Source::File { file, path, .. } => {
                let mut bytes = vec![0; length];
                match file.read_at(&mut bytes, place) {
                    Ok(read) if read == length => Ok(Cow::Owned(bytes)),
                    Ok(_) => Err(Error::corrupt(path.as_str(), place, "the index file ends too early")),
                    Err(error) => Err(Error::corrupt(
                        path.as_str(),
                        place,
                        format!("the index file cannot be read: {error}"),
                    )),
                }
            }
        }
    }

    /// A block of the run's own memory, or from its file and checked.
    fn read_block(&self, number: usize) -> Result<Block<'_>> {
        let (_, place, length) = self.index.blocks[number];
        match &self.source {
            Source::Memory(bytes) => {
                let start = usize::try_from(place).unwrap_or(usize::MAX);
                let block = bytes.get(start..start.saturating_add(length as usize));
                let cut = || Error::new(Code::Internal, "a run in memory is cut");
                block.map(Block::Memory).ok_or_else(cut)
            }
            Source::File { path, .. } => {
                let bytes = self.read(place, length as usize + 4)?;
                let (block, stored) = bytes.split_at(length as usize);
                if crc32fast::hash(block).to_le_bytes() != stored {
                    let what = "a block of the index fails its checksum";
                    return Err(Error::corrupt(path.as_str(), place, what));
                }
                Ok(Block::Shared(Arc::from(block)))
            }
        }
    }

    /// A block, from the cache if it is there. `keep`: it is likely to be asked for again.
    fn block(&self, number: usize, keep: bool) -> Result<Block<'_>> {
        let Source::File { cache, number: run, .. } = &self.source else { return self.read_block(number) };
        let place = self.index.blocks[number].1;
        if let Some(block) = cache.find(*run, place) {
            return Ok(Block::Shared(block));
        }
        let block = self.read_block(number)?;
        if keep && let Block::Shared(block) = &block {
            cache.keep(*run, place, block);
        }
        Ok(block)
    }

    /// Opens a run file and reads its index; the blocks are checked when they are read. `synced`: it is
    /// surely on disk.
    ///
    /// # Errors
    /// `corrupt` when it is no whole run file.
    pub fn open(file: Arc<dyn File>, path: &str, cache: &Arc<BlockCache>, synced: bool) -> Result<Self> {
        let damaged = |what: &str| Error::corrupt(path, 0, format!("the index file {what}"));
        let bytes = file.length().map_err(|error| damaged(&format!("cannot be read: {error}")))?;
        let (cache, number) = (Arc::clone(cache), cache.new_run());
        let source =
            Source::File { file, path: path.to_owned(), cache, number, synced: AtomicBool::new(synced) };
        let (meta, index, offsets) = (Meta::default(), BlockIndex::default(), Offsets::At(0));
        let mut run = Run { meta, source, index, offsets, filter: Filter::default(), bytes };
        let start = bytes.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged("is too short"))?;
        let footer = run.read(start, FOOTER_BYTES)?.into_owned();
        if !footer.ends_with(MAGIC) {
            return Err(damaged("is of another format, or its end is damaged"));
        }
        let (places, rest) = footer.split_at(PLACES * 8);
        let place = |number: usize| {
            places.as_chunks::<8>().0.get(number).map_or(0, |eight| u64::from_le_bytes(*eight))
        };
        let [offsets, filter, index, meta] = [place(0), place(1), place(2), place(3)];
        if !(offsets <= filter && filter <= index && index <= meta && meta <= start) {
            return Err(damaged("has a damaged footer"));
        }
        let length = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(usize::MAX);
        let tail = run.read(filter, length(filter, start))?.into_owned();
        let mut hash = crc32fast::Hasher::new();
        hash.update(&tail);
        hash.update(places);
        if rest.get(..4) != Some(hash.finalize().to_le_bytes().as_slice()) {
            return Err(Error::corrupt(path, filter, "the index file's table of blocks fails its checksum"));
        }
        let (filter_bytes, tail) = tail.split_at(length(filter, index));
        let (blocks, meta) = tail.split_at(length(index, meta));
        run.filter = Filter::read(filter_bytes).ok_or_else(|| damaged("has a filter that cannot be read"))?;
        run.index = read_index(blocks).ok_or_else(|| damaged("has a table of blocks that cannot be read"))?;
        run.meta = Meta::read(&mut &*meta).ok_or_else(|| damaged("has a description that cannot be read"))?;
        run.offsets = Offsets::At(offsets);
        let fits = run.fits(offsets, filter - offsets);
        if fits { Ok(run) } else { Err(damaged("describes more than it holds")) }
    }

    /// Whether all that is described may lie in the file: then no sum of places overflows.
    fn fits(&self, offsets: u64, offsets_bytes: u64) -> bool {
        let Meta { first, last, dense_from, keys, .. } = self.meta;
        let mut ends =
            self.index.blocks.iter().map(|(_, place, length)| place.checked_add(u64::from(*length)));
        let end = last.checked_add(1).filter(|end| first < *end && dense_from <= *end);
        ends.all(|end| end.is_some_and(|end| end <= offsets))
            && keys <= self.bytes
            && end.is_some_and(|end| (end - dense_from).saturating_mul(4) <= offsets_bytes)
    }

    /// Checks every block of a run file, on the disk; `moved` is told how many bytes each has.
    ///
    /// # Errors
    /// `corrupt`, naming the first damaged place, and what `moved` says.
    pub fn verify(&self, moved: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        (0..self.index.blocks.len()).try_for_each(|number| moved(self.read_block(number)?.len() as u64))?;
        let (Source::File { path, .. }, Offsets::At(place)) = (&self.source, &self.offsets) else {
            return Ok(());
        };
        let mut hash = crc32fast::Hasher::new();
        self.each_offsets(&mut |bytes| {
            hash.update(bytes);
            moved(bytes.len() as u64)
        })?;
        let stored = self.read(place + 4 * (self.meta.last + 1 - self.meta.dense_from), 4)?;
        if hash.finalize().to_le_bytes() != *stored {
            return Err(Error::corrupt(
                path.as_str(),
                *place,
                "the offsets in the index fail their checksum",
            ));
        }
        Ok(())
    }

    /// Puts a run file on disk, unless it is known to be there.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&self) -> std::io::Result<()> {
        if let Source::File { file, synced, .. } = &self.source
            && !synced.load(Ordering::Relaxed)
        {
            file.sync()?;
            synced.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl EachOffsets for Run {
    fn each_offsets(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        const PIECE: u64 = 64 << 10;
        match &self.offsets {
            Offsets::Memory(offsets) => offsets.iter().try_for_each(|offset| each(&offset.to_le_bytes())),
            Offsets::At(place) => {
                let end = place + 4 * (self.meta.last + 1 - self.meta.dense_from);
                let mut at = *place;
                while at < end {
                    let count = PIECE.min(end - at);
                    each(&self.read(at, usize::try_from(count).unwrap_or(0))?)?;
                    at += count;
                }
                Ok(())
            }
        }
    }
}

fn read_index(blocks: &[u8]) -> Option<BlockIndex> {
    let (mut bytes, mut index) = (blocks, BlockIndex::default());
    while !bytes.is_empty() {
        let length = usize::try_from(read_varint(&mut bytes)?).ok()?;
        let (key, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let (place, length) = (read_varint(&mut bytes)?, read_varint(&mut bytes)?);
        index.push(key, place, usize::try_from(length).ok()?);
    }
    Some(index)
}

/// The payload of a table's key that is set, or removed.
pub fn write_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    out.clear();
    out.push(u8::from(value.is_some()));
    out.extend_from_slice(value.unwrap_or_default());
}

/// What [`write_value`] wrote.
#[must_use]
pub fn value_in(payload: &[u8]) -> Option<&[u8]> {
    match payload.split_first() {
        Some((1, value)) => Some(value),
        _ => None,
    }
}

/// A place in a run.
pub struct Position<'r> {
    run: &'r Run,
    number: usize,
    block: Block<'r>,
    place: BlockPlace,
}

impl<'r> Position<'r> {
    /// Nowhere yet.
    #[must_use]
    pub fn new(run: &'r Run) -> Self {
        Position { run, number: usize::MAX, block: Block::Memory(&[]), place: BlockPlace::default() }
    }

    /// The entry's key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.place.key
    }

    /// The entry's payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.block.get(self.place.payload.clone()).unwrap_or_default()
    }

    fn load(&mut self, number: usize, keep: bool) -> Result<()> {
        if self.number != number {
            self.block = self.run.block(number, keep)?;
            self.number = number;
        }
        self.place.rewind();
        Ok(())
    }

    /// Goes to the first entry whose key is not smaller. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn seek(&mut self, key: &[u8]) -> Result<bool> {
        if self.run.index.blocks.is_empty() {
            return Ok(false);
        }
        self.load(self.run.index.beginning_before(key, true).saturating_sub(1), true)?;
        if self.place.seek(&self.block, key).is_some() {
            return Ok(true);
        }
        self.next_block()
    }

    /// Goes to the next entry. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn advance(&mut self) -> Result<bool> {
        if self.place.next(&self.block).is_some() {
            return Ok(true);
        }
        self.next_block()
    }

    fn next_block(&mut self) -> Result<bool> {
        if self.number + 1 >= self.run.index.blocks.len() {
            return Ok(false);
        }
        // Whoever walks through blocks may walk through many, once: they must not push out others.
        self.load(self.number + 1, false)?;
        Ok(self.place.next(&self.block).is_some())
    }

    /// Goes to the last entry whose key is smaller. `false` when there is none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn seek_before(&mut self, key: &[u8]) -> Result<bool> {
        match self.run.index.beginning_before(key, false) {
            0 => Ok(false),
            blocks => {
                self.load(blocks - 1, true)?;
                Ok(self.place.seek_before(&self.block, key).is_some())
            }
        }
    }
}
