//! When leases and delays of jobs run out, by a clock that setting the time does not move.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use crate::domain::event::{Event, Fact, JobState};
use crate::domain::jobs::Job;
use crate::domain::table::{Facts, scan_prefix, tag};
use crate::error::Result;
use crate::time::Timestamp;

/// A job's timer: when, which job, and the event that set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due: Instant,
    job: u64,
    revision: u64,
}

/// A timer that could not be carried out is tried again after this.
pub const TIMER_AGAIN: Duration = Duration::from_secs(1);

/// All running timers. One whose job moved on since is void: it stays until it is due, or until there are more
/// void ones than others.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
    /// The event that set each job's timer; of jobs that were purged also one that is void.
    set_by: HashMap<u64, u64>,
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
    /// Sets the timer that an event asks for, if it does.
    pub fn note(&mut self, event: &Event, now: Instant) {
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
                self.set_by.remove(&job);
                return;
            }
            _ => return,
        };
        self.set(now + Duration::from_millis(length_ms), job, event.seq);
    }

    /// Sets a timer.
    pub fn set(&mut self, due: Instant, job: u64, revision: u64) {
        self.set_by.insert(job, revision);
        self.heap.push(Reverse(Timer { due, job, revision }));
        self.drop_void();
    }

    fn drop_void(&mut self) {
        let Timers { heap, set_by, .. } = self;
        if heap.len() > 2 * set_by.len() + VOID_TIMERS {
            heap.retain(|Reverse(timer)| set_by.get(&timer.job) == Some(&timer.revision));
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
            if self.set_by.len() <= held.saturating_mul(2).saturating_add(VOID_TIMERS) {
                return Ok(());
            }
            self.suspects = self.set_by.keys().copied().collect();
        }
        for _ in 0..LOOKED_AT {
            let Some(job) = self.suspects.pop() else {
                self.suspects = Vec::new();
                self.set_by.shrink_to(2 * self.set_by.len());
                break;
            };
            if Job::find(facts, job)?.is_none() {
                self.set_by.remove(&job);
            }
        }
        self.drop_void();
        Ok(())
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

    /// Takes the next one that is due: the job and the event that set it.
    pub fn take_due(&mut self, now: Instant) -> Option<(u64, u64)> {
        while self.next_due().is_some_and(|due| due <= now)
            && let Some(Reverse(Timer { job, revision, .. })) = self.heap.pop()
        {
            if self.set_by.get(&job) == Some(&revision) {
                self.set_by.remove(&job);
                return Some((job, revision));
            }
        }
        None
    }

    /// Sets the timers of all jobs that are leased or delayed, at a start: by the wall clock, and
    /// never longer than their full length.
    ///
    /// # Errors
    /// What reading the table says.
    pub fn restore(facts: &dyn Facts, wall: Timestamp, now: Instant) -> Result<Self> {
        let mut queues = Vec::new();
        scan_prefix(facts, &[tag::QUEUE_NAME], &[], &mut |_, value| {
            queues.push(crate::domain::table::number_in(value)?);
            Ok(true)
        })?;
        let mut timers = Timers::default();
        for id in queues {
            let Some(queue) = facts.queue(id)? else { continue };
            for state in [JobState::Leased, JobState::Delayed] {
                queue.visit_state(facts, state, &mut |seq| {
                    if let Some((_, job)) = Job::find(facts, seq)? {
                        let left = Duration::from_micros(job.due.0.saturating_sub(wall.0));
                        let left = left.min(Duration::from_millis(job.length_ms));
                        timers.set(now + left, seq, job.revision);
                    }
                    Ok(true)
                })?;
            }
        }
        Ok(timers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::folded;

    fn event(seq: u64, fact: Fact) -> Event {
        Event { seq, at: Timestamp(seq), uid: 0, fact }
    }

    #[test]
    fn timers_that_are_held_are_due_later_and_none_is_lost() {
        let (mut timers, now) = (Timers::default(), Instant::now());
        (1..=3).for_each(|job| timers.set(now, job, job));
        assert_eq!(timers.take_due(now), Some((1, 1)));
        timers.hold(now + TIMER_AGAIN);
        assert_eq!((timers.take_due(now), timers.next_due()), (None, Some(now + TIMER_AGAIN)));
        let later = now + TIMER_AGAIN;
        assert_eq!([timers.take_due(later), timers.take_due(later)], [Some((2, 2)), Some((3, 3))]);
    }

    #[test]
    fn timers_of_purged_jobs_are_given_back_a_few_at_a_time() {
        let put = || Fact::JobPut { queue: "q".into(), priority: 0, delay_ms: 3_600_000, body: "1".into() };
        let most = VOID_TIMERS as u64 + 2;
        let mut story: Vec<Fact> = (0..most).map(|_| put()).collect();
        let (mut timers, now) = (Timers::default(), Instant::now());
        (1..=most).for_each(|seq| timers.note(&event(seq, put()), now));
        let looks = |timers: &mut Timers, story: Vec<Fact>| {
            folded(story, |table| {
                let held = table.counts().jobs[1];
                let looked = (0..2 * most).find(|_| {
                    timers.look_for_purged(&table, held).expect("memory");
                    timers.suspects.is_empty()
                });
                (looked, timers.set_by.len(), timers.heap.len())
            })
        };
        let all = VOID_TIMERS + 2;
        assert_eq!(looks(&mut timers, story.clone()), (Some(0), all, all), "all are there");
        story.extend([Fact::QueuePurged { queue: "q".into(), state: None, deleted: most }, put()]);
        timers.note(&event(most + 2, put()), now);
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
        timers.note(&event(2, held), now);
        for job in 10..100_000 {
            let leased = Fact::JobLeased { queue: queue(), job, lease: queue(), attempt: 1, lease_ms: hour };
            timers.note(&event(2 * job, leased), now);
            timers.note(&event(2 * job + 1, Fact::JobAcked { queue: queue(), job }), now);
        }
        for seq in 300_000..400_000 {
            timers.note(&event(seq, Fact::JobExtended { queue: queue(), job: 1, lease_ms: hour }), now);
        }
        assert!(timers.heap.len() <= VOID_TIMERS + 3, "{}", timers.heap.len());
        let later = now + Duration::from_millis(hour);
        assert_eq!(timers.take_due(later), Some((1, 399_999)), "the last one counts");
        assert_eq!((timers.take_due(later), timers.set_by.len()), (None, 0));
    }
}
