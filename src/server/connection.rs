//! One client: what it sent, what is due to it, and what it may begin next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::access::Rights;
use super::lines::Lines;
use super::replies::Replies;
use crate::domain::command::Follow;
use crate::limits::{
    IN_FLIGHT_BYTES, IN_FLIGHT_REQUESTS, LOCAL_ANSWERS_A_TURN, Limits, READ_AHEAD_BYTES,
    READ_BYTES_IN_FLIGHT, READS_AT_FIRST, REPLY_BYTES, UNSENT_BYTES,
};
use crate::protocol::request::Request;

/// A follower's state.
#[derive(Debug)]
pub struct Follower {
    /// What it wants.
    pub follow: Arc<Follow>,
    /// The length of the line that said so.
    pub bytes: usize,
    /// The first seq it has not seen.
    pub next: u64,
    /// Whether a reader makes its next piece.
    pub asked: bool,
}

/// A request that may take long: nothing behind it is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// A reserve that waits, with its number.
    Reserve(u64),
    /// Maintenance.
    Maintenance,
    /// A follower for whom a reader looks whether there is what it asks for.
    Follow,
}

/// How much longer a connection lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It reads and answers.
    Open,
    /// It sends what is due and closes; nothing more is begun.
    Closing,
    /// It is over.
    Over,
}

/// What a connection has not read may come to so many times as much as what it sent.
const UNSENT_PART: usize = 6;

/// One client, less its socket.
#[derive(Debug)]
pub struct Connection {
    /// Its number, which is not used twice: the one of its tickets, and its socket's token.
    pub id: usize,
    /// The user behind it, as the kernel attests it.
    pub uid: u32,
    /// What that user may do.
    pub rights: Rights,
    /// What it sent.
    pub lines: Lines,
    /// What is due to it.
    pub replies: Replies,
    /// A request that must wait for earlier ones, with its line's length.
    pub held: Option<(Request, usize)>,
    /// Writes begun and not answered.
    pub writes: usize,
    /// Long answers of the event loop itself that were asked for in this turn.
    pub local_answers: usize,
    /// What nothing is begun behind.
    pub barrier: Option<Barrier>,
    /// Set once it follows.
    pub follower: Option<Follower>,
    /// Whether the client sends no more.
    pub ended: bool,
    /// Whether the daemon, which is stopping, ended what it sends: that is not its own doing.
    pub stopping: bool,
    /// Reads begun and not answered.
    pub reads: usize,
    /// How many of them there may be, after the size of their replies.
    pub reads_max: usize,
    /// What its next list may bring, after the last one.
    pub list_bytes: usize,
    /// What its next reserve may bring, after the last one.
    pub reserve_bytes: usize,
    /// Whether the client is gone for good: nobody reads the replies.
    pub gone: bool,
    /// Set when nobody wants the replies: the client is gone, or was dropped for holding too much. Readers look at it:
    /// a search need not go on.
    pub abandoned: Arc<AtomicBool>,
    /// How much longer it lives.
    pub life: Life,
    /// See [`Limits::connection_bytes`].
    most: usize,
}

impl Connection {
    /// A new client.
    #[must_use]
    pub fn new(id: usize, uid: u32, rights: Rights, limits: &Limits) -> Self {
        Connection {
            id,
            uid,
            rights,
            lines: Lines::default(),
            replies: Replies::default(),
            held: None,
            writes: 0,
            local_answers: 0,
            barrier: None,
            follower: None,
            ended: false,
            stopping: false,
            reads: 0,
            reads_max: READS_AT_FIRST,
            list_bytes: REPLY_BYTES,
            reserve_bytes: REPLY_BYTES,
            gone: false,
            abandoned: Arc::default(),
            life: Life::Open,
            most: limits.connection_bytes(),
        }
    }

    /// Bytes that may be read from it at once.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        self.most
    }

    /// Bytes that the replies to its short reads may bring at a time.
    #[must_use]
    pub fn short_read_bytes(&self) -> usize {
        READ_BYTES_IN_FLIGHT.min(self.most)
    }

    /// Whether nothing more may be begun before something is answered, or was read.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Connection { replies, most, .. } = self;
        let in_flight = replies.waiting_bytes() + replies.expected_bytes();
        replies.waiting() >= IN_FLIGHT_REQUESTS
            || in_flight >= IN_FLIGHT_BYTES.min(*most)
            || self.has_much_unsent()
    }

    /// Whether it has not read so much that it gets no more before it does.
    fn has_much_unsent(&self) -> bool {
        self.replies.output().len() >= UNSENT_BYTES.min(UNSENT_PART * self.most)
    }

    /// The client is gone for good.
    pub fn leave(&mut self) {
        self.gone = true;
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Bytes that it holds of the daemon's memory.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |(_, bytes)| *bytes);
        let follows = self.follower.as_ref().map_or(0, |follower| follower.bytes);
        self.lines.held_bytes() + held + follows + self.replies.waiting_bytes() + self.replies.held_bytes()
    }

    /// Whether it may be read from now: not while it has much to do that will get done by itself.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        let ahead = self.lines.waits() && self.lines.held() > READ_AHEAD_BYTES.min(self.most);
        // What is held with nothing begun before it waits for its turn, or for room.
        let works = self.replies.waiting() > 0 || self.held.is_some();
        let busy = works && ahead || self.has_much_unsent();
        // One that is closing is read no more, so that a client which never reads is held back.
        !self.ended && !busy && self.life == Life::Open
    }

    /// Whether it asked for more long answers of the event loop itself than it gets in a turn.
    #[must_use]
    pub fn awaits_turn(&self) -> bool {
        self.local_answers > LOCAL_ANSWERS_A_TURN
    }

    /// Whether nothing is left to do for it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let quiet = self.replies.waiting() == 0 && (self.replies.output().is_empty() || self.gone);
        match self.life {
            Life::Over => true,
            Life::Closing => quiet,
            Life::Open if self.follower.is_some() => self.gone,
            Life::Open => self.ended && quiet && self.held.is_none() && self.lines.held() == 0,
        }
    }
}
