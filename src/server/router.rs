//! Begins the requests of a connection in the order that the contract asks for.
//!
//! A connection is a program: a read sees all writes sent before it there and none sent after. So
//! consecutive writes go to the writer together; a read begins when all writes before it are
//! answered, and takes its snapshot then; a write behind it may begin as soon as it has. Behind a
//! reserve that waits, and behind maintenance, nothing begins.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};

use super::connection::{Barrier, Connection, Follower, Life};
use super::lines::Next;
use super::local::{self, Identity};
use super::outbox::Outbox;
use super::room::Room;
use super::workers::ToReader;
use crate::domain::command::{Command, Follow, Local, Maintenance, Read, Write, WriteRequest};
use crate::error::{Code, Error};
use crate::limits::{
    ANSWERS_A_TURN_US, LARGE_REPLY_BYTES, LIST_BYTES_LEAST, LISTS_IN_FLIGHT, MAINTENANCE_WAITING, OWN_GETS,
    PARCEL_GETS, READS_AT_MOST, READS_WHEN_LARGE, RESERVED_JOB_BYTES, WRITER_BYTES,
};
use crate::maintenance::Task;
use crate::protocol::reply::{write_error, write_ok};
use crate::protocol::request::{self, Request};
use crate::reader::{self, contained, follow};
use crate::snapshot::{Published, Snapshot};
use crate::stats::Stats;
use crate::storage;
use crate::writer::{Answers, Asked, Ticket};

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

/// Damaged places that the operator is told of, at most.
const DAMAGE_TOLD: usize = 64;

/// What only the router knows.
#[derive(Default)]
pub struct Own {
    /// The short reads of this turn of the event loop.
    gets: RefCell<Vec<(Ticket, Read)>>,
    /// What this turn's reads are answered from, once there is one.
    snapshot: RefCell<Option<Arc<Snapshot>>>,
    /// Room for the replies of lists.
    pub room: Room,
    /// Damaged places that the operator was told of.
    damage: RefCell<BTreeSet<(String, u64)>>,
}

/// Whether a read may take long: its reply may be long, or as for `queue.get` many jobs are looked at for it.
fn is_list(read: &Read) -> bool {
    !matches!(
        read,
        Read::KvGet { .. }
            | Read::MessageGet { .. }
            | Read::AppGet { .. }
            | Read::ChatGet { .. }
            | Read::FormulaGet { .. }
    )
}

