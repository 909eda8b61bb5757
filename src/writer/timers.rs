//! When leases and delays of jobs run out, by a clock that setting the time does not move.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::domain::event::{Event, Fact};
use crate::domain::held::Held;
use crate::domain::jobs::Job;
use crate::domain::table::Facts;
use crate::error::Result;
use crate::time::Timestamp;

/// A job's timer. Of those that are due at the same moment the job of the higher priority goes first, then the older
/// one: so leases that run out are over in the order in which their jobs are delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    due: Instant,
    rank: u8,
    /// The job.
    pub job: u64,
    /// The event that set it.
    pub revision: u64,
}

/// A timer that could not be carried out is tried again after this.
pub const TIMER_AGAIN: Duration = Duration::from_secs(1);
/// Jobs whose timers the operator is told of at a time, at most.
pub const TIMERS_TOLD: usize = 64;

/// All running timers. One whose job moved on since is void: it stays until it is due, or until there are more
/// void ones than others.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    /// Each job's timer; of jobs that were purged also one that is void.
    of_job: HashMap<u64, Timer>,
    /// Jobs to be looked at, whether they were purged.
    suspects: Vec<u64>,
    /// Until when none is due.
    held_until: Option<Instant>,
}

/// So many void timers may always be there.
const VOID_TIMERS: usize = 4096;
/// Jobs looked at in one turn of the writer, whether they were purged: some 200 microseconds.
const LOOKED_AT: usize = 64;

impl Timers {
    /// Sets the timer that an event asks for, if it does. `find` finds a job as of then or later.
    pub fn note(&mut self, event: &Event, now: Instant, find: impl Fn(u64) -> Option<Arc<Job>>) {
        let (job, length_ms) = match event.fact {
            Fact::JobPut { delay_ms, .. } if delay_ms > 0 => (event.seq, delay_ms),
            Fact::JobNacked { job, delay_ms, dead: false, .. } if delay_ms > 0 => (job, delay_ms),
            Fact::JobLeased { job, lease_ms, .. } | Fact::JobExtended { job, lease_ms, .. } => {
                (job, lease_ms)
            }
            Fact::JobAcked { job, .. }
            | Fact::JobNacked { job, .. }
            | Fact::JobExpired { job, .. }
            | Fact::JobReadied { job, .. }
            | Fact::JobDeleted { job, .. } => {
                self.of_job.remove(&job);
                return;
            }
            _ => return,
        };
        // A job keeps its rank.
        let rank = self.of_job.get(&job).map(|timer| timer.rank);
        let rank = rank.or_else(|| find(job).map(|job| job.rank())).unwrap_or_default();
        let due = now + Duration::from_millis(length_ms);
        self.set(Timer { due, rank, job, revision: event.seq });
    }

    /// Puts a timer back where it was among those that are due, unless the job has a newer one.
    pub fn put_back(&mut self, timer: Timer) {
        self.set_again(timer, timer.due);
    }

    /// Sets a timer again, for then, unless the job has a newer one.
    pub fn set_again(&mut self, timer: Timer, due: Instant) {
        if self.of_job.get(&timer.job).is_none_or(|set| set.revision <= timer.revision) {
            self.set(Timer { due, ..timer });
        }
    }

    fn set(&mut self, timer: Timer) {
        self.of_job.insert(timer.job, timer);
        self.heap.push(Reverse(timer));
        self.drop_void();
    }

    fn drop_void(&mut self) {
        let Timers { heap, of_job, .. } = self;
        if heap.len() > 2 * of_job.len() + VOID_TIMERS {
            heap.retain(|Reverse(timer)| of_job.get(&timer.job) == Some(timer));
            heap.shrink_to(2 * heap.len());
        }
    }

    /// Looks for timers of jobs that were purged, a few at a time, when more are there than jobs: `held` are
    /// leased or delayed.
    ///
    /// # Errors
    /// What reading the table says.
    pub fn look_for_purged(&mut self, facts: &dyn Facts, held: u64) -> Result<()> {
        if self.suspects.is_empty() {
            let held = usize::try_from(held).unwrap_or(usize::MAX);
            if self.of_job.len() <= held.saturating_mul(2).saturating_add(VOID_TIMERS) {
                return Ok(());
            }
            self.suspects = self.of_job.keys().copied().collect();
        }
        for _ in 0..LOOKED_AT {
            let Some(job) = self.suspects.pop() else {
                self.suspects = Vec::new();
                self.of_job.shrink_to(2 * self.of_job.len());
                break;
            };
            if Job::find(facts, job)?.is_none() {
                self.of_job.remove(&job);
            }
        }
        self.drop_void();
        Ok(())
    }

