//! Damage in the part of the log that was compacted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Client, Daemon, Value, content, file_name, finish, json, msglogd, segments};
use crate::store::{assert_usable, busy_store, everything, flip, lost, repair, repaired};

fn is_compacted(path: &Path) -> bool {
    file_name(path).contains('-')
}

/// A store that was compacted, and has events behind that; its daemon has stopped.
fn compacted() -> Daemon {
    let mut daemon = busy_store();
    let mut client = daemon.connect();
    for number in 1..=3 {
        let formula = json!({"cmd": "formula.submit", "name": "f", "idempotency_key": format!("f{number}"),
            "materials": [{"name": "neroli", "concentration": number}]});
        client.ok(formula);
        client.ok(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": number}));
    }
    let app = client.ok(json!({"cmd": "app.list"})).list("apps")[0]["token"].clone();
    client.ok(json!({"cmd": "app.update", "token": app, "name": "renamed"}));
    client.ok(json!({"cmd": "chat.update", "app": app, "chat": 1, "name": "renamed too"}));
    client.ok(json!({"cmd": "log.compact"}));
    client.ok(json!({"cmd": "kv.set", "key": "behind", "value": 1}));
    let message = edited(&mut client);
    client.ok(json!({"cmd": "message.edit", "seq": message, "body": "edited behind"}));
    daemon.stop();
    daemon
}

/// A message to a recipient.
fn edited(client: &mut Client) -> u64 {
    let found = client.ok(json!({"cmd": "message.search", "recipient": "r"})).list("messages");
    found[0]["seq"].as_u64().expect("a seq")
}

/// Every event by its seq.
fn events(client: &mut Client) -> BTreeMap<u64, Value> {
    let events = client.ok(json!({"cmd": "log.read", "limit": 10_000})).list("events");
    events.into_iter().map(|event| (event["seq"].as_u64().expect("a seq"), event)).collect()
}

/// The segments of a compacted part.
fn part(data: &Path) -> Vec<PathBuf> {
    segments(data).into_iter().filter(|path| is_compacted(path)).collect()
}

/// Each record of a file: its seq, and where its line ends.
fn records(path: &Path) -> Vec<(u64, usize)> {
    let bytes = content(path);
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(place, _)| place);
    let mut start = 0;
    let mut found = Vec::new();
    for end in ends {
        let line: Value = serde_json::from_slice(&bytes[start + 9..end]).expect("JSON");
        found.extend(line["seq"].as_u64().map(|seq| (seq, end)));
        start = end + 1;
    }
    found
}

#[test]
fn a_damaged_record_of_a_compacted_part_is_lost_alone_whichever_it_is() {
    let daemon = compacted();
    let part = part(&daemon.data());
    let all = records(&part[0]);
    assert!(part.len() == 1 && all.len() > 20, "{all:?}");
    for (seq, end) in all {
        // With the index, and without.
        for known in [true, false] {
            let mut damaged = Daemon::stopped_on(&daemon.data());
            let segment = damaged.data().join("log").join(file_name(&part[0]));
            flip(&segment, end - 3);
            if !known {
                fs::remove_dir_all(damaged.data().join("index")).expect("an index");
            }
            let done = repair(&damaged, &["--yes"]);
            assert!(
                done.code == Some(0) && done.stdout.contains(&format!("event {seq} is lost")),
                "{done:?}"
            );
            damaged.launch();
            let mut client = damaged.connect();
            assert_eq!(lost(&mut client), [seq]);
            let counts = client.ok(json!({"cmd": "stats"}));
            client.ok(json!({"cmd": "log.verify"}));
            damaged.stop();
            fs::remove_dir_all(damaged.data().join("index")).expect("an index");
            damaged.launch();
            let mut client = damaged.connect();
            assert_eq!(client.ok(json!({"cmd": "stats"}))["stored"], counts["stored"], "event {seq}");
            assert_usable(&mut client);
            client.ok(json!({"cmd": "log.compact"}));
            assert_eq!(lost(&mut client), [seq]);
            damaged.restart();
            damaged.connect().ok(json!({"cmd": "log.verify"}));
        }
    }
}

#[test]
fn what_is_good_in_a_compacted_part_is_kept_and_what_is_not_is_set_aside() {
    let mut daemon = compacted();
    daemon.launch();
    let before = events(&mut daemon.connect());
    daemon.stop();
    let segment = part(&daemon.data()).remove(0);
    let (seq, end) = records(&segment)[4];
    flip(&segment, end - 3);
    let damaged = content(&segment);
    fs::remove_dir_all(daemon.data().join("index")).expect("an index");
    let said = repaired(&mut daemon);
    let aside = format!("{}.0.damaged", file_name(&segment));
    assert!(said.contains(&aside) && said.contains(&format!("event {seq} is lost")), "{said}");
    assert_eq!(fs::read(daemon.data().join("log").join(aside)).expect("it was set aside"), damaged);
    for (found, event) in events(&mut daemon.connect()) {
        let same = before.get(&found) == Some(&event);
        assert!(same || (found == seq && event["type"] == "event.lost"), "{event}");
    }
    assert!(!segment.exists(), "a start removes what nothing names");
}

