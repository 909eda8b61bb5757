//! Damaged logs: a torn last write is set aside and said, anything else refuses to start.

mod common;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use common::{Daemon, Finished, Frame, content, file_name, frames, json, newest_segment};

/// A daemon that was killed after five writes, each in a frame of its own, and its one segment.
fn killed() -> (Daemon, PathBuf) {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    for n in 1..=5 {
        let value = format!("value {n} {}", "x".repeat(1500));
        client.ok(json!({"cmd": "kv.set", "key": format!("k{n}"), "value": value}));
    }
    daemon.kill();
    let segment = newest_segment(&daemon.data());
    (daemon, segment)
}

/// The frames that hold events.
fn full_frames(segment: &std::path::Path) -> Vec<Frame> {
    let mut frames = frames(&content(segment));
    frames.retain(|frame| !frame.events.is_empty());
    frames
}

/// Cuts the file to so many bytes.
fn truncate(segment: &PathBuf, length: usize) {
    let file = File::options().write(true).open(segment).expect("a segment");
    file.set_len(length as u64).expect("it can be cut");
}

/// Writes bytes at a place.
fn overwrite(segment: &PathBuf, offset: usize, bytes: &[u8]) {
    let mut file = File::options().write(true).open(segment).expect("a segment");
    file.seek(SeekFrom::Start(offset as u64)).expect("a place");
    file.write_all(bytes).expect("it can be written");
}

/// The daemon starts, says what it did, holds exactly so many of the writes, and goes on.
#[track_caller]
fn assert_set_aside(mut daemon: Daemon, segment: &std::path::Path, kept: u64) {
    let before = daemon.stderr();
    daemon.launch();
    let said = daemon.stderr()[before.len()..].to_owned();
    assert!(said.contains(&file_name(segment)), "the file is not named on standard error: {said:?}");
    for restart in [Daemon::crash, Daemon::restart] {
        let mut client = daemon.connect();
        assert_eq!(client.last_seq(), kept);
        for n in 1..=5 {
            let read = client.ask(json!({"cmd": "kv.get", "key": format!("k{n}")}));
            assert_eq!(read["ok"], n <= kept, "{read}");
        }
        restart(&mut daemon);
    }
    let mut client = daemon.connect();
    let next = client.ok(json!({"cmd": "kv.set", "key": "next", "value": 1})).seq();
    assert_eq!(next, kept + 1);
    daemon.crash();
    assert_eq!(daemon.connect().ok(json!({"cmd": "kv.get", "key": "next"})).seq(), next);
}

/// The daemon refuses to start with status 65 and names the file and the place.
#[track_caller]
fn assert_refused(daemon: &Daemon, segment: &std::path::Path, offsets: &[usize]) {
    let before = fs::read(segment).expect("a segment");
    let Finished { code, stderr, .. } = daemon.fails_to_start();
    assert_eq!(code, Some(65), "{stderr}");
    assert!(stderr.contains(&file_name(segment)), "the file is not named: {stderr}");
    let numbers: Vec<usize> = stderr
        .replace(&file_name(segment), "")
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    assert!(offsets.iter().any(|offset| numbers.contains(offset)), "none of {offsets:?} in: {stderr}");
    assert_eq!(fs::read(segment).expect("a segment"), before, "the damaged file was changed");
}

#[test]
fn room_made_ahead_is_no_damage() {
    let (mut daemon, segment) = killed();
    let end = content(&segment).len();
    truncate(&segment, end);
    truncate(&segment, end + 100_000);
    daemon.launch();
    assert_eq!(daemon.connect().last_seq(), 5);
    let said = daemon.stderr();
    assert!(!said.contains(&file_name(&segment)), "nothing is torn: {said}");
}

#[test]
fn a_last_frame_that_is_cut_off_is_set_aside() {
    let places: [fn(&Frame) -> usize; 4] =
        [|last| last.end - 1, |last| last.end - 20, |last| last.start + 5, |last| last.start + 1];
    for place in places {
        let (daemon, segment) = killed();
        let last = full_frames(&segment).pop().expect("a frame");
        truncate(&segment, place(&last));
        assert_set_aside(daemon, &segment, 4);
    }
}

#[test]
fn a_last_frame_without_its_last_bytes_is_set_aside() {
    let (daemon, segment) = killed();
    let last = full_frames(&segment).pop().expect("a frame");
    overwrite(&segment, last.end - 40, &[0; 40]);
    assert_set_aside(daemon, &segment, 4);
}

#[test]
fn a_last_frame_with_an_empty_block_inside_is_set_aside() {
    let (daemon, segment) = killed();
    let last = full_frames(&segment).pop().expect("a frame");
    let block = (last.start + 200).next_multiple_of(512);
    assert!(block + 512 < last.end, "a frame of more than two blocks");
    overwrite(&segment, block, &[0; 512]);
    assert_set_aside(daemon, &segment, 4);
}

