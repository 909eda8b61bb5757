//! Room for the replies of lists and searches, all connections together.
//!
//! What waits to be sent is bounded, and past the bound a client is cut off. Clients that all read, but ask for
//! much at the same time, must not get there: so a list whose reply may not fit begins later. What is held for
//! clients that do not read is not waited for.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::queue::Queue;
use crate::writer::Ticket;

/// Lists that may begin when there is room again, in one turn of the event loop.
const BEGUN_A_TURN: usize = 64;
/// Who has neither taken anything for so long, while much was held, nor sent anything of it does not get on. The
/// kernel says only that there is room again when three quarters of a socket's buffer are, so that takes a while.
pub const STUCK: Duration = Duration::from_secs(1);
/// A list that has waited so long begins as soon as it is the only one: those who hold much may get on for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is held, what may come, and who waits. Used by the event loop alone.
#[derive(Debug, Default)]
pub struct Room {
    held: Cell<usize>,
    /// How much of that is for clients that do not get on, when it was last looked at.
    stuck: Cell<usize>,
    looked: Cell<Option<Instant>>,
    /// What each list that was begun may bring.
    lists: RefCell<HashMap<Ticket, usize>>,
    /// That together, and what was granted.
    expected: Cell<usize>,
    /// Whose next list waits.
    queue: RefCell<Queue>,
}

impl Room {
    /// So many bytes are held now.
    pub fn note_held(&self, bytes: usize) {
        self.held.set(bytes);
    }

    /// Whether a list may begin whose reply may have so many bytes, where lists may have `most` together.
    fn has(&self, bytes: usize, most: usize) -> bool {
        let (held, expected) = (self.held.get().saturating_sub(self.stuck.get()), self.expected.get());
        let enough = expected == 0 && held <= most;
        enough || held + expected + bytes <= most
    }

    /// Whether a connection's list may begin now, whose reply may have so many bytes. Else it waits, behind those that
    /// wait already.
    pub fn may_begin(&self, connection: usize, bytes: usize, most: usize) -> bool {
        let mut queue = self.queue.borrow_mut();
        if let Some(granted) = queue.use_grant(connection) {
            self.expected.set(self.expected.get() - granted.bytes);
            return true;
        }
        if queue.is_empty() && self.has(bytes, most) {
            return true;
        }
        queue.join(connection, bytes);
        false
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

    /// When to look next who does not get on. `None` when no list waits, and nobody was found.
    #[must_use]
    pub fn looks_at(&self, now: Instant) -> Option<Instant> {
        let next = self.looked.get().map_or(now, |looked| looked + STUCK);
        (self.stuck.get() > 0 || !self.queue.borrow().is_empty()).then_some(next)
    }

    /// Sees how much is held for clients that do not get on, given what each holds and when it last did.
    pub fn look(&self, now: Instant, holders: impl Iterator<Item = (usize, Instant)>) {
        let stuck = holders.filter(|(_, moved)| *moved + STUCK <= now).map(|(held, _)| held);
        self.stuck.set(stuck.sum());
        self.looked.set(Some(now));
    }

    /// Connections whose lists may begin in the next turn, those that have waited longest. Who could before and did not
    /// has to wait again.
    pub fn again(&self, most: usize, now: Instant) -> Vec<usize> {
        let mut queue = self.queue.borrow_mut();
        self.expected.set(self.expected.get() - queue.take_back());
        let mut again = Vec::new();
        while let Some(first) = queue.first()
            && again.len() < BEGUN_A_TURN
            && (self.has(first.bytes, most) || self.expected.get() == 0 && first.since + PATIENCE <= now)
        {
            self.expected.set(self.expected.get() + first.bytes);
            again.extend(queue.grant_first());
        }
        again
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
        let (room, now) = (Room::default(), Instant::now());
        room.note_held(90);
        assert!(room.may_begin(1, 1000, 100), "it is the only one");
        room.begins(ticket(1), 5);
        assert!(room.may_begin(2, 5, 100) && !room.may_begin(7, 6, 100));
        assert!(room.again(100, now).is_empty(), "what it needs is not there yet");
        room.note_held(101);
        room.came(ticket(1));
        assert!(room.again(100, now).is_empty());
        room.note_held(100);
        assert_eq!(room.again(100, now), [7]);
        assert!(room.may_begin(7, 6, 100) && !room.may_begin(7, 6, 0), "once");
    }

    #[test]
    fn nobody_passes_who_waits_and_what_was_granted_in_vain_is_taken_back() {
        let (room, now) = (Room::default(), Instant::now());
        room.begins(ticket(1), 90);
        assert!(!room.may_begin(7, 20, 100) && !room.may_begin(8, 1, 100));
        room.came(ticket(1));
        assert_eq!(room.again(100, now), [7, 8]);
        // The first is gone.
        assert!(room.may_begin(8, 1, 100));
        room.begins(ticket(2), 1);
        assert!(room.again(100, now).is_empty());
        room.came(ticket(2));
        assert_eq!(room.expected.get(), 0);
    }

    #[test]
    fn what_is_held_for_those_who_do_not_read_is_not_waited_for() {
        let (room, now) = (Room::default(), Instant::now());
        room.note_held(110);
        assert_eq!(room.looks_at(now), None);
        assert!(!room.may_begin(7, 1, 100));
        assert_eq!(room.looks_at(now), Some(now));
        room.look(now, [(60, now)].into_iter());
        assert!(room.again(100, now).is_empty());
        assert_eq!(room.looks_at(now), Some(now + STUCK));
        room.look(now + STUCK, [(60, now), (50, now + STUCK)].into_iter());
        assert_eq!(room.again(100, now), [7]);
        assert_eq!(room.looks_at(now), Some(now + 2 * STUCK), "they may get on again");
    }

    #[test]
    fn those_who_hold_much_and_get_on_slowly_hold_no_list_up_for_ever() {
        let (room, now) = (Room::default(), Instant::now());
        room.note_held(1000);
        assert!(!room.may_begin(7, 1, 100) && !room.may_begin(8, 1, 100));
        assert!(room.again(100, now).is_empty());
        let later = now + 2 * PATIENCE;
        assert_eq!(room.again(100, later), [7]);
        room.may_begin(7, 1, 100);
        room.begins(ticket(1), 1);
        assert!(room.again(100, later).is_empty(), "one by one");
        room.came(ticket(1));
        assert_eq!(room.again(100, later), [8]);
    }
}
