//! Requests on many connections at the same time, and how long each took.

use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::cases::{Case, Work};
use super::options::Shape;
use super::scratch::Scratch;
use crate::client::address::Address;
use crate::client::connection::Connection;
use crate::client::failure::{Failure, Result};
use crate::client::reply::Reply;
use crate::client::request::RequestLine;
use crate::json;

/// Most connections of a shape.
pub const CONNECTIONS_MAX: u64 = 1000;

/// What came of a case in a shape.
#[derive(Debug, Default)]
pub struct Figures {
    /// Requests, or cycles.
    pub count: u64,
    /// From the first request to the last reply.
    pub time: Duration,
    /// How long each took, in microseconds, shortest first.
    latencies: Vec<u32>,
}

impl Figures {
    /// The latency that so many of a thousand are under.
    #[must_use]
    pub fn under(&self, of_thousand: usize) -> Duration {
        let place = (self.latencies.len() * of_thousand).div_ceil(1000).saturating_sub(1);
        Duration::from_micros(self.latencies.get(place).copied().unwrap_or(0).into())
    }
}

/// Runs a case in a shape for so long.
///
/// # Errors
/// A connection cannot be made or breaks, or the daemon refuses a request.
pub fn run(
    address: &Address,
    case: &Case,
    scratch: &Scratch,
    shape: Shape,
    duration: Duration,
    stop: &AtomicBool,
) -> Result<Figures> {
    let connections = (0..shape.connections).map(|_| address.connect()).collect::<Result<Vec<_>>>()?;
    let runs = thread::scope(|scope| -> Result<Vec<Result<Option<Run>>>> {
        // All begin together, once each has its thread. Where one gets none the others are told of no beginning.
        let (begin, begun) = crossbeam_channel::unbounded();
        let mut running = Vec::with_capacity(connections.len());
        for (number, connection) in (0..).zip(connections) {
            let begun = begun.clone();
            let thread = thread::Builder::new().spawn_scoped(scope, move || {
                let Ok(until) = begun.recv() else { return Ok(None) };
                let mut run = Run::new(connection, shape.outstanding, number, until, stop)?;
                match case.work {
                    Work::Requests(request) => run.requests(|count| request(scratch, count)),
                    Work::Cycles => run.cycles(&scratch.queue(number)),
                }
                .map(|()| Some(run))
            });
            running.push(thread.map_err(|error| {
                let what = format!("cannot start a thread for each of {} connections", shape.connections);
                Failure::file(&what, &error)
            })?);
        }
        let until = Instant::now() + duration;
        // Each thread that is there receives once.
        let _ = running.iter().try_for_each(|_| begin.send(until));
        let crashed = || Err(Failure::NoDaemon("a connection's thread has died".into()));
        let ended = running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| crashed()));
        Ok(ended.collect())
    })?;
    let runs = runs.into_iter().filter_map(Result::transpose).collect::<Result<Vec<Run>>>()?;
    let first = runs.iter().map(|run| run.started).min();
    let last = runs.iter().map(|run| run.ended).max();
    let time = first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first);
    let mut latencies: Vec<u32> = runs.into_iter().flat_map(|run| run.latencies).collect();
    latencies.sort_unstable();
    Ok(Figures { count: latencies.len() as u64, time, latencies })
}

/// One connection's part.
struct Run<'a> {
    connection: Connection,
    stream: UnixStream,
    outstanding: u64,
    /// Numbers of requests begin apart from those of other connections.
    first: u64,
    until: Instant,
    stop: &'a AtomicBool,
    started: Instant,
    ended: Instant,
    latencies: Vec<u32>,
}

impl<'a> Run<'a> {
    fn new(
        connection: Connection,
        outstanding: u64,
        number: u64,
        until: Instant,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let stream = connection.sender().map_err(|error| Failure::lost(&error))?;
        let (first, now) = (number << 32, Instant::now());
        let latencies = Vec::with_capacity(1 << 16);
        Ok(Run { connection, stream, outstanding, first, until, stop, started: now, ended: now, latencies })
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until || self.stop.load(Ordering::Relaxed)
    }

    fn note(&mut self, sent: Instant) {
        self.ended = Instant::now();
        self.latencies.push(u32::try_from((self.ended - sent).as_micros()).unwrap_or(u32::MAX));
    }

    fn send(&mut self, lines: &[u8]) -> Result<()> {
        self.stream.write_all(lines).map_err(|error| Failure::lost(&error))
    }

    fn receive(&mut self) -> Result<Reply> {
        Ok(self.connection.reply().map_err(|error| Failure::lost(&error))?.accepted()?)
    }

    /// Keeps as many requests under way as the shape says.
    fn requests(&mut self, request: impl Fn(u64) -> String) -> Result<()> {
        let mut sent = VecDeque::new();
        let mut number = self.first;
        loop {
            let mut lines = Vec::new();
            if !self.is_over() {
                let missing = self.outstanding - sent.len() as u64;
                for number in number..number + missing {
                    lines.extend_from_slice(request(number).as_bytes());
                    lines.push(b'\n');
                }
                number += missing;
                let now = Instant::now();
                sent.extend((0..missing).map(|_| now));
            }
            self.send(&lines)?;
            // Waits for one, and takes along what has come with it.
            loop {
                let Some(begun) = sent.pop_front() else { return Ok(()) };
                self.receive()?;
                self.note(begun);
                if !self.connection.has_line() {
                    break;
                }
            }
        }
    }

    /// Puts as many jobs as the shape says, reserves them, and acks them.
    fn cycles(&mut self, queue: &str) -> Result<()> {
        let put = RequestLine::new("queue.put").text("queue", queue).raw("body", "{\"n\":1}").finish() + "\n";
        let mut reserve = RequestLine::new("queue.reserve");
        let reserve = reserve.text("queue", queue).number("max", self.outstanding).finish() + "\n";
        let count = usize::try_from(self.outstanding).unwrap_or(1);
        while !self.is_over() {
            let begun = Instant::now();
            self.send((put.repeat(count) + &reserve).as_bytes())?;
            for _ in 0..count {
                self.receive()?;
            }
            let reserved = self.receive()?;
            let jobs = reserved.field("jobs").and_then(json::array).unwrap_or_default();
            let acks: Vec<String> = jobs.into_iter().filter_map(ack).collect();
            self.send(acks.concat().as_bytes())?;
            for _ in &acks {
                self.receive()?;
                self.note(begun);
            }
        }
        Ok(())
    }
}

/// The ack of a reserved job.
fn ack(job: &str) -> Option<String> {
    let job = json::object(job)?;
    let mut request = RequestLine::new("queue.ack");
    Some(request.raw("job", job.get("job")?).raw("lease", job.get("lease")?).finish() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_latencies_is_under_each_bound() {
        let figures = Figures { latencies: (1..=1000).collect(), ..Figures::default() };
        assert_eq!(figures.under(500), Duration::from_micros(500));
        assert_eq!(figures.under(990), Duration::from_micros(990));
        assert_eq!(Figures::default().under(500), Duration::ZERO);
        let one = Figures { latencies: vec![7], ..Figures::default() };
        assert_eq!((one.under(500), one.under(990)), (one.under(1), Duration::from_micros(7)));
    }
}
