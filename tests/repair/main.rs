//! `msglogd repair`: a folder that a start refuses becomes one that a daemon starts on, and what is lost
//! is said.

#[path = "../common/mod.rs"]
mod common;
mod compacted;
mod store;

use std::fs;
use std::path::PathBuf;

use common::{Client, Daemon, Value, content, file_name, finish, frames, json, msglogd, segments};
use store::{assert_usable, busy_store, everything, flip, lost, repair, repaired};

/// Every event by its seq: there is no gap.
#[track_caller]
fn events(client: &mut Client) -> Vec<Value> {
    let events = client.ok(json!({"cmd": "log.read", "limit": 10_000})).list("events");
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], number as u64 + 1, "{event}");
    }
    events
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
    let done = format!("{aside}: {} bytes were set aside here", damaged.len());
    assert!(said.contains("will be set aside in") && said.contains(&done), "{said}");
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
