//! Begins the requests of a connection in the order that the contract asks for.
//!
//! A connection is a program: a read sees all writes sent before it there and none sent after. So
//! consecutive writes go to the writer together; a read begins when all writes before it are
//! answered, and takes its snapshot then; a write behind it may begin as soon as it has. Behind a
//! reserve that waits, and behind maintenance, nothing begins.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};

use super::connection::{Barrier, Connection, Follower, Life};
use super::lines::Next;
use super::local::{self, Identity};
use super::outbox::Outbox;
use super::workers::ToReader;
use crate::domain::command::{Command, Follow, Local, Maintenance, Read, Write, WriteRequest};
use crate::error::{Code, Error};
use crate::limits::{
    ANSWERS_A_TURN_US, IN_FLIGHT_BYTES, IN_FLIGHT_REQUESTS, LARGE_REPLY_BYTES, LISTS_IN_FLIGHT,
    MAINTENANCE_WAITING, READS_AT_MOST, READS_WHEN_LARGE, UNSENT_BYTES,
};
use crate::maintenance::Task;
use crate::protocol::reply::{write_error, write_ok};
use crate::protocol::request::{self, Request};
use crate::reader::{self, follow};
use crate::snapshot::{Published, Snapshot};
use crate::stats::Stats;
use crate::storage;
use crate::writer::{Asked, Ticket};

/// Where requests go.
pub struct Router {
    /// The newest snapshot.
    pub published: Arc<Published>,
    /// To the writer.
    pub writer: Outbox,
    /// To the readers.
    pub readers: Sender<ToReader>,
    /// To the maintenance thread.
    pub maintenance: Sender<Task>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// What does not change.
    pub identity: Identity,
    /// Whether the daemon is stopping.
    pub stopping: Arc<AtomicBool>,
    /// Time left in this turn of the loop for answers that it gives itself.
    pub time_left: Cell<Duration>,
    /// Reads that the readers have and that are not answered.
    pub with_readers: Cell<usize>,
}

/// Whether the reply to a read may be long.
fn is_list(read: &Read) -> bool {
    !matches!(
        read,
        Read::KvGet { .. }
            | Read::MessageGet { .. }
            | Read::AppGet { .. }
            | Read::ChatGet { .. }
            | Read::FormulaGet { .. }
            | Read::QueueGet { .. }
    )
}

/// Why a client may not do that.
fn forbidden(command: &Command, connection: &Connection) -> Option<Error> {
    let refused = match command {
        Command::Write(_) if !connection.rights.write => "only reads: a group of it is a --read-only-gid",
        Command::Maintenance(_) if !connection.rights.administer => {
            "no administration: it is neither root, nor the daemon's user, nor in an --admin-gid"
        }
        _ => return None,
    };
    Some(Error::new(Code::Forbidden, format!("user {} may do {refused}", connection.uid)))
}

/// Whether a request could begin.
enum Begun {
    Yes,
    Later(Request),
}

impl Router {
    /// A turn of the event loop begins.
    pub fn begin_turn(&self) {
        self.time_left.set(Duration::from_micros(ANSWERS_A_TURN_US));
    }

    /// Answers a short read right here when all that it needs is in memory: the way to a reader and back
    /// costs more than most answers.
    fn answer_now(&self, snapshot: &Snapshot, read: &Read) -> Option<Result<Vec<u8>, Error>> {
        let left = self.time_left.get();
        // Where readers are awake already, they answer on all cores what the loop would on one.
        if is_list(read) || left.is_zero() || self.with_readers.get() > 0 {
            return None;
        }
        let started = Instant::now();
        let answered = storage::without_waiting(|| reader::answer(snapshot, read));
        let took = started.elapsed();
        self.time_left.set(left.saturating_sub(took));
        if answered.is_some() {
            self.stats.reads.add(1);
            self.stats.read_time.note(took);
        }
        answered
    }

    /// Begins as many of the connection's requests as may begin now.
    pub fn advance(&self, token: usize, connection: &mut Connection) {
        while connection.life == Life::Open && connection.barrier.is_none() {
            let full = connection.replies.waiting() >= IN_FLIGHT_REQUESTS
                || connection.replies.waiting_bytes() >= IN_FLIGHT_BYTES
                || connection.replies.output().len() >= UNSENT_BYTES;
            if full {
                break;
            }
            let (request, bytes) = match connection.held.take() {
                Some(held) => held,
                None => match connection.lines.next(self.identity.limits.line_bytes) {
                    Next::Nothing => break,
                    Next::TooLong => (self.too_large(), 0),
                    Next::Line(line) => (request::parse(line), line.len()),
                },
            };
            if connection.follower.is_some() {
                let error =
                    Error::new(Code::BadRequest, "this connection follows: use another one for requests");
                self.end_with(connection, &error);
                break;
            }
            if let Begun::Later(request) = self.begin(token, connection, request, bytes) {
                connection.held = Some((request, bytes));
                break;
            }
        }
        connection.lines.shrink();
    }

