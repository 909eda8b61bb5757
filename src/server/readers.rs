//! The threads that read, and what they are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::connection::Follower;
use super::mailbox::{Mailbox, ToEventLoop};
use crate::domain::command::{Follow, Read};
use crate::error::{Code, Error};
use crate::limits::WAITING_PAGES_BYTES;
use crate::reader::search::SearchTask;
use crate::reader::{self, contained, follow};
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::writer::{Answers, Ticket};

/// Replies to short reads are delivered after this, though there are more to come.
const DELIVER_AFTER: Duration = Duration::from_micros(500);

/// What a reader is asked.
pub enum ToReader {
    /// To answer short reads, all from one snapshot.
    Gets {
        /// What to answer from.
        snapshot: Arc<Snapshot>,
        /// Whose replies they are, and what is asked.
        list: Vec<(Ticket, Read)>,
    },
    /// To answer a read from a snapshot.
    Read {
        /// Whose reply it is.
        ticket: Ticket,
        /// What to answer from.
        snapshot: Arc<Snapshot>,
        /// What is asked.
        read: Read,
        /// Set once nobody waits for the reply.
        abandoned: Arc<AtomicBool>,
    },
    /// To go on with a search.
    Search(Box<Search>),
    /// To look whether there is what a follower asks for.
    Follow {
        /// Whose reply it is.
        ticket: Ticket,
        /// Where to look.
        snapshot: Arc<Snapshot>,
        /// The follower, if there is.
        follower: Follower,
    },
    /// To make a follower's next piece.
    Piece {
        /// The follower's connection.
        connection: usize,
        /// What to answer from.
        snapshot: Arc<Snapshot>,
        /// What the follower wants.
        follow: Arc<Follow>,
        /// From which seq on.
        from: u64,
    },
}

/// A search under way.
pub struct Search {
    ticket: Ticket,
    task: SearchTask,
    /// How long it took so far.
    took: Duration,
    abandoned: Arc<AtomicBool>,
}

/// The way back to the end of the line for searches that take long.
#[derive(Clone)]
pub struct Requeue {
    line: Sender<ToReader>,
    /// What the pages take, as far as they are filled, of those that went this way and are in the line.
    waiting_bytes: Arc<AtomicUsize>,
}

impl Requeue {
    /// To the end of this line.
    #[must_use]
    pub fn new(line: Sender<ToReader>) -> Self {
        Requeue { line, waiting_bytes: Arc::default() }
    }

    /// Puts a search there; but gives it back, to be gone on with at once, when the pages of those there take
    /// much memory already.
    fn put(&self, search: Box<Search>) -> Option<Box<Search>> {
        let bytes = search.task.held_bytes();
        if self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > WAITING_PAGES_BYTES {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Some(search);
        }
        // Each reader's own receiver keeps the channel open.
        let _ = self.line.send(ToReader::Search(search));
        None
    }

    /// A search was taken out of the line again.
    fn took(&self, search: &Search) {
        self.waiting_bytes.fetch_sub(search.task.held_bytes(), Ordering::Relaxed);
    }
}

/// Answers a parcel of short reads. The replies go in one delivery, but none waits long for those behind it.
fn answer_parcel(
    snapshot: &Snapshot,
    list: Vec<(Ticket, Read)>,
    started: Instant,
    mailbox: &Mailbox,
    stats: &Stats,
) {
    let mut answers = Answers::default();
    let (mut before, mut delivered) = (started, started);
    for (ticket, read) in &list {
        answers.write(*ticket, |out| contained(|| reader::write_answer(snapshot, read, out)));
        let now = Instant::now();
        stats.answered_read(now - before);
        before = now;
        if now - delivered > DELIVER_AFTER {
            delivered = now;
            let answers = std::mem::take(&mut answers);
            mailbox.deliver_replies(ToEventLoop::Gets { answers, spent: Vec::new() });
        }
    }
    mailbox.deliver_replies(ToEventLoop::Gets { answers, spent: list });
}

/// The reply that nobody reads.
fn nobody_waits(ticket: Ticket) -> ToEventLoop {
    ToEventLoop::Read { ticket, fields: Err(Error::new(Code::ShuttingDown, "the client is gone")) }
}

