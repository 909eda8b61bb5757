//! Framing: what a line is, and that every line gets its one reply, in order.

mod common;

use std::io::{Read, Write};

use common::{Client, Daemon, Value, assert_error, assert_ok, json};

fn ids(replies: &[common::Reply]) -> Vec<Value> {
    replies.iter().map(|reply| reply["id"].clone()).collect()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let daemon = Daemon::start();
    let requests: Vec<Value> = (0..4000)
        .map(|id| match id % 4 {
            0 => json!({"cmd": "ping", "id": id}),
            1 => json!({"cmd": "kv.set", "key": format!("k{id}"), "value": id, "id": id, "durable": false}),
            2 => json!({"cmd": "no.such", "id": id}),
            _ => json!({"cmd": "kv.get", "key": format!("k{}", id - 2), "id": id}),
        })
        .collect();
    let replies = daemon.connect().pipeline(&requests);
    assert_eq!(ids(&replies), (0..4000).map(Value::from).collect::<Vec<_>>());
    for (id, reply) in replies.iter().enumerate().filter(|(id, _)| id % 4 == 3) {
        assert_eq!(reply["value"], id - 2, "{reply}");
    }
}

#[test]
fn a_pipelined_read_sees_the_writes_before_it_and_none_behind_it() {
    let daemon = Daemon::start();
    let requests: Vec<Value> = (0..600)
        .map(|turn| match turn % 2 {
            0 => json!({"cmd": "kv.set", "key": "k", "value": turn, "durable": turn % 3 == 0}),
            _ => json!({"cmd": "kv.get", "key": "k"}),
        })
        .collect();
    let replies = daemon.connect().pipeline(&requests);
    for (turn, reply) in replies.iter().enumerate() {
        assert_ok(reply);
        if turn % 2 == 1 {
            assert_eq!(reply["value"], turn - 1, "{reply}");
            assert_eq!(reply["seq"], replies[turn - 1]["seq"], "{reply}");
        }
    }
}

#[test]
fn thousands_of_durable_writes_can_be_sent_ahead() {
    let daemon = Daemon::start();
    let requests: Vec<Value> =
        (0..3000).map(|n| json!({"cmd": "kv.set", "key": format!("k{n}"), "value": n})).collect();
    let replies = daemon.connect().pipeline(&requests);
    let seqs: Vec<u64> = replies.iter().map(common::Reply::seq).collect();
    assert_eq!(seqs, (1..=3000).collect::<Vec<u64>>());
}

#[test]
fn what_was_sent_before_a_half_close_is_answered_and_then_the_daemon_closes() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for id in 0..500 {
        client.send(json!({"cmd": "kv.set", "key": "k", "value": id, "id": id}));
    }
    client.half_close();
    for id in 0..500 {
        assert_eq!(client.read_ok()["id"], id);
    }
    client.assert_closed();
}

#[test]
fn a_half_close_without_a_request_closes() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.half_close();
    client.assert_closed();
}

#[test]
fn a_last_line_without_its_end_is_answered() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.send_bytes("{\"cmd\":\"ping\",\"id\":1}\n{\"cmd\":\"ping\",\"id\":2}");
    client.half_close();
    assert_eq!(client.read_ok()["id"], 1);
    assert_eq!(client.read_ok()["id"], 2);
    client.assert_closed();
}

#[test]
fn half_a_request_before_a_half_close_is_bad_json() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.send_bytes("{\"cmd\":\"ping\"");
    client.half_close();
    assert_error(&client.read(), "bad_json");
    client.assert_closed();
}

#[test]
fn lines_may_end_like_on_windows() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.send_bytes("{\"cmd\":\"ping\",\"id\":1}\r\n\r\n{\"cmd\":\"ping\",\"id\":2}\r\n");
    assert_eq!(client.read_ok()["id"], 1);
    assert_eq!(client.read_ok()["id"], 2);
}

#[test]
fn empty_lines_and_lines_of_white_space_are_skipped() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.send_bytes("\n\n   \n\t\n \r\n{\"cmd\":\"ping\",\"id\":1}\n\n{\"cmd\":\"ping\",\"id\":2}\n \n  ");
    client.half_close();
    assert_eq!(client.read_ok()["id"], 1);
    assert_eq!(client.read_ok()["id"], 2);
    client.assert_closed();
}

#[test]
fn white_space_around_and_inside_a_request_is_fine() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    assert_ok(&client.ask_raw(" \t{ \"cmd\" : \"ping\" ,\t\"id\" : [ 1 , 2 ] } \r"));
}

#[test]
fn a_request_may_come_in_pieces() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for byte in "{\"cmd\":\"kv.set\",\"key\":\"\u{e9}\",\"value\":\"\u{1f600}\"}\n".bytes() {
        client.send_bytes([byte]);
    }
    assert_ok(&client.read());
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "\u{e9}"}))["value"], "\u{1f600}");
}

