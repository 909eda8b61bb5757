//! The writer: the one thread that changes anything.
//!
//! It takes all that is waiting as one batch, decides each request on what the ones before it left,
//! appends the batch as one frame, syncs, publishes the new snapshot, and only then releases the
//! replies. While one batch syncs, the next one is decided.
//!
//! - `messages` are what it and other threads say to each other.
//! - `turn` is what is decided together, in a batch; `timers` and `waiters` have what comes due and who waits, `heard`
//!   as of when. `serve` gives jobs to those who wait, as far as `unread` has room.
//! - `commit` appends it, has it synced, by `syncer` if that pays, and shows it.
//! - `throttle` says how long to wait when the background is behind, `patience` how to wait for a request.
//! - `segments` goes on to the next file of the log; `refusals` tells the operator of a full disk, `clock` of a clock
//!   that is behind the log.

mod clock;
mod commit;
pub mod heard;
mod messages;
mod patience;
mod refusals;
mod segments;
mod serve;
pub mod syncer;
#[cfg(test)]
mod tests;
mod throttle;
pub mod timers;
mod turn;
pub mod unread;
pub mod waiters;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, never, select};

use crate::batch::hot::HotValues;
use crate::courtesy::Courtesy;
use crate::domain::draft::Outcome;
use crate::error::{Code, Error, Result};
use crate::index::files::RunFiles;
use crate::index::tail::Tail;
use crate::log::writer::LogWriter;
use crate::randomness::Randomness;
use crate::report;
use crate::snapshot::{Published, Snapshot};
use crate::stats::Stats;
use crate::store::Store;
use crate::time::Timestamp;
use clock::Clock;
use commit::Flying;
use heard::{Heard, HeldUp};
pub use messages::{Answers, Asked, Compaction, Ticket, ToBackground, ToWriter};
use patience::Patience;
use refusals::Refusals;
use syncer::Syncer;
use throttle::Throttle;
use timers::Timers;
use turn::Turn;
use unread::{ServeRate, Unread};
use waiters::Waiters;

/// What the writer works with.
pub struct Surroundings {
    /// Where snapshots are published.
    pub published: Arc<Published>,
    /// What it counts.
    pub stats: Arc<Stats>,
    /// Where replies go.
    pub deliver: Box<dyn FnMut(Answers) + Send>,
    /// Told of every new snapshot, when someone follows.
    pub announce: Box<dyn FnMut() + Send>,
    /// To the background.
    pub background: Box<dyn FnMut(ToBackground) + Send>,
    /// Since when the oldest write waits that was not sent to it for want of room: one that was asked later may be
    /// the ack of a lease that ran out later.
    pub held_up: Arc<HeldUp>,
    /// What clients have not read.
    pub unread: Arc<Unread>,
    /// Told of every segment that is sealed.
    pub sealed: Box<dyn FnMut() + Send>,
    /// The daemon's own user id.
    pub uid: u32,
    /// A tail is handed to the background when it holds this many bytes.
    pub flush_bytes: u64,
    /// Syncs the log while the writer goes on. Without it the writer does it, and waits.
    pub syncer: Option<Syncer>,
}

/// How long the writer rests where something is due that those whose writes are held up may have to say something of.
const HELD_UP_PAUSE: Duration = Duration::from_millis(1);

/// The writer's state between batches.
pub struct Writer {
    around: Surroundings,
    log: LogWriter,
    /// What was decided and appended; what is published lies behind while a turn is on its way to the disk.
    snapshot: Arc<Snapshot>,
    /// What is being decided.
    open: Option<Turn>,
    /// Requests for which the turn had no room.
    left: Option<ToWriter>,
    flying: Option<Flying>,
    /// How many requests the turn before had.
    requests_before: usize,
    patience: Patience,
    /// To be called when nothing is on its way to the disk: who waits for them hears if that hangs.
    pulses: Vec<Box<dyn FnOnce() + Send>>,
    throttle: Throttle,
    files: RunFiles,
    courtesy: Courtesy,
    clock: Clock,
    heard: Heard,
    timers: Timers,
    /// Jobs whose timers could not be carried out, as the operator was told.
    failed_timers: BTreeSet<u64>,
    waiters: Waiters,
    serve_rate: ServeRate,
    random: Randomness,
    hot: HotValues,
    /// The buffers of the last outcome, for the next.
    spare: Outcome,
    /// Why nothing can be written any more.
    broken: Option<String>,
    /// Why the next segment could not be begun when that was last tried.
    roll_failure: Option<String>,
    refusals: Refusals,
    /// When what is not synced must be.
    sync_due: Option<Instant>,
    stopping: bool,
    finished: bool,
    /// Where batches are added: the last tail of the snapshot.
    tail: Arc<Tail>,
}

