//! A queue: its settings and what it holds, its stored form, and where its jobs stand.

use std::sync::Arc;

use super::{CLASSES, new_key, place};
use crate::codec::{read_ordered, read_varint, write_ordered, write_varint};
use crate::domain::event::JobState;
use crate::domain::table::{Facts, Table, malformed, number_in, number_value, scan_prefix, tag};
use crate::error::Result;
use crate::limits::{ATTEMPTS_DEFAULT, LEASE_MS_DEFAULT};

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
    pub(in crate::domain) fn ready_prefix(&self, class: usize) -> Vec<u8> {
        let mut key = new_key(tag::READY);
        write_ordered(&mut key, self.id);
        write_ordered(&mut key, self.epochs[place(JobState::Ready)]);
        key.push(class.to_le_bytes()[0]);
        key
    }

    /// The key prefix of the jobs in a state.
    pub(super) fn state_prefix(&self, state: JobState) -> Vec<u8> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Fact;
    use crate::domain::testing::{folded, story};

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
}
