//! The folder of run files: which ones make the index, and how a new one gets there.
//!
//! `manifest` names the run files that are on disk, oldest first, as one line with a checksum. A file
//! is written under a temporary name, synced, renamed, and the folder synced, before the manifest
//! names it; files that it replaces are removed after.
//!
//! `recent` names, in the same form, the small files that follow those of the manifest. Neither they
//! nor it are synced: the log has what they hold, so a power loss may take them. A start checks every
//! byte of them and takes as many as are whole. So the index can be written often and costs no sync,
//! and a start after `kill -9` has little of the log to read.
//!
//! What neither names is no part of the index.
//!
//! `names` says which files of the folder are ours, and `making` makes one.

mod making;
mod names;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use super::cache::BlockCache;
use super::run::Run;
use crate::courtesy::Courtesy;
use crate::error::{Code, Error, Result};
use crate::limits::SYNCED_RUN_BYTES;
use crate::log::frame::{check_line, write_line};
use crate::storage::{Open, Storage, explained, read_list, replace, temporary_name};
pub use making::Pause;
use names::{MANIFEST, RECENT, is_unfinished, last_of};
pub use names::{is_ours, is_run, name_of};

/// The folder of run files.
#[derive(Clone)]
pub struct RunFiles {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    cache: Arc<BlockCache>,
    courtesy: Courtesy,
    /// Files from this size on are synced.
    synced_bytes: u64,
    /// The names that the manifest has, once it was written here.
    announced: Arc<Mutex<Option<Vec<String>>>>,
    /// Why the newest part of the index cannot be written, as long as that is so.
    trouble: Arc<Mutex<Option<Error>>>,
}

/// The names of run files, as the manifest has them.
fn line_of(runs: &[Arc<Run>]) -> Result<Vec<u8>> {
    let names: Vec<String> = runs.iter().map(|run| name_of(run.meta())).collect();
    let json = serde_json::to_vec(&names).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    let mut line = Vec::new();
    write_line(&mut line, |out| out.extend_from_slice(&json));
    Ok(line)
}

/// What the system did not do with a file or folder.
fn not_done(path: &Path, error: &io::Error) -> Error {
    Error::new(Code::ReadOnly, format!("{}: {}", path.display(), explained(path, error)))
}

/// A failed write, with the path of the file.
#[must_use]
pub fn of_file(path: &Path, error: Error) -> Error {
    if error.code() != Code::ReadOnly {
        return error;
    }
    Error::new(Code::ReadOnly, format!("{}: {}", path.display(), error.message()))
}

/// Why a file cannot be read. It is damaged, unless it is a folder, or only this process may not read it, or not now.
fn unreadable(path: &Path, error: &io::Error) -> Error {
    let not_now = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    use io::ErrorKind::{IsADirectory, OutOfMemory, PermissionDenied};
    let is_refused = matches!(error.kind(), PermissionDenied | IsADirectory | OutOfMemory)
        || error.raw_os_error().is_some_and(|error| not_now.contains(&error));
    if is_refused {
        return not_done(path, error);
    }
    Error::corrupt(path.display().to_string(), 0, error.to_string())
}

