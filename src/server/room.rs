//! Room for the replies of lists and searches, all connections together.
//!
//! What waits to be sent is bounded, and past the bound a client is cut off. Clients that all read, but ask for
//! much at the same time, must not get there: so a list whose reply may not fit begins later. What is held for
//! clients that do not read is not waited for; and not for long for those that get on slowly, or whose searches take
//! long and bring little.

use std::time::{Duration, Instant};

use hashbrown::HashMap;

use super::room_queue::{Blocked, RoomQueue};
use crate::limits::LIST_BYTES_LEAST;
use crate::writer::Ticket;

/// Lists that may begin when there is room again, in one turn of the event loop.
const BEGUN_A_TURN: usize = 64;
/// Who has neither taken anything for so long, while much was held, nor sent anything of it does not get on. The
/// kernel says only that there is room again when three quarters of a socket's buffer are, so that takes a while.
pub const STUCK: Duration = Duration::from_secs(1);
/// A list that has waited so long begins though there is no room for it: those who hold much, or may bring much, may be
/// at it for long.
const PATIENCE: Duration = Duration::from_millis(100);
/// Where little is held one of these begins in such a time: as long as a reader takes for a long list, so that what
/// they bring is seen before too many have begun. Where much is held it is [`PATIENCE`]: clients are to take more than
/// comes.
const PACE: Duration = Duration::from_millis(10);
/// Little is held when it is no more than this part of what may be.
const LITTLE: usize = 4;

/// What is held, what may come, and who waits.
#[derive(Debug, Default)]
pub struct Room {
    held: usize,
    /// How much of that is for clients that do not get on, when it was last looked at.
    stuck: usize,
    looked: Option<Instant>,
    /// When to see next whether one may begin that has waited long.
    next_pace: Option<Instant>,
    /// What each list that was begun may bring.
    lists: HashMap<Ticket, usize>,
    /// That together, and what was granted.
    expected: usize,
    /// Whose next list waits.
    queue: RoomQueue,
}

impl Room {
    /// So many bytes are held now.
    pub fn note_held(&mut self, bytes: usize) {
        self.held = bytes;
    }

