//! A turn: what is decided together and becomes one frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::News;
use super::serve::{Served, readied_queues};
use super::timers::{TIMER_AGAIN, TIMERS_TOLD, Timer};
use super::waiters::Waiter;
use super::{Answers, Asked, Ticket, ToWriter, Writer};
use crate::batch::Batch;
use crate::domain::command::{Reserve, Write, WriteRequest};
use crate::domain::decide;
use crate::domain::draft::{Circumstances, Outcome};
use crate::error::{Code, Error, Result};
use crate::index::run::Run;
use crate::index::tail::{Removal, removals};
use crate::limits::{FRAME_BYTES, FRAME_EVENTS, FRAME_REQUESTS, UNWRITTEN_INDEX_BYTES, WAITING_RESERVES};
use crate::report;
use crate::snapshot::{ReplyBytes, Snapshot};
use crate::time::Timestamp;

/// What is decided together.
pub(super) struct Turn {
    pub(super) batch: Batch,
    pub(super) began: Instant,
    /// When what is decided next was taken in: a turn may stay open for as long as a sync takes.
    at: Timestamp,
    at_text: Vec<u8>,
    pub(super) now: Instant,
    pub(super) answers: Answers,
    /// Whether a reply of it waits for the disk.
    pub(super) durable: bool,
    /// Timers that were taken, to set them again when nothing comes of it.
    pub(super) taken: Vec<Timer>,
    /// What went with chats and applications that it deletes.
    pub(super) deleted: Vec<Removal>,
    /// Whether something of it takes room of the disk for good.
    pub(super) takes_room: bool,
    /// What it gives to reserves that waited.
    pub(super) served: Served,
    /// Reserves that wait because of what was decided in it.
    pub(super) waiting: Vec<u64>,
    /// Where it was before its first event.
    pub(super) before_events: Mark,
    pub(super) requests: usize,
    /// How many events came of it; set when the batch is closed.
    pub(super) events: usize,
    bytes: usize,
    /// Run files that the background has made.
    pub(super) new_runs: Vec<Arc<Run>>,
    /// What maintenance asks of the log, once nothing of it is on its way to the disk, and the run files that were
    /// made behind that.
    pub(super) changes: Vec<ToWriter>,
}

/// A place in a turn: so much was answered and waits.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    /// How many answers there were.
    pub(super) answers: usize,
    /// How many reserves waited.
    pub(super) waiting: usize,
}

impl Mark {
    /// Where nothing is decided.
    pub(super) const START: Mark = Mark { answers: 0, waiting: 0 };

    /// Where a turn is now.
    fn at(turn: &Turn) -> Self {
        Mark { answers: turn.answers.list.len(), waiting: turn.waiting.len() }
    }
}

impl Turn {
    /// Whether it takes no more.
    pub(super) fn is_full(&self) -> bool {
        self.requests >= FRAME_REQUESTS || self.batch.events().len() >= FRAME_EVENTS || self.is_large()
    }

    /// Whether it takes no more of a parcel, which has few requests, but perhaps large ones.
    fn is_large(&self) -> bool {
        self.bytes.max(self.answers.bytes.len()) >= FRAME_BYTES
    }
}

impl Writer {
    /// Begins a turn.
    pub(super) fn begin_turn(&mut self) -> Turn {
        let now = Instant::now();
        let mut turn = Turn {
            batch: Batch::new(Arc::clone(&self.snapshot), std::mem::take(&mut self.hot)),
            began: now,
            at: self.snapshot.last_at,
            at_text: Vec::with_capacity(27),
            now,
            answers: Answers::default(),
            durable: false,
            taken: Vec::new(),
            deleted: Vec::new(),
            takes_room: false,
            served: Served::default(),
            waiting: Vec::new(),
            before_events: Mark::START,
            requests: 0,
            events: 0,
            bytes: 0,
            new_runs: Vec::new(),
            changes: Vec::new(),
        };
        self.tell_time(&mut turn);
        turn
    }

    /// What is decided from here on was taken in now.
    pub(super) fn tell_time(&mut self, turn: &mut Turn) {
        let clock = Timestamp::now();
        match self.clock.compare(turn.at, clock) {
            Some(News::Behind(seconds)) => report::warning(&format!(
                "the log is {seconds} s ahead of the clock: times stay at the log's until it has caught up"
            )),
            Some(News::CaughtUp) => report::notice("the clock has caught up with the log"),
            None => {}
        }
        turn.at = turn.at.max(clock);
        turn.at_text.clear();
        turn.at.write(&mut turn.at_text);
        turn.now = Instant::now();
    }

