//! The writer: the one thread that changes anything.
//!
//! It takes all that is waiting as one batch, decides each request on what the ones before it left,
//! appends the batch as one frame, syncs, publishes the new snapshot, and only then releases the
//! replies. While one batch syncs, the next one gathers in the channel.

pub mod batch;
pub mod hot;
mod segments;
pub mod timers;
pub mod waiters;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::domain::command::{Write, WriteRequest};
use crate::domain::decide;
use crate::domain::event::{Event, Fact};
use crate::domain::table::{Circumstances, Facts, Outcome};
use crate::error::{Code, Error, Result};
use crate::index::run::Run;
use crate::index::tail::Tail;
use crate::limits::{
    FRAME_BYTES, FRAME_REQUESTS, SLOW_BYTES, SLOW_RUN_FILES, SYNC_DELAY_MS, WAITING_RESERVES,
};
use crate::log::compacted::Compacted;
use crate::log::segment::Segment;
use crate::log::writer::{AppendError, LogWriter};
use crate::randomness::Randomness;
use crate::snapshot::{Published, Snapshot};
use crate::stats::Stats;
use crate::store::Store;
use crate::time::Timestamp;
use batch::Batch;
use hot::HotValues;
use timers::Timers;
use waiters::{Waiter, Waiters};

/// Tails there are at most, the one that grows and those on their way to a file, unless one is handed
/// over for a compaction.
const TAILS: usize = 3;

/// Whose reply it is: a connection, and the request's number on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The connection. Numbers are not used twice.
    pub connection: usize,
    /// The request's number on the connection.
    pub number: u64,
}

/// A request for the writer.
pub struct Asked {
    /// Whose reply it is.
    pub ticket: Ticket,
    /// The user who asks.
    pub uid: u32,
    /// What is asked.
    pub request: WriteRequest,
    /// How long its line was, in bytes.
    pub bytes: usize,
}

/// What the writer is told.
pub enum ToWriter {
    /// Requests, in the order in which they take effect.
    Requests(Vec<Asked>),
    /// The connection is gone: its waiting reserve gets no lease.
    Gone(usize),
    /// The background made one run of those that cover its seqs.
    Merged(Arc<Run>),
    /// Maintenance is about to compact the log: asks for a snapshot whose last event ends a segment.
    Seal(Sender<Result<Arc<Snapshot>>>),
    /// The log was compacted, and the index knows.
    Compacted(Box<Compaction>),
    /// To call this as soon as it gets to it: a sign that it moves.
    Pulse(Box<dyn FnOnce() + Send>),
    /// The daemon is stopping: no reserve waits any more.
    Stop,
    /// No more requests come: everything is synced and the thread ends.
    Finish,
}

/// What the background is given.
pub enum ToBackground {
    /// A tail that is full, to be written to a file.
    Flush(Arc<Tail>),
    /// The log is being compacted up to this event: no run is to be made across it. 0 ends that.
    Part(u64),
    /// The log was compacted.
    Compacted(Box<Compaction>),
}

/// A compaction that has happened, on its way to everyone who knows segments and runs.
pub struct Compaction {
    /// The segments of the part that was compacted.
    pub segments: Vec<Arc<Segment>>,
    /// Its run.
    pub run: Arc<Run>,
    /// What names the segments.
    pub compacted: Arc<Compacted>,
    /// Whether the old index is gone.
    pub indexed: Result<()>,
    /// Told that once a snapshot is published.
    pub done: Sender<Result<()>>,
}

/// The replies of a batch. Fields lie one after the other in `bytes`, each with a comma before it.
#[derive(Default)]
pub struct Answers {
    /// The fields of all replies.
    pub bytes: Vec<u8>,
    /// Whose reply, and where its fields are, or the error.
    pub list: Vec<(Ticket, Result<std::ops::Range<usize>>)>,
    /// What the requests were made of, for the thread that read them to drop: memory that one thread
    /// takes and another gives back makes both wait for the allocator.
    pub spent: Vec<Event>,
}

impl Answers {
    /// Takes a reply whose fields `write` appends.
    pub fn write(&mut self, ticket: Ticket, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) {
        let start = self.bytes.len();
        let done = write(&mut self.bytes);
        if done.is_err() {
            self.bytes.truncate(start);
        }
        self.list.push((ticket, done.map(|()| start..self.bytes.len())));
    }