    /// Bytes that are held for clients that get on.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.saturating_sub(self.stuck)
    }

    /// Whether a list may begin whose reply may have so many bytes, where lists may have `most` together.
    fn has(&self, bytes: usize, most: usize) -> bool {
        let (held, expected) = (self.held(), self.expected);
        let enough = expected == 0 && held <= most;
        enough || held + expected + bytes <= most
    }

    /// Lets a connection's list begin whose reply may have so many bytes; or has it wait behind those that wait
    /// already, until [`Room::grant_waiting`] names it. Answers which. A grant is good for one list: who is let in must
    /// begin it.
    pub fn admit(&mut self, connection: usize, bytes: usize, most: usize, now: Instant) -> bool {
        if let Some(granted) = self.queue.use_grant(connection) {
            self.expected -= granted.bytes;
            return true;
        }
        // A short one need not wait behind long ones.
        let is_short = bytes <= LIST_BYTES_LEAST;
        if is_short && self.has(bytes, most + most / 2) || self.queue.is_empty() && self.has(bytes, most) {
            // It may have waited when it was thought to be long.
            self.queue.leave(connection);
            return true;
        }
        self.queue.join(connection, bytes, now);
        false
    }

    /// A connection is gone.
    pub fn forget(&mut self, connection: usize) {
        self.queue.leave(connection);
    }

    /// Whether one begins now that has waited since then, though there is no room for it; at a pace.
    fn has_waited(&mut self, first: Blocked, most: usize, now: Instant) -> bool {
        if first.since + PATIENCE > now || self.next_pace.is_some_and(|next| next > now) {
            return false;
        }
        let little = self.held() <= most / LITTLE;
        self.next_pace = Some(now + if little { PACE } else { PATIENCE });
        // Where it may be cut off, or others for it, it is seen first who does not get on.
        let may_be_too_much = self.held + self.expected + first.bytes > 2 * most;
        let is_short = first.bytes <= LIST_BYTES_LEAST;
        is_short || !may_be_too_much || first.since + STUCK <= now
    }

    /// A list begins.
    pub fn begins(&mut self, ticket: Ticket, bytes: usize) {
        self.lists.insert(ticket, bytes);
        self.expected += bytes;
    }

    /// The reply to a read is there. Answers whether it is one of the lists.
    pub fn came(&mut self, ticket: Ticket) -> bool {
        let bytes = self.lists.remove(&ticket);
        self.expected -= bytes.unwrap_or(0);
        bytes.is_some()
    }

    /// When to look next who does not get on. `None` when no list waits, no more than `most` is held, and nobody was
    /// found.
    #[must_use]
    pub fn looks_at(&self, most: usize, now: Instant) -> Option<Instant> {
        let next = self.looked.map_or(now, |looked| looked + STUCK);
        let matters = self.held > most || self.stuck > 0 || !self.queue.is_empty();
        matters.then_some(next)
    }

    /// When a list may begin that has waited long. `None` when none waits.
    #[must_use]
    pub fn begins_at(&self) -> Option<Instant> {
        let due = self.queue.first()?.since + PATIENCE;
        Some(self.next_pace.map_or(due, |next| due.max(next)))
    }

    /// Sees how much is held for clients that do not get on, given what each holds and when it last did. Notes for each
    /// how much that is.
    pub fn look<'c>(&mut self, now: Instant, holders: impl Iterator<Item = (usize, Instant, &'c mut usize)>) {
        let stuck = holders.map(|(held, moved, stuck)| {
            *stuck = if moved + STUCK <= now { held } else { 0 };
            *stuck
        });
        self.stuck = stuck.sum();
        self.looked = Some(now);
    }

    /// A client for which so much was held, that did not get on, holds more or less now, or is gone.
    pub fn gets_on(&mut self, bytes: usize) {
        self.stuck = self.stuck.saturating_sub(bytes);
    }

    /// Grants those that have waited longest a list each in the next turn, as far as there is room. Answers which
    /// connections they are of. Who could before and did not has to wait again.
    pub fn grant_waiting(&mut self, most: usize, now: Instant) -> Vec<usize> {
        self.expected -= self.queue.take_back();
        let mut connections = Vec::new();
        while let Some(first) = self.queue.first()
            && connections.len() < BEGUN_A_TURN
            && (self.has(first.bytes, most) || self.has_waited(first, most, now))
        {
            self.expected += first.bytes;
            connections.extend(self.queue.grant_first());
        }
        connections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(number: u64) -> Ticket {
        Ticket { connection: 1, number }
    }

    const MIB: usize = 1 << 20;

    /// What is there when the tests begin: a room, and the moment.
    fn room() -> (Room, Instant) {
        (Room::default(), Instant::now())
    }

    /// Whether a connection's list of so many MiB may begin, where there may be 100 MiB.
    fn begins(room: &mut Room, connection: usize, mebibytes: usize, now: Instant) -> bool {
        room.admit(connection, mebibytes * MIB, 100 * MIB, now)
    }

    fn granted(room: &mut Room, now: Instant) -> Vec<usize> {
        room.grant_waiting(100 * MIB, now)
    }

    #[test]
    fn lists_begin_while_their_replies_have_room() {
        let (mut room, now) = room();
        room.note_held(90 * MIB);
        assert!(begins(&mut room, 1, 1000, now), "it is the only one");
        room.begins(ticket(1), 5 * MIB);
        assert!(begins(&mut room, 2, 5, now) && !begins(&mut room, 7, 6, now));
        assert!(granted(&mut room, now).is_empty(), "what it needs is not there yet");
        room.note_held(101 * MIB);
        assert!(room.came(ticket(1)) && !room.came(ticket(1)));
        assert!(granted(&mut room, now).is_empty());
        room.note_held(100 * MIB);
        assert_eq!(granted(&mut room, now), [7]);
        room.note_held(101 * MIB);
        assert!(begins(&mut room, 7, 6, now) && !begins(&mut room, 7, 6, now), "once");
    }

    #[test]
    fn nobody_passes_who_waits_and_what_was_granted_in_vain_is_taken_back() {
        let (mut room, now) = room();
        room.begins(ticket(1), 90 * MIB);
        assert!(
            !begins(&mut room, 7, 20, now) && !begins(&mut room, 8, 1, now) && !begins(&mut room, 9, 1, now)
        );
        room.forget(8);
        room.came(ticket(1));
        assert_eq!(granted(&mut room, now), [7, 9]);
        // The first is gone.
        assert!(begins(&mut room, 9, 1, now));
        room.begins(ticket(2), MIB);
        assert!(granted(&mut room, now).is_empty());
        room.came(ticket(2));
        assert_eq!(room.expected, 0);
    }

    #[test]
    fn a_short_list_does_not_wait_behind_long_ones() {
        let (mut room, now) = room();
        let short = |room: &mut Room, connection, bytes| room.admit(connection, bytes, 100 * MIB, now);
        room.note_held(90 * MIB);
        room.begins(ticket(1), 10 * MIB);
        assert!(!begins(&mut room, 7, 20, now));
        assert!(short(&mut room, 8, LIST_BYTES_LEAST) && !short(&mut room, 8, LIST_BYTES_LEAST + 1));
        assert!(short(&mut room, 7, LIST_BYTES_LEAST), "it turned out to be short");
        room.note_held(140 * MIB);
        assert!(!short(&mut room, 9, LIST_BYTES_LEAST), "there is a bound for them, too");
        assert!(room.came(ticket(1)));
        room.note_held(0);
        assert_eq!(granted(&mut room, now), [8, 9]);
    }

    #[test]
    fn what_is_held_for_those_who_do_not_read_is_not_waited_for() {
        let (mut room, now) = room();
        assert_eq!(room.looks_at(100 * MIB, now), None);
        room.note_held(110 * MIB);
        assert!(!begins(&mut room, 7, 1, now));
        assert_eq!(room.looks_at(100 * MIB, now), Some(now));
        let (mut first, mut second) = (0, 0);
        room.look(now, [(60 * MIB, now, &mut first)].into_iter());
        assert!(granted(&mut room, now).is_empty());
        assert_eq!(room.looks_at(100 * MIB, now), Some(now + STUCK));
        let holders = [(60 * MIB, now, &mut first), (50 * MIB, now + STUCK, &mut second)];
        room.look(now + STUCK, holders.into_iter());
        assert_eq!((first, second), (60 * MIB, 0));
        assert_eq!(granted(&mut room, now), [7]);
        assert_eq!(room.looks_at(100 * MIB, now), Some(now + 2 * STUCK), "they may get on again");
        room.gets_on(first);
        assert!(!begins(&mut room, 8, 1, now), "as it does now");
    }

    #[test]
    fn those_who_hold_much_and_get_on_slowly_hold_no_list_up_for_long() {
        let (mut room, now) = room();
        room.note_held(190 * MIB);
        assert!(room.begins_at().is_none() && !begins(&mut room, 7, 1, now) && !begins(&mut room, 8, 1, now));
        assert!(granted(&mut room, now).is_empty());
        assert_eq!(room.begins_at(), Some(now + PATIENCE));
        let later = now + PATIENCE;
        assert_eq!(granted(&mut room, later), [7], "one by one");
        assert!(begins(&mut room, 7, 1, later));
        room.begins(ticket(1), MIB);
        assert_eq!(room.begins_at(), Some(later + PATIENCE));
        assert!(granted(&mut room, later + PATIENCE / 2).is_empty());
        assert_eq!(granted(&mut room, later + PATIENCE), [8]);
    }

    #[test]
    fn a_long_list_waits_until_it_is_known_who_does_not_get_on_where_it_could_be_too_much() {
        let (mut room, now) = room();
        room.note_held(199 * MIB);
        assert!(!begins(&mut room, 7, 2, now));
        assert!(
            granted(&mut room, now + PATIENCE).is_empty()
                && granted(&mut room, now + 5 * PATIENCE).is_empty()
        );
        assert_eq!(room.begins_at(), Some(now + 6 * PATIENCE), "it is seen again and again");
        assert_eq!(granted(&mut room, now + STUCK), [7]);
    }

    #[test]
    fn searches_that_take_long_and_bring_little_hold_no_list_up_for_long() {
        let (mut room, now) = room();
        room.begins(ticket(1), 100 * MIB);
        assert!(
            !begins(&mut room, 7, 4, now) && !begins(&mut room, 8, 4, now) && !begins(&mut room, 9, 4, now)
        );
        assert!(granted(&mut room, now).is_empty());
        let later = now + PATIENCE;
        room.note_held(25 * MIB);
        assert_eq!(granted(&mut room, later), [7]);
        assert!(begins(&mut room, 7, 4, later));
        room.begins(ticket(2), 4 * MIB);
        assert!(granted(&mut room, later + PACE / 2).is_empty(), "one began just now");
        room.note_held(26 * MIB);
        assert_eq!(granted(&mut room, later + PACE), [8]);
        assert_eq!(room.begins_at(), Some(later + PACE + PATIENCE), "much came");
    }
}
