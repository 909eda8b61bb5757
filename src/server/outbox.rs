//! What the event loop has for the writer. Requests go in parcels, a few a turn of the loop, so that
//! one wake-up and one batch serve many.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::room_queue::RoomQueue;
use crate::limits::{PARCEL_BYTES, PARCEL_REQUESTS};
use crate::writer::heard::HeldUp;
use crate::writer::unread::Unread;
use crate::writer::{Asked, ToWriter};

/// The way to the writer.
pub struct Outbox {
    sender: Sender<ToWriter>,
    parcel: Parcel,
    /// What is to be sent before it.
    unsent: Vec<ToWriter>,
    /// Reserves that wait.
    waiting: usize,
    /// The room that requests take which are here or with the writer.
    undecided: usize,
    /// Whose next write waits until that is less.
    queue: RoomQueue,
    /// What may be asked in this turn by those who waited.
    granted: usize,
    held_up: Arc<HeldUp>,
    unread: Arc<Unread>,
    /// Bytes of replies that came in this turn.
    arrived: usize,
    /// Since when the oldest write waits that was not sent for want of room, as the writer was last told: see
    /// [`HeldUp`].
    noted: Option<Instant>,
}

#[derive(Default)]
struct Parcel {
    requests: Vec<Asked>,
    bytes: usize,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(sender: Sender<ToWriter>, held_up: Arc<HeldUp>, unread: Arc<Unread>) -> Self {
        Outbox {
            sender,
            parcel: Parcel::default(),
            unsent: Vec::new(),
            waiting: 0,
            undecided: 0,
            queue: RoomQueue::default(),
            granted: 0,
            held_up,
            unread,
            arrived: 0,
            noted: None,
        }
    }

    /// Lets a connection ask a write that takes so much room, where those that are not decided may take `most`
    /// together; or has it wait behind those that wait already, until [`Outbox::grant_waiting`] names it. Answers
    /// which. A grant is good for one write: who is let in must ask it.
    pub fn admit(&mut self, connection: usize, room: usize, most: usize) -> bool {
        let is_first = self.queue.is_empty() && self.undecided + self.granted < most;
        if self.queue.use_grant(connection).is_some() || is_first {
            return true;
        }
        let now = Instant::now();
        let is_new = self.queue.join(connection, room, now);
        // Whoever waited before may have asked since, and that is not sent yet.
        if is_new && self.noted.is_none() {
            self.note(Some(now));
        }
        false
    }

    /// Tells the writer since when the oldest write waits that it was not sent.
    fn note(&mut self, since: Option<Instant>) {
        if self.noted != since {
            self.noted = since;
            self.held_up.note(since);
        }
    }

    /// So many bytes of replies came, which are counted in this turn where they are held.
    pub fn arrives(&mut self, bytes: usize) {
        self.arrived += bytes;
    }

    /// A turn of the event loop ends: so many bytes are held for clients that get on.
    pub fn end_turn(&mut self, held: usize) {
        self.unread.note_held(held);
        self.unread.arrived(std::mem::take(&mut self.arrived));
    }

    /// Requests that took so much room were decided, whether or not those who asked are still there.
    pub fn decided(&mut self, room: usize) {
        self.undecided = self.undecided.saturating_sub(room);
    }

    /// Grants those that waited longest a write each in the next turn, as far as there is room. Answers which
    /// connections they are of. What was asked in this turn was sent; who could and did not has to wait again.
    pub fn grant_waiting(&mut self, most: usize) -> Vec<usize> {
        self.queue.take_back();
        let (mut connections, mut granted) = (Vec::new(), 0);
        while self.undecided + granted < most
            && let Some(first) = self.queue.first()
        {
            granted += first.bytes;
            connections.extend(self.queue.grant_first());
        }
        self.granted = granted;
        self.note(self.queue.oldest());
        connections
    }

    /// Puts a request into the parcel; a full one goes at once, unless reserves wait.
    pub fn ask(&mut self, asked: Asked) {
        self.undecided += asked.room();
        self.parcel.bytes += asked.bytes;
        self.parcel.requests.push(asked);
        if self.parcel.requests.len() >= PARCEL_REQUESTS || self.parcel.bytes >= PARCEL_BYTES {
            self.close_parcel();
            if !self.anyone_waits() {
                self.flush();
            }
        }
    }

    fn close_parcel(&mut self) {
        let Parcel { requests, .. } = std::mem::take(&mut self.parcel);
        if !requests.is_empty() {
            self.unsent.push(ToWriter::Requests(requests));
        }
    }

    /// Sends what there is. The loop must do this before it sleeps; where reserves wait it must first see who
    /// is gone.
    pub fn flush(&mut self) {
        self.close_parcel();
        // When the writer is gone the daemon is stopping.
        self.unsent.drain(..).for_each(|message| drop(self.sender.send(message)));
    }

    /// Tells the writer something, behind all that was asked before.
    pub fn tell(&mut self, message: ToWriter) {
        self.flush();
        let _ = self.sender.send(message);
    }

    /// A reserve begins to wait.
    pub fn waits(&mut self) {
        self.waiting += 1;
    }

