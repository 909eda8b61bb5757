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
use crate::log::recovery::{Failure, Found, Start, read_until};
use crate::log::segment::Segment;
use crate::report;
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
    for folder in [&folders.log, &folders.index] {
        storage.create_folder(folder).map_err(unwritten(folder))?;
    }
    let mut copied = Copied::default();
    for (number, segment) in snapshot.segments.iter().enumerate() {
        let newest = number + 1 == snapshot.segments.len();
        let length = if newest { end_of(segment, snapshot.last, pace)? } else { length_of(segment)? };
        let target = folders.log.join(segment.path.file_name().unwrap_or_default());
        copied.bytes += copy_file(storage, (&segment.path, segment.file.as_ref()), length, &target, pace)?;
        copied.segments += 1;
    }
    let compacted = snapshot.compacted.as_ref();
    if compacted.last > 0 {
        let path = compacted.checkpoint_path(&from.log);
        let checkpoint = snapshot.checkpoint.clone().map_or_else(|| storage.open(&path, Open::Read), Ok);
        let checkpoint = checkpoint.map_err(unreadable(&path, 0))?;
        let target = compacted.checkpoint_path(&folders.log);
        let length = checkpoint.length().map_err(unreadable(&path, 0))?;
        copied.bytes += copy_file(storage, (&path, checkpoint.as_ref()), length, &target, pace)?;
        let list = Compacted::path(&folders.log);
        compacted.write(storage.as_ref(), &folders.log).map_err(unwritten(&list))?;
    }
    let (mut runs, mut index_bytes) = (Vec::new(), 0);
    for run in snapshot.runs.iter() {
        let (file, name) = run.file();
        let target = folders.index.join(name);
        let path = from.index.join(name);
        index_bytes += copy_file(storage, (&path, file), run.bytes(), &target, pace)?;
        runs.push(Arc::clone(run));
    }
    RunFiles::new(Arc::clone(storage), folders.index.clone()).announce(&runs)?;
    for folder in [&folders.log, &folders.index, &folders.data] {
        storage.sync_folder(folder).map_err(unwritten(folder))?;
    }
    check(storage.as_ref(), snapshot, &folders, pace)?;
    if check_index(storage, &folders, pace)? {
        copied.bytes += index_bytes;
        copied.runs = runs.len() as u64;
    }
    Ok(copied)
}

/// Reads the copy of the index back. One that is damaged is left out, as it comes back from the log; then the answer is
/// `false`.
fn check_index(storage: &Arc<dyn Storage>, folders: &Folders, pace: &mut Pace) -> Result<bool> {
    let files = RunFiles::new(Arc::clone(storage), folders.index.clone());
    let mut damage = None;
    let checked = files.read(&mut |error| damage = Some(error.clone()));
    let checked =
        checked.and_then(|runs| runs.iter().try_for_each(|run| run.verify(&mut |bytes| pace.moved(bytes))));
    match checked {
        Err(error) if error.code() == Code::Corrupt => damage = Some(error),
        checked => checked?,
    }
    let Some(damage) = damage else { return Ok(true) };
    report::warning(&format!(
        "the index is damaged, and its copy: {damage}; the backup has none, and a daemon that starts on it makes one; \
         run: msglog log verify"
    ));
    files.announce(&[])?;
    files.remove_others()?;
    Ok(false)
}

/// What cannot be written to the copy.
fn unwritten(path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::new(Code::ReadOnly, format!("the backup failed: {}: {error}", path.display()))
}

/// What cannot be read of the original.
fn unreadable(path: &Path, offset: u64) -> impl Fn(std::io::Error) -> Error {
    move |error| {
        let what = format!("the file cannot be read: {error}");
        Error::corrupt(path.display().to_string(), offset, what)
    }
}

