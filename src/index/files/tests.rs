//! Which run files are there and named, whatever fails on the way.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;
use crate::index::run::Meta;
use crate::index::run_writer::RunWriter;
use crate::storage::File;
use crate::storage::LIST_BYTES_MAX;
use crate::storage::failing::{Call, Failing, fail_if};
use crate::storage::memory::Memory;

fn run_of(files: &RunFiles, first: u64, keys: u32) -> Arc<Run> {
    let meta = Meta { first, last: first, dense_from: first + 1, ..Meta::default() };
    let name = name_of(&meta);
    let fill = |writer: &mut RunWriter, _: &mut dyn FnMut()| {
        let mut keys = (0..keys).map(|key| [&[1], key.to_be_bytes().as_slice()].concat());
        keys.try_for_each(|key| writer.add(&key, &[7; 100])).expect("memory");
        Ok(meta)
    };
    files.make(&name, u64::from(keys), 0, &[], &mut || Ok(()), fill).expect("memory")
}

#[test]
fn a_merge_that_is_given_up_ends_and_leaves_nothing() {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let files = RunFiles::new(Arc::clone(&storage), "/index".into());
    let runs = [run_of(&files, 1, 20_000), run_of(&files, 2, 20_000)];
    let stop = || Error::new(Code::ShuttingDown, "it stops");
    let times = |fails_at: usize| {
        let (mut asked, mut written) = (0, 0);
        let merged = files.merge(&runs, false, &mut || {
            asked += 1;
            let length = |file: Arc<dyn File>| file.length().expect("memory");
            let unfinished = files.folder().join(format!("{:020}-{:020}.run.tmp", 1, 2));
            written = storage.open(&unfinished, Open::Read).map_or(written, length);
            if asked < fails_at { Ok(()) } else { Err(stop()) }
        });
        (asked, written, merged.map(|_| ()))
    };
    for fails_at in [1, 20] {
        let (asked, written, merged) = times(fails_at);
        assert_eq!((asked, merged), (fails_at, Err(stop())), "it is not asked again");
        assert!(written < 1 << 20, "{written}");
        assert_eq!(storage.list(files.folder()).expect("memory").len(), 2, "the two that there were");
    }
    let (asked, written, merged) = times(usize::MAX);
    assert!(asked > 60 && written > 1 << 20 && merged.is_ok(), "{asked} {written} {merged:?}");
}

/// How many files the manifest names, and `recent`.
fn named(files: &RunFiles) -> (usize, usize) {
    let count = |list: &str| files.names_in(list).map_or(0, |names| names.len());
    (count(MANIFEST), count(RECENT))
}

#[test]
fn the_manifest_names_all_runs_up_to_the_last_large_one() {
    for (synced_bytes, in_manifest) in [(0, 3), (10_000, 2), (1 << 30, 0)] {
        let files = RunFiles::new(Arc::new(Memory::default()), "/index".into()).sync_from(synced_bytes);
        let runs = [run_of(&files, 1, 1), run_of(&files, 2, 1000), run_of(&files, 3, 1)];
        files.announce(&runs).expect("memory");
        assert_eq!(named(&files), (in_manifest, 3 - in_manifest), "{synced_bytes}");
        assert_eq!(files.read(&mut |error| panic!("{error}")).expect("whole").len(), 3);
    }
}

#[test]
fn a_list_of_recent_runs_that_is_older_than_the_manifest_says_no_more_than_what_lies_behind_it() {
    let killed = Arc::new(AtomicBool::new(false));
    let at = Arc::clone(&killed);
    let storage = Failing::in_memory(move |call, path| match call {
        Call::Rename if path.to_string_lossy().contains(RECENT) => fail_if(&at),
        _ => Ok(()),
    });
    let files = RunFiles::new(storage, "/index".into()).sync_from(100_000);
    let small = [run_of(&files, 1, 10), run_of(&files, 2, 10), run_of(&files, 3, 10)];
    files.announce(&small).expect("memory");
    let merged = Meta { first: 1, last: 2, dense_from: 3, ..Meta::default() };
    let fill = |writer: &mut RunWriter, _: &mut dyn FnMut()| {
        writer.add(&[1], &[7; 200_000]).expect("memory");
        Ok(merged.clone())
    };
    let large = files.make(&name_of(&merged), 1, 1 << 20, &[], &mut || Ok(()), fill).expect("memory");
    killed.store(true, SeqCst);
    files.announce(&[large, Arc::clone(&small[2])]).expect_err("it is killed between both lists");
    files.remove(&small[..2]);
    assert_eq!(named(&files), (1, 3));
    let read = files.read(&mut |error| panic!("{error}")).expect("whole");
    assert_eq!(read.iter().map(|run| run.meta().last).collect::<Vec<u64>>(), [2, 3]);
}

