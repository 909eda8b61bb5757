//! A start on logs and indexes of one's own making, in memory.

use std::collections::BTreeSet;
use std::io;

use super::*;
use crate::domain::event::{Address, Event, Fact, Message};
use crate::domain::testing;
use crate::limits::FRAME_BYTES;
use crate::log::frame::Frame;
use crate::maintenance::pace::Pace;
use crate::maintenance::rewrite::Rewriter;
use crate::storage::failing::{Call, Failing};
use crate::storage::memory::Memory;
use crate::time::Timestamp;

const MEBIBYTE: usize = 1 << 20;

/// What a start told.
#[derive(Default)]
struct Told {
    /// Each time it told how far it was: how many bytes were read, and the run files there were.
    replayed: Vec<(u64, Vec<String>)>,
    said: Vec<String>,
    /// What it got on with, each thing once.
    with: BTreeSet<&'static str>,
    storage: Option<Arc<dyn Storage>>,
}

impl Progress for Told {
    fn say(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }

    fn replayed(&mut self, so_far: Replayed) {
        self.replayed.push((so_far.bytes, self.storage.as_ref().map_or_else(Vec::new, run_files)));
    }

    fn gets_on(&mut self, with: &'static str) {
        self.with.insert(with);
    }
}

fn run_files(storage: &Arc<dyn Storage>) -> Vec<String> {
    let mut names = storage.list(&folders().index).expect("memory");
    names.retain(|name| name.ends_with(".run"));
    names
}

fn folders() -> Folders {
    Folders::new(Path::new("/data"))
}

/// A store whose log has so many messages of a mebibyte, two of which fill a tail, and no index.
fn store_of_large_messages(count: u64) -> Arc<dyn Storage> {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let mut store = open(&storage, &folders(), 1 << 30, &mut Told::default()).expect("memory");
    for seq in 1..=count {
        let mut body: String = (0..20_000).map(|word| format!("w{seq}x{word} ")).collect();
        body.extend(std::iter::repeat_n(' ', MEBIBYTE - body.len()));
        let fact =
            Fact::MessagePosted(Message { address: Address::Recipient("r".into()), originator: None, body });
        let (mut json, mut frame) = (Vec::new(), Frame::default());
        Event { seq, at: Timestamp(seq), uid: 0, fact }.encode(b"1970-01-01T00:00:00.000001Z", &mut json);
        frame.add(&json);
        store.log.append(seq, seq, &mut frame).expect("memory");
    }
    store.log.trim().expect("memory");
    storage
}

#[test]
fn a_start_gathers_no_more_bytes_at_once_than_a_frame_has() {
    let storage = store_of_large_messages(12);
    let mut told = Told::default();
    let store = open(&storage, &folders(), 1 << 30, &mut told).expect("it is whole");
    assert_eq!(store.snapshot.last, 12);
    let steps: Vec<u64> = told.replayed.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert!(steps.len() >= 4, "{steps:?}");
    assert!(steps.iter().all(|step| *step <= (FRAME_BYTES + MEBIBYTE) as u64), "{steps:?}");
}

#[test]
fn an_index_that_is_built_anew_is_merged_as_it_grows() {
    let storage = store_of_large_messages(80);
    let mut told = Told { storage: Some(Arc::clone(&storage)), ..Told::default() };
    let store = open(&storage, &folders(), 1 << 30, &mut told).expect("it is whole");
    let most = told.replayed.iter().map(|(_, files)| files.len()).max();
    assert!(most.is_some_and(|most| most < 10), "{most:?}");
    assert!(store.snapshot.runs.len() < 10, "{}", store.snapshot.runs.len());
    assert_eq!(run_files(&storage).len(), store.snapshot.runs.len(), "what was merged is removed");
    assert_eq!(told.with, [MERGING].into());
    let again = open(&storage, &folders(), 1 << 30, &mut Told::default()).expect("it is whole");
    assert_eq!((again.snapshot.last, again.snapshot.runs.len()), (80, store.snapshot.runs.len()));
}