    /// Whether a job has one.
    #[must_use]
    pub fn has(&self, job: u64) -> bool {
        self.of_job.contains_key(&job)
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let due = self.heap.peek().map(|Reverse(timer)| timer.due)?;
        Some(self.held_until.map_or(due, |until| until.max(due)))
    }

    /// Holds all of them until then: what keeps one from being carried out keeps the others, too.
    pub fn hold(&mut self, until: Instant) {
        self.held_until = Some(until);
    }

    /// Holds them no longer.
    pub fn release(&mut self) {
        self.held_until = None;
    }

    /// Takes the next one that is due.
    pub fn take_due(&mut self, now: Instant) -> Option<Timer> {
        while self.next_due().is_some_and(|due| due <= now)
            && let Some(Reverse(timer)) = self.heap.pop()
        {
            if self.of_job.get(&timer.job) == Some(&timer) {
                self.of_job.remove(&timer.job);
                return Some(timer);
            }
        }
        None
    }

    /// Takes that of one job if it is due, however many are due before it.
    pub fn take_due_of(&mut self, job: u64, now: Instant) -> Option<Timer> {
        let due = self.of_job.get(&job)?.due;
        let is_due = self.held_until.map_or(due, |until| until.max(due)) <= now;
        if is_due { self.of_job.remove(&job) } else { None }
    }

    /// The timers of all jobs that are leased or delayed, at a start: by the wall clock, and never longer than their
    /// full length. What ran out while nobody served is due in the order in which it did.
    #[must_use]
    pub fn restore(held: &[Held], wall: Timestamp, now: Instant) -> Self {
        let mut timers = Timers::default();
        for Held { due, length_ms, rank, job, revision } in held.iter().copied() {
            let left =
                Duration::from_micros(due.0.saturating_sub(wall.0)).min(Duration::from_millis(length_ms));
            let over = Duration::from_micros(wall.0.saturating_sub(due.0));
            let due = if over.is_zero() { now + left } else { now.checked_sub(over).unwrap_or(now) };
            timers.set(Timer { due, rank, job, revision });
        }
        timers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::held::held;
    use crate::domain::testing::folded;

    fn event(seq: u64, fact: Fact) -> Event {
        Event { seq, at: Timestamp(seq), uid: 0, fact }
    }

    #[test]
    fn timers_that_are_held_are_due_later_and_none_is_lost() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        let timer = |job| Timer { due: now, rank: 0, job, revision: job };
        (1..=3).for_each(|job| timers.set(timer(job)));
        assert_eq!(timers.take_due(now), Some(timer(1)));
        timers.hold(now + TIMER_AGAIN);
        assert_eq!((timers.take_due(now), timers.next_due()), (None, Some(now + TIMER_AGAIN)));
        timers.put_back(timer(1));
        let later = now + TIMER_AGAIN;
        assert_eq!([timers.take_due(later), timers.take_due(later)], [Some(timer(1)), Some(timer(2))]);
        timers.hold(later + TIMER_AGAIN);
        assert_eq!(timers.take_due(later), None);
        timers.release();
        assert_eq!(timers.take_due(now), Some(timer(3)));
    }

