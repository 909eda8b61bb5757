//! A machine: the real store, writer and background over the twin of the disk, and a client.
//!
//! All works in turns on one thread, so that a run comes again with its seed: the writer delivers
//! the replies of a batch, the client sends the next few requests, and the writer takes them as the
//! next batch.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_channel::{Sender, unbounded};
use msglogd::background::Background;
use msglogd::domain::command::Command;
use msglogd::index::files::RunFiles;
use msglogd::index::run::Run;
use msglogd::log::recovery::Failure;
use msglogd::snapshot::{Published, Snapshot};
use msglogd::stats::Stats;
use msglogd::store::{self, Folders, Store};
use msglogd::writer::{Answers, Asked, Surroundings, Ticket, ToBackground, ToWriter, Writer};
use serde_json::{Value, json};

use super::client::Client;
use super::compaction::Compaction;
use super::faulty_storage::FaultyStorage;
use super::image::Image;
use super::promises;

/// Segments are small, so that there are many.
pub const SEGMENT_BYTES: u64 = 6000;
/// The number of the connection that asks something only to get every turn answered.
const IDLE: usize = 1;

/// The places of the data.
pub fn folders() -> Folders {
    Folders::new(Path::new("/data"))
}

/// A disk with an empty data folder.
pub fn empty_disk() -> Image {
    Image::with_folder(&folders().data)
}

/// The payload of the panic that takes the power away.
pub struct PowerLoss;

/// Takes the power away.
pub fn lose_power() -> ! {
    resume_unwind(Box::new(PowerLoss))
}

/// How a life ended.
#[derive(Debug)]
pub enum End {
    /// By a clean stop.
    Stopped,
    /// The start was refused.
    NotStarted(String),
    /// By a power loss.
    PowerLost,
}

/// What a life is like.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    /// How many turns there are before the stop.
    pub turns: usize,
    /// Whether the background writes the index to files every so many turns.
    pub index_every: Option<usize>,
    /// Whether the log is compacted every so many turns.
    pub compact_every: Option<usize>,
    /// From which turn to which other the disk takes no more bytes.
    pub full: Option<(usize, usize)>,
}

/// A client that is shared with what watches the storage.
pub type SharedClient = Arc<Mutex<Client>>;

/// The client.
pub fn lock(client: &SharedClient) -> MutexGuard<'_, Client> {
    client.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the store.
pub fn open(storage: &FaultyStorage) -> Result<Store, Failure> {
    store::open(&storage.shared(), &folders(), SEGMENT_BYTES, &mut ())
}

