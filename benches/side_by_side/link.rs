//! One connection of the generator.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::UnixStream;

use crate::dialect::{Ask, Said};
use crate::load::Shared;

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Post,
    Set,
    Get,
    /// Put, reserve, acknowledge, and again.
    Cycle,
    Produce,
    /// Reserves at most so many jobs at a time.
    Consume(usize),
}

/// A connection, and what is in flight on it.
pub struct Link {
    pub stream: UnixStream,
    pub role: Role,
    depth: usize,
    output: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    used: usize,
    waiting: VecDeque<(Ask, Instant)>,
    jobs: VecDeque<Vec<u8>>,
    /// When the cycle that is under way began.
    began: Instant,
}

impl Link {
    pub fn new(stream: UnixStream, role: Role, depth: usize) -> Link {
        let (output, input) = (Vec::new(), Vec::new());
        let (waiting, jobs) = (VecDeque::new(), VecDeque::new());
        Link { stream, role, depth, output, sent: 0, input, used: 0, waiting, jobs, began: Instant::now() }
    }

    /// Whether nothing is due to it but jobs that may never come.
    pub fn is_idle(&self) -> bool {
        self.waiting.iter().all(|(ask, _)| matches!(ask, Ask::Reserve(_)))
    }

    /// What to ask next, if anything.
    fn next(&mut self, shared: &mut Shared<'_>) -> Option<Ask> {
        if self.waiting.len() >= self.depth && self.jobs.is_empty() {
            return None;
        }
        match self.role {
            Role::Post => Some(Ask::Post(shared.number()?)),
            Role::Set => Some(Ask::Set(shared.number()?)),
            Role::Get => Some(Ask::Get(shared.key()?)),
            Role::Cycle => match self.jobs.pop_front() {
                Some(job) => Some(Ask::Ack(job)),
                None => Some(Ask::Put(shared.number()?)),
            },
            Role::Produce => Some(Ask::Put(shared.job()?)),
            Role::Consume(max) => match self.jobs.pop_front() {
                Some(job) => Some(Ask::Ack(job)),
                // One reserve at a time, behind the acks.
                None if self.waiting.iter().any(|(ask, _)| matches!(ask, Ask::Reserve(_))) => None,
                None => Some(Ask::Reserve(max)),
            },
        }
    }

    /// Asks as much as it may, and sends what the kernel takes.
    pub fn ask(&mut self, shared: &mut Shared<'_>) -> std::io::Result<()> {
        let now = Instant::now();
        while let Some(ask) = self.next(shared) {
            if self.role == Role::Cycle && matches!(ask, Ask::Put(_)) {
                self.began = now;
            }
            self.push(ask, shared, now);
        }
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }

    fn push(&mut self, ask: Ask, shared: &mut Shared<'_>, now: Instant) {
        shared.dialect.write(&ask, shared.texts, &mut self.output);
        shared.tally.asked(&ask);
        self.waiting.push_back((ask, now));
    }

    /// Reads what has come and takes the replies in it.
    pub fn hear(&mut self, shared: &mut Shared<'_>, buffer: &mut [u8]) -> std::io::Result<()> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.input.extend_from_slice(&buffer[..count]);
            self.take_replies(shared);
            // Nothing more can come to someone who waits for nothing.
            if self.waiting.is_empty() {
                return Ok(());
            }
        }
    }

    fn take_replies(&mut self, shared: &mut Shared<'_>) {
        let now = Instant::now();
        while let Some((ask, _)) = self.waiting.front() {
            let Some((length, said)) = shared.dialect.read(ask, &self.input[self.used..]) else { break };
            self.used += length;
            let (ask, asked) = self.waiting.pop_front().expect("just seen");
            match said {
                Said::Failed(text) => shared.tally.failed(format!("{ask:?}: {text}")),
                Said::Jobs(jobs) => self.jobs.extend(jobs),
                Said::Done(item) => {
                    let since = if self.role == Role::Cycle { self.began } else { asked };
                    shared.tally.done(&ask, item, now.duration_since(since), self.role);
                    if self.role == Role::Cycle && matches!(ask, Ask::Put(_)) {
                        self.push(Ask::Reserve(1), shared, now);
                    }
                }
            }
        }
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        } else if self.used > 1 << 20 {
            self.input.drain(..self.used);
            self.used = 0;
        }
    }
}
