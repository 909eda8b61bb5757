//! Copies the store as of a snapshot into a folder that a daemon starts on.
//!
//! Files are copied, never linked: a hard link would share the damage that a copy is there for. The
//! copy of the log is read back and checked; that of the index comes along so that a start on it need
//! not read the whole log.

use std::path::Path;
use std::sync::Arc;

use super::pace::Pace;
use crate::error::{Code, Error, Result};
use crate::index::files::RunFiles;
use crate::log::compacted::Compacted;
use crate::log::files::open_segments;
use crate::log::recovery::{Failure, Start, read_until};
use crate::log::segment::Segment;
use crate::snapshot::Snapshot;
use crate::storage::{File, Open, Storage};
use crate::store::Folders;
use crate::store::compacted_part::open_checkpoint;

const PIECE_BYTES: usize = 256 << 10;
/// Bytes that are written between two syncs, so that those of the writer never wait for much.
const SYNC_BYTES: u64 = 8 << 20;

/// What was copied.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Files of the log.
    pub segments: u64,
    /// Files of the index.
    pub runs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies everything up to the snapshot's last event into the folder `to`, and syncs it.
///
/// # Errors
/// `corrupt` when the log is damaged, `read_only` when the copy cannot be written, `shutting_down`.
pub fn copy(
    storage: &Arc<dyn Storage>,
    from: &Folders,
    snapshot: &Snapshot,
    to: &Path,
    pace: &mut Pace,
) -> Result<Copied> {
    let folders = Folders::new(to);
    let failed = |error: std::io::Error| Error::new(Code::ReadOnly, format!("the backup failed: {error}"));
    for folder in [&folders.log, &folders.index] {
        storage.create_folder(folder).map_err(failed)?;
    }
    let mut copied = Copied::default();
    for (number, segment) in snapshot.segments.iter().enumerate() {
        let newest = number + 1 == snapshot.segments.len();
        let length = if newest { end_of(segment, snapshot.last, pace)? } else { length_of(segment)? };
        let target = folders.log.join(segment.path.file_name().unwrap_or_default());
        copied.bytes += copy_file(storage.as_ref(), segment.file.as_ref(), length, &target, pace)?;
        copied.segments += 1;
    }
    let compacted = snapshot.compacted.as_ref();
    if compacted.last > 0 {
        let checkpoint = storage.open(&compacted.checkpoint_path(&from.log), Open::Read).map_err(failed)?;
        let target = compacted.checkpoint_path(&folders.log);
        let length = checkpoint.length().map_err(failed)?;
        copied.bytes += copy_file(storage.as_ref(), checkpoint.as_ref(), length, &target, pace)?;
        compacted.write(storage.as_ref(), &folders.log).map_err(failed)?;
    }
    let mut runs = Vec::new();
    for run in snapshot.runs.iter() {
        let (file, name) = run.file();
        let target = folders.index.join(name);
        copied.bytes += copy_file(storage.as_ref(), file, run.bytes(), &target, pace)?;
        copied.runs += 1;
        runs.push(Arc::clone(run));
    }
    RunFiles::new(Arc::clone(storage), folders.index.clone()).announce(&runs)?;
    for folder in [&folders.log, &folders.index, &folders.data] {
        storage.sync_folder(folder).map_err(failed)?;
    }
    check(storage.as_ref(), snapshot, &folders, pace)?;
    Ok(copied)
}

/// Reads the copy of the log back.
fn check(storage: &dyn Storage, snapshot: &Snapshot, folders: &Folders, pace: &mut Pace) -> Result<()> {
    let mut read = || {
        let compacted = Compacted::read(storage, &folders.log)?;
        if compacted.last > 0 {
            open_checkpoint(storage, &folders.log, &compacted, &mut |bytes| pace.moved(bytes))?;
        }
        let segments = open_segments(storage, &folders.log, &compacted, Open::Read)?.segments;
        read_until(segments, Start::default(), snapshot.last, &mut |segment, event| {
            pace.moved(event.json.len() as u64).map_err(|error| Failure::Io {
                path: segment.path.clone(),
                error: std::io::Error::other(error.to_string()),
            })
        })
    };
    let read = read();
    pace.check()?;
    // What is wrong with the copy is wrong with the file it was made from.
    let original = |copy: &Path| {
        let name = copy.file_name();
        let same = snapshot.segments.iter().find(|segment| segment.path.file_name() == name);
        same.map_or_else(|| copy.display().to_string(), |segment| segment.path.display().to_string())
    };
    match read {
        Ok(recovered) if recovered.last == snapshot.last => Ok(()),
        Ok(recovered) => {
            let newest = recovered.segments.last().map(|segment| original(&segment.path));
            let what = format!("the log ends behind event {}, and goes to {}", recovered.last, snapshot.last);
            Err(Error::corrupt(newest.unwrap_or_default(), recovered.end(), what))
        }
        Err(Failure::Damage { path, offset, what }) => Err(Error::corrupt(original(&path), offset, what)),
        Err(Failure::Io { error, .. }) => {
            Err(Error::new(Code::ReadOnly, format!("the backup cannot be read back: {error}")))
        }
    }
}

/// Where the frame of the event `last` ends in the newest segment; behind it the writer may be at work.
fn end_of(newest: &Arc<Segment>, last: u64, pace: &mut Pace) -> Result<u64> {
    let start = Start { last: newest.first - 1, offset: None };
    let read = read_until(vec![Arc::clone(newest)], start, last, &mut |_, event| {
        pace.moved(event.json.len() as u64).map_err(|error| Failure::Io {
            path: newest.path.clone(),
            error: std::io::Error::other(error.to_string()),
        })
    });
    pace.check()?;
    match read {
        // Short of the last event there is damage: the check of the copy names it.
        Ok(recovered) if recovered.last == last => Ok(recovered.end()),
        _ => length_of(newest),
    }
}

fn length_of(segment: &Segment) -> Result<u64> {
    segment.file.length().map_err(|error| {
        Error::corrupt(segment.path.display().to_string(), 0, format!("the file cannot be read: {error}"))
    })
}

/// Copies the first `length` bytes of a file, and syncs the copy. How many bytes it has.
fn copy_file(storage: &dyn Storage, from: &dyn File, length: u64, to: &Path, pace: &mut Pace) -> Result<u64> {
    let failed = |error: std::io::Error| Error::new(Code::ReadOnly, format!("the backup failed: {error}"));
    let copy = storage.open(to, Open::Create).map_err(failed)?;
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut place, mut synced) = (0, 0);
    while place < length {
        let count = usize::try_from(length - place).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let read = from.read_at(&mut buffer[..count], place).map_err(failed)?;
        if read == 0 {
            break;
        }
        copy.write_at(&buffer[..read], place).map_err(failed)?;
        place += read as u64;
        if place - synced >= SYNC_BYTES {
            copy.sync().map_err(failed)?;
            synced = place;
        }
        pace.moved(2 * read as u64)?;
    }
    copy.sync().map_err(failed)?;
    Ok(place)
}
