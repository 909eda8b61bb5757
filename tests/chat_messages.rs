//! Messages in chats: numbers, both ways to address them, lists, and searches inside.

mod common;

use common::{Client, Daemon, Reply, Value, json};

/// A daemon with one application of two chats.
fn two_chats() -> (Daemon, Client, String) {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    client.ok(json!({"cmd": "chat.create", "app": app}));
    client.ok(json!({"cmd": "chat.create", "app": app}));
    (daemon, client, app)
}

#[track_caller]
fn post(client: &mut Client, app: &str, chat: u64, body: &str) -> Reply {
    client.ok(json!({"cmd": "message.post", "app": app, "chat": chat, "body": body}))
}

#[test]
fn a_message_in_a_chat_has_a_number_and_a_seq() {
    let (_daemon, mut client, app) = two_chats();
    let posted =
        client.ok(json!({"cmd": "message.post", "app": app, "chat": 1, "originator": 9, "body": "hi"}));
    assert_eq!(posted["number"], 1, "{posted}");
    let expected = json!({
        "seq": posted["seq"], "at": posted["at"], "originator": "9", "app": app, "chat": 1, "number": 1,
        "body": "hi",
    });
    for address in [json!({"seq": posted["seq"]}), json!({"app": app, "chat": 1, "number": 1})] {
        let read = client.ok(common::with(&address, "cmd", "message.get"));
        assert_eq!(read["message"], expected, "{read}");
    }
    let anonymous = post(&mut client, &app, 1, "").seq();
    let read = client.ok(json!({"cmd": "message.get", "seq": anonymous}));
    assert!(read["message"].get("originator").is_none(), "{read}");
}

#[test]
fn messages_are_numbered_in_each_chat_and_never_twice() {
    let (_daemon, mut client, app) = two_chats();
    for number in 1..=3 {
        assert_eq!(post(&mut client, &app, 1, "x")["number"], number);
    }
    assert_eq!(post(&mut client, &app, 2, "x")["number"], 1);
    for number in [3, 1, 2] {
        client.ok(json!({"cmd": "message.delete", "app": app, "chat": 1, "number": number}));
    }
    assert_eq!(post(&mut client, &app, 1, "x")["number"], 4);
    client.refused(json!({"cmd": "message.get", "app": app, "chat": 1, "number": 3}), "not_found");
    client.refused(json!({"cmd": "message.get", "app": app, "chat": 1, "number": 5}), "not_found");
}

#[test]
fn posting_to_a_chat_that_is_not_there_is_refused() {
    let (_daemon, mut client, app) = two_chats();
    let before = client.last_seq();
    let nowhere = json!({"cmd": "message.post", "app": app, "chat": 3, "body": "x"});
    client.refused(nowhere, "not_found");
    let unknown = json!({"cmd": "message.post", "app": "abcdefghijklmnopqrstuvwx", "chat": 1, "body": "x"});
    client.refused(unknown, "not_found");
    assert_eq!(client.last_seq(), before);
}

#[test]
fn both_addresses_edit_and_delete_the_same_message() {
    let (_daemon, mut client, app) = two_chats();
    let seq = post(&mut client, &app, 1, "one").seq();
    let number = json!({"app": app, "chat": 1, "number": 1});
    let by_number = |command: &str| common::with(&number, "cmd", command);
    client.ok(common::with(&by_number("message.edit"), "body", "two"));
    let read = client.ok(json!({"cmd": "message.get", "seq": seq}));
    assert_eq!(read["message"]["body"], "two", "{read}");
    client.ok(json!({"cmd": "message.edit", "seq": seq, "body": "three"}));
    let read = client.ok(by_number("message.get"));
    assert_eq!(read["message"]["body"], "three", "{read}");
    assert_eq!(read["message"]["seq"], seq, "{read}");
    client.ok(by_number("message.delete"));
    client.refused(json!({"cmd": "message.get", "seq": seq}), "not_found");
    client.refused(by_number("message.delete"), "not_found");
}

