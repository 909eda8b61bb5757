//! Room for the replies of lists and searches, all connections together.
//!
//! What waits to be sent is bounded, and past the bound a client is cut off. Clients that all read, but ask for
//! much at the same time, must not get there: so a list whose reply may not fit begins later. What is held for
//! clients that do not read is not waited for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};

use crate::writer::Ticket;

/// Lists that may begin when there is room again, in one turn of the event loop.
const BEGUN_A_TURN: usize = 64;
/// Who has neither taken anything for so long, while much was held, nor sent anything of it does not get on. The
/// kernel says only that there is room again when three quarters of a socket's buffer are, so that takes a while.
pub const STUCK: Duration = Duration::from_secs(1);

/// What is held, what may come, and who waits. Used by the event loop alone.
#[derive(Debug, Default)]
pub struct Room {
    held: Cell<usize>,
    /// How much of that is for clients that do not read, when it was last looked at.
    stuck: Cell<usize>,
    looked: Cell<Option<Instant>>,
    /// What each list that was begun may bring.
    lists: RefCell<HashMap<Ticket, usize>>,
    expected: Cell<usize>,
    /// Connections whose next list waits, in that order and to tell which do.
    waiting: RefCell<(VecDeque<usize>, HashSet<usize>)>,
}

impl Room {
    /// So many bytes are held now.
    pub fn note_held(&self, bytes: usize) {
        self.held.set(bytes);
    }

    /// Whether a list may begin whose reply may have so many bytes, where lists may have `most` together.
    #[must_use]
    pub fn has(&self, bytes: usize, most: usize) -> bool {
        let (held, expected) = (self.held.get().saturating_sub(self.stuck.get()), self.expected.get());
        let enough = expected == 0 && held <= most;
        enough || held + expected + bytes <= most
    }

    /// A list begins.
    pub fn begins(&self, ticket: Ticket, bytes: usize) {
        self.lists.borrow_mut().insert(ticket, bytes);
        self.expected.set(self.expected.get() + bytes);
    }

    /// The reply to a list is there.
    pub fn came(&self, ticket: Ticket) {
        let bytes = self.lists.borrow_mut().remove(&ticket).unwrap_or(0);
        self.expected.set(self.expected.get() - bytes);
    }

    /// A connection has a list that cannot begin yet.
    pub fn wait(&self, connection: usize) {
        let (order, all) = &mut *self.waiting.borrow_mut();
        if all.insert(connection) {
            order.push_back(connection);
        }
    }

    /// When to look next who does not read. `None` when no list waits.
    #[must_use]
    pub fn looks_at(&self, now: Instant) -> Option<Instant> {
        let next = self.looked.get().map_or(now, |looked| looked + STUCK);
        (!self.waiting.borrow().0.is_empty()).then_some(next)
    }

    /// Sees how much is held for clients that do not read, given what each holds and when it last got on.
    pub fn look(&self, now: Instant, holders: impl Iterator<Item = (usize, Instant)>) {
        let stuck = holders.filter(|(_, moved)| *moved + STUCK <= now).map(|(held, _)| held);
        self.stuck.set(stuck.sum());
        self.looked.set(Some(now));
    }

    /// Connections that may try again, those first that have waited longest.
    pub fn again(&self, most: usize) -> Vec<usize> {
        let (order, all) = &mut *self.waiting.borrow_mut();
        let count = if self.has(0, most) { order.len().min(BEGUN_A_TURN) } else { 0 };
        order.drain(..count).inspect(|connection| _ = all.remove(connection)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(number: u64) -> Ticket {
        Ticket { connection: 1, number }
    }

    #[test]
    fn lists_begin_while_their_replies_have_room() {
        let room = Room::default();
        room.note_held(90);
        assert!(room.has(1000, 100), "it is the only one");
        room.begins(ticket(1), 5);
        assert!(room.has(5, 100) && !room.has(6, 100));
        room.wait(7);
        room.note_held(101);
        room.came(ticket(1));
        assert!(room.again(100).is_empty() && !room.has(1, 100));
        room.note_held(100);
        assert_eq!(room.again(100), [7]);
        assert!(room.again(100).is_empty(), "it was told");
    }

    #[test]
    fn what_is_held_for_those_who_do_not_read_is_not_waited_for() {
        let room = Room::default();
        room.note_held(110);
        assert_eq!(room.looks_at(Instant::now()), None);
        room.wait(7);
        let now = Instant::now();
        assert_eq!(room.looks_at(now), Some(now));
        room.look(now, [(60, now)].into_iter());
        assert!(room.again(100).is_empty());
        assert_eq!(room.looks_at(now), Some(now + STUCK));
        room.look(now + STUCK, [(60, now), (50, now + STUCK)].into_iter());
        assert_eq!(room.again(100), [7]);
    }

    #[test]
    fn who_has_waited_longest_goes_first() {
        let room = Room::default();
        (0..=BEGUN_A_TURN).for_each(|connection| room.wait(connection));
        assert!(room.again(100).into_iter().eq(0..BEGUN_A_TURN));
        assert_eq!(room.again(100), [BEGUN_A_TURN]);
    }
}
