//! The background at work, on files in memory.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use crate::domain::event::Event;
use crate::domain::table::{Changes, Counts};
use crate::domain::testing;
use crate::index::tail::Added;
use crate::storage::failing::{Call, Failing, fail_if};
use crate::storage::memory::Memory;
use crate::storage::{Open, Storage};
use crossbeam_channel::{bounded, unbounded};

/// A tail of one event.
fn tail_of(event: Event) -> Arc<Tail> {
    tail_with(event, Changes::default())
}

/// A tail of one event that changed this.
fn tail_with(event: Event, changes: Changes) -> Arc<Tail> {
    let tail = Arc::new(Tail::new(event.seq));
    let counts = Counts::default();
    tail.add(Added { events: &[event], offsets: &[0], changes, counts, deleted: Vec::new() });
    tail
}

#[test]
fn what_was_removed_is_left_out_when_there_is_nothing_else_to_do() {
    let files = RunFiles::new(Arc::new(Memory::default()) as _, "/index".into());
    let ((writer, told), (to_background, work)) = (unbounded(), unbounded());
    let background = Background { files, writer, stats: Arc::default() };
    let background = std::thread::spawn(move || background.run(Vec::new(), &work));
    let keys = |value: Option<&[u8]>| {
        let keys = (0..5000_u32).map(|key| [&[1], &key.to_be_bytes()[..]].concat());
        Changes(keys.map(|key| (key, value.map(<[u8]>::to_vec))).collect())
    };
    let changes = [keys(Some(&[7])), keys(None)];
    for (event, changes) in testing::events().zip(changes) {
        to_background.send(ToBackground::Flush(tail_with(event, changes))).expect("it lives");
    }
    let mut runs = std::iter::from_fn(|| match told.recv_timeout(Duration::from_secs(30)) {
        Ok(ToWriter::NewRun(run)) => Some((run.meta().first, run.meta().last, run.meta().removed)),
        _ => panic!("nothing came"),
    });
    assert_eq!(runs.next(), Some((1, 1, 0)));
    assert_eq!(runs.next(), Some((2, 2, 5000)));
    assert_eq!(runs.next(), Some((1, 2, 0)));
    drop((runs, to_background));
    background.join().expect("it ends");
}

#[test]
fn what_came_at_a_time_is_merged_when_no_more_comes() {
    let files = RunFiles::new(Arc::new(Memory::default()) as _, "/index".into());
    let ((writer, told), (to_background, work)) = (unbounded(), unbounded());
    let tails = testing::events().take(6).map(tail_of);
    tails.for_each(|tail| to_background.send(ToBackground::Flush(tail)).expect("it lives"));
    let background = Background { files, writer, stats: Arc::default() };
    let background = std::thread::spawn(move || background.run(Vec::new(), &work));
    let mut made = std::iter::from_fn(|| match told.recv_timeout(Duration::from_secs(30)) {
        Ok(ToWriter::NewRun(run)) => Some((run.meta().first, run.meta().last)),
        _ => panic!("nothing came"),
    });
    let last = made.find(|run| run.0 < run.1).expect("they are more than there are to be");
    assert_eq!(last, (1, 6));
    drop((made, to_background));
    background.join().expect("it ends");
}

#[test]
fn runs_behind_a_damaged_one_are_merged_without_it() {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let files = RunFiles::new(Arc::clone(&storage), "/index".into());
    let mut tails = testing::events().take(18).map(tail_of);
    let damaged = files.write(&tails.next().expect("an event"), true).expect("memory");
    let path = files.folder().join(damaged.file().1);
    storage.open(&path, Open::Write).and_then(|file| file.write_at(&[0xff; 8], 0)).expect("memory");
    let ((writer, told), (to_background, work)) = (unbounded(), unbounded());
    let background = Background { files, writer, stats: Arc::default() };
    tails.for_each(|tail| to_background.send(ToBackground::Flush(tail)).expect("it lives"));
    drop(to_background);
    background.run(vec![damaged], &work);
    let (mut merged, mut largest) = (0, 0);
    for message in told.try_iter() {
        let ToWriter::NewRun(run) = message else { panic!("nothing else was done") };
        assert!(run.meta().first > 1, "the damaged one");
        merged += usize::from(run.meta().first < run.meta().last);
        largest = largest.max(run.meta().last - run.meta().first + 1);
    }
    assert!(merged >= 1 && largest >= 8, "{merged} merges, the largest of {largest} events");
}

