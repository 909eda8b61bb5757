//! Every sequence of up to three commands of an alphabet that has all nouns, each in a batch of its own,
//! and the power taken away right after each call to the storage.
//!
//! `MSGLOGD_LENGTH=n` takes sequences of up to n commands.

use std::sync::{Arc, Mutex};

use super::client::Client;
use super::every_crash::{at, check, record, take};
use super::faulty_storage::FaultyStorage;
use super::image::{Fate, Image};
use super::machine::{End, Life, empty_disk, live, lock};
use super::random::{Random, setting};
use super::requests::ALPHABET;

/// A disk on which a daemon was once, and a client with something to change.
fn beginning() -> (Image, Client) {
    let client = Arc::new(Mutex::new(Client::new(1)));
    lock(&client).script = ALPHABET.iter().copied().filter(|name| !name.ends_with("delete")).collect();
    let storage = FaultyStorage::new(empty_disk());
    let end = live(
        &storage,
        &client,
        Life { turns: ALPHABET.len(), index_every: None, full: None, compact_every: None },
    );
    assert!(matches!(end, End::Stopped), "{end:?}");
    let client = lock(&client).clone();
    (storage.image().after(Fate::Lost), client)
}

/// Runs one sequence; how many images it gave.
fn run(image: &Image, client: &Client, sequence: &[&'static str], random: &mut Random) -> usize {
    let mut client = client.clone();
    client.script = sequence.iter().copied().collect();
    let client = Arc::new(Mutex::new(client));
    let storage = FaultyStorage::new(image.clone());
    let moments = record(&storage, &client);
    // The first turn is sent before any is over.
    let end = live(
        &storage,
        &client,
        Life { turns: sequence.len() - 1, index_every: None, full: None, compact_every: None },
    );
    assert!(matches!(end, End::Stopped), "{end:?}");
    let mut images = 0;
    for (number, moment) in take(&moments).iter().enumerate() {
        let torn = Fate::Until { moment: moment.image.moment, bytes: random.below(700) };
        for fate in [Fate::Lost, torn, Fate::Scattered { seed: random.next() }] {
            at(&format!("{sequence:?}, call {number}, {}: {fate:?}", moment.call), || {
                check(&moment.image, &moment.client, fate)
            });
            images += 1;
        }
    }
    images
}

#[test]
fn every_promise_holds_when_the_power_goes_away_in_any_short_sequence() {
    let (image, client) = beginning();
    let mut random = Random::new(setting("MSGLOGD_SEED", 6));
    let (mut sequences, mut images) = (vec![Vec::new()], 0);
    for _ in 0..setting("MSGLOGD_LENGTH", 3) {
        let longer = |sequence: &Vec<&'static str>| {
            ALPHABET.iter().map(|name| [sequence.as_slice(), &[*name]].concat()).collect::<Vec<_>>()
        };
        sequences = sequences.iter().flat_map(longer).collect();
        images += sequences.iter().map(|each| run(&image, &client, each, &mut random)).sum::<usize>();
    }
    eprintln!("{images} crashes");
}
