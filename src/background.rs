//! The background: writes tails to run files, and merges run files, so that few are left.
//!
//! It works only on what changes no more. The writer puts a new run in the place of what it covers once
//! the file is there and the manifest names it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::error::{Code, Error, Result};
use crate::index::files::RunFiles;
use crate::index::levels::{Tiers, WHEN_BUSY, WHEN_CALM, are_crowded, due};
use crate::index::run::Run;
use crate::index::tail::Tail;
use crate::paths::move_away;
use crate::report;
use crate::stats::Stats;
use crate::writer::{Compaction, ToBackground, ToWriter};

/// How long it waits before it tries again what failed.
const RETRY: Duration = Duration::from_secs(1);
/// After so long without work it does what can wait.
const IDLE: Duration = Duration::from_secs(2);
/// A merge that could not be done is tried again after so long, if nothing else comes.
const MERGE_AGAIN: Duration = Duration::from_mins(1);
/// After so long without a new tail no more of them are likely to come.
const CALM: Duration = Duration::from_millis(500);
/// How often it looks whether a run that was replaced is still read.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often at most, when there is nothing else to do. Whoever reads longer closes the file.
const LOOKS: u32 = 50;

/// What the background works with.
pub struct Background {
    /// The run files.
    pub files: RunFiles,
    /// Told of every new run.
    pub writer: Sender<ToWriter>,
    /// What it counts.
    pub stats: Arc<Stats>,
}

impl Background {
    /// Writes what it is given to files until the sender is gone. `runs` are the run files there
    /// are, oldest first; each piece of work follows the one before.
    pub fn run(self, runs: Vec<Arc<Run>>, work: &Receiver<ToBackground>) {
        // Work for later must not keep anyone waiting now. A host that refuses goes on as it is.
        let _ = rustix::process::nice(10);
        self.work_through(&mut Desk::at(runs), work);
    }