/// A reader thread: answers until the daemon ends. A search that takes long goes back to the end of
/// the line after each slice.
pub fn read(inbox: &Receiver<ToReader>, requeue: &Requeue, mailbox: &Mailbox, stats: &Stats) {
    let answered = |ticket, fields, took| {
        stats.answered_read(took);
        mailbox.deliver_replies(ToEventLoop::Read { ticket, fields });
    };
    let search = |mut search: Box<Search>| {
        let (started, before) = (Instant::now(), search.took);
        loop {
            if search.abandoned.load(Ordering::Relaxed) {
                return mailbox.deliver_replies(nobody_waits(search.ticket));
            }
            let step = contained(|| search.task.step());
            search.took = before + started.elapsed();
            if let Some(fields) = step.transpose() {
                return answered(search.ticket, fields, search.took);
            }
            match requeue.put(search) {
                Some(back) => search = back,
                None => return,
            }
        }
    };
    while let Ok(message) = inbox.recv() {
        let started = Instant::now();
        match message {
            ToReader::Read { ticket, snapshot, read: Read::MessageSearch(asked), abandoned } => {
                let task = SearchTask::new(snapshot, asked);
                search(Box::new(Search { ticket, task, took: Duration::ZERO, abandoned }));
            }
            ToReader::Search(waited) => {
                requeue.took(&waited);
                search(waited);
            }
            ToReader::Gets { snapshot, list } => answer_parcel(&snapshot, list, started, mailbox, stats),
            ToReader::Read { ticket, snapshot, read, abandoned } => {
                if abandoned.load(Ordering::Relaxed) {
                    mailbox.deliver_replies(nobody_waits(ticket));
                    continue;
                }
                let fields = contained(|| reader::answer(&snapshot, &read));
                answered(ticket, fields, started.elapsed());
            }
            ToReader::Follow { ticket, snapshot, follower } => {
                let checked = contained(|| follow::check(&snapshot, &follower.follow));
                let follower = checked.map(|()| follower);
                mailbox.deliver(ToEventLoop::Follow { ticket, follower });
            }
            ToReader::Piece { connection, snapshot, follow, from } => {
                let piece = contained(|| follow::piece(&snapshot, &follow, from));
                mailbox.deliver_replies(ToEventLoop::Piece { connection, piece });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::{Filter, Order, Search as Asked};
    use crossbeam_channel::unbounded;

    fn search(limit: u64) -> Box<Asked> {
        let filter = Filter::default();
        Box::new(Asked { filter, order: Order::Newest, limit, before: None, after: None, count: false })
    }

    #[test]
    fn a_read_whose_client_is_gone_is_not_begun_and_is_answered_all_the_same() {
        let ((line, inbox), (replies, delivered)) = (unbounded(), unbounded());
        let mailbox = Mailbox::new(replies, Arc::new(|| true));
        let abandoned = Arc::new(AtomicBool::new(true));
        for (number, read) in
            [(1, Read::MessageSearch(search(1))), (2, Read::LogRead { from: 1, limit: 1, types: None })]
        {
            let (ticket, snapshot) = (Ticket { connection: 1, number }, Arc::default());
            let sent =
                line.send(ToReader::Read { ticket, snapshot, read, abandoned: Arc::clone(&abandoned) });
            sent.expect("it is read below");
        }
        let requeue = Requeue::new(line.clone());
        drop(line);
        let reader = std::thread::spawn(move || read(&inbox, &requeue, &mailbox, &Stats::default()));
        for expected in [1, 2] {
            let ToEventLoop::Read { ticket, fields } = delivered.recv().expect("a reply") else {
                panic!("it is no reply to a read")
            };
            assert_eq!(
                (ticket.number, fields.map_err(|error| error.code())),
                (expected, Err(Code::ShuttingDown))
            );
        }
        drop(reader);
    }

    #[test]
    fn a_search_goes_on_at_once_when_the_pages_of_those_that_wait_take_much_memory() {
        let (line, inbox) = unbounded();
        let requeue = Requeue::new(line);
        let waits = || {
            let (ticket, mut task) =
                (Ticket { connection: 1, number: 1 }, SearchTask::new(Arc::default(), search(1)));
            task.take(b"{}");
            Box::new(Search { ticket, task, took: Duration::ZERO, abandoned: Arc::default() })
        };
        assert!(requeue.put(waits()).is_none());
        requeue.waiting_bytes.fetch_add(WAITING_PAGES_BYTES, Ordering::Relaxed);
        assert!(requeue.put(waits()).is_some());
        let Ok(ToReader::Search(taken)) = inbox.recv() else { panic!("the first is in the line") };
        requeue.took(&taken);
        assert_eq!(requeue.waiting_bytes.load(Ordering::Relaxed), WAITING_PAGES_BYTES);
    }
}
