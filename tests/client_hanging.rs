//! `msglog` and a daemon that hangs: `--timeout` gives it up, what waits by design waits on, and workers can be
//! stopped all the same.

#![allow(clippy::expect_used)]

mod client_support;
mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::sync::mpsc;

use client_support::{Running, msglog, msglog_for, scripted};
use common::{Daemon, Finished, TempDir, finish, json};
use rustix::process::Signal;

/// A socket that takes connections and never answers.
struct Hanging {
    folder: TempDir,
    _listener: UnixListener,
}

impl Hanging {
    fn new() -> Hanging {
        let folder = TempDir::new();
        let listener = UnixListener::bind(folder.join("s")).expect("a socket");
        fs::write(folder.join("lines"), "{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":1}\n").expect("a file");
        Hanging { folder, _listener: listener }
    }

    /// Runs the client to its end, with the lines of a file on its standard input.
    fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = msglog();
        command.arg("--socket").arg(self.folder.join("s")).args(["--timeout", "0.2"]).args(arguments);
        finish(command.stdin(File::open(self.folder.join("lines")).expect("a file")))
    }
}

#[test]
fn a_daemon_that_hangs_is_given_up_by_every_command() {
    let hanging = Hanging::new();
    for words in [
        ["ping"].as_slice(),
        &["metrics"],
        &["call", r#"{"cmd":"ping"}"#],
        &["call", "-"],
        &["queue", "reserve", "q", "--wait-ms", "100"],
        &["queue", "work", "q", "--", "true"],
        &["log", "verify"],
        &["log", "follow"],
        &["message", "follow", "--from", "1"],
        &["export", "all"],
        &["import", "-"],
        &["top", "--once"],
        &["bench", "--live"],
    ] {
        let finished = hanging.run(words);
        assert_eq!(
            (finished.code, finished.stderr.contains("no answer in time")),
            (Some(4), true),
            "{finished:?}"
        );
    }
}

#[test]
fn a_write_without_a_reply_is_told_to_be_open_and_a_read_is_not() {
    let hanging = Hanging::new();
    let said = |words: &[&str]| hanging.run(words).stderr;
    let set = ["kv", "set", "k", "1"];
    assert!(said(&set).ends_with("no answer in time; kv.set may have been done\n"));
    assert!(said(&["call", r#"{"cmd":"kv.set","key":"k","value":1}"#]).contains("kv.set may have been done"));
    assert!(said(&["call", "-"]).contains("1 requests were not answered, and may have been done"));
    assert!(said(&[&set, ["--idempotency-key", "i"].as_slice()].concat()).contains("safe to send again"));
    for words in [[&set, ["--dry-run"].as_slice()].concat().as_slice(), &["kv", "get", "k"]] {
        assert!(said(words).ends_with("no answer in time\n"), "{words:?}");
    }
}

#[test]
fn a_timeout_is_no_bound_for_followers_and_for_input_that_makes_itself_wait() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    // Those that wait have waited longer than this one takes to give up.
    let mut follower = Running::start(&daemon, &["log", "follow", "--from", "1", "--timeout", "3"]);
    assert!(follower.line().contains("\"seq\":1,"));
    let mut caller =
        Running::spawn(msglog_for(&daemon, &["call", "-", "--timeout", "3"]).stdin(Stdio::piped()));
    let mut input = caller.input();
    writeln!(input, "{{\"cmd\":\"ping\"}}").expect("it reads");
    assert_eq!(caller.line(), r#"{"ok":true,"seq":1}"#);
    let hanging = Hanging::new();
    assert_eq!(hanging.run(&["ping", "--timeout", "3.5"]).code, Some(4));

    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 2}));
    assert!(follower.line().contains("\"seq\":2,"));
    writeln!(input, "{{\"cmd\":\"ping\"}}").expect("it reads");
    assert_eq!(caller.line(), r#"{"ok":true,"seq":2}"#);
    writeln!(input, r#"{{"cmd":"queue.reserve","queue":"q","wait_ms":60000}}"#).expect("it reads");
    assert_eq!(hanging.run(&["ping", "--timeout", "3.5"]).code, Some(4));
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": 1}));
    assert!(caller.line().contains("\"jobs\":[{"));
    drop(input);
    assert_eq!(caller.finish().code, Some(0));
}

#[test]
fn a_timeout_that_is_none_is_wrong_usage() {
    for wrong in ["0", "-1", "soon", "nan", "inf", "1e300", "10s"] {
        let finished = finish(msglog().args([&format!("--timeout={wrong}"), "ping"]));
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains("--timeout takes seconds"), "{finished:?}");
    }
}

/// A worker with this script, whose daemon gives it one job and is silent from its first extend on.
fn left_alone(folder: &TempDir, script: &str) -> Running {
    let (tell, told) = mpsc::channel();
    scripted(&folder.join("s"), move |request| match request["cmd"].as_str()? {
        "queue.reserve" => {
            Some(json!({"ok": true, "jobs": [{"job": 1, "lease": "L", "attempt": 1, "body": 1}]}))
        }
        "queue.extend" => {
            tell.send(()).ok()?;
            // For as long as the test takes.
            std::thread::park();
            None
        }
        _ => Some(json!({"ok": true, "seq": 1})),
    });
    let mut command = msglog();
    command.current_dir(folder.path()).arg("--socket").arg(folder.join("s"));
    // Far longer than any test: what ends the wait for an answer is something else.
    command.args(["--timeout", "3600", "queue", "work", "q", "--once", "--lease-ms", "300"]);
    let worker = Running::spawn(command.args(["--", "sh", "-c", script]));
    told.recv().expect("it extends");
    worker
}

#[test]
fn a_worker_that_holds_nothing_yet_is_ended_by_a_signal() {
    let hanging = Hanging::new();
    let mut command = msglog();
    command.arg("--socket").arg(hanging.folder.join("s"));
    let worker = Running::spawn(command.args(["--timeout", "3600", "queue", "work", "q", "--", "true"]));
    worker.await_said("no answer yet");
    worker.signal(Signal::TERM);
    assert_ne!(worker.finish().code, Some(0));
}

#[test]
fn a_second_signal_kills_while_the_daemon_owes_an_answer() {
    let folder = TempDir::new();
    let worker = left_alone(&folder, "echo $$ > id; exec sleep 1000");
    worker.signal(Signal::INT);
    worker.await_said("no new jobs");
    worker.signal(Signal::INT);
    let finished = worker.finish();
    assert!(
        finished.stderr.contains("the command was killed; no daemon to send queue.nack to"),
        "{finished:?}"
    );
    let id = fs::read_to_string(folder.join("id")).expect("it has run");
    assert!(!std::path::Path::new("/proc").join(id.trim()).exists(), "the command runs on");
}

#[test]
fn a_command_that_ends_while_the_daemon_owes_an_answer_is_noticed() {
    let folder = TempDir::new();
    let worker = left_alone(&folder, "while [ ! -e go ]; do sleep 0.01; done");
    fs::write(folder.join("go"), "").expect("a file");
    worker.await_said("the daemon is away (no answer in time)");
    worker.signal(Signal::INT);
    worker.await_said("no new jobs");
    worker.signal(Signal::INT);
    assert!(worker.finish().stderr.contains("no daemon to send queue.ack to"));
}
