//! The state as a table: sorted keys with small values, folded from the log.
//!
//! Everything that a decision needs is a key of this table, so that there is one structure to
//! store, snapshot, merge and rebuild. What the keys and values of a noun are stands in its file.
//! A [`Draft`] is a command's overlay over what is there: kept when the command succeeds, dropped
//! when it fails. There is no undo.

use super::event::{Event, Fact};
use super::jobs::Queue;
pub use super::overlay::Changes;
use super::overlay::Overlay;
use crate::codec::{after_prefix, read_varint, write_varint};
use crate::error::{Code, Error, Result};
use crate::limits::REPLY_BYTES;
use crate::time::Timestamp;

/// First bytes of the table's keys. All are below [`FIRST_POSTINGS_TAG`], where the index's terms begin.
pub mod tag {
    /// Application by token.
    pub const APP: u8 = b'a';
    /// Application's token by the seq of its creation.
    pub const APP_ORDER: u8 = b'A';
    /// Application's counters by token.
    pub const APP_COUNTERS: u8 = b'b';
    /// Chat by application and number.
    pub const CHAT: u8 = b'c';
    /// Chat's counters by application and number.
    pub const CHAT_COUNTERS: u8 = b'd';
    /// Seq of the newest edit of a message, 0 when it was deleted, by its seq.
    pub const MESSAGE_CHANGE: u8 = b'e';
    /// Formula's seq by id.
    pub const FORMULA: u8 = b'f';
    /// Formula's id by seq.
    pub const FORMULA_ORDER: u8 = b'F';
    /// Answered request by user and idempotency key.
    pub const ANSWERED: u8 = b'i';
    /// Job by seq.
    pub const JOB: u8 = b'j';
    /// Seq of the live value by key.
    pub const KEY: u8 = b'k';
    /// An event that was lost to damage, by its seq.
    pub const LOST: u8 = b'l';
    /// Message's seq by application, chat and number.
    pub const MESSAGE_NUMBER: u8 = b'n';
    /// Queue's id by name.
    pub const QUEUE_NAME: u8 = b'q';
    /// Queue by id.
    pub const QUEUE: u8 = b'Q';
    /// Ready jobs of a queue in order of delivery.
    pub const READY: u8 = b'r';
    /// Jobs of a queue in any other state, by seq.
    pub const JOB_STATE: u8 = b's';
}

/// Keys from here on are terms with postings.
pub const FIRST_POSTINGS_TAG: u8 = 0x80;

/// How many there are of what, kept exact by `apply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Live keys.
    pub keys: u64,
    /// Live messages.
    pub messages: u64,
    /// Applications.
    pub apps: u64,
    /// Chats.
    pub chats: u64,
    /// Formulas.
    pub formulas: u64,
    /// Queues.
    pub queues: u64,
    /// Jobs in each state, in the order of `JobState::ALL`.
    pub jobs: [u64; 4],
    /// Requests answered under an idempotency key.
    pub answered: u64,
    /// Events that were lost to damage.
    pub lost: u64,
}

impl Counts {
    /// Appends the stored form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let [ready, delayed, leased, dead] = self.jobs;
        for number in [
            self.keys,
            self.messages,
            self.apps,
            self.chats,
            self.formulas,
            self.queues,
            ready,
            delayed,
            leased,
            dead,
            self.answered,
            self.lost,
        ] {
            write_varint(out, number);
        }
    }

    /// Reads the stored form and moves past it.
    pub fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut next = || read_varint(bytes);
        Some(Counts {
            keys: next()?,
            messages: next()?,
            apps: next()?,
            chats: next()?,
            formulas: next()?,
            queues: next()?,
            jobs: [next()?, next()?, next()?, next()?],
            answered: next()?,
            lost: next()?,
        })
    }
}

/// What to do with one key and value of a scan: `false` ends it.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool> + 'a;

/// What is there to decide from, or to answer from.
pub trait Facts {
    /// The value of a key.
    ///
    /// # Errors
    /// `corrupt` when stored bytes fail their checksum.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Visits the keys from `from` on and below `to`, in order.
    ///
    /// # Errors
    /// `corrupt` when stored bytes fail their checksum, and what `visit` says.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()>;

    /// The JSON of the event with that seq.
    ///
    /// # Errors
    /// `corrupt` when the record fails its checksum.
    fn record(&self, seq: u64) -> Result<Option<Vec<u8>>>;

    /// How many there are of what.
    fn counts(&self) -> Counts;

    /// The queue with that id. Almost every event of a queue reads it and writes it again, so what lies
    /// over the stored table keeps it as it is, and brings it into its stored form once.
    ///
    /// # Errors
    /// As [`Facts::get`].
    fn queue(&self, id: u64) -> Result<Option<Queue>> {
        Queue::read_from(self.get(&Queue::key(id))?.as_deref(), id)
    }
}

/// A table that events are applied to.
pub trait Table: Facts {
    /// Sets a key's value, or with `None` removes the key.
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>);

    /// The counts, to change.
    fn counts_mut(&mut self) -> &mut Counts;

    /// Sets the queue with that id, or with `None` removes it.
    fn put_queue(&mut self, id: u64, queue: Option<Queue>) {
        self.put(Queue::key(id), queue.map(|queue| queue.value()));
    }
}

