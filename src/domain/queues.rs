//! Queues: put, reserve, ack, nack, extend and what an operator does with them.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::draft::Draft;
use super::event::{Event, Fact, JobState};
use super::jobs::{CLASSES, Job, Queue, ReadyClass, place};
use super::lost;
use super::parts::behind_body_key;
use super::table::{Facts, Table, malformed};
use crate::codec::hex;
use crate::error::{Code, Error, Result};
use crate::json::fields::{Fields, write_number};

/// Length of a lease's token.
const LEASE_CHARACTERS: usize = 22;

/// What the log keeps of a lease's token: the first 16 bytes of its SHA-256 in hex.
#[must_use]
pub fn lease_hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes())[..16])
}

/// The queue of that name.
///
/// # Errors
/// `not_found`.
pub fn require(facts: &dyn Facts, name: &str) -> Result<Arc<Queue>> {
    Queue::named(facts, name)?.ok_or_else(|| Error::not_found(format!("there is no queue {name:?}")))
}

fn require_job(facts: &dyn Facts, seq: u64) -> Result<(Arc<Queue>, Arc<Job>)> {
    Job::find(facts, seq)?.ok_or_else(|| Error::not_found(format!("there is no job {seq}, or it is done")))
}

fn require_lease(facts: &dyn Facts, seq: u64, token: &str) -> Result<(Arc<Queue>, Arc<Job>)> {
    let (queue, job) = require_job(facts, seq)?;
    if job.state != JobState::Leased || job.lease != lease_hash(token) {
        let what = if job.state == JobState::Leased { "another lease holds it" } else { "nobody holds it" };
        return Err(Error::new(
            Code::LeaseLost,
            format!("this lease of job {seq} does not hold: {what} now"),
        ));
    }
    Ok((queue, job))
}

fn queue_full(queue: &str, held: u64) -> Error {
    let message = format!(
        "queue {queue:?} holds {held} jobs, as many as it may: put again when some are done, or raise its max_jobs"
    );
    Error::new(Code::QueueFull, message)
}

/// `queue.put`
///
/// # Errors
/// `queue_full`.
pub fn put(draft: &mut Draft<'_>, queue: String, body: String, delay_ms: u64, priority: u8) -> Result<()> {
    if let Some(found) = Queue::named(draft, &queue)?
        && found.max_jobs.is_some_and(|bound| found.held() >= bound)
    {
        return Err(queue_full(&queue, found.held()));
    }
    let job = draft.emit(Fact::JobPut { queue, priority, delay_ms, body })?;
    Fields(draft.reply()).number("job", job).number("seq", job);
    Ok(())
}

/// The raw JSON of a job's body, from the record of its put.
#[must_use]
pub fn job_body(record: &[u8]) -> Option<&[u8]> {
    let rest = behind_body_key(record)?;
    rest.get(..rest.len().checked_sub(1)?)
}

/// `queue.reserve`; answers how many jobs it leased.
///
/// # Errors
/// What reading the table and the log says.
pub fn reserve(draft: &mut Draft<'_>, name: &str, lease_ms: Option<u64>, max: u64) -> Result<u64> {
    let mut jobs = Vec::new();
    let mut leased = 0;
    // A batch may hold a thousand of these, and would look for a thousand jobs in each.
    if !draft.is_full_of_jobs()
        && let Some(queue) = Queue::named(draft, name)?
    {
        let lease_ms = lease_ms.unwrap_or(queue.lease_ms);
        for seq in next_ready(draft, &queue, max)? {
            let record = draft.record(seq)?.ok_or_else(|| malformed("job"))?;
            let body = job_body(&record).ok_or_else(|| malformed("job"))?;
            // In a batch all reserves share the room, and the first job always has some.
            if !draft.takes_job(name, body.len()) {
                break;
            }
            let (_, job) = require_job(draft, seq)?;
            let attempt = job.attempts + 1;
            let token = draft.random_word(LEASE_CHARACTERS);
            let (queue, lease) = (name.to_owned(), lease_hash(&token));
            draft.emit(Fact::JobLeased { queue, job: seq, lease, attempt, lease_ms })?;
            jobs.extend_from_slice(if leased == 0 { b"{\"job\":" } else { b",{\"job\":" });
            write_number(&mut jobs, seq);
            let expires_at = draft.at().plus_ms(lease_ms);
            let mut fields = Fields(&mut jobs);
            fields
                .text("lease", &token)
                .number("attempt", attempt)
                .raw("body", body)
                .time("expires_at", expires_at);
            jobs.push(b'}');
            leased += 1;
        }
    }
    Fields(draft.reply()).list("jobs", &jobs);
    Ok(leased)
}

