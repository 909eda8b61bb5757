//! Runs that were replaced, until nobody reads them.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::index::run::Run;
use crate::writer::ToBackground;

/// How often it looks whether a run that was replaced is still read.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How often at most, when there is nothing else to do. Whoever reads longer closes the file.
const LOOKS: u32 = 50;

/// Runs whose files are removed. The file system gives their room back when the last one that reads them
/// is done, which may take it many milliseconds: that is to be this thread, and none that clients wait for.
#[derive(Default)]
pub(super) struct Replaced(pub(super) Vec<Arc<Run>>);

impl Replaced {
    /// Closes those that nobody else reads.
    pub(super) fn close_unread(&mut self) {
        self.0.retain(|run| Arc::strong_count(run) > 1);
    }

    /// Waits for work, `idle` long where that is said; it is `Disconnected` when there will be none. Closes runs
    /// meanwhile.
    pub(super) fn receive(
        &mut self,
        work: &Receiver<ToBackground>,
        idle: Option<Duration>,
    ) -> std::result::Result<ToBackground, RecvTimeoutError> {
        for _ in 0..LOOKS {
            self.close_unread();
            if self.0.is_empty() {
                break;
            }
            match work.recv_timeout(LOOK_AGAIN) {
                Err(RecvTimeoutError::Timeout) => {}
                given => return given,
            }
        }
        self.0.clear();
        match idle {
            Some(idle) => work.recv_timeout(idle),
            None => work.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }
}
