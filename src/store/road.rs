//! How far a replay is: the bytes of the log that it has before it.

use std::sync::Arc;

use crate::log::recovery::{Failure, Start};
use crate::log::segment::{Segment, holding};

/// How far the log was read back.
#[derive(Debug, Clone, Copy)]
pub struct Replayed {
    /// Events read.
    pub events: u64,
    /// Bytes of the log read.
    pub bytes: u64,
    /// Bytes to read in all, room made ahead included.
    pub of_bytes: u64,
}

/// The bytes that a replay has before it.
pub(super) struct Road {
    /// The first seq of each segment, and how many bytes lie before it, from the log's beginning.
    segments: Vec<(u64, u64)>,
    /// Where the replay begins.
    start: u64,
    /// From there to the end of the log.
    pub(super) length: u64,
}

impl Road {
    pub(super) fn new(segments: &[Arc<Segment>], start: Start) -> Result<Self, Failure> {
        let (mut places, mut end) = (Vec::with_capacity(segments.len()), 0);
        for segment in segments {
            places.push((segment.first, end));
            let length = segment.file.length();
            end += length.map_err(|error| Failure::Io { path: segment.path.clone(), error })?;
        }
        let mut road = Road { segments: places, start: 0, length: end };
        // Without an offset it begins with the segment behind.
        let from = start.last + u64::from(start.offset.is_none());
        if let Some(segment) = holding(segments, from) {
            road.start = road.behind(segment, start.offset.unwrap_or(0));
            road.length = end.saturating_sub(road.start);
        }
        Ok(road)
    }

    /// How many bytes lie between the start and this place.
    pub(super) fn behind(&self, segment: &Segment, offset: u64) -> u64 {
        let number = self.segments.partition_point(|(first, _)| *first < segment.first);
        let before = self.segments.get(number).map_or(0, |(_, before)| *before);
        (before + offset).saturating_sub(self.start)
    }
}
