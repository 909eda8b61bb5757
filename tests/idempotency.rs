//! Idempotency keys: a second time changes nothing and gets the first one's reply, for ever.

mod common;

use std::os::unix::process::CommandExt;

use common::{Client, Daemon, Reply, Value, assert_error, assert_ok, everything, json, with, writes};

fn set(key: &str, value: impl Into<Value>, idempotency_key: &str) -> Value {
    json!({"cmd": "kv.set", "key": key, "value": value.into(), "idempotency_key": idempotency_key})
}

/// It is the first one's reply, said to be a replay.
#[track_caller]
fn assert_replay(reply: &Reply, first: &Reply) {
    assert_ok(reply);
    assert_eq!(reply["replayed"], true, "{reply}");
    let own = &["replayed", "id"];
    assert_eq!(reply.without(own), first.without(own), "\n{reply}");
    assert!(!first.has("replayed"), "{first}");
}

#[test]
fn a_second_time_gets_the_first_reply_and_changes_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let first = client.ok(set("k", 1, "once"));
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 2}));
    let before = everything(&mut client);
    let again = daemon.connect().ok(with(&set("k", 1, "once"), "id", "again"));
    assert_replay(&again, &first);
    assert_eq!(again["id"], "again", "the id is the request's own\n{again}");
    assert_eq!(everything(&mut client), before);
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "k"}))["value"], 2);
}

#[test]
fn every_kind_of_write_can_be_repeated_over_restarts() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let requests: Vec<Value> = writes(&mut client)
        .iter()
        .enumerate()
        .map(|(n, write)| with(&write.request, "idempotency_key", format!("key {n}")))
        .collect();
    let first: Vec<Reply> = requests.iter().map(|request| client.ok(request.clone())).collect();
    let before = everything(&mut client);
    for turn in 0..3 {
        let mut client = daemon.connect();
        for (request, first) in requests.iter().zip(&first) {
            assert_replay(&client.ask(request.clone()), first);
        }
        assert_eq!(everything(&mut client), before, "turn {turn}");
        if turn == 0 { daemon.crash() } else { daemon.restart() }
    }
}

#[test]
fn other_content_under_the_same_key_is_a_conflict() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let first = client.ok(set("k", 1, "once"));
    let post = json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": "x",
                      "idempotency_key": "once"});
    for other in [
        set("k", 2, "once"),
        set("other", 1, "once"),
        set("k", "1", "once"),
        with(&set("k", 1, "once"), "if_seq", 0),
        json!({"cmd": "kv.delete", "key": "k", "idempotency_key": "once"}),
        json!({"cmd": "batch", "commands": [{"cmd": "kv.set", "key": "k", "value": 1}],
               "idempotency_key": "once"}),
        post,
    ] {
        client.refused(other, "conflict");
    }
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "k"}))["seq"], first["seq"]);
    assert_replay(&client.ask(set("k", 1, "once")), &first);
}

#[test]
fn the_content_is_what_is_asked_and_not_how_it_is_written() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let first = client.ask_raw(
        r#"{"cmd":"kv.set","key":"k\u00e9","value":{"a":[1.50,"x/y"],"b":null},"idempotency_key":"once"}"#,
    );
    assert_ok(&first);
    for same in [
        "{\"idempotency_key\":\"once\",\"value\":{\"b\":null,\"a\":[1.50,\"x/y\"]},\"key\":\"k\u{e9}\",\
         \"cmd\":\"kv.set\"}",
        "{ \"cmd\" : \"kv.set\" , \"key\":\"k\\u00E9\",\"value\":{\"a\":[ 1.50,\"x\\/y\" ],\"b\":null },\
         \"idempotency_key\":\"\\u006fnce\",\"id\":5}",
        "{\"cmd\":\"kv.set\",\"key\":\"k\u{e9}\",\"value\":{\"a\":[1.50,\"x\\u002fy\"],\"b\":null},\
         \"idempotency_key\":\"once\",\"durable\":false}",
    ] {
        assert_replay(&client.ask_raw(same), &first);
    }
    for number in ["1.5", "1.500", "15e-1", "1.50e0"] {
        let other = "{\"cmd\":\"kv.set\",\"key\":\"k\u{e9}\",\"value\":{\"a\":[1.50,\"x/y\"],\"b\":null},\
                     \"idempotency_key\":\"once\"}"
            .replace("1.50", number);
        assert_error(&client.ask_raw(other), "conflict");
    }
}

