//! Makes the run of the part of the log that was compacted, from what is left of it: its events, all
//! of which are live, and the checkpoint of its table.
//!
//! The terms of deleted texts are not taken out of the runs there were; they are not put in.

use std::sync::Arc;

use super::files::{Pause, RunFiles};
use super::levels::WHEN_BUSY;
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
            made: 0,
        }
    }

    /// Adds a live event, whose line begins at `offset`. `pause` is called now and then while a file is made.
    ///
    /// # Errors
    /// `corrupt` or `read_only` from a run file, and what `pause` says.
    pub fn add(&mut self, event: &Event, offset: u64, pause: &mut Pause<'_>) -> Result<()> {
        // Events are numbered from the first of a piece.
        let first = self.places.first().map_or(event.seq, |(first, _)| *first);
        let too_far = event.seq - first > u64::from(u32::MAX) / 2;
        if too_far || (self.contents.held_bytes() + 12 * self.places.len()) as u64 >= FLUSH_BYTES {
            self.finish_piece(pause)?;
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
    fn finish_piece(&mut self, pause: &mut Pause<'_>) -> Result<()> {
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
        let bottom = self.pieces.is_empty();
        let piece =
            self.files.make(&next_name(&mut self.made), keys(&contents), 0, &[], pause, |writer, _| {
                write_entries(&contents, &[], *first, bottom, &mut meta, writer)?;
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
        let Rebuild { files, pieces, made, .. } = self;
        files.merge_due(pieces, WHEN_BUSY, |_| next_name(made), |_| Ok(()), pause)
    }

    /// Makes the run file of all events up to the checkpoint's last, after as many compactions. No manifest
    /// names it yet. `pause` is called now and then.
    ///
    /// # Errors
    /// `corrupt` or `read_only` from a run file, and what `pause` says.
    pub fn finish(&mut self, checkpoint: Arc<Run>, pause: &mut Pause<'_>) -> Result<Arc<Run>> {
        let run = self.finish_piece(pause).and_then(|()| {
            let runs: Vec<Arc<Run>> = self.pieces.iter().cloned().chain([checkpoint]).collect();
            self.files.merge(&runs, true, pause)
        });
        self.remove_pieces();
        run
    }

    /// Removes the files that it made on the way: one that fails must leave none, for a full disk needs their
    /// room.
    pub fn remove_pieces(&mut self) {
        self.files.remove(&self.pieces);
        self.pieces.clear();
    }
}

/// The file of the next piece, of which so many were made.
fn next_name(made: &mut u64) -> String {
    *made += 1;
    format!("piece-{made}.tmp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Address, Fact, Message};
    use crate::index::postings;
    use crate::index::terms::word_term;
    use crate::storage::Storage;
    use crate::storage::memory::Memory;
    use std::path::Path;

    fn post(seq: u64, body: &str) -> Event {
        let address = Address::Recipient("r".into());
        let fact = Fact::MessagePosted(Message { address, originator: None, body: body.into() });
        Event { seq, at: Timestamp(10 * seq), uid: 0, fact }
    }

    /// The checkpoint of a table as of event `last`.
    fn checkpoint(files: &RunFiles, last: u64) -> Arc<Run> {
        let meta = Meta { first: 1, last, dense_from: last + 1, generation: 3, ..Meta::default() };
        files.make("checkpoint", 1, 0, &[], &mut || Ok(()), |_, _| Ok(meta)).expect("memory")
    }

    fn memory() -> (Arc<dyn Storage>, RunFiles) {
        let storage: Arc<dyn Storage> = Arc::new(Memory::default());
        (Arc::clone(&storage), RunFiles::new(storage, "/index".into()))
    }

    #[test]
    fn what_is_left_is_found_however_far_apart_it_lies() {
        // Numbers in a piece have 32 bits: each of these gaps makes a new one.
        let seqs = [2, 5, 3 << 31, (3 << 31) + 1, 3 << 32, 9 << 31, 3 << 33, 3 << 34];
        let (storage, files) = memory();
        let mut rebuild = Rebuild::new(files.clone());
        for (seq, offset) in seqs.into_iter().zip((1..).map(|number| 100 * number)) {
            rebuild.add(&post(seq, "word"), offset, &mut || Ok(())).expect("memory");
        }
        let last = (3 << 34) + 7;
        let run = rebuild.finish(checkpoint(&files, last), &mut || Ok(())).expect("memory");
        let meta = run.meta();
        assert_eq!((meta.first, meta.last, meta.dense_from, meta.generation), (1, last, last + 1, 3));
        assert_eq!(meta.first_at, Timestamp(20));
        assert_eq!(postings::all(&run, &word_term(false, "word")).expect("memory"), seqs);
        for (seq, offset) in seqs.into_iter().zip((1..).map(|number| 100 * number)) {
            assert_eq!(run.place(seq).expect("memory").map(|(offset, _)| offset), Some(offset), "{seq}");
            assert_eq!(run.place(seq + 1).expect("memory").is_some(), seqs.contains(&(seq + 1)), "{seq}");
        }
        let names = storage.list(Path::new("/index")).expect("memory");
        assert!(names.iter().all(|name| !name.contains("piece")), "{names:?}");
    }

    #[test]
    fn a_piece_covers_what_lies_between_it_and_the_one_before() {
        let (_, files) = memory();
        let mut rebuild = Rebuild::new(files);
        let gap = u64::from(u32::MAX);
        for number in 1..=3 {
            rebuild.add(&post(number * gap, "word"), 100, &mut || Ok(())).expect("memory");
        }
        let names: Vec<&str> = rebuild.pieces.iter().map(|piece| piece.file().1).collect();
        assert_eq!(names, ["piece-1.tmp", "piece-2.tmp"]);
        let metas: Vec<&Meta> = rebuild.pieces.iter().map(|piece| piece.meta()).collect();
        let covered: Vec<_> = metas.iter().map(|meta| (meta.first, meta.last, meta.dense_from)).collect();
        assert_eq!(covered, [(1, gap, gap + 1), (gap + 1, 2 * gap, 2 * gap + 1)]);
        let times: Vec<_> = metas.iter().map(|meta| (meta.first_at.0, meta.last_at.0)).collect();
        assert_eq!(times, [(10 * gap, 10 * gap), (20 * gap, 20 * gap)]);
    }

    #[test]
    fn a_piece_takes_no_more_than_a_tail() {
        let (_, files) = memory();
        let mut rebuild = Rebuild::new(files);
        let bodies = (1_u64..).map(|seq| post(seq, &format!("{seq:0120}")));
        let added = bodies.take_while(|event| {
            rebuild.add(event, 100, &mut || Ok(())).expect("memory");
            rebuild.pieces.is_empty()
        });
        let bytes = 120 * added.count() as u64;
        assert!((FLUSH_BYTES / 3..FLUSH_BYTES).contains(&bytes), "{bytes}");
        // The times of a piece are those of its own events.
        assert_eq!(rebuild.times.map(|(first, last)| first == last), Some(true));
    }
}
