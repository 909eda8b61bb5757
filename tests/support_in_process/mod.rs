//! The daemon without its threads, sockets, clock and disk: lines go in, lines come out.
//!
//! A write goes the way it goes in the daemon: it is parsed, decided over a batch, kept, appended to
//! a log, and frozen into a run of the next snapshot. A read is answered from the snapshot. When a
//! batch ends, when runs are merged or written to a file, when time passes and when the daemon is
//! started again is for the test to say.
#![allow(dead_code)]

mod memory;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use msglogd::domain::command::{Command, Write, WriteRequest};
use msglogd::domain::decide;
use msglogd::domain::table::{Circumstances, FIRST_POSTINGS_TAG, Facts};
use msglogd::error::Result;
use msglogd::index::files::RunFiles;
use msglogd::index::run::Run;
use msglogd::index::{levels, merge};
use msglogd::log::writer::LogWriter;
use msglogd::maintenance::pace::Pace;
use msglogd::maintenance::rewrite::Rewriter;
use msglogd::protocol::{reply, request};
use msglogd::reader;
use msglogd::snapshot::Snapshot;
use msglogd::storage::Storage;
use msglogd::store::{self, Folders, Progress, Replayed, Store};
use msglogd::time::Timestamp;
use msglogd::writer::batch::Batch;
use msglogd::writer::hot::HotValues;
use msglogd::writer::timers::Timers;

use memory::Memory;

/// The user that the daemon itself runs as.
pub const DAEMON: u32 = 7;

/// When the first test begins.
pub const BEGINNING: Timestamp = Timestamp(1_900_000_000_000_000);

/// All keys of the table with their values.
pub type Table = Vec<(Vec<u8>, Vec<u8>)>;

/// A daemon.
pub struct Daemon {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    log: LogWriter,
    snapshot: Arc<Snapshot>,
    hot: HotValues,
    batch: Option<Batch>,
    timers: Timers,
    started: Instant,
    /// Milliseconds since the beginning.
    elapsed: u64,
    dice: u64,
}

struct Silence;

impl Progress for Silence {
    fn say(&mut self, line: &str) {
        panic!("a start has nothing to say: {line}");
    }

    fn replayed(&mut self, _: Replayed) {}
}

fn folders() -> Folders {
    Folders::new(Path::new("/data"))
}

fn opened(storage: &Arc<dyn Storage>, segment_bytes: u64) -> Store {
    store::open(storage, &folders(), segment_bytes, &mut Silence)
        .unwrap_or_else(|failure| panic!("the store cannot be opened: {failure}"))
}

impl Daemon {
    /// One on an empty data folder, whose log is cut into segments of about so many bytes.
    pub fn new(segment_bytes: u64) -> Self {
        let storage: Arc<dyn Storage> = Arc::new(Memory::default());
        let Store { log, snapshot, .. } = opened(&storage, segment_bytes);
        Daemon {
            storage,
            segment_bytes,
            log,
            snapshot: Arc::new(snapshot),
            hot: HotValues::default(),
            batch: None,
            timers: Timers::default(),
            started: Instant::now(),
            elapsed: 0,
            dice: 1,
        }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        BEGINNING.plus_ms(self.elapsed)
    }

