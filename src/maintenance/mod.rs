//! Maintenance: long work on the whole store while the daemon serves.
//!
//! One thread of the lowest priority does it, one piece at a time, from a snapshot: it holds up
//! neither the writer, nor readers, nor the event loop.
//!
//! - `pace` keeps it polite, and ends it when the daemon stops.
//! - `verify` reads everything again.
//! - `repair` makes a damaged log one that a daemon starts on, while none runs; `repair_compacted` does
//!   that for the part that was compacted, whose table is in a `checkpoint` and whose segments stand in a
//!   list (`compacted_list`).
//! - `backup` copies everything into a folder; `destination` is that folder until it is whole.
//! - `compact` removes what is dead from the log, when asked and by itself; `rewrite` writes the log
//!   anew, and `dead` tells how much of it is dead.

pub mod backup;
pub mod checkpoint;
pub mod compact;
pub mod compacted_list;
pub mod dead;
pub mod destination;
pub mod pace;
pub mod repair;
pub mod repair_compacted;
pub mod rewrite;
pub mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, select};

use crate::domain::command::Maintenance;
use crate::error::{Code, Error, Result};
use crate::json::fields::Fields;
use crate::limits::CompactionLimits;
use crate::log::recovery::Failure;
use crate::report;
use crate::snapshot::{Published, Snapshot};
use crate::stats::Stats;
use crate::storage::Storage;
use crate::store::Folders;
use crate::writer::Ticket;
use compact::Compactor;
use destination::Destination;
use pace::Pace;

/// A piece of work that was asked for.
pub struct Task {
    /// Whose reply it is.
    pub ticket: Ticket,
    /// What to do.
    pub work: Maintenance,
}

/// What the maintenance thread works with.
pub struct Maintainer {
    /// Where backups go, when they may go nowhere else.
    pub backup_dir: Option<PathBuf>,
    /// Where it is told how far the work is.
    pub stats: Arc<Stats>,
    /// The newest snapshot: it holds all that was acknowledged before the work was asked for.
    pub published: Arc<Published>,
    /// Set when the daemon stops: what runs and what waits is answered `shutting_down`.
    pub stopping: Arc<AtomicBool>,
    /// Where replies go.
    pub deliver: Box<dyn FnMut(Ticket, Result<Vec<u8>>) + Send>,
    /// Told when a segment was sealed.
    pub sealed: Receiver<()>,
    /// Compacts the log.
    pub compactor: Compactor,
    /// When it compacts the log by itself.
    pub compaction: CompactionLimits,
}

/// How long it waits before it looks again how much of the log is dead, where no segment is sealed
/// because little is written, or where it failed.
const LOOK_AGAIN: Duration = Duration::from_mins(10);

impl Maintainer {
    /// Does what is asked, one after the other, until the sender is gone.
    pub fn run(mut self, inbox: &Receiver<Task>) {
        // A host that refuses goes on as it is.
        let _ = rustix::process::nice(10);
        let mut looked = None;
        let mut rest_until = self.look(&mut looked);
        loop {
            select! {
                recv(inbox) -> task => {
                    let Ok(task) = task else { break };
                    let fields = self.work(&task.work);
                    self.stats.maintenance_done.set(0);
                    self.stats.maintenance_total.set(0);
                    (self.deliver)(task.ticket, fields);
                }
                recv(self.sealed) -> sealed => {
                    // Without the writer there is nothing more to do.
                    if sealed.is_err() {
                        break;
                    }
                    if rest_until.is_none_or(|until| until <= Instant::now()) {
                        rest_until = self.look(&mut looked);
                    }
                }
                default(LOOK_AGAIN) => rest_until = self.look(&mut looked),
            }
        }
    }

    /// Compacts the log when enough of it is dead; `looked` is the last event as of the look before.
    /// Until when to rest, when that failed.
    fn look(&mut self, looked: &mut Option<u64>) -> Option<Instant> {
        let snapshot = self.published.load();
        if looked.replace(snapshot.last) == Some(snapshot.last) {
            return None;
        }
        let mut pace = Pace::polite(Arc::clone(&self.stopping));
        let CompactionLimits { percent, bytes } = self.compaction;
        let done = dead::estimate(&snapshot, &mut pace).and_then(|estimate| {
            self.compactor.note_dead(estimate.dead);
            let wanted = percent > 0 && estimate.is_worth_it(percent, bytes) && pace.check().is_ok();
            if wanted { self.compactor.run(&mut pace).map(|_| ()) } else { Ok(()) }
        });
        let error = done.err()?;
        if error.code() != Code::ShuttingDown {
            // It may have been compacted, and something of the old one be left.
            report::warning(&format!("compacting the log by itself failed: {error}"));
        }
        Some(Instant::now() + LOOK_AGAIN)
    }

    fn work(&mut self, work: &Maintenance) -> Result<Vec<u8>> {
        self.stats.maintenance_total.set(about(work, &self.published.load()));
        let stats = Arc::clone(&self.stats);
        let pace = Pace::polite(Arc::clone(&self.stopping));
        let mut pace = pace.watched_by(move |bytes| stats.maintenance_done.add(bytes));
        pace.check()?;
        match work {
            Maintenance::Verify => {
                let Compactor { storage, folders, .. } = &self.compactor;
                verify::run(&self.published.load(), storage, folders, &mut pace)
            }
            // What is open can be copied when it is removed.
            Maintenance::Backup { to } => self.back_up(to, &mut pace),
            Maintenance::Compact => {
                log_names(&self.compactor.storage, &self.compactor.folders)?;
                self.compactor.run(&mut pace)
            }
        }
    }

    fn back_up(&self, to: &str, pace: &mut Pace) -> Result<Vec<u8>> {
        let Compactor { storage, folders, .. } = &self.compactor;
        let destination = Destination::prepare(to, self.backup_dir.as_deref(), &folders.data)?;
        let snapshot = self.published.load();
        let copied = backup::copy(storage, folders, &snapshot, &destination.folder(), pace);
        let copied = copied.map_err(|error| destination.told(&error))?;
        destination.finish()?;
        let mut fields = Vec::new();
        Fields(&mut fields)
            .text("to", to)
            .number("seq", snapshot.last)
            .number("segments", copied.segments)
            .number("runs", copied.runs)
            .number("bytes", copied.bytes);
        Ok(fields)
    }
}

/// What is in the folder of the log. One that is not there, or cannot be looked into, is not damaged.
fn log_names(storage: &Arc<dyn Storage>, folders: &Folders) -> Result<Vec<String>> {
    let unreadable = |error| Error::new(Code::ReadOnly, format!("{}: {error}", folders.log.display()));
    storage.list(&folders.log).map_err(unreadable)
}

/// About how many bytes will be read and written. A backup reads everything, writes it, and reads
/// the log of the copy; a compaction reads the log.
fn about(work: &Maintenance, snapshot: &Snapshot) -> u64 {
    let log: u64 = snapshot.segments.iter().map(|segment| segment.file.length().unwrap_or(0)).sum();
    let files = snapshot.runs.iter();
    let index: u64 = files.map(|run| run.bytes()).sum();
    match work {
        Maintenance::Verify => log + index,
        Maintenance::Backup { .. } => 3 * log + 2 * index,
        Maintenance::Compact => log,
    }
}

/// Damage that was found while serving.
fn corrupt(failure: Failure) -> Error {
    match failure {
        Failure::Damage { path, offset, what } => Error::corrupt(path.display().to_string(), offset, what),
        Failure::Io { path, error } => {
            Error::corrupt(path.display().to_string(), 0, format!("the file cannot be read: {error}"))
        }
    }
}