#[test]
fn a_merged_file_that_cannot_be_announced_is_removed_unless_a_list_names_it() {
    for (synced_bytes, fails, left) in [(1 << 30, "recent", 8), (0, "manifest", 8), (0, "recent", 9)] {
        let full = Arc::new(AtomicBool::new(false));
        let fault = Arc::clone(&full);
        let storage = Failing::in_memory(move |call, path| match call {
            Call::Rename if path.to_string_lossy().contains(fails) => fail_if(&fault),
            _ => Ok(()),
        });
        let files = RunFiles::new(Arc::clone(&storage) as _, "/index".into()).sync_from(synced_bytes);
        let tails = testing::events().take(8).map(tail_of);
        let runs: Vec<Arc<Run>> =
            tails.map(|tail| files.write(&tail, tail.first() == 1).expect("memory")).collect();
        files.announce(&runs).expect("memory");
        full.store(true, Ordering::SeqCst);
        let ((writer, told), (to_background, work)) = (unbounded(), unbounded());
        drop(to_background);
        let background = Background { files, writer, stats: Arc::default() };
        background.run(runs, &work);
        assert!(told.try_recv().is_err(), "nothing was announced");
        let names = storage.list(Path::new("/index")).expect("memory");
        let runs = names.iter().filter(|name| name.ends_with(".run"));
        assert_eq!(runs.count(), left, "{fails}: {names:?}");
    }
}

#[test]
fn a_merge_makes_room_for_what_is_to_be_done_before_it() {
    let full = Arc::new(AtomicBool::new(true));
    let fault = Arc::clone(&full);
    let storage = Failing::in_memory(move |call, path| match call {
        // A file of one event, while there is one in the making.
        Call::Rename if path.to_string_lossy().contains("9-") => fail_if(&fault),
        _ => Ok(()),
    });
    let files = RunFiles::new(Arc::clone(&storage) as _, "/index".into());
    let mut tails = testing::events().take(9).map(tail_of);
    let runs: Vec<Arc<Run>> =
        tails.by_ref().take(8).map(|tail| files.write(&tail, tail.first() == 1).expect("memory")).collect();
    let ((writer, told), (to_background, work)) = (unbounded(), unbounded());
    let background = Background { files, writer, stats: Arc::default() };
    let mut desk = Desk::at(runs);
    to_background.send(ToBackground::Part(8)).expect("it lives");
    to_background.send(ToBackground::Flush(tails.next().expect("a ninth"))).expect("it lives");
    assert!(!background.merge(0, &mut desk, &work, Meanwhile::FlushAndMerge), "the tail has no room");
    assert_eq!((desk.part, desk.put_off.len(), desk.runs.len()), (8, 1, 8));
    let names = storage.list(Path::new("/index")).expect("memory");
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");

    full.store(false, Ordering::SeqCst);
    drop(to_background);
    let Some(ToBackground::Flush(tail)) = desk.put_off.pop_front() else { panic!("it was put off") };
    background.flush_until_done(&tail, &mut desk, &work);
    assert!(background.merge(0, &mut desk, &work, Meanwhile::FlushAndMerge), "there is nothing else");
    assert_eq!((desk.runs.len(), told.try_iter().count()), (1, 2));
}

#[test]
fn files_that_come_during_a_merge_are_merged_meanwhile_and_those_of_a_compaction_are_left_to_it() {
    for compacts in [false, true] {
        let files = RunFiles::new(Arc::new(Memory::default()) as _, "/index".into());
        let mut tails = testing::events().take(24).map(tail_of);
        let runs: Vec<Arc<Run>> = tails
            .by_ref()
            .take(8)
            .map(|tail| files.write(&tail, tail.first() == 1).expect("memory"))
            .collect();
        let ((writer, told), (to_background, work)) = (unbounded(), unbounded());
        let background = Background { files, writer, stats: Arc::default() };
        let mut desk = Desk::at(runs);
        if compacts {
            to_background.send(ToBackground::Part(20)).expect("it lives");
        }
        tails.for_each(|tail| to_background.send(ToBackground::Flush(tail)).expect("it lives"));
        assert!(background.merge(0, &mut desk, &work, Meanwhile::FlushAndMerge));
        let left: Vec<(u64, u64)> = desk.runs.iter().map(|run| (run.meta().first, run.meta().last)).collect();
        let expected: Vec<(u64, u64)> = if compacts {
            std::iter::once((1, 8)).chain((9..=24).map(|seq| (seq, seq))).collect()
        } else {
            vec![(1, 8), (9, 24)]
        };
        assert_eq!(left, expected);
        let announced = told.try_iter().filter(|message| matches!(message, ToWriter::NewRun(_))).count();
        assert_eq!(announced, 16 + expected.iter().filter(|(first, last)| first < last).count());
        let files = background.files.read(&mut |error| panic!("{error}")).expect("whole");
        assert_eq!(files.len(), expected.len(), "what was merged is named no more");
    }
}

