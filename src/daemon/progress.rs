//! Tells the operator and systemd how a start gets on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::systemd;
use crate::report;
use crate::store::{Progress, Replayed};

/// Tells how a start gets on.
pub struct Starting {
    data: PathBuf,
    began: Instant,
    said: Instant,
}

impl Starting {
    /// A start on this data folder begins.
    #[must_use]
    pub fn on(data: &Path) -> Self {
        // The first sign: from here on it is known that signs will come.
        systemd::starting("opening the store");
        Starting { data: data.to_owned(), began: Instant::now(), said: Instant::now() }
    }
}

impl Progress for Starting {
    fn say(&mut self, line: &str) {
        report::warning(line);
    }

    fn replayed(&mut self, so_far: Replayed) {
        if self.said.elapsed() < Duration::from_secs(1) {
            return;
        }
        self.said = Instant::now();
        let Replayed { events, bytes, of_bytes } = so_far;
        let percent = (bytes * 100).checked_div(of_bytes).unwrap_or(100);
        let (done, all) = (bytes >> 20, of_bytes >> 20);
        let left =
            self.began.elapsed().as_secs().saturating_mul(of_bytes.saturating_sub(bytes)) / bytes.max(1);
        let status = format!(
            "reading the log back: {percent}%, {events} events, {done} of {all} MiB, about {left} s to go"
        );
        report::notice(&format!("{}: {status}", self.data.display()));
        systemd::starting(&status);
    }
}
