//! The pieces of the command line: options, their values, and what else there is.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::time::Duration;

use super::mistakes::{is_short, usage};
use super::{Action, Globals};
use crate::client::failure::{Failure, Result};
use crate::limits::TIME_MS;

/// One piece of the command line that is no option for every command.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// `--name`, without the dashes and with a dash for each `_`; a value after `=` is still to be taken. `-x`
    /// keeps its dash: no command has such an option.
    Option(String),
    /// Anything else.
    Value(OsString),
}

/// The command line, piece by piece.
#[derive(Debug)]
pub struct CommandLine {
    parser: lexopt::Parser,
    /// What stands behind the first `--`: no options, whatever they look like.
    behind: VecDeque<OsString>,
    pub(super) globals: Globals,
    /// The values so far: the command, for its help.
    pub(super) words: Vec<String>,
    /// The help or the version, once it was asked for.
    pub(super) asked: Option<Action>,
}

impl CommandLine {
    /// Cuts the arguments at the first `--`, so that no option takes it or what is behind it.
    pub(super) fn new(arguments: Vec<OsString>) -> Self {
        let dashes = arguments.iter().position(|argument| argument == "--");
        let mut own = arguments;
        let behind = dashes.map_or(VecDeque::new(), |at| own.split_off(at).into_iter().skip(1).collect());
        let parser = lexopt::Parser::from_args(own);
        CommandLine { parser, behind, globals: Globals::default(), words: Vec::new(), asked: None }
    }

    /// The next piece, once the options for every command are taken out. What looks like such an option and
    /// is the value of another one does not come by here.
    ///
    /// # Errors
    /// Such an option has no value, or `-x` is no option, or help or the version is asked for.
    pub fn next_piece(&mut self) -> Result<Option<Piece>> {
        loop {
            let Some(piece) = self.any_piece()? else { return Ok(None) };
            match &piece {
                Piece::Value(value) => self.words.push(value.to_string_lossy().into_owned()),
                Piece::Option(name) => match name.as_str() {
                    "socket" => {
                        self.globals.socket = Some(self.value()?.into());
                        continue;
                    }
                    "timeout" => {
                        self.globals.timeout = Some(self.seconds(name)?);
                        continue;
                    }
                    // The later one counts: an alias may have the other.
                    "json" | "readable" => {
                        self.globals.json = name == "json";
                        self.globals.readable = !self.globals.json;
                        continue;
                    }
                    "relative" => {
                        self.globals.relative = true;
                        continue;
                    }
                    "help" | "-h" => {
                        self.skim();
                        self.asked = Some(Action::Help(std::mem::take(&mut self.words)));
                        return Err(Failure::Asked);
                    }
                    "version" | "-V" => {
                        self.asked = Some(Action::Version);
                        return Err(Failure::Asked);
                    }
                    _ => {}
                },
            }
            return Ok(Some(piece));
        }
    }

    /// The next piece, whatever it is.
    fn any_piece(&mut self) -> Result<Option<Piece>> {
        if let Some(piece) = self.dashed() {
            return Ok(Some(piece));
        }
        Ok(match self.parser.next().map_err(|error| usage(&error))? {
            None => self.behind.pop_front().map(Piece::Value),
            Some(lexopt::Arg::Value(value)) => Some(Piece::Value(value)),
            Some(lexopt::Arg::Long(name)) => Some(Piece::Option(name.replace('_', "-"))),
            Some(argument) => return Err(usage(&argument.unexpected())),
        })
    }

    /// Reads the rest for its words alone, whatever is wrong with it. Whether it asks for help.
    pub(super) fn skim(&mut self) -> bool {
        let mut help = false;
        drop(self.attached());
        while let Ok(Some(piece)) = self.any_piece() {
            match piece {
                Piece::Value(value) => self.words.push(value.to_string_lossy().into_owned()),
                Piece::Option(name) if matches!(name.as_str(), "socket" | "timeout") => drop(self.value()),
                Piece::Option(name) => {
                    help |= matches!(name.as_str(), "help" | "-h");
                    drop(self.attached());
                }
            }
        }
        help
    }

