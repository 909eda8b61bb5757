//! The writer's turns, in memory.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crossbeam_channel::{bounded, unbounded};

use super::*;
use crate::domain::command::Command;
use crate::limits::{FRAME_BYTES, TAILS};
use crate::log::compacted::Compacted;
use crate::protocol::request;
use crate::storage::Storage;
use crate::storage::failing::{Call, Failing, fail_if};
use crate::storage::memory::Memory;
use crate::store::{self, Folders};

/// Of a snapshot: how far the log is compacted, and the seqs of its runs.
type Shown = (u64, Vec<(u64, u64)>);

/// What the writer told others, in order.
struct Told {
    answers: Arc<Mutex<Vec<Answers>>>,
    tails: Arc<Mutex<Vec<Arc<Tail>>>>,
    shown: Arc<Mutex<Vec<Shown>>>,
    files: RunFiles,
}

/// A writer of an empty store in memory, and what it will have told.
fn writer() -> (Writer, Told) {
    writer_of(Arc::new(Memory::default()))
}

/// A writer of an empty store, and what it will have told.
fn writer_of(storage: Arc<dyn Storage>) -> (Writer, Told) {
    let store = store::open(&storage, &Folders::new(Path::new("/data")), 1 << 20, &mut ());
    let store = store.unwrap_or_else(|failure| panic!("memory: {failure}"));
    let told = Told {
        answers: Arc::default(),
        tails: Arc::default(),
        shown: Arc::default(),
        files: store.files.clone(),
    };
    let published = Arc::new(Published::default());
    let (answers, tails) = (Arc::clone(&told.answers), Arc::clone(&told.tails));
    let (shown, newest) = (Arc::clone(&told.shown), Arc::clone(&published));
    let around = Surroundings {
        published,
        stats: Arc::default(),
        deliver: Box::new(move |given| answers.lock().expect("a list").push(given)),
        announce: Box::new(move || {
            let Snapshot { compacted, runs, .. } = &*newest.load();
            let runs = runs.iter().map(|run| (run.meta().first, run.meta().last)).collect::<Vec<_>>();
            shown.lock().expect("a list").push((compacted.last, runs));
        }),
        background: Box::new(move |work| {
            if let ToBackground::Flush(tail) = work {
                tails.lock().expect("a list").push(tail);
            }
        }),
        held_up: Arc::default(),
        unread: Arc::new(Unread::new(2 * FRAME_BYTES)),
        sealed: Box::new(|| {}),
        uid: 0,
        flush_bytes: 1 << 20,
        syncer: None,
    };
    around.stats.followers.add(1);
    (Writer::new(store, around).expect("a store"), told)
}