    /// The fields of one of the replies, or its error.
    pub fn fields<'a>(
        &'a self,
        answer: &'a Result<std::ops::Range<usize>>,
    ) -> std::result::Result<&'a [u8], &'a Error> {
        answer.as_ref().map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }

    fn say(&mut self, ticket: Ticket, fields: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(fields);
        self.list.push((ticket, Ok(start..self.bytes.len())));
    }

    fn refuse(&mut self, ticket: Ticket, error: Error) {
        self.list.push((ticket, Err(error)));
    }

    /// Turns every answer into a refusal.
    fn refuse_all(&mut self, error: &Error) {
        self.list.iter_mut().for_each(|(_, answer)| *answer = Err(error.clone()));
    }
}

/// What the writer works with.
pub struct Surroundings {
    /// Where snapshots are published.
    pub published: Arc<Published>,
    /// What it counts.
    pub stats: Arc<Stats>,
    /// Where replies go; `false` when nobody takes them any more.
    pub deliver: Box<dyn FnMut(Answers) + Send>,
    /// Told of every new snapshot, when someone follows.
    pub announce: Box<dyn FnMut() + Send>,
    /// To the background.
    pub background: Box<dyn FnMut(ToBackground) + Send>,
    /// Told of every segment that is sealed.
    pub sealed: Box<dyn FnMut() + Send>,
    /// The daemon's own user id.
    pub uid: u32,
    /// A tail is handed to the background when it holds this many bytes.
    pub flush_bytes: u64,
}

/// The writer's state between batches.
pub struct Writer {
    around: Surroundings,
    log: LogWriter,
    snapshot: Arc<Snapshot>,
    timers: Timers,
    waiters: Waiters,
    random: Randomness,
    hot: HotValues,
    /// The buffers of the last outcome, for the next.
    spare: Outcome,
    /// Why nothing can be written any more.
    broken: Option<String>,
    /// When what is not synced must be.
    sync_due: Option<Instant>,
    stopping: bool,
    finished: bool,
    /// Where batches are added: the last tail of the snapshot.
    tail: Arc<Tail>,
}

/// One turn's work.
struct Turn {
    batch: Batch,
    at: Timestamp,
    at_text: Vec<u8>,
    now: Instant,
    answers: Answers,
    durable: bool,
    /// Jobs whose timers were taken, to set them again when nothing comes of it.
    taken: Vec<(u64, u64)>,
}

impl Writer {
    /// Continues an opened store. Everything in it is on disk.
    ///
    /// # Errors
    /// `corrupt` when the leases cannot be read.
    pub fn new(store: Store, around: Surroundings) -> Result<Self> {
        let timers = Timers::restore(&store.snapshot, Timestamp::now(), Instant::now())?;
        let snapshot = Arc::new(store.snapshot);
        let tail = snapshot.tails.last().cloned();
        let tail = tail.ok_or_else(|| Error::new(Code::Internal, "a store was opened without a tail"))?;
        around.stats.index(&snapshot.runs, &snapshot.tails);
        around.published.publish(Arc::clone(&snapshot));
        Ok(Writer {
            around,
            log: store.log,
            snapshot,
            timers,
            waiters: Waiters::default(),
            random: Randomness::default(),
            hot: HotValues::default(),
            spare: Outcome::default(),
            broken: None,
            sync_due: None,
            stopping: false,
            finished: false,
            tail,
        })
    }

