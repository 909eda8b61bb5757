//! The writer's turns, in memory.

use std::path::Path;
use std::sync::Mutex;

use crossbeam_channel::{bounded, unbounded};

use super::*;
use crate::domain::command::Command;
use crate::limits::FRAME_BYTES;
use crate::protocol::request;
use crate::storage::Storage;
use crate::storage::memory::Memory;
use crate::store::testing::Silence;
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

/// A writer of an empty store, and what it will have told.
fn writer() -> (Writer, Told) {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let store = store::open(&storage, &Folders::new(Path::new("/data")), 1 << 20, &mut Silence);
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
        sealed: Box::new(|| {}),
        uid: 0,
        flush_bytes: 1 << 20,
        syncer: None,
    };
    around.stats.followers.add(1);
    (Writer::new(store, around).expect("a store"), told)
}

/// A write whose line is said to have so many bytes.
fn asked(number: u64, bytes: usize) -> Asked {
    let line = br#"{"cmd":"kv.set","key":"k","value":1}"#;
    let Ok(Command::Write(request)) = request::parse(line).command else { panic!("it is a write") };
    Asked { ticket: Ticket { connection: 1, number }, uid: 0, request, bytes }
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
