//! Begins the requests of a connection in the order that the contract asks for.
//!
//! A connection is a program: a read sees all writes sent before it there and none sent after. So
//! consecutive writes go to the writer together; a read begins when all writes before it are
//! answered, and takes its snapshot then; a write behind it may begin as soon as it has. Behind a
//! reserve that waits, and behind maintenance, nothing begins.
//!
//! `reads` says which reads may begin and who answers them, `answers` takes replies on their way back.

mod answers;
mod reads;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::{Sender, TrySendError};

use crate::domain::command::{Command, Follow, Local, Maintenance, Read, Write, WriteRequest};
use crate::error::{Code, Error};
use crate::limits::{MAINTENANCE_WAITING, RESERVED_JOB_BYTES, WRITER_BYTES};
use crate::maintenance::Task;
use crate::protocol::request::{self, Request};
use crate::server::connection::{Barrier, Connection, Follower, Life};
use crate::server::lines::Next;
use crate::server::local::{self, Identity};
use crate::server::outbox::Outbox;
use crate::server::readers::ToReader;
use crate::server::room::Room;
use crate::snapshot::{Published, Snapshot};
use crate::stats::Stats;
use crate::writer::{Asked, Ticket};
use reads::brings_much;

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
    /// How many threads can answer at the same time, the event loop being one of them.
    pub answering: usize,
    /// What it keeps for itself.
    pub own: Own,
}

/// What only the router knows.
#[derive(Default)]
pub struct Own {
    /// The short reads of this turn of the event loop.
    gets: Vec<(Ticket, Read)>,
    /// What this turn's reads are answered from, once there is one.
    snapshot: Option<Arc<Snapshot>>,
    /// Room for the replies of lists.
    pub room: Room,
    /// Damaged places that the operator was told of.
    damage: BTreeSet<(String, u64)>,
}

/// How many jobs a write may reserve.
fn may_reserve(write: &Write) -> usize {
    match write {
        Write::QueueReserve(reserve) => usize::try_from(reserve.max).unwrap_or(0),
        Write::Batch { commands } => commands.iter().map(may_reserve).sum(),
        _ => 0,
    }
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
    /// A turn of the event loop ends.
    pub fn end_turn(&mut self) {
        self.writer.end_turn(self.own.room.held());
        // It would keep files that are gone.
        self.own.snapshot = None;
    }

    /// Begins as many of the connection's requests as may begin now.
    pub fn advance(&mut self, connection: &mut Connection) {
        while connection.life == Life::Open && connection.barrier.is_none() {
            if connection.is_full() {
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
            if let Begun::Later(request) = self.begin(connection, request, bytes) {
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

    fn begin(&mut self, connection: &mut Connection, request: Request, bytes: usize) -> Begun {
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
            Ok(Command::Write(write)) => {
                if !self.writer.admit(connection.id, &write, bytes, self.room_for_writes()) {
                    return Begun::Later(Request { id, command: Ok(Command::Write(write)) });
                }
                self.begin_write(connection, id, write, bytes);
            }
            Ok(command) if connection.writes > 0 => {
                return Begun::Later(Request { id, command: Ok(command) });
            }
            Ok(Command::Local(local)) => {
                connection.local_answers += usize::from(local.is_long());
                if connection.awaits_turn() {
                    return Begun::Later(Request { id, command: Ok(Command::Local(local)) });
                }
                let number = connection.replies.begin(id, 0);
                let snapshot = self.snapshot();
                let answer = local::answer(&local, &snapshot, &self.stats, &self.identity);
                self.settle(connection, number, answer.as_deref());
                if local == Local::Quit {
                    connection.life = Life::Closing;
                    connection.lines.clear();
                }
            }
            Ok(Command::Read(read)) => {
                if !self.admit_read(connection, &read) {
                    return Begun::Later(Request { id, command: Ok(Command::Read(read)) });
                }
                connection.reads += 1;
                let ticket =
                    Ticket { connection: connection.id, number: connection.replies.begin(id, bytes) };
                if brings_much(&read) {
                    self.own.room.begins(ticket, self.may_bring(connection));
                }
                self.ask(ticket, read, &connection.abandoned);
            }
            Ok(Command::Follow(follow, from)) => {
                if connection.replies.waiting() > 0 {
                    return Begun::Later(Request { id, command: Ok(Command::Follow(follow, from)) });
                }
                let ticket =
                    Ticket { connection: connection.id, number: connection.replies.begin(id, bytes) };
                self.begin_follow(connection, ticket, (follow, from), bytes);
            }
            Ok(Command::Maintenance(work)) => {
                let number = connection.replies.begin(id, bytes);
                self.begin_maintenance(connection, number, work);
            }
        }
        Begun::Yes
    }

    /// What requests may take that are with the writer, all connections together.
    fn room_for_writes(&self) -> usize {
        WRITER_BYTES.min(self.identity.limits.buffered_bytes / 4)
    }

    /// Grants writes that waited for room. Answers which connections may ask theirs in the next turn.
    pub fn grant_writes(&mut self) -> Vec<usize> {
        self.writer.grant_waiting(self.room_for_writes())
    }

    fn begin_write(
        &mut self,
        connection: &mut Connection,
        id: Option<String>,
        request: WriteRequest,
        bytes: usize,
    ) {
        let number = connection.replies.begin(id, bytes);
        let jobs = may_reserve(&request.write);
        if jobs > 0 {
            let most = connection.reserve_bytes.min(self.identity.limits.reply_bytes());
            connection.replies.await_bytes(most.max(jobs * RESERVED_JOB_BYTES));
        }
        if let Write::QueueReserve(reserve) = &request.write {
            if connection.gone {
                // Nobody would hold the lease.
                self.answer(connection, number, b",\"jobs\":[]");
                return;
            }
            if reserve.wait_ms > 0 {
                connection.barrier = Some(Barrier::Reserve(number));
                self.writer.waits();
            }
        }
        connection.writes += 1;
        let (ticket, uid) = (Ticket { connection: connection.id, number }, connection.uid);
        self.writer.ask(Asked { ticket, uid, request, bytes });
    }

    /// Has a reader look whether there is what a follower asks for: that may wait for a disk.
    fn begin_follow(
        &mut self,
        connection: &mut Connection,
        ticket: Ticket,
        (follow, from): (Follow, Option<u64>),
        bytes: usize,
    ) {
        let snapshot = self.snapshot();
        let next = from.unwrap_or(snapshot.last + 1).max(1);
        let follower = Follower { follow: Arc::new(follow), bytes, next, asked: false };
        connection.barrier = Some(Barrier::Follow);
        let _ = self.readers.send(ToReader::Follow { ticket, snapshot, follower });
    }

    fn begin_maintenance(&mut self, connection: &mut Connection, number: u64, work: Maintenance) {
        let ticket = Ticket { connection: connection.id, number };
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
            Err(TrySendError::Disconnected(_)) => Error::stopping(),
        };
        self.refuse(connection, number, &refusal);
    }

    /// Asks for a follower's next piece when it has sent the one before.
    pub fn feed(&self, connection: &mut Connection) {
        let idle =
            connection.replies.output().is_empty() && connection.life == Life::Open && !connection.gone;
        let Some(follower) = connection.follower.as_mut().filter(|follower| idle && !follower.asked) else {
            return;
        };
        let snapshot = self.published.load();
        if follower.next <= snapshot.synced {
            follower.asked = true;
            let (follow, from) = (Arc::clone(&follower.follow), follower.next);
            let _ = self.readers.send(ToReader::Piece { connection: connection.id, snapshot, follow, from });
        }
    }
}
