//! Applications and chats: tokens, names, counts, what deleting takes along.

mod common;

use common::{Client, Daemon, Reply, Value, is_time, json};

#[track_caller]
fn new_app(client: &mut Client, name: &str) -> String {
    client.ok(json!({"cmd": "app.create", "name": name})).string("token")
}

#[track_caller]
fn new_chat(client: &mut Client, app: &str) -> u64 {
    client.ok(json!({"cmd": "chat.create", "app": app})).number("number")
}

#[track_caller]
fn post(client: &mut Client, app: &str, chat: u64, body: &str) -> Reply {
    client.ok(json!({"cmd": "message.post", "app": app, "chat": chat, "body": body}))
}

#[track_caller]
fn chats_count(client: &mut Client, app: &str) -> u64 {
    common::number(&client.ok(json!({"cmd": "app.get", "token": app}))["app"], "chats_count")
}

#[track_caller]
fn messages_count(client: &mut Client, app: &str, chat: u64) -> u64 {
    common::number(&client.ok(json!({"cmd": "chat.get", "app": app, "chat": chat}))["chat"], "messages_count")
}

#[test]
fn an_application_is_known_by_its_token() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let created = client.ok(json!({"cmd": "app.create", "name": "shop"}));
    let token = created.string("token");
    assert_eq!(token.len(), 24, "{created}");
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{created}");
    assert!(created.seq() > 0, "{created}");
    let app = client.ok(json!({"cmd": "app.get", "token": token}));
    assert_eq!(app["app"]["token"], token.as_str(), "{app}");
    assert_eq!(app["app"]["name"], "shop", "{app}");
    assert_eq!(app["app"]["chats_count"], 0, "{app}");
    assert!(is_time(&app["app"]["created_at"]), "{app}");
}

#[test]
fn no_two_applications_have_the_same_token() {
    let daemon = Daemon::start();
    let requests = vec![json!({"cmd": "app.create", "name": "same"}); 300];
    let replies = daemon.connect().pipeline(&requests);
    let mut tokens: Vec<String> = replies.iter().map(|reply| reply.string("token")).collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 300);
}

#[test]
fn applications_are_listed_by_creation_in_pages() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut tokens: Vec<String> = (0..12).map(|n| new_app(&mut client, &format!("app {n}"))).collect();
    client.ok(json!({"cmd": "app.delete", "token": tokens.remove(5)}));
    for limit in [1, 4, 11, 12] {
        let (mut found, mut request) = (Vec::new(), json!({"cmd": "app.list", "limit": limit}));
        loop {
            let page = client.ok(request.clone());
            found.extend(page.column("apps", "token"));
            assert_eq!(page.has("next"), found.len() < tokens.len(), "{page}");
            let Some(next) = page.get("next") else { break };
            request["after"] = next.clone();
        }
        assert_eq!(json!(found), json!(tokens), "limit {limit}");
    }
    let listed = client.ok(json!({"cmd": "app.list"}));
    let got = client.ok(json!({"cmd": "app.get", "token": tokens[0]}));
    assert_eq!(listed["apps"][0], got["app"], "{listed}");
}

#[test]
fn an_application_can_be_renamed() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = new_app(&mut client, "old");
    let before = client.last_seq();
    assert!(client.ok(json!({"cmd": "app.update", "token": app, "name": "new"})).seq() > before);
    assert_eq!(client.ok(json!({"cmd": "app.get", "token": app}))["app"]["name"], "new");
    let unknown = "abcdefghijklmnopqrstuvwx";
    client.refused(json!({"cmd": "app.update", "token": unknown, "name": "x"}), "not_found");
    client.refused(json!({"cmd": "app.get", "token": unknown}), "not_found");
    client.refused(json!({"cmd": "app.delete", "token": unknown}), "not_found");
}

