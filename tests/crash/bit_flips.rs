//! Every bit of a small store flipped in turn: a flip is found, or changes nothing.
//!
//! `MSGLOGD_BITS=1` flips one bit of each byte.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use msglogd::domain::held::held;
use msglogd::domain::table::Facts;
use msglogd::error::Code;
use msglogd::log::recovery::Failure;
use msglogd::snapshot::Snapshot;
use serde_json::{Value, json};

use super::client::Client;
use super::faulty_storage::FaultyStorage;
use super::image::{Fate, Image};
use super::machine::{Life, empty_disk, folders, live, lock, lose_power, open};
use super::promises::{self, ask};
use super::random::{Random, setting};
use super::requests::{KEYS, QUEUES, WORDS};

/// A store, and all that there is to know of it.
struct Store {
    image: Image,
    records: Vec<Vec<u8>>,
    answers: Vec<(Value, String)>,
}

/// What a flip came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// The start was refused.
    AtStart,
    /// A read was answered `corrupt`.
    WhenRead,
    /// Every read was answered as before.
    Nothing,
}

/// A store with sealed segments, run files, events behind them, and room made ahead: its daemon
/// was killed.
fn store() -> Store {
    let client = Arc::new(Mutex::new(Client::new(11)));
    let storage = FaultyStorage::new(empty_disk());
    live(&storage, &client, Life { turns: 18, index_every: Some(8), full: None, compact_every: None });
    let mut left = 60;
    storage.watch(move |_, _, _| {
        left -= 1;
        if left == 0 {
            lose_power();
        }
    });
    live(&storage, &client, Life { turns: 99, index_every: None, full: None, compact_every: None });
    // The start sets a torn end aside, if there is one.
    let storage = FaultyStorage::new(storage.image().after(Fate::Kept));
    let snapshot = open(&storage).expect("it starts").snapshot;
    assert!(!snapshot.runs.is_empty(), "there are run files");
    assert!(
        snapshot.tails.iter().any(|tail| tail.view(snapshot.last).is_some()),
        "there is a log behind them"
    );
    assert!(snapshot.segments.len() > 1, "there is a sealed segment");
    let records = promises::records(&lock(&client), &snapshot);
    lock(&client).go_on(records.clone());
    let answers = questions().into_iter().map(|request| (request.clone(), answer(&snapshot, &request)));
    let answers = answers.map(|(request, answer)| (request, answer.expect("it is whole"))).collect();
    Store { image: storage.image().after(Fate::Lost), records, answers }
}

fn questions() -> Vec<Value> {
    let mut all = vec![
        json!({"cmd": "kv.list"}),
        json!({"cmd": "app.list"}),
        json!({"cmd": "formula.list"}),
        json!({"cmd": "queue.list"}),
        json!({"cmd": "message.search", "count": true}),
        json!({"cmd": "message.search", "recipient": 1}),
        json!({"cmd": "message.search", "substring": "ee"}),
        json!({"cmd": "message.search", "since": "2020-01-01T00:00:00Z", "limit": 1}),
    ];
    all.extend(KEYS.map(|key| json!({"cmd": "kv.get", "key": key})));
    all.extend(WORDS.map(|word| json!({"cmd": "message.search", "text": word})));
    all.extend(QUEUES.map(|queue| json!({"cmd": "queue.peek", "queue": queue})));
    all
}

