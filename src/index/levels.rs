//! Tiers: when run files of about one size become one, so that there are few and each posting is copied
//! a logarithmic number of times, as a carry runs through a counter.

use std::sync::Arc;

use super::run::Run;

/// Runs that become one, at least.
const FAN: usize = 4;

/// Where the newest runs begin that should become one: as far back as those behind a run have grown to twice
/// its size together. So there are few, and a posting is copied as often as three goes into the log's size.
#[must_use]
pub fn due(runs: &[Arc<Run>], eligible: impl Fn(&Run) -> bool) -> Option<usize> {
    let (mut newer, mut start) = (0, None);
    for (place, run) in runs.iter().enumerate().rev().take_while(|(_, run)| eligible(run)) {
        if runs.len() - place >= FAN && newer >= 2 * run.bytes() {
            start = Some(place);
        }
        newer += run.bytes();
    }
    start
}
