//! The event loop: owns every socket. Only it, `admission` and `streams` name mio.
//!
//! It never waits for anything but events. Sockets are edge-triggered: each is read and written until
//! the kernel has no more, but of a greedy one only so much a turn, then it waits for the next.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use hashbrown::{HashMap, HashSet};
use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};

use super::admission::{Admission, Admitted};
use super::connection::{Barrier, Connection, Life};
use super::mailbox::{FromWorkers, Mailbox};
use super::replies::KEPT_BYTES;
use super::room::STUCK;
use super::router::Router;
use super::streams::{Client, await_room, read_once, send};
use super::supervision::{News, Pulse, Supervision};
use crate::error::{Code, Error};
use crate::limits::{STOP_MOST_SECONDS, STOP_SECONDS, UNCOUNTED_BYTES};
use crate::writer::{Answers, Ticket, ToWriter};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const STOP: Token = Token(2);
const RELOAD: Token = Token(3);
const FIRST_CONNECTION: usize = 16;

/// What is read of one socket in one turn: to begin so many short requests takes a fraction of a millisecond,
/// which is how long the others wait for each that is ready.
const READ_BYTES: usize = 16 << 10;
/// When the daemon stops so many turns' worth of clients is let in: more than may wait for that.
const STOP_ACCEPTS: usize = 128;
/// Who holds this part of what the largest does may go before it.
const FAIR_PART: usize = 4;
/// Bytes of replies of readers that are taken in one turn: readers make more while they are sent.
const TAKEN_BYTES_A_TURN: usize = 1 << 20;

/// The event loop.
pub struct EventLoop {
    poll: Poll,
    /// `None` once the daemon stops.
    admission: Option<Admission>,
    supervision: Supervision,
    pulse: Pulse,
    inbox: Receiver<FromWorkers>,
    mailbox: Mailbox,
    clients: HashMap<usize, Client>,
    next_token: usize,
    /// Connections with something to do before the loop may sleep.
    ready: HashSet<usize>,
    followers: HashSet<usize>,
    buffered: usize,
    buffer: Vec<u8>,
    /// When a stop is over at the latest, once one has begun.
    stop_by: Option<Instant>,
}

