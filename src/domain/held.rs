//! The jobs that are leased or delayed, whose time runs out by itself.

use super::event::JobState;
use super::jobs::Job;
use super::table::{Facts, number_in, scan_prefix, tag};
use crate::error::Result;
use crate::time::Timestamp;

/// A job that is leased or delayed.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// When its lease or its delay runs out.
    pub due: Timestamp,
    /// How long that was when it began.
    pub length_ms: u64,
    /// The job's rank.
    pub rank: u8,
    /// The job.
    pub job: u64,
    /// The event that leased or delayed it.
    pub revision: u64,
}

/// All jobs that are leased or delayed.
///
/// # Errors
/// What reading the table says.
pub fn held(facts: &dyn Facts) -> Result<Vec<Held>> {
    let mut queues = Vec::new();
    scan_prefix(facts, &[tag::QUEUE_NAME], &[], &mut |_, value| {
        queues.push(number_in(value)?);
        Ok(true)
    })?;
    let mut held = Vec::new();
    for id in queues {
        let Some(queue) = facts.queue(id)? else { continue };
        for state in [JobState::Leased, JobState::Delayed] {
            queue.visit_state(facts, state, 0, &mut |seq| {
                held.extend(Job::find(facts, seq)?.map(|(_, job)| Held {
                    due: job.due,
                    length_ms: job.length_ms,
                    rank: job.rank(),
                    job: seq,
                    revision: job.revision,
                }));
                Ok(true)
            })?;
        }
    }
    Ok(held)
}
