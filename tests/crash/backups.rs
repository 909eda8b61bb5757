//! Backups over the twin of the disk: every call of one failed in turn, and the power taken away
//! right after it is done.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use msglogd::error::Code;
use msglogd::maintenance::backup::{self, Copied};
use msglogd::maintenance::pace::Pace;
use msglogd::snapshot::Snapshot;
use msglogd::store::{self, Folders};

use super::client::Client;
use super::faulty_storage::{Fault, FaultyStorage};
use super::image::{Fate, Image};
use super::machine::{Life, SEGMENT_BYTES, empty_disk, folders, live, lock, open};
use super::promises;

fn place() -> PathBuf {
    PathBuf::from("/data/copy")
}

/// A disk with segments, run files and events behind them, and the client who knows what is there.
fn history() -> (Image, Client) {
    let client = Arc::new(Mutex::new(Client::new(21)));
    let storage = FaultyStorage::new(empty_disk());
    live(&storage, &client, Life { turns: 30, index_every: Some(8), full: None, compact_every: None });
    let client = lock(&client).clone();
    (storage.image().after(Fate::Kept), client)
}

/// A backup of what is on this disk.
fn back_up(storage: &FaultyStorage, snapshot: &Snapshot) -> msglogd::error::Result<Copied> {
    backup::copy(&storage.shared(), &folders(), snapshot, &place(), &mut Pace::full())
}

/// A machine on which a backup can be made.
fn machine(image: &Image) -> (FaultyStorage, Snapshot) {
    let storage = FaultyStorage::new(image.clone());
    let snapshot = open(&storage).expect("it starts").snapshot;
    let shared = storage.shared();
    shared.create_folder(&place()).and_then(|()| shared.sync_folder(Path::new("/data"))).expect("a folder");
    (storage, snapshot)
}

fn assert_whole(image: &Image, client: &Client) {
    let storage = FaultyStorage::new(image.clone());
    let opened = store::open(&storage.shared(), &Folders::new(&place()), SEGMENT_BYTES, &mut ());
    promises::check(client, &opened.expect("a daemon starts on it").snapshot);
}

#[test]
fn a_backup_that_was_answered_survives_a_power_loss_and_holds_everything() {
    let (image, client) = history();
    let (storage, snapshot) = machine(&image);
    let copied = back_up(&storage, &snapshot).expect("it can be made");
    assert!(copied.segments > 1 && copied.runs > 0, "{copied:?}");
    for fate in [Fate::Kept, Fate::Lost, Fate::Scattered { seed: 3 }] {
        assert_whole(&storage.image().after(fate), &client);
    }
}

#[test]
fn a_backup_of_which_any_call_fails_says_so() {
    let (image, client) = history();
    let calls = {
        let (storage, snapshot) = machine(&image);
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        storage.watch(move |_, _, _| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        back_up(&storage, &snapshot).expect("it can be made");
        count.load(Ordering::Relaxed)
    };
    assert!(calls > 30, "{calls} calls");
    for number in 1..=calls {
        for fault in Fault::ALL {
            let (storage, snapshot) = machine(&image);
            let mut count = 0;
            storage.fail(move |_, _: &Path| {
                count += 1;
                (count == number).then_some(fault)
            });
            match back_up(&storage, &snapshot) {
                Err(error) => {
                    assert!([Code::ReadOnly, Code::Corrupt].contains(&error.code()), "{error}");
                }
                // It did without that call.
                Ok(_) => assert_whole(&storage.image().after(Fate::Lost), &client),
            }
        }
    }
    eprintln!("{} failures", calls * Fault::ALL.len());
}
