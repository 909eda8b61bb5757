//! Reads the records of many messages, one after the other.
//!
//! The matches of a frequent word lie close to each other in the log: then one read brings many records.

use std::sync::Arc;

use crate::domain::messages;
use crate::error::Result;
use crate::index::query::Candidate;
use crate::log::segment::{Segment, Window};
use crate::snapshot::Snapshot;

/// Reads records for one walk.
pub struct Records<'s> {
    snapshot: &'s Snapshot,
    window: Window,
    /// The segment that the window is of.
    segment: Option<&'s Arc<Segment>>,
    /// A record that lies elsewhere.
    other: Vec<u8>,
}

impl<'s> Records<'s> {
    /// A reader of what a snapshot sees.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot) -> Self {
        Records { snapshot, window: Window::default(), segment: None, other: Vec::new() }
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
        let Some(place) = self.snapshot.place(candidate.seq)? else { return Ok(None) };
        if self.segment.is_none_or(|segment| !Arc::ptr_eq(segment, place.segment)) {
            self.window.forget();
            self.segment = Some(place.segment);
        }
        place.segment.read_near(candidate.seq, place.offset, place.next, &mut self.window).map(Some)
    }
}
