//! What happens while a turn is on its way to the disk. The writer is the real one, on a real folder;
//! the disk confirms or fails when the test says so.

mod common;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{PATIENCE, TempDir, Value, json, until};
use crossbeam_channel::{Receiver, Sender, unbounded};
use msglogd::domain::command::Command;
use msglogd::error::Code;
use msglogd::snapshot::Published;
use msglogd::stats::Stats;
use msglogd::storage::{Disk, File, Open, Storage};
use msglogd::store::{self, Folders, Progress};
use msglogd::writer::syncer::{self, Syncer, Work};
use msglogd::writer::{Answers, Asked, Surroundings, Ticket, ToWriter, Writer};

/// More requests than the writer syncs by itself.
const MANY: u64 = 100;

struct Silence;

impl Progress for Silence {
    fn say(&mut self, line: &str) {
        panic!("a new store has nothing to say: {line}");
    }
}

/// A disk whose syncs of segments, or whose writes of what is no zeros, fail when the test says so. Those syncs wait as
/// long as the test has the lock.
#[derive(Clone, Default)]
struct Flaky {
    syncs_wait: Arc<Mutex<()>>,
    syncs_fail: Arc<AtomicBool>,
    writes_fail: Arc<AtomicBool>,
}

/// The file, and whether it is a segment that was begun.
struct FlakyFile(Arc<dyn File>, Flaky, bool);

fn fails(when: &AtomicBool) -> io::Result<()> {
    if when.load(Ordering::SeqCst) { Err(io::Error::other("the disk is gone")) } else { Ok(()) }
}

impl File for FlakyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Zeros are room made ahead, or put over what was written in part.
        let zeros = bytes.iter().all(|byte| *byte == 0);
        if zeros { Ok(()) } else { fails(&self.1.writes_fail) }.and_then(|()| self.0.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        if self.2 {
            let _held = self.1.syncs_wait.lock();
            fails(&self.1.syncs_fail)?;
        }
        self.0.sync()
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_length(length)
    }
}

impl Storage for Flaky {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let begun = path.extension().is_some_and(|end| end == "log");
        Disk.open(path, how).map(|file| Arc::new(FlakyFile(file, self.clone(), begun)) as _)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        Disk.list(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        Disk.create_folder(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        Disk.sync_folder(folder)
    }
}

struct Machine {
    storage: Flaky,
    to_writer: Sender<ToWriter>,
    inbox: Receiver<ToWriter>,
    answers: Receiver<Answers>,
    published: Arc<Published>,
    disk: Work,
    writer: JoinHandle<Result<(), String>>,
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self::with(1 << 20, u64::MAX, Some)
    }

    /// With segments and tails of so many bytes. `syncer`: what the writer has of it.
    fn with(segment_bytes: u64, flush_bytes: u64, syncer_of: fn(Syncer) -> Option<Syncer>) -> Self {
        Self::on(TempDir::new(), segment_bytes, flush_bytes, syncer_of)
    }

    /// The same in that folder.
    fn on(
        folder: TempDir,
        segment_bytes: u64,
        flush_bytes: u64,
        syncer_of: fn(Syncer) -> Option<Syncer>,
    ) -> Self {
        let storage = Flaky::default();
        let (published, (to_writer, inbox)) = (Arc::new(Published::default()), unbounded());
        let ((answered, answers), (syncer, disk)) = (unbounded(), syncer::pair());
        let surroundings = Surroundings {
            published: Arc::clone(&published),
            stats: Arc::<Stats>::default(),
            deliver: Box::new(move |answers| answered.send(answers).unwrap_or_default()),
            announce: Box::new(|| {}),
            background: Box::new(|_| {}),
            sealed: Box::new(|| {}),
            uid: 0,
            flush_bytes,
            unread: Arc::default(),
            held_up: Arc::default(),
            syncer: syncer_of(syncer),
        };
        let disk_of: Arc<dyn Storage> = Arc::new(storage.clone());
        let opened = store::open(&disk_of, &Folders::new(folder.path()), segment_bytes, &mut Silence);
        let store = opened.unwrap_or_else(|failure| panic!("{failure}"));
        let writer = Writer::new(store, surroundings).expect("an empty store");
        let requests = inbox.clone();
        let writer = thread::spawn(move || writer.run(&requests));
        Machine { storage, to_writer, inbox, answers, published, disk, writer, folder }
    }

