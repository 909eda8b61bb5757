//! Makes the run of the part of the log that was compacted, from what is left of it: its events, all
//! of which are live, and the checkpoint of its table.
//!
//! The terms of deleted texts are not taken out of the runs there were; they are not put in.

use std::sync::Arc;

use super::files::RunFiles;
use super::levels::due;
use super::places::PlacesWriter;
use super::run::{Meta, Run};
use super::run_writer::cannot_write;
use super::tail::contents::Contents;
use super::tail::write::{keys, write_entries};
use crate::domain::event::Event;
use crate::error::{Code, Error, Result};
use crate::limits::FLUSH_BYTES;
use crate::time::Timestamp;

/// Gathers the events of a compacted part of the log.
pub struct Rebuild {
    files: RunFiles,
    /// What is in memory: the seqs and offsets of the events, what they say, and the times of the first
    /// and the last.
    places: Vec<(u64, u32)>,
    contents: Contents,
    times: Option<(Timestamp, Timestamp)>,
    /// What was made so far, in files that no manifest names.
    pieces: Vec<Arc<Run>>,
    names: Vec<String>,
    made: u64,
}

impl Rebuild {
    /// Begins with the first event of the log.
    #[must_use]
    pub fn new(files: RunFiles) -> Self {
        Rebuild {
            files,
            places: Vec::new(),
            contents: Contents::default(),
            times: None,
            pieces: Vec::new(),
            names: Vec::new(),
            made: 0,
        }
    }

    /// Adds a live event, whose line begins at `offset`.
    ///
    /// # Errors
    /// `corrupt` or `read_only` from a run file.
    pub fn add(&mut self, event: &Event, offset: u64) -> Result<()> {
        // Events are numbered from the first of a piece.
        let first = self.places.first().map_or(event.seq, |(first, _)| *first);
        let too_far = event.seq - first > u64::from(u32::MAX) / 2;
        if too_far || (self.contents.held_bytes() + 12 * self.places.len()) as u64 >= FLUSH_BYTES {
            self.finish_piece()?;
        }
        let first = self.places.first().map_or(event.seq, |(first, _)| *first);
        let offset =
            u32::try_from(offset).map_err(|_| Error::new(Code::Internal, "a segment is over 4 GiB"))?;
        self.places.push((event.seq, offset));
        self.contents.add_live(event, u32::try_from(event.seq - first).unwrap_or(u32::MAX));
        self.times = Some((self.times.map_or(event.at, |(first_at, _)| first_at), event.at));
        Ok(())
    }

    /// Writes what is in memory to a file.
    fn finish_piece(&mut self) -> Result<()> {
        let (places, contents) = (std::mem::take(&mut self.places), std::mem::take(&mut self.contents));
        let (Some((first, _)), Some((last, _)), Some((first_at, last_at))) =
            (places.first(), places.last(), self.times.take())
        else {
            return Ok(());
        };
        let mut meta = Meta {
            first: self.pieces.last().map_or(1, |piece| piece.meta().last + 1),
            last: *last,
            dense_from: last + 1,
            first_at,
            last_at,
            ..Meta::default()
        };
        let (name, bottom) = (self.next_name(), self.pieces.is_empty());
        let piece = self.files.make(&name, keys(&contents), 0, &[], |writer| {
            write_entries(&contents, *first, bottom, &mut meta, writer)?;
            let mut out = PlacesWriter::default();
            let mut push = |(seq, offset): &(u64, u32)| out.push(writer, *seq, *offset);
            places
                .iter()
                .try_for_each(&mut push)
                .and_then(|()| out.finish(writer))
                .map_err(|error| cannot_write(&error))?;
            Ok(meta)
        })?;
        self.pieces.push(piece);
        self.names.push(name);
        while let Some(start) = due(&self.pieces, |_| true) {
            let name = self.next_name();
            let merged = self.files.merge_as(&name, &self.pieces[start..], start == 0, &mut || {})?;
            self.pieces.truncate(start);
            self.pieces.push(merged);
            self.names.drain(start..).for_each(|name| self.files.remove_leftover(&name));
            self.names.push(name);
        }
        Ok(())
    }

    fn next_name(&mut self) -> String {
        self.made += 1;
        format!("piece-{}.tmp", self.made)
    }

    /// Makes the run file of all events up to the checkpoint's last, after as many compactions. No manifest
    /// names it yet.
    ///
    /// # Errors
    /// `corrupt` or `read_only` from a run file.
    pub fn finish(&mut self, checkpoint: Arc<Run>) -> Result<Arc<Run>> {
        self.finish_piece()?;
        let runs: Vec<Arc<Run>> = self.pieces.iter().cloned().chain([checkpoint]).collect();
        let run = self.files.merge(&runs, true, &mut || {});
        self.remove_pieces();
        run
    }

    /// Removes the files that it made on the way.
    pub fn remove_pieces(&self) {
        self.names.iter().for_each(|name| self.files.remove_leftover(name));
    }
}
