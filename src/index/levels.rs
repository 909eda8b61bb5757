//! Tiers: when run files of about one size become one, so that there are few and each posting is copied
//! a logarithmic number of times, as a carry runs through a counter.

use std::sync::Arc;

use super::run::Run;

/// Runs of about one size that become one.
const FAN: usize = 4;

fn class(bytes: u64) -> u32 {
    // Powers of four.
    (bytes / 1024 + 1).ilog2() / 2
}

/// Where the newest runs begin that should become one: those no larger than the newest's class.
#[must_use]
pub fn due(runs: &[Arc<Run>], eligible: impl Fn(&Run) -> bool) -> Option<usize> {
    let newest = class(runs.last()?.bytes());
    let count = runs.iter().rev().take_while(|run| eligible(run) && class(run.bytes()) <= newest).count();
    (count >= FAN).then_some(runs.len() - count)
}
