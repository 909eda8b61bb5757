//! Reads the records of many messages, one after the other.
//!
//! The matches of a frequent word lie close to each other in the log: then one read brings many records.

use std::ops::Range;
use std::sync::Arc;

use crate::domain::messages;
use crate::error::Result;
use crate::index::candidates::Candidate;
use crate::log::segment::{Segment, Window};
use crate::snapshot::{Place, Snapshot};

/// Reads records for one walk.
pub struct Records<'s> {
    snapshot: &'s Snapshot,
    window: Window,
    /// The segment that the window is of.
    segment: Option<&'s Arc<Segment>>,
    /// A record that lies elsewhere.
    other: Vec<u8>,
    /// The one that was sought last.
    before: u64,
}

/// Where records are further apart than so many seqs, hardly two places lie in the same block of the index.
const APART: u64 = 256;

impl<'s> Records<'s> {
    /// A reader of what a snapshot sees.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot) -> Self {
        Records { snapshot, window: Window::default(), segment: None, other: Vec::new(), before: 0 }
    }

    /// The record of a candidate's current form. `None` when it was compacted away.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn current(&mut self, candidate: Candidate) -> Result<Option<&[u8]>> {
        if candidate.edited {
            let Some(record) = messages::current_record(self.snapshot, candidate.seq)? else {
                return Ok(None);
            };
            self.other = record;
            return Ok(Some(&self.other));
        }
        let snapshot = self.snapshot;
        let apart = std::mem::replace(&mut self.before, candidate.seq).abs_diff(candidate.seq) > APART;
        let unproved = if apart { snapshot.unproved_place(candidate.seq) } else { None };
        let json = match unproved.and_then(|place| self.locate(candidate.seq, &place).ok()) {
            Some(json) => json,
            None => match snapshot.place(candidate.seq)? {
                Some(place) => self.locate(candidate.seq, &place)?,
                None => return Ok(None),
            },
        };
        Ok(Some(self.window.part(json)))
    }

    /// Where in the window the record of a seq lies.
    fn locate(&mut self, seq: u64, place: &Place<'s>) -> Result<Range<usize>> {
        if self.segment.is_none_or(|segment| !Arc::ptr_eq(segment, place.segment)) {
            self.window.forget();
            self.segment = Some(place.segment);
        }
        place.segment.locate(seq, place.offset, place.next, &mut self.window)
    }
}
