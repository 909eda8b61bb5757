//! A fixed workload of 200 commands, and each of its calls to the storage failed in turn, in every way, once or
//! from then on. Then the program or the machine dies, and all that was acknowledged is there.
//!
//! `MSGLOGD_TURNS=n` makes the workload longer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::client::{Client, Outcome};
use super::failures::{Case, fail};
use super::faulty_storage::{Fault, FaultyStorage};
use super::image::{Fate, Image};
use super::machine::{End, Life, SharedClient, empty_disk, live, lock};
use super::random::setting;

/// Some history that both start from: two segments and more.
fn history(seed: u64) -> (Image, Client) {
    let client = Arc::new(Mutex::new(Client::new(seed)));
    lock(&client).turn_requests = TURN_REQUESTS;
    let storage = FaultyStorage::new(empty_disk());
    let end =
        live(&storage, &client, Life { turns: 10, index_every: Some(4), full: None, compact_every: None });
    assert!(matches!(end, End::Stopped), "{end:?}");
    let client = lock(&client).clone();
    (storage.image().after(Fate::Lost), client)
}

/// Large turns: so many commands come in few calls.
const TURN_REQUESTS: usize = 24;
/// How many commands a workload has at least.
const COMMANDS: usize = 200;

/// How many turns there are.
fn turns() -> usize {
    usize::try_from(setting("MSGLOGD_TURNS", 18)).expect("a small number")
}

/// How many calls there are when none fails.
fn calls(image: &Image, client: &Client, compact_every: Option<usize>) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let storage = FaultyStorage::new(image.clone());
    let counter = Arc::clone(&count);
    storage.watch(move |_, _, _| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let before = client.sent.len();
    let client = Arc::new(Mutex::new(client.clone()));
    live(&storage, &client, Life { turns: turns(), index_every: None, full: None, compact_every });
    let commands = lock(&client).sent.len() - before;
    assert!(commands >= COMMANDS, "{commands} commands");
    count.load(Ordering::Relaxed)
}

/// One life with a fault, and one without after it.
fn survive(image: &Image, client: &Client, case: Case, compact_every: Option<usize>) {
    let client: SharedClient = Arc::new(Mutex::new(client.clone()));
    let storage = FaultyStorage::new(image.clone());
    let failing = fail(&storage, &client, case);
    let _ = live(&storage, &client, Life { turns: turns(), index_every: None, full: None, compact_every });
    failing.is_over(&client);
    let mut survived: Vec<Image> = Vec::new();
    for fate in [Fate::Kept, Fate::Lost, Fate::Scattered { seed: case.number as u64 }] {
        let left = storage.image().after(fate);
        // After a clean stop there is little that a power loss can take.
        if survived.iter().any(|image| image.shows_the_same_as(&left)) {
            continue;
        }
        survived.push(left.clone());
        let client = Arc::new(Mutex::new(lock(&client).clone()));
        lock(&client).power_was_lost = !matches!(fate, Fate::Kept);
        let healed = FaultyStorage::new(left);
        let end =
            live(&healed, &client, Life { turns: 2, index_every: None, full: None, compact_every: None });
        assert!(matches!(end, End::Stopped), "{fate:?}: {end:?}");
        let unanswered = lock(&client).sent.iter().any(|sent| sent.outcome == Outcome::Waiting);
        assert!(!unanswered, "everything is answered");
    }
}

fn every_failure(seed: u64, lasting: bool, compact_every: Option<usize>) {
    let (image, client) = history(seed);
    let calls = calls(&image, &client, compact_every);
    for number in 1..=calls {
        for fault in Fault::ALL {
            survive(&image, &client, Case { number, fault, lasting }, compact_every);
        }
    }
    eprintln!("{} failures", calls * Fault::ALL.len());
}

#[test]
fn every_promise_holds_when_any_call_fails_once() {
    every_failure(setting("MSGLOGD_SEED", 4), false, None);
}

#[test]
fn every_promise_holds_when_all_calls_fail_from_any_one_on() {
    every_failure(setting("MSGLOGD_SEED", 5), true, None);
}

#[test]
fn every_promise_holds_when_any_call_fails_while_the_log_is_compacted() {
    every_failure(setting("MSGLOGD_SEED", 8), false, Some(3));
}

#[test]
fn every_promise_holds_when_all_calls_fail_from_any_one_on_while_the_log_is_compacted() {
    every_failure(setting("MSGLOGD_SEED", 9), true, Some(4));
}