    /// Sends a parcel that sets `count` keys, and waits until the writer has taken it.
    fn set(&self, count: u64, prefix: &str) {
        let set =
            |number| json!({"cmd": "kv.set", "key": format!("{prefix}{number}"), "value": 1, "if_seq": 0});
        self.ask((0..count).map(set).collect());
    }

    /// Sends a parcel of these, numbered from 0, and waits until the writer has taken it.
    fn ask(&self, requests: Vec<Value>) {
        self.send(requests);
        until("the writer has taken the parcel", || self.inbox.is_empty().then_some(()));
    }

    /// Sends a parcel of these, numbered from 0.
    fn send(&self, requests: Vec<Value>) {
        let ask = |(number, request): (u64, Value)| {
            let line = request.to_string();
            let parsed = msglogd::protocol::request::parse(line.as_bytes());
            let Ok(Command::Write(request)) = parsed.command else { panic!("{line}") };
            Asked { ticket: Ticket { connection: 1, number }, uid: 0, request, bytes: line.len() }
        };
        let parcel = (0..).zip(requests).map(ask).collect();
        self.to_writer.send(ToWriter::Requests(parcel)).expect("a writer");
    }

    /// Puts so many jobs and leases them all for [`LEASE`].
    fn leases(&self, count: u64) -> Vec<Value> {
        self.ask((0..count).map(|_| json!({"cmd": "queue.put", "queue": "q", "body": 1})).collect());
        if count > MANY {
            self.confirm();
        }
        assert!(codes(&self.answers()).iter().all(Option::is_none));
        let mut jobs = Vec::new();
        while (jobs.len() as u64) < count {
            self.ask(vec![reserve(json!({"max": 1000}))]);
            jobs.extend(common::list(&replies(&self.answers())[0], "jobs"));
        }
        jobs
    }

    fn answers(&self) -> Answers {
        self.answers.recv_timeout(PATIENCE).expect("answers")
    }

    /// How so many requests are answered, in one turn or in several.
    fn codes_of(&self, requests: usize) -> Vec<Option<Code>> {
        let mut found = Vec::new();
        while found.len() < requests {
            found.extend(codes(&self.answers()));
        }
        found
    }

    /// Lets the disk confirm what is on its way.
    fn confirm(&self) {
        let file = self.disk.next().expect("a sync is asked for");
        self.disk.tell((file.sync(), Duration::ZERO));
    }

    /// Confirms what is on its way, and lets every later sync fail.
    fn confirm_the_last(&self) {
        self.disk.next().expect("a sync is asked for");
        self.storage.syncs_fail.store(true, Ordering::SeqCst);
        self.disk.tell((Ok(()), Duration::ZERO));
    }

    /// Lets the disk fail.
    fn fail(&self) {
        self.disk.next().expect("a sync is asked for");
        self.disk.tell((Err(io::Error::other("the disk is gone")), Duration::ZERO));
    }

    /// Ends the writer; answers how many events a start finds.
    fn end(self) -> u64 {
        self.to_writer.send(ToWriter::Finish).expect("a writer");
        drop(self.writer.join().expect("no panic"));
        let opened =
            store::open(&(Arc::new(Disk) as _), &Folders::new(self.folder.path()), 1 << 20, &mut Silence);
        opened.unwrap_or_else(|failure| panic!("{failure}")).snapshot.last
    }
}

/// Sets a key without waiting for the disk.
fn set_lazily() -> Value {
    json!({"cmd": "kv.set", "key": "lazy", "value": 1, "durable": false})
}

