//! A run: an immutable piece of index and table over a range of seqs.
//!
//! ```text
//! pairs ----- windows of columns: see `pairs::rows`
//! block* ---- each followed by its CRC-32 (u32 LE)
//! offsets --- u32 LE for each seq from `dense_from` to last: where its record lies in its segment;
//!             1,024 to a block, each followed by its CRC-32
//! filter ---- of the table's keys and the terms: see `filter`
//! windows --- the table of the windows of columns
//! index ----- per block: the beginning of its first key that tells it from the last key of the block before
//!             (varint length, bytes), place and length (varints)
//! meta ------ see `Meta`, with the counts of the table as of the last seq
//! footer ---- places of offsets, filter, windows, index and meta (u64 LE), CRC-32 of all from the filter on, magic
//! ```
//!
//! A run is written once and then only read.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::block::BLOCK_GROUPS;
pub use super::block::{value_in, write_value};
use super::block_index::{BlockIndex, read_index};
use super::cache::BlockCache;
use super::filter::{self, Filter};
pub use super::meta::Meta;
use super::pairs::rows::{self, CHECKSUM_BYTES, Piece, Window};
use super::pairs::starts::Starts;
use super::places;
use super::run_writer::EachOffsets;
use super::terms::is_of_grams;
use crate::error::{Code, Error, Result};
use crate::storage::File;

/// The last bytes of a run file; the digits are the version of the format.
pub const MAGIC: &[u8; 8] = b"MLGRUN09";

/// Whether these bytes of a run file end as another version of this program ends one.
#[must_use]
pub fn is_of_another_version(bytes: &[u8]) -> bool {
    let version = |end: &[u8; 8]| end.starts_with(&MAGIC[..6]) && end[6..].iter().all(u8::is_ascii_digit);
    bytes.last_chunk::<8>().is_some_and(|end| end != MAGIC && version(end))
}

/// Places that the footer names.
pub(super) const PLACES: usize = 5;
/// Offsets in a block.
pub(super) const BLOCK_OFFSETS: usize = 1024;
/// A record that seems to be as long as this is not read without a proof of that.
pub const UNPROVED_BYTES: u32 = 64 << 10;
const FOOTER_BYTES: usize = PLACES * 8 + 4 + 8;

/// A block of a run file, shared with the cache or with others that were read with it. Its checksum lies behind
/// it, and was right.
#[derive(Default)]
pub struct Block {
    shared: Arc<[u8]>,
    /// Where it lies there, less its checksum.
    part: Range<usize>,
}

impl Block {
    /// Of bytes with a checksum behind them.
    pub(super) fn whole(bytes: Arc<[u8]>) -> Self {
        let part = 0..bytes.len().saturating_sub(CHECKSUM_BYTES);
        Block { shared: bytes, part }
    }

    /// Of some among other bytes, with a checksum behind them.
    pub(super) fn among(bytes: &Arc<[u8]>, Range { start, end }: Range<usize>) -> Self {
        Block { shared: Arc::clone(bytes), part: start..end.saturating_sub(CHECKSUM_BYTES) }
    }
}

impl std::ops::Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.shared.get(self.part.clone()).unwrap_or_default()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.cache.forget(self.number);
    }
}

/// An immutable piece of the index.
pub struct Run {
    meta: Meta,
    file: Arc<dyn File>,
    path: String,
    synced: AtomicBool,
    /// Whether a sync of it failed. The system forgets that, and the next one says that all is well.
    sync_failed: AtomicBool,
    cache: Arc<BlockCache>,
    /// Its number in the cache.
    number: u64,
    index: BlockIndex,
    /// Where the offsets begin.
    offsets: u64,
    filter: Filter,
    windows: Vec<Window>,
    /// The messages that its events edited, and those that they deleted: see `source`.
    changed: [Listing; 2],
    bytes: u64,
}

