//! A log that lacks its beginning or its end, beside an index that knows what was there: a start is
//! refused and changes nothing, and a repair says what is lost.

use std::path::Path;
use std::sync::{Arc, Mutex};

use msglogd::domain::table::Facts;
use msglogd::log::recovery::Failure;
use msglogd::maintenance::repair;
use msglogd::storage::Storage;

use super::client::Client;
use super::faulty_storage::FaultyStorage;
use super::image::{Fate, Image};
use super::machine::{Life, empty_disk, folders, live, open};

/// A disk whose index knows events of the newest segment, and the names of all segments.
fn indexed() -> (Image, Vec<String>) {
    let storage = FaultyStorage::new(empty_disk());
    let client = Arc::new(Mutex::new(Client::new(51)));
    live(&storage, &client, Life { turns: 26, index_every: Some(1), full: None, compact_every: None });
    let image = storage.image().after(Fate::Kept);
    let names: Vec<String> = image.listing(&folders().log).map(|(name, _)| name.clone()).collect();
    assert!(names.len() > 1 && names.iter().all(|name| name.ends_with(".log")), "{names:?}");
    (image, names)
}

/// The last event that the index knows.
fn known(image: &Image) -> u64 {
    let files =
        msglogd::index::files::RunFiles::new(FaultyStorage::new(image.clone()).shared(), folders().index);
    files.read(&mut |_| {}).expect("an index").last().map_or(0, |run| run.meta().last)
}

/// A start names this file; a repair makes it a log that holds every seq up to what the index knew.
#[track_caller]
fn assert_refused_and_repaired(image: &Image, named: &Path) {
    let storage = FaultyStorage::new(image.clone());
    match open(&storage).map(|store| store.snapshot.last) {
        Err(Failure::Damage { path, .. }) => assert_eq!(path, named),
        other => panic!("{other:?}"),
    }
    let before: Vec<_> = image.listing(&folders().log).collect();
    let after = storage.image();
    assert!(after.listing(&folders().log).eq(before), "a refused start changed the log");
    let shared: Arc<dyn Storage> = storage.shared();
    let known = known(image);
    repair::carry_out(&shared, &folders(), 0).expect("it can be repaired");
    let snapshot = open(&storage).expect("a daemon starts on it").snapshot;
    assert!(snapshot.last >= known, "it ends at {}, and the index knew {known}", snapshot.last);
    assert!(snapshot.counts().lost > 0);
    (1..=snapshot.last)
        .for_each(|seq| assert!(snapshot.record(seq).expect("it is whole").is_some(), "{seq}"));
}

#[test]
fn a_log_whose_newest_segment_reads_as_zeros_is_not_cut() {
    let (mut image, names) = indexed();
    let newest = &names[names.len() - 1];
    image.wipe(&folders().log, newest, 0);
    assert_refused_and_repaired(&image, &folders().log.join(newest));
}

#[test]
fn a_log_without_its_first_segment_is_refused_though_no_start_reads_it() {
    let (mut image, names) = indexed();
    image.forget(&folders().log, &names[0]);
    assert_refused_and_repaired(&image, &folders().log.join(&names[0]));
}

#[test]
fn a_log_without_any_segment_is_not_begun_anew() {
    let (mut image, names) = indexed();
    names.iter().for_each(|name| image.forget(&folders().log, name));
    assert_refused_and_repaired(&image, &folders().log.join(&names[0]));
}
