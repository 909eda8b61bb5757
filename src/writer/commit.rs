//! Commits: a turn's frame is appended and synced, then everyone sees it and its replies are released.
//!
//! While a turn is on its way to the disk the next one is decided over it, and appended only when the
//! disk has confirmed: so there is one frame at most whose fate nobody knows, and nothing that was
//! decided over it is written or told before it is safe.

use std::sync::Arc;
use std::sync::atomic::{Ordering::SeqCst, fence};
use std::time::{Duration, Instant};

use super::syncer::Synced;
use super::timers::TIMER_AGAIN;
use super::turn::{Mark, Turn};
use super::{Answers, ToBackground, Writer};
use crate::domain::table::Facts;
use crate::error::{Code, Error, Result};
use crate::index::run::Run;
use crate::index::tail::Tail;
use crate::limits::{SYNC_DELAY_MS, TAILS};
use crate::log::writer::AppendError;
use crate::snapshot::Snapshot;

/// A turn of no more requests than this, behind one that had no more, is synced by the writer itself: to
/// hand a sync to another thread and be woken by it takes longer than what there is to do meanwhile.
const FEW_REQUESTS: usize = 64;

/// A turn whose frame is in the file and on its way to the disk.
pub(super) struct Flying {
    turn: Turn,
    /// Why it cannot be shown, whatever the disk says.
    failed: Option<Error>,
}

impl Writer {
    /// Appends a turn, and syncs it if something of it waits for that: at once, or on the syncer's thread,
    /// and then [`Writer::land`] finishes it.
    pub(super) fn commit(&mut self, mut turn: Turn) {
        if self.broken.is_none() {
            self.fall_due(&mut turn);
            self.serve_put_off(&mut turn);
        }
        self.answer_late(&mut turn);
        let before = std::mem::replace(&mut self.requests_before, turn.requests);
        let alone = before.max(turn.requests) <= FEW_REQUESTS;
        let wrote = !turn.batch.events().is_empty() && self.broken.is_none();
        let start = match if wrote { self.append(&mut turn).map(Some) } else { Ok(None) } {
            Ok(start) => start,
            Err(error) if self.broken.is_none() => {
                self.refuse_behind(turn.before_events, &mut turn, &error);
                None
            }
            Err(error) => {
                self.close_batch(&mut turn, false);
                return self.finish(turn, Err(error));
            }
        };
        let unsynced = self.log.last() > self.log.synced() && self.broken.is_none();
        let overdue = self.sync_due.is_some_and(|due| due <= turn.now);
        let needed = unsynced && (turn.durable || overdue);
        let handed = match &self.around.syncer {
            Some(syncer) if needed && !alone => syncer.begin(&self.log.segment().file),
            _ => false,
        };
        let added = start.map_or(Ok(()), |start| self.add(&mut turn, start));
        self.close_batch(&mut turn, start.is_some());
        if handed {
            self.flying = Some(Flying { turn, failed: added.err() });
            return;
        }
        let done = added.and_then(|()| if needed { self.sync() } else { Ok(()) });
        self.finish(turn, done);
    }

    /// Finishes the turn that was on its way to the disk.
    pub(super) fn land(&mut self, (synced, took): Synced) {
        let Some(Flying { turn, failed }) = self.flying.take() else { return };
        self.around.stats.synced(took);
        let done = match synced {
            Ok(()) => {
                self.log.confirm();
                failed.map_or(Ok(()), Err)
            }
            Err(error) => Err(self.give_up(&error, Code::OutcomeUnknown)),
        };
        self.finish(turn, done);
    }

    /// Refuses what was asked in a turn behind a mark, none of which was written. What was answered before follows from
    /// what there is.
    fn refuse_behind(&mut self, mark: Mark, turn: &mut Turn, error: &Error) {
        turn.answers.refuse_from(mark.answers, error);
        for waiter in turn.waiting.drain(mark.waiting..).filter_map(|number| self.waiters.take(number)) {
            turn.answers.refuse(waiter.ticket, error.clone());
        }
        let again = turn.now + TIMER_AGAIN;
        if !turn.taken.is_empty() {
            turn.taken.drain(..).for_each(|timer| self.timers.put_back(timer));
            self.timers.hold(again);
        }
        self.serve_again(&mut turn.served, again);
    }

    /// Takes out of a turn's batch, of which all or nothing was written, what the next one and others go on with.
    fn close_batch(&mut self, turn: &mut Turn, wrote: bool) {
        turn.events = if wrote { turn.batch.events().len() } else { 0 };
        (self.hot, turn.answers.spent) = turn.batch.take_rest();
    }

