//! Requests that may take long go to the writer one at a time, all connections together: so others' writes, and the
//! signs that the writer moves, come between two of them.

use std::time::Instant;

use super::room_queue::RoomQueue;

/// Those that are with the writer, and whose next one waits.
#[derive(Debug, Default)]
pub struct OneAtATime {
    undecided: usize,
    queue: RoomQueue,
}

impl OneAtATime {
    /// Lets a connection ask one; or has it wait behind those that wait already, until
    /// [`OneAtATime::grant_waiting`] names it. Answers which. Who is let in must ask it.
    pub fn admit(&mut self, connection: usize) -> bool {
        let is_first = self.queue.is_empty() && self.undecided == 0;
        let admitted = self.queue.use_grant(connection).is_some() || is_first;
        if !admitted {
            self.queue.join(connection, 0, Instant::now());
        }
        admitted
    }

    /// One was asked.
    pub fn asked(&mut self) {
        self.undecided += 1;
    }

    /// So many were decided.
    pub fn decided(&mut self, count: usize) {
        self.undecided = self.undecided.saturating_sub(count);
    }

    /// Grants the connection that waited longest one in the next turn of the event loop, if none is undecided. Who
    /// could ask in this turn and did not has to wait again.
    pub fn grant_waiting(&mut self) -> Option<usize> {
        self.queue.take_back();
        if self.undecided == 0 { self.queue.grant_first() } else { None }
    }

    /// A connection is gone.
    pub fn leave(&mut self, connection: usize) {
        self.queue.leave(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_undecided_at_a_time_and_those_who_wait_are_served_in_turn() {
        let mut long = OneAtATime::default();
        assert!(long.admit(1));
        long.asked();
        assert!(!long.admit(2) && !long.admit(3) && !long.admit(1));
        assert_eq!(long.grant_waiting(), None);
        long.decided(1);
        assert!(!long.admit(4), "nobody passes who waits");
        assert_eq!(long.grant_waiting(), Some(2));
        assert!(long.admit(2) && !long.admit(2));
        long.asked();
        long.leave(3);
        long.decided(1);
        assert_eq!(long.grant_waiting(), Some(1));
        assert_eq!(long.grant_waiting(), Some(4), "what was granted in vain is taken back");
        assert!(long.admit(4));
        long.asked();
        long.decided(1);
        assert_eq!(long.grant_waiting(), Some(2));
        assert!(long.admit(2));
        assert_eq!(long.grant_waiting(), None);
    }
}
