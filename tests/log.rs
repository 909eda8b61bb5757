//! `log.read`: everything that happened, each event once, in order.

mod common;

use common::{Client, Daemon, Reply, Value, is_time, json, own_uid, with, writes};

fn set(n: u64) -> Value {
    json!({"cmd": "kv.set", "key": format!("k{n}"), "value": n})
}

fn read(arguments: &Value) -> Value {
    with(arguments, "cmd", "log.read")
}

#[track_caller]
fn write_some(client: &mut Client, count: u64) {
    let requests: Vec<Value> = (1..=count).map(set).collect();
    assert!(client.pipeline(&requests).iter().all(|reply| reply["ok"] == true));
}

#[test]
fn an_empty_log_has_no_events() {
    let daemon = Daemon::start();
    let reply = daemon.connect().ok(read(&json!({})));
    assert_eq!(reply["events"], json!([]), "{reply}");
    assert!(!reply.has("next"), "{reply}");
}

#[test]
fn events_are_numbered_from_1_without_a_gap() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for write in writes(&mut client) {
        client.ok(write.request);
    }
    let last = client.last_seq();
    let log = client.ok(read(&json!({"limit": 10_000})));
    assert_eq!(json!(log.column("events", "seq")), json!((1..=last).collect::<Vec<_>>()), "{log}");
    let mut before = String::new();
    for event in log.list("events") {
        assert!(is_time(&event["at"]), "{event}");
        assert!(event["type"].as_str().is_some_and(|kind| kind.contains('.')), "{event}");
        assert_eq!(event["uid"], own_uid(), "{event}");
        let at = common::string(&event, "at");
        assert!(at >= before, "time runs backwards at {event}");
        before = at;
    }
}

#[test]
fn an_event_carries_the_seq_and_at_that_the_writer_was_told() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(set(1));
    let posted = client.ok(json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": "hi"}));
    let log = client.ok(read(&json!({"from": posted["seq"]})));
    let event = &log["events"][0];
    assert_eq!(json!([event["seq"], event["at"]]), json!([posted["seq"], posted["at"]]), "{log}");
    assert_eq!(event["type"], "message.posted", "{log}");
}

#[test]
fn every_kind_of_write_has_its_event() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for write in writes(&mut client) {
        let from = client.last_seq() + 1;
        client.ok(write.request.clone());
        let log = client.ok(read(&json!({"from": from})));
        assert_eq!(json!(log.column("events", "type")), json!(write.events), "{}\n{log}", write.request);
    }
}

#[test]
fn leases_and_their_ends_are_events() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    client.await_job(1);
    client.await_count("leased", 0);
    let again = client.reserve_one();
    client.ok(json!({"cmd": "queue.nack", "job": again["job"], "lease": again["lease"], "delay_ms": 1}));
    client.await_count("ready", 1);
    let log = client.ok(read(&json!({})));
    let expected = json!(["job.put", "job.leased", "job.expired", "job.leased", "job.nacked", "job.readied"]);
    assert_eq!(json!(log.column("events", "type")), expected, "{log}");
}

#[test]
fn the_log_does_not_tell_leases() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    let lease = common::string(&client.reserve_one(), "lease");
    let log = client.ok(read(&json!({})));
    assert_eq!(log["events"][1]["type"], "job.leased", "{log}");
    assert!(!log.text.contains(&lease), "the token is in the log\n{log}");
}

#[test]
fn a_failed_write_is_no_event() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(set(1));
    client.refused(json!({"cmd": "kv.delete", "key": "missing"}), "not_found");
    client.refused(json!({"cmd": "kv.set", "key": "k1", "value": 2, "if_seq": 0}), "conflict");
    assert_eq!(client.ok(read(&json!({}))).list("events").len(), 1);
}

#[test]
fn pages_of_the_log_have_no_gap_and_no_duplicate() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    write_some(&mut client, 60);
    for limit in [1, 7, 20, 59, 60, 61] {
        let (mut seqs, mut request) = (Vec::new(), read(&json!({"limit": limit})));
        loop {
            let page = client.ok(request.clone());
            let found = page.column("events", "seq");
            assert!(!found.is_empty() && found.len() <= limit, "{page}");
            seqs.extend(found);
            assert_eq!(page.has("next"), seqs.len() < 60, "{page}");
            let Some(next) = page.get("next") else { break };
            request["from"] = next.clone();
        }
        assert_eq!(json!(seqs), json!((1..=60).collect::<Vec<_>>()), "limit {limit}");
    }
}

#[test]
fn a_page_has_100_events_unless_told() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    write_some(&mut client, 101);
    let page = client.ok(read(&json!({})));
    assert_eq!(page.list("events").len(), 100, "{page}");
    assert!(page.has("next"), "{page}");
}

#[test]
fn reading_can_begin_anywhere() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    write_some(&mut client, 10);
    for (from, expected) in [(1, 10), (2, 9), (10, 1), (11, 0), (1000, 0)] {
        let page = client.ok(read(&json!({"from": from})));
        assert_eq!(page.list("events").len(), expected, "from {from}\n{page}");
        assert!(!page.has("next"), "{page}");
    }
}

#[test]
fn reading_can_be_cut_to_some_types() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for n in 0..30 {
        client.ok(set(n));
        if n % 3 == 0 {
            client.put(n);
        }
    }
    client.ok(json!({"cmd": "kv.delete", "key": "k7"}));
    let count = |reply: &Reply| reply.list("events").len();
    assert_eq!(count(&client.ok(read(&json!({"types": ["job.put"]})))), 10);
    assert_eq!(count(&client.ok(read(&json!({"types": ["job.put", "kv.deleted"]})))), 11);
    let (mut found, mut request) = (0, read(&json!({"types": ["job.put"], "limit": 4})));
    loop {
        let page = client.ok(request.clone());
        assert!(page.column("events", "type").iter().all(|kind| kind == "job.put"), "{page}");
        found += count(&page);
        let Some(next) = page.get("next") else { break };
        request["from"] = next.clone();
    }
    assert_eq!(found, 10);
}

#[test]
fn the_log_is_the_same_after_a_restart() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    for write in writes(&mut client) {
        client.ok(write.request);
    }
    let before = client.ok(read(&json!({"limit": 10_000}))).text;
    for crash in [true, false] {
        if crash {
            daemon.crash()
        } else {
            daemon.restart()
        }
        assert_eq!(daemon.connect().ok(read(&json!({"limit": 10_000}))).text, before);
    }
}

#[test]
fn numbers_in_events_keep_every_digit() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    common::assert_ok(&client.ask_raw(r#"{"cmd":"kv.set","key":"k","value":[1.50,1e400,-0]}"#));
    client.send(read(&json!({})));
    let reply = client.line().expect("a reply");
    assert!(reply.contains("[1.50,1e400,-0]"), "{reply}");
}
