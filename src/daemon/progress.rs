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
    with: &'static str,
}

/// How often it is told.
const EVERY: Duration = Duration::from_secs(1);

impl Starting {
    /// A start on this data folder begins.
    #[must_use]
    pub fn on(data: &Path) -> Self {
        let with = "opening the store";
        // The first sign: from here on it is known that signs will come.
        systemd::starting(with);
        Starting { data: data.to_owned(), began: Instant::now(), said: Instant::now(), with }
    }

    /// Whether it is time to tell something.
    fn is_due(&mut self) -> bool {
        let due = self.said.elapsed() >= EVERY;
        if due {
            self.said = Instant::now();
        }
        due
    }
}

impl Progress for Starting {
    fn say(&mut self, line: &str) {
        report::warning(line);
    }

    fn replayed(&mut self, so_far: Replayed) {
        if !self.is_due() {
            return;
        }
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

    fn gets_on(&mut self, with: &'static str) {
        if !self.is_due() {
            return;
        }
        // There is nothing new to say of it, but systemd has to hear that it gets on.
        if self.with != with {
            self.with = with;
            report::notice(&format!("{}: {with}", self.data.display()));
        }
        systemd::starting(with);
    }
}
