//! `kv.*`: values, their conditions, and the list of keys.

mod common;

use common::{Client, Daemon, Reply, Value, assert_ok, is_time, json};

fn set(key: &str, value: impl Into<Value>) -> Value {
    json!({"cmd": "kv.set", "key": key, "value": value.into()})
}

fn get(key: &str) -> Value {
    json!({"cmd": "kv.get", "key": key})
}

fn delete(key: &str) -> Value {
    json!({"cmd": "kv.delete", "key": key})
}

#[test]
fn a_value_is_read_as_it_was_set() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let written = client.ok(set("greeting", "hello"));
    assert_eq!(written["created"], true, "{written}");
    let read = client.ok(get("greeting"));
    assert_eq!(read["key"], "greeting", "{read}");
    assert_eq!(read["value"], "hello", "{read}");
    assert_eq!(read.seq(), written.seq(), "{read}");
    assert!(is_time(&read["at"]), "{read}");
}

#[test]
fn any_json_is_a_value_and_keeps_every_digit() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let values = [
        "null",
        "false",
        "0",
        "-0",
        "1.10",
        "1E400",
        "1e-7",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827",
        "\"\"",
        "[]",
        "{}",
        "[1,[2,{\"a\":null}],\"\"]",
        "{\"b\":1,\"a\":2.50}",
    ];
    for value in values {
        assert_ok(&client.ask_raw(format!(r#"{{"cmd":"kv.set","key":"k","value":{value}}}"#)));
        client.send(get("k"));
        let reply = client.line().expect("a reply");
        assert!(reply.contains(&format!("\"value\":{value}")), "{value} came back as {reply}");
    }
}

#[test]
fn every_character_comes_back() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let text = "\u{0}\u{1}\u{8}\t\n\r\"\\/\u{7f}\u{85}\u{a0}\u{2028}\u{2029}\u{fffd}\u{ffff}\u{10ffff}";
    client.ok(set(text, text));
    let read = client.ok(get(text));
    assert_eq!(read["value"], text, "{read}");
    assert_eq!(read["key"], text, "{read}");
}

#[test]
fn setting_again_replaces_and_gives_a_new_seq() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let first = client.ok(set("k", 1));
    let second = client.ok(set("k", 2));
    assert_eq!(second["created"], false, "{second}");
    assert!(second.seq() > first.seq(), "{second}");
    let read = client.ok(get("k"));
    assert_eq!((read["value"].clone(), read.seq()), (json!(2), second.seq()), "{read}");
}

#[test]
fn a_deleted_key_is_gone_and_can_be_created_again() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.refused(delete("k"), "not_found");
    let seq = client.ok(set("k", 1)).seq();
    assert!(client.ok(delete("k")).seq() > seq);
    client.refused(get("k"), "not_found");
    client.refused(delete("k"), "not_found");
    assert_eq!(client.ok(set("k", 2))["created"], true);
    assert_eq!(client.ok(get("k"))["value"], 2);
}

#[test]
fn a_write_can_be_conditional_on_the_seq_of_the_value() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let guarded = |value: u64, seq: u64| json!({"cmd": "kv.set", "key": "k", "value": value, "if_seq": seq});
    client.refused(guarded(1, 5), "conflict");
    let first = client.ok(guarded(1, 0));
    assert_eq!(first["created"], true, "{first}");
    client.refused(guarded(2, 0), "conflict");
    let second = client.ok(guarded(2, first.seq())).seq();
    client.refused(guarded(3, first.seq()), "conflict");
    client.refused(guarded(3, second + 1), "conflict");
    let read = client.ok(get("k"));
    assert_eq!((read["value"].clone(), read.seq()), (json!(2), second), "{read}");
}

#[test]
fn a_delete_can_be_conditional_too() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let guarded = |seq: u64| json!({"cmd": "kv.delete", "key": "k", "if_seq": seq});
    client.refused(guarded(1), "not_found");
    let seq = client.ok(set("k", 1)).seq();
    client.refused(guarded(seq + 1), "conflict");
    assert_eq!(client.ok(get("k"))["value"], 1);
    client.ok(guarded(seq));
    client.refused(get("k"), "not_found");
    client.refused(guarded(seq), "not_found");
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 2, "if_seq": 0}));
}

#[test]
fn a_refused_write_changes_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(set("k", 1));
    let before = client.last_seq();
    client.refused(json!({"cmd": "kv.set", "key": "k", "value": 2, "if_seq": 0}), "conflict");
    client.refused(delete("missing"), "not_found");
    assert_eq!(client.last_seq(), before);
}