#[test]
fn chats_are_numbered_in_each_application_and_never_twice() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let (one, two) = (new_app(&mut client, "one"), new_app(&mut client, "two"));
    for number in 1..=3 {
        assert_eq!(new_chat(&mut client, &one), number);
    }
    assert_eq!(new_chat(&mut client, &two), 1);
    client.ok(json!({"cmd": "chat.delete", "app": one, "chat": 3}));
    assert_eq!(new_chat(&mut client, &one), 4);
    for chat in [1, 2, 4] {
        client.ok(json!({"cmd": "chat.delete", "app": one, "chat": chat}));
    }
    assert_eq!(new_chat(&mut client, &one), 5);
    assert_eq!(chats_count(&mut client, &one), 1);
    client.refused(json!({"cmd": "chat.create", "app": "abcdefghijklmnopqrstuvwx"}), "not_found");
}

#[test]
fn a_chat_may_have_a_name_and_get_another() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = new_app(&mut client, "a");
    new_chat(&mut client, &app);
    client.ok(json!({"cmd": "chat.create", "app": app, "name": "named"}));
    let unnamed = client.ok(json!({"cmd": "chat.get", "app": app, "chat": 1}));
    assert!(unnamed["chat"].get("name").is_none(), "{unnamed}");
    assert_eq!(unnamed["chat"]["number"], 1, "{unnamed}");
    assert_eq!(unnamed["chat"]["messages_count"], 0, "{unnamed}");
    assert!(is_time(&unnamed["chat"]["created_at"]), "{unnamed}");
    assert_eq!(client.ok(json!({"cmd": "chat.get", "app": app, "chat": 2}))["chat"]["name"], "named");
    for (chat, name) in [(1, "first"), (2, "renamed")] {
        client.ok(json!({"cmd": "chat.update", "app": app, "chat": chat, "name": name}));
        let renamed = client.ok(json!({"cmd": "chat.get", "app": app, "chat": chat}));
        assert_eq!(renamed["chat"]["name"], name, "{renamed}");
    }
    client.refused(json!({"cmd": "chat.update", "app": app, "chat": 3, "name": "x"}), "not_found");
}

#[test]
fn chats_are_listed_by_number_in_pages() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = new_app(&mut client, "a");
    for _ in 0..10 {
        new_chat(&mut client, &app);
    }
    client.ok(json!({"cmd": "chat.delete", "app": app, "chat": 4}));
    for limit in [1, 3, 9, 10] {
        let (mut found, mut request) = (Vec::new(), json!({"cmd": "chat.list", "app": app, "limit": limit}));
        loop {
            let page = client.ok(request.clone());
            found.extend(page.column("chats", "number"));
            assert_eq!(page.has("next"), found.len() < 9, "{page}");
            let Some(next) = page.get("next") else { break };
            request["after"] = next.clone();
        }
        assert_eq!(json!(found), json!([1, 2, 3, 5, 6, 7, 8, 9, 10]), "limit {limit}");
    }
    let after = client.ok(json!({"cmd": "chat.list", "app": app, "after": 4}));
    assert_eq!(after["chats"][0]["number"], 5, "{after}");
}

#[test]
fn counts_are_exact_after_every_step() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = new_app(&mut client, "a");
    for chat in 1..=3 {
        assert_eq!(new_chat(&mut client, &app), chat);
        assert_eq!(chats_count(&mut client, &app), chat);
        for number in 1..=chat {
            assert_eq!(post(&mut client, &app, chat, "x").number("number"), number);
            assert_eq!(messages_count(&mut client, &app, chat), number);
        }
    }
    client.ok(json!({"cmd": "message.delete", "app": app, "chat": 3, "number": 2}));
    assert_eq!(messages_count(&mut client, &app, 3), 2);
    client.ok(json!({"cmd": "message.edit", "app": app, "chat": 3, "number": 1, "body": "y"}));
    assert_eq!(messages_count(&mut client, &app, 3), 2);
    client.ok(json!({"cmd": "chat.delete", "app": app, "chat": 1}));
    assert_eq!(chats_count(&mut client, &app), 2);
    let listed = client.ok(json!({"cmd": "chat.list", "app": app}));
    assert_eq!(listed.column("chats", "messages_count"), [json!(2), json!(2)], "{listed}");
}

