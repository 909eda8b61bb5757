//! The examples run, and do what they say.

mod client_support;
mod common;
mod examples_support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use client_support::Running;
use common::{Daemon, TempDir, Value, finish, json, tool};
use examples_support::{command, folder, printed, python, run};

#[test]
fn the_shell_scripts_send_ahead_and_print_the_replies() {
    let daemon = Daemon::start();
    let _ = (tool("nc", "netcat-openbsd"), tool("socat", "socat"));
    let text = printed(&daemon, "sh", "nc.sh", &[]).expect("there is a shell");
    let replies: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((replies.len(), &replies[2]["value"]["greeting"]), (4, &json!("hello")));
    assert_eq!(replies[3]["messages"][0]["body"], "Sent with nc.");
    let text = printed(&daemon, "sh", "socat.sh", &[]).expect("there is a shell");
    assert!(
        text.starts_with("stored 1000 of 1000\n{\"ok\":true,\"keys\":[{\"key\":\"example/socat/99\""),
        "{text}"
    );
}

#[test]
fn the_clients_post_and_find() {
    let daemon = Daemon::start();
    for (interpreter, name, who) in [("python3", "client.py", "Python"), ("node", "client.mjs", "Node")] {
        if let Some(text) = printed(&daemon, interpreter, name, &[]) {
            assert_eq!(text, format!("posted 1000\nfound 1000 newest: {who} says 999.\n"));
        }
    }
    let cargo = |what| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([what, "-q", "--locked", "--example", "client"]).current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo
    };
    assert!(cargo("build").status().expect("cargo runs").success());
    let finished = finish(cargo("run").env("MSGLOG_SOCKET", daemon.socket()));
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "set 1000\n999\n"));
}

/// The examples that look for the socket themselves.
const LOOKING: &[(&str, &str)] = &[
    ("sh", "nc.sh"),
    ("sh", "socat.sh"),
    ("sh", "cron-once.sh"),
    ("python3", "client.py"),
    ("node", "client.mjs"),
];

#[test]
fn the_examples_look_where_the_client_looks() {
    let daemon = Daemon::start();
    fs::rename(daemon.socket(), daemon.folder().join("msglogd.sock")).expect("the socket moves");
    let here = daemon.folder().path().display().to_string();
    for (interpreter, name) in LOOKING {
        for (runtime, user) in [(format!("{here}:/y"), "/nowhere"), ("/nowhere".into(), here.as_str())] {
            let Some(mut command) = command(interpreter, name) else { continue };
            command
                .env_remove("MSGLOG_SOCKET")
                .env("RUNTIME_DIRECTORY", runtime)
                .env("XDG_RUNTIME_DIR", user);
            let finished = finish(&mut command);
            assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{name}");
        }
    }
}

#[test]
fn without_a_daemon_the_examples_say_what_they_tried() {
    for (interpreter, name) in LOOKING {
        let Some(mut command) = command(interpreter, name) else { continue };
        let finished = finish(command.env("MSGLOG_SOCKET", "/nowhere/a b"));
        assert_eq!(finished.code, Some(1), "{name}: {finished:?}");
        for word in ["/nowhere/a b", "MSGLOG_SOCKET"] {
            assert!(finished.stderr.contains(word), "{name}: {}", finished.stderr);
        }
    }
}

