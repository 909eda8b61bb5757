//! `msglog import`: what becomes of each line, and how it goes on after a loss.

#![allow(clippy::expect_used)]

mod client_support;
mod common;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use client_support::{Running, msglog, msglog_for, run, scripted};
use common::{Daemon, Finished, TempDir, Value, finish, json};

fn file(daemon: &Daemon, name: &str, text: &str) -> PathBuf {
    let path = daemon.folder().join(name);
    fs::write(&path, text).expect("a file");
    path
}

fn summary(finished: &Finished) -> Value {
    let line = finished.stdout.lines().last().unwrap_or_else(|| panic!("no summary: {finished:?}"));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {finished:?}"))
}

/// How many messages there are in all.
fn messages(daemon: &Daemon) -> u64 {
    daemon.connect().ok(json!({"cmd": "message.search", "limit": 1, "count": true})).number("total")
}

#[test]
fn every_line_is_sent_and_what_is_wrong_is_said_with_its_number() {
    let daemon = Daemon::start();
    let lines = [
        r#"{"originator":"anna","recipient":6935397282,"body":"one","at":"2019-08-13T13:18:26Z"}"#,
        r#"{"body":"two","label":"ham","at":"x"}"#,
        "",
        "not json",
        r#"{"cmd":"kv.set","key":"a","value":1.50}"#,
        r#"{"originator":"anna","recipient":"bob"}"#,
        r#"{"originator":"anna","recipient":"bob","body":"last, without a line break"}"#,
    ];
    let path = file(&daemon, "lines.jsonl", &lines.join("\n"));
    let finished = run(
        &daemon,
        &["import", path.to_str().expect("text"), "--originator", "importer", "--recipient", "box"],
    );
    assert_eq!(finished.code, Some(3), "{finished:?}");
    let summary = summary(&finished);
    assert_eq!(
        (&summary["imported"], &summary["refused"], &summary["last_line"]),
        (&json!(4), &json!(2), &json!(7))
    );
    let said: Vec<&str> = finished.stderr.lines().collect();
    assert!(said[0].starts_with("msglog: line 4: bad_json: "), "{said:?}");
    assert!(said[1].starts_with("msglog: line 6: bad_request: ") && said[1].contains("body"), "{said:?}");
    assert!(said[2].ends_with("`at` (2), `label` (1)"), "{said:?}");
    assert_eq!(messages(&daemon), 3);
    let found = daemon.connect().ok(json!({"cmd": "message.search", "recipient": "box"}));
    assert_eq!(found.column("messages", "body"), [json!("two")]);
}

#[test]
fn a_dry_run_of_a_file_is_refused_before_anything_is_sent() {
    let daemon = Daemon::start();
    let lines = ["{\"cmd\":\"kv.set\",\"key\":\"a\",\"value\":1}", "{\"body\":\"x\"}"].join("\n");
    let path = file(&daemon, "lines.jsonl", &lines);
    let defaults = ["--originator", "a", "--recipient", "b", "--dry-run"];
    let finished = run(&daemon, &[&["import", path.to_str().expect("text")][..], &defaults].concat());
    assert_eq!((finished.code, daemon.connect().last_seq()), (Some(2), 0), "{finished:?}");
    assert!(finished.stderr.contains("there is no --dry-run"), "{finished:?}");
}

#[test]
fn what_is_said_for_all_lines_holds_for_requests_too() {
    let folder = TempDir::new();
    let (socket, lines) = (folder.join("s"), folder.join("lines"));
    let (seen, requests) = std::sync::mpsc::channel();
    scripted(&socket, move |request| {
        seen.send(request.clone()).expect("it is waited for");
        Some(json!({"ok": true}))
    });
    let put = json!({"cmd": "queue.put", "queue": "q", "body": 1});
    let get = json!({"cmd": "kv.get", "key": "a"});
    fs::write(&lines, format!("{put}\n{get}\n{{\"body\":\"x\"}}\n")).expect("a file");
    let options = ["--no-durable", "--originator", "a", "--recipient", "b"];
    let finished = finish(msglog().arg("--socket").arg(&socket).arg("import").arg(&lines).args(options));
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let durable: Vec<Value> = requests.try_iter().map(|request| request["durable"].clone()).collect();
    assert_eq!(durable, [json!(false), json!(null), json!(false)]);
}