    /// Does what the writer is told.
    pub(super) fn take(&mut self, turn: &mut Turn, message: ToWriter) {
        match message {
            ToWriter::Requests(parcel) => {
                let mut parcel = parcel.into_iter();
                while !turn.is_large()
                    && let Some(asked) = parcel.next()
                {
                    turn.requests += 1;
                    turn.answers.decided_bytes += asked.held_bytes();
                    turn.answers.decided_long += usize::from(asked.request.may_take_long());
                    let Asked { ticket, uid, request, bytes } = asked;
                    turn.bytes += bytes;
                    self.request(turn, ticket, uid, request);
                }
                let rest: Vec<Asked> = parcel.collect();
                self.left = (!rest.is_empty()).then_some(ToWriter::Requests(rest));
            }
            ToWriter::Gone(connection) => self.waiters.forget(connection),
            // A run that came behind a compaction may be made of its segments.
            ToWriter::NewRun(run) if turn.changes.is_empty() => turn.new_runs.push(run),
            change @ (ToWriter::NewRun(_) | ToWriter::Seal(_) | ToWriter::Compacted(_)) => {
                turn.changes.push(change);
            }
            ToWriter::Pulse(back) => self.pulses.push(back),
            ToWriter::Stop => self.stop(turn),
            ToWriter::Finish => self.finished = true,
        }
    }

    fn stop(&mut self, turn: &mut Turn) {
        self.stopping = true;
        for waiter in self.waiters.take_all() {
            turn.answers.say(waiter.ticket, b",\"jobs\":[]");
            turn.durable |= waiter.durable;
        }
    }

    /// Decides one request and keeps what comes of it.
    pub(super) fn decide(&mut self, turn: &mut Turn, uid: u32, request: WriteRequest) -> Result<Outcome> {
        let mut random = |bytes: &mut [u8]| self.random.fill(bytes);
        let ReplyBytes(reply_bytes) = self.snapshot.reply_bytes;
        let circumstances =
            Circumstances { at: turn.at, at_text: &turn.at_text, uid, random: &mut random, reply_bytes };
        let (dry_run, gives_room) = (request.dry_run, request.write.gives_room());
        let spare = std::mem::take(&mut self.spare);
        let mut outcome = decide(request, &turn.batch, turn.batch.next_seq(), circumstances, spare)?;
        if !outcome.events.is_empty() {
            self.find_room(turn, &outcome, gives_room)
                .inspect_err(|error| self.note_refusal(error, turn.now))?;
            turn.takes_room |= !gives_room && !dry_run;
        }
        if !dry_run {
            // Files are read for it, which may fail: that is to be this request's affair alone.
            let Snapshot { runs, tails, .. } = self.snapshot.as_ref();
            turn.deleted.append(&mut removals(&outcome.events, runs, tails)?);
            let readied = if self.waiters.is_empty() { Vec::new() } else { readied_queues(&outcome.events) };
            if turn.batch.events().is_empty() {
                turn.before_events = Mark::at(turn);
            }
            turn.batch.keep(&mut outcome);
            self.serve_readied(turn, readied);
        }
        Ok(outcome)
    }

    /// A write is refused for want of room.
    pub(super) fn note_refusal(&mut self, error: &Error, now: Instant) {
        self.around.stats.refused_append();
        self.refusals.refused(error, now);
    }

    /// Whether the log has room for an outcome that has events. On a full disk only what gives room back in the end is
    /// written, into room that is kept for it.
    fn find_room(&mut self, turn: &Turn, outcome: &Outcome, gives_room: bool) -> Result<()> {
        if !gives_room {
            self.find_memory()?;
        }
        let bytes = turn.batch.lines().len() + outcome.line_bytes();
        if self.log.secure_room(bytes as u64, gives_room) {
            return Ok(());
        }
        let file = self.log.segment().path.display();
        let message = if gives_room && self.log.fits(bytes as u64) {
            format!(
                "nothing was written: the disk that holds {file} is full, and the room that is kept for acks, deletes \
                 and the like is used up; make room on it"
            )
        } else if self.log.fits(bytes as u64) {
            format!(
                "nothing was written: the disk that holds {file} is full; acks, nacks, extends, deletes and purges \
                 still work, and everything else again when there is room"
            )
        } else {
            format!(
                "nothing was written: {file} has 4 GiB, and the next segment cannot be begun; the daemon's own \
                 messages say why"
            )
        };
        Err(Error::new(Code::ReadOnly, message))
    }

