//! Opens a data folder: takes its lock, reads the index that is there, and the log behind it.
//!
//! ```text
//! DIR/lock            held while a daemon has the folder
//! DIR/log/*.log       the log: see `log::frame`
//! DIR/log/*.torn      what a start set aside
//! DIR/index/manifest  the run files that make the index: see `index::files`
//! DIR/index/*.run     run files: see `index::run`
//! ```
//!
//! Only the log is the truth: the folder `index` may be removed while no daemon runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::event::Event;
use crate::error::Error;
use crate::index::files::RunFiles;
use crate::index::levels;
use crate::index::run::Run;
use crate::limits::SLOW_BYTES;
use crate::log::recovery::{self, Failure, Start};
use crate::log::segment::Segment;
use crate::log::writer::LogWriter;
use crate::snapshot::Snapshot;
use crate::storage::{Open, Storage};
use crate::time::Timestamp;
use crate::writer::batch::Batch;
use crate::writer::hot::HotValues;

/// Events that one run takes while the log is read back.
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

/// Takes the lock of a data folder; it is held as long as the file is open.
///
/// # Errors
/// `WouldBlock` when another process holds it.
pub fn lock(data: &Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(data.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(std::io::ErrorKind::WouldBlock.into()),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// What a start tells while it works.
pub trait Progress {
    /// A line for the operator.
    fn say(&mut self, line: &str);

    /// So many events were read back so far.
    fn replayed(&mut self, events: u64);
}

/// An opened store.
pub struct Store {
    /// To append to.
    pub log: LogWriter,
    /// What there is.
    pub snapshot: Snapshot,
}

/// Opens the store: the index as far as it goes, and the log behind it.
///
/// # Errors
/// `Damage` in what it reads, `Io`.
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
    let runs = files.open().unwrap_or_else(|error| {
        progress.say(&format!("{error}; building the index anew from the log"));
        Vec::new()
    });
    let segments = recovery::open_segments(storage.as_ref(), &folders.log, Open::Write)?;
    if let Some(newest) = segments.last() {
        // A long replay writes run files: they may hold only what the log has on disk.
        newest.file.sync().map_err(|error| Failure::Io { path: newest.path.clone(), error })?;
    }
    let mut replay = Replay::new(files, runs, segments.clone());
    let start = replay.start();
    let recovered = recovery::read(segments, start, &mut |segment, found| {
        replay.take(segment, found.seq, found.json, found.offset)?;
        if found.ends_frame && replay.is_full() {
            progress.replayed(found.seq - start.last);
            replay.freeze()?;
        }
        Ok(())
    })?;
    replay.freeze()?;
    let (log, segments, torn) = recovered.into_writer(storage, &folders.log, segment_bytes)?;
    if let Some((copy, bytes)) = torn {
        progress.say(&format!(
            "the log ended in {bytes} bytes of a write that was never acknowledged; they were set aside in {}",
            copy.display()
        ));
    }
    let last_at = replay.runs.last().map_or(Timestamp(0), |run| run.meta().last_at);
    let last = log.last();
    let snapshot =
        Snapshot { runs: Arc::new(replay.runs), segments: Arc::new(segments), last, last_at, synced: last };
    Ok(Store { log, snapshot })
}

/// Folds the events of the log into runs.
struct Replay {
    files: RunFiles,
    runs: Vec<Arc<Run>>,
    segments: Arc<Vec<Arc<Segment>>>,
    batch: Option<Batch>,
    offsets: Vec<u64>,
}

impl Replay {
    fn new(files: RunFiles, runs: Vec<Arc<Run>>, segments: Vec<Arc<Segment>>) -> Self {
        Replay { files, runs, segments: Arc::new(segments), batch: None, offsets: Vec::new() }
    }

    fn start(&self) -> Start {
        let Some(run) = self.runs.last() else { return Start::default() };
        let last = run.meta().last;
        match run.offset(last) {
            Ok(Some((offset, _))) => Start { last, offset: u64::from(offset) },
            _ => Start::default(),
        }
    }

    fn take(&mut self, segment: &Segment, seq: u64, json: &[u8], offset: u64) -> Result<(), Failure> {
        let damage = |error: Error| Failure::Damage {
            path: segment.path.clone(),
            offset,
            what: format!("event {seq} does not follow from the events before it: {}", error.message()),
        };
        let event = Event::decode(json).map_err(damage)?;
        let batch = self.batch.get_or_insert_with(|| {
            let runs = Arc::new(self.runs.clone());
            let last = seq - 1;
            let segments = Arc::clone(&self.segments);
            let below = Snapshot { runs, segments, last, last_at: event.at, synced: last };
            Batch::new(Arc::new(below), HotValues::default())
        });
        batch.replay(event).map_err(damage)?;
        self.offsets.push(offset);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.offsets.len() >= REPLAY_EVENTS
    }

    fn freeze(&mut self) -> Result<(), Failure> {
        let Some(batch) = self.batch.take() else { return Ok(()) };
        let offsets = std::mem::take(&mut self.offsets);
        let failed = |error: Error| Failure::Io {
            path: PathBuf::from("index"),
            error: std::io::Error::other(error.to_string()),
        };
        let run = batch.freeze(|number, _| offsets.get(number).copied().unwrap_or(0)).map_err(failed)?;
        self.runs.push(Arc::new(run));
        levels::settle(&mut self.runs, 0).map_err(failed)?;
        self.flush().map_err(failed)
    }

    /// Keeps what a long replay holds in memory small. All of it is in the log already.
    fn flush(&mut self) -> Result<(), Error> {
        let start = self.runs.iter().take_while(|run| !run.in_memory()).count();
        if self.runs[start..].iter().map(|run| run.bytes()).sum::<u64>() < SLOW_BYTES {
            return Ok(());
        }
        let merged = self.files.merge(&self.runs[start..], start == 0)?;
        self.runs.truncate(start);
        self.runs.push(merged);
        self.files.announce(&self.runs)
    }
}
