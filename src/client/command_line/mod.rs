//! Reading the command line: the options for every command, and which command is meant.
//!
//! - `pieces` takes it apart.
//! - `mistakes` says what is wrong with it.

mod mistakes;
mod pieces;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Failure, Result};
use super::own::OWN;
use super::request;
use super::suggest::did_you_mean;
use super::{assets, bench, export, help, import, top, work};
use crate::protocol::table::{COMMANDS, Command};
pub use mistakes::unknown_option;
use mistakes::{missing, no_command};
pub use pieces::{CommandLine, Piece, text};

/// A whole command line.
#[derive(Debug)]
pub struct Invocation {
    /// The options that every command has.
    pub globals: Globals,
    /// What to do.
    pub action: Action,
}

/// The options that every command has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--json`.
    pub json: bool,
    /// `--readable`.
    pub readable: bool,
    /// `--relative`.
    pub relative: bool,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Print the help on these words.
    Help(Vec<String>),
    /// Print the version.
    Version,
    /// Send one request, made from the table.
    Request(&'static Command, String),
    /// Send this request as it is, or those on standard input for `-`.
    Call(String),
    /// Import a file.
    Import(import::Options),
    /// Export what is stored.
    Export(export::Options),
    /// Run a command for each job of a queue.
    Work(work::Options),
    /// Print what each queue holds.
    QueueMetrics,
    /// Show the daemon live.
    Top(top::Options),
    /// Measure the machine.
    Bench(bench::Options),
    /// Print the completions for a shell.
    Completions(assets::Shell),
    /// Write man pages and completions into a folder.
    Assets(PathBuf),
}

impl Invocation {
    /// Reads the arguments, without the program's name.
    ///
    /// # Errors
    /// [`Failure::Usage`] when they make no sense, or what reading a value from standard input gave.
    pub fn parse(arguments: Vec<OsString>) -> Result<Self> {
        let mut line = CommandLine::new(arguments);
        let action = match (action(&mut line), line.asked.take()) {
            (_, Some(asked)) => asked,
            (Err(_), None) if line.skim() => Action::Help(help::known(line.words)),
            (action, None) => action?,
        };
        Ok(Invocation { globals: line.globals, action })
    }
}

/// The action of a command line whose first pieces say which one.
fn action(line: &mut CommandLine) -> Result<Action> {
    let noun = match line.next_piece()? {
        None => return Err(missing(&no_command(&line.globals), &[])),
        Some(Piece::Option(name)) => return Err(unknown_option(&name, "msglog", &[])),
        Some(Piece::Value(value)) => text(value)?,
    };
    match noun.as_str() {
        "help" => Ok(Action::Help(values("help", line)?)),
        "call" => Ok(Action::Call(one_value("call", "one request, in quotes, or `-`", line)?)),
        "export" => Ok(Action::Export(export::Options::parse(line)?)),
        "top" => Ok(Action::Top(top::Options::parse(line)?)),
        "bench" => Ok(Action::Bench(bench::Options::parse(line)?)),
        "completions" => {
            let shell = one_value("completions", assets::COMPLETIONS.takes, line)?;
            Ok(Action::Completions(assets::Shell::named(&shell)?))
        }
        "assets" => Ok(Action::Assets(one_value("assets", "one folder", line)?.into())),
        "import" => Ok(Action::Import(import::Options::parse(line)?)),
        _ => request_action(&noun, line),
    }
}

