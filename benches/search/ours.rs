//! The store of msglogd, with its real writer and background, but no socket: what the reader does
//! with a search can be timed by itself.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use msglogd::background::Background;
use msglogd::domain::command::{Command, Read, Search, Write, WriteRequest};
use msglogd::domain::messages::{Destination, Target};
use msglogd::index::files::RunFiles;
use msglogd::index::levels::{WHEN_CALM, due};
use msglogd::limits::{FLUSH_BYTES, SEGMENT_BYTES_DEFAULT};
use msglogd::protocol::request;
use msglogd::reader::search::SearchTask;
use msglogd::snapshot::{Published, Snapshot};
use msglogd::stats::Stats;
use msglogd::storage::{Disk, Storage};
use msglogd::store::{self, Folders, Progress};
use msglogd::writer::{Answers, Asked, Surroundings, Ticket, ToWriter, Writer};

use crate::answer::Answer;
use crate::changes::{Change, Changes};
use crate::corpus::Corpus;
use crate::queries::Ask;

/// Requests that are begun and not yet answered.
const IN_FLIGHT: usize = 8192;
/// The newest messages come in small batches, so that the tail in memory is as it is in life.
const TAIL_MESSAGES: usize = 300;
const TAIL_BATCH: usize = 10;

/// The longest that merges are waited for.
const MERGES: Duration = Duration::from_secs(300);

/// A store that takes writes.
pub struct Ours {
    /// The last event that there was when it was opened.
    pub found: u64,
    published: Arc<Published>,
    writer: Sender<ToWriter>,
    answers: Receiver<usize>,
    thread: Option<JoinHandle<()>>,
    in_flight: usize,
}

struct Silence;

impl Progress for Silence {
    fn say(&mut self, line: &str) {
        eprintln!("{line}");
    }

    fn replayed(&mut self, _: msglogd::store::Replayed) {}
}

impl Ours {
    /// Opens a store on a data folder.
    pub fn open(data: &Path) -> Self {
        std::fs::create_dir_all(data).expect("the folder of the benchmark can be written");
        let folders = Folders::new(data);
        let storage: Arc<dyn Storage> = Arc::new(Disk);
        let store = store::open(&storage, &folders, SEGMENT_BYTES_DEFAULT, &mut Silence)
            .unwrap_or_else(|failure| panic!("the store cannot be opened: {failure}"));
        let found = store.snapshot.last;
        let (published, stats) = (Arc::new(Published::default()), Arc::new(Stats::default()));
        let (writer, inbox) = unbounded();
        let (to_background, background_inbox) = unbounded();
        let (answered, answers) = unbounded();
        let files = RunFiles::new(storage, folders.index);
        let background = Background { files, writer: writer.clone(), stats: Arc::clone(&stats) };
        let on_disk = store.snapshot.runs.as_ref().clone();
        std::thread::spawn(move || background.run(on_disk, &background_inbox));
        let surroundings = Surroundings {
            published: Arc::clone(&published),
            stats,
            unread: Arc::default(),
            held_up: Arc::default(),
            deliver: Box::new(move |answers| answered.send(all_ok(&answers)).unwrap_or_default()),
            announce: Box::new(|| {}),
            background: Box::new(move |work| drop(to_background.send(work))),
            sealed: Box::new(|| {}),
            uid: 0,
            flush_bytes: FLUSH_BYTES,
            syncer: None,
        };
        let thread = std::thread::spawn(move || {
            Writer::new(store, surroundings).expect("a whole index").run(&inbox).expect("a whole disk");
        });
        Ours { found, published, writer, answers, thread: Some(thread), in_flight: 0 }
    }

    /// Posts messages `0..messages` of the corpus to an empty store. Each gets its number plus one
    /// as its seq.
    pub fn load(&mut self, corpus: &Corpus, messages: usize) {
        let tail = messages.saturating_sub(TAIL_MESSAGES);
        for number in 0..messages {
            let message = corpus.message(number);
            let destination = Destination::Recipient(message.recipient);
            let (originator, body) = (Some(message.originator), message.body);
            let bytes = body.len() + 100;
            self.write(Write::MessagePost { destination, originator, body }, bytes);
            if number == tail || (number > tail && number % TAIL_BATCH == 0) {
                self.wait();
            }
        }
        self.wait();
    }