    fn too_large(&self) -> Request {
        let message =
            format!("the line is longer than {} bytes and was skipped", self.identity.limits.line_bytes);
        Request { id: None, command: Err(Error::new(Code::TooLarge, message)) }
    }

    fn begin(&self, token: usize, connection: &mut Connection, request: Request, bytes: usize) -> Begun {
        let Request { id, command } = request;
        match command {
            Err(error) => {
                let number = connection.replies.begin(id, 0);
                self.refuse(connection, number, &error);
            }
            Ok(command) if let Some(error) = forbidden(&command, connection) => {
                let number = connection.replies.begin(id, 0);
                self.refuse(connection, number, &error);
            }
            Ok(Command::Write(write)) => self.begin_write(token, connection, id, write, bytes),
            Ok(command) if connection.writes > 0 => {
                return Begun::Later(Request { id, command: Ok(command) });
            }
            Ok(Command::Local(local)) => {
                let number = connection.replies.begin(id, 0);
                let snapshot = self.published.load();
                match local::answer(&local, &snapshot, &self.stats, &self.identity) {
                    Ok(fields) => self.answer(connection, number, &fields),
                    Err(error) => self.refuse(connection, number, &error),
                }
                if local == Local::Quit {
                    connection.life = Life::Closing;
                    connection.lines.clear();
                }
            }
            Ok(Command::Read(read)) => {
                let snapshot = self.published.load();
                if let Some(answer) = self.answer_now(&snapshot, &read) {
                    let number = connection.replies.begin(id, 0);
                    match answer {
                        Ok(fields) => self.answer(connection, number, &fields),
                        Err(error) => self.refuse(connection, number, &error),
                    }
                    return Begun::Yes;
                }
                let most = if is_list(&read) { LISTS_IN_FLIGHT } else { connection.reads_max };
                if connection.reads >= most {
                    return Begun::Later(Request { id, command: Ok(Command::Read(read)) });
                }
                connection.reads += 1;
                self.with_readers.set(self.with_readers.get() + 1);
                let number = connection.replies.begin(id, bytes);
                let ticket = Ticket { connection: token, number };
                // When the readers are gone the daemon is stopping.
                let _ = self.readers.send(ToReader::Read { ticket, snapshot, read });
            }
            Ok(Command::Follow(follow, from)) => {
                if connection.replies.waiting() > 0 {
                    return Begun::Later(Request { id, command: Ok(Command::Follow(follow, from)) });
                }
                let number = connection.replies.begin(id, 0);
                self.begin_follow(connection, number, follow, from);
            }
            Ok(Command::Maintenance(work)) => {
                let number = connection.replies.begin(id, bytes);
                self.begin_maintenance(token, connection, number, work);
            }
        }
        Begun::Yes
    }

    fn begin_write(
        &self,
        token: usize,
        connection: &mut Connection,
        id: Option<String>,
        request: Box<WriteRequest>,
        bytes: usize,
    ) {
        let number = connection.replies.begin(id, bytes);
        if let Write::QueueReserve(reserve) = &request.write {
            if connection.gone {
                // Nobody would hold the lease.
                self.answer(connection, number, b",\"jobs\":[]");
                return;
            }
            if reserve.wait_ms > 0 {
                connection.barrier = Some(Barrier::Reserve(number));
            }
        }
        connection.writes += 1;
        let (ticket, uid) = (Ticket { connection: token, number }, connection.uid);
        self.writer.ask(Asked { ticket, uid, request, bytes });
    }

    fn begin_follow(&self, connection: &mut Connection, number: u64, follow: Follow, from: Option<u64>) {
        if self.stopping.load(Ordering::Relaxed) {
            self.refuse(connection, number, &Error::new(Code::ShuttingDown, "the daemon is stopping"));
            connection.life = Life::Closing;
            return;
        }
        let snapshot = self.published.load();
        if let Err(error) = follow::check(&snapshot, &follow) {
            self.refuse(connection, number, &error);
            return;
        }
        self.answer(connection, number, b",\"following\":true");
        let next = from.unwrap_or(snapshot.last + 1).max(1);
        connection.follower = Some(Follower { follow: Arc::new(follow), next, asked: false });
        self.stats.followers.add(1);
    }

    fn begin_maintenance(&self, token: usize, connection: &mut Connection, number: u64, work: Maintenance) {
        let ticket = Ticket { connection: token, number };
        let refusal = match self.maintenance.try_send(Task { ticket, work }) {
            Ok(()) => {
                connection.barrier = Some(Barrier::Maintenance);
                return;
            }
            Err(TrySendError::Full(_)) => {
                let message = format!(
                    "{MAINTENANCE_WAITING} long operations wait already: ask again when they are done"
                );
                Error::new(Code::Busy, message)
            }
            Err(TrySendError::Disconnected(_)) => Error::new(Code::ShuttingDown, "the daemon is stopping"),
        };
        self.refuse(connection, number, &refusal);
    }

