//! Reads everything again: every frame and record of the log, every block and table of the index, the lists that name
//! files, and whether the index finds each record where it lies.

use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::index::files::RunFiles;
use crate::json::fields::Fields;
use crate::log::compacted::Compacted;
use crate::log::recovery::{Failure, Recovered, Start, read_until};
use crate::log::segment::Segment;
use crate::snapshot::Snapshot;
use crate::storage::Storage;
use crate::storage::folder::GONE;
use crate::store::Folders;
use crate::store::compacted_part::open_checkpoint;

use super::pace::Pace;
use super::{corrupt, log_names};

/// What was checked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Files of the log.
    pub segments: u64,
    /// Batches in them.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// Files of the index.
    pub runs: u64,
    /// Bytes of all these files.
    pub bytes: u64,
}

/// `log.verify`: everything up to the snapshot's last event. The fields of the reply.
///
/// # Errors
/// `corrupt` with file and offset of the first damage, `read_only` when a file of the log is gone from its place or a
/// compaction is not confirmed, `shutting_down`.
pub fn run(
    snapshot: &Snapshot,
    storage: &Arc<dyn Storage>,
    folders: &Folders,
    pace: &mut Pace,
) -> Result<Vec<u8>> {
    let names = log_names(storage, folders)?;
    // Open files can be read when they are gone, and only as long as they are open.
    let is_there = |segment: &Segment| names.iter().any(|name| segment.path.ends_with(name));
    if let Some(gone) = snapshot.segments.iter().find(|segment| !is_there(segment)) {
        return Err(Error::new(Code::ReadOnly, format!("{}: the file {GONE}", gone.path.display())));
    }
    let mut found = Verified::default();
    let read = log(snapshot, snapshot.last, pace, &mut found);
    let reached = read.and_then(|recovered| recovered.must_reach(snapshot.last));
    reached.map_err(|failure| ended(pace, failure))?;
    let compacted = Compacted::read(storage.as_ref(), &folders.log).map_err(corrupt)?;
    if compacted.generation > snapshot.compacted.generation {
        let message = format!(
            "{}: the log was compacted, and nobody knows whether the disk has that: send log.compact again",
            Compacted::path(&folders.log).display()
        );
        return Err(Error::new(Code::ReadOnly, message));
    }
    if compacted != *snapshot.compacted {
        let path = Compacted::path(&folders.log).display().to_string();
        return Err(Error::corrupt(path, 0, "it does not say how far the log is compacted"));
    }
    if compacted.last > 0 {
        let mut moved = |bytes| pace.moved(bytes);
        let checkpoint = open_checkpoint(storage.as_ref(), &folders.log, &snapshot.compacted, &mut moved);
        found.bytes += checkpoint.map_err(|failure| ended(pace, failure))?.bytes();
    }
    RunFiles::new(Arc::clone(storage), folders.index.clone()).check_lists()?;
    for run in snapshot.runs.iter() {
        run.reread(&mut |bytes| pace.moved(bytes))?;
        found.runs += 1;
        found.bytes += run.bytes();
    }
    let mut fields = Vec::new();
    Fields(&mut fields)
        .number("seq", snapshot.last)
        .number("segments", found.segments)
        .number("frames", found.frames)
        .number("events", found.events)
        .number("runs", found.runs)
        .number("bytes", found.bytes);
    Ok(fields)
}

/// Damage, unless the work was given up.
fn ended(pace: &Pace, failure: Failure) -> Error {
    pace.check().err().unwrap_or_else(|| corrupt(failure))
}

/// Reads the log of a snapshot up to the event `until`, and counts what is there.
///
/// # Errors
/// `Damage`, `Io`.
pub fn log(
    snapshot: &Snapshot,
    until: u64,
    pace: &mut Pace,
    found: &mut Verified,
) -> std::result::Result<Recovered, Failure> {
    let segments = snapshot.segments.as_ref().clone();
    found.segments = segments.len() as u64;
    let recovered = read_until(segments, Start::default(), until, &mut |segment, event| {
        found.events += 1;
        found.frames += u64::from(event.ends_frame);
        let at = |error: Error| Failure::Damage {
            path: error.file().map_or_else(|| segment.path.clone(), Into::into),
            offset: error.offset().unwrap_or(event.offset),
            what: error.message().to_owned(),
        };
        if event.seq <= snapshot.last {
            let place = snapshot.place(event.seq).map_err(at)?;
            let place = place.map(|place| (place.segment.first, place.offset));
            if place != Some((segment.first, event.offset)) {
                let what = format!(
                    "event {} is here, and the index has it elsewhere: move the folder `index` away while no \
                     daemon runs, it comes back from the log",
                    event.seq
                );
                return Err(Failure::Damage { path: segment.path.clone(), offset: event.offset, what });
            }
        }
        pace.read(segment, &event)
    })?;
    for segment in recovered.segments.iter().rev().skip(1) {
        let io = |error| Failure::Io { path: segment.path.clone(), error };
        found.bytes += segment.file.length().map_err(io)?;
    }
    found.bytes += recovered.end();
    Ok(recovered)
}
