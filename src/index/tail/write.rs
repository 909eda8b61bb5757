//! Makes a run file of what the tail holds.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::contents::{Change, Contents};
use crate::domain::kv;
use crate::error::Result;
use crate::index::postings_writer::PostingsWriter;
use crate::index::run::{Meta, UNPROVED_BYTES, write_value};
use crate::index::run_writer::{RunWriter, cannot_write};
use crate::index::terms::{Kind, is_of_edits, is_of_posts, term};

/// How many keys and terms there are to write.
#[must_use]
pub fn keys(contents: &Contents) -> u64 {
    (contents.values.keys() + contents.dictionary.terms()) as u64
}

/// Writes all entries but the places. `first` is the seq of the first event, and `offsets` has where the line of
/// each begins, if that is to stand with the keys. `bottom`: there is no older run, so that keys that were removed
/// can be left out. Sets what the description says of changes.
///
/// # Errors
/// `read_only` when it cannot be written.
pub fn write_entries(
    contents: &Contents,
    offsets: &[u32],
    first: u64,
    bottom: bool,
    meta: &mut Meta,
    writer: &mut RunWriter,
) -> Result<()> {
    write(contents, offsets, first, bottom, meta, writer).map_err(|error| cannot_write(&error))
}

fn write(
    contents: &Contents,
    offsets: &[u32],
    first: u64,
    bottom: bool,
    meta: &mut Meta,
    writer: &mut RunWriter,
) -> std::io::Result<()> {
    for (number, bits) in contents.columns.list() {
        writer.add_column(first + u64::from(*number), *bits)?;
    }
    writer.finish_columns()?;
    let mut payload = Vec::new();
    for (key, value) in contents.values.newest().filter(|(_, value)| !bottom || value.is_some()) {
        let placed = value.map(|value| kv::with_place(key, value, |seq| place(offsets, first, seq)));
        write_value(&mut payload, placed.as_deref());
        writer.add(key, &payload)?;
    }
    let mut changes = changes_before(contents, first).into_iter().peekable();
    let mut lists = PostingsWriter::default();
    let mut seqs = Vec::new();
    let touched = contents.changed_range().is_some_and(|(_, high)| high >= first);
    for (term, items) in contents.dictionary.sorted().iter() {
        while let Some((other, messages)) = changes.next_if(|(other, _)| other.as_slice() < term) {
            meta.note_changed(&messages);
            lists.write(writer, &other, messages.iter())?;
        }
        let tag = term.first().copied().unwrap_or_default();
        seqs.clear();
        if is_of_edits(tag) {
            seqs.extend(contents.edited(items.iter().copied(), u32::MAX));
            seqs.sort_unstable();
            seqs.dedup();
            meta.edits |= !seqs.is_empty();
        } else {
            seqs.extend(items.iter().map(|event| first + u64::from(*event)));
            if touched && is_of_posts(tag) {
                seqs.retain(|seq| !contents.is_changed(*seq, u32::MAX));
            }
        }
        lists.write(writer, term, seqs.iter().copied())?;
    }
    for (other, messages) in changes {
        meta.note_changed(&messages);
        lists.write(writer, &other, messages.iter())?;
    }
    Ok(())
}

/// Where the line of an event begins and how long it is, unless it is the last of its segment or of all.
fn place(offsets: &[u32], first: u64, seq: u64) -> Option<kv::Place> {
    let number = usize::try_from(seq.checked_sub(first)?).ok()?;
    let offset = *offsets.get(number)?;
    let length = offsets.get(number + 1)?.checked_sub(offset)?;
    (length < UNPROVED_BYTES).then_some((offset, length))
}

/// What is said of older messages: which were edited, and which deleted. Postings of own ones are left out
/// instead.
fn changes_before(contents: &Contents, first: u64) -> BTreeMap<Vec<u8>, RoaringTreemap> {
    let (mut edited, mut deleted) = (RoaringTreemap::new(), RoaringTreemap::new());
    for ((message, _), change) in contents.changed.range(..(first, 0)) {
        match change {
            Change::Edited(_) => edited.insert(*message),
            Change::Deleted => deleted.insert(*message),
        };
    }
    deleted |= contents.deletions.all();
    deleted.remove_range(first..);
    let lists = [(Kind::Edited, edited), (Kind::Deleted, deleted)];
    let some = lists.into_iter().filter(|(_, messages)| !messages.is_empty());
    some.map(|(kind, messages)| (term(kind, false, b""), messages)).collect()
}
