//! The rules of the house that a program can hold.

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARACTERS_MAX: usize = 120;

/// The floors, lowest first: a file imports only from its own floor and those below.
const FLOORS: &[&[&str]] = &[
    &["error", "limits"],
    &["time", "codec", "randomness", "paths", "report", "progress", "courtesy"],
    &["json"],
    &["domain"],
    &["storage"],
    &["log"],
    &["index"],
    &["snapshot"],
    &["stats", "metrics"],
    &["batch"],
    &["store"],
    &["writer"],
    &["background"],
    &["maintenance"],
    &["reader"],
    &["protocol"],
    &["server"],
    &["daemon", "client"],
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text before the tests that stand in the file, at its foot. Files of these names are for tests alone.
    fn code(&self) -> &str {
        if ["/tests.rs", "/testing.rs"].iter().any(|name| self.path.ends_with(name)) {
            return "";
        }
        // A single item for tests, or the name of their file, may stand anywhere.
        let at_the_foot = ["mod tests {", "pub mod tests {", "pub(super) mod tests {"];
        let starts = at_the_foot.iter().filter_map(|tests| self.text.find(&format!("#[cfg(test)]\n{tests}")));
        &self.text[..starts.min().unwrap_or(self.text.len())]
    }

    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split(['/', '.']).next().unwrap_or_default()
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let path = path.strip_prefix(root).expect("inside").display().to_string();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty());
    found
}

fn assert_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

fn all_sources() -> Vec<Source> {
    ["src", "tests", "benches"].into_iter().flat_map(sources).collect()
}

#[test]
fn no_file_is_over_600_lines_and_no_line_over_120_characters() {
    let mut broken = Vec::new();
    for source in all_sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            broken.push(format!("{}: {lines} lines", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            let long = line.chars().count() > LINE_CHARACTERS_MAX;
            if long && source.path.starts_with("src") {
                broken.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    assert_none("too long", &broken);
}

/// Whether a line begins a function, whoever may call it.
fn is_function(line: &str) -> bool {
    let private = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or(rest, |(_, behind)| behind),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    private.trim_start_matches("const ").trim_start_matches("async ").starts_with("fn ")
}

#[test]
fn no_function_is_over_70_lines() {
    let mut broken = Vec::new();
    for source in all_sources() {
        let mut open: Option<(usize, usize)> = None;
        for (number, line) in source.text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if let Some((start, depth)) = open
                && indent == depth
                && line.trim_start().starts_with('}')
            {
                let allowed = number - start <= FUNCTION_LINES_MAX + 2;
                if !allowed {
                    broken.push(format!("{}:{}: {} lines", source.path, start + 1, number - start));
                }
                open = None;
            }
            let begins = is_function(line.trim_start()) && !line.trim_end().ends_with([';', '}']);
            if open.is_none() && begins {
                open = Some((number, indent));
            }
        }
    }
    assert_none("functions of more than 70 lines", &broken);
}

#[test]
fn a_file_imports_only_from_its_own_floor_and_those_below() {
    let floor = |module: &str| FLOORS.iter().position(|floor| floor.contains(&module));
    let mut broken = Vec::new();
    for source in sources("src") {
        if source.path == "src/lib.rs" || source.path.starts_with("src/bin/") {
            continue;
        }
        let Some(own) = floor(source.module()) else {
            broken.push(format!("{} is on no floor", source.path));
            continue;
        };
        for piece in source.code().split("crate::").skip(1) {
            let name: String = piece.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if name.is_empty() {
                broken.push(format!("{} imports several modules at once: name each in a line", source.path));
            }
            if floor(&name).is_some_and(|other| other > own) {
                broken.push(format!("{} uses crate::{name}, which is above it", source.path));
            }
        }
    }
    assert_none("imports from above", &broken);
}

#[test]
fn each_thing_that_touches_the_world_has_its_place() {
    let rules: &[(&str, &[&str])] = &[
        ("mio::", &["src/server/admission.rs", "src/server/event_loop/mod.rs", "src/server/streams.rs"]),
        ("SystemTime::now", &["src/time.rs"]),
        (
            "Timestamp::now",
            &["src/writer/mod.rs", "src/writer/turn.rs", "src/server/local.rs", "src/client/"],
        ),
        ("getrandom::", &["src/randomness.rs"]),
        ("File::open", &["src/storage", "src/client/"]),
        ("println!", &["src/report.rs", "src/client/", "src/bin/msglog.rs"]),
    ];
    let mut broken = Vec::new();
    for source in sources("src") {
        for (what, places) in rules {
            if source.code().contains(what) && !places.iter().any(|place| source.path.starts_with(place)) {
                broken.push(format!("{} has {what}, which belongs in {}", source.path, places.join(" or ")));
            }
        }
    }
    assert_none("out of place", &broken);
}

#[test]
fn nothing_is_left_for_later_and_nothing_panics_on_purpose() {
    let mut broken = Vec::new();
    for source in sources("src") {
        for (number, line) in source.code().lines().enumerate() {
            let words = [".unwrap()", ".expect(", "todo!", "unimplemented!", "dbg!", "FIXME", "XXX"];
            if let Some(word) = words.into_iter().find(|word| line.contains(word)) {
                broken.push(format!("{}:{}: {word}", source.path, number + 1));
            }
        }
    }
    assert_none("not allowed outside tests", &broken);
}

#[test]
fn sources_are_ascii() {
    let broken: Vec<String> = all_sources()
        .into_iter()
        .filter(|source| !source.text.is_ascii())
        .map(|source| source.path)
        .collect();
    assert_none("characters beyond ASCII (write them as escapes)", &broken);
}

#[test]
fn every_module_begins_with_what_it_is() {
    let broken: Vec<String> = all_sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert_none("no module documentation", &broken);
}

#[test]
fn the_map_in_lib_names_every_module() {
    let sources = sources("src");
    let map = sources.iter().find(|source| source.path == "src/lib.rs").expect("there is a lib.rs");
    let broken: Vec<String> = FLOORS
        .iter()
        .flat_map(|floor| floor.iter())
        .filter(|module| !map.text.contains(&format!("[`{module}`]")))
        .map(ToString::to_string)
        .collect();
    assert_none("not on the map in src/lib.rs", &broken);
}

#[test]
fn the_mutants_that_nobody_tells_are_of_functions_that_are_there() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/README.md"));
    let readme = readme.expect("a README of the tests");
    let table = readme.split("| mutant | why |").nth(1).and_then(|behind| behind.split("\n\n").next());
    let sources = sources("src");
    let mut broken = Vec::new();
    for name in table.expect("a table of mutants").split('`').skip(1).step_by(2) {
        let Some((of, function)) = name.split_once("::") else { continue };
        let is_there =
            |source: &Source| source.text.contains(&format!("fn {function}")) && source.text.contains(of);
        if !sources.iter().any(is_there) {
            broken.push(name.to_owned());
        }
    }
    assert_none("functions in the table of tests/README.md that are not there", &broken);
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("a manifest");
    let mut broken = Vec::new();
    let mut inside = false;
    let mut before = "";
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && line.contains(" = ") && !line.starts_with('#') && !before.starts_with('#') {
            broken.push(line.to_owned());
        }
        before = line;
    }
    assert_none("dependencies without a reason above them", &broken);
}