#[test]
fn a_merge_meanwhile_that_has_no_room_is_tried_once_and_the_large_one_goes_on() {
    let (to_background, work) = unbounded();
    let tails: Vec<Arc<Tail>> = testing::events().take(17).map(tail_of).collect();
    let (tries, last, more) = (Arc::new(AtomicU32::new(0)), Arc::clone(&tails[16]), to_background.clone());
    let tried = Arc::clone(&tries);
    let storage = Failing::in_memory(move |call, path| match call {
        // One file of several that came during the merge; then one more comes.
        Call::Rename if path.to_string_lossy().contains("/00000000000000000009-0000000000000000001") => {
            tried.fetch_add(1, Ordering::SeqCst);
            more.send(ToBackground::Flush(Arc::clone(&last))).expect("it lives");
            Err(std::io::Error::other("no room"))
        }
        _ => Ok(()),
    });
    let files = RunFiles::new(Arc::clone(&storage) as _, "/index".into());
    let of_tail = |tail: &Arc<Tail>| files.write(tail, tail.first() == 1).expect("memory");
    let runs: Vec<Arc<Run>> = tails[..8].iter().map(of_tail).collect();
    let (writer, _told) = unbounded();
    let background = Background { files, writer, stats: Arc::default() };
    let mut desk = Desk::at(runs);
    for tail in &tails[8..16] {
        to_background.send(ToBackground::Flush(Arc::clone(tail))).expect("it lives");
    }
    assert!(background.merge(0, &mut desk, &work, Meanwhile::FlushAndMerge));
    assert_eq!((desk.runs.len(), tries.load(Ordering::SeqCst)), (1 + 9, 1));
}

#[test]
fn tails_become_files_in_their_order_also_where_some_were_put_off() {
    let files = RunFiles::new(Arc::new(Memory::default()) as _, "/index".into());
    let ((writer, told), (to_background, work)) = (unbounded(), unbounded());
    let background = Background { files, writer, stats: Arc::default() };
    let mut desk = Desk::at(Vec::new());
    let mut tails = testing::events().take(16).map(tail_of);
    // The disk was full for a while.
    desk.put_off.extend(tails.by_ref().take(11).map(ToBackground::Flush));
    tails.for_each(|tail| to_background.send(ToBackground::Flush(tail)).expect("it lives"));
    drop(to_background);
    background.work_through(&mut desk, &work);
    let range = |message| match message {
        ToWriter::NewRun(run) => (run.meta().first, run.meta().last),
        _ => panic!("nothing else was done"),
    };
    let made: Vec<(u64, u64)> = told.try_iter().map(range).collect();
    let of_tails = made.iter().filter(|(first, last)| first == last);
    assert!(of_tails.map(|(first, _)| *first).eq(1..=16) && made.len() > 16, "{made:?}");
}

#[test]
fn a_compaction_is_taken_though_the_tail_that_it_covers_cannot_be_written() {
    let full = Arc::new(AtomicBool::new(false));
    let fault = Arc::clone(&full);
    let storage = Failing::in_memory(move |call, _| match call {
        Call::Rename => fail_if(&fault),
        _ => Ok(()),
    });
    let tail = tail_of(testing::events().next().expect("an event"));
    let files = RunFiles::new(Arc::clone(&storage) as _, "/index".into());
    let run = files.write(&tail, true).expect("memory");
    full.store(true, Ordering::SeqCst);

    let ((writer, told), (to_background, work)) = (unbounded(), unbounded());
    let background = Background { files, writer, stats: Arc::default() };
    let background = std::thread::spawn(move || background.run(Vec::new(), &work));
    let (done, _done) = bounded(1);
    let (segments, compacted) = (Vec::new(), Arc::default());
    let compaction = Compaction { segments, run, compacted, indexed: Ok(()), done };
    for work in
        [ToBackground::Part(1), ToBackground::Flush(tail), ToBackground::Compacted(Box::new(compaction))]
    {
        to_background.send(work).expect("it lives");
    }
    let first = told.recv_timeout(Duration::from_secs(30)).expect("it is taken");
    let ToWriter::Compacted(compaction) = first else { panic!("nothing else was done") };
    assert!(compaction.indexed.is_err(), "the list of run files is the old one");
    drop(to_background);
    background.join().expect("it ends");
    let left = storage.list(Path::new("/index")).expect("memory");
    assert!(left.iter().all(|name| !name.ends_with("tmp")), "{left:?}");
}
