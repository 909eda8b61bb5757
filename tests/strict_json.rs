//! What is JSON here, and what is refused as `bad_json`.

mod common;

use common::{Daemon, Reply, assert_error, assert_field, assert_ok, json};

/// It is `bad_json`, carries no id, and says at which byte.
#[track_caller]
fn assert_bad_json(reply: &Reply, line: &[u8]) {
    assert_error(reply, "bad_json");
    let offset = usize::try_from(reply.number("offset")).expect("an offset");
    assert!(offset <= line.len(), "byte {offset} is outside of the line\n{reply}");
    assert!(!reply.has("id"), "{reply}");
}

#[test]
fn what_is_not_json_is_bad_json_and_the_connection_goes_on() {
    let lines: &[&[u8]] = &[
        b"hello",
        b"{",
        b"}",
        b"{\"cmd\":\"ping\"",
        b"{\"cmd\":\"ping\",}",
        b"{\"cmd\":\"ping\"} x",
        b"{\"cmd\":\"ping\"}{\"cmd\":\"ping\"}",
        b"{'cmd':'ping'}",
        b"{cmd:\"ping\"}",
        b"{\"cmd\":\"ping\",\"id\":01}",
        b"{\"cmd\":\"ping\",\"id\":1.}",
        b"{\"cmd\":\"ping\",\"id\":.5}",
        b"{\"cmd\":\"ping\",\"id\":+1}",
        b"{\"cmd\":\"ping\",\"id\":-}",
        b"{\"cmd\":\"ping\",\"id\":1e}",
        b"{\"cmd\":\"ping\",\"id\":NaN}",
        b"{\"cmd\":\"ping\",\"id\":True}",
        b"{\"cmd\":\"ping\",\"id\":nul}",
        b"{\"cmd\":\"ping\",\"id\":[1,]}",
        b"{\"cmd\":\"ping\",\"id\":[1 2]}",
        b"{\"cmd\":\"ping\",\"id\":\"a\tb\"}",
        b"{\"cmd\":\"ping\",\"id\":\"\\x41\"}",
        b"{\"cmd\":\"ping\",\"id\":\"\\u12g4\"}",
        b"{\"cmd\":\"ping\",\"id\":\"open}",
        b"{\"cmd\":\"ping\",\"id\":1}\0",
        b"\"open",
    ];
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for line in lines {
        assert_bad_json(&client.ask_raw(line), line);
    }
    assert_ok(&client.ask(json!({"cmd": "ping"})));
}

#[test]
fn bad_json_says_at_which_byte() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let cases: &[(&[u8], usize)] = &[
        (b"hello", 0),
        (b"{\"cmd\":\"ping\" oops}", 14),
        (b"{\"cmd\":\"ping\",\"id\":\"\xff\"}", 20),
        (b"{\"cmd\":\"ping\",\"id\":\"\xc3\xa9\xff\"}", 22),
    ];
    for (line, expected) in cases {
        let reply = client.ask_raw(line);
        assert_bad_json(&reply, line);
        let offset = usize::try_from(reply.number("offset")).expect("an offset");
        assert!(offset.abs_diff(*expected) <= 1, "expected byte {expected}\n{reply}");
    }
}

#[test]
fn invalid_utf_8_is_bad_json() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let texts: &[&[u8]] = &[
        b"\xff",
        b"\x80",
        b"\xc3",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98",
    ];
    for text in texts {
        let mut line = b"{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":\"".to_vec();
        line.extend_from_slice(text);
        line.extend_from_slice(b"\"}");
        assert_bad_json(&client.ask_raw(&line), &line);
    }
    client.refused(json!({"cmd": "kv.get", "key": "k"}), "not_found");
}

#[test]
fn repeated_keys_are_bad_json_wherever_they_are() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for line in [
        r#"{"cmd":"ping","cmd":"ping"}"#,
        r#"{"cmd":"ping","id":1,"id":1}"#,
        r#"{"cmd":"kv.set","key":"k","value":{"a":1,"a":2}}"#,
        r#"{"cmd":"kv.set","key":"k","value":[{"b":{"a":1,"c":2,"a":1}}]}"#,
        r#"{"cmd":"kv.set","key":"k","value":{"a":1,"\u0061":2}}"#,
        r#"{"cmd":"kv.set","\u006bey":"k","key":"k","value":1}"#,
        r#"{"cmd":"ping","id":{"":1,"":2}}"#,
    ] {
        assert_bad_json(&client.ask_raw(line), line.as_bytes());
    }
    let fine = r#"{"cmd":"kv.set","key":"k","value":[{"a":1},{"a":1,"A":{"a":1}}]}"#;
    assert_ok(&client.ask_raw(fine));
}

