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

pub mod compacted_part;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::Batch;
use crate::batch::hot::HotValues;
use crate::domain::event::Event;
use crate::domain::held::{Held, held};
use crate::domain::table::{Counts, Facts};
use crate::error::{Code, Error};
use crate::index::files::{RunFiles, name_of};
use crate::index::levels::WHEN_CALM;
use crate::index::run::Run;
use crate::index::tail::{Tail, removals};
use crate::limits::{FLUSH_BYTES, FRAME_BYTES, TAILS};
use crate::log::compacted::Compacted;
use crate::log::files::{LogFiles, open_segments};
use crate::log::recovery::{self, Failure, Recovered, Start};
use crate::log::segment::{Segment, holding};
use crate::log::writer::LogWriter;
use crate::snapshot::{ReplyBytes, Snapshot};
use crate::storage::{Open, Storage};
use crate::time::Timestamp;
use compacted_part::{Part, Trouble};

/// Events that are added at once while the log is read back.
const REPLAY_EVENTS: usize = 4096;

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

/// How far the log was read back.
#[derive(Debug, Clone, Copy)]
pub struct Replayed {
    /// Events read.
    pub events: u64,
    /// Bytes of the log read.
    pub bytes: u64,
    /// Bytes to read in all, room made ahead included.
    pub of_bytes: u64,
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

/// Reads the log from its beginning up to the event `until`, only for whether it is whole and where it ends.
fn look_through(
    segments: Vec<Arc<Segment>>,
    until: u64,
    progress: &mut dyn Progress,
) -> Result<Recovered, Failure> {
    recovery::read_until(segments, Start::default(), until, &mut |_, found| {
        if found.ends_frame {
            progress.gets_on(LOOKING);
        }
        Ok(())
    })
}

/// Tells now and then during a merge that it gets on.
fn merging(progress: &mut dyn Progress) -> impl FnMut() -> crate::error::Result<()> {
    || {
        progress.gets_on(MERGING);
        Ok(())
    }
}

/// The bytes that a replay has before it.
struct Road {
    /// The first seq of each segment, and how many bytes lie before it, from the log's beginning.
    segments: Vec<(u64, u64)>,
    /// Where the replay begins.
    start: u64,
    /// From there to the end of the log.
    length: u64,
}

impl Road {
    fn new(segments: &[Arc<Segment>], start: Start) -> Result<Self, Failure> {
        let (mut places, mut end) = (Vec::with_capacity(segments.len()), 0);
        for segment in segments {
            places.push((segment.first, end));
            let length = segment.file.length();
            end += length.map_err(|error| Failure::Io { path: segment.path.clone(), error })?;
        }
        let mut road = Road { segments: places, start: 0, length: end };
        // Without an offset it begins with the segment behind.
        let from = start.last + u64::from(start.offset.is_none());
        if let Some(segment) = holding(segments, from) {
            road.start = road.behind(segment, start.offset.unwrap_or(0));
            road.length = end.saturating_sub(road.start);
        }
        Ok(road)
    }

    /// How many bytes lie between the start and this place.
    fn behind(&self, segment: &Segment, offset: u64) -> u64 {
        let number = self.segments.partition_point(|(first, _)| *first < segment.first);
        let before = self.segments.get(number).map_or(0, |(_, before)| *before);
        (before + offset).saturating_sub(self.start)
    }
}

/// Checks that the log, read from its beginning, reaches an event that the index knows: what is in run
/// files was on disk in the log before.
fn reaches(files: &LogFiles, known: u64, progress: &mut dyn Progress) -> Result<(), Failure> {
    let read = look_through(files.segments.clone(), u64::MAX, progress)?;
    if read.last >= known {
        return Ok(());
    }
    let what = format!("the log ends behind event {}, and the index knows event {known}", read.last);
    let newest = || read.segments.last().map(|newest| (newest.path.clone(), read.end()));
    let (path, offset) = files.begun().map(|path| (path, 0)).or_else(newest).unwrap_or_default();
    Err(Failure::Damage { path, offset, what })
}

/// Folds the events of the log into the index.
struct Replay {
    files: RunFiles,
    runs: Vec<Arc<Run>>,
    /// The events behind the runs; the last one grows.
    tails: Vec<Arc<Tail>>,
    /// The counts behind the last event, and its time.
    counts: Counts,
    last_at: Timestamp,
    segments: Arc<Vec<Arc<Segment>>>,
    batch: Option<Batch>,
    offsets: Vec<u32>,
    /// Bytes of JSON in the batch: events may be large.
    gathered: usize,
    /// Why the run files are of no use.
    damaged_index: Option<Error>,
}

impl Replay {
    fn new(files: RunFiles, runs: Vec<Arc<Run>>) -> Self {
        Replay {
            files,
            runs,
            tails: vec![Arc::new(Tail::new(1))],
            counts: Counts::default(),
            last_at: Timestamp(0),
            segments: Arc::default(),
            batch: None,
            offsets: Vec::new(),
            gathered: 0,
            damaged_index: None,
        }
    }

