//! Writes the segments of a compacted part of the log: the same frames as ever, of the events that
//! are left, under names that nothing refers to until [`super::compacted`] names them.
//!
//! A frame goes on saying the seqs that it covers, also of events that are gone: so the frames follow
//! each other without a gap, and a missing segment is told from a compacted one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::frame::{Frame, Header, VERSION};
use super::segment::{self, Segment};
use crate::storage::{Open, Storage};

/// Writes new segments one after the other.
pub struct CompactedWriter {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    generation: u64,
    segment_bytes: u64,
    segments: Vec<Arc<Segment>>,
    /// Where the next frame goes in the newest of them.
    position: u64,
    last: u64,
    bytes: u64,
}

impl CompactedWriter {
    /// Begins with the first event of the log.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, folder: PathBuf, generation: u64, segment_bytes: u64) -> Self {
        let (segments, position, last, bytes) = (Vec::new(), 0, 0, 0);
        CompactedWriter { storage, folder, generation, segment_bytes, segments, position, last, bytes }
    }

    /// The last event that it covers.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends a frame that covers the events up to `last`, with the lines of those that are left.
    /// Answers where the lines begin in their segment.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&mut self, last: u64, frame: &mut Frame) -> io::Result<u64> {
        let segment = match self.segments.last() {
            Some(newest) if self.position < self.segment_bytes => Arc::clone(newest),
            newest => {
                newest.map_or(Ok(()), |full| full.file.sync())?;
                self.begin()?
            }
        };
        let (first, prev, bytes) = (self.last + 1, self.last, frame.lines().len() as u64);
        // All of it is on disk before anything refers to it.
        let whole = frame.close(&Header { v: VERSION, first, last, prev, synced: prev, bytes });
        segment.file.write_at(whole, self.position)?;
        self.position += whole.len() as u64;
        self.bytes += whole.len() as u64;
        self.last = last;
        Ok(self.position - bytes)
    }

    fn begin(&mut self) -> io::Result<Arc<Segment>> {
        let first = self.last + 1;
        let path = segment::compacted_path(&self.folder, first, self.generation);
        let file = self.storage.open(&path, Open::Create)?;
        let segment = Arc::new(Segment { first, path, file });
        self.segments.push(Arc::clone(&segment));
        self.position = 0;
        Ok(segment)
    }

    /// The segments that it wrote so far, oldest first.
    #[must_use]
    pub fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// Puts all of it on disk. Answers the segments, oldest first.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(&self) -> io::Result<Vec<Arc<Segment>>> {
        self.segments.last().map_or(Ok(()), |newest| newest.file.sync())?;
        self.storage.sync_folder(&self.folder)?;
        Ok(self.segments.clone())
    }
}