    /// Edits and deletes messages.
    pub fn change(&mut self, corpus: &Corpus, changes: &Changes) {
        for (number, change) in changes.all() {
            let target = Target::Seq(number as u64 + 1);
            let write = match change {
                Change::Deleted => Write::MessageDelete { target },
                Change::Edited { like } => Write::MessageEdit { target, body: corpus.message(*like).body },
            };
            self.write(write, 400);
        }
        self.wait();
    }

    fn write(&mut self, write: Write, bytes: usize) {
        let request = WriteRequest { write, durable: true, dry_run: false, idempotency: None };
        let ticket = Ticket { connection: 0, number: 0 };
        let asked = Asked { ticket, uid: 0, request, bytes };
        self.writer.send(ToWriter::Requests(vec![asked])).expect("the writer runs");
        self.in_flight += 1;
        while self.in_flight >= IN_FLIGHT {
            self.in_flight -= self.answers.recv().expect("the writer runs");
        }
    }

    /// Waits until everything is answered.
    fn wait(&mut self) {
        while self.in_flight > 0 {
            self.in_flight -= self.answers.recv().expect("the writer runs");
        }
    }

    /// Waits until the background has nothing left to merge: the runs stay the same.
    pub fn settle(&self) {
        let begin = Instant::now();
        let mut since = Instant::now();
        let mut before = runs(&self.snapshot());
        let merging = || due(&self.snapshot().runs, WHEN_CALM, |_| true).is_some();
        while since.elapsed() < Duration::from_secs(2) || (merging() && begin.elapsed() < MERGES) {
            std::thread::sleep(Duration::from_millis(100));
            let now = runs(&self.snapshot());
            if now != before {
                (since, before) = (Instant::now(), now);
            }
        }
    }

    /// What there is to search in.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load()
    }

    /// The runs, for people.
    pub fn describe_runs(&self) -> String {
        let snapshot = self.snapshot();
        let sizes = |bytes: Vec<u64>| {
            bytes.iter().map(|bytes| bytes.div_ceil(1024).to_string()).collect::<Vec<_>>().join("+")
        };
        let files = sizes(snapshot.runs.iter().map(|run| run.bytes()).collect());
        let memory = sizes(snapshot.tails.iter().map(|tail| tail.held_bytes()).collect());
        format!("run files of {files} KiB; in memory {memory} KiB")
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        let _ = self.writer.send(ToWriter::Finish);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn runs(snapshot: &Snapshot) -> Vec<(u64, u64)> {
    snapshot.runs.iter().map(|run| (run.meta().first, run.meta().last)).collect()
}

fn all_ok(answers: &Answers) -> usize {
    for (_, answer) in &answers.list {
        if let Err(error) = answer {
            panic!("a write is refused: {error}");
        }
    }
    answers.list.len()
}

/// A request as the reader gets it.
pub fn parsed(ask: &Ask) -> Search {
    match request::parse(ask.line().as_bytes()).command {
        Ok(Command::Read(Read::MessageSearch(search))) => *search,
        other => panic!("{}: {other:?}", ask.line()),
    }
}

/// The fields of the reply.
pub fn answer(snapshot: &Arc<Snapshot>, search: &Search) -> Vec<u8> {
    let mut task = SearchTask::new(Arc::clone(snapshot), Box::new(search.clone()));
    loop {
        if let Some(fields) = task.step().expect("an answer") {
            return fields;
        }
    }
}

/// What a reply says. `fields` begins with a comma.
pub fn read_answer(fields: &[u8]) -> Answer {
    let text = std::str::from_utf8(fields).expect("a reply is UTF-8");
    let text = format!("{{{}}}", text.strip_prefix(',').unwrap_or(text));
    let reply: serde_json::Value = serde_json::from_str(&text).expect("a reply is JSON");
    let number = |message: &serde_json::Value| {
        usize::try_from(message["seq"].as_u64().expect("a seq")).expect("a number of a message") - 1
    };
    let messages = reply["messages"].as_array().expect("messages");
    Answer {
        found: messages.iter().map(number).collect(),
        total: reply["total"].as_u64(),
        bytes: fields.len(),
    }
}
