//! Repairs of damaged logs over the twin of the disk: any call fails, or the power goes away right
//! after it, and the repair is begun again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use msglogd::domain::event::{Event, Fact};
use msglogd::domain::table::Facts;
use msglogd::maintenance::repair;
use msglogd::storage::Storage;

use super::bit_flips::flip;
use super::client::Client;
use super::faulty_storage::{Fault, FaultyStorage};
use super::image::{Fate, Image};
use super::machine::{Life, empty_disk, folders, live, lock, lose_power, open, until_power_loss};

/// A disk whose log is damaged at two places: in its oldest segment, and in the record at its very end,
/// which the index knows. What every event was.
fn damaged(compact_every: Option<usize>) -> (Image, Vec<Vec<u8>>) {
    let client = Arc::new(Mutex::new(Client::new(31)));
    let storage = FaultyStorage::new(empty_disk());
    live(&storage, &client, Life { turns: 26, index_every: Some(8), full: None, compact_every });
    let records = lock(&client).records.clone();
    let mut image = storage.image().after(Fate::Lost);
    let logs: Vec<_> = image
        .listing(&folders().log)
        .filter(|(name, _)| name.ends_with(".log"))
        .map(|(name, bytes)| (folders().log.join(name), bytes.len()))
        .collect();
    let (oldest, newest) = (&logs[0], &logs[logs.len() - 1]);
    assert_eq!(oldest.0.to_string_lossy().contains('-'), compact_every.is_some(), "{logs:?}");
    assert!(logs.len() > 1 && newest.1 > 100, "{logs:?}");
    image = flip(&image, &oldest.0, oldest.1 / 2, 0);
    image = flip(&image, &newest.0, newest.1 - 5, 0);
    (image, records)
}

/// The same, and damage in the checkpoint of the part that was compacted, and in all of the index.
fn damaged_with_its_checkpoint() -> (Image, Vec<Vec<u8>>) {
    let (mut image, records) = damaged(Some(9));
    let mut flipped = 0;
    for (folder, extension) in [(folders().log, ".checkpoint"), (folders().index, ".run")] {
        let found: Vec<_> = image
            .listing(&folder)
            .filter(|(name, _)| name.ends_with(extension))
            .map(|(name, bytes)| (folder.join(name), bytes.len()))
            .collect();
        for (path, _) in found {
            image = flip(&image, &path, 30, 0);
            flipped += 1;
        }
    }
    assert!(flipped >= 2, "{flipped} files");
    (image, records)
}

fn carry_out(storage: &FaultyStorage) -> Result<(), String> {
    let shared: Arc<dyn Storage> = storage.shared();
    repair::carry_out(&shared, &folders(), 0).map_err(|failure| failure.to_string())
}

/// A daemon starts on it, no seq is given again, and what is left is what was.
#[track_caller]
fn assert_repaired(image: &Image, records: &[Vec<u8>]) {
    let storage = FaultyStorage::new(image.clone());
    let snapshot = open(&storage).expect("a daemon starts on it").snapshot;
    assert!(snapshot.last >= records.len() as u64, "it ends at {}", snapshot.last);
    let (mut kept, mut lost, mut gone) = (0, 0, 0);
    for seq in 1..=snapshot.last {
        let Some(found) = snapshot.record(seq).expect("a good record") else {
            assert!(seq <= snapshot.compacted.last, "event {seq} is not there");
            gone += 1;
            continue;
        };
        match Event::decode(&found).expect("a good record").fact {
            Fact::EventLost => lost += 1,
            _ => {
                kept += 1;
                let before = &records[usize::try_from(seq).expect("small") - 1];
                assert!(found == *before, "event {seq} is not what it was");
            }
        }
    }
    assert!(lost >= 2 && kept + gone > records.len() / 2, "{kept} kept, {lost} lost, {gone} gone");
}

#[test]
fn a_repair_that_is_cut_short_anywhere_can_be_begun_again() {
    cut_short_anywhere(damaged(None));
}

#[test]
fn a_repair_of_a_compacted_log_that_is_cut_short_anywhere_can_be_begun_again() {
    cut_short_anywhere(damaged(Some(9)));
}

#[test]
fn a_repair_of_a_lost_checkpoint_that_is_cut_short_anywhere_can_be_begun_again() {
    cut_short_anywhere(damaged_with_its_checkpoint());
}

fn cut_short_anywhere((image, records): (Image, Vec<Vec<u8>>)) {
    let count = Arc::new(AtomicUsize::new(0));
    let storage = FaultyStorage::new(image.clone());
    let counter = Arc::clone(&count);
    storage.watch(move |_, _, _| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    carry_out(&storage).expect("it can be repaired");
    assert_repaired(&storage.image().after(Fate::Lost), &records);
    let calls = count.load(Ordering::Relaxed);
    for number in 1..=calls {
        let storage = FaultyStorage::new(image.clone());
        let mut left = number;
        storage.watch(move |_, _, _| {
            left -= 1;
            if left == 0 {
                lose_power();
            }
        });
        assert!(until_power_loss(|| carry_out(&storage)).is_none(), "call {number} of {calls} is there");
        for fate in [Fate::Kept, Fate::Lost, Fate::Scattered { seed: number as u64 }] {
            let again = FaultyStorage::new(storage.image().after(fate));
            carry_out(&again).expect("it can be repaired");
            assert_repaired(&again.image().after(Fate::Lost), &records);
        }
        for fault in Fault::ALL {
            let storage = FaultyStorage::new(image.clone());
            let mut left = number;
            storage.fail(move |_, _| {
                left = left.wrapping_sub(1);
                (left == 0).then_some(fault)
            });
            // The second time no call fails.
            let _ = carry_out(&storage);
            carry_out(&storage).expect("it can be repaired");
            assert_repaired(&storage.image().after(Fate::Lost), &records);
        }
    }
    eprintln!("{calls} calls");
}
