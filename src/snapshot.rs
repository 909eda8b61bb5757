//! A snapshot: everything that there is to answer from, as of one moment. It never changes.

use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::event::Event;
use crate::domain::table::{Counts, FIRST_POSTINGS_TAG, Facts, Visit, malformed};
use crate::error::Result;
use crate::index::filter;
use crate::index::run::{Position, Run, value_in};
use crate::log::compacted::Compacted;
use crate::log::segment::{Segment, holding};
use crate::time::Timestamp;

/// The runs and segments as of an event.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// The index and table, oldest run first.
    pub runs: Arc<Vec<Arc<Run>>>,
    /// The log, oldest segment first.
    pub segments: Arc<Vec<Arc<Segment>>>,
    /// What the last compaction of the log left.
    pub compacted: Arc<Compacted>,
    /// The last event that is visible.
    pub last: u64,
    /// Its time.
    pub last_at: Timestamp,
    /// The last event that is surely on disk.
    pub synced: u64,
}

/// Where a record lies.
pub struct Place<'s> {
    /// The file.
    pub segment: &'s Segment,
    /// Where its line begins.
    pub offset: u64,
    /// Where the next one begins, where that is known.
    pub next: Option<u64>,
}

impl Snapshot {
    /// The run that covers `seq`.
    fn run_of(&self, seq: u64) -> Option<&Arc<Run>> {
        let index = self.runs.partition_point(|run| run.meta().last < seq);
        self.runs.get(index).filter(|run| run.meta().first <= seq)
    }

    /// Where the index says that a record lies. `None` when it is not in the log.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn place(&self, seq: u64) -> Result<Option<Place<'_>>> {
        if seq == 0 || seq > self.last {
            return Ok(None);
        }
        let Some(run) = self.run_of(seq) else { return Ok(None) };
        let Some((offset, next)) = run.place(seq)? else { return Ok(None) };
        // The next record's place helps only when it lies behind in the same file.
        let next = next.filter(|next| *next > offset).map(u64::from);
        let segment = holding(&self.segments, seq);
        Ok(segment.map(|segment| Place { segment, offset: u64::from(offset), next }))
    }

    /// The first event at `seq` or behind it that is in the log: others were compacted away.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn next_record(&self, seq: u64) -> Result<Option<u64>> {
        let start = self.runs.partition_point(|run| run.meta().last < seq);
        for run in self.runs.iter().skip(start) {
            if let Some(found) = run.next_record(seq)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The seq behind the last event in the log that is before `time`. What was compacted away from
    /// there to the next event may have been before or behind. Times never run backwards along the log.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn behind_all_before(&self, time: Timestamp) -> Result<u64> {
        let index = self.runs.partition_point(|run| run.meta().last_at < time);
        let Some(run) = self.runs.get(index) else { return Ok(self.last + 1) };
        let (mut low, mut high) = (run.meta().first, run.meta().last + 1);
        if run.meta().first_at >= time {
            high = low;
        }
        while low < high {
            let middle = u64::midpoint(low, high);
            // The first record at the middle or behind it decides for all seqs between.
            let probe = run.next_record(middle)?;
            let Some(probe) = probe.filter(|probe| *probe < high) else {
                high = middle;
                continue;
            };
            let record = self.record(probe)?.ok_or_else(|| malformed("event"))?;
            if Event::decode(&record)?.at < time {
                low = probe + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

impl Facts for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let hash = filter::hash(key);
        for run in self.runs.iter().rev() {
            if let Some(value) = run.value(key, hash)? {
                return Ok(value);
            }
        }
        Ok(None)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let to = to.min(&[FIRST_POSTINGS_TAG]);
        let mut places = Vec::new();
        for run in self.runs.iter() {
            let mut place = Position::new(run);
            if place.seek(from)? && place.key() < to {
                places.push(place);
            }
        }
        while let Some(key) = places.iter().map(Position::key).min().map(<[u8]>::to_vec) {
            let mut newest = true;
            let mut going = true;
            for index in (0..places.len()).rev() {
                let place = &mut places[index];
                if place.key() != key {
                    continue;
                }
                if newest && let Some(value) = value_in(place.payload()) {
                    going = visit(&key, value)?;
                }
                newest = false;
                if !(place.advance()? && place.key() < to) {
                    places.remove(index);
                }
            }
            if !going {
                break;
            }
        }
        Ok(())
    }

    fn record(&self, seq: u64) -> Result<Option<Vec<u8>>> {
        let Some(place) = self.place(seq)? else { return Ok(None) };
        place.segment.read(seq, place.offset, place.next).map(Some)
    }

    fn counts(&self) -> Counts {
        self.runs.last().map_or_else(Counts::default, |run| run.meta().counts)
    }
}

/// The newest snapshot, for everyone to load.
#[derive(Default)]
pub struct Published(RwLock<Arc<Snapshot>>);

impl Published {
    /// The newest snapshot. Load it once for a request, and see only that.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        // The lock guards one pointer: a panic elsewhere cannot have left it half set.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a snapshot the newest.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}
