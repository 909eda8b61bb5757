//! `log.follow` and `message.follow`: the past first, then what comes, each once, with no gap.

mod common;

use common::{Client, Daemon, Reply, Value, assert_error, json};

fn set(n: u64) -> Value {
    json!({"cmd": "kv.set", "key": format!("k{}", n % 10), "value": n, "durable": false})
}

fn post(originator: &str, body: &str) -> Value {
    json!({"cmd": "message.post", "originator": originator, "recipient": "all", "body": body})
}

#[track_caller]
fn follow(daemon: &Daemon, request: Value) -> Client {
    let mut client = daemon.connect();
    let reply = client.ok(request);
    assert_eq!(reply["following"], true, "{reply}");
    client
}

/// The next line of a follower.
#[track_caller]
fn next(follower: &mut Client) -> Value {
    let line = follower.line().expect("one more line");
    serde_json::from_str(&line).expect("a line is JSON")
}

/// What `key` is in the next lines.
#[track_caller]
fn take(follower: &mut Client, count: usize, key: &str) -> Vec<Value> {
    (0..count).map(|_| next(follower)[key].clone()).collect()
}

#[test]
fn a_follower_gets_only_what_comes() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(set(1));
    client.ok(set(2));
    let mut follower = follow(&daemon, json!({"cmd": "log.follow", "id": 7}));
    client.ok(set(3));
    client.put("x");
    let events = [next(&mut follower), next(&mut follower)];
    assert_eq!(json!([events[0]["seq"], events[1]["seq"]]), json!([3, 4]), "{events:?}");
    assert_eq!(json!([events[0]["type"], events[1]["type"]]), json!(["kv.set", "job.put"]), "{events:?}");
}

#[test]
fn a_follower_gets_the_past_first() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for n in 1..=300 {
        client.send(set(n));
    }
    for _ in 1..=300 {
        client.read_ok();
    }
    let mut follower = follow(&daemon, json!({"cmd": "log.follow", "from": 11}));
    client.ok(set(301));
    assert_eq!(json!(take(&mut follower, 291, "seq")), json!((11..=301).collect::<Vec<_>>()));
}

#[test]
fn what_is_followed_is_what_is_read() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for write in common::writes(&mut client) {
        client.ok(write.request);
    }
    let events = client.ok(json!({"cmd": "log.read", "limit": 10_000})).list("events");
    let mut follower = follow(&daemon, json!({"cmd": "log.follow", "from": 1}));
    let followed: Vec<Value> = events.iter().map(|_| next(&mut follower)).collect();
    assert_eq!(followed, events);
}

#[test]
fn followers_that_join_while_others_write_miss_nothing() {
    let daemon = Daemon::start();
    let total = 2000_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let requests: Vec<Value> = (1..=total).map(set).collect();
            daemon.connect().pipeline(&requests);
        });
        for _ in 0..4 {
            let mut past = follow(&daemon, json!({"cmd": "log.follow", "from": 1}));
            let expected: Vec<u64> = (1..=total).collect();
            assert_eq!(json!(take(&mut past, expected.len(), "seq")), json!(expected));
        }
    });
    let mut client = daemon.connect();
    let mut live = follow(&daemon, json!({"cmd": "log.follow"}));
    client.ok(set(total + 1));
    assert_eq!(next(&mut live)["seq"], total + 1);
}

#[test]
fn a_live_follower_gets_an_unbroken_run() {
    let daemon = Daemon::start();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = daemon.connect();
            let requests: Vec<Value> = (1..=500).map(set).collect();
            for _ in 0..4 {
                client.pipeline(&requests);
            }
            client.ok(json!({"cmd": "kv.set", "key": "end", "value": "end"})).seq()
        });
        let mut follower = follow(&daemon, json!({"cmd": "log.follow"}));
        daemon.connect().ok(set(0));
        let first = next(&mut follower)["seq"].as_u64().expect("a seq");
        let end = writer.join().expect("no panic").max(daemon.connect().last_seq());
        for seq in first + 1..=end {
            assert_eq!(next(&mut follower)["seq"], seq);
        }
    });
}

#[test]
fn a_slow_follower_delays_nobody_and_misses_nothing() {
    let daemon = Daemon::start();
    let mut follower = follow(&daemon, json!({"cmd": "log.follow"}));
    let mut client = daemon.connect();
    let requests: Vec<Value> = (1..=20_000).map(set).collect();
    for chunk in requests.chunks(5000) {
        assert!(client.pipeline(chunk).iter().all(|reply| reply["ok"] == true));
    }
    assert_eq!(client.last_seq(), 20_000);
    for seq in 1..=20_000 {
        assert_eq!(next(&mut follower)["seq"], seq);
    }
}

#[test]
fn a_follower_can_ask_for_some_types() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put(1);
    client.ok(set(1));
    let mut follower = follow(&daemon, json!({"cmd": "log.follow", "from": 1, "types": ["job.put"]}));
    client.ok(set(2));
    client.put(2);
    assert_eq!(json!(take(&mut follower, 2, "type")), json!(["job.put", "job.put"]));
}

#[test]
fn a_half_close_does_not_end_a_follower() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut follower = follow(&daemon, json!({"cmd": "log.follow"}));
    follower.half_close();
    for n in 1..=3 {
        client.ok(set(n));
        assert_eq!(next(&mut follower)["seq"], n);
    }
}

#[test]
fn a_further_line_ends_a_follower() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for request in [json!({"cmd": "log.follow"}), json!({"cmd": "message.follow"})] {
        let mut follower = follow(&daemon, request);
        assert_error(&follower.ask(json!({"cmd": "ping"})), "bad_request");
        follower.assert_closed();
    }
    client.ok(json!({"cmd": "ping"}));
}