/// Runs `work`; a power loss ends it with `None`.
pub fn until_power_loss<T>(work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Some(done),
        Err(payload) if payload.is::<PowerLoss>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

/// One life of the daemon: a start, where all promises are checked, requests, and an end.
pub fn live(storage: &FaultyStorage, client: &SharedClient, life: Life) -> End {
    let lived = until_power_loss(|| {
        let store = match open(storage) {
            Ok(store) => store,
            Err(failure) => return End::NotStarted(failure.to_string()),
        };
        storage.quietly(|| {
            let mut client = lock(client);
            promises::check(&client, &store.snapshot);
            let records = promises::records(&client, &store.snapshot);
            client.go_on(records);
        });
        serve(storage, store, client, life)
    });
    lived.unwrap_or(End::PowerLost)
}

/// Takes requests until the stop.
pub fn serve(storage: &FaultyStorage, store: Store, client: &SharedClient, life: Life) -> End {
    let (to_writer, inbox) = unbounded();
    let published = Arc::new(Published::default());
    let mut turns = 0..life.turns;
    let mut compaction = Compaction::new(storage, &to_writer);
    let handed = Handed::default();
    let surroundings = Surroundings {
        published: Arc::clone(&published),
        stats: Arc::default(),
        unread: Arc::default(),
        held_up: Arc::default(),
        deliver: {
            let (storage, client, to_writer) = (storage.clone(), Arc::clone(client), to_writer.clone());
            let handed = Arc::clone(&handed);
            Box::new(move |answers| {
                let snapshot = published.load();
                storage.quietly(|| take(&client, answers, &snapshot));
                match turns.next() {
                    Some(turn) => {
                        if let Some((start, end)) = life.full {
                            let full = (start..end).contains(&turn);
                            storage.set_capacity(if full { storage.image().used() } else { usize::MAX });
                        }
                        compaction.step(
                            life.compact_every.is_some_and(|every| turn % every == every - 1),
                            &snapshot,
                        );
                        if !compaction.is_under_way()
                            && life.index_every.is_some_and(|every| turn % every == 0)
                        {
                            index(&storage, &snapshot, &to_writer, &handed);
                        }
                        send_turn(&client, &to_writer);
                    }
                    None => send_stop(&to_writer),
                }
            })
        },
        announce: Box::new(|| {}),
        background: Box::new(move |work| lock_handed(&handed).push(work)),
        sealed: Box::new(|| {}),
        uid: 1000,
        flush_bytes: FLUSH_BYTES,
        syncer: None,
    };
    send_turn(client, &to_writer);
    match Writer::new(store, surroundings) {
        // What is on the disk is looked at by whoever starts on it.
        Ok(writer) => drop(writer.run(&inbox)),
        Err(error) => return End::NotStarted(error.to_string()),
    }
    End::Stopped
}

fn take(client: &SharedClient, answers: Answers, snapshot: &Snapshot) {
    let mut answers = answers;
    answers.list.retain(|(ticket, _)| ticket.connection != IDLE);
    lock(client).take(&answers, snapshot);
}

fn send(to_writer: &Sender<ToWriter>, connection: usize, number: usize, request: &Value) {
    let line = request.to_string();
    let parsed = msglogd::protocol::request::parse(line.as_bytes());
    let Ok(Command::Write(request)) = parsed.command else { panic!("{:?}: {line}", parsed.command) };
    let ticket = Ticket { connection, number: number as u64 };
    to_writer
        .send(ToWriter::Requests(vec![Asked { ticket, uid: 1000, request, bytes: line.len() }]))
        .expect("a writer");
}

fn send_turn(client: &SharedClient, to_writer: &Sender<ToWriter>) {
    let mut client = lock(client);
    let start = client.draw();
    for (number, sent) in client.sent.iter().enumerate().skip(start) {
        send(to_writer, 0, number, &sent.request);
    }
    let idle = json!({"cmd": "kv.set", "key": "idle", "value": 0, "dry_run": true, "durable": false});
    send(to_writer, IDLE, 0, &idle);
}

/// Asks for the end. When the writer is told twice, the second time is one too many and no harm.
fn send_stop(to_writer: &Sender<ToWriter>) {
    let _ = to_writer.send(ToWriter::Stop);
    let _ = to_writer.send(ToWriter::Finish);
}

/// Run files from this size on are synced here.
pub const SYNCED_BYTES: u64 = 6 << 10;

/// A tail is full when it holds this many bytes here: a few turns.
const FLUSH_BYTES: u64 = 4 << 10;

/// What the writer gave the background to do.
type Handed = Arc<Mutex<Vec<ToBackground>>>;

fn lock_handed(handed: &Handed) -> MutexGuard<'_, Vec<ToBackground>> {
    handed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the background write the tails that it was given to files, those that no compaction has taken in
/// and that follow the files which the writer knows of.
fn index(storage: &FaultyStorage, snapshot: &Snapshot, to_writer: &Sender<ToWriter>, handed: &Handed) {
    let mut last = snapshot.runs.last().map_or(0, |run| run.meta().last);
    let mut given = Vec::new();
    lock_handed(handed).retain(|work| {
        let ToBackground::Flush(tail) = work else { return false };
        if tail.first() == last + 1 {
            last = tail.last();
            given.push(ToBackground::Flush(Arc::clone(tail)));
            return false;
        }
        tail.first() > last
    });
    if !given.is_empty() {
        in_background(storage, to_writer, snapshot.runs.as_ref().clone(), given);
    }
}

/// Lets the background do what it is given. `files` are the run files there are.
pub fn in_background(
    storage: &FaultyStorage,
    to_writer: &Sender<ToWriter>,
    files: Vec<Arc<Run>>,
    given: Vec<ToBackground>,
) {
    let background = Background {
        // small enough that files of both kinds come
        files: RunFiles::new(storage.shared(), folders().index).sync_from(SYNCED_BYTES),
        writer: to_writer.clone(),
        stats: Arc::<Stats>::default(),
    };
    let (to_background, work) = unbounded();
    given.into_iter().for_each(|each| to_background.send(each).expect("the other end is here"));
    drop(to_background);
    // On a thread of its own, since it gives itself a low priority.
    if let Err(payload) = thread::spawn(move || background.run(files, &work)).join() {
        resume_unwind(payload);
    }
}
