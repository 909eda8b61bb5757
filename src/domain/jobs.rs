//! Jobs and queues as the table holds them, and how a job moves from one state to another.
//!
//! A queue has an id (the seq of the event that made it), so that its jobs' keys are short. Ready
//! jobs stand in the order of delivery: first those whose lease ran out, in the order of the events that say
//! so, because the wall clock may be set; then by priority; then by seq. Of each priority those that *came
//! back* (after a delay, a nack or a revival) stand apart from the others, and both are merged: so one that
//! comes back again and again, far before the others, leaves no way over all that was done since. For each
//! of these classes the queue keeps a count and a *front*, under which no ready job lies, so that taking the next
//! one does not walk over jobs that are gone, but for those that were deleted out of order (see `delivery`). All
//! other jobs stand by state and seq.
//!
//! Purging a state takes one step however many jobs it holds: every key carries the *epoch* of its
//! state, the seq of the purge before it, and a job of an older epoch is no more.

use std::sync::Arc;

use super::event::JobState;
use super::table::{Facts, Table, malformed, number_in, number_value, scan_prefix, tag};
use crate::codec::{read_ordered, read_varint, write_ordered, write_varint};
use crate::error::Result;
use crate::limits::{ATTEMPTS_DEFAULT, LEASE_MS_DEFAULT};
use crate::time::Timestamp;

/// Classes of ready jobs: expired leases, then for priorities 9 to 0 those that wait since their put, and those
/// that came back.
pub const CLASSES: usize = 21;

/// The ready jobs of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadyClass {
    /// How many there are.
    pub count: u64,
    /// No job of the class has a smaller place.
    pub front: u64,
}

/// A queue: its settings, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The seq of the event that made it.
    pub id: u64,
    /// Its name.
    pub name: Arc<str>,
    /// Lease of a reserve that names none, in milliseconds.
    pub lease_ms: u64,
    /// Deliveries before a job is dead.
    pub max_attempts: Option<u64>,
    /// Jobs it may hold that are not dead.
    pub max_jobs: Option<u64>,
    /// Jobs in each state, in the order of [`JobState::ALL`].
    pub counts: [u64; 4],
    /// The epoch of each state.
    pub epochs: [u64; 4],
    /// No job of the state has a smaller seq (not kept for ready ones).
    pub fronts: [u64; 4],
    /// The ready jobs by class.
    pub ready: [ReadyClass; CLASSES],
}

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

/// A state's place in the arrays.
#[must_use]
pub fn place(state: JobState) -> usize {
    state as usize
}

impl Queue {
    /// A queue that was not configured.
    #[must_use]
    pub fn new(id: u64, name: &str) -> Self {
        Queue {
            id,
            name: name.into(),
            lease_ms: LEASE_MS_DEFAULT,
            max_attempts: Some(ATTEMPTS_DEFAULT),
            max_jobs: None,
            counts: [0; 4],
            epochs: [id; 4],
            fronts: [0; 4],
            ready: [ReadyClass::default(); CLASSES],
        }
    }

    /// The queue of that name.
    ///
    /// # Errors
    /// What reading the table says.
    pub fn named(facts: &dyn Facts, name: &str) -> Result<Option<Arc<Self>>> {
        match facts.get(&name_key(name))? {
            Some(value) => facts.queue(number_in(&value)?),
            None => Ok(None),
        }
    }

    /// The table's key of the queue with that id.
    #[must_use]
    pub fn key(id: u64) -> Vec<u8> {
        let mut key = new_key(tag::QUEUE);
        write_ordered(&mut key, id);
        key
    }

    /// The queue with that id, from its stored form.
    ///
    /// # Errors
    /// `internal` when it cannot be read.
    pub fn read_from(value: Option<&[u8]>, id: u64) -> Result<Option<Arc<Self>>> {
        value.map(|value| Queue::read(id, value).map(Arc::new).ok_or_else(|| malformed("queue"))).transpose()
    }

    /// Makes the queue's name known.
    pub fn put_name(&self, table: &mut dyn Table) {
        table.put(name_key(&self.name), Some(number_value(self.id)));
    }

