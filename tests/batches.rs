//! `batch`: all of it happens, or none of it.

mod common;

use common::{Client, Daemon, Reply, Value, assert_error, everything, frames, json, list, with, writes};

fn batch(commands: impl Into<Value>) -> Value {
    json!({"cmd": "batch", "commands": commands.into()})
}

fn set(key: &str, value: impl Into<Value>) -> Value {
    json!({"cmd": "kv.set", "key": key, "value": value.into()})
}

/// It fails with this code at this member.
#[track_caller]
fn assert_fails_at(reply: &Reply, code: &str, index: usize) {
    assert_error(reply, code);
    assert_eq!(reply["index"], index, "{reply}");
}

#[test]
fn a_batch_has_one_reply_for_each_command() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let reply = client.ok(with(&batch([set("a", 1), set("b", 2), set("a", 3)]), "id", "all"));
    assert_eq!(reply["id"], "all", "{reply}");
    assert_eq!(reply.column("results", "ok"), [json!(true), json!(true), json!(true)], "{reply}");
    assert_eq!(reply.column("results", "seq"), [json!(1), json!(2), json!(3)], "{reply}");
    assert_eq!(reply.column("results", "created"), [json!(true), json!(true), json!(false)], "{reply}");
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "a"}))["value"], 3);
}

#[test]
fn when_one_command_fails_nothing_happens() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(set("there", 1));
    let before = everything(&mut client);
    let guarded = with(&set("there", 2), "if_seq", 0);
    let failures = [
        (json!([set("a", 1), set("b", 2), guarded, set("c", 3)]), "conflict", 2),
        (json!([{"cmd": "kv.delete", "key": "missing"}, set("a", 1)]), "not_found", 0),
        (json!([set("a", 1), {"cmd": "no.such"}]), "unknown_command", 1),
        (json!([set("a", 1), {"cmd": "kv.set", "key": "b"}]), "bad_request", 1),
        (json!([set("a", 1), {"cmd": "queue.ack", "job": 1, "lease": "x"}]), "not_found", 1),
        (
            json!([{"cmd": "queue.put", "queue": "q", "body": 1}, {"cmd": "kv.delete", "key": "x"}]),
            "not_found",
            1,
        ),
        (
            json!([{"cmd": "app.create", "name": "a"}, {"cmd": "app.delete", "token": "abcdefghijklmnopqrstuvwx"}]),
            "not_found",
            1,
        ),
    ];
    for (commands, code, index) in failures {
        let reply = client.ask(batch(commands));
        assert_fails_at(&reply, code, index);
    }
    assert_eq!(everything(&mut client), before);
}

#[test]
fn later_commands_see_the_earlier_ones() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    let post = |chat: u64| json!({"cmd": "message.post", "app": app, "chat": chat, "body": "x"});
    let chat = json!({"cmd": "chat.create", "app": app});
    let reply = client.ok(batch(json!([chat, post(1), chat, post(1), post(2), post(1)])));
    let numbers = reply.column("results", "number");
    assert_eq!(json!(numbers), json!([1, 1, 2, 2, 1, 3]), "{reply}");

    let fail = client.ask(batch(json!([set("k", 1), {"cmd": "kv.delete", "key": "k"},
                                       {"cmd": "kv.delete", "key": "k"}])));
    assert_fails_at(&fail, "not_found", 2);
    client.ok(batch(json!([set("k", 1), {"cmd": "kv.delete", "key": "k"}, set("k", 2)])));
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "k"}))["value"], 2);
}

#[test]
fn a_job_is_acked_and_its_result_stored_only_if_the_guard_holds() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let state = client.ok(set("state", "old")).seq();
    client.put("work");
    let job = client.reserve_one();
    let ack = json!({"cmd": "queue.ack", "job": job["job"], "lease": job["lease"]});
    let next = json!({"cmd": "queue.put", "queue": "q", "body": "more"});
    let step = |guard: u64| batch(json!([ack, with(&set("state", "new"), "if_seq", guard), next]));

    assert_fails_at(&client.ask(step(state + 1)), "conflict", 1);
    assert_eq!(client.queue()["leased"], 1, "the job is still held");
    client.ok(step(state));
    let queue = client.queue();
    assert_eq!(json!([queue["leased"], queue["ready"]]), json!([0, 1]), "{queue}");
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "state"}))["value"], "new");
    assert_fails_at(&client.ask(step(state)), "not_found", 0);
}

#[test]
fn writes_of_every_noun_go_into_one_batch() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let all = writes(&mut client);
    let before = client.last_seq();
    let commands: Vec<Value> = all.iter().map(|write| write.request.clone()).collect();
    let reply = client.ok(batch(commands));
    assert_eq!(reply.list("results").len(), all.len(), "{reply}");
    let log = client.ok(json!({"cmd": "log.read", "from": before + 1, "limit": 10_000}));
    let expected: Vec<&str> = all.iter().flat_map(|write| write.events).copied().collect();
    assert_eq!(json!(log.column("events", "type")), json!(expected), "{log}");

    daemon.kill();
    let last = before + expected.len() as u64;
    let bytes = common::content(&common::newest_segment(&daemon.data()));
    let together = frames(&bytes).iter().any(|frame| {
        let bound = |key: &str| frame.header[key].as_u64().expect("a seq");
        bound("first") <= before + 1 && bound("last") >= last
    });
    assert!(together, "the batch is not in one frame");
}