#[test]
fn deleting_a_chat_takes_its_messages_along() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = new_app(&mut client, "a");
    for _ in 0..2 {
        new_chat(&mut client, &app);
    }
    let gone = post(&mut client, &app, 1, "apple gone").seq();
    let kept = post(&mut client, &app, 2, "apple kept").seq();
    client.ok(json!({"cmd": "chat.delete", "app": app, "chat": 1}));
    let chat = json!({"app": app, "chat": 1});
    for (command, more) in [
        ("chat.get", json!({})),
        ("chat.delete", json!({})),
        ("chat.update", json!({"name": "x"})),
        ("message.list", json!({})),
        ("message.search", json!({})),
        ("message.post", json!({"body": "x"})),
        ("message.get", json!({"number": 1})),
    ] {
        let mut request = common::with(&chat, "cmd", command);
        for (key, value) in more.as_object().expect("arguments") {
            request[key] = value.clone();
        }
        client.refused(request, "not_found");
    }
    client.refused(json!({"cmd": "message.get", "seq": gone}), "not_found");
    let found = client.ok(json!({"cmd": "message.search", "text": "apple", "count": true}));
    assert_eq!(found.column("messages", "seq"), [json!(kept)], "{found}");
    assert_eq!(found["total"], 1, "{found}");
}

#[test]
fn deleting_an_application_takes_everything_along() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let (gone, kept) = (new_app(&mut client, "gone"), new_app(&mut client, "kept"));
    for app in [&gone, &kept] {
        new_chat(&mut client, app);
        new_chat(&mut client, app);
        post(&mut client, app, 1, "apple");
        post(&mut client, app, 2, "apple");
    }
    client.ok(json!({"cmd": "app.delete", "token": gone}));
    for request in [
        json!({"cmd": "app.get", "token": gone}),
        json!({"cmd": "app.delete", "token": gone}),
        json!({"cmd": "chat.create", "app": gone}),
        json!({"cmd": "chat.get", "app": gone, "chat": 1}),
        json!({"cmd": "chat.list", "app": gone}),
        json!({"cmd": "message.list", "app": gone, "chat": 1}),
        json!({"cmd": "message.get", "app": gone, "chat": 1, "number": 1}),
        json!({"cmd": "message.post", "app": gone, "chat": 1, "body": "x"}),
        json!({"cmd": "message.search", "app": gone}),
    ] {
        client.refused(request, "not_found");
    }
    let found = client.ok(json!({"cmd": "message.search", "text": "apple", "count": true}));
    assert_eq!(found["total"], 2, "{found}");
    assert!(found.column("messages", "app").iter().all(|app| *app == kept.as_str()), "{found}");
    assert_eq!(client.ok(json!({"cmd": "app.list"})).column("apps", "token"), [json!(kept)]);
}

#[test]
fn numbers_and_counts_survive_a_restart() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = new_app(&mut client, "a");
    for _ in 0..3 {
        new_chat(&mut client, &app);
        post(&mut client, &app, 1, "x");
    }
    client.ok(json!({"cmd": "chat.delete", "app": app, "chat": 3}));
    client.ok(json!({"cmd": "message.delete", "app": app, "chat": 1, "number": 3}));
    let before: Vec<Value> = state(&mut client, &app);
    for (turn, crash) in [true, false].into_iter().enumerate() {
        if crash {
            daemon.crash()
        } else {
            daemon.restart()
        }
        let mut client = daemon.connect();
        if turn == 0 {
            assert_eq!(state(&mut client, &app), before);
        }
        assert_eq!(new_chat(&mut client, &app), 4 + turn as u64);
        assert_eq!(post(&mut client, &app, 1, "y").number("number"), 4 + turn as u64);
        assert_eq!(messages_count(&mut client, &app, 1), 3 + turn as u64);
    }
}

/// Everything that can be read of an application.
fn state(client: &mut Client, app: &str) -> Vec<Value> {
    [
        json!({"cmd": "app.list"}),
        json!({"cmd": "chat.list", "app": app}),
        json!({"cmd": "message.list", "app": app, "chat": 1}),
    ]
    .map(|request| client.ok(request).json().clone())
    .to_vec()
}
