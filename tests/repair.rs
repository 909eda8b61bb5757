//! `msglogd repair`: a folder that a start refuses becomes one that a daemon starts on, and what is lost
//! is said.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Client, Daemon, Finished, Value, content, file_name, finish, frames, json, msglogd, segments};

/// Turns one bit of a file over.
fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[offset] ^= 1;
    fs::write(path, bytes).expect("it can be written");
}

fn repair(daemon: &Daemon, more: &[&str]) -> Finished {
    finish(msglogd().arg("repair").arg("--data").arg(daemon.data()).args(more))
}

/// All files of a folder with what they hold.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .flat_map(|path| match path.is_dir() {
            true => everything(&path),
            false => vec![(path.clone(), fs::read(&path).expect("a file"))],
        })
        .collect();
    files.sort();
    files
}

/// Refused by a start and named by it; only said by a repair without `--yes`; repaired by one with it.
/// What it says then.
#[track_caller]
fn repaired(daemon: &mut Daemon) -> String {
    let refused = daemon.fails_to_start();
    assert_eq!(refused.code, Some(65), "{refused:?}");
    assert!(refused.stderr.contains("msglogd repair --data"), "{}", refused.stderr);
    let before = everything(&daemon.data());
    let dry = repair(daemon, &[]);
    assert_eq!(dry.code, Some(65), "{dry:?}");
    assert!(dry.stderr.contains("--yes"), "{dry:?}");
    assert!(everything(&daemon.data()) == before, "a look changed something");
    let done = repair(daemon, &["--yes"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let again = repair(daemon, &["--yes"]);
    assert!(again.code == Some(0) && again.stdout.contains("nothing to repair"), "{again:?}");
    let checked = finish(msglogd().arg("check").arg("--data").arg(daemon.data()));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    daemon.launch();
    done.stdout
}

/// Every event by its seq: there is no gap.
#[track_caller]
fn events(client: &mut Client) -> Vec<Value> {
    let events = client.ok(json!({"cmd": "log.read", "limit": 10_000})).list("events");
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], number as u64 + 1, "{event}");
    }
    events
}

/// The seqs that are said to be lost.
fn lost(client: &mut Client) -> Vec<u64> {
    let events = client.ok(json!({"cmd": "log.read", "limit": 10_000, "types": ["event.lost"]}));
    events.list("events").iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

fn filled(options: &[&str], keys: u64) -> Daemon {
    let daemon = Daemon::with(options);
    let mut client = daemon.connect();
    for number in 1..=keys {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": "v".repeat(500)}));
    }
    daemon
}

#[test]
fn a_damaged_record_is_set_aside_and_all_others_are_kept() {
    let mut daemon = filled(&["--segment-bytes", "4K"], 40);
    let all = events(&mut daemon.connect());
    daemon.stop();
    let segment = segments(&daemon.data()).remove(2);
    let frame = frames(&content(&segment)).remove(1);
    let seq = frame.header["first"].as_u64().expect("a seq");
    flip(&segment, frame.end - 10);
    fs::remove_dir_all(daemon.data().join("index")).expect("an index");
    let damaged = content(&segment)[frame.start..frame.end].to_vec();
    let said = repaired(&mut daemon);
    assert!(said.contains(&format!("event {seq} is lost")), "{said}");
    let aside = format!("{}.{}.damaged", file_name(&segment), frame.start);
    assert!(said.contains(&aside), "{said}");
    assert_eq!(fs::read(daemon.data().join("log").join(aside)).expect("it was set aside"), damaged);
    let mut client = daemon.connect();
    assert_eq!(lost(&mut client), [seq]);
    for (before, now) in all.iter().zip(events(&mut client)) {
        assert!(*before == now || now["seq"] == seq, "{now}");
    }
    client.refused(json!({"cmd": "kv.get", "key": format!("k{seq}")}), "not_found");
    assert_eq!(client.ok(json!({"cmd": "stats"}))["stored"]["keys"], 39);
    client.ok(json!({"cmd": "log.verify"}));
    assert_eq!(client.ok(json!({"cmd": "kv.set", "key": "next", "value": 1})).seq(), 41);
    daemon.restart();
    assert_eq!(lost(&mut daemon.connect()), [seq]);
}

#[test]
fn a_segment_that_is_missing_is_lost_as_a_whole() {
    for number in [0, 2] {
        let mut daemon = filled(&["--segment-bytes", "4K"], 40);
        daemon.stop();
        let files = segments(&daemon.data());
        let gone: Vec<u64> = frames(&content(&files[number]))
            .iter()
            .flat_map(|frame| common::number(&frame.header, "first")..=common::number(&frame.header, "last"))
            .collect();
        fs::remove_file(&files[number]).expect("a segment");
        fs::remove_dir_all(daemon.data().join("index")).expect("an index");
        let said = repaired(&mut daemon);
        let shown = format!("events {} to {} are lost", gone[0], gone[gone.len() - 1]);
        assert!(said.contains(&shown), "{said}");
        let mut client = daemon.connect();
        assert_eq!(lost(&mut client), gone);
        assert_eq!(events(&mut client).len(), 40);
    }
}

#[test]
fn no_seq_is_given_again_when_the_end_of_the_log_is_damaged() {
    let mut daemon = filled(&[], 10);
    daemon.stop();
    let segment = segments(&daemon.data()).remove(0);
    let last = frames(&content(&segment)).pop().expect("a frame");
    flip(&segment, last.end - 10);
    let said = repaired(&mut daemon);
    assert!(said.contains("event 10 is lost"), "{said}");
    let mut client = daemon.connect();
    assert_eq!(client.ok(json!({"cmd": "kv.set", "key": "next", "value": 1})).seq(), 11);
}

#[test]
fn what_is_whole_is_left_alone_and_a_folder_in_use_is_not_touched() {
    let mut daemon = filled(&[], 3);
    let busy = repair(&daemon, &["--yes"]);
    assert_eq!(busy.code, Some(75), "{busy:?}");
    daemon.stop();
    let before = everything(&daemon.data());
    let done = repair(&daemon, &["--yes"]);
    assert!(done.code == Some(0) && done.stdout.contains("nothing to repair"), "{done:?}");
    let log = |files: Vec<(PathBuf, Vec<u8>)>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| path.starts_with(daemon.data().join("log"))).collect()
    };
    assert!(log(everything(&daemon.data())) == log(before), "it was changed");
    let wrong = finish(msglogd().args(["check", "--yes"]).arg("--data").arg(daemon.data()));
    assert_eq!(wrong.code, Some(64), "{wrong:?}");
}