#[test]
fn a_chat_is_listed_by_number_in_pages() {
    let (_daemon, mut client, app) = two_chats();
    for n in 1..=20 {
        post(&mut client, &app, 1, &format!("message {n}"));
        post(&mut client, &app, 2, "other");
    }
    client.ok(json!({"cmd": "message.delete", "app": app, "chat": 1, "number": 7}));
    client.ok(json!({"cmd": "message.edit", "app": app, "chat": 1, "number": 8, "body": "edited"}));
    let expected: Vec<u64> = (1..=20).filter(|number| *number != 7).collect();
    for limit in [1, 6, 19, 20] {
        let mut request = json!({"cmd": "message.list", "app": app, "chat": 1, "limit": limit});
        let mut found = Vec::new();
        loop {
            let page = client.ok(request.clone());
            found.extend(page.column("messages", "number"));
            assert_eq!(page.has("next"), found.len() < expected.len(), "{page}");
            let Some(next) = page.get("next") else { break };
            request["after"] = next.clone();
        }
        assert_eq!(json!(found), json!(expected), "limit {limit}");
    }
    let after = client.ok(json!({"cmd": "message.list", "app": app, "chat": 1, "after": 6, "limit": 1}));
    assert_eq!(after["messages"][0]["body"], "edited", "{after}");
    assert!(common::is_time(&after["messages"][0]["edited_at"]), "{after}");
}

#[test]
fn a_search_can_stay_in_a_chat_in_an_application_or_go_everywhere() {
    let (_daemon, mut client, app) = two_chats();
    let other = client.ok(json!({"cmd": "app.create", "name": "b"})).string("token");
    client.ok(json!({"cmd": "chat.create", "app": other}));
    let first = post(&mut client, &app, 1, "fresh apple pie").seq();
    let second = post(&mut client, &app, 2, "apple tree").seq();
    let third = post(&mut client, &other, 1, "pineapple, apple").seq();
    let fourth =
        client.ok(json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": "apple"})).seq();
    let cases = [
        (json!({"text": "apple"}), vec![fourth, third, second, first]),
        (json!({"text": "apple", "app": app}), vec![second, first]),
        (json!({"text": "apple", "app": app, "chat": 1}), vec![first]),
        (json!({"text": "apple", "app": other, "chat": 1}), vec![third]),
        (json!({"text": "\"apple pie\"", "app": app}), vec![first]),
        (json!({"text": "pine*", "app": app}), vec![]),
        (json!({"substring": "eapp", "app": other}), vec![third]),
        (json!({"substring": "apple", "app": app, "chat": 2}), vec![second]),
        (json!({"app": app}), vec![second, first]),
        (json!({"app": app, "chat": 2}), vec![second]),
    ];
    for (filters, expected) in cases {
        let found = client.ok(common::with(&common::with(&filters, "cmd", "message.search"), "count", true));
        assert_eq!(json!(found.column("messages", "seq")), json!(expected), "{found}");
        assert_eq!(found["total"], expected.len(), "{found}");
    }
}

#[test]
fn an_edited_message_is_found_in_its_chat_by_its_new_text_alone() {
    let (_daemon, mut client, app) = two_chats();
    let seq = post(&mut client, &app, 1, "apple").seq();
    client.ok(json!({"cmd": "message.edit", "seq": seq, "body": "pear"}));
    let mut found = |text: &str| {
        let search = json!({"cmd": "message.search", "app": app, "chat": 1, "text": text});
        client.ok(search).column("messages", "seq")
    };
    assert_eq!(found("pear"), [json!(seq)]);
    assert!(found("apple").is_empty());
}

#[test]
fn a_chat_with_many_messages_gives_every_one_of_them() {
    let (mut daemon, mut client, app) = two_chats();
    let requests: Vec<Value> = (0..2000)
        .map(|n| json!({"cmd": "message.post", "app": app, "chat": n % 2 + 1, "body": format!("n{n}")}))
        .collect();
    let replies = client.pipeline(&requests);
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(reply["number"], n / 2 + 1, "{reply}");
    }
    daemon.crash();
    let mut client = daemon.connect();
    let list = json!({"cmd": "message.list", "app": app, "chat": 2, "limit": 10_000});
    let listed = client.ok(list);
    let expected: Vec<String> = (0..1000).map(|n| format!("n{}", 2 * n + 1)).collect();
    assert_eq!(json!(listed.column("messages", "body")), json!(expected));
}
