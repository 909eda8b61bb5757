//! The wall clock beside the time of the log, which never runs backwards.

use crate::time::Timestamp;

/// So far ahead a log may be before anyone is told: clocks are set right by a little now and then.
const TOLD_US: u64 = 60_000_000;

/// What the operator is told of the clock.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The log is so many seconds ahead of it.
    Behind(u64),
    /// It is no more behind, as had been told.
    CaughtUp,
}

/// Knows what was told of the clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    is_behind: bool,
}

impl Clock {
    /// What to tell, now that the log's last event has one time and the clock another: that it is far behind once, and
    /// once that it has caught up.
    pub(super) fn compare(&mut self, log: Timestamp, clock: Timestamp) -> Option<News> {
        let behind = log.0.saturating_sub(clock.0);
        let news = match self.is_behind {
            false if behind > TOLD_US => News::Behind(behind / 1_000_000),
            true if behind == 0 => News::CaughtUp,
            _ => return None,
        };
        self.is_behind = !self.is_behind;
        Some(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_behind_is_told_of_once_and_once_when_it_has_caught_up() {
        let (mut clock, log) = (Clock::default(), 3_600_000_000);
        let told = [0, 60, 61, 61, 30, 0, 60, 3600]
            .map(|behind: u64| clock.compare(Timestamp(log), Timestamp(log - behind * 1_000_000)));
        let (first, then) = (Some(News::Behind(61)), Some(News::Behind(3600)));
        assert_eq!(told, [None, None, first, None, None, Some(News::CaughtUp), None, then]);
    }
}