#[test]
fn only_the_first_refusals_are_reported_one_by_one() {
    let daemon = Daemon::start();
    let path = file(&daemon, "lines.jsonl", &"{\"body\":\"x\"}\n".repeat(25));
    let finished = run(&daemon, &["import", path.to_str().expect("text")]);
    assert_eq!((finished.code, &summary(&finished)["refused"]), (Some(3), &json!(25)));
    assert_eq!(finished.stderr.lines().filter(|line| line.contains(": line ")).count(), 10);
    assert!(finished.stderr.contains("15 more lines were refused"), "{}", finished.stderr);
}

#[test]
fn lines_become_the_command_that_is_named() {
    let daemon = Daemon::start();
    let formula =
        |name: &str| json!({"name": name, "materials": [{"name": "x", "concentration": 2.5}], "source": "s"});
    let path = file(&daemon, "formulas.jsonl", &format!("{}\n{}\n", formula("A"), formula("B")));
    let finished = run(&daemon, &["import", path.to_str().expect("text"), "--command", "formula.submit"]);
    assert_eq!((finished.code, &summary(&finished)["imported"]), (Some(0), &json!(2)), "{finished:?}");
    assert_eq!(daemon.connect().ok(json!({"cmd": "formula.list"})).list("formulas").len(), 1);

    let path = file(&daemon, "jobs.jsonl", "{\"body\":{\"file\":\"a\"}}\n{\"body\":2,\"queue\":\"other\"}\n");
    let arguments = [
        "import",
        path.to_str().expect("text"),
        "--command",
        "queue.put",
        "--queue",
        "thumbnails",
        "--priority",
        "3",
    ];
    assert_eq!(run(&daemon, &arguments).code, Some(0));
    let jobs = daemon.connect().ok(json!({"cmd": "queue.peek", "queue": "thumbnails"}));
    assert_eq!(
        (jobs.column("jobs", "body"), jobs.column("jobs", "priority")),
        (vec![json!({"file": "a"})], vec![json!(3)])
    );
}

#[test]
fn lines_of_a_slow_pipe_are_sent_as_they_come() {
    let daemon = Daemon::start();
    let mut command = msglog_for(&daemon, &["import", "-", "--originator", "a", "--recipient", "b"]);
    let mut importing = Running::spawn(command.stdin(Stdio::piped()));
    let mut input = importing.input();
    for count in 1..=3 {
        input.write_all(b"{\"body\":\"x\"}\n").expect("it reads");
        common::until("the message is there", || (messages(&daemon) == count).then_some(()));
    }
    drop(input);
    let finished = importing.finish();
    assert_eq!((finished.code, &summary(&finished)["imported"]), (Some(0), &json!(3)));
}

#[test]
fn stopping_at_an_error_keeps_the_lines_before_it() {
    let daemon = Daemon::start();
    let good = "{\"body\":\"x\",\"originator\":\"a\",\"recipient\":\"b\"}\n";
    let text = good.repeat(3) + "{}\n" + &good.repeat(5_000);
    let path = file(&daemon, "lines.jsonl", &text);
    let position = daemon.folder().join("position");
    let arguments = [
        "import",
        path.to_str().expect("text"),
        "--stop-on-error",
        "--resume-file",
        position.to_str().expect("text"),
    ];
    let finished = run(&daemon, &arguments);
    assert_eq!((finished.code, &summary(&finished)["last_line"]), (Some(3), &json!(3)));
    assert!(finished.stderr.contains("stopped at line 4"), "{}", finished.stderr);
    assert!(finished.stderr.contains("run the same again: "), "{}", finished.stderr);
    assert!(finished.stderr.contains("leave an empty line in its place"), "{}", finished.stderr);
    let stored = messages(&daemon);
    assert_eq!(summary(&finished)["imported"], stored);
    assert!(stored < 4000, "{stored} of 5003 were sent ahead");

    // The line is mended; what had been sent ahead is not stored twice.
    fs::write(&path, text.replace("{}", good.trim())).expect("a file");
    let finished = run(&daemon, &arguments);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(
        (&summary(&finished)["skipped"], &summary(&finished)["replayed"]),
        (&json!(3), &json!(stored - 3))
    );
    assert_eq!(messages(&daemon), 5_004);
}

