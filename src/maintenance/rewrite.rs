//! Writes the log up to some event anew, without what is dead: its segments, its run and its table's
//! checkpoint, and then the file that names them.

use std::path::PathBuf;
use std::sync::Arc;

use crate::courtesy::Courtesy;
use crate::domain::event::Event;
use crate::domain::liveness::Liveness;
use crate::domain::table::{FIRST_POSTINGS_TAG, Facts};
use crate::error::{Code, Error, Result};
use crate::index::files::{RunFiles, of_file};
use crate::index::rebuild::Rebuild;
use crate::index::run::{Meta, Run, write_value};
use crate::index::run_writer::RunWriter;
use crate::log::compacted::Compacted;
use crate::log::compaction::CompactedWriter;
use crate::log::frame::Frame;
use crate::log::recovery::{Failure, Found, Start, read_until};
use crate::log::segment::Segment;
use crate::snapshot::Snapshot;
use crate::storage::{Open, Storage};

use super::corrupt;
use super::pace::Pace;

/// A frame of live events is closed when it has grown past this.
const FRAME_BYTES: usize = 256 << 10;

/// What was found and what was left of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Events that are left.
    pub events: u64,
    /// Events that are gone.
    pub removed: u64,
    /// Bytes of the segments before.
    pub bytes_before: u64,
    /// Bytes of the segments now.
    pub bytes: u64,
}

/// A part of the log that was written anew.
pub struct Rewritten {
    /// Its segments.
    pub segments: Vec<Arc<Segment>>,
    /// Its run.
    pub run: Arc<Run>,
    /// What names the segments.
    pub compacted: Arc<Compacted>,
    /// What was done.
    pub tally: Tally,
}

/// Writes the log of one data folder anew.
pub struct Rewriter {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    files: RunFiles,
    segment_bytes: u64,
    /// The newest generation that it tried.
    tried: u64,
}

fn io(path: PathBuf) -> impl FnOnce(std::io::Error) -> Error {
    move |error| failed(&Failure::Io { path, error })
}

fn failed(failure: &Failure) -> Error {
    let message = format!("{failure}; the log is as it was: send log.compact again when that is mended");
    Error::new(Code::ReadOnly, message)
}

impl Rewriter {
    /// One for the folder of a log, and the run files made from it.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, folder: PathBuf, files: RunFiles, segment_bytes: u64) -> Self {
        // Nobody waits for it, also when the background is behind.
        let files = files.made_with(Courtesy::of_patience());
        Rewriter { storage, folder, files, segment_bytes, tried: 0 }
    }

    /// Writes all that a snapshot holds anew, and makes that the log. Its newest segment must be empty,
    /// and its last event in the one before.
    ///
    /// # Errors
    /// `corrupt` when something cannot be read, `read_only` when something cannot be written,
    /// `shutting_down`. Then the old log holds; if the last step failed, a start may find the new
    /// one, which is as good.
    pub fn rewrite(&mut self, snapshot: &Snapshot, pace: &mut Pace) -> Result<Rewritten> {
        // Names of a step that failed half way are never used again.
        self.tried = self.tried.max(snapshot.compacted.generation) + 1;
        let generation = self.tried;
        let (storage, folder) = (Arc::clone(&self.storage), self.folder.clone());
        let writer = CompactedWriter::new(storage, folder.clone(), generation, self.segment_bytes);
        let rebuild = Rebuild::new(self.files.clone());
        let mut copy = Copy {
            writer,
            rebuild,
            events: Vec::new(),
            frame: Frame::default(),
            starts: Vec::new(),
            tally: Tally::default(),
        };
        let plan = Compacted::new(generation, snapshot.last, Vec::new());
        let made = copy.all(snapshot, pace).and_then(|()| {
            let checkpoint = self.checkpoint(snapshot, &plan, pace)?;
            // The run comes last: a step that failed behind it would have to remove it.
            let segments = copy.writer.finish().map_err(|failure| failed(&failure))?;
            Ok((segments, copy.rebuild.finish(checkpoint, &mut || pace.check())?))
        });
        let (segments, run) = made.inspect_err(|_| {
            copy.rebuild.remove_pieces();
            self.give_up(&plan, copy.writer.segments(), None);
        })?;
        let names =
            segments.iter().filter_map(|segment| segment.path.file_name()?.to_str().map(str::to_owned));
        let compacted = Compacted::new(generation, snapshot.last, names.collect());
        if let Err(error) = compacted.write(self.storage.as_ref(), &folder) {
            let path = Compacted::path(&folder);
            // Only what is surely not named may be removed.
            if Compacted::read(self.storage.as_ref(), &folder).is_ok_and(|now| now != compacted) {
                self.give_up(&compacted, &segments, Some(&run));
                return Err(io(path)(error));
            }
            let message = format!(
                "{}: {error}; nobody knows whether the disk has it: the next start finds the compacted log or the one \
                 before, and each is whole; send log.compact again when that is mended",
                path.display()
            );
            return Err(Error::new(Code::ReadOnly, message));
        }
        Ok(Rewritten { segments, run, compacted: Arc::new(compacted), tally: copy.tally })
    }

    /// Writes the live part of a snapshot's table.
    fn checkpoint(&self, snapshot: &Snapshot, plan: &Compacted, pace: &mut Pace) -> Result<Arc<Run>> {
        let path = plan.checkpoint_path(&self.folder);
        let failed = |error| io(path.clone())(error);
        let file = self.storage.open(&path, Open::Create).map_err(failed)?;
        // Nothing is looked up in it, so it needs no filter.
        let mut out = RunWriter::to_file(Arc::clone(&file), 0, Courtesy::default().begin());
        let (mut liveness, mut payload) = (Liveness::new(snapshot), Vec::new());
        snapshot.scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
            pace.moved((key.len() + value.len()) as u64)?;
            if liveness.key(key, value)? {
                write_value(&mut payload, Some(value));
                out.add(key, &payload).map_err(failed)?;
            }
            Ok(true)
        })?;
        let meta = Meta {
            first: 1,
            last: plan.last,
            dense_from: plan.last + 1,
            generation: plan.generation,
            checkpoint: true,
            first_at: snapshot.first_at(),
            last_at: snapshot.last_at,
            counts: snapshot.counts(),
            ..Meta::default()
        };
        out.into_file(meta, &[], true, &mut || {}).map_err(|error| of_file(&path, error))?;
        Ok(Arc::new(Run::open(file, &path.display().to_string(), &Arc::default(), true)?))
    }

    /// Removes what was written for nothing. What cannot be removed now is removed at the next start.
    fn give_up(&self, plan: &Compacted, segments: &[Arc<Segment>], run: Option<&Arc<Run>>) {
        for segment in segments {
            let _ = self.storage.remove(&segment.path);
        }
        let _ = self.storage.remove(&plan.checkpoint_path(&self.folder));
        self.files.remove(&run.cloned().into_iter().collect::<Vec<_>>());
    }
}

