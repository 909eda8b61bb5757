//! The documents say what the program does: every example in `protocol.md` and `README.md` runs, and
//! every command, argument, error, limit, event, stat and option is there, and no other.
//!
//! # How examples are written
//!
//! An example is a block fenced as `console`. All blocks under one heading of the second level are one
//! story: they run in order on one daemon that was empty at the start. Each block has connections of
//! its own. Its lines:
//!
//! - `> LINE` is sent; `< LINE` must be the next line that comes back; `< (closed)` says that the
//!   daemon closes the connection. `2> ` and `2< ` do the same on a second connection.
//! - `$ COMMAND`, first in a block, is run by `sh` with `SOCKET` and `DATA` set. The lines with `>`
//!   are then its input, and those with `<` its whole output.
//!
//! Lines are compared token by token, as `protocol/compare.rs` says: times match any time, tokens,
//! leases and hashes are names for what the daemon gives, and `...` stands for the rest.

mod common;
#[path = "protocol/compare.rs"]
mod compare;
#[path = "protocol/document.rs"]
mod document;
#[path = "protocol/transcript.rs"]
mod transcript;

use std::collections::{BTreeMap, BTreeSet};

use common::{Daemon, Value, finish, json, msglogd};
use document::{Document, quoted};
use msglogd::domain::event::TYPES;
use msglogd::error::CATALOGUE;
use msglogd::limits::Limits;
use msglogd::protocol::table::{COMMANDS, COMMON, COMMON_WRITE};

/// The first cells of the rows under a heading, each without its quotes.
fn names(document: &Document, heading: &str) -> BTreeSet<String> {
    rows(document, heading).into_keys().collect()
}

/// The rows under a heading by what is quoted in their first cells.
fn rows(document: &Document, heading: &str) -> BTreeMap<String, Vec<String>> {
    let rows = document.under(heading).into_iter().filter_map(document::cells);
    rows.flat_map(|cells| quoted(&cells[0]).into_iter().map(move |name| (name, cells.clone()))).collect()
}

fn set<T: ToString>(names: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}

fn protocol() -> Document {
    Document::read("protocol.md")
}

#[test]
fn every_example_runs_and_events_have_the_fields_that_the_table_gives_them() {
    let document = protocol();
    let known = rows(&document, "## Events");
    for section in document.sections() {
        let daemon = Daemon::start();
        transcript::run(&daemon, &section);
        for event in daemon.connect().ok(json!({"cmd": "log.read", "limit": 10_000})).list("events") {
            let kind = common::string(&event, "type");
            for field in event.as_object().expect("an event").keys() {
                let of_all = ["seq", "at", "type", "uid"].contains(&field.as_str());
                let fields = quoted(&known[&kind][2]);
                assert!(of_all || fields.contains(field), "protocol.md: {kind} has no `{field}`: {event}");
            }
        }
    }
}

#[test]
fn the_readme_tells_the_truth() {
    let document = Document::read("README.md");
    let sections = document.sections();
    assert!(!sections.is_empty(), "README.md has no example");
    for section in sections {
        transcript::run(&Daemon::start(), &section);
    }
    let lines = document.lines().len();
    assert!(lines <= 80, "README.md is to fit a screen, and has {lines} lines");
}

#[test]
fn every_command_has_its_heading_its_arguments_and_an_example() {
    let document = protocol();
    let headings = document.lines().iter().filter_map(|line| line.strip_prefix("### "));
    let headings: Vec<String> = headings.flat_map(quoted).collect();
    let commands = COMMANDS.iter().map(|command| command.name);
    assert_eq!(set(&headings), set(commands), "headings in protocol.md, and commands");
    assert_eq!(headings.len(), COMMANDS.len(), "a heading is there twice");
    for command in COMMANDS {
        let heading = format!("### `{}`", command.name);
        let rows = rows(&document, &heading);
        let arguments = command.arguments.iter().map(|argument| argument.name);
        assert_eq!(set(rows.keys()), set(arguments), "arguments under {heading}");
        for argument in command.arguments {
            let row = &rows[argument.name];
            let required = if argument.required { "required" } else { "" };
            let name = format!("{heading}, `{}`", argument.name);
            assert_eq!(row[1], required, "{name}");
            assert_eq!(row[2], argument.kind.describe(), "{name}");
        }
    }
    let sent: Vec<Value> = document
        .lines()
        .iter()
        .filter_map(|line| line.split_once("> ").filter(|(before, _)| ["", "2"].contains(before)))
        .filter_map(|(_, request)| serde_json::from_str(request).ok())
        .collect();
    for command in COMMANDS {
        let shown = sent.iter().any(|request| request["cmd"] == command.name);
        assert!(shown, "protocol.md has no example of {}", command.name);
    }
}

