//! Arguments: unknown, missing and ill-typed ones are refused by name, and `help` knows them all.

mod common;

use common::{Daemon, assert_error, assert_field, json};

/// A well-formed token of no application.
const TOKEN: &str = "abcdefghijklmnopqrstuvwx";

/// Every command, as the contract lists them.
const COMMANDS: &[&str] = &[
    "ping",
    "quit",
    "help",
    "info",
    "stats",
    "metrics",
    "batch",
    "kv.set",
    "kv.get",
    "kv.delete",
    "kv.list",
    "message.post",
    "message.get",
    "message.edit",
    "message.delete",
    "message.list",
    "message.search",
    "message.follow",
    "app.create",
    "app.get",
    "app.list",
    "app.update",
    "app.delete",
    "chat.create",
    "chat.get",
    "chat.list",
    "chat.update",
    "chat.delete",
    "formula.submit",
    "formula.get",
    "formula.list",
    "queue.put",
    "queue.reserve",
    "queue.ack",
    "queue.extend",
    "queue.nack",
    "queue.configure",
    "queue.get",
    "queue.list",
    "queue.peek",
    "queue.revive",
    "queue.delete",
    "queue.purge",
    "queue.drop",
    "log.read",
    "log.follow",
];

#[test]
fn help_lists_every_command() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let help = client.ok(json!({"cmd": "help"}));
    let listed = help.column("commands", "cmd");
    for command in COMMANDS {
        assert!(listed.contains(&json!(command)), "{command} is missing in help\n{help}");
    }
    for entry in help.list("commands") {
        assert!(entry.get("args").is_some(), "{entry}");
        assert!(entry["doc"].as_str().is_some_and(|doc| !doc.is_empty()), "{entry}");
    }
}

#[test]
fn help_on_one_command_tells_its_arguments() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let help = client.ok(json!({"cmd": "help", "on": "kv.set"}));
    assert_eq!(help.column("commands", "cmd"), [json!("kv.set")], "{help}");
    let arguments = help["commands"][0]["args"].to_string();
    for argument in ["key", "value", "if_seq"] {
        assert!(arguments.contains(argument), "{argument} is missing\n{help}");
    }
}

#[test]
fn every_command_refuses_an_argument_that_it_does_not_know() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for command in COMMANDS {
        let reply = client.ask(json!({"cmd": command, "no_such_argument": 1}));
        assert_error(&reply, "bad_request");
        assert!(reply["field"].is_string(), "no argument is named\n{reply}");
    }
    client.refused_field(json!({"cmd": "ping", "extra": null}), "extra");
    client.refused_field(json!({"cmd": "kv.get", "key": "k", "value": 1}), "value");
    client.refused_field(json!({"cmd": "kv.get", "key": "k", "Key": "k"}), "Key");
    assert_eq!(client.last_seq(), 0);
}

#[test]
fn an_unknown_command_is_refused() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for command in ["", "PING", "ping ", "kv", "kv.", "kv.set.more", "request.answered", "\u{0}"] {
        client.refused(json!({"cmd": command}), "unknown_command");
    }
}

#[test]
fn a_missing_argument_is_named() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let cases = [
        (json!({"cmd": "kv.set", "value": 1}), "key"),
        (json!({"cmd": "kv.set", "key": "k"}), "value"),
        (json!({"cmd": "kv.get"}), "key"),
        (json!({"cmd": "kv.delete"}), "key"),
        (json!({"cmd": "message.post", "originator": "a", "recipient": "b"}), "body"),
        (json!({"cmd": "message.post", "recipient": "b", "body": ""}), "originator"),
        (json!({"cmd": "app.create"}), "name"),
        (json!({"cmd": "app.get"}), "token"),
        (json!({"cmd": "chat.create"}), "app"),
        (json!({"cmd": "chat.get", "app": TOKEN}), "chat"),
        (json!({"cmd": "chat.get", "chat": 1}), "app"),
        (json!({"cmd": "formula.submit", "name": "n"}), "materials"),
        (json!({"cmd": "formula.get"}), "formula"),
        (json!({"cmd": "queue.put", "queue": "q"}), "body"),
        (json!({"cmd": "queue.put", "body": 1}), "queue"),
        (json!({"cmd": "queue.reserve"}), "queue"),
        (json!({"cmd": "queue.ack", "job": 1}), "lease"),
        (json!({"cmd": "queue.nack", "lease": "x"}), "job"),
        (json!({"cmd": "queue.extend", "job": 1, "lease": "x"}), "lease_ms"),
        (json!({"cmd": "batch"}), "commands"),
    ];
    for (request, field) in cases {
        client.refused_field(request, field);
    }
}

