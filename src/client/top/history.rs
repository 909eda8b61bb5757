//! What happened between the last two looks, and in those before.

use std::collections::VecDeque;
use std::time::Duration;

use super::latency::Recent;
use super::sample::Sample;

/// Looks that are remembered: more than a terminal has columns.
const REMEMBERED: usize = 600;

/// What is told per second, and the number of `stats` that it is the growth of.
pub const RATES: [(&str, &str); 4] = [
    ("requests/s", "requests.answered"),
    ("writes/s", "writer.writes"),
    ("reads/s", "reads.answered"),
    ("errors/s", "requests.errors"),
];

/// The other numbers of `stats` that the screen shows.
pub const SHOWN: &[&str] = &[
    "stored.seq",
    "stored.messages",
    "stored.keys",
    "stored.apps",
    "stored.chats",
    "stored.formulas",
    "stored.queues",
    "jobs.ready",
    "jobs.dead",
    "connections.open",
    "connections.followers",
    "connections.waiting_reserves",
    "connections.buffered_bytes",
    "memory.resident_bytes",
    "memory.anonymous_bytes",
    "writer.batches",
    "writer.read_only",
    "log.segments",
    "log.bytes",
    "log.written_bytes",
    "index.memory_runs",
    "index.memory_bytes",
    "index.file_runs",
    "index.file_bytes",
];

/// The looks so far.
#[derive(Debug, Default)]
pub struct History {
    last: Option<Sample>,
    now: Option<Now>,
    /// For each of [`RATES`], oldest first, and behind them writes in a batch.
    series: [VecDeque<f64>; RATES.len() + 1],
}

/// The time between the last two looks, and the last one.
#[derive(Debug, Clone)]
pub struct Now {
    /// The last look.
    pub sample: Sample,
    /// How long before it the one before was; nothing when there was none.
    pub interval: Option<Duration>,
    /// For each of [`RATES`].
    pub rates: [f64; RATES.len()],
    /// Writes that shared a batch, on average.
    pub writes_per_batch: f64,
    /// Bytes that the log grew by, per second.
    pub log_bytes_per_second: f64,
    /// How long things took.
    pub latencies: Vec<Recent>,
}

impl History {
    /// Takes the newest look.
    pub fn push(&mut self, sample: Sample) {
        // Another daemon, or the same one started anew, counts from the beginning.
        let before = self.last.take().filter(|before| before.started_at == sample.started_at);
        let now = Now::between(before.as_ref(), sample.clone());
        if now.interval.is_some() {
            let values = now.rates.into_iter().chain([now.writes_per_batch]);
            for (series, value) in self.series.iter_mut().zip(values) {
                series.push_back(value);
                if series.len() > REMEMBERED {
                    series.pop_front();
                }
            }
        }
        self.last = Some(sample);
        self.now = Some(now);
    }

    /// The last look; nothing before the first one.
    #[must_use]
    pub fn now(&self) -> Option<&Now> {
        self.now.as_ref()
    }

    /// The newest values of a series, oldest first, as heights for a sparkline.
    #[must_use]
    pub fn heights(&self, series: usize, columns: usize) -> Vec<u64> {
        let Some(values) = self.series.get(series) else { return Vec::new() };
        let newest = values.iter().skip(values.len().saturating_sub(columns));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rates are small and positive"
        )]
        newest.map(|value| (value * 100.0).ceil() as u64).collect()
    }
}

impl Now {
    fn between(before: Option<&Sample>, sample: Sample) -> Self {
        let interval = before.map(|before| sample.taken.saturating_duration_since(before.taken));
        let grown = |name: &str| {
            let before = before.map_or(0, |before| before.number(name));
            sample.number(name).saturating_sub(before)
        };
        let per_second = |name: &str| ratio(grown(name), interval.map_or(0.0, |time| time.as_secs_f64()));
        let recent = sample.latencies.iter().map(|latency| {
            let same =
                before.and_then(|before| before.latencies.iter().find(|same| same.name == latency.name));
            latency.since(same)
        });
        Now {
            interval,
            rates: RATES.map(|(_, name)| per_second(name)),
            #[allow(clippy::cast_precision_loss, reason = "an average")]
            writes_per_batch: ratio(grown("writer.writes"), grown("writer.batches") as f64),
            log_bytes_per_second: per_second("log.written_bytes"),
            latencies: recent.collect(),
            sample,
        }
    }
}