#[test]
fn a_batch_holds_1_to_1000_commands() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let many = |count: usize| batch((0..count).map(|n| set(&format!("k{n}"), n)).collect::<Vec<_>>());
    client.refused_field(many(0), "commands");
    client.refused_field(many(1001), "commands");
    assert_eq!(client.last_seq(), 0);
    client.ok(many(1));
    assert_eq!(client.ok(many(1000)).list("results").len(), 1000);
}

#[test]
fn only_plain_writes_may_be_in_a_batch() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let members = [
        json!({"cmd": "ping"}),
        json!({"cmd": "kv.get", "key": "k"}),
        json!({"cmd": "quit"}),
        json!({"cmd": "log.follow"}),
        batch([set("k", 1)]),
        with(&set("k", 1), "id", 1),
        with(&set("k", 1), "durable", true),
        with(&set("k", 1), "dry_run", false),
        with(&set("k", 1), "idempotency_key", "x"),
        with(&set("k", 1), "extra", 1),
        json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 5}),
        json!({}),
        json!({"cmd": 1}),
    ];
    for member in members {
        assert_fails_at(&client.ask(batch(json!([set("a", 1), member]))), "bad_request", 1);
    }
    for member in [json!(1), json!("kv.set"), json!(null), json!([])] {
        client.refused(batch(json!([set("a", 1), member])), "bad_request");
    }
    assert_eq!(client.last_seq(), 0);
}

#[test]
fn a_reserve_in_a_batch_that_finds_nothing_is_no_failure() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let reserve = json!({"cmd": "queue.reserve", "queue": "q", "lease_ms": 600_000});
    let empty = client.ok(batch(json!([reserve, set("k", 1)])));
    assert_eq!(empty["results"][0]["jobs"], json!([]), "{empty}");
    client.ok(json!({"cmd": "kv.get", "key": "k"}));

    let put = json!({"cmd": "queue.put", "queue": "q", "body": "x"});
    let taken = client.ok(batch(json!([put, reserve, reserve])));
    let jobs = list(&taken["results"][1], "jobs");
    assert_eq!(jobs[0]["job"], taken["results"][0]["job"], "{taken}");
    assert_eq!(taken["results"][2]["jobs"], json!([]), "{taken}");
    common::assert_ok(&client.settle("ack", &jobs[0]));
}

#[test]
fn a_put_in_a_batch_wakes_a_waiting_reserve() {
    let daemon = Daemon::start();
    let (mut worker, mut client) = (daemon.connect(), daemon.connect());
    worker.send(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 25_000}));
    client.ok(batch(json!([set("k", 1), {"cmd": "queue.put", "queue": "q", "body": "x"}])));
    assert_eq!(worker.read_ok()["jobs"][0]["body"], "x");
}

#[test]
fn nobody_ever_sees_half_a_batch() {
    let daemon = Daemon::start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = daemon.connect();
            for turn in 0..200 {
                client.ok(batch([set("a", turn), set("b", turn)]));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let mut reader = daemon.connect();
        while !stop.load(std::sync::atomic::Ordering::Relaxed) && !writer.is_finished() {
            assert_never_half(&mut reader);
        }
    });
    assert_never_half(&mut daemon.connect());
}

/// The two keys of a batch have neighbouring seqs: both are there, of the same batch.
#[track_caller]
fn assert_never_half(reader: &mut Client) {
    let keys = reader.ok(json!({"cmd": "kv.list"}));
    let seqs: Vec<u64> = keys.column("keys", "seq").iter().filter_map(Value::as_u64).collect();
    assert!(seqs.is_empty() || (seqs.len() == 2 && seqs[1] == seqs[0] + 1), "half a batch\n{keys}");
}

#[test]
fn the_first_member_that_fails_is_named_also_when_a_later_one_cannot_be_read() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let absent = json!({"cmd": "kv.delete", "key": "absent"});
    let unread = [
        json!({"cmd": "kv.set", "key": "k"}),
        json!({"cmd": "no.such"}),
        json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 5}),
        json!(7),
    ];
    for later in unread {
        let batch = |commands: Vec<Value>| json!({"cmd": "batch", "commands": commands});
        let reply = client.refused(batch(vec![set("k", 1), absent.clone(), later.clone()]), "not_found");
        assert_eq!(reply["index"], 1, "{reply}");
        let reply = client.ask(batch(vec![set("k", 1), later.clone(), absent.clone()]));
        assert_eq!((&reply["ok"], &reply["index"]), (&json!(false), &json!(1)), "{reply}");
        client.refused(json!({"cmd": "kv.get", "key": "k"}), "not_found");
    }
}
