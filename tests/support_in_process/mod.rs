//! The daemon without its threads, sockets, clock and disk: lines go in, lines come out.
//!
//! A write goes the way it goes in the daemon: it is parsed, decided over a batch, kept, appended to
//! a log, and added to the tail of the next snapshot. A read is answered from the snapshot. When a
//! batch ends, when tails are written to files and files are merged, when time passes and when the daemon is
//! started again is for the test to say.
#![allow(dead_code)]

pub mod memory;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use msglogd::batch::Batch;
use msglogd::batch::hot::HotValues;
use msglogd::domain::command::{Command, Write, WriteRequest};
use msglogd::domain::decide;
use msglogd::domain::draft::{Circumstances, Outcome};
use msglogd::domain::table::{FIRST_POSTINGS_TAG, Facts};
use msglogd::error::Result;
use msglogd::index::files::RunFiles;
use msglogd::index::levels::{WHEN_CALM, due};
use msglogd::index::run::Run;
use msglogd::index::tail::{Tail, removals};
use msglogd::limits::FLUSH_BYTES;
use msglogd::limits::REPLY_BYTES;
use msglogd::log::writer::LogWriter;
use msglogd::maintenance::pace::Pace;
use msglogd::maintenance::rewrite::Rewriter;
use msglogd::protocol::{reply, request};
use msglogd::reader;
use msglogd::snapshot::Snapshot;
use msglogd::storage::Storage;
use msglogd::store::{self, Folders, Progress, Store};
use msglogd::time::Timestamp;
use msglogd::writer::timers::{Timer, Timers};

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
        for Timer { job, revision, .. } in due {
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
        let circumstances = Circumstances {
            at,
            at_text: text.as_bytes(),
            uid,
            random: &mut random,
            reply_bytes: REPLY_BYTES,
        };
        let batch = self.batch.as_mut().expect("a batch");
        let dry_run = request.dry_run;
        let mut outcome = decide(request, batch, batch.next_seq(), circumstances, Outcome::default())?;
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
        let mut batch = self.batch.take().expect("a batch");
        if batch.events().is_empty() {
            (self.hot, _) = batch.take_rest();
            return;
        }
        let last = batch.next_seq() - 1;
        let start = self.log.append(self.snapshot.last + 1, last, batch.frame()).expect("room in memory");
        self.log.sync().expect("memory");
        let clock = self.clock();
        let find = |job| batch.job(job).expect("memory");
        batch.events().iter().for_each(|event| self.timers.note(event, clock, find));
        let mut next = Snapshot::clone(&self.snapshot);
        (next.last, next.last_at, next.synced) = (last, self.now(), last);
        next.counts = batch.counts();
        let places = batch.starts().iter().map(|place| u32::try_from(start + *place as u64));
        let offsets: Vec<u32> = places.map(|place| place.expect("a small segment")).collect();
        let tail = next.tails.last().expect("a tail");
        let deleted = removals(batch.events(), &next.runs, &next.tails).expect("memory");
        tail.add(batch.take_added(&offsets, deleted));
        (self.hot, _) = batch.take_rest();
        if self.log.is_full() {
            self.roll();
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
            Ok(Command::Write(write)) => self.decide(uid, write),
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

    /// Leaves the tail as it is and begins a new one, as the writer does when it is full.
    pub fn leave_tail(&mut self) {
        let mut tails = self.snapshot.tails.as_ref().clone();
        if tails.last().is_some_and(|tail| tail.view(self.snapshot.last).is_some()) {
            tails.push(Arc::new(Tail::new(self.snapshot.last + 1)));
            self.set_index(self.snapshot.runs.as_ref().clone(), tails);
        }
    }

    fn set_index(&mut self, runs: Vec<Arc<Run>>, tails: Vec<Arc<Tail>>) {
        let (runs, tails) = (Arc::new(runs), Arc::new(tails));
        self.snapshot = Arc::new(Snapshot { runs, tails, ..Snapshot::clone(&self.snapshot) });
    }

    /// Does what the background does when a batch has ended: a large tail becomes a file, and files of one
    /// size one.
    pub fn settle(&mut self) {
        if self.snapshot.tails.last().is_some_and(|tail| tail.held_bytes() >= FLUSH_BYTES) {
            self.flush();
        }
        while let Some(start) = due(&self.snapshot.runs, WHEN_CALM, |_| true) {
            self.merge_files(start, self.snapshot.runs.len());
        }
    }

    /// Writes every tail to a run file.
    pub fn flush(&mut self) {
        self.leave_tail();
        let files = self.files();
        let mut runs = self.snapshot.runs.as_ref().clone();
        let mut tails = self.snapshot.tails.as_ref().clone();
        for full in tails.drain(..tails.len() - 1) {
            runs.push(files.write(&full, runs.is_empty()).expect("memory"));
        }
        files.announce(&runs).expect("memory");
        self.set_index(runs, tails);
    }

    /// Merges up to `count` run files that lie side by side, the first of them chosen by `from`.
    pub fn merge(&mut self, from: usize, count: usize) {
        let runs = self.snapshot.runs.len();
        if runs > 0 {
            let start = from % runs;
            self.merge_files(start, runs.min(start + count.max(1)));
        }
    }

    /// Makes one run file of everything.
    pub fn merge_all(&mut self) {
        self.flush();
        self.merge_files(0, self.snapshot.runs.len());
    }

    fn merge_files(&mut self, start: usize, end: usize) {
        if end - start < 2 {
            return;
        }
        let files = self.files();
        let mut runs = self.snapshot.runs.as_ref().clone();
        let merged = files.merge(&runs[start..end], start == 0, &mut || Ok(())).expect("memory");
        let replaced: Vec<Arc<Run>> = runs.splice(start..end, [merged]).collect();
        files.announce(&runs).expect("memory");
        files.remove(&replaced);
        self.set_index(runs, self.snapshot.tails.as_ref().clone());
    }

    fn roll(&mut self) {
        let prepared = self.log.prepare().expect("memory");
        self.log.roll(prepared).expect("memory");
    }

    fn files(&self) -> RunFiles {
        RunFiles::new(Arc::clone(&self.storage), folders().index)
    }

    /// Compacts the log, and makes the table anew without what nothing can reach.
    pub fn compact(&mut self) {
        let last = self.snapshot.last;
        if last == 0 {
            return;
        }
        if self.log.segment().first <= last {
            self.log.trim().expect("memory");
            self.roll();
            let mut segments = self.snapshot.segments.as_ref().clone();
            segments.push(Arc::clone(self.log.segment()));
            let segments = Arc::new(segments);
            self.snapshot = Arc::new(Snapshot { segments, ..Snapshot::clone(&self.snapshot) });
        }
        let run_files = self.files();
        let mut rewriter =
            Rewriter::new(Arc::clone(&self.storage), folders().log, run_files.clone(), self.segment_bytes);
        let rewritten = rewriter.rewrite(&self.snapshot, &mut Pace::full()).expect("memory");
        run_files.announce(&[Arc::clone(&rewritten.run)]).expect("memory");
        let mut segments = rewritten.segments;
        segments.push(Arc::clone(self.log.segment()));
        let (segments, runs) = (Arc::new(segments), Arc::new(vec![rewritten.run]));
        let tails = Arc::new(vec![Arc::new(Tail::new(last + 1))]);
        let compacted = rewritten.compacted;
        let next = Snapshot { segments, runs, tails, compacted, ..Snapshot::clone(&self.snapshot) };
        next.compacted.remove_left_over(self.storage.as_ref(), &folders().log).expect("memory");
        self.snapshot = Arc::new(next);
    }

    /// Starts again on what is on disk; `trimmed` after a clean stop.
    pub fn restart(&mut self, trimmed: bool) {
        if trimmed {
            self.log.trim().expect("memory");
        }
        let Store { log, snapshot, held, .. } = opened(&self.storage, self.segment_bytes);
        assert_eq!(snapshot.last, self.snapshot.last, "the last event");
        if snapshot.last > 0 {
            assert_eq!(snapshot.last_at, self.snapshot.last_at, "the time of the last event");
        }
        assert_eq!(snapshot.counts(), self.snapshot.counts(), "the counts");
        self.timers = Timers::restore(&held, self.now(), self.clock());
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