#[test]
fn what_is_sent_behind_quit_does_not_turn_the_end_into_a_reset() {
    let daemon = Daemon::start();
    let mut stream = daemon.connect().stream();
    // More than is read at once, and no more than the kernel takes in one piece.
    let request = "{\"cmd\":\"quit\"}\n".to_owned() + &"{\"cmd\":\"ping\"}\n".repeat(1500);
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut replies = String::new();
    stream.read_to_string(&mut replies).expect("the end, and no reset");
    assert_eq!(replies, "{\"ok\":true}\n");
}

#[test]
fn quit_is_answered_and_then_the_daemon_closes() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.send(json!({"cmd": "kv.set", "key": "k", "value": 1, "id": "first"}));
    client.send(json!({"cmd": "quit", "id": "last"}));
    assert_eq!(client.read_ok()["id"], "first");
    assert_eq!(client.read_ok()["id"], "last");
    client.assert_closed();
}

/// A `kv.set` of exactly so many bytes.
fn line_of(bytes: usize) -> String {
    let empty = r#"{"cmd":"kv.set","key":"k","value":""}"#;
    empty.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - empty.len())))
}

#[test]
fn a_line_may_be_as_long_as_the_limit_and_not_a_byte_longer() {
    let daemon = Daemon::with(&["--max-line", "1024"]);
    let mut client = daemon.connect();
    assert_ok(&client.ask_raw(line_of(1024)));
    assert_error(&client.ask_raw(line_of(1025)), "too_large");
    assert_ok(&client.ask_raw(line_of(1024)));
}

#[test]
fn the_default_limit_is_one_mebibyte() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    assert_ok(&client.ask_raw(line_of(1 << 20)));
    assert_error(&client.ask_raw(line_of((1 << 20) + 1)), "too_large");
    let value = client.ok(json!({"cmd": "kv.get", "key": "k"}));
    assert!(value.text.len() > 1 << 20, "a value as long as a line comes back: {value}");
}

#[test]
fn a_line_over_the_limit_gets_one_reply_in_its_place() {
    let daemon = Daemon::with(&["--max-line", "1024"]);
    let mut client = daemon.connect();
    let mut lines = "{\"cmd\":\"ping\",\"id\":1}\n".to_owned();
    lines += &line_of(5_000_000);
    lines += "\n{\"cmd\":\"ping\",\"id\":2}\n";
    let mut stream = client.stream();
    let writer = std::thread::spawn(move || stream.write_all(lines.as_bytes()));
    assert_eq!(client.read_ok()["id"], 1);
    let refusal = client.read();
    assert_error(&refusal, "too_large");
    assert!(!refusal.has("id"), "{refusal}");
    assert_eq!(client.read_ok()["id"], 2);
    writer.join().expect("no panic").expect("everything was taken");
    client.refused(json!({"cmd": "kv.get", "key": "k"}), "not_found");
}

#[test]
fn a_line_over_the_limit_need_not_end() {
    let daemon = Daemon::with(&["--max-line", "1024"]);
    let mut client = daemon.connect();
    client.send_bytes(line_of(100_000));
    client.half_close();
    assert_error(&client.read(), "too_large");
    client.assert_closed();
}

/// One request, its reply as it came.
fn echo(client: &mut Client, id: &str) -> String {
    client.send_bytes(format!("{{\"cmd\":\"ping\",\"id\":{id}}}\n"));
    client.line().expect("a reply")
}

#[test]
fn whoever_types_something_else_than_json_sees_what_a_request_looks_like() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for (line, told) in [("hello", "expected value"), ("\u{feff}{\"cmd\":\"ping\"}", "byte order mark")] {
        let reply = client.ask_raw(line);
        assert_eq!((&reply["error"], &reply["offset"]), (&json!("bad_json"), &json!(0)), "{reply}");
        let message = reply["message"].as_str().expect("a text");
        assert!(message.contains(told) && message.contains(r#"such as {"cmd":"ping"}"#), "{message}");
    }
}

#[test]
fn any_json_value_is_an_id_and_comes_back() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let ids = [
        "null",
        "true",
        "0",
        "-7",
        "\"\"",
        "\"text\"",
        "[]",
        "[1,\"two\",null]",
        "{\"a\":{\"b\":[]}}",
        "12345678901234567890123456789",
        "0.10000000000000000000000000001",
        "1.50",
        "1e400",
    ];
    for id in ids {
        let reply = echo(&mut client, id);
        assert!(reply.contains(&format!("\"id\":{id}")), "id {id} came back as {reply}");
        assert!(reply.starts_with("{\"ok\":true"), "{reply}");
    }
}

#[test]
fn refusals_carry_the_id_too() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for request in [
        json!({"cmd": "no.such", "id": "a"}),
        json!({"cmd": "kv.get", "id": "a"}),
        json!({"cmd": "kv.get", "key": "missing", "id": "a"}),
        json!({"id": "a"}),
    ] {
        let reply = client.ask(request);
        assert_eq!(reply["ok"], false, "{reply}");
        assert_eq!(reply["id"], "a", "{reply}");
    }
    let reply = client.ok(json!({"cmd": "ping"}));
    assert!(!reply.has("id"), "{reply}");
}
