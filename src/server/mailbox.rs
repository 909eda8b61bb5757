//! What the event loop is told by the other threads, and the way there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crossbeam_channel::Sender;

use super::connection::Follower;
use crate::domain::command::Read;
use crate::error::Result;
use crate::limits::UNDELIVERED_BYTES;
use crate::reader::follow;
use crate::writer::{Answers, Ticket};

/// What the event loop is told.
pub enum ToEventLoop {
    /// The replies of a batch.
    Answers(Answers),
    /// The replies to short reads.
    Gets {
        /// The replies.
        answers: Answers,
        /// What was asked, for the event loop to drop: see [`Answers::spent`].
        spent: Vec<(Ticket, Read)>,
    },
    /// The reply to a read.
    Read {
        /// Whose reply it is.
        ticket: Ticket,
        /// The fields, or the refusal.
        fields: Result<Vec<u8>>,
    },
    /// The reply of maintenance.
    Maintained {
        /// Whose reply it is.
        ticket: Ticket,
        /// The fields, or the refusal.
        fields: Result<Vec<u8>>,
    },
    /// Whether there is what a follower asks for.
    Follow {
        /// Whose reply it is.
        ticket: Ticket,
        /// The follower, or the refusal.
        follower: Result<Follower>,
    },
    /// A follower's next piece.
    Piece {
        /// The follower's connection.
        connection: usize,
        /// The piece, or why there is none.
        piece: Result<follow::Piece>,
    },
    /// There is a new snapshot, or more of it is on disk: followers may go on.
    Published,
    /// A pulse is back from the writer.
    Pulse,
}

impl ToEventLoop {
    /// How many bytes of replies of readers it has.
    #[must_use]
    pub fn reply_bytes(&self) -> usize {
        match self {
            ToEventLoop::Gets { answers, .. } => answers.bytes.len(),
            ToEventLoop::Read { fields: Ok(fields), .. } => fields.len(),
            ToEventLoop::Piece { piece: Ok(piece), .. } => piece.lines.len(),
            _ => 0,
        }
    }
}

/// Delivers to the event loop, and wakes it when it sleeps or is about to.
#[derive(Clone)]
pub struct Mailbox {
    sender: Sender<ToEventLoop>,
    awake: Arc<AtomicBool>,
    waker: Arc<dyn Fn() -> bool + Send + Sync>,
    undelivered: Arc<Undelivered>,
}

/// What readers have made and the owner has not taken yet, in bytes.
#[derive(Default)]
struct Undelivered {
    bytes: Mutex<usize>,
    fewer: Condvar,
}

impl Mailbox {
    /// A mailbox whose owner is woken by `waker`, which says whether that worked. It is awake until it calls
    /// `goes_to_sleep`, after which it must look into the box once more.
    #[must_use]
    pub fn new(sender: Sender<ToEventLoop>, waker: Arc<dyn Fn() -> bool + Send + Sync>) -> Self {
        let awake = Arc::new(AtomicBool::new(true));
        Mailbox { sender, awake, waker, undelivered: Arc::default() }
    }

    /// Delivers. When the owner is gone the daemon is stopping.
    pub fn deliver(&self, message: ToEventLoop) {
        let _ = self.sender.send(message);
        if !self.awake.swap(true, Ordering::SeqCst) && !(self.waker)() {
            // Who delivers next tries again.
            self.awake.store(false, Ordering::SeqCst);
        }
    }

    /// Delivers what a reader made, once the owner has taken enough of what was made before: else readers who
    /// are faster than the owner fill the memory.
    pub fn deliver_replies(&self, message: ToEventLoop) {
        let Undelivered { bytes, fewer } = self.undelivered.as_ref();
        let waiting = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = fewer
            .wait_while(waiting, |waiting| *waiting >= UNDELIVERED_BYTES)
            .unwrap_or_else(PoisonError::into_inner);
        *waiting += message.reply_bytes();
        drop(waiting);
        self.deliver(message);
    }

    /// The owner has taken so many bytes of replies of readers.
    pub fn took(&self, taken: usize) {
        if taken == 0 {
            return;
        }
        let Undelivered { bytes, fewer } = self.undelivered.as_ref();
        let mut waiting = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *waiting;
        *waiting = before.saturating_sub(taken);
        drop(waiting);
        // To tell is a system call, also where nobody waits.
        if before >= UNDELIVERED_BYTES {
            fewer.notify_all();
        }
    }

    /// The owner is about to sleep: the next delivery wakes it. What was delivered before may not have.
    pub fn goes_to_sleep(&self) {
        // A whole barrier: either the owner sees what was delivered, or whoever delivers sees this.
        self.awake.swap(false, Ordering::SeqCst);
    }

    /// The owner is up, and looks into the box before it sleeps again.
    pub fn is_up(&self) {
        self.awake.store(true, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;

    #[test]
    fn readers_wait_until_the_owner_has_taken_what_they_made() {
        let (sender, inbox) = unbounded();
        let mailbox = Mailbox::new(sender, Arc::new(|| true));
        let reply = || {
            let ticket = Ticket { connection: 1, number: 1 };
            ToEventLoop::Read { ticket, fields: Ok(vec![0; UNDELIVERED_BYTES]) }
        };
        mailbox.deliver_replies(reply());
        let reader = mailbox.clone();
        let second = std::thread::spawn(move || reader.deliver_replies(reply()));
        let first = inbox.recv().expect("it was delivered");
        assert!(inbox.is_empty() && !second.is_finished());
        mailbox.took(first.reply_bytes());
        assert_eq!(inbox.recv().expect("it is delivered now").reply_bytes(), UNDELIVERED_BYTES);
        second.join().expect("it goes on");
    }

    #[test]
    fn a_wake_up_that_could_not_be_sent_is_made_up_for_by_the_next_delivery() {
        let ((sender, _inbox), (tries, tried)) = (unbounded(), unbounded());
        let mailbox = Mailbox::new(
            sender,
            Arc::new(move || {
                tries.send(()).expect("they are counted");
                tries.len() > 1
            }),
        );
        mailbox.goes_to_sleep();
        (0..3).for_each(|_| mailbox.deliver(ToEventLoop::Published));
        assert_eq!(tried.len(), 2, "one fails, one works, and none is needed after that");
    }
}
