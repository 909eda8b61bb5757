//! When leases and delays of jobs run out, by a clock that setting the time does not move.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::domain::event::{Event, Fact, JobState};
use crate::domain::jobs::Job;
use crate::domain::table::{Facts, scan_prefix, tag};
use crate::error::Result;
use crate::time::Timestamp;

/// A job's timer: when, which job, and the event that set it. A timer whose job moved on since is
/// void, so none is ever taken out early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    due: Instant,
    job: u64,
    revision: u64,
}

/// All running timers.
#[derive(Debug, Default)]
pub struct Timers(BinaryHeap<Reverse<Timer>>);

impl Timers {
    /// Sets the timer that an event asks for, if it does.
    pub fn note(&mut self, event: &Event, now: Instant) {
        let (job, length_ms) = match event.fact {
            Fact::JobPut { delay_ms, .. } if delay_ms > 0 => (event.seq, delay_ms),
            Fact::JobNacked { job, delay_ms, dead: false, .. } if delay_ms > 0 => (job, delay_ms),
            Fact::JobLeased { job, lease_ms, .. } | Fact::JobExtended { job, lease_ms, .. } => {
                (job, lease_ms)
            }
            _ => return,
        };
        self.set(now + Duration::from_millis(length_ms), job, event.seq);
    }

    /// Sets a timer.
    pub fn set(&mut self, due: Instant, job: u64, revision: u64) {
        self.0.push(Reverse(Timer { due, job, revision }));
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse(timer)| timer.due)
    }

    /// Takes the next one that is due: the job and the event that set it.
    pub fn take_due(&mut self, now: Instant) -> Option<(u64, u64)> {
        self.next_due().filter(|due| *due <= now)?;
        self.0.pop().map(|Reverse(timer)| (timer.job, timer.revision))
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
