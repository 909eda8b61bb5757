//! What a run covers, and the counts of the table as of its end.

use roaring::RoaringTreemap;

use crate::codec::{read_varint, write_varint};
use crate::domain::table::Counts;
use crate::time::Timestamp;

/// What a run covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meta {
    /// The first seq it covers.
    pub first: u64,
    /// The last seq it covers.
    pub last: u64,
    /// The first seq whose record has its place in the array of offsets. The records before have
    /// theirs in entries, see `places`: that part of the log was compacted.
    pub dense_from: u64,
    /// The compaction of the log that these entries are of; 0 where there was none.
    pub generation: u64,
    /// The time of the first.
    pub first_at: Timestamp,
    /// The time of the last.
    pub last_at: Timestamp,
    /// The smallest and the largest seq of a message that was edited or deleted by its events and
    /// may stand in an older run, or in this one.
    pub changed: Option<(u64, u64)>,
    /// Whether it holds words of edited messages.
    pub edits: bool,
    /// Whether it has the grams of its words; set when it is written.
    pub grams: bool,
    /// Whether it is no part of the index but the table's checkpoint, which knows of no message or record.
    pub checkpoint: bool,
    /// The counts of the table as of the last seq.
    pub counts: Counts,
    /// How many keys of the table and terms it holds; set when it is written.
    pub keys: u64,
    /// How many of them say that a key was removed; set when it is written.
    pub removed: u64,
}

impl Meta {
    /// Notes messages that events of the run changed.
    pub(super) fn note_changed(&mut self, messages: &RoaringTreemap) {
        if let (Some(low), Some(high)) = (messages.min(), messages.max()) {
            let (other_low, other_high) = self.changed.unwrap_or((low, high));
            self.changed = Some((low.min(other_low), high.max(other_high)));
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (low, high) = self.changed.map_or((0, 0), |(low, high)| (low, high + 1));
        for number in [
            self.first,
            self.last,
            self.dense_from,
            self.generation,
            self.first_at.0,
            self.last_at.0,
            low,
            high,
            u64::from(self.edits)
                | u64::from(self.grams) << 1
                | u64::from(self.checkpoint) << 2
                | self.removed << 3,
            self.keys,
        ] {
            write_varint(out, number);
        }
        self.counts.write(out);
    }

    pub(super) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut next = || read_varint(bytes);
        let (first, last, dense_from, generation) = (next()?, next()?, next()?, next()?);
        let (first_at, last_at) = (Timestamp(next()?), Timestamp(next()?));
        let (low, high, flags, keys) = (next()?, next()?, next()?, next()?);
        let (edits, grams, checkpoint, removed) =
            (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0, flags >> 3);
        let changed = high.checked_sub(1).map(|high| (low, high));
        let counts = Counts::read(bytes)?;
        Some(Meta {
            first,
            last,
            dense_from,
            generation,
            first_at,
            last_at,
            changed,
            edits,
            grams,
            checkpoint,
            counts,
            keys,
            removed,
        })
    }
}
