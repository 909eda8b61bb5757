//! Values of the table that the writer read lately. It alone changes the table, so they stay true
//! as long as every batch that is kept is noted here. And the last batches' records of jobs: most are
//! reserved soon after they were put.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::domain::jobs::{Job, Queue};
use crate::domain::table::{Changes, tag};
use crate::error::Result;
use crate::log::frame::{CHECKSUM_BYTES, Frame, HEADER_ROOM};

/// Values kept at most; then all are forgotten and gathered anew.
const VALUES_MAX: usize = 8192;
/// A frame that has more memory than this is not kept.
const KEPT_BYTES: usize = 1 << 20;
/// Bytes of memory with records kept at most: of a queue that is worked off as fast as it fills, some thousand
/// jobs.
const RECENT_BYTES: usize = 2 << 20;
/// A batch with more bytes is not kept among the recent ones: it would push out all others.
const RECENT_BATCH_BYTES: usize = 128 << 10;

/// Values read lately; `None` for keys that are not there.
#[derive(Debug, Default)]
pub struct HotValues {
    values: Known<Vec<u8>, Vec<u8>>,
    /// Queues by id.
    pub queues: Known<u64, Arc<Queue>>,
    /// Jobs by seq.
    pub jobs: Known<u64, Arc<Job>>,
    /// For the next batch: an empty frame that has memory.
    spare: Frame,
    recent: VecDeque<BatchLines>,
    recent_bytes: usize,
}

/// What was read lately of one kind, by its key; `None` for what is not there.
#[derive(Debug)]
pub struct Known<K, V>(HashMap<K, Option<V>>);

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Known(HashMap::new())
    }
}

impl<K: Eq + Hash, V: Clone> Known<K, V> {
    /// What is known of a key.
    #[must_use]
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<Option<V>>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).cloned()
    }

    /// Notes what is there now.
    pub fn note(&mut self, key: K, value: Option<V>) {
        if self.0.len() >= VALUES_MAX {
            self.0.clear();
        }
        self.0.insert(key, value);
    }

    /// Notes what was read.
    ///
    /// # Errors
    /// What reading it says.
    pub fn noted(&mut self, key: K, read: Result<Option<V>>) -> Result<Option<V>> {
        read.inspect(|value| self.note(key, value.clone()))
    }

    /// It is not likely to be asked for again.
    pub fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }
}

/// The lines of a batch.
#[derive(Debug, Clone, Default)]
pub struct BatchLines {
    /// The seq of the first.
    pub first: u64,
    /// The lines, one behind the other.
    pub frame: Frame,
    /// Where each begins.
    pub starts: Vec<usize>,
}

impl BatchLines {
    /// The same in memory that fits them; and what has more than that, to be used again.
    fn fitted(self) -> (BatchLines, Option<BatchLines>) {
        if self.frame.held_bytes() <= 2 * (HEADER_ROOM + self.frame.lines().len()) {
            return (self, None);
        }
        (self.clone(), Some(self))
    }

    /// Bytes of memory that they take.
    fn held_bytes(&self) -> usize {
        size_of::<BatchLines>() + self.frame.held_bytes() + size_of::<usize>() * self.starts.capacity()
    }

    /// The record of an event, without the checksum before it and the line feed behind it.
    #[must_use]
    pub fn record(&self, seq: u64) -> Option<&[u8]> {
        let number = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        let start = *self.starts.get(number)?;
        let lines = self.frame.lines();
        let end = self.starts.get(number + 1).copied().unwrap_or(lines.len());
        lines.get(start + CHECKSUM_BYTES..end.checked_sub(1)?)
    }
}

/// Whether a key of that tag is likely to be asked for again. Most keys come once, each another.
fn comes_again(key: &[u8]) -> bool {
    let again = [tag::QUEUE_NAME, tag::APP, tag::APP_COUNTERS, tag::CHAT, tag::CHAT_COUNTERS];
    key.first().is_some_and(|tag| again.contains(tag))
}

impl HotValues {
    /// What is known of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if comes_again(key) { self.values.get(key) } else { None }
    }

    /// Notes what was read.
    pub fn note(&mut self, key: &[u8], value: Option<&Vec<u8>>) {
        if comes_again(key) {
            self.values.note(key.to_vec(), value.cloned());
        }
    }

    /// Notes what a batch that was kept has changed.
    pub fn change(&mut self, changes: &Changes) {
        for (key, value) in changes.0.iter().filter(|(key, _)| comes_again(key)) {
            if let Some(known) = self.values.0.get_mut(key) {
                known.clone_from(value);
            }
        }
    }

    /// The record of an event of one of the last batches.
    #[must_use]
    pub fn record(&self, seq: u64) -> Option<&[u8]> {
        self.recent.iter().rev().find(|lines| lines.first <= seq)?.record(seq)
    }

    /// An empty frame for the next batch.
    pub fn take_frame(&mut self) -> Frame {
        std::mem::take(&mut self.spare)
    }

    /// Keeps the lines of a batch that was kept, or if they are not `wanted` only their memory.
    pub fn keep_lines(&mut self, lines: BatchLines, wanted: bool) {
        let mut spare;
        if wanted && !lines.starts.is_empty() && lines.frame.lines().len() <= RECENT_BATCH_BYTES {
            // Few lines must not keep the memory that many had.
            let (kept, large) = lines.fitted();
            self.recent_bytes += kept.held_bytes();
            self.recent.push_back(kept);
            spare = large;
            while self.recent_bytes > RECENT_BYTES
                && let Some(oldest) = self.recent.pop_front()
            {
                self.recent_bytes -= oldest.held_bytes();
                spare = spare.or(Some(oldest));
            }
        } else {
            spare = Some(lines);
        }
        if let Some(BatchLines { mut frame, .. }) = spare
            && frame.held_bytes() <= KEPT_BYTES
        {
            frame.clear();
            self.spare = frame;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of one line, in the frame that is there for it.
    fn batch(hot: &mut HotValues, first: u64, json: &[u8]) -> BatchLines {
        let mut frame = hot.take_frame();
        let starts = vec![frame.add(json)];
        BatchLines { first, frame, starts }
    }

    #[test]
    fn records_of_jobs_that_come_between_large_batches_take_no_more_memory_than_any() {
        let mut hot = HotValues::default();
        let (large, small) = (vec![b'x'; 500_000], b"{\"seq\":1}");
        for pair in 0..1000 {
            let lines = batch(&mut hot, 2 * pair + 1, &large);
            hot.keep_lines(lines, false);
            let lines = batch(&mut hot, 2 * pair + 2, small);
            hot.keep_lines(lines, true);
            assert!(hot.spare.held_bytes() >= large.len(), "the next large one finds memory");
        }
        assert_eq!(hot.record(2000), Some(&small[..]));
        let held: usize = hot.recent.iter().map(|lines| lines.frame.held_bytes()).sum();
        assert!(held <= 1000 * 1000, "{held} bytes");
    }

    #[test]
    fn the_newest_records_of_jobs_are_kept_within_a_bound() {
        let mut hot = HotValues::default();
        let json = vec![b'x'; RECENT_BATCH_BYTES / 2];
        for seq in 1..=100 {
            let lines = batch(&mut hot, seq, &json);
            hot.keep_lines(lines, true);
        }
        assert_eq!((hot.record(100), hot.record(1)), (Some(&json[..]), None));
        let held: usize = hot.recent.iter().map(BatchLines::held_bytes).sum();
        assert!(held == hot.recent_bytes && held <= RECENT_BYTES, "{held} bytes");
    }
}
