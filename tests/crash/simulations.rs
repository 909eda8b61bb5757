//! Seeded simulations: a few lives one after the other. Each ends by a power loss, a death of the
//! program or a stop, at a random call; in some of them calls fail, and each start finds what the
//! life before has left.
//!
//! `MSGLOGD_SEED=n` runs just that one; `MSGLOGD_SIMULATIONS=n` runs so many.

use std::sync::{Arc, Mutex};

use super::client::Client;
use super::failures::{Case, fail};
use super::faulty_storage::{Fault, FaultyStorage};
use super::image::{Fate, Image};
use super::machine::{End, Life, SharedClient, empty_disk, live, lock, lose_power};
use super::random::{Random, setting};

/// Says which seed failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was MSGLOGD_SEED={}", self.0);
        }
    }
}

fn any_fate(random: &mut Random, image: &Image) -> Fate {
    match random.below(6) {
        0 => Fate::Lost,
        1 => Fate::Kept,
        2 | 3 => {
            let back = random.below(4) as u64;
            Fate::Until { moment: image.moment.saturating_sub(back), bytes: random.below(3000) }
        }
        _ => Fate::Scattered { seed: random.next() },
    }
}

fn any_life(random: &mut Random) -> Life {
    Life {
        turns: random.below(30),
        index_every: random.one_in(2).then(|| 1 + random.below(8)),
        compact_every: random.one_in(2).then(|| 1 + random.below(9)),
        full: None,
    }
}

/// When a life ends by a power loss: sometimes in the midst of the start.
fn any_end(random: &mut Random) -> usize {
    1 + if random.one_in(4) { random.below(40) } else { random.below(400) }
}

/// Takes the power away after so many calls.
fn lose_power_after(storage: &FaultyStorage, calls: usize) {
    let mut left = calls;
    storage.watch(move |_, _, _| {
        left -= 1;
        if left == 0 {
            lose_power();
        }
    });
}

/// A life that ends after so many calls, unless it stops before. What it leaves on disk.
fn good_life(image: Image, client: &SharedClient, life: Life, calls: usize) -> Image {
    let storage = FaultyStorage::new(image);
    lose_power_after(&storage, calls);
    if let End::NotStarted(failure) = live(&storage, client, life) {
        panic!("the start was refused: {failure}");
    }
    storage.image()
}

/// The same, with calls that fail. The background would wait for better times: there is none.
fn bad_life(image: Image, client: &SharedClient, life: Life, calls: usize, random: &mut Random) -> Image {
    let storage = FaultyStorage::new(image);
    lose_power_after(&storage, calls);
    let number = 1 + random.below(200);
    let fault = *random.pick(&Fault::ALL).expect("there are some");
    let failing = fail(&storage, client, Case { number, fault, lasting: random.one_in(3) });
    let end = live(&storage, client, Life { index_every: None, ..life });
    if let End::NotStarted(failure) = end {
        assert!(failing.happened(), "the start was refused: {failure}");
    }
    failing.is_over(client);
    storage.image()
}

fn simulate(seed: u64) {
    let _seed = Seed(seed);
    let mut random = Random::new(seed);
    let client = Arc::new(Mutex::new(Client::new(random.next())));
    let mut image = empty_disk();
    for _ in 0..6 {
        let (life, calls) = (any_life(&mut random), any_end(&mut random));
        let left = match random.one_in(3) {
            true => bad_life(image, &client, life, calls, &mut random),
            false => good_life(image, &client, life, calls),
        };
        let fate = any_fate(&mut random, &left);
        lock(&client).power_was_lost |= !matches!(fate, Fate::Kept);
        image = left.after(fate);
    }
    good_life(
        image,
        &client,
        Life { turns: 2, index_every: None, full: None, compact_every: None },
        usize::MAX,
    );
}

#[test]
fn every_promise_holds_whenever_the_power_goes_away_and_whatever_fails() {
    match setting("MSGLOGD_SEED", 0) {
        0 => (1..=setting("MSGLOGD_SIMULATIONS", 300)).for_each(simulate),
        seed => simulate(seed),
    }
}