/// Whether the reply of a read may be long.
fn brings_much(read: &Read) -> bool {
    is_list(read) && !matches!(read, Read::QueueGet { .. })
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
    pub fn end_turn(&self) {
        self.writer.end_turn(self.own.room.held());
        // It would keep files that are gone.
        self.own.snapshot.take();
    }

    /// The newest snapshot. Every write whose answer a client had before a read of this turn was sent is in it,
    /// because the turn loads it behind taking answers, when its first read begins.
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(self.own.snapshot.borrow_mut().get_or_insert_with(|| self.published.load()))
    }

    /// Sends a parcel of short reads.
    fn send_gets(&self, snapshot: &Arc<Snapshot>, list: Vec<(Ticket, Read)>) {
        if !list.is_empty() {
            // When the readers are gone the daemon is stopping.
            let _ = self.readers.send(ToReader::Gets { snapshot: Arc::clone(snapshot), list });
        }
    }

    /// Has a read answered: a short one in this turn. It has its snapshot now, before a write behind it goes
    /// to the writer.
    fn ask(&self, ticket: Ticket, read: Read, abandoned: &Arc<AtomicBool>) {
        let snapshot = self.snapshot();
        if is_list(&read) {
            let abandoned = Arc::clone(abandoned);
            let _ = self.readers.send(ToReader::Read { ticket, snapshot, read, abandoned });
        } else {
            self.own.gets.borrow_mut().push((ticket, read));
        }
    }

    /// Answers the short reads of this turn into `own`, as far as what they need is in memory: the way to a
    /// reader and back costs more than most answers. Of many, the readers have a share, so that all cores
    /// answer; and so they have what would wait for a disk.
    pub fn answer_gets(&self, own: &mut Answers) {
        let mut list = self.own.gets.take();
        if list.is_empty() {
            return;
        }
        let snapshot = self.snapshot();
        // The loop must not wait for a long text to be added.
        let waits = snapshot.tails.iter().any(|tail| tail.takes_long());
        let share = if waits { 0 } else { list.len().div_ceil(self.answering).max(OWN_GETS) };
        let mut others = list.split_off(share.min(list.len()));
        while !others.is_empty() {
            let rest = others.split_off(others.len().min(PARCEL_GETS));
            self.send_gets(&snapshot, std::mem::replace(&mut others, rest));
        }
        let (started, mut fields, mut late) = (Instant::now(), Vec::new(), Vec::new());
        let (end, mut before) = (started + Duration::from_micros(ANSWERS_A_TURN_US), started);
        for (ticket, read) in list {
            fields.clear();
            let answer = || contained(|| reader::write_answer(&snapshot, &read, &mut fields));
            let Some(answered) = (if before < end { storage::without_waiting(answer) } else { None }) else {
                late.push((ticket, read));
                continue;
            };
            own.write(ticket, |out| answered.map(|()| out.extend_from_slice(&fields)));
            let now = Instant::now();
            self.stats.reads.add(1);
            self.stats.read_time.note(now - before);
            before = now;
        }
        self.send_gets(&snapshot, late);
    }

    /// Begins as many of the connection's requests as may begin now.
    pub fn advance(&self, token: usize, connection: &mut Connection) {
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
            Ok(Command::Write(write)) => {
                if !self.writer.has_room(token, bytes, self.room_for_writes()) {
                    return Begun::Later(Request { id, command: Ok(Command::Write(write)) });
                }
                self.begin_write(token, connection, id, write, bytes);
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
                let answer = local::answer(&local, &self.snapshot(), &self.stats, &self.identity);
                self.settle(connection, number, answer.as_deref());
                if local == Local::Quit {
                    connection.life = Life::Closing;
                    connection.lines.clear();
                }
            }
            Ok(Command::Read(read)) => {
                if !self.may_read(token, connection, &read) {
                    return Begun::Later(Request { id, command: Ok(Command::Read(read)) });
                }
                connection.reads += 1;
                let ticket = Ticket { connection: token, number: connection.replies.begin(id, bytes) };
                if brings_much(&read) {
                    self.own.room.begins(ticket, self.may_bring(connection));
                }
                self.ask(ticket, read, &connection.abandoned);
            }
            Ok(Command::Follow(follow, from)) => {
                if connection.replies.waiting() > 0 {
                    return Begun::Later(Request { id, command: Ok(Command::Follow(follow, from)) });
                }
                let number = connection.replies.begin(id, 0);
                self.begin_follow(connection, number, (follow, from), bytes);
            }
            Ok(Command::Maintenance(work)) => {
                let number = connection.replies.begin(id, bytes);
                self.begin_maintenance(token, connection, number, work);
            }
        }
        Begun::Yes
    }

    /// What lists may bring, all connections together, beside what is held: half of what may be held.
    pub fn room_for_lists(&self) -> usize {
        self.identity.limits.buffered_bytes / 2
    }

    /// What a connection's next list may bring.
    fn may_bring(&self, connection: &Connection) -> usize {
        connection.list_bytes.min(self.identity.limits.reply_bytes())
    }

    /// What requests may take that are with the writer, all connections together.
    fn room_for_writes(&self) -> usize {
        WRITER_BYTES.min(self.identity.limits.buffered_bytes / 4)
    }

    /// Connections that waited for the writer and may ask it again.
    pub fn writes_again(&self) -> Vec<usize> {
        self.writer.again(self.room_for_writes())
    }

    /// Connections whose lists may begin in the next turn.
    pub fn lists_again(&self) -> Vec<usize> {
        self.own.room.again(self.room_for_lists(), Instant::now())
    }

    /// Whether a read may begin. A list for whose reply there is no room waits for that.
    fn may_read(&self, token: usize, connection: &Connection, read: &Read) -> bool {
        if !is_list(read) {
            // Who was brought much and has not taken it gets no more yet.
            let large = connection.reads_max <= READS_WHEN_LARGE;
            let most = if large { LARGE_REPLY_BYTES } else { connection.short_read_bytes() };
            let takes = connection.replies.output().len() < most;
            return takes && connection.reads < connection.reads_max;
        }
        let bytes = self.may_bring(connection);
        let has_room = || self.own.room.may_begin(token, bytes, self.room_for_lists(), Instant::now());
        connection.reads < LISTS_IN_FLIGHT && (!brings_much(read) || has_room())
    }

    fn begin_write(
        &self,
        token: usize,
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
        let (ticket, uid) = (Ticket { connection: token, number }, connection.uid);
        self.writer.ask(Asked { ticket, uid, request, bytes });
    }

    fn begin_follow(
        &self,
        connection: &mut Connection,
        number: u64,
        (follow, from): (Follow, Option<u64>),
        bytes: usize,
    ) {
        if self.stopping.load(Ordering::Relaxed) {
            self.refuse(connection, number, &Error::new(Code::ShuttingDown, "the daemon is stopping"));
            connection.life = Life::Closing;
            return;
        }
        let snapshot = self.snapshot();
        if let Err(error) = follow::check(&snapshot, &follow) {
            self.refuse(connection, number, &error);
            return;
        }
        self.answer(connection, number, b",\"following\":true");
        let next = from.unwrap_or(snapshot.last + 1).max(1);
        connection.follower = Some(Follower { follow: Arc::new(follow), bytes, next, asked: false });
        self.stats.followers.add(1);
        // The writer publishes, and then looks for followers.
        fence(Ordering::SeqCst);
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
            self.writer.waits_no_more();
        }
        if connection.replies.expects(number) {
            connection.reserve_bytes = answer.map_or(0, <[u8]>::len);
        }
        self.settle(connection, number, answer);
    }

    /// Takes the size of a list's reply, before the reply.
    pub fn note_list(&self, connection: &mut Connection, answer: &Result<Vec<u8>, Error>) {
        let bytes = answer.as_ref().map_or(0, Vec::len);
        connection.list_bytes = (2 * bytes).max(LIST_BYTES_LEAST);
    }

    /// Takes the reply of a read.
    pub fn take_read(&self, connection: &mut Connection, number: u64, answer: Result<&[u8], &Error>) {
        connection.reads = connection.reads.saturating_sub(1);
        if let Ok(fields) = answer {
            connection.reads_max = match fields.len() {
                LARGE_REPLY_BYTES.. => READS_WHEN_LARGE,
                bytes => {
                    let most = connection.short_read_bytes() / bytes.max(1);
                    // One large one among many small ones says little.
                    let most = most.clamp(1, READS_AT_MOST).max(connection.reads_max / 2);
                    most.min(connection.reads_max + 1)
                }
            };
        }
        self.settle(connection, number, answer);
    }

    /// Takes the reply of maintenance.
    pub fn take_maintenance(&self, connection: &mut Connection, number: u64, answer: Result<Vec<u8>, Error>) {
        connection.barrier = None;
        self.settle(connection, number, answer.as_deref());
    }

    fn settle(&self, connection: &mut Connection, number: u64, answer: Result<&[u8], &Error>) {
        match answer {
            Ok(fields) => self.answer(connection, number, fields),
            Err(error) => self.refuse(connection, number, error),
        }
    }

    /// Takes a reply's fields.
    fn answer(&self, connection: &mut Connection, number: u64, fields: &[u8]) {
        self.stats.requests.add(1);
        connection.replies.answer(number, fields.len(), |out, id| write_ok(out, id, fields));
    }

    /// Takes a refusal.
    fn refuse(&self, connection: &mut Connection, number: u64, error: &Error) {
        self.stats.requests.add(1);
        self.stats.errors.add(1);
        self.tell_of_damage(error);
        connection.replies.answer(number, 0, |out, id| write_error(out, id, error));
    }

    /// Tells the operator of damage that an answer met, once for each place.
    fn tell_of_damage(&self, error: &Error) {
        let Some((file, offset)) = error.file().zip(error.offset()) else { return };
        let mut told = self.own.damage.borrow_mut();
        if error.code() == Code::Corrupt && told.len() < DAMAGE_TOLD && told.insert((file.into(), offset)) {
            crate::report::error(&format!(
                "damage was found while answering: {file} at byte {offset}: {}; {}",
                error.message(),
                self.identity.cure(file)
            ));
        }
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
    use crate::limits::{LOCAL_ANSWERS_A_TURN, Limits, READ_AHEAD_BYTES};
    use crate::server::access::{Access, Rights};
    use crate::writer::ToWriter;
    use crossbeam_channel::{Receiver, bounded, unbounded};

    type Made = (Router, Receiver<ToWriter>, Receiver<ToReader>, Receiver<Task>);

    fn router(answering: usize) -> Made {
        let (writer, to_writer) = unbounded();
        let (readers, to_readers) = unbounded();
        let (maintenance, to_maintenance) = bounded(1);
        let identity = Identity::new(Limits::default(), Access::default(), "/data".into());
        let (published, stats) = (Arc::default(), Arc::default());
        let router = Router {
            published,
            writer: Outbox::new(writer, Arc::default(), Arc::default()),
            readers,
            maintenance,
            stats,
            identity,
            stopping: Arc::new(AtomicBool::new(false)),
            answering,
            own: Own::default(),
        };
        (router, to_writer, to_readers, to_maintenance)
    }

    #[test]
    fn a_short_read_does_not_see_what_is_published_after_a_write_behind_it_was_sent() {
        let (router, to_writer, to_readers, _) = router(2);
        let mut connection = Connection::new(0, Rights::ALL, &Limits::default());
        connection.reads_max = OWN_GETS + 1;
        let get = "{\"cmd\":\"kv.get\",\"key\":\"k\"}\n";
        let set = "{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":1}\n";
        connection.lines.push((get.repeat(OWN_GETS + 1) + set).as_bytes());
        router.advance(1, &mut connection);
        router.writer.flush();
        assert_eq!(to_writer.len(), 1, "the write behind the reads is sent");
        // The writer is quick.
        router.published.publish(Arc::new(Snapshot { last: 1, ..Snapshot::default() }));
        router.answer_gets(&mut Answers::default());
        // Some of the reads are the loop's and one is a reader's: from the same snapshot.
        let asked = to_readers.try_iter().next();
        let Some(ToReader::Gets { snapshot, .. }) = asked else { panic!("a reader has its share") };
        assert_eq!(snapshot.last, 0);
    }

    #[test]
    fn a_connection_gets_few_long_answers_of_the_loop_in_a_turn_and_reads_no_further_ahead() {
        let (router, ..) = router(1);
        let mut connection = Connection::new(0, Rights::ALL, &Limits::default());
        connection.lines.push("{\"cmd\":\"stats\"}\n".repeat(READ_AHEAD_BYTES / 8).as_bytes());
        // What was sent may make room in the same turn.
        router.advance(1, &mut connection);
        router.advance(1, &mut connection);
        let lines = memchr::memchr_iter(b'\n', connection.replies.output()).count();
        assert_eq!((lines, connection.wants_bytes()), (LOCAL_ANSWERS_A_TURN, false));
        connection.local_answers = 0;
        router.advance(1, &mut connection);
        let lines = memchr::memchr_iter(b'\n', connection.replies.output()).count();
        assert_eq!(lines, 2 * LOCAL_ANSWERS_A_TURN);
    }

    #[test]
    fn behind_maintenance_nothing_begins_until_it_is_answered_and_one_too_many_is_busy() {
        let (router, to_writer, _to_readers, to_maintenance) = router(1);
        let (mut one, mut other) = (
            Connection::new(0, Rights::ALL, &Limits::default()),
            Connection::new(0, Rights::ALL, &Limits::default()),
        );
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