/// A writer of an empty store, and what it will have told; while the last is set, such calls for files of the log fail.
fn writer_that_fails_at(which: fn(Call<'_>) -> bool) -> (Writer, Told, Arc<AtomicBool>) {
    let fault = Arc::new(AtomicBool::new(false));
    let at = Arc::clone(&fault);
    let (writer, told) = writer_of(Failing::in_memory(move |call, path| {
        if path.starts_with("/data/log") && which(call) { fail_if(&at) } else { Ok(()) }
    }));
    (writer, told, fault)
}

/// Whether records are written, and no room is made ahead.
fn writes_records(call: Call<'_>) -> bool {
    matches!(call, Call::Write(bytes) if bytes.iter().any(|byte| *byte > 0))
}

/// A write whose line is said to have so many bytes.
fn asked(number: u64, bytes: usize) -> Asked {
    Asked { bytes, ..asks(number, r#"{"cmd":"kv.set","key":"k","value":1}"#) }
}

fn asks(number: u64, line: &str) -> Asked {
    let Ok(Command::Write(request)) = request::parse(line.as_bytes()).command else { panic!("{line}") };
    Asked { ticket: Ticket { connection: 1, number }, uid: 0, request, bytes: line.len() }
}

const RESERVE: &str = r#"{"cmd":"queue.reserve","queue":"q","wait_ms":3600000,"lease_ms":3600000}"#;
const PUT: &str = r#"{"cmd":"queue.put","queue":"q","body":1}"#;

/// Whom the writer answered since that was asked last, in turns: `Err` of those who were refused.
fn answered(told: &Told) -> Vec<Vec<std::result::Result<u64, u64>>> {
    let answers = std::mem::take(&mut *told.answers.lock().expect("a list"));
    let of = |(ticket, answer): &(Ticket, Result<_>)| match answer {
        Ok(_) => Ok(ticket.number),
        Err(_) => Err(ticket.number),
    };
    let turns = answers.iter().map(|answers| answers.list.iter().map(of).collect());
    turns.filter(|turn: &Vec<_>| !turn.is_empty()).collect()
}

/// One turn in which this is asked.
fn turn_of(writer: &mut Writer, asked: Vec<Asked>) {
    turn_at(writer, Instant::now(), asked);
}

/// The same at a moment.
fn turn_at(writer: &mut Writer, now: Instant, asked: Vec<Asked>) {
    let mut turn = writer.begin_turn();
    turn.now = now;
    writer.take(&mut turn, ToWriter::Requests(asked));
    writer.commit(turn);
}

#[test]
fn a_run_that_was_made_behind_a_compaction_is_not_shown_before_it() {
    let (mut writer, told) = writer();
    let (reply, sealed) = bounded(2);
    for number in 1..=2 {
        let mut turn = writer.begin_turn();
        writer.take(&mut turn, ToWriter::Requests(vec![asked(number, 40)]));
        writer.take(&mut turn, ToWriter::Seal(reply.clone()));
        writer.commit(turn);
    }
    let tails = told.tails.lock().expect("a list");
    let runs: Result<Vec<_>> = tails.iter().map(|tail| told.files.write(tail, true)).collect();
    let runs = runs.expect("memory");
    let both = told.files.merge(&runs, true, &mut || Ok(())).expect("memory");
    let snapshot = sealed.recv().expect("an answer").expect("it is sealed");
    let (done, answer) = bounded(1);
    let compaction = Compaction {
        segments: snapshot.segments[..1].to_vec(),
        run: Arc::clone(&runs[0]),
        compacted: Arc::new(Compacted::new(1, 1, Vec::new())),
        indexed: Ok(()),
        done,
    };
    told.shown.lock().expect("a list").clear();

    let mut turn = writer.begin_turn();
    writer.take(&mut turn, ToWriter::Compacted(Box::new(compaction)));
    writer.take(&mut turn, ToWriter::NewRun(both));
    writer.commit(turn);
    answer.recv().expect("it is told").expect("it is done");
    assert_eq!(*told.shown.lock().expect("a list"), [(1, vec![(1, 1)]), (1, vec![(1, 2)])]);
}

#[test]
fn a_stop_that_cannot_cut_the_room_made_ahead_has_everything_on_disk_and_one_that_cannot_sync_says_so() {
    for (which, said) in [
        ((|call| call == Call::SetLength) as fn(Call<'_>) -> bool, None),
        (|call| call == Call::Sync, Some("the log's end cannot be synced")),
    ] {
        let (mut writer, _, fault) = writer_that_fails_at(which);
        turn_of(&mut writer, vec![asked(1, 1)]);
        fault.store(true, SeqCst);
        let ended = writer.end().err();
        assert_eq!(ended.is_some(), said.is_some(), "{ended:?}");
        assert!(ended.is_none_or(|ended| said.is_some_and(|said| ended.contains(said))));
    }
}

#[test]
fn a_segment_that_cannot_be_sealed_on_a_full_disk_is_told_with_the_room_that_the_next_one_needs() {
    let full = Arc::new(AtomicBool::new(false));
    let at = Arc::clone(&full);
    let (mut writer, _) = writer_of(Failing::in_memory(move |call, path| match call {
        Call::Write(_) if path.starts_with("/data/log") && at.load(SeqCst) => {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        _ => Ok(()),
    }));
    turn_of(&mut writer, vec![asked(1, 1)]);
    full.store(true, SeqCst);
    let (reply, sealed) = bounded(1);
    writer.change_log(ToWriter::Seal(reply));
    let error = sealed.recv().expect("an answer").err().expect("there is no room");
    let needs = format!("the next one needs {} bytes", writer.log.reserve());
    assert!(error.message().contains(&needs), "{error}");
}

#[test]
fn what_a_turn_has_no_room_for_is_decided_in_the_next_ones_before_all_else() {
    let (writer, told) = writer();
    let (to_writer, inbox) = unbounded();
    let parcel = (1..=5).map(|number| asked(number, FRAME_BYTES / 2)).collect();
    to_writer.send(ToWriter::Requests(parcel)).expect("it lives");
    to_writer.send(ToWriter::Requests(vec![asked(6, 40)])).expect("it lives");
    to_writer.send(ToWriter::Finish).expect("it lives");
    writer.run(&inbox).expect("memory");
    let answers = told.answers.lock().expect("a list");
    let numbers =
        |answers: &Answers| answers.list.iter().map(|(ticket, _)| ticket.number).collect::<Vec<_>>();
    assert_eq!(answers.iter().map(numbers).collect::<Vec<_>>(), [vec![1, 2], vec![3, 4], vec![5, 6]]);
    let decided: usize = answers.iter().map(|answers| answers.decided_bytes).sum();
    assert_eq!(decided, 5 * asked(1, FRAME_BYTES / 2).held_bytes() + asked(6, 40).held_bytes());
}

/// A put whose body has half of what goes into a frame.
fn large_put(number: u64, queue: &str) -> Asked {
    let body = "x".repeat(FRAME_BYTES / 2);
    asks(number, &format!(r#"{{"cmd":"queue.put","queue":"{queue}","body":"{body}"}}"#))
}

/// Eight large jobs in each queue whose leases run out at the same moment, and as many reserves that wait for them:
/// those of the first queue have the numbers from 1 on, of the second from 11 on. Answers the moment.
fn jobs_run_out(writer: &mut Writer, told: &Told, queues: &[&str]) -> Instant {
    let numbers =
        || (0..).zip(queues).flat_map(|(place, queue)| (1..=8).map(move |job| (10 * place + job, *queue)));
    for (number, queue) in numbers() {
        let leased = RESERVE.replace("3600000", "1").replace("\"q\"", &format!("{queue:?}"));
        turn_of(writer, vec![large_put(number, queue), asks(number, &leased.replace("\"wait_ms\":1,", ""))]);
    }
    let waits = |(number, queue)| asks(number, &RESERVE.replace("\"q\"", &format!("{queue:?}")));
    turn_of(writer, numbers().map(waits).collect());
    answered(told);
    writer.around.unread.arrived(8 * queues.len() * FRAME_BYTES / 2);
    let start = Instant::now() + Duration::from_secs(60);
    writer.heard.nothing_since(start);
    start
}

#[test]
fn queues_for_whose_jobs_there_is_no_room_at_once_take_turns() {
    let (mut writer, told) = writer();
    let start = jobs_run_out(&mut writer, &told, &["q", "r"]);
    for _ in 0..6 {
        turn_at(&mut writer, start, Vec::new());
        writer.around.unread.arrived(FRAME_BYTES);
    }
    let expected = [[1, 2], [11, 12], [3, 4], [13, 14], [5, 6], [15, 16]].map(|turn| turn.map(Ok).to_vec());
    assert_eq!(answered(&told), expected);
}

#[test]
fn a_job_that_another_took_in_a_frame_that_could_not_be_written_is_for_who_waits() {
    let (mut writer, told, fault) = writer_that_fails_at(writes_records);
    let start = jobs_run_out(&mut writer, &told, &["q"]);
    for turn in [vec![Ok(1), Ok(2)], vec![Ok(3), Ok(4)], vec![Ok(5), Ok(6)]] {
        turn_at(&mut writer, start, Vec::new());
        writer.around.unread.arrived(FRAME_BYTES);
        assert_eq!(answered(&told), [turn]);
    }
    fault.store(true, SeqCst);
    let takes_both = r#"{"cmd":"queue.reserve","queue":"q","max":2}"#;
    turn_at(&mut writer, start, vec![asks(20, takes_both)]);
    assert_eq!(answered(&told), [vec![Err(20)]]);
    fault.store(false, SeqCst);
    let again = start + timers::TIMER_AGAIN;
    assert_eq!(writer.waiters.next_deadline(), Some(again));
    turn_at(&mut writer, again, Vec::new());
    assert_eq!(answered(&told), [vec![Ok(7), Ok(8)]]);
}

#[test]
fn jobs_for_those_who_wait_go_out_a_frame_at_a_time_and_slowly_while_nobody_reads() {
    let (mut writer, told) = writer();
    let start = jobs_run_out(&mut writer, &told, &["q"]);
    let at = |ms| start + Duration::from_millis(ms);
    turn_at(&mut writer, at(0), Vec::new());
    // However much others send.
    turn_at(&mut writer, at(0), vec![asked(9, 4 * FRAME_BYTES)]);
    assert_eq!(answered(&told), [vec![Ok(1), Ok(2)], vec![Ok(9), Ok(3), Ok(4)]]);
    // Who comes now waits behind the others.
    turn_at(&mut writer, at(0), vec![asks(10, RESERVE)]);
    assert!(answered(&told).is_empty(), "two frames are not read");
    assert_eq!(writer.waiters.next_deadline(), Some(at(10)));
    turn_at(&mut writer, at(10), Vec::new());
    assert_eq!((answered(&told), writer.waiters.next_deadline()), (vec![vec![Ok(5)]], Some(at(20))));
    writer.around.unread.arrived(5 * FRAME_BYTES / 2);
    turn_at(&mut writer, at(20), Vec::new());
    turn_at(&mut writer, at(20), Vec::new());
    assert_eq!(answered(&told), [vec![Ok(6), Ok(7)], vec![Ok(8)]]);
    assert!(writer.waiters.len() == 1 && !writer.waiters.is_put_off("q"), "one waits, and for no job");
}

#[test]
fn a_job_that_is_put_goes_to_who_waits_for_it_in_the_same_frame_however_large_it_is() {
    let (mut writer, told) = writer();
    turn_of(&mut writer, (1..=4).map(|number| asks(number, RESERVE)).collect());
    writer.around.unread.note_held(100 * FRAME_BYTES);
    turn_of(&mut writer, (5..=6).map(|number| large_put(number, "q")).collect());
    assert_eq!(answered(&told), [vec![Ok(1), Ok(5), Ok(2), Ok(6)]]);
}

#[test]
fn who_waits_for_a_job_that_there_was_no_room_for_yet_is_told_of_a_stop_with_all_who_come_then() {
    let (mut writer, told) = writer();
    let start = jobs_run_out(&mut writer, &told, &["q"]);
    turn_at(&mut writer, start, Vec::new());
    assert_eq!(answered(&told), [vec![Ok(1), Ok(2)]]);
    let mut turn = writer.begin_turn();
    writer.take(&mut turn, ToWriter::Stop);
    writer.take(&mut turn, ToWriter::Requests(vec![asks(11, RESERVE)]));
    writer.commit(turn);
    let answers = told.answers.lock().expect("a list").pop().expect("a turn");
    let jobs = |(ticket, answer): &(Ticket, Result<_>)| {
        let fields = answers.fields(answer).expect("no refusal");
        (ticket.number, fields.starts_with(b",\"jobs\":["), fields.len() > 100)
    };
    let (expected, told) = ((3..=8).map(|number| (number, true, false)), answers.list.iter().map(jobs));
    assert!(told.eq(expected.chain([(11, true, true)])), "who came behind the stop got a job that was ready");
    assert_eq!(writer.waiters.next_deadline(), None);
}

#[test]
fn who_waits_for_a_job_is_told_when_there_can_be_none_any_more() {
    let (mut writer, told, fault) = writer_that_fails_at(|call| call == Call::Sync);
    turn_of(&mut writer, vec![asks(1, RESERVE), asks(2, RESERVE)]);
    assert!(answered(&told).is_empty());
    fault.store(true, SeqCst);
    turn_of(&mut writer, vec![asked(3, 40)]);
    assert_eq!(answered(&told), [vec![Err(3)], vec![Err(1), Err(2)]]);
    assert_eq!(writer.waiters.next_deadline(), None);
}

/// A writer on a full disk: a lease has run out, which could be written, and two wait for that job, whose lease could
/// not. Since when that is so, and what makes room.
fn writer_on_a_full_disk() -> (Writer, Told, Arc<AtomicBool>, Instant) {
    let makes_room = |call: Call<'_>| matches!(call, Call::Write(_)) && !writes_records(call);
    let (mut writer, told, fault) = writer_that_fails_at(makes_room);
    let leased = r#"{"cmd":"queue.reserve","queue":"q","lease_ms":1}"#;
    turn_of(&mut writer, vec![asks(1, PUT), asks(2, leased), asks(3, RESERVE), asks(4, RESERVE)]);
    assert_eq!(answered(&told), [vec![Ok(1), Ok(2)]]);
    fault.store(true, SeqCst);
    for bytes in [1 << 14, 1] {
        let set = format!(r#"{{"cmd":"kv.set","key":"k","value":"{}"}}"#, "x".repeat(bytes));
        let refused = (0..1000).any(|_| {
            turn_of(&mut writer, vec![asks(5, &set)]);
            answered(&told).concat() == [Err(5)]
        });
        assert!(refused, "the disk is full");
    }
    let start = Instant::now() + Duration::from_secs(1);
    writer.heard.nothing_since(start);
    turn_at(&mut writer, start, Vec::new());
    let again = Some(start + timers::TIMER_AGAIN);
    assert_eq!(
        (answered(&told).concat(), writer.waiters.next_deadline()),
        (vec![], again),
        "its lease ran out"
    );
    (writer, told, fault, start)
}

#[test]
fn who_waits_for_a_job_waits_on_while_the_disk_is_full() {
    let (mut writer, told, fault, start) = writer_on_a_full_disk();
    fault.store(false, SeqCst);
    turn_at(&mut writer, start + timers::TIMER_AGAIN, Vec::new());
    assert_eq!(answered(&told), [vec![Ok(3)]]);
}

#[test]
fn who_waits_for_a_job_waits_no_longer_when_a_write_finds_room_again() {
    let (mut writer, told, fault, start) = writer_on_a_full_disk();
    fault.store(false, SeqCst);
    turn_at(&mut writer, start, vec![asked(6, 40)]);
    assert_eq!((answered(&told), writer.waiters.next_deadline()), (vec![vec![Ok(6)]], Some(start)));
    turn_at(&mut writer, start, Vec::new());
    assert_eq!(answered(&told), [vec![Ok(3)]]);
}

#[test]
fn who_comes_where_nobody_waits_any_more_is_given_what_there_is() {
    let (mut writer, told, fault, start) = writer_on_a_full_disk();
    writer.waiters.forget(1);
    fault.store(false, SeqCst);
    turn_at(&mut writer, start, vec![asks(7, RESERVE)]);
    assert_eq!(answered(&told), [vec![Ok(7)]]);
}

#[test]
fn jobs_that_were_given_in_a_frame_that_could_not_be_written_are_given_again() {
    let (mut writer, told, fault) = writer_that_fails_at(writes_records);
    let start = jobs_run_out(&mut writer, &told, &["q"]);
    turn_at(&mut writer, start, Vec::new());
    assert_eq!(answered(&told), [vec![Ok(1), Ok(2)]]);
    fault.store(true, SeqCst);
    turn_at(&mut writer, start, Vec::new());
    assert_eq!(answered(&told), [vec![Err(3), Err(4)]]);
    fault.store(false, SeqCst);
    writer.around.unread.arrived(4 * FRAME_BYTES / 2);
    let again = start + timers::TIMER_AGAIN;
    assert_eq!(writer.waiters.next_deadline(), Some(again));
    turn_at(&mut writer, again, Vec::new());
    assert_eq!(answered(&told), [vec![Ok(5), Ok(6)]]);
}

/// Lets the writer's background make a run file of each tail at once.
fn with_background(writer: &mut Writer, told: &Told) -> Receiver<ToWriter> {
    let ((to_writer, inbox), files) = (unbounded(), told.files.clone());
    let mut is_first = true;
    writer.around.background = Box::new(move |work| {
        if let ToBackground::Flush(tail) = work {
            let run = files.write(&tail, std::mem::take(&mut is_first)).expect("memory");
            to_writer.send(ToWriter::NewRun(run)).expect("it lives");
        }
    });
    inbox
}

#[test]
fn what_fell_due_while_nobody_served_leaves_memory_for_run_files_as_it_is_carried_out() {
    let (mut writer, told) = writer();
    let inbox = with_background(&mut writer, &told);
    let delayed = PUT.replace("\"body\"", "\"delay_ms\":1,\"body\"");
    let commands = vec![delayed; 1000].join(",");
    let batch = format!(r#"{{"cmd":"batch","commands":[{commands}]}}"#);
    (1..=24).for_each(|number| turn_of(&mut writer, vec![asks(number, &batch)]));
    writer.around.flush_bytes = 1;
    writer.heard.nothing_since(Instant::now() + Duration::from_secs(60));
    writer.catch_up(&inbox);
    assert_eq!((writer.snapshot.last, writer.timers.next_due()), (48_000, None));
    let Snapshot { runs, tails, .. } = &*writer.snapshot;
    assert!(runs.len() > TAILS && tails.len() <= 3, "{} run files, {} tails", runs.len(), tails.len());
}
