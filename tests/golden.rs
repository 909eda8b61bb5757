//! Stores that earlier versions wrote: a daemon starts on each and answers as the version did that wrote
//! it. See `tests/golden/README.md`.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Client, Daemon, Value, content, copy_folder, finish, frames, json, msglogd, segments};
use msglogd::domain::event::TYPES;

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

/// Every event that the files hold, as text.
fn events(data: &Path) -> Vec<String> {
    segments(data).iter().flat_map(|path| frames(&content(path))).flat_map(|frame| frame.events).collect()
}

/// The types of these events.
fn types(data: &Path) -> BTreeSet<String> {
    let parsed = events(data).into_iter().map(|event| serde_json::from_str::<Value>(&event).expect("JSON"));
    parsed.map(|event| common::string(&event, "type")).collect()
}

/// Every read that is worth comparing.
fn questions(client: &mut Client) -> Vec<Value> {
    let mut questions = vec![
        json!({"cmd": "kv.list"}),
        json!({"cmd": "message.search", "order": "oldest", "count": true, "limit": 1000}),
        json!({"cmd": "message.search", "text": "\"bergamot tea\" OR lemon -honey"}),
        json!({"cmd": "message.search", "substring": "rgam"}),
        json!({"cmd": "app.list"}),
        json!({"cmd": "formula.list"}),
        json!({"cmd": "queue.list"}),
        json!({"cmd": "log.read", "limit": 10_000}),
    ];
    for key in client.ok(json!({"cmd": "kv.list"})).list("keys") {
        questions.push(json!({"cmd": "kv.get", "key": key["key"]}));
    }
    for app in client.ok(json!({"cmd": "app.list"})).list("apps") {
        for chat in client.ok(json!({"cmd": "chat.list", "app": app["token"]})).list("chats") {
            questions.push(json!({"cmd": "chat.get", "app": app["token"], "chat": chat["number"]}));
            questions.push(json!({"cmd": "message.list", "app": app["token"], "chat": chat["number"]}));
        }
    }
    for queue in client.ok(json!({"cmd": "queue.list"})).list("queues") {
        for state in ["ready", "delayed", "leased", "dead"] {
            questions.push(json!({"cmd": "queue.peek", "queue": queue["queue"], "state": state}));
        }
    }
    questions.push(json!({"cmd": "kv.set", "key": "again", "value": 1, "idempotency_key": "once"}));
    questions
}

#[test]
fn a_store_of_format_1_is_read_and_answered_as_it_was() {
    let store = golden("format-1");
    let answers = fs::read_to_string(store.join("answers.jsonl")).expect("answers");
    let mut daemon = Daemon::stopped_on(&store);
    for _ in 0..2 {
        daemon.launch();
        let mut client = daemon.connect();
        let mut lines = answers.lines();
        while let (Some(question), Some(answer)) = (lines.next(), lines.next()) {
            client.send_line(question);
            assert_eq!(client.line().as_deref(), Some(answer), "{question}");
        }
        let read = client.ok(json!({"cmd": "log.read", "limit": 10_000}));
        let written = format!("\"events\":[{}]", events(&store).join(","));
        assert!(read.text.contains(&written), "the events are not those in the files");
        client.ok(json!({"cmd": "log.verify"}));
        assert_eq!(daemon.stop(), Some(0));
    }
    assert!(types(&store).len() > 20, "{:?}", types(&store));
}

#[test]
fn a_format_that_is_not_known_is_refused_and_named() {
    let daemon = Daemon::stopped_on(&golden("format-1"));
    let segment = segments(&daemon.data()).pop().expect("a segment");
    let text = fs::read_to_string(&segment).expect("text");
    let line = text.lines().next().expect("a header");
    let header = line[9..].replace("{\"v\":1,", "{\"v\":2,");
    let mut checksum = flate2::Crc::new();
    checksum.update(header.as_bytes());
    let newer = text.replacen(line, &format!("{:08x} {header}", checksum.sum()), 1);
    fs::write(&segment, newer).expect("it can be written");
    let refused = daemon.fails_to_start();
    assert_eq!(refused.code, Some(65), "{refused:?}");
    assert!(refused.stderr.contains("version 2; this program reads 1"), "{}", refused.stderr);
    let repair = finish(msglogd().args(["repair", "--yes", "--data"]).arg(daemon.data()));
    assert_eq!(repair.code, Some(65), "{repair:?}");
    assert!(repair.stderr.contains("another version"), "{}", repair.stderr);
}