#[test]
fn an_import_that_loses_its_daemon_goes_on_without_a_gap_or_a_double() {
    const LINES: u64 = 20_000;
    // More than an import sends ahead, so that some of it is acknowledged.
    const UNDER_WAY: u64 = 4_000;
    let mut daemon = Daemon::start();
    let mut text = String::new();
    for number in 0..LINES {
        writeln!(text, "{{\"originator\":\"a\",\"recipient\":\"b\",\"body\":\"line {number}\"}}")
            .expect("memory");
    }
    let path = file(&daemon, "lines.jsonl", &text);
    let position = daemon.folder().join("position");
    let arguments =
        ["import", path.to_str().expect("text"), "--resume-file", position.to_str().expect("text")];
    let importing = Running::start(&daemon, &arguments);
    let mut client = daemon.connect();
    common::until("some of it is there", || (client.last_seq() > UNDER_WAY).then_some(()));
    daemon.kill();
    let finished = importing.finish();
    assert_eq!(finished.code, Some(4), "{finished:?}");
    let acknowledged = summary(&finished)["last_line"].as_u64().expect("a number");
    assert!((1..LINES).contains(&acknowledged), "{acknowledged}");
    assert!(
        finished.stderr.contains(&format!("the first {acknowledged} lines are acknowledged")),
        "{finished:?}"
    );
    let kept: Value = serde_json::from_reader(File::open(&position).expect("a file")).expect("JSON");
    assert_eq!(kept["line"], acknowledged);

    daemon.launch();
    assert!(messages(&daemon) >= acknowledged, "what was acknowledged is there");
    // As if the last of the position had been lost as well.
    let name = kept["import"].as_str().expect("text");
    fs::write(&position, json!({"import": name, "line": acknowledged / 2}).to_string()).expect("a file");
    let finished = run(&daemon, &arguments);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(summary(&finished)["skipped"], acknowledged / 2);
    assert_eq!(messages(&daemon), LINES);
    let finished = run(&daemon, &arguments);
    assert_eq!(summary(&finished)["skipped"], LINES);
}

#[test]
fn a_refused_line_that_becomes_an_empty_one_costs_no_other_line() {
    let daemon = Daemon::start();
    let line = |number: u64| format!("{{\"body\":\"{number}\",\"originator\":\"a\",\"recipient\":\"b\"}}\n");
    let behind: String = (4..=3000).map(line).collect();
    let text = |third: &str| format!("{}{}{third}\n{behind}", line(1), line(2));
    let path = file(&daemon, "lines.jsonl", &text("{}"));
    let position = daemon.folder().join("position").display().to_string();
    let import =
        ["import", path.to_str().expect("text"), "--stop-on-error", "--resume-file", position.as_str()];
    assert_eq!(run(&daemon, &import).code, Some(3));
    fs::write(&path, text("")).expect("a file");
    let finished = run(&daemon, &import);
    assert_eq!((finished.code, messages(&daemon)), (Some(0), 2999), "{finished:?}");
}