/// The action of a noun of the table, and of the verbs of `queue` that the table does not know.
fn request_action(noun: &str, line: &mut CommandLine) -> Result<Action> {
    if let Some(command) = find(noun) {
        return Ok(Action::Request(command, request::parse(command, line)?));
    }
    if !COMMANDS.iter().any(|command| noun_of(command) == noun) {
        let known = COMMANDS.iter().map(noun_of).chain(OWN.iter().map(|own| own.words));
        let hint = match noun {
            "man" => "; `msglog assets DIR` writes the man pages.".into(),
            _ => did_you_mean(noun, known),
        };
        return Err(Failure::Usage(format!("there is no command `{noun}`{hint} See `msglog help`.")));
    }
    let verb = match line.next_piece()? {
        None => return Err(missing(&format!("`{noun}` needs a verb"), &[noun.to_owned()])),
        Some(Piece::Option(name)) => return Err(unknown_option(&name, noun, &[])),
        Some(Piece::Value(value)) => text(value)?,
    };
    match (noun, verb.as_str()) {
        ("queue", "work") => return Ok(Action::Work(work::Options::parse(line)?)),
        ("queue", "metrics") => return no_value("queue metrics", line).map(|()| Action::QueueMetrics),
        _ => {}
    }
    if let Some(command) = find(&format!("{noun}.{verb}")) {
        return Ok(Action::Request(command, request::parse(command, line)?));
    }
    if noun == "log" && matches!(verb.as_str(), "check" | "repair") {
        return Err(Failure::Usage(format!(
            "a log that no daemon has open is for `msglogd {verb}`; a running daemon checks its own with \
             `msglog log verify`"
        )));
    }
    let hint = did_you_mean(&verb, verbs(noun));
    Err(Failure::Usage(format!("there is no `{noun} {verb}`{hint} See `msglog help {noun}`.")))
}

/// Every verb of a noun.
pub fn verbs(noun: &str) -> impl Iterator<Item = &'static str> {
    let own = OWN.iter().filter_map(move |own| own.words.strip_prefix(noun)?.strip_prefix(' '));
    let of_table =
        COMMANDS.iter().filter_map(move |command| command.name.strip_prefix(noun)?.strip_prefix('.'));
    of_table.chain(own)
}

/// The noun of a command: what stands before the point.
#[must_use]
pub fn noun_of(command: &Command) -> &'static str {
    command.name.split('.').next().unwrap_or(command.name)
}

/// The command of that name. `help` is the client's own.
fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name && name != "help")
}

/// The values that are left, where there must be no options.
fn values(command: &str, line: &mut CommandLine) -> Result<Vec<String>> {
    let mut values = Vec::new();
    while let Some(piece) = line.next_piece()? {
        match piece {
            Piece::Value(value) => values.push(text(value)?),
            Piece::Option(name) => return Err(unknown_option(&name, command, &[])),
        }
    }
    Ok(values)
}

/// Of a command that takes no value.
fn no_value(command: &str, line: &mut CommandLine) -> Result<()> {
    match values(command, line)?.first() {
        Some(value) => Err(Failure::Usage(format!("`{command}` takes nothing, and there is {value:?}"))),
        None => Ok(()),
    }
}

/// The one value that a command takes.
fn one_value(command: &str, takes: &str, line: &mut CommandLine) -> Result<String> {
    let mut values = values(command, line)?;
    match (values.pop(), values.pop()) {
        (Some(value), None) => Ok(value),
        _ => Err(Failure::Usage(format!("`{command}` takes {takes}"))),
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{parse, usage_of};
    use super::*;

    #[test]
    fn mistyped_words_get_a_suggestion() {
        assert!(usage_of(&["mesage", "post"]).contains("`message`"));
        assert!(usage_of(&["kv", "gte", "x"]).contains("did you mean `get`?"));
        assert!(usage_of(&["queue", "wrok"]).contains("`work`"));
        assert!(usage_of(&["--sockt", "x"]).contains("`--socket`"));
        assert!(usage_of(&["log", "check"]).contains("`msglogd check`"));
        assert!(usage_of(&["man"]).contains("`msglog assets DIR` writes the man pages"));
        assert!(usage_of(&["frobnicate"]).ends_with("See `msglog help`."));
    }

    #[test]
    fn dotted_names_work_too() {
        let Action::Request(command, request) = parse(&["kv.get", "x"]).unwrap().action else { panic!() };
        assert_eq!((command.name, request.as_str()), ("kv.get", r#"{"cmd":"kv.get","key":"x"}"#));
    }
}
