//! Connections that wait for room, those that came first before the others, and those that may begin in this turn.

use std::collections::VecDeque;
use std::time::Instant;

use hashbrown::{HashMap, HashSet};

/// A connection that waits, or waited.
#[derive(Debug, Clone, Copy)]
pub struct Blocked {
    /// The connection.
    pub connection: usize,
    /// What it needs room for.
    pub bytes: usize,
    /// Since when it waits.
    pub since: Instant,
}

/// Whose next request waits, and who may begin theirs in this turn.
#[derive(Debug, Default)]
pub struct RoomQueue {
    waiting: VecDeque<Blocked>,
    /// The connections in it.
    connections: HashSet<usize>,
    granted: HashMap<usize, Blocked>,
}

impl RoomQueue {
    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets a connection wait from `now` on, unless it does. Answers whether it did not.
    pub fn join(&mut self, connection: usize, bytes: usize, now: Instant) -> bool {
        let is_new = self.connections.insert(connection);
        if is_new {
            self.waiting.push_back(Blocked { connection, bytes, since: now });
        }
        is_new
    }

    /// A connection waits no more.
    pub fn leave(&mut self, connection: usize) {
        if self.connections.remove(&connection) {
            self.waiting.retain(|blocked| blocked.connection != connection);
        }
    }

    /// Who has waited longest.
    #[must_use]
    pub fn first(&self) -> Option<Blocked> {
        self.waiting.front().copied()
    }

    /// Lets who has waited longest begin in the next turn.
    pub fn grant_first(&mut self) -> Option<usize> {
        let first = self.waiting.pop_front()?;
        self.connections.remove(&first.connection);
        self.granted.insert(first.connection, first);
        Some(first.connection)
    }

    /// Whether a connection may begin in this turn, as it waited; once.
    pub fn use_grant(&mut self, connection: usize) -> Option<Blocked> {
        self.granted.remove(&connection)
    }

    /// Takes back what was granted and not used; answers how many bytes that were.
    pub fn take_back(&mut self) -> usize {
        self.granted.drain().map(|(_, unused)| unused.bytes).sum()
    }

    /// Since when the oldest waits that has not begun.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.first().iter().chain(self.granted.values()).map(|blocked| blocked.since).min()
    }
}