#[test]
fn a_last_line_that_grows_is_imported_when_it_is_whole() {
    let daemon = Daemon::start();
    let line = "{\"body\":\"x\",\"originator\":\"a\",\"recipient\":\"b\"}";
    let path = file(&daemon, "lines.jsonl", &format!("{line}\n{}", &line[..20]));
    let position = daemon.folder().join("position").display().to_string();
    let import = ["import", path.to_str().expect("text"), "--resume-file", position.as_str()];
    assert_eq!(run(&daemon, &import).code, Some(3));
    for (text, count) in [(format!("{line}\n{line}"), 2), (format!("{line}\n{line}\n{line}\n"), 3)] {
        fs::write(&path, text).expect("the file grows");
        assert_eq!(run(&daemon, &import).code, Some(0));
        assert_eq!(messages(&daemon), count);
    }

    fs::write(&path, format!("{line}\n")).expect("the file shrinks");
    let finished = run(&daemon, &import);
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(
        finished.stderr.contains("ends with line 1") && finished.stderr.contains("the first 3"),
        "{finished:?}"
    );
}

#[test]
fn a_failed_import_fails_also_where_nobody_reads_its_summary() {
    let daemon = Daemon::start();
    let path = file(&daemon, "lines.jsonl", "{}\n");
    let (reads, writes) = std::io::pipe().expect("a pipe");
    drop(reads);
    let mut command = msglog_for(&daemon, &["import", path.to_str().expect("text")]);
    let status = command.stdout(writes).stderr(Stdio::null()).status().expect("msglog runs");
    assert_eq!(status.code(), Some(3));
}

#[test]
fn how_to_go_on_is_a_command_that_works_or_what_to_do_where_there_is_none() {
    let daemon = Daemon::start();
    let lines = "{\"body\":\"x\",\"recipient\":\"b\"}\n{}\n";
    let path = file(&daemon, "a", lines);
    let name = path.to_str().expect("text");
    let words = ["import", name, "--originator", name, "--stop-on-error"];
    let finished = run(&daemon, &words);
    let hint = format!("import - --originator {name} --stop-on-error\n");
    assert!(finished.stderr.contains(&hint), "{}", finished.stderr);
    assert!(finished.stderr.contains(&format!("tail -n +2 {name} | ")), "{}", finished.stderr);

    let app = "{\"cmd\":\"app.create\",\"name\":\"a\",\"id\":{\"app\":\"OLD\"}}\n";
    fs::write(&path, format!("{app}{lines}")).expect("a file");
    let finished = run(&daemon, &words);
    assert!(
        !finished.stderr.contains("tail") && finished.stderr.contains("with --resume-file"),
        "{finished:?}"
    );
}

#[test]
fn files_that_cannot_be_read_and_compressed_ones_are_refused() {
    let daemon = Daemon::start();
    assert_eq!(run(&daemon, &["import", "/nowhere/lines.jsonl"]).code, Some(74));
    assert_eq!(run(&daemon, &["import", "/tmp"]).code, Some(74));
    let finished = run(&daemon, &["import", "/nowhere/lines.jsonl.gz"]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("zcat"), "{}", finished.stderr);
}

#[test]
fn a_resumable_import_waits_for_room_in_a_full_queue() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_jobs": 2}));
    let text: String =
        (1..=4).map(|body| format!("{{\"cmd\":\"queue.put\",\"queue\":\"q\",\"body\":{body}}}\n")).collect();
    let path = file(&daemon, "jobs.jsonl", &text);
    let position = daemon.folder().join("position");
    let arguments =
        ["import", path.to_str().expect("text"), "--resume-file", position.to_str().expect("text")];
    let finished = run(&daemon, &arguments);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains("run the same again"), "{finished:?}");
    assert_eq!(summary(&finished)["last_line"], 2);
    client.ok(json!({"cmd": "queue.purge", "queue": "q"}));
    let finished = run(&daemon, &arguments);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let bodies: Vec<Value> = client
        .ok(json!({"cmd": "queue.peek", "queue": "q"}))
        .list("jobs")
        .iter()
        .map(|job| job["body"].clone())
        .collect();
    assert_eq!(bodies, [3, 4]);
}

