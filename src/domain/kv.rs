//! Key-value: a key of the table is the seq of the event that last set it. Once it is in a file of the index
//! it also has where that event's line begins and how long it is, so that one read brings the value.

use std::borrow::Cow;

use super::draft::Draft;
use super::event::Fact;
use super::lost;
use super::table::{Facts, Table, malformed, number_in, number_value, tag};
use crate::codec::{read_varint, write_varint};
use crate::error::{Error, Result, shown};
use crate::json::fields::Fields;

/// The table's key of a key.
#[must_use]
pub fn table_key(key: &str) -> Vec<u8> {
    [&[tag::KEY], key.as_bytes()].concat()
}

/// Where the line of an event begins in its segment, and how many bytes there are up to the next one.
pub type Place = (u32, u32);

/// A value of the table as a file of the index has it: a key's has its event's place behind the seq, where that is
/// known.
#[must_use]
pub fn with_place<'v>(
    key: &[u8],
    value: &'v [u8],
    place: impl FnOnce(u64) -> Option<Place>,
) -> Cow<'v, [u8]> {
    let seq = if key.first() == Some(&tag::KEY) { number_in(value).ok() } else { None };
    let Some((offset, length)) = seq.and_then(place) else { return Cow::Borrowed(value) };
    let mut placed = value.to_vec();
    write_varint(&mut placed, u64::from(offset));
    write_varint(&mut placed, u64::from(length));
    Cow::Owned(placed)
}

/// A value as the table has it, less the place that a file of the index has with it.
#[must_use]
pub fn without_place<'v>(key: &[u8], value: &'v [u8]) -> &'v [u8] {
    let mut rest = value;
    match key.first() {
        Some(&tag::KEY) if read_varint(&mut rest).is_some() => &value[..value.len() - rest.len()],
        _ => value,
    }
}

/// What the value of a key in a file of the index says: the seq, and the place if it has one. The event lies
/// elsewhere once the log was compacted.
///
/// # Errors
/// `internal` when there is no seq.
pub fn seq_and_place(mut value: &[u8]) -> Result<(u64, Option<Place>)> {
    let seq = read_varint(&mut value).ok_or_else(|| malformed("number"))?;
    let mut number = || u32::try_from(read_varint(&mut value)?).ok();
    Ok((seq, number().zip(number())))
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
        return Err(missing(&key));
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

/// The refusal where a key is not there.
#[must_use]
pub fn missing(key: &str) -> Error {
    Error::not_found(format!("there is no key {:?}", shown(key)))
}

fn other_seq(key: &str, wanted: u64, current: Option<u64>) -> Error {
    let shown = shown(key);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_file_has_the_place_of_its_event_and_nothing_else_has() {
        let value = number_value(700);
        let placed = |key: &[u8], place| with_place(key, &value, |seq| Some(place).filter(|_| seq == 700));
        let there = placed(&table_key("k"), (100_000, 90));
        assert_eq!(seq_and_place(&there).ok(), Some((700, Some((100_000, 90)))));
        assert_eq!(seq_and_place(&value).ok(), Some((700, None)));
        assert_eq!(without_place(&table_key("k"), &there), value);
        assert_eq!(without_place(&[tag::FORMULA, b'k'], &there), &*there);
        assert_eq!(placed(&[tag::FORMULA, b'k'], (1, 2)), value);
        assert_eq!(with_place(&table_key("k"), &value, |_| None), value);
    }
}