    /// The stored form.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48 + self.name.len());
        write_varint(&mut out, self.lease_ms);
        for bound in [self.max_attempts, self.max_jobs] {
            write_varint(&mut out, u64::from(bound.is_some()));
            write_varint(&mut out, bound.unwrap_or(0));
        }
        for numbers in [self.counts, self.epochs, self.fronts] {
            numbers.into_iter().for_each(|number| write_varint(&mut out, number));
        }
        let used = self.ready.iter().filter(|class| class.count > 0).count();
        write_varint(&mut out, used as u64);
        for (class, ready) in self.ready.iter().enumerate().filter(|(_, ready)| ready.count > 0) {
            for number in [class as u64, ready.count, ready.front] {
                write_varint(&mut out, number);
            }
        }
        out.extend_from_slice(self.name.as_bytes());
        out
    }

    /// Stores the queue.
    pub fn put(self, table: &mut dyn Table) {
        table.put_queue(self.id, Some(Arc::new(self)));
    }

    fn read(id: u64, value: &[u8]) -> Option<Self> {
        let mut bytes = value;
        let mut next = || read_varint(&mut bytes);
        let lease_ms = next()?;
        let mut bound = || Some((next()? == 1, next()?));
        let ((has_attempts, max_attempts), (has_jobs, max_jobs)) = (bound()?, bound()?);
        let (max_attempts, max_jobs) = (has_attempts.then_some(max_attempts), has_jobs.then_some(max_jobs));
        let mut four = || Some([next()?, next()?, next()?, next()?]);
        let (counts, epochs, fronts) = (four()?, four()?, four()?);
        let mut ready = [ReadyClass::default(); CLASSES];
        for _ in 0..next()? {
            let class = usize::try_from(next()?).ok()?;
            *ready.get_mut(class)? = ReadyClass { count: next()?, front: next()? };
        }
        let name = std::str::from_utf8(bytes).ok()?.into();
        Some(Queue { id, name, lease_ms, max_attempts, max_jobs, counts, epochs, fronts, ready })
    }

    /// Removes the queue itself; its jobs must be gone.
    pub fn remove(&self, table: &mut dyn Table) {
        table.put(name_key(&self.name), None);
        table.put_queue(self.id, None);
    }

    /// Jobs that are neither done nor dead.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.counts[..3].iter().sum()
    }

    /// The key prefix of the ready jobs of a class.
    pub(super) fn ready_prefix(&self, class: usize) -> Vec<u8> {
        let mut key = new_key(tag::READY);
        write_ordered(&mut key, self.id);
        write_ordered(&mut key, self.epochs[place(JobState::Ready)]);
        key.push(class.to_le_bytes()[0]);
        key
    }

    /// The key prefix of the jobs in a state.
    fn state_prefix(&self, state: JobState) -> Vec<u8> {
        let mut key = vec![tag::JOB_STATE];
        write_ordered(&mut key, self.id);
        key.push(place(state).to_le_bytes()[0]);
        write_ordered(&mut key, self.epochs[place(state)]);
        key
    }

    /// Visits the seqs of the jobs in a state other than ready, from one on, in order.
    ///
    /// # Errors
    /// What reading the table and `visit` say.
    pub fn visit_state(
        &self,
        facts: &dyn Facts,
        state: JobState,
        from: u64,
        visit: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<()> {
        if self.counts[place(state)] == 0 {
            return Ok(());
        }
        let prefix = self.state_prefix(state);
        let mut start = prefix.clone();
        write_ordered(&mut start, from.max(self.fronts[place(state)]));
        scan_prefix(facts, &prefix, &start, &mut |key, _| {
            let mut rest = key.get(prefix.len()..).unwrap_or_default();
            visit(read_ordered(&mut rest).ok_or_else(|| malformed("job"))?)
        })
    }
}

fn name_key(name: &str) -> Vec<u8> {
    [&[tag::QUEUE_NAME], name.as_bytes()].concat()
}

/// A key that begins, with room for the rest of it.
fn new_key(tag: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.push(tag);
    key
}

/// Whether a key of a job is of one that was not purged since, or dropped with its queue.
///
/// # Errors
/// What reading the table says.
pub fn key_is_live(facts: &dyn Facts, key: &[u8]) -> Result<bool> {
    let Some((&tag, mut rest)) = key.split_first() else { return Err(malformed("job")) };
    let id = read_ordered(&mut rest).ok_or_else(|| malformed("job"))?;
    if tag == tag::JOB {
        return Ok(Job::find(facts, id)?.is_some());
    }
    let Some(queue) = facts.queue(id)? else { return Ok(false) };
    let mut current = JobState::ALL.iter().map(|state| match state {
        // The class comes behind.
        JobState::Ready => queue.ready_prefix(0).split_last().map_or(Vec::new(), |(_, key)| key.to_vec()),
        other => queue.state_prefix(*other),
    });
    Ok(current.any(|prefix| key.starts_with(&prefix)))
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
    fn a_queue_holds_the_jobs_that_are_neither_done_nor_dead() {
        assert_eq!(held_and_oldest(story()), (3, Some(21)));
    }

    /// How many jobs the queue q holds after all this, and the oldest that is ready.
    fn held_and_oldest(story: Vec<Fact>) -> (u64, Option<u64>) {
        folded(story, |table| {
            let queue = Queue::named(&table, "q").expect("memory").expect("it is there");
            (queue.held(), queue.oldest_ready(&table).expect("memory"))
        })
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
