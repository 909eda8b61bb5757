//! Man pages and completions, judged by the programs that they are for.

mod client_support;
mod common;

use std::path::Path;
use std::process::Command;

use client_support::msglog;
use common::{TempDir, finish};

/// A folder with everything that `msglog assets` writes.
fn assets() -> TempDir {
    let folder = TempDir::new();
    let finished = finish(msglog().arg("assets").arg(folder.path()));
    assert_eq!((finished.code, finished.stdout.lines().count()), (Some(0), 6), "{finished:?}");
    folder
}

/// Whether a program is there; says so when it is not, and what is not tried for it.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !there {
        eprintln!("SKIPPED: `{program}` is not installed");
    }
    there
}

/// What a script printed, which must say nothing on standard error.
#[track_caller]
fn run(shell: &str, arguments: &[&str], script: &str) -> String {
    let finished = finish(Command::new(shell).args(arguments).arg("-c").arg(script));
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{script}");
    finished.stdout
}

#[test]
fn man_pages_are_read_without_a_warning() {
    let folder = assets();
    for name in ["msglog.1", "msglogd.8", "msglog-protocol.7"] {
        let page = folder.join("man").join(name);
        if is_there("man") {
            let mut man = Command::new("timeout");
            man.args(["30", "man", "--warnings", "-E", "UTF-8", "-l"]).arg(&page).env("MANWIDTH", "80");
            let output = man.env("LC_ALL", "C.UTF-8").output().expect("man runs");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
            assert!(output.status.success(), "{name}");
            assert!(String::from_utf8_lossy(&output.stdout).contains("SEE ALSO"), "{name}");
        }
        if is_there("groff") {
            let mut groff = Command::new("groff");
            let finished =
                finish(groff.args(["-man", "-t", "-Tutf8", "-ww", "-z"]).arg(&page).env("LC_ALL", "C"));
            assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{name}");
        }
        if is_there("mandoc") {
            let finished = finish(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page));
            assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), ""), "{name}");
        }
    }
}

#[test]
fn the_same_date_makes_the_same_pages() {
    let page = |folder: &Path| std::fs::read_to_string(folder.join("man/msglog.1")).expect("a page");
    let folder = TempDir::new();
    let mut command = msglog();
    command.arg("assets").arg(folder.path()).env("SOURCE_DATE_EPOCH", "86400");
    assert_eq!(finish(&mut command).code, Some(0));
    assert!(page(folder.path()).contains("1970\\-01\\-02") || page(folder.path()).contains("1970-01-02"));
    assert_eq!(finish(command.env("SOURCE_DATE_EPOCH", "today")).code, Some(2));
}

/// Command lines, and words that the completion of the last piece must offer or must not.
const LINES: &[(&[&str], &[&str], &[&str])] = &[
    (&["msglog", ""], &["kv", "queue", "import", "ping", "help"], &["set", "help.on"]),
    (&["msglog", "k"], &["kv"], &["queue"]),
    (&["msglog", "queue", ""], &["put", "work", "reserve"], &["set"]),
    (&["msglog", "--socket", "/s", "--json", "kv", ""], &["set", "list"], &["kv"]),
    (&["msglog", "queue", "peek", "q", "--st"], &["--state"], &["--limit", "--socket"]),
    (&["msglog", "queue", "peek", "q", "--state", ""], &["ready", "dead"], &["--limit", "put"]),
    (&["msglog", "kv", "set", "--"], &["--if-seq", "--no-durable", "--json"], &["--priority"]),
    (&["msglog", "help", ""], &["kv", "queue", "import"], &["set"]),
    (&["msglog", "help", "queue", ""], &["put", "work", "reserve"], &["kv", "set"]),
    (&["msglog", "export", "messages", "--"], &["--since", "--chat", "--originator"], &["--limit"]),
    (&["msglog", "import", "--"], &["--queue", "--no-durable", "--stop-on-error", "--json"], &["--limit"]),
    (&["msglog", "completions", ""], &["bash", "zsh", "fish"], &[]),
];