#[test]
fn the_client_in_python_stays_in_step_and_tells_refusals() {
    let daemon = Daemon::start();
    let script = r#"
from client import Msglog, Refused
msglog = Msglog()
for reply in msglog.send_ahead({"cmd": "kv.set", "key": "k", "value": n} for n in range(100)):
    if reply["seq"] == 3:
        break
assert msglog.ask("ping")["seq"] == 100
try:
    msglog.ask("kv.get", key="nope")
except Refused as refused:
    assert refused.error == "not_found" and refused.reply["ok"] is False, refused
assert [event["seq"] for event in msglog.pages(limit=7)] == list(range(1, 101))
assert [event["seq"] for event in msglog.pages(99)] == [99, 100]
msglog.socket.shutdown(1)
try:
    while True:
        msglog.reply()
except ConnectionError as error:
    assert str(error) == "msglogd closed the connection", error
"#;
    let Some(mut command) = python(&daemon, script) else { return };
    let finished = finish(&mut command);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_follower_in_python_goes_on_over_restarts() {
    let mut daemon = Daemon::start();
    let set = json!({"cmd": "kv.set", "key": "k", "value": 1});
    daemon.connect().ok(set.clone());
    let script = r#"
from client import Msglog
for event in Msglog().follow(types=["kv.set"]):
    print(event["seq"], flush=True)
    if event["seq"] == 3:
        break
"#;
    let Some(mut command) = python(&daemon, script) else { return };
    let mut follower = Running::spawn(&mut command);
    assert_eq!(follower.line(), "1");
    daemon.restart();
    daemon.connect().ok(set.clone());
    assert_eq!(follower.line(), "2");
    daemon.crash();
    daemon.connect().ok(set);
    assert_eq!(follower.finish().stdout, "3\n");
}

#[test]
fn the_follower_in_python_waits_for_its_daemon_and_goes_to_no_other() {
    let mut daemon = Daemon::start();
    let set = json!({"cmd": "kv.set", "key": "k", "value": 1});
    daemon.connect().ok(set.clone());
    let found = daemon.folder().join("msglogd.sock");
    symlink(daemon.socket(), &found).expect("a link");
    let script = r#"
from client import Msglog
for event in Msglog().follow():
    print(event["seq"], flush=True)
    if event["seq"] == 2:
        break
"#;
    let Some(mut command) = python(&daemon, script) else { return };
    // Where it looks first nobody listens yet.
    let first = TempDir::new();
    command.env_remove("MSGLOG_SOCKET").env("RUNTIME_DIRECTORY", first.path());
    let mut follower = Running::spawn(command.env("XDG_RUNTIME_DIR", daemon.folder().path()));
    assert_eq!(follower.line(), "1");
    let other = Daemon::start();
    symlink(other.socket(), first.join("msglogd.sock")).expect("a link");
    let mut client = other.connect();
    let mut accepted = || client.ok(json!({"cmd": "stats"}))["connections"]["accepted"].clone();
    let before = accepted();
    daemon.restart();
    daemon.connect().ok(set);
    assert_eq!(follower.finish().stdout, "2\n");
    assert_eq!(accepted(), before, "it came to the other one");
}

#[test]
fn the_worker_lives_through_odd_bodies_lost_leases_and_restarts() {
    let mut daemon = Daemon::start();
    let Some(mut command) = command("python3", "worker.py") else { return };
    let mut worker = Running::spawn(command.args(["q", "4"]).env("MSGLOG_SOCKET", daemon.socket()));
    daemon.connect().put(json!(5));
    assert_eq!(worker.line(), "done: 5");
    // What it did is acked behind that: an ack whose reply is lost is told of as passed over.
    daemon.connect().await_count("leased", 0);
    daemon.restart();
    daemon.connect().put(json!(null));
    assert_eq!(worker.line(), "done: None");
    daemon.connect().await_count("leased", 0);
    daemon.crash();
    daemon.connect().put(json!(["fail"]));
    assert_eq!(worker.line(), "failed: ['fail'] - this cannot be done - attempt 1");
    daemon.connect().put(json!("last"));
    assert_eq!(worker.finish().stdout, "done: last\n");

    let script = r#"
import worker
from client import Msglog
msglog = Msglog()
msglog.ask("queue.put", queue="other", body=1)
(job,) = msglog.ask("queue.reserve", queue="other")["jobs"]
worker.settle(msglog, "queue.ack", {**job, "lease": "lost"})
worker.settle(msglog, "queue.ack", job)
"#;
    let finished = finish(&mut python(&daemon, script).expect("python3 is there"));
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    assert!(finished.stdout.contains("lease_lost") && finished.stdout.lines().count() == 1, "{finished:?}");
}

#[test]
fn programs_without_arguments_say_what_they_take() {
    for name in ["worker.py", "ship-log.py"] {
        let Some(mut command) = command("python3", name) else { return };
        let finished = finish(&mut command);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.starts_with(&format!("usage: {name} ")), "{}", finished.stderr);
    }
}

#[test]
fn the_worker_acks_what_it_did_and_gives_back_what_it_could_not_do() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for body in [json!("one"), json!("fail"), json!({"n": 3})] {
        client.put(body);
    }
    let Some(text) = printed(&daemon, "python3", "worker.py", &["q", "3"]) else { return };
    assert_eq!(text, "done: one\nfailed: fail - this cannot be done - attempt 1\ndone: {'n': 3}\n");
    let queue = client.queue();
    assert_eq!((&queue["ready"], &queue["leased"], &queue["delayed"]), (&json!(0), &json!(0), &json!(1)));
}