impl EventLoop {
    /// A loop over a listening socket, under this supervision.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(listener: StdListener, mut supervision: Supervision) -> io::Result<Self> {
        let poll = Poll::new()?;
        listener.set_nonblocking(true)?;
        let mut listener = UnixListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        supervision.stop = watch(&poll, supervision.stop, STOP)?;
        supervision.reload = watch(&poll, supervision.reload, RELOAD)?;
        let pulse = Pulse::first(supervision.every.map(|_| Instant::now()));
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (sender, inbox): (Sender<FromWorkers>, _) = unbounded();
        // A wake-up that cannot be sent is made up for by the next.
        let mailbox = Mailbox::new(sender, Arc::new(move || drop(waker.wake())));
        Ok(EventLoop {
            poll,
            admission: Some(Admission::new(listener)),
            supervision,
            pulse,
            inbox,
            mailbox,
            clients: HashMap::new(),
            next_token: FIRST_CONNECTION,
            ready: HashSet::new(),
            followers: HashSet::new(),
            buffered: 0,
            buffer: vec![0; READ_BYTES],
            stop_by: None,
        })
    }

    /// Where threads deliver to.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox {
        self.mailbox.clone()
    }

    /// Serves until a signal comes and every request received before it is answered.
    ///
    /// # Errors
    /// What the system says of polling.
    pub fn run(mut self, router: &Router) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            self.mailbox.goes_to_sleep();
            let timeout = if self.inbox.is_empty() { self.timeout(router) } else { Some(Duration::ZERO) };
            let polled = self.poll.poll(&mut events, timeout);
            self.mailbox.is_up();
            match polled {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => done?,
            }
            self.take_events(router, &events);
            self.empty_inbox(router);
            self.send_pulse(router);
            for token in std::mem::take(&mut self.ready) {
                self.serve(router, token);
            }
            // Who hung up before somebody came makes room for them.
            self.accept(router);
            if router.writer.anyone_waits() {
                self.look_who_is_gone(router, &mut events)?;
            }
            router.writer.flush();
            self.answer_gets(router);
            // A client that was closed by that may have waited for a job.
            router.writer.flush();
            self.begin_lists(router);
            self.ready.extend(router.writes_again());
            router.end_turn();
            if let Some(stop_by) = self.stop_by {
                self.leave_stuck(router);
                if self.clients.is_empty() || stop_by <= Instant::now() {
                    return Ok(());
                }
            }
        }
    }

    /// Notes what there is to do.
    fn take_events(&mut self, router: &Router, events: &Events) {
        for event in events {
            match event.token() {
                LISTENER => self.admission.iter_mut().for_each(Admission::somebody_came),
                WAKER => {}
                STOP => self.stop(router),
                RELOAD => self.reload(),
                Token(token) => {
                    let Some(client) = self.clients.get_mut(&token) else { continue };
                    client.end_came |= event.is_read_closed() || event.is_error();
                    client.readable |= event.is_readable() || client.end_came;
                    if event.is_write_closed() || event.is_error() {
                        client.connection.leave();
                        // Before any request of this turn could give it a lease.
                        if give_up_waiting(router, token, client) {
                            client.connection.life = Life::Over;
                        }
                    }
                    self.ready.insert(token);
                }
            }
        }
    }

    /// Sees who hung up before a request of this turn was sent that may bring it a job.
    fn look_who_is_gone(&mut self, router: &Router, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            polled => polled.map(|()| self.take_events(router, events)),
        }
    }

    fn timeout(&self, router: &Router) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let stuck = self.stop_by.and_then(|_| self.left_at());
        let admission = self.admission.as_ref().and_then(Admission::due);
        let (room, most) = (&router.own.room, router.room_for_lists());
        let of_room = [room.looks_at(most, Instant::now()), room.begins_at()].into_iter().flatten().min();
        let times = [admission, self.stop_by, stuck, self.pulse.due(), of_room];
        let next = times.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Lets in who waits, when somebody does.
    fn accept(&mut self, router: &Router) {
        let (now, open) = (Instant::now(), self.clients.len());
        let Some(admission) = &mut self.admission else { return };
        admission.leave_turned_away(now);
        if !admission.is_due(now) {
            return;
        }
        for Admitted { mut stream, uid, rights } in admission.accept(router, open) {
            let token = self.next_token;
            if self.poll.registry().register(&mut stream, Token(token), Interest::READABLE).is_err() {
                admission.left(uid);
                continue;
            }
            self.next_token += 1;
            self.clients
                .insert(token, Client::new(stream, Connection::new(uid, rights, &router.identity.limits)));
            self.ready.insert(token);
        }
        router.stats.connections_open.set(self.clients.len() as u64);
    }

    /// Takes what the threads delivered. What is left nobody was told of yet, so a read of this turn need not
    /// see it.
    fn empty_inbox(&mut self, router: &Router) {
        let mut taken = 0;
        while taken < TAKEN_BYTES_A_TURN
            && let Ok(message) = self.inbox.try_recv()
        {
            let bytes = message.reply_bytes();
            self.mailbox.took(bytes);
            taken += bytes;
            match message {
                FromWorkers::Answers(answers) => self.take_answers(router, &answers),
                FromWorkers::Gets { answers, .. } => {
                    for (ticket, answer) in &answers.list {
                        self.take_read(router, *ticket, answers.fields(answer));
                    }
                }
                FromWorkers::Read { ticket, fields } => {
                    let is_list = router.own.room.came(ticket);
                    if let Some(client) = self.clients.get_mut(&ticket.connection).filter(|_| is_list) {
                        router.note_list(&mut client.connection, &fields);
                    }
                    self.take_read(router, ticket, fields.as_deref());
                }
                FromWorkers::Maintained { ticket, fields } => {
                    if let Some(client) = self.clients.get_mut(&ticket.connection) {
                        router.take_maintenance(&mut client.connection, ticket.number, fields);
                        self.ready.insert(ticket.connection);
                    }
                }
                FromWorkers::Piece { connection, piece } => {
                    if let Some(client) = self.clients.get_mut(&connection)
                        && client.connection.life == Life::Open
                        && let Some(follower) = client.connection.follower.as_mut()
                    {
                        follower.asked = false;
                        match piece {
                            Ok(piece) => {
                                follower.next = piece.next;
                                client.connection.replies.push(&piece.lines);
                            }
                            Err(error) => router.end_with(&mut client.connection, &error),
                        }
                        self.ready.insert(connection);
                    }
                }
                FromWorkers::Published => self.ready.extend(self.followers.iter()),
                FromWorkers::Pulse => {
                    let news = self.pulse.is_back(Instant::now(), self.supervision.every);
                    (self.supervision.tell)(news);
                }
            }
        }
    }

    fn take_answers(&mut self, router: &Router, answers: &Answers) {
        router.writer.decided(answers.decided_bytes);
        router.writer.arrives(answers.bytes.len());
        for (ticket, answer) in &answers.list {
            let Some(client) = self.clients.get_mut(&ticket.connection) else { continue };
            router.take_write(&mut client.connection, ticket.number, answers.fields(answer));
            self.ready.insert(ticket.connection);
        }
    }

    /// Gives this turn's short reads their answers, or to the readers, and sends what is there.
    fn answer_gets(&mut self, router: &Router) {
        let mut own = Answers::default();
        router.answer_gets(&mut own);
        for (ticket, answer) in &own.list {
            self.take_read(router, *ticket, own.fields(answer));
        }
        // The reads of a connection follow each other.
        let mut tokens: Vec<usize> = own.list.iter().map(|(ticket, _)| ticket.connection).collect();
        tokens.dedup();
        tokens.into_iter().for_each(|token| self.send_early(router, token));
    }

    /// Sends to a client that has nothing to do but to read: then it need not be served in a turn of its own.
    fn send_early(&mut self, router: &Router, token: usize) {
        if self.stop_by.is_some() || !self.ready.contains(&token) {
            return;
        }
        let Some(client) = self.clients.get_mut(&token) else { return };
        if client.is_idle() && send(client) && client.connection.replies.output().is_empty() {
            self.ready.remove(&token);
            self.count(router, token);
        }
    }

    /// Lets lists begin in the next turn that waited for room, when there is some.
    fn begin_lists(&mut self, router: &Router) {
        let now = Instant::now();
        if router.own.room.looks_at(router.room_for_lists(), now).is_some_and(|at| at <= now) {
            let clients = self.clients.values_mut();
            let holders = clients.map(|client| (client.counted, client.moved, &mut client.counted_stuck));
            router.own.room.look(now, holders);
        }
        self.ready.extend(router.lists_again());
    }

    fn take_read(&mut self, router: &Router, ticket: Ticket, answer: Result<&[u8], &Error>) {
        let token = ticket.connection;
        let Some(client) = self.clients.get_mut(&token) else { return };
        router.take_read(&mut client.connection, ticket.number, answer);
        self.ready.insert(token);
        // Hundreds of large replies may come in one turn, and the bound holds within it, too.
        if client.connection.held_bytes() > client.counted + UNCOUNTED_BYTES {
            if send(client) {
                client.stuck = None;
            }
            self.count(router, token);
        }
    }

    /// Reads, begins, and writes for one client.
    fn serve(&mut self, router: &Router, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        if client.readable && client.connection.wants_bytes() {
            read_once(client, &mut self.buffer);
        }
        client.connection.local_answers = 0;
        router.advance(token, &mut client.connection);
        let sent = send(client);
        if self.stop_by.is_some() {
            let now = Instant::now();
            let full = !client.connection.replies.output().is_empty();
            client.stuck = full.then(|| client.stuck.filter(|_| !sent).unwrap_or(now));
        }
        if client.connection.follower.is_some() {
            self.followers.insert(token);
            router.feed(token, &mut client.connection);
        }
        // What was sent may have made room for requests that waited.
        let all_sent = client.connection.replies.output().is_empty();
        if all_sent && (client.connection.lines.held() > 0 || client.connection.held.is_some()) {
            router.advance(token, &mut client.connection);
        }
        if await_room(client, !all_sent, self.poll.registry(), Token(token)).is_err() {
            client.connection.leave();
        }
        if client.connection.gone && give_up_waiting(router, token, client) {
            client.connection.life = Life::Over;
        }
        if client.connection.is_over() {
            self.close(router, token);
            return;
        }
        if client.connection.awaits_turn()
            || (client.readable && client.connection.wants_bytes())
            || (!client.connection.replies.output().is_empty() && all_sent)
        {
            self.ready.insert(token);
        }
        self.count(router, token);
    }

    /// Counts what a client holds, and while all hold too much closes one that holds much.
    fn count(&mut self, router: &Router, token: usize) {
        self.recount(router, token);
        while self.buffered > router.identity.limits.buffered_bytes {
            let Some(token) = self.holds_too_much() else { return };
            self.drop_client(router, token);
        }
    }

    /// Who holds most; but of those who hold a fair part of that, and have replies to read or do not get on, the one
    /// that got on longest ago: who reads is not to pay for who does not, and who has read all not for a long line.
    /// Before all others those who were dropped and have not read the rest of their last line.
    fn holds_too_much(&self) -> Option<usize> {
        let now = Instant::now();
        let held = |client: &Client| client.counted;
        let dropped =
            self.clients.iter().filter(|(_, client)| client.is_dropped() && held(client) > KEPT_BYTES);
        if let Some((token, _)) = dropped.max_by_key(|(_, client)| held(client)) {
            return Some(*token);
        }
        let (token, most) = self.clients.iter().max_by_key(|(_, client)| held(client))?;
        let fair = self.clients.iter().filter(|(_, client)| {
            let reads = !client.connection.replies.output().is_empty();
            // Whoever waits for an answer cannot get on.
            let does_not_get_on = client.moved + STUCK <= now && client.connection.wants_bytes();
            held(client) >= held(most) / FAIR_PART && (reads || does_not_get_on)
        });
        Some(*fair.min_by_key(|(_, client)| client.moved).map_or(token, |(token, _)| token))
    }

    fn recount(&mut self, router: &Router, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        let held = client.connection.held_bytes();
        if client.counted <= KEPT_BYTES && held > KEPT_BYTES {
            client.moved = Instant::now();
        }
        let before = std::mem::replace(&mut client.counted, held);
        if held != before {
            router.own.room.gets_on(std::mem::take(&mut client.counted_stuck));
        }
        self.set_buffered(router, self.buffered + held - before);
    }

    /// All clients together hold so much now.
    fn set_buffered(&mut self, router: &Router, bytes: usize) {
        self.buffered = bytes;
        router.own.room.note_held(bytes);
        router.stats.buffered_bytes.set(bytes as u64);
    }

    /// Ends a connection that holds too much. It is told why, behind the line that it has read in part; if that
    /// is too much, too, it is closed.
    fn drop_client(&mut self, router: &Router, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        if client.connection.life != Life::Open {
            self.close(router, token);
            return;
        }
        router.stats.connections_dropped.add(1);
        client.connection.replies.abandon();
        client.connection.abandoned.store(true, Ordering::Relaxed);
        let message = "all connections together hold too much, and this one the most: read replies sooner";
        router.end_with(&mut client.connection, &Error::new(Code::Busy, message));
        give_up_waiting(router, token, client);
        router.own.room.forget(token);
        send(client);
        self.ready.insert(token);
        self.recount(router, token);
    }

    fn close(&mut self, router: &Router, token: usize) {
        let Some(mut client) = self.clients.remove(&token) else { return };
        if client.connection.life == Life::Closing && !client.connection.gone {
            // What is left unread would turn the end that the client is to see into a reset.
            let _ = client.stream.shutdown(Shutdown::Read);
            while client.stream.read(&mut self.buffer).is_ok_and(|count| count > 0) {}
        }
        client.connection.leave();
        // The descriptor is closed right after, which ends the registration too.
        let _ = self.poll.registry().deregister(&mut client.stream);
        router.own.room.gets_on(client.counted_stuck);
        router.own.room.forget(token);
        self.set_buffered(router, self.buffered - client.counted);
        self.ready.remove(&token);
        if client.connection.follower.is_some() {
            self.followers.remove(&token);
            router.stats.followers.take(1);
        }
        give_up_waiting(router, token, &mut client);
        self.admission.iter_mut().for_each(|admission| admission.left(client.connection.uid));
        router.stats.connections_open.set(self.clients.len() as u64);
    }

    /// Sends a pulse through the writer when one is due.
    fn send_pulse(&mut self, router: &Router) {
        if self.pulse.send(Instant::now()) {
            let mailbox = self.mailbox.clone();
            let back = Box::new(move || mailbox.deliver(FromWorkers::Pulse));
            // When the writer is gone nobody shall hear that all is well.
            router.writer.tell(ToWriter::Pulse(back));
        }
    }

    /// When the next client that does not read is left behind by the stop.
    fn left_at(&self) -> Option<Instant> {
        let since = self.clients.values().filter_map(|client| client.stuck).min()?;
        Some(since + Duration::from_secs(STOP_SECONDS))
    }

    /// Leaves the clients behind that have not read for long.
    fn leave_stuck(&mut self, router: &Router) {
        while let Some(at) = self.left_at().filter(|at| *at <= Instant::now()) {
            let late = |client: &Client| {
                client.stuck.is_some_and(|since| since + Duration::from_secs(STOP_SECONDS) <= at)
            };
            let tokens: Vec<usize> =
                self.clients.iter().filter(|(_, client)| late(client)).map(|(token, _)| *token).collect();
            tokens.into_iter().for_each(|token| self.close(router, token));
        }
    }

    fn reload(&mut self) {
        swallow(&self.supervision.reload);
        (self.supervision.tell)(News::Reloading);
        self.pulse.reload(Instant::now());
    }

    /// Begins the stop: nobody new, and nothing more from those who are there.
    fn stop(&mut self, router: &Router) {
        swallow(&self.supervision.stop);
        if self.stop_by.is_some() {
            return;
        }
        // Who came before is let in.
        self.admission.iter_mut().for_each(Admission::somebody_came);
        for _ in 0..STOP_ACCEPTS {
            self.accept(router);
        }
        self.stop_by = Some(Instant::now() + Duration::from_secs(STOP_MOST_SECONDS));
        (self.supervision.tell)(News::Stopping);
        if let Some(mut admission) = self.admission.take() {
            let _ = self.poll.registry().deregister(admission.listener());
        }
        router.stopping.store(true, Ordering::Relaxed);
        router.writer.tell(ToWriter::Stop);
        for (token, client) in &mut self.clients {
            // What the client sent before is still there to be read.
            let _ = client.stream.shutdown(Shutdown::Read);
            (client.readable, client.end_came) = (true, true);
            client.connection.stopping = true;
            if client.connection.follower.is_some() {
                let error = Error::new(Code::ShuttingDown, "the daemon is stopping");
                router.end_with(&mut client.connection, &error);
            }
            self.ready.insert(*token);
        }
    }
}

/// Registers a stream whose bytes only wake the loop.
fn watch(poll: &Poll, stream: StdStream, token: Token) -> io::Result<StdStream> {
    stream.set_nonblocking(true)?;
    let mut source = UnixStream::from_std(stream);
    poll.registry().register(&mut source, token, Interest::READABLE)?;
    // The registration lives as long as the descriptor: the loop keeps it.
    Ok(StdStream::from(std::os::fd::OwnedFd::from(source)))
}

/// Takes the bytes that woke the loop.
fn swallow(mut stream: &StdStream) {
    let _ = stream.read(&mut [0; 16]);
}

/// A client that is gone gets no lease, and nothing behind its reserve is begun. Answers whether it waited.
fn give_up_waiting(router: &Router, token: usize, client: &mut Client) -> bool {
    let waits = matches!(client.connection.barrier, Some(Barrier::Reserve(_)));
    if waits {
        client.connection.barrier = None;
        router.writer.gone(token);
    }
    waits
}
