//! Every number of the daemon by subject: as JSON for `stats`, and for `metrics` in the text format of
//! Prometheus, with names and units by its conventions
//! (<https://prometheus.io/docs/practices/naming/>).

use std::fmt::Write;

use crate::domain::event::JobState;
use crate::domain::table::Facts;
use crate::json::fields::Fields;
use crate::snapshot::Snapshot;
use crate::stats::{Counter, Histogram, Stats};
use crate::time::Timestamp;

/// One number of a subject. A name that ends in `_us` is one of microseconds.
#[derive(Debug, Clone, Copy)]
struct Number {
    name: &'static str,
    doc: &'static str,
    value: u64,
    /// Whether it only grows, from the start of the daemon on.
    total: bool,
}

/// How long something took.
#[derive(Debug, Clone, Copy)]
struct Time<'a> {
    name: &'static str,
    doc: &'static str,
    times: &'a Histogram,
}

/// What is known of one subject.
#[derive(Debug)]
struct Subject<'a> {
    name: &'static str,
    numbers: Vec<Number>,
    times: Vec<Time<'a>>,
}

fn gauge(name: &'static str, value: u64, doc: &'static str) -> Number {
    Number { name, doc, value, total: false }
}

fn now(name: &'static str, counter: &Counter, doc: &'static str) -> Number {
    gauge(name, counter.get(), doc)
}

fn total(name: &'static str, counter: &Counter, doc: &'static str) -> Number {
    Number { name, doc, value: counter.get(), total: true }
}

fn time<'a>(name: &'static str, times: &'a Histogram, doc: &'static str) -> Time<'a> {
    Time { name, doc, times }
}

fn subject(name: &'static str, numbers: Vec<Number>) -> Subject<'static> {
    Subject { name, numbers, times: Vec::new() }
}

/// All subjects, as of `now_at`.
fn subjects<'a>(stats: &'a Stats, snapshot: &Snapshot, now_at: Timestamp) -> Vec<Subject<'a>> {
    let mut all: Vec<Subject<'a>> = stored(snapshot);
    all.extend(traffic(stats));
    all.push(writer(stats));
    all.extend(files(stats, snapshot, now_at));
    let done = "bytes that `log.verify`, `log.backup` or `log.compact` has read and written; 0 when none is under way";
    all.push(subject(
        "maintenance",
        vec![
            now("done_bytes", &stats.maintenance_done, done),
            now(
                "total_bytes",
                &stats.maintenance_total,
                "about how many it will be; 0 where that is not known",
            ),
        ],
    ));
    let (resident, anonymous) = memory_bytes();
    all.push(subject(
        "memory",
        vec![
            gauge("resident_bytes", resident, "memory of the process, files mapped or read included"),
            gauge("anonymous_bytes", anonymous, "memory of the process alone"),
        ],
    ));
    all
}

fn stored(snapshot: &Snapshot) -> Vec<Subject<'static>> {
    let counts = snapshot.counts();
    let [ready, delayed, leased, dead] = counts.jobs;
    vec![
        subject(
            "stored",
            vec![
                gauge("seq", snapshot.last, "the last event"),
                gauge("synced_seq", snapshot.synced, "the last event that is on disk"),
                gauge("messages", counts.messages, "messages there are"),
                gauge("keys", counts.keys, "keys there are"),
                gauge("apps", counts.apps, "applications there are"),
                gauge("chats", counts.chats, "chats there are"),
                gauge("formulas", counts.formulas, "formulas there are"),
                gauge("queues", counts.queues, "queues there are"),
                gauge("idempotency_keys", counts.answered, "idempotency keys that are bound"),
            ],
        ),
        subject(
            JOBS,
            vec![
                gauge(JobState::Ready.as_str(), ready, "ready jobs in all queues"),
                gauge(JobState::Delayed.as_str(), delayed, "delayed jobs in all queues"),
                gauge(JobState::Leased.as_str(), leased, "leased jobs in all queues"),
                gauge(JobState::Dead.as_str(), dead, "dead jobs in all queues"),
            ],
        ),
    ]
}

fn traffic(stats: &Stats) -> Vec<Subject<'_>> {
    let reads = vec![total("answered", &stats.reads, "reads of stored data answered since the start")];
    vec![
        subject(
            "connections",
            vec![
                now("open", &stats.connections_open, "connections open now"),
                now("followers", &stats.followers, "connections that follow now"),
                now("waiting_reserves", &stats.waiting_reserves, "reserves that wait now"),
                now("buffered_bytes", &stats.buffered_bytes, "bytes that lines and unsent replies hold"),
                total("accepted", &stats.connections_accepted, "connections accepted since the start"),
                total(
                    "refused",
                    &stats.connections_refused,
                    "connections refused since the start, as too many or as forbidden",
                ),
                total(
                    "dropped",
                    &stats.connections_dropped,
                    "connections closed since the start because they held too much",
                ),
            ],
        ),
        subject(
            "requests",
            vec![
                total("answered", &stats.requests, "requests answered since the start, failures included"),
                total("errors", &stats.errors, "requests answered with an error since the start"),
            ],
        ),
        Subject {
            name: "reads",
            numbers: reads,
            times: vec![time("time", &stats.read_time, "how long reads of stored data took")],
        },
    ]
}