#[test]
fn what_was_sent_before_a_follow_is_answered_before_it() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.send(json!({"cmd": "kv.set", "key": "k", "value": 1, "id": "first"}));
    client.send(json!({"cmd": "log.follow", "from": 1, "id": "second"}));
    assert_eq!(client.read_ok()["id"], "first");
    let reply = client.read_ok();
    assert_eq!((&reply["id"], &reply["following"]), (&json!("second"), &json!(true)), "{reply}");
    assert_eq!(next(&mut client)["seq"], 1);
}

#[test]
fn a_follower_that_leaves_is_forgotten() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for n in 0..50 {
        drop(follow(&daemon, json!({"cmd": "log.follow", "from": 1})));
        client.ok(set(n));
    }
    assert_eq!(client.last_seq(), 50);
}

#[test]
fn messages_can_be_followed_past_and_live() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut seqs: Vec<u64> = (0..5).map(|n| client.ok(post("ann", &format!("old {n}"))).seq()).collect();
    client.ok(set(1));
    let mut follower = follow(&daemon, json!({"cmd": "message.follow", "from": seqs[1]}));
    seqs.extend((0..5).map(|n| client.ok(post("ann", &format!("new {n}"))).seq()));
    for seq in &seqs[1..] {
        let message = message(next(&mut follower));
        let read = client.ok(json!({"cmd": "message.get", "seq": seq}));
        assert_eq!(message, read["message"], "{read}");
    }
}

/// A follower's line is the message itself.
fn message(line: Value) -> Value {
    line.get("message").cloned().unwrap_or(line)
}

#[test]
fn messages_can_be_followed_with_every_filter() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    client.ok(json!({"cmd": "chat.create", "app": app}));
    let cases = [
        (json!({}), vec!["red apple", "green apple", "red pear", "chat apple", "end"]),
        (json!({"originator": "ann"}), vec!["red apple", "red pear", "end"]),
        (json!({"text": "apple -green"}), vec!["red apple", "chat apple"]),
        (json!({"substring": "d p"}), vec!["red pear"]),
        (json!({"app": app, "chat": 1}), vec!["chat apple"]),
        (json!({"recipient": "all", "text": "red OR end"}), vec!["red apple", "red pear", "end"]),
    ];
    let mut followers: Vec<Client> = cases
        .iter()
        .map(|(filters, _)| follow(&daemon, common::with(filters, "cmd", "message.follow")))
        .collect();
    for (originator, body) in [("ann", "red apple"), ("bob", "green apple"), ("ann", "red pear")] {
        client.ok(post(originator, body));
    }
    client.ok(json!({"cmd": "message.post", "app": app, "chat": 1, "body": "chat apple"}));
    client.ok(post("ann", "end"));
    for ((filters, expected), live) in cases.iter().zip(&mut followers) {
        let mut past =
            follow(&daemon, common::with(&common::with(filters, "cmd", "message.follow"), "from", 1));
        for follower in [&mut past, live] {
            let bodies: Vec<Value> =
                expected.iter().map(|_| message(next(follower))["body"].clone()).collect();
            assert_eq!(json!(bodies), json!(expected), "{filters}");
        }
    }
}

#[test]
fn followed_messages_have_the_text_of_now_and_deleted_ones_are_left_out() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let seqs: Vec<u64> = (0..3).map(|n| client.ok(post("ann", &format!("text {n}"))).seq()).collect();
    client.ok(json!({"cmd": "message.delete", "seq": seqs[0]}));
    client.ok(json!({"cmd": "message.edit", "seq": seqs[1], "body": "edited"}));
    let mut follower = follow(&daemon, json!({"cmd": "message.follow", "from": 1}));
    let first = message(next(&mut follower));
    assert_eq!((&first["seq"], &first["body"]), (&json!(seqs[1]), &json!("edited")), "{first}");
    assert_eq!(message(next(&mut follower))["seq"], seqs[2]);
    client.ok(json!({"cmd": "message.edit", "seq": seqs[2], "body": "edits are not followed"}));
    let last = client.ok(post("ann", "last")).seq();
    assert_eq!(message(next(&mut follower))["seq"], last);
}

#[test]
fn a_bad_filter_does_not_make_a_follower() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let refused: Reply = client.ask(json!({"cmd": "message.follow", "text": "*"}));
    assert_error(&refused, "bad_request");
    client.refused(json!({"cmd": "message.follow", "app": "abcdefghijklmnopqrstuvwx"}), "not_found");
    client.ok(json!({"cmd": "ping"}));
}

#[test]
fn followers_that_never_read_cost_no_memory_and_hold_nobody_up() {
    let mut daemon = Daemon::start();
    let sloths: Vec<Client> =
        (0..100).map(|_| follow(&daemon, json!({"cmd": "log.follow", "from": 1}))).collect();
    let mut client = daemon.connect();
    let set = |n: u64| json!({"cmd": "kv.set", "key": format!("k{n}"), "value": "x".repeat(10_000)});
    let requests: Vec<Value> = (0..2000).map(set).collect();
    assert!(client.pipeline(&requests).iter().all(|reply| reply["ok"] == true));
    // Twenty megabytes were written; held for every follower they would be two gigabytes.
    let buffered = client.ok(json!({"cmd": "stats"}))["connections"]["buffered_bytes"].as_u64();
    assert!(buffered.is_some_and(|bytes| bytes < 64 << 20), "{buffered:?}");
    assert_eq!(daemon.stop(), Some(0), "stderr: {}", daemon.stderr());
    drop(sloths);
}
