//! How the client ends: its exit statuses, and why it did not do what it was asked to.

use std::io;

use super::reply::Refusal;
use super::style::visible;

/// Done.
pub const DONE: u8 = 0;
/// What was asked for is not there, or nothing matches.
pub const NOTHING_FOUND: u8 = 1;
/// The command line makes no sense.
pub const WRONG_USAGE: u8 = 2;
/// The daemon refused the request.
pub const REFUSED: u8 = 3;
/// No daemon answers, or it went away.
pub const NO_DAEMON: u8 = 4;
/// A file could not be read or written.
pub const FILE_TROUBLE: u8 = 74;

/// Why the client ends early.
#[derive(Debug)]
pub enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// The daemon refused the request.
    Refused(Refusal),
    /// It refused to do something, whatever the code: also that something is not there does not mean that nothing
    /// was found.
    NotDone(Refusal),
    /// No daemon answers, or it went away before it answered.
    NoDaemon(String),
    /// A file could not be read or written.
    File(String),
    /// Help or the version was asked for instead.
    Asked,
    /// Whoever read the standard output has left. This is how `head` ends a pipe, and no failure.
    OutputClosed,
}

/// The result of nearly everything in the client.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure to read or write what `what` names.
    #[must_use]
    pub fn file(what: &str, error: &io::Error) -> Self {
        Failure::File(format!("{what}: {error}"))
    }

    /// A failure to write to standard output.
    #[must_use]
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::file("cannot write to standard output", error),
        }
    }

    /// The connection broke, in whatever way.
    #[must_use]
    pub fn lost(error: &io::Error) -> Self {
        Failure::lost_and(error, "")
    }

    /// The same, and what is to be said besides.
    #[must_use]
    pub fn lost_and(error: &io::Error, besides: &str) -> Self {
        Failure::NoDaemon(format!("the connection to the daemon was lost: {}{besides}", lost_how(error)))
    }

    /// The exit status.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) => WRONG_USAGE,
            Failure::Refused(refusal) if refusal.code == "not_found" => NOTHING_FOUND,
            Failure::Refused(_) | Failure::NotDone(_) => REFUSED,
            Failure::NoDaemon(_) => NO_DAEMON,
            Failure::File(_) => FILE_TROUBLE,
            Failure::Asked | Failure::OutputClosed => DONE,
        }
    }

    /// What to say on standard error; nothing when there is nothing to say.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        let text = match self {
            Failure::Usage(text) | Failure::NoDaemon(text) | Failure::File(text) => text.clone(),
            Failure::Refused(refusal) | Failure::NotDone(refusal) => refusal.to_string(),
            Failure::Asked | Failure::OutputClosed => return None,
        };
        // Names and keys that others chose may be quoted in it.
        Some(text.lines().map(visible).collect::<Vec<_>>().join("\n"))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

/// Whether nothing came in time, which the system tells as a resource that is missing.
#[must_use]
pub fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// How a connection was lost.
#[must_use]
pub fn lost_how(error: &io::Error) -> String {
    if is_late(error) { "no answer in time".into() } else { error.to_string() }
}

/// Says something on standard error. If nobody hears it, there is no place left to say so.
pub fn say(text: &str) {
    use io::Write;
    let _ = writeln!(io::stderr(), "msglog: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_does_not_answer_is_told_as_that() {
        assert_eq!(lost_how(&io::ErrorKind::WouldBlock.into()), "no answer in time");
        assert_eq!(lost_how(&io::ErrorKind::TimedOut.into()), "no answer in time");
        assert_eq!(lost_how(&io::Error::other("busy")), "busy");
    }
}
