//! Runs the examples of a section on a daemon.

use std::collections::BTreeMap;

use super::common::{Client, Daemon, run_tool, tool};
use super::compare::Names;
use super::document::{Line, Section};

/// Runs a section's examples, one after the other.
pub fn run(daemon: &Daemon, section: &Section) {
    let mut names = Names::default();
    for block in &section.blocks {
        match block.first().and_then(|line| line.text.strip_prefix("$ ")) {
            Some(command) => run_in_shell(daemon, command, &block[1..], &mut names),
            None => run_on_connections(daemon, block, &mut names),
        }
    }
}

/// What a line of an example asks for, and on which connection.
fn part(line: &Line) -> (&str, char, &str) {
    let sign = line.text.find(['>', '<']).unwrap_or_else(|| panic!("{}: neither > nor <", line.place));
    let (connection, rest) = line.text.split_at(sign);
    let (sign, text) = rest.split_at(1);
    let text = text.strip_prefix(' ').unwrap_or_else(|| panic!("{}: no space behind {sign}", line.place));
    (connection, if sign == ">" { '>' } else { '<' }, text)
}

fn assert_same(line: &Line, expected: &str, actual: &str, names: &mut Names) {
    if let Err(difference) = names.compare(expected, actual) {
        panic!("{}: {difference}\n  expected: {expected}\n  found:    {actual}", line.place);
    }
}

fn run_on_connections(daemon: &Daemon, block: &[Line], names: &mut Names) {
    let mut clients: BTreeMap<&str, Client> = BTreeMap::new();
    for line in block {
        let (connection, sign, text) = part(line);
        let client = clients.entry(connection).or_insert_with(|| daemon.connect());
        match (sign, text) {
            ('>', request) => client.send_line(names.fill(request)),
            (_, "(closed)") => client.assert_closed(),
            (_, expected) => {
                let actual = client.line().unwrap_or_else(|| panic!("{}: it is closed", line.place));
                assert_same(line, expected, &actual, names);
            }
        }
    }
}

fn run_in_shell(daemon: &Daemon, command: &str, block: &[Line], names: &mut Names) {
    let mut input = String::new();
    let mut expected = Vec::new();
    for line in block {
        match part(line) {
            (_, '>', request) => input.extend([names.fill(request).as_str(), "\n"]),
            (_, _, text) => expected.push((line, text)),
        }
    }
    let mut shell = tool("sh", "dash");
    shell.arg("-c").arg(command).env("SOCKET", daemon.socket()).env("DATA", daemon.data());
    let printed = run_tool(shell, input.as_bytes(), "netcat-openbsd");
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(printed.len(), expected.len(), "`{command}` printed {printed:#?}");
    for ((line, text), actual) in expected.into_iter().zip(printed) {
        assert_same(line, text, actual, names);
    }
}
