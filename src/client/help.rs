//! The help texts, made from the table of commands.

use super::command_line::{noun_of, verbs};
use super::failure::{Failure, Result};
use super::request::{nameable, option_name, positional};
use super::suggest::did_you_mean;
use super::{import, work};
use crate::protocol::table::{Argument, COMMANDS, Command, Type};

/// How wide the left column may become before its text moves to a line of its own.
const LEFT_MOST: usize = 34;

const INTRODUCTION: &str = "\
msglog talks to msglogd, the daemon that keeps messages, keys, formulas and queues in one log.

Usage: msglog [--socket PATH] [--json] NOUN VERB [arguments]

Try:
  msglog ping
  msglog message post --originator anna --recipient bob 'see you at noon'
  msglog message search 'noon OR midnight' --limit 5
  msglog kv set greeting '\"hello\"'
  msglog log follow --from 1
";

const CONCLUSION: &str = "
Options of every command:
  --socket PATH  the daemon's socket; otherwise $MSGLOG_SOCKET, or the first that answers of
                 $RUNTIME_DIRECTORY/msglogd.sock, $XDG_RUNTIME_DIR/msglogd.sock,
                 /tmp/msglogd-UID/msglogd.sock and /run/msglogd/msglogd.sock
  --json         replies as the daemon sends them, one a line; so it is without a terminal, too
  --help         what a command takes, as `msglog help NOUN VERB` says it
  --version      the version

Colours are left out where NO_COLOR is set.

Exit status: 0 done; 1 nothing found; 2 wrong usage; 3 the daemon refused; 4 no daemon answers;
74 a file cannot be read or written.
";

/// Commands of the client that the table does not know: the words, and what they do.
const OWN: &[(&str, &str)] = &[
    ("queue work QUEUE -- COMMAND...", "Runs a command for each job of a queue."),
    ("import FILE", "Sends every line of a file, messages or requests."),
    ("call REQUEST", "Sends a request as it is; with `-`, every line of standard input."),
    ("help [NOUN [VERB]]", "Says what a command takes and does."),
];

const CALL: &str = "\
Usage: msglog call REQUEST

Sends one request, a JSON object, as it is, and prints the reply. With `-` it sends every line of
standard input without waiting for replies, and prints the replies in the same order.

Examples:
  msglog call '{\"cmd\":\"ping\"}'
  msglog call - < requests.jsonl
";