/// The table before the first event.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Facts for Nothing {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn scan(&self, _: &[u8], _: &[u8], _: &mut Visit<'_>) -> Result<()> {
        Ok(())
    }

    fn record(&self, _: u64) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn counts(&self) -> Counts {
        Counts::default()
    }
}

/// Visits the keys that begin with `prefix`, from `from` on.
///
/// # Errors
/// As [`Facts::scan`].
pub fn scan_prefix(facts: &dyn Facts, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<()> {
    let end = after_prefix(prefix).unwrap_or_else(|| vec![u8::MAX; prefix.len() + 16]);
    facts.scan(from.max(prefix), &end, visit)
}

/// A stored value that a number stands in.
///
/// # Errors
/// `internal` when there is none.
pub fn number_in(value: &[u8]) -> Result<u64> {
    read_varint(&mut &*value).ok_or_else(|| malformed("number"))
}

/// A value as [`number_in`] reads it.
#[must_use]
pub fn number_value(number: u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(4);
    write_varint(&mut value, number);
    value
}

/// The error for a value that passed its checksum and cannot be read.
#[must_use]
pub fn malformed(what: &str) -> Error {
    Error::new(Code::Internal, format!("a stored {what} cannot be read: please report this"))
}

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
    /// Whether there was no room for a job.
    full: bool,
}

/// Bytes of a reply around its jobs.
const AROUND_JOBS: usize = 64;
/// A leased job in a reply has no more bytes than this, less its body.
const JOB_BYTES: usize = 160;
/// Its event in the reply to a dry run has no more than this, less the queue's name.
const LEASED_BYTES: usize = 320;
/// A byte of a queue's name may be written as an escape of so many.
const ESCAPE_BYTES: usize = 6;

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
    pub queues: Vec<(u64, Option<Queue>)>,
    /// The counts after it.
    pub counts: Counts,
    /// The reply's fields, each with a comma before it.
    pub reply: Vec<u8>,
}

impl Outcome {
    /// An empty one with the buffers of this one.
    #[must_use]
    pub fn emptied(mut self) -> Self {
        self.events.clear();
        self.records.clear();
        self.ends.clear();
        self.changes.clear();
        self.queues.clear();
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
        let reply_room = REPLY_BYTES - AROUND_JOBS;
        Draft {
            below,
            circumstances,
            first,
            outcome,
            reply_room,
            shows_events: false,
            leases: false,
            full: false,
        }
    }

    /// The reply will show the events, too.
    pub fn shows_events(&mut self) {
        self.shows_events = true;
    }

    /// So many bytes of the reply are there already.
    pub fn used_of_reply(&mut self, bytes: usize) {
        // Each event has a comma behind it.
        let events = self.outcome.records.len() + self.outcome.events.len();
        let shown = if self.shows_events { events } else { 0 };
        self.reply_room = (REPLY_BYTES - AROUND_JOBS).saturating_sub(bytes + shown);
    }

    /// Whether the reply has room for a leased job of this queue with such a body; then it is taken.
    pub fn takes_job(&mut self, queue: &str, body: usize) -> bool {
        let event = if self.shows_events { LEASED_BYTES + ESCAPE_BYTES * queue.len() } else { 0 };
        let bytes = body + JOB_BYTES + event;
        let takes = !self.leases || bytes <= self.reply_room;
        self.full |= !takes;
        if takes {
            self.reply_room = self.reply_room.saturating_sub(bytes);
            self.leases = true;
        }
        takes
    }

    /// Whether the reply has no room for any leased job more, or had none for one: what is looked at for a batch of
    /// reserves would have no bound.
    #[must_use]
    pub fn is_full_of_jobs(&self) -> bool {
        self.full || self.leases && self.reply_room < JOB_BYTES
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

    /// Fills bytes from a cryptographic source.
    pub fn random(&mut self, bytes: &mut [u8]) {
        (self.circumstances.random)(bytes);
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

    /// Brings the queues that were set into their stored form, so that a scan finds them.
    pub fn store_queues(&mut self) {
        for (id, queue) in std::mem::take(&mut self.outcome.queues) {
            self.outcome.changes.put(Queue::key(id), queue.map(|queue| queue.value()));
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

    fn queue(&self, id: u64) -> Result<Option<Queue>> {
        match self.outcome.queues.iter().find(|(other, _)| *other == id) {
            Some((_, queue)) => Ok(queue.clone()),
            None => self.below.queue(id),
        }
    }
}

impl Table for Draft<'_> {
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.outcome.changes.put(key, value);
    }

    fn counts_mut(&mut self) -> &mut Counts {
        &mut self.outcome.counts
    }

    fn put_queue(&mut self, id: u64, queue: Option<Queue>) {
        match self.outcome.queues.iter_mut().find(|(other, _)| *other == id) {
            Some((_, known)) => *known = queue,
            None => self.outcome.queues.push((id, queue)),
        }
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
