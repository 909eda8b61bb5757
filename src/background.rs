//! The background: writes runs in memory to files, and merges runs in files, so that few are left.
//!
//! It works on immutable runs only. The writer puts a new run in the place of those that it covers
//! once the file is there and the manifest names it.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::error::Result;
use crate::index::files::RunFiles;
use crate::index::levels::due;
use crate::index::run::Run;
use crate::report;
use crate::stats::Stats;
use crate::writer::{Compaction, ToBackground, ToWriter};

/// How long it waits before it tries again what failed.
const RETRY: Duration = Duration::from_secs(1);

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
    pub fn run(self, mut runs: Vec<Arc<Run>>, work: &Receiver<ToBackground>) {
        // Work for later must not keep anyone waiting now. A host that refuses goes on as it is.
        let _ = rustix::process::nice(10);
        // Runs up to here are being replaced: no file is made of one of them and a later one.
        let mut part = 0;
        while let Ok(given) = work.recv() {
            match given {
                ToBackground::Flush(memory) => self.flush_until_done(&memory, &mut runs),
                ToBackground::Part(last) => part = last,
                ToBackground::Compacted(compaction) => {
                    part = 0;
                    self.take_compaction(*compaction, &mut runs);
                }
            }
            while let Some(start) = due(&runs, u64::MAX, |run| run.meta().first > part) {
                if let Err(error) = self.tier(start, &mut runs) {
                    report::warning(&format!("run files stay as they are for now: {error}"));
                    break;
                }
            }
        }
    }

    fn flush_until_done(&self, memory: &[Arc<Run>], runs: &mut Vec<Arc<Run>>) {
        let mut said = false;
        while let Err(error) = self.flush(memory, runs) {
            if !said {
                report::warning(&format!("the index stays in memory for now: {error}"));
                said = true;
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Puts the run of a compaction in the place of those that it covers, and removes their files. The
    /// log is compacted already: if this fails the next start makes the index anew.
    fn take_compaction(&self, mut compaction: Compaction, runs: &mut Vec<Arc<Run>>) {
        let behind = runs.drain(..).filter(|run| run.meta().first > compaction.run.meta().last);
        *runs = std::iter::once(Arc::clone(&compaction.run)).chain(behind).collect();
        compaction.indexed = self.files.announce(runs).and_then(|()| self.files.remove_others());
        // When the writer is gone the daemon is stopping.
        let _ = self.writer.send(ToWriter::Compacted(Box::new(compaction)));
    }

    /// Makes a file of runs in memory.
    fn flush(&self, memory: &[Arc<Run>], runs: &mut Vec<Arc<Run>>) -> Result<()> {
        let merged = self.files.merge(memory, runs.is_empty())?;
        runs.push(merged);
        self.announce(runs).inspect_err(|_| {
            runs.pop();
        })
    }

    /// Makes one file of those from `start` on.
    fn tier(&self, start: usize, runs: &mut Vec<Arc<Run>>) -> Result<()> {
        let merged = self.files.merge(&runs[start..], start == 0)?;
        let mut next = runs[..start].to_vec();
        next.push(merged);
        self.announce(&next)?;
        self.files.remove(&runs[start..]);
        *runs = next;
        Ok(())
    }

    /// Makes the newest merge known: in the manifest, then to the writer.
    fn announce(&self, runs: &[Arc<Run>]) -> Result<()> {
        self.files.announce(runs)?;
        self.stats.merges.add(1);
        if let Some(newest) = runs.last() {
            // When the writer is gone the daemon is stopping.
            let _ = self.writer.send(ToWriter::Merged(Arc::clone(newest)));
        }
        Ok(())
    }
}
