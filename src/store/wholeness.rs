//! Reads the log only for whether it is whole, and reaches as far as the index knows.

use std::sync::Arc;

use super::{LOOKING, Progress};
use crate::log::files::LogFiles;
use crate::log::recovery::{self, Failure, Recovered, Start};
use crate::log::segment::Segment;

/// Reads the log from its beginning up to the event `until`, only for whether it is whole and where it ends.
pub(super) fn look_through(
    segments: Vec<Arc<Segment>>,
    until: u64,
    progress: &mut dyn Progress,
) -> Result<Recovered, Failure> {
    recovery::read_until(segments, Start::default(), until, &mut |_, found| {
        if found.ends_frame {
            progress.gets_on(LOOKING);
        }
        Ok(())
    })
}

/// Checks that the log, read from its beginning, reaches an event that the index knows: what is in run
/// files was on disk in the log before.
pub(super) fn reaches(files: &LogFiles, known: u64, progress: &mut dyn Progress) -> Result<(), Failure> {
    let read = look_through(files.segments.clone(), u64::MAX, progress)?;
    if read.last >= known {
        return Ok(());
    }
    let what = format!("the log ends behind event {}, and the index knows event {known}", read.last);
    let newest = || read.segments.last().map(|newest| (newest.path.clone(), read.end()));
    let (path, offset) = files.begun().map(|path| (path, 0)).or_else(newest).unwrap_or_default();
    Err(Failure::Damage { path, offset, what })
}
