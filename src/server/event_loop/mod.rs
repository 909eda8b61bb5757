//! The event loop: owns every socket. Only it, `admission` and `streams` name mio.
//!
//! It never waits for anything but events. Sockets are edge-triggered: each is read and written until
//! the kernel has no more, but of a greedy one only so much a turn, then it waits for the next.
//!
//! `answers` takes what threads deliver, `held` keeps what clients hold within its bound, `stop` ends it all.

mod answers;
mod held;
mod stop;

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use hashbrown::{HashMap, HashSet};
use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::server::admission::{Admission, Admitted};
use crate::server::connection::{Barrier, Connection, Life};
use crate::server::mailbox::{Mailbox, ToEventLoop};
use crate::server::router::Router;
use crate::server::streams::{Client, await_room, read_once, send};
use crate::server::supervision::{News, Pulse, Supervision};
use crate::writer::ToWriter;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const STOP: Token = Token(2);
const RELOAD: Token = Token(3);
const FIRST_CONNECTION: usize = 16;

/// What is read of one socket in one turn: to begin so many short requests takes a fraction of a millisecond,
/// which is how long the others wait for each that is ready.
const READ_BYTES: usize = 16 << 10;

/// The event loop.
pub struct EventLoop {
    poll: Poll,
    /// `None` before anyone is let in, and once the daemon stops.
    admission: Option<Admission>,
    supervision: Supervision,
    pulse: Pulse,
    inbox: Receiver<ToEventLoop>,
    mailbox: Mailbox,
    clients: HashMap<usize, Client>,
    next_id: usize,
    /// Connections with something to do before the loop may sleep.
    ready: HashSet<usize>,
    followers: HashSet<usize>,
    buffered: usize,
    buffer: Vec<u8>,
    /// When a stop is over at the latest, once one has begun.
    stop_by: Option<Instant>,
}

