//! The log's files: text lines with checksums, which need no daemon to be read.

mod common;

use std::path::Path;

use common::{Daemon, Frame, content, file_name, frames, json, run_tool, segments, tool, writes};

/// All frames of a data folder, oldest first.
fn all_frames(data: &Path) -> Vec<Frame> {
    segments(data).iter().flat_map(|segment| frames(&content(segment))).collect()
}

fn bound(frame: &Frame, key: &str) -> u64 {
    frame.header[key].as_u64().unwrap_or_else(|| panic!("no {key} in {}", frame.header))
}

#[test]
fn every_line_has_its_checksum_and_frames_follow_one_another() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    for write in writes(&mut client) {
        client.ok(write.request);
    }
    let last = client.last_seq();
    daemon.kill();
    let (mut before, mut seq) = (0, 0);
    for frame in all_frames(&daemon.data()) {
        assert_eq!(frame.header["v"], 1, "{frame:?}");
        assert_eq!(bound(&frame, "prev"), before, "{frame:?}");
        if frame.events.is_empty() {
            continue;
        }
        assert_eq!(bound(&frame, "first"), seq + 1, "{frame:?}");
        for event in &frame.events {
            seq += 1;
            let event: common::Value = serde_json::from_str(event).expect("JSON");
            assert_eq!(event["seq"], seq, "{frame:?}");
        }
        assert_eq!(bound(&frame, "last"), seq, "{frame:?}");
        before = seq;
    }
    assert_eq!(seq, last);
}

#[test]
fn segments_are_named_by_their_first_seq() {
    let mut daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    daemon.stop();
    let names: Vec<String> = segments(&daemon.data()).iter().map(|path| file_name(path)).collect();
    assert_eq!(names, ["00000000000000000001.log"]);
}

#[test]
fn what_is_stored_is_what_a_read_replies() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    for write in writes(&mut client) {
        client.ok(write.request);
    }
    let reply = client.ok(json!({"cmd": "log.read", "limit": 10_000}));
    daemon.stop();
    let stored: Vec<String> = all_frames(&daemon.data()).into_iter().flat_map(|frame| frame.events).collect();
    assert_eq!(stored.len(), reply.list("events").len());
    for event in stored {
        assert!(reply.text.contains(&event), "not as stored: {event}");
    }
}

#[test]
fn a_batch_is_one_frame() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let command = json!({"cmd": "kv.set", "key": "k", "value": 1});
    client.ok(json!({"cmd": "batch", "commands": vec![command; 50]}));
    daemon.kill();
    let sizes: Vec<usize> = all_frames(&daemon.data()).iter().map(|frame| frame.events.len()).collect();
    assert!(sizes.contains(&50), "{sizes:?}");
}

#[test]
fn an_idempotency_key_is_kept_in_the_frame_of_its_request() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1, "idempotency_key": "once"}));
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1, "idempotency_key": "once"}));
    let log = client.ok(json!({"cmd": "log.read"}));
    assert_eq!(json!(log.column("events", "type")), json!(["kv.set", "request.answered"]), "{log}");
    daemon.kill();
    let frames = all_frames(&daemon.data());
    let together = frames.iter().any(|frame| frame.events.len() == 2);
    assert!(together, "{frames:?}");
}

#[test]
fn cut_reads_a_log() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    for body in ["first", "second"] {
        client.ok(json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": body}));
    }
    daemon.stop();
    let segment = segments(&daemon.data()).remove(0);
    let mut command = tool("cut", "coreutils");
    command.args(["-d", " ", "-f", "2-"]).arg(segment);
    let printed = run_tool(command, b"", "coreutils");
    let posted: Vec<common::Value> = printed
        .lines()
        .map(|line| serde_json::from_str::<common::Value>(line).expect("JSON"))
        .filter(|record| record["type"] == "message.posted")
        .collect();
    assert_eq!(posted.len(), 2, "{printed}");
    assert!(posted[0].to_string().contains("first") && posted[1].to_string().contains("second"), "{printed}");
}

#[test]
fn no_lease_is_on_the_disk() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    let lease = common::string(&client.reserve_one(), "lease");
    daemon.kill();
    for segment in segments(&daemon.data()) {
        let text = String::from_utf8(content(&segment)).expect("the log is text");
        assert!(!text.contains(&lease), "the token is in {}", file_name(&segment));
    }
}
