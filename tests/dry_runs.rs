//! `dry_run` says what would happen, and nothing does; `durable` says when a write is answered.

mod common;

use common::{Daemon, Value, everything, json, list, with, writes};

#[test]
fn a_dry_run_tells_the_events_of_the_real_one_and_writes_none() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let all = writes(&mut client);
    let before = everything(&mut client);
    for write in &all {
        let dry = client.ok(with(&write.request, "dry_run", true));
        assert_eq!(dry["dry_run"], true, "{dry}");
        assert_eq!(json!(dry.column("events", "type")), json!(write.events), "{dry}");
    }
    assert_eq!(everything(&mut client), before);
    for write in &all {
        let from = client.last_seq() + 1;
        let real = client.ok(write.request.clone());
        assert!(!real.has("dry_run") && !real.has("events"), "{real}");
        let log = client.ok(json!({"cmd": "log.read", "from": from}));
        assert_eq!(json!(log.column("events", "type")), json!(write.events), "{log}");
    }
}

#[test]
fn a_dry_run_has_the_shape_of_the_real_reply() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for write in writes(&mut client) {
        let dry = client.ok(with(&write.request, "dry_run", true));
        let real = client.ok(with(&write.request, "dry_run", false));
        let keys = |value: &Value| value.as_object().expect("a reply").keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&dry.without(&["dry_run", "events"])), keys(real.json()), "\n{dry}\n{real}");
    }
}

#[test]
fn a_dry_run_fails_where_the_real_one_would() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_jobs": 1}));
    client.put("the only one");
    for (request, code) in [
        (json!({"cmd": "kv.set", "key": "k", "value": 2, "if_seq": 0}), "conflict"),
        (json!({"cmd": "kv.delete", "key": "missing"}), "not_found"),
        (json!({"cmd": "kv.set", "key": "k"}), "bad_request"),
        (json!({"cmd": "queue.put", "queue": "q", "body": 1}), "queue_full"),
    ] {
        client.refused(with(&request, "dry_run", true), code);
    }
}

#[test]
fn a_dry_batch_does_nothing_either() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let all = writes(&mut client);
    let before = everything(&mut client);
    let commands: Vec<Value> = all.iter().map(|write| write.request.clone()).collect();
    let batch = json!({"cmd": "batch", "commands": commands, "dry_run": true});
    let dry = client.ok(batch.clone());
    let expected: Vec<&str> = all.iter().flat_map(|write| write.events).copied().collect();
    assert_eq!(json!(dry.column("events", "type")), json!(expected), "{dry}");
    assert_eq!(dry.list("results").len(), all.len(), "{dry}");
    assert_eq!(everything(&mut client), before);
    client.ok(with(&batch, "dry_run", false));
}

#[test]
fn a_dry_reserve_leases_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    let dry = client.ok(json!({"cmd": "queue.reserve", "queue": "q", "dry_run": true}));
    assert_eq!(dry["jobs"][0]["body"], "x", "{dry}");
    assert_eq!(json!(dry.column("events", "type")), json!(["job.leased"]), "{dry}");
    assert_eq!(client.queue()["ready"], 1);
    assert_eq!(client.reserve_one()["attempt"], 1);
}

#[test]
fn tokens_of_a_dry_run_are_examples() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let dry = client.ok(json!({"cmd": "app.create", "name": "a", "dry_run": true}));
    assert_eq!(dry.string("token").len(), 24, "{dry}");
    client.refused(json!({"cmd": "app.get", "token": dry["token"]}), "not_found");
    let real = client.ok(json!({"cmd": "app.create", "name": "a"}));
    assert_ne!(real["token"], dry["token"], "{real}");
}

#[test]
fn every_write_can_wait_for_the_disk_or_not() {
    for durable in [true, false] {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        let mut events: Vec<&str> = Vec::new();
        for write in writes(&mut client) {
            client.ok(with(&write.request, "durable", durable));
            events.extend(write.events);
        }
        let before = everything(&mut client);
        daemon.crash();
        assert_eq!(everything(&mut daemon.connect()), before, "durable: {durable}");
        let types = list(&before[0], "events");
        assert!(types.len() > events.len(), "durable: {durable}");
    }
}

#[test]
fn a_write_that_does_not_wait_is_seen_by_everybody() {
    let daemon = Daemon::start();
    let (mut writer, mut reader) = (daemon.connect(), daemon.connect());
    for value in 0..200 {
        let seq = writer.ok(json!({"cmd": "kv.set", "key": "k", "value": value, "durable": false})).seq();
        let read = reader.ok(json!({"cmd": "kv.get", "key": "k"}));
        assert_eq!((read["value"].clone(), read.seq()), (json!(value), seq), "{read}");
        assert!(reader.last_seq() >= seq);
    }
}
