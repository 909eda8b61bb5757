//! `log.backup`: a data folder that a daemon starts on, with everything that was acknowledged before.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::{Client, Daemon, TempDir, Value, content, frames, json, segments};
use rustix::process::Signal;

/// All events of a daemon up to a seq.
fn events(client: &mut Client, until: u64) -> Vec<Value> {
    let mut events = Vec::new();
    let mut from = 1;
    loop {
        let page = client.ok(json!({"cmd": "log.read", "from": from, "limit": 10_000}));
        events.extend(page.list("events").into_iter().filter(|event| event["seq"].as_u64() <= Some(until)));
        match page["next"].as_u64().filter(|next| *next <= until) {
            Some(next) => from = next,
            None => return events,
        }
    }
}

/// Starts a daemon on a copy of this folder, and asks it.
fn on_backup(backup: &Path, ask: impl FnOnce(&mut Client)) {
    let daemon = Daemon::start_on(backup);
    ask(&mut daemon.connect());
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_backup_under_load_holds_everything_acknowledged_before_it_and_a_daemon_starts_on_it() {
    let daemon = Daemon::with(&["--segment-bytes", "1M"]);
    let place = TempDir::new();
    let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..3 {
            let (daemon, acknowledged, done) = (&daemon, &acknowledged, &done);
            scope.spawn(move || {
                let mut client = daemon.connect();
                let body = format!("word{number} {}", "lorem ipsum ".repeat(150));
                let post =
                    json!({"cmd": "message.post", "originator": number, "recipient": "r", "body": body});
                while !done.load(Ordering::Relaxed) {
                    for reply in client.pipeline(&vec![post.clone(); 40]) {
                        acknowledged.fetch_max(reply.seq(), Ordering::Relaxed);
                    }
                }
            });
        }
        // Also when this panics: the scope waits for its threads.
        let _finish = common::Finish(&done);
        let mut client = daemon.connect();
        let enough = || (acknowledged.load(Ordering::Relaxed) > 1000).then_some(());
        common::until("there is some history", enough);
        for number in 0..3 {
            let to = place.join(&format!("backup{number}"));
            let before = acknowledged.load(Ordering::Relaxed);
            let reply = client.ok(json!({"cmd": "log.backup", "to": to}));
            assert!(reply.seq() >= before && reply.number("segments") > 1, "{reply}");
            let expected = events(&mut client, reply.seq());
            assert_eq!(expected.len() as u64, reply.seq());
            on_backup(&to, |copy| {
                assert_eq!(copy.last_seq(), reply.seq());
                assert!(events(copy, reply.seq()) == expected, "the events differ");
                let found = json!({"cmd": "message.search", "text": "word1", "count": true, "limit": 1});
                let expected = expected.iter().filter(|event| event["originator"] == "1").count();
                assert_eq!(copy.ok(found)["total"], expected);
                copy.ok(json!({"cmd": "log.verify"}));
                copy.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
            });
        }
    });
    assert_eq!(names(place.path()), ["backup0", "backup1", "backup2"]);
}

#[test]
fn a_backup_is_private_and_shares_no_file_with_the_store() {
    let daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for number in 0..20 {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": "v".repeat(500)}));
    }
    let place = TempDir::new();
    let to = place.join("b");
    // An empty folder may be there.
    fs::create_dir(&to).expect("a folder");
    client.ok(json!({"cmd": "log.backup", "to": to}));
    assert_eq!(fs::metadata(&to).expect("it is there").mode() & 0o777, 0o700);
    let copies = segments(&to);
    assert_eq!(copies.len(), segments(&daemon.data()).len());
    for copy in copies {
        let found = fs::metadata(&copy).expect("a segment");
        assert_eq!((found.mode() & 0o777, found.nlink()), (0o600, 1), "{}", copy.display());
    }
}

