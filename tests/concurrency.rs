//! Many clients at once: every number is given once, and everybody sees what was answered.

mod common;

use std::sync::Mutex;

use common::{Client, Daemon, Reply, Value, assert_ok, json};

/// Runs `work` for so many clients at the same time and gathers what they give.
fn at_once<T: Send>(
    daemon: &Daemon,
    clients: usize,
    work: impl Fn(usize, &mut Client) -> T + Sync,
) -> Vec<T> {
    let gathered = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for number in 0..clients {
            let (work, gathered) = (&work, &gathered);
            scope.spawn(move || {
                let result = work(number, &mut daemon.connect());
                gathered.lock().expect("no panic").push(result);
            });
        }
    });
    gathered.into_inner().expect("no panic")
}

#[test]
fn thirty_two_clients_in_one_chat_get_1_to_n() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    client.ok(json!({"cmd": "chat.create", "app": app}));
    let numbers = at_once(&daemon, 32, |number, client| {
        let body = format!("from {number}");
        let post = json!({"cmd": "message.post", "app": app, "chat": 1, "body": body});
        let replies = client.pipeline(&vec![post; 50]);
        let numbers: Vec<u64> = replies.iter().map(|reply| reply.number("number")).collect();
        assert!(numbers.is_sorted(), "one client's messages keep their order: {numbers:?}");
        numbers
    });
    let mut numbers: Vec<u64> = numbers.into_iter().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=1600).collect::<Vec<u64>>());
    let chat = client.ok(json!({"cmd": "chat.get", "app": app, "chat": 1}));
    assert_eq!(chat["chat"]["messages_count"], 1600, "{chat}");
}

#[test]
fn chats_created_at_once_get_1_to_n() {
    let daemon = Daemon::start();
    let app = daemon.connect().ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    let numbers = at_once(&daemon, 16, |_, client| {
        let create = json!({"cmd": "chat.create", "app": app});
        client.pipeline(&vec![create; 20]).iter().map(|reply| reply.number("number")).collect::<Vec<u64>>()
    });
    let mut numbers: Vec<u64> = numbers.into_iter().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=320).collect::<Vec<u64>>());
    let got = daemon.connect().ok(json!({"cmd": "app.get", "token": app}));
    assert_eq!(got["app"]["chats_count"], 320, "{got}");
}

#[test]
fn a_formula_submitted_at_once_is_created_once() {
    let daemon = Daemon::start();
    let replies: Vec<Vec<Reply>> = at_once(&daemon, 16, |number, client| {
        let requests: Vec<Value> = (1..=20)
            .map(|n| {
                let (rose, water) = (
                    json!({"name": "rose", "concentration": n}),
                    json!({"name": "water", "concentration": "99.50"}),
                );
                let materials = if number % 2 == 0 { json!([rose, water]) } else { json!([water, rose]) };
                json!({"cmd": "formula.submit", "name": format!("by {number}"), "materials": materials})
            })
            .collect();
        client.pipeline(&requests)
    });
    for formula in 0..20 {
        let answers: Vec<&Reply> = replies.iter().map(|of_one| &of_one[formula]).collect();
        for answer in &answers {
            assert_ok(answer);
            assert_eq!(answer["formula"], answers[0]["formula"], "{answer}");
            assert_eq!(answer["seq"], answers[0]["seq"], "{answer}");
        }
        assert_eq!(answers.iter().filter(|answer| answer["created"] == true).count(), 1);
    }
    let queue = daemon.connect().ok(json!({"cmd": "queue.get", "queue": "formulas"}));
    assert_eq!(queue["queue"]["ready"], 20, "{queue}");
}

#[test]
fn everybody_sees_what_was_answered() {
    let daemon = Daemon::start();
    let mut clients: Vec<Client> = (0..4).map(|_| daemon.connect()).collect();
    for turn in 0..200 {
        let (writer, reader) = (turn % 4, (turn * 7 + 1) % 4);
        let seq = clients[writer].ok(json!({"cmd": "kv.set", "key": "k", "value": turn})).seq();
        let read = clients[reader].ok(json!({"cmd": "kv.get", "key": "k"}));
        assert_eq!((&read["value"], &read["seq"]), (&json!(turn), &json!(seq)), "{read}");
        let post =
            json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": format!("w{turn}")});
        let seq = clients[writer].ok(post).seq();
        let found = clients[reader].ok(json!({"cmd": "message.search", "text": format!("w{turn}")}));
        assert_eq!(found.column("messages", "seq"), [json!(seq)], "{found}");
    }
}

#[test]
fn guarded_writes_lose_no_update() {
    let daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "counter", "value": 0}));
    at_once(&daemon, 8, |_, client| {
        for _ in 0..20 {
            loop {
                let read = client.ok(json!({"cmd": "kv.get", "key": "counter"}));
                let value = read["value"].as_u64().expect("a counter") + 1;
                let set = json!({"cmd": "kv.set", "key": "counter", "value": value, "if_seq": read.seq()});
                let reply = client.ask(set);
                if reply["ok"] == true {
                    break;
                }
                common::assert_error(&reply, "conflict");
            }
        }
    });
    assert_eq!(daemon.connect().ok(json!({"cmd": "kv.get", "key": "counter"}))["value"], 160);
}

#[test]
fn no_job_has_two_holders() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for n in 0..400 {
        client.send(json!({"cmd": "queue.put", "queue": "q", "body": n}));
    }
    for _ in 0..400 {
        client.read_ok();
    }
    let delivered = at_once(&daemon, 12, |number, client| {
        let mut mine = Vec::new();
        loop {
            let jobs = client.reserve(1 + number as u64 % 5);
            if jobs.is_empty() {
                return mine;
            }
            for job in jobs {
                assert_eq!(job["attempt"], 1, "{job}");
                assert_ok(&client.settle("ack", &job));
                mine.push(job["body"].as_u64().expect("a number"));
            }
        }
    });
    let mut delivered: Vec<u64> = delivered.into_iter().flatten().collect();
    delivered.sort_unstable();
    assert_eq!(delivered, (0..400).collect::<Vec<u64>>());
}

#[test]
fn workers_and_producers_meet_without_losing_a_job() {
    let daemon = Daemon::start();
    let delivered = at_once(&daemon, 8, |number, client| {
        let mut mine = Vec::new();
        for n in 0..40 {
            if number % 2 == 0 {
                client.put(number as u64 * 1000 + n);
            } else {
                let job = client.await_job(600_000);
                assert_ok(&client.settle("ack", &job));
                mine.push(job["body"].as_u64().expect("a number"));
            }
        }
        mine
    });
    let mut delivered: Vec<u64> = delivered.into_iter().flatten().collect();
    delivered.sort_unstable();
    let expected: Vec<u64> = [0, 2000, 4000, 6000].into_iter().flat_map(|base| base..base + 40).collect();
    assert_eq!(delivered, expected);
}

#[test]
fn every_seq_is_given_once() {
    let daemon = Daemon::start();
    let seqs = at_once(&daemon, 16, |number, client| {
        let requests: Vec<Value> = (0..50)
            .map(|n| json!({"cmd": "kv.set", "key": format!("k{n}"), "value": number, "durable": n % 2 == 0}))
            .collect();
        client.pipeline(&requests).iter().map(Reply::seq).collect::<Vec<u64>>()
    });
    let mut seqs: Vec<u64> = seqs.into_iter().flatten().collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=800).collect::<Vec<u64>>());
}
