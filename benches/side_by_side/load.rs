//! The generator: one thread that keeps so many requests in flight on so many connections.

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

use crate::cells::{Cell, KEYS, Work};
use crate::dialect::{Ask, Dialect};
use crate::link::{Link, Role};
use crate::texts::{Texts, mix};

/// What came of a load.
#[derive(Default)]
pub struct Tally {
    /// Requests answered in time, or whole cycles.
    pub in_time: u64,
    /// The same with those answered after the end.
    pub all: u64,
    /// How long each took, in units of 100 ns.
    pub latencies: Vec<u32>,
    /// Numbers of what was acknowledged, each with the server's own.
    pub items: Vec<(u64, u64)>,
    pub puts_asked: u64,
    pub puts_done: u64,
    pub acks_asked: u64,
    pub acks_done: u64,
    pub failure: Option<String>,
    late: bool,
}

impl Tally {
    pub fn asked(&mut self, ask: &Ask) {
        match ask {
            Ask::Put(_) => self.puts_asked += 1,
            Ask::Ack(_) => self.acks_asked += 1,
            _ => {}
        }
    }

    pub fn done(&mut self, ask: &Ask, item: u64, took: Duration, role: Role) {
        let counts = match ask {
            Ask::Post(number) | Ask::Set(number) => {
                self.items.push((*number, item));
                true
            }
            Ask::Get(_) => true,
            Ask::Put(_) => {
                self.puts_done += 1;
                false
            }
            Ask::Ack(_) => {
                self.acks_done += 1;
                true
            }
            Ask::Reserve(_) => false,
        };
        self.all += u64::from(counts);
        if self.late {
            return;
        }
        self.in_time += u64::from(counts);
        // Of producers and consumers each request counts; of a cycle, the whole.
        if counts || matches!(role, Role::Produce) {
            self.latencies.push(u32::try_from(took.as_nanos() / 100).unwrap_or(u32::MAX));
        }
    }

    pub fn failed(&mut self, failure: String) {
        self.failure.get_or_insert(failure);
    }

    /// A percentile in microseconds.
    pub fn percentile_us(&mut self, percent: usize) -> f64 {
        if self.latencies.is_empty() {
            return f64::NAN;
        }
        let place = (self.latencies.len() * percent / 100).min(self.latencies.len() - 1);
        f64::from(*self.latencies.select_nth_unstable(place).1) / 10.0
    }
}

/// What the connections of a load share.
pub struct Shared<'t> {
    pub dialect: Dialect,
    pub texts: &'t Texts,
    pub tally: Tally,
    next: u64,
    end: u64,
    stopping: bool,
    /// Jobs that may be put and not yet acknowledged.
    open_jobs: u64,
}

impl Shared<'_> {
    /// The number of the next item.
    pub fn number(&mut self) -> Option<u64> {
        if self.stopping || self.next == self.end {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// A key, each as likely as any other.
    pub fn key(&mut self) -> Option<u64> {
        self.number().map(|number| mix(number.wrapping_add(0x5EED)) % KEYS)
    }

    /// The number of the next job, while the consumers keep up.
    pub fn job(&mut self) -> Option<u64> {
        if self.tally.puts_asked - self.tally.acks_done >= self.open_jobs { None } else { self.number() }
    }
}

/// What to ask, over which connections, and for how long.
pub struct Load<'t> {
    pub dialect: Dialect,
    pub texts: &'t Texts,
    pub roles: Vec<Role>,
    pub depth: usize,
    /// The numbers of the items.
    pub items: std::ops::Range<u64>,
    pub duration: Duration,
}

impl<'t> Load<'t> {
    /// The load of a cell, with items from `first` on.
    pub fn of(cell: &Cell, dialect: Dialect, texts: &'t Texts, first: u64, duration: Duration) -> Load<'t> {
        let half = cell.connections / 2;
        let roles = match cell.work {
            Work::Post => vec![Role::Post; cell.connections],
            Work::Set => vec![Role::Set; cell.connections],
            Work::Get => vec![Role::Get; cell.connections],
            Work::Cycle => vec![Role::Cycle; cell.connections],
            Work::Hand => {
                let max = if cell.depth > 1 { 100 } else { 1 };
                [vec![Role::Produce; half], vec![Role::Consume(max); half]].concat()
            }
        };
        Load { dialect, texts, roles, depth: cell.depth, items: first..u64::MAX, duration }
    }

    /// Sets every key of [`KEYS`].
    pub fn fill(dialect: Dialect, texts: &'t Texts) -> Load<'t> {
        let duration = Duration::from_secs(600);
        Load { dialect, texts, roles: vec![Role::Set], depth: 1000, items: 0..KEYS, duration }
    }

    /// Runs it. A connection that breaks ends it.
    pub fn run(&self, socket: &Path) -> std::io::Result<Tally> {
        greet(self.dialect, socket)?;
        let mut poll = Poll::new()?;
        let mut links = Vec::new();
        for role in &self.roles {
            let mut stream = UnixStream::connect(socket)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(links.len()), interest)?;
            links.push(Link::new(stream, *role, self.depth));
        }
        let producers = self.roles.iter().filter(|role| **role == Role::Produce).count();
        let mut shared = Shared {
            dialect: self.dialect,
            texts: self.texts,
            tally: Tally::default(),
            next: self.items.start,
            end: self.items.end,
            stopping: false,
            open_jobs: (producers * self.depth * 2) as u64,
        };
        if let Err(error) = self.serve(&mut poll, &mut links, &mut shared) {
            shared.tally.failed(error.to_string());
        }
        Ok(shared.tally)
    }

    fn serve(&self, poll: &mut Poll, links: &mut [Link], shared: &mut Shared<'_>) -> std::io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 256 << 10];
        let end = Instant::now() + self.duration;
        for link in links.iter_mut() {
            link.ask(shared)?;
        }
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                (shared.stopping, shared.tally.late) = (true, true);
            }
            let done = shared.stopping || shared.next == shared.end;
            if done && links.iter().all(Link::is_idle) || shared.tally.failure.is_some() {
                return Ok(());
            }
            poll.poll(&mut events, Some(left.max(Duration::from_millis(1))))?;
            for event in &events {
                let link = &mut links[event.token().0];
                if event.is_readable() {
                    link.hear(shared, &mut buffer)?;
                }
                link.ask(shared)?;
            }
            // What consumers acknowledged lets producers go on.
            for link in links.iter_mut().filter(|link| link.role == Role::Produce) {
                link.ask(shared)?;
            }
        }
    }
}

fn greet(dialect: Dialect, socket: &Path) -> std::io::Result<()> {
    if dialect.greeting().is_empty() {
        return Ok(());
    }
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.write_all(dialect.greeting())?;
    // Done, or done before: the load itself tells when it was not.
    stream.read(&mut [0; 256]).map(|_| ())
}
