//! The help texts, made from the table of commands and from the client's own.

mod examples;
mod layout;

pub use examples::of as examples_of;

use super::command_line::{noun_of, verbs};
use super::failure::{Failure, Result};
use super::moment;
use super::own::{self, GLOBALS, OWN, Opt, Own};
use super::request::{nameable, option_name, positional};
use super::suggest::did_you_mean;
use crate::limits::PATH_BYTES;
use crate::protocol::table::{Argument, COMMANDS, Command, Kind, Type};
use layout::{columns, paragraphs};

const INTRODUCTION: &str = "\
msglog talks to msglogd, the daemon that keeps messages, keys, formulas and
queues in one log.

Usage: msglog [--socket PATH] [--json] NOUN VERB [arguments]

Try:
  msglog ping
  msglog message post --originator anna --recipient bob 'see you at noon'
  msglog message search 'noon OR midnight' --limit 5
  msglog kv set greeting '\"hello\"'
  msglog log follow --from 1
";

/// What the exit statuses mean.
pub const EXIT_STATUSES: &[(&str, &str)] = &[
    ("0", "done"),
    ("1", "nothing found"),
    ("2", "wrong usage"),
    ("3", "the daemon refused"),
    ("4", "no daemon answers, or not in time"),
    ("74", "a file cannot be read or written, or a program not be started"),
    ("130", "bench was ended by Ctrl-C (128 and the number of any other signal)"),
];

/// The help on these words; all of it when there are none.
///
/// # Errors
/// [`Failure::Usage`] when they are no command.
pub fn text(words: &[String]) -> Result<String> {
    let words: Vec<&str> = words.iter().flat_map(|word| word.split('.')).collect();
    match words.as_slice() {
        [] | ["help", ..] => Ok(overview()),
        [noun, rest @ ..] => match own::find(&words) {
            Some(own) => Ok(of_own(own)),
            None => of_noun(noun, rest.first().copied()),
        },
    }
}

/// The first of these words, as far as there is help on them.
#[must_use]
pub fn known(mut words: Vec<String>) -> Vec<String> {
    while text(&words).is_err() {
        words.pop();
    }
    words
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
#[must_use]
pub fn words_of(command: &'static Command) -> String {
    let mut words = vec![command.name.replace('.', " ")];
    for argument in positional(command) {
        let name = placeholder(argument);
        words.push(if argument.required { name } else { format!("[{name}]") });
    }
    words.join(" ")
}

fn overview() -> String {
    let of_table = COMMANDS.iter().filter(|command| command.name != "help");
    let of_table = of_table.map(|command| (words_of(command), first_sentence(command.doc).to_owned()));
    let rows: Vec<(String, String)> = of_table.chain(OWN.iter().map(row_of)).collect();
    let statuses: Vec<String> =
        EXIT_STATUSES.iter().map(|(status, meaning)| format!("{status} {meaning}")).collect();
    [
        INTRODUCTION,
        "\nCommands:\n",
        &columns(&rows),
        "\nOptions of every command:\n",
        &options(GLOBALS),
        "\nColours are left out where NO_COLOR is set.\n",
        &paragraphs(&[&format!("Exit status: {}.", statuses.join("; "))]),
    ]
    .concat()
}

/// The line of one of the client's own commands in a list of commands.
fn row_of(own: &Own) -> (String, String) {
    let takes = own.takes.replace("[options]", " ");
    let words: Vec<&str> = own.words.split(' ').chain(takes.split_whitespace()).collect();
    (words.join(" "), own.doc.to_owned())
}

fn options(options: &[Opt]) -> String {
    let rows: Vec<_> = options.iter().map(|option| (option.typed(), option.doc.to_owned())).collect();
    columns(&rows)
}

fn of_own(own: &Own) -> String {
    let mut parts = vec![format!("Usage: msglog {} {}", own.words, own.takes).trim_end().to_owned() + "\n"];
    parts.push(paragraphs(&[own.doc]));
    parts.push(paragraphs(own.about));
    if !own.options.is_empty() {
        parts.extend(["\nOptions, beside --socket and --json:\n".to_owned(), options(own.options)]);
    }
    parts.push(paragraphs(own.notes));
    parts.push(listed_examples(own.examples.iter().copied()));
    parts.concat()
}

fn listed_examples(lines: impl Iterator<Item = &'static str>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("  {line}\n")).collect();
    if lines.is_empty() { String::new() } else { format!("\nExamples:\n{}", lines.concat()) }
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
            let own = OWN.iter().filter(|own| own.words.split(' ').next() == Some(noun));
            rows.extend(own.map(row_of));
            let more = format!("`msglog help {noun} VERB` says what a command takes.");
            Ok(format!("Usage: msglog {noun} VERB [arguments]\n\n{}\n{more}\n", columns(&rows)))
        }
        _ => {
            let known = COMMANDS.iter().map(noun_of).chain(OWN.iter().map(|own| own.words));
            Err(Failure::Usage(format!("there is no command `{noun}`{}", did_you_mean(noun, known))))
        }
    }
}

