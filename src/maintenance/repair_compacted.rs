//! Repairs the part of the log that was compacted. It is not folded anew, since events are missing from
//! it on purpose: its table lies beside it in a checkpoint. So what is good of a damaged segment goes
//! into a new one, what refers to lost events goes out of the table, and the list that names both is
//! put in place last, as at the end of a compaction. Until then all is as it was.
//!
//! Which events were there is told by the index. Without one it is told by the table and by what can
//! be read of damaged lines, and an event that both do not name may be lost unsaid.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::domain::forget::{forget, references};
use crate::domain::record::message_parts;
use crate::domain::table::{Circumstances, Counts, Draft, FIRST_POSTINGS_TAG, Facts, Outcome, Visit};
use crate::error::{Error, Result};
use crate::index::run::{Meta, Position, Run, value_in, write_value};
use crate::index::run_writer::RunWriter;
use crate::log::compacted::Compacted;
use crate::log::frame::{CHECKSUM_BYTES, check_line, seq_of};
use crate::log::mend::{Around, Mended};
use crate::log::recovery::Failure;
use crate::log::segment;
use crate::storage::{Open, Storage, replace};
use crate::store::compacted_part::open_checkpoint;
use crate::time::Timestamp;

use super::repair::{Finding, finding, mended, read_or_empty, set_aside};

/// A part that was compacted, before a repair.
pub struct Part<'p> {
    storage: &'p dyn Storage,
    folder: &'p Path,
    compacted: &'p Compacted,
    uid: u32,
    /// The run of the index that knows which events are in the part.
    index: Option<Arc<Run>>,
    table: Checkpoint,
}

