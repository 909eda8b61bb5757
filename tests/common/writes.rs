//! One write of every kind, each ready to succeed, with the events that it makes.

use serde_json::{Value, json};

use super::{Client, with};

/// A request that succeeds, and the types of its events.
pub struct Write {
    /// The request.
    pub request: Value,
    /// The types of the events that it writes.
    pub events: &'static [&'static str],
}

fn write(request: Value, events: &'static [&'static str]) -> Write {
    Write { request, events }
}

/// Prepares the data and gives one write of every kind; they do not stand in each other's way.
pub fn writes(client: &mut Client) -> Vec<Write> {
    let mut all = values_and_messages(client);
    all.extend(chats(client));
    all.extend(queues(client));
    all.push(write(
        json!({"cmd": "formula.submit", "name": "f", "materials": [{"name": "a", "concentration": 1.50}]}),
        &["formula.created", "job.put"],
    ));
    all
}

fn values_and_messages(client: &mut Client) -> Vec<Write> {
    client.ok(json!({"cmd": "kv.set", "key": "old", "value": 1}));
    let post = json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": "hello"});
    let (edited, deleted) = (client.ok(post.clone()).seq(), client.ok(post.clone()).seq());
    vec![
        write(json!({"cmd": "kv.set", "key": "new", "value": {"a": 1}}), &["kv.set"]),
        write(json!({"cmd": "kv.delete", "key": "old"}), &["kv.deleted"]),
        write(post, &["message.posted"]),
        write(json!({"cmd": "message.edit", "seq": edited, "body": "bye"}), &["message.edited"]),
        write(json!({"cmd": "message.delete", "seq": deleted}), &["message.deleted"]),
    ]
}

fn chats(client: &mut Client) -> Vec<Write> {
    let mut app = || client.ok(json!({"cmd": "app.create", "name": "app"})).string("token");
    let (kept, gone) = (app(), app());
    for _ in 0..2 {
        client.ok(json!({"cmd": "chat.create", "app": kept}));
    }
    let at = |command: &str, chat: u64| json!({"cmd": command, "app": kept, "chat": chat});
    vec![
        write(json!({"cmd": "app.create", "name": "another"}), &["app.created"]),
        write(json!({"cmd": "app.update", "token": kept, "name": "renamed"}), &["app.updated"]),
        write(json!({"cmd": "app.delete", "token": gone}), &["app.deleted"]),
        write(json!({"cmd": "chat.create", "app": kept, "name": "chat"}), &["chat.created"]),
        write(with(&at("chat.update", 1), "name", "renamed"), &["chat.updated"]),
        write(at("chat.delete", 2), &["chat.deleted"]),
        write(with(&at("message.post", 1), "body", "hi"), &["message.posted"]),
    ]
}

fn queues(client: &mut Client) -> Vec<Write> {
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    for n in 0..4 {
        client.put(n);
    }
    let jobs = client.reserve(4);
    client.settle("nack", &jobs[3]);
    let deleted = client.put("deleted");
    client.ok(json!({"cmd": "queue.put", "queue": "purged", "body": 1}));
    client.ok(json!({"cmd": "queue.configure", "queue": "dropped"}));
    let lease = |command: &str, place: usize| json!({"cmd": command, "job": jobs[place]["job"], "lease": jobs[place]["lease"]});
    vec![
        write(json!({"cmd": "queue.put", "queue": "q", "body": "new", "delay_ms": 600_000}), &["job.put"]),
        write(lease("queue.ack", 0), &["job.acked"]),
        write(lease("queue.nack", 1), &["job.nacked"]),
        write(with(&lease("queue.extend", 2), "lease_ms", 900_000), &["job.extended"]),
        write(json!({"cmd": "queue.revive", "queue": "q", "job": jobs[3]["job"]}), &["job.revived"]),
        write(json!({"cmd": "queue.delete", "job": deleted}), &["job.deleted"]),
        write(json!({"cmd": "queue.purge", "queue": "purged"}), &["queue.purged"]),
        write(json!({"cmd": "queue.drop", "queue": "dropped"}), &["queue.dropped"]),
        write(json!({"cmd": "queue.configure", "queue": "set", "max_jobs": 9}), &["queue.configured"]),
    ]
}

/// Everything that can be read, to be compared before and after.
pub fn everything(client: &mut Client) -> Vec<Value> {
    let mut read = |request: Value| client.ok(request).json().clone();
    let mut all = vec![
        read(json!({"cmd": "log.read", "limit": 10_000})),
        read(json!({"cmd": "kv.list"})),
        read(json!({"cmd": "message.search", "count": true})),
        read(json!({"cmd": "formula.list"})),
        read(json!({"cmd": "queue.list"})),
        read(json!({"cmd": "app.list"})),
    ];
    for app in super::list(&all[5], "apps") {
        all.push(read(json!({"cmd": "chat.list", "app": app["token"]})));
    }
    for queue in super::list(&all[4], "queues") {
        for state in ["ready", "delayed", "leased", "dead"] {
            let mut jobs = read(json!({"cmd": "queue.peek", "queue": queue["queue"], "state": state}));
            forget_clocks(&mut jobs);
            all.push(jobs);
        }
    }
    all
}

/// Takes out what a restart may move: when leases and delays end.
fn forget_clocks(peeked: &mut Value) {
    for job in peeked["jobs"].as_array_mut().into_iter().flatten() {
        if let Some(job) = job.as_object_mut() {
            job.retain(|key, _| key != "expires_at" && key != "ready_at");
        }
    }
}