#[test]
fn a_place_that_is_taken_or_not_allowed_is_refused_and_nothing_is_left() {
    let place = TempDir::new();
    let daemon = Daemon::with(&["--backup-dir", &place.path().display().to_string()]);
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    let (full, file, link, folder_link) =
        (place.join("full"), place.join("file"), place.join("link"), place.join("to"));
    fs::create_dir(&full).expect("a folder");
    fs::write(full.join("x"), "x").expect("a file");
    fs::write(&file, "x").expect("a file");
    symlink(place.join("nowhere"), &link).expect("a link");
    symlink(&full, &folder_link).expect("a link");
    let before = names(place.path());
    let outside = TempDir::new();
    for (to, code) in [
        (full.clone(), "conflict"),
        (file.clone(), "conflict"),
        (link, "conflict"),
        (folder_link.clone(), "conflict"),
        (place.path().to_owned(), "conflict"),
        (folder_link.join("b"), "bad_request"),
        (file.join("b"), "bad_request"),
        (place.join("no/b"), "not_found"),
        (outside.join("b"), "forbidden"),
        (place.join("../b"), "bad_request"),
        ("b".into(), "bad_request"),
        ("/".into(), "forbidden"),
    ] {
        let refusal = client.ask(json!({"cmd": "log.backup", "to": to}));
        assert_eq!(
            (refusal["error"].as_str(), refusal["field"].as_str()),
            (Some(code), Some("to")),
            "{refusal}"
        );
    }
    for to in [json!(""), json!(7), json!(null), json!("/a\u{0}b")] {
        client.refused_field(json!({"cmd": "log.backup", "to": to}), "to");
    }
    client.refused_field(json!({"cmd": "log.backup"}), "to");
    assert_eq!((names(place.path()), names(&full)), (before, vec!["x".to_owned()]));
    let inside = Daemon::start();
    let refused = |to: &Path| {
        let refusal = inside.connect().ask(json!({"cmd": "log.backup", "to": to}));
        assert_eq!(refusal["error"], "bad_request", "{refusal}");
    };
    refused(&inside.data().join("b"));
    for name in ["log", "index"] {
        let elsewhere = outside.join(name);
        fs::rename(inside.data().join(name), &elsewhere).expect("a folder");
        symlink(&elsewhere, inside.data().join(name)).expect("a link");
        refused(&elsewhere.join("b"));
    }
    client.ok(json!({"cmd": "log.backup", "to": place.join("good")}));
}

#[test]
fn a_damaged_log_is_not_backed_up_and_the_damage_is_named() {
    let daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for number in 0..20 {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": "v".repeat(500)}));
    }
    let oldest = segments(&daemon.data()).remove(0);
    let mut bytes = fs::read(&oldest).expect("a segment");
    let frame = frames(&content(&oldest)).remove(1);
    bytes[frame.end - 10] ^= 1;
    fs::write(&oldest, bytes).expect("it can be written");
    let place = TempDir::new();
    let refusal = client.ask(json!({"cmd": "log.backup", "to": place.join("b")}));
    assert_eq!(refusal["error"], "corrupt", "{refusal}");
    assert_eq!(refusal["file"], oldest.display().to_string());
    assert_eq!(refusal.number("offset"), frame.last_record());
    assert!(names(place.path()).is_empty());
}

#[test]
fn a_backup_beside_a_damaged_index_has_none_and_a_daemon_makes_it_anew() {
    let daemon = Daemon::with(&["--segment-bytes", "16K"]);
    let mut client = daemon.connect();
    let body = "word ".repeat(40);
    for _ in 0..200 {
        client.ok(json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": body}));
    }
    client.ok(json!({"cmd": "log.compact"}));
    let index = daemon.data().join("index");
    let run = names(&index).into_iter().find(|name| name.ends_with(".run")).expect("a run file");
    let mut bytes = fs::read(index.join(&run)).expect("a file");
    bytes[20] ^= 1;
    fs::write(index.join(&run), bytes).expect("a file");
    let place = TempDir::new();
    let to = place.join("backup");
    let reply = client.ok(json!({"cmd": "log.backup", "to": to}));
    assert!(names(&to.join("index")).iter().all(|name| !name.ends_with(".run")), "{reply}");
    assert!(daemon.stderr().contains("the backup has none"), "{}", daemon.stderr());
    let checked = common::finish(common::msglogd().args(["check", "--data"]).arg(&to));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    on_backup(&to, |copy| {
        let found = copy.ok(json!({"cmd": "message.search", "text": "word", "count": true, "limit": 1}));
        assert_eq!(found.number("total"), 200);
    });
}

#[test]
fn a_backup_that_a_stop_ends_leaves_nothing() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let value = "v".repeat(1 << 19);
    for number in 0..40 {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": value, "durable": false}));
    }
    let place = TempDir::new();
    client.send(json!({"cmd": "log.backup", "to": place.join("b")}));
    common::until("the backup has begun", || (!names(place.path()).is_empty()).then_some(()));
    daemon.signal(Signal::TERM);
    let reply = client.read();
    assert_eq!(daemon.wait(), Some(0));
    match reply["error"].as_str() {
        Some(code) => {
            assert_eq!(code, "shutting_down", "{reply}");
            assert!(names(place.path()).is_empty(), "{:?}", names(place.path()));
        }
        None => assert_eq!(names(place.path()), ["b"]),
    }
}

#[test]
fn a_backup_may_have_the_longest_name_that_there_is_and_no_longer_one() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    let place = TempDir::new();
    let longest = place.join(&"n".repeat(255));
    client.ok(json!({"cmd": "log.backup", "to": longest.display().to_string()}));
    on_backup(&longest, |client| assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "k"}))["value"], 1));
    let longer = place.join(&"n".repeat(256));
    for to in [longer.join("inside"), longer] {
        client.refused_field(json!({"cmd": "log.backup", "to": to.display().to_string()}), "to");
    }
    assert_eq!(names(place.path()).len(), 1);
}