    /// Does what lies before it and what is given until the sender is gone.
    fn work_through(&self, desk: &mut Desk, work: &Receiver<ToBackground>) {
        loop {
            // What was put off lies between the runs there are and what is given next.
            while desk.put_off.is_empty()
                && !desk.merges_wait
                && let Some(start) = desk.due(desk.tiers())
            {
                desk.merges_wait = !self.merge(start, desk, work);
            }
            let given = match desk.put_off.pop_front() {
                Some(given) => given,
                None => match desk.replaced.receive(work, desk.idle_work()) {
                    Ok(given) => given,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout)
                        if desk.merges_wait || desk.due(desk.tiers()).is_some() =>
                    {
                        desk.merges_wait = false;
                        continue;
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        desk.merges_wait = !self.merge(0, desk, work);
                        continue;
                    }
                },
            };
            desk.merges_wait = false;
            match given {
                ToBackground::Flush(tail) => self.flush_until_done(&tail, desk, work),
                ToBackground::Part(last) => desk.part = last,
                ToBackground::Compacted(compaction) => {
                    desk.part = 0;
                    self.take_compaction(*compaction, desk);
                }
            }
        }
    }

    /// Makes one file of those from `start` on. `false` when that must wait.
    fn merge(&self, start: usize, desk: &mut Desk, work: &Receiver<ToBackground>) -> bool {
        let error = match self.tier(start, desk, work) {
            Ok(made) => return made,
            Err(error) => error,
        };
        if error.code() == Code::ReadOnly {
            report::warning(&format!("run files stay as they are for now: {error}"));
            return false;
        }
        desk.leave_out(&error, start);
        report::warning(&format!(
            "a damaged run file stays as it is: {error}; its index comes back from the log: stop the daemon and \
             run: {}",
            move_away(self.files.folder())
        ));
        true
    }

    /// Makes a file of a tail, sooner or later; but a compaction goes before it, as it may be what gives the disk
    /// room again.
    fn flush_until_done(&self, tail: &Arc<Tail>, desk: &mut Desk, work: &Receiver<ToBackground>) {
        let mut said = false;
        while let Err(error) = self.flush(tail, desk) {
            if !said {
                report::warning(&format!("the index stays in memory for now: {error}"));
                said = true;
            }
            self.files.note_trouble(Some(error));
            // A file that is removed gives its room back when it is closed.
            desk.replaced.close_unread();
            match work.recv_timeout(RETRY) {
                Ok(ToBackground::Compacted(compaction)) => {
                    desk.put_off.push_front(ToBackground::Flush(Arc::clone(tail)));
                    return desk.put_in_front(compaction);
                }
                Ok(other) => desk.put_off.push_back(other),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(RETRY),
            }
        }
        self.files.note_trouble(None);
    }

    /// Puts the run of a compaction in the place of those that it covers, and removes their files. The
    /// log is compacted already: if this fails the next start makes the index anew.
    fn take_compaction(&self, mut compaction: Compaction, desk: &mut Desk) {
        let Desk { runs, replaced, .. } = desk;
        let covered = runs.partition_point(|run| run.meta().first <= compaction.run.meta().last);
        replaced.0.extend(runs.splice(..covered, [Arc::clone(&compaction.run)]));
        compaction.indexed = self.files.announce(runs).and_then(|()| self.files.remove_others());
        if compaction.indexed.is_ok() {
            self.files.note_trouble(None);
        }
        // When the writer is gone the daemon is stopping.
        let _ = self.writer.send(ToWriter::Compacted(Box::new(compaction)));
    }

    /// Makes a file of a tail.
    fn flush(&self, tail: &Tail, desk: &mut Desk) -> Result<()> {
        desk.flushed = Some(Instant::now());
        let runs = &mut desk.runs;
        let run = self.files.write(tail, runs.is_empty())?;
        runs.push(Arc::clone(&run));
        self.announce(runs, &run).inspect_err(|_| {
            runs.pop();
        })
    }

    /// Makes one file of those from `start` on. What is given meanwhile is written to files as it
    /// comes: a merge may take seconds, and memory does not wait for it. `false` when that goes before it.
    fn tier(&self, start: usize, desk: &mut Desk, work: &Receiver<ToBackground>) -> Result<bool> {
        let old = desk.runs.clone();
        let mut given_up = false;
        let merged = self.files.merge(&old[start..], start == 0, &mut || {
            self.do_meanwhile(desk, work).inspect_err(|_| given_up = true)
        });
        let merged = match merged {
            Err(_) if given_up => return Ok(false),
            merged => merged?,
        };
        let mut next = desk.runs.clone();
        let replaced: Vec<Arc<Run>> = next.splice(start..old.len(), [Arc::clone(&merged)]).collect();
        self.announce(&next, &merged)?;
        self.files.remove(&replaced);
        desk.replaced.0.extend(replaced);
        desk.runs = next;
        drop(old);
        desk.replaced.close_unread();
        Ok(true)
    }

    /// Does what is given during a merge. An error when something goes before it, and is put off until the merge
    /// is given up: a tail for which the disk has no room, as the merge's own file has some of it; and a
    /// compaction, which may replace what is merged.
    fn do_meanwhile(&self, desk: &mut Desk, work: &Receiver<ToBackground>) -> Result<()> {
        while desk.put_off.is_empty()
            && let Ok(given) = work.try_recv()
        {
            let done = match &given {
                ToBackground::Flush(tail) => self.flush(tail, desk),
                // What is merged was there before: none of it lies behind.
                ToBackground::Part(last) => {
                    desk.part = *last;
                    Ok(())
                }
                ToBackground::Compacted(_) => Err(Error::new(Code::Busy, "a compaction goes first")),
            };
            if done.is_err() {
                desk.put_off.push_back(given);
                return done;
            }
        }
        Ok(())
    }

    /// Makes a new run file known: in the folder's lists, then to the writer. If that fails its file is removed: it
    /// is made again later, and perhaps under another name, and a full disk needs its room.
    fn announce(&self, runs: &[Arc<Run>], new: &Arc<Run>) -> Result<()> {
        self.files.announce(runs).inspect_err(|_| self.files.remove_unnamed(new))?;
        self.stats.merges.add(1);
        // When the writer is gone the daemon is stopping.
        let _ = self.writer.send(ToWriter::NewRun(Arc::clone(new)));
        Ok(())
    }
}

/// What the background has before it.
struct Desk {
    /// The run files, oldest first.
    runs: Vec<Arc<Run>>,
    /// Runs up to here are being replaced: no file is made of one of them and a later one.
    part: u64,
    /// Files of runs that cannot be read: what is behind them is merged without them.
    damaged: Vec<String>,
    /// What came before its time, in order: it goes before all that is given later.
    put_off: VecDeque<ToBackground>,
    replaced: Replaced,
    /// When it was last given a tail.
    flushed: Option<Instant>,
    /// Whether merges wait for something else to change: the last one could not be done.
    merges_wait: bool,
}

impl Desk {
    fn at(runs: Vec<Arc<Run>>) -> Self {
        Desk {
            runs,
            part: 0,
            damaged: Vec::new(),
            put_off: VecDeque::new(),
            replaced: Replaced::default(),
            flushed: None,
            merges_wait: false,
        }
    }

