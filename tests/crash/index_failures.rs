//! Calls that fail while the background writes the index: nobody who asks notices, and the index is
//! written in the end.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::client::{Client, Trouble};
use super::failures::is_log;
use super::faulty_storage::{Call, Fault, FaultyStorage};
use super::image::Fate;
use super::machine::{End, Life, empty_disk, folders, live, lock};

/// Whether this is a call by which the background changes the index.
fn changes_index(call: Call, path: &Path) -> bool {
    call.changes() && call != Call::CreateFolder && path.starts_with(folders().index)
}

/// One life in which a call of the background fails, and one after it.
fn survive(number: usize, fault: Fault) {
    let client = Arc::new(Mutex::new(Client::new(31)));
    let storage = FaultyStorage::new(empty_disk());
    let mut count = 0;
    storage.fail(move |call, path| {
        count += usize::from(changes_index(call, path));
        (count == number && changes_index(call, path)).then_some(fault)
    });
    let end =
        live(&storage, &client, Life { turns: 16, index_every: Some(2), full: None, compact_every: None });
    assert!(matches!(end, End::Stopped), "call {number}, {fault:?}: {end:?}");
    assert!(lock(&client).run_files > 0, "call {number}, {fault:?}: the index is written in the end");
    for fate in [Fate::Kept, Fate::Lost, Fate::Scattered { seed: number as u64 }] {
        let client = Arc::new(Mutex::new(lock(&client).clone()));
        lock(&client).power_was_lost = !matches!(fate, Fate::Kept);
        let after = FaultyStorage::new(storage.image().after(fate));
        let end =
            live(&after, &client, Life { turns: 2, index_every: None, full: None, compact_every: None });
        assert!(matches!(end, End::Stopped), "call {number}, {fault:?}, {fate:?}: {end:?}");
    }
}

/// How many calls there are when none fails.
fn calls() -> usize {
    let storage = FaultyStorage::new(empty_disk());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    storage.watch(move |_, call, path| {
        counter.fetch_add(usize::from(changes_index(call, path)), Ordering::Relaxed);
    });
    let client = Arc::new(Mutex::new(Client::new(31)));
    live(&storage, &client, Life { turns: 16, index_every: Some(2), full: None, compact_every: None });
    count.load(Ordering::Relaxed)
}

#[test]
fn any_call_that_fails_while_the_index_is_written_is_made_good() {
    // The background waits before it tries again: all cases wait together.
    thread::scope(|scope| {
        for number in 1..=calls() {
            scope.spawn(move || survive(number, Fault::ALL[number % Fault::ALL.len()]));
        }
    });
}

#[test]
fn a_run_file_is_taken_into_use_though_the_batch_of_that_moment_is_refused() {
    let client = Arc::new(Mutex::new(Client::new(33)));
    lock(&client).trouble = Trouble::Calls(Arc::new(AtomicBool::new(false)));
    let storage = FaultyStorage::new(empty_disk());
    let (mut written, mut refused) = (false, false);
    storage.fail(move |call, path| {
        written |= call == Call::Rename && path.ends_with("manifest");
        let now = written && !refused && call == Call::Write && is_log(path);
        refused |= now;
        now.then_some(Fault::Full)
    });
    let end =
        live(&storage, &client, Life { turns: 12, index_every: Some(5), full: None, compact_every: None });
    assert!(matches!(end, End::Stopped), "{end:?}");
    assert!(lock(&client).run_files > 0, "the run file is part of what is read");
}
