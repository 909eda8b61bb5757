//! The catalogue of error codes, and the one error type that carries them.

use std::fmt;

/// What went wrong, as a client sees it in `error`. The list is closed; codes are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The line is not strict JSON.
    BadJson,
    /// An argument is missing, unknown or ill-typed.
    BadRequest,
    /// There is no such command.
    UnknownCommand,
    /// The line is longer than the limit.
    TooLarge,
    /// What was asked for is not there.
    NotFound,
    /// It stands in the way of something that is there.
    Conflict,
    /// The queue holds as many jobs as it may.
    QueueFull,
    /// The lease ran out, or was taken over.
    LeaseLost,
    /// This user may not do that.
    Forbidden,
    /// Nothing was written: the disk is full, or failed. Reads go on.
    ReadOnly,
    /// The sync of this write's batch failed: whether it is there is known after a restart.
    OutcomeUnknown,
    /// Stored bytes fail their checksum.
    Corrupt,
    /// The daemon is stopping.
    ShuttingDown,
    /// The daemon has too much to do for this now: too much is open, held, waiting or under way, or the groups of
    /// who connects cannot be read.
    Busy,
    /// A defect of the daemon.
    Internal,
}

/// Every code with its name on the wire, what it means, and whether the same request may succeed
/// when it is sent again.
pub const CATALOGUE: &[(Code, &str, &str, bool)] = &[
    (Code::BadJson, "bad_json", "the line is not strict JSON", false),
    (Code::BadRequest, "bad_request", "an argument is missing, unknown or ill-typed: see `field`", false),
    (Code::UnknownCommand, "unknown_command", "there is no such command: see `help`", false),
    (Code::TooLarge, "too_large", "the line is over the limit and was skipped", false),
    (Code::NotFound, "not_found", "what was asked for is not there", false),
    (Code::Conflict, "conflict", "what is there does not allow it", false),
    (Code::QueueFull, "queue_full", "the queue holds `max_jobs` jobs", true),
    (Code::LeaseLost, "lease_lost", "the lease ran out, or another holder has the job", false),
    (Code::Forbidden, "forbidden", "this user may not do that", false),
    (Code::ReadOnly, "read_only", "nothing was written: the disk is full or failed; reads go on", true),
    (
        Code::OutcomeUnknown,
        "outcome_unknown",
        "the sync failed: repeat after a restart, with an idempotency key",
        true,
    ),
    (Code::Corrupt, "corrupt", "stored bytes fail their checksum: see `file` and `offset`", false),
    (Code::ShuttingDown, "shutting_down", "the daemon is stopping", true),
    (Code::Busy, "busy", "the daemon has too much to do for this now: ask again later", true),
    (Code::Internal, "internal", "a defect of the daemon", false),
];

impl Code {
    /// The code as it stands in `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        CATALOGUE.iter().find(|(code, ..)| *code == self).map_or("internal", |(_, name, ..)| name)
    }
}

/// A refusal or a failure: a code, a sentence for people, and where it is known, the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Details>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    code: Code,
    message: String,
    field: Option<String>,
    file: Option<String>,
    offset: Option<u64>,
    index: Option<usize>,
}

/// The result of nearly everything here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with its sentence for people.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Error(Box::new(Details { code, message, field: None, file: None, offset: None, index: None }))
    }

    /// `bad_request` for one argument.
    #[must_use]
    pub fn bad_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Error::new(Code::BadRequest, message);
        error.0.field = Some(field.into());
        error
    }

    /// `not_found`.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Error::new(Code::NotFound, message)
    }

    /// `shutting_down`, to a client that could be served no more.
    #[must_use]
    pub fn stopping() -> Self {
        Error::new(Code::ShuttingDown, "the daemon is stopping")
    }

    /// `conflict`.
    #[must_use]
    pub fn conflict(message: impl Into<String>) -> Self {
        Error::new(Code::Conflict, message)
    }

    /// `corrupt`: `file` fails its checksum at byte `offset`.
    #[must_use]
    pub fn corrupt(file: impl Into<String>, offset: u64, message: impl Into<String>) -> Self {
        let mut error = Error::new(Code::Corrupt, message).at_offset(offset);
        error.0.file = Some(file.into());
        error
    }

    /// The same error, at this byte of the line or file.
    #[must_use]
    pub fn at_offset(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    /// The same error, of this argument.
    #[must_use]
    pub fn of_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// The same error, of this member of a batch.
    #[must_use]
    pub fn of_member(mut self, index: usize) -> Self {
        self.0.index = Some(index);
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The argument at fault.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// The damaged file.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The byte at fault, in the line or in the file.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The member of the batch at fault, from 0.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        self.0.index
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code().as_str(), self.message())?;
        if let Some(file) = self.file() {
            write!(f, " ({file}")?;
            if let Some(offset) = self.offset() {
                write!(f, " at byte {offset}")?;
            }
            write!(f, ")")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Characters of a name that an error shows: a formula's id, which is the longest that people copy, is shown whole.
const SHOWN_CHARACTERS: usize = 64;

/// As much of a name that a client sent as an error shows.
#[must_use]
pub fn shown(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}\u{2026}", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_and_that_is_shown() {
        let name = "\u{e9}".repeat(64);
        assert_eq!(shown(&name), name);
        assert_eq!(shown(&format!("{name}ab")), format!("{name}\u{2026}"));
    }

    #[test]
    fn every_code_has_one_name_and_every_name_one_code() {
        let mut names: Vec<_> = CATALOGUE.iter().map(|(_, name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
        assert_eq!(Code::LeaseLost.as_str(), "lease_lost");
    }
}
