//! A request made from the command line, after the table of commands.
//!
//! Required arguments are taken by position, in the order of the table; every argument can also be
//! named. What the daemon alone can judge (lengths, times, the grammar of a search) is left to it.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde_json::value::RawValue;

use super::command_line::{CommandLine, Piece, text, unknown_option};
use super::failure::{Failure, Result};
use super::moment;
use super::suggest::did_you_mean;
use crate::json::{self, fields::Fields};
use crate::limits::LINE_BYTES_MAX;
use crate::paths::shell_word;
use crate::protocol::table::{Argument, COMMON, Command, Kind, Type};
use crate::time::Timestamp;

/// A request in the making: one line of JSON.
pub struct RequestLine(Vec<u8>);

impl RequestLine {
    /// A request of this command.
    #[must_use]
    pub fn new(command: &str) -> Self {
        RequestLine([b"{\"cmd\":\"", command.as_bytes(), b"\""].concat())
    }

    /// A request that is one line of JSON already, to add to.
    #[must_use]
    pub fn reopened(mut line: String) -> Self {
        line.pop();
        RequestLine(line.into_bytes())
    }

    /// Adds a string.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        Fields(&mut self.0).text(name, value);
        self
    }

    /// Adds a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        Fields(&mut self.0).number(name, value);
        self
    }

    /// Adds what is JSON already.
    pub fn raw(&mut self, name: &str, value: &str) -> &mut Self {
        Fields(&mut self.0).raw(name, value.as_bytes());
        self
    }

    /// The line, without its end.
    #[must_use]
    pub fn finish(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned() + "}"
    }
}

/// Reads what a command takes and makes its request, one line of JSON.
///
/// # Errors
/// [`Failure::Usage`] when an argument is missing, unknown or of the wrong kind; a failure to read
/// standard input where a `-` says so.
pub fn parse(command: &'static Command, line: &mut CommandLine) -> Result<String> {
    let mut draft = Draft { command, fields: Vec::new() };
    let mut values = VecDeque::new();
    while let Some(piece) = line.next_piece()? {
        match piece {
            Piece::Value(value) => values.push_back(text(value)?),
            Piece::Option(name) => draft.option(&name, line)?,
        }
    }
    for argument in positional(command) {
        if draft.has(argument) {
            continue;
        }
        match values.pop_front() {
            Some(value) => draft.push(argument, &value)?,
            None if argument.required => {
                return Err(draft.usage(&format!("{} is missing", super::help::placeholder(argument))));
            }
            None => break,
        }
    }
    match values.pop_front() {
        None => Ok(draft.finish()),
        Some(value) => Err(draft.usage(&format!("`{value}` is too much; {}", draft.what_to_do_with(&value)))),
    }
}

