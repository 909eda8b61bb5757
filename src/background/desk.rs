//! What the background has before it, and what is due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::replaced::Replaced;
use crate::error::Error;
use crate::index::levels::{Tiers, WHEN_BUSY, WHEN_CALM, are_crowded, due};
use crate::index::run::Run;
use crate::writer::{Compaction, ToBackground};

/// After so long without work it does what can wait.
const IDLE: Duration = Duration::from_secs(2);
/// A merge that could not be done is tried again after so long, if nothing else comes.
const MERGE_AGAIN: Duration = Duration::from_mins(1);
/// After so long without a new tail no more of them are likely to come.
const CALM: Duration = Duration::from_millis(500);

/// What the background has before it.
pub(super) struct Desk {
    /// The run files, oldest first.
    pub(super) runs: Vec<Arc<Run>>,
    /// Runs up to here are being replaced: no file is made of one of them and a later one.
    pub(super) part: u64,
    /// Files of runs that cannot be read: what is behind them is merged without them.
    damaged: Vec<String>,
    /// What came before its time, in order: it goes before all that is given later.
    pub(super) put_off: VecDeque<ToBackground>,
    pub(super) replaced: Replaced,
    /// When it was last given a tail.
    pub(super) flushed: Option<Instant>,
    /// Whether merges wait for something else to change: the last one could not be done.
    pub(super) merges_wait: bool,
}

impl Desk {
    pub(super) fn at(runs: Vec<Arc<Run>>) -> Self {
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
    pub(super) fn tiers(&self) -> Tiers {
        let busy = self.flushed.is_some_and(|flushed| flushed.elapsed() < CALM);
        if busy { WHEN_BUSY } else { WHEN_CALM }
    }

    /// Where the runs begin that should become one.
    pub(super) fn due(&self, tiers: Tiers) -> Option<usize> {
        self.due_behind(0, tiers)
    }

    /// The same of those behind the `old` first ones.
    pub(super) fn due_behind(&self, old: usize, tiers: Tiers) -> Option<usize> {
        let behind = self.runs.get(old..).unwrap_or_default();
        due(behind, tiers, |run| self.may_merge(run)).map(|start| old + start)
    }

    /// After how long without work there is something to do all the same: to merge what can wait while more comes, and
    /// to leave out what was removed.
    pub(super) fn idle_work(&self) -> Option<Duration> {
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
    pub(super) fn leave_out(&mut self, error: &Error, start: usize) {
        let file = error.file().and_then(|path| path.rsplit('/').next());
        let merged = self.runs.get(start..).unwrap_or_default();
        let known = merged.iter().any(|run| Some(run.file().1) == file && self.may_merge(run));
        let of = |run: &&Arc<Run>| !known || Some(run.file().1) == file;
        let names: Vec<String> = merged.iter().filter(of).map(|run| run.file().1.to_owned()).collect();
        self.damaged.extend(names);
    }

    /// A compaction comes next, and takes the place of the tails that it covers.
    pub(super) fn put_in_front(&mut self, compaction: Box<Compaction>) {
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
