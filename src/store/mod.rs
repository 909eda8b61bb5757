//! Opens a data folder that is locked already: reads the index that is there, and the log behind it.
//!
//! ```text
//! DIR/lock            held while a daemon has the folder
//! DIR/log/*.log       the log: see `log::frame`
//! DIR/log/compacted   what the last compaction left, with *.checkpoint: see `log::compacted`
//! DIR/log/*.torn      what a start set aside
//! DIR/log/*.damaged   what a repair set aside
//! DIR/index/manifest  the run files that make the index: see `index::files`
//! DIR/index/recent    small run files behind those
//! DIR/index/*.run     run files: see `index::run`
//! ```
//!
//! Only the log is the truth: the folder `index` may be removed while no daemon runs.
//!
//! - `replay` folds the log behind the index into it; `road` says how far it is.
//! - `compacted_part` opens what a compaction left; `wholeness` reads the log only for whether it is whole.

pub mod compacted_part;
mod replay;
mod road;
mod wholeness;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::held::Held;
use crate::error::{Code, Error};
use crate::index::files::RunFiles;
use crate::log::compacted::Compacted;
use crate::log::files::open_segments;
use crate::log::recovery::Failure;
use crate::log::writer::LogWriter;
use crate::snapshot::Snapshot;
use crate::storage::{Open, Storage};
use replay::Replay;
pub use road::Replayed;
use wholeness::look_through;

/// The places in a data folder.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The data folder.
    pub data: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Its index.
    pub index: PathBuf,
}

impl Folders {
    /// The places in the data folder `data`.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Folders { data: data.to_owned(), log: data.join("log"), index: data.join("index") }
    }
}

/// What a start tells while it works.
pub trait Progress {
    /// A line for the operator.
    fn say(&mut self, line: &str);

    /// The log was read back so far.
    fn replayed(&mut self, _so_far: Replayed) {}

    /// It gets on with this, and it is not known how long that takes. Called often.
    fn gets_on(&mut self, _with: &'static str) {}
}

/// A start that nobody hears of.
impl Progress for () {
    fn say(&mut self, _line: &str) {}
}

/// What a start gets on with.
const LOOKING: &str = "reading the log, for whether it is whole";
const CHECKING: &str = "checking the table's checkpoint";
const MERGING: &str = "merging files of the index";

/// Tells now and then during a merge that it gets on.
fn merging(progress: &mut dyn Progress) -> impl FnMut() -> crate::error::Result<()> {
    || {
        progress.gets_on(MERGING);
        Ok(())
    }
}

/// An opened store.
pub struct Store {
    /// To append to.
    pub log: LogWriter,
    /// What there is.
    pub snapshot: Snapshot,
    /// The run files, for whoever writes more of them.
    pub files: RunFiles,
    /// The jobs that are leased or delayed.
    pub held: Vec<Held>,
}

/// Opens the store: the index as far as it goes, and the log behind it. A damaged index is built anew
/// from the log.
///
/// # Errors
/// `Damage` in what it reads of the log, `Io`.
pub fn open(
    storage: &Arc<dyn Storage>,
    folders: &Folders,
    segment_bytes: u64,
    progress: &mut dyn Progress,
) -> Result<Store, Failure> {
    for folder in [&folders.log, &folders.index] {
        storage.create_folder(folder).map_err(|error| Failure::Io { path: folder.clone(), error })?;
    }
    storage.sync_folder(&folders.data).map_err(|error| Failure::Io { path: folders.data.clone(), error })?;
    let files = RunFiles::new(Arc::clone(storage), folders.index.clone());
    let mut healed = false;
    let lost = &mut |error: &Error| {
        healed = true;
        progress.say(&format!("{error}; what it held is read from the log"));
    };
    // Room that a start may need; nothing of it was ever a part of the index.
    files.remove_temporaries();
    let mut known = 0;
    let opened = files.read(lost).and_then(|runs| {
        known = runs.last().map_or(0, |run| run.meta().last);
        let mut replay = Replay::new(files.clone(), runs);
        let store = replay.open(storage, folders, segment_bytes, progress);
        replay.damaged_index.map_or(Ok(store), Err)
    });
    let store = match opened {
        Ok(store) => store,
        Err(error) if error.code() == Code::Corrupt => {
            progress.say(&format!("{error}; building the index anew from the log"));
            healed = true;
            give_room(storage, folders, &files, known, progress);
            Replay::new(files.clone(), Vec::new()).open(storage, folders, segment_bytes, progress)
        }
        Err(error) => Err(index_failure(&folders.index, &error)),
    }?;
    // Nothing is removed from a folder that no daemon starts on. What cannot be removed only takes room.
    let announced = if healed { files.announce(&store.snapshot.runs) } else { Ok(()) };
    match announced {
        Ok(()) => drop(files.remove_others()),
        // The disk may be full: the next start heals it again.
        Err(error) => progress.say(&format!("the index is not written yet: {error}")),
    }
    Ok(store)
}

/// The failure of an index whose folder this is.
#[must_use]
pub fn index_failure(folder: &Path, error: &Error) -> Failure {
    // What cannot be written or read names its path already.
    let shown = folder.display().to_string();
    let inside = error.message().strip_prefix(&shown).filter(|_| error.code() == Code::ReadOnly);
    let (name, what) = match inside.and_then(|rest| rest.split_once(": ")) {
        Some((name, what)) => (name.trim_start_matches('/'), what.to_owned()),
        None => ("", error.to_string()),
    };
    let path = if name.is_empty() { folder.to_owned() } else { folder.join(name) };
    Failure::Io { path, error: std::io::Error::other(what) }
}

/// Removes the run files, which are of no use, if the log is whole and the index comes back from it: on a disk
/// that is nearly full those that are made anew need that room. They know the event `known`.
fn give_room(
    storage: &Arc<dyn Storage>,
    folders: &Folders,
    files: &RunFiles,
    known: u64,
    progress: &mut dyn Progress,
) {
    let mut is_whole = || -> Result<bool, Failure> {
        let compacted = Compacted::read(storage.as_ref(), &folders.log)?;
        let log_files = open_segments(storage.as_ref(), &folders.log, &compacted, Open::Read)?;
        log_files.check_beginning(&folders.log, &compacted, known)?;
        if compacted.last > 0 {
            compacted_part::check_checkpoint(storage.as_ref(), &folders.log, &compacted, progress)?;
        }
        let read = look_through(log_files.segments.clone(), u64::MAX, progress)?;
        log_files.check_end(read.last).map(|()| read.last >= known)
    };
    // The start itself tells what is wrong with the log. What cannot be removed only takes room.
    if is_whole().unwrap_or(false) {
        let _ = files.announce(&[]).and_then(|()| files.remove_others());
    }
}

#[cfg(test)]
mod tests;
