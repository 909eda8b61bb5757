//! The domain: what is asked, what happened, and the two pure functions between them.
//!
//! [`decide`] turns a request into events and a reply; [`apply`] folds an event into the table.
//! Neither knows a clock, a file or a thread: the time and randomness are arguments. So the same
//! log always gives the same table.

pub mod apps;
pub mod chats;
pub mod command;
pub mod delivery;
pub mod draft;
pub mod event;
pub mod forget;
pub mod formulas;
pub mod formulas_makeup;
mod half_lowered;
pub mod held;
pub mod jobs;
pub mod kv;
pub mod liveness;
pub mod lost;
pub mod matcher;
pub mod messages;
pub mod objects;
pub mod overlay;
pub mod parts;
pub mod queues;
pub mod record;
pub mod substring;
pub mod table;
#[cfg(test)]
pub mod testing;
pub mod text;
pub mod words;

use crate::codec::write_varint;
use crate::error::{Code, Error, Result};
use crate::json::fields::Fields;
use command::{Idempotency, Write, WriteRequest};
use draft::{Circumstances, Draft, Outcome};
use event::{Event, Fact};
use table::{Facts, Table, malformed, number_in, tag};

/// Decides one request. The outcome holds its events, and its reply's fields; nothing has happened
/// until the outcome is kept. Whoever calls drops the outcome of a dry run. The buffers of `spare`, an
/// outcome that is done with, are used again.
///
/// # Errors
/// The refusal; then there is nothing to keep.
pub fn decide<'a>(
    request: WriteRequest,
    below: &'a dyn Facts,
    next_seq: u64,
    circumstances: Circumstances<'a>,
    spare: Outcome,
) -> Result<Outcome> {
    let mut draft = Draft::new(below, next_seq, circumstances, spare);
    if request.dry_run {
        draft.show_events();
    }
    if let Some(idempotency) = &request.idempotency
        && replay(&mut draft, idempotency)?
    {
        return Ok(finish(draft, request.dry_run));
    }
    write(&mut draft, request.write)?;
    if let Some(idempotency) = request.idempotency {
        let Idempotency { key, content } = idempotency;
        let fields = draft.reply().get(1..).unwrap_or_default().to_vec();
        let reply =
            String::from_utf8([b"{", fields.as_slice(), b"}"].concat()).map_err(|_| malformed("reply"))?;
        draft.emit(Fact::RequestAnswered { key, content, reply })?;
    }
    Ok(finish(draft, request.dry_run))
}

fn finish(draft: Draft<'_>, dry_run: bool) -> Outcome {
    let mut outcome = draft.finish();
    if dry_run {
        let mut events = Vec::new();
        for index in 0..outcome.events.len() {
            if index > 0 {
                events.push(b',');
            }
            events.extend_from_slice(outcome.record(index).unwrap_or_default());
        }
        Fields(&mut outcome.reply).flag("dry_run", true).list("events", &events);
    }
    outcome
}

/// Answers a request whose key was answered before. `false` when the key is new.
fn replay(draft: &mut Draft<'_>, idempotency: &Idempotency) -> Result<bool> {
    let Some(value) = draft.get(&answered_key(draft.uid(), &idempotency.key))? else { return Ok(false) };
    let seq = number_in(&value)?;
    let record = draft.record(seq)?.ok_or_else(|| malformed("reply"))?;
    let Fact::RequestAnswered { content, reply, .. } = Event::decode(&record)?.fact else {
        return Err(malformed("reply"));
    };
    if content != idempotency.content {
        return Err(
            Error::conflict("this idempotency_key was used for another request").of_field("idempotency_key")
        );
    }
    let fields = reply.get(1..reply.len() - 1).unwrap_or_default().as_bytes().to_vec();
    let out = draft.reply();
    if !fields.is_empty() {
        out.push(b',');
        out.extend_from_slice(&fields);
    }
    Fields(out).flag("replayed", true);
    Ok(true)
}

