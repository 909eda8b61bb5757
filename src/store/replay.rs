//! The replay: folds the events of the log behind the index into it.

use std::sync::Arc;

use super::compacted_part::{Part, Trouble};
use super::road::Road;
use super::wholeness::reaches;
use super::{Folders, Progress, Replayed, Store, index_failure, merging};
use crate::batch::Batch;
use crate::batch::hot::HotValues;
use crate::domain::event::Event;
use crate::domain::held::held;
use crate::domain::table::{Counts, Facts};
use crate::error::{Code, Error};
use crate::index::files::{RunFiles, name_of};
use crate::index::levels::WHEN_CALM;
use crate::index::run::Run;
use crate::index::tail::{Tail, removals};
use crate::limits::{FLUSH_BYTES, FRAME_BYTES, TAILS};
use crate::log::compacted::Compacted;
use crate::log::files::open_segments;
use crate::log::recovery::{self, Failure, Start};
use crate::log::segment::{Segment, holding};
use crate::snapshot::{ReplyBytes, Snapshot};
use crate::storage::{Open, Storage};
use crate::time::Timestamp;

/// Events that are added at once while the log is read back.
pub(super) const REPLAY_EVENTS: usize = 4096;

/// Folds the events of the log into the index.
pub(super) struct Replay {
    files: RunFiles,
    runs: Vec<Arc<Run>>,
    /// The events behind the runs; the last one grows.
    tails: Vec<Arc<Tail>>,
    /// The counts behind the last event, and its time.
    counts: Counts,
    last_at: Timestamp,
    segments: Arc<Vec<Arc<Segment>>>,
    batch: Option<Batch>,
    offsets: Vec<u32>,
    /// Bytes of JSON in the batch: events may be large.
    gathered: usize,
    /// Why the run files are of no use.
    pub(super) damaged_index: Option<Error>,
}

impl Replay {
    pub(super) fn new(files: RunFiles, runs: Vec<Arc<Run>>) -> Self {
        Replay {
            files,
            runs,
            tails: vec![Arc::new(Tail::new(1))],
            counts: Counts::default(),
            last_at: Timestamp(0),
            segments: Arc::default(),
            batch: None,
            offsets: Vec::new(),
            gathered: 0,
            damaged_index: None,
        }
    }

    /// Goes on behind the runs that there are.
    fn behind_runs(&mut self) {
        if let Some(run) = self.runs.last() {
            self.tails = vec![Arc::new(Tail::new(run.meta().last + 1))];
            (self.counts, self.last_at) = (run.meta().counts, run.meta().last_at);
        }
    }

    pub(super) fn open(
        &mut self,
        storage: &Arc<dyn Storage>,
        folders: &Folders,
        segment_bytes: u64,
        progress: &mut dyn Progress,
    ) -> Result<Store, Failure> {
        let compacted = Compacted::read(storage.as_ref(), &folders.log)?;
        let log_files = open_segments(storage.as_ref(), &folders.log, &compacted, Open::Write)?;
        let segments = log_files.segments.clone();
        let known = self.runs.last().map_or(0, |run| run.meta().last);
        log_files.check_beginning(&folders.log, &compacted, known)?;
        if let Some(newest) = segments.last() {
            // A long replay writes run files: they may hold only what the log has on disk.
            newest.file.sync().map_err(|error| Failure::Io { path: newest.path.clone(), error })?;
        }
        self.segments = Arc::new(segments.clone());
        if compacted.last > 0 {
            let parts = Part { storage, folder: &folders.log, compacted: &compacted, segments: &segments };
            let run = parts.run(&self.files, self.runs.first(), progress);
            let run = run.map_err(|trouble| match trouble {
                Trouble::Log(failure) => failure,
                Trouble::Index(error) => self.index_failed(error),
            })?;
            self.runs.extend(run);
        }
        self.behind_runs();
        let start = self.start().map_err(|error| self.index_failed(error))?;
        if let Some(offset) = start.offset
            && let Some(segment) = holding(&segments, start.last)
        {
            // The place that the index gives must hold that event: else one of both is damaged, and
            // the log tells which when it is read from its beginning.
            if let Err(error) = segment.read(start.last, offset, None) {
                reaches(&log_files, start.last, progress)?;
                return Err(self.index_failed(error));
            }
        }
        let road = Road::new(&segments, start)?;
        let recovered = recovery::read(segments, start, &mut |segment, found| {
            self.take(segment, found.seq, found.json, found.offset)?;
            if found.ends_frame && self.is_full() {
                let bytes = road.behind(segment, found.offset);
                progress.replayed(Replayed { events: found.seq - start.last, bytes, of_bytes: road.length });
                self.add(progress)?;
            }
            Ok(())
        })?;
        self.add(progress)?;
        log_files.check_end(recovered.last)?;
        // The log is whole: what is no part of it may go, before a full disk has to take anything.
        log_files.remove_left_over(storage.as_ref(), &folders.log, &compacted);
        let (log, segments, torn) = recovered.into_writer(storage, &folders.log, segment_bytes)?;
        if let Some((copy, bytes)) = torn {
            progress.say(&format!(
                "the log ended in {bytes} bytes of a write that was cut short, which nobody was told is on disk; they \
                 were set aside in {}",
                copy.display()
            ));
        }
        self.segments = Arc::new(segments);
        let compacted = Arc::new(compacted);
        let checkpoint = (compacted.last > 0).then(|| log.checkpoint(&compacted)).flatten();
        let snapshot = Snapshot { compacted, checkpoint, ..self.snapshot(log.last()) };
        // Damage there is healed now or never.
        let held = held(&snapshot).map_err(|error| self.index_failed(error))?;
        Ok(Store { log, snapshot, files: self.files.clone(), held })
    }