impl RunFiles {
    /// The run files in a folder.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, folder: PathBuf) -> Self {
        RunFiles {
            storage,
            folder,
            cache: Arc::default(),
            courtesy: Courtesy::default(),
            synced_bytes: SYNCED_RUN_BYTES,
            announced: Arc::default(),
            trouble: Arc::default(),
        }
    }

    /// The same, with files synced from this size on.
    #[must_use]
    pub fn sync_from(self, synced_bytes: u64) -> Self {
        RunFiles { synced_bytes, ..self }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same files, made at a courtesy of their own.
    #[must_use]
    pub fn made_with(self, courtesy: Courtesy) -> Self {
        RunFiles { courtesy, ..self }
    }

    /// How much time there is for the files that are made.
    #[must_use]
    pub fn courtesy(&self) -> &Courtesy {
        &self.courtesy
    }

    /// Notes why the newest part of the index cannot be written; `None`: it was.
    pub fn note_trouble(&self, trouble: Option<Error>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Why the newest part of the index cannot be written, as long as that is so.
    #[must_use]
    pub fn trouble(&self) -> Option<Error> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed(&self, error: &io::Error) -> Error {
        not_done(&self.folder, error)
    }

    /// The names in the manifest, or in `recent`. Empty when there is none.
    fn names_in(&self, list: &str) -> Result<Vec<String>> {
        let path = self.folder.join(list);
        let damaged = |what: String| Error::corrupt(path.display().to_string(), 0, what);
        let bytes = match read_list(self.storage.as_ref(), &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(|error| unreadable(&path, &error))?,
        };
        let names = bytes.strip_suffix(b"\n").and_then(check_line).map(serde_json::from_slice);
        let names = names.ok_or_else(|| damaged("the list of run files fails its checksum".to_owned()))?;
        names.map_err(|error| damaged(format!("the list of run files cannot be read: {error}")))
    }

    /// The names in `recent`; none when that is damaged, and `lost` is told.
    fn recent_names(&self, lost: &mut dyn FnMut(&Error)) -> Result<Vec<String>> {
        self.names_in(RECENT).or_else(|error| match error.code() {
            Code::Corrupt => {
                lost(&error);
                Ok(Vec::new())
            }
            _ => Err(error),
        })
    }

    /// Checks the lists of run files.
    ///
    /// # Errors
    /// `corrupt`, naming the one that is damaged.
    pub fn check_lists(&self) -> Result<()> {
        self.names_in(MANIFEST).and_then(|_| self.names_in(RECENT)).map(drop)
    }

    /// Opens the run files of the index, oldest first. Nothing is changed. `lost` is told why recent
    /// files are left out.
    ///
    /// # Errors
    /// `corrupt`, naming the first file of the manifest that is damaged or does not follow the one
    /// before; `read_only` when one may not be read, or not now.
    pub fn read(&self, lost: &mut dyn FnMut(&Error)) -> Result<Vec<Arc<Run>>> {
        let mut runs: Vec<Arc<Run>> = Vec::new();
        let end = |runs: &[Arc<Run>]| runs.last().map_or(0, |run| run.meta().last);
        for name in self.names_in(MANIFEST)? {
            runs.push(Arc::new(self.open_one(&name, end(&runs) + 1, true)?));
        }
        for name in self.recent_names(lost)? {
            // The manifest was written, and the process killed before this list was.
            if last_of(&name).is_some_and(|last| last <= end(&runs)) {
                continue;
            }
            let next = end(&runs) + 1;
            let opened = self.open_one(&name, next, false);
            match opened.and_then(|run| run.verify(&mut |_| Ok(())).map(|()| run)) {
                Ok(run) => runs.push(Arc::new(run)),
                Err(error) if error.code() == Code::Corrupt => {
                    lost(&error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(runs)
    }

    /// Removes what a write left that did not end. Nobody may be writing.
    pub fn remove_temporaries(&self) {
        let names = self.storage.list(&self.folder).unwrap_or_default();
        for name in names.iter().filter(|name| is_unfinished(name)) {
            self.remove_leftover(name);
        }
    }

    /// Removes the files that are named nowhere. Nobody may be writing one.
    ///
    /// # Errors
    /// `read_only` when one cannot be removed.
    pub fn remove_others(&self) -> Result<()> {
        let names = [self.names_in(MANIFEST)?, self.recent_names(&mut |_| ())?].concat();
        let others = self.storage.list(&self.folder).map_err(|error| self.failed(&error))?;
        let ours = |name: &String| is_unfinished(name) || is_run(name);
        let mut removed = Ok(());
        for other in others.iter().filter(|name| ours(name) && !names.contains(name)) {
            let path = self.folder.join(other);
            let done = self.storage.remove(&path);
            removed = removed.and(done.map_err(|error| not_done(&path, &error)));
        }
        removed.and(self.storage.sync_folder(&self.folder).map_err(|error| self.failed(&error)))
    }

    fn open_one(&self, name: &str, first: u64, synced: bool) -> Result<Run> {
        let path = self.folder.join(name);
        let shown = path.display().to_string();
        let file = self.storage.open(&path, Open::Read).map_err(|error| unreadable(&path, &error))?;
        let run = Run::open(file, &shown, &self.cache, synced)?;
        if run.meta().checkpoint {
            return Err(Error::corrupt(
                shown,
                0,
                "it is a checkpoint of the table, and no part of the index",
            ));
        }
        // So that the log behind it can be found, too.
        run.place(run.meta().last)?;
        if run.meta().first != first {
            return Err(Error::corrupt(shown, 0, "the run does not follow the one before it"));
        }
        Ok(run)
    }

    /// Makes these run files the index: the manifest names them up to the last large one, as far as all of them
    /// can be synced, and is written only when that changes; `recent` names the rest.
    ///
    /// # Errors
    /// `read_only` when that cannot be written; then what was announced before holds.
    pub fn announce(&self, runs: &[Arc<Run>]) -> Result<()> {
        let large = runs.iter().rposition(|run| run.bytes() >= self.synced_bytes);
        let on_disk = &runs[..large.map_or(0, |last| last + 1)];
        // What may not be on the disk is checked whole at a start, and so is what follows it.
        let sure = on_disk.iter().position(|run| run.sync().is_err()).unwrap_or(on_disk.len());
        let (on_disk, recent) = runs.split_at(sure);
        let manifest = self.folder.join(MANIFEST);
        self.announce_on_disk(on_disk).map_err(|error| not_done(&manifest, &error))?;
        let path = self.folder.join(RECENT);
        let temporary = temporary_name(&path);
        let file = self.storage.open(&temporary, Open::Create);
        let file = file.map_err(|error| not_done(&temporary, &error))?;
        file.write_at(&line_of(recent)?, 0)
            .and_then(|()| self.storage.rename(&temporary, &path))
            .inspect_err(|_| drop(self.storage.remove(&temporary)))
            .map_err(|error| not_done(&path, &error))
    }

    fn announce_on_disk(&self, runs: &[Arc<Run>]) -> io::Result<()> {
        let names: Vec<String> = runs.iter().map(|run| name_of(run.meta())).collect();
        // Set last: a panic leaves it as it was.
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if announced.as_ref() == Some(&names) {
            return Ok(());
        }
        self.storage.sync_folder(&self.folder)?;
        *announced = None;
        let line = line_of(runs).map_err(io::Error::other)?;
        replace(self.storage.as_ref(), &self.folder.join(MANIFEST), &line)?;
        *announced = Some(names);
        Ok(())
    }

    /// Removes the file of a run that could not be announced, unless a list names it all the same: the manifest may
    /// have been written, and `recent` not.
    pub fn remove_unnamed(&self, run: &Run) {
        let name = run.file().1;
        let is_unnamed = |list| self.names_in(list).is_ok_and(|names| !names.iter().any(|one| one == name));
        if is_unnamed(MANIFEST) && is_unnamed(RECENT) {
            self.remove_leftover(name);
        }
    }

    /// Removes a file that no manifest names.
    pub fn remove_leftover(&self, name: &str) {
        // What cannot be removed now is removed at the next start.
        let _ = self.storage.remove(&self.folder.join(name));
    }

    /// Removes files that the manifest names no more.
    pub fn remove(&self, runs: &[Arc<Run>]) {
        for run in runs {
            self.remove_leftover(run.file().1);
        }
    }
}
