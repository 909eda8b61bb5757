//! A job: its stored form, and how it moves from one state to another.

use std::sync::Arc;

use super::{Queue, new_key, place};
use crate::codec::{read_varint, write_ordered, write_varint};
use crate::domain::event::JobState;
use crate::domain::table::{Facts, Table, malformed, tag};
use crate::error::Result;
use crate::time::Timestamp;

/// A job, less its body, which stays in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The seq of its put.
    pub seq: u64,
    /// Its queue's id.
    pub queue: u64,
    /// 0 to 9, higher first.
    pub priority: u8,
    /// How often it was delivered.
    pub attempts: u64,
    /// Where it is.
    pub state: JobState,
    /// The epoch of that state when it came there.
    pub epoch: u64,
    /// The seq of the event that brought it there: a timer set by an older one is void.
    pub revision: u64,
    /// When the lease or the delay ends; by the wall clock.
    pub due: Timestamp,
    /// The whole length of that lease or delay in milliseconds.
    pub length_ms: u64,
    /// Whether it is ready because its lease ran out.
    pub expired: bool,
    /// A hash of the holder's token.
    pub lease: String,
}

impl Job {
    /// The job with that seq and its queue; `None` when it is done, deleted, purged or none.
    ///
    /// # Errors
    /// What reading the table says.
    pub fn find(facts: &dyn Facts, seq: u64) -> Result<Option<(Arc<Queue>, Arc<Job>)>> {
        let Some(job) = facts.job(seq)? else { return Ok(None) };
        let Some(queue) = facts.queue(job.queue)? else { return Ok(None) };
        if job.epoch != queue.epochs[place(job.state)] {
            return Ok(None);
        }
        Ok(Some((queue, job)))
    }

    /// The table's key of the job with that seq.
    #[must_use]
    pub fn key(seq: u64) -> Vec<u8> {
        let mut key = new_key(tag::JOB);
        write_ordered(&mut key, seq);
        key
    }

    /// The job with that seq, from its stored form.
    ///
    /// # Errors
    /// `internal` when it cannot be read.
    pub fn read_from(value: Option<&[u8]>, seq: u64) -> Result<Option<Arc<Self>>> {
        value.map(|value| Job::read(seq, value).map(Arc::new).ok_or_else(|| malformed("job"))).transpose()
    }

    fn read(seq: u64, value: &[u8]) -> Option<Self> {
        let mut bytes = value;
        let mut next = || read_varint(&mut bytes);
        let (queue, priority, attempts) = (next()?, u8::try_from(next()?).ok()?, next()?);
        let state = *JobState::ALL.get(usize::try_from(next()?).ok()?)?;
        let (epoch, revision, due, length_ms) = (next()?, next()?, Timestamp(next()?), next()?);
        let expired = next()? == 1;
        let lease = String::from_utf8(bytes.to_vec()).ok()?;
        Some(Job { seq, queue, priority, attempts, state, epoch, revision, due, length_ms, expired, lease })
    }