    /// Notes that the run files are of no use.
    fn index_failed(&mut self, error: Error) -> Failure {
        let failure = index_failure(self.files.folder(), &error);
        if error.code() == Code::Corrupt {
            self.damaged_index = Some(error);
        }
        failure
    }

    fn start(&self) -> Result<Start, Error> {
        let Some(run) = self.runs.last() else { return Ok(Start::default()) };
        let last = run.meta().last;
        Ok(Start { last, offset: run.place(last)?.map(|(offset, _)| u64::from(offset)) })
    }

    fn take(&mut self, segment: &Segment, seq: u64, json: &[u8], offset: u64) -> Result<(), Failure> {
        let damage = |error: Error| Failure::Damage {
            path: segment.path.clone(),
            offset,
            what: format!("event {seq} does not follow from the events before it: {}", error.message()),
        };
        let event = Event::decode(json).map_err(damage)?;
        let offset = u32::try_from(offset)
            .map_err(|_| damage(Error::new(Code::Internal, "it lies behind 4 GiB of a segment")))?;
        let mut batch = match self.batch.take() {
            Some(batch) => batch,
            None => Batch::new(Arc::new(self.snapshot(seq - 1)), HotValues::default()),
        };
        self.last_at = event.at;
        let replayed = batch.replay(event);
        self.batch = Some(batch);
        if let Err(error) = replayed {
            let corrupt = error.code() == Code::Corrupt;
            return Err(if corrupt { self.index_failed(error) } else { damage(error) });
        }
        self.offsets.push(offset);
        self.gathered += json.len();
        Ok(())
    }

    /// What there is as of event `last`, all of which is on disk.
    fn snapshot(&self, last: u64) -> Snapshot {
        Snapshot {
            runs: Arc::new(self.runs.clone()),
            tails: Arc::new(self.tails.clone()),
            counts: self.counts,
            segments: Arc::clone(&self.segments),
            compacted: Arc::default(),
            checkpoint: None,
            last,
            last_at: self.last_at,
            synced: last,
            reply_bytes: ReplyBytes::default(),
        }
    }

    fn is_full(&self) -> bool {
        self.offsets.len() >= REPLAY_EVENTS || self.gathered >= FRAME_BYTES
    }

    /// Adds what was gathered to the tail.
    fn add(&mut self, progress: &mut dyn Progress) -> Result<(), Failure> {
        let Some(mut batch) = self.batch.take() else { return Ok(()) };
        let offsets = std::mem::take(&mut self.offsets);
        self.gathered = 0;
        self.counts = batch.counts();
        let deleted = removals(batch.events(), &self.runs, &self.tails);
        let deleted = deleted.map_err(|error| self.index_failed(error))?;
        if let Some(tail) = self.tails.last() {
            tail.add(batch.take_added(&offsets, deleted));
        }
        self.flush(progress).map_err(|error| self.index_failed(error))
    }

    /// Keeps what a long replay holds in memory small; the last tails are left to the background. All of it
    /// is in the log already.
    fn flush(&mut self, progress: &mut dyn Progress) -> Result<(), Error> {
        let Some(full) = self.tails.last().filter(|tail| tail.held_bytes() >= FLUSH_BYTES) else {
            return Ok(());
        };
        self.tails.push(Arc::new(Tail::behind(full)));
        if self.tails.len() <= TAILS {
            return Ok(());
        }
        let oldest = self.tails.remove(0);
        self.runs.push(self.files.write(&oldest, self.runs.is_empty())?);
        self.files.announce(&self.runs)?;
        // Merged as they come they are few, take their room once, and the daemon has nothing to catch up with.
        match self.files.merge_due(
            &mut self.runs,
            WHEN_CALM,
            name_of,
            |runs| self.files.announce(runs),
            &mut merging(progress),
        ) {
            // Without the room for it there are more files than there should be, and the daemon goes on merging.
            Err(error) if error.code() == Code::ReadOnly => Ok(()),
            merged => merged,
        }
    }
}