#[test]
fn the_beginning_of_a_frame_behind_the_last_one_is_set_aside() {
    for garbage in ["deadbeef {\"v\":1,\"fir", "d", "deadbeef {\"v\":1}"] {
        let (daemon, segment) = killed();
        let end = content(&segment).len();
        truncate(&segment, end);
        overwrite(&segment, end, garbage.as_bytes());
        assert_set_aside(daemon, &segment, 5);
    }
}

#[test]
fn a_flipped_byte_in_an_earlier_frame_refuses_to_start() {
    for place in [0, 2, 9, 20, 600, 1400] {
        let (daemon, segment) = killed();
        let mut all = full_frames(&segment);
        let frame = all.swap_remove(1);
        let at = frame.start + place;
        let bytes = content(&segment);
        overwrite(&segment, at, &[bytes[at] ^ 1]);
        let line = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        assert_refused(&daemon, &segment, &[frame.start, line, at]);
    }
}

#[test]
fn a_flipped_byte_in_the_very_first_frame_refuses_to_start() {
    let (daemon, segment) = killed();
    let frame = full_frames(&segment).swap_remove(0);
    let at = frame.end - 100;
    let bytes = content(&segment);
    overwrite(&segment, at, &[bytes[at] ^ 1]);
    let line = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    assert_refused(&daemon, &segment, &[frame.start, line, at]);
}

#[test]
fn a_last_frame_that_is_wholly_there_and_wrong_refuses_to_start() {
    let (daemon, segment) = killed();
    let last = full_frames(&segment).pop().expect("a frame");
    let at = last.end - 30;
    let bytes = content(&segment);
    overwrite(&segment, at, &[bytes[at] ^ 1]);
    let line = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    assert_refused(&daemon, &segment, &[last.start, line, at]);
}

#[test]
fn an_earlier_frame_that_is_empty_refuses_to_start() {
    let (daemon, segment) = killed();
    let frame = full_frames(&segment).swap_remove(2);
    overwrite(&segment, frame.start, &vec![0; frame.end - frame.start]);
    let Finished { code, stderr, .. } = daemon.fails_to_start();
    assert_eq!(code, Some(65), "{stderr}");
    assert!(stderr.contains(&file_name(&segment)), "the file is not named: {stderr}");
}

#[test]
fn a_frame_that_is_missing_refuses_to_start() {
    let (daemon, segment) = killed();
    let frame = full_frames(&segment).swap_remove(2);
    let mut bytes = content(&segment);
    bytes.drain(frame.start..frame.end);
    fs::write(&segment, bytes).expect("a segment");
    let Finished { code, stderr, .. } = daemon.fails_to_start();
    assert_eq!(code, Some(65), "{stderr}");
    assert!(stderr.contains(&file_name(&segment)), "the file is not named: {stderr}");
}

#[test]
fn a_refused_start_touches_nothing_and_a_repaired_log_starts() {
    let (mut daemon, segment) = killed();
    let frame = full_frames(&segment).swap_remove(1);
    let (at, bytes) = (frame.start + 30, content(&segment));
    overwrite(&segment, at, &[bytes[at] ^ 1]);
    assert_refused(&daemon, &segment, &[frame.start, at]);
    overwrite(&segment, at, &[bytes[at]]);
    daemon.launch();
    assert_eq!(daemon.connect().last_seq(), 5);
}

#[test]
fn nothing_damaged_is_ever_served() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let body = "marked ".repeat(50);
    let post = json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": body});
    let seq = client.ok(post).seq();
    client.ok(json!({"cmd": "kv.set", "key": "later", "value": 1}));
    let segment = newest_segment(&daemon.data());
    let bytes = content(&segment);
    let at = bytes.windows(6).position(|window| window == b"marked").expect("the body is in the log");
    overwrite(&segment, at, b"faked!");
    let requests = [
        json!({"cmd": "message.get", "seq": seq}),
        json!({"cmd": "message.search", "text": "marked"}),
        json!({"cmd": "log.read"}),
    ];
    for request in requests {
        let reply = client.ask(request);
        assert!(!reply.text.contains("faked!"), "damage was served\n{reply}");
        if reply["ok"] == true {
            assert!(reply.text.contains(&body), "{reply}");
        } else {
            common::assert_error(&reply, "corrupt");
            assert!(reply.string("file").contains(&file_name(&segment)), "{reply}");
            assert!(reply["offset"].is_u64(), "{reply}");
        }
    }
    let read = client.ok(json!({"cmd": "kv.get", "key": "later"}));
    assert_eq!(read["value"], 1, "the daemon goes on\n{read}");
    let said = daemon.stderr();
    assert_eq!(said.matches("damage was found while answering").count(), 1, "it is one place: {said}");
    assert!(said.contains(&format!("msglogd repair --data {}", daemon.data().display())), "{said}");
}

