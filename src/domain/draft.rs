//! Drafts: what one command would change, say and reply, as an overlay over the table. It is kept when the
//! command succeeds, and dropped when it fails: there is no undo.

use std::sync::Arc;

use super::event::{Event, Fact};
use super::jobs::{Job, Queue};
use super::objects::Objects;
use super::overlay::Overlay;
use super::table::{Counts, Facts, Table, Visit, malformed};
use crate::error::Result;
use crate::time::Timestamp;

/// What time it is and who asks, and where randomness comes from: all that a decision may know
/// beside the table.
pub struct Circumstances<'a> {
    /// The time that the events of the batch carry.
    pub at: Timestamp,
    /// The same as text.
    pub at_text: &'a [u8],
    /// The user who asks.
    pub uid: u32,
    /// Fills bytes from a cryptographic source.
    pub random: &'a mut dyn FnMut(&mut [u8]),
    /// Where the reply stops growing.
    pub reply_bytes: usize,
}

/// One command's overlay: what it would change, say and reply.
pub struct Draft<'a> {
    below: &'a dyn Facts,
    circumstances: Circumstances<'a>,
    first: u64,
    outcome: Outcome,
    /// Bytes that the reply may still take of leased jobs.
    reply_room: usize,
    /// Whether the reply will show the events, too.
    shows_events: bool,
    /// Whether it has leased a job: the first one always has room.
    leases: bool,
    /// How often there was no room for a job.
    refused: usize,
}

/// Bytes of a reply around its jobs.
const AROUND_JOBS: usize = 64;
/// A leased job in a reply has no more bytes than this, less its body.
const JOB_BYTES: usize = 160;
/// Its event in the reply to a dry run has no more than this, less the queue's name.
const LEASED_BYTES: usize = 320;
/// A byte of a queue's name may be written as an escape of so many.
const ESCAPE_BYTES: usize = 6;

/// A reply that had no room for a job so often is full: each reserve of a batch looks at all jobs that it asks for.
const REFUSALS: usize = 16;

/// Buffers that are larger together are given back: the next command hardly needs as much.
const KEPT_BYTES: usize = 1 << 20;

/// What a command that succeeded brings.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Its events in order.
    pub events: Vec<Event>,
    /// Their JSON, one after the other.
    pub records: Vec<u8>,
    /// Where each record ends in `records`.
    pub ends: Vec<usize>,
    /// The keys it sets and removes.
    pub changes: Overlay,
    /// The queues it sets and removes, by id.
    pub queues: Objects<Queue>,
    /// The jobs it sets and removes, by seq.
    pub jobs: Objects<Job>,
    /// The counts after it.
    pub counts: Counts,
    /// The reply's fields, each with a comma before it.
    pub reply: Vec<u8>,
}

impl Outcome {
    /// An empty one with the buffers of this one, unless they are large.
    #[must_use]
    pub fn emptied(mut self) -> Self {
        if self.records.capacity() + self.reply.capacity() > KEPT_BYTES {
            return Outcome::default();
        }
        self.events.clear();
        self.records.clear();
        self.ends.clear();
        self.changes.clear();
        drop(self.queues.take());
        drop(self.jobs.take());
        self.reply.clear();
        Outcome { counts: Counts::default(), ..self }
    }

    /// How many bytes the events' lines have in the log.
    #[must_use]
    pub fn line_bytes(&self) -> usize {
        /// Of a checksum, a space and a line feed.
        const AROUND: usize = 10;
        self.records.len() + AROUND * self.events.len()
    }

    /// The JSON of the `index`th event.
    #[must_use]
    pub fn record(&self, index: usize) -> Option<&[u8]> {
        let start = if index == 0 { 0 } else { *self.ends.get(index - 1)? };
        self.records.get(start..*self.ends.get(index)?)
    }
}

impl<'a> Draft<'a> {
    /// An empty overlay; its first event will have the seq `first`. The buffers of `spare` are used again.
    pub fn new(below: &'a dyn Facts, first: u64, circumstances: Circumstances<'a>, spare: Outcome) -> Self {
        let outcome = Outcome { counts: below.counts(), ..spare.emptied() };
        let reply_room = circumstances.reply_bytes.saturating_sub(AROUND_JOBS);
        Draft {
            below,
            circumstances,
            first,
            outcome,
            reply_room,
            shows_events: false,
            leases: false,
            refused: 0,
        }
    }

    /// The reply will show the events, too.
    pub fn show_events(&mut self) {
        self.shows_events = true;
    }

    /// So many bytes of the reply are there already.
    pub fn used_of_reply(&mut self, bytes: usize) {
        // Each event has a comma behind it.
        let events = self.outcome.records.len() + self.outcome.events.len();
        let shown = if self.shows_events { events } else { 0 };
        self.reply_room = self.circumstances.reply_bytes.saturating_sub(AROUND_JOBS + bytes + shown);
    }