/// A list of seqs, once somebody asked for it; `None` when it is too long to have in memory.
pub(super) type Listing = OnceLock<Option<Arc<[u64]>>>;

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("meta", &self.meta).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Run {
    /// What it covers.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Its file and the file's name.
    #[must_use]
    pub fn file(&self) -> (&dyn File, &str) {
        (self.file.as_ref(), self.path.rsplit('/').next().unwrap_or_default())
    }

    /// Its number in the cache, which tells it from all others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The cache of its blocks.
    pub(super) fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
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
        let (piece, index) = self.offset_at(seq);
        Ok(offset_in(&self.piece(piece, true)?, index))
    }

    /// The same without proof, for who sees from the record itself whether it is the right one: then no
    /// whole block of offsets need be read and summed for one of them. `None` also when that cannot be.
    ///
    /// # Errors
    /// `corrupt` when the file cannot be read there.
    pub fn unproved_place(&self, seq: u64) -> Result<Option<(u32, Option<u32>)>> {
        if seq < self.meta.first.max(self.meta.dense_from) || seq > self.meta.last {
            return Ok(None);
        }
        let ((place, length), index) = self.offset_at(seq);
        if let Some(block) = self.cache.find(self.number, place) {
            return Ok(offset_in(&Block::whole(block), index));
        }
        let mut two = [0; 8];
        let two = &mut two[..8.min(length - 4 * index)];
        self.read(place + 4 * index as u64, two)?;
        // The length of a record that nobody vouches for must not be believed in.
        let near = |(offset, next): &(u32, Option<u32>)| {
            next.is_none_or(|next| next.wrapping_sub(*offset) < UNPROVED_BYTES)
        };
        Ok(offset_in(two, 0).filter(near))
    }

    /// The block of offsets that has the one of a seq of the dense part, and which it is there.
    fn offset_at(&self, seq: u64) -> (Piece, usize) {
        let index = usize::try_from(seq - self.meta.dense_from).unwrap_or(usize::MAX);
        (self.offset_piece(index / BLOCK_OFFSETS), index % BLOCK_OFFSETS)
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

    /// A block of offsets.
    fn offset_piece(&self, number: usize) -> Piece {
        let count = usize::try_from(self.meta.last + 1 - self.meta.dense_from).unwrap_or(0);
        let length = 4 * BLOCK_OFFSETS.min(count.saturating_sub(number * BLOCK_OFFSETS));
        (self.offsets + (number * (4 * BLOCK_OFFSETS + CHECKSUM_BYTES)) as u64, length)
    }

    /// All blocks of offsets.
    fn offset_pieces(&self) -> impl Iterator<Item = Piece> {
        let count = usize::try_from(self.meta.last + 1 - self.meta.dense_from).unwrap_or(0);
        (0..count.div_ceil(BLOCK_OFFSETS)).map(|number| self.offset_piece(number))
    }

    /// Whether the run may hold a term. `false` is certain.
    #[must_use]
    pub fn may_hold(&self, term: &[u8]) -> bool {
        is_of_grams(term) || self.filter.may_hold(filter::hash(term))
    }

    /// Reads bytes that may have to wait for the disk.
    fn read(&self, place: u64, bytes: &mut [u8]) -> Result<()> {
        let damaged = |what: String| Error::corrupt(self.path.as_str(), place, what);
        match self.file.read_at(bytes, place) {
            Ok(read) if read == bytes.len() => Ok(()),
            Ok(_) => Err(damaged("the index file ends too early".to_owned())),
            Err(error) => Err(damaged(format!("the index file cannot be read: {error}"))),
        }
    }

    /// Reads what may be too much to have in memory twice.
    fn read_in_pieces(&self, from: u64, to: u64, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut piece = [0; 8 << 10];
        let mut place = from;
        while place < to {
            let length = usize::try_from(to - place).map_or(piece.len(), |left| left.min(piece.len()));
            self.read(place, &mut piece[..length])?;
            each(&piece[..length]);
            place += length as u64;
        }
        Ok(())
    }

    /// Reads bytes that may be shared.
    pub(super) fn read_shared(&self, place: u64, length: usize) -> Result<Arc<[u8]>> {
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
        self.read(place, Arc::get_mut(&mut bytes).unwrap_or_default())?;
        Ok(bytes)
    }

    /// A block from the file, checked.
    fn read_block(&self, (place, length): Piece) -> Result<Block> {
        self.check(place, Block::whole(self.read_shared(place, length + CHECKSUM_BYTES)?))
    }

    /// A block that was read at a place, if its checksum is right.
    pub(super) fn check(&self, place: u64, block: Block) -> Result<Block> {
        let stored = block.shared.get(block.part.end..).and_then(|behind| behind.first_chunk());
        if stored == Some(&crc32fast::hash(&block).to_le_bytes()) {
            return Ok(block);
        }
        Err(Error::corrupt(self.path.as_str(), place, "a block of the index fails its checksum"))
    }

    /// A block, from the cache if it is there. `keep`: it is likely to be asked for again.
    pub(super) fn block(&self, number: usize, keep: bool) -> Result<Block> {
        self.piece(self.block_piece(number), keep)
    }

    /// Where a block lies, and how long it is without its checksum.
    pub(super) fn block_piece(&self, number: usize) -> Piece {
        let (_, place, length) = self.index.blocks[number];
        (place, length as usize)
    }

    /// The windows of columns.
    pub(super) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Where the columns of a window begin.
    pub(super) fn starts(&self, window: Window) -> Result<Starts> {
        starts_of(window, self.piece(window.starts(), true)?)
    }

    /// The messages that its events edited, or those that they deleted.
    pub(super) fn changed(&self, deleted: bool) -> &Listing {
        &self.changed[usize::from(deleted)]
    }

    /// Its blocks: where each lies, and how its first key begins.
    pub(super) fn blocks(&self) -> &BlockIndex {
        &self.index
    }

    /// Whether its table may hold a key with this hash. `false` is certain.
    pub(super) fn may_hold_hash(&self, hash: u64) -> bool {
        self.filter.may_hold(hash)
    }

    /// The first of the groups that may hold `key` or what is behind it; see `grams`.
    pub(super) fn group_of(&self, key: &[u8]) -> u64 {
        self.index.beginning_before(key, true).saturating_sub(1) as u64 * BLOCK_GROUPS as u64
    }

    /// A piece with a checksum behind it, from the cache if it is there. `keep`: it is likely to be asked
    /// for again.
    pub(super) fn piece(&self, piece: Piece, keep: bool) -> Result<Block> {
        let place = piece.0;
        if let Some(block) = self.cache.find(self.number, place) {
            return Ok(Block::whole(block));
        }
        let block = self.read_block(piece)?;
        if keep {
            self.cache.keep(self.number, place, &block.shared);
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
        let mut run = Run {
            meta: Meta::default(),
            file,
            path: path.to_owned(),
            synced: AtomicBool::new(synced),
            sync_failed: AtomicBool::new(false),
            cache: Arc::clone(cache),
            number: cache.new_run(),
            index: BlockIndex::default(),
            offsets: 0,
            filter: Filter::default(),
            windows: Vec::new(),
            changed: Default::default(),
            bytes,
        };
        let start = bytes.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged("is too short"))?;
        let mut footer = [0; FOOTER_BYTES];
        run.read(start, &mut footer)?;
        if is_of_another_version(&footer) {
            return Err(damaged("was written by another version of this program"));
        }
        if !footer.ends_with(MAGIC) {
            return Err(damaged("is no such file, or its end is damaged"));
        }
        let (places, rest) = footer.split_at(PLACES * 8);
        let place = |number: usize| {
            places.as_chunks::<8>().0.get(number).map_or(0, |eight| u64::from_le_bytes(*eight))
        };
        let [offsets, filter, windows, index, meta] = [place(0), place(1), place(2), place(3), place(4)];
        if ![offsets, filter, windows, index, meta, start].is_sorted() {
            return Err(damaged("has a damaged footer"));
        }
        let length = |from: u64, to: u64| usize::try_from(to - from).unwrap_or(usize::MAX);
        let mut hash = crc32fast::Hasher::new();
        let unreadable = || damaged("has a filter that cannot be read");
        let mut stored = Filter::to_read(length(filter, windows)).ok_or_else(unreadable)?;
        run.read_in_pieces(filter, windows, &mut |piece| {
            hash.update(piece);
            stored.read(piece);
        })?;
        let mut tail = Vec::new();
        let too_large = |_| damaged("has larger tables than there is memory for");
        tail.try_reserve_exact(length(windows, start)).map_err(too_large)?;
        tail.resize(length(windows, start), 0);
        run.read(windows, &mut tail)?;
        hash.update(&tail);
        hash.update(places);
        if rest.get(..4) != Some(hash.finalize().to_le_bytes().as_slice()) {
            return Err(Error::corrupt(path, filter, "the index file's table of blocks fails its checksum"));
        }
        run.filter = stored;
        let (window_bytes, tail) = tail.split_at(length(windows, index));
        let (blocks, meta) = tail.split_at(length(index, meta));
        run.windows = rows::read_table(window_bytes)
            .ok_or_else(|| damaged("has a table of pairs that cannot be read"))?;
        run.index = read_index(blocks).ok_or_else(|| damaged("has a table of blocks that cannot be read"))?;
        run.meta = Meta::read(&mut &*meta).ok_or_else(|| damaged("has a description that cannot be read"))?;
        run.offsets = offsets;
        let fits = run.fits(offsets, filter - offsets);
        if fits { Ok(run) } else { Err(damaged("describes more than it holds")) }
    }

    /// Whether all that is described may lie in the file: then no sum of places overflows.
    fn fits(&self, offsets: u64, offsets_bytes: u64) -> bool {
        let Meta { first, last, dense_from, keys, .. } = self.meta;
        let mut ends =
            self.index.blocks.iter().map(|(_, place, length)| place.checked_add(u64::from(*length)));
        let end = last.checked_add(1).filter(|end| first < *end && dense_from <= *end);
        let mut windows = self.windows.iter().map(|window| window.end());
        ends.all(|end| end.is_some_and(|end| end <= offsets))
            && windows.all(|end| end.is_some_and(|end| end <= offsets))
            && keys <= self.bytes
            && end.is_some_and(|end| (end - dense_from).saturating_mul(4) <= offsets_bytes)
    }

    /// Checks every block of a run file, on the disk; `moved` is told how many bytes each has.
    ///
    /// # Errors
    /// `corrupt`, naming the first damaged place, and what `moved` says.
    pub fn verify(&self, moved: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let blocks = (0..self.index.blocks.len()).map(|number| self.block_piece(number));
        let pairs = self.windows.iter().flat_map(|window| window.pieces());
        pairs.chain(blocks).try_for_each(|piece| moved(self.read_block(piece)?.len() as u64))?;
        self.offset_pieces().try_for_each(|piece| moved(self.read_block(piece)?.len() as u64))
    }

    /// Reads all of a run file again, and checks it; `moved` is told how many bytes were read.
    ///
    /// # Errors
    /// As [`Run::open`] and [`Run::verify`].
    pub fn reread(&self, moved: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let again = Run::open(Arc::clone(&self.file), &self.path, &self.cache, true)?;
        moved(again.bytes.saturating_sub(again.offsets))?;
        again.verify(moved)
    }

    /// Puts a run file on disk, unless it is known to be there.
    ///
    /// # Errors
    /// What the system says; once it failed it fails for good, as nobody knows what is on the disk.
    pub fn sync(&self) -> std::io::Result<()> {
        if self.synced.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.sync_failed.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("a sync of it failed before"));
        }
        self.file.sync().inspect_err(|_| self.sync_failed.store(true, Ordering::Relaxed))?;
        self.synced.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Run {
    /// The rows of a window, each in words, and the seqs of its columns.
    ///
    /// # Errors
    /// `corrupt`.
    pub(super) fn columns(&self, window: Window) -> Result<(Vec<Vec<u64>>, Vec<u64>)> {
        let row = |bit| Ok(rows::row_in_words(&self.read_block(window.row(bit))?));
        let rows = (0..64).map(row).collect::<Result<Vec<_>>>()?;
        let starts = starts_of(window, self.read_block(window.starts())?)?;
        let seqs: Vec<u64> = starts.all().map(|start| window.first.saturating_add(start)).collect();
        let last = self.meta.last.min(window.first.saturating_add(window.reach));
        let sane = seqs.is_sorted() && window.first >= self.meta.first && seqs.last() <= Some(&last);
        if sane { Ok((rows, seqs)) } else { Err(unreadable_window()) }
    }
}

