//! Tells the operator when writes begin to be refused, and when they are taken again: clients are told each time,
//! but a full disk wants a person.

use std::time::{Duration, Instant};

use super::timers::TIMER_AGAIN;
use crate::error::Error;
use crate::report;

/// Where it goes to and fro, as for small writes beside large ones, the operator is told no more often.
const TOLD_AGAIN: Duration = Duration::from_mins(1);

/// Whether writes are refused for want of room, as far as the operator was told.
#[derive(Debug, Default)]
pub struct Refusals {
    refused: u64,
    told: Option<Instant>,
    is_told: bool,
    /// Whether one was refused since it was last said that there may be room, and when that was.
    is_full: bool,
    looked: Option<Instant>,
}

impl Refusals {
    /// A write was refused.
    pub fn refused(&mut self, error: &Error, now: Instant) {
        self.refused += 1;
        self.is_full = true;
        if !self.is_told && self.told.is_none_or(|told| now - told >= TOLD_AGAIN) {
            (self.is_told, self.told) = (true, Some(now));
            report::error(&format!("writes are refused: {}", error.message()));
        }
    }

    /// A write that takes room was taken. Whether what was refused before it may find room now: not each time, where
    /// small writes find some and large ones do not.
    pub fn taken(&mut self, now: Instant) -> bool {
        if std::mem::take(&mut self.is_told) {
            let refused = std::mem::take(&mut self.refused);
            report::notice(&format!("writes are taken again; refused were {refused}"));
        }
        let looks = self.is_full && self.looked.is_none_or(|looked| now >= looked + TIMER_AGAIN);
        if looks {
            (self.is_full, self.looked) = (false, Some(now));
        }
        looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn the_operator_is_told_of_a_change_and_not_of_each_write_and_not_often() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let full = Error::new(Code::ReadOnly, "the disk is full");
        assert!(!refusals.taken(start));
        refusals.refused(&full, start);
        refusals.refused(&full, start);
        assert!(refusals.is_told && refusals.refused == 2);
        assert!(refusals.taken(start) && !refusals.taken(start));
        assert!(!refusals.is_told && refusals.refused == 0);
        refusals.refused(&full, start + TOLD_AGAIN / 2);
        assert!(!refusals.is_told, "it was told a moment ago");
        refusals.refused(&full, start + TOLD_AGAIN);
        assert!(refusals.is_told && refusals.refused == 2);
    }

    #[test]
    fn where_small_writes_find_room_what_found_none_is_seen_again_once_in_a_while() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let full = Error::new(Code::ReadOnly, "the disk is full");
        let mut looks = |ms| {
            let now = start + Duration::from_millis(ms);
            refusals.refused(&full, now);
            refusals.taken(now)
        };
        assert_eq!([0, 1, 999, 1000, 1001, 2000].map(&mut looks), [true, false, false, true, false, true]);
    }
}