const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "batch",
        &[r#"msglog batch '[{"cmd":"kv.set","key":"a","value":1},{"cmd":"kv.set","key":"b","value":2}]'"#],
    ),
    (
        "kv.set",
        &[
            r#"msglog kv set greeting '"hello"'"#,
            "msglog kv set counter 42 --if-seq 0",
            "msglog kv set page - < page.json",
        ],
    ),
    ("kv.get", &["msglog kv get greeting"]),
    ("kv.delete", &["msglog kv delete greeting"]),
    ("kv.list", &["msglog kv list user/ --limit 20"]),
    (
        "message.post",
        &[
            "msglog message post --originator anna --recipient bob 'see you at noon'",
            "date | msglog message post --originator cron --recipient ops -",
        ],
    ),
    ("message.get", &["msglog message get 17"]),
    ("message.edit", &["msglog message edit --seq 17 'see you at one'"]),
    ("message.delete", &["msglog message delete 17"]),
    (
        "message.search",
        &[
            "msglog message search 'bergamot -spam' --limit 5 --count",
            r#"msglog message search '"see you" noon OR midnight' --recipient bob"#,
        ],
    ),
    ("message.follow", &["msglog message follow --recipient bob", "msglog message follow alarm --from 1"]),
    ("app.create", &["msglog app create support"]),
    ("chat.create", &["msglog chat create TOKEN 'first steps'"]),
    ("formula.submit", &[r#"msglog formula submit Accord '[{"name":"Vanillin","concentration":15.50}]'"#]),
    ("queue.put", &[r#"msglog queue put thumbnails '{"file":"a.png"}' --priority 3"#]),
    ("queue.reserve", &["msglog queue reserve thumbnails --wait-ms 10000"]),
    ("queue.configure", &["msglog queue configure thumbnails --max-attempts 3 --max-jobs null"]),
    ("queue.peek", &["msglog queue peek thumbnails --state dead"]),
    ("log.read", &["msglog log read --from 100 --types kv.set,message.posted"]),
    ("log.follow", &["msglog log follow --from 1 --types kv.set,message.posted"]),
];

/// The help on these words; all of it when there are none.
///
/// # Errors
/// [`Failure::Usage`] when they are no command.
pub fn text(words: &[String]) -> Result<String> {
    let words: Vec<&str> = words.iter().flat_map(|word| word.split('.')).collect();
    match words.as_slice() {
        [] | ["help", ..] => Ok(overview()),
        ["call", ..] => Ok(CALL.to_owned()),
        ["import", ..] => Ok(import::HELP.to_owned()),
        ["queue", "work", ..] => Ok(work::HELP.to_owned()),
        [noun, rest @ ..] => of_noun(noun, rest.first().copied()),
    }
}

/// What to type for an argument.
#[must_use]
pub fn placeholder(argument: &Argument) -> String {
    argument.name.to_uppercase()
}

/// The first line of a command's help.
#[must_use]
pub fn usage(command: &'static Command) -> String {
    format!("msglog {} [options]", words_of(command))
}

/// A command as it is typed, with what it takes by position.
fn words_of(command: &'static Command) -> String {
    let mut words = vec![command.name.replace('.', " ")];
    for argument in positional(command) {
        let name = placeholder(argument);
        words.push(if argument.required { name } else { format!("[{name}]") });
    }
    words.join(" ")
}

fn overview() -> String {
    let own = OWN.iter().map(|(words, doc)| ((*words).to_owned(), (*doc).to_owned()));
    let of_table = COMMANDS.iter().filter(|command| command.name != "help");
    let of_table = of_table.map(|command| (words_of(command), first_sentence(command.doc).to_owned()));
    let rows: Vec<(String, String)> = of_table.chain(own).collect();
    format!("{INTRODUCTION}\nCommands:\n{}{CONCLUSION}", columns(&rows))
}

fn of_noun(noun: &str, verb: Option<&str>) -> Result<String> {
    let of_noun: Vec<&'static Command> = COMMANDS.iter().filter(|command| noun_of(command) == noun).collect();
    let name = verb.map_or(noun.to_owned(), |verb| format!("{noun}.{verb}"));
    let one = of_noun.iter().find(|command| command.name == name || command.name == noun);
    match (one, verb) {
        (Some(command), _) => Ok(of_command(command)),
        (None, Some(verb)) if !of_noun.is_empty() => {
            let hint = did_you_mean(verb, verbs(noun));
            Err(Failure::Usage(format!("there is no `{noun} {verb}`{hint}")))
        }
        (None, None) if !of_noun.is_empty() => {
            let mut rows: Vec<(String, String)> =
                of_noun.iter().map(|command| (words_of(command), command.doc.to_owned())).collect();
            let own = OWN.iter().filter(|(words, _)| words.split(' ').next() == Some(noun));
            rows.extend(own.map(|(words, doc)| ((*words).to_owned(), (*doc).to_owned())));
            let more = format!("`msglog help {noun} VERB` says what a command takes.");
            Ok(format!("Usage: msglog {noun} VERB [arguments]\n\n{}\n{more}\n", columns(&rows)))
        }
        _ => {
            let known = COMMANDS.iter().map(noun_of).chain(["call", "import"]);
            Err(Failure::Usage(format!("there is no command `{noun}`{}", did_you_mean(noun, known))))
        }
    }
}

fn of_command(command: &'static Command) -> String {
    let by_position: Vec<&Argument> = positional(command).collect();
    let is_positional = |argument: &Argument| by_position.iter().any(|other| other.name == argument.name);
    let mut parts = vec![format!("Usage: {}\n\n{}\n", usage(command), command.doc)];
    let rows: Vec<_> =
        by_position.iter().map(|argument| (placeholder(argument), described(argument))).collect();
    if let Some(first) = by_position.first() {
        let heading = format!("\nArguments, by position or named like --{}:\n", option_name(first));
        parts.extend([heading, columns(&rows)]);
    }
    let options = nameable(command).filter(|argument| !is_positional(argument));
    let rows: Vec<_> = options.map(|argument| (option(argument), described(argument))).collect();
    parts.extend(["\nOptions, beside --socket and --json:\n".to_owned(), columns(&rows)]);
    let examples = EXAMPLES.iter().filter(|(name, _)| *name == command.name).flat_map(|(_, lines)| *lines);
    let examples: Vec<String> = examples.map(|line| format!("  {line}\n")).collect();
    if !examples.is_empty() {
        parts.extend(["\nExamples:\n".to_owned(), examples.concat()]);
    }
    parts.concat()
}

/// An option with the kind of value that it takes.
fn option(argument: &Argument) -> String {
    let value = match argument.kind {
        Type::Flag if argument.name == "durable" => return "--no-durable".into(),
        Type::Flag => return format!("--{}", option_name(argument)),
        Type::Integer { .. } => "N".into(),
        Type::IntegerOrNull { .. } => "N|null".into(),
        Type::Choice(words) => words.join("|"),
        Type::Time => "TIME".into(),
        Type::Texts => "A,B,...".into(),
        Type::Json | Type::Requests | Type::Materials => "JSON".into(),
        Type::Text { .. } | Type::Name => "TEXT".into(),
    };
    format!("--{} {value}", option_name(argument))
}

/// What an argument does, and what it must be where that is not plain from it.
fn described(argument: &Argument) -> String {
    let doc = match argument.kind {
        // As an option a flag is there or not; its doc says what the value does.
        Type::Flag => argument.doc.trim_start_matches("true: ").trim_start_matches("false: "),
        _ => argument.doc,
    };
    let kind = match argument.kind {
        Type::Time | Type::Materials | Type::Requests => argument.kind.describe(),
        Type::Integer { min, max } if max < 1_000_000 => format!("{min} to {max}"),
        _ => return doc.to_owned(),
    };
    format!("{doc} ({kind})")
}

fn first_sentence(doc: &str) -> &str {
    let end = [". ", "? "].iter().filter_map(|mark| doc.find(mark)).min();
    end.map_or(doc, |end| &doc[..=end])
}

/// Two columns; where the left part is long, the right one stands on the next line.
fn columns(rows: &[(String, String)]) -> String {
    let fitting = rows.iter().map(|(left, _)| left.len()).filter(|width| *width <= LEFT_MOST);
    let width = fitting.max().unwrap_or(0);
    let lines = rows.iter().map(|(left, right)| {
        let line_break = if left.len() > width { format!("\n  {:width$}", "") } else { String::new() };
        format!("  {left:width$}{line_break}  {right}\n")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(words: &str) -> String {
        text(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_overview_names_every_command() {
        let overview = help("");
        for command in COMMANDS.iter().filter(|command| command.name != "help") {
            assert!(overview.contains(&words_of(command)), "{}", command.name);
        }
        assert!(overview.contains("queue work") && overview.contains("import FILE"));
        assert!(overview.lines().all(|line| line.chars().count() <= 120));
    }

    #[test]
    fn every_command_has_its_own_help_with_every_argument() {
        for command in COMMANDS.iter().filter(|command| command.name != "help") {
            let help = of_command(command);
            for argument in nameable(command) {
                let named = help.contains(&option_name(argument)) || help.contains(&placeholder(argument));
                assert!(named, "{} lacks {}", command.name, argument.name);
            }
        }
        assert!(help("kv set").contains("--if-seq N"), "{}", help("kv set"));
        assert_eq!(help("kv.set"), help("kv set"));
        assert!(help("message post").contains("--no-durable"));
    }

    #[test]
    fn examples_are_of_commands_that_are_there_and_parse() {
        for (name, lines) in EXAMPLES {
            assert!(COMMANDS.iter().any(|command| command.name == *name), "{name}");
            assert!(
                lines.iter().all(|line| line.contains(&format!("msglog {}", name.replace('.', " ")))),
                "{name}"
            );
        }
    }

    #[test]
    fn nouns_list_their_verbs_and_unknown_words_are_refused() {
        assert!(help("queue").contains("queue put QUEUE BODY"));
        assert!(help("queue").contains("queue work QUEUE"));
        assert!(matches!(text(&["kw".into()]), Err(Failure::Usage(text)) if text.contains("`kv`")));
        assert!(
            matches!(text(&["kv".into(), "st".into()]), Err(Failure::Usage(text)) if text.contains("`set`"))
        );
    }

    #[test]
    fn the_first_sentence_is_enough_for_an_overview() {
        assert_eq!(first_sentence("Stores it. Replies seq."), "Stores it.");
        assert_eq!(first_sentence("Is it there? Replies seq."), "Is it there?");
        assert_eq!(first_sentence("Replies seq."), "Replies seq.");
    }
}
