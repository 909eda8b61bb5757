//! `msglogd check`: verifies a data folder that no daemon has open. Nothing is changed.

use std::path::Path;

use super::{Exit, print};
use crate::index::run::Run;
use crate::log::recovery::{self, Failure, Start};
use crate::storage::{Disk, Open, Storage};
use crate::store::{self, Folders};

/// Checks every record of the log and every block of the index.
///
/// # Errors
/// `Damage`, with all that was found.
pub fn run(data: &Path) -> Result<(), Exit> {
    let _lock = store::lock(data).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            Exit::Busy(format!("a daemon has the data folder {}: stop it first", data.display()))
        }
        _ => Exit::Io(format!("the data folder {}: {error}", data.display())),
    })?;
    let folders = Folders::new(data);
    let failed = |failure: Failure| match failure {
        Failure::Damage { .. } => Exit::Damage(format!("damaged data: {failure}")),
        Failure::Io { .. } => Exit::Io(failure.to_string()),
    };
    let segments = recovery::open_segments(&Disk, &folders.log, Open::Read).map_err(failed)?;
    let (count, mut events) = (segments.len(), 0_u64);
    let recovered = recovery::read(segments, Start::default(), &mut |_, _| {
        events += 1;
        Ok(())
    })
    .map_err(failed)?;
    let torn = recovered.torn_length().map_err(failed)?;
    let (runs, known) = check_runs(&folders.index)?;
    if known > recovered.last {
        let last = recovered.last;
        let message = format!(
            "the index knows events up to {known}, the log in {} ends at {last}",
            folders.log.display()
        );
        return Err(Exit::Damage(format!("damaged data: {message}: its end is lost")));
    }
    print(&format!("{events} events in {count} segments and {runs} index files: every checksum holds\n"));
    if torn > 0 {
        print(&format!("the log ends in {torn} bytes of a torn write, which the next start sets aside\n"));
    }
    Ok(())
}

/// How many run files hold, and the last event that they know.
fn check_runs(folder: &Path) -> Result<(usize, u64), Exit> {
    let names = Disk.list(folder).map_err(|error| Exit::Io(format!("{}: {error}", folder.display())))?;
    let (mut runs, mut known) = (0, 0);
    for name in
        names.iter().filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "run"))
    {
        let path = folder.join(name);
        let shown = path.display().to_string();
        let file = Disk.open(&path, Open::Read).map_err(|error| Exit::Io(format!("{shown}: {error}")))?;
        let checked = Run::open(file, &shown).and_then(|run| run.verify().map(|()| run.meta().last));
        let last = checked.map_err(|error| {
            Exit::Damage(format!(
                "damaged index: {error}; it comes back from the log: remove {}",
                folder.display()
            ))
        })?;
        known = known.max(last);
        runs += 1;
    }
    Ok((runs, known))
}
