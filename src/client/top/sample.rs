//! One look at the daemon: its numbers, its latencies and its queues.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use super::latency::{Latency, latencies};
use crate::client::address::{Address, Unreached};
use crate::client::connection::Connection;
use crate::client::failure::{Failure, Result, lost_how};
use crate::client::reply::Reply;
use crate::json;
use crate::time::Timestamp;

/// Queues that are looked at; of more, the first ones by name.
const QUEUES: u64 = 1000;

/// How long the daemon may take for an answer before it counts as away, unless a timeout says.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the daemon said at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When, by a clock that only goes forward.
    pub taken: Instant,
    /// When, by the clock on the wall.
    pub at: Timestamp,
    /// The daemon's version.
    pub version: String,
    /// When it was started.
    pub started_at: String,
    /// The reply to `stats`.
    pub stats: Reply,
    /// Counts of how long things took, since the daemon's start.
    pub latencies: Vec<Latency>,
    /// The queues.
    pub queues: Vec<Queue>,
    /// Whether there are more queues.
    pub more_queues: bool,
    numbers: BTreeMap<String, u64>,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Jobs that wait for a worker.
    pub ready: u64,
    /// Jobs that wait for their time.
    pub delayed: u64,
    /// Jobs that a worker has.
    pub leased: u64,
    /// Jobs that were tried too often.
    pub dead: u64,
    /// Since when the oldest ready job is there.
    pub oldest_at: Option<Timestamp>,
}

impl Queue {
    /// Jobs that are not done with, the dead ones not among them.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.ready + self.delayed + self.leased
    }

    /// Reads one of `queue.list`.
    fn of(raw: &str) -> Option<Self> {
        let fields = json::object(raw)?;
        let number = |key: &str| fields.get(key).and_then(json::as_u64).unwrap_or(0);
        let oldest = fields.get("oldest_at").and_then(json::as_string);
        Some(Queue {
            name: json::as_string(fields.get("queue")?)?.into_owned(),
            ready: number("ready"),
            delayed: number("delayed"),
            leased: number("leased"),
            dead: number("dead"),
            oldest_at: oldest.and_then(|at| Timestamp::parse(&at)),
        })
    }
}

impl Sample {
    /// A number of `stats`, such as `writer.batches`; 0 where the daemon does not know it.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or(0)
    }

    /// A sample of these replies, to `info`, `stats`, `metrics` and `queue.list`.
    #[must_use]
    pub fn of([info, stats, metrics, list]: [Reply; 4]) -> Self {
        let queues = list.field("queues").and_then(json::array).unwrap_or_default();
        Sample {
            taken: Instant::now(),
            at: Timestamp::now(),
            version: info.text("version").unwrap_or_default(),
            started_at: info.text("started_at").unwrap_or_default(),
            latencies: latencies(&metrics.text("text").unwrap_or_default()),
            queues: queues.into_iter().filter_map(Queue::of).collect(),
            more_queues: list.field("next").is_some(),
            numbers: numbers(&stats),
            stats,
        }
    }
}

/// The numbers of a reply by subject and name.
fn numbers(stats: &Reply) -> BTreeMap<String, u64> {
    let mut numbers = BTreeMap::new();
    let subjects = json::object(stats.line());
    for (subject, raw) in subjects.iter().flat_map(json::Object::iter) {
        let names = json::object(raw);
        for (name, raw) in names.iter().flat_map(json::Object::iter) {
            if let Some(number) = json::as_u64(raw) {
                numbers.insert(format!("{subject}.{name}"), number);
            }
        }
    }
    numbers
}

/// Where samples come from: one connection at a time, made anew when it is lost.
#[derive(Debug)]
pub struct Source {
    address: Address,
    connection: Option<Connection>,
}

impl Source {
    /// Samples of the daemon at this address.
    #[must_use]
    pub fn new(address: Address, connection: Connection) -> Self {
        Source { address, connection: Some(connection) }
    }

    /// Takes one.
    ///
    /// # Errors
    /// The daemon is away or refuses.
    pub fn take(&mut self) -> Result<Sample> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.address.reconnect().map_err(|unreached| match unreached {
                Unreached::Shortage(_) => Failure::File(unreached.to_string()),
                Unreached::Away { .. } => Failure::NoDaemon("no daemon answers".into()),
            })?,
        };
        let sample = ask(&mut connection)?;
        self.connection = Some(connection);
        Ok(sample)
    }
}

/// Why there is no sample, in a few words. What this side is short of says nothing about the daemon.
#[must_use]
pub fn shortly(failure: &Failure) -> String {
    let reason = failure.message().unwrap_or_default();
    if matches!(failure, Failure::File(_)) { reason } else { format!("daemon away: {reason}") }
}

fn ask(connection: &mut Connection) -> Result<Sample> {
    let away = |error: io::Error| Failure::NoDaemon(lost_how(&error));
    connection.set_patience(PATIENCE).map_err(away)?;
    let list = format!("{{\"cmd\":\"queue.list\",\"limit\":{QUEUES}}}");
    let requests = ["{\"cmd\":\"info\"}", "{\"cmd\":\"stats\"}", "{\"cmd\":\"metrics\"}", &list];
    let mut sent = connection.send(&requests.join("\n"));
    let mut reply = || -> Result<Reply> {
        Ok(connection.reply_to(mem::replace(&mut sent, Ok(()))).map_err(away)?.accepted()?)
    };
    Ok(Sample::of([reply()?, reply()?, reply()?, reply()?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_on_this_side_is_not_told_as_a_daemon_that_is_away() {
        assert_eq!(shortly(&Failure::File("too many files".into())), "too many files");
        assert_eq!(shortly(&Failure::NoDaemon("closed".into())), "daemon away: closed");
    }
}
