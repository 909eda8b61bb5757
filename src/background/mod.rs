//! The background: writes tails to run files, and merges run files, so that few are left.
//!
//! It works only on what changes no more. The writer puts a new run in the place of what it covers once
//! the file is there and the manifest names it.
//!
//! - `desk` is what it has before it, and what is due.
//! - `replaced` has the runs whose files are removed, until nobody reads them.

mod desk;
mod replaced;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::error::{Code, Error, Result};
use crate::index::files::RunFiles;
use crate::index::levels::WHEN_BUSY;
use crate::index::run::Run;
use crate::index::tail::Tail;
use crate::paths::move_away;
use crate::report;
use crate::stats::Stats;
use crate::writer::{Compaction, ToBackground, ToWriter};
use desk::Desk;

/// How long it waits before it tries again what failed.
const RETRY: Duration = Duration::from_secs(1);

/// What is done during a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    /// What is given becomes files.
    Flush,
    /// The same, and these are merged when there are enough of them.
    FlushAndMerge,
}

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
                desk.merges_wait = !self.merge(start, desk, work, Meanwhile::FlushAndMerge);
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
                        desk.merges_wait = !self.merge(0, desk, work, Meanwhile::FlushAndMerge);
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
    fn merge(
        &self,
        start: usize,
        desk: &mut Desk,
        work: &Receiver<ToBackground>,
        meanwhile: Meanwhile,
    ) -> bool {
        let error = match self.tier(start, desk, work, meanwhile) {
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
    fn tier(
        &self,
        start: usize,
        desk: &mut Desk,
        work: &Receiver<ToBackground>,
        meanwhile: Meanwhile,
    ) -> Result<bool> {
        let old = desk.runs.clone();
        let (mut merges, mut given_up) = (meanwhile == Meanwhile::FlushAndMerge, false);
        let merged = self.files.merge(&old[start..], start == 0, &mut || {
            let mut done = self.do_meanwhile(desk, work);
            if merges && let Ok(true) = done {
                done = self.merge_behind(old.len(), desk, work).inspect(|goes_on| merges = *goes_on);
            }
            done.map(drop).inspect_err(|_| given_up = true)
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
    /// compaction, which may replace what is merged. Answers whether there are more files now.
    fn do_meanwhile(&self, desk: &mut Desk, work: &Receiver<ToBackground>) -> Result<bool> {
        let mut more = false;
        while desk.put_off.is_empty()
            && let Ok(given) = work.try_recv()
        {
            let done = match &given {
                ToBackground::Flush(tail) => self.flush(tail, desk).map(|()| more = true),
                // What is merged was there before: none of it lies behind.
                ToBackground::Part(last) => {
                    desk.part = *last;
                    Ok(())
                }
                ToBackground::Compacted(_) => Err(Error::new(Code::Busy, "a compaction goes first")),
            };
            if let Err(error) = done {
                desk.put_off.push_back(given);
                return Err(error);
            }
        }
        Ok(more)
    }

    /// Merges the files that came during a merge, which are those behind so many: a large one takes so long that
    /// there would be very many, each of which takes memory and is looked into by every search. `false` when that must
    /// wait until the large one is done. An error when something goes before both.
    fn merge_behind(&self, old: usize, desk: &mut Desk, work: &Receiver<ToBackground>) -> Result<bool> {
        while let Some(start) = desk.due_behind(old, WHEN_BUSY) {
            let merged = self.merge(start, desk, work, Meanwhile::Flush);
            if !desk.put_off.is_empty() {
                return Err(Error::new(Code::Busy, "what was put off goes first"));
            }
            if !merged {
                return Ok(false);
            }
        }
        Ok(true)
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

#[cfg(test)]
mod tests;
