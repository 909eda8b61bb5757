//! How long things took between two looks, from the histograms of `metrics`.

/// A histogram: how often something took up to so long, since the daemon's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// What took so long, such as `writer sync`.
    pub name: String,
    /// Upper bounds in microseconds (none for the last), each with the count of all under it.
    buckets: Vec<(Option<u64>, u64)>,
}

/// What became of a histogram between two looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// What took so long.
    pub name: String,
    /// How often.
    pub count: u64,
    /// A bound in microseconds under which half of them lie.
    pub p50: Option<u64>,
    /// A bound in microseconds under which 99 of 100 lie.
    pub p99: Option<u64>,
}

/// All histograms in a text in the format of Prometheus.
#[must_use]
pub fn latencies(metrics: &str) -> Vec<Latency> {
    let mut found: Vec<Latency> = Vec::new();
    for line in metrics.lines() {
        let Some((name, bound, count)) = bucket(line) else { continue };
        let name = name.strip_suffix("_duration").unwrap_or(name).replace('_', " ");
        match found.iter_mut().find(|latency| latency.name == name) {
            Some(latency) => latency.buckets.push((bound, count)),
            None => found.push(Latency { name, buckets: vec![(bound, count)] }),
        }
    }
    found
}

/// `msglogd_NAME_seconds_bucket{le="BOUND"} COUNT`, where NAME may end in `_duration`.
fn bucket(line: &str) -> Option<(&str, Option<u64>, u64)> {
    let (name, rest) = line.strip_prefix("msglogd_")?.split_once("_seconds_bucket{le=\"")?;
    let (bound, count) = rest.split_once("\"} ")?;
    let bound = if bound == "+Inf" { None } else { Some(microseconds(bound)?) };
    Some((name, bound, count.trim().parse().ok()?))
}

/// Seconds as the daemon writes them, with up to six digits behind the point.
fn microseconds(seconds: &str) -> Option<u64> {
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let fraction: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Some(whole.parse::<u64>().ok()? * 1_000_000 + fraction)
}

impl Latency {
    /// What came since an earlier look.
    #[must_use]
    pub fn since(&self, earlier: Option<&Latency>) -> Recent {
        let before = |place: usize| {
            let bucket = earlier.and_then(|earlier| earlier.buckets.get(place));
            bucket.map_or(0, |(_, count)| *count)
        };
        let counts = self.buckets.iter().enumerate();
        let grown: Vec<(Option<u64>, u64)> =
            counts.map(|(place, (bound, count))| (*bound, count.saturating_sub(before(place)))).collect();
        let count = grown.last().map_or(0, |(_, count)| *count);
        let under = |parts: u64| {
            let needed = (count * parts).div_ceil(100);
            let (bound, _) = grown.iter().find(|(_, seen)| count > 0 && *seen >= needed)?;
            *bound
        };
        Recent { name: self.name.clone(), count, p50: under(50), p99: under(99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "# TYPE msglogd_writer_sync_seconds histogram
msglogd_writer_sync_seconds_bucket{le=\"0.000016\"} 10
msglogd_writer_sync_seconds_bucket{le=\"0.001024\"} 30
msglogd_writer_sync_seconds_bucket{le=\"+Inf\"} 30
msglogd_writer_sync_seconds_sum 0.500000
msglogd_writer_sync_seconds_count 30
msglogd_stored_seq 7
";

    #[test]
    fn histograms_are_found_whatever_else_there_is() {
        let [sync] = latencies(METRICS).try_into().unwrap();
        let all = sync.since(None);
        let expected = Recent { name: "writer sync".into(), count: 30, p50: Some(1024), p99: Some(1024) };
        assert_eq!(all, expected);
        let longer = METRICS.replace("_seconds", "_duration_seconds");
        assert_eq!(latencies(&longer), [sync]);
    }

    #[test]
    fn only_what_came_since_counts() {
        let [before] = latencies(METRICS).try_into().unwrap();
        let now = METRICS.replace("} 30", "} 40").replace("} 10", "} 20");
        let [now] = latencies(&now).try_into().unwrap();
        let recent = now.since(Some(&before));
        assert_eq!((recent.count, recent.p50, recent.p99), (10, Some(16), Some(16)));
        let nothing = now.since(Some(&now));
        assert_eq!((nothing.count, nothing.p50), (0, None));
    }

    #[test]
    fn seconds_become_microseconds_without_a_float() {
        assert_eq!(microseconds("0.000016"), Some(16));
        assert_eq!(microseconds("4.194304"), Some(4_194_304));
        assert_eq!(microseconds("2"), Some(2_000_000));
        assert_eq!(microseconds("0.5"), Some(500_000));
        assert_eq!(microseconds("x"), None);
    }
}