/// Reads the copy of the log back.
fn check(storage: &dyn Storage, snapshot: &Snapshot, folders: &Folders, pace: &mut Pace) -> Result<()> {
    let mut read = || {
        let compacted = Compacted::read(storage, &folders.log)?;
        if compacted.last > 0 {
            open_checkpoint(storage, &folders.log, &compacted, &mut |bytes| pace.moved(bytes))?;
        }
        let segments = open_segments(storage, &folders.log, &compacted, Open::Read)?.segments;
        let visit = &mut |segment: &Segment, event: Found<'_>| pace.read(segment, &event);
        read_until(segments, Start::default(), snapshot.last, visit)?.must_reach(snapshot.last)
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
        Ok(()) => Ok(()),
        Err(Failure::Damage { path, offset, what }) => Err(Error::corrupt(original(&path), offset, what)),
        Err(failure @ Failure::Io { .. }) => {
            Err(Error::new(Code::ReadOnly, format!("the backup cannot be read back: {failure}")))
        }
    }
}

/// Where the frame of the event `last` ends in the newest segment; behind it the writer may be at work.
fn end_of(newest: &Arc<Segment>, last: u64, pace: &mut Pace) -> Result<u64> {
    let start = Start { last: newest.first - 1, offset: None };
    let visit = &mut |segment: &Segment, event: Found<'_>| pace.read(segment, &event);
    let read = read_until(vec![Arc::clone(newest)], start, last, visit);
    pace.check()?;
    match read {
        // Short of the last event there is damage: the check of the copy names it.
        Ok(recovered) if recovered.last == last => Ok(recovered.end()),
        _ => length_of(newest),
    }
}

fn length_of(segment: &Segment) -> Result<u64> {
    segment.file.length().map_err(unreadable(&segment.path, 0))
}

/// Copies the first `length` bytes of a file, and syncs the copy. How many bytes it has.
fn copy_file(
    storage: &Arc<dyn Storage>,
    (path, from): (&Path, &dyn File),
    length: u64,
    to: &Path,
    pace: &mut Pace,
) -> Result<u64> {
    let failed = unwritten(to);
    let copy = storage.open(to, Open::Create).map_err(&failed)?;
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut place, mut synced) = (0, 0);
    while place < length {
        let count = usize::try_from(length - place).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let read = from.read_at(&mut buffer[..count], place).map_err(unreadable(path, place))?;
        if read == 0 {
            break;
        }
        copy.write_at(&buffer[..read], place).map_err(&failed)?;
        place += read as u64;
        if place - synced >= SYNC_BYTES {
            copy.sync().map_err(&failed)?;
            synced = place;
        }
        pace.moved(2 * read as u64)?;
    }
    copy.sync().map_err(&failed)?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;
    use crate::log::frame::Frame;
    use crate::storage::failing::{Call, Failing, fail_if};
    use crate::store;

    #[test]
    fn what_cannot_be_read_is_told_as_damage_and_what_cannot_be_written_as_that_each_with_its_file() {
        for (call, folder, code) in
            [(Call::Read, "/data", Code::Corrupt), (Call::Sync, "/copy", Code::ReadOnly)]
        {
            let bad = Arc::new(AtomicBool::new(false));
            let fault = Arc::clone(&bad);
            let storage = Failing::in_memory(move |what, path| {
                let is_segment = path.starts_with(folder) && path.extension().is_some_and(|end| end == "log");
                if what == call && is_segment { fail_if(&fault) } else { Ok(()) }
            });
            let from = Folders::new(Path::new("/data"));
            let mut store = store::open(&storage, &from, 1 << 20, &mut ()).expect("memory");
            let mut frame = Frame::default();
            frame.add(br#"{"seq":1,"at":"1970-01-01T00:00:00.000001Z"}"#);
            store.log.append(1, 1, &mut frame).expect("memory");
            let snapshot = Snapshot { last: 1, ..store.snapshot };
            bad.store(true, SeqCst);
            let failed = copy(&storage, &from, &snapshot, Path::new("/copy"), &mut Pace::full());
            let error = failed.expect_err("it fails");
            let file = format!("{folder}/log/00000000000000000001.log");
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(&file), "{error}");
        }
    }
}