    /// Publishes a turn and releases its replies; or turns them into refusals.
    fn finish(&mut self, mut turn: Turn, done: Result<()>) {
        let new_runs = std::mem::take(&mut turn.new_runs);
        if let Err(error) = &done {
            self.refuse_behind(Mark::START, &mut turn, error);
        }
        if done.is_ok() && self.broken.is_none() {
            self.show_turn(&turn, &new_runs);
            // Before the segment ends, which may be where all writing does: then no sync is due.
            self.set_sync_due(turn.now);
            self.roll_when_full();
            self.sweep_timers();
        } else {
            turn.events = 0;
            // Nothing is shown but what was; the index files do not depend on it.
            self.snapshot = self.around.published.load();
            if !new_runs.is_empty() {
                self.publish(Snapshot::clone(&self.snapshot), &new_runs);
            }
        }
        self.around.stats.turn(turn.requests, turn.events, turn.began.elapsed());
        if !turn.answers.list.is_empty() || turn.answers.decided_bytes > 0 {
            self.around.unread.deliver(turn.answers.bytes.len());
            (self.around.deliver)(turn.answers);
        }
        turn.changes.into_iter().for_each(|change| self.change_log(change));
        // A sync may have failed here, or when the segment was sealed.
        self.refuse_open();
        self.give_up_waiters();
        self.around.stats.waiting(self.waiters.len());
        self.slow_down();
    }

    /// Refuses what was decided meanwhile, when nothing is written any more: it never happened, and no reply is true,
    /// be it a refusal.
    pub(super) fn refuse_open(&mut self) {
        if let Some(reason) = &self.broken
            && let Some(mut open) = self.open.take()
        {
            let error = Error::new(Code::ReadOnly, reason.as_str());
            self.refuse_behind(Mark::START, &mut open, &error);
            self.open = Some(open);
        }
    }

    /// Tells those who wait for a job that there will be none, when nothing is written any more.
    pub(super) fn give_up_waiters(&mut self) {
        let Some(reason) = &self.broken else { return };
        let (mut answers, error) = (Answers::default(), Error::new(Code::ReadOnly, reason.as_str()));
        self.waiters.take_all().into_iter().for_each(|waiter| answers.refuse(waiter.ticket, error.clone()));
        if !answers.list.is_empty() {
            (self.around.deliver)(answers);
        }
    }

    /// Lets everyone see what was appended, and sets the timers of its leases.
    fn show_turn(&mut self, turn: &Turn, new_runs: &[Arc<Run>]) {
        if turn.events > 0 {
            // A lease begins when its holder is told: however long the sync took, all of it is left.
            let now = Instant::now();
            let Writer { timers, open, hot, snapshot, .. } = &mut *self;
            // The values read lately are likely to have the job, and the open turn has those, if there is one.
            let find = |job| match &*open {
                Some(turn) => turn.batch.job(job),
                None => hot.jobs.get(&job).map_or_else(|| snapshot.job(job), Ok),
            };
            // Whoever needs the job itself is told when it cannot be read.
            let find = |job| find(job).ok().flatten();
            turn.answers.spent.iter().for_each(|event| timers.note(event, now, find));
        }
        let synced = self.log.synced();
        if turn.events > 0 || self.snapshot.synced != synced || !new_runs.is_empty() {
            self.publish(Snapshot { synced, ..Snapshot::clone(&self.snapshot) }, new_runs);
        }
    }

    /// Notes until when what was shown before the disk has it must be there.
    fn set_sync_due(&mut self, now: Instant) {
        // A full tail waits for the disk to have what it holds, and the writer soon for the tail.
        let delay = if self.tail_is_full() { 0 } else { SYNC_DELAY_MS };
        let due = now + Duration::from_millis(delay);
        let unsynced = self.log.last() > self.log.synced();
        self.sync_due = unsynced.then(|| self.sync_due.map_or(due, |before| before.min(due)));
    }

    /// Forgets timers of jobs that were purged, a few at a time.
    fn sweep_timers(&mut self) {
        let [_, delayed, leased, _] = self.snapshot.counts.jobs;
        // Damage is told to whoever reads it; until then some memory is not given back.
        let _ = self.timers.look_for_purged(&*self.snapshot, delayed + leased);
    }

    /// Writes a turn's frame. Answers where its lines begin in the segment.
    fn append(&mut self, turn: &mut Turn) -> Result<u64> {
        let first = self.snapshot.last + 1;
        let last = turn.batch.next_seq() - 1;
        let started = Instant::now();
        let start = match self.log.append(first, last, turn.batch.frame()) {
            Ok(start) => start,
            Err(AppendError::Refused(error)) => {
                let file = self.log.segment().path.display();
                let error = Error::new(Code::ReadOnly, format!("nothing was written: {file}: {error}"));
                self.note_refusal(&error, turn.now);
                return Err(error);
            }
            Err(AppendError::Broken(error)) => return Err(self.give_up(&error, Code::ReadOnly)),
        };
        if turn.takes_room && self.refusals.taken(turn.now) {
            self.timers.release();
            self.waiters.put_off_no_longer_than(turn.now);
        }
        self.around.stats.appended(turn.batch.lines().len() as u64, started.elapsed());
        Ok(start)
    }