#[test]
fn an_ill_typed_argument_is_named() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let cases = [
        (json!({"cmd": "kv.set", "key": 1, "value": 1}), "key"),
        (json!({"cmd": "kv.set", "key": "k", "value": 1, "if_seq": "1"}), "if_seq"),
        (json!({"cmd": "kv.set", "key": "k", "value": 1, "if_seq": 1.5}), "if_seq"),
        (json!({"cmd": "kv.set", "key": "k", "value": 1, "if_seq": -1}), "if_seq"),
        (json!({"cmd": "kv.list", "prefix": ["k"]}), "prefix"),
        (json!({"cmd": "kv.list", "limit": "10"}), "limit"),
        (json!({"cmd": "message.post", "originator": "a", "recipient": true, "body": ""}), "recipient"),
        (json!({"cmd": "message.post", "originator": "a", "recipient": 1.5, "body": ""}), "recipient"),
        (json!({"cmd": "message.post", "originator": {}, "recipient": "b", "body": ""}), "originator"),
        (json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": 5}), "body"),
        (json!({"cmd": "message.get", "seq": "1"}), "seq"),
        (json!({"cmd": "message.search", "order": "random"}), "order"),
        (json!({"cmd": "message.search", "since": "yesterday"}), "since"),
        (json!({"cmd": "message.search", "until": 5}), "until"),
        (json!({"cmd": "message.search", "count": 1}), "count"),
        (json!({"cmd": "app.create", "name": 7}), "name"),
        (json!({"cmd": "chat.get", "app": TOKEN, "chat": "1"}), "chat"),
        (json!({"cmd": "formula.submit", "name": "n", "materials": {}}), "materials"),
        (json!({"cmd": "queue.put", "queue": 5, "body": 1}), "queue"),
        (json!({"cmd": "queue.put", "queue": "q", "body": 1, "priority": "high"}), "priority"),
        (json!({"cmd": "queue.reserve", "queue": "q", "max": 1.5}), "max"),
        (json!({"cmd": "queue.peek", "queue": "q", "state": "lost"}), "state"),
        (json!({"cmd": "batch", "commands": {}}), "commands"),
        (json!({"cmd": "log.read", "from": "1"}), "from"),
        (json!({"cmd": "log.read", "types": "kv.set"}), "types"),
    ];
    for (request, field) in cases {
        client.refused_field(request, field);
    }
    assert_eq!(client.last_seq(), 0);
}

#[test]
fn an_argument_out_of_its_range_is_named() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let long = |bytes: usize| "x".repeat(bytes);
    let year = 31_536_000_000_u64;
    let cases = [
        (json!({"cmd": "kv.set", "key": "", "value": 1}), "key"),
        (json!({"cmd": "kv.set", "key": long(1025), "value": 1}), "key"),
        (json!({"cmd": "kv.set", "key": "\u{e9}".repeat(513), "value": 1}), "key"),
        (json!({"cmd": "kv.list", "limit": 0}), "limit"),
        (json!({"cmd": "kv.list", "limit": 10_001}), "limit"),
        (json!({"cmd": "message.search", "limit": 10_001}), "limit"),
        (json!({"cmd": "log.read", "limit": 0}), "limit"),
        (json!({"cmd": "message.post", "originator": "a", "recipient": long(257), "body": ""}), "recipient"),
        (json!({"cmd": "message.post", "originator": "", "recipient": "b", "body": ""}), "originator"),
        (json!({"cmd": "message.search", "substring": ""}), "substring"),
        (json!({"cmd": "message.search", "substring": long(1025)}), "substring"),
        (json!({"cmd": "app.create", "name": ""}), "name"),
        (json!({"cmd": "app.create", "name": long(257)}), "name"),
        (json!({"cmd": "queue.put", "queue": long(257), "body": 1}), "queue"),
        (json!({"cmd": "queue.put", "queue": "", "body": 1}), "queue"),
        (json!({"cmd": "queue.put", "queue": "q", "body": 1, "priority": 10}), "priority"),
        (json!({"cmd": "queue.put", "queue": "q", "body": 1, "delay_ms": year + 1}), "delay_ms"),
        (json!({"cmd": "queue.put", "queue": "q", "body": 1, "delay_ms": -1}), "delay_ms"),
        (json!({"cmd": "queue.reserve", "queue": "q", "max": 0}), "max"),
        (json!({"cmd": "queue.reserve", "queue": "q", "max": 1001}), "max"),
        (json!({"cmd": "queue.reserve", "queue": "q", "lease_ms": year + 1}), "lease_ms"),
        (json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": year + 1}), "wait_ms"),
        (json!({"cmd": "queue.configure", "queue": "q", "lease_ms": year + 1}), "lease_ms"),
    ];
    for (request, field) in cases {
        client.refused_field(request, field);
    }
    assert_eq!(client.last_seq(), 0);
}

#[test]
fn the_arguments_of_writes_are_refused_on_reads() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for read in ["ping", "info", "stats", "help", "kv.list", "message.search", "queue.list", "log.read"] {
        client.refused_field(json!({"cmd": read, "durable": true}), "durable");
        client.refused_field(json!({"cmd": read, "dry_run": false}), "dry_run");
        client.refused_field(json!({"cmd": read, "idempotency_key": "k"}), "idempotency_key");
    }
}

#[test]
fn the_arguments_that_every_write_has_are_checked() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let cases = [
        ("durable", json!("no")),
        ("durable", json!(null)),
        ("dry_run", json!(1)),
        ("idempotency_key", json!("")),
        ("idempotency_key", json!("x".repeat(257))),
        ("idempotency_key", json!(7)),
    ];
    for (argument, value) in cases {
        let mut request = json!({"cmd": "kv.set", "key": "k", "value": 1});
        request[argument] = value;
        assert_field(&client.ask(request), argument);
    }
    client.refused(json!({"cmd": "kv.get", "key": "k"}), "not_found");
}