#[test]
fn what_any_request_may_carry_is_in_its_table() {
    let common = COMMON.iter().chain(COMMON_WRITE);
    let rows = rows(&protocol(), "## What a request may carry");
    assert_eq!(set(rows.keys()), set(common.clone().map(|argument| argument.name)));
    for argument in common {
        assert_eq!(rows[argument.name][1], argument.kind.describe(), "`{}`", argument.name);
    }
}

#[test]
fn every_error_code_is_in_the_table_and_no_other() {
    let rows = rows(&protocol(), "## Errors");
    assert_eq!(set(rows.keys()), set(CATALOGUE.iter().map(|(_, name, ..)| name)));
    for (_, name, _, again) in CATALOGUE {
        assert_eq!(rows[*name][3], if *again { "yes" } else { "no" }, "may {name} be sent again?");
    }
}

#[test]
fn every_limit_is_in_the_table_with_its_number() {
    let info = Daemon::start().connect().ok(json!({"cmd": "info"}));
    let limits = info["limits"].as_object().expect("limits");
    let rows = rows(&protocol(), "## Bounds");
    assert_eq!(set(rows.keys()), set(limits.keys()));
    for (name, value) in limits {
        let value = match name.as_str() {
            // The system may allow fewer.
            "connections" => json!(Limits::default().connections),
            "connections_per_uid" => json!(Limits::default().connections_per_uid),
            _ => value.clone(),
        };
        assert_eq!(rows[name][1], value.to_string(), "`{name}`");
    }
}

#[test]
fn every_event_type_is_in_the_table_and_no_other() {
    assert_eq!(names(&protocol(), "## Events"), set(TYPES));
}

#[test]
fn every_stat_is_in_the_table_and_no_other() {
    let stats = Daemon::start().connect().ok(json!({"cmd": "stats"}));
    let mut keys = BTreeSet::new();
    let mut times = BTreeSet::new();
    for (subject, numbers) in stats.without(&["ok"]).as_object().expect("subjects") {
        for (name, value) in numbers.as_object().expect("numbers") {
            keys.insert(format!("{subject}.{name}"));
            times.extend(value.as_object().into_iter().flat_map(|time| time.keys().cloned()));
        }
    }
    let document = protocol();
    assert_eq!(names(&document, "## Stats"), keys);
    let text = document.under("## Stats").join("\n");
    assert!(times.iter().all(|name| text.contains(&format!("`{name}`"))), "{times:?}");
}

#[test]
fn every_option_is_in_the_table_with_its_variable_and_no_other() {
    let help = finish(msglogd().arg("--help")).stdout;
    let rows = rows(&protocol(), "## Running the daemon");
    // What goes with a command, as --yes with repair, is no variable.
    let options = help.lines().filter(|line| line.contains("MSGLOGD_"));
    let options = options.filter_map(|line| line.trim_start().strip_prefix("--"));
    let mut found = BTreeSet::new();
    for line in options {
        let words: Vec<&str> = line.split_whitespace().collect();
        let option = format!("--{} {}", words[0], words[1]);
        let variable = words.last().expect("a variable");
        let row = rows.get(&option).unwrap_or_else(|| panic!("protocol.md does not name {option}"));
        assert_eq!(row[1], format!("`{variable}`"), "{option}");
        found.insert(option);
    }
    assert_eq!(set(rows.keys()), found, "options in protocol.md, and in --help");
}
