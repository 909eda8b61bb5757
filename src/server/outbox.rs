//! What the event loop has for the writer. Requests go in parcels, a few a turn of the loop, so that
//! one wake-up and one batch serve many.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;

use super::one_at_a_time::OneAtATime;
use super::room_queue::RoomQueue;
use crate::domain::command::WriteRequest;
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
    /// Memory of the requests that are here or with the writer.
    undecided: usize,
    /// Whose next write waits until that is less.
    queue: RoomQueue,
    /// Those that may take long.
    long: OneAtATime,
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
            long: OneAtATime::default(),
            granted: 0,
            held_up,
            unread,
            arrived: 0,
            noted: None,
        }
    }

    /// Lets a connection ask a write whose line has so many bytes, where those that are not decided may take `most`
    /// together; or has it wait behind those that wait already, until [`Outbox::grant_waiting`] names it. Answers
    /// which. A grant is good for one write: who is let in must ask it.
    pub fn admit(&mut self, connection: usize, request: &WriteRequest, bytes: usize, most: usize) -> bool {
        if request.may_take_long() {
            return self.long.admit(connection);
        }
        let is_first = self.queue.is_empty() && self.undecided + self.granted < most;
        if self.queue.use_grant(connection).is_some() || is_first {
            return true;
        }
        let now = Instant::now();
        let is_new = self.queue.join(connection, bytes + size_of::<Asked>(), now);
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

    /// So many bytes of requests were decided, and so many that may take long, whether or not those who asked are
    /// still there.
    pub fn decided(&mut self, bytes: usize, long: usize) {
        self.undecided = self.undecided.saturating_sub(bytes);
        self.long.decided(long);
    }

    /// A connection is gone: it asks nothing any more.
    pub fn leave(&mut self, connection: usize) {
        self.queue.leave(connection);
        self.long.leave(connection);
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
        connections.extend(self.long.grant_waiting());
        connections
    }

    /// Puts a request into the parcel; a full one goes at once, unless reserves wait.
    pub fn ask(&mut self, asked: Asked) {
        self.undecided += asked.held_bytes();
        if asked.request.may_take_long() {
            self.long.asked();
        }
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
                let asked = requests.remove(place);
                let long = usize::from(asked.request.may_take_long());
                return self.decided(asked.held_bytes(), long);
            }
        }
        self.unsent.insert(0, ToWriter::Gone(connection));
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

    /// Whether a connection may ask such a line.
    fn admit(outbox: &mut Outbox, connection: usize, line: &str, most: usize) -> bool {
        let Asked { request, bytes, .. } = asked(connection, line);
        outbox.admit(connection, &request, bytes, most)
    }

    #[test]
    fn writes_wait_while_there_are_many_that_are_not_decided() {
        let held_up = Arc::<HeldUp>::default();
        let mut outbox = Outbox::new(unbounded().0, Arc::clone(&held_up), Arc::default());
        let one = asked(1, PUT).held_bytes();
        let most = 2 * one;
        let admit = |outbox: &mut Outbox, connection| admit(outbox, connection, PUT, most);
        outbox.ask(asked(1, PUT));
        assert!(admit(&mut outbox, 1));
        outbox.ask(asked(1, RESERVE));
        assert!([2, 1, 2].iter().all(|connection| !admit(&mut outbox, *connection)));
        assert!(outbox.grant_waiting(most).is_empty());
        outbox.gone(1);
        assert_eq!(outbox.grant_waiting(most), [2], "a reserve was given up, and there is room for one");
        assert!(!admit(&mut outbox, 3), "nobody passes who waits");
        assert!(admit(&mut outbox, 2) && held_up.is_one(), "it is not sent yet");
        outbox.ask(asked(2, PUT));
        assert!(!admit(&mut outbox, 2), "once");
        outbox.decided(2 * one, 0);
        assert_eq!(outbox.grant_waiting(most), [1, 3]);
        assert_eq!(outbox.grant_waiting(most), [2], "what was granted in vain is taken back");
        assert!(held_up.is_one() && admit(&mut outbox, 2));
        assert!(outbox.grant_waiting(most).is_empty() && !held_up.is_one() && admit(&mut outbox, 4));
    }

    #[test]
    fn requests_that_may_take_long_go_one_at_a_time_and_hold_up_no_others() {
        let held_up = Arc::<HeldUp>::default();
        let mut outbox = Outbox::new(unbounded().0, Arc::clone(&held_up), Arc::default());
        let most = 1 << 20;
        for line in [
            r#"{"cmd":"queue.revive","queue":"q"}"#,
            r#"{"cmd":"batch","commands":[{"cmd":"queue.revive","queue":"q"}]}"#,
            r#"{"cmd":"queue.reserve","queue":"q","max":2,"dry_run":true}"#,
        ] {
            let long = asked(1, line);
            let bytes = long.held_bytes();
            assert!(admit(&mut outbox, 1, line, most), "{line}");
            outbox.ask(long);
            assert!(!admit(&mut outbox, 1, line, most) && !admit(&mut outbox, 2, line, most), "{line}");
            assert!((0..3).all(|_| admit(&mut outbox, 3, PUT, most)), "{line}");
            assert!(!held_up.is_one(), "leases of others run out in time");
            outbox.decided(bytes, 1);
            assert_eq!(outbox.grant_waiting(most), [1]);
            assert!(admit(&mut outbox, 1, line, most));
            outbox.leave(2);
            assert!(outbox.grant_waiting(most).is_empty());
        }
        let one = r#"{"cmd":"queue.revive","queue":"q","job":1}"#;
        outbox.ask(asked(1, one));
        assert!(admit(&mut outbox, 2, one, most));
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
