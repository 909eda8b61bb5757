//! Jobs and queues as the table holds them, and how a job moves from one state to another.
//!
//! A queue has an id (the seq of the event that made it), so that its jobs' keys are short. Ready
//! jobs stand in the order of delivery: first those whose lease ran out, in the order of the events that say
//! so, because the wall clock may be set; then by priority; then by seq. Of each priority those that *came
//! back* (after a delay, a nack or a revival) stand apart from the others, and both are merged: so one that
//! comes back again and again, far before the others, leaves no way over all that was done since. For each
//! of these classes the queue keeps a count and a *front*, under which no ready job lies, so that taking the next
//! one does not walk over jobs that are gone, but for those that were deleted out of order (see `delivery`). All
//! other jobs stand by state and seq.
//!
//! Purging a state takes one step however many jobs it holds: every key carries the *epoch* of its
//! state, the seq of the purge before it, and a job of an older epoch is no more.
//!
//! `queue` is a queue, `job` a job.

mod job;
mod queue;

use super::event::JobState;
use super::table::{Facts, malformed, tag};
use crate::codec::read_ordered;
use crate::error::Result;
pub use job::Job;
pub use queue::{Queue, ReadyClass};

/// Classes of ready jobs: expired leases, then for priorities 9 to 0 those that wait since their put, and those
/// that came back.
pub const CLASSES: usize = 21;

/// A state's place in the arrays.
#[must_use]
pub fn place(state: JobState) -> usize {
    state as usize
}

/// A key that begins, with room for the rest of it.
fn new_key(tag: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.push(tag);
    key
}

/// Whether a key of a job is of one that was not purged since, or dropped with its queue.
///
/// # Errors
/// What reading the table says.
pub fn key_is_live(facts: &dyn Facts, key: &[u8]) -> Result<bool> {
    let Some((&tag, mut rest)) = key.split_first() else { return Err(malformed("job")) };
    let id = read_ordered(&mut rest).ok_or_else(|| malformed("job"))?;
    if tag == tag::JOB {
        return Ok(Job::find(facts, id)?.is_some());
    }
    let Some(queue) = facts.queue(id)? else { return Ok(false) };
    let mut current = JobState::ALL.iter().map(|state| match state {
        // The class comes behind.
        JobState::Ready => queue.ready_prefix(0).split_last().map_or(Vec::new(), |(_, key)| key.to_vec()),
        other => queue.state_prefix(*other),
    });
    Ok(current.any(|prefix| key.starts_with(&prefix)))
}
