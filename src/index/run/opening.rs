//! Opening a run file, and checking it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{CHECKPOINT_MAGIC, FOOTER_BYTES, MAGIC, Meta, PLACES, Run, is_of_another_version};
use crate::error::{Error, Result};
use crate::index::block_index::{BlockIndex, read_index};
use crate::index::cache::BlockCache;
use crate::index::filter::Filter;
use crate::index::pairs::rows;
use crate::storage::File;

impl Run {
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
        let of_another_version = || damaged("was written by another version of this program");
        if is_of_another_version(&footer) {
            return Err(of_another_version());
        }
        let checkpoint = footer.ends_with(CHECKPOINT_MAGIC);
        if !checkpoint && !footer.ends_with(MAGIC) {
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
        if run.meta.checkpoint != checkpoint {
            return Err(of_another_version());
        }
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
}
