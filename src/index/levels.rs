//! The tail: the newest runs, in memory, merged as they come so that there are few.
//!
//! Every batch freezes a run of its own. When four of the newest have grown to about one size they
//! become one, as a carry runs through a counter: each posting is copied a logarithmic number of
//! times. Runs past a bound are left to the background, which writes them to files.

use std::sync::Arc;

use super::merge;
use super::run::Run;
use crate::error::Result;

/// Runs of about one size that become one.
const FAN: usize = 4;
/// The writer merges no more bytes than this at once, so that it never stops for longer than a sync.
pub const WRITER_MERGE_BYTES: u64 = 192 << 10;

fn class(bytes: u64) -> u32 {
    // Powers of four: a small run of one message is about one kibibyte.
    (bytes / 1024 + 1).ilog2() / 2
}

/// Merges the newest runs as far as they should be, of those in memory that lie behind event
/// `after`.
///
/// # Errors
/// None that memory gives.
pub fn settle(runs: &mut Vec<Arc<Run>>, after: u64) -> Result<()> {
    while let Some(start) = due(runs, WRITER_MERGE_BYTES, |run| run.in_memory() && run.meta().first > after) {
        let merged = merge::in_memory(&runs[start..], start == 0)?;
        runs.truncate(start);
        runs.push(Arc::new(merged));
    }
    Ok(())
}

/// Where the newest runs begin that should become one: those no larger than the newest's class.
#[must_use]
pub fn due(runs: &[Arc<Run>], bytes_max: u64, eligible: impl Fn(&Run) -> bool) -> Option<usize> {
    let newest = class(runs.last()?.bytes());
    let count = runs.iter().rev().take_while(|run| eligible(run) && class(run.bytes()) <= newest).count();
    let start = runs.len() - count;
    let bytes: u64 = runs[start..].iter().map(|run| run.bytes()).sum();
    (count >= FAN && bytes <= bytes_max).then_some(start)
}
