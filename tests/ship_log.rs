//! The log shipper among the examples: each line once, whatever becomes of the file.

mod client_support;
mod common;
mod examples_support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use client_support::Running;
use common::{Daemon, Finished, TempDir, finish, json};
use examples_support::{command, printed, python, run};

/// What the log shipper has posted, oldest first.
fn shipped(daemon: &Daemon) -> Vec<String> {
    let search = json!({"cmd": "message.search", "recipient": "logs", "order": "oldest", "limit": 10_000});
    let found = daemon.connect().ok(search);
    let found = found.json()["messages"].as_array().expect("a list").clone();
    found.iter().filter_map(|message| message["body"].as_str().map(str::to_owned)).collect()
}

/// So many seconds after 1970 began nothing here has been written yet.
const FAR: u64 = 1 << 33;

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

/// Runs the shipper over a file, and at a moment of it this Python: behind the first request of that name, before the
/// line of that name is taken, or where it first rests, and then it ends where it rests again. Else it ends with the
/// file.
const MEANWHILE: &str = r#"
import importlib, os, shutil, sys
from client import Msglog
shipper = importlib.import_module("ship-log")
name, moment, then = sys.argv[1:]
passed = []
def meanwhile(now):
    if now == moment and not passed:
        passed.append(now)
        exec(then)
        return True
class Watched(Msglog):
    def ask(self, cmd, **arguments):
        reply = super().ask(cmd, **arguments)
        meanwhile(cmd)
        return reply
def watched(line, room, post_of=shipper.post_of):
    meanwhile(line.decode())
    return post_of(line, room)
shipper.Msglog, shipper.post_of = Watched, watched
shipper.time.sleep = lambda _: meanwhile("sleep") or sys.exit()
def write(path, text):
    with open(path, "a") as file:
        file.write(text)
def cut(text):
    shutil.copyfile(name, name + ".1")
    os.truncate(name, 0)
    write(name, text)
shipper.main(name, moment != "sleep")
"#;

/// What the shipper says on standard error of a file in which something happens meanwhile.
fn meanwhile(daemon: &Daemon, moment: &str, then: &str) -> Option<String> {
    let mut command = python(daemon, MEANWHILE)?;
    let finished = finish(command.arg(daemon.folder().join("app.log")).args([moment, then]));
    assert_eq!(finished.code, Some(0), "{moment}: {then}: {finished:?}");
    Some(finished.stderr)
}

/// The lines of these numbers.
fn numbered(lines: std::ops::Range<usize>) -> Vec<String> {
    lines.map(|line| format!("line {line}")).collect()
}

#[test]
fn the_log_shipper_reads_on_in_the_copy_of_a_file_that_is_cut_off_while_it_reads() {
    // It is found longer than it was, and shorter; between two batches and in the middle of one.
    for (moment, lines) in [("batch", 600..2000), ("batch", 600..601), ("line 550", 600..2000)] {
        let daemon = Daemon::start();
        fs::write(daemon.folder().join("app.log"), numbered(0..600).join("\n") + "\n").expect("a file");
        let then = format!("cut('{}\\n')", numbered(lines.clone()).join("\\n"));
        let Some(said) = meanwhile(&daemon, moment, &then) else { return };
        let posts = shipped(&daemon);
        assert_eq!((posts.len(), said.as_str()), (lines.end, ""), "{moment}: {lines:?}");
        assert!(posts == numbered(0..lines.end), "{moment}: {lines:?}: {posts:?}");
    }
}

#[test]
fn the_log_shipper_goes_on_behind_a_file_that_is_removed_and_posts_none_before_it_again() {
    let newer = "write(name + '.1', 'three\\n'); write(name, 'four\\n')";
    for (then, expected) in [("", vec!["two"]), (newer, vec!["two", "three", "four"])] {
        let daemon = Daemon::start();
        let file = daemon.folder().join("app.log");
        let older = daemon.folder().join("app.log.2");
        fs::write(&older, "one\n").expect("a file");
        changed_at(&older, 1);
        fs::write(&file, "two\n").expect("a file");
        let then = format!("os.remove(name); {then}");
        let Some(said) = meanwhile(&daemon, "batch", &then) else { return };
        assert_eq!(
            (shipped(&daemon), said.as_str()),
            (expected.into_iter().map(str::to_owned).collect(), "")
        );
    }
}

#[test]
fn the_log_shipper_waits_for_the_file_after_one_that_is_gone() {
    let daemon = Daemon::start();
    let file = daemon.folder().join("app.log");
    let name = file.display().to_string();
    let once = || run(&daemon, "python3", "ship-log.py", &[&name, "--once"]);
    let there_is_none = |finished: &Finished| {
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{finished:?}");
        assert_eq!(finished.stderr, format!("ship-log: there is no {name}\n"));
    };
    let Some(finished) = once() else { return };
    there_is_none(&finished);
    // Without a position a name that nothing has is a mistake.
    there_is_none(&run(&daemon, "python3", "ship-log.py", &[&name]).expect("python3 is there"));
    fs::write(&file, "one\n").expect("a file");
    assert_eq!(once().expect("python3 is there").stdout, "shipped 1\n");
    let older = daemon.folder().join("app.log.1");
    fs::write(&older, "old\n").expect("a file");
    changed_at(&older, 1);
    fs::remove_file(&file).expect("it is there");
    there_is_none(&once().expect("python3 is there"));
    meanwhile(&daemon, "sleep", "write(name, 'two\\n')");
    assert_eq!(shipped(&daemon), ["one", "two"]);
}

#[test]
fn the_log_shipper_knows_an_empty_file_over_rotations() {
    let daemon = Daemon::start();
    let path = |name: &str| daemon.folder().join(name);
    let (file, name) = (path("app.log"), path("app.log").display().to_string());
    for (name, text) in [("app.log.1", "old\n"), ("app.log", "")] {
        fs::write(path(name), text).expect("a file");
        changed_at(&path(name), 1);
    }
    let run = || printed(&daemon, "python3", "ship-log.py", &[&name, "--once"]);
    let Some(text) = run() else { return };
    assert_eq!(text, "");
    let seq = daemon.connect().last_seq();
    assert_eq!(run().expect("python3 is there"), "");
    assert_eq!(daemon.connect().last_seq(), seq, "nothing new is stored");
    // What comes in it is cut off, and what comes then is renamed.
    fs::copy(path("app.log.1"), path("app.log.3")).expect("it is there");
    changed_at(&path("app.log.3"), 1);
    fs::write(path("app.log.2"), "one\n").expect("a file");
    fs::write(&file, "two\n").expect("it is there");
    fs::rename(&file, path("app.log.1")).expect("it is there");
    fs::write(&file, "three\n").expect("a file");
    for (name, seconds) in [("app.log.2", 1), ("app.log.1", 2)] {
        changed_at(&path(name), FAR + seconds);
    }
    assert_eq!(run().expect("python3 is there"), "shipped 1\nshipped 1\nshipped 1\n");
    assert_eq!(shipped(&daemon), ["one", "two", "three"]);
}

#[test]
fn the_log_shipper_opens_no_other_file_for_one_that_is_renamed_while_it_looks() {
    let daemon = Daemon::start();
    let script = r#"
import importlib, os
shipper = importlib.import_module("ship-log")
inode = os.stat(shipper.__file__).st_ino
for path in ["client.py", "nothing"]:
    shipper.files = lambda name: {inode: os.path.join(os.path.dirname(shipper.__file__), path)}
    assert shipper.opened("app.log", inode) is None, path
"#;
    let Some(mut command) = python(&daemon, script) else { return };
    let finished = finish(&mut command);
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
}
