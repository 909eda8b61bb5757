//! What the daemon counts while it works, for `stats` and `metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::domain::event::JobState;
use crate::domain::table::Facts;
use crate::index::run::Run;
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

/// A number that threads add to.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Takes from it.
    pub fn take(&self, count: u64) {
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
    fn bound_us(bucket: usize) -> Option<u64> {
        (bucket + 1 < BUCKETS).then(|| 16 << bucket)
    }

    fn counts(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|bucket| self.buckets[bucket].load(Relaxed))
    }

    /// A bound under which that share of all lies, in microseconds.
    fn quantile_us(&self, share: f64) -> u64 {
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
    /// Connections refused as too many.
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
    /// Reads answered by readers.
    pub reads: Counter,
    /// How long reads took, from the snapshot to the reply.
    pub read_time: Histogram,
    batches: Counter,
    events: Counter,
    writes: Counter,
    waiting_reserves: Counter,
    log_bytes: Counter,
    append_time: Histogram,
    sync_time: Histogram,
    turn_time: Histogram,
    slowed_us: Counter,
    refused_appends: Counter,
    broken: Counter,
    runs_memory: Counter,
    runs_files: Counter,
    run_bytes_memory: Counter,
    run_bytes_files: Counter,
    /// Runs written to files since the start.
    pub merges: Counter,
}

impl Stats {
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

    /// A frame could not be written; nothing happened.
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

    /// The runs that there are now.
    pub fn index(&self, runs: &[Arc<Run>]) {
        let (memory, files): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run.in_memory());
        self.runs_memory.set(memory.len() as u64);
        self.runs_files.set(files.len() as u64);
        self.run_bytes_memory.set(memory.iter().map(|run| run.bytes()).sum());
        self.run_bytes_files.set(files.iter().map(|run| run.bytes()).sum());
    }

    /// All numbers by subject and name, and the subject's times, as of `now_at`.
    #[must_use]
    #[allow(clippy::too_many_lines, reason = "a table")]
    pub fn subjects(&self, snapshot: &Snapshot, now_at: Timestamp) -> Vec<Subject<'_>> {
        let counts = snapshot.counts();
        let [ready, delayed, leased, dead] = counts.jobs;
        let jobs = JobState::ALL.map(JobState::as_str).into_iter().zip([ready, delayed, leased, dead]);
        let (resident, anonymous) = memory_bytes();
        let gauge = |name, value| Number { name, value, total: false };
        let total = |name, counter: &Counter| Number { name, value: counter.get(), total: true };
        let now = |name, counter: &Counter| Number { name, value: counter.get(), total: false };
        vec![
            Subject::new(
                "stored",
                vec![
                    gauge("seq", snapshot.last),
                    gauge("synced_seq", snapshot.synced),
                    gauge("messages", counts.messages),
                    gauge("keys", counts.keys),
                    gauge("apps", counts.apps),
                    gauge("chats", counts.chats),
                    gauge("formulas", counts.formulas),
                    gauge("queues", counts.queues),
                    gauge("idempotency_keys", counts.answered),
                ],
            ),
            Subject::new("jobs", jobs.map(|(name, value)| gauge(name, value)).collect()),
            Subject::new(
                "connections",
                vec![
                    now("open", &self.connections_open),
                    now("followers", &self.followers),
                    now("waiting_reserves", &self.waiting_reserves),
                    now("buffered_bytes", &self.buffered_bytes),
                    total("accepted", &self.connections_accepted),
                    total("refused", &self.connections_refused),
                    total("dropped", &self.connections_dropped),
                ],
            ),
            Subject::new("requests", vec![total("answered", &self.requests), total("errors", &self.errors)]),
            Subject::timed("reads", vec![total("answered", &self.reads)], vec![("time", &self.read_time)]),
            Subject::timed(
                "writer",
                vec![
                    total("batches", &self.batches),
                    total("writes", &self.writes),
                    total("events", &self.events),
                    total("refused_appends", &self.refused_appends),
                    total("slowed_us", &self.slowed_us),
                    now("read_only", &self.broken),
                ],
                vec![("append", &self.append_time), ("sync", &self.sync_time), ("batch", &self.turn_time)],
            ),
            Subject::new(
                "log",
                vec![
                    gauge("segments", snapshot.segments.len() as u64),
                    total("written_bytes", &self.log_bytes),
                    gauge("ahead_of_clock_us", snapshot.last_at.0.saturating_sub(now_at.0)),
                ],
            ),
            Subject::new(
                "index",
                vec![
                    now("memory_runs", &self.runs_memory),
                    now("memory_bytes", &self.run_bytes_memory),
                    now("file_runs", &self.runs_files),
                    now("file_bytes", &self.run_bytes_files),
                    total("merges", &self.merges),
                ],
            ),
            Subject::new(
                "memory",
                vec![gauge("resident_bytes", resident), gauge("anonymous_bytes", anonymous)],
            ),
        ]
    }
}