fn next_ready(facts: &dyn Facts, queue: &Queue, max: u64) -> Result<Vec<u64>> {
    let mut seqs = Vec::new();
    queue.visit_ready(facts, &mut |seq| {
        seqs.push(seq);
        Ok((seqs.len() as u64) < max)
    })?;
    Ok(seqs)
}

/// `queue.ack`
///
/// # Errors
/// `not_found`, `lease_lost`.
pub fn ack(draft: &mut Draft<'_>, job: u64, token: &str) -> Result<()> {
    let (queue, _) = require_lease(draft, job, token)?;
    let seq = draft.emit(Fact::JobAcked { queue: queue.name.to_string(), job })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// `queue.extend`
///
/// # Errors
/// `not_found`, `lease_lost`.
pub fn extend(draft: &mut Draft<'_>, job: u64, token: &str, lease_ms: u64) -> Result<()> {
    let (queue, _) = require_lease(draft, job, token)?;
    let seq = draft.emit(Fact::JobExtended { queue: queue.name.to_string(), job, lease_ms })?;
    let expires_at = draft.at().plus_ms(lease_ms);
    Fields(draft.reply()).number("seq", seq).time("expires_at", expires_at);
    Ok(())
}

fn was_last(queue: &Queue, job: &Job) -> bool {
    queue.max_attempts.is_some_and(|bound| job.attempts >= bound)
}

/// `queue.nack`
///
/// # Errors
/// `not_found`, `lease_lost`.
pub fn nack(draft: &mut Draft<'_>, job: u64, token: &str, delay_ms: u64) -> Result<()> {
    let (queue, found) = require_lease(draft, job, token)?;
    let dead = was_last(&queue, &found);
    // It does not get ready again.
    let delay_ms = if dead { 0 } else { delay_ms };
    let seq = draft.emit(Fact::JobNacked { queue: queue.name.to_string(), job, delay_ms, dead })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// What the daemon does when a lease or a delay is over. `revision` is the seq of the event that
/// set the timer: when the job moved on since, nothing happens.
///
/// # Errors
/// What reading the table says.
pub fn fall_due(draft: &mut Draft<'_>, job: u64, revision: u64) -> Result<()> {
    let Some((queue, found)) = Job::find(draft, job)? else { return Ok(()) };
    if found.revision != revision {
        return Ok(());
    }
    let dead = was_last(&queue, &found);
    match found.state {
        JobState::Leased => draft.emit(Fact::JobExpired { queue: queue.name.to_string(), job, dead })?,
        JobState::Delayed => draft.emit(Fact::JobReadied { queue: queue.name.to_string(), job })?,
        JobState::Ready | JobState::Dead => 0,
    };
    Ok(())
}

/// `queue.configure`; `None` keeps what is there, `Some(None)` takes a bound away.
///
/// # Errors
/// What reading the table says.
pub fn configure(
    draft: &mut Draft<'_>,
    queue: String,
    lease_ms: Option<u64>,
    max_attempts: Option<Option<u64>>,
    max_jobs: Option<Option<u64>>,
) -> Result<()> {
    let found = Queue::named(draft, &queue)?.unwrap_or_else(|| Arc::new(Queue::new(0, &queue)));
    let lease_ms = lease_ms.unwrap_or(found.lease_ms);
    let max_attempts = max_attempts.unwrap_or(found.max_attempts);
    let max_jobs = max_jobs.unwrap_or(found.max_jobs);
    let reply = draft.reply();
    Fields(reply).text("queue", &queue).number("lease_ms", lease_ms);
    Fields(reply).number_or_null("max_attempts", max_attempts).number_or_null("max_jobs", max_jobs);
    let same = (found.lease_ms, found.max_attempts, found.max_jobs) == (lease_ms, max_attempts, max_jobs);
    // Programs configure their queue at every start: that is to leave nothing behind.
    if found.id == 0 || !same {
        draft.emit(Fact::QueueConfigured { queue, lease_ms, max_attempts, max_jobs })?;
    }
    Ok(())
}

/// `queue.revive`
///
/// # Errors
/// `not_found` when there is no such queue or job, `conflict` when the job is not dead.
pub fn revive(draft: &mut Draft<'_>, name: String, job: Option<u64>) -> Result<()> {
    let queue = require(draft, &name)?;
    let revived = match job {
        None => queue.counts[place(JobState::Dead)],
        Some(seq) => {
            let (home, found) = require_job(draft, seq)?;
            if home.id != queue.id {
                return Err(Error::not_found(format!("queue {name:?} has no job {seq}")));
            }
            if found.state != JobState::Dead {
                let state = found.state.as_str();
                return Err(Error::conflict(format!("job {seq} is not dead: it is {state}")));
            }
            1
        }
    };
    if revived > 0 {
        draft.emit(Fact::JobRevived { queue: name, job, revived })?;
    }
    Fields(draft.reply()).number("revived", revived);
    Ok(())
}

/// `queue.delete`
///
/// # Errors
/// `not_found`.
pub fn delete(draft: &mut Draft<'_>, job: u64) -> Result<()> {
    let (queue, _) = require_job(draft, job)?;
    let seq = draft.emit(Fact::JobDeleted { queue: queue.name.to_string(), job })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// `queue.purge`
///
/// # Errors
/// `not_found`.
pub fn purge(draft: &mut Draft<'_>, queue: String, state: Option<JobState>) -> Result<()> {
    let found = require(draft, &queue)?;
    let deleted = match state {
        Some(state) => found.counts[place(state)],
        None => found.counts.iter().sum(),
    };
    if deleted > 0 {
        draft.emit(Fact::QueuePurged { queue, state, deleted })?;
    }
    Fields(draft.reply()).number("deleted", deleted);
    Ok(())
}

/// `queue.drop`
///
/// # Errors
/// `not_found`, `conflict` when it holds jobs in whatever state.
pub fn drop(draft: &mut Draft<'_>, queue: String) -> Result<()> {
    let found = require(draft, &queue)?;
    let jobs: u64 = found.counts.iter().sum();
    if jobs > 0 {
        let message = format!("queue {queue:?} holds {jobs} jobs, dead ones included: purge it first");
        return Err(Error::conflict(message));
    }
    let seq = draft.emit(Fact::QueueDropped { queue })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// Applies what happened to a queue or a job.
///
/// # Errors
/// What reading the table says.
pub fn apply(event: &Event, table: &mut dyn Table) -> Result<()> {
    match &event.fact {
        Fact::JobPut { queue, priority, delay_ms, .. } => {
            let mut queue = named_or_new(event.seq, queue, table)?;
            let state = if *delay_ms > 0 { JobState::Delayed } else { JobState::Ready };
            let job = Job {
                seq: event.seq,
                queue: queue.id,
                priority: *priority,
                attempts: 0,
                state,
                epoch: 0,
                revision: event.seq,
                due: event.at.plus_ms(*delay_ms),
                length_ms: *delay_ms,
                expired: false,
                lease: String::new(),
            };
            job.enter(&mut queue, table);
            queue.put(table);
        }
        Fact::QueueConfigured { queue, lease_ms, max_attempts, max_jobs } => {
            let queue = named_or_new(event.seq, queue, table)?;
            Queue { lease_ms: *lease_ms, max_attempts: *max_attempts, max_jobs: *max_jobs, ..queue }
                .put(table);
        }
        Fact::QueuePurged { queue, state, .. } => purge_states(event.seq, queue, *state, table)?,
        Fact::QueueDropped { queue } => {
            let queue = require(table, queue)?;
            // It is empty, unless events were lost to damage.
            for (all, own) in table.counts_mut().jobs.iter_mut().zip(queue.counts) {
                *all -= own;
            }
            queue.remove(table);
            table.counts_mut().queues -= 1;
        }
        Fact::JobRevived { queue, job: None, .. } => {
            let mut queue = Arc::unwrap_or_clone(require(table, queue)?);
            let mut dead = Vec::new();
            queue.visit_state(table, JobState::Dead, 0, &mut |seq| {
                dead.push(seq);
                Ok(true)
            })?;
            for seq in dead {
                let job = table.job(seq)?.ok_or_else(|| malformed("job"))?;
                change_state(event, &mut queue, job, table);
            }
            queue.put(table);
        }
        Fact::JobLeased { job, .. }
        | Fact::JobExtended { job, .. }
        | Fact::JobNacked { job, .. }
        | Fact::JobExpired { job, .. }
        | Fact::JobReadied { job, .. }
        | Fact::JobAcked { job, .. }
        | Fact::JobDeleted { job, .. }
        | Fact::JobRevived { job: Some(job), .. } => move_job(event, *job, table)?,
        _ => return Err(malformed("queue event")),
    }
    Ok(())
}

fn named_or_new(seq: u64, name: &str, table: &mut dyn Table) -> Result<Queue> {
    if let Some(queue) = Queue::named(table, name)? {
        return Ok(Arc::unwrap_or_clone(queue));
    }
    let queue = Queue::new(seq, name);
    queue.put_name(table);
    table.counts_mut().queues += 1;
    Ok(queue)
}

fn move_job(event: &Event, seq: u64, table: &mut dyn Table) -> Result<()> {
    let (queue, job) = require_job(table, seq)?;
    let mut queue = Arc::unwrap_or_clone(queue);
    change_state(event, &mut queue, job, table);
    queue.put(table);
    Ok(())
}

/// Takes a job out of its state and into the one that the event says.
fn change_state(event: &Event, queue: &mut Queue, job: Arc<Job>, table: &mut dyn Table) {
    let mut job = Arc::unwrap_or_clone(job);
    // Behind a loss other ready jobs may lie before it.
    if matches!(event.fact, Fact::JobLeased { .. }) && !lost::some(table) {
        job.leave_first(queue, table);
    } else {
        job.leave(queue, table);
    }
    job.revision = event.seq;
    match &event.fact {
        Fact::JobLeased { lease, attempt, lease_ms, .. } => {
            job.state = JobState::Leased;
            job.attempts = *attempt;
            job.lease.clone_from(lease);
            (job.due, job.length_ms) = (event.at.plus_ms(*lease_ms), *lease_ms);
        }
        Fact::JobExtended { lease_ms, .. } => {
            (job.due, job.length_ms) = (event.at.plus_ms(*lease_ms), *lease_ms);
        }
        Fact::JobNacked { delay_ms, dead, .. } => {
            job.expired = false;
            job.state = match (dead, delay_ms) {
                (true, _) => JobState::Dead,
                (false, 0) => JobState::Ready,
                (false, _) => JobState::Delayed,
            };
            (job.due, job.length_ms) = (event.at.plus_ms(*delay_ms), *delay_ms);
        }
        Fact::JobExpired { dead, .. } => {
            job.expired = !dead;
            job.state = if *dead { JobState::Dead } else { JobState::Ready };
        }
        Fact::JobReadied { .. } => (job.state, job.expired) = (JobState::Ready, false),
        Fact::JobRevived { .. } => (job.state, job.expired, job.attempts) = (JobState::Ready, false, 0),
        _ => return job.remove(table),
    }
    if job.state != JobState::Leased {
        job.lease.clear();
    }
    job.enter(queue, table);
}

fn purge_states(seq: u64, name: &str, state: Option<JobState>, table: &mut dyn Table) -> Result<()> {
    let mut queue = Arc::unwrap_or_clone(require(table, name)?);
    for purged in JobState::ALL.into_iter().filter(|each| state.is_none_or(|state| state == *each)) {
        table.counts_mut().jobs[place(purged)] -= queue.counts[place(purged)];
        queue.counts[place(purged)] = 0;
        queue.epochs[place(purged)] = seq;
        if purged == JobState::Ready {
            queue.ready = [ReadyClass::default(); CLASSES];
        }
    }
    queue.put(table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::folded;

    /// A job that is leased, and whose lease was extended: by event 3.
    fn extended() -> Vec<Fact> {
        let queue = || "q".to_owned();
        vec![
            Fact::JobPut { queue: queue(), priority: 0, delay_ms: 0, body: "1".into() },
            Fact::JobLeased { queue: queue(), job: 1, lease: "l".into(), attempt: 1, lease_ms: 1000 },
            Fact::JobExtended { queue: queue(), job: 1, lease_ms: 60_000 },
        ]
    }

    #[test]
    fn the_timer_of_a_lease_that_was_extended_since_does_nothing() {
        let state = |revision| {
            folded(extended(), |mut table| {
                fall_due(&mut table, 1, revision).expect("memory");
                Job::find(&table, 1).expect("memory").map(|(_, job)| job.state)
            })
        };
        assert_eq!([2, 3].map(state), [Some(JobState::Leased), Some(JobState::Ready)]);
    }

    #[test]
    fn an_extended_lease_is_as_long_as_it_was_extended_also_to_a_daemon_that_starts() {
        folded(extended(), |table| {
            let (_, job) = Job::find(&table, 1).expect("memory").expect("it is there");
            assert_eq!(job.length_ms, 60_000);
        });
    }
}
