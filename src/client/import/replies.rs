//! What came of each line: the replies, counted and kept in step with the lines.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::resume::{Position, Reached};
use super::{Passed, Sent, Whole};
use crate::client::connection::{Connection, SILENCE, closed};
use crate::client::failure::{Failure, lost_how, say};
use crate::client::reply::{Refusal, Reply};
use crate::client::style::visible;
use crate::progress::Progress;

/// Refused lines that are reported one by one; more are only counted.
const REPORTED: u64 = 10;

/// Refusals of a line that another daemon, or the same one later, may well take.
const BLAMELESS: [&str; 4] = ["queue_full", "too_large", "corrupt", "internal"];

/// How long an import that stops waits for the sender.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Counts of an import.
#[derive(Debug, Default)]
pub struct Tally {
    /// Lines that the daemon accepted.
    pub imported: u64,
    /// Of those, the ones it had accepted in an earlier run.
    pub replayed: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// Lines at the start that were passed over.
    pub skipped: u64,
    /// The line up to which everything is answered.
    pub last: u64,
    /// Of the skipped lines, those that were refused in an earlier run.
    pub refused_before: u64,
    /// Lines that were refused so far, in this run and those before it.
    pub refused_in_all: u64,
    /// The lines behind which a resumed import goes on. A last line without its end is not among them: more
    /// of it may come, and its key protects it if nothing does.
    pub kept: Reached,
    /// Whether applications were made anew.
    pub has_apps: bool,
}

/// How an import ended.
pub enum Ended {
    /// With the input.
    Complete(Whole),
    /// At this line, which was refused.
    StoppedAt(u64),
    /// The input could not be read further.
    Unreadable(io::Error),
    /// The daemon went away.
    Lost(String),
    /// At this line, which the daemon refused for a reason that lies not in it: no line behind it fares better,
    /// or it may yet be taken.
    Unable(u64, Refusal),
}

/// Reads the replies.
pub struct Replies<'a> {
    /// Where they come from.
    pub connection: Connection,
    /// Where to keep the position.
    pub position: Option<&'a mut Position>,
    /// Whether the same import goes on behind the position when it is run again.
    pub resumable: bool,
    /// The bar that people see.
    pub progress: Progress,
    /// The counts so far.
    pub tally: Tally,
    /// Where tokens of applications that were made go, nothing for one that was refused.
    pub tell_token: Sender<Option<String>>,
    /// Whether to stop at the first refused line.
    pub stop_on_error: bool,
    /// Tells the sender to stop.
    pub stop: Arc<AtomicBool>,
}

impl Tally {
    /// Nothing yet in this run, behind what was done before.
    #[must_use]
    pub fn new(kept: Reached) -> Self {
        let Reached { line, refused } = kept;
        let nothing = Tally::default();
        Tally { skipped: line, last: line, refused_before: refused, refused_in_all: refused, kept, ..nothing }
    }

    /// Refused lines that were not reported one by one.
    #[must_use]
    pub fn unreported(&self) -> u64 {
        self.refused.saturating_sub(REPORTED)
    }
}

impl Replies<'_> {
    /// Reads the reply to every line that is passed, until there are no more.
    pub fn read(&mut self, passed: &Receiver<Passed>) -> Ended {
        let mut stopped_at = None;
        loop {
            // Once stopped, only what is under way already is waited for. The sender says when that
            // is all, unless it waits for input itself.
            let next = match stopped_at {
                None => passed.recv().ok(),
                Some(_) => passed.recv_timeout(LAST_LINES).ok(),
            };
            let (number, end, ended, what) = match (next, stopped_at) {
                (None | Some(Passed::End(_)), Some(line)) => return Ended::StoppedAt(line),
                (None, None) => return Ended::Lost(closed().to_string()),
                (Some(Passed::End(Ok(whole))), None) => return Ended::Complete(whole),
                (Some(Passed::End(Err(error))), None) => return Ended::Unreadable(error),
                (Some(Passed::Line { number, end, ended, what }), _) => (number, end, ended, what),
            };
            let problem = match (self.outcome(number, what), stopped_at) {
                (Ok(problem), _) => problem,
                // It lies behind the line that was stopped at, and that one is to be mended first.
                (Err(Ended::Unable(..)), Some(line)) => return Ended::StoppedAt(line),
                (Err(ended), _) => return ended,
            };
            if let Some(problem) = problem {
                self.refuse(number, &problem);
                // Applications of skipped lines are asked for again, and were counted before.
                self.tally.refused_in_all += u64::from(number > self.tally.skipped);
                if self.stop_on_error && stopped_at.is_none() {
                    stopped_at = Some(number);
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
            if stopped_at.is_none() {
                self.tally.last = self.tally.last.max(number);
                if ended {
                    self.tally.kept = Reached { line: self.tally.last, refused: self.tally.refused_in_all };
                    self.keep();
                }
            }
            self.progress.advance(self.tally.imported + self.tally.refused, end);
        }
    }

    /// Why a line was not imported; nothing when it was.
    fn outcome(&mut self, number: u64, what: Sent) -> Result<Option<String>, Ended> {
        match what {
            Sent::Nothing(problem) => Ok(Some(problem)),
            Sent::Request => self.reply(number).map(Result::err),
            Sent::App => {
                let reply = self.reply(number)?;
                self.tally.has_apps |= reply.is_ok();
                // A sender that has ended needs no token any more.
                let _ = self.tell_token.send(reply.as_ref().ok().and_then(|reply| reply.text("token")));
                Ok(reply.err())
            }
        }
    }

    /// Reads the reply to this line. The refusal in it, as text.
    fn reply(&mut self, number: u64) -> Result<Result<Reply, String>, Ended> {
        let lost = |error: io::Error| Ended::Lost(lost_how(&error));
        if self.tally.imported + self.tally.refused == 0 {
            self.connection.tell_of_silence(SILENCE, |text| self.progress.suspend(|| say(text)));
        }
        let reply = self.connection.reply().map_err(lost)?;
        match reply.refusal() {
            None => {
                self.tally.imported += 1;
                self.tally.replayed += u64::from(reply.field("replayed") == Some("true"));
                Ok(Ok(reply))
            }
            Some(refusal) if refusal.code == "shutting_down" => Err(Ended::Lost(refusal.to_string())),
            Some(refusal) if refusal.is_passing() || refusal.code == "forbidden" => {
                Err(Ended::Unable(number, refusal))
            }
            // A line that is passed over now would never be sent again.
            Some(refusal) if self.resumable && BLAMELESS.contains(&refusal.code.as_str()) => {
                Err(Ended::Unable(number, refusal))
            }
            Some(refusal) if refusal.code == "too_large" => {
                Ok(Err(format!("{refusal} (that is as a request; see --max-line of msglogd)")))
            }
            Some(refusal) => Ok(Err(refusal.to_string())),
        }
    }

    fn refuse(&mut self, number: u64, problem: &str) {
        self.tally.refused += 1;
        if self.tally.refused <= REPORTED {
            self.progress.suspend(|| say(&format!("line {number}: {}", visible(problem))));
        }
    }

    /// Keeps the position now and then. A file that cannot be written ends the keeping, not the
    /// import: the keys protect what is sent again.
    fn keep(&mut self) {
        let Some(position) = self.position.as_mut() else { return };
        if let Err(failure) = position.keep(self.tally.kept) {
            self.position = None;
            let text = match failure {
                Failure::File(text) => text,
                other => format!("{other:?}"),
            };
            self.progress.suspend(|| say(&text));
        }
    }
}
