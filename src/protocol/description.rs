//! What the table of commands says of a command and of an argument.

use crate::limits::NAME_BYTES;

/// Who answers a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answered at once by the event loop.
    Local,
    /// Answered by a reader from a snapshot.
    Read,
    /// Decided by the writer.
    Write,
    /// Turns the connection into a follower's.
    Follow,
    /// Done by the maintenance thread, for those who administer the daemon.
    Maintenance,
}

/// What an argument's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A string of so many bytes in UTF-8.
    Text {
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// A string of 1 to 256 bytes, or an integer that stands for its decimal string.
    Name,
    /// A whole number in a range.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A whole number in a range, or null for none.
    IntegerOrNull {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// `true` or `false`.
    Flag,
    /// Any JSON value.
    Json,
    /// A time in RFC 3339.
    Time,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A list of strings.
    Texts,
    /// A list of requests.
    Requests,
    /// The materials of a formula.
    Materials,
}

impl Type {
    /// The type in words, for `help` and error messages.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Type::Text { min: 0, max: usize::MAX } => "a string".into(),
            Type::Text { min, max: usize::MAX } => format!("a string of at least {min} byte"),
            Type::Text { min, max } if min == max => format!("a string of {min} bytes"),
            Type::Text { min, max } => format!("a string of {min} to {max} bytes"),
            Type::Name => format!("a string of 1 to {NAME_BYTES} bytes, or an integer"),
            Type::Integer { min, max: u64::MAX } => format!("a whole number of at least {min}"),
            Type::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Type::IntegerOrNull { min, max: u64::MAX } => {
                format!("a whole number of at least {min}, or null for none")
            }
            Type::IntegerOrNull { min, max } => {
                format!("a whole number from {min} to {max}, or null for none")
            }
            Type::Flag => "true or false".into(),
            Type::Json => "any JSON value".into(),
            Type::Time => "a time in RFC 3339, such as \"2026-01-31T12:00:00Z\"".into(),
            Type::Choice(words) => format!("one of \"{}\"", words.join("\", \"")),
            Type::Texts => "a list of strings".into(),
            Type::Requests => "a list of requests".into(),
            Type::Materials => "a list of {\"name\": string, \"concentration\": number}".into(),
        }
    }
}

/// One argument of a command.
#[derive(Debug, Clone, Copy)]
pub struct Argument {
    /// Its key in the request.
    pub name: &'static str,
    /// What its value must be.
    pub kind: Type,
    /// Whether a request without it is refused.
    pub required: bool,
    /// What it does.
    pub doc: &'static str,
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// The value of `cmd`.
    pub name: &'static str,
    /// Who answers it.
    pub kind: Kind,
    /// Its own arguments; those of `COMMON` and `COMMON_WRITE` come on top.
    pub arguments: &'static [Argument],
    /// What it does and what it replies.
    pub doc: &'static str,
}
