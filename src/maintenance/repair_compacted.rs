//! Repairs the part of the log that was compacted. It is not folded anew, since events are missing from
//! it on purpose: its table lies beside it in a checkpoint. So what is good of a damaged segment goes
//! into a new one, what refers to lost events goes out of the table, and the list that names both is
//! put in place last, as at the end of a compaction. Until then all is as it was.
//!
//! Which events were there is told by the index. Without one it is told by the table and by what can
//! be read of damaged lines, and an event that both do not name may be lost unsaid.
//!
//! Where the checkpoint is damaged too, the table is folded from what is left after all: see
//! `domain::lost::fold_anew` for what that loses.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::courtesy::Courtesy;
use crate::domain::draft::{Circumstances, Draft, Outcome};
use crate::domain::event::Event;
use crate::domain::forget::{forget, references};
use crate::domain::parts::message_parts;
use crate::domain::table::{FIRST_POSTINGS_TAG, Facts, Nothing};
use crate::domain::{apply, lost};
use crate::error::{Code, Error, Result};
use crate::index::run::{Meta, Run, is_of_another_version, write_value};
use crate::index::run_writer::RunWriter;
use crate::log::compacted::Compacted;
use crate::log::frame::{CHECKSUM_BYTES, check_line, seq_of};
use crate::log::mend::{Around, Aside, Mended};
use crate::log::recovery::Failure;
use crate::log::segment;
use crate::storage::{Open, Storage, replace};
use crate::time::Timestamp;

use super::checkpoint::Checkpoint;
use super::repair::{Finding, finding, mended, of_another_version, read_or_empty, set_aside};

/// A part that was compacted, before a repair.
pub struct Part<'p> {
    storage: &'p dyn Storage,
    folder: &'p Path,
    compacted: &'p Compacted,
    uid: u32,
    /// The run of the index that knows which events are in the part.
    index: Option<Arc<Run>>,
    /// Its table. `None` when its checkpoint is damaged.
    table: Option<Checkpoint>,
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
    /// Events that are left, and those of them that hold the current form of a message.
    events: u64,
    messages: u64,
}

