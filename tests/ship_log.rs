//! The log shipper among the examples: each line once, whatever becomes of the file.

mod client_support;
mod common;
mod examples_support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use client_support::Running;
use common::{Daemon, TempDir, finish, json};
use examples_support::{command, printed, python, run};

/// What the log shipper has posted, oldest first.
fn shipped(daemon: &Daemon) -> Vec<String> {
    let search = json!({"cmd": "message.search", "recipient": "logs", "order": "oldest", "limit": 10_000});
    let found = daemon.connect().ok(search);
    let found = found.json()["messages"].as_array().expect("a list").clone();
    found.iter().filter_map(|message| message["body"].as_str().map(str::to_owned)).collect()
}

/// Makes a file look as if it was changed last so many seconds after 1970 began.
fn changed_at(path: &Path, seconds: u64) {
    let file = File::options().append(true).open(path).expect("it is there");
    file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).expect("it is ours");
}

#[test]
fn the_log_shipper_posts_each_line_once_over_restarts() {
    let mut daemon = Daemon::start();
    let file = daemon.folder().join("app.log");
    let name = file.display().to_string();
    fs::write(&file, "one\ntwo\nhalf").expect("a file");
    let Some(text) = printed(&daemon, "python3", "ship-log.py", &[&name, "--once"]) else { return };
    assert_eq!(text, "shipped 2\n");
    daemon.restart();
    let many: String = (0..1200).map(|line| format!(" of {line}\n")).collect();
    fs::write(&file, format!("one\ntwo\nhalf{many}")).expect("the file grows");
    let text = printed(&daemon, "python3", "ship-log.py", &[&name, "--once"]).expect("python3 is there");
    assert_eq!(text, "shipped 500\nshipped 500\nshipped 200\n");
    assert_eq!(printed(&daemon, "python3", "ship-log.py", &[&name, "--once"]).expect("python3 is there"), "");
    let search =
        json!({"cmd": "message.search", "recipient": "logs", "order": "oldest", "limit": 3, "count": true});
    let found = daemon.connect().ok(search);
    assert_eq!((found["total"].as_u64(), &found["messages"][2]["body"]), (Some(1202), &json!("half of 0")));
}

#[test]
fn the_log_shipper_bounds_its_batches_and_cuts_what_no_request_holds() {
    let daemon = Daemon::start();
    let file = daemon.folder().join("app.log");
    let name = file.display().to_string();
    let (long, odd) = ("\u{436}".repeat(500), "\u{1}".repeat(400_000));
    fs::write(&file, format!("{}{}\n{odd}\nlast\n", format!("{long}\n").repeat(600), "x".repeat(2_000_000)))
        .expect("a file");
    let Some(finished) = run(&daemon, "python3", "ship-log.py", &[&name, "--once"]) else { return };
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for (length, bytes_each) in [(2_000_000, 1), (400_000, 6)] {
        let said = format!("a line of {length} bytes was cut to ");
        let kept = finished.stderr.split_once(&said).and_then(|(_, rest)| rest.split_once(' '));
        let kept: usize = kept.expect("it is told").0.parse().expect("a number");
        // Half of the longest request, less what is around it.
        assert!((520_000..=524_288).contains(&(kept * bytes_each)), "{finished:?}");
    }
    let search = |text: &str| json!({"cmd": "message.search", "text": text, "count": true, "limit": 1});
    let mut client = daemon.connect();
    let found = client.ok(json!({"cmd": "message.search", "recipient": "logs", "count": true, "limit": 1}));
    assert_eq!((&found["total"], &found["messages"][0]["body"]), (&json!(603), &json!("last")));
    assert_eq!(client.ok(search(&long))["total"], 600);
}

#[test]
fn the_log_shipper_reads_a_file_that_was_cut_off_from_its_start() {
    let daemon = Daemon::start();
    let file = daemon.folder().join("app.log");
    fs::write(&file, "one\ntwo\n").expect("a file");
    let Some(mut command) = command("python3", "ship-log.py") else { return };
    let mut shipper = Running::spawn(command.arg(&file).env("MSGLOG_SOCKET", daemon.socket()));
    assert_eq!(shipper.line(), "shipped 2");
    fs::write(&file, "new\n").expect("a file");
    assert_eq!(shipper.line(), "shipped 1");
    drop(shipper);
    fs::write(&file, "x\n").expect("a file");
    let name = file.display().to_string();
    let finished = run(&daemon, "python3", "ship-log.py", &[&name, "--once"]).expect("python3 is there");
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "shipped 1\n"), "{finished:?}");
    assert!(finished.stderr.contains("cut off"), "{finished:?}");
}