#[test]
fn a_failed_request_binds_no_key() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let delete = json!({"cmd": "kv.delete", "key": "k", "idempotency_key": "once"});
    client.refused(delete.clone(), "not_found");
    client.refused(json!({"cmd": "kv.set", "key": "k", "idempotency_key": "once"}), "bad_request");
    let first = client.ok(set("k", 1, "once"));
    client.refused(delete, "conflict");
    assert_replay(&client.ask(set("k", 1, "once")), &first);
}

#[test]
fn a_dry_run_binds_no_key_and_answers_like_the_real_one_under_a_bound_key() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let dry = client.ok(with(&set("k", 1, "once"), "dry_run", true));
    assert!(!dry.has("replayed"), "{dry}");
    let first = client.ok(set("k", 2, "once"));
    assert!(!first.has("replayed"), "{first}");
    let replay = client.ok(with(&set("k", 2, "once"), "dry_run", true));
    assert_eq!(replay["replayed"], true, "{replay}");
    assert_eq!(replay["seq"], first["seq"], "{replay}");
    client.refused(with(&set("k", 1, "once"), "dry_run", true), "conflict");
}

#[test]
fn a_batch_has_one_key() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let batch = |value: u64| {
        json!({"cmd": "batch", "idempotency_key": "once", "commands": [
            {"cmd": "kv.set", "key": "k", "value": value}, {"cmd": "queue.put", "queue": "q", "body": 1}]})
    };
    let first = client.ok(batch(1));
    assert_replay(&client.ask(batch(1)), &first);
    client.refused(batch(2), "conflict");
    daemon.crash();
    let mut client = daemon.connect();
    assert_replay(&client.ask(batch(1)), &first);
    assert_eq!(client.queue()["ready"], 1);
}

#[test]
fn a_reserve_takes_no_key() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let reserve = json!({"cmd": "queue.reserve", "queue": "q"});
    client.refused_field(with(&reserve, "idempotency_key", "k"), "idempotency_key");
    let batch = json!({"cmd": "batch", "commands": [reserve], "idempotency_key": "k"});
    client.refused(batch, "bad_request");
    assert_eq!(client.last_seq(), 0);
}

#[test]
fn a_key_has_1_to_256_bytes() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for key in ["k", "\u{0}", &"k".repeat(256), &"\u{1f600}".repeat(64)] {
        let first = client.ok(set("k", 1, key));
        assert_replay(&client.ask(set("k", 1, key)), &first);
    }
    client.refused_field(set("k", 1, ""), "idempotency_key");
    client.refused_field(set("k", 1, &"\u{1f600}".repeat(65)), "idempotency_key");
}

#[test]
fn repeats_that_are_sent_ahead_happen_once() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let post = json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": "x",
                      "idempotency_key": "once"});
    let replies = client.pipeline(&vec![post; 200]);
    for reply in &replies[1..] {
        assert_replay(reply, &replies[0]);
    }
    assert_eq!(client.ok(json!({"cmd": "message.search", "count": true}))["total"], 1);
}

#[test]
fn repeats_from_many_clients_at_once_happen_once() {
    let daemon = Daemon::start();
    let mut clients: Vec<Client> = (0..16).map(|_| daemon.connect()).collect();
    for client in &mut clients {
        client.send(json!({"cmd": "queue.put", "queue": "q", "body": 1, "idempotency_key": "once"}));
    }
    let replies: Vec<Reply> = clients.iter_mut().map(Client::read_ok).collect();
    assert_eq!(replies.iter().filter(|reply| !reply.has("replayed")).count(), 1);
    assert!(replies.iter().all(|reply| reply["job"] == replies[0]["job"]));
    assert_eq!(daemon.connect().queue()["ready"], 1);
}

#[test]
fn keys_belong_to_the_user_who_sent_them() {
    let daemon = Daemon::with(&["--socket-mode", "666"]);
    let mut client = daemon.connect();
    let first = client.ok(set("k", 1, "once"));
    assert_replay(&client.ask(set("k", 1, "once")), &first);
    if common::own_uid() != 0 {
        return; // only root can ask as somebody else
    }
    let mut other = common::tool("nc", "netcat-openbsd");
    other.args(["-N", "-U"]).arg(daemon.socket()).uid(64_123).gid(64_123);
    let request = format!("{}\n", set("k", "another's", "once"));
    let printed = common::run_tool(other, request.as_bytes(), "netcat-openbsd");
    assert!(printed.starts_with("{\"ok\":true") && !printed.contains("replayed"), "{printed}");
    let log = client.ok(json!({"cmd": "log.read", "types": ["kv.set"]}));
    assert_eq!(json!(log.column("events", "uid")), json!([common::own_uid(), 64_123]), "{log}");
}
