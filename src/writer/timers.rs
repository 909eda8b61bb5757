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
}

/// So many void timers may always be there.
const VOID_TIMERS: usize = 4096;

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
        if self.heap.len() > 2 * self.set_by.len() + VOID_TIMERS {
            let Timers { heap, set_by } = self;
            heap.retain(|Reverse(timer)| set_by.get(&timer.job) == Some(&timer.revision));
        }
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(timer)| timer.due)
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

    fn event(seq: u64, fact: Fact) -> Event {
        Event { seq, at: Timestamp(seq), uid: 0, fact }
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