/// Live events on their way into new segments and a new run.
struct Copy {
    writer: CompactedWriter,
    rebuild: Rebuild,
    events: Vec<Event>,
    /// The next frame, and where each of its lines begins.
    frame: Frame,
    starts: Vec<usize>,
    tally: Tally,
}

impl Copy {
    fn all(&mut self, snapshot: &Snapshot, pace: &mut Pace) -> Result<()> {
        let sealed: Vec<Arc<Segment>> =
            snapshot.segments.iter().filter(|segment| segment.first <= snapshot.last).cloned().collect();
        for segment in &sealed {
            self.tally.bytes_before += segment.file.length().map_err(io(segment.path.clone()))?;
        }
        let mut liveness = Liveness::new(snapshot);
        let mut ended = None;
        let read = read_until(sealed, Start::default(), snapshot.last, &mut |segment, found| {
            let taken =
                pace.moved(found.json.len() as u64).and_then(|()| self.take(found, &mut liveness, pace));
            taken.map_err(|error| {
                ended = Some(error);
                // Only ends the walk.
                Failure::Io { path: segment.path.clone(), error: std::io::ErrorKind::Interrupted.into() }
            })
        });
        let reached = read.and_then(|recovered| recovered.must_reach(snapshot.last));
        reached.map_err(|failure| ended.unwrap_or_else(|| corrupt(failure)))?;
        if self.writer.last() < snapshot.last {
            self.close(snapshot.last, pace)?;
        }
        self.tally.bytes = self.writer.bytes();
        Ok(())
    }

    fn take(&mut self, found: Found<'_>, liveness: &mut Liveness<'_>, pace: &Pace) -> Result<()> {
        let Found { seq, json, .. } = found;
        let Some(event) = liveness.record(seq, json)? else {
            self.tally.removed += 1;
            return Ok(());
        };
        self.tally.events += 1;
        self.starts.push(self.frame.add(json));
        self.events.push(event);
        if self.frame.lines().len() >= FRAME_BYTES { self.close(seq, pace) } else { Ok(()) }
    }

