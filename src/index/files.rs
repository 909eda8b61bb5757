//! The folder of run files: which ones make the index, and how a new one gets there.
//!
//! `manifest` names the run files, oldest first, as one line with a checksum. A new file is
//! written under a temporary name, synced, renamed, and the folder synced, before the manifest names
//! it; files that it replaces are removed after. What the manifest does not name is no part of the
//! index.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::BlockCache;
use super::merge::{self, merge_into, meta_of};
use super::run::{Meta, Run};
use super::run_writer::RunWriter;
use crate::error::{Code, Error, Result};
use crate::log::frame::{check_line, write_line};
use crate::storage::{Open, Storage, read_whole, replace, temporary_name};

/// The folder of run files.
#[derive(Clone)]
pub struct RunFiles {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    cache: Arc<BlockCache>,
}

/// The file of a run. A compaction makes another one for the same seqs.
fn name_of(meta: &Meta) -> String {
    let Meta { first, last, generation, .. } = meta;
    match generation {
        0 => format!("{first:020}-{last:020}.run"),
        _ => format!("{first:020}-{last:020}-{generation}.run"),
    }
}

impl RunFiles {
    /// The run files in a folder.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, folder: PathBuf) -> Self {
        RunFiles { storage, folder, cache: Arc::default() }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::new(Code::ReadOnly, format!("{}: {error}", self.folder.display()))
    }

    /// The names in the manifest. Empty when there is none that is good.
    fn names(&self) -> Vec<String> {
        let read = || {
            let bytes = read_whole(self.storage.as_ref(), &self.folder.join("manifest")).ok()?;
            serde_json::from_slice(check_line(bytes.strip_suffix(b"\n")?)?).ok()
        };
        read().unwrap_or_default()
    }

    /// Opens the run files that the manifest names, oldest first. Nothing is changed.
    ///
    /// # Errors
    /// `corrupt`, naming the first file that is damaged or does not follow the one before.
    pub fn read(&self) -> Result<Vec<Arc<Run>>> {
        let mut runs: Vec<Arc<Run>> = Vec::new();
        for name in self.names() {
            let last = runs.last().map_or(0, |run| run.meta().last);
            runs.push(Arc::new(self.open_one(&self.folder.join(name), last + 1)?));
        }
        Ok(runs)
    }

    /// The same, and removes all other files.
    ///
    /// # Errors
    /// As [`RunFiles::read`].
    pub fn open(&self) -> Result<Vec<Arc<Run>>> {
        let runs = self.read()?;
        // What cannot be removed only takes room.
        let _ = self.remove_others();
        Ok(runs)
    }

    /// Removes the files that the manifest does not name. Nobody may be writing one.
    ///
    /// # Errors
    /// `read_only` when one cannot be removed.
    pub fn remove_others(&self) -> Result<()> {
        let names = self.names();
        let others = self.storage.list(&self.folder).map_err(|error| self.failed(&error))?;
        let ours =
            |name: &String| Path::new(name).extension().is_some_and(|end| end == "run" || end == "tmp");
        let mut removed = Ok(());
        for other in others.iter().filter(|name| ours(name) && !names.contains(name)) {
            removed = self.storage.remove(&self.folder.join(other)).and(removed);
        }
        removed.and_then(|()| self.storage.sync_folder(&self.folder)).map_err(|error| self.failed(&error))
    }

    fn open_one(&self, path: &Path, first: u64) -> Result<Run> {
        let shown = path.display().to_string();
        let damaged = |error: io::Error| Error::corrupt(shown.as_str(), 0, error.to_string());
        let run = Run::open(self.storage.open(path, Open::Read).map_err(damaged)?, &shown, &self.cache)?;
        // So that the log behind it can be found, too.
        run.place(run.meta().last)?;
        if run.meta().first != first {
            return Err(Error::corrupt(shown, 0, "the run does not follow the one before it"));
        }
        Ok(run)
    }

    /// Makes one run file of runs that follow each other. `bottom`: nothing is older.
    ///
    /// # Errors
    /// `corrupt` when one of them is damaged, `read_only` when the file cannot be written.
    pub fn merge(&self, runs: &[Arc<Run>], bottom: bool) -> Result<Arc<Run>> {
        let meta = meta_of(runs).ok_or_else(|| Error::new(Code::Internal, "there is nothing to merge"))?;
        self.merge_as(&name_of(&meta), runs, bottom)
    }

    /// The same, in a file of that name. Until the manifest names it, it is a leftover.
    ///
    /// # Errors
    /// As [`RunFiles::merge`].
    pub fn merge_as(&self, name: &str, runs: &[Arc<Run>], bottom: bool) -> Result<Arc<Run>> {
        let path = self.folder.join(name);
        let temporary = temporary_name(&path);
        let file = self.storage.open(&temporary, Open::Create).map_err(|error| self.failed(&error))?;
        let mut writer = RunWriter::to_file(Arc::clone(&file), merge::keys(runs));
        let meta = merge_into(runs, bottom, &mut writer)?;
        writer.into_file(meta, runs)?;
        self.storage
            .rename(&temporary, &path)
            .and_then(|()| self.storage.sync_folder(&self.folder))
            .map_err(|error| self.failed(&error))?;
        Ok(Arc::new(Run::open(file, &path.display().to_string(), &self.cache)?))
    }

    /// Makes these run files the index.
    ///
    /// # Errors
    /// `read_only` when the manifest cannot be written; then the old one holds.
    pub fn announce(&self, runs: &[Arc<Run>]) -> Result<()> {
        let names: Vec<String> = runs.iter().map(|run| name_of(run.meta())).collect();
        let json = serde_json::to_vec(&names).map_err(|error| self.failed(&io::Error::other(error)))?;
        let mut line = Vec::new();
        write_line(&mut line, |out| out.extend_from_slice(&json));
        replace(self.storage.as_ref(), &self.folder.join("manifest"), &line)
            .map_err(|error| self.failed(&error))
    }

    /// Removes a file that no manifest names.
    pub fn remove_leftover(&self, name: &str) {
        // What cannot be removed now is removed at the next start.
        let _ = self.storage.remove(&self.folder.join(name));
    }

    /// Removes files that the manifest names no more.
    pub fn remove(&self, runs: &[Arc<Run>]) {
        for run in runs {
            self.remove_leftover(&name_of(run.meta()));
        }
    }
}