    /// Whether the reply has room for a leased job of this queue with such a body; then it is taken.
    pub fn takes_job(&mut self, queue: &str, body: usize) -> bool {
        let event = if self.shows_events { LEASED_BYTES + ESCAPE_BYTES * queue.len() } else { 0 };
        let bytes = body + JOB_BYTES + event;
        let takes = !self.leases || bytes <= self.reply_room;
        self.refused += usize::from(!takes);
        if takes {
            self.reply_room = self.reply_room.saturating_sub(bytes);
            self.leases = true;
        }
        takes
    }

    /// Whether the reply has no room for any leased job more.
    #[must_use]
    pub fn is_full_of_jobs(&self) -> bool {
        self.refused >= REFUSALS || self.leases && self.reply_room < JOB_BYTES
    }

    /// The seq that the next event will have.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.first + self.outcome.events.len() as u64
    }

    /// The time of the batch.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.circumstances.at
    }

    /// The user who asks.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.circumstances.uid
    }

    /// The reply's fields, to write.
    pub fn reply(&mut self) -> &mut Vec<u8> {
        &mut self.outcome.reply
    }

    /// So many letters and digits from a cryptographic source, each equally likely.
    pub fn random_word(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut word = String::with_capacity(length);
        let mut bytes = [0; 32];
        while word.len() < length {
            (self.circumstances.random)(&mut bytes);
            // 248 is the largest multiple of 62 in a byte: what lies above would favour some letters.
            for byte in bytes.into_iter().filter(|byte| *byte < 248).take(length - word.len()) {
                word.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
        word
    }

    /// Adds an event, applies it, and answers its seq.
    ///
    /// # Errors
    /// What reading the table says.
    pub fn emit(&mut self, fact: Fact) -> Result<u64> {
        let event =
            Event { seq: self.next_seq(), at: self.circumstances.at, uid: self.circumstances.uid, fact };
        super::apply(&event, self)?;
        event.encode(self.circumstances.at_text, &mut self.outcome.records);
        self.outcome.ends.push(self.outcome.records.len());
        self.outcome.events.push(event);
        Ok(self.next_seq() - 1)
    }

    /// Stores the queues and jobs that were set, so that a scan finds them.
    pub fn store_objects(&mut self) {
        let Outcome { changes, queues, jobs, .. } = &mut self.outcome;
        for (id, queue) in queues.all() {
            changes.put(Queue::key(id), queue.map(Queue::value));
        }
        for (seq, job) in jobs.all() {
            changes.put(Job::key(seq), job.map(Job::value));
        }
    }

    /// What came of it.
    #[must_use]
    pub fn finish(self) -> Outcome {
        self.outcome
    }
}

impl Facts for Draft<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.outcome.changes.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.below.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.outcome.changes.scan(self.below, from, to, visit)
    }

    fn record(&self, seq: u64) -> Result<Option<Vec<u8>>> {
        match seq.checked_sub(self.first) {
            Some(index) => {
                let index = usize::try_from(index).map_err(|_| malformed("seq"))?;
                Ok(self.outcome.record(index).map(<[u8]>::to_vec))
            }
            None => self.below.record(seq),
        }
    }

    fn counts(&self) -> Counts {
        self.outcome.counts
    }

    fn queue(&self, id: u64) -> Result<Option<Arc<Queue>>> {
        self.outcome.queues.get(id).map_or_else(|| self.below.queue(id), Ok)
    }

    fn job(&self, seq: u64) -> Result<Option<Arc<Job>>> {
        self.outcome.jobs.get(seq).map_or_else(|| self.below.job(seq), Ok)
    }
}

impl Table for Draft<'_> {
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.outcome.changes.put(key, value);
    }

    fn counts_mut(&mut self) -> &mut Counts {
        &mut self.outcome.counts
    }

    fn put_queue(&mut self, id: u64, queue: Option<Arc<Queue>>) {
        self.outcome.queues.put(id, queue);
    }

    fn put_job(&mut self, seq: u64, job: Option<Arc<Job>>) {
        self.outcome.jobs.put(seq, job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_that_was_emptied_says_nothing_any_more() {
        let mut outcome = Outcome { reply: b"{}".to_vec(), records: b"{}".to_vec(), ..Outcome::default() };
        outcome.counts.keys = 3;
        let outcome = outcome.emptied();
        assert_eq!(outcome.counts, Counts::default());
        assert!(outcome.reply.is_empty() && outcome.records.is_empty() && outcome.line_bytes() == 0);
    }
}