#[test]
fn damage_in_what_a_compaction_wrote_is_named_and_left_alone() {
    let mut daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for number in 1..=60 {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{}", number % 40), "value": "v".repeat(500)}));
    }
    client.ok(json!({"cmd": "log.compact"}));
    daemon.stop();
    let compacted = |path: &PathBuf| file_name(path).contains('-');
    let segment = segments(&daemon.data()).into_iter().find(compacted).expect("a compacted segment");
    let frame = frames(&content(&segment)).remove(0);
    flip(&segment, frame.end - 10);
    let before = everything(&daemon.data());
    let refused = repair(&daemon, &["--yes"]);
    assert_eq!(refused.code, Some(65), "{refused:?}");
    let said = &refused.stderr;
    assert!(
        said.contains("compacted") && said.contains("backup") && said.contains(&file_name(&segment)),
        "{said}"
    );
    assert!(everything(&daemon.data()) == before, "it was changed");
}

/// Jobs, chats and messages with many states, in small frames.
fn busy_store() -> Daemon {
    let daemon = Daemon::with(&["--segment-bytes", "8K"]);
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    for chat in 1..=2 {
        client.ok(json!({"cmd": "chat.create", "app": app}));
        for _ in 0..3 {
            client.ok(json!({"cmd": "message.post", "app": app, "chat": chat, "body": "hello chat"}));
        }
    }
    client.ok(json!({"cmd": "message.edit", "app": app, "chat": 1, "number": 1, "body": "edited chat"}));
    client.ok(json!({"cmd": "message.delete", "app": app, "chat": 1, "number": 2}));
    client.ok(json!({"cmd": "chat.delete", "app": app, "chat": 2}));
    let post =
        client.ok(json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": "hello you"}));
    client.ok(json!({"cmd": "message.edit", "seq": post.seq(), "body": "hello again"}));
    let gone =
        client.ok(json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": "hello gone"}));
    client.ok(json!({"cmd": "message.delete", "seq": gone.seq()}));
    for number in 0..6 {
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": number}));
    }
    let jobs = client
        .ok(json!({"cmd": "queue.reserve", "queue": "q", "max": 3, "lease_ms": 1_000_000}))
        .list("jobs");
    client.ok(json!({"cmd": "queue.ack", "job": jobs[0]["job"], "lease": jobs[0]["lease"]}));
    client.ok(json!({"cmd": "queue.nack", "job": jobs[1]["job"], "lease": jobs[1]["lease"]}));
    for value in 0..2 {
        client.ok(json!({"cmd": "kv.set", "key": "k", "value": value}));
        client.ok(json!({"cmd": "kv.delete", "key": "k"}));
    }
    client.ok(json!({"cmd": "queue.put", "queue": "p", "body": 1}));
    client.ok(json!({"cmd": "queue.purge", "queue": "p"}));
    client.ok(json!({"cmd": "queue.drop", "queue": "p"}));
    daemon
}

/// Whatever was lost, what is left hangs together: counts are exact, and everything can be used.
#[track_caller]
fn assert_usable(client: &mut Client) {
    let stored = client.ok(json!({"cmd": "stats"}));
    let stats = |subject: &str, name: &str| stored[subject][name].clone();
    let found = client.ok(json!({"cmd": "message.search", "count": true, "limit": 10_000}));
    assert_eq!(stats("stored", "messages"), found["total"], "{stored}\n{found}");
    assert_eq!(found.list("messages").len() as u64, found.number("total"));
    let keys = client.ok(json!({"cmd": "kv.list"})).list("keys");
    assert_eq!(stats("stored", "keys"), keys.len());
    let mut chats = 0;
    for app in client.ok(json!({"cmd": "app.list"})).list("apps") {
        let token = &app["token"];
        let listed = client.ok(json!({"cmd": "chat.list", "app": token})).list("chats");
        assert_eq!(app["chats_count"], listed.len(), "{app}");
        chats += listed.len();
        for chat in listed {
            let request = json!({"cmd": "message.list", "app": token, "chat": chat["number"]});
            let messages = client.ok(request).list("messages");
            assert_eq!(chat["messages_count"], messages.len(), "{chat}");
            client.ok(json!({"cmd": "message.post", "app": token, "chat": chat["number"], "body": "x"}));
        }
    }
    assert_eq!(stats("stored", "chats"), chats);
    for queue in client.ok(json!({"cmd": "queue.list"})).list("queues") {
        let mut of_all = 0;
        for state in ["ready", "delayed", "leased", "dead"] {
            let jobs =
                client.ok(json!({"cmd": "queue.peek", "queue": queue["queue"], "state": state})).list("jobs");
            assert_eq!(queue[state], jobs.len(), "{queue}: {state}");
            of_all += jobs.len();
        }
        let all = json!({"cmd": "queue.reserve", "queue": queue["queue"], "max": 100});
        let ready = queue["ready"].as_u64().expect("a number");
        assert_eq!(client.ok(all).list("jobs").len() as u64, ready, "{queue}: every ready job is delivered");
        assert!(of_all as u64 >= ready);
        client.ok(json!({"cmd": "queue.purge", "queue": queue["queue"]}));
        client.ok(json!({"cmd": "queue.drop", "queue": queue["queue"]}));
    }
    let jobs = client.ok(json!({"cmd": "stats"}))["jobs"].clone();
    assert!(jobs.as_object().expect("states").values().all(|count| count == 0), "{jobs}");
    client.ok(json!({"cmd": "log.verify"}));
}

#[test]
fn what_is_left_hangs_together_whichever_event_is_lost() {
    let mut daemon = busy_store();
    daemon.stop();
    let saved = daemon.folder().join("saved");
    common::copy_folder(&daemon.data(), &saved);
    let count = segments(&saved).iter().flat_map(|path| frames(&content(path))).count();
    assert!(count > 30, "{count} frames");
    for number in 0..count {
        let mut damaged = Daemon::stopped_on(&saved);
        fs::remove_dir_all(damaged.data().join("index")).expect("an index");
        let mut left = number;
        for path in segments(&damaged.data()) {
            let frames = frames(&content(&path));
            match frames.get(left) {
                Some(frame) => {
                    flip(&path, frame.end - 5);
                    break;
                }
                None => left -= frames.len(),
            }
        }
        let done = repair(&damaged, &["--yes"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        damaged.launch();
        let mut client = damaged.connect();
        assert!(!lost(&mut client).is_empty(), "frame {number}");
        assert_usable(&mut client);
        damaged.restart();
        damaged.connect().ok(json!({"cmd": "log.verify"}));
    }
}
