//! `msglogd check`: verifies a data folder that no daemon has open. Nothing is changed.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::{Exit, damaged, print};
use crate::error::{Code, Error};
use crate::index::files::RunFiles;
use crate::index::run::Run;
use crate::log::compacted::Compacted;
use crate::log::files::open_segments;
use crate::log::recovery::Failure;
use crate::maintenance::checkpoint::{self, NEEDLESS};
use crate::maintenance::pace::Pace;
use crate::maintenance::verify::{self, Verified};
use crate::paths::move_away;
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
    let _lock = super::data_folder::lock_to_look(data)?;
    let folders = Folders::new(data);
    let failed = |failure: Failure| refusal(&failure, data, &folders);
    let compacted = Compacted::read(&Disk, &folders.log).map_err(failed)?;
    let log_files = open_segments(&Disk, &folders.log, &compacted, Open::Read).map_err(failed)?;
    let progress = Progress::of_bytes("checking", bytes_of(&folders.log) + bytes_of(&folders.index));
    let mut pace = Pace::full().watched_by(progress.counter());
    let mut lost = None;
    let (runs, damage) = check_runs(&folders.index, &mut lost, &mut pace)?;
    let known = runs.last().map_or(0, |run| run.meta().last);
    // A compaction ended after the log and before the index: its places are not to be compared. Nor are damaged ones.
    let is_old = runs.first().is_some_and(|run| run.meta().generation != compacted.generation);
    let used = if is_old || damage.is_some() { Vec::new() } else { runs.clone() };
    let last = used.last().map_or(0, |run| run.meta().last);
    let segments = log_files.segments.clone();
    log_files.check_beginning(&folders.log, &compacted, known).map_err(failed)?;
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
            Failure::Damage { ref path, .. } if checkpoint::is_needless(path, &runs) => {
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
    if let Some(error) = damage {
        // All that it was made from is whole.
        return Err(Exit::Damage(format!(
            "damaged index: {error}; it comes back from the log; run: {}",
            move_away(&folders.index)
        )));
    }
    if let Some(error) = lost {
        return Err(Exit::Damage(format!(
            "damaged index: {error}; nothing need be done: the next start reads what it held from the log"
        )));
    }
    let Verified { segments, events, .. } = found;
    print(&format!(
        "{}: {}, {} and {}: every checksum holds\n",
        data.display(),
        counted(events, "event"),
        counted(segments, "segment"),
        counted(runs.len() as u64, "index file"),
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

/// The run files of the index, as a start takes them: a file that no list names is none of them. And the first damage
/// in it. `lost` is why recent ones are left out; a start does not need them.
fn check_runs(folder: &Path, lost: &mut Option<Error>, pace: &mut Pace) -> Result<Runs, Exit> {
    let files = RunFiles::new(Arc::new(Disk), folder.to_owned());
    match files.read(&mut |error| *lost = Some(error.clone())) {
        Ok(runs) => {
            let damage = runs.iter().find_map(|run| run.verify(&mut |bytes| pace.moved(bytes)).err());
            Ok((runs, damage))
        }
        Err(error) if error.code() == Code::Corrupt => Ok((Vec::new(), Some(error))),
        Err(error) => Err(Exit::Io(error.message().to_owned())),
    }
}

/// The run files of an index, and what is wrong with them.
type Runs = (Vec<Arc<Run>>, Option<Error>);
