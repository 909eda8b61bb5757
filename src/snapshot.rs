//! A snapshot: everything that there is to answer from, as of one moment. It never changes.

use std::sync::{Arc, PoisonError, RwLock};

use crate::domain::event::Event;
use crate::domain::kv;
use crate::domain::table::{Counts, FIRST_POSTINGS_TAG, Facts, Visit, malformed};
use crate::error::Result;
use crate::index::filter;
use crate::index::position::Position;
use crate::index::run::{Run, UNPROVED_BYTES, value_in};
use crate::index::source::Source;
use crate::index::tail::Tail;
use crate::index::tail::view::{View, Walk};
use crate::limits::REPLY_BYTES;
use crate::log::compacted::Compacted;
use crate::log::segment::{Segment, holding};
use crate::storage::File;
use crate::time::Timestamp;

/// The index and the segments as of an event.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// The index and table in files, oldest run first.
    pub runs: Arc<Vec<Arc<Run>>>,
    /// What follows them in memory, oldest tail first: events may be added to the last one, which this
    /// snapshot does not see.
    pub tails: Arc<Vec<Arc<Tail>>>,
    /// How many there are of what.
    pub counts: Counts,
    /// The log, oldest segment first.
    pub segments: Arc<Vec<Arc<Segment>>>,
    /// What the last compaction of the log left.
    pub compacted: Arc<Compacted>,
    /// The checkpoint of its table, where it could be opened.
    pub checkpoint: Option<Arc<dyn File>>,
    /// The last event that is visible.
    pub last: u64,
    /// Its time.
    pub last_at: Timestamp,
    /// The last event that is surely on disk.
    pub synced: u64,
    /// Where replies stop growing.
    pub reply_bytes: ReplyBytes,
}

/// Where replies stop growing: see [`Limits::reply_bytes`](crate::limits::Limits::reply_bytes).
#[derive(Debug, Clone, Copy)]
pub struct ReplyBytes(pub usize);

impl Default for ReplyBytes {
    fn default() -> Self {
        ReplyBytes(REPLY_BYTES)
    }
}

/// Where a record lies.
pub struct Place<'s> {
    /// The file.
    pub segment: &'s Arc<Segment>,
    /// Where its line begins.
    pub offset: u64,
    /// Where the next one begins, where that is known.
    pub next: Option<u64>,
}

impl Snapshot {
    /// The same as of the last event that is surely on disk.
    #[must_use]
    pub fn on_disk(&self) -> Snapshot {
        Snapshot { last: self.synced, ..self.clone() }
    }

    /// The tails as this snapshot sees them, oldest first.
    fn views(&self) -> impl DoubleEndedIterator<Item = View<'_>> {
        self.tails.iter().filter_map(|tail| tail.view(self.last))
    }

    /// All of the index, oldest piece first.
    #[must_use]
    pub fn sources(&self) -> Vec<Source<'_>> {
        let runs = self.runs.iter().map(|run| Source::Run(run));
        runs.chain(self.views().map(Source::Tail)).collect()
    }

    /// The time of the first event that the index has.
    #[must_use]
    pub fn first_at(&self) -> Timestamp {
        let in_files = self.runs.first().map(|run| run.meta().first_at);
        in_files.or_else(|| self.views().next().map(|view| view.first_at())).unwrap_or(self.last_at)
    }

    /// Where the index says that a record lies. `None` when it is not in the log.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn place(&self, seq: u64) -> Result<Option<Place<'_>>> {
        self.place_by(seq, Run::place)
    }

    /// The same without proof, for who sees from the record itself whether it is the right one. `None` also
    /// when that is not known without proof.
    #[must_use]
    pub fn unproved_place(&self, seq: u64) -> Option<Place<'_>> {
        self.place_by(seq, Run::unproved_place).ok()?
    }

    /// With the way to ask a run for the offset of the record, and the next one's if it is known.
    fn place_by(
        &self,
        seq: u64,
        in_run: impl Fn(&Run, u64) -> Result<Option<(u32, Option<u32>)>>,
    ) -> Result<Option<Place<'_>>> {
        if seq == 0 || seq > self.last {
            return Ok(None);
        }
        let found = if let Some(view) = self.views().rev().find(|view| view.first() <= seq) {
            view.place(seq)
        } else {
            let index = self.runs.partition_point(|run| run.meta().last < seq);
            self.runs.get(index).map_or(Ok(None), |run| in_run(run, seq))?
        };
        let Some((offset, next)) = found else { return Ok(None) };
        // The next record's place helps only when it lies behind in the same file.
        let next = next.filter(|next| *next > offset).map(u64::from);
        let segment = holding(&self.segments, seq);
        Ok(segment.map(|segment| Place { segment, offset: u64::from(offset), next }))
    }

    /// The record of an event that lay at `place` when it was written. `None` when it is not in the log.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn record_at(&self, seq: u64, place: Option<kv::Place>) -> Result<Option<Vec<u8>>> {
        // The length of a record that nobody vouches for must not be believed in.
        if let Some((offset, length)) = place.filter(|(_, length)| *length < UNPROVED_BYTES)
            && seq > self.compacted.last
            && let Some(segment) = holding(&self.segments, seq)
            && let (offset, length) = (u64::from(offset), u64::from(length))
            // A record proves itself to be the one that is sought.
            && let Ok(record) = segment.read(seq, offset, Some(offset + length))
        {
            return Ok(Some(record));
        }
        self.record(seq)
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
        // Nothing of what lies in memory was compacted away.
        let first = self.tails.first().map_or(u64::MAX, |tail| tail.first());
        Ok(Some(seq.max(first)).filter(|seq| *seq <= self.last))
    }

    /// The seq behind the last event in the log that is before `time`. What was compacted away from
    /// there to the next event may have been before or behind. Times never run backwards along the log.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn behind_all_before(&self, time: Timestamp) -> Result<u64> {
        let index = self.runs.partition_point(|run| run.meta().last_at < time);
        let (mut low, mut high) = match self.runs.get(index) {
            Some(run) if run.meta().first_at >= time => return Ok(run.meta().first),
            Some(run) => (run.meta().first, run.meta().last + 1),
            None => match self.views().find(|view| view.last_at() >= time) {
                Some(view) => (view.first(), view.last() + 1),
                None => return Ok(self.last + 1),
            },
        };
        while low < high {
            let middle = u64::midpoint(low, high);
            // The first record at the middle or behind it decides for all seqs between.
            let probe = self.next_record(middle)?;
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

    /// The value of a table's key, in a file of the index with the place of its event: see `kv`.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn stored(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let hash = filter::hash(key);
        if let Some(value) = self.views().rev().find_map(|view| view.value(key, hash)) {
            return Ok(value);
        }
        for run in self.runs.iter().rev() {
            if let Some(value) = run.value(key, hash)? {
                return Ok(value);
            }
        }
        Ok(None)
    }
}

