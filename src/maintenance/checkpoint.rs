//! The table as it was when a part of the log was compacted, for a repair.

use std::path::Path;
use std::sync::Arc;

use crate::domain::table::{Counts, Facts, Visit};
use crate::error::Result;
use crate::index::position::Position;
use crate::index::run::{Meta, Run, value_in};
use crate::log::compacted::Compacted;
use crate::log::recovery::Failure;
use crate::storage::Storage;
use crate::store::compacted_part::open_checkpoint;

/// The table in a checkpoint.
pub struct Checkpoint(Run);

impl Checkpoint {
    /// The one in a log folder, all of which is checked.
    ///
    /// # Errors
    /// `Damage`, `Io`.
    pub fn open(
        storage: &dyn Storage,
        folder: &Path,
        compacted: &Compacted,
    ) -> std::result::Result<Self, Failure> {
        open_checkpoint(storage, folder, compacted, &mut |_| Ok(())).map(Checkpoint)
    }

    /// What it covers.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        self.0.meta()
    }
}

impl Facts for Checkpoint {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        // It has no filter to ask.
        let mut place = Position::new(&self.0);
        let there = place.seek(key)? && place.key() == key;
        Ok(if there { value_in(place.payload()).map(<[u8]>::to_vec) } else { None })
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let mut place = Position::new(&self.0);
        let mut more = place.seek(from)?;
        while more && place.key() < to {
            if let Some(value) = value_in(place.payload())
                && !visit(place.key(), value)?
            {
                break;
            }
            more = place.advance()?;
        }
        Ok(())
    }

    fn record(&self, _: u64) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn counts(&self) -> Counts {
        self.0.meta().counts
    }
}

/// What is to be done about a checkpoint that a start does without.
pub const NEEDLESS: &str = "the index has all of the table, so it must stay: a daemon starts on it, and `msglog log \
                            compact` makes the checkpoint anew; where a start is refused all the same, move the folder \
                            `index` away and run this again";

/// Whether a start does without the checkpoint at `path`: these runs of the index follow from the same
/// compaction, and all is whole of them that the next one reads. What they hold for searches need not be.
#[must_use]
pub fn is_needless(path: &Path, runs: &[Arc<Run>]) -> bool {
    let made = path.file_name().and_then(|name| Compacted::of_checkpoint(name.to_str()?));
    let generation = runs.first().map(|run| run.meta().generation);
    generation.is_some()
        && generation == made.map(|(generation, _)| generation)
        && runs.iter().all(|run| run.verify_table().is_ok())
}