#[test]
fn a_compacted_segment_that_is_missing_is_lost_as_a_whole() {
    for known in [true, false] {
        let mut daemon = Daemon::with(&["--segment-bytes", "64K"]);
        let mut client = daemon.connect();
        for number in 1..=60 {
            let value = "v".repeat(30_000);
            client.ok(json!({"cmd": "kv.set", "key": format!("k{}", number % 40), "value": value}));
        }
        client.ok(json!({"cmd": "log.compact"}));
        daemon.stop();
        let part = part(&daemon.data());
        assert!(part.len() > 2, "{part:?}");
        let gone: Vec<u64> = records(&part[1]).into_iter().map(|(seq, _)| seq).collect();
        fs::remove_file(&part[1]).expect("a segment");
        if !known {
            fs::remove_dir_all(daemon.data().join("index")).expect("an index");
        }
        repaired(&mut daemon);
        let mut client = daemon.connect();
        assert_eq!(lost(&mut client), gone);
        let keys = client.ok(json!({"cmd": "kv.list", "limit": 100})).list("keys").len();
        assert_eq!(keys, 40 - gone.len());
        assert_eq!(client.ok(json!({"cmd": "kv.set", "key": "next", "value": 1})).seq(), 61);
    }
}

#[test]
fn messages_that_only_the_index_knew_of_are_not_counted_once_both_are_lost() {
    for change in ["message.delete", "message.edit"] {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        for _ in 0..3 {
            client.ok(json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": "hello"}));
        }
        client.ok(json!({"cmd": "log.compact"}));
        for seq in [1, 2] {
            let mut request = json!({"cmd": change, "seq": seq});
            if change == "message.edit" {
                request["body"] = json!("other");
            }
            client.ok(request);
        }
        daemon.stop();
        fs::remove_dir_all(daemon.data().join("index")).expect("an index");
        part(&daemon.data()).iter().for_each(|segment| fs::remove_file(segment).expect("a segment"));
        let said = repaired(&mut daemon);
        assert!(said.contains("messages to recipients that it held are lost, too"), "{said}");
        let mut client = daemon.connect();
        let total = client.ok(json!({"cmd": "message.search", "count": true})).json()["total"].clone();
        assert_eq!(total, if change == "message.edit" { 2 } else { 0 });
        assert_eq!(client.ok(json!({"cmd": "stats"})).json()["stored"]["messages"], total);
        assert_usable(&mut client);
    }
}

#[test]
fn the_list_of_compacted_segments_is_found_again() {
    for missing in [true, false] {
        let mut daemon = compacted();
        daemon.launch();
        let before = events(&mut daemon.connect());
        daemon.stop();
        let list = daemon.data().join("log/compacted");
        let whole = fs::read(&list).expect("a list");
        match missing {
            true => fs::remove_file(&list).expect("a list"),
            false => flip(&list, 20),
        }
        let said = repaired(&mut daemon);
        assert!(said.contains("no event is lost"), "{said}");
        assert_eq!(fs::read(&list).expect("a list"), whole);
        assert_eq!(events(&mut daemon.connect()), before);
    }
}

#[test]
fn the_list_of_compacted_segments_is_found_again_where_another_file_is_damaged_or_missing_too() {
    let daemon = compacted();
    let whole = daemon.data();
    let all = events(&mut Daemon::start_on(&whole).connect());
    let segment = part(&whole).remove(0);
    let of_part: Vec<u64> = records(&segment).into_iter().map(|(seq, _)| seq).collect();
    let (damaged, end) = records(&segment)[4];
    for (list_is_missing, is_missing, known) in
        (0..8).map(|number| (number & 1 > 0, number & 2 > 0, number & 4 > 0))
    {
        let damage = |path: &Path, place: usize, is_missing: bool| match is_missing {
            true => fs::remove_file(path).expect("a file"),
            false => flip(path, place),
        };
        for other in [&segment, &checkpoint(&whole)] {
            let mut daemon = Daemon::stopped_on(&whole);
            let log = daemon.data().join("log");
            damage(&log.join("compacted"), 20, list_is_missing);
            damage(&log.join(file_name(other)), end - 3, is_missing);
            if !known {
                fs::remove_dir_all(daemon.data().join("index")).expect("an index");
            }
            let said = repaired(&mut daemon);
            assert!(said.contains("/compacted: ") && said.contains(&file_name(other)), "{said}");
            let gone = match (other == &segment, is_missing) {
                (true, true) => of_part.clone(),
                (true, false) => vec![damaged],
                _ => Vec::new(),
            };
            let mut client = daemon.connect();
            for (seq, event) in &all {
                let found = events(&mut client).remove(seq);
                assert!(gone.contains(seq) || found.as_ref() == Some(event), "{seq}: {found:?}\n{said}");
            }
            assert_usable(&mut client);
        }
    }
}

#[test]
fn a_compacted_log_that_lost_its_list_and_all_behind_is_not_taken_for_an_empty_one() {
    let mut daemon = compacted();
    let all = events(&mut Daemon::start_on(&daemon.data()).connect());
    let of_part = records(&part(&daemon.data())[0]);
    for path in segments(&daemon.data()).iter().filter(|path| !is_compacted(path)) {
        fs::remove_file(path).expect("a segment");
    }
    fs::remove_file(daemon.data().join("log/compacted")).expect("a list");
    fs::remove_dir_all(daemon.data().join("index")).expect("an index");
    let checked = finish(msglogd().arg("check").arg("--data").arg(daemon.data()));
    assert_eq!(checked.code, Some(65), "{checked:?}");
    assert!(checked.stderr.contains("log/compacted at byte 0: "), "{checked:?}");
    let said = repaired(&mut daemon);
    assert!(said.contains("no event is lost"), "{said}");
    let mut left = events(&mut daemon.connect());
    for (seq, _) in of_part {
        assert_eq!(left.remove(&seq), all.get(&seq).cloned(), "event {seq}");
    }
}

#[test]
fn an_older_list_of_compacted_segments_gives_way_to_the_newer_one_whose_files_are_there() {
    let mut daemon = compacted();
    let list = daemon.data().join("log/compacted");
    let old = fs::read(&list).expect("a list");
    daemon.launch();
    let mut client = daemon.connect();
    for number in 0..50 {
        client.ok(json!({"cmd": "kv.set", "key": format!("later {number}"), "value": number}));
    }
    client.ok(json!({"cmd": "log.compact"}));
    let before = events(&mut client);
    drop(client);
    daemon.stop();
    let newer = fs::read(&list).expect("a list");
    fs::write(&list, old).expect("a list");
    let said = repaired(&mut daemon);
    assert!(said.contains("no event is lost"), "{said}");
    assert_eq!(fs::read(&list).expect("a list"), newer);
    assert_eq!(events(&mut daemon.connect()), before);
}

/// The table's checkpoint.
fn checkpoint(data: &Path) -> PathBuf {
    let folder = fs::read_dir(data.join("log")).expect("a log");
    let mut paths = folder.map(|entry| entry.expect("an entry").path());
    let found = paths.find(|path| path.extension().is_some_and(|extension| extension == "checkpoint"));
    found.expect("a checkpoint")
}

#[test]
fn a_damaged_checkpoint_is_made_anew_by_a_compaction_as_long_as_there_is_an_index() {
    let mut daemon = compacted();
    flip(&checkpoint(&daemon.data()), 30);
    let before = everything(&daemon.data());
    let refused = repair(&daemon, &["--yes"]);
    assert_eq!(refused.code, Some(65), "{refused:?}");
    assert!(refused.stderr.contains("msglog log compact"), "{refused:?}");
    assert!(everything(&daemon.data()) == before, "it was changed");
    daemon.launch();
    let mut client = daemon.connect();
    let all = events(&mut client);
    client.refused(json!({"cmd": "log.verify"}), "corrupt");
    client.ok(json!({"cmd": "log.compact"}));
    client.ok(json!({"cmd": "log.verify"}));
    daemon.stop();
    fs::remove_dir_all(daemon.data().join("index")).expect("an index");
    daemon.launch();
    let mut client = daemon.connect();
    let left = events(&mut client);
    assert!(left.iter().all(|(seq, event)| all.get(seq) == Some(event)));
    assert_usable(&mut client);
}

/// What a client sees that must not be lost with the checkpoint.
fn seen(client: &mut Client) -> Vec<Value> {
    let apps = client.ok(json!({"cmd": "app.list"})).list("apps");
    let names = |found: &[Value]| found.iter().map(|each| each["name"].clone()).collect::<Vec<_>>();
    let mut seen = names(&apps);
    for app in &apps {
        let chats = client.ok(json!({"cmd": "chat.list", "app": app["token"]})).list("chats");
        seen.extend(names(&chats));
        for chat in &chats {
            let request = json!({"cmd": "message.list", "app": app["token"], "chat": chat["number"]});
            seen.extend(client.ok(request).list("messages"));
        }
    }
    seen.extend(client.ok(json!({"cmd": "message.search", "text": "hello OR edited"})).list("messages"));
    seen.extend(client.ok(json!({"cmd": "kv.list"})).list("keys"));
    seen.extend(client.ok(json!({"cmd": "queue.list"})).list("queues"));
    let stats = client.ok(json!({"cmd": "stats"}));
    seen.extend([stats["stored"].clone(), stats["jobs"].clone()]);
    seen
}

#[test]
fn a_lost_checkpoint_without_an_index_is_made_anew_from_what_is_left() {
    for missing in [true, false] {
        let mut daemon = compacted();
        daemon.launch();
        let (before, all) = (seen(&mut daemon.connect()), events(&mut daemon.connect()));
        daemon.stop();
        let checkpoint = checkpoint(&daemon.data());
        let name = file_name(&checkpoint);
        match missing {
            true => fs::remove_file(&checkpoint).expect("a checkpoint"),
            false => flip(&checkpoint, 30),
        }
        let damaged = fs::read(&checkpoint).ok();
        fs::remove_dir_all(daemon.data().join("index")).expect("an index");
        let refused = daemon.fails_to_start();
        assert!(refused.stderr.contains(&name), "{refused:?}");
        let said = repaired(&mut daemon);
        let loss = "how often a job was delivered";
        assert!(said.contains(&name) && said.contains("made anew") && said.contains(loss), "{said}");
        let aside = daemon.data().join("log").join(format!("{name}.0.damaged"));
        assert_eq!(fs::read(aside).ok(), damaged, "it was set aside");
        let mut client = daemon.connect();
        assert_eq!((seen(&mut client), events(&mut client)), (before, all));
        client.ok(json!({"cmd": "log.verify"}));
        daemon.stop();
        fs::remove_dir_all(daemon.data().join("index")).expect("an index");
        daemon.launch();
        assert_usable(&mut daemon.connect());
    }
}

#[test]
fn a_lost_checkpoint_beside_a_damaged_index_is_made_anew_too() {
    let mut daemon = compacted();
    flip(&checkpoint(&daemon.data()), 30);
    for path in fs::read_dir(daemon.data().join("index")).expect("an index") {
        let path = path.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "run") {
            flip(&path, 30);
        }
    }
    let done = repair(&daemon, &["--yes"]);
    assert!(done.code == Some(0) && done.stdout.contains("made anew"), "{done:?}");
    daemon.launch();
    assert_usable(&mut daemon.connect());
}

