//! Answers reads, each from one snapshot.
//!
//! - `items` writes the things that replies hold; `lists` pages through them.
//! - `records` reads messages; `search` finds them, a `slice` at a time; `events` walks the log; `follow` takes a
//!   follower's next piece.

pub mod events;
pub mod follow;
pub mod items;
pub mod lists;
pub mod records;
pub mod search;
pub mod slice;
#[cfg(test)]
mod testing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::domain::command::Read;
use crate::domain::{apps, chats, formulas, kv, messages, queues};
use crate::error::{Code, Error, Result};
use crate::json::fields::Fields;
use crate::snapshot::Snapshot;

/// Answers one client in such a way that a defect which its request meets costs nobody else anything. Nothing of what
/// reads share is left half changed: they share what does not change, and locks that are taken over.
///
/// # Errors
/// What the answer says; `internal` where it panicked. Where, the panic itself has told the operator.
pub fn contained<T>(answer: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| {
        let message =
            "the daemon has a defect that this request meets: please report it, with what the daemon said";
        Err(Error::new(Code::Internal, message))
    })
}

/// The fields of the reply to a read, however long it takes.
///
/// # Errors
/// The refusal.
pub fn answer(snapshot: &Snapshot, read: &Read) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(256);
    write_answer(snapshot, read, &mut out)?;
    Ok(out)
}

/// Appends the fields of the reply to a read, however long it takes.
///
/// # Errors
/// The refusal; what was appended then means nothing.
pub fn write_answer(snapshot: &Snapshot, read: &Read, out: &mut Vec<u8>) -> Result<()> {
    match read {
        Read::KvGet { key } => kv_get(snapshot, key, out)?,
        Read::KvList { prefix, page } => lists::keys(snapshot, prefix, page, out)?,
        Read::MessageGet { target } => message_get(snapshot, target, out)?,
        Read::MessageList { app, chat, page } => lists::messages(snapshot, app, *chat, page, out)?,
        Read::MessageSearch(search) => {
            let mut task = search::SearchTask::new(Arc::new(snapshot.clone()), search.clone());
            loop {
                if let Some(fields) = task.step()? {
                    out.extend_from_slice(&fields);
                    break;
                }
            }
        }
        Read::AppGet { token } => {
            apps::require(snapshot, token)?;
            Fields(out).raw("app", &items::app(snapshot, token)?);
        }
        Read::AppList { page } => lists::apps(snapshot, page, out)?,
        Read::ChatGet { app, chat } => {
            let found = chats::require_chat(snapshot, app, *chat)?;
            Fields(out).raw("chat", &items::chat(snapshot, app, *chat, &found)?);
        }
        Read::ChatList { app, page } => lists::chats(snapshot, app, page, out)?,
        Read::FormulaGet { formula } => {
            let seq = formulas::require(snapshot, formula)?;
            Fields(out).raw("formula", &items::formula(snapshot, seq)?);
        }
        Read::FormulaList { page } => lists::formulas(snapshot, page, out)?,
        Read::QueueGet { queue } => {
            Fields(out).raw("queue", &items::queue(snapshot, queues::require(snapshot, queue)?.as_ref())?);
        }
        Read::QueueList { page } => lists::queues(snapshot, page, out)?,
        Read::QueuePeek { queue, state, page } => lists::jobs(snapshot, queue, *state, page, out)?,
        Read::LogRead { from, limit, types } => {
            lists::events(snapshot, *from, *limit, types.as_deref(), out)?;
        }
    }
    Ok(())
}

fn kv_get(snapshot: &Snapshot, key: &str, out: &mut Vec<u8>) -> Result<()> {
    let missing = || kv::missing(key);
    let stored = snapshot.stored(&kv::table_key(key))?.ok_or_else(missing)?;
    let (seq, place) = kv::seq_and_place(&stored)?;
    let record = snapshot.record_at(seq, place)?.ok_or_else(missing)?;
    let (at, value) = items::key_value(&record)?;
    Fields(out).text("key", key).raw("value", value).number("seq", seq).raw("at", at);
    Ok(())
}

fn message_get(snapshot: &Snapshot, target: &messages::Target, out: &mut Vec<u8>) -> Result<()> {
    let record = messages::find(snapshot, target)?.record;
    let mut message = Vec::with_capacity(record.len());
    items::message(&record, &mut message)?;
    Fields(out).raw("message", &message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_panics_is_a_refusal() {
        let answer = contained(|| -> Result<()> { panic!("a defect") });
        assert_eq!(answer.map_err(|error| error.code()), Err(Code::Internal));
        assert_eq!(contained(|| Ok(7)), Ok(7));
    }
}