    #[test]
    fn one_job_s_timer_is_taken_when_it_is_due_and_then_not_once_more() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        let timer = |job| Timer { due: now, rank: 0, job, revision: job };
        (1..=3).for_each(|job| timers.set(timer(job)));
        assert_eq!(timers.take_due_of(2, now - Duration::from_millis(1)), None, "it is not due");
        timers.hold(now + TIMER_AGAIN);
        assert_eq!(timers.take_due_of(2, now), None, "all of them are held");
        timers.hold(now);
        assert_eq!([timers.take_due_of(2, now), timers.take_due_of(2, now)], [Some(timer(2)), None]);
        timers.set_again(timer(2), now + TIMER_AGAIN);
        let taken: Vec<u64> =
            std::iter::from_fn(|| timers.take_due(now + TIMER_AGAIN)).map(|timer| timer.job).collect();
        assert_eq!(taken, [1, 3, 2]);
    }

    #[test]
    fn what_ran_out_while_nobody_served_is_due_in_the_order_in_which_it_did() {
        let put = |priority| Fact::JobPut { queue: "q".into(), priority, delay_ms: 0, body: "1".into() };
        let leased = |job, lease_ms| {
            let lease = format!("lease {job}");
            Fact::JobLeased { queue: "q".into(), job, lease, attempt: 1, lease_ms }
        };
        let mut story: Vec<Fact> = [0, 0, 9, 0, 0].map(put).to_vec();
        story.extend([leased(1, 300), leased(2, 200), leased(3, 200), leased(4, 100), leased(5, 5000)]);
        let held = folded(story, |table| held(&table).expect("memory"));
        let now = Instant::now();
        let mut timers = Timers::restore(&held, Timestamp(0).plus_ms(3000), now);
        let taken: Vec<u64> = std::iter::from_fn(|| timers.take_due(now)).map(|timer| timer.job).collect();
        assert_eq!(taken, [4, 3, 2, 1], "by when it ran out, then by priority");
        assert_eq!(timers.next_due(), Some(now + Duration::from_millis(2000)));
        // The clock was set back: no lease has more than its full length left.
        let timers = Timers::restore(&held[4..], Timestamp(0), now);
        assert_eq!(timers.next_due(), Some(now + Duration::from_millis(5000)));
    }

    #[test]
    fn timers_of_purged_jobs_are_given_back_a_few_at_a_time() {
        let put = || Fact::JobPut { queue: "q".into(), priority: 0, delay_ms: 3_600_000, body: "1".into() };
        let most = VOID_TIMERS as u64 + 2;
        let mut story: Vec<Fact> = (0..most).map(|_| put()).collect();
        let (mut timers, now) = (Timers::default(), Instant::now());
        (1..=most).for_each(|seq| timers.note(&event(seq, put()), now, |_| None));
        let looks = |timers: &mut Timers, story: Vec<Fact>| {
            folded(story, |table| {
                let held = table.counts().jobs[1];
                let looked = (0..2 * most).find(|_| {
                    timers.look_for_purged(&table, held).expect("memory");
                    timers.suspects.is_empty()
                });
                (looked, timers.of_job.len(), timers.heap.len())
            })
        };
        let all = VOID_TIMERS + 2;
        assert_eq!(looks(&mut timers, story.clone()), (Some(0), all, all), "all are there");
        story.extend([Fact::QueuePurged { queue: "q".into(), state: None, deleted: most }, put()]);
        timers.note(&event(most + 2, put()), now, |_| None);
        let (looked, left, heap) = looks(&mut timers, story);
        assert!(
            looked.is_some_and(|looks| looks > 1) && left == 1 && heap <= all + 1,
            "{looked:?} {left} {heap}"
        );
    }

    #[test]
    fn jobs_that_are_done_long_before_their_leases_end_leave_no_timers() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        let queue = || "q".to_owned();
        let hour = 3_600_000;
        let held = Fact::JobLeased { queue: queue(), job: 1, lease: queue(), attempt: 1, lease_ms: hour };
        timers.note(&event(2, held), now, |_| None);
        for job in 10..100_000 {
            let leased = Fact::JobLeased { queue: queue(), job, lease: queue(), attempt: 1, lease_ms: hour };
            timers.note(&event(2 * job, leased), now, |_| None);
            timers.note(&event(2 * job + 1, Fact::JobAcked { queue: queue(), job }), now, |_| None);
        }
        for seq in 300_000..400_000 {
            timers.note(
                &event(seq, Fact::JobExtended { queue: queue(), job: 1, lease_ms: hour }),
                now,
                |_| None,
            );
        }
        assert!(timers.heap.len() <= VOID_TIMERS + 3, "{}", timers.heap.len());
        let later = now + Duration::from_millis(hour);
        assert_eq!(timers.take_due(later).map(|timer| timer.revision), Some(399_999), "the last one counts");
        assert_eq!((timers.take_due(later), timers.of_job.len()), (None, 0));
    }

    #[test]
    fn a_timer_that_was_taken_does_not_take_the_place_of_a_newer_one() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        let timer = |revision| Timer { due: now, rank: 0, job: 1, revision };
        timers.set(timer(5));
        timers.put_back(timer(3));
        assert_eq!([timers.take_due(now), timers.take_due(now)], [Some(timer(5)), None]);
    }
}