/// Holds what a shell offers against [`LINES`].
fn check(shell: &str, offered: impl Fn(&[&str]) -> String) {
    for (line, wanted, unwanted) in LINES {
        let printed = offered(line);
        let words: Vec<&str> = printed.split_whitespace().collect();
        for word in *wanted {
            assert!(words.contains(word), "{shell} offers no {word} for {line:?}: {words:?}");
        }
        for word in *unwanted {
            assert!(!words.contains(word), "{shell} offers {word} for {line:?}");
        }
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

#[test]
fn bash_completes_commands_options_and_values() {
    let folder = assets();
    let script = folder.join("completions/msglog.bash");
    let script = script.display();
    check("bash", |line| {
        let words = quoted(line);
        let asked = format!(
            "source {script}; COMP_WORDS=({words}); COMP_CWORD={}; _msglog 2>/dev/null; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            line.len() - 1
        );
        run("bash", &["--norc"], &asked)
    });
    // Typed as `--name=value`, which bash takes apart.
    for (words, cword, wanted) in [
        ("msglog --socket = /s ''", 4, "kv"),
        ("msglog --socket = /s kv ''", 5, "set"),
        ("msglog queue --limit = 5 pee", 5, "peek"),
        ("msglog queue peek q --state = d", 6, "delayed"),
        ("msglog queue peek q --state =", 5, "dead"),
    ] {
        let asked = format!(
            "source {script}; COMP_WORDS=({words}); COMP_CWORD={cword}; _msglog 2>/dev/null; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let offered = run("bash", &["--norc"], &asked);
        assert!(offered.lines().any(|word| word == wanted), "{words}: {offered}");
    }
    std::fs::write(folder.join("a file"), "").expect("a file");
    let asked = format!(
        "cd {}; source {script}; COMP_WORDS=(msglog import a); COMP_CWORD=2; _msglog 2>/dev/null; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        folder.path().display()
    );
    assert_eq!(run("bash", &["--norc"], &asked), "a file\n");
    std::fs::create_dir(folder.join("a folder")).expect("a folder");
    let asked =
        asked.replace("msglog import a", "msglog log backup a").replace("COMP_CWORD=2", "COMP_CWORD=3");
    assert_eq!(run("bash", &["--norc"], &asked), "a folder\n");
}

#[test]
fn zsh_completes_commands_options_and_values() {
    if !is_there("zsh") {
        return;
    }
    let folder = assets();
    let script = folder.join("completions/_msglog");
    // The functions of zsh's completion that the script calls, printing what they are given.
    let functions = "_describe() { [[ $1 == -o ]] && shift; shift; print -l -- ${(M)${${(P)1}%%:*}:#$words[CURRENT]*} }; \
                     compadd() { shift; print -l -- $@ }; _files() { print FILES $@ }; _message() { print -n }; \
                     compdef() { print -n }";
    check("zsh", |line| {
        let (words, current) = (quoted(line), line.len());
        let asked =
            format!("{functions}; source {}; words=({words}); CURRENT={current}; _msglog", script.display());
        run("zsh", &["-f"], &asked)
    });
    let asked =
        format!("{functions}; source {}; words=(msglog log backup a); CURRENT=4; _msglog", script.display());
    assert_eq!(run("zsh", &["-f"], &asked), "FILES -/\n");
}

#[test]
fn fish_completes_commands_options_and_values() {
    if !is_there("fish") {
        return;
    }
    let folder = assets();
    let script = folder.join("completions/msglog.fish");
    check("fish", |line| {
        let asked = format!("source {}; complete -C '{}'", script.display(), line.join(" "));
        let printed = run("fish", &["--no-config"], &asked);
        // What a word is for stands behind a tab.
        printed.lines().filter_map(|line| line.split('\t').next()).collect::<Vec<_>>().join("\n")
    });
    std::fs::write(folder.join("a-file"), "").expect("a file");
    std::fs::create_dir(folder.join("a-folder")).expect("a folder");
    let folders = format!(
        "cd {}; source {}; complete -C 'msglog log backup a'",
        folder.path().display(),
        script.display()
    );
    assert!(run("fish", &["--no-config"], &folders).starts_with("a-folder/"));
    assert!(!run("fish", &["--no-config"], &folders).contains("a-file"));
}