fn writer(stats: &Stats) -> Subject<'_> {
    Subject {
        name: "writer",
        numbers: vec![
            total("batches", &stats.batches, "turns of the writer since the start; each syncs at most once"),
            total("writes", &stats.writes, "writes decided since the start"),
            total("events", &stats.events, "events written since the start"),
            total(
                "refused_appends",
                &stats.refused_appends,
                "writes refused since the start for want of room, and batches that could not be written",
            ),
            total("slowed_us", &stats.slowed_us, "time the writer waited for the index since the start"),
            now("read_only", &stats.broken, "1 after the disk failed, else 0"),
        ],
        times: vec![
            time("append", &stats.append_time, "how long it took to hand a batch to the kernel"),
            time("sync", &stats.sync_time, "how long `fdatasync` took"),
            time("batch", &stats.turn_time, "how long a whole turn of the writer took"),
        ],
    }
}

fn files(stats: &Stats, snapshot: &Snapshot, now_at: Timestamp) -> [Subject<'static>; 2] {
    let ahead = snapshot.last_at.0.saturating_sub(now_at.0);
    // A file that cannot be asked counts for nothing: reads and writes of it say what is wrong.
    let bytes = snapshot.segments.iter().map(|segment| segment.file.length().unwrap_or(0)).sum();
    [
        subject(
            "log",
            vec![
                gauge("segments", snapshot.segments.len() as u64, "segments of the log"),
                gauge("bytes", bytes, "bytes of the log's files, room made ahead included"),
                total("written_bytes", &stats.log_bytes, "bytes of events written since the start"),
                now(
                    "dead_bytes",
                    &stats.dead_bytes,
                    "bytes of sealed segments that a compaction would free, about",
                ),
                total("compactions", &stats.compactions, "compactions since the start"),
                gauge(
                    "ahead_of_clock_us",
                    ahead,
                    "how far the last event's `at` is ahead of the clock; 0 as a rule",
                ),
            ],
        ),
        subject(
            "index",
            vec![
                now("memory_runs", &stats.tails, "pieces of the index in memory"),
                now("memory_bytes", &stats.tail_bytes, "bytes of the index in memory"),
                now("file_runs", &stats.run_files, "pieces of the index in files"),
                now("file_bytes", &stats.run_file_bytes, "bytes of the index in files"),
                total("merges", &stats.merges, "pieces of the index written to files since the start"),
            ],
        ),
    ]
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
    let mut out = Vec::with_capacity(2048);
    for subject in subjects(stats, snapshot, now_at) {
        let mut object = Vec::new();
        for number in &subject.numbers {
            Fields(&mut object).number(number.name, number.value);
        }
        for Time { name, times, .. } in &subject.times {
            let mut time = Vec::new();
            Fields(&mut time)
                .number("count", times.counts().iter().sum())
                .number("sum_us", times.sum_us())
                .number("p50_us", times.quantile_us(0.5))
                .number("p99_us", times.quantile_us(0.99));
            Fields(&mut object).raw(name, &braced(&time));
        }
        Fields(&mut out).raw(subject.name, &braced(&object));
    }
    out
}

/// Fields each begin with a comma; an object has none before its first.
fn braced(fields: &[u8]) -> Vec<u8> {
    [b"{", fields.get(1..).unwrap_or_default(), b"}"].concat()
}

/// The subject whose numbers are one metric with a label for each.
const JOBS: &str = "jobs";

/// All numbers in the text format of Prometheus, of a daemon that has run since `started_at`.
#[must_use]
pub fn prometheus(stats: &Stats, snapshot: &Snapshot, now_at: Timestamp, started_at: Timestamp) -> String {
    let mut out = String::with_capacity(16 << 10);
    // Writing to a string cannot fail, here and below.
    let version = env!("CARGO_PKG_VERSION");
    head(&mut out, "msglogd_build_info", "gauge", "1; the version is in the label");
    let _ = writeln!(out, "msglogd_build_info{{version=\"{version}\"}} 1");
    head(&mut out, "msglogd_start_time_seconds", "gauge", "when the daemon was started, in Unix time");
    let _ = writeln!(out, "msglogd_start_time_seconds {}", seconds(started_at.0));
    for subject in subjects(stats, snapshot, now_at) {
        if subject.name == JOBS {
            head(&mut out, "msglogd_jobs", "gauge", "jobs in all queues, by state");
            for Number { name, value, .. } in &subject.numbers {
                let _ = writeln!(out, "msglogd_jobs{{state=\"{name}\"}} {value}");
            }
            continue;
        }
        subject.numbers.iter().for_each(|number| sample(&mut out, subject.name, number));
        subject.times.iter().for_each(|time| histogram(&mut out, subject.name, time));
    }
    out
}