/// How the writer ends when no sync succeeds any more, after these requests one by one.
fn end_on_a_failing_disk(requests: &[(Value, bool)]) -> Result<(), String> {
    let machine = Machine::new();
    machine.storage.syncs_fail.store(true, Ordering::SeqCst);
    for (request, acknowledged) in requests {
        machine.ask(vec![request.clone()]);
        assert_eq!(codes(&machine.answers())[0].is_none(), *acknowledged, "{request}");
    }
    machine.to_writer.send(ToWriter::Finish).expect("a writer");
    machine.writer.join().expect("no panic")
}

#[test]
fn an_end_tells_whether_something_acknowledged_may_not_be_on_the_disk() {
    let durable = json!({"cmd": "kv.set", "key": "k", "value": 1});
    let said = end_on_a_failing_disk(&[(set_lazily(), true)]).expect_err("the last sync fails");
    assert!(said.contains(".log"), "{said}");
    let both = [(set_lazily(), true), (durable.clone(), false)];
    let said = end_on_a_failing_disk(&both).expect_err("it became read-only over what was acknowledged");
    assert!(said.contains("events 1 to 1"), "{said}");
    assert_eq!(end_on_a_failing_disk(&[(durable, false)]), Ok(()), "nothing was acknowledged");
}

/// Long enough for a test to send an ack in time, on a host that has other things to do.
const LEASE: Duration = Duration::from_millis(1500);

/// Waits until leases that began by now are over.
fn let_leases_end() {
    let end = Instant::now() + LEASE;
    until("the leases are over", || (Instant::now() > end).then_some(()));
}

fn reserve(more: Value) -> Value {
    let lease = u64::try_from(LEASE.as_millis()).expect("small");
    let mut reserve = json!({"cmd": "queue.reserve", "queue": "q", "lease_ms": lease});
    reserve.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    reserve
}

fn ack(job: &Value) -> Value {
    json!({"cmd": "queue.ack", "job": job["job"], "lease": job["lease"]})
}

/// What succeeded is answered.
fn replies(answers: &Answers) -> Vec<Value> {
    let fields = |(_, answer): &(Ticket, _)| {
        let fields = String::from_utf8_lossy(answers.fields(answer).expect("a success")).into_owned();
        serde_json::from_str(&format!("{{\"ok\":true{fields}}}")).expect("JSON")
    };
    answers.list.iter().map(fields).collect()
}

fn codes(answers: &Answers) -> Vec<Option<Code>> {
    answers.list.iter().map(|(_, answer)| answer.as_ref().err().map(|error| error.code())).collect()
}

#[test]
fn what_was_decided_over_a_turn_on_its_way_is_told_after_it_and_sees_it() {
    let machine = Machine::new();
    machine.set(MANY, "k");
    // The same keys again: they are there, though nobody may know yet.
    machine.set(MANY + 1, "k");
    assert_eq!(machine.published.load().last, 0, "nothing is visible before the disk has it");
    assert!(machine.answers.is_empty(), "nothing is told before the disk has it");

    machine.confirm();
    assert!(codes(&machine.answers()).iter().all(Option::is_none));
    until("it is visible", || (machine.published.load().last == MANY).then_some(()));

    machine.confirm();
    let second = codes(&machine.answers());
    let (last, others) = second.split_last().expect("answers");
    assert!(others.iter().all(|code| *code == Some(Code::Conflict)), "{second:?}");
    assert_eq!(*last, None);
    assert_eq!(machine.end(), MANY + 1);
}

#[test]
fn when_the_disk_fails_the_turn_is_unknown_and_what_was_decided_over_it_never_happened() {
    let machine = Machine::new();
    machine.set(MANY, "k");
    machine.set(MANY, "k");
    machine.set(2, "other");
    machine.fail();
    let unknown = codes(&machine.answers());
    assert_eq!(unknown, vec![Some(Code::OutcomeUnknown); usize::try_from(MANY).expect("small")]);
    let void = codes(&machine.answers());
    // Also the refusals: they were decided from what may not be there.
    assert!(void.iter().all(|code| *code == Some(Code::ReadOnly)), "{void:?}");
    assert_eq!(machine.published.load().last, 0, "nothing of it is visible");

    machine.set(1, "later");
    assert_eq!(codes(&machine.answers()), [Some(Code::ReadOnly)]);
    assert_eq!(machine.end(), MANY, "what was in the file is there after a restart, and no more");
}

