//! Messages to a recipient: posting, reading, editing, deleting.

mod common;

use common::{Client, Daemon, Value, is_time, json};

fn post(originator: impl Into<Value>, recipient: impl Into<Value>, body: &str) -> Value {
    json!({"cmd": "message.post", "originator": originator.into(), "recipient": recipient.into(), "body": body})
}

fn get(seq: u64) -> Value {
    json!({"cmd": "message.get", "seq": seq})
}

fn edit(seq: u64, body: &str) -> Value {
    json!({"cmd": "message.edit", "seq": seq, "body": body})
}

fn delete(seq: u64) -> Value {
    json!({"cmd": "message.delete", "seq": seq})
}

/// The seqs that a search for this text finds.
#[track_caller]
fn found(client: &mut Client, text: &str) -> Vec<Value> {
    client.ok(json!({"cmd": "message.search", "text": text})).column("messages", "seq")
}

#[test]
fn a_message_is_read_as_it_was_posted() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let posted = client.ok(post("ann", "bob", "hello there"));
    assert!(is_time(&posted["at"]), "{posted}");
    assert!(!posted.has("number"), "{posted}");
    let read = client.ok(get(posted.seq()));
    let expected = json!({
        "seq": posted["seq"], "at": posted["at"], "originator": "ann", "recipient": "bob",
        "body": "hello there",
    });
    assert_eq!(read["message"], expected, "{read}");
}

#[test]
fn an_integer_is_the_same_as_its_decimal_string() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let first = client.ok(post(42, 7, "by number")).seq();
    let second = client.ok(post("42", "7", "by string")).seq();
    client.ok(post("42.0", "07", "another"));
    for (originator, recipient) in [(json!(42), json!(7)), (json!("42"), json!("7"))] {
        let request = json!({"cmd": "message.search", "originator": originator, "recipient": recipient});
        let reply = client.ok(request);
        assert_eq!(reply.column("messages", "seq"), [json!(second), json!(first)], "{reply}");
        assert_eq!(reply.column("messages", "originator"), [json!("42"), json!("42")], "{reply}");
        assert_eq!(reply.column("messages", "recipient"), [json!("7"), json!("7")], "{reply}");
    }
    let negative = client.ok(post(-1, 9_007_199_254_740_993_u64, "x")).seq();
    let message = client.ok(get(negative));
    assert_eq!(message["message"]["originator"], "-1", "{message}");
    assert_eq!(message["message"]["recipient"], "9007199254740993", "{message}");
}

#[test]
fn a_body_may_be_empty_and_may_hold_anything() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for body in ["", " ", "\u{0}\n\"\\", "\u{1f469}\u{200d}\u{1f680}", &"long ".repeat(50_000)] {
        let seq = client.ok(post("a", "b", body)).seq();
        assert_eq!(client.ok(get(seq))["message"]["body"], *body);
    }
}

#[test]
fn names_may_have_256_bytes() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let (name, other) = ("n".repeat(256), "\u{e9}".repeat(128));
    let seq = client.ok(post(name.as_str(), other.as_str(), "x")).seq();
    let read = client.ok(get(seq));
    assert_eq!(read["message"]["originator"], name, "{read}");
    assert_eq!(read["message"]["recipient"], other, "{read}");
}

#[test]
fn a_message_goes_to_a_recipient_or_to_a_chat() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    client.ok(json!({"cmd": "chat.create", "app": app}));
    let before = client.last_seq();
    let both = json!({"cmd": "message.post", "originator": "a", "recipient": "b", "app": app, "chat": 1,
                      "body": "x"});
    client.refused(both, "bad_request");
    client.refused(json!({"cmd": "message.post", "originator": "a", "body": "x"}), "bad_request");
    client.refused(json!({"cmd": "message.post", "app": app, "body": "x"}), "bad_request");
    client.refused(json!({"cmd": "message.post", "chat": 1, "body": "x"}), "bad_request");
    assert_eq!(client.last_seq(), before);
}