/// Imports three lines into a daemon that is played, which answers each as it is told to.
fn import_three(
    options: &[&str],
    folder: &TempDir,
    answer: impl FnMut(&Value) -> Option<Value> + Send + 'static,
) -> Finished {
    let (socket, lines) = (folder.join("s"), folder.join("lines"));
    let _ = fs::remove_file(&socket);
    scripted(&socket, answer);
    let text: String = (1..=3).map(|number| json!({"body": number.to_string()}).to_string() + "\n").collect();
    fs::write(&lines, text).expect("a file");
    finish(msglog().arg("--socket").arg(&socket).arg("import").arg(&lines).args(options))
}

#[test]
fn a_line_that_is_refused_for_no_fault_of_its_own_is_not_passed_over() {
    for (code, stops_always) in
        [("forbidden", true), ("too_large", false), ("internal", false), ("corrupt", false)]
    {
        let answer = move |request: &Value| {
            Some(if request["body"] == "2" {
                json!({"ok": false, "error": code, "message": "no"})
            } else {
                json!({"ok": true})
            })
        };
        let folder = TempDir::new();
        let position = folder.join("position");
        let resume = ["--resume-file", position.to_str().expect("text")];
        let finished = import_three(&resume, &folder, answer);
        assert_eq!((finished.code, &summary(&finished)["last_line"]), (Some(3), &json!(1)), "{finished:?}");
        assert!(finished.stderr.contains("stopped at line 2"), "{finished:?}");
        assert!(finished.stderr.contains("run the same again: "), "{finished:?}");
        let kept: Value = serde_json::from_reader(File::open(&position).expect("a file")).expect("JSON");
        assert_eq!((&kept["line"], &kept["refused"]), (&json!(1), &json!(0)));
        let finished = import_three(&resume, &folder, |_| Some(json!({"ok": true})));
        assert_eq!((finished.code, &summary(&finished)["imported"]), (Some(0), &json!(2)), "{finished:?}");

        let finished = import_three(&[], &folder, answer);
        let last = if stops_always { 1 } else { 3 };
        assert_eq!(
            (finished.code, &summary(&finished)["last_line"]),
            (Some(3), &json!(last)),
            "{finished:?}"
        );
    }
}

#[test]
fn the_line_that_an_import_stops_at_is_the_first_whatever_is_refused_behind_it() {
    for behind in ["too_large", "forbidden"] {
        let folder = TempDir::new();
        let position = folder.join("position");
        let options = ["--stop-on-error", "--resume-file", position.to_str().expect("text")];
        let finished = import_three(&options, &folder, move |request| {
            Some(match request["body"].as_str() {
                Some("2") => json!({"ok": false, "error": "bad_request", "message": "no"}),
                Some("3") => json!({"ok": false, "error": behind, "message": "no"}),
                _ => json!({"ok": true}),
            })
        });
        assert_eq!((finished.code, &summary(&finished)["last_line"]), (Some(3), &json!(1)), "{finished:?}");
        assert!(finished.stderr.contains("stopped at line 2"), "{finished:?}");
        assert!(!finished.stderr.contains("line 3"), "{finished:?}");
    }
}

#[test]
fn lines_that_were_refused_are_told_of_by_every_run_that_passes_them_over() {
    let daemon = Daemon::start();
    let good = "{\"body\":\"x\",\"originator\":\"a\",\"recipient\":\"b\"}\n";
    let path = file(&daemon, "lines.jsonl", &format!("{good}{{}}\n{good}"));
    let position = daemon.folder().join("position").display().to_string();
    let import = ["import", path.to_str().expect("text"), "--resume-file", position.as_str()];
    assert_eq!(run(&daemon, &import).code, Some(3));
    fs::write(&path, format!("{good}{{}}\n{good}{good}")).expect("the file grows");
    for imported in [1, 0] {
        let finished = run(&daemon, &import);
        assert_eq!(
            (finished.code, &summary(&finished)["imported"]),
            (Some(3), &json!(imported)),
            "{finished:?}"
        );
        assert!(finished.stderr.contains("lines were refused in an earlier run"), "{finished:?}");
        assert!(finished.stderr.contains("1 of the first "), "{finished:?}");
    }
    // As it says what to do.
    fs::write(&path, good.repeat(4)).expect("a file");
    fs::remove_file(&position).expect("it is ours");
    let finished = run(&daemon, &import);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    assert_eq!((&summary(&finished)["replayed"], messages(&daemon)), (&json!(3), 4));
}

