//! A fixed workload, and each of its writes torn at every byte: the power goes away when so much of it,
//! and all before it, is on disk.
//!
//! What a client may ask is asked once for every number of events that a tear leaves, since the start
//! reads the same ones; the log is looked at after every tear.

use std::collections::BTreeSet;

use super::every_crash::{Moment, at, check, open_again, workload};
use super::faulty_storage::FaultyStorage;
use super::image::Fate;
use super::machine::open;
use super::promises;
use super::random::setting;

/// A write of more bytes is torn at so many places: it is room made ahead, or a run file.
const PLACES_MAX: usize = 4096;

/// Tears one write at every byte. How many images that gave.
fn tear(number: usize, moment: &Moment) -> usize {
    let Some(length) = moment.image.written() else { return 0 };
    let step = length.div_ceil(PLACES_MAX).max(1);
    let mut asked = BTreeSet::new();
    let mut client = moment.client.clone();
    client.power_was_lost = true;
    for bytes in (0..length).step_by(step) {
        let fate = Fate::Until { moment: moment.image.moment, bytes };
        at(&format!("call {number}, {}: {fate:?}", moment.call), || {
            let storage = FaultyStorage::new(moment.image.after(fate));
            let snapshot = open(&storage)?.snapshot;
            if asked.insert(snapshot.last) {
                return check(&moment.image, &moment.client, fate);
            }
            promises::check_log(&client, &promises::records(&client, &snapshot));
            if bytes % 64 == 0 { open_again(&storage, &snapshot) } else { Ok(()) }
        });
    }
    length.div_ceil(step)
}

fn every_tear(default_seed: u64, turns: u64, index_every: Option<usize>, compact_every: Option<usize>) {
    let moments = workload(setting("MSGLOGD_SEED", default_seed), turns, index_every, compact_every);
    let images: usize = moments.iter().enumerate().map(|(number, moment)| tear(number, moment)).sum();
    eprintln!("{images} crashes");
}

#[test]
fn every_promise_holds_when_any_write_is_torn_at_any_byte() {
    every_tear(41, 30, None, None);
}

#[test]
fn every_promise_holds_when_any_write_is_torn_at_any_byte_while_the_index_is_written() {
    every_tear(42, 20, Some(4), None);
}

#[test]
fn every_promise_holds_when_any_write_is_torn_at_any_byte_while_the_log_is_compacted() {
    every_tear(46, 20, Some(5), Some(9));
}