    /// What there is.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn clock(&self) -> Instant {
        self.started + Duration::from_millis(self.elapsed)
    }

    /// Lets time pass.
    pub fn advance(&mut self, milliseconds: u64) {
        assert!(self.batch.is_none(), "a batch has one time");
        self.elapsed += milliseconds;
    }

    /// Begins a batch with the leases and delays that are over.
    pub fn begin(&mut self) {
        assert!(self.batch.is_none(), "one batch after the other");
        self.batch = Some(Batch::new(Arc::clone(&self.snapshot), std::mem::take(&mut self.hot)));
        let mut due = Vec::new();
        while let Some(timer) = self.timers.take_due(self.clock()) {
            due.push(timer);
        }
        for (job, revision) in due {
            let write = Write::FallDue { job, revision };
            let request = WriteRequest { write, durable: false, dry_run: false, idempotency: None };
            self.decide(DAEMON, request).expect("a timer has nothing to refuse");
        }
    }

    fn decide(&mut self, uid: u32, request: WriteRequest) -> Result<Vec<u8>> {
        let (at, dice) = (self.now(), &mut self.dice);
        let mut random = |bytes: &mut [u8]| {
            for byte in bytes {
                *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = dice.to_be_bytes()[0];
            }
        };
        let text = at.to_string();
        let circumstances = Circumstances { at, at_text: text.as_bytes(), uid, random: &mut random };
        let batch = self.batch.as_mut().expect("a batch");
        let dry_run = request.dry_run;
        let mut outcome = decide(request, batch, batch.next_seq(), circumstances)?;
        if !dry_run {
            batch.keep(&mut outcome);
        }
        Ok(outcome.reply)
    }

    /// The seq that the next event of the batch will have.
    pub fn next_seq(&self) -> u64 {
        self.batch.as_ref().map_or(self.snapshot.last + 1, Batch::next_seq)
    }

    /// Ends the batch: it is in the log, and there for every reader.
    pub fn commit(&mut self) {
        let batch = self.batch.take().expect("a batch");
        if batch.events().is_empty() {
            self.hot = batch.into_hot(true);
            return;
        }
        let last = batch.next_seq() - 1;
        let start = self.log.append(self.snapshot.last + 1, last, batch.lines()).expect("room in memory");
        let run = batch.freeze(|_, place| start + place as u64).expect("a run");
        self.log.sync().expect("memory");
        let clock = self.clock();
        batch.events().iter().for_each(|event| self.timers.note(event, clock));
        let mut runs = self.snapshot.runs.as_ref().clone();
        runs.push(Arc::new(run));
        let mut next = Snapshot::clone(&self.snapshot);
        (next.last, next.last_at, next.synced) = (last, self.now(), last);
        next.runs = Arc::new(runs);
        self.hot = batch.into_hot(true);
        if self.log.is_full() {
            self.log.roll().expect("memory");
            let mut segments = next.segments.as_ref().clone();
            segments.push(Arc::clone(self.log.segment()));
            next.segments = Arc::new(segments);
        }
        self.snapshot = Arc::new(next);
    }

    /// What a line is answered: a write is decided in the batch that was begun, a read is answered
    /// from what was committed.
    pub fn answer(&mut self, uid: u32, line: &str) -> String {
        let request = request::parse(line.as_bytes());
        let answer = match request.command {
            Err(error) => Err(error),
            Ok(Command::Write(write)) => self.decide(uid, *write),
            Ok(Command::Read(read)) => reader::answer(&self.snapshot, &read),
            Ok(other) => panic!("no write and no read: {other:?}"),
        };
        let mut out = Vec::new();
        match answer {
            Ok(fields) => reply::write_ok(&mut out, request.id.as_deref(), &fields),
            Err(error) => reply::write_error(&mut out, request.id.as_deref(), &error),
        }
        String::from_utf8(out).expect("replies are UTF-8")
    }

    /// What one line is answered, in a batch of its own if it is a write.
    pub fn ask(&mut self, line: &str) -> String {
        self.begin();
        let reply = self.answer(0, line);
        self.commit();
        reply
    }

    fn set_runs(&mut self, runs: Vec<Arc<Run>>) {
        self.snapshot = Arc::new(Snapshot { runs: Arc::new(runs), ..Snapshot::clone(&self.snapshot) });
    }

    /// Merges the newest runs as the writer does after every batch.
    pub fn settle(&mut self) {
        let mut runs = self.snapshot.runs.as_ref().clone();
        levels::settle(&mut runs, 0).expect("memory");
        self.set_runs(runs);
    }

    /// Merges up to `count` runs in memory that lie side by side, the first of them chosen by `from`.
    pub fn merge(&mut self, from: usize, count: usize) {
        let mut runs = self.snapshot.runs.as_ref().clone();
        let files = runs.iter().take_while(|run| !run.in_memory()).count();
        let memory = runs.len() - files;
        if memory == 0 {
            return;
        }
        let start = files + from % memory;
        let end = runs.len().min(start + count.max(1));
        let merged = merge::in_memory(&runs[start..end], start == 0).expect("memory");
        runs.splice(start..end, [Arc::new(merged)]);
        self.set_runs(runs);
    }

    /// Writes the runs in memory to one run file.
    pub fn flush(&mut self) {
        let files = self.snapshot.runs.iter().take_while(|run| !run.in_memory()).count();
        self.write_file(files);
    }

    /// Makes one run file of all runs.
    pub fn merge_all(&mut self) {
        self.write_file(0);
    }

    fn write_file(&mut self, start: usize) {
        let run_files = RunFiles::new(Arc::clone(&self.storage), folders().index);
        let mut runs = self.snapshot.runs.as_ref().clone();
        let replaced = runs.split_off(start);
        if replaced.is_empty() {
            return;
        }
        runs.push(run_files.merge(&replaced, start == 0).expect("memory"));
        run_files.announce(&runs).expect("memory");
        if replaced.len() > 1 {
            let files: Vec<Arc<Run>> = replaced.into_iter().filter(|run| !run.in_memory()).collect();
            run_files.remove(&files);
        }
        self.set_runs(runs);
    }

    /// Compacts the log, and makes the table anew without what nothing can reach.
    pub fn compact(&mut self) {
        let last = self.snapshot.last;
        if last == 0 {
            return;
        }
        if self.log.segment().first <= last {
            self.log.trim().expect("memory");
            self.log.roll().expect("memory");
            let mut segments = self.snapshot.segments.as_ref().clone();
            segments.push(Arc::clone(self.log.segment()));
            let segments = Arc::new(segments);
            self.snapshot = Arc::new(Snapshot { segments, ..Snapshot::clone(&self.snapshot) });
        }
        let run_files = RunFiles::new(Arc::clone(&self.storage), folders().index);
        let mut rewriter =
            Rewriter::new(Arc::clone(&self.storage), folders().log, run_files.clone(), self.segment_bytes);
        let rewritten = rewriter.rewrite(&self.snapshot, &mut Pace::full()).expect("memory");
        run_files.announce(&[Arc::clone(&rewritten.run)]).expect("memory");
        let mut segments = rewritten.segments;
        segments.push(Arc::clone(self.log.segment()));
        let (segments, runs) = (Arc::new(segments), Arc::new(vec![rewritten.run]));
        let compacted = rewritten.compacted;
        let next = Snapshot { segments, runs, compacted, ..Snapshot::clone(&self.snapshot) };
        next.compacted.remove_left_over(self.storage.as_ref(), &folders().log).expect("memory");
        self.snapshot = Arc::new(next);
    }

    /// Starts again on what is on disk; `trimmed` after a clean stop.
    pub fn restart(&mut self, trimmed: bool) {
        if trimmed {
            self.log.trim().expect("memory");
        }
        let Store { log, snapshot, .. } = opened(&self.storage, self.segment_bytes);
        assert_eq!(snapshot.last, self.snapshot.last, "the last event");
        if snapshot.last > 0 {
            assert_eq!(snapshot.last_at, self.snapshot.last_at, "the time of the last event");
        }
        assert_eq!(snapshot.counts(), self.snapshot.counts(), "the counts");
        self.timers = Timers::restore(&snapshot, self.now(), self.clock()).expect("whole jobs");
        (self.log, self.snapshot, self.hot) = (log, Arc::new(snapshot), HotValues::default());
    }

    /// Starts again without the index, so that all of it comes from the log.
    pub fn rebuild(&mut self) {
        let index: PathBuf = folders().index;
        for name in self.storage.list(&index).expect("memory") {
            self.storage.remove(&index.join(name)).expect("memory");
        }
        self.restart(false);
    }

    /// The whole table.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        self.snapshot
            .scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
                table.push((key.to_vec(), value.to_vec()));
                Ok(true)
            })
            .expect("a whole table");
        table
    }
}
