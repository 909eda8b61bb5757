//! `msglog bench`: it measures, and leaves nothing behind.

mod client_support;
mod common;

use std::fs;

use client_support::terminal::Terminal;
use client_support::{Running, msglog, msglog_for, printed};
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
fn an_interrupt_cleans_up_too() {
    let daemon = Daemon::start();
    let bench = Running::spawn(&mut msglog_for(&daemon, &["bench", "--live", "--seconds", "60"]));
    let mut client = daemon.connect();
    let mut messages = || client.ok(json!({"cmd": "stats"})).json()["stored"]["messages"].as_u64();
    until("it posts", || (messages() > Some(0)).then_some(()));
    bench.signal(Signal::INT);
    let finished = bench.finish();
    assert_eq!(finished.code, Some(130), "{finished:?}");
    assert_eq!(messages(), Some(0));
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