fn starts_of(window: Window, block: Block) -> Result<Starts> {
    Starts::new(block, window.columns as usize, window.reach.saturating_add(1)).ok_or_else(unreadable_window)
}

fn unreadable_window() -> Error {
    Error::new(Code::Internal, "a window of pairs cannot be read: please report this")
}

/// An offset in a block of them, and the next one: the last one of a block does not know where the next
/// record begins.
fn offset_in(block: &[u8], index: usize) -> Option<(u32, Option<u32>)> {
    let number = |at: usize| block.as_chunks::<4>().0.get(at).map(|four| u32::from_le_bytes(*four));
    number(index).map(|offset| (offset, number(index + 1)))
}

impl EachOffsets for Run {
    fn each_offsets(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut pieces = self.offset_pieces();
        pieces.try_for_each(|piece| each(&self.read_block(piece)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::position::Position;
    use crate::index::testing::{Counted, file_of};

    /// Offsets of as many records, a hundred bytes each.
    struct Offsets(u32);

    impl EachOffsets for Offsets {
        fn each_offsets(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
            (0..self.0).try_for_each(|number| each(&(100 * number).to_le_bytes()))
        }
    }

    fn written(meta: Meta, keys: u32, offsets: &[&dyn EachOffsets]) -> Arc<dyn File> {
        file_of(meta, u64::from(keys), offsets, |writer| {
            for key in 0..keys {
                writer.add(&[&[1], key.to_be_bytes().as_slice()].concat(), &[7; 100]).expect("memory");
            }
        })
    }

    #[test]
    fn a_run_that_was_written_in_many_pieces_reads_back() {
        let (keys, events) = (10_000, 5000);
        let meta = Meta { first: 11, last: 10 + u64::from(events), dense_from: 11, ..Meta::default() };
        let offsets: [&dyn EachOffsets; 2] = [&Offsets(3000), &Offsets(2000)];
        let file = written(meta, keys, &offsets);
        let run = Run::open(Arc::clone(&file), "/index/one.run", &Arc::default(), true);
        let run = run.expect("a whole file");
        let mut bytes = 0;
        run.verify(&mut |moved| {
            bytes += moved;
            Ok(())
        })
        .expect("a whole file");
        assert!((u64::from(100 * keys)..run.bytes()).contains(&bytes), "{bytes}");
        assert_eq!(run.file().1, "one.run");
        let mut place = Position::new(&run);
        let mut open = place.seek(b"").expect("whole");
        for key in 0..keys {
            assert!(open && place.key()[1..] == key.to_be_bytes() && place.payload() == [7; 100], "{key}");
            open = place.advance().expect("whole");
        }
        assert!(!open);
        let anew = Run::open(file, "/index/two.run", &Arc::default(), true);
        let anew = anew.expect("a whole file");
        for number in 0..events {
            let (offset, next) = run.place(11 + u64::from(number)).expect("whole").expect("its place");
            assert_eq!(offset, 100 * if number < 3000 { number } else { number - 3000 });
            assert_eq!(next.is_none(), number % 1024 == 1023 || number == events - 1, "{number}");
            let unproved = anew.unproved_place(11 + u64::from(number)).expect("whole");
            // The next one lies in another segment: what seems to be the length of the record is none.
            assert_eq!(unproved, Some((offset, next)).filter(|_| number != 2999), "{number}");
        }
    }

    #[test]
    fn another_version_is_told_from_what_is_no_run_file() {
        assert!(is_of_another_version(b"whatever MLGRUN04"));
        for other in [MAGIC.as_slice(), b"MLGRUN4", b"MLGRUNxx", b"MLGRAN04", b""] {
            assert!(!is_of_another_version(other), "{other:?}");
        }
    }

    #[test]
    fn a_run_is_put_on_disk_once() {
        for (synced, expected) in [(false, 1), (true, 0)] {
            let meta = Meta { first: 1, last: 1, dense_from: 2, ..Meta::default() };
            let file = Counted::new(written(meta, 3, &[]));
            let opened = Run::open(Arc::clone(&file) as Arc<dyn File>, "a.run", &Arc::default(), synced);
            let run = opened.expect("a whole file");
            run.sync().and_then(|()| run.sync()).expect("memory");
            assert_eq!(file.syncs.load(Ordering::Relaxed), expected);
        }
    }
}