/// What the last compaction left, when its list is damaged or missing: the newest of those whose
/// checkpoint and segments are all there and whole. `None` when there is none, or the list says what
/// this program does not know.
///
/// # Errors
/// `Io`; `Damage` when another version of this program wrote it.
pub fn find(storage: &dyn Storage, folder: &Path) -> std::result::Result<Option<Compacted>, Failure> {
    let io = |error| Failure::Io { path: folder.to_owned(), error };
    if Compacted::is_whole(&read_or_empty(storage, &Compacted::path(folder))?) {
        return Ok(None);
    }
    let names = storage.list(folder).map_err(io)?;
    if names.iter().any(|name| segment::first_of(name) == Some((1, 0))) {
        // Nothing was compacted, or what was before is still there.
        return Ok(None);
    }
    let mut made: Vec<(u64, u64)> = names.iter().filter_map(|name| Compacted::of_checkpoint(name)).collect();
    made.sort_unstable_by(|one, other| other.cmp(one));
    for (generation, last) in made {
        if let Some(segments) = chain(storage, folder, &names, generation, last)? {
            let found = Compacted::new(generation, last, segments);
            if open_checkpoint(storage, folder, &found, &mut |_| Ok(())).is_ok() {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// The segments up to the event `last` that compactions up to `generation` made, if they follow each
/// other without a gap and are whole.
fn chain(
    storage: &dyn Storage,
    folder: &Path,
    names: &[String],
    generation: u64,
    last: u64,
) -> std::result::Result<Option<Vec<String>>, Failure> {
    let (mut end, mut found) = (0, Vec::new());
    while end < last {
        let next = names.iter().filter_map(|name| Some((segment::first_of(name)?, name)));
        let next = next.filter(|((first, made), _)| *first == end + 1 && (1..=generation).contains(made));
        let Some((_, name)) = next.max() else { return Ok(None) };
        let path = folder.join(name);
        let bytes = read_or_empty(storage, &path)?;
        let around =
            Around { last: end, until: None, known: 0, at: Vec::new(), uid: 0, was_there: &|_| false };
        let done = mended(&path, &bytes, around)?;
        if done.bytes.is_some() || done.last <= end || done.last > last {
            return Ok(None);
        }
        end = done.last;
        found.push(name.clone());
    }
    Ok(Some(found))
}

/// What was found in a part.
#[derive(Default)]
pub struct Found {
    /// The damaged segments.
    pub findings: Vec<Finding>,
    /// The time of the last event that is left, as text.
    pub at: Vec<u8>,
    /// The segments as they will be.
    names: Vec<String>,
    lost: BTreeSet<u64>,
    /// Messages that are left.
    messages: u64,
}

impl<'p> Part<'p> {
    /// One in the log folder `folder`; `runs` are those of the index, as far as it can be read.
    ///
    /// # Errors
    /// `Damage` when the checkpoint of its table is damaged, `Io`.
    pub fn open(
        storage: &'p dyn Storage,
        folder: &'p Path,
        compacted: &'p Compacted,
        runs: &[Arc<Run>],
        uid: u32,
    ) -> std::result::Result<Self, Failure> {
        let index = runs.first().filter(|run| run.meta().generation == compacted.generation).cloned();
        let table = open_checkpoint(storage, folder, compacted, &mut |_| Ok(()));
        let table = Checkpoint(table.map_err(|failure| match failure {
            Failure::Damage { path, offset, what } if index.is_some() => {
                let what = format!("{what} (a daemon starts all the same, and log.compact makes it anew)");
                Failure::Damage { path, offset, what }
            }
            other => other,
        })?);
        Ok(Part { storage, folder, compacted, uid, index, table })
    }

    /// Looks at every segment; with `change` it sets aside what is damaged and writes what is good of
    /// it under new names, which nothing refers to yet.
    ///
    /// # Errors
    /// `Io`; `Damage` when another version of this program wrote it.
    pub fn walk(&self, at: &[u8], change: bool) -> std::result::Result<Found, Failure> {
        let mut found = Found { at: at.to_vec(), ..Found::default() };
        let mut last = 0;
        for (number, name) in self.compacted.segments.iter().enumerate() {
            let path = self.folder.join(name);
            let next = self.compacted.segments.get(number + 1).and_then(|next| segment::first_of(next));
            let until = next.map_or(self.compacted.last, |(first, _)| first.saturating_sub(1));
            let bytes = read_or_empty(self.storage, &path)?;
            let at = found.at.clone();
            let around = |was_there| Around {
                last,
                until: Some(until),
                known: 0,
                at: at.clone(),
                uid: self.uid,
                was_there,
            };
            let mut done = mended(&path, &bytes, around(&|_| false))?;
            if done.bytes.is_some() {
                let named = self.named(&done, last + 1, until)?;
                let was_there =
                    |seq| named.as_ref().map_or_else(|| self.indexed(seq), |named| named.contains(&seq));
                done = mended(&path, &bytes, around(&was_there))?;
            }
            last = until;
            let new = self.take(&path, &bytes, &done, &mut found);
            if let (Some(new), true) = (new, change) {
                let io = |error| Failure::Io { path: path.clone(), error };
                let finding = &found.findings[found.findings.len() - 1];
                set_aside(self.storage, &done, finding).map_err(io)?;
                replace(self.storage, &self.folder.join(new), &done.bytes.unwrap_or_default()).map_err(io)?;
            }
        }
        Ok(found)
    }

    /// Notes what becomes of a segment. The name that it gets when it is damaged.
    fn take(&self, path: &Path, bytes: &[u8], done: &Mended, found: &mut Found) -> Option<String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.messages += messages_in(done.bytes.as_deref().unwrap_or(bytes));
        found.at.clone_from(&done.at);
        if done.bytes.is_none() {
            found.names.push(name);
            return None;
        }
        found.findings.push(finding(path, done));
        done.lost.iter().for_each(|(first, last)| found.lost.extend(*first..=*last));
        let first = segment::first_of(&name).map_or(1, |(first, _)| first);
        let new = segment::compacted_path(self.folder, first, self.compacted.generation + 1);
        let new = new.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.names.push(new.clone());
        Some(new)
    }

    /// Whether the index has an event. One that it cannot tell of was there.
    fn indexed(&self, seq: u64) -> bool {
        self.index.as_ref().is_none_or(|run| run.place(seq).map_or(true, |place| place.is_some()))
    }

    /// Without an index: the events that the table or a damaged line names.
    fn named(
        &self,
        done: &Mended,
        first: u64,
        last: u64,
    ) -> std::result::Result<Option<BTreeSet<u64>>, Failure> {
        if self.index.is_some() {
            return Ok(None);
        }
        let path = self.compacted.checkpoint_path(self.folder);
        let mut named = references(&self.table, first, last).map_err(|error| Failure::Damage {
            path,
            offset: error.offset().unwrap_or(0),
            what: error.message().to_owned(),
        })?;
        let lines = done.aside.iter().flat_map(|piece| piece.bytes.split(|byte| *byte == b'\n'));
        let seqs = lines.filter_map(|line| seq_of(line.get(CHECKSUM_BYTES..)?));
        named.extend(seqs.filter(|seq| (first..=last).contains(seq)));
        Ok(Some(named))
    }

    /// Makes what [`Part::walk`] wrote the compacted part of the log.
    ///
    /// # Errors
    /// `Io`, `Damage` in the checkpoint.
    pub fn finish(&self, found: &Found) -> std::result::Result<(), Failure> {
        let Compacted { generation, last, .. } = *self.compacted;
        let next = Compacted::new(generation + 1, last, found.names.clone());
        let path = next.checkpoint_path(self.folder);
        let failed = |error: Error| Failure::Io {
            path: path.clone(),
            error: io::Error::other(error.message().to_owned()),
        };
        self.write_table(&path, found).map_err(failed)?;
        let io = |error| Failure::Io { path: self.folder.to_owned(), error };
        self.storage.sync_folder(self.folder).map_err(io)?;
        next.write(self.storage, self.folder).map_err(io)
    }

    fn write_table(&self, path: &Path, found: &Found) -> Result<()> {
        let failed = |error: io::Error| Error::new(crate::error::Code::ReadOnly, error.to_string());
        let mut random = |_: &mut [u8]| {};
        let circumstances =
            Circumstances { at: Timestamp(0), at_text: b"", uid: self.uid, random: &mut random };
        let mut table = Draft::new(&self.table, self.compacted.last + 1, circumstances, Outcome::default());
        forget(&mut table, &found.lost, found.messages)?;
        table.store_queues();
        let file = self.storage.open(path, Open::Create).map_err(failed)?;
        let (mut out, mut payload) = (RunWriter::to_file(file, 0), Vec::new());
        table.scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
            write_value(&mut payload, Some(value));
            out.add(key, &payload).map_err(failed)?;
            Ok(true)
        })?;
        let before = self.table.0.meta();
        let meta = Meta { generation: before.generation + 1, counts: table.counts(), ..before.clone() };
        out.into_file(meta, &[], true)
    }
}

/// How many records in a segment hold the current form of a message.
fn messages_in(bytes: &[u8]) -> u64 {
    let records = bytes.split(|byte| *byte == b'\n').filter_map(check_line);
    records.filter(|json| message_parts(json).is_some()).count() as u64
}

/// The table as it was when the part was compacted.
struct Checkpoint(Run);

impl Facts for Checkpoint {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        // It has no filter to ask.
        let mut place = Position::new(&self.0);
        let there = place.seek(key)? && place.key() == key;
        Ok(if there { value_in(place.payload()).map(<[u8]>::to_vec) } else { None })
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let mut place = Position::new(&self.0);
        let mut more = place.seek(from)?;
        while more && place.key() < to {
            if let Some(value) = value_in(place.payload())
                && !visit(place.key(), value)?
            {
                break;
            }
            more = place.advance()?;
        }
        Ok(())
    }

    fn record(&self, _: u64) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn counts(&self) -> Counts {
        self.0.meta().counts
    }
}