    /// Works until it is told to finish; then everything is synced and the log's end is trimmed.
    pub fn run(mut self, inbox: &Receiver<ToWriter>) {
        // What the start read back need not be read again at the next one.
        self.flush();
        while !self.finished {
            let first = match self.next_deadline() {
                Some(deadline) => inbox.recv_deadline(deadline),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(first) => {
                    // What comes meanwhile is gathered for the next turn: so loop and writer work at the same
                    // time, each on its own part of the requests in flight.
                    let waiting = inbox.len();
                    self.turn(std::iter::once(first).chain(inbox.try_iter().take(waiting)));
                }
                Err(RecvTimeoutError::Timeout) => self.turn(std::iter::empty()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if self.broken.is_none()
            && let Err(error) = self.log.trim()
        {
            crate::report::error(&format!("{}: {error}", self.log.segment().path.display()));
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let timers = self.timers.next_due().filter(|_| self.broken.is_none());
        [timers, self.waiters.next_deadline(), self.sync_due].into_iter().flatten().min()
    }

    fn turn(&mut self, messages: impl Iterator<Item = ToWriter>) {
        let at = Timestamp::now().max(self.snapshot.last_at);
        let mut at_text = Vec::with_capacity(27);
        at.write(&mut at_text);
        let batch = Batch::new(Arc::clone(&self.snapshot), std::mem::take(&mut self.hot));
        let (answers, now) = (Answers::default(), Instant::now());
        let mut turn = Turn { batch, at, at_text, now, answers, durable: false, taken: Vec::new() };
        if self.broken.is_none() {
            self.fall_due(&mut turn);
        }
        let (mut requests, mut bytes) = (0, 0);
        let (mut merged, mut changes) = (Vec::new(), Vec::new());
        for message in messages {
            match message {
                ToWriter::Requests(parcel) => {
                    requests += parcel.len();
                    for Asked { ticket, uid, request, bytes: length } in parcel {
                        bytes += length;
                        self.request(&mut turn, ticket, uid, request);
                    }
                }
                ToWriter::Gone(connection) => self.waiters.forget(connection),
                ToWriter::Merged(run) => merged.push(run),
                change @ (ToWriter::Seal(_) | ToWriter::Compacted(_)) => changes.push(change),
                ToWriter::Pulse(back) => back(),
                ToWriter::Stop => self.stop(&mut turn),
                ToWriter::Finish => self.finished = true,
            }
            if requests >= FRAME_REQUESTS || bytes >= FRAME_BYTES {
                break;
            }
        }
        while let Some(late) = self.waiters.take_late(turn.now) {
            turn.answers.say(late.ticket, b",\"jobs\":[]");
            turn.durable |= late.durable;
        }
        self.commit(&mut turn, merged);
        let events = turn.batch.events().len();
        (self.hot, turn.answers.spent) = turn.batch.into_rest();
        self.around.stats.turn(requests, events, turn.now.elapsed());
        self.around.stats.waiting(self.waiters.len());
        if !turn.answers.list.is_empty() {
            (self.around.deliver)(turn.answers);
        }
        changes.into_iter().for_each(|change| self.change_log(change));
    }

    fn stop(&mut self, turn: &mut Turn) {
        self.stopping = true;
        for waiter in self.waiters.take_all() {
            turn.answers.say(waiter.ticket, b",\"jobs\":[]");
        }
    }

    /// Decides one request and keeps what comes of it.
    fn decide(&mut self, turn: &mut Turn, uid: u32, request: WriteRequest) -> Result<Outcome> {
        let mut random = |bytes: &mut [u8]| self.random.fill(bytes);
        let circumstances = Circumstances { at: turn.at, at_text: &turn.at_text, uid, random: &mut random };
        let (dry_run, gives_room) = (request.dry_run, request.write.gives_room());
        let spare = std::mem::take(&mut self.spare);
        let mut outcome = decide(request, &turn.batch, turn.batch.next_seq(), circumstances, spare)?;
        if !dry_run {
            self.find_room(turn, &outcome, gives_room)?;
            let readied = if self.waiters.is_empty() { Vec::new() } else { readied_queues(&outcome.events) };
            turn.batch.keep(&mut outcome);
            for queue in readied {
                self.serve(turn, &queue);
            }
        }
        Ok(outcome)
    }

    /// Whether the log has room for an outcome. On a full disk only what gives room back in the end is
    /// written, into room that is kept for it.
    fn find_room(&mut self, turn: &Turn, outcome: &Outcome, gives_room: bool) -> Result<()> {
        let bytes = turn.batch.lines().len() + outcome.line_bytes();
        if outcome.events.is_empty() || self.log.has_room(bytes as u64, gives_room) {
            return Ok(());
        }
        self.around.stats.refused_append();
        let file = self.log.segment().path.display();
        let message = format!(
            "nothing was written: the disk that holds {file} is full; acks, nacks, extends, deletes and purges \
             still work, and everything else again when there is room"
        );
        Err(Error::new(Code::ReadOnly, message))
    }

    fn request(&mut self, turn: &mut Turn, ticket: Ticket, uid: u32, request: WriteRequest) {
        if let Some(reason) = &self.broken {
            turn.answers.refuse(ticket, Error::new(Code::ReadOnly, reason.as_str()));
            return;
        }
        turn.durable |= request.durable;
        let (durable, dry_run) = (request.durable, request.dry_run);
        let reserve = match &request.write {
            Write::QueueReserve(reserve) if reserve.wait_ms > 0 && !dry_run => Some(reserve.clone()),
            _ => None,
        };
        let before = turn.batch.events().len();
        let outcome = self.decide(turn, uid, request);
        match (outcome, reserve) {
            (Ok(_), Some(reserve)) if turn.batch.events().len() == before && !self.stopping => {
                if self.waiters.len() >= WAITING_RESERVES {
                    turn.answers.refuse(ticket, Error::new(Code::Busy, "too many reserves wait already"));
                    return;
                }
                let deadline = turn.now + Duration::from_millis(reserve.wait_ms);
                self.waiters.add(Waiter { ticket, uid, reserve, durable, deadline });
            }
            (Ok(outcome), _) => {
                turn.answers.say(ticket, &outcome.reply);
                self.spare = outcome;
            }
            (Err(error), _) => turn.answers.refuse(ticket, error),
        }
    }

    /// Gives jobs that became ready to those who wait for them, in the same frame.
    fn serve(&mut self, turn: &mut Turn, queue: &str) {
        while let Some(waiter) = self.waiters.first(queue) {
            let write = Write::QueueReserve(waiter.reserve.clone());
            let (ticket, uid, durable) = (waiter.ticket, waiter.uid, waiter.durable);
            let request = WriteRequest { write, durable, dry_run: false, idempotency: None };
            let before = turn.batch.events().len();
            let outcome = self.decide(turn, uid, request);
            if outcome.is_ok() && turn.batch.events().len() == before {
                break;
            }
            self.waiters.take_first(queue);
            turn.durable |= durable;
            match outcome {
                Ok(outcome) => {
                    turn.answers.say(ticket, &outcome.reply);
                    self.spare = outcome;
                }
                Err(error) => turn.answers.refuse(ticket, error),
            }
        }
    }

    /// Does what leases and delays that ran out ask for.
    fn fall_due(&mut self, turn: &mut Turn) {
        while turn.taken.len() < FRAME_REQUESTS
            && let Some((job, revision)) = self.timers.take_due(turn.now)
        {
            turn.taken.push((job, revision));
            let write = Write::FallDue { job, revision };
            let request = WriteRequest { write, durable: false, dry_run: false, idempotency: None };
            if let Err(error) = self.decide(turn, self.around.uid, request) {
                crate::report::error(&format!("the timer of job {job}: {error}"));
            }
        }
    }

    /// Appends, syncs, publishes; or turns the answers into refusals.
    fn commit(&mut self, turn: &mut Turn, merged: Vec<Arc<Run>>) {
        let mut next = Snapshot::clone(&self.snapshot);
        let wrote = !turn.batch.events().is_empty();
        let mut done = Ok(());
        if wrote {
            done = self.append(turn, &mut next);
        }
        let unsynced = self.log.last() > self.log.synced();
        let overdue = self.sync_due.is_some_and(|due| due <= turn.now);
        if done.is_ok() && self.broken.is_none() && unsynced && (turn.durable || overdue) {
            done = self.sync();
        }
        if let Err(error) = done {
            turn.answers.refuse_all(&error);
            for (job, revision) in turn.taken.drain(..) {
                self.timers.set(turn.now + Duration::from_secs(1), job, revision);
            }
            if !merged.is_empty() {
                // The index files do not depend on this batch.
                self.publish(Snapshot::clone(&self.snapshot), merged);
            }
            return;
        }
        self.sync_due = if self.log.last() > self.log.synced() && self.broken.is_none() {
            Some(self.sync_due.unwrap_or(turn.now + Duration::from_millis(SYNC_DELAY_MS)))
        } else {
            None
        };
        let moved = next.synced != self.log.synced();
        next.synced = self.log.synced();
        if wrote || moved || !merged.is_empty() {
            self.publish(next, merged);
        }
        self.roll_when_full();
    }

    /// Writes the batch's frame and adds it to the tail, for `next` to see.
    fn append(&mut self, turn: &mut Turn, next: &mut Snapshot) -> Result<()> {
        let events = turn.batch.events();
        let last = self.snapshot.last + events.len() as u64;
        let started = Instant::now();
        let start = match self.log.append(self.snapshot.last + 1, last, turn.batch.lines()) {
            Ok(start) => start,
            Err(AppendError::Refused(error)) => {
                let file = self.log.segment().path.display();
                self.around.stats.refused_append();
                let message = format!("nothing was written: {file}: {error}");
                return Err(Error::new(Code::ReadOnly, message));
            }
            Err(AppendError::Broken(error)) => return Err(self.give_up(&error, Code::ReadOnly)),
        };
        self.around.stats.appended(turn.batch.lines().len() as u64, started.elapsed());
        events.iter().for_each(|event| self.timers.note(event, turn.now));
        if let Err(error) = add_to_tail(&mut turn.batch, start, &self.tail, &self.snapshot) {
            // The frame is in the file and cannot be shown: nothing more may follow it.
            return Err(self.give_up(&std::io::Error::other(error.to_string()), Code::OutcomeUnknown));
        }
        (next.last, next.last_at, next.counts) = (last, turn.at, turn.batch.counts());
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        let started = Instant::now();
        let done = self.log.sync();
        self.around.stats.synced(started.elapsed());
        done.map_err(|error| self.give_up(&error, Code::OutcomeUnknown))
    }

    /// From now on nothing is written: what the file holds is not known.
    fn give_up(&mut self, error: &std::io::Error, code: Code) -> Error {
        let file = self.log.segment().path.display().to_string();
        let reason = format!("{file}: {error}; nothing is written until the daemon is started again");
        crate::report::critical(&format!("read-only: {reason}"));
        self.broken = Some(reason);
        // Nothing falls due any more: a writer that cannot write must not wake up for it.
        self.sync_due = None;
        self.around.stats.broken();
        Error::new(code, format!("{file}: {error}"))
    }

    fn publish(&mut self, mut next: Snapshot, merged: Vec<Arc<Run>>) {
        if !merged.is_empty() {
            let mut runs = next.runs.as_ref().clone();
            merged.iter().for_each(|run| replace_runs(&mut runs, run));
            let in_files = runs.last().map_or(0, |run| run.meta().last);
            let tails = next.tails.iter().filter(|tail| tail.first() > in_files).cloned().collect();
            (next.runs, next.tails) = (Arc::new(runs), Arc::new(tails));
        }
        self.around.stats.index(&next.runs, &next.tails);
        self.show(next);
        self.flush();
    }

    /// Makes a snapshot the newest.
    fn show(&mut self, next: Snapshot) {
        self.snapshot = Arc::new(next);
        self.around.published.publish(Arc::clone(&self.snapshot));
        if self.around.stats.followers.get() > 0 {
            (self.around.announce)();
        }
    }

    /// Hands the tail to the background when it holds much, and slows down when that is behind.
    fn flush(&mut self) {
        let full = self.tail.held_bytes() >= self.around.flush_bytes && self.snapshot.tails.len() < TAILS;
        // Only what the log has on disk may be on disk in the index.
        if full && self.snapshot.synced == self.snapshot.last && self.broken.is_none() {
            self.hand_over_tail();
        }
        let bytes: u64 = self.snapshot.tails.iter().map(|tail| tail.held_bytes()).sum();
        let files = self.snapshot.runs.len() as u64;
        if bytes >= SLOW_BYTES || files >= SLOW_RUN_FILES {
            // In proportion, so that nothing ever stops.
            let behind =
                bytes.saturating_sub(SLOW_BYTES) / (1 << 20) + files.saturating_sub(SLOW_RUN_FILES) + 1;
            let pause = Duration::from_millis(behind.min(20));
            self.around.stats.slowed(pause);
            std::thread::sleep(pause);
        }
    }

    /// Leaves the tail to the background, to be written to a file, and begins a new one.
    fn hand_over_tail(&mut self) {
        let full = std::mem::replace(&mut self.tail, Arc::new(Tail::new(self.snapshot.last + 1)));
        let mut next = Snapshot::clone(&self.snapshot);
        let mut tails = next.tails.as_ref().clone();
        tails.push(Arc::clone(&self.tail));
        next.tails = Arc::new(tails);
        self.show(next);
        (self.around.background)(ToBackground::Flush(full));
    }
}

/// Adds what came of a batch, whose lines begin at `start` of their segment, to the tail.
fn add_to_tail(batch: &mut Batch, start: u64, tail: &Tail, below: &Snapshot) -> Result<()> {
    let places = batch.starts().iter().map(|place| u32::try_from(start + *place as u64));
    let offsets = places.collect::<std::result::Result<Vec<u32>, _>>();
    let offsets = offsets.map_err(|_| Error::new(Code::Internal, "a segment is over 4 GiB"))?;
    tail.add(batch.take_added(&offsets), &below.runs, &below.tails)
}

/// Puts a run in the place of those that it covers, or behind all of them.
fn replace_runs(runs: &mut Vec<Arc<Run>>, merged: &Arc<Run>) {
    let (first, last) = (merged.meta().first, merged.meta().last);
    let start = runs.partition_point(|run| run.meta().first < first);
    let end = runs.partition_point(|run| run.meta().last <= last);
    if start < end || start == runs.len() {
        runs.splice(start..end, [Arc::clone(merged)]);
    }
}

/// The queues that have a job ready now that they had not before.
fn readied_queues(events: &[Event]) -> Vec<String> {
    let mut queues = Vec::new();
    for event in events {
        if let Fact::JobPut { queue, delay_ms: 0, .. }
        | Fact::JobNacked { queue, delay_ms: 0, dead: false, .. }
        | Fact::JobExpired { queue, dead: false, .. }
        | Fact::JobReadied { queue, .. }
        | Fact::JobRevived { queue, .. } = &event.fact
            && !queues.contains(queue)
        {
            queues.push(queue.clone());
        }
    }
    queues
}
