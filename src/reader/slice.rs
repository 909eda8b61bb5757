//! How long a walk through messages goes on before others have their turn.

use std::time::{Duration, Instant};

/// A slice takes about so long.
const LENGTH: Duration = Duration::from_millis(2);
/// What it may take more where looking up took very long: others wait, too.
const LENGTH_MOST: Duration = Duration::from_millis(200);
/// A walk goes on for so many times as long as it took to look up where: the next slice does that anew.
const TIMES_LOOKUPS: u32 = 4;
/// Steps between two looks at the clock.
const STEPS: usize = 64;
/// So many bytes of a text that is checked count as another step.
const STEP_BYTES: usize = 1024;

/// A slice of a walk. Steps cost from some nanoseconds to many microseconds, so it is the clock that ends it.
pub struct Slice {
    begun: Instant,
    most: Duration,
    /// What looking up took.
    lookups: Duration,
    /// Steps since the last look at the clock.
    steps: usize,
}

impl Slice {
    /// One that begins now.
    #[must_use]
    pub fn begin() -> Self {
        Slice { begun: Instant::now(), most: LENGTH_MOST, lookups: Duration::ZERO, steps: 0 }
    }

    /// One that is over at the first look at the clock.
    #[cfg(test)]
    pub fn shortest() -> Self {
        Slice { most: Duration::ZERO, ..Slice::begin() }
    }

    /// Looking up where to walk took so long.
    pub fn looked_up(&mut self, took: Duration) {
        self.lookups += took;
    }

    /// Counts a step for which a text of so many bytes was checked. Answers whether the slice is over.
    pub fn count_step(&mut self, text_bytes: usize) -> bool {
        self.steps += 1 + text_bytes / STEP_BYTES;
        self.steps >= STEPS && self.look_at_clock()
    }

    /// The same behind a step that took long: the clock is looked at now.
    pub fn look_at_clock(&mut self) -> bool {
        self.steps = 0;
        let walk = LENGTH.saturating_add(self.lookups.saturating_mul(TIMES_LOOKUPS)).min(self.most);
        self.begun.elapsed() >= walk.saturating_add(self.lookups)
    }
}
