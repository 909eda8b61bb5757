//! Makes the run of the part of the log that was compacted, from what is left of it: its events, all
//! of which are live, and the checkpoint of its table.
//!
//! The terms of deleted texts are not taken out of the runs there were; they are not put in.

use std::sync::Arc;

use super::builder::Builder;
use super::files::RunFiles;
use super::levels;
use super::places::Places;
use super::run::{Meta, Run};
use crate::domain::event::Event;
use crate::domain::table::Changes;
use crate::error::{Code, Error, Result};
use crate::limits::SLOW_BYTES;

/// Events that one run takes.
const RUN_EVENTS: usize = 4096;

/// Gathers the events of a compacted part of the log.
pub struct Rebuild {
    files: RunFiles,
    generation: u64,
    events: Vec<Event>,
    places: Vec<(u64, u32)>,
    /// What was made so far: first some in files, then some in memory.
    runs: Vec<Arc<Run>>,
}

impl Rebuild {
    /// Begins with the first event of the log, after so many compactions.
    #[must_use]
    pub fn new(files: RunFiles, generation: u64) -> Self {
        Rebuild { files, generation, events: Vec::new(), places: Vec::new(), runs: Vec::new() }
    }

    /// Adds a live event, whose line begins at `offset`.
    ///
    /// # Errors
    /// `corrupt` or `read_only` from a run file.
    pub fn add(&mut self, event: Event, offset: u64) -> Result<()> {
        // A run in memory counts its events from its first.
        let too_far =
            self.events.first().is_some_and(|first| event.seq - first.seq > u64::from(u32::MAX) / 2);
        if self.events.len() >= RUN_EVENTS || too_far {
            self.freeze()?;
        }
        let offset =
            u32::try_from(offset).map_err(|_| Error::new(Code::Internal, "a segment is over 4 GiB"))?;
        self.places.push((event.seq, offset));
        self.events.push(event);
        Ok(())
    }

    fn freeze(&mut self) -> Result<()> {
        let (Some(first), Some(last)) = (self.events.first(), self.events.last()) else { return Ok(()) };
        let meta = Meta {
            first: self.runs.last().map_or(1, |run| run.meta().last + 1),
            last: last.seq,
            dense_from: last.seq + 1,
            generation: self.generation,
            first_at: first.at,
            last_at: last.at,
            ..Meta::default()
        };
        let mut builder = Builder::new(first.seq, 0);
        self.events.iter().for_each(|event| builder.add_live(event));
        let places = Places::Some(std::mem::take(&mut self.places));
        let run = builder.finish(meta, &Changes::default(), places);
        self.runs.push(Arc::new(run.map_err(|error| Error::new(Code::Internal, error.to_string()))?));
        self.events.clear();
        levels::settle(&mut self.runs, 0)?;
        let files = self.runs.iter().take_while(|run| !run.in_memory()).count();
        if self.runs[files..].iter().map(|run| run.bytes()).sum::<u64>() >= SLOW_BYTES {
            let piece =
                self.files.merge_as(&format!("piece-{files}.tmp"), &self.runs[files..], files == 0)?;
            self.runs.truncate(files);
            self.runs.push(piece);
        }
        Ok(())
    }

    /// Makes the run file of all events up to the checkpoint's last. No manifest names it yet.
    ///
    /// # Errors
    /// `corrupt` or `read_only` from a run file.
    pub fn finish(&mut self, checkpoint: Arc<Run>) -> Result<Arc<Run>> {
        self.freeze()?;
        let pieces = self.runs.clone();
        let run = self.files.merge(&[pieces, vec![checkpoint]].concat(), true);
        self.remove_pieces();
        run
    }

    /// Removes the files that it made on the way.
    pub fn remove_pieces(&self) {
        let pieces = self.runs.iter().filter(|run| !run.in_memory()).count();
        (0..pieces).for_each(|number| self.files.remove_leftover(&format!("piece-{number}.tmp")));
    }
}