#[test]
fn a_list_that_cannot_be_read_now_costs_no_run_its_file() {
    let bad = Arc::new(AtomicBool::new(false));
    let fault = Arc::clone(&bad);
    let storage = Failing::in_memory(move |call, path| match call {
        Call::Open if path.to_string_lossy().ends_with(RECENT) && fault.load(SeqCst) => {
            Err(rustix::io::Errno::MFILE.into())
        }
        _ => Ok(()),
    });
    let files = RunFiles::new(storage, "/index".into()).sync_from(1 << 30);
    files.announce(&[run_of(&files, 1, 10), run_of(&files, 2, 10)]).expect("memory");
    bad.store(true, SeqCst);
    files.remove_others().expect_err("there may be files that the list names");
    bad.store(false, SeqCst);
    files.remove_others().expect("memory");
    assert_eq!(files.read(&mut |error| panic!("{error}")).expect("whole").len(), 2);
}

#[test]
fn a_run_whose_sync_failed_once_is_not_believed_to_be_on_the_disk() {
    let bad = Arc::new(AtomicBool::new(false));
    let fault = Arc::clone(&bad);
    let storage = Failing::in_memory(move |call, path| match call {
        // The lists are another affair.
        Call::Sync if path.to_string_lossy().contains(".run") => fail_if(&fault),
        _ => Ok(()),
    });
    let files = RunFiles::new(Arc::clone(&storage) as _, "/index".into()).sync_from(10_000);
    let runs = [run_of(&files, 1, 1000), run_of(&files, 2, 1000), run_of(&files, 3, 1)];
    files.announce(&runs[..1]).expect("memory");
    assert_eq!(named(&files), (1, 0));
    for fails in [true, false] {
        bad.store(fails, SeqCst);
        files.announce(&runs).expect("memory");
        assert_eq!(named(&files), (1, 2), "the next sync says that all is well");
    }
    assert_eq!(files.read(&mut |error| panic!("{error}")).expect("whole").len(), 3);
}

#[test]
fn a_manifest_that_seems_to_be_longer_than_any_is_damaged_and_not_read() {
    let storage = Arc::new(Memory::default());
    let files = RunFiles::new(Arc::clone(&storage) as _, "/index".into());
    let manifest = storage.open(&files.folder().join(MANIFEST), Open::Create).expect("memory");
    manifest.set_length(LIST_BYTES_MAX + 1).expect("memory");
    let said = files.read(&mut |_| ()).expect_err("it is no list");
    assert_eq!(said.code(), Code::Corrupt, "{said}");
}

#[test]
fn only_what_is_named_as_this_program_names_its_files_is_a_run_or_one_that_was_not_whole_yet() {
    let (run, later) =
        ("00000000000000000001-00000000000000000002.run", "00000000000000000001-00000000000000000002-3.run");
    assert!(is_run(run) && is_run(later));
    for name in
        ["1.run", "00000000000000000001.run", "a-b.run", "00000000000000000001-00000000000000000002-x.run"]
    {
        assert!(!is_run(name), "{name}");
    }
    let unfinished =
        [&format!("{run}.tmp"), &format!("{later}.tmp"), "manifest.tmp", "recent.tmp", "piece-1.tmp"];
    assert!(unfinished.into_iter().chain(["piece-12.tmp.tmp", "piece-12.tmp.grams.tmp"]).all(is_unfinished));
    assert!(!["a.tmp", "piece-x.tmp", "piece-1", "1.run.tmp", "manifest"].into_iter().any(is_unfinished));
}
