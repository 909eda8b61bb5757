//! Writes the segments of a compacted part of the log: the same frames as ever, of the events that
//! are left, under names that nothing refers to until [`super::compacted`] names them.
//!
//! A frame goes on saying the seqs that it covers, also of events that are gone: so the frames follow
//! each other without a gap, and a missing segment is told from a compacted one.

use std::path::PathBuf;
use std::sync::Arc;

use super::frame::{Frame, Header, VERSION};
use super::recovery::Failure;
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
    /// `Io`.
    pub fn append(&mut self, last: u64, frame: &mut Frame) -> Result<u64, Failure> {
        let segment = match self.segments.last() {
            Some(newest) if self.position < self.segment_bytes => Arc::clone(newest),
            _ => {
                self.sync()?;
                self.begin()?
            }
        };
        let (first, prev, bytes) = (self.last + 1, self.last, frame.lines().len() as u64);
        // All of it is on disk before anything refers to it.
        let whole = frame.close(&Header { v: VERSION, first, last, prev, synced: prev, bytes });
        let written = segment.file.write_at(whole, self.position);
        written.map_err(|error| Failure::Io { path: segment.path.clone(), error })?;
        self.position += whole.len() as u64;
        self.bytes += whole.len() as u64;
        self.last = last;
        Ok(self.position - bytes)
    }

    /// Syncs the newest segment.
    fn sync(&self) -> Result<(), Failure> {
        let Some(newest) = self.segments.last() else { return Ok(()) };
        newest.file.sync().map_err(|error| Failure::Io { path: newest.path.clone(), error })
    }

    fn begin(&mut self) -> Result<Arc<Segment>, Failure> {
        let first = self.last + 1;
        let path = segment::compacted_path(&self.folder, first, self.generation);
        let file = self.storage.open(&path, Open::Create);
        let file = file.map_err(|error| Failure::Io { path: path.clone(), error })?;
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
    /// `Io`.
    pub fn finish(&self) -> Result<Vec<Arc<Segment>>, Failure> {
        self.sync()?;
        let synced = self.storage.sync_folder(&self.folder);
        synced.map_err(|error| Failure::Io { path: self.folder.clone(), error })?;
        Ok(self.segments.clone())
    }
}