fn answered_key(uid: u32, key: &str) -> Vec<u8> {
    let mut bytes = vec![tag::ANSWERED];
    write_varint(&mut bytes, u64::from(uid));
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

fn write(draft: &mut Draft<'_>, write: Write) -> Result<()> {
    match write {
        Write::KvSet { key, value, if_seq } => kv::set(draft, key, value, if_seq),
        Write::KvDelete { key, if_seq } => kv::delete(draft, key, if_seq),
        Write::MessagePost { destination, originator, body } => {
            messages::post(draft, destination, originator, body)
        }
        Write::MessageEdit { target, body } => messages::edit(draft, &target, body),
        Write::MessageDelete { target } => messages::delete(draft, &target),
        Write::AppCreate { name } => apps::create(draft, name),
        Write::AppUpdate { token, name } => apps::update(draft, token, name),
        Write::AppDelete { token } => apps::delete(draft, token),
        Write::ChatCreate { app, name } => chats::create(draft, app, name),
        Write::ChatUpdate { app, chat, name } => chats::update(draft, app, chat, name),
        Write::ChatDelete { app, chat } => chats::delete(draft, app, chat),
        Write::FormulaSubmit { formula, name, materials } => {
            formulas::submit(draft, formula, name, materials)
        }
        Write::QueuePut { queue, body, delay_ms, priority } => {
            queues::put(draft, queue, body, delay_ms, priority)
        }
        Write::QueueReserve(reserve) => {
            queues::reserve(draft, &reserve.queue, reserve.lease_ms, reserve.max).map(|_| ())
        }
        Write::QueueAck { job, lease } => queues::ack(draft, job, &lease),
        Write::QueueExtend { job, lease, lease_ms } => queues::extend(draft, job, &lease, lease_ms),
        Write::QueueNack { job, lease, delay_ms } => queues::nack(draft, job, &lease, delay_ms),
        Write::QueueConfigure { queue, lease_ms, max_attempts, max_jobs } => {
            queues::configure(draft, queue, lease_ms, max_attempts, max_jobs)
        }
        Write::QueueRevive { queue, job } => queues::revive(draft, queue, job),
        Write::QueueDelete { job } => queues::delete(draft, job),
        Write::QueuePurge { queue, state } => queues::purge(draft, queue, state),
        Write::QueueDrop { queue } => queues::drop(draft, queue),
        Write::Batch { commands } => batch(draft, commands),
        Write::Refused(error) => Err(error),
        Write::FallDue { job, revision } => queues::fall_due(draft, job, revision),
    }
}

/// All of the commands on one overlay, so that each sees the ones before it.
fn batch(draft: &mut Draft<'_>, commands: Vec<Write>) -> Result<()> {
    /// Most replies without jobs are no longer.
    const MEMBER_BYTES: usize = 128;
    let mut results = vec![b'['];
    let mut left = commands.len();
    for (index, command) in commands.into_iter().enumerate() {
        draft.used_of_reply(results.len() + MEMBER_BYTES * left);
        left -= 1;
        write(draft, command).map_err(|error| error.of_member(index))?;
        results.extend_from_slice(if index > 0 { b",{\"ok\":true" } else { b"{\"ok\":true" });
        results.append(draft.reply());
        results.push(b'}');
    }
    results.push(b']');
    Fields(draft.reply()).raw("results", &results);
    Ok(())
}

/// Folds one event into the table. What an event refers to may have been lost to damage: then it
/// changes nothing.
///
/// # Errors
/// What reading the table says.
pub fn apply(event: &Event, table: &mut dyn Table) -> Result<()> {
    match apply_fact(event, table) {
        Err(error) if error.code() == Code::NotFound && lost::some(table) => Ok(()),
        done => done,
    }
}

/// Nothing is put before what it refers to was found.
fn apply_fact(event: &Event, table: &mut dyn Table) -> Result<()> {
    let Event { seq, at, uid, fact } = event;
    match fact {
        Fact::KeySet { .. } | Fact::KeyDeleted { .. } => kv::apply(*seq, fact, table)?,
        Fact::MessagePosted(_) | Fact::MessageEdited { .. } | Fact::MessageDeleted { .. } => {
            messages::apply(*seq, *at, fact, table)?;
        }
        Fact::AppCreated { .. } | Fact::AppUpdated { .. } | Fact::AppDeleted { .. } => {
            apps::apply(*seq, *at, fact, table)?;
        }
        Fact::ChatCreated { .. } | Fact::ChatUpdated { .. } | Fact::ChatDeleted { .. } => {
            chats::apply(*seq, *at, fact, table)?;
        }
        Fact::FormulaCreated { .. } => formulas::apply(*seq, fact, table),
        Fact::EventLost => lost::apply(*seq, table),
        Fact::RequestAnswered { key, .. } => {
            table.put(answered_key(*uid, key), Some(table::number_value(*seq)));
            table.counts_mut().answered += 1;
        }
        _ => queues::apply(event, table)?,
    }
    Ok(())
}