    /// Whether more tails are likely to come.
    fn tiers(&self) -> Tiers {
        let busy = self.flushed.is_some_and(|flushed| flushed.elapsed() < CALM);
        if busy { WHEN_BUSY } else { WHEN_CALM }
    }

    /// Where the runs begin that should become one.
    fn due(&self, tiers: Tiers) -> Option<usize> {
        due(&self.runs, tiers, |run| self.may_merge(run))
    }

    /// After how long without work there is something to do all the same: to merge what can wait while more comes, and
    /// to leave out what was removed.
    fn idle_work(&self) -> Option<Duration> {
        let crowded = || are_crowded(&self.runs) && self.runs.iter().all(|run| self.may_merge(run));
        match self.due(WHEN_CALM) {
            _ if self.merges_wait => Some(MERGE_AGAIN),
            Some(_) => Some(CALM),
            None => crowded().then_some(IDLE),
        }
    }

    fn may_merge(&self, run: &Run) -> bool {
        run.meta().first > self.part && !self.damaged.iter().any(|file| file == run.file().1)
    }

    /// Notes which of the runs from `start` on cannot be read; all of them when the error does not say.
    fn leave_out(&mut self, error: &Error, start: usize) {
        let file = error.file().and_then(|path| path.rsplit('/').next());
        let merged = self.runs.get(start..).unwrap_or_default();
        let known = merged.iter().any(|run| Some(run.file().1) == file && self.may_merge(run));
        let of = |run: &&Arc<Run>| !known || Some(run.file().1) == file;
        let names: Vec<String> = merged.iter().filter(of).map(|run| run.file().1.to_owned()).collect();
        self.damaged.extend(names);
    }

    /// A compaction comes next, and takes the place of the tails that it covers.
    fn put_in_front(&mut self, compaction: Box<Compaction>) {
        let last = compaction.run.meta().last;
        self.put_off.retain(|work| match work {
            ToBackground::Flush(tail) => tail.last() > last,
            // It ends with the compaction.
            ToBackground::Part(_) => false,
            ToBackground::Compacted(_) => true,
        });
        self.put_off.push_front(ToBackground::Compacted(compaction));
    }
}

/// Runs whose files are removed. The file system gives their room back when the last one that reads them
/// is done, which may take it many milliseconds: that is to be this thread, and none that clients wait for.
#[derive(Default)]
struct Replaced(Vec<Arc<Run>>);

impl Replaced {
    /// Closes those that nobody else reads.
    fn close_unread(&mut self) {
        self.0.retain(|run| Arc::strong_count(run) > 1);
    }

    /// Waits for work, `idle` long where that is said; it is `Disconnected` when there will be none. Closes runs
    /// meanwhile.
    fn receive(
        &mut self,
        work: &Receiver<ToBackground>,
        idle: Option<Duration>,
    ) -> std::result::Result<ToBackground, RecvTimeoutError> {
        for _ in 0..LOOKS {
            self.close_unread();
            if self.0.is_empty() {
                break;
            }
            match work.recv_timeout(LOOK_AGAIN) {
                Err(RecvTimeoutError::Timeout) => {}
                given => return given,
            }
        }
        self.0.clear();
        match idle {
            Some(idle) => work.recv_timeout(idle),
            None => work.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

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
        let runs: Vec<Arc<Run>> = tails
            .by_ref()
            .take(8)
            .map(|tail| files.write(&tail, tail.first() == 1).expect("memory"))
            .collect();
        let ((writer, told), (to_background, work)) = (unbounded(), unbounded());
        let background = Background { files, writer, stats: Arc::default() };
        let mut desk = Desk::at(runs);
        to_background.send(ToBackground::Part(8)).expect("it lives");
        to_background.send(ToBackground::Flush(tails.next().expect("a ninth"))).expect("it lives");
        assert!(!background.merge(0, &mut desk, &work), "the tail has no room");
        assert_eq!((desk.part, desk.put_off.len(), desk.runs.len()), (8, 1, 8));
        let names = storage.list(Path::new("/index")).expect("memory");
        assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");

        full.store(false, Ordering::SeqCst);
        drop(to_background);
        let Some(ToBackground::Flush(tail)) = desk.put_off.pop_front() else { panic!("it was put off") };
        background.flush_until_done(&tail, &mut desk, &work);
        assert!(background.merge(0, &mut desk, &work), "there is nothing else");
        assert_eq!((desk.runs.len(), told.try_iter().count()), (1, 2));
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
}