fn of_command(command: &'static Command) -> String {
    let by_position: Vec<&Argument> = positional(command).collect();
    let is_positional = |argument: &Argument| by_position.iter().any(|other| other.name == argument.name);
    let mut parts = vec![format!("Usage: {}\n{}", usage(command), paragraphs(&[command.doc]))];
    let rows: Vec<_> =
        by_position.iter().map(|argument| (placeholder(argument), described(argument))).collect();
    if let Some(first) = by_position.first() {
        let heading = format!("\nArguments, by position or named like --{}:\n", option_name(first));
        parts.extend([heading, columns(&rows)]);
    }
    let options = nameable(command).filter(|argument| !is_positional(argument));
    let rows: Vec<_> = options.map(|argument| (option(argument), described(argument))).collect();
    parts.extend(["\nOptions, beside --socket and --json:\n".to_owned(), columns(&rows)]);
    parts.push(paragraphs(notes_of(command)));
    parts.push(listed_examples(examples_of(command.name)));
    parts.concat()
}

/// What the client adds to a command, beside what the table says.
#[must_use]
pub fn notes_of(command: &Command) -> &'static [&'static str] {
    match command.kind {
        Kind::Follow => {
            &["When the daemon is restarted it connects again by itself, and prints each event once."]
        }
        _ => &[],
    }
}

/// An argument as an option of the command line.
#[must_use]
pub fn option(argument: &Argument) -> String {
    let value = value_of(argument);
    match argument.kind {
        // It is true unless it is denied.
        Type::Flag if argument.name == "durable" => "--no-durable".into(),
        Type::Flag => format!("--{}", option_name(argument)),
        _ => format!("--{} {value}", option_name(argument)),
    }
}

/// The kind of value that an argument takes. Empty for a flag.
#[must_use]
pub fn value_of(argument: &Argument) -> String {
    match argument.kind {
        Type::Flag => String::new(),
        Type::Integer { .. } => "N".into(),
        Type::IntegerOrNull { .. } => "N|null".into(),
        Type::Choice(words) => words.join("|"),
        Type::Time => "TIME".into(),
        Type::Texts => "A,B,...".into(),
        Type::Json | Type::Requests | Type::Materials => "JSON".into(),
        Type::Text { .. } | Type::Name => "TEXT".into(),
    }
}

/// What an argument does, and what it must be where that is not plain from it.
#[must_use]
pub fn described(argument: &Argument) -> String {
    let doc = match argument.kind {
        // As an option a flag is there or not; its doc says what the value does.
        Type::Flag => argument.doc.trim_start_matches("true: ").trim_start_matches("false: "),
        // The daemon is in another folder; the client makes it one from the root on.
        Type::Text { max: PATH_BYTES, .. } => argument.doc.trim_end_matches(": an absolute path"),
        _ => argument.doc,
    };
    let kind = match argument.kind {
        Type::Time => moment::FORMS.into(),
        Type::Materials | Type::Requests => argument.kind.describe(),
        Type::Integer { min, max } if max < 1_000_000 => format!("{min} to {max}"),
        _ => return doc.to_owned(),
    };
    format!("{doc} ({kind})")
}

fn first_sentence(doc: &str) -> &str {
    let end = [". ", "? "].iter().filter_map(|mark| doc.find(mark)).min();
    end.map_or(doc, |end| &doc[..=end])
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
        assert_fits(&overview);
    }

    /// No terminal breaks a line, but for one to be copied.
    fn assert_fits(help: &str) {
        let is_to_copy = |line: &str| line.starts_with("  ") && line.contains("msglog ");
        let wide = help.lines().find(|line| line.chars().count() > layout::WIDTH && !is_to_copy(line));
        assert_eq!(wide, None, "{help}");
    }

    #[test]
    fn every_command_has_its_own_help_with_every_argument() {
        for command in COMMANDS.iter().filter(|command| command.name != "help") {
            let help = of_command(command);
            for argument in nameable(command) {
                let named = help.contains(&option_name(argument)) || help.contains(&placeholder(argument));
                assert!(named, "{} lacks {}", command.name, argument.name);
            }
            assert_fits(&help);
        }
        assert!(help("kv set").contains("--if-seq N"), "{}", help("kv set"));
        assert_eq!(help("kv.set"), help("kv set"));
        assert!(help("log follow").contains("connects again by itself"), "{}", help("log follow"));
        assert!(help("message search").contains("3d"));
        assert!(help("message post").contains("--no-durable"));
        assert!(help("log backup").contains("a new folder\n"), "{}", help("log backup"));
    }

    #[test]
    fn the_clients_own_commands_have_help_with_every_option() {
        for own in OWN.iter().filter(|own| own.words != "help") {
            let help = help(own.words);
            assert!(help.starts_with(&format!("Usage: msglog {}", own.words)), "{help}");
            assert!(own.options.iter().all(|option| help.contains(&option.typed())), "{help}");
            assert_fits(&help);
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
