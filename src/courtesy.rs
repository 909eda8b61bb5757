//! Courtesy: work that takes long lets whoever waits for its core go first.
//!
//! A low priority does not do that. Linux lets a thread run until its slice is over, some 4 ms, also where one of a
//! higher priority wakes up on its core or gave the core away for a moment ("run to parity" of the scheduler EEVDF,
//! since 6.6), and it may take as long to see that another core is idle: on two cores the writer stood behind the
//! background for a twentieth of the time. The policy `SCHED_IDLE` would, but nobody without privileges leaves it
//! again, and beside programs that use all cores such a thread stands still.
//!
//! So long work takes breaks. Each is one system call, which returns at once where nobody waits. Where others take
//! all cores it returns late, each time: so whoever waited long works as long before the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long to work between two breaks.
const BREAK_AFTER: Duration = Duration::from_micros(200);
/// How long at most, after a break that took long.
const BREAK_AFTER_MOST: Duration = Duration::from_millis(4);
/// Of so many steps one looks at the clock, which takes a good part of the time that a step does.
const STEPS_A_LOOK: u32 = 16;

/// Whether there is time for breaks, known to those who work and to whoever sees how far they are. There is none
/// where nobody says so: before a daemon serves, and in programs that do nothing else.
#[derive(Debug, Clone, Default)]
pub struct Courtesy {
    has_time: Arc<AtomicBool>,
}

impl Courtesy {
    /// For work that can wait: there is always time.
    #[must_use]
    pub fn of_patience() -> Self {
        Courtesy { has_time: Arc::new(AtomicBool::new(true)) }
    }

    /// Says whether the work has fallen behind: then there are no breaks, as each may cost the core for long.
    pub fn set_behind(&self, behind: bool) {
        self.has_time.store(!behind, Ordering::Relaxed);
    }

    /// Work begins.
    #[must_use]
    pub fn begin(&self) -> Breaks {
        Breaks { courtesy: self.clone(), since: Instant::now(), work: BREAK_AFTER, steps: 0 }
    }
}

/// The breaks of one piece of work.
#[derive(Debug)]
pub struct Breaks {
    courtesy: Courtesy,
    since: Instant,
    /// How long to work until the next one.
    work: Duration,
    /// Steps since the last look at the clock.
    steps: u32,
}

impl Breaks {
    /// A step of microseconds was done. To be called often: most calls do not look at the clock.
    pub fn step(&mut self) {
        self.steps += 1;
        if self.steps >= STEPS_A_LOOK {
            self.take_if_due();
        }
    }

    /// Gives the core to whoever waits for it, if the last break was long ago.
    pub fn take_if_due(&mut self) {
        self.steps = 0;
        if !self.courtesy.has_time.load(Ordering::Relaxed) {
            return;
        }
        let begun = Instant::now();
        if begun - self.since >= self.work {
            std::thread::yield_now();
            self.since = Instant::now();
            self.work = (self.since - begun).clamp(BREAK_AFTER, BREAK_AFTER_MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_are_taken_unless_the_work_is_behind() {
        let courtesy = Courtesy::of_patience();
        let mut breaks = courtesy.begin();
        let long_ago = Instant::now().checked_sub(BREAK_AFTER).expect("the machine is up for longer");
        breaks.since = long_ago;
        courtesy.set_behind(true);
        (0..2 * STEPS_A_LOOK).for_each(|_| breaks.step());
        assert_eq!(breaks.since, long_ago);
        courtesy.set_behind(false);
        (0..STEPS_A_LOOK).for_each(|_| breaks.step());
        assert!(breaks.since > long_ago);
    }
}
