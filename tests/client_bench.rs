//! `msglog bench`: it measures, and leaves nothing behind.

mod client_support;
mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use client_support::terminal::Terminal;
use client_support::{Running, msglog, msglog_for, printed, run};
use common::{Daemon, TempDir, Value, finish, json, until};
use rustix::process::Signal;

#[test]
fn a_daemon_of_its_own_is_measured_and_gone() {
    let folder = TempDir::new();
    let mut command = msglog();
    command.args(["bench", "--connections", "2", "--outstanding", "4", "--dir"]).arg(folder.path());
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let lines: Vec<Value> =
        finished.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let cases: Vec<&str> = lines.iter().filter_map(|line| line["case"].as_str()).collect();
    assert_eq!(cases, ["post", "post-async", "batch", "set", "get", "search", "queue"]);
    for line in &lines {
        assert!(
            line["per_second"].as_u64() > Some(0) && line["p99_us"].as_u64() >= line["p50_us"].as_u64(),
            "{line}"
        );
        assert_eq!((&line["connections"], &line["outstanding"]), (&json!(2), &json!(4)));
    }
    assert!(finished.stderr.contains("throwaway daemon"), "{}", finished.stderr);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_daemon_that_runs_has_nothing_of_it_afterwards() {
    let daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "mine", "value": 1}));
    for case in ["queue", "post"] {
        printed(&daemon, &["bench", "--live", "--only", case, "--connections", "3", "--outstanding", "5"]);
    }
    let stored = &serde_json::from_str::<Value>(&printed(&daemon, &["stats"])).expect("JSON")["stored"];
    for (name, count) in [("keys", 1), ("apps", 0), ("chats", 0), ("messages", 0), ("queues", 0)] {
        assert_eq!(stored[name], count, "{name} in {stored}");
    }
}

#[test]
fn a_signal_cleans_up_too_and_is_the_status() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut messages = || client.ok(json!({"cmd": "stats"})).json()["stored"]["messages"].as_u64();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let bench = Running::spawn(&mut msglog_for(&daemon, &["bench", "--live", "--seconds", "60"]));
        until("it posts", || (messages() > Some(0)).then_some(()));
        bench.signal(signal);
        let finished = bench.finish();
        assert_eq!(finished.code, Some(status), "{finished:?}");
        assert_eq!(messages(), Some(0));
    }
}

#[test]
fn a_refusal_at_the_start_leaves_nothing_behind() {
    let daemon = Daemon::with(&["--max-line", "4096"]);
    let finished = run(&daemon, &["bench", "--live", "--only", "get"]);
    assert!(finished.code == Some(3) && finished.stderr.contains("too_large"), "{finished:?}");
    let stats = daemon.connect().ok(json!({"cmd": "stats"}));
    assert_eq!([&stats["stored"]["apps"], &stats["stored"]["chats"]], [&json!(0), &json!(0)]);
}

#[test]
fn searches_alone_have_messages_to_find() {
    let daemon = Daemon::start();
    let finished = run(&daemon, &["bench", "--live", "--only", "search", "--outstanding", "2"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stderr.contains("20000 messages are posted first"), "{finished:?}");
}

#[test]
fn the_daemon_is_looked_for_on_the_path_where_none_is_beside() {
    let folder = TempDir::new();
    let msglog = msglog();
    let program = msglog.get_program();
    let cp = finish(Command::new("cp").arg(program).arg(folder.path()));
    assert_eq!(cp.code, Some(0), "{cp:?}");
    let path = Path::new(program).parent().expect("a folder");
    let mut command = Command::new(folder.join("msglog"));
    command.args(["bench", "--only", "get", "--outstanding", "2", "--dir"]).arg(folder.path());
    let finished = finish(command.env("PATH", path));
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn the_daemon_of_its_own_answers_in_a_folder_with_a_long_path() {
    let base = TempDir::new();
    let folder = base.join(&"d".repeat(200));
    fs::create_dir(&folder).expect("a folder");
    let mut command = msglog();
    command.args(["bench", "--only", "get", "--outstanding", "2", "--dir"]).arg(&folder);
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn a_folder_to_measure_in_that_is_not_there_is_refused_and_not_made() {
    let folder = TempDir::new();
    let missing = folder.join("missing");
    let finished = finish(msglog().args(["bench", "--only", "get", "--dir"]).arg(&missing));
    assert_eq!((finished.code, missing.exists()), (Some(74), false), "{finished:?}");
    assert!(finished.stderr.contains(&format!("cannot make {}", missing.display())), "{finished:?}");
}

#[test]
fn where_threads_cannot_be_started_it_says_so_and_leaves_nothing_behind() {
    let daemon = Daemon::start();
    // Of threads with half a gibibyte there is room for some, and of the largest for none.
    let (some, none) = (1_u64 << 29, 1 << 46);
    let bench = ["bench", "--live", "--only", "set", "--outstanding", "2", "--connections", "50"];
    for (words, stack) in [(bench.as_slice(), some), (&bench, none), (&["call", "-"], none)] {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v 3000000; exec \"$0\" \"$@\""]).arg(msglog().get_program());
        command.arg("--socket").arg(daemon.socket()).args(words);
        command.env("RUST_MIN_STACK", stack.to_string()).stdin(Stdio::null());
        let finished = finish(&mut command);
        assert_eq!(finished.code, Some(74), "{words:?}: {finished:?}");
        assert!(finished.stderr.contains("cannot start"), "{finished:?}");
    }
    let stored = &daemon.connect().ok(json!({"cmd": "stats"}))["stored"];
    assert_eq!([&stored["keys"], &stored["apps"]], [&json!(0), &json!(0)]);
}

#[test]
fn people_see_a_table() {
    let daemon = Daemon::start();
    let words = ["bench", "--live", "--only", "get", "--outstanding", "4"];
    let (code, text) = Terminal::start(&daemon, &words).finish();
    let last: Vec<&str> = text.lines().last().expect("lines").split_whitespace().collect();
    assert!(code == Some(0) && text.starts_with("The daemon that runs"), "{text}");
    assert_eq!(last[..3], ["gets", "1", "4"], "{text}");
}
