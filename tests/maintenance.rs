//! Long work on the whole store while the daemon serves: `log.verify`.

mod common;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use common::{Daemon, content, file_name, frames, json, newest_segment, segments};

/// Sets so many keys, in small segments.
fn filled(options: &[&str], keys: u64) -> Daemon {
    let daemon = Daemon::with(options);
    let mut client = daemon.connect();
    for number in 0..keys {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": "v".repeat(500)}));
    }
    daemon
}

/// Turns one bit of a file over.
fn flip(path: &Path, offset: usize) {
    let mut file = File::options().read(true).write(true).open(path).expect("a file");
    let mut byte = [0];
    file.seek(SeekFrom::Start(offset as u64)).expect("a place");
    file.read_exact(&mut byte).expect("a byte");
    byte[0] ^= 1;
    file.seek(SeekFrom::Start(offset as u64)).expect("a place");
    file.write_all(&byte).expect("it can be written");
}

#[test]
fn a_verification_counts_what_is_there() {
    let daemon = filled(&["--segment-bytes", "4K"], 30);
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "batch", "commands": [
        {"cmd": "kv.set", "key": "a", "value": 1}, {"cmd": "kv.set", "key": "b", "value": 2}]}));
    let reply = client.ok(json!({"cmd": "log.verify", "id": 7}));
    let files = segments(&daemon.data());
    let bytes: usize = files.iter().map(|path| content(path).len()).sum();
    assert!(files.len() > 3, "{files:?}");
    assert_eq!(
        *reply.json(),
        json!({"ok": true, "id": 7, "seq": 32, "segments": files.len(), "frames": 31, "events": 32,
            "runs": 0, "bytes": bytes})
    );
}

#[test]
fn a_verification_names_file_and_place_of_a_damage_and_the_daemon_goes_on() {
    let daemon = filled(&["--segment-bytes", "4K"], 30);
    let mut client = daemon.connect();
    let oldest = segments(&daemon.data()).remove(0);
    let frame = frames(&content(&oldest)).remove(1);
    flip(&oldest, frame.end - 10);
    let refusal = client.ask(json!({"cmd": "log.verify"}));
    assert_eq!(refusal["error"], "corrupt", "{refusal}");
    assert!(refusal.string("file").ends_with(&file_name(&oldest)), "{refusal}");
    assert_eq!(refusal.number("offset"), frame.last_record(), "{refusal}");
    client.ok(json!({"cmd": "kv.set", "key": "later", "value": 1}));
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "later"}))["value"], 1);
    flip(&oldest, frame.end - 10);
    client.ok(json!({"cmd": "log.verify"}));
}

#[test]
fn a_verification_finds_damage_in_the_tables_of_the_index_and_in_the_lists_of_files() {
    let daemon = Daemon::with(&["--segment-bytes", "64K"]);
    let mut client = daemon.connect();
    let set = |number| json!({"cmd": "kv.set", "key": format!("k{number}"), "value": "v".repeat(900)});
    let sets: Vec<_> = (0..3000).map(|number| set(number % 2000)).collect();
    client.pipeline(&sets);
    client.ok(json!({"cmd": "log.compact"}));
    client.ok(json!({"cmd": "log.verify"}));
    let data = daemon.data();
    let index = std::fs::read_dir(data.join("index")).expect("a folder");
    let mut files = index.map(|entry| entry.expect("an entry").path());
    let run = files.find(|path| path.extension().is_some_and(|end| end == "run"));
    let run = run.expect("a file of the index");
    let places = [10, 100, 1000].map(|behind| (run.clone(), content(&run).len() - behind));
    let lists = ["index/manifest", "index/recent", "log/compacted"].map(|list| (data.join(list), 3));
    for (path, offset) in places.into_iter().chain(lists) {
        flip(&path, offset);
        let refusal = client.ask(json!({"cmd": "log.verify"}));
        assert_eq!(refusal["error"], "corrupt", "{refusal}");
        assert!(refusal.string("file").ends_with(&file_name(&path)), "{}: {refusal}", path.display());
        flip(&path, offset);
        client.ok(json!({"cmd": "log.verify"}));
    }
}

#[test]
fn a_verification_finds_damage_in_what_was_acknowledged_last() {
    let daemon = filled(&[], 5);
    let segment = newest_segment(&daemon.data());
    let last = frames(&content(&segment)).pop().expect("a frame");
    flip(&segment, last.end - 10);
    let refusal = daemon.connect().ask(json!({"cmd": "log.verify"}));
    assert_eq!(refusal["error"], "corrupt", "{refusal}");
    assert_eq!(refusal.number("offset"), last.last_record(), "{refusal}");
}

#[test]
fn a_verification_names_a_segment_that_was_removed_beneath_the_daemon() {
    let daemon = filled(&["--segment-bytes", "4K"], 30);
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "log.verify"}));
    for gone in segments(&daemon.data()).drain(1..3) {
        let away = daemon.data().join("away");
        std::fs::rename(&gone, &away).expect("a file");
        let refusal = client.refused(json!({"cmd": "log.verify"}), "read_only");
        let said = refusal.string("message");
        assert!(
            said.starts_with(&gone.display().to_string()) && said.contains("msglog log backup"),
            "{refusal}"
        );
        std::fs::rename(&away, &gone).expect("a file");
    }
    client.ok(json!({"cmd": "log.verify"}));
}

#[test]
fn requests_behind_a_verification_are_answered_behind_it() {
    let daemon = filled(&[], 5);
    let mut client = daemon.connect();
    let replies = client.pipeline(&[
        json!({"cmd": "kv.set", "key": "new", "value": 1}),
        json!({"cmd": "log.verify"}),
        json!({"cmd": "kv.get", "key": "new"}),
        json!({"cmd": "log.verify"}),
        json!({"cmd": "ping"}),
    ]);
    assert!(replies.iter().all(|reply| reply["ok"] == true));
    assert_eq!((replies[1].seq(), &replies[2]["value"], replies[4].seq()), (6, &json!(1), 6));
}

#[test]
fn many_who_ask_at_once_wait_their_turn_or_are_told_that_it_is_busy() {
    let daemon = filled(&[], 50);
    let mut clients: Vec<_> = (0..40).map(|_| daemon.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(json!({"cmd": "log.verify"})));
    for client in &mut clients {
        let reply = client.read();
        assert!(reply["ok"] == true || reply["error"] == "busy", "{reply}");
        client.ok(json!({"cmd": "ping"}));
    }
}
