//! What the writer and other threads say to each other.

use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::domain::command::WriteRequest;
use crate::domain::event::Event;
use crate::error::{Error, Result};
use crate::index::run::Run;
use crate::index::tail::Tail;
use crate::log::compacted::Compacted;
use crate::log::segment::Segment;
use crate::snapshot::Snapshot;

/// Whose reply it is: a connection, and the request's number on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The connection. Numbers are not used twice.
    pub connection: usize,
    /// The request's number on the connection.
    pub number: u64,
}

/// A request for the writer.
pub struct Asked {
    /// Whose reply it is.
    pub ticket: Ticket,
    /// The user who asks.
    pub uid: u32,
    /// What is asked.
    pub request: WriteRequest,
    /// How long its line was, in bytes.
    pub bytes: usize,
}

impl Asked {
    /// About how much memory it takes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes + size_of::<Asked>()
    }
}

/// What the writer is told.
pub enum ToWriter {
    /// Requests, in the order in which they take effect.
    Requests(Vec<Asked>),
    /// The connection is gone: its waiting reserve gets no lease.
    Gone(usize),
    /// The background made a run, of a tail or of the runs that cover its seqs.
    NewRun(Arc<Run>),
    /// Maintenance is about to compact the log: asks for a snapshot whose last event ends a segment.
    Seal(Sender<Result<Arc<Snapshot>>>),
    /// The log was compacted, and the index knows.
    Compacted(Box<Compaction>),
    /// To call this as soon as it gets to it: a sign that it moves.
    Pulse(Box<dyn FnOnce() + Send>),
    /// The daemon is stopping: no reserve waits any more.
    Stop,
    /// No more requests come: everything is synced and the thread ends.
    Finish,
}

/// What the background is given.
pub enum ToBackground {
    /// A tail that is full, to be written to a file.
    Flush(Arc<Tail>),
    /// The log is being compacted up to this event: no run is to be made across it. 0 ends that.
    Part(u64),
    /// The log was compacted.
    Compacted(Box<Compaction>),
}

/// A compaction that has happened, on its way to everyone who knows segments and runs.
pub struct Compaction {
    /// The segments of the part that was compacted.
    pub segments: Vec<Arc<Segment>>,
    /// Its run.
    pub run: Arc<Run>,
    /// What names the segments.
    pub compacted: Arc<Compacted>,
    /// Whether the old index is gone.
    pub indexed: Result<()>,
    /// Told that once a snapshot is published.
    pub done: Sender<Result<()>>,
}

/// The replies of a batch. Fields lie one after the other in `bytes`, each with a comma before it.
#[derive(Default)]
pub struct Answers {
    /// The fields of all replies.
    pub bytes: Vec<u8>,
    /// Whose reply, and where its fields are, or the error.
    pub list: Vec<(Ticket, Result<std::ops::Range<usize>>)>,
    /// How much memory the requests took that were decided: these, and reserves that wait.
    pub decided_bytes: usize,
    /// How many of them were ones that may take long.
    pub decided_long: usize,
    /// What the requests were made of, for the thread that read them to drop: memory that one thread
    /// takes and another gives back makes both wait for the allocator.
    pub spent: Vec<Event>,
}

impl Answers {
    /// Takes a reply whose fields `write` appends.
    pub fn write(&mut self, ticket: Ticket, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) {
        let start = self.bytes.len();
        let done = write(&mut self.bytes);
        if done.is_err() {
            self.bytes.truncate(start);
        }
        self.list.push((ticket, done.map(|()| start..self.bytes.len())));
    }

    /// The fields of one of the replies, or its error.
    pub fn fields<'a>(
        &'a self,
        answer: &'a Result<std::ops::Range<usize>>,
    ) -> std::result::Result<&'a [u8], &'a Error> {
        answer.as_ref().map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }

    /// Takes a reply with these fields.
    pub(super) fn say(&mut self, ticket: Ticket, fields: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(fields);
        self.list.push((ticket, Ok(start..self.bytes.len())));
    }

    /// Takes a refusal.
    pub(super) fn refuse(&mut self, ticket: Ticket, error: Error) {
        self.list.push((ticket, Err(error)));
    }

    /// Turns every answer from the one of this number on into a refusal.
    pub(super) fn refuse_from(&mut self, first: usize, error: &Error) {
        self.list.iter_mut().skip(first).for_each(|(_, answer)| *answer = Err(error.clone()));
    }
}