#[test]
fn an_edited_message_keeps_its_seq_and_says_when_it_was_edited() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let posted = client.ok(post("ann", "bob", "first text"));
    let edited = client.ok(edit(posted.seq(), "second text"));
    assert!(edited.seq() > posted.seq(), "{edited}");
    let read = client.ok(get(posted.seq()));
    let message = &read["message"];
    assert_eq!(message["body"], "second text", "{read}");
    assert_eq!((&message["seq"], &message["at"]), (&posted["seq"], &posted["at"]), "{read}");
    assert!(is_time(&message["edited_at"]), "{read}");
    assert!(message["edited_at"].as_str() >= message["at"].as_str(), "{read}");
    client.refused(get(edited.seq()), "not_found");
}

#[test]
fn an_edited_message_is_found_by_its_new_text_alone() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let seq = client.ok(post("ann", "bob", "apple banana")).seq();
    assert_eq!(found(&mut client, "banana"), [json!(seq)]);
    for (body, yes, no) in [("apple cherry", "cherry", "banana"), ("apple banana", "banana", "cherry")] {
        client.ok(edit(seq, body));
        assert_eq!(found(&mut client, yes), [json!(seq)]);
        assert_eq!(found(&mut client, "apple"), [json!(seq)]);
        assert!(found(&mut client, no).is_empty(), "{no}");
    }
    client.ok(edit(seq, ""));
    assert!(found(&mut client, "apple").is_empty());
}

#[test]
fn a_deleted_message_is_gone() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let first = client.ok(post("ann", "bob", "apple one")).seq();
    let second = client.ok(post("ann", "bob", "apple two")).seq();
    assert!(client.ok(delete(first)).seq() > second);
    for request in [get(first), edit(first, "x"), delete(first)] {
        client.refused(request, "not_found");
    }
    assert_eq!(found(&mut client, "apple"), [json!(second)]);
    let all = client.ok(json!({"cmd": "message.search", "count": true}));
    assert_eq!(all["total"], 1, "{all}");
}

#[test]
fn a_seq_that_is_no_message_is_not_found() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let key = client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1})).seq();
    for seq in [key, key + 1, key + 1_000_000] {
        client.refused(get(seq), "not_found");
    }
    client.refused(edit(key, "x"), "not_found");
    client.refused(delete(key), "not_found");
}

#[test]
fn a_message_has_one_address_at_a_time() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let seq = client.ok(post("ann", "bob", "x")).seq();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    client.ok(json!({"cmd": "chat.create", "app": app}));
    client.ok(json!({"cmd": "message.post", "app": app, "chat": 1, "body": "y"}));
    let both = json!({"cmd": "message.get", "seq": seq, "app": app, "chat": 1, "number": 1});
    client.refused(both, "bad_request");
    client.refused(json!({"cmd": "message.get"}), "bad_request");
    client.refused(json!({"cmd": "message.get", "app": app, "chat": 1}), "bad_request");
}

#[test]
fn messages_survive_a_restart_and_a_crash() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let kept = client.ok(post("ann", "bob", "kept apple")).seq();
    let edited = client.ok(post("ann", "bob", "old apple")).seq();
    let gone = client.ok(post("ann", "bob", "gone apple")).seq();
    client.ok(edit(edited, "new pear"));
    client.ok(delete(gone));
    let before = client.ok(get(edited)).without(&[]);
    for crash in [true, false, false, true] {
        if crash {
            daemon.crash()
        } else {
            daemon.restart()
        }
        let mut client = daemon.connect();
        assert_eq!(found(&mut client, "apple"), [json!(kept)]);
        assert_eq!(found(&mut client, "pear"), [json!(edited)]);
        assert_eq!(*client.ok(get(edited)).json(), before);
        client.refused(get(gone), "not_found");
    }
}
