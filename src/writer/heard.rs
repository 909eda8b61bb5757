//! Until when the writer has heard everyone: whether a lease ran out before its holder's ack is told by when both
//! happened, not by when the writer, which a sync may keep, comes to them.

use std::time::Instant;

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
                (self.until, self.unheard) = (*then, None);
            }
        }
    }

    /// Nothing waits that was sent before `now`.
    pub(super) fn nothing_since(&mut self, now: Instant) {
        *self = Heard::new(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
    }
}