#[test]
fn the_log_shipper_finishes_a_file_that_was_rotated_and_goes_on_with_the_new_one() {
    let daemon = Daemon::start();
    let path = |name: &str| daemon.folder().join(name);
    let (file, name) = (path("app.log"), path("app.log").display().to_string());
    fs::write(&file, "one\n").expect("a file");
    let Some(mut command) = command("python3", "ship-log.py") else { return };
    let mut shipper = Running::spawn(command.arg(&file).env("MSGLOG_SOCKET", daemon.socket()));
    assert_eq!(shipper.line(), "shipped 1");
    // Its writer has not been told yet, and writes to the old one, whose last line it does not end.
    fs::rename(&file, path("app.log.1")).expect("it is there");
    fs::write(&file, "").expect("a new file");
    let mut writer = File::options().append(true).open(path("app.log.1")).expect("it is there");
    writer.write_all(b"two\n").expect("room");
    assert_eq!(shipper.line(), "shipped 1");
    writer.write_all(b"three").expect("room");
    fs::write(&file, "four\n").expect("it is there");
    assert_eq!([shipper.line(), shipper.line()], ["shipped 1", "shipped 1"]);
    drop(shipper);

    // The same between two runs, twice.
    fs::write(&file, "four\nfive\n").expect("it is there");
    fs::rename(path("app.log.1"), path("app.log.3")).expect("it is there");
    fs::rename(&file, path("app.log.2")).expect("it is there");
    fs::write(path("app.log.1"), "six\n").expect("a file");
    fs::write(&file, "seven\n").expect("a file");
    fs::write(path("app.log.9.gz"), "no text\n").expect("a file");
    for (name, seconds) in [("app.log.3", 1), ("app.log.2", 2), ("app.log.1", 3)] {
        changed_at(&path(name), seconds);
    }
    let run = || printed(&daemon, "python3", "ship-log.py", &[&name, "--once"]).expect("python3 is there");
    assert_eq!(run(), "shipped 1\nshipped 1\nshipped 1\n");
    assert_eq!(run(), "");
    assert_eq!(shipped(&daemon), ["one", "two", "three", "four", "five", "six", "seven"]);

    // One that is gone has nothing more to give, and that is said.
    let held = File::open(&file).expect("it is there, and so is its inode as long as this is open");
    fs::remove_file(&file).expect("it is there");
    fs::write(&file, "eight\n").expect("a file");
    let finished =
        self::run(&daemon, "python3", "ship-log.py", &[&name, "--once"]).expect("python3 is there");
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "shipped 1\n"), "{finished:?}");
    assert!(finished.stderr.contains("the file before is gone or was cut off"), "{finished:?}");
    drop(held);
}

#[test]
fn the_log_shipper_passes_over_nothing_that_was_rotated_while_it_was_away() {
    let daemon = Daemon::start();
    let path = |name: &str| daemon.folder().join(name);
    let (file, name) = (path("app.log"), path("app.log").display().to_string());
    let run = || run(&daemon, "python3", "ship-log.py", &[&name, "--once"]);
    fs::write(&file, "one\n").expect("a file");
    let Some(first) = run() else { return };
    assert_eq!(first.stdout, "shipped 1\n");
    // An empty one holds nothing up.
    fs::rename(&file, path("app.log.5")).expect("it is there");
    fs::write(path("app.log.4"), "").expect("a file");
    fs::write(path("app.log.3"), "two\n").expect("a file");
    fs::write(&file, "three\n").expect("a file");
    for (name, at) in [("app.log.5", 10), ("app.log.4", 11), ("app.log.3", 12)] {
        changed_at(&path(name), at);
    }
    assert_eq!(run().expect("python3 is there").stdout, "shipped 1\nshipped 1\n");
    // What it read was rotated and compressed, and the newest file got its inode; what came between was only
    // rotated.
    fs::write(path("app.log.1"), "four\n").expect("a file");
    fs::write(&file, "five is longer\n").expect("a file");
    let last = run().expect("python3 is there");
    assert_eq!(last.stdout, "shipped 1\nshipped 1\n");
    assert!(last.stderr.contains("the file before is gone or was cut off"), "{last:?}");
    // The file was copied and cut off: the copy has what came behind the position.
    fs::write(path("app.log.6"), "five is longer\nsix\n").expect("a file");
    fs::write(&file, "seven is longer than all before\n").expect("a file");
    assert_eq!(run().expect("python3 is there").stdout, "shipped 1\nshipped 1\n");
    let all = ["one", "two", "three", "four", "five is longer", "six", "seven is longer than all before"];
    assert_eq!(shipped(&daemon), all);
}

#[test]
fn the_log_shipper_posts_nothing_again_when_the_file_is_cut_off_between_two_batches() {
    let daemon = Daemon::start();
    let file = daemon.folder().join("app.log");
    // All of it is read ahead with the first batch.
    fs::write(&file, "old\n".repeat(600)).expect("a file");
    let script = r#"
import importlib, sys
from client import Msglog
shipper = importlib.import_module("ship-log")
cut = []
class Cutting(Msglog):
    def ask(self, cmd, **arguments):
        reply = super().ask(cmd, **arguments)
        if cmd == "batch" and not cut:
            cut.append(open(sys.argv[1], "w").write("new\n"))
        return reply
shipper.Msglog = Cutting
shipper.main(sys.argv[1], True)
"#;
    let Some(mut command) = python(&daemon, script) else { return };
    let finished = finish(command.arg(&file));
    assert_eq!(
        (finished.code, finished.stdout.as_str()),
        (Some(0), "shipped 500\nshipped 1\n"),
        "{finished:?}"
    );

    // The start is known as the position by the next run too, when the file is longer again.
    let name = file.display().to_string();
    for (text, shipped) in [("", ""), ("this is more than before\n", "shipped 1\n")] {
        fs::write(&file, text).expect("a file");
        let finished = run(&daemon, "python3", "ship-log.py", &[&name, "--once"]).expect("python3 is there");
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), shipped), "{finished:?}");
    }
}

#[test]
fn the_log_shipper_begins_at_the_start_only_where_no_position_is_known() {
    let Some(mut command) = command("python3", "ship-log.py") else { return };
    let folder = TempDir::new();
    fs::write(folder.join("app.log"), "one\n").expect("a file");
    client_support::scripted(&folder.join("s"), |request| {
        Some(match request["cmd"].as_str() {
            Some("info") => json!({"ok": true, "limits": {"line_bytes": 1000}}),
            Some("kv.get") => json!({"ok": false, "error": "corrupt", "message": "no"}),
            _ => json!({"ok": true}),
        })
    });
    command.arg(folder.join("app.log")).arg("--once").env("MSGLOG_SOCKET", folder.join("s"));
    let finished = finish(&mut command);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{finished:?}");
    assert!(finished.stderr.contains("corrupt: no"), "{finished:?}");
}
