//! Values of the table that the writer read lately. It alone changes the table, so they stay true
//! as long as every batch that is kept is noted here. And the last batches' records of jobs: most are
//! reserved soon after they were put.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::domain::jobs::Queue;
use crate::domain::table::{Changes, tag};
use crate::log::frame::CHECKSUM_BYTES;

/// Values kept at most; then all are forgotten and gathered anew.
const VALUES_MAX: usize = 8192;
/// A buffer larger than this is not kept.
const KEPT_BYTES: usize = 1 << 20;
/// Bytes of records kept at most: of a queue that is worked off as fast as it fills, some thousand jobs.
const RECENT_BYTES: usize = 2 << 20;
/// A batch with more bytes is not kept among the recent ones: it would push out all others.
const RECENT_BATCH_BYTES: usize = 128 << 10;

/// Values read lately; `None` for keys that are not there.
#[derive(Debug, Default)]
pub struct HotValues {
    values: HashMap<Vec<u8>, Option<Vec<u8>>>,
    queues: HashMap<u64, Option<Queue>>,
    buffer: Vec<u8>,
    recent: VecDeque<Lines>,
    recent_bytes: usize,
}

/// The lines of a batch.
#[derive(Debug, Default)]
pub struct Lines {
    /// The seq of the first.
    pub first: u64,
    /// The lines, one behind the other.
    pub bytes: Vec<u8>,
    /// Where each begins.
    pub starts: Vec<usize>,
}

impl Lines {
    /// The record of an event, without the checksum before it and the line feed behind it.
    #[must_use]
    pub fn record(&self, seq: u64) -> Option<&[u8]> {
        let number = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        let start = *self.starts.get(number)?;
        let end = self.starts.get(number + 1).copied().unwrap_or(self.bytes.len());
        self.bytes.get(start + CHECKSUM_BYTES..end.checked_sub(1)?)
    }
}

/// Whether a key of that tag is likely to be asked for again. Most keys come once, each another.
fn comes_again(key: &[u8]) -> bool {
    let again = [tag::JOB, tag::QUEUE_NAME, tag::APP, tag::APP_COUNTERS, tag::CHAT, tag::CHAT_COUNTERS];
    key.first().is_some_and(|tag| again.contains(tag))
}

impl HotValues {
    /// What is known of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if comes_again(key) { self.values.get(key).cloned() } else { None }
    }

    /// What is known of a queue.
    #[must_use]
    pub fn queue(&self, id: u64) -> Option<Option<Queue>> {
        self.queues.get(&id).cloned()
    }

    /// Notes what was read.
    pub fn note(&mut self, key: &[u8], value: Option<&Vec<u8>>) {
        if comes_again(key) {
            self.keep(key, value.cloned());
        }
    }

    /// Notes a queue as it is now.
    pub fn note_queue(&mut self, id: u64, queue: Option<Queue>) {
        if self.queues.len() >= VALUES_MAX {
            self.queues.clear();
        }
        self.queues.insert(id, queue);
    }

    fn keep(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        if self.values.len() >= VALUES_MAX {
            self.values.clear();
        }
        self.values.insert(key.to_vec(), value);
    }

    /// Notes what a batch that was kept has changed.
    pub fn change(&mut self, changes: &Changes) {
        for (key, value) in changes.0.iter().filter(|(key, _)| comes_again(key)) {
            if key.first() == Some(&tag::JOB) {
                // Whoever put a job or leased it is likely to go on with it; one that is done is not.
                match value {
                    Some(value) => self.keep(key, Some(value.clone())),
                    None => drop(self.values.remove(key)),
                }
            } else if let Some(known) = self.values.get_mut(key) {
                known.clone_from(value);
            }
        }
    }

    /// The record of an event of one of the last batches.
    #[must_use]
    pub fn record(&self, seq: u64) -> Option<&[u8]> {
        self.recent.iter().rev().find(|lines| lines.first <= seq)?.record(seq)
    }

    /// The buffer for the next batch's lines.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Keeps the lines of a batch that was kept, or if they are not `wanted` only their buffer.
    pub fn keep_lines(&mut self, lines: Lines, wanted: bool) {
        let mut spare = lines.bytes;
        if wanted && !lines.starts.is_empty() && spare.len() <= RECENT_BATCH_BYTES {
            self.recent_bytes += spare.len();
            let lines = Lines { bytes: std::mem::take(&mut spare), ..lines };
            self.recent.push_back(lines);
            while self.recent_bytes > RECENT_BYTES
                && let Some(oldest) = self.recent.pop_front()
            {
                self.recent_bytes -= oldest.bytes.len();
                spare = oldest.bytes;
            }
        }
        if spare.capacity() <= KEPT_BYTES {
            spare.clear();
            self.buffer = spare;
        }
    }
}