    /// Goes on behind the runs that there are.
    fn behind_runs(&mut self) {
        if let Some(run) = self.runs.last() {
            self.tails = vec![Arc::new(Tail::new(run.meta().last + 1))];
            (self.counts, self.last_at) = (run.meta().counts, run.meta().last_at);
        }
    }

    fn open(
        &mut self,
        storage: &Arc<dyn Storage>,
        folders: &Folders,
        segment_bytes: u64,
        progress: &mut dyn Progress,
    ) -> Result<Store, Failure> {
        let compacted = Compacted::read(storage.as_ref(), &folders.log)?;
        let log_files = open_segments(storage.as_ref(), &folders.log, &compacted, Open::Write)?;
        let segments = log_files.segments.clone();
        let known = self.runs.last().map_or(0, |run| run.meta().last);
        log_files.check_beginning(&folders.log, &compacted, known)?;
        if let Some(newest) = segments.last() {
            // A long replay writes run files: they may hold only what the log has on disk.
            newest.file.sync().map_err(|error| Failure::Io { path: newest.path.clone(), error })?;
        }
        self.segments = Arc::new(segments.clone());
        if compacted.last > 0 {
            let parts = Part { storage, folder: &folders.log, compacted: &compacted, segments: &segments };
            let run = parts.run(&self.files, self.runs.first(), progress);
            let run = run.map_err(|trouble| match trouble {
                Trouble::Log(failure) => failure,
                Trouble::Index(error) => self.index_failed(error),
            })?;
            self.runs.extend(run);
        }
        self.behind_runs();
        let start = self.start().map_err(|error| self.index_failed(error))?;
        if let Some(offset) = start.offset
            && let Some(segment) = holding(&segments, start.last)
        {
            // The place that the index gives must hold that event: else one of both is damaged, and
            // the log tells which when it is read from its beginning.
            if let Err(error) = segment.read(start.last, offset, None) {
                reaches(&log_files, start.last, progress)?;
                return Err(self.index_failed(error));
            }
        }
        let road = Road::new(&segments, start)?;
        let recovered = recovery::read(segments, start, &mut |segment, found| {
            self.take(segment, found.seq, found.json, found.offset)?;
            if found.ends_frame && self.is_full() {
                let bytes = road.behind(segment, found.offset);
                progress.replayed(Replayed { events: found.seq - start.last, bytes, of_bytes: road.length });
                self.add(progress)?;
            }
            Ok(())
        })?;
        self.add(progress)?;
        log_files.check_end(recovered.last)?;
        // The log is whole: what is no part of it may go, before a full disk has to take anything.
        log_files.remove_left_over(storage.as_ref(), &folders.log, &compacted);
        let (log, segments, torn) = recovered.into_writer(storage, &folders.log, segment_bytes)?;
        if let Some((copy, bytes)) = torn {
            progress.say(&format!(
                "the log ended in {bytes} bytes of a write that was cut short, which nobody was told is on disk; they \
                 were set aside in {}",
                copy.display()
            ));
        }
        self.segments = Arc::new(segments);
        let compacted = Arc::new(compacted);
        let checkpoint = (compacted.last > 0).then(|| log.checkpoint(&compacted)).flatten();
        let snapshot = Snapshot { compacted, checkpoint, ..self.snapshot(log.last()) };
        // Damage there is healed now or never.
        let held = held(&snapshot).map_err(|error| self.index_failed(error))?;
        Ok(Store { log, snapshot, files: self.files.clone(), held })
    }