impl Writer {
    /// Continues an opened store. Everything in it is on disk.
    ///
    /// # Errors
    /// `internal` when it has no tail.
    pub fn new(store: Store, around: Surroundings) -> Result<Self> {
        let now = Instant::now();
        let timers = Timers::restore(&store.held, Timestamp::now(), now);
        let snapshot = Arc::new(store.snapshot);
        let tail = snapshot.tails.last().cloned();
        let tail = tail.ok_or_else(|| Error::new(Code::Internal, "a store was opened without a tail"))?;
        let held = snapshot.tails.iter().map(|tail| tail.held_bytes()).sum();
        around.stats.index(&snapshot.runs, &snapshot.tails);
        let throttle = Throttle::from(held);
        let courtesy = store.files.courtesy().clone();
        courtesy.set_behind(throttle.is_behind(snapshot.runs.len() as u64));
        around.published.publish(Arc::clone(&snapshot));
        Ok(Writer {
            around,
            log: store.log,
            snapshot,
            open: None,
            left: None,
            flying: None,
            requests_before: 0,
            patience: Patience::new(),
            pulses: Vec::new(),
            throttle,
            files: store.files,
            courtesy,
            clock: Clock::default(),
            heard: Heard::new(now),
            timers,
            failed_timers: BTreeSet::new(),
            waiters: Waiters::default(),
            serve_rate: ServeRate::new(now),
            random: Randomness::default(),
            hot: HotValues::default(),
            spare: Outcome::default(),
            broken: None,
            roll_failure: None,
            refusals: Refusals::default(),
            sync_due: None,
            stopping: false,
            finished: false,
            tail,
        })
    }

    /// Works until it is told to finish; then everything is synced and the log's end is trimmed.
    ///
    /// # Errors
    /// Why what was acknowledged may not be on the disk.
    pub fn run(mut self, inbox: &Receiver<ToWriter>) -> std::result::Result<(), String> {
        // What the start read back need not be read again at the next one.
        let (_, full) = self.snapshot.tails.split_last().unwrap_or((&self.tail, &[]));
        full.iter().for_each(|tail| (self.around.background)(ToBackground::Flush(Arc::clone(tail))));
        self.flush();
        self.catch_up(inbox);
        loop {
            if self.open.is_none()
                && let Some(left) = self.left.take()
            {
                self.gather(left, inbox);
            }
            if self.flying.is_none() {
                self.answer_pulses();
                if let Some(turn) = self.open.take() {
                    self.commit(turn);
                    continue;
                }
                if self.finished {
                    break;
                }
                self.wait(inbox);
            } else {
                self.wait_for_disk(inbox);
            }
        }
        self.end()
    }

    /// Tells those who want to know that it moves; and for whoever runs the daemon looks where the log is.
    fn answer_pulses(&mut self) {
        if !self.pulses.is_empty() {
            self.look_for_log();
            self.pulses.drain(..).for_each(|back| back());
        }
    }

    /// Does what fell due until the writer began, before anyone asks: what comes meanwhile is run files, whose tails
    /// leave memory for them, and a pulse.
    fn catch_up(&mut self, inbox: &Receiver<ToWriter>) {
        while self.broken.is_none() && self.timers.next_due().is_some_and(|due| due <= self.heard.until()) {
            let mut turn = self.begin_turn();
            inbox.try_iter().for_each(|message| self.take(&mut turn, message));
            self.commit(turn);
        }
    }