#[test]
fn an_import_goes_on_at_the_daemon_that_it_began_with_or_not_at_all() {
    let (first, second) = (Daemon::start(), Daemon::start());
    let good = "{\"body\":\"x\",\"originator\":\"a\",\"recipient\":\"b\"}\n";
    let path = file(&first, "lines.jsonl", &format!("{good}{{}}\n{good}"));
    let position = first.folder().join("position");
    let mut command = msglog();
    command.arg("import").arg(&path).args(["--stop-on-error", "--resume-file"]).arg(&position);
    let mut import = |daemon: &Daemon| {
        let default = daemon.folder().join("msglogd.sock");
        let _ = std::os::unix::fs::symlink(daemon.socket(), &default);
        (finish(command.env("XDG_RUNTIME_DIR", daemon.folder().path())), default.display().to_string())
    };
    let (finished, socket) = import(&first);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains(&format!(" --socket {socket} import ")), "{finished:?}");
    fs::write(&path, good.repeat(3)).expect("a file");
    let (finished, other) = import(&second);
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains(&socket) && finished.stderr.contains(&other), "{finished:?}");
    assert_eq!((import(&first).0.code, messages(&first), messages(&second)), (Some(0), 3, 0));
    let words = ["import", path.to_str().expect("text"), "--resume-file", position.to_str().expect("text")];
    let finished = run(&second, &words);
    assert!(finished.code == Some(0) && finished.stderr.contains("going on at"), "{finished:?}");
}

#[test]
fn a_position_that_cannot_be_kept_is_told_also_where_the_import_ends_early() {
    let folder = TempDir::new();
    let inside = folder.join("inside");
    fs::create_dir(&inside).expect("a folder");
    let position = inside.join("position").display().to_string();
    let finished = import_three(&["--resume-file", &position], &folder, move |request| {
        if request["body"] == "1" {
            return Some(json!({"ok": true}));
        }
        fs::remove_dir_all(&inside).expect("it is ours");
        None
    });
    assert_eq!(finished.code, Some(4), "{finished:?}");
    for said in ["cannot keep the position in", "the daemon went away"] {
        assert!(finished.stderr.contains(said), "{finished:?}");
    }
}

#[test]
fn a_position_is_kept_beside_the_input_and_not_in_it_and_a_pipe_needs_a_name() {
    let daemon = Daemon::start();
    let good = "{\"body\":\"x\",\"originator\":\"a\",\"recipient\":\"b\"}\n";
    let input = file(&daemon, "position.new", good);
    let position = file(&daemon, "position", "").display().to_string();
    let import = |file: &str, resume: &str| run(&daemon, &["import", file, "--resume-file", resume]);
    let name = input.to_str().expect("text");
    assert_eq!(import(name, &position).code, Some(0));
    assert_eq!((fs::read_to_string(&input).expect("a file").as_str(), messages(&daemon)), (good, 1));
    let finished = import(name, name);
    assert!(finished.code == Some(2) && finished.stderr.contains("in the input itself"), "{finished:?}");
    let mut command = msglog_for(&daemon, &["import", "/dev/stdin", "--resume-file", "other"]);
    let finished = finish(command.stdin(Stdio::piped()));
    assert!(finished.code == Some(2) && finished.stderr.contains("needs --resume-name"), "{finished:?}");
}