    /// Adds a turn, whose lines begin at `start` of their segment, to the tail: the next turn is decided
    /// over it. Nobody else sees it yet.
    fn add(&mut self, turn: &mut Turn, start: u64) -> Result<()> {
        let (last, counts) = (turn.batch.next_seq() - 1, turn.batch.counts());
        let places = turn.batch.starts().iter().map(|place| u32::try_from(start + *place as u64));
        let offsets = places.collect::<std::result::Result<Vec<u32>, _>>();
        let offsets = offsets.map_err(|_| Error::new(Code::Internal, "a segment is over 4 GiB"));
        let deleted = std::mem::take(&mut turn.deleted);
        let added = offsets.map(|offsets| self.tail.add(turn.batch.take_added(&offsets, deleted)));
        if let Err(error) = added {
            // The frame is in the file and cannot be shown: nothing more may follow it.
            return Err(self.give_up(&std::io::Error::other(error.to_string()), Code::OutcomeUnknown));
        }
        let last_at = turn.batch.events().last().map_or(self.snapshot.last_at, |event| event.at);
        let head = Snapshot { counts, last, last_at, ..Snapshot::clone(&self.snapshot) };
        self.snapshot = Arc::new(head);
        Ok(())
    }

    /// Syncs the log here and now.
    pub(super) fn sync(&mut self) -> Result<()> {
        let started = Instant::now();
        let done = self.log.sync();
        self.around.stats.synced(started.elapsed());
        done.map_err(|error| self.give_up(&error, Code::OutcomeUnknown))
    }

    /// From now on nothing is written: what the file holds is not known.
    pub(super) fn give_up(&mut self, error: &std::io::Error, code: Code) -> Error {
        let file = self.log.segment().path.display().to_string();
        let reason = format!("{file}: {error}; nothing is written until the daemon is started again");
        crate::report::critical(&format!("read-only: {reason}"));
        self.broken = Some(reason);
        // Nothing falls due any more: a writer that cannot write must not wake up for it.
        self.sync_due = None;
        self.around.stats.broken();
        Error::new(code, format!("{file}: {error}"))
    }

    /// Publishes a snapshot, with these run files in the place of what they cover.
    pub(super) fn publish(&mut self, mut next: Snapshot, new_runs: &[Arc<Run>]) {
        if !new_runs.is_empty() {
            let mut runs = next.runs.as_ref().clone();
            new_runs.iter().for_each(|run| replace_runs(&mut runs, run));
            let in_files = runs.last().map_or(0, |run| run.meta().last);
            let tails = next.tails.iter().filter(|tail| tail.first() > in_files).cloned().collect();
            (next.runs, next.tails) = (Arc::new(runs), Arc::new(tails));
        }
        self.around.stats.index(&next.runs, &next.tails);
        self.show(next);
        self.flush();
    }

    /// Makes a snapshot the newest.
    pub(super) fn show(&mut self, next: Snapshot) {
        self.snapshot = Arc::new(next);
        self.around.published.publish(Arc::clone(&self.snapshot));
        // Who begins to follow is counted, and then loads what is published: one of both sees the other.
        fence(SeqCst);
        if self.around.stats.followers.get() > 0 {
            (self.around.announce)();
        }
    }

    fn tail_is_full(&self) -> bool {
        self.tail.held_bytes() >= self.around.flush_bytes
    }

    /// Hands the tail to the background when it holds much.
    pub(super) fn flush(&mut self) {
        let full = self.tail_is_full() && self.snapshot.tails.len() < TAILS;
        // Only what the log has on disk may be on disk in the index.
        if full && self.snapshot.synced == self.snapshot.last && self.broken.is_none() {
            self.hand_over_tail();
        }
    }

    /// Waits when the background is behind.
    fn slow_down(&mut self) {
        let bytes: u64 = self.snapshot.tails.iter().map(|tail| tail.held_bytes()).sum();
        let files = self.snapshot.runs.len() as u64;
        let wait = self.throttle.take_wait(bytes, files);
        self.courtesy.set_behind(self.throttle.is_behind(files));
        if let Some(wait) = wait {
            self.around.stats.slowed(wait);
            std::thread::sleep(wait);
        }
    }

    /// Leaves the tail to the background, to be written to a file, and begins a new one.
    pub(super) fn hand_over_tail(&mut self) {
        let full = Arc::clone(&self.tail);
        self.tail = Arc::new(Tail::behind(&full));
        let mut next = Snapshot::clone(&self.snapshot);
        let mut tails = next.tails.as_ref().clone();
        tails.push(Arc::clone(&self.tail));
        next.tails = Arc::new(tails);
        self.show(next);
        (self.around.background)(ToBackground::Flush(full));
    }
}

/// Puts a run in the place of those that it covers, or behind all of them.
fn replace_runs(runs: &mut Vec<Arc<Run>>, new: &Arc<Run>) {
    let (first, last) = (new.meta().first, new.meta().last);
    let start = runs.partition_point(|run| run.meta().first < first);
    let end = runs.partition_point(|run| run.meta().last <= last);
    if start < end || start == end && start == runs.len() {
        runs.splice(start..end, [Arc::clone(new)]);
    }
}
