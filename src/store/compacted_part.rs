//! The part of the log that was compacted, at a start: the index knows it, or its run is made anew.

use std::path::Path;
use std::sync::Arc;

use super::replay::REPLAY_EVENTS;
use super::road::Road;
use super::wholeness::look_through;
use super::{CHECKING, Progress, Replayed, merging};
use crate::domain::event::Event;
use crate::error::Error;
use crate::index::files::RunFiles;
use crate::index::rebuild::Rebuild;
use crate::index::run::Run;
use crate::log::compacted::Compacted;
use crate::log::recovery::{Failure, Start, read_until};
use crate::log::segment::Segment;
use crate::storage::{File, Open, Storage};

/// What went wrong.
pub enum Trouble {
    /// With the log.
    Log(Failure),
    /// With the index.
    Index(Error),
}

/// The part of a log that was compacted.
pub struct Part<'p> {
    /// Its files' door.
    pub storage: &'p Arc<dyn Storage>,
    /// The folder of the log.
    pub folder: &'p Path,
    /// What names it.
    pub compacted: &'p Compacted,
    /// All segments of the log.
    pub segments: &'p [Arc<Segment>],
}

/// Opens the checkpoint of the table, and checks all of it; `moved` is told how many bytes each block
/// has.
///
/// # Errors
/// `Damage`, `Io`.
pub fn open_checkpoint(
    storage: &dyn Storage,
    folder: &Path,
    compacted: &Compacted,
    moved: &mut dyn FnMut(u64) -> crate::error::Result<()>,
) -> Result<Run, Failure> {
    let path = compacted.checkpoint_path(folder);
    let file = match storage.open(&path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::Damage {
                path,
                offset: 0,
                what: "the table's checkpoint is missing".to_owned(),
            });
        }
        Err(error) => return Err(Failure::Io { path, error }),
    };
    // It is read once, from end to end: nothing is worth keeping.
    let shown = path.display().to_string();
    let mut check = || {
        let run = Run::open(Arc::clone(&file), &shown, &Arc::default(), true)?;
        let meta = run.meta();
        if !meta.checkpoint || (meta.last, meta.generation) != (compacted.last, compacted.generation) {
            return Err(Error::corrupt(
                shown.as_str(),
                0,
                "it is of another part of the log than its name says",
            ));
        }
        run.verify(moved).map(|()| run)
    };
    let checked = match check() {
        Ok(run) => return Ok(run),
        // Only what can be read and is wrong all the same is damage.
        Err(_) => readable(file.as_ref()).map(|()| check()),
    };
    checked.map_err(|error| Failure::Io { path: path.clone(), error })?.map_err(|error| {
        let what = format!("the table's checkpoint: {}", error.message());
        Failure::Damage { path, offset: error.offset().unwrap_or(0), what }
    })
}

/// The same at a start.
pub(super) fn check_checkpoint(
    storage: &dyn Storage,
    folder: &Path,
    compacted: &Compacted,
    progress: &mut dyn Progress,
) -> Result<Run, Failure> {
    open_checkpoint(storage, folder, compacted, &mut |_| {
        progress.gets_on(CHECKING);
        Ok(())
    })
}

/// Reads all of a file, for whether it can be read.
fn readable(file: &dyn File) -> std::io::Result<()> {
    let (mut piece, mut place) = (vec![0; 256 << 10], 0);
    loop {
        let read = file.read_at(&mut piece, place)?;
        if read < piece.len() {
            return Ok(());
        }
        place += read as u64;
    }
}

impl Part<'_> {
    /// The run of this part, when there is no index yet; `oldest` is the index's oldest run.
    ///
    /// # Errors
    /// As [`Trouble`] says; `corrupt` when the index is of the log before it was compacted.
    pub fn run(
        &self,
        files: &RunFiles,
        oldest: Option<&Arc<Run>>,
        progress: &mut dyn Progress,
    ) -> Result<Option<Arc<Run>>, Trouble> {
        match oldest {
            None => self.rebuild(files, progress).map(Some),
            Some(run) if run.meta().generation == self.compacted.generation => Ok(None),
            Some(_) => {
                let what = "the index is of the log before it was compacted";
                Err(Trouble::Index(Error::corrupt(files.folder().display().to_string(), 0, what)))
            }
        }
    }

    /// Removes what the compaction took the place of, if its own part, whose checkpoint is whole, is so, too: on a
    /// disk that is nearly full the index needs that room.
    fn give_room(&self, part: &[Arc<Segment>], progress: &mut dyn Progress) {
        let Part { storage, folder, compacted, .. } = self;
        let names = storage.list(folder).unwrap_or_default();
        if !names.iter().any(|name| compacted.is_left_over(name)) {
            return;
        }
        let read = look_through(part.to_vec(), compacted.last, progress);
        if read.is_ok_and(|read| read.last == compacted.last) {
            // What cannot be removed only takes room.
            let _ = compacted.remove_left_over(storage.as_ref(), folder);
        }
    }

    fn rebuild(&self, files: &RunFiles, progress: &mut dyn Progress) -> Result<Arc<Run>, Trouble> {
        let last = self.compacted.last;
        let checkpoint = check_checkpoint(self.storage.as_ref(), self.folder, self.compacted, progress);
        let checkpoint = checkpoint.map_err(Trouble::Log)?;
        let part: Vec<_> = self.segments.iter().filter(|segment| segment.first <= last).cloned().collect();
        self.give_room(&part, progress);
        let road = Road::new(&part, Start::default()).map_err(Trouble::Log)?;
        let mut rebuild = Rebuild::new(files.clone());
        let (mut events, mut index) = (0, None);
        let read = read_until(part, Start::default(), last, &mut |segment, found| {
            let wrong = |error: Error| Failure::Damage {
                path: segment.path.clone(),
                offset: found.offset,
                what: format!("event {}: {}", found.seq, error.message()),
            };
            let event = Event::decode(found.json).map_err(wrong)?;
            events += 1;
            if events % REPLAY_EVENTS as u64 == 0 {
                let bytes = road.behind(segment, found.offset);
                progress.replayed(Replayed { events, bytes, of_bytes: road.length });
            }
            rebuild.add(&event, found.offset, &mut merging(progress)).map_err(|error| {
                let failure = wrong(error.clone());
                index = Some(error);
                failure
            })
        });
        let recovered = read
            .map_err(|failure| index.map_or(Trouble::Log(failure), Trouble::Index))
            .inspect_err(|_| rebuild.remove_pieces())?;
        if recovered.last != last {
            rebuild.remove_pieces();
            let what = format!("the compacted part ends behind event {}, and goes to {last}", recovered.last);
            let path = recovered.segments.last().map_or(self.folder.to_owned(), |newest| newest.path.clone());
            return Err(Trouble::Log(Failure::Damage { path, offset: recovered.end(), what }));
        }
        let run = rebuild.finish(Arc::new(checkpoint), &mut merging(progress)).map_err(Trouble::Index)?;
        files.announce(&[Arc::clone(&run)]).map_err(Trouble::Index)?;
        Ok(run)
    }
}