/// One number of a subject.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    /// Its name.
    pub name: &'static str,
    /// Its value now.
    pub value: u64,
    /// Whether it only grows, since the start.
    pub total: bool,
}

/// What is known of one subject.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'static str,
    /// Its numbers.
    pub numbers: Vec<Number>,
    /// Its times.
    pub times: Vec<(&'static str, &'a Histogram)>,
}

impl<'a> Subject<'a> {
    fn new(name: &'static str, numbers: Vec<Number>) -> Self {
        Subject { name, numbers, times: Vec::new() }
    }

    fn timed(name: &'static str, numbers: Vec<Number>, times: Vec<(&'static str, &'a Histogram)>) -> Self {
        Subject { name, numbers, times }
    }
}

/// Resident and anonymous memory of this process, in bytes; 0 where the kernel does not say.
fn memory_bytes() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    (of("VmRSS:").unwrap_or(0) * 1024, of("RssAnon:").unwrap_or(0) * 1024)
}

/// All numbers as the fields of a JSON object.
#[must_use]
pub fn json(stats: &Stats, snapshot: &Snapshot, now_at: Timestamp) -> Vec<u8> {
    use crate::json::fields::Fields;
    let mut out = Vec::with_capacity(1024);
    for subject in stats.subjects(snapshot, now_at) {
        let mut object = Vec::new();
        for number in &subject.numbers {
            Fields(&mut object).number(number.name, number.value);
        }
        for (name, times) in &subject.times {
            let mut time = Vec::new();
            let count = times.counts().iter().sum();
            Fields(&mut time)
                .number("count", count)
                .number("sum_us", times.sum_us.load(Relaxed))
                .number("p50_us", times.quantile_us(0.5))
                .number("p99_us", times.quantile_us(0.99));
            let braced = [b"{", time.get(1..).unwrap_or_default(), b"}"].concat();
            Fields(&mut object).raw(name, &braced);
        }
        let braced = [b"{", object.get(1..).unwrap_or_default(), b"}"].concat();
        Fields(&mut out).raw(subject.name, &braced);
    }
    out
}

/// All numbers in the Prometheus text format.
#[must_use]
pub fn prometheus(stats: &Stats, snapshot: &Snapshot, now_at: Timestamp) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(4096);
    for subject in stats.subjects(snapshot, now_at) {
        for number in &subject.numbers {
            let (kind, suffix) = if number.total { ("counter", "_total") } else { ("gauge", "") };
            let name = format!("msglogd_{}_{}{suffix}", subject.name, number.name);
            // Writing to a string cannot fail.
            let _ = writeln!(out, "# TYPE {name} {kind}\n{name} {}", number.value);
        }
        for (what, times) in &subject.times {
            let name = format!("msglogd_{}_{what}_seconds", subject.name);
            let _ = writeln!(out, "# TYPE {name} histogram");
            let mut seen = 0;
            for (bucket, count) in times.counts().into_iter().enumerate() {
                seen += count;
                let bound = Histogram::bound_us(bucket).map_or("+Inf".to_owned(), seconds);
                let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {seen}");
            }
            let _ = writeln!(out, "{name}_sum {}\n{name}_count {seen}", seconds(times.sum_us.load(Relaxed)));
        }
    }
    out
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
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
