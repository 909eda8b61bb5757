//! Syncs the log on a thread of its own, so that the writer can decide what comes next meanwhile.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::storage::File;

/// The way to whoever syncs.
pub struct Syncer {
    files: Sender<Arc<dyn File>>,
    done: Receiver<Synced>,
}

/// How a sync ended, and how long it took.
pub type Synced = (io::Result<()>, Duration);

/// Who syncs.
pub struct Work {
    files: Receiver<Arc<dyn File>>,
    done: Sender<Synced>,
}

/// The two ends.
#[must_use]
pub fn pair() -> (Syncer, Work) {
    // There is one sync at a time.
    let (files, to_sync) = bounded(1);
    let (synced, done) = bounded(1);
    (Syncer { files, done }, Work { files: to_sync, done: synced })
}

impl Syncer {
    /// Begins to sync a file. `false` when nobody does it.
    #[must_use]
    pub fn begin(&self, file: &Arc<dyn File>) -> bool {
        self.files.send(Arc::clone(file)).is_ok()
    }

    /// Where it is told how a sync ended.
    #[must_use]
    pub fn done(&self) -> &Receiver<Synced> {
        &self.done
    }
}

impl Work {
    /// Syncs until the writer is gone.
    pub fn run(self) {
        while let Some(file) = self.next() {
            let started = Instant::now();
            let done = file.sync();
            self.tell((done, started.elapsed()));
        }
    }

    /// The next file to sync. `None` when the writer is gone.
    #[must_use]
    pub fn next(&self) -> Option<Arc<dyn File>> {
        self.files.recv().ok()
    }

    /// Tells how it ended.
    pub fn tell(&self, synced: Synced) {
        // When the writer is gone nobody asks.
        let _ = self.done.send(synced);
    }
}
