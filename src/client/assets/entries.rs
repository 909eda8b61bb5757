//! Every command that can be typed, as completions and man pages see it.

use crate::client::command_line::noun_of;
use crate::client::export;
use crate::client::help;
use crate::client::import::NOT_FOR_ALL;
use crate::client::own::{GLOBALS, OWN, Opt, Own};
use crate::client::request::{nameable, option_name, positional};
use crate::limits::PATH_BYTES;
use crate::protocol::table::{Argument, COMMANDS, Command, Kind, Type};

/// One command.
#[derive(Debug)]
pub struct Entry {
    /// What is typed to get it, such as `kv set`.
    pub words: String,
    /// What is typed behind it, for people.
    pub takes: String,
    /// What it does.
    pub doc: String,
    /// Its options, those of every command not among them.
    pub options: Vec<Named>,
    /// Arguments that its help only alludes to.
    pub likewise: Vec<Named>,
    /// The kinds of what it takes by position.
    pub values: Vec<Value>,
    /// Paragraphs about it.
    pub about: Vec<&'static str>,
    /// Command lines.
    pub examples: Vec<&'static str>,
}

/// One option.
#[derive(Debug)]
pub struct Named {
    /// Its name, without the dashes.
    pub name: String,
    /// How it is typed.
    pub typed: String,
    /// What it does.
    pub doc: String,
    /// What follows it.
    pub value: Value,
}

/// What a value can be, as far as a shell can help with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// There is none: a flag.
    Nothing,
    /// The name of a file or a folder.
    File,
    /// The name of a folder.
    Folder,
    /// One of these words.
    Words(Vec<&'static str>),
    /// A program and its arguments.
    Command,
    /// Anything.
    Any,
}

impl Entry {
    /// Every option that a shell may offer.
    pub fn offered(&self) -> impl Iterator<Item = &Named> {
        self.options.iter().chain(&self.likewise)
    }
}

/// All commands: those of the table, then the client's own.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let of_table = COMMANDS.iter().filter(|command| command.name != "help").map(of_table);
    of_table.chain(OWN.iter().map(own)).collect()
}

/// The options of every command.
#[must_use]
pub fn globals() -> Vec<Named> {
    GLOBALS.iter().map(named).collect()
}

/// The first words that have verbs behind them, each once.
#[must_use]
pub fn nouns() -> Vec<&'static str> {
    let mut nouns: Vec<&str> =
        COMMANDS.iter().filter(|command| command.name.contains('.')).map(noun_of).collect();
    nouns.dedup();
    nouns
}

/// The words behind which another one belongs to the command: nouns, `help`, and `help` with a noun.
#[must_use]
pub fn beginnings() -> Vec<String> {
    let of_help = nouns().into_iter().map(|noun| format!("help {noun}"));
    nouns().into_iter().map(str::to_owned).chain(["help".to_owned()]).chain(of_help).collect()
}

/// The words that a command line may begin with, each once.
#[must_use]
pub fn first_words(entries: &[Entry]) -> Vec<&str> {
    let mut first: Vec<&str> = entries.iter().filter_map(|entry| entry.words.split(' ').next()).collect();
    first.sort_unstable();
    first.dedup();
    first
}

/// The verbs of a noun.
#[must_use]
pub fn verbs<'a>(entries: &'a [Entry], noun: &str) -> Vec<&'a str> {
    entries.iter().filter_map(|entry| entry.words.strip_prefix(noun)?.strip_prefix(' ')).collect()
}

/// What a first word is about: its command's doc, or its verbs.
#[must_use]
pub fn doc_of(entries: &[Entry], word: &str) -> String {
    match entries.iter().find(|entry| entry.words == word) {
        Some(entry) => entry.doc.clone(),
        None => verbs(entries, word).join(", "),
    }
}

fn of_table(command: &'static Command) -> Entry {
    let words = command.name.replace('.', " ");
    let takes = help::words_of(command).split_off(words.len()).trim_start().to_owned();
    Entry {
        words,
        takes,
        doc: command.doc.into(),
        options: nameable(command).map(argument_named).collect(),
        likewise: Vec::new(),
        values: positional(command).map(value_of).collect(),
        about: help::notes_of(command).to_vec(),
        examples: help::examples_of(command.name).collect(),
    }
}