/// The arguments that are taken by position: the required ones, then one that is so often given
/// that it need not be named.
pub fn positional(command: &'static Command) -> impl Iterator<Item = &'static Argument> {
    let frequent = match command.name {
        "message.search" | "message.follow" => "text",
        "message.get" | "message.delete" => "seq",
        "kv.list" => "prefix",
        "chat.create" => "name",
        _ => "",
    };
    command.arguments.iter().filter(move |argument| argument.required || argument.name == frequent)
}

/// Every argument that a command may be given by name.
pub fn nameable(command: &'static Command) -> impl Iterator<Item = &'static Argument> {
    let common = COMMON.iter().filter(|argument| argument.name != "cmd");
    command.arguments.iter().chain(command.common_write()).chain(common)
}

/// An argument's name as an option, without the dashes.
#[must_use]
pub fn option_name(argument: &Argument) -> String {
    argument.name.replace('_', "-")
}

/// What may stand behind a flag to say or deny it.
pub const FLAG_WORDS: &[&str] = &["true", "false"];

/// Reads `--name value`, `--flag`, `--no-flag`, `--flag=false` or, with these words, `--flag false`: the
/// argument and its value. Nothing when no argument has this name.
///
/// # Errors
/// There is no value, or it is not UTF-8.
pub fn valued(
    name: &str,
    find: impl Fn(&str) -> Option<&'static Argument>,
    words: &[&str],
    line: &mut CommandLine,
) -> Result<Option<(&'static Argument, String)>> {
    let denied = name.strip_prefix("no-").and_then(&find).filter(|argument| argument.kind == Type::Flag);
    if let Some(flag) = denied {
        return Ok(Some((flag, "false".into())));
    }
    let Some(argument) = find(name) else { return Ok(None) };
    let value = match argument.kind {
        Type::Flag => line.attached().or_else(|| line.next_word(words)).map_or(Ok("true".into()), text)?,
        _ => line.text()?,
    };
    Ok(Some((argument, value)))
}

/// A request in the making.
struct Draft {
    command: &'static Command,
    fields: Vec<(&'static Argument, String)>,
}

impl Draft {
    /// Takes `--name value`, `--flag` or `--no-flag`.
    fn option(&mut self, name: &str, line: &mut CommandLine) -> Result<()> {
        let command = self.command;
        // The flags of writes take a word behind them too. Those of reads do not: it may well be
        // what is searched for.
        let words: &[&str] = if command.kind == Kind::Write { FLAG_WORDS } else { &[] };
        let argument = |wanted: &str| nameable(command).find(|argument| option_name(argument) == wanted);
        if let Some((argument, value)) = valued(name, argument, words, line)? {
            return self.push(argument, &value);
        }
        let known: Vec<String> = nameable(command).map(option_name).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        Err(unknown_option(name, &command.name.replace('.', " "), &known))
    }

    fn has(&self, argument: &Argument) -> bool {
        self.fields.iter().any(|(known, _)| known.name == argument.name)
    }

    fn push(&mut self, argument: &'static Argument, value: &str) -> Result<()> {
        if self.has(argument) {
            return Err(self.usage(&format!("`{}` is given twice", argument.name)));
        }
        let from_input;
        let value = if value == "-" && reads_input(argument) {
            from_input = standard_input(io::stdin().lock())?;
            // Some programs begin a file with a mark of the order of its bytes, which is no JSON.
            let mark = if takes_json(argument) { "\u{feff}" } else { "" };
            let text = from_input.strip_prefix(mark).unwrap_or(&from_input);
            if text.trim().is_empty() && takes_json(argument) {
                return Err(self.usage("standard input is empty"));
            }
            text
        } else if self.command.name == "log.backup" && argument.name == "to" {
            // The daemon has another folder to be in.
            let absolute =
                absolute(Path::new(value)).and_then(|path| path.into_os_string().into_string().ok());
            from_input = absolute.unwrap_or_else(|| value.to_owned());
            from_input.as_str()
        } else {
            value
        };
        let value = encode(argument, value).map_err(|problem| self.usage(&problem))?;
        self.fields.push((argument, value));
        Ok(())
    }

    /// What to do about a value that is too much.
    fn what_to_do_with(&self, value: &str) -> String {
        // The text goes by position, so a seq before it was taken for the text.
        let body = self.fields.iter().find(|(argument, _)| argument.name == "body");
        let seq = body.and_then(|(_, text)| text.trim_matches('"').parse::<u64>().ok());
        if let Some(seq) = seq.filter(|_| self.command.name == "message.edit") {
            return format!("name the message with --seq {seq}: msglog message edit --seq {seq} 'TEXT'");
        }
        let is_text = |last: &Argument| matches!(last.name, "body" | "text" | "name");
        let ends_with_text = positional(self.command).last().is_some_and(is_text);
        let options = self.options_for(value).join(" or ");
        match (ends_with_text, options.as_str()) {
            (true, "") => "quote what has spaces in it".into(),
            (true, options) => format!("quote what has spaces in it, or name what it is: {options}"),
            (false, "") => {
                let words = self.command.name.replace('.', " ");
                format!("`{words}` takes no more arguments: see `msglog help {words}`")
            }
            (false, options) => format!("name what it is: {options}"),
        }
    }

    /// The options that a value may be meant for; any would do for a text.
    fn options_for(&self, value: &str) -> Vec<String> {
        let fits = |argument: &&Argument| match argument.kind {
            Type::Integer { .. } | Type::IntegerOrNull { .. } | Type::Choice(_) | Type::Time => {
                !self.has(argument) && encode(argument, value).is_ok()
            }
            _ => false,
        };
        let typed = |argument| format!("--{} {}", option_name(argument), shell_word(value));
        self.command.arguments.iter().filter(fits).map(typed).collect()
    }

    fn usage(&self, problem: &str) -> Failure {
        Failure::Usage(format!("{problem}\nUsage: {}", super::help::usage(self.command)))
    }

    fn finish(self) -> String {
        let mut request = RequestLine::new(self.command.name);
        for (argument, value) in &self.fields {
            request.raw(argument.name, value);
        }
        request.finish()
    }
}

/// Whether `-` as its value stands for standard input: where a lone dash is no JSON, and for bodies.
fn reads_input(argument: &Argument) -> bool {
    argument.name == "body" || takes_json(argument)
}

fn takes_json(argument: &Argument) -> bool {
    matches!(argument.kind, Type::Json | Type::Requests | Type::Materials)
}

/// A path from the root on. `..` is followed here, since the daemon takes none; any other path stays as it was
/// typed, links in it included.
fn absolute(path: &Path) -> Option<PathBuf> {
    if path.components().any(|part| part == Component::ParentDir)
        && let (Some(folder), Some(name)) = (path.parent(), path.file_name())
        && let Ok(folder) = folder.canonicalize()
    {
        return Some(folder.join(name));
    }
    std::path::absolute(path).ok()
}

/// All of standard input, less one line break at its end, whichever system's.
fn standard_input(input: impl Read) -> Result<String> {
    let failed = |error: io::Error| Failure::file("cannot read standard input", &error);
    let mut bytes = Vec::new();
    // What comes without an end must not fill the memory.
    input.take(LINE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > LINE_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "standard input has more than {LINE_BYTES_MAX} bytes, and no daemon takes a longer request"
        )));
    }
    let foreign =
        |_| Failure::Usage("standard input is no text in UTF-8, and a request takes no other".into());
    let mut text = String::from_utf8(bytes).map_err(foreign)?;
    let kept =
        text.strip_suffix('\n').map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(kept);
    Ok(text)
}

