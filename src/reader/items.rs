//! The things that replies hold, as JSON. What the log holds as JSON is cut out of its record.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::domain::apps;
use crate::domain::chats::{self, Chat};
use crate::domain::event::JobState;
use crate::domain::jobs::{Job, Queue, place};
use crate::domain::parts::{message_parts, raw_time};
use crate::domain::queues::job_body;
use crate::domain::table::{Facts, malformed};
use crate::error::Result;
use crate::json::fields::{Fields, write_number};
use crate::json::write_string;
use crate::snapshot::Snapshot;

/// Appends a message, from the record of its current form.
///
/// # Errors
/// `internal` when the record is of no message.
pub fn message(record: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let (first, second) = message_parts(record).ok_or_else(|| malformed("message"))?;
    out.push(b'{');
    out.extend_from_slice(first);
    out.extend_from_slice(second);
    out.push(b'}');
    Ok(())
}

/// The raw time and value in a record of `kv.set`.
///
/// # Errors
/// `internal` when the record is of something else.
pub fn key_value(record: &[u8]) -> Result<(&[u8], &[u8])> {
    // Quotes inside the key are escaped, so nothing before the value can hold these bytes.
    static VALUE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b",\"value\":"));
    let value =
        VALUE.find(record).and_then(|start| record.get(start + VALUE.needle().len()..record.len() - 1));
    raw_time(record).zip(value).ok_or_else(|| malformed("value"))
}

/// An application.
///
/// # Errors
/// `not_found`.
pub fn app(snapshot: &Snapshot, token: &str) -> Result<Vec<u8>> {
    let app = apps::require(snapshot, token)?;
    let counters = apps::counters(snapshot, token)?;
    let mut out = b"{\"token\":".to_vec();
    write_string(&mut out, token);
    Fields(&mut out)
        .text("name", &app.name)
        .number("chats_count", counters.chats)
        .time("created_at", app.created_at);
    out.push(b'}');
    Ok(out)
}

/// A chat.
///
/// # Errors
/// What reading the table says.
pub fn chat(snapshot: &Snapshot, app: &str, number: u64, chat: &Chat) -> Result<Vec<u8>> {
    let counters = chats::chat_counters(snapshot, app, number)?;
    let mut out = b"{\"number\":".to_vec();
    write_number(&mut out, number);
    let mut fields = Fields(&mut out);
    if let Some(name) = &chat.name {
        fields.text("name", name);
    }
    fields.number("messages_count", counters.messages).time("created_at", chat.created_at);
    out.push(b'}');
    Ok(out)
}

/// A formula as first submitted, by the seq of the event that stored it.
///
/// # Errors
/// `internal` when there is none.
pub fn formula(snapshot: &Snapshot, seq: u64) -> Result<Vec<u8>> {
    const FORMULA: &[u8] = b",\"formula\":";
    let record = snapshot.record(seq)?.ok_or_else(|| malformed("formula"))?;
    let at = raw_time(&record).ok_or_else(|| malformed("formula"))?;
    let start = memchr::memmem::find(&record, FORMULA).ok_or_else(|| malformed("formula"))?;
    let mut out = vec![b'{'];
    out.extend_from_slice(&record[start + 1..record.len() - 1]);
    Fields(&mut out).number("seq", seq).raw("at", at);
    out.push(b'}');
    Ok(out)
}

/// A queue: its settings and what it holds.
///
/// # Errors
/// What reading the table and the log says.
pub fn queue(snapshot: &Snapshot, queue: &Queue) -> Result<Vec<u8>> {
    let mut out = b"{\"queue\":".to_vec();
    write_string(&mut out, &queue.name);
    let mut fields = Fields(&mut out);
    fields.number("lease_ms", queue.lease_ms);
    fields.number_or_null("max_attempts", queue.max_attempts).number_or_null("max_jobs", queue.max_jobs);
    for state in JobState::ALL {
        fields.number(state.as_str(), queue.counts[place(state)]);
    }
    let oldest = match queue.oldest_ready(snapshot)? {
        Some(seq) => snapshot.record(seq)?,
        None => None,
    };
    if let Some(at) = oldest.as_deref().and_then(raw_time) {
        fields.raw("oldest_at", at);
    }
    out.push(b'}');
    Ok(out)
}

/// A job as `queue.peek` shows it.
///
/// # Errors
/// What reading the table and the log says.
pub fn job(snapshot: &Snapshot, seq: u64) -> Result<Vec<u8>> {
    let (_, job) = Job::find(snapshot, seq)?.ok_or_else(|| malformed("job"))?;
    let record = snapshot.record(seq)?.ok_or_else(|| malformed("job"))?;
    let (at, body) = raw_time(&record).zip(job_body(&record)).ok_or_else(|| malformed("job"))?;
    let mut out = b"{\"job\":".to_vec();
    write_number(&mut out, seq);
    let mut fields = Fields(&mut out);
    fields.text("state", job.state.as_str()).number("priority", u64::from(job.priority));
    fields.number("attempts", job.attempts).raw("at", at);
    match job.state {
        JobState::Delayed => fields.time("ready_at", job.due),
        JobState::Leased => fields.time("expires_at", job.due),
        JobState::Ready | JobState::Dead => &mut fields,
    };
    fields.raw("body", body);
    out.push(b'}');
    Ok(out)
}