#[test]
fn the_cron_job_submits_once_a_day_and_fails_aloud_without_a_daemon() {
    let mut daemon = Daemon::start();
    let text = |day| printed(&daemon, "sh", "cron-once.sh", &[day]).expect("there is a shell");
    assert_eq!(text("2026-01-31"), "submitted the report of 2026-01-31\n");
    assert_eq!(text("2026-01-31"), "the report of 2026-01-31 was submitted before\n");
    assert_eq!(text("2026-02-01"), "submitted the report of 2026-02-01\n");
    daemon.restart();
    let text = printed(&daemon, "sh", "cron-once.sh", &["2026-01-31"]).expect("there is a shell");
    assert!(text.contains("before"), "{text}");
    daemon.kill();
    let finished = run(&daemon, "sh", "cron-once.sh", &[]).expect("there is a shell");
    assert_eq!(finished.code, Some(1), "{finished:?}");
}

/// Listens, and answers as a daemon that refuses: a line for a line, or at once, and closes then.
fn refusing(socket: &Path, at_once: bool) {
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a client");
            let requests = BufReader::new(stream.try_clone().expect("a descriptor")).lines();
            // Whoever has left needs no answer.
            let refuse =
                || writeln!(&stream, "{}", json!({"ok": false, "error": "forbidden", "message": "no"}));
            if at_once {
                let _ = refuse();
            } else {
                requests.map_while(Result::ok).take_while(|_| refuse().is_ok()).for_each(drop);
            }
        }
    });
}

#[test]
fn the_script_for_socat_says_what_was_refused_and_leaves_no_file() {
    for at_once in [false, true] {
        let folder = TempDir::new();
        refusing(&folder.join("s"), at_once);
        fs::create_dir(folder.join("tmp")).expect("a folder");
        let mut command = command("sh", "socat.sh").expect("there is a shell");
        command.env("MSGLOG_SOCKET", folder.join("s")).env("TMPDIR", folder.join("tmp"));
        let finished = finish(&mut command);
        assert_eq!(
            (finished.code, finished.stdout.as_str()),
            (Some(1), "stored 0 of 1000\n"),
            "{at_once}: {finished:?}"
        );
        assert!(finished.stderr.contains("\"forbidden\""), "{at_once}: {finished:?}");
        assert_eq!(fs::read_dir(folder.join("tmp")).expect("a folder").count(), 0);
    }
}

#[test]
fn the_client_in_javascript_tells_why_it_was_closed_and_asks_no_more() {
    let Some(mut command) = command("node", "client.mjs") else { return };
    let folder = TempDir::new();
    refusing(&folder.join("s"), true);
    let finished = finish(command.env("MSGLOG_SOCKET", folder.join("s")));
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("msglogd refuses: forbidden: no"), "{finished:?}");

    let daemon = Daemon::start();
    let script = format!(
        r#"
const {{ Msglog }} = await import("{}");
const msglog = await Msglog.connect();
const closed = new Promise((resolve) => msglog.socket.on("close", resolve));
await msglog.ask("quit");
await closed;
for (const cmd of ["ping", "ping"]) await msglog.ask(cmd).catch((error) => console.log(error.message));
"#,
        folder_url("client.mjs")
    );
    let mut node = Command::new(command.get_program());
    node.args(["--input-type=module", "-e", &script]).env("MSGLOG_SOCKET", daemon.socket());
    let finished = finish(&mut node);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    assert_eq!(finished.stdout.matches("msglogd closed the connection\n").count(), 2, "{finished:?}");
}

#[test]
fn the_client_in_python_tells_why_it_was_closed() {
    let daemon = Daemon::start();
    let script = "from client import Msglog\nMsglog().insist('ping')";
    let Some(mut insisting) = python(&daemon, script) else { return };
    let folder = TempDir::new();
    refusing(&folder.join("s"), true);
    let finished = finish(insisting.env("MSGLOG_SOCKET", folder.join("s")));
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.ends_with("client.Refused: forbidden: no\n"), "{finished:?}");

    let Some(mut command) = command("python3", "client.py") else { return };
    let finished = finish(command.env("MSGLOG_SOCKET", folder.join("s")));
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let said = "ConnectionError: msglogd closed the connection; it said last: forbidden: no\n";
    assert!(finished.stderr.ends_with(said), "{finished:?}");
}

/// An example as a module is named.
fn folder_url(name: &str) -> String {
    format!("file://{}", folder().join(name).display())
}

#[test]
fn every_example_is_short_and_in_the_list() {
    let list = fs::read_to_string(folder().join("README.md")).expect("a list");
    for entry in fs::read_dir(folder()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name == "README.md" || path.is_dir() {
            continue;
        }
        assert!(list.contains(&format!("[{name}]({name})")), "{name} is not in examples/README.md");
        let lines = fs::read_to_string(&path).expect("text").lines().count();
        assert!(lines < 140, "{name} has {lines} lines");
    }
}