/// 0 where there is nothing to divide by.
#[allow(clippy::cast_precision_loss, reason = "a rate for people")]
fn ratio(count: u64, of: f64) -> f64 {
    if of > 0.0 { count as f64 / of } else { 0.0 }
}

/// Looks that were made up serve the tests of the screen, too.
#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::client::reply::Reply;

    /// A look at a daemon that has answered so many requests in so many batches, one a millisecond.
    pub fn sample(started_at: &str, requests: u64, after: Duration) -> Sample {
        let reply = |text: String| Reply::new(text).unwrap();
        let stats = format!(
            "{{\"ok\":true,\"requests\":{{\"answered\":{requests},\"errors\":0}},\"stored\":{{\"seq\":{requests},\
             \"messages\":1234567}},\"writer\":{{\"writes\":{requests},\"batches\":{},\"read_only\":0}},\
             \"log\":{{\"segments\":3,\"bytes\":4096,\"written_bytes\":{}}},\
             \"memory\":{{\"resident_bytes\":52428800}}}}",
            requests / 10,
            requests * 100
        );
        let metrics = format!(
            "msglogd_writer_sync_seconds_bucket{{le=\\\"0.001024\\\"}} {requests}\\n\
             msglogd_writer_sync_seconds_bucket{{le=\\\"+Inf\\\"}} {requests}\\n"
        );
        let queues = "{\"ok\":true,\"queues\":[\
             {\"queue\":\"mails\",\"ready\":5,\"delayed\":1,\"leased\":2,\"dead\":0,\
              \"oldest_at\":\"2026-01-31T11:59:00.000000Z\"},\
             {\"queue\":\"thumb\\u001bnails\",\"ready\":700,\"delayed\":0,\"leased\":4,\"dead\":3,\
              \"oldest_at\":\"2026-01-31T11:59:50.000000Z\"},\
             {\"queue\":\"zzz\",\"ready\":0,\"delayed\":0,\"leased\":0,\"dead\":9}]}";
        let info = format!("{{\"ok\":true,\"version\":\"0.1.0\",\"started_at\":\"{started_at}\"}}");
        let metrics = format!("{{\"ok\":true,\"text\":\"{metrics}\"}}");
        let mut sample = Sample::of([info, stats, metrics, queues.to_owned()].map(reply));
        sample.at = crate::time::Timestamp::parse("2026-01-31T12:00:00Z").unwrap();
        sample.taken += after;
        sample
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let mut history = History::default();
        let first = sample("a", 100, Duration::ZERO);
        let mut second = sample("a", 1100, Duration::ZERO);
        second.taken = first.taken + Duration::from_secs(2);
        history.push(first);
        assert_eq!(history.now().unwrap().interval, None);
        history.push(second);
        let now = history.now().unwrap();
        assert!((now.rates[0] - 500.0).abs() < 0.01 && (now.writes_per_batch - 10.0).abs() < 0.01, "{now:?}");
        assert_eq!((now.latencies[0].count, now.latencies[0].p99), (1000, Some(1024)));
        assert_eq!(history.heights(0, 80), [50_000]);
    }

    #[test]
    fn a_daemon_that_was_restarted_counts_from_the_beginning() {
        let mut history = History::default();
        history.push(sample("a", 100, Duration::ZERO));
        history.push(sample("b", 7, Duration::from_secs(1)));
        let now = history.now().unwrap();
        assert_eq!((now.interval, now.rates[0].to_bits()), (None, 0));
        assert!(history.heights(0, 80).is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut history = History::default();
        for second in 0..REMEMBERED as u64 + 50 {
            history.push(sample("a", second, Duration::from_secs(second)));
        }
        assert_eq!(history.heights(0, usize::MAX).len(), REMEMBERED);
        assert_eq!(history.heights(0, 3).len(), 3);
    }
}
