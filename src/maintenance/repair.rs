//! Repairs a damaged log while no daemon runs: what is damaged is set aside in files of its own, and
//! each segment that it was in is put in place anew, in one step. See `log::mend`.
//!
//! What a compaction wrote is not repaired: the table of that part is in its checkpoint. A backup is.
//!
//! One segment at a time is held in memory. A repair that was cut short is begun again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::index::files::RunFiles;
use crate::log::compacted::Compacted;
use crate::log::files::open_segments;
use crate::log::mend::{Around, Mended, OtherVersion, mend};
use crate::log::recovery::Failure;
use crate::log::segment::path;
use crate::storage::{Open, Storage, read_whole, replace};
use crate::store::Folders;

/// What is wrong with one segment, and what was or will be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// The segment.
    pub path: PathBuf,
    /// Damaged pieces: where, how many bytes, and the file they go to.
    pub aside: Vec<(u64, u64, PathBuf)>,
    /// First and last seqs of the events that are lost.
    pub lost: Vec<(u64, u64)>,
}

/// Looks at the whole log and tells `say` what is wrong; nothing is changed.
///
/// # Errors
/// `Io`; `Damage` when another version of this program wrote the log.
pub fn look(
    storage: &Arc<dyn Storage>,
    folders: &Folders,
    uid: u32,
    say: &mut dyn FnMut(&Finding),
) -> Result<Findings, Failure> {
    let files = RunFiles::new(Arc::clone(storage), folders.index.clone());
    walk(storage.as_ref(), folders, known_to(&files), uid, Change::Nothing, say)
}

/// Repairs the log. The index goes: it was made from events that are lost now, and comes back from the
/// log at the next start.
///
/// # Errors
/// As [`look`].
pub fn carry_out(storage: &Arc<dyn Storage>, folders: &Folders, uid: u32) -> Result<(), Failure> {
    let files = RunFiles::new(Arc::clone(storage), folders.index.clone());
    // How far the log went at least must be in the log before the index, which knows it, goes; and the
    // index must go before a log is whole that it does not follow from.
    walk(storage.as_ref(), folders, known_to(&files), uid, Change::Newest, &mut |_| {})?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::Io { path, error }
    };
    // Also what a repair that failed had renamed.
    storage.sync_folder(&folders.log).map_err(io(&folders.log))?;
    storage.create_folder(&folders.index).map_err(io(&folders.index))?;
    files.announce(&[]).map_err(|error| Failure::Io {
        path: folders.index.clone(),
        error: std::io::Error::other(error.message().to_owned()),
    })?;
    walk(storage.as_ref(), folders, 0, uid, Change::Everything, &mut |_| {})?;
    storage.sync_folder(&folders.log).map_err(io(&folders.log))
}

/// Which segments may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    Newest,
    Everything,
}

fn walk(
    storage: &dyn Storage,
    folders: &Folders,
    known: u64,
    uid: u32,
    change: Change,
    say: &mut dyn FnMut(&Finding),
) -> Result<Findings, Failure> {
    let compacted = Compacted::read(storage, &folders.log)?;
    let mut segments: Vec<(u64, PathBuf)> = open_segments(storage, &folders.log, &compacted, Open::Read)?
        .iter()
        .map(|segment| (segment.first, segment.path.clone()))
        .collect();
    if segments.first().is_none_or(|(first, _)| *first > 1) && (known > 0 || !segments.is_empty()) {
        // What came before is lost as a whole.
        segments.insert(0, (1, path(&folders.log, 1)));
    }
    let mut found = Findings::default();
    let mut around = Around { last: 0, until: None, known, at: BEGINNING.to_vec(), uid };
    for (number, (_, path)) in segments.iter().enumerate() {
        around.until = segments.get(number + 1).map(|(first, _)| first - 1);
        let io = |error| Failure::Io { path: path.clone(), error };
        let bytes = match read_whole(storage, path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && number == 0 => Vec::new(),
            read => read.map_err(io)?,
        };
        let mended = mend(&bytes, around.clone()).map_err(|OtherVersion(offset)| Failure::Damage {
            path: path.clone(),
            offset,
            what: "another version of this program wrote this: repair it with that one".to_owned(),
        })?;
        if mended.bytes.is_some() && around.last < compacted.last {
            // The table there is in a checkpoint, which knows what is lost, and cannot be folded anew.
            let what = "the damage lies in the part of the log that was compacted, which cannot be repaired";
            let offset = mended.aside.first().map_or(0, |piece| piece.offset);
            return Err(Failure::Damage { path: path.clone(), offset, what: what.to_owned() });
        }
        if let Some(bytes) = &mended.bytes {
            let finding = finding(path, &mended);
            say(&finding);
            found.segments += 1;
            found.lost += finding.lost.iter().map(|(first, last)| last - first + 1).sum::<u64>();
            let newest = around.until.is_none();
            if change == Change::Everything || (change == Change::Newest && newest) {
                for (piece, (_, _, file)) in mended.aside.iter().zip(&finding.aside) {
                    replace(storage, file, &piece.bytes).map_err(io)?;
                }
                replace(storage, path, bytes).map_err(io)?;
            }
        }
        (around.last, around.at) = (mended.last, mended.at);
    }
    Ok(found)
}

/// The time of events that were lost before any that is left.
const BEGINNING: &[u8] = b"1970-01-01T00:00:00.000000Z";

/// What a look at the whole log found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Findings {
    /// Segments that are damaged.
    pub segments: u64,
    /// Events that are lost.
    pub lost: u64,
}

fn finding(path: &Path, mended: &Mended) -> Finding {
    let aside = mended.aside.iter().map(|piece| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.damaged", piece.offset));
        (piece.offset, piece.bytes.len() as u64, PathBuf::from(name))
    });
    Finding { path: path.to_owned(), aside: aside.collect(), lost: mended.lost.clone() }
}

/// The last event that the index knows; 0 when it cannot be read.
fn known_to(files: &RunFiles) -> u64 {
    files.read(&mut |_| ()).ok().and_then(|runs| runs.last().map(|run| run.meta().last)).unwrap_or(0)
}
