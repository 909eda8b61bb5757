//! kill -9 in the middle of everything: what was answered is there, and nothing is there by half.

mod common;

use std::io::Write;

use common::{Client, Daemon, Value, json};

/// Reads every item of a list, page after page.
fn pages(client: &mut Client, request: &Value, name: &str, cursor: &str) -> Vec<Value> {
    let mut request = common::with(request, "limit", 10_000);
    let mut items = Vec::new();
    loop {
        let page = client.ok(request.clone());
        items.extend(page.list(name));
        let Some(next) = page.get("next") else { return items };
        request[cursor] = next.clone();
    }
}

/// Every event, from 1 without a gap.
#[track_caller]
fn unbroken_log(client: &mut Client) -> Vec<Value> {
    let events = pages(client, &json!({"cmd": "log.read"}), "events", "from");
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], place + 1, "{event}");
    }
    events
}

/// Sends requests ahead, kills the daemon when so many are answered, and gives what was answered.
fn kill_amid(daemon: &mut Daemon, request: impl Fn(u64) -> Value, after: usize) -> Vec<(u64, Value)> {
    let mut client = daemon.connect();
    let lines: String = (0..5000).map(|n| format!("{}\n", common::with(&request(n), "id", n))).collect();
    let mut stream = client.stream();
    let mut answered = Vec::new();
    let mut take = |line: &str| {
        let reply: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(reply["ok"], true, "{reply}");
        answered.push((reply["id"].as_u64().expect("an id"), reply));
    };
    std::thread::scope(|scope| {
        scope.spawn(move || stream.write_all(lines.as_bytes()));
        for _ in 0..after {
            take(&client.line().expect("a reply"));
        }
        daemon.kill();
        client.whole_lines_to_the_end().iter().for_each(|line| take(line));
    });
    daemon.launch();
    answered
}

#[test]
fn every_answered_write_survives_kill_9() {
    for (durable, after) in [(true, 1), (true, 400), (false, 700)] {
        let mut daemon = Daemon::start();
        let set = |n| json!({"cmd": "kv.set", "key": format!("k{n}"), "value": n, "durable": durable});
        let answered = kill_amid(&mut daemon, set, after);
        let mut client = daemon.connect();
        for (n, reply) in &answered {
            let read = client.ok(json!({"cmd": "kv.get", "key": format!("k{n}")}));
            assert_eq!((&read["value"], &read["seq"]), (&json!(n), &reply["seq"]), "{read}");
        }
        assert!(unbroken_log(&mut client).len() >= answered.len());
        let next = client.ok(json!({"cmd": "kv.set", "key": "next", "value": 1})).seq();
        assert_eq!(unbroken_log(&mut client).len() as u64, next);
    }
}

#[test]
fn no_batch_is_there_by_half_after_kill_9() {
    let mut daemon = Daemon::start();
    let batch = |n: u64| {
        json!({"cmd": "batch", "commands": [
            {"cmd": "kv.set", "key": format!("a{n}"), "value": n},
            {"cmd": "queue.put", "queue": "q", "body": n},
            {"cmd": "kv.set", "key": format!("b{n}"), "value": n}]})
    };
    let answered = kill_amid(&mut daemon, batch, 300);
    let mut client = daemon.connect();
    let keys = pages(&mut client, &json!({"cmd": "kv.list"}), "keys", "after");
    let names = |prefix: char| -> Vec<String> {
        keys.iter().filter_map(|item| item["key"].as_str()?.strip_prefix(prefix).map(str::to_owned)).collect()
    };
    assert_eq!(names('a'), names('b'));
    assert!(names('a').len() >= answered.len());
    let jobs = common::number(&client.queue(), "ready");
    assert_eq!(jobs, names('a').len() as u64);
    assert_eq!(unbroken_log(&mut client).len() as u64, 3 * jobs);
}

#[test]
fn numbers_are_not_given_twice_after_kill_9() {
    let mut daemon = Daemon::start();
    let app = daemon.connect().ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    daemon.connect().ok(json!({"cmd": "chat.create", "app": app}));
    let post = |n: u64| json!({"cmd": "message.post", "app": app, "chat": 1, "body": format!("m{n}")});
    let answered = kill_amid(&mut daemon, post, 300);
    let mut client = daemon.connect();
    let list = json!({"cmd": "message.list", "app": app, "chat": 1});
    let messages = pages(&mut client, &list, "messages", "after");
    for (place, message) in messages.iter().enumerate() {
        assert_eq!(message["number"], place + 1, "{message}");
        assert_eq!(message["body"], format!("m{place}"), "{message}");
    }
    assert!(messages.len() >= answered.len());
    assert_eq!(client.ok(post(0))["number"], messages.len() + 1);
    let chat = client.ok(json!({"cmd": "chat.get", "app": app, "chat": 1}));
    assert_eq!(chat["chat"]["messages_count"], messages.len() + 1, "{chat}");
}

#[test]
fn repeating_everything_with_keys_after_kill_9_does_each_thing_once() {
    let mut daemon = Daemon::start();
    let put =
        |n: u64| json!({"cmd": "queue.put", "queue": "q", "body": n, "idempotency_key": format!("put {n}")});
    let answered = kill_amid(&mut daemon, put, 250);
    let mut client = daemon.connect();
    let requests: Vec<Value> = (0..5000).map(put).collect();
    let replies = client.pipeline(&requests);
    for (n, first) in &answered {
        let again = &replies[usize::try_from(*n).expect("an index")];
        assert_eq!((&again["job"], &again["replayed"]), (&first["job"], &json!(true)), "{again}");
    }
    assert_eq!(client.queue()["ready"], 5000);
}

#[test]
fn a_daemon_that_is_killed_again_and_again_loses_nothing() {
    let mut daemon = Daemon::start();
    let mut seqs = Vec::new();
    for round in 0..8 {
        let mut client = daemon.connect();
        for n in 0..5 {
            let body = format!("round {round} message {n}");
            let post = json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": body});
            seqs.push(client.ok(post).seq());
        }
        daemon.crash();
    }
    let mut client = daemon.connect();
    let found = client.ok(json!({"cmd": "message.search", "order": "oldest", "count": true}));
    assert_eq!(json!(found.column("messages", "seq")), json!(seqs), "{found}");
    assert_eq!(unbroken_log(&mut client).len(), 40);
}