/// Everything that can happen, at least once. What is left does not change with time.
fn fill(client: &mut Client) {
    for (key, value) in [("a", json!("text")), ("b", json!({"list": [1, 2.50, null, true]})), ("c", json!(1))]
    {
        client.ok(json!({"cmd": "kv.set", "key": key, "value": value}));
    }
    client.ok(json!({"cmd": "kv.set", "key": "a", "value": "newer", "if_seq": 1}));
    client.ok(json!({"cmd": "kv.delete", "key": "c"}));
    client.ok(json!({"cmd": "kv.set", "key": "again", "value": 1, "idempotency_key": "once"}));
    for body in ["bergamot tea", "lemon and honey", "lemon", "\u{6771}\u{4eac} \u{3b1}\u{3b2}\u{3b3}", ""] {
        client.ok(json!({"cmd": "message.post", "originator": "o", "recipient": 7, "body": body}));
    }
    let posted = json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": "to be edited"});
    let (edited, deleted) = (client.ok(posted.clone()).seq(), client.ok(posted).seq());
    client.ok(json!({"cmd": "message.edit", "seq": edited, "body": "edited bergamot"}));
    client.ok(json!({"cmd": "message.delete", "seq": deleted}));
    let app = client.ok(json!({"cmd": "app.create", "name": "an app"})).string("token");
    let other = client.ok(json!({"cmd": "app.create", "name": "another"})).string("token");
    client.ok(json!({"cmd": "app.update", "token": app, "name": "the app"}));
    client.ok(json!({"cmd": "chat.create", "app": other}));
    client.ok(json!({"cmd": "app.delete", "token": other}));
    for name in ["one", "two"] {
        client.ok(json!({"cmd": "chat.create", "app": app, "name": name}));
    }
    for number in 0..4 {
        client.ok(json!({"cmd": "message.post", "app": app, "chat": 1, "body": format!("chat {number}")}));
        client.ok(json!({"cmd": "message.post", "app": app, "chat": 2, "body": "gone", "originator": "o"}));
    }
    client.ok(json!({"cmd": "message.edit", "app": app, "chat": 1, "number": 2, "body": "chat edited"}));
    client.ok(json!({"cmd": "message.delete", "app": app, "chat": 1, "number": 4}));
    client.ok(json!({"cmd": "chat.update", "app": app, "chat": 1, "name": "renamed"}));
    client.ok(json!({"cmd": "chat.delete", "app": app, "chat": 2}));
    let materials =
        json!([{"name": "iron", "concentration": 15.50}, {"name": "gold", "concentration": "1e-3"}]);
    client.ok(json!({"cmd": "formula.submit", "name": "f", "materials": materials}));
    fill_queues(client);
    client.ok(json!({"cmd": "batch", "commands": [
        {"cmd": "kv.set", "key": "d", "value": 1}, {"cmd": "queue.put", "queue": "q", "body": "batch"}]}));
}

fn fill_queues(client: &mut Client) {
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 2, "max_jobs": 100}));
    for number in 0..6 {
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": {"n": number}, "priority": number}));
    }
    let reserve = json!({"cmd": "queue.reserve", "queue": "q", "lease_ms": 1_000_000});
    let of = |job: &Value| (job["job"].clone(), job["lease"].clone());
    let (job, lease) = of(&client.ok(reserve.clone()).list("jobs")[0]);
    client.ok(json!({"cmd": "queue.extend", "job": job, "lease": lease, "lease_ms": 2_000_000}));
    client.ok(json!({"cmd": "queue.ack", "job": job, "lease": lease}));
    for _ in 0..2 {
        let (job, lease) = of(&client.ok(reserve.clone()).list("jobs")[0]);
        client.ok(json!({"cmd": "queue.nack", "job": job, "lease": lease}));
    }
    // That one is dead now, and the next one too, by leases that run out.
    for _ in 0..2 {
        client.await_job(1);
        common::until("its lease has run out", || (client.queue()["leased"] == 0).then_some(()));
    }
    let dead = client.ok(json!({"cmd": "queue.peek", "queue": "q", "state": "dead"})).list("jobs");
    client.ok(json!({"cmd": "queue.revive", "queue": "q", "job": dead[0]["job"]}));
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "later", "delay_ms": 1}));
    common::until("its delay is over", || (client.queue()["delayed"] == 0).then_some(()));
    let deleted = client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "deleted"}));
    client.ok(json!({"cmd": "queue.delete", "job": deleted["job"]}));
    client.ok(json!({"cmd": "queue.put", "queue": "p", "body": 1}));
    client.ok(json!({"cmd": "queue.purge", "queue": "p"}));
    client.ok(json!({"cmd": "queue.drop", "queue": "p"}));
}

/// Makes a golden store in the new folder `MSGLOGD_GOLDEN`, with the program as it is.
#[test]
#[ignore = "it makes what the other tests read"]
fn make() {
    let to = PathBuf::from(std::env::var_os("MSGLOGD_GOLDEN").expect("MSGLOGD_GOLDEN names a new folder"));
    let mut daemon = Daemon::with(&["--segment-bytes", "4K"]);
    fill(&mut daemon.connect());
    assert_eq!(daemon.stop(), Some(0));
    // One record is damaged, and lost in a repair.
    let first = segments(&daemon.data()).remove(0);
    let mut bytes = fs::read(&first).expect("a segment");
    let frame = frames(&content(&first)).remove(1);
    bytes[frame.end - 5] ^= 1;
    fs::write(&first, bytes).expect("it can be written");
    let repair = finish(msglogd().args(["repair", "--yes", "--data"]).arg(daemon.data()));
    assert_eq!(repair.code, Some(0), "{repair:?}");
    fs::create_dir(&to).expect("a new folder");
    copy_folder(&daemon.data().join("log"), &to.join("log"));
    daemon.launch();
    let mut client = daemon.connect();
    let mut answers = String::new();
    for question in questions(&mut client) {
        let answer = client.ask(question.clone());
        answers.push_str(&format!("{question}\n{}\n", answer.text));
    }
    fs::write(to.join("answers.jsonl"), answers).expect("it can be written");
    let all: BTreeSet<String> = TYPES.iter().map(ToString::to_string).collect();
    assert_eq!(types(&to), all, "every type of event is in it");
}