    /// Puts everything on the disk. What is on it and gone from its place is no clean end.
    fn end(mut self) -> std::result::Result<(), String> {
        let file = self.log.segment().path.display().to_string();
        self.sync_end(&file)?;
        self.log.gone().map_or(Ok(()), |_| {
            Err(format!(
                "{file}: the file, or a folder above it, was removed, moved or replaced beneath this daemon; if it was \
                 moved, put it back: all is in it"
            ))
        })
    }

    fn sync_end(&mut self, file: &str) -> std::result::Result<(), String> {
        if self.broken.is_none() {
            let trimmed = self.log.trim();
            let uncut =
                trimmed.map_err(|error| format!("{file}: the log's end cannot be synced: {error}"))?;
            if let Some(error) = uncut {
                report::warning(&format!(
                    "{file}: the room made ahead stays at the log's end: {error}; everything is on the disk, and \
                     nothing need be done"
                ));
            }
            return Ok(());
        }
        let (shown, synced) = (self.snapshot.last, self.log.synced());
        if shown <= synced {
            return Ok(());
        }
        Err(format!("{file}: the events {} to {shown} may not be on the disk: a sync failed", synced + 1))
    }

    /// Waits for something to do, and begins a turn with it.
    fn wait(&mut self, inbox: &Receiver<ToWriter>) {
        if let Some(first) = self.patience.stay_awake(inbox, self.requests_before) {
            return self.gather(first, inbox);
        }
        let (asleep, deadline) = (Instant::now(), self.next_deadline());
        let first = match deadline {
            Some(deadline) => inbox.recv_deadline(deadline),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        self.patience.woke_up();
        match first {
            Ok(first) => self.gather(first, inbox),
            Err(RecvTimeoutError::Timeout) => {
                let woken = deadline.map_or(asleep, |deadline| deadline.max(asleep));
                let before = self.around.held_up.before(woken);
                // What was held up until now is there.
                if let Ok(first) = inbox.try_recv() {
                    return self.gather(first, inbox);
                }
                self.heard.nothing_since(before);
                if before < woken {
                    // Nobody says when it is sent, and until then there may be nothing to do.
                    std::thread::sleep(HELD_UP_PAUSE);
                }
                self.open = Some(self.begin_turn());
            }
            Err(RecvTimeoutError::Disconnected) => self.finished = true,
        }
    }

    /// Waits for the disk, and decides what comes meanwhile.
    fn wait_for_disk(&mut self, inbox: &Receiver<ToWriter>) {
        let full = self.finished || self.open.as_ref().is_some_and(Turn::is_full);
        let nothing = never();
        let disk = self.around.syncer.as_ref().map_or_else(never, |syncer| syncer.done().clone());
        select! {
            recv(disk) -> synced => {
                let gone = |error| (Err(std::io::Error::other(error)), Duration::ZERO);
                self.land(synced.unwrap_or_else(gone));
            }
            recv(if full { &nothing } else { inbox }) -> message => match message {
                Ok(message) => self.gather(message, inbox),
                Err(_) => self.finished = true,
            },
        }
    }

    /// Decides what has come.
    fn gather(&mut self, first: ToWriter, inbox: &Receiver<ToWriter>) {
        let mut turn = match self.open.take() {
            Some(mut turn) => {
                self.tell_time(&mut turn);
                turn
            }
            None => self.begin_turn(),
        };
        // What comes meanwhile is gathered later: so loop and writer work at the same time, each on its own
        // part of the requests in flight.
        let before = self.around.held_up.before(turn.now);
        let waiting = inbox.len();
        self.heard.there_are(1 + waiting, before);
        for message in std::iter::once(first).chain(inbox.try_iter().take(waiting)) {
            self.take(&mut turn, message);
            if self.left.is_none() {
                self.heard.one_more();
            }
            if turn.is_full() {
                break;
            }
        }
        self.open = Some(turn);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let timers = self.timers.next_due().filter(|_| self.broken.is_none());
        [timers, self.waiters.next_deadline(), self.sync_due].into_iter().flatten().min()
    }
}