#[test]
fn when_a_segment_cannot_be_sealed_what_was_decided_meanwhile_never_happened() {
    let machine = Machine::with(4096, u64::MAX, Some);
    machine.set(MANY, "k");
    // Decided over the first, which fills its segment.
    machine.set(MANY, "other");
    machine.confirm_the_last();
    assert!(codes(&machine.answers()).iter().all(Option::is_none), "the first is on disk");
    let void = codes(&machine.answers());
    assert_eq!(void, vec![Some(Code::ReadOnly); usize::try_from(MANY).expect("small")]);
    assert_eq!(machine.published.load().last, MANY);
    assert_eq!(machine.end(), MANY);
}

#[test]
fn a_reserve_that_began_to_wait_over_what_the_disk_refused_is_refused_with_it() {
    let machine = Machine::new();
    machine.ask(vec![json!({"cmd": "queue.put", "queue": "q", "body": 1})]);
    assert_eq!(codes(&machine.answers()), [None]);
    machine.storage.writes_fail.store(true, Ordering::SeqCst);
    let reserve = |wait_ms: u64| json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": wait_ms});
    machine.ask(vec![reserve(0), reserve(600_000)]);
    assert_eq!(codes(&machine.answers()), [Some(Code::ReadOnly); 2], "the job is ready again");
    machine.storage.writes_fail.store(false, Ordering::SeqCst);
    machine.ask(vec![reserve(600_000)]);
    assert_eq!(codes(&machine.answers()), [None]);
}

#[test]
fn an_end_waits_for_what_is_on_its_way() {
    let machine = Machine::new();
    machine.set(MANY, "k");
    machine.to_writer.send(ToWriter::Finish).expect("a writer");
    assert!(machine.answers.is_empty());
    machine.confirm();
    assert_eq!(machine.answers().list.len() as u64, MANY);
    assert_eq!(machine.end(), MANY);
}

#[test]
fn a_full_tail_is_synced_at_once_though_nothing_in_it_waits_for_the_disk() {
    let lazily = |machine: &Machine, key: &str| {
        let set = json!({"cmd": "kv.set", "key": key, "value": 1, "durable": false});
        machine.ask(vec![set]);
        assert_eq!(codes(&machine.answers()), [None]);
        machine.published.load()
    };
    // Every event fills it.
    let machine = Machine::with(1 << 20, 1, |_| None);
    lazily(&machine, "first");
    let seen = lazily(&machine, "second");
    assert_eq!(seen.last, 2);
    assert!(seen.synced >= 1, "the first is on disk before the second is told");
    assert!(seen.tails.len() > 1, "it is on its way to a file");
}

#[test]
fn an_ack_that_was_sent_in_time_counts_however_long_a_sync_keeps_the_writer_from_hearing_it() {
    let machine = Machine::new();
    let job = machine.leases(1).remove(0);
    let held = machine.storage.syncs_wait.lock().expect("one holder");
    machine.ask(vec![json!({"cmd": "kv.set", "key": "k", "value": 1})]);
    machine.send(vec![ack(&job)]);
    let_leases_end();
    drop(held);
    assert_eq!(machine.codes_of(2), [None, None]);
}

