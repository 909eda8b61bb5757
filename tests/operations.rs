//! docs/operations.md, CONTRIBUTING.md and the files for packages say what is there.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

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
fn every_timer_is_explained_to_operators_and_stopped_when_the_package_is_removed() {
    let removal = include_str!("../packaging/debian/prerm");
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let names = fs::read_dir(units).expect("the units").map(|entry| entry.expect("an entry").file_name());
    let timers = names.filter_map(|name| name.into_string().ok().filter(|name| name.ends_with(".timer")));
    let timers: Vec<String> = timers.collect();
    assert!(timers.len() >= 3, "{timers:?}");
    for timer in timers {
        assert!(OPERATIONS.contains(&format!("systemctl enable --now {timer}")), "{timer}");
        assert!(removal.contains(&timer), "{timer}");
    }
}

#[test]
fn the_documents_name_the_version_of_rust_that_builds_it() {
    let manifest = include_str!("../Cargo.toml");
    let version = manifest.split_once("rust-version = \"").expect("it is there").1.split('"').next();
    let named = format!("needs Rust {} or newer", version.unwrap_or_default());
    for document in [OPERATIONS, include_str!("../README.md")] {
        assert!(document.contains(&named), "{named}");
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

/// The documents that the package installs, by the paths that they have here. Each lies in the same place there, and
/// is there in full.
fn packaged_documents() -> BTreeSet<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let assets = include_str!("../Cargo.toml").lines().filter_map(|line| line.trim().strip_prefix("[\""));
    let mut documents = BTreeSet::new();
    for asset in assets {
        let mut parts = asset.split("\", \"");
        let (Some(source), Some(place)) = (parts.next(), parts.next()) else { continue };
        let Some(place) = place.strip_prefix("usr/share/doc/msglogd/") else { continue };
        let source = Path::new(source);
        let folder = source.parent().expect("a folder");
        assert_eq!(folder, Path::new(place.trim_end_matches('/')), "{asset}");
        if source.ends_with("*") {
            let entries = fs::read_dir(root.join(folder)).expect("the folder is there");
            documents.extend(entries.map(|entry| folder.join(entry.expect("an entry").file_name())));
        } else {
            assert!(root.join(source).is_file(), "{asset}");
            documents.insert(source.to_owned());
        }
    }
    documents
}

#[test]
fn every_link_in_a_document_of_the_package_leads_to_another_one() {
    let documents = packaged_documents();
    let mut links = 0;
    for document in documents.iter().filter(|document| document.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).expect("text");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(&[')', '#']).next());
        for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
            let mut place = PathBuf::new();
            for part in document.parent().expect("a folder").join(target).components() {
                match part {
                    Component::ParentDir => assert!(place.pop(), "{target}"),
                    part => place.push(part),
                }
            }
            let there = documents.iter().any(|document| document.starts_with(&place));
            assert!(there, "{}: {target} is not in the package", document.display());
            links += 1;
        }
    }
    assert!(links > 15, "{links}");
}
