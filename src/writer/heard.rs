//! Until when the writer has heard everyone: whether a lease ran out before its holder's ack is told by when both
//! happened, not by when the writer, which a sync may keep, comes to them.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Since when a write waits that the writer was not sent, as there was no room for it: the first of its connection.
/// What is behind it is no more heard than what was not read yet.
#[derive(Debug, Default)]
pub struct HeldUp(Mutex<Option<Instant>>);

impl HeldUp {
    /// The oldest waits since then; `None`: none does. Those of which that is no more true were sent before.
    pub fn note(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Whether one waits.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The last moment up to `now` before which nothing was held up: it is asked for before it is counted what was
    /// sent.
    pub(super) fn before(&self, now: Instant) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map_or(now, |since| since.min(now))
    }
}

/// All that was sent before a moment is decided.
#[derive(Debug)]
pub(super) struct Heard {
    until: Instant,
    /// So many messages wait that were sent before that moment, perhaps with some that were sent later. Without
    /// such a mark one who is always behind would never have heard everyone.
    unheard: Option<(usize, Instant)>,
}

impl Heard {
    pub(super) fn new(until: Instant) -> Self {
        Heard { until, unheard: None }
    }

    /// The moment.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// So many messages wait, and nothing else that was sent before `now`.
    pub(super) fn there_are(&mut self, unheard: usize, now: Instant) {
        self.unheard.get_or_insert((unheard, now));
    }

    /// One of them is decided.
    pub(super) fn one_more(&mut self) {
        if let Some((unheard, then)) = &mut self.unheard {
            *unheard -= 1;
            if *unheard == 0 {
                (self.until, self.unheard) = (self.until.max(*then), None);
            }
        }
    }

    /// Nothing waits that was sent before `now`.
    pub(super) fn nothing_since(&mut self, now: Instant) {
        *self = Heard::new(now.max(self.until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_held_up_was_not_heard() {
        let (held_up, start) = (HeldUp::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(held_up.before(at(5)), at(5));
        held_up.note(Some(at(3)));
        assert_eq!((held_up.before(at(5)), held_up.before(at(2))), (at(3), at(2)));
        held_up.note(None);
        assert_eq!(held_up.before(at(6)), at(6));
    }

    #[test]
    fn everyone_is_heard_until_the_moment_before_which_all_was_sent_that_is_decided() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut heard = Heard::new(start);
        heard.there_are(3, at(1));
        heard.one_more();
        assert_eq!(heard.until(), start);
        // More came: those that were there first are decided first.
        heard.there_are(7, at(2));
        heard.one_more();
        heard.one_more();
        assert_eq!(heard.until(), at(1), "though there is more to do than ever");
        heard.one_more();
        heard.there_are(4, at(3));
        (0..4).for_each(|_| heard.one_more());
        assert_eq!(heard.until(), at(3));
        heard.nothing_since(at(9));
        assert_eq!(heard.until(), at(9));
        heard.nothing_since(at(8));
        assert_eq!(heard.until(), at(9), "nobody is unheard again");
    }
}
