//! Maintenance: long work on the whole store while the daemon serves.
//!
//! One thread of the lowest priority does it, one piece at a time, from a snapshot: it holds up
//! neither the writer, nor readers, nor the event loop.
//!
//! - `pace` keeps it polite, and ends it when the daemon stops.
//! - `verify` reads everything again.
//! - `repair` makes a damaged log one that a daemon starts on, while none runs.
//! - `backup` copies everything into a folder; `destination` is that folder until it is whole.

pub mod backup;
pub mod destination;
pub mod pace;
pub mod repair;
pub mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::Receiver;

use crate::domain::command::Maintenance;
use crate::error::Result;
use crate::json::fields::Fields;
use crate::snapshot::{Published, Snapshot};
use crate::stats::Stats;
use crate::storage::Storage;
use crate::writer::Ticket;
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
    /// The door to files.
    pub storage: Arc<dyn Storage>,
    /// The data folder.
    pub data: PathBuf,
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
}

impl Maintainer {
    /// Does what is asked, one after the other, until the sender is gone.
    pub fn run(mut self, inbox: &Receiver<Task>) {
        // A host that refuses goes on as it is.
        let _ = rustix::process::nice(19);
        while let Ok(task) = inbox.recv() {
            let fields = self.work(&task.work);
            self.stats.maintenance_done.set(0);
            self.stats.maintenance_total.set(0);
            (self.deliver)(task.ticket, fields);
        }
    }

    fn work(&self, work: &Maintenance) -> Result<Vec<u8>> {
        self.stats.maintenance_total.set(about(work, &self.published.load()));
        let stats = Arc::clone(&self.stats);
        let pace = Pace::polite(Arc::clone(&self.stopping));
        let mut pace = pace.watched_by(move |bytes| stats.maintenance_done.add(bytes));
        pace.check()?;
        match work {
            Maintenance::Verify => verify::run(&self.published.load(), &mut pace),
            Maintenance::Backup { to } => self.back_up(to, &mut pace),
        }
    }

    fn back_up(&self, to: &str, pace: &mut Pace) -> Result<Vec<u8>> {
        let destination = Destination::prepare(to, self.backup_dir.as_deref(), &self.data)?;
        let snapshot = self.published.load();
        let copied = backup::copy(&self.storage, &snapshot, &destination.folder(), pace)?;
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

/// About how many bytes will be read and written. A backup reads everything, writes it, and reads
/// the log of the copy.
fn about(work: &Maintenance, snapshot: &Snapshot) -> u64 {
    let log: u64 = snapshot.segments.iter().map(|segment| segment.file.length().unwrap_or(0)).sum();
    let files = snapshot.runs.iter().filter(|run| !run.in_memory());
    let index: u64 = files.map(|run| run.bytes()).sum();
    let backup = matches!(work, Maintenance::Backup { .. });
    if backup { 3 * log + 2 * index } else { log + index }
}