#[test]
fn lone_surrogates_are_bad_json_and_pairs_are_fine() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for text in [r"\ud800", r"\udc00", r"\ud800x", r"\ud83d\ud83d", r"\udc00\ud800", r"\ud83d\u0041"] {
        for line in [
            format!(r#"{{"cmd":"ping","id":"{text}"}}"#),
            format!(r#"{{"cmd":"kv.set","key":"k","value":{{"{text}":1}}}}"#),
        ] {
            assert_bad_json(&client.ask_raw(&line), line.as_bytes());
        }
    }
    assert_ok(&client.ask_raw(r#"{"cmd":"kv.set","key":"\ud83d\ude00","value":"\ud83d\ude00"}"#));
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "\u{1f600}"}))["value"], "\u{1f600}");
}

/// A request that nests so many levels, its own object included.
fn nested(levels: usize, open: &str, close: &str) -> String {
    let inner = levels - 1;
    let (open, close) = (open.repeat(inner), close.repeat(inner));
    format!(r#"{{"cmd":"kv.set","key":"k","value":{open}1{close}}}"#)
}

#[test]
fn values_nest_128_levels_and_no_deeper() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        assert_ok(&client.ask_raw(nested(128, open, close)));
        let line = nested(129, open, close);
        assert_bad_json(&client.ask_raw(&line), line.as_bytes());
        let line = nested(100_000, open, close);
        assert_bad_json(&client.ask_raw(&line), line.as_bytes());
    }
    let brackets = json!({"cmd": "kv.set", "key": "k", "value": "[".repeat(1000)});
    client.ok(brackets);
}

#[test]
fn values_that_nest_as_deep_as_allowed_come_back() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    assert_ok(&client.ask_raw(nested(128, "[", "]")));
    client.send(json!({"cmd": "kv.get", "key": "k"}));
    let reply = client.line().expect("a reply");
    let value = format!("\"value\":{}1{}", "[".repeat(127), "]".repeat(127));
    assert!(reply.contains(&value), "{reply}");
}

#[test]
fn json_that_is_no_request_is_a_bad_request() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for line in ["[]", "1", "-0.5", "\"ping\"", "null", "true", "[{\"cmd\":\"ping\"}]", "{}"] {
        assert_field(&client.ask_raw(line), "cmd");
    }
    for line in [r#"{"cmd":1}"#, r#"{"cmd":null}"#, r#"{"cmd":["ping"]}"#, r#"{"CMD":"ping"}"#] {
        assert_field(&client.ask_raw(line), "cmd");
    }
    assert_ok(&client.ask_raw(r#"{"\u0063md":"p\u0069ng"}"#));
}

#[test]
fn keys_of_a_request_may_come_in_any_order() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let reply = client.ask_raw(r#"{"value":{"z":1,"a":2},"id":9,"key":"k","cmd":"kv.set"}"#);
    assert_ok(&reply);
    assert_eq!(reply["id"], 9, "{reply}");
}

#[test]
fn a_reply_is_one_line_also_for_those_who_take_a_carriage_return_for_its_end() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    assert_ok(&client.ask_raw("{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":[1,\r2,\r\t\"\\r\"]}\r"));
    client.send_line("{\"cmd\":\"kv.get\",\"key\":\"k\",\"id\":[\r3]}");
    let reply = client.line().expect("a reply");
    assert!(reply.contains("\"value\":[1, 2, \t\"\\r\"]") && reply.contains("\"id\":[ 3]"), "{reply}");
    assert_ok(&client.ask_raw("{\"cmd\":\"queue.put\",\"queue\":\"q\",\"body\":{\r}}"));
    client.send(json!({"cmd": "log.read"}));
    let log = client.line().expect("a reply");
    assert!(log.contains("\"body\":{ }") && !log.contains('\r'), "{log}");
}

#[test]
fn broken_requests_write_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ask_raw(r#"{"cmd":"kv.set","key":"k","value":1"#);
    client.ask_raw(r#"{"cmd":"kv.set","key":"k","value":1,"value":2}"#);
    client.ask_raw(r#"{"cmd":"kv.set","key":"k","value":1,"extra":2}"#);
    assert_eq!(client.last_seq(), 0);
}