    /// Whether there may be more of the index in memory: where it cannot be written nothing takes it from there.
    fn find_memory(&self) -> Result<()> {
        if self.throttle.held() < UNWRITTEN_INDEX_BYTES {
            return Ok(());
        }
        let Some(trouble) = self.files.trouble() else { return Ok(()) };
        let message = format!(
            "nothing was written: the index cannot be written: {}; acks, nacks, extends, deletes and purges still \
             work, and everything else again when it can be",
            trouble.message()
        );
        Err(Error::new(Code::ReadOnly, message))
    }

    fn request(&mut self, turn: &mut Turn, ticket: Ticket, uid: u32, request: WriteRequest) {
        if let Some(reason) = &self.broken {
            turn.answers.refuse(ticket, Error::new(Code::ReadOnly, reason.as_str()));
            return;
        }
        self.end_leases(turn, &request.write);
        turn.durable |= request.durable;
        let (durable, dry_run) = (request.durable, request.dry_run);
        let reserve = match &request.write {
            Write::QueueReserve(reserve) if reserve.wait_ms > 0 && !dry_run => Some(reserve.clone()),
            _ => None,
        };
        let before = turn.batch.events().len();
        // Whoever would wait does not pass those who do.
        let is_put_off = |reserve: &Reserve| self.waiters.is_put_off(&reserve.queue);
        let joins = !self.stopping && reserve.as_ref().is_some_and(is_put_off);
        let outcome = if joins { Ok(Outcome::default()) } else { self.decide(turn, uid, request) };
        match (outcome, reserve) {
            (Ok(_), Some(reserve)) if turn.batch.events().len() == before && !self.stopping => {
                if self.waiters.len() >= WAITING_RESERVES {
                    turn.answers.refuse(ticket, Error::new(Code::Busy, "too many reserves wait already"));
                    return;
                }
                let deadline = turn.now + Duration::from_millis(reserve.wait_ms);
                turn.waiting.push(self.waiters.add(Waiter { ticket, uid, reserve, durable, deadline }));
            }
            (Ok(outcome), _) => {
                turn.answers.say(ticket, &outcome.reply);
                self.spare = outcome;
            }
            (Err(error), _) => turn.answers.refuse(ticket, error),
        }
    }

    /// Does what leases and delays that ran out ask for. Not behind what was heard: whoever kept to the lease must not
    /// lose it because a sync of others keeps the writer from hearing that.
    pub(super) fn fall_due(&mut self, turn: &mut Turn) {
        let end = turn.taken.len() + FRAME_REQUESTS;
        while turn.taken.len() < end
            && let Some(timer) = self.timers.take_due(self.heard.until())
        {
            self.carry_out(turn, timer);
        }
    }

    /// The same, first, for the jobs whose holders ask: of many that ran out together each is lost at once.
    fn end_leases(&mut self, turn: &mut Turn, write: &Write) {
        match write {
            Write::QueueAck { job, .. } | Write::QueueExtend { job, .. } | Write::QueueNack { job, .. } => {
                if let Some(timer) = self.timers.take_due_of(*job, self.heard.until()) {
                    self.carry_out(turn, timer);
                }
            }
            Write::Batch { commands } => commands.iter().for_each(|each| self.end_leases(turn, each)),
            _ => {}
        }
    }

    fn carry_out(&mut self, turn: &mut Turn, timer: Timer) {
        let Timer { job, revision, .. } = timer;
        let write = Write::FallDue { job, revision };
        let request = WriteRequest { write, durable: false, dry_run: false, idempotency: None };
        let error = match self.decide(turn, self.around.uid, request) {
            Ok(outcome) => {
                self.spare = outcome;
                turn.taken.push(timer);
                self.failed_timers.remove(&job);
                return;
            }
            Err(error) => error,
        };
        let again = turn.now + TIMER_AGAIN;
        if error.code() == Code::ReadOnly {
            // The disk is full, for all of them and not for ever: refused writes are told by themselves.
            self.timers.put_back(timer);
            self.timers.hold(again);
            return;
        }
        self.timers.set_again(timer, again);
        if !self.failed_timers.contains(&job) {
            if self.failed_timers.len() >= TIMERS_TOLD {
                self.failed_timers.retain(|job| self.timers.has(*job));
            }
            if self.failed_timers.len() >= TIMERS_TOLD {
                return;
            }
            self.failed_timers.insert(job);
            report::error(&format!("the timer of job {job}, tried again each second: {error}"));
        }
    }
}
