//! `log.compact`: removes what is dead from the log and the index, while the daemon serves.
//!
//! ```text
//! writer       ends the newest segment; what lies before is compacted as of that moment
//! maintenance  writes live events into new segments, with their run and the table's checkpoint, and
//!              then `log/compacted`, which names them: that is when it happens
//! background   puts the new run in the place of those there were, and removes their files
//! writer       publishes a snapshot of the new segments and the new run
//! maintenance  removes the old segments; readers of older snapshots keep their handles
//! ```
//!
//! A crash before it happens leaves the old log and files that nothing names. A crash after it leaves
//! the new log, and perhaps an index that knows only the old one: it comes back from the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::error::{Code, Error, Result};
use crate::index::files::RunFiles;
use crate::json::fields::Fields;
use crate::json::write_string;
use crate::limits::Limits;
use crate::log::files::set_aside;
use crate::stats::Stats;
use crate::storage::Storage;
use crate::store::Folders;
use crate::writer::{Compaction, ToBackground, ToWriter};

use super::pace::Pace;
use super::rewrite::{Rewriter, Rewritten, Tally};

/// How often a compaction that waits for the index looks whether the daemon is stopping.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Compacts the log of a daemon.
pub struct Compactor {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) folders: Folders,
    rewriter: Rewriter,
    writer: Sender<ToWriter>,
    background: Sender<ToBackground>,
    stats: Arc<Stats>,
}

fn stopping() -> Error {
    Error::new(Code::ShuttingDown, "the daemon is stopping: the compaction was given up")
}

impl Compactor {
    /// One for a data folder, and the threads that know its segments and runs.
    #[must_use]
    pub fn new(
        storage: Arc<dyn Storage>,
        folders: Folders,
        files: RunFiles,
        limits: &Limits,
        writer: Sender<ToWriter>,
        background: Sender<ToBackground>,
        stats: &Arc<Stats>,
    ) -> Self {
        let rewriter = Rewriter::new(Arc::clone(&storage), folders.log.clone(), files, limits.segment_bytes);
        Compactor { storage, folders, rewriter, writer, background, stats: Arc::clone(stats) }
    }

    /// Notes how many bytes of the log are dead.
    pub fn note_dead(&self, bytes: u64) {
        self.stats.dead_bytes.set(bytes);
    }

    /// Compacts all that is in the log by now. The fields of the reply.
    ///
    /// # Errors
    /// `corrupt`, `read_only`, `shutting_down`.
    pub fn run(&mut self, pace: &mut Pace) -> Result<Vec<u8>> {
        let (reply, sealed) = bounded(1);
        self.writer.send(ToWriter::Seal(reply)).map_err(|_| stopping())?;
        let snapshot = sealed.recv().map_err(|_| stopping())??;
        if snapshot.last == 0 {
            return Ok(reply_of(0, 1, Tally::default(), &[]));
        }
        let rewritten = self.rewriter.rewrite(&snapshot, pace).inspect_err(|_| {
            // When the background is gone the daemon is stopping.
            let _ = self.background.send(ToBackground::Part(0));
        })?;
        let Rewritten { segments, run, compacted, tally } = rewritten;
        drop(snapshot);
        let (done, published) = bounded(1);
        let files = segments.len() as u64;
        let compaction =
            Compaction { segments, run, compacted: Arc::clone(&compacted), indexed: Ok(()), done };
        self.background.send(ToBackground::Compacted(Box::new(compaction))).map_err(|_| stopping())?;
        let indexed = loop {
            match published.recv_timeout(LOOK_AGAIN) {
                Ok(indexed) => break indexed,
                // The next start makes the index anew.
                Err(RecvTimeoutError::Timeout) => pace.check()?,
                Err(RecvTimeoutError::Disconnected) => return Err(stopping()),
            }
        };
        let log = &self.folders.log;
        let removed = compacted.remove_left_over(self.storage.as_ref(), log);
        self.stats.compactions.add(1);
        self.note_dead(0);
        let removed = removed.map_err(|failure| Error::new(Code::ReadOnly, failure.to_string()));
        indexed.and(removed).map_err(|error| {
            let message = format!(
                "the log is compacted, but old files are left: {}; when that is mended the next log.compact removes \
                 them, or the next start",
                error.message()
            );
            Error::new(error.code(), message)
        })?;
        let aside = set_aside(self.storage.as_ref(), log, &compacted).map_err(|error| failed(log, &error))?;
        Ok(reply_of(compacted.last, files, tally, &aside))
    }
}

fn failed(folder: &Path, error: &std::io::Error) -> Error {
    Error::new(Code::ReadOnly, format!("{}: {error}", folder.display()))
}

fn reply_of(last: u64, segments: u64, tally: Tally, aside: &[(String, u64)]) -> Vec<u8> {
    let mut list = Vec::new();
    for (number, (file, bytes)) in aside.iter().enumerate() {
        list.extend_from_slice(if number > 0 { b",{\"file\":" } else { b"{\"file\":" });
        write_string(&mut list, file);
        Fields(&mut list).number("bytes", *bytes);
        list.push(b'}');
    }
    let mut fields = Vec::new();
    Fields(&mut fields)
        .number("seq", last)
        .number("events", tally.events)
        .number("removed", tally.removed)
        .number("segments", segments)
        .number("bytes_before", tally.bytes_before)
        .number("bytes", tally.bytes)
        .list("set_aside", &list);
    fields
}