    /// Notes that the run files are of no use.
    fn index_failed(&mut self, error: Error) -> Failure {
        let failure = index_failure(self.files.folder(), &error);
        if error.code() == Code::Corrupt {
            self.damaged_index = Some(error);
        }
        failure
    }

    fn start(&self) -> Result<Start, Error> {
        let Some(run) = self.runs.last() else { return Ok(Start::default()) };
        let last = run.meta().last;
        Ok(Start { last, offset: run.place(last)?.map(|(offset, _)| u64::from(offset)) })
    }

    fn take(&mut self, segment: &Segment, seq: u64, json: &[u8], offset: u64) -> Result<(), Failure> {
        let damage = |error: Error| Failure::Damage {
            path: segment.path.clone(),
            offset,
            what: format!("event {seq} does not follow from the events before it: {}", error.message()),
        };
        let event = Event::decode(json).map_err(damage)?;
        let offset = u32::try_from(offset)
            .map_err(|_| damage(Error::new(Code::Internal, "it lies behind 4 GiB of a segment")))?;
        let mut batch = match self.batch.take() {
            Some(batch) => batch,
            None => Batch::new(Arc::new(self.snapshot(seq - 1)), HotValues::default()),
        };
        self.last_at = event.at;
        let replayed = batch.replay(event);
        self.batch = Some(batch);
        if let Err(error) = replayed {
            let corrupt = error.code() == Code::Corrupt;
            return Err(if corrupt { self.index_failed(error) } else { damage(error) });
        }
        self.offsets.push(offset);
        self.gathered += json.len();
        Ok(())
    }

    /// What there is as of event `last`, all of which is on disk.
    fn snapshot(&self, last: u64) -> Snapshot {
        Snapshot {
            runs: Arc::new(self.runs.clone()),
            tails: Arc::new(self.tails.clone()),
            counts: self.counts,
            segments: Arc::clone(&self.segments),
            compacted: Arc::default(),
            checkpoint: None,
            last,
            last_at: self.last_at,
            synced: last,
            reply_bytes: ReplyBytes::default(),
        }
    }

    fn is_full(&self) -> bool {
        self.offsets.len() >= REPLAY_EVENTS || self.gathered >= FRAME_BYTES
    }

    /// Adds what was gathered to the tail.
    fn add(&mut self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let Some(mut batch) = self.batch.take() else { return Ok(()) };
        let offsets = std::mem::take(&mut self.offsets);
        self.gathered = 0;
        self.counts = batch.counts();
        let deleted = removals(batch.events(), &self.runs, &self.tails);
        let deleted = deleted.map_err(|error| self.index_failed(error))?;
        if let Some(tail) = self.tails.last() {
            tail.add(batch.take_added(&offsets, deleted));
        }
        self.flush(progress).map_err(|error| self.index_failed(error))
    }

    /// Keeps what a long replay holds in memory small; the last tails are left to the background. All of it
    /// is in the log already.
    fn flush(&mut self, progress: &mut dyn Progress) -> Result<(), Error> {
        let Some(full) = self.tails.last().filter(|tail| tail.held_bytes() >= FLUSH_BYTES) else {
            return Ok(());
        };
        self.tails.push(Arc::new(Tail::behind(full)));
        if self.tails.len() <= TAILS {
            return Ok(());
        }
        let oldest = self.tails.remove(0);
        self.runs.push(self.files.write(&oldest, self.runs.is_empty())?);
        self.files.announce(&self.runs)?;
        // Merged as they come they are few, take their room once, and the daemon has nothing to catch up with.
        match self.files.merge_due(
            &mut self.runs,
            WHEN_CALM,
            name_of,
            |runs| self.files.announce(runs),
            &mut merging(progress),
        ) {
            // Without the room for it there are more files than there should be, and the daemon goes on merging.
            Err(error) if error.code() == Code::ReadOnly => Ok(()),
            merged => merged,
        }
    }
}

#[cfg(test)]
mod tests;
