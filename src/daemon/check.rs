//! `msglogd check`: verifies a data folder that no daemon has open. Nothing is changed.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::{Exit, damaged, print};
use crate::error::{Code, Error};
use crate::index::files::RunFiles;
use crate::index::run::Run;
use crate::log::compacted::Compacted;
use crate::log::files::{check_beginning, open_segments};
use crate::log::recovery::Failure;
use crate::maintenance::checkpoint::{self, NEEDLESS};
use crate::maintenance::pace::Pace;
use crate::maintenance::verify::{self, Verified};
use crate::paths::for_shell;
use crate::progress::Progress;
use crate::snapshot::Snapshot;
use crate::storage::{Disk, Open, Storage};
use crate::store::Folders;
use crate::store::compacted_part::open_checkpoint;

/// Checks every record of the log and every block of the index.
///
/// # Errors
/// `Damage`, with all that was found.
pub fn run(data: &Path) -> Result<(), Exit> {
    let _lock = super::lock_to_look(data)?;
    let folders = Folders::new(data);
    let failed = |failure: Failure| refusal(&failure, data, &folders);
    let compacted = Compacted::read(&Disk, &folders.log).map_err(failed)?;
    let log_files = open_segments(&Disk, &folders.log, &compacted, Open::Read).map_err(failed)?;
    let progress = Progress::of_bytes("checking", bytes_of(&folders.log) + bytes_of(&folders.index));
    let mut pace = Pace::full().watched_by(progress.counter());
    let (runs, known) = check_runs(&folders.index, &mut pace)?;
    let mut lost = None;
    let mut note = |error: &Error| lost = Some(error.clone());
    let used = RunFiles::new(Arc::new(Disk), folders.index.clone()).read(&mut note);
    let used = used.and_then(|used| lost.map_or(Ok(used), Err));
    let used = used.map_err(|error| damaged_index(&error, &folders.index))?;
    // A compaction ended after the log and before the index: its places are not to be compared.
    let is_old = used.first().is_some_and(|run| run.meta().generation != compacted.generation);
    let used = if is_old { Vec::new() } else { used };
    let last = used.last().map_or(0, |run| run.meta().last);
    let segments = log_files.segments.clone();
    check_beginning(&segments, &folders.log, &compacted, known).map_err(failed)?;
    let snapshot =
        Snapshot { runs: Arc::new(used), segments: Arc::new(segments), last, ..Snapshot::default() };
    let mut found = Verified::default();
    let recovered = verify::log(&snapshot, u64::MAX, &mut pace, &mut found);
    progress.finish();
    let recovered = recovered.map_err(failed)?;
    log_files.check_end(recovered.last).map_err(failed)?;
    if compacted.last > 0 {
        let opened = open_checkpoint(&Disk, &folders.log, &compacted, &mut |_| Ok(()));
        opened.map_err(|failure| match failure {
            Failure::Damage { ref path, .. } if checkpoint::is_needless(path, &snapshot.runs) => {
                Exit::Damage(format!("damaged data: {failure}; {NEEDLESS}"))
            }
            failure => failed(failure),
        })?;
    }
    let torn = recovered.torn_length().map_err(failed)?;
    if known > recovered.last {
        let last = recovered.last;
        let message = format!(
            "the index knows events up to {known}, the log in {} ends at {last}",
            folders.log.display()
        );
        return Err(damaged(&format!("{message}: its end is lost"), data));
    }
    let Verified { segments, events, .. } = found;
    print(&format!(
        "{}, {} and {}: every checksum holds\n",
        counted(events, "event"),
        counted(segments, "segment"),
        counted(runs as u64, "index file"),
    ))?;
    if is_old {
        print("the index is of the log before it was compacted: the next start makes it anew\n")?;
    }
    if torn > 0 {
        print(&format!("the log ends in {torn} bytes of a torn write, which the next start sets aside\n"))?;
    }
    Ok(())
}

fn refusal(failure: &Failure, data: &Path, folders: &Folders) -> Exit {
    match failure {
        Failure::Damage { .. } => damaged(&failure.to_string(), data),
        // There was a log where there is an index.
        Failure::Io { path, error }
            if error.kind() == ErrorKind::NotFound && *path == folders.log && folders.index.exists() =>
        {
            damaged(&format!("{} is missing", path.display()), data)
        }
        Failure::Io { .. } => Exit::Io(failure.to_string()),
    }
}

/// So many of something.
fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Bytes of the files in a folder; what cannot be asked counts for nothing.
fn bytes_of(folder: &Path) -> u64 {
    let names = Disk.list(folder).unwrap_or_default();
    let about = names.iter().filter_map(|name| std::fs::metadata(folder.join(name)).ok());
    about.filter(std::fs::Metadata::is_file).map(|about| about.len()).sum()
}

fn damaged_index(error: &Error, folder: &Path) -> Exit {
    if error.code() != Code::Corrupt {
        return Exit::Io(error.message().to_owned());
    }
    Exit::Damage(format!("damaged index: {error}; it comes back from the log: remove {}", for_shell(folder)))
}

/// How many run files hold, and the last event that they know.
fn check_runs(folder: &Path, pace: &mut Pace) -> Result<(usize, u64), Exit> {
    let names = match Disk.list(folder) {
        // It may be removed at any time.
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|error| Exit::Io(format!("{}: {error}", folder.display())))?,
    };
    let (mut runs, mut known) = (0, 0);
    for name in
        names.iter().filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "run"))
    {
        let path = folder.join(name);
        let shown = path.display().to_string();
        let file = Disk.open(&path, Open::Read).map_err(|error| Exit::Io(format!("{shown}: {error}")))?;
        let checked = Run::open(file, &shown, &Arc::default(), true)
            .and_then(|run| run.verify(&mut |bytes| pace.moved(bytes)).map(|()| run.meta().last));
        known = known.max(checked.map_err(|error| damaged_index(&error, folder))?);
        runs += 1;
    }
    Ok((runs, known))
}