#[test]
fn a_lost_checkpoint_beside_other_damage_is_made_anew_too() {
    let mut daemon = compacted();
    flip(&checkpoint(&daemon.data()), 30);
    let newest = segments(&daemon.data()).pop().expect("a segment");
    flip(&newest, content(&newest).len() - 3);
    let said = repaired(&mut daemon);
    assert!(said.contains("made anew") && said.contains("is lost"), "{said}");
    assert_usable(&mut daemon.connect());
}

#[test]
fn whichever_record_is_lost_with_the_checkpoint_what_is_left_hangs_together() {
    let daemon = compacted();
    let part = part(&daemon.data());
    for (seq, end) in records(&part[0]) {
        let mut damaged = Daemon::stopped_on(&daemon.data());
        flip(&damaged.data().join("log").join(file_name(&part[0])), end - 3);
        flip(&checkpoint(&damaged.data()), 30);
        fs::remove_dir_all(damaged.data().join("index")).expect("an index");
        let done = repair(&damaged, &["--yes"]);
        let is_said = done.stdout.contains(&format!("event {seq} is lost"));
        assert!(done.code == Some(0) && is_said, "{done:?}");
        damaged.launch();
        let mut client = damaged.connect();
        assert_eq!(lost(&mut client), [seq]);
        assert_usable(&mut client);
        damaged.restart();
        damaged.connect().ok(json!({"cmd": "log.verify"}));
    }
}

#[test]
fn a_checkpoint_of_another_version_is_left_to_that_version() {
    let daemon = compacted();
    let checkpoint = checkpoint(&daemon.data());
    let end = fs::read(&checkpoint).expect("a checkpoint").len();
    flip(&checkpoint, end - 1);
    fs::remove_dir_all(daemon.data().join("index")).expect("an index");
    let before = everything(&daemon.data());
    let refused = repair(&daemon, &["--yes"]);
    assert_eq!(refused.code, Some(65), "{refused:?}");
    assert!(refused.stderr.contains("another version"), "{refused:?}");
    assert!(everything(&daemon.data()) == before, "it was changed");
}
