//! `msglog` for people and scripts: commands, exit statuses, places, calls and followers.

mod client_support;
mod common;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use client_support::{Running, msglog, msglog_for, printed, run};
use common::{Daemon, TempDir, Value, clean, copy_program, finish, json, own_uid, until};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn commands_made_from_the_table_print_the_daemons_replies() {
    let daemon = Daemon::start();
    assert_eq!(printed(&daemon, &["ping"]), "{\"ok\":true,\"seq\":0}\n");
    assert_eq!(
        printed(&daemon, &["kv", "set", "greeting", "\"hello\""]),
        "{\"ok\":true,\"seq\":1,\"created\":true}\n"
    );
    assert_eq!(parsed(&printed(&daemon, &["kv", "get", "greeting"]))["value"], "hello");
    let post = ["message", "post", "--originator", "anna", "--recipient", "7", "bergamot, not spam"];
    assert_eq!(parsed(&printed(&daemon, &post))["seq"], 2);
    let found = parsed(&printed(&daemon, &["message", "search", "bergamot -ham", "--limit", "5", "--count"]));
    assert_eq!((&found["total"], &found["messages"][0]["recipient"]), (&json!(1), &json!("7")));
    let job =
        parsed(&printed(&daemon, &["queue", "put", "thumbnails", r#"{"file": "a.png"}"#, "--priority", "3"]));
    assert_eq!(job["job"], 3);
    let dry = parsed(&printed(&daemon, &["kv", "delete", "greeting", "--dry-run"]));
    assert_eq!(dry["dry_run"], true);
    let batch = r#"[{"cmd": "kv.set", "key": "a", "value": 1.50}, {"cmd": "kv.delete", "key": "greeting"}]"#;
    assert_eq!(parsed(&printed(&daemon, &["batch", batch, "--no-durable"]))["results"][1]["seq"], 5);
    assert!(printed(&daemon, &["kv", "get", "a"]).contains("\"value\":1.50,"));
}

#[test]
fn a_dash_reads_standard_input() {
    let daemon = Daemon::start();
    let input = daemon.folder().join("input");
    fs::write(&input, "[1,\n 2.0]\n").expect("a file");
    let mut command = msglog_for(&daemon, &["kv", "set", "list", "-"]);
    assert_eq!(finish(command.stdin(File::open(&input).expect("a file"))).code, Some(0));
    assert!(printed(&daemon, &["kv", "get", "list"]).contains("\"value\":[1,2.0],"));

    for (text, problem) in [("", "standard input is empty"), ("1 2\n", "holds more than one JSON value")] {
        fs::write(&input, text).expect("a file");
        let mut command = msglog_for(&daemon, &["kv", "set", "list", "-"]);
        let finished = finish(command.stdin(File::open(&input).expect("a file")));
        assert!(finished.code == Some(2) && finished.stderr.contains(problem), "{finished:?}");
    }

    for words in [["kv", "set", "list", "-"].as_slice(), &["queue", "put", "q", "-"]] {
        fs::write(&input, b"\xff").expect("a file");
        let finished = finish(msglog_for(&daemon, words).stdin(File::open(&input).expect("a file")));
        let told = finished.stderr.contains("standard input is no text in UTF-8");
        assert!(finished.code == Some(2) && told, "{finished:?}");
    }

    fs::write(&input, "\u{feff}[3]\r\n").expect("a file");
    let mut command = msglog_for(&daemon, &["kv", "set", "marked", "-"]);
    assert_eq!(finish(command.stdin(File::open(&input).expect("a file"))).code, Some(0));
    assert!(printed(&daemon, &["kv", "get", "marked"]).contains("\"value\":[3],"));

    fs::write(&input, "two\nlines\r\n").expect("a file");
    let mut command = msglog_for(&daemon, &["message", "post", "--originator", "a", "--recipient", "b", "-"]);
    assert_eq!(finish(command.stdin(File::open(&input).expect("a file"))).code, Some(0));
    let found = parsed(&printed(&daemon, &["message", "get", "3"]));
    assert_eq!(found["message"]["body"], "two\nlines");
}

#[test]
fn exit_statuses_say_how_it_went() {
    let daemon = Daemon::start();
    let code = |arguments: &[&str]| run(&daemon, arguments).code;
    assert_eq!(code(&["kv", "set", "key", "1"]), Some(0));
    for nothing in [
        ["kv", "get", "nope"],
        ["message", "search", "nothing"],
        ["queue", "reserve", "q"],
        ["kv", "list", "z"],
        ["queue", "peek", "q"],
    ] {
        assert_eq!(code(&nothing), Some(1), "{nothing:?}");
    }
    for wrong in
        [["kv", "set", "key"], ["kv", "gte", "key"], ["kv", "get", "--kee"], ["kv", "set", "key=hello"]]
    {
        let finished = run(&daemon, &wrong);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{wrong:?}");
        assert!(finished.stderr.starts_with("msglog: "), "{}", finished.stderr);
    }
    let refused = run(&daemon, &["kv", "set", "key", "2", "--if-seq", "0"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""));
    assert!(refused.stderr.starts_with("msglog: conflict: "), "{}", refused.stderr);
    let refused = run(&daemon, &["kv", "set", &"k".repeat(10_000), "2"]);
    assert_eq!(refused.code, Some(3));
    assert!(refused.stderr.contains("bad_request: ") && refused.stderr.contains("key"), "{}", refused.stderr);
    assert!(run(&daemon, &["kv", "get", "nope"]).stderr.starts_with("msglog: not_found: "));
    // Nothing was looked for, and so there is nothing that was not found.
    let backup =
        format!("{{\"cmd\":\"log.backup\",\"to\":\"{}\"}}", daemon.folder().join("no/new").display());
    assert_eq!(code(&["call", &backup]), Some(3));
    let finished = run(&daemon, &["log", "backup", &daemon.folder().join("no/new").display().to_string()]);
    assert_eq!(finished.code, Some(3));
    assert!(finished.stderr.starts_with("msglog: not_found: "), "{finished:?}");
}

#[test]
fn refusals_are_replies_where_these_are_asked_for() {
    let daemon = Daemon::start();
    for words in [["kv", "get", "nope"].as_slice(), &["log", "backup", "/no/such/folder"]] {
        let plain = run(&daemon, words);
        let json = run(&daemon, &[words, &["--json"]].concat());
        assert_eq!((plain.code, plain.stdout.as_str(), &plain.stderr), (json.code, "", &json.stderr));
        assert_eq!(parsed(&json.stdout)["error"], "not_found");
    }
    let follow = run(&daemon, &["message", "follow", "--app", "0123456789abcdefghijklmn", "--json"]);
    assert_eq!((follow.code, &parsed(&follow.stdout)["error"]), (Some(1), &json!("not_found")));
}

#[test]
fn a_time_in_no_form_is_told_with_those_that_there_are() {
    let daemon = Daemon::start();
    for wrong in ["yesterday", "2026-01-31T12:00:00", "2y"] {
        for words in [["message", "search", "--since", wrong], ["export", "messages", "--until", wrong]] {
            let finished = run(&daemon, &words);
            assert_eq!(finished.code, Some(2), "{finished:?}");
            let forms = ["Z or with another offset", "90s, 30m, 2h, 3d, 2w", wrong];
            assert!(forms.iter().all(|form| finished.stderr.contains(form)), "{}", finished.stderr);
        }
    }
    assert_eq!(run(&daemon, &["message", "search", "--since", "2w"]).code, Some(1));
}

#[test]
fn dry_runs_that_would_change_nothing_are_told_and_no_failure() {
    let daemon = Daemon::start();
    let formula = ["formula", "submit", "a", r#"[{"name":"x","concentration":1}]"#];
    printed(&daemon, &formula);
    printed(&daemon, &["kv", "set", "a", "1", "--idempotency-key", "k"]);
    printed(&daemon, &["queue", "configure", "q"]);
    for words in [
        formula.as_slice(),
        &["kv", "set", "a", "1", "--idempotency-key", "k"],
        &["queue", "purge", "q"],
        &["queue", "revive", "q"],
    ] {
        for form in ["--json", "--readable"] {
            let text = printed(&daemon, &[words, &["--dry-run", form]].concat());
            assert!(text.contains("dry_run") && text.contains("true"), "{words:?}: {text}");
        }
    }
    let purge = json!({"cmd": "queue.purge", "queue": "q", "dry_run": true}).to_string();
    printed(&daemon, &["call", &purge]);
    assert_eq!(run(&daemon, &["queue", "reserve", "q", "--dry-run"]).code, Some(1));
    assert_eq!(run(&daemon, &["log", "read", "--from", "1000"]).code, Some(1));
}

#[test]
fn a_command_line_that_ends_too_early_is_wrong_usage() {
    for words in [[].as_slice(), &["--socket", "ping"], &["message"], &["--json", "queue"]] {
        let finished = finish(msglog().args(words));
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{words:?}");
        assert!(finished.stderr.contains("\n\n") && finished.stderr.contains("Usage: msglog"), "{words:?}");
    }
}

#[test]
fn without_a_daemon_it_says_where_it_looked() {
    let nowhere = TempDir::new();
    let socket = nowhere.join("s");
    let finished = finish(msglog().arg("ping").env("MSGLOG_SOCKET", &socket));
    assert_eq!(finished.code, Some(4));
    assert!(finished.stderr.contains(&socket.display().to_string()), "{}", finished.stderr);
    assert!(finished.stderr.contains("`msglogd`"), "{}", finished.stderr);
    for works_alone in [
        ["help"].as_slice(),
        &["--version"],
        &["kv", "-h"],
        &["help", "queue", "work"],
        &["import", "--help"],
    ] {
        let finished = finish(msglog().args(works_alone));
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{works_alone:?}");
        assert!(finished.stdout.contains("msglog"), "{works_alone:?}");
    }
}

#[test]
fn whoever_waits_at_a_socket_that_nobody_accepts_on_is_told_once() {
    let folder = TempDir::new();
    let socket = folder.join("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    fs::write(folder.join("lines"), "{\"body\":\"x\"}\n").expect("a file");
    let lines = folder.join("lines").display().to_string();
    let start = |words: &[&str]| Running::spawn(msglog().arg("--socket").arg(&socket).args(words));
    let mut told = [
        start(&["ping"]),
        start(&["call", r#"{"cmd":"ping"}"#]),
        start(&["log", "follow"]),
        start(&["export", "kv"]),
        start(&["import", &lines, "--originator", "a", "--recipient", "b"]),
    ];
    let polling = start(&["queue", "reserve", "q", "--wait-ms", "60000"]);
    let text = format!("msglog: connected to {}, no answer yet: the daemon is starting", socket.display());
    told.iter().for_each(|waiting| waiting.await_said(&text));
    // Whoever follows ends with its reader, whether or not there is an answer.
    told[2].close_output();
    until("the follower ends", || (!told[2].runs()).then_some(()));
    drop(listener);
    for waiting in told {
        let finished = waiting.finish();
        assert!(matches!(finished.code, Some(0 | 4)), "{finished:?}");
        assert_eq!(finished.stderr.matches("no answer yet").count(), 1, "{finished:?}");
    }
    assert!(!polling.finish().stderr.contains("no answer yet"));
}

#[test]
fn the_socket_is_found_in_the_runtime_folder_and_named_ones_come_first() {
    let daemon = Daemon::start();
    fs::rename(daemon.socket(), daemon.folder().join("msglogd.sock")).expect("the socket moves");
    let mut command = msglog();
    assert_eq!(finish(command.arg("ping").env("XDG_RUNTIME_DIR", daemon.folder().path())).code, Some(0));
    assert_eq!(finish(command.env("MSGLOG_SOCKET", "/nowhere/s")).code, Some(4));
    assert_eq!(finish(command.arg("--socket").arg(daemon.folder().join("msglogd.sock"))).code, Some(0));
}

/// A copy of the client that runs as a user id that nobody has.
struct Stranger {
    uid: u32,
    folder: TempDir,
}

impl Stranger {
    /// Nothing where the tests do not run as root.
    fn new() -> Option<Stranger> {
        if own_uid() != 0 {
            eprintln!("SKIPPED: running as another user needs root");
            return None;
        }
        let folder = TempDir::new();
        copy_program(&msglog(), &folder.join("msglog"));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        Some(Stranger { uid: 1_500_000_000 + std::process::id(), folder })
    }

    fn command(&self) -> Command {
        let mut command = clean(Command::new(self.folder.join("msglog")));
        command.env_remove("MSGLOG_SOCKET").uid(self.uid).gid(self.uid);
        command
    }

    /// The same, where this user may have so many threads in all. Nothing, said aloud, where that cannot be set.
    fn with_few_threads(&self, count: u64) -> Option<Command> {
        if Command::new("prlimit").arg("--version").output().is_err() {
            eprintln!("SKIPPED: `prlimit` (util-linux) is not installed");
            return None;
        }
        let mut command = clean(Command::new("prlimit"));
        command.arg(format!("--nproc={count}")).arg(self.folder.join("msglog"));
        command.env_remove("MSGLOG_SOCKET").uid(self.uid).gid(self.uid);
        Some(command)
    }
}

#[test]
fn a_folder_in_tmp_that_others_may_have_made_is_refused() {
    let Some(stranger) = Stranger::new() else { return };
    let folder = format!("/tmp/msglogd-{}", stranger.uid);
    fs::create_dir(&folder).expect("nobody has it");
    let finished = finish(stranger.command().arg("ping"));
    fs::remove_dir(&folder).expect("it is ours");
    assert_eq!(finished.code, Some(4));
    assert!(finished.stderr.contains(&format!("{folder} is not to be trusted")), "{}", finished.stderr);
}

#[test]
fn a_socket_that_this_user_may_not_connect_to_is_told_with_its_group() {
    let Some(stranger) = Stranger::new() else { return };
    let daemon = Daemon::with(&["--socket-mode", "660"]);
    fs::set_permissions(daemon.folder().path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let refused = || finish(stranger.command().arg("--socket").arg(daemon.socket()).arg("ping"));
    let finished = refused();
    assert_eq!(finished.code, Some(4));
    assert!(finished.stderr.contains("this user may not connect"), "{}", finished.stderr);
    assert!(finished.stderr.contains("adduser USER root, then log in anew"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("no daemon") && !finished.stderr.contains("Start one"));
    fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o600)).expect("it is ours");
    assert!(refused().stderr.contains("for its owner alone"));
    fs::set_permissions(daemon.folder().path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
    assert!(refused().stderr.contains("may not look into its folder"));
}

#[test]
fn call_sends_requests_as_they_are() {
    let daemon = Daemon::start();
    let reply = printed(&daemon, &["call", r#"{"cmd":"ping","id":[1]}"#]);
    assert_eq!(parsed(&reply)["id"], json!([1]));
    let refused = run(&daemon, &["call", r#"{"cmd":"pong"}"#]);
    assert_eq!(refused.code, Some(3));
    assert!(refused.stdout.contains("unknown_command") && refused.stderr.contains("unknown_command"));

    let input = daemon.folder().join("requests");
    let requests: Vec<String> =
        (0..3000).map(|id| json!({"cmd": "kv.set", "key": "k", "value": id, "id": id}).to_string()).collect();
    fs::write(&input, requests.join("\n")).expect("a file");
    let replies = daemon.folder().join("replies");
    let mut command = msglog_for(&daemon, &["call", "-"]);
    command.stdin(File::open(&input).expect("a file")).stdout(File::create(&replies).expect("a file"));
    assert_eq!(command.status().expect("msglog runs").code(), Some(0));
    let replies = fs::read_to_string(replies).expect("text");
    let ids: Vec<Value> = replies.lines().map(|line| parsed(line)["id"].clone()).collect();
    assert_eq!(ids, (0..3000).map(Value::from).collect::<Vec<_>>());

    fs::write(&input, "{\"cmd\":\"ping\"}\n\nnonsense\n").expect("a file");
    let finished = finish(msglog_for(&daemon, &["call", "-"]).stdin(File::open(&input).expect("a file")));
    assert_eq!((finished.code, finished.stdout.lines().count()), (Some(3), 2));
    assert!(finished.stderr.contains("1 of 2 requests were refused"), "{}", finished.stderr);
}

#[test]
fn followers_see_each_event_once_over_restarts() {
    let mut daemon = Daemon::start();
    printed(&daemon, &["kv", "set", "before", "1"]);
    let mut all = Running::start(&daemon, &["log", "follow", "--from", "1", "--types", "kv.set"]);
    let mut coming = Running::start(&daemon, &["message", "follow", "--recipient", "bob"]);
    assert_eq!(parsed(&all.line())["seq"], 1);
    until_followers(&daemon, 2);
    // The second one has seen nothing yet, and must miss nothing all the same.
    daemon.restart();
    let mut client = daemon.connect();
    let post = json!({"cmd": "message.post", "originator": "anna", "recipient": "bob", "body": "after"});
    let posted = client.ok(post.clone()).seq();
    assert_eq!(parsed(&coming.line())["seq"], posted);
    coming.await_said("the daemon is back");
    let set = client.ok(json!({"cmd": "kv.set", "key": "after", "value": 2})).seq();
    assert_eq!(parsed(&all.line())["seq"], set);
    drop(client);
    daemon.crash();
    let mut client = daemon.connect();
    for _ in 0..3 {
        let posted = client.ok(post.clone()).seq();
        assert_eq!(parsed(&coming.line())["seq"], posted);
        let set = client.ok(json!({"cmd": "kv.set", "key": "after", "value": 2})).seq();
        assert_eq!(parsed(&all.line())["seq"], set);
    }
}

#[test]
fn a_follower_tells_of_a_daemon_that_has_gone_back_and_follows_what_comes() {
    let mut daemon = Daemon::start();
    let set = json!({"cmd": "kv.set", "key": "k", "value": 1});
    let backup = daemon.folder().join("backup");
    let mut client = daemon.connect();
    client.ok(set.clone());
    client.ok(json!({"cmd": "log.backup", "to": backup}));
    for _ in 0..4 {
        client.ok(set.clone());
    }
    let mut follower = Running::start(&daemon, &["log", "follow", "--from", "1"]);
    for seq in 1..=5 {
        assert_eq!(parsed(&follower.line())["seq"], seq);
    }
    assert_eq!(daemon.stop(), Some(0));
    fs::remove_dir_all(daemon.data()).expect("it is ours");
    common::copy_folder(&backup, &daemon.data());
    daemon.launch();
    follower.await_said("the daemon's last event is 1, and 5 was there before");
    until_followers(&daemon, 1);
    daemon.connect().ok(set);
    assert_eq!(parsed(&follower.line())["seq"], 2);
}

#[test]
fn a_call_that_follows_ends_with_its_reader_and_fails_with_its_daemon() {
    let mut daemon = Daemon::start();
    let start = |daemon: &Daemon| Running::start(daemon, &["call", r#"{"cmd":"log.follow"}"#]);
    let (mut unread, mut follower) = (start(&daemon), start(&daemon));
    for call in [&mut unread, &mut follower] {
        assert_eq!(parsed(&call.line())["following"], true);
    }
    unread.close_output();
    let finished = unread.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    daemon.kill();
    assert_eq!(follower.finish().code, Some(4));
    daemon.launch();
    let mut follower = start(&daemon);
    assert_eq!(parsed(&follower.line())["following"], true);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(parsed(&follower.line())["error"], "shutting_down");
    let finished = follower.finish();
    assert!(finished.code == Some(4) && finished.stderr.contains("shutting_down"), "{finished:?}");
}

#[test]
fn a_follower_ends_when_nobody_reads_it() {
    let daemon = Daemon::start();
    let mut follower = Running::start(&daemon, &["log", "follow"]);
    until_followers(&daemon, 1);
    assert!(follower.runs());
    follower.close_output();
    let finished = follower.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    let refused = run(&daemon, &["message", "follow", "--app", "x", "--chat", "1", "--recipient", "y"]);
    assert!(matches!(refused.code, Some(1 | 3)), "{refused:?}");
}

#[test]
fn a_follower_ends_with_its_reader_behind_a_socket_too_and_while_the_daemon_is_away() {
    let mut daemon = Daemon::start();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mut command = msglog_for(&daemon, &["log", "follow"]);
    let follower = Running::spawn_as_it_is(command.stdout(OwnedFd::from(theirs)));
    // The command holds a copy of what it gave to its child.
    drop(command);
    until_followers(&daemon, 1);
    drop(ours);
    assert_eq!(follower.finish().code, Some(0));

    let mut follower = Running::start(&daemon, &["log", "follow"]);
    until_followers(&daemon, 1);
    daemon.kill();
    follower.await_said("waiting for the daemon");
    assert!(follower.runs());
    follower.close_output();
    assert_eq!(follower.finish().code, Some(0));
}

#[test]
fn a_follower_waits_for_the_daemon_that_it_began_with() {
    let (other, mut daemon) = (Daemon::start(), Daemon::start());
    symlink(daemon.socket(), daemon.folder().join("msglogd.sock")).expect("a link");
    let mut command = msglog();
    command.args(["log", "follow"]).env("RUNTIME_DIRECTORY", other.folder().path());
    let mut follower = Running::spawn(command.env("XDG_RUNTIME_DIR", daemon.folder().path()));
    until_followers(&daemon, 1);
    symlink(other.socket(), other.folder().join("msglogd.sock")).expect("a link");
    daemon.crash();
    follower.await_said("waiting for the daemon");
    until_followers(&daemon, 1);
    let set = json!({"cmd": "kv.set", "key": "k", "value": 1});
    other.connect().ok(set.clone());
    daemon.connect().ok(common::with(&set, "key", "here"));
    assert_eq!(parsed(&follower.line())["key"], "here");
}

#[test]
fn a_follower_that_has_no_room_for_a_connection_says_so_and_goes_on_when_there_is() {
    use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
    let mut daemon = Daemon::start();
    let mut follower = Running::start(&daemon, &["log", "follow"]);
    until_followers(&daemon, 1);
    let few = Rlimit { current: Some(3), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(Some(follower.id()), Resource::Nofile, few).expect("it is ours");
    daemon.restart();
    follower.await_said("cannot connect to the daemon: Too many open files");
    prlimit(Some(follower.id()), Resource::Nofile, before).expect("it is ours");
    until_followers(&daemon, 1);
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    assert_eq!(parsed(&follower.line())["key"], "k");
}

#[test]
fn without_room_for_a_thread_an_import_or_a_worker_ends_with_its_reason() {
    let Some(stranger) = Stranger::new() else { return };
    let daemon = Daemon::with(&["--socket-mode", "666", "--allow-uid", &stranger.uid.to_string()]);
    fs::set_permissions(daemon.folder().path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(daemon.folder().join("lines"), "").expect("a file");
    let lines = daemon.folder().join("lines").display().to_string();
    for words in [["import", &lines].as_slice(), &["queue", "work", "q", "--", "true"]] {
        let Some(mut command) = stranger.with_few_threads(1) else { return };
        let finished = finish(command.arg("--socket").arg(daemon.socket()).args(words));
        assert_eq!(finished.code, Some(74), "{finished:?}");
        assert!(finished.stderr.starts_with("msglog: cannot start a thread: "), "{finished:?}");
    }
    let put = json!({"cmd": "queue.put", "queue": "q", "body": 1, "durable": false});
    daemon.connect().pipeline(&vec![put; 100]);
    let work = ["queue", "work", "q", "--parallel", "40", "--", "true"];
    let Some(mut command) = stranger.with_few_threads(20) else { return };
    let worker = Running::spawn(command.arg("--socket").arg(daemon.socket()).args(work));
    worker.await_said("workers of 40");
    let mut client = daemon.connect();
    until("the jobs are done", || {
        let queue = client.ok(json!({"cmd": "queue.get", "queue": "q"}));
        ["ready", "delayed", "leased", "dead"]
            .iter()
            .all(|state| queue.json()["queue"][state] == 0)
            .then_some(())
    });
    worker.signal(rustix::process::Signal::TERM);
    assert_eq!(worker.finish().code, Some(0));
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let sets: Vec<Value> = (0..400)
        .map(|key| json!({"cmd": "kv.set", "key": key.to_string(), "value": "x".repeat(500)}))
        .collect();
    client.pipeline(&sets);
    let mut reader = Running::start(&daemon, &["log", "read", "--limit", "10000"]);
    reader.close_output();
    let finished = reader.finish();
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
}

#[test]
fn output_is_json_without_a_terminal_whatever_the_environment_says() {
    let daemon = Daemon::start();
    let plain = printed(&daemon, &["info"]);
    let mut command = msglog_for(&daemon, &["info", "--json"]);
    command.env("TERM", "xterm-256color").env("CLICOLOR_FORCE", "1").stdin(Stdio::null());
    assert_eq!(finish(&mut command).stdout, plain);
    assert!(!plain.contains('\u{1b}'));
}

#[test]
fn text_for_eyes_needs_no_terminal_and_has_no_colours() {
    let daemon = Daemon::start();
    printed(&daemon, &["kv", "set", "a", "1"]);
    assert_eq!(printed(&daemon, &["kv", "list", "--readable"]), "key  seq\na      1\n");
    let post = ["message", "post", "--originator", "anna", "--recipient", "bob", "see you"];
    printed(&daemon, &post);
    let found = printed(&daemon, &["--readable", "message", "search", "--text", "see", "--since", "1h"]);
    assert!(found.contains("anna  -> bob\n    see you\n") && !found.contains('\u{1b}'), "{found}");
    assert_eq!(run(&daemon, &["message", "search", "--until", "1h"]).code, Some(1));
    assert_eq!(run(&daemon, &["top", "--readable"]).code, Some(2));
    assert!(printed(&daemon, &["top", "--once", "--interval", "0.1", "--readable"]).contains("msglogd"));
}

/// Waits until the daemon has so many followers.
fn until_followers(daemon: &Daemon, count: u64) {
    let mut client = daemon.connect();
    common::until("the followers are there", || {
        let stats = client.ok(json!({"cmd": "stats"}));
        (stats.json()["connections"]["followers"] == count).then_some(())
    });
}