    /// The value of the option that came last.
    ///
    /// # Errors
    /// There is none.
    pub fn value(&mut self) -> Result<OsString> {
        self.parser.value().map_err(|error| usage(&error))
    }

    /// The value of the option that came last, as text.
    ///
    /// # Errors
    /// There is none, or it is not UTF-8.
    pub fn text(&mut self) -> Result<String> {
        text(self.value()?)
    }

    /// The value of the option that came last, as a number.
    ///
    /// # Errors
    /// There is none, or it is no whole number.
    pub fn number(&mut self, option: &str) -> Result<u64> {
        let text = self.text()?;
        text.parse().map_err(|_| Failure::Usage(format!("--{option} takes a whole number, not `{text}`")))
    }

    /// The value of the option that came last, as a time in seconds, which may have decimals.
    ///
    /// # Errors
    /// There is none, or it is no time that anything could take.
    pub fn seconds(&mut self, option: &str) -> Result<Duration> {
        let text = self.text()?;
        let time = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let longest = Duration::from_millis(TIME_MS);
        time.filter(|time| *time >= Duration::from_millis(1) && *time <= longest).ok_or_else(|| {
            Failure::Usage(format!(
                "--{option} takes seconds, such as 10 or 0.5, a year at most, not `{text}`"
            ))
        })
    }

    /// The value of a flag, where it was written as `--flag=value`.
    pub fn attached(&mut self) -> Option<OsString> {
        self.parser.optional_value()
    }

    /// The next argument, if it is one of these words.
    pub fn next_word(&mut self, words: &[&str]) -> Option<OsString> {
        self.parser.try_raw_args()?.next_if(|argument| words.iter().any(|word| argument == *word))
    }

    /// Takes what stands behind `--` away from the pieces.
    pub fn take_behind_dashes(&mut self) -> Vec<OsString> {
        std::mem::take(&mut self.behind).into()
    }

    /// A piece with one dash: `-x` was meant as an option, while `-5` and `-spam` are values.
    fn dashed(&mut self) -> Option<Piece> {
        let mut raw = self.parser.try_raw_args()?;
        let argument = raw.next_if(|argument| {
            let bytes = argument.as_encoded_bytes();
            bytes.len() > 1 && bytes.starts_with(b"-") && !bytes.starts_with(b"--")
        })?;
        Some(match argument.to_str() {
            Some(short) if is_short(short) => Piece::Option(short.to_owned()),
            _ => Piece::Value(argument),
        })
    }
}

