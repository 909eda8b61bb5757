//! Reserves that wait for a job: first come, first served, in each queue.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use super::Ticket;
use crate::domain::command::Reserve;

/// A reserve that waits.
#[derive(Debug, Clone)]
pub struct Waiter {
    /// Whose reply it is.
    pub ticket: Ticket,
    /// The user who asks.
    pub uid: u32,
    /// What is asked.
    pub reserve: Reserve,
    /// Whether the reply waits for the disk.
    pub durable: bool,
    /// When it gets an empty reply.
    pub deadline: Instant,
}

/// All reserves that wait.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: HashMap<u64, Waiter>,
    queues: HashMap<String, VecDeque<u64>>,
    /// Their numbers by connection.
    of_connections: BTreeSet<(usize, u64)>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Queues that may have ready jobs for those who wait, by when to look; those first that were put off first.
    put_off: BTreeMap<(Instant, u64), String>,
    /// Where each of them is.
    put_off_at: HashMap<String, (Instant, u64)>,
    next: u64,
}

impl Waiters {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds one at the end of its queue's line. Answers its number.
    pub fn add(&mut self, waiter: Waiter) -> u64 {
        let id = self.next;
        self.next += 1;
        self.of_connections.insert((waiter.ticket.connection, id));
        self.deadlines.insert((waiter.deadline, id));
        self.queues.entry(waiter.reserve.queue.clone()).or_default().push_back(id);
        self.waiting.insert(id, waiter);
        id
    }

    /// The first in a queue's line.
    #[must_use]
    pub fn first(&self, queue: &str) -> Option<&Waiter> {
        self.queues.get(queue)?.front().and_then(|id| self.waiting.get(id))
    }

    /// Takes the first in a queue's line out.
    pub fn take_first(&mut self, queue: &str) -> Option<Waiter> {
        let id = *self.queues.get(queue)?.front()?;
        self.take(id)
    }

    /// Takes one out by its number, if it still waits.
    pub fn take(&mut self, id: u64) -> Option<Waiter> {
        let waiter = self.waiting.remove(&id)?;
        self.of_connections.remove(&(waiter.ticket.connection, id));
        self.deadlines.remove(&(waiter.deadline, id));
        if let Some(line) = self.queues.get_mut(&waiter.reserve.queue) {
            // Most go in their turn; a line may be long.
            if line.front() == Some(&id) {
                line.pop_front();
            } else {
                line.retain(|other| *other != id);
            }
            if line.is_empty() {
                self.queues.remove(&waiter.reserve.queue);
            }
        }
        Some(waiter)
    }

    /// Those who wait in a queue's line get their jobs then.
    pub fn put_off(&mut self, queue: &str, until: Instant) {
        let at = (until, self.next);
        self.next += 1;
        if let Some(before) = self.put_off_at.insert(queue.to_owned(), at) {
            self.put_off.remove(&before);
        }
        self.put_off.insert(at, queue.to_owned());
    }

    /// Whether those who wait in a queue's line may have jobs that they did not get yet.
    #[must_use]
    pub fn is_put_off(&self, queue: &str) -> bool {
        self.put_off_at.contains_key(queue) && self.queues.contains_key(queue)
    }

    /// The queue whose time came first. It stays put off until something else is said of it.
    #[must_use]
    pub fn next_put_off(&self, now: Instant) -> Option<String> {
        let ((until, _), queue) = self.put_off.first_key_value()?;
        (*until <= now).then(|| queue.clone())
    }

    /// Of all that is put off it is seen now whether there is room for it.
    pub fn put_off_no_longer_than(&mut self, now: Instant) {
        for ((until, number), queue) in std::mem::take(&mut self.put_off) {
            let at = (until.min(now), number);
            self.put_off_at.insert(queue.clone(), at);
            self.put_off.insert(at, queue);
        }
    }

    /// Those who wait in a queue's line have no ready jobs before them.
    pub fn put_off_no_more(&mut self, queue: &str) {
        if let Some(at) = self.put_off_at.remove(queue) {
            self.put_off.remove(&at);
        }
    }

    /// When there is something to do for one of them.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let gives_up = self.deadlines.first().map(|(deadline, _)| *deadline);
        let looks = self.put_off.first_key_value().map(|((until, _), _)| *until);
        looks.into_iter().chain(gives_up).min()
    }

    /// Takes one out whose time is over.
    pub fn take_late(&mut self, now: Instant) -> Option<Waiter> {
        let (deadline, id) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.take(id)
    }

    /// Forgets those of a connection that is gone.
    pub fn forget(&mut self, connection: usize) {
        let own = (connection, 0)..=(connection, u64::MAX);
        while let Some((_, id)) = self.of_connections.range(own.clone()).next().copied() {
            self.take(id);
        }
    }

    /// Takes all out.
    pub fn take_all(&mut self) -> Vec<Waiter> {
        self.put_off.clear();
        self.put_off_at.clear();
        let mut ids: Vec<u64> = self.waiting.keys().copied().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }
}