/// Describes a metric, before its samples.
pub fn head(out: &mut String, name: &str, kind: &str, doc: &str) {
    let _ = writeln!(out, "# HELP {name} {doc}\n# TYPE {name} {kind}");
}

fn sample(out: &mut String, subject: &str, number: &Number) {
    let Number { name, doc, value, total } = *number;
    let (kind, suffix) = if total { ("counter", "_total") } else { ("gauge", "") };
    let (name, value) = match name.strip_suffix("_us") {
        Some(name) => (format!("msglogd_{subject}_{name}_seconds{suffix}"), seconds(value)),
        None => (format!("msglogd_{subject}_{name}{suffix}"), value.to_string()),
    };
    head(out, &name, kind, doc);
    let _ = writeln!(out, "{name} {value}");
}

fn histogram(out: &mut String, subject: &str, time: &Time<'_>) {
    let Time { name, doc, times } = *time;
    let what = if name == "time" { String::new() } else { format!("_{name}") };
    let name = format!("msglogd_{subject}{what}_duration_seconds");
    head(out, &name, "histogram", doc);
    let mut seen = 0;
    for (bucket, count) in times.counts().into_iter().enumerate() {
        seen += count;
        let bound = Histogram::bound_us(bucket).map_or("+Inf".to_owned(), seconds);
        let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {seen}");
    }
    let _ = writeln!(out, "{name}_sum {}\n{name}_count {seen}", seconds(times.sum_us()));
}

/// Microseconds as the seconds that metrics are in.
#[must_use]
pub fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn text(stats: &Stats) -> String {
        prometheus(stats, &Snapshot::default(), Timestamp(0), Timestamp(1_500_000))
    }

    #[test]
    fn each_number_is_described_in_the_protocol_as_it_is_here() {
        let document = include_str!("../protocol.md");
        let stats = Stats::default();
        for subject in subjects(&stats, &Snapshot::default(), Timestamp(0)) {
            let numbers = subject.numbers.iter().map(|number| (number.name, number.doc));
            for (name, doc) in numbers.chain(subject.times.iter().map(|time| (time.name, time.doc))) {
                let row = format!("| `{}.{name}` | {doc} |", subject.name);
                assert!(document.contains(&row), "protocol.md has no line {row}");
            }
        }
    }

    #[test]
    fn units_are_seconds_and_bytes_totals_say_so_and_jobs_are_told_apart_by_a_label() {
        let stats = Stats::default();
        stats.slowed(Duration::from_micros(1_250_000));
        let text = text(&stats);
        for line in [
            "msglogd_start_time_seconds 1.500000",
            "msglogd_writer_slowed_seconds_total 1.250000",
            "msglogd_jobs{state=\"ready\"} 0",
            "# TYPE msglogd_reads_duration_seconds histogram",
            "# HELP msglogd_writer_sync_duration_seconds how long `fdatasync` took",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in {text}");
        }
        assert!(!text.contains("_us"), "{text}");
    }

    #[test]
    fn every_metric_has_its_help_and_its_type_once_and_before_its_samples() {
        let text = text(&Stats::default());
        let mut described = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let Some(help) = line.strip_prefix("# HELP ") else { continue };
            let (name, doc) = help.split_once(' ').expect("a text");
            assert!(!doc.is_empty() && !described.contains(&name), "{line}");
            assert!(lines.next().is_some_and(|line| line.starts_with(&format!("# TYPE {name} "))), "{name}");
            while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
                assert!(sample.starts_with(name), "{sample} under {name}");
            }
            described.push(name);
        }
        assert!(described.len() > 40);
    }

    #[test]
    fn buckets_add_up() {
        let stats = Stats::default();
        for us in [10, 20, 5_000_000] {
            stats.synced(Duration::from_micros(us));
        }
        let text = text(&stats);
        let of = |suffix: &str| {
            let name = format!("msglogd_writer_sync_duration_seconds_{suffix} ");
            text.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned))
        };
        assert_eq!(of("bucket{le=\"0.000016\"}").as_deref(), Some("1"));
        assert_eq!(of("bucket{le=\"4.194304\"}").as_deref(), Some("2"));
        assert_eq!(of("bucket{le=\"+Inf\"}").as_deref(), Some("3"));
        assert_eq!(of("count").as_deref(), Some("3"));
        assert_eq!(of("sum").as_deref(), Some("5.000030"));
    }
}
