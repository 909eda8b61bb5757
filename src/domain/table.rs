//! The state as a table: sorted keys with small values, folded from the log.
//!
//! Everything that a decision needs is a key of this table, so that there is one structure to
//! store, snapshot, merge and rebuild. What the keys and values of a noun are stands in its file.

use std::sync::Arc;

use super::jobs::{Job, Queue};
pub use super::overlay::Changes;
use crate::codec::{after_prefix, read_varint, write_varint};
use crate::error::{Code, Error, Result};

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

    /// The queue with that id. What lies over the stored table keeps it as it is, see [`super::objects`].
    ///
    /// # Errors
    /// As [`Facts::get`].
    fn queue(&self, id: u64) -> Result<Option<Arc<Queue>>> {
        Queue::read_from(self.get(&Queue::key(id))?.as_deref(), id)
    }

    /// The job with that seq as it is stored, likewise; it may have been purged since.
    ///
    /// # Errors
    /// As [`Facts::get`].
    fn job(&self, seq: u64) -> Result<Option<Arc<Job>>> {
        Job::read_from(self.get(&Job::key(seq))?.as_deref(), seq)
    }
}

/// A table that events are applied to.
pub trait Table: Facts {
    /// Sets a key's value, or with `None` removes the key.
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>);

    /// The counts, to change.
    fn counts_mut(&mut self) -> &mut Counts;

    /// Sets the queue with that id, or with `None` removes it.
    fn put_queue(&mut self, id: u64, queue: Option<Arc<Queue>>) {
        self.put(Queue::key(id), queue.map(|queue| queue.value()));
    }

    /// Sets the job with that seq, or with `None` removes it.
    fn put_job(&mut self, seq: u64, job: Option<Arc<Job>>) {
        self.put(Job::key(seq), job.map(|job| job.value()));
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
