//! Reading the command line: the options for every command, and which command is meant.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::failure::{Failure, Result};
use super::own::{GLOBALS, OWN};
use super::request;
use super::suggest::did_you_mean;
use super::{assets, bench, export, help, import, top, work};
use crate::limits::TIME_MS;
use crate::protocol::table::{COMMANDS, Command};

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
    /// Show the daemon live.
    Top(top::Options),
    /// Measure the machine.
    Bench(bench::Options),
    /// Print the completions for a shell.
    Completions(assets::Shell),
    /// Write man pages and completions into a folder.
    Assets(PathBuf),
}

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
    globals: Globals,
    /// The values so far: the command, for its help.
    words: Vec<String>,
    /// The help or the version, once it was asked for.
    asked: Option<Action>,
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

impl CommandLine {
    /// Cuts the arguments at the first `--`, so that no option takes it or what is behind it.
    fn new(arguments: Vec<OsString>) -> Self {
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
    fn skim(&mut self) -> bool {
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

/// Whether this is a dash and one letter.
fn is_short(argument: &str) -> bool {
    matches!(argument.as_bytes(), [b'-', letter] if letter.is_ascii_alphabetic())
}

/// An argument as text.
///
/// # Errors
/// It is not UTF-8.
pub fn text(value: OsString) -> Result<String> {
    let bad = |value: OsString| Failure::Usage(format!("`{}` is not UTF-8", value.to_string_lossy()));
    value.into_string().map_err(bad)
}

/// A usage failure for an option that a command does not have.
#[must_use]
pub fn unknown_option(option: &str, command: &str, options: &[&str]) -> Failure {
    if is_short(option) {
        return unknown_short(option, options);
    }
    let known = options.iter().copied().chain(GLOBALS.iter().map(|global| global.name));
    let meant = super::suggest::nearest(option, known);
    let hint = meant.map_or(".".to_owned(), |meant| format!("; did you mean `--{meant}`?"));
    let topic = if command == "msglog" { String::new() } else { format!(" {command}") };
    Failure::Usage(format!("`{command}` has no option `--{option}`{hint} See `msglog help{topic}`."))
}

/// A usage failure for `-x`, which may be meant as an option or as text.
fn unknown_short(option: &str, options: &[&str]) -> Failure {
    let letter = option.trim_start_matches('-');
    let mut known = options.iter().copied().chain(GLOBALS.iter().map(|global| global.name));
    let meant = known.find(|name| name.starts_with(letter));
    let meant = meant.map_or(String::new(), |name| format!(": --{name}"));
    Failure::Usage(format!(
        "there is no option {option}; options have two dashes{meant}. For text that begins with a dash \
         write `--` first"
    ))
}

/// A usage failure in what lexopt says.
fn usage(error: &lexopt::Error) -> Failure {
    Failure::Usage(error.to_string())
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

/// The action of a noun of the table, and of `queue work`, which the table does not know.
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
    if noun == "queue" && verb == "work" {
        return Ok(Action::Work(work::Options::parse(line)?));
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

/// What is wrong with a command line that has options and no command.
fn no_command(globals: &Globals) -> String {
    match &globals.socket {
        // As in `msglog --socket $SOCK ping`, where the variable is empty.
        Some(path) => format!("a command is missing: `{}` was taken for the socket's path", path.display()),
        None => "a command is missing".into(),
    }
}

/// A usage failure for a command line that ends too early, with the help on these words.
fn missing(what: &str, words: &[String]) -> Failure {
    match help::text(words) {
        Ok(help) => Failure::Usage(format!("{what}\n\n{help}")),
        Err(failure) => failure,
    }
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

/// The one value that a command takes.
fn one_value(command: &str, takes: &str, line: &mut CommandLine) -> Result<String> {
    let mut values = values(command, line)?;
    match (values.pop(), values.pop()) {
        (Some(value), None) => Ok(value),
        _ => Err(Failure::Usage(format!("`{command}` takes {takes}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Invocation> {
        Invocation::parse(words.iter().map(OsString::from).collect())
    }

    fn usage_of(words: &[&str]) -> String {
        match parse(words) {
            Err(Failure::Usage(text)) => text,
            other => panic!("{words:?} gave {other:?}"),
        }
    }

    fn help_of(words: &[&str]) -> Vec<String> {
        match parse(words).unwrap().action {
            Action::Help(words) => words,
            other => panic!("{words:?} gave {other:?}"),
        }
    }

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
    fn a_command_line_that_ends_too_early_gets_the_help_as_a_failure() {
        assert!(usage_of(&[]).starts_with("a command is missing\n\nmsglog talks to"));
        assert!(usage_of(&["--socket", "ping"]).starts_with("a command is missing: `ping` was taken"));
        let usage = usage_of(&["message"]);
        assert!(usage.starts_with("`message` needs a verb\n\nUsage: msglog message VERB"), "{usage}");
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