    /// Writes the frame of the events up to `last`.
    fn close(&mut self, last: u64, pace: &Pace) -> Result<()> {
        let start = self.writer.append(last, &mut self.frame).map_err(|failure| failed(&failure))?;
        for (event, offset) in self.events.drain(..).zip(self.starts.drain(..)) {
            self.rebuild.add(&event, start + offset as u64, &mut || pace.check())?;
        }
        self.frame.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::verify;
    use super::*;
    use crate::domain::testing;
    use crate::storage::failing::{Call, Failing, fail_if};
    use crate::store::{self, Folders};

    fn folders() -> Folders {
        Folders::new(Path::new("/data"))
    }

    /// A store with some events, to be written anew.
    fn some_events(storage: &Arc<dyn Storage>) -> (Snapshot, Rewriter) {
        let open = || store::open(storage, &folders(), 1 << 20, &mut ()).expect("memory");
        let mut frame = Frame::default();
        for event in testing::events().take(20) {
            let mut json = Vec::new();
            event.encode(b"1970-01-01T00:00:00.000001Z", &mut json);
            frame.add(&json);
        }
        open().log.append(1, 20, &mut frame).expect("memory");
        let store = open();
        (store.snapshot, Rewriter::new(Arc::clone(storage), folders().log, store.files, 1 << 20))
    }

    #[test]
    fn a_rewrite_that_fails_names_the_file_and_says_which_log_there_is() {
        let fails: Arc<Mutex<Option<(Call<'_>, &str)>>> = Arc::default();
        let failing = Arc::clone(&fails);
        let storage = Failing::in_memory(move |call, path| match *failing.lock().expect("one thread") {
            Some((which, name)) if call == which && path.to_string_lossy().contains(name) => {
                Err(std::io::Error::other("the disk is bad"))
            }
            _ => Ok(()),
        });
        let (snapshot, mut rewriter) = some_events(&storage);
        let mut said = |call, name| {
            *fails.lock().expect("one thread") = Some((call, name));
            let done = rewriter.rewrite(&snapshot, &mut Pace::full());
            *fails.lock().expect("one thread") = None;
            let error = done.err().expect("it fails");
            let list = Compacted::read(storage.as_ref(), &folders().log).expect("memory");
            assert_eq!((error.code(), list.last), (Code::ReadOnly, 0), "{error}");
            error.message().to_owned()
        };
        let segment = said(Call::Sync, "1-1.log");
        assert!(segment.starts_with("/data/log/00000000000000000001-1.log: the disk is bad"), "{segment}");
        let list = said(Call::Rename, "compacted");
        assert!(list.starts_with("/data/log/compacted: the disk is bad"), "{list}");
        assert!([segment, list].iter().all(|said| said.contains("the log is as it was")));
    }

    #[test]
    fn a_list_that_is_in_place_and_perhaps_not_on_the_disk_is_told_as_that() {
        let renamed = Arc::new(AtomicBool::new(false));
        let was_renamed = Arc::clone(&renamed);
        let storage = Failing::in_memory(move |call, path| {
            if call == Call::Rename && path.to_string_lossy().contains("compacted") {
                was_renamed.store(true, Ordering::Relaxed);
            }
            if call == Call::SyncFolder { fail_if(&was_renamed) } else { Ok(()) }
        });
        let (snapshot, mut rewriter) = some_events(&storage);
        let error = rewriter.rewrite(&snapshot, &mut Pace::full()).err().expect("it fails");
        assert!(error.message().starts_with("/data/log/compacted: the disk is bad"), "{error}");
        assert!(error.message().contains("the compacted log or the one before"), "{error}");
        renamed.store(false, Ordering::Relaxed);
        let list = Compacted::read(storage.as_ref(), &folders().log).expect("memory");
        assert_eq!(list.last, 20);
        // Nothing is damaged.
        let error =
            verify::run(&snapshot, &storage, &folders(), &mut Pace::full()).expect_err("it is not confirmed");
        assert_eq!(error.code(), Code::ReadOnly, "{error}");
        assert!(error.message().contains("send log.compact again"), "{error}");
    }

    #[test]
    fn a_rewrite_ends_wherever_a_stop_meets_it_and_leaves_nothing() {
        let stops_at: Arc<Mutex<Option<&str>>> = Arc::default();
        let stopping = Arc::new(AtomicBool::new(false));
        let (at, stop) = (Arc::clone(&stops_at), Arc::clone(&stopping));
        let storage = Failing::in_memory(move |call, path| {
            let reached = |name: &str| path.to_string_lossy().contains(name);
            if call == Call::Open && at.lock().expect("one thread").is_some_and(reached) {
                stop.store(true, Ordering::Relaxed);
            }
            Ok(())
        });
        let folders = folders();
        let (snapshot, mut rewriter) = some_events(&storage);
        let names = || [&folders.log, &folders.index].map(|folder| storage.list(folder).expect("memory"));
        let before = names();
        for name in ["piece-1.tmp", ".run.tmp"] {
            *stops_at.lock().expect("one thread") = Some(name);
            stopping.store(false, Ordering::Relaxed);
            let ended = rewriter.rewrite(&snapshot, &mut Pace::polite(Arc::clone(&stopping)));
            let ended = ended.err().map(|error| error.code());
            assert_eq!(ended, Some(Code::ShuttingDown), "{name}");
            assert_eq!(names(), before, "{name}");
        }
    }
}