fn argument_named(argument: &Argument) -> Named {
    Named {
        name: match argument.name {
            "durable" => "no-durable".into(),
            _ => option_name(argument),
        },
        typed: help::option(argument),
        doc: help::described(argument),
        value: value_of(argument),
    }
}

/// The arguments that a command of the client hands on, as far as its options do not name them.
fn likewise(own: &Own) -> Vec<Named> {
    let arguments: Vec<&Argument> = match own.words {
        "import" => {
            let writes = COMMANDS.iter().filter(|command| command.kind == Kind::Write);
            let refused = |argument: &&Argument| NOT_FOR_ALL.iter().any(|(name, _)| *name == argument.name);
            writes.flat_map(nameable).filter(|argument| !refused(argument)).collect()
        }
        "export" => export::filters().collect(),
        _ => Vec::new(),
    };
    let mut found: Vec<Named> = Vec::new();
    for named in arguments.into_iter().map(argument_named) {
        let known = own.options.iter().any(|option| option.name == named.name);
        if !known && found.iter().all(|other| other.name != named.name) {
            found.push(named);
        }
    }
    found
}

fn value_of(argument: &Argument) -> Value {
    match argument.kind {
        // The only path in a request: that of a backup.
        Type::Text { max: PATH_BYTES, .. } => Value::Folder,
        Type::Flag => Value::Nothing,
        Type::Choice(words) => Value::Words(words.to_vec()),
        _ => Value::Any,
    }
}

fn own(own: &Own) -> Entry {
    let takes = own.takes.split(' ').filter(|word| !word.starts_with('[') && *word != "--");
    Entry {
        words: own.words.into(),
        takes: own.takes.into(),
        doc: own.doc.into(),
        options: own.options.iter().map(named).collect(),
        likewise: likewise(own),
        values: takes.filter(|word| !word.is_empty()).map(value_named).collect(),
        about: own.about.iter().chain(own.notes).copied().collect(),
        examples: own.examples.to_vec(),
    }
}

fn named(option: &Opt) -> Named {
    Named {
        name: option.name.into(),
        typed: option.typed(),
        doc: option.doc.into(),
        value: value_named(option.value),
    }
}

/// The kind of value that a placeholder stands for.
fn value_named(placeholder: &'static str) -> Value {
    match placeholder {
        "" => Value::Nothing,
        "FILE" | "PATH" => Value::File,
        "DIR" => Value::Folder,
        "COMMAND..." => Value::Command,
        words if words.contains('|') => Value::Words(words.split('|').collect()),
        _ => Value::Any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(words: &str) -> Entry {
        entries().into_iter().find(|entry| entry.words == words).unwrap()
    }

    #[test]
    fn entries_know_what_they_take() {
        assert_eq!(entry("kv set").takes, "KEY VALUE");
        assert_eq!(entry("import").values, [Value::File]);
        assert_eq!(entry("queue work").values, [Value::Any, Value::Command]);
        assert_eq!(entry("completions").values, [Value::Words(vec!["bash", "zsh", "fish"])]);
        let peek = entry("queue peek");
        let state = peek.options.iter().find(|option| option.name == "state").unwrap();
        assert!(matches!(&state.value, Value::Words(words) if words.contains(&"dead")));
        assert!(nouns().contains(&"kv") && !nouns().contains(&"ping"));
        assert_eq!(entry("log backup").values, [Value::Folder]);
        let folders = entries().iter().filter(|entry| entry.values.contains(&Value::Folder)).count();
        assert_eq!(folders, 2, "log backup and assets");
        let takes_key = |words| entry(words).offered().any(|option: &Named| option.name == "idempotency-key");
        assert!(takes_key("queue put") && takes_key("batch"));
        assert!(!takes_key("queue reserve") && !takes_key("import"), "they refuse it");
        assert!(!entry("import").offered().any(|option| option.name == "dry-run"), "it refuses it");
    }
}
