//! What the event loop has for the writer. Requests go in parcels, a few a turn of the loop, so that
//! one wake-up and one batch serve many.

use std::cell::{Cell, RefCell};

use crossbeam_channel::Sender;

use crate::limits::{PARCEL_BYTES, PARCEL_REQUESTS};
use crate::writer::{Asked, ToWriter};

/// The way to the writer; used by the event loop alone.
pub struct Outbox {
    sender: Sender<ToWriter>,
    parcel: RefCell<Parcel>,
    /// Parcels that are full and not sent yet.
    full: RefCell<Vec<Vec<Asked>>>,
    /// Reserves that wait.
    waiting: Cell<usize>,
}

#[derive(Default)]
struct Parcel {
    requests: Vec<Asked>,
    bytes: usize,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(sender: Sender<ToWriter>) -> Self {
        Outbox { sender, parcel: RefCell::default(), full: RefCell::default(), waiting: Cell::new(0) }
    }

    /// Puts a request into the parcel; a full one goes at once, unless reserves wait.
    pub fn ask(&self, asked: Asked) {
        let mut parcel = self.parcel.borrow_mut();
        parcel.bytes += asked.bytes;
        parcel.requests.push(asked);
        if parcel.requests.len() >= PARCEL_REQUESTS || parcel.bytes >= PARCEL_BYTES {
            self.full.borrow_mut().push(std::mem::take(&mut *parcel).requests);
            drop(parcel);
            if !self.anyone_waits() {
                self.flush();
            }
        }
    }

    /// Sends all parcels. The loop must do this before it sleeps; where reserves wait it must first see who
    /// is gone.
    pub fn flush(&self) {
        let last = self.parcel.take().requests;
        for requests in self.full.take().into_iter().chain([last]).filter(|requests| !requests.is_empty()) {
            // When the writer is gone the daemon is stopping.
            let _ = self.sender.send(ToWriter::Requests(requests));
        }
    }

    /// Tells the writer something, behind all that was asked before.
    pub fn tell(&self, message: ToWriter) {
        self.flush();
        let _ = self.sender.send(message);
    }

    /// A reserve begins to wait.
    pub fn waits(&self) {
        self.waiting.set(self.waiting.get() + 1);
    }

    /// A reserve waits no more.
    pub fn waits_no_more(&self) {
        self.waiting.set(self.waiting.get().saturating_sub(1));
    }

    /// Whether a reserve waits.
    #[must_use]
    pub fn anyone_waits(&self) -> bool {
        self.waiting.get() > 0
    }

    /// Tells the writer that a connection whose reserve waits is gone: behind the reserve, and before what
    /// others asked since, which could bring it a job.
    pub fn gone(&self, connection: usize) {
        self.waits_no_more();
        let parcels = self.full.take().into_iter().chain([self.parcel.take().requests]);
        let mut before: Vec<Asked> = parcels.flatten().collect();
        let reserve = before.iter().rposition(|asked| asked.ticket.connection == connection);
        let behind = before.split_off(reserve.map_or(0, |place| place + 1));
        if !before.is_empty() {
            let _ = self.sender.send(ToWriter::Requests(before));
        }
        let _ = self.sender.send(ToWriter::Gone(connection));
        behind.into_iter().for_each(|asked| self.ask(asked));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::Command;
    use crate::protocol::request;
    use crate::writer::Ticket;
    use crossbeam_channel::{Receiver, unbounded};

    fn asked(connection: usize, line: &str) -> Asked {
        let Ok(Command::Write(request)) = request::parse(line.as_bytes()).command else { panic!("{line}") };
        Asked { ticket: Ticket { connection, number: 0 }, uid: 0, request, bytes: line.len() }
    }

    const RESERVE: &str = r#"{"cmd":"queue.reserve","queue":"q","wait_ms":1000}"#;
    const PUT: &str = r#"{"cmd":"queue.put","queue":"q","body":1}"#;

    /// What the writer is told: whose requests, and `None` with who is gone.
    fn told(writer: &Receiver<ToWriter>) -> Vec<(Vec<usize>, Option<usize>)> {
        let told = writer.try_iter().map(|message| match message {
            ToWriter::Requests(requests) => {
                (requests.iter().map(|asked| asked.ticket.connection).collect(), None)
            }
            ToWriter::Gone(connection) => (Vec::new(), Some(connection)),
            _ => panic!("nothing else was told"),
        });
        told.collect()
    }

    #[test]
    fn a_full_parcel_goes_at_once_unless_reserves_wait() {
        let (sender, writer) = unbounded();
        let outbox = Outbox::new(sender);
        let parcel = || (0..PARCEL_REQUESTS).for_each(|_| outbox.ask(asked(7, PUT)));
        parcel();
        assert_eq!(told(&writer), [(vec![7; PARCEL_REQUESTS], None)]);
        outbox.waits();
        parcel();
        parcel();
        outbox.ask(asked(8, PUT));
        assert_eq!(told(&writer), []);
        outbox.flush();
        let full = (vec![7; PARCEL_REQUESTS], None);
        assert_eq!(told(&writer), [full.clone(), full.clone(), (vec![8], None)]);
        outbox.waits_no_more();
        parcel();
        assert_eq!(told(&writer), [full]);
    }

    #[test]
    fn who_is_gone_goes_behind_its_reserve_and_before_what_others_asked_since() {
        let (sender, writer) = unbounded();
        let outbox = Outbox::new(sender);
        outbox.waits();
        outbox.waits();
        [asked(1, PUT), asked(2, RESERVE), asked(3, PUT)].into_iter().for_each(|asked| outbox.ask(asked));
        outbox.gone(2);
        // The other's reserve went to the writer in a turn before.
        outbox.gone(4);
        outbox.flush();
        let gone = |connection| (vec![], Some(connection));
        assert_eq!(told(&writer), [(vec![1, 2], None), gone(2), gone(4), (vec![3], None)]);
        assert!(!outbox.anyone_waits());
    }
}
