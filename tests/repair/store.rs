//! Stores to damage and to repair, and what must hold of one that was repaired.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Client, Daemon, Finished, finish, json, msglogd};

/// Turns one bit of a file over.
pub fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[offset] ^= 1;
    fs::write(path, bytes).expect("it can be written");
}

pub fn repair(daemon: &Daemon, more: &[&str]) -> Finished {
    finish(msglogd().arg("repair").arg("--data").arg(daemon.data()).args(more))
}

/// All files of a folder with what they hold.
pub fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
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
pub fn repaired(daemon: &mut Daemon) -> String {
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

/// The seqs that are said to be lost.
pub fn lost(client: &mut Client) -> Vec<u64> {
    let events = client.ok(json!({"cmd": "log.read", "limit": 10_000, "types": ["event.lost"]}));
    events.list("events").iter().map(|event| event["seq"].as_u64().expect("a seq")).collect()
}

/// Jobs, chats and messages with many states, in small frames.
pub fn busy_store() -> Daemon {
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
pub fn assert_usable(client: &mut Client) {
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