/// An argument's value as JSON.
///
/// # Errors
/// What is wrong with it, for people.
pub fn encode(argument: &Argument, value: &str) -> std::result::Result<String, String> {
    let name = argument.name;
    let wrong = || format!("{name} takes {}, not `{value}`", argument.kind.describe());
    match argument.kind {
        Type::Text { .. } | Type::Name => Ok(string(value)),
        Type::Time => {
            let wrong = || format!("{name} takes a time such as {}; `{value}` is none", moment::FORMS);
            moment::in_full(value, Timestamp::now()).map(|time| string(&time)).ok_or_else(wrong)
        }
        Type::Integer { min, max } => whole(value, min, max).ok_or_else(wrong),
        Type::IntegerOrNull { .. } if matches!(value, "null" | "none") => Ok("null".into()),
        Type::IntegerOrNull { min, max } => whole(value, min, max).ok_or_else(wrong),
        Type::Flag if matches!(value, "true" | "false") => Ok(value.into()),
        Type::Flag => Err(wrong()),
        Type::Choice(words) if words.contains(&value) => Ok(string(value)),
        Type::Choice(words) => Err(wrong() + &did_you_mean(value, words.iter().copied())),
        Type::Texts => {
            let texts: Vec<String> =
                value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(string).collect();
            if texts.is_empty() {
                return Err(format!("{name} names nothing; leave it out where all of them are meant"));
            }
            Ok(format!("[{}]", texts.join(",")))
        }
        Type::Json | Type::Requests | Type::Materials => {
            let problem = |error: serde_json::Error| {
                if is_several(value) {
                    return format!("{name} holds more than one JSON value");
                }
                format!("{name} takes JSON, and `{}` is none: {error}\n{}", shortened(value), quoting(value))
            };
            // A value of its own first, so that no text can end it and add other arguments.
            let raw: &RawValue = serde_json::from_str(value).map_err(problem)?;
            if argument.kind != Type::Json && raw.get().starts_with('{') {
                return Err(format!("{name} takes {}: put [ and ] around it", argument.kind.describe()));
            }
            Ok(json::compact(raw.get()))
        }
    }
}