/// An argument as text.
///
/// # Errors
/// It is not UTF-8.
pub fn text(value: OsString) -> Result<String> {
    let bad = |value: OsString| Failure::Usage(format!("`{}` is not UTF-8", value.to_string_lossy()));
    value.into_string().map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::command_line::testing::{help_of, parse, usage_of};

    #[test]
    fn options_for_every_command_stand_anywhere() {
        for words in [["--socket", "/s", "--json", "ping"], ["ping", "--json", "--socket", "/s"]] {
            let invocation = parse(&words).unwrap();
            assert_eq!(
                invocation.globals,
                Globals { socket: Some("/s".into()), json: true, ..Globals::default() }
            );
        }
        let globals = parse(&["ping", "--json", "--readable"]).unwrap().globals;
        assert!(globals.readable && !globals.json);
        assert!(usage_of(&["ping", "--socket"]).contains("--socket"));
    }

    #[test]
    fn what_stands_behind_dashes_is_no_option() {
        for words in
            [["kv", "get", "--", "--json"], ["kv", "--", "get", "--json"], ["--", "kv", "get", "--json"]]
        {
            let Action::Request(_, request) = parse(&words).unwrap().action else { panic!("{words:?}") };
            assert_eq!(request, r#"{"cmd":"kv.get","key":"--json"}"#);
        }
    }

    #[test]
    fn help_is_found_wherever_it_is_asked_for() {
        assert!(help_of(&["-h"]).is_empty());
        assert!(help_of(&["help"]).is_empty());
        assert_eq!(help_of(&["help", "kv", "set"]), ["kv", "set"]);
        assert_eq!(help_of(&["kv", "-h"]), ["kv"]);
        assert_eq!(help_of(&["kv", "set", "--help"]), ["kv", "set"]);
        assert_eq!(help_of(&["kv", "set", "-h", "1"]), ["kv", "set", "1"]);
        assert_eq!(help_of(&["--help", "--limit=5", "kv", "list"]), ["kv", "list"]);
        assert!(matches!(
            parse(&["queue", "work", "q", "--", "make", "--help"]).unwrap().action,
            Action::Work(_)
        ));
    }

    #[test]
    fn help_is_found_behind_a_mistake_on_as_much_as_there_is() {
        assert_eq!(help_of(&["kv", "set", "--bogus", "--help"]), ["kv", "set"]);
        assert_eq!(help_of(&["kv", "set", "--bogus=1", "a", "-h"]), ["kv", "set", "a"]);
        assert_eq!(help_of(&["kv", "bogus", "--help"]), ["kv"]);
        assert!(help_of(&["bogus", "--help"]).is_empty());
        assert!(help_of(&["--bogus", "--socket", "kv", "--help"]).is_empty());
        assert!(usage_of(&["queue", "work", "--bogus", "--", "make", "--help"]).contains("--bogus"));
    }

    #[test]
    fn the_version_is_told_wherever_it_is_asked_for() {
        for words in [["-V"].as_slice(), &["--version"], &["ping", "--version"], &["kv", "set", "-V", "1"]] {
            assert!(matches!(parse(words).unwrap().action, Action::Version), "{words:?}");
        }
    }

    #[test]
    fn help_and_version_are_not_asked_for_where_they_are_values() {
        assert_eq!(help_of(&["--socket", "/s", "kv", "set", "--help"]), ["kv", "set"]);
        assert_eq!(help_of(&["--help", "--socket", "/s", "kv", "--json", "-h"]), ["kv"]);
        for value in ["-h", "--help", "-V", "--version"] {
            let words = ["message", "post", "--originator", "a", "--recipient", "b", "--body", value];
            let Action::Request(_, request) = parse(&words).unwrap().action else { panic!("{words:?}") };
            assert!(request.ends_with(&format!(r#""body":"{value}"}}"#)), "{request}");
        }
        assert!(usage_of(&["kv", "gte", "--key", "-V"]).contains("`get`"));
    }

    #[test]
    fn a_dash_and_a_letter_are_taken_for_an_option_and_other_dashes_for_text() {
        let usage = usage_of(&["message", "post", "-o", "anna"]);
        assert!(
            usage.starts_with("there is no option -o; options have two dashes: --originator. "),
            "{usage}"
        );
        for words in [["kv", "set", "-x", "1"].as_slice(), &["-x"], &["import", "-x"], &["queue", "-x"]] {
            assert!(usage_of(words).contains("there is no option -x; "), "{words:?}");
        }
        for (words, expected) in [
            (["kv", "set", "n", "-1"].as_slice(), r#"{"cmd":"kv.set","key":"n","value":-1}"#),
            (&["message", "search", "-dash"], r#"{"cmd":"message.search","text":"-dash"}"#),
            (&["message", "search", "--text", "-d"], r#"{"cmd":"message.search","text":"-d"}"#),
            (&["message", "search", "--", "-d"], r#"{"cmd":"message.search","text":"-d"}"#),
        ] {
            let Action::Request(_, request) = parse(words).unwrap().action else { panic!("{words:?}") };
            assert_eq!(request, expected);
        }
    }
}
