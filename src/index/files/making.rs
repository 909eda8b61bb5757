//! Makes run files: of a tail, of runs that become one, or as somebody fills it.

use std::io;
use std::sync::{Arc, OnceLock};

use super::names::SCRATCH;
use super::{RunFiles, name_of, not_done, of_file};
use crate::error::{Code, Error, Result};
use crate::index::levels::{Tiers, due};
use crate::index::merge::{self, merge_into, meta_of};
use crate::index::run::{Meta, Run};
use crate::index::run_writer::{EachOffsets, RunWriter};
use crate::index::scratch::Scratch;
use crate::index::tail::Tail;
use crate::storage::{File, Open, temporary_name, with_suffix};

/// What is done now and then while a run file is made. If it fails that is given up.
pub type Pause<'p> = dyn FnMut() -> Result<()> + 'p;

/// A file that is being made. Once that is given up it takes no more bytes, and so whoever writes it ends.
struct Unfinished {
    file: Arc<dyn File>,
    /// Why.
    given_up: OnceLock<Error>,
}

impl Unfinished {
    fn ask(&self, pause: &mut Pause<'_>) {
        if self.given_up.get().is_none()
            && let Err(error) = pause()
        {
            let _ = self.given_up.set(error);
        }
    }

    fn goes_on(&self) -> io::Result<()> {
        self.given_up.get().map_or(Ok(()), |error| Err(io::Error::other(error.to_string())))
    }
}

impl File for Unfinished {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.goes_on().and_then(|()| self.file.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.goes_on().and_then(|()| self.file.sync())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }
}

fn nothing_to_merge() -> Error {
    Error::new(Code::Internal, "there is nothing to merge")
}

impl RunFiles {
    /// Makes one run file of runs that follow each other. `bottom`: nothing is older. `pause` is called
    /// now and then, for other work, and may give this up.
    ///
    /// # Errors
    /// `corrupt` when one of them is damaged, `read_only` when the file cannot be written, and what `pause`
    /// says.
    pub fn merge(&self, runs: &[Arc<Run>], bottom: bool, pause: &mut Pause<'_>) -> Result<Arc<Run>> {
        let meta = meta_of(runs).ok_or_else(nothing_to_merge)?;
        self.merge_as(&name_of(&meta), runs, bottom, pause)
    }

    /// The same, in a file of that name. Until the manifest names it, it is a leftover.
    ///
    /// # Errors
    /// As [`RunFiles::merge`].
    pub fn merge_as(
        &self,
        name: &str,
        runs: &[Arc<Run>],
        bottom: bool,
        pause: &mut Pause<'_>,
    ) -> Result<Arc<Run>> {
        let bytes = runs.iter().map(|run| run.bytes()).sum();
        let offsets: Vec<&dyn EachOffsets> = runs.iter().map(|run| run.as_ref() as _).collect();
        self.make(name, merge::keys(runs), bytes, &offsets, pause, |writer, pause| {
            merge_into(runs, bottom, writer, pause)
        })
    }

    /// Makes one file of those that should become one, until none should. `name` is the file of such a run;
    /// `announce` makes the runs known, and then the files that were merged are removed.
    ///
    /// # Errors
    /// As [`RunFiles::merge`], and what `announce` says.
    pub fn merge_due(
        &self,
        runs: &mut Vec<Arc<Run>>,
        tiers: Tiers,
        mut name: impl FnMut(&Meta) -> String,
        mut announce: impl FnMut(&[Arc<Run>]) -> Result<()>,
        pause: &mut Pause<'_>,
    ) -> Result<()> {
        while let Some(start) = due(runs, tiers, |_| true) {
            let old = &runs[start..];
            let meta = meta_of(old).ok_or_else(nothing_to_merge)?;
            let merged = self.merge_as(&name(&meta), old, start == 0, pause)?;
            let replaced: Vec<Arc<Run>> = runs.splice(start.., [merged]).collect();
            announce(runs)?;
            self.remove(&replaced);
        }
        Ok(())
    }

    /// Makes a run file of a tail that no event is added to any more.
    ///
    /// # Errors
    /// `read_only` when it cannot be written.
    pub fn write(&self, tail: &Tail, bottom: bool) -> Result<Arc<Run>> {
        let name = name_of(&tail.meta()?);
        let (keys, bytes) = (tail.keys(), tail.held_bytes());
        self.make(&name, keys, bytes, &[tail], &mut || Ok(()), |writer, _| tail.write_entries(bottom, writer))
    }

    /// Makes a run file of that name from at most so many keys and terms, which `fill` writes; about
    /// `bytes` are expected, and that decides whether it is synced. `offsets` say where the records lie. `pause`
    /// is called now and then, for other work, and may give this up.
    ///
    /// # Errors
    /// `read_only` when it cannot be written, and what `fill` and `pause` say.
    pub fn make(
        &self,
        name: &str,
        keys: u64,
        bytes: u64,
        offsets: &[&dyn EachOffsets],
        pause: &mut Pause<'_>,
        fill: impl FnOnce(&mut RunWriter, &mut dyn FnMut()) -> Result<Meta>,
    ) -> Result<Arc<Run>> {
        let path = self.folder.join(name);
        let temporary = temporary_name(&path);
        let synced = bytes >= self.synced_bytes;
        let write = || {
            let file = self.storage.open(&temporary, Open::Create);
            let file = file.map_err(|error| not_done(&temporary, &error))?;
            let unfinished = Arc::new(Unfinished { file: Arc::clone(&file), given_up: OnceLock::new() });
            let mut pause = || unfinished.ask(pause);
            let mut writer = RunWriter::to_file(Arc::clone(&unfinished) as _, keys, self.courtesy.begin());
            writer.keep_grams_in(Scratch::at(Arc::clone(&self.storage), with_suffix(&path, SCRATCH)));
            let written = fill(&mut writer, &mut pause)
                .and_then(|meta| writer.into_file(meta, offsets, synced, &mut pause));
            unfinished
                .given_up
                .get()
                .cloned()
                .map_or(written, Err)
                .map_err(|error| of_file(&temporary, error))?;
            self.storage.rename(&temporary, &path).map_err(|error| not_done(&path, &error))?;
            Ok(file)
        };
        // A full disk needs the room that a part of the file takes.
        let file = write().inspect_err(|_: &Error| drop(self.storage.remove(&temporary)))?;
        Ok(Arc::new(Run::open(file, &path.display().to_string(), &self.cache, synced)?))
    }
}
