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
//!
//! - `opening` opens a run file and checks it; `pieces` reads what is in it.
//! - `offsets` tells where records lie, `columns` which columns a window has.

mod columns;
mod offsets;
mod opening;
mod pieces;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::block::BLOCK_GROUPS;
pub use super::block::{value_in, write_value};
use super::block_index::BlockIndex;
use super::cache::BlockCache;
use super::filter::{self, Filter};
pub use super::meta::Meta;
use super::pairs::rows::Window;
use super::terms::is_of_grams;
use crate::storage::File;
pub use offsets::UNPROVED_BYTES;
pub use pieces::Block;

/// The last bytes of a run file; the digits are the version of the format, and of what the terms of a message are.
pub const MAGIC: &[u8; 8] = b"MLGRUN10";
/// Those of a checkpoint of the table. It holds no terms and is no part of the index, which can be made anew: so it
/// has a version of its own.
pub const CHECKPOINT_MAGIC: &[u8; 8] = b"MLGRUN09";

/// Whether these bytes of a run file end as another version of this program ends one.
#[must_use]
pub fn is_of_another_version(bytes: &[u8]) -> bool {
    let version = |end: &[u8; 8]| end.starts_with(&MAGIC[..6]) && end[6..].iter().all(u8::is_ascii_digit);
    bytes.last_chunk::<8>().is_some_and(|end| ![MAGIC, CHECKPOINT_MAGIC].contains(&end) && version(end))
}

/// Places that the footer names.
const PLACES: usize = 5;
/// Offsets in a block.
pub(super) const BLOCK_OFFSETS: usize = 1024;
const FOOTER_BYTES: usize = PLACES * 8 + 4 + 8;

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

impl Drop for Run {
    fn drop(&mut self) {
        self.cache.forget(self.number);
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

    /// Where its file lies.
    pub(super) fn path(&self) -> &str {
        &self.path
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

    /// Whether the run may hold a term. `false` is certain.
    #[must_use]
    pub fn may_hold(&self, term: &[u8]) -> bool {
        is_of_grams(term) || self.filter.may_hold(filter::hash(term))
    }

    /// Whether its table may hold a key with this hash. `false` is certain.
    pub(super) fn may_hold_hash(&self, hash: u64) -> bool {
        self.filter.may_hold(hash)
    }

    /// The windows of columns.
    pub(super) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// The messages that its events edited, or those that they deleted.
    pub(super) fn changed(&self, deleted: bool) -> &Listing {
        &self.changed[usize::from(deleted)]
    }

    /// Its blocks: where each lies, and how its first key begins.
    pub(super) fn blocks(&self) -> &BlockIndex {
        &self.index
    }

    /// The first of the groups that may hold `key` or what is behind it; see `grams`.
    pub(super) fn group_of(&self, key: &[u8]) -> u64 {
        self.index.beginning_before(key, true).saturating_sub(1) as u64 * BLOCK_GROUPS as u64
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::{Counted, file_of};

    #[test]
    fn another_version_is_told_from_what_is_no_run_file() {
        assert!(is_of_another_version(b"whatever MLGRUN04"));
        for other in [MAGIC.as_slice(), b"MLGRUN4", b"MLGRUNxx", b"MLGRAN04", b""] {
            assert!(!is_of_another_version(other), "{other:?}");
        }
    }

    #[test]
    fn a_checkpoint_of_the_table_has_a_version_of_its_own() {
        for (checkpoint, own, other) in [(true, CHECKPOINT_MAGIC, MAGIC), (false, MAGIC, CHECKPOINT_MAGIC)] {
            let meta = Meta { first: 1, last: 1, dense_from: 2, checkpoint, ..Meta::default() };
            let file = file_of(meta, 0, &[], |_| ());
            let (mut end, place) = ([0; 8], file.length().expect("memory") - 8);
            assert_eq!(file.read_at(&mut end, place).expect("memory"), 8);
            assert_eq!(&end, own);
            let opened = || Run::open(Arc::clone(&file), "a.run", &Arc::default(), true);
            assert_eq!(opened().expect("a whole file").meta().checkpoint, checkpoint);
            file.write_at(other, place).expect("memory");
            let said = opened().map(drop).expect_err("it is the version of the other kind");
            assert!(said.message().contains("another version"), "{said}");
        }
    }

    #[test]
    fn a_run_is_put_on_disk_once() {
        for (synced, expected) in [(false, 1), (true, 0)] {
            let meta = Meta { first: 1, last: 1, dense_from: 2, ..Meta::default() };
            let file = Counted::new(file_of(meta, 0, &[], |_| ()));
            let opened = Run::open(Arc::clone(&file) as Arc<dyn File>, "a.run", &Arc::default(), synced);
            let run = opened.expect("a whole file");
            run.sync().and_then(|()| run.sync()).expect("memory");
            assert_eq!(file.syncs.load(Ordering::Relaxed), expected);
        }
    }
}