    /// The stored form.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.lease.len());
        for number in [
            self.queue,
            u64::from(self.priority),
            self.attempts,
            place(self.state) as u64,
            self.epoch,
            self.revision,
            self.due.0,
            self.length_ms,
            u64::from(self.expired),
        ] {
            write_varint(&mut out, number);
        }
        out.extend_from_slice(self.lease.as_bytes());
        out
    }

    /// The class of a ready job, and its place there.
    fn class(&self) -> (usize, u64) {
        if self.expired {
            return (0, self.revision);
        }
        let came_back = self.revision != self.seq;
        (1 + 2 * usize::from(self.rank()) + usize::from(came_back), self.seq)
    }

    /// Where its priority stands among the others: 0 goes first.
    #[must_use]
    pub fn rank(&self) -> u8 {
        9 - self.priority.min(9)
    }

    fn list_key(&self, queue: &Queue) -> Vec<u8> {
        let mut key;
        if self.state == JobState::Ready {
            let (class, front) = self.class();
            key = queue.ready_prefix(class);
            if class == 0 {
                write_ordered(&mut key, front);
            }
        } else {
            key = queue.state_prefix(self.state);
        }
        write_ordered(&mut key, self.seq);
        key
    }

    /// Takes the job out of its state.
    pub fn leave(&self, queue: &mut Queue, table: &mut dyn Table) {
        table.put(self.list_key(queue), None);
        let state = place(self.state);
        queue.counts[state] -= 1;
        table.counts_mut().jobs[state] -= 1;
        if self.state == JobState::Ready {
            let (class, front) = self.class();
            let ready = &mut queue.ready[class];
            ready.count -= 1;
            if ready.front == front {
                ready.front += 1;
            }
        } else if queue.fronts[state] == self.seq {
            queue.fronts[state] += 1;
        }
    }

    /// Takes a ready job out as the first of its class: what lies before it is gone.
    pub fn leave_first(&self, queue: &mut Queue, table: &mut dyn Table) {
        let (class, front) = self.class();
        queue.ready[class].front = front;
        self.leave(queue, table);
    }

    /// Brings the job into its state.
    pub fn enter(mut self, queue: &mut Queue, table: &mut dyn Table) {
        let state = place(self.state);
        self.epoch = queue.epochs[state];
        table.put(self.list_key(queue), Some(Vec::new()));
        if self.state == JobState::Ready {
            let (class, front) = self.class();
            let ready = &mut queue.ready[class];
            ready.front = if ready.count == 0 { front } else { ready.front.min(front) };
            ready.count += 1;
        } else {
            let before = queue.fronts[state];
            queue.fronts[state] = if queue.counts[state] == 0 { self.seq } else { before.min(self.seq) };
        }
        queue.counts[state] += 1;
        table.counts_mut().jobs[state] += 1;
        table.put_job(self.seq, Some(Arc::new(self)));
    }

    /// Removes the job's own key, after it left its state.
    pub fn remove(&self, table: &mut dyn Table) {
        table.put_job(self.seq, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Fact;
    use crate::domain::testing::{folded, story};

    #[test]
    fn a_job_is_found_until_it_is_done_or_purged() {
        let purge = |fact: &Fact| matches!(fact, Fact::QueuePurged { .. });
        let upto = 1 + story().iter().position(purge).expect("a purge");
        let found = folded(story().into_iter().take(upto), |table| {
            [19, 20, 22, 31, 33].map(|seq| Job::find(&table, seq).expect("memory").map(|(_, job)| job.state))
        });
        let (dead, leased, ready) = (Some(JobState::Dead), Some(JobState::Leased), Some(JobState::Ready));
        assert_eq!(found, [None, dead, leased, ready, None], "done, dead, leased, ready, purged");
    }

    #[test]
    fn jobs_that_are_deleted_in_order_are_not_walked_over_again() {
        let queue = || "q".to_owned();
        let put = || Fact::JobPut { queue: queue(), priority: 0, delay_ms: 0, body: "1".into() };
        let deleted = |job| Fact::JobDeleted { queue: queue(), job };
        let after = |story: Vec<Fact>| {
            folded(story, |table| {
                let queue = Queue::named(&table, "q").expect("memory").expect("it is there");
                (queue.ready[19].front, queue.oldest_ready(&table).expect("memory"))
            })
        };
        assert_eq!(after(vec![put(), put(), put(), deleted(1), deleted(2)]), (3, Some(3)));
        assert_eq!(after(vec![put(), put(), put(), deleted(2)]), (1, Some(1)), "it was not at the front");
        let leased =
            |job| Fact::JobLeased { queue: queue(), job, lease: queue(), attempt: 1, lease_ms: 1000 };
        let expired = |job| Fact::JobExpired { queue: queue(), job, dead: false };
        let together = [put(), put(), leased(1), leased(2), expired(1), expired(2), leased(1)];
        let front = folded(together, |table| {
            Queue::named(&table, "q").expect("memory").expect("it is there").ready[0].front
        });
        assert_eq!(front, 6, "behind the event that said that the lease of job 1 ran out");
    }

    #[test]
    fn a_job_that_comes_back_leaves_the_front_of_the_others_where_it_is() {
        let queue = || "q".to_owned();
        let put = || Fact::JobPut { queue: queue(), priority: 0, delay_ms: 0, body: "1".into() };
        let leased = |job| {
            let lease = format!("lease {job}");
            Fact::JobLeased { queue: queue(), job, lease, attempt: 1, lease_ms: 1000 }
        };
        let acked = |job| Fact::JobAcked { queue: queue(), job };
        let mut story: Vec<Fact> = (0..10).map(|_| put()).collect();
        story.push(leased(1));
        story.extend((2..9).flat_map(|job| [leased(job), acked(job)]));
        story.extend([Fact::JobNacked { queue: queue(), job: 1, delay_ms: 0, dead: false }, leased(1)]);
        let fronts = folded(story, |table| {
            let queue = Queue::named(&table, "q").expect("memory").expect("it is there");
            (queue.ready[19].front, queue.ready[20].count)
        });
        assert_eq!(fronts, (9, 0));
    }
}
