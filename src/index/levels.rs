//! Tiers: when run files of about one size become one, so that there are few and each posting is copied
//! a logarithmic number of times, as a carry runs through a counter.

use std::sync::Arc;

use super::run::Run;

/// Runs that become one, at least.
const FAN: usize = 4;

/// Where the newest runs begin that should become one: as far back as those behind a run have grown to its
/// size together. So each is at least as large as all newer ones but the last few, which makes them few.
#[must_use]
pub fn due(runs: &[Arc<Run>], eligible: impl Fn(&Run) -> bool) -> Option<usize> {
    let (mut newer, mut start) = (0, None);
    for (place, run) in runs.iter().enumerate().rev().take_while(|(_, run)| eligible(run)) {
        if runs.len() - place >= FAN && newer >= run.bytes() {
            start = Some(place);
        }
        newer += run.bytes();
    }
    start
}
