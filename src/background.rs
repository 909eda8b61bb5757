//! The background: writes runs in memory to files, and merges runs in files, so that few are left.
//!
//! It works on immutable runs only. A new run file is written, synced and named in the manifest
//! before the writer puts it in the place of those that it covers; then their files are removed.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use crate::error::{Code, Error, Result};
use crate::index::levels::due;
use crate::index::merge::merge_into;
use crate::index::run::{Run, RunWriter};
use crate::stats::Stats;
use crate::storage::{Open, Storage, temporary_name};
use crate::store::{run_name, write_manifest};
use crate::writer::ToWriter;

/// How long it waits before it tries again what failed.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// What the background works with.
pub struct Background {
    /// The files.
    pub storage: Arc<dyn Storage>,
    /// The folder of run files.
    pub folder: PathBuf,
    /// Told of every new run.
    pub writer: Sender<ToWriter>,
    /// What it counts.
    pub stats: Arc<Stats>,
}

impl Background {
    /// Writes what it is given to files until the sender is gone. `files` are the run files there
    /// are, oldest first; each piece of work follows the one before.
    pub fn run(self, mut files: Vec<Arc<Run>>, work: &Receiver<Vec<Arc<Run>>>) {
        // Work for later must not keep anyone waiting now. A host that refuses goes on as it is.
        let _ = rustix::process::nice(10);
        while let Ok(memory) = work.recv() {
            let mut said = false;
            while let Err(error) = self.flush(&memory, &mut files) {
                if !said {
                    crate::report::warning(&format!("the index stays in memory for now: {error}"));
                    said = true;
                }
                std::thread::sleep(RETRY);
            }
            while let Some(start) = due(&files, u64::MAX, |_| true) {
                if let Err(error) = self.tier(start, &mut files) {
                    crate::report::warning(&format!("run files stay as they are for now: {error}"));
                    break;
                }
            }
        }
    }

    /// Makes a file of runs in memory.
    fn flush(&self, memory: &[Arc<Run>], files: &mut Vec<Arc<Run>>) -> Result<()> {
        let merged = self.merge(memory, files.is_empty())?;
        files.push(merged);
        self.announce(files, &[])
    }

    /// Makes one file of those from `start` on.
    fn tier(&self, start: usize, files: &mut Vec<Arc<Run>>) -> Result<()> {
        let merged = self.merge(&files[start..], start == 0)?;
        let old = files.split_off(start);
        files.push(merged);
        self.announce(files, &old)
    }

    fn merge(&self, runs: &[Arc<Run>], bottom: bool) -> Result<Arc<Run>> {
        let failed =
            |error: std::io::Error| Error::new(Code::ReadOnly, format!("{}: {error}", self.folder.display()));
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
            return Err(Error::new(Code::Internal, "nothing to merge"));
        };
        let path = self.folder.join(run_name(first.meta().first, last.meta().last));
        let temporary = temporary_name(&path);
        let file = self.storage.open(&temporary, Open::Create).map_err(failed)?;
        let mut writer = RunWriter::to_file(Arc::clone(&file));
        let meta = merge_into(runs, bottom, &mut writer)?;
        let mut offsets = Vec::new();
        for run in runs {
            offsets.extend_from_slice(&run.all_offsets()?);
        }
        writer.into_file(&meta, offsets.into_iter()).map_err(failed)?;
        self.storage.rename(&temporary, &path).map_err(failed)?;
        self.storage.sync_folder(&self.folder).map_err(failed)?;
        self.stats.merges.add(1);
        Ok(Arc::new(Run::open(file, &path.display().to_string())?))
    }

    /// Makes the newest merge known: in the manifest, then to the writer; then `old` is removed.
    fn announce(&self, files: &[Arc<Run>], old: &[Arc<Run>]) -> Result<()> {
        let name = |run: &Arc<Run>| run_name(run.meta().first, run.meta().last);
        let names: Vec<String> = files.iter().map(name).collect();
        write_manifest(self.storage.as_ref(), &self.folder, &names)
            .map_err(|error| Error::new(Code::ReadOnly, format!("{}: {error}", self.folder.display())))?;
        if let Some(newest) = files.last() {
            // When the writer is gone the daemon is stopping.
            let _ = self.writer.send(ToWriter::Merged(Arc::clone(newest)));
        }
        for run in old {
            // What cannot be removed now is removed at the next start.
            let _ = self.storage.remove(&self.folder.join(name(run)));
        }
        Ok(())
    }
}