    /// A reserve waits no more.
    pub fn waits_no_more(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Whether a reserve waits.
    #[must_use]
    pub fn anyone_waits(&self) -> bool {
        self.waiting > 0
    }

    /// Gives up the reserve of a connection that is gone: it is not asked any more, or if it went to the writer in a
    /// turn before, the writer is told first of all, before what others asked since and which could bring it a
    /// job.
    pub fn gone(&mut self, connection: usize) {
        self.waits_no_more();
        self.close_parcel();
        // Nothing is begun behind a reserve that waits, so it is the last.
        for message in self.unsent.iter_mut().rev() {
            if let ToWriter::Requests(requests) = message
                && let Some(place) = requests.iter().rposition(|asked| asked.ticket.connection == connection)
            {
                let room = requests.remove(place).room();
                return self.decided(room);
            }
        }
        self.unsent.insert(0, ToWriter::Gone(connection));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::Command;
    use crate::limits::WRITER_BYTES;
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
        let mut outbox = Outbox::new(sender, Arc::default(), Arc::default());
        let parcel = |outbox: &mut Outbox| (0..PARCEL_REQUESTS).for_each(|_| outbox.ask(asked(7, PUT)));
        parcel(&mut outbox);
        assert_eq!(told(&writer), [(vec![7; PARCEL_REQUESTS], None)]);
        outbox.waits();
        parcel(&mut outbox);
        parcel(&mut outbox);
        outbox.ask(asked(8, PUT));
        assert_eq!(told(&writer), []);
        outbox.flush();
        let full = (vec![7; PARCEL_REQUESTS], None);
        assert_eq!(told(&writer), [full.clone(), full.clone(), (vec![8], None)]);
        outbox.waits_no_more();
        parcel(&mut outbox);
        assert_eq!(told(&writer), [full]);
    }

    #[test]
    fn writes_wait_while_there_are_many_that_are_not_decided() {
        let held_up = Arc::<HeldUp>::default();
        let mut outbox = Outbox::new(unbounded().0, Arc::clone(&held_up), Arc::default());
        let one = asked(1, PUT).room();
        let most = 2 * one;
        outbox.ask(asked(1, PUT));
        assert!(outbox.admit(1, one, most));
        outbox.ask(asked(1, RESERVE));
        assert!(!outbox.admit(2, one, most) && !outbox.admit(1, one, most) && !outbox.admit(2, one, most));
        assert!(outbox.grant_waiting(most).is_empty());
        outbox.gone(1);
        assert_eq!(outbox.grant_waiting(most), [2], "a reserve was given up, and there is room for one");
        assert!(!outbox.admit(3, one, most), "nobody passes who waits");
        assert!(outbox.admit(2, one, most) && held_up.is_one(), "it is not sent yet");
        outbox.ask(asked(2, PUT));
        assert!(!outbox.admit(2, one, most), "once");
        outbox.decided(2 * one);
        assert_eq!(outbox.grant_waiting(most), [1, 3]);
        assert_eq!(outbox.grant_waiting(most), [2], "what was granted in vain is taken back");
        assert!(held_up.is_one() && outbox.admit(2, one, most));
        assert!(outbox.grant_waiting(most).is_empty() && !held_up.is_one() && outbox.admit(4, one, most));
    }

    #[test]
    fn others_come_between_two_requests_that_may_take_long() {
        let mut outbox = Outbox::new(unbounded().0, Arc::default(), Arc::default());
        let most = WRITER_BYTES;
        for line in [
            r#"{"cmd":"queue.revive","queue":"q"}"#,
            r#"{"cmd":"batch","commands":[{"cmd":"queue.revive","queue":"q"}]}"#,
            r#"{"cmd":"queue.reserve","queue":"q","max":2,"dry_run":true}"#,
        ] {
            let long = asked(1, line);
            let room = long.room();
            assert!(outbox.admit(1, room, most), "{line}");
            outbox.ask(long);
            assert!(!outbox.admit(2, 40, most) && !outbox.admit(1, room, most), "{line}");
            outbox.decided(room);
            assert_eq!(outbox.grant_waiting(most), [2, 1], "{line}");
            assert!(outbox.admit(2, 40, most) && outbox.admit(1, room, most));
            assert!(outbox.grant_waiting(most).is_empty());
        }
        for line in [PUT, r#"{"cmd":"queue.revive","queue":"q","job":1}"#] {
            assert!(asked(1, line).room() < 1024, "{line}");
        }
    }

    #[test]
    fn who_is_gone_gets_nothing_of_what_others_asked_before_or_since() {
        let (sender, writer) = unbounded();
        let mut outbox = Outbox::new(sender, Arc::default(), Arc::default());
        outbox.waits();
        outbox.waits();
        [asked(1, PUT), asked(2, PUT), asked(2, RESERVE), asked(3, PUT)]
            .into_iter()
            .for_each(|asked| outbox.ask(asked));
        outbox.gone(2);
        // The other's reserve went to the writer in a turn before.
        outbox.gone(4);
        outbox.flush();
        assert_eq!(told(&writer), [(vec![], Some(4)), (vec![1, 2, 3], None)]);
        assert!(!outbox.anyone_waits());
    }
}