#[test]
fn of_many_leases_that_ran_out_together_each_is_lost_whenever_the_writer_gets_to_it() {
    const JOBS: usize = 3000;
    let machine = Machine::new();
    let jobs = machine.leases(JOBS as u64);
    let held = machine.storage.syncs_wait.lock().expect("one holder");
    machine.ask(vec![json!({"cmd": "kv.set", "key": "k", "value": 1})]);
    let_leases_end();
    let parcel = |numbers: [usize; 3]| numbers.map(|number| ack(&jobs[number])).to_vec();
    // Nobody else has these jobs, and nobody knows when this was sent; behind it the leases are over.
    machine.send(parcel([0, JOBS / 2, JOBS - 1]));
    machine.send(Vec::new());
    drop(held);
    assert_eq!(codes(&machine.answers()), [None]);
    assert_eq!(codes(&machine.answers()), [None; 3]);
    machine.send(parcel([1, JOBS / 2 + 1, JOBS - 2]));
    assert_eq!(codes(&machine.answers()), [Some(Code::LeaseLost); 3]);
}

#[test]
fn leases_and_waits_that_begin_while_another_turn_is_on_its_way_are_as_long_as_they_should_be() {
    let machine = Machine::new();
    machine.ask(vec![json!({"cmd": "queue.put", "queue": "q", "body": 1})]);
    assert_eq!(codes(&machine.answers()), [None]);
    machine.set(MANY, "k");
    // It opens the turn that the reserves are decided in.
    machine.ask(vec![json!({"cmd": "kv.set", "key": "open", "value": 1})]);
    let_leases_end();
    let wait = u64::try_from(LEASE.as_millis()).expect("small");
    machine.ask(vec![reserve(json!({})), json!({"cmd": "queue.reserve", "queue": "none", "wait_ms": wait})]);
    machine.confirm();
    assert_eq!(machine.answers().list.len() as u64, MANY);
    let_leases_end();
    machine.confirm();
    let told = replies(&machine.answers());
    assert_eq!(told.len(), 2, "the second reserve waits: {told:?}");
    machine.ask(vec![ack(&told[1]["jobs"][0])]);
    assert_eq!(machine.codes_of(2), [None, None], "the lease began when it was told; and the wait is over");
}

#[test]
fn what_was_answered_before_anything_was_to_be_written_holds_where_the_disk_refuses_that() {
    let machine = Machine::new();
    let bound = json!({"cmd": "kv.set", "key": "k", "value": 1, "idempotency_key": "once"});
    machine.ask(vec![set_lazily(), bound.clone()]);
    assert_eq!(codes(&machine.answers()), [None, None]);
    machine.storage.writes_fail.store(true, Ordering::SeqCst);
    let deleted = json!({"cmd": "kv.delete", "key": "nothing"});
    let tried = json!({"cmd": "kv.set", "key": "y", "value": 1, "dry_run": true});
    let waiting = json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 600_000});
    let written = json!({"cmd": "kv.set", "key": "x", "value": 1});
    machine.ask(vec![bound.clone(), deleted, tried, waiting, written, bound]);
    let read_only = Some(Code::ReadOnly);
    assert_eq!(codes(&machine.answers()), [None, Some(Code::NotFound), None, read_only, read_only]);
    machine.storage.writes_fail.store(false, Ordering::SeqCst);
    machine.ask(vec![json!({"cmd": "queue.put", "queue": "q", "body": 1})]);
    assert_eq!(codes(&machine.answers()), [None, None], "who waits goes on to");
}

#[test]
fn leases_that_ran_out_while_no_daemon_was_there_are_over_before_anyone_is_heard() {
    const JOBS: u64 = 3000;
    let first = Machine::new();
    first.leases(JOBS);
    first.to_writer.send(ToWriter::Finish).expect("a writer");
    first.writer.join().expect("no panic").expect("a good disk");
    let_leases_end();
    let machine = Machine::on(first.folder, 1 << 20, u64::MAX, Some);
    let (moves, moved) = unbounded();
    machine
        .to_writer
        .send(ToWriter::Pulse(Box::new(move || moves.send(()).unwrap_or_default())))
        .expect("a writer");
    moved.recv_timeout(PATIENCE).expect("it moves");
    assert_eq!(machine.published.load().counts.jobs, [JOBS, 0, 0, 0]);
}