    /// Asks for a follower's next piece when it has sent the one before.
    pub fn feed(&self, token: usize, connection: &mut Connection) {
        let idle =
            connection.replies.output().is_empty() && connection.life == Life::Open && !connection.gone;
        let Some(follower) = connection.follower.as_mut().filter(|follower| idle && !follower.asked) else {
            return;
        };
        let snapshot = self.published.load();
        if follower.next <= snapshot.synced {
            follower.asked = true;
            let (follow, from) = (Arc::clone(&follower.follow), follower.next);
            let _ = self.readers.send(ToReader::Piece { connection: token, snapshot, follow, from });
        }
    }

    /// Takes the reply of a write.
    pub fn take_write(&self, connection: &mut Connection, number: u64, answer: Result<&[u8], &Error>) {
        connection.writes = connection.writes.saturating_sub(1);
        if connection.barrier == Some(Barrier::Reserve(number)) {
            connection.barrier = None;
        }
        match answer {
            Ok(fields) => self.answer(connection, number, fields),
            Err(error) => self.refuse(connection, number, error),
        }
    }

    /// A reader has answered, whether or not the client is still there.
    pub fn reader_is_done(&self) {
        self.with_readers.set(self.with_readers.get().saturating_sub(1));
    }

    /// Takes the reply of a read.
    pub fn take_read(&self, connection: &mut Connection, number: u64, answer: Result<Vec<u8>, Error>) {
        connection.reads = connection.reads.saturating_sub(1);
        match answer {
            Ok(fields) => {
                connection.reads_max = match fields.len() {
                    LARGE_REPLY_BYTES.. => READS_WHEN_LARGE,
                    _ => READS_AT_MOST.min(connection.reads_max + 1),
                };
                self.answer(connection, number, &fields);
            }
            Err(error) => self.refuse(connection, number, &error),
        }
    }

    /// Takes the reply of maintenance.
    pub fn take_maintenance(&self, connection: &mut Connection, number: u64, answer: Result<Vec<u8>, Error>) {
        connection.barrier = None;
        match answer {
            Ok(fields) => self.answer(connection, number, &fields),
            Err(error) => self.refuse(connection, number, &error),
        }
    }

    /// Takes a reply's fields.
    pub fn answer(&self, connection: &mut Connection, number: u64, fields: &[u8]) {
        self.stats.requests.add(1);
        connection.replies.answer(number, |out, id| write_ok(out, id, fields));
    }

    /// Takes a refusal.
    pub fn refuse(&self, connection: &mut Connection, number: u64, error: &Error) {
        self.stats.requests.add(1);
        self.stats.errors.add(1);
        connection.replies.answer(number, |out, id| write_error(out, id, error));
    }

    /// Ends a connection with one last line.
    pub fn end_with(&self, connection: &mut Connection, error: &Error) {
        let mut line = Vec::new();
        write_error(&mut line, None, error);
        self.stats.errors.add(1);
        connection.replies.push(&line);
        connection.life = Life::Closing;
        connection.lines.clear();
        connection.held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::server::access::{Access, Rights};
    use crossbeam_channel::{bounded, unbounded};

    #[test]
    fn behind_maintenance_nothing_begins_until_it_is_answered_and_one_too_many_is_busy() {
        let (writer, to_writer) = unbounded();
        let (readers, _to_readers) = unbounded();
        let (maintenance, to_maintenance) = bounded(1);
        let identity = Identity::new(Limits::default(), Access::default());
        let (published, stats) = (Arc::default(), Arc::default());
        let router = Router {
            published,
            writer: Outbox::new(writer),
            readers,
            maintenance,
            stats,
            identity,
            stopping: Arc::new(AtomicBool::new(false)),
            time_left: Cell::default(),
            with_readers: Cell::default(),
        };
        let (mut one, mut other) = (Connection::new(0, Rights::ALL), Connection::new(0, Rights::ALL));
        one.lines.push(b"{\"cmd\":\"log.verify\"}\n{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":1}\n");
        other.lines.push(b"{\"cmd\":\"log.verify\"}\n{\"cmd\":\"ping\"}\n");
        router.advance(1, &mut one);
        router.advance(2, &mut other);
        let said = String::from_utf8_lossy(other.replies.output()).into_owned();
        assert!(said.contains("\"error\":\"busy\"") && said.ends_with("{\"ok\":true,\"seq\":0}\n"), "{said}");

        router.writer.flush();
        let task = to_maintenance.try_recv().expect("it was asked for");
        assert!(to_writer.is_empty() && one.replies.output().is_empty(), "it has begun behind maintenance");
        router.take_maintenance(&mut one, task.ticket.number, Ok(b",\"seq\":0".to_vec()));
        router.advance(1, &mut one);
        router.writer.flush();
        assert_eq!((one.replies.output(), to_writer.len()), (&b"{\"ok\":true,\"seq\":0}\n"[..], 1));
    }
}