impl<'p> Part<'p> {
    /// One in the log folder `folder`; `runs` are those of the index, as far as it can be read.
    ///
    /// # Errors
    /// `Damage` when another version of this program wrote its checkpoint, `Io`.
    pub fn open(
        storage: &'p dyn Storage,
        folder: &'p Path,
        compacted: &'p Compacted,
        runs: &[Arc<Run>],
        uid: u32,
    ) -> std::result::Result<Self, Failure> {
        let index = runs.first().filter(|run| run.meta().generation == compacted.generation).cloned();
        let table = match Checkpoint::open(storage, folder, compacted) {
            Ok(table) => Some(table),
            Err(Failure::Damage { path, .. }) => {
                if is_of_another_version(&read_or_empty(storage, &path)?) {
                    return Err(of_another_version(&path, 0));
                }
                None
            }
            Err(failure) => return Err(failure),
        };
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
            let new = self.take(&path, &bytes, &done, &mut found)?;
            if let (Some(new), true) = (new, change) {
                let io = |error| Failure::Io { path: path.clone(), error };
                let finding = &found.findings[found.findings.len() - 1];
                set_aside(self.storage, &done, finding).map_err(io)?;
                replace(self.storage, &self.folder.join(new), &done.bytes.unwrap_or_default()).map_err(io)?;
            }
        }
        if self.table.is_none() {
            let finding = self.lost_checkpoint(&found, change)?;
            found.findings.insert(0, finding);
        }
        Ok(found)
    }

    /// Says what becomes of a checkpoint that is damaged; with `change` sets it aside.
    fn lost_checkpoint(&self, found: &Found, change: bool) -> std::result::Result<Finding, Failure> {
        let path = self.compacted.checkpoint_path(self.folder);
        let bytes = read_or_empty(self.storage, &path)?;
        let aside = if bytes.is_empty() { Vec::new() } else { vec![Aside { offset: 0, bytes }] };
        let done = Mended { aside, ..Mended::default() };
        let finding = Finding { untold: Some(self.untold(found)), ..finding(self.storage, &path, &done)? };
        if change {
            set_aside(self.storage, &done, &finding).map_err(|error| Failure::Io { path, error })?;
        }
        Ok(finding)
    }

    /// How many events are no more in the part.
    fn untold(&self, found: &Found) -> u64 {
        self.compacted.last.saturating_sub(found.events)
    }

    /// Notes what becomes of a segment. The name that it gets when it is damaged.
    fn take(
        &self,
        path: &Path,
        bytes: &[u8],
        done: &Mended,
        found: &mut Found,
    ) -> std::result::Result<Option<String>, Failure> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let records = || records_in(done.bytes.as_deref().unwrap_or(bytes));
        found.events += records().count() as u64;
        found.messages += records().filter(|json| message_parts(json).is_some()).count() as u64;
        found.at.clone_from(&done.at);
        if done.bytes.is_none() {
            found.names.push(name);
            return Ok(None);
        }
        found.findings.push(Finding { unnamed: self.index.is_none(), ..finding(self.storage, path, done)? });
        done.lost.iter().for_each(|(first, last)| found.lost.extend(*first..=*last));
        let first = segment::first_of(&name).map_or(1, |(first, _)| first);
        let new = segment::compacted_path(self.folder, first, self.compacted.generation + 1);
        let new = new.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.names.push(new.clone());
        Ok(Some(new))
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
        let mut named = match &self.table {
            Some(table) => references(table, first, last).map_err(|error| Failure::Damage {
                path: self.compacted.checkpoint_path(self.folder),
                offset: error.offset().unwrap_or(0),
                what: error.message().to_owned(),
            })?,
            None => BTreeSet::new(),
        };
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
        let failed = |error: io::Error| Error::new(Code::ReadOnly, error.to_string());
        let mut random = |_: &mut [u8]| {};
        let circumstances = Circumstances {
            at: Timestamp(0),
            at_text: b"",
            uid: self.uid,
            random: &mut random,
            reply_bytes: 0,
        };
        let before: &dyn Facts = self.table.as_ref().map_or(&Nothing, |table| table);
        let mut table = Draft::new(before, self.compacted.last + 1, circumstances, Outcome::default());
        let meta = match &self.table {
            Some(checkpoint) => {
                forget(&mut table, &found.lost, found.messages)?;
                if self.index.is_none() {
                    // Messages to recipients are named by no key: any that is not there may be lost.
                    let at_least_one = u64::from(table.counts().lost == 0);
                    lost::fold_anew(self.compacted.last, at_least_one, &mut table);
                }
                checkpoint.meta().clone()
            }
            None => self.fold(&mut table, found)?,
        };
        table.store_objects();
        let file = self.storage.open(path, Open::Create).map_err(failed)?;
        let (mut out, mut payload) = (RunWriter::to_file(file, 0, Courtesy::default().begin()), Vec::new());
        table.scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
            write_value(&mut payload, Some(value));
            out.add(key, &payload).map_err(failed)?;
            Ok(true)
        })?;
        let generation = self.compacted.generation + 1;
        out.into_file(
            Meta { generation, checkpoint: true, counts: table.counts(), ..meta },
            &[],
            true,
            &mut || {},
        )
    }

    /// Folds what is left into an empty table.
    fn fold(&self, table: &mut Draft<'_>, found: &Found) -> Result<Meta> {
        let last = self.compacted.last;
        let mut meta = Meta { first: 1, last, dense_from: last + 1, ..Meta::default() };
        lost::fold_anew(last, self.untold(found), table);
        let mut first_at = None;
        for name in &found.names {
            let bytes = read_or_empty(self.storage, &self.folder.join(name));
            let bytes = bytes.map_err(|failure| Error::new(Code::ReadOnly, failure.to_string()))?;
            for json in records_in(&bytes) {
                let event = Event::decode(json)?;
                apply(&event, table)?;
                meta.first_at = *first_at.get_or_insert(event.at);
                meta.last_at = event.at;
            }
        }
        Ok(meta)
    }
}

/// The records in a segment.
pub(super) fn records_in(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter_map(check_line).filter(|json| seq_of(json).is_some())
}
