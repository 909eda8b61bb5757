//! A fixed workload, and the power taken away right after each of its calls; and again during each
//! of those recoveries, right after each call.
//!
//! `MSGLOGD_SEED=n` gives another workload, `MSGLOGD_TURNS=n` makes it longer; `MSGLOGD_TEARS=n`
//! tears each write at so many more places, and scatters its sectors so many more times. `tears` tears
//! every write at every byte.

use std::path::Path;
use std::sync::{Arc, Mutex};

use msglogd::log::recovery::Failure;
use msglogd::snapshot::Snapshot;

use super::client::Client;
use super::faulty_storage::{Call, FaultyStorage};
use super::image::{Fate, Image, SECTOR_BYTES};
use super::machine::{End, Life, SharedClient, empty_disk, live, lock, open};
use super::promises;
use super::random::{Random, setting};

const TURNS: u64 = 40;

/// The disk right after a call, and what the client knew then.
pub struct Moment {
    pub image: Image,
    pub client: Client,
    pub call: String,
}

/// Lets every call that changes something be kept in the list that it answers.
pub fn record(storage: &FaultyStorage, client: &SharedClient) -> Arc<Mutex<Vec<Moment>>> {
    let moments: Arc<Mutex<Vec<Moment>>> = Arc::default();
    let (list, client) = (Arc::clone(&moments), Arc::clone(client));
    storage.watch(move |image: &Image, call: Call, path: &Path| {
        if call.changes() {
            let call = format!("{call:?} of {}", path.display());
            let moment = Moment { image: image.clone(), client: lock(&client).clone(), call };
            list.lock().expect("nobody panicked").push(moment);
        }
    });
    moments
}

pub fn take(moments: &Mutex<Vec<Moment>>) -> Vec<Moment> {
    std::mem::take(&mut *moments.lock().expect("nobody panicked"))
}

/// What may become of a moment's last write and of all that was not synced.
fn fates(image: &Image, random: &mut Random, more: u64) -> Vec<Fate> {
    let moment = image.moment;
    let until = |bytes| Fate::Until { moment, bytes };
    let mut fates = vec![Fate::Lost, Fate::Kept, until(1), until(SECTOR_BYTES)];
    for _ in 0..more {
        fates.push(until(random.below(1500)));
        fates.push(Fate::Scattered { seed: random.next() });
    }
    fates
}

/// Opens what a crash left and checks it; then takes the power away once more.
pub fn check(image: &Image, client: &Client, fate: Fate) -> Result<(), Failure> {
    let mut client = client.clone();
    client.power_was_lost |= !matches!(fate, Fate::Kept);
    let storage = FaultyStorage::new(image.after(fate));
    let snapshot = open(&storage)?.snapshot;
    promises::check(&client, &snapshot);
    open_again(&storage, &snapshot)
}

/// Takes the power away right after a start, and opens what is left.
pub fn open_again(storage: &FaultyStorage, snapshot: &Snapshot) -> Result<(), Failure> {
    let again = FaultyStorage::new(storage.image().after(Fate::Lost));
    let last = open(&again)?.snapshot.last;
    assert_eq!(last, snapshot.last, "what a start found is on disk");
    Ok(())
}

/// Runs a check, and says where it was when it fails.
pub fn at<T>(place: &str, check: impl FnOnce() -> Result<T, Failure>) -> T {
    struct Place<'a>(&'a str);
    impl Drop for Place<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this was after {}", self.0);
            }
        }
    }
    let _place = Place(place);
    check().unwrap_or_else(|failure| panic!("the start was refused: {failure}"))
}

/// The moments of a life of so many turns, on a disk with some history.
pub fn workload(
    seed: u64,
    turns: u64,
    index_every: Option<usize>,
    compact_every: Option<usize>,
) -> Vec<Moment> {
    let client = Arc::new(Mutex::new(Client::new(seed)));
    let storage = FaultyStorage::new(empty_disk());
    let moments = record(&storage, &client);
    let turns = usize::try_from(setting("MSGLOGD_TURNS", turns)).expect("a small number");
    let end = live(&storage, &client, Life { turns, index_every, compact_every, full: None });
    assert!(matches!(end, End::Stopped), "{end:?}");
    take(&moments)
}

fn every_crash(default_seed: u64, index_every: Option<usize>, compact_every: Option<usize>) {
    let seed = setting("MSGLOGD_SEED", default_seed);
    let (mut random, more) = (Random::new(seed), setting("MSGLOGD_TEARS", 3));
    let mut images = 0;
    for (number, moment) in workload(seed, TURNS, index_every, compact_every).iter().enumerate() {
        for fate in fates(&moment.image, &mut random, more) {
            at(&format!("call {number}, {}: {fate:?}", moment.call), || {
                check(&moment.image, &moment.client, fate)
            });
            images += 1;
        }
    }
    eprintln!("{images} crashes");
}

#[test]
fn every_promise_holds_when_the_power_goes_away_after_any_call() {
    every_crash(1, None, None);
}

#[test]
fn every_promise_holds_when_the_power_goes_away_while_the_index_is_written() {
    every_crash(2, Some(3), None);
}

#[test]
fn every_promise_holds_when_the_power_goes_away_while_the_log_is_compacted() {
    every_crash(6, Some(5), Some(9));
}

#[test]
fn every_promise_holds_when_the_power_goes_away_during_a_recovery() {
    every_crash_of_a_recovery(3, None);
}

#[test]
fn every_promise_holds_when_the_power_goes_away_during_a_recovery_from_a_compaction() {
    every_crash_of_a_recovery(7, Some(8));
}

fn every_crash_of_a_recovery(default_seed: u64, compact_every: Option<usize>) {
    let seed = setting("MSGLOGD_SEED", default_seed);
    let mut random = Random::new(seed);
    let mut images = 0;
    for (number, moment) in workload(seed, TURNS, Some(5), compact_every).into_iter().enumerate() {
        let fate = match random.below(3) {
            0 => Fate::Kept,
            1 => Fate::Until { moment: moment.image.moment, bytes: random.below(1500) },
            _ => Fate::Scattered { seed: random.next() },
        };
        let mut client = moment.client;
        client.power_was_lost |= !matches!(fate, Fate::Kept);
        let client = Arc::new(Mutex::new(client));
        let storage = FaultyStorage::new(moment.image.after(fate));
        let during = record(&storage, &client);
        let place = format!("call {number}, {}: {fate:?}", moment.call);
        at(&place, || open(&storage).map(drop));
        for (second, moment) in take(&during).iter().enumerate() {
            let fates = [Fate::Lost, Fate::Kept, Fate::Scattered { seed: random.next() }];
            for fate in fates {
                let place = format!("{place}, and then call {second}, {}: {fate:?}", moment.call);
                at(&place, || check(&moment.image, &moment.client, fate));
                images += 1;
            }
        }
    }
    eprintln!("{images} crashes");
}
