//! How much clients have not read yet of what they get, all together, as far as the writer needs to know: who waits for
//! a job gets it when there is room for its reply. Many may wait, and their jobs become ready in one moment.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::serve::Served;

/// What the event loop holds, and what is on the way to it.
#[derive(Debug)]
pub struct Unread {
    held: AtomicUsize,
    delivered: AtomicUsize,
    /// So much may be unread before jobs are given slowly.
    most: usize,
}

impl Default for Unread {
    fn default() -> Self {
        Unread::new(usize::MAX)
    }
}

impl Unread {
    /// Nothing is unread; `most` may be, in bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Unread { held: AtomicUsize::new(0), delivered: AtomicUsize::new(0), most }
    }

    /// The event loop holds so many bytes now for clients that get on.
    pub fn note_held(&self, bytes: usize) {
        self.held.store(bytes, Relaxed);
    }

    /// So many bytes of replies go to the event loop.
    pub(super) fn deliver(&self, bytes: usize) {
        self.delivered.fetch_add(bytes, Relaxed);
    }

    /// The event loop has them, and counts them where it holds them.
    pub fn arrived(&self, bytes: usize) {
        self.delivered.fetch_sub(bytes, Relaxed);
    }

    /// Whether there is room for more beside so many bytes that are not on the way yet.
    fn has_room(&self, bytes: usize) -> bool {
        self.held.load(Relaxed) + self.delivered.load(Relaxed) + bytes < self.most
    }
}

/// Where there is no room so many bytes are given all the same ...
const RATE_BYTES: usize = 256 << 10;
/// ... in such a time: clients that never get there must not stop those who wait for jobs.
const RATE_TIME: Duration = Duration::from_millis(10);

/// How fast jobs are given where there is no room.
#[derive(Debug)]
pub(super) struct ServeRate {
    since: Instant,
    bytes: usize,
}

impl ServeRate {
    pub(super) fn new(now: Instant) -> Self {
        ServeRate { since: now, bytes: 0 }
    }

    /// Whether another reply may be given now, beside what is not on the way yet. Else when to ask again.
    pub(super) fn may_give(&mut self, unread: &Unread, served: &Served, now: Instant) -> Result<(), Instant> {
        if served.is_much() {
            // The next turn comes at once.
            return Err(now);
        }
        if now >= self.since + RATE_TIME {
            *self = ServeRate::new(now);
        }
        if unread.has_room(served.bytes()) || self.bytes < RATE_BYTES {
            Ok(())
        } else {
            Err(self.since + RATE_TIME)
        }
    }

    /// A reply of so many bytes was given.
    pub(super) fn gave(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_room_replies_are_given_at_a_pace() {
        let (unread, start, nothing) = (Unread::new(1000), Instant::now(), Served::default());
        let mut rate = ServeRate::new(start);
        rate.gave(100 * RATE_BYTES);
        unread.deliver(600);
        unread.note_held(399);
        assert_eq!(rate.may_give(&unread, &nothing, start), Ok(()));
        unread.note_held(400);
        assert_eq!(rate.may_give(&unread, &nothing, start), Err(start + RATE_TIME));
        let later = start + RATE_TIME;
        assert_eq!(rate.may_give(&unread, &nothing, later), Ok(()));
        rate.gave(RATE_BYTES - 1);
        assert_eq!(rate.may_give(&unread, &nothing, later), Ok(()), "one more");
        rate.gave(RATE_BYTES);
        assert_eq!(rate.may_give(&unread, &nothing, later), Err(later + RATE_TIME));
        unread.arrived(600);
        assert_eq!(rate.may_give(&unread, &nothing, later), Ok(()));
    }
}
