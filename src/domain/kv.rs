//! Key-value: a key of the table is the seq of the event that last set it.

use super::event::Fact;
use super::lost;
use super::table::{Draft, Facts, Table, number_in, number_value, tag};
use crate::error::{Error, Result};
use crate::json::fields::Fields;

/// The table's key of a key.
#[must_use]
pub fn table_key(key: &str) -> Vec<u8> {
    [&[tag::KEY], key.as_bytes()].concat()
}

/// The seq of the event that last set a key.
///
/// # Errors
/// What reading the table says.
pub fn seq_of(facts: &dyn Facts, key: &str) -> Result<Option<u64>> {
    facts.get(&table_key(key))?.map(|value| number_in(&value)).transpose()
}

/// `kv.set`
///
/// # Errors
/// `conflict` when `if_seq` does not hold.
pub fn set(draft: &mut Draft<'_>, key: String, value: String, if_seq: Option<u64>) -> Result<()> {
    let current = seq_of(draft, &key)?;
    if let Some(wanted) = if_seq
        && wanted != current.unwrap_or(0)
    {
        return Err(other_seq(&key, wanted, current));
    }
    let created = current.is_none();
    let seq = draft.emit(Fact::KeySet { key, value, created })?;
    Fields(draft.reply()).number("seq", seq).flag("created", created);
    Ok(())
}

/// `kv.delete`
///
/// # Errors
/// `not_found`, or `conflict` when `if_seq` does not hold.
pub fn delete(draft: &mut Draft<'_>, key: String, if_seq: Option<u64>) -> Result<()> {
    let Some(current) = seq_of(draft, &key)? else {
        return Err(Error::not_found("there is no such key"));
    };
    if let Some(wanted) = if_seq
        && wanted != current
    {
        return Err(other_seq(&key, wanted, Some(current)));
    }
    let seq = draft.emit(Fact::KeyDeleted { key })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

fn other_seq(key: &str, wanted: u64, current: Option<u64>) -> Error {
    let shown: String = key.chars().take(40).collect();
    Error::conflict(match (wanted, current) {
        (_, None) => format!("if_seq is {wanted}, and there is no key {shown:?}"),
        (0, Some(current)) => format!("key {shown:?} is there already, at seq {current}"),
        (_, Some(current)) => format!("key {shown:?} is at seq {current}, not {wanted}"),
    })
    .of_field("if_seq")
}

/// Applies what happened to a key.
///
/// # Errors
/// What reading the table says.
pub fn apply(seq: u64, fact: &Fact, table: &mut dyn Table) -> Result<()> {
    match fact {
        Fact::KeySet { key, created, .. } => {
            let key = table_key(key);
            let created = if lost::some(table) { table.get(&key)?.is_none() } else { *created };
            table.put(key, Some(number_value(seq)));
            table.counts_mut().keys += u64::from(created);
        }
        Fact::KeyDeleted { key } => {
            let key = table_key(key);
            let there = !lost::some(table) || table.get(&key)?.is_some();
            table.put(key, None);
            table.counts_mut().keys -= u64::from(there);
        }
        _ => {}
    }
    Ok(())
}
