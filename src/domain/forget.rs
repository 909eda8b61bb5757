//! Takes out of a table what stood on events that are lost from a compacted part of the log.
//!
//! The table of such a part is not folded anew: it is kept beside the part, because it cannot be
//! folded from what is left. So what refers to a lost event goes: a key and its value, a message, a
//! formula, a job, the answer to a request. Names, settings and counters stand in the table itself
//! and stay, so that no number is given twice. What comes behind is then applied as behind any loss:
//! see `lost`.

use std::collections::BTreeSet;

use super::jobs::Job;
use super::lost;
use super::table::{FIRST_POSTINGS_TAG, Facts, Table, malformed, number_in, tag};
use super::{chats, messages};
use crate::codec::read_ordered;
use crate::error::Result;

/// The events that a table refers to, of those from `first` to `last`. Messages to a recipient are
/// referred to by no key.
///
/// # Errors
/// What reading the table says.
pub fn references(facts: &dyn Facts, first: u64, last: u64) -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    facts.scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
        found.extend(reference(facts, key, value)?.filter(|seq| (first..=last).contains(seq)));
        Ok(true)
    })?;
    Ok(found)
}

/// The event whose record a key of the table needs.
fn reference(facts: &dyn Facts, key: &[u8], value: &[u8]) -> Result<Option<u64>> {
    Ok(match key.first() {
        Some(&(tag::KEY | tag::FORMULA | tag::ANSWERED)) => Some(number_in(value)?),
        // 0 where it was deleted: no event has that seq.
        Some(&tag::MESSAGE_CHANGE) => Some(number_in(value)?).filter(|edit| *edit > 0),
        Some(&(tag::FORMULA_ORDER | tag::JOB)) => Some(seq_in(key)?),
        Some(&tag::MESSAGE_NUMBER) => {
            let seq = number_in(value)?;
            Some(messages::change_of(facts, seq)?.unwrap_or(seq))
        }
        _ => None,
    })
}

fn seq_in(key: &[u8]) -> Result<u64> {
    let mut rest = key.get(1..).unwrap_or_default();
    read_ordered(&mut rest).ok_or_else(|| malformed("key"))
}

/// Takes out what refers to `gone`, and notes that these events are lost. `messages` says how many
/// messages are left: each has just one record in a compacted part.
///
/// # Errors
/// What reading the table says.
pub fn forget(table: &mut dyn Table, gone: &BTreeSet<u64>, messages: u64) -> Result<()> {
    let mut keys = Vec::new();
    let facts: &dyn Facts = table;
    facts.scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
        if reference(facts, key, value)?.is_some_and(|seq| gone.contains(&seq)) {
            keys.push(key.to_vec());
        }
        Ok(true)
    })?;
    for key in keys {
        take_out(key, table)?;
    }
    for seq in gone {
        if !lost::is_lost(table, *seq)? {
            lost::apply(*seq, table);
        }
    }
    table.counts_mut().messages = messages;
    Ok(())
}

fn take_out(key: Vec<u8>, table: &mut dyn Table) -> Result<()> {
    match key.first() {
        Some(&tag::KEY) => table.counts_mut().keys -= 1,
        Some(&tag::FORMULA) => table.counts_mut().formulas -= 1,
        Some(&tag::ANSWERED) => table.counts_mut().answered -= 1,
        // A later edit holds the whole message and brings it back, as if its post were lost.
        Some(&tag::MESSAGE_CHANGE) => lost::mark(seq_in(&key)?, table),
        Some(&tag::MESSAGE_NUMBER) => {
            let (app, chat) = chats::chat_in_key(&key)?;
            chats::count_message(table, &app, chat, |counters| counters.messages -= 1)?;
        }
        Some(&tag::JOB) => {
            if let Some((mut queue, job)) = Job::find(table, seq_in(&key)?)? {
                job.leave(&mut queue, table);
                queue.put(table);
            }
        }
        _ => {}
    }
    table.put(key, None);
    Ok(())
}
