//! Checks a request's arguments against the table, and reads them.

use std::borrow::Cow;

use super::table::{Argument, COMMON, COMMON_WRITE, Command, Kind, Type};
use crate::error::{Error, Result, shown};
use crate::json::{self, Object};
use crate::limits::NAME_BYTES;
use crate::time::Timestamp;

/// The arguments of a request that the table allows: all that are there have their type.
#[derive(Clone, Copy)]
pub struct Arguments<'o, 'a> {
    object: &'o Object<'a>,
    command: &'static Command,
}

impl<'o, 'a> Arguments<'o, 'a> {
    /// Checks every argument of a request. A member of a batch may carry nothing that is common to
    /// all writes.
    ///
    /// # Errors
    /// `bad_request` for the first argument that is unknown, ill-typed or missing.
    pub fn check(object: &'o Object<'a>, command: &'static Command, member: bool) -> Result<Self> {
        for (name, raw) in object.iter() {
            let Some(argument) = find(command, name, member) else {
                return Err(unknown(command, name, member));
            };
            if !fits(argument.kind, raw) {
                let message = format!("`{name}` must be {}", argument.kind.describe());
                return Err(Error::bad_field(name, message));
            }
        }
        for argument in command.arguments.iter().filter(|argument| argument.required) {
            if object.get(argument.name).is_none() {
                let message = format!("{} needs `{}`: {}", command.name, argument.name, argument.doc);
                return Err(Error::bad_field(argument.name, message));
            }
        }
        Ok(Arguments { object, command })
    }

    /// The command.
    #[must_use]
    pub fn command(&self) -> &'static Command {
        self.command
    }

    /// A value as it was sent.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.object.get(name)
    }

    /// A string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        json::as_string(self.raw(name)?).map(std::borrow::Cow::into_owned)
    }

    /// A string that the table requires.
    #[must_use]
    pub fn required_text(&self, name: &str) -> String {
        self.text(name).unwrap_or_default()
    }

    /// A string, or the decimal string of an integer.
    #[must_use]
    pub fn name(&self, name: &str) -> Option<String> {
        let raw = self.raw(name)?;
        self.text(name).or_else(|| json::integer_text(raw).map(str::to_owned))
    }

    /// A whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        json::as_u64(self.raw(name)?)
    }

    /// A whole number that the table requires.
    #[must_use]
    pub fn required_number(&self, name: &str) -> u64 {
        self.number(name).unwrap_or_default()
    }

    /// A whole number or null: `Some(None)` for null.
    #[must_use]
    pub fn number_or_null(&self, name: &str) -> Option<Option<u64>> {
        self.raw(name).map(json::as_u64)
    }

    /// A flag.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        json::as_bool(self.raw(name)?)
    }

    /// A time.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        Timestamp::parse(&self.text(name)?)
    }

    /// A list of strings, one after the other.
    #[must_use]
    pub fn texts(&self, name: &str) -> Option<impl Iterator<Item = Cow<'a, str>>> {
        Some(json::elements(self.raw(name)?)?.filter_map(json::as_string))
    }

    /// All arguments as they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.object.iter()
    }
}

fn find(command: &'static Command, name: &str, member: bool) -> Option<&'static Argument> {
    let cmd = COMMON.iter().take(1);
    let common = COMMON.iter().skip(1).filter(|_| !member);
    let of_writes = COMMON_WRITE.iter().filter(|_| !member && command.kind == Kind::Write);
    command.arguments.iter().chain(cmd).chain(common).chain(of_writes).find(|argument| argument.name == name)
}

fn unknown(command: &Command, name: &str, member: bool) -> Error {
    let shown = shown(name);
    let common = COMMON.iter().chain(COMMON_WRITE).any(|argument| argument.name == name);
    let message = match (common, member) {
        (true, true) => format!("a member of a batch carries no `{shown}`: the batch does"),
        (true, false) => format!("{} is no write: it takes no `{shown}`", command.name),
        (false, _) => {
            let known: Vec<&str> = command.arguments.iter().map(|argument| argument.name).collect();
            let known = if known.is_empty() { "none of its own".to_owned() } else { known.join(", ") };
            format!("{} has no argument `{shown}`; it takes: {known}", command.name)
        }
    };
    Error::bad_field(shown, message)
}

fn fits(kind: Type, raw: &str) -> bool {
    let text_of =
        |min: usize, max: usize| json::as_string(raw).is_some_and(|text| (min..=max).contains(&text.len()));
    match kind {
        Type::Text { min, max } => text_of(min, max),
        Type::Name => {
            text_of(1, NAME_BYTES) || json::integer_text(raw).is_some_and(|digits| digits.len() <= NAME_BYTES)
        }
        Type::Integer { min, max } => json::as_u64(raw).is_some_and(|number| (min..=max).contains(&number)),
        Type::IntegerOrNull { min, max } => {
            raw == "null" || json::as_u64(raw).is_some_and(|number| (min..=max).contains(&number))
        }
        Type::Flag => json::as_bool(raw).is_some(),
        Type::Json => true,
        Type::Time => json::as_string(raw).is_some_and(|text| Timestamp::parse(&text).is_some()),
        Type::Choice(words) => json::as_string(raw).is_some_and(|text| words.contains(&text.as_ref())),
        Type::Texts => {
            json::elements(raw).is_some_and(|mut elements| elements.all(|raw| json::as_string(raw).is_some()))
        }
        Type::Requests | Type::Materials => raw.starts_with('['),
    }
}