#[test]
fn whoever_meets_damage_tells_it_at_the_same_byte() {
    let mut daemon = Daemon::start();
    let place = common::TempDir::new();
    let set = |key: &str| json!({"cmd": "kv.set", "key": key, "value": "marked"});
    daemon.connect().ok(json!({"cmd": "batch", "commands": [set("a"), set("b"), set("c")]}));
    // What was written lately is not read again.
    daemon.restart();
    let segment = newest_segment(&daemon.data());
    let bytes = content(&segment);
    let mut lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(end, _)| end + 1);
    let record = lines.nth(1).expect("the second of the frame's events");
    overwrite(&segment, record + 20, b"!");
    let mut client = daemon.connect();
    let backup = place.path().join("backup");
    for request in [
        json!({"cmd": "kv.get", "key": "b"}),
        json!({"cmd": "log.read", "from": 2}),
        json!({"cmd": "log.verify"}),
        json!({"cmd": "log.compact"}),
        json!({"cmd": "log.backup", "to": backup}),
    ] {
        let refused = client.refused(request.clone(), "corrupt");
        assert_eq!(refused["offset"], record, "{request}: {refused}");
    }
    daemon.kill();
    let data = daemon.data();
    let checked = common::finish(common::msglogd().arg("check").arg("--data").arg(data));
    assert!(checked.stderr.contains(&format!("at byte {record}: ")), "{}", checked.stderr);
}

#[test]
fn a_follower_gets_all_that_lies_before_damage() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    for n in 1..=9 {
        let body = format!("number {n}");
        client.ok(json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": body}));
    }
    // What was read lately is not read again.
    daemon.restart();
    let segment = newest_segment(&daemon.data());
    let bytes = content(&segment);
    let at = bytes.windows(8).position(|window| window == b"number 7").expect("the body is in the log");
    overwrite(&segment, at, b"N");
    for command in ["log.follow", "message.follow"] {
        let mut follower = daemon.connect();
        follower.ok(json!({"cmd": command, "from": 1}));
        for seq in 1..=6 {
            let line = follower.line().expect("what is whole");
            assert!(line.contains(&format!("\"number {seq}\"")), "{line}");
        }
        let line = follower.line().expect("why it ends");
        assert!(line.contains("\"error\":\"corrupt\""), "{line}");
        assert_eq!(follower.line(), None);
    }
}

#[test]
fn a_chat_that_the_index_cannot_list_is_not_deleted_and_costs_nobody_else_anything() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    client.ok(json!({"cmd": "chat.create", "app": app}));
    for some in 0..40 {
        let post = |number: u32| {
            let words: Vec<String> = (0..100).map(|word| format!("w{some}x{number}x{word}")).collect();
            json!({"cmd": "message.post", "app": app, "chat": 1, "originator": "o", "body": words.join(" ")})
        };
        let posts: Vec<_> = (0..100).map(post).collect();
        client.ok(json!({"cmd": "batch", "commands": posts, "durable": false}));
    }
    // One run file, so large that a start does not read all of it.
    client.ok(json!({"cmd": "log.compact"}));
    drop(client);
    daemon.stop();
    let index = fs::read_dir(daemon.data().join("index")).expect("an index");
    let mut paths = index.map(|entry| entry.expect("an entry").path());
    let run = paths.find(|path| path.extension().is_some_and(|end| end == "run")).expect("a run");
    let bytes = fs::read(&run).expect("a run");
    assert!(bytes.len() > 4 << 20, "{}", bytes.len());
    let places = bytes.windows(8).enumerate().filter(|(_, piece)| *piece == &app.as_bytes()[..8]);
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    let mut refused = 0;
    // The chat's messages are listed behind what the table says of it.
    for place in places.iter().rev() {
        let mut copy = Daemon::stopped_on(&daemon.data());
        overwrite(&copy.data().join("index").join(file_name(&run)), *place, &[bytes[*place] ^ 1]);
        copy.launch();
        let mut client = copy.connect();
        let reply = client.ask(json!({"cmd": "chat.delete", "app": app, "chat": 1}));
        if reply["ok"] != true {
            assert_eq!(reply["error"], "corrupt", "{reply}");
            refused += 1;
        }
        client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
        let deleted = reply["ok"] == true;
        copy.crash();
        let stored = copy.connect().ok(json!({"cmd": "log.read", "types": ["chat.deleted"]}));
        assert_eq!(stored.list("events").len(), usize::from(deleted), "{stored}");
        if refused > 0 {
            return;
        }
    }
    panic!("none of {places:?} is of the chat's messages");
}