#[test]
fn keys_may_have_1024_bytes() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for key in ["k".repeat(1024), "\u{e9}".repeat(512), "\u{1f600}".repeat(256)] {
        client.ok(set(&key, 1));
        assert_eq!(client.ok(get(&key))["key"], key);
    }
}

#[test]
fn keys_are_listed_in_byte_order() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let ordered = ["\u{1}", " ", "A", "Z", "a", "aa", "b", "\u{e9}", "\u{6771}", "\u{ffff}", "\u{10000}"];
    for key in ordered.iter().rev() {
        client.ok(set(key, 1));
    }
    let listed = client.ok(json!({"cmd": "kv.list"}));
    assert_eq!(listed.column("keys", "key"), ordered.map(|key| json!(key)), "{listed}");
    assert!(!listed.has("next"), "{listed}");
    for item in listed.list("keys") {
        let read = client.ok(get(item["key"].as_str().expect("a key")));
        assert_eq!(read["seq"], item["seq"], "{read}");
    }
}

#[test]
fn a_list_can_be_cut_to_a_prefix_and_to_what_comes_after_a_key() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for key in ["a", "job:", "job:1", "job:2", "jobs", "k"] {
        client.ok(set(key, 1));
    }
    client.ok(delete("job:1"));
    let cases = [
        (json!({"prefix": "job:"}), json!(["job:", "job:2"])),
        (json!({"prefix": ""}), json!(["a", "job:", "job:2", "jobs", "k"])),
        (json!({"prefix": "nothing"}), json!([])),
        (json!({"after": "job:"}), json!(["job:2", "jobs", "k"])),
        (json!({"after": "job:1"}), json!(["job:2", "jobs", "k"])),
        (json!({"after": "k"}), json!([])),
        (json!({"prefix": "job", "after": "job:2"}), json!(["jobs"])),
        (json!({"prefix": "job:", "after": "a"}), json!(["job:", "job:2"])),
    ];
    for (arguments, expected) in cases {
        let listed = list(&mut client, &arguments);
        assert_eq!(json!(listed.column("keys", "key")), expected, "{listed}");
    }
}

/// `kv.list` with these arguments.
fn list(client: &mut Client, arguments: &Value) -> Reply {
    client.ok(common::with(arguments, "cmd", "kv.list"))
}

#[test]
fn pages_of_keys_have_no_gap_and_no_duplicate() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let keys: Vec<String> = (0..30).map(|n| format!("k{n:03}")).collect();
    for key in &keys {
        client.ok(set(key, 1));
    }
    for limit in [1, 7, 10, 15, 29, 30, 31] {
        let mut found = Vec::new();
        let mut request = json!({"limit": limit});
        loop {
            let page = list(&mut client, &request);
            let names = page.column("keys", "key");
            assert!(!names.is_empty() && names.len() <= limit, "{page}");
            found.extend(names);
            assert_eq!(page.has("next"), found.len() < keys.len(), "{page}");
            let Some(next) = page.get("next") else { break };
            request["after"] = next.clone();
        }
        assert_eq!(json!(found), json!(keys), "limit {limit}");
    }
}

#[test]
fn a_page_ends_early_where_the_reply_would_grow_too_large() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let key = |n: usize| format!("{n:05}{}", "x".repeat(895));
    for thousand in 0..7 {
        let commands: Vec<Value> = (0..1000).map(|n| set(&key(thousand * 1000 + n), 1)).collect();
        client.ok(json!({"cmd": "batch", "commands": commands}));
    }
    let bound = client.ok(json!({"cmd": "info"}))["limits"]["reply_bytes"].as_u64().expect("a bound");
    let (mut found, mut request) = (Vec::new(), json!({"limit": 10_000}));
    loop {
        let page = list(&mut client, &request);
        assert!(page.text.len() as u64 <= bound + 2048, "a reply of {} bytes", page.text.len());
        found.extend(page.column("keys", "key"));
        let Some(next) = page.get("next") else { break };
        request["after"] = next.clone();
    }
    assert_eq!(found, (0..7000).map(|n| json!(key(n))).collect::<Vec<_>>());
}

#[test]
fn values_survive_a_restart_and_a_crash() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let kept = client.ok(set("kept", json!({"a": [1, 2]}))).seq();
    client.ok(set("gone", 1));
    client.ok(delete("gone"));
    for crash in [false, true, true, false] {
        if crash {
            daemon.crash()
        } else {
            daemon.restart()
        }
        let mut client = daemon.connect();
        let read = client.ok(get("kept"));
        assert_eq!((read["value"].clone(), read.seq()), (json!({"a": [1, 2]}), kept), "{read}");
        client.refused(get("gone"), "not_found");
    }
}
