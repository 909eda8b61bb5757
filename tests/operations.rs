//! docs/operations.md, CONTRIBUTING.md and the files for packages say what is there.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{finish, msglogd};

const OPERATIONS: &str = include_str!("../docs/operations.md");

/// The options of the daemon that `msglogd --help` lists: those that are variables too, unlike --yes.
fn options() -> BTreeSet<String> {
    let help = finish(msglogd().arg("--help")).stdout;
    let lines = help.lines().filter(|line| line.contains("MSGLOGD_"));
    let lines = lines.filter_map(|line| line.trim_start().strip_prefix("--"));
    lines.filter_map(|line| line.split_whitespace().next().map(|name| format!("--{name}"))).collect()
}

/// The first cells of the table under a heading.
fn rows(heading: &str) -> BTreeSet<String> {
    let section = OPERATIONS.split_once(&format!("\n## {heading}\n")).expect("the heading is there").1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    cells.map(|(cell, _)| cell.to_owned()).collect()
}

#[test]
fn every_option_is_explained_to_operators_and_no_other() {
    assert!(options().len() > 5);
    assert_eq!(rows("Options"), options());
}

#[test]
fn the_sample_of_the_options_file_names_only_options() {
    let variables: BTreeSet<String> = options()
        .iter()
        .map(|option| format!("MSGLOGD_{}", option.trim_start_matches('-').to_uppercase().replace('-', "_")))
        .collect();
    let sample = include_str!("../packaging/msglogd.default");
    let units = [include_str!("../systemd/msglogd.service"), include_str!("../Containerfile")];
    let compose = include_str!("../compose.yaml");
    let mut found = 0;
    for word in [sample, units[0], units[1], compose]
        .into_iter()
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with("MSGLOGD_"))
    {
        assert!(variables.contains(word), "{word} is no option");
        found += 1;
    }
    assert!(found > 5, "{found}");
}

#[test]
fn neither_unit_gives_up_after_some_starts_in_a_row() {
    for unit in [include_str!("../systemd/msglogd.service"), include_str!("../systemd/msglogd.socket")] {
        let head = unit.split("\n[S").next().unwrap_or_default();
        assert!(head.contains("[Unit]") && head.contains("\nStartLimitIntervalSec=0\n"), "{head}");
    }
}

#[test]
fn links_and_files_that_the_documents_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for (name, folder) in [("README.md", ""), ("CONTRIBUTING.md", ""), ("docs/operations.md", "docs")] {
        let text = std::fs::read_to_string(root.join(name)).expect("a document");
        for piece in text.split("](").skip(1) {
            let target = piece.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !root.join(folder).join(file).exists() {
                missing.push(format!("{name}: {target}"));
            }
            if let Some(anchor) = target.strip_prefix('#') {
                let there = |line: &str| {
                    let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                    line.starts_with('#') && title == anchor
                };
                if !text.lines().any(there) {
                    missing.push(format!("{name}: {target}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}
