//! The throttle: how long the writer waits so that the background keeps up.
//!
//! The background works at a lower priority, so a writer that never waited would leave it behind for as long
//! as there are requests, and the tails would grow without bound. Past a bound the writer waits in proportion
//! to what it added and to the square of how far the bound is passed: so nothing ever stops, one megabyte past
//! it half of the time is the background's, and three megabytes past it nine tenths are. Before that, and for a
//! while after it, the background takes no breaks: where there is work for it all the time each only costs.

use std::time::Duration;

use crate::limits::{BEHIND_BYTES, BEHIND_RUN_FILES, SLOW_BYTES, SLOW_RUN_FILES};

/// How long it takes to add a kibibyte to the tails, about.
const ADDING_A_KIBIBYTE_US: u64 = 20;
/// A run file too many counts as so many bytes too many.
const BYTES_A_RUN_FILE: u64 = 128 << 10;
/// Waits shorter than this are put together: each costs a wake-up.
const WAIT_LEAST: Duration = Duration::from_micros(500);
/// No wait is longer, so that reads of what was just written, and syncs, stay in time; but the bound grows by as much
/// with every so many bytes past the bound of memory: a turn may add more than the background writes in that time.
const WAIT_MOST: Duration = Duration::from_millis(50);
const BYTES_A_WAIT: u64 = 2 << 20;
/// What was not waited for goes with the next requests, no more of it than this: whoever comes a while later
/// pays for nobody else.
const DUE_MOST: Duration = Duration::from_secs(1);

/// So much is added without a wait until the background counts as able to keep up again.
const BUSY_BYTES: u64 = 8 << 20;

/// Knows what was added since the last wait.
#[derive(Debug, Default)]
pub struct Throttle {
    bytes: u64,
    due: Duration,
    /// What may be added until the background takes breaks again.
    busy_bytes: u64,
}

impl Throttle {
    /// The tails hold so many bytes, none of which the writer added.
    #[must_use]
    pub fn from(bytes: u64) -> Self {
        Throttle { bytes, ..Throttle::default() }
    }

    /// How many bytes the tails held when that was last looked at.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.bytes
    }

    /// Counts what was added, now that the tails hold so many bytes and there are so many run files. Answers how long
    /// whoever asks must wait for it.
    pub fn take_wait(&mut self, bytes: u64, files: u64) -> Option<Duration> {
        let added = bytes.saturating_sub(std::mem::replace(&mut self.bytes, bytes));
        let bytes_past = bytes.saturating_sub(SLOW_BYTES);
        let past = bytes_past + files.saturating_sub(SLOW_RUN_FILES) * BYTES_A_RUN_FILE;
        if past == 0 {
            self.due = Duration::ZERO;
            self.busy_bytes = self.busy_bytes.saturating_sub(added);
            return None;
        }
        self.busy_bytes = BUSY_BYTES;
        let work_us = added * ADDING_A_KIBIBYTE_US / 1024;
        let share = past.saturating_mul(past) >> 20;
        let more = Duration::from_micros(work_us.saturating_mul(share) >> 20);
        self.due = self.due.saturating_add(more).min(DUE_MOST);
        let most = WAIT_MOST * u32::try_from(1 + bytes_past / BYTES_A_WAIT).unwrap_or(u32::MAX);
        let wait = self.due.min(most);
        (wait >= WAIT_LEAST).then(|| {
            self.due -= wait;
            wait
        })
    }

    /// Whether the background should take no breaks now that there are so many run files.
    #[must_use]
    pub fn is_behind(&self, files: u64) -> bool {
        self.bytes > BEHIND_BYTES || files > BEHIND_RUN_FILES || self.busy_bytes > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FLUSH_BYTES;

    /// The waits of a writer that adds a kibibyte at a time.
    fn waited(throttle: &mut Throttle, from: u64, kibibytes: u64, files: u64) -> Duration {
        (1..=kibibytes).filter_map(|number| throttle.take_wait(from + 1024 * number, files)).sum()
    }

    #[test]
    fn nobody_waits_while_the_background_keeps_up() {
        assert_eq!(waited(&mut Throttle::default(), 0, SLOW_BYTES / 1024, SLOW_RUN_FILES), Duration::ZERO);
    }

    #[test]
    fn breaks_end_before_the_waits_begin() {
        let mut throttle = Throttle::from(FLUSH_BYTES);
        assert!(!throttle.is_behind(0), "one full tail is as it should be");
        assert!(throttle.is_behind(SLOW_RUN_FILES) && Throttle::from(SLOW_BYTES).is_behind(0));
        throttle.take_wait(SLOW_BYTES + 1, 0);
        throttle.take_wait(0, 0);
        assert!(throttle.is_behind(0), "it waited just now");
        for _ in 0..BUSY_BYTES / FLUSH_BYTES {
            throttle.take_wait(FLUSH_BYTES, 0);
            throttle.take_wait(0, 0);
        }
        assert!(!throttle.is_behind(0));
    }

    #[test]
    fn the_further_behind_the_background_is_the_longer_the_waits_are() {
        let mut throttle = Throttle::default();
        throttle.take_wait(SLOW_BYTES, 0);
        let megabytes = [0, 1, 2].map(|number| waited(&mut throttle, SLOW_BYTES + (number << 20), 1024, 0));
        assert!(megabytes.is_sorted(), "{megabytes:?}");
        // About a third of the work itself, then seven thirds of it.
        assert!((4..10).contains(&megabytes[0].as_millis()), "{megabytes:?}");
        assert!((40..60).contains(&megabytes[1].as_millis()), "{megabytes:?}");
        let files = waited(&mut Throttle::default(), 0, 1024, SLOW_RUN_FILES + 8);
        assert!((10..30).contains(&files.as_millis()), "{files:?}");
    }

    #[test]
    fn what_is_left_to_wait_for_has_a_bound() {
        let mut throttle = Throttle::default();
        let far_behind = SLOW_BYTES + (256 << 20);
        let waits = std::iter::repeat_with(|| throttle.take_wait(far_behind, 0)).take(1000);
        assert_eq!(waits.flatten().sum::<Duration>(), DUE_MOST);
    }

    #[test]
    fn a_wait_has_a_bound_and_the_rest_stays_due() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.take_wait(0, SLOW_RUN_FILES + 1000), None, "nothing was added");
        assert_eq!(throttle.take_wait(1 << 20, SLOW_RUN_FILES + 1000), Some(WAIT_MOST), "of files");
        assert_eq!(throttle.take_wait(1 << 20, SLOW_RUN_FILES + 1000), Some(WAIT_MOST));
        assert_eq!(throttle.take_wait(0, 0), None);
    }

    #[test]
    fn whoever_adds_much_at_a_time_waits_the_longer_the_more_memory_is_taken() {
        let waits = [1, 5, 9, 64].map(|megabytes| {
            let mut throttle = Throttle::from(SLOW_BYTES);
            throttle.take_wait(SLOW_BYTES + (megabytes << 20), 0).expect("it is past the bound").as_millis()
        });
        assert_eq!(waits, [20, 150, 250, 1000]);
    }
}