impl EventLoop {
    /// A loop under this supervision, into which nobody is let yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(mut supervision: Supervision) -> io::Result<Self> {
        let poll = Poll::new()?;
        supervision.stop = watch(&poll, supervision.stop, STOP)?;
        supervision.reload = watch(&poll, supervision.reload, RELOAD)?;
        let pulse = Pulse::first(Instant::now());
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (sender, inbox): (Sender<ToEventLoop>, _) = unbounded();
        // A wake-up that cannot be sent is made up for by the next: by a pulse's, unless it was a pulse's own.
        let mailbox = Mailbox::new(sender, Arc::new(move || waker.wake().is_ok()));
        Ok(EventLoop {
            poll,
            admission: None,
            supervision,
            pulse,
            inbox,
            mailbox,
            clients: HashMap::new(),
            next_id: FIRST_CONNECTION,
            ready: HashSet::new(),
            followers: HashSet::new(),
            buffered: 0,
            buffer: vec![0; READ_BYTES],
            stop_by: None,
        })
    }

    /// Lets in who comes to this socket.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(&mut self, listener: StdListener) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let mut listener = UnixListener::from_std(listener);
        self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        self.admission = Some(Admission::new(listener));
        Ok(())
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
    pub fn run(mut self, router: &mut Router) -> io::Result<()> {
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
            for id in std::mem::take(&mut self.ready) {
                self.serve(router, id);
            }
            // Who hung up before somebody came makes room for them.
            self.accept(router);
            if router.writer.anyone_waits() {
                self.look_who_is_gone(router, &mut events)?;
            }
            router.writer.flush();
            self.settle_gets(router);
            // A client that was closed by that may have waited for a job.
            router.writer.flush();
            self.begin_lists(router);
            self.ready.extend(router.grant_writes());
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
    fn take_events(&mut self, router: &mut Router, events: &Events) {
        for event in events {
            match event.token() {
                LISTENER => self.admission.iter_mut().for_each(Admission::somebody_came),
                WAKER => {}
                STOP => self.stop(router),
                RELOAD => self.reload(),
                Token(id) => {
                    let Some(client) = self.clients.get_mut(&id) else { continue };
                    client.end_came |= event.is_read_closed() || event.is_error();
                    client.readable |= event.is_readable() || client.end_came;
                    if event.is_write_closed() || event.is_error() {
                        client.connection.leave();
                        // Before any request of this turn could give it a lease.
                        if give_up_waiting(router, client) {
                            client.connection.life = Life::Over;
                        }
                    }
                    self.ready.insert(id);
                }
            }
        }
    }

    /// Sees who hung up before a request of this turn was sent that may bring it a job.
    fn look_who_is_gone(&mut self, router: &mut Router, events: &mut Events) -> io::Result<()> {
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
    fn accept(&mut self, router: &mut Router) {
        let (now, open) = (Instant::now(), self.clients.len());
        let Some(admission) = &mut self.admission else { return };
        admission.leave_turned_away(now);
        if !admission.is_due(now) {
            return;
        }
        for mut admitted in admission.accept(router, open) {
            let (registry, id) = (self.poll.registry(), self.next_id);
            if let Err(error) = registry.register(&mut admitted.stream, Token(id), Interest::READABLE) {
                admission.cannot_watch(&router.stats, admitted, &error);
                continue;
            }
            router.stats.connections_accepted.add(1);
            let Admitted { stream, uid, rights } = admitted;
            self.next_id += 1;
            self.clients
                .insert(id, Client::new(stream, Connection::new(id, uid, rights, &router.identity.limits)));
            self.ready.insert(id);
        }
        router.stats.connections_open.set(self.clients.len() as u64);
    }

    /// Lets lists begin in the next turn that waited for room, when there is some.
    fn begin_lists(&mut self, router: &mut Router) {
        let now = Instant::now();
        if router.own.room.looks_at(router.room_for_lists(), now).is_some_and(|at| at <= now) {
            let clients = self.clients.values_mut();
            let holders = clients.map(|client| (client.counted, client.moved, &mut client.counted_stuck));
            router.own.room.look(now, holders);
        }
        self.ready.extend(router.grant_lists());
    }

    /// Reads, begins, and writes for one client.
    fn serve(&mut self, router: &mut Router, id: usize) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.readable && client.connection.wants_bytes() {
            read_once(client, &mut self.buffer);
        }
        client.connection.local_answers = 0;
        router.advance(&mut client.connection);
        let sent = send(client);
        if self.stop_by.is_some() {
            let now = Instant::now();
            let full = !client.connection.replies.output().is_empty();
            client.stuck = full.then(|| client.stuck.filter(|_| !sent).unwrap_or(now));
        }
        if client.connection.follower.is_some() {
            self.followers.insert(id);
            router.feed(&mut client.connection);
        }
        // What was sent may have made room for requests that waited.
        let all_sent = client.connection.replies.output().is_empty();
        if all_sent && (client.connection.lines.held() > 0 || client.connection.held.is_some()) {
            router.advance(&mut client.connection);
        }
        if await_room(client, !all_sent, self.poll.registry(), Token(id)).is_err() {
            client.cut_off();
        }
        if client.connection.gone && give_up_waiting(router, client) {
            client.connection.life = Life::Over;
        }
        if client.connection.is_over() {
            self.close(router, id);
            return;
        }
        if client.connection.awaits_turn()
            || (client.readable && client.connection.wants_bytes())
            || (!client.connection.replies.output().is_empty() && all_sent)
        {
            self.ready.insert(id);
        }
        self.count(router, id);
    }

    fn close(&mut self, router: &mut Router, id: usize) {
        let Some(mut client) = self.clients.remove(&id) else { return };
        if client.connection.life == Life::Closing && !client.connection.gone {
            // What is left unread would turn the end that the client is to see into a reset.
            let _ = client.stream.shutdown(Shutdown::Read);
            while client.stream.read(&mut self.buffer).is_ok_and(|count| count > 0) {}
        }
        client.connection.leave();
        // The descriptor is closed right after, which ends the registration too.
        let _ = self.poll.registry().deregister(&mut client.stream);
        router.own.room.gets_on(client.counted_stuck);
        router.own.room.forget(id);
        router.writer.leave(id);
        self.set_buffered(router, self.buffered - client.counted);
        self.ready.remove(&id);
        if client.connection.follower.is_some() {
            self.followers.remove(&id);
            router.stats.followers.sub(1);
        }
        give_up_waiting(router, &mut client);
        self.admission.iter_mut().for_each(|admission| admission.left(client.connection.uid));
        router.stats.connections_open.set(self.clients.len() as u64);
    }

    /// Sends a pulse through the writer when one is due.
    fn send_pulse(&mut self, router: &mut Router) {
        if self.pulse.send(Instant::now()) {
            let mailbox = self.mailbox.clone();
            let back = Box::new(move || mailbox.deliver(ToEventLoop::Pulse));
            // When the writer is gone nobody shall hear that all is well.
            router.writer.tell(ToWriter::Pulse(back));
        }
    }

    fn reload(&mut self) {
        swallow(&self.supervision.reload);
        (self.supervision.tell)(News::Reloading);
        self.pulse.reload(Instant::now());
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
fn give_up_waiting(router: &mut Router, client: &mut Client) -> bool {
    let waits = matches!(client.connection.barrier, Some(Barrier::Reserve(_)));
    if waits {
        client.connection.barrier = None;
        router.writer.gone(client.connection.id);
    }
    waits
}
