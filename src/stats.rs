//! What the daemon counts while it works; `metrics` tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::index::run::Run;
use crate::index::tail::Tail;

/// A number that threads add to.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Subtracts from it.
    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Relaxed);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Reads it.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Buckets of a histogram: up to 16 microseconds, 32, 64 ... and the rest.
const BUCKETS: usize = 20;

/// How long something took, counted in powers of two.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one.
    pub fn note(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (us / 16).checked_ilog2().map_or(0, |power| power as usize + 1).min(BUCKETS - 1);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// The upper bound of a bucket in microseconds. `None` for the last.
    #[must_use]
    pub fn bound_us(bucket: usize) -> Option<u64> {
        (bucket + 1 < BUCKETS).then(|| 16 << bucket)
    }

    /// How many are in each bucket.
    #[must_use]
    pub fn counts(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed))
    }

    /// The sum of all, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.load(Relaxed)
    }

    /// A bound under which that share of all lies, in microseconds.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> u64 {
        let counts = self.counts();
        let total: u64 = counts.iter().sum();
        let mut seen = 0;
        for (bucket, count) in counts.into_iter().enumerate() {
            seen += count;
            #[allow(clippy::cast_precision_loss, reason = "a share of a count needs no more digits")]
            if total > 0 && seen as f64 >= share * total as f64 {
                return Self::bound_us(bucket).unwrap_or(16 << BUCKETS);
            }
        }
        0
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections open now.
    pub connections_open: Counter,
    /// Connections accepted since the start.
    pub connections_accepted: Counter,
    /// Connections refused as too many or as forbidden.
    pub connections_refused: Counter,
    /// Connections closed because they held too much.
    pub connections_dropped: Counter,
    /// Bytes that lines and replies hold now.
    pub buffered_bytes: Counter,
    /// Requests answered since the start, of any kind.
    pub requests: Counter,
    /// Requests refused or failed.
    pub errors: Counter,
    /// Followers now.
    pub followers: Counter,
    /// Reads answered.
    pub reads: Counter,
    /// How long reads took, from the snapshot to the reply.
    pub read_time: Histogram,
    /// Turns of the writer.
    pub batches: Counter,
    /// Events written.
    pub events: Counter,
    /// Writes decided.
    pub writes: Counter,
    /// Reserves that wait now.
    pub waiting_reserves: Counter,
    /// Bytes of events appended.
    pub log_bytes: Counter,
    /// How long it took to hand a frame to the kernel.
    pub append_time: Histogram,
    /// How long syncs took.
    pub sync_time: Histogram,
    /// How long whole turns took.
    pub turn_time: Histogram,
    /// Microseconds that the writer waited for the background.
    pub slowed_us: Counter,
    /// Writes refused for want of room, and frames that could not be written.
    pub refused_appends: Counter,
    /// 1 when nothing can be written any more.
    pub broken: Counter,
    /// Tails of the index: what of it is in memory alone.
    pub tails: Counter,
    /// Run files of the index.
    pub run_files: Counter,
    /// Bytes of the tails.
    pub tail_bytes: Counter,
    /// Bytes of the run files.
    pub run_file_bytes: Counter,
    /// Bytes that the maintenance under way has read and written.
    pub maintenance_done: Counter,
    /// About how many it will be.
    pub maintenance_total: Counter,
    /// Compactions of the log since the start.
    pub compactions: Counter,
    /// Bytes of dead events in sealed segments, as far as it was looked.
    pub dead_bytes: Counter,
    /// Run files written since the start: by merges, and where a tail was flushed.
    pub merges: Counter,
}

impl Stats {
    /// A read was answered.
    pub fn answered_read(&self, took: Duration) {
        self.reads.add(1);
        self.read_time.note(took);
    }

    /// The writer took a batch.
    pub fn turn(&self, requests: usize, events: usize, took: Duration) {
        if requests + events > 0 {
            self.batches.add(1);
            self.writes.add(requests as u64);
            self.events.add(events as u64);
            self.turn_time.note(took);
        }
    }

    /// A frame was appended.
    pub fn appended(&self, bytes: u64, took: Duration) {
        self.log_bytes.add(bytes);
        self.append_time.note(took);
    }

    /// The log was synced.
    pub fn synced(&self, took: Duration) {
        self.sync_time.note(took);
    }

    /// So many reserves wait.
    pub fn waiting(&self, count: usize) {
        self.waiting_reserves.set(count as u64);
    }

    /// The writer waited for the background.
    pub fn slowed(&self, pause: Duration) {
        self.slowed_us.add(u64::try_from(pause.as_micros()).unwrap_or(0));
    }

    /// Nothing could be written, and nothing happened.
    pub fn refused_append(&self) {
        self.refused_appends.add(1);
    }

    /// Nothing can be written any more.
    pub fn broken(&self) {
        self.broken.set(1);
    }

    /// Whether nothing can be written any more.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.get() > 0
    }

    /// The runs and tails that there are now.
    pub fn index(&self, runs: &[Arc<Run>], tails: &[Arc<Tail>]) {
        self.tails.set(tails.len() as u64);
        self.run_files.set(runs.len() as u64);
        self.tail_bytes.set(tails.iter().map(|tail| tail.held_bytes()).sum());
        self.run_file_bytes.set(runs.iter().map(|run| run.bytes()).sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_duration_in_one_bucket_under_its_bound() {
        let histogram = Histogram::default();
        for us in [0, 15, 16, 31, 32, 1_000, 10_000_000, u64::from(u32::MAX)] {
            histogram.note(Duration::from_micros(us));
        }
        assert_eq!(histogram.counts().iter().sum::<u64>(), 8);
        assert_eq!(histogram.counts()[..3], [2, 2, 1]);
        assert_eq!(histogram.quantile_us(0.5), 32);
    }
}