impl Facts for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = self.stored(key)?;
        if let Some(value) = &mut value {
            value.truncate(kv::without_place(key, value).len());
        }
        Ok(value)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let to = to.min(&[FIRST_POSTINGS_TAG]);
        let mut walks = Vec::new();
        for run in self.runs.iter() {
            let mut place = Position::new(run);
            if place.seek(from)? && place.key() < to {
                walks.push(Entries::Run(place));
            }
        }
        let tails = self.views().map(|view| Entries::Tail(view.walk(from, to)));
        walks.extend(tails.filter(|walk| walk.current().is_some()));
        while let Some(key) =
            walks.iter().filter_map(|walk| Some(walk.current()?.0)).min().map(<[u8]>::to_vec)
        {
            let mut newest = true;
            let mut going = true;
            for index in (0..walks.len()).rev() {
                let walk = &mut walks[index];
                let Some((_, value)) = walk.current().filter(|(found, _)| *found == key) else { continue };
                if newest && let Some(value) = value {
                    going = visit(&key, kv::without_place(&key, value))?;
                }
                newest = false;
                if !walk.advance(to)? {
                    walks.remove(index);
                }
            }
            if !going {
                break;
            }
        }
        Ok(())
    }

    fn record(&self, seq: u64) -> Result<Option<Vec<u8>>> {
        if let Some(place) = self.unproved_place(seq)
            && let Ok(record) = place.segment.read(seq, place.offset, place.next)
        {
            return Ok(Some(record));
        }
        let Some(place) = self.place(seq)? else { return Ok(None) };
        place.segment.read(seq, place.offset, place.next).map(Some)
    }

    fn counts(&self) -> Counts {
        self.counts
    }
}

/// A walk through the table's entries in one piece of the index.
enum Entries<'s> {
    Run(Position<'s>),
    Tail(Walk<'s>),
}

impl Entries<'_> {
    /// The key that it is at, and its value.
    fn current(&self) -> Option<(&[u8], Option<&[u8]>)> {
        match self {
            Entries::Run(place) => Some((place.key(), value_in(place.payload()))),
            Entries::Tail(walk) => walk.current(),
        }
    }

    /// Goes on. `false` when there is nothing more below `to`.
    fn advance(&mut self, to: &[u8]) -> Result<bool> {
        match self {
            Entries::Run(place) => Ok(place.advance()? && place.key() < to),
            Entries::Tail(walk) => {
                walk.advance();
                Ok(walk.current().is_some())
            }
        }
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
        let before =
            std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), snapshot);
        // Behind the lock: it may be the last owner of a tail, and frees all of its memory then.
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::storage::Open;
    use crate::storage::failing::Failing;

    /// Counts itself when it goes while the newest snapshot can be loaded.
    struct Witness(Arc<Published>, Arc<AtomicUsize>);

    impl Drop for Witness {
        fn drop(&mut self) {
            self.1.fetch_add(usize::from(self.0.0.try_read().is_ok()), Ordering::SeqCst);
        }
    }

    #[test]
    fn nobody_waits_while_what_a_snapshot_held_is_given_up() {
        let (published, went) = (Arc::new(Published::default()), Arc::new(AtomicUsize::new(0)));
        let witness = Witness(Arc::clone(&published), Arc::clone(&went));
        let storage = Failing::in_memory(move |_, _| {
            let _ = &witness;
            Ok(())
        });
        let path = Path::new("/log/1.log").to_owned();
        let file = storage.open(&path, Open::Create).expect("memory");
        drop(storage);
        let segments = Arc::new(vec![Arc::new(Segment { first: 1, path, file })]);
        published.publish(Arc::new(Snapshot { segments, ..Snapshot::default() }));
        assert_eq!(went.load(Ordering::SeqCst), 0, "it is the newest");
        published.publish(Arc::default());
        assert_eq!(went.load(Ordering::SeqCst), 1);
    }
}