/// Whether this is JSON values one behind the other.
fn is_several(value: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<&RawValue>();
    matches!((values.next(), values.next()), (Some(Ok(_)), Some(Ok(_))))
}

/// Characters of a value that are shown where something is wrong with it.
const SHOWN: usize = 60;

/// The beginning of a value, or all of it where that is short.
fn shortened(value: &str) -> String {
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

/// How to write what was probably meant.
fn quoting(value: &str) -> String {
    let odd = value.is_empty() || value.contains(['\'', '\n', '"']) || value.chars().count() > SHOWN;
    let word = if odd { "hello" } else { value };
    format!("A string needs JSON's quotes inside the shell's: '{}'", string(word))
}

/// The digits of a whole number in a range.
fn whole(value: &str, min: u64, max: u64) -> Option<String> {
    let number: u64 = value.parse().ok()?;
    (min..=max).contains(&number).then(|| number.to_string())
}

/// Text as a JSON string.
#[must_use]
pub fn string(value: &str) -> String {
    let mut quoted = Vec::with_capacity(value.len() + 2);
    json::write_string(&mut quoted, value);
    String::from_utf8_lossy(&quoted).into_owned()
}

#[cfg(test)]
mod tests {
    use crate::client::command_line::{Action, Invocation};
    use crate::client::failure::Failure;
    use std::ffi::OsString;

    fn parse(words: &[&str]) -> Result<String, String> {
        match Invocation::parse(words.iter().map(OsString::from).collect()) {
            Ok(Invocation { action: Action::Request(_, request), .. }) => Ok(request),
            Err(Failure::Usage(text)) => Err(text),
            other => panic!("{words:?} gave {other:?}"),
        }
    }

    fn request(words: &[&str]) -> String {
        parse(words).unwrap()
    }

    #[test]
    fn required_arguments_stand_in_order_or_are_named() {
        let expected = r#"{"cmd":"kv.set","key":"greeting","value":"hello"}"#;
        assert_eq!(request(&["kv", "set", "greeting", "\"hello\""]), expected);
        assert_eq!(request(&["kv", "set", "--key", "greeting", "--value=\"hello\""]), expected);
        assert_eq!(request(&["kv", "set", "--key", "greeting", "\"hello\""]), expected);
        assert_eq!(
            request(&["message", "post", "--originator", "anna", "--recipient", "7", "the text"]),
            r#"{"cmd":"message.post","originator":"anna","recipient":"7","body":"the text"}"#
        );
        assert_eq!(
            request(&["queue", "put", "thumbnails", "{\"file\": \"a.png\"}", "--priority", "3"]),
            r#"{"cmd":"queue.put","priority":3,"queue":"thumbnails","body":{"file":"a.png"}}"#
        );
    }

    #[test]
    fn searches_take_their_text_by_position() {
        assert_eq!(
            request(&["message", "search", "bergamot -spam", "--limit", "5", "--count"]),
            r#"{"cmd":"message.search","limit":5,"count":true,"text":"bergamot -spam"}"#
        );
        assert_eq!(
            request(&["message", "search", "--count", "true"]),
            r#"{"cmd":"message.search","count":true,"text":"true"}"#
        );
        assert_eq!(
            request(&["message", "search", "-spam ham"]),
            r#"{"cmd":"message.search","text":"-spam ham"}"#
        );
        assert_eq!(request(&["message", "get", "17"]), r#"{"cmd":"message.get","seq":17}"#);
    }

    #[test]
    fn flags_are_said_denied_or_spelled_out() {
        let denied = r#"{"cmd":"kv.delete","durable":false,"key":"x"}"#;
        for words in [
            ["kv", "delete", "x", "--no-durable"].as_slice(),
            &["kv", "delete", "x", "--durable", "false"],
            &["kv", "delete", "--durable=false", "x"],
        ] {
            assert_eq!(request(words), denied);
        }
        assert_eq!(
            request(&["kv", "delete", "x", "--dry-run"]),
            r#"{"cmd":"kv.delete","dry_run":true,"key":"x"}"#
        );
        assert!(parse(&["kv", "get", "x", "--dry-run"]).unwrap_err().contains("no option `--dry-run`"));
    }

    #[test]
    fn values_keep_their_digits_and_lose_their_line_breaks() {
        let expected = r#"{"cmd":"kv.set","key":"x","value":[1.50,-0.0,12345678901234567890]}"#;
        assert_eq!(request(&["kv", "set", "x", "[1.50,\n -0.0, 12345678901234567890]"]), expected);
        assert_eq!(request(&["kv", "set", "x", "-5"]), r#"{"cmd":"kv.set","key":"x","value":-5}"#);
        let error = parse(&["kv", "set", "x", "1,\"if_seq\":0"]).unwrap_err();
        assert!(error.contains("takes JSON"), "{error}");
    }

    #[test]
    fn a_bare_word_is_told_how_to_become_json() {
        let error = parse(&["kv", "set", "greeting", "hello"]).unwrap_err();
        assert!(error.contains("'\"hello\"'"), "{error}");
        assert!(error.contains("Usage: msglog kv set"), "{error}");
        let error = parse(&["kv", "set", "greeting", &"long ".repeat(100)]).unwrap_err();
        assert!(error.len() < 500 && error.contains("long ...` is none"), "{error}");
    }

    #[test]
    fn several_values_and_a_request_without_its_list_are_named() {
        for several in ["1 2", "{\"a\":1}\n{\"a\":2}\n"] {
            assert!(
                parse(&["kv", "set", "x", several]).unwrap_err().contains("holds more than one JSON value")
            );
        }
        let error = parse(&["batch", r#"{"cmd":"kv.set","key":"a","value":1}"#]).unwrap_err();
        assert!(error.contains("put [ and ] around it"), "{error}");
    }

    #[test]
    fn a_seq_before_the_new_text_is_told_to_be_named() {
        for words in [["new text"].as_slice(), &["new", "text"]] {
            let error = parse(&[&["message", "edit", "2"], words].concat()).unwrap_err();
            assert!(error.contains("msglog message edit --seq 2 'TEXT'"), "{error}");
        }
        assert!(parse(&["message", "edit", "new", "text"]).unwrap_err().contains("quote what has spaces"));
    }

    #[test]
    fn a_value_that_is_too_much_is_told_which_options_it_fits() {
        for (words, ways) in [
            (&["log", "read", "5"][..], "name what it is: --from 5 or --limit 5"),
            (&["queue", "revive", "q", "5"], "name what it is: --job 5"),
            (&["queue", "peek", "q", "dead"], "name what it is: --state dead"),
            (&["queue", "peek", "q", "dead", "--state", "ready"], "`queue peek` takes no more arguments"),
            (&["queue", "purge", "q", "ready"], "name what it is: --state ready"),
            (
                &["message", "follow", "a", "2h"],
                "quote what has spaces in it, or name what it is: --since 2h or --until 2h",
            ),
            (&["message", "search", "two", "words"], "quote what has spaces in it"),
            (&["kv", "delete", "a", "b"], "`kv delete` takes no more arguments: see `msglog help kv delete`"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(error.contains(&format!("is too much; {ways}")), "{error}");
        }
        assert!(parse(&["message", "search", "a", "10"]).unwrap_err().contains("--limit 10"));
    }

    #[test]
    fn times_may_be_days_and_distances() {
        let day = request(&["message", "search", "--since", "2026-01-31"]);
        assert_eq!(day, r#"{"cmd":"message.search","since":"2026-01-31T00:00:00Z"}"#);
        assert!(request(&["message", "follow", "--since", "2h"]).ends_with("Z\"}"));
    }

    #[test]
    fn a_backups_folder_is_made_absolute() {
        let here = std::env::current_dir().unwrap();
        let expected = format!(r#"{{"cmd":"log.backup","to":"{}/backup1"}}"#, here.display());
        assert_eq!(request(&["log", "backup", "backup1"]), expected);
        assert_eq!(request(&["log", "backup", "--to", "/b"]), r#"{"cmd":"log.backup","to":"/b"}"#);
        let above = here.canonicalize().unwrap();
        let above = above.parent().unwrap().join("b");
        let expected = format!(r#"{{"cmd":"log.backup","to":"{}"}}"#, above.display());
        assert_eq!(request(&["log", "backup", "../b"]), expected);
        assert_eq!(request(&["log", "backup", "/usr/../b"]), r#"{"cmd":"log.backup","to":"/b"}"#);
    }

    #[test]
    fn standard_input_without_an_end_is_refused_and_not_kept() {
        let refused = super::standard_input(std::io::repeat(b'0'));
        assert!(matches!(refused, Err(Failure::Usage(text)) if text.contains("67108864 bytes")));
        for (input, text) in [("one\n\n", "one\n"), ("one\r\n", "one"), ("one\r", "one\r"), ("\r\n", "")] {
            assert_eq!(super::standard_input(input.as_bytes()).unwrap(), text);
        }
    }

    #[test]
    fn names_are_read_with_dashes_and_underscores() {
        let expected = r#"{"cmd":"queue.configure","max_attempts":3,"max_jobs":null,"queue":"q"}"#;
        assert_eq!(
            request(&["queue", "configure", "q", "--max-attempts", "3", "--max-jobs", "null"]),
            expected
        );
        assert_eq!(
            request(&["queue", "configure", "q", "--max_attempts", "3", "--max_jobs", "none"]),
            expected
        );
    }

    #[test]
    fn lists_are_apart_by_commas() {
        assert_eq!(
            request(&["log", "follow", "--from", "1", "--types", "kv.set,message.posted"]),
            r#"{"cmd":"log.follow","from":1,"types":["kv.set","message.posted"]}"#
        );
        assert_eq!(
            request(&["log", "read", "--types", "kv.set, job.put "]),
            r#"{"cmd":"log.read","types":["kv.set","job.put"]}"#
        );
        for nothing in ["", ",", " , "] {
            assert!(parse(&["log", "read", "--types", nothing]).unwrap_err().contains("types names nothing"));
        }
    }

    #[test]
    fn what_is_missing_too_much_twice_or_wrong_is_said() {
        assert!(parse(&["kv", "set", "x"]).unwrap_err().starts_with("VALUE is missing"));
        assert!(parse(&["kv", "get", "x", "y"]).unwrap_err().contains("`y` is too much"));
        assert!(parse(&["kv", "get", "--key", "x", "--key", "y"]).unwrap_err().contains("twice"));
        assert!(parse(&["message", "list", "a", "one"]).unwrap_err().contains("whole number"));
        assert!(parse(&["message", "search", "--limit", "0"]).unwrap_err().contains("1 to 10000"));
        assert!(parse(&["queue", "peek", "q", "--state", "redy"]).unwrap_err().contains("`ready`"));
        assert!(parse(&["message", "search", "--orginator", "x"]).unwrap_err().contains("`--originator`"));
    }
}