/// A store with an index of which one file is damaged, and that file.
fn store_of_damaged_index() -> (Arc<dyn Storage>, String) {
    let storage = store_of_large_messages(40);
    open(&storage, &folders(), 1 << 30, &mut Told::default()).expect("it is whole");
    let oldest = run_files(&storage).swap_remove(0);
    let file = storage.open(&folders().index.join(&oldest), Open::Write).expect("memory");
    file.set_length(file.length().expect("memory") - 1).expect("memory");
    (storage, oldest)
}

#[test]
fn run_files_of_no_use_give_their_room_before_the_index_is_built_anew() {
    let (storage, damaged) = store_of_damaged_index();
    let mut told = Told { storage: Some(Arc::clone(&storage)), ..Told::default() };
    open(&storage, &folders(), 1 << 30, &mut told).expect("it heals");
    assert!(told.said.iter().any(|line| line.contains(&damaged)), "{:?}", told.said);
    assert_eq!(told.replayed[0].1, Vec::<String>::new());
    assert!(told.with.contains(LOOKING), "{:?}", told.with);
}

#[test]
fn a_start_without_the_index_of_a_compacted_log_tells_of_each_of_its_steps() {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let mut store = open(&storage, &folders(), 1 << 30, &mut Told::default()).expect("memory");
    let mut frame = Frame::default();
    for event in testing::events().take(300) {
        let mut json = Vec::new();
        event.encode(b"1970-01-01T00:00:00.000001Z", &mut json);
        frame.add(&json);
    }
    store.log.append(1, 300, &mut frame).expect("memory");
    store.log.trim().expect("memory");
    let store = open(&storage, &folders(), 1 << 30, &mut Told::default()).expect("it is whole");
    storage.open(&folders().log.join(format!("{:020}.log", 301)), Open::Create).expect("memory");
    let mut rewriter = Rewriter::new(Arc::clone(&storage), folders().log, store.files, 1 << 30);
    rewriter.rewrite(&store.snapshot, &mut Pace::full()).expect("memory");
    let mut told = Told::default();
    open(&storage, &folders(), 1 << 30, &mut told).expect("it is whole");
    assert_eq!(told.with, [LOOKING, CHECKING, MERGING].into());
}

#[test]
fn run_files_of_no_use_stay_where_the_log_is_damaged_too() {
    let (storage, damaged) = store_of_damaged_index();
    let newest = storage.open(&folders().log.join(format!("{:020}.log", 1)), Open::Write).expect("memory");
    newest.write_at(b"?", (5 * MEBIBYTE) as u64).expect("memory");
    assert!(open(&storage, &folders(), 1 << 30, &mut Told::default()).is_err());
    assert!(run_files(&storage).contains(&damaged));
}

#[test]
fn an_index_that_may_not_be_read_ends_a_start_and_is_not_taken_for_a_damaged_one() {
    let storage = store_of_large_messages(40);
    open(&storage, &folders(), 1 << 30, &mut Told::default()).expect("it is whole");
    let before = run_files(&storage);
    let newest = before[before.len() - 1].clone();
    for file in ["manifest", "recent", newest.leak()] {
        let locked = Failing::over(Arc::clone(&storage), move |call, path| match call {
            Call::Open if path.ends_with(file) => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        });
        let mut told = Told::default();
        let failure = open(&locked, &folders(), 1 << 30, &mut told).err().expect("it may not be read");
        assert!(matches!(failure, Failure::Io { .. }), "{failure}");
        let said = failure.to_string();
        assert!(said.starts_with(&format!("/data/index/{file}: ")) && !said.contains("corrupt"), "{said}");
        assert_eq!((told.said, run_files(&storage)), (Vec::new(), before.clone()), "nothing was changed");
    }
}