/// The answer as text; nothing when it is `corrupt`.
fn answer(snapshot: &Snapshot, request: &Value) -> Option<String> {
    match ask(snapshot, request) {
        Ok(reply) => Some(reply.to_string()),
        Err(error) if error.code() == Code::Corrupt => {
            assert!(error.file().is_some() && error.offset().is_some(), "{error}");
            None
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Opens a store with a flipped bit and reads all of it.
fn examine(store: &Store, image: Image, path: &Path, place: usize) -> Found {
    let storage = FaultyStorage::new(image);
    let snapshot = match open(&storage) {
        Ok(store) => store.snapshot,
        Err(Failure::Damage { path: named, offset, what }) => {
            if named == path {
                assert!(offset <= place as u64, "a place behind the damage is named: {offset}, {what}");
            }
            return Found::AtStart;
        }
        Err(failure) => panic!("{failure}"),
    };
    assert_eq!(snapshot.last, store.records.len() as u64, "nothing is cut off or made up");
    let mut found = Found::Nothing;
    for (seq, record) in (1..).zip(&store.records) {
        match snapshot.record(seq) {
            Ok(read) => assert_eq!(read.as_ref(), Some(record), "event {seq}"),
            Err(error) => {
                assert_eq!(error.code(), Code::Corrupt, "{error}");
                found = Found::WhenRead;
            }
        }
    }
    for (request, expected) in &store.answers {
        match answer(&snapshot, request) {
            Some(given) => assert_eq!(&given, expected, "a wrong answer to {request}"),
            None => found = Found::WhenRead,
        }
    }
    // What a start reads before it serves.
    if let Err(error) = held(&snapshot) {
        assert_eq!(error.code(), Code::Corrupt, "{error}");
        return Found::AtStart;
    }
    found
}

pub fn flip(image: &Image, path: &Path, place: usize, bit: usize) -> Image {
    let folder = &image.folders[path.parent().expect("a folder")];
    let file = folder.names()[&*path.file_name().expect("a name").to_string_lossy()];
    let mut image = image.clone();
    image.files[file].damage(place, bit);
    image
}

/// Flips bits of every file of a folder; hands what was found of each to `judge`.
fn flip_all(store: &Store, folder: &Path, mut judge: impl FnMut(&Path, &[u8], usize, Found)) {
    let (mut random, bits) = (Random::new(7), setting("MSGLOGD_BITS", 8));
    let mut counts = std::collections::BTreeMap::new();
    let files: Vec<(PathBuf, Vec<u8>)> =
        store.image.listing(folder).map(|(name, bytes)| (folder.join(name), bytes.to_vec())).collect();
    for (path, bytes) in &files {
        for place in 0..bytes.len() {
            let first = random.below(8);
            for bit in 0..usize::try_from(bits).expect("a small number") {
                let _named = Named(path, place, (first + bit) % 8);
                let flipped = flip(&store.image, path, place, (first + bit) % 8);
                let found = examine(store, flipped, path, place);
                *counts.entry((path.file_name().expect("a name").to_owned(), found)).or_insert(0) += 1;
                judge(path, bytes, place, found);
            }
        }
    }
    eprintln!("{counts:#?}");
}

/// Says which flip it was.
struct Named<'a>(&'a Path, usize, usize);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was bit {} of byte {} of {}", self.2, self.1, self.0.display());
        }
    }
}

/// Whether a byte belongs to an event's line, its line feed included.
fn is_of_event(bytes: &[u8], place: usize) -> bool {
    let start = bytes[..place].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    bytes[start..].get(9..16) == Some(b"{\"seq\":")
}

#[test]
fn a_flipped_bit_of_the_log_is_found_or_lies_where_nothing_is_read() {
    let store = store();
    flip_all(&store, &folders().log, |path, bytes, place, found| {
        let torn = path.extension().is_some_and(|extension| extension == "torn");
        if !torn && is_of_event(bytes, place) {
            assert_ne!(found, Found::Nothing, "a damaged event was served");
        }
    });
}

#[test]
fn a_flipped_bit_of_the_index_never_gives_a_wrong_answer_and_never_prevents_a_start() {
    let store = store();
    let mut prevented = Vec::new();
    flip_all(&store, &folders().index, |path, _, place, found| {
        if found == Found::AtStart {
            eprintln!("prevents");
            prevented.push((path.file_name().map(|name| name.to_owned()), place));
        }
    });
    assert!(prevented.is_empty(), "{} flips prevent a start: {prevented:?}", prevented.len());
}
