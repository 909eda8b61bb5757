//! Floods: what many clients do at once is bounded together, and an honest one is served meanwhile.

mod common;

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Client, Daemon, json, until};
use serde_json::Value;

/// A value of a megabyte, less what is around it in a line.
fn megabyte() -> String {
    "x".repeat(1_000_000)
}

/// So many clients that ask this, and do not read the reply.
fn who_do_not_read(daemon: &Daemon, count: usize, request: &Value) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| daemon.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(request.clone()));
    clients
}

#[test]
fn who_connects_and_hangs_up_again_and_again_holds_nobody_up() {
    let daemon = Daemon::start();
    let mut honest = daemon.connect();
    let (socket, over) = (daemon.socket(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    drop(UnixStream::connect(&socket));
                }
            });
        }
        for number in 0..50 {
            honest.ok(json!({"cmd": "kv.set", "key": "k", "value": number}));
        }
        over.store(true, Ordering::Relaxed);
    });
    until("those who hung up are gone", || {
        let stats = honest.ok(json!({"cmd": "stats"}));
        (stats["connections"]["open"] == 1).then_some(())
    });
}

#[test]
fn replies_that_many_do_not_read_are_bounded_together_and_each_drop_is_counted_once() {
    let daemon = Daemon::with(&["--max-buffered", "8M"]);
    let mut honest = daemon.connect();
    honest.ok(json!({"cmd": "kv.set", "key": "large", "value": megabyte()}));
    let lazy = who_do_not_read(&daemon, 60, &json!({"cmd": "kv.get", "key": "large"}));
    let stats = until("all of them are answered", || {
        let stats = honest.ok(json!({"cmd": "stats"}));
        (stats["reads"]["answered"].as_u64()? >= 60).then_some(stats)
    });
    let connections = &stats["connections"];
    assert!(connections["buffered_bytes"].as_u64() <= Some(8 << 20), "{connections}");
    let dropped = connections["dropped"].as_u64().expect("a number");
    assert!((40..=60).contains(&dropped), "{connections}");
    drop(lazy);
}

/// Posts them. Answers what lists them.
fn three_large_messages(client: &mut Client) -> Value {
    for _ in 0..3 {
        client.ok(json!({"cmd": "message.post", "recipient": "r", "originator": "o", "body": megabyte()}));
    }
    json!({"cmd": "message.search", "recipient": "r"})
}

#[test]
fn lists_of_many_clients_that_all_read_cut_nobody_off() {
    let daemon = Daemon::with(&["--max-buffered", "16M"]);
    let mut writer = daemon.connect();
    let list = three_large_messages(&mut writer);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            let mut client = daemon.connect();
            let list = list.clone();
            scope.spawn(move || {
                (0..3).for_each(|_| client.send(list.clone()));
                for _ in 0..3 {
                    assert_eq!(client.read_ok()["messages"].as_array().map(Vec::len), Some(3));
                }
            });
        }
    });
    let stats = writer.ok(json!({"cmd": "stats"}));
    assert_eq!(stats["connections"]["dropped"], 0, "{stats}");
}

#[test]
fn a_list_is_answered_while_others_do_not_read_theirs() {
    let daemon = Daemon::with(&["--max-buffered", "16M"]);
    let mut honest = daemon.connect();
    let list = three_large_messages(&mut honest);
    let lazy = who_do_not_read(&daemon, 3, &list);
    until("they hold more than half of what may be buffered", || {
        let stats = honest.ok(json!({"cmd": "stats"}));
        (stats["connections"]["buffered_bytes"].as_u64()? > 8 << 20).then_some(())
    });
    for _ in 0..3 {
        assert_eq!(honest.ok(list.clone())["messages"].as_array().map(Vec::len), Some(3));
    }
    drop(lazy);
}

#[test]
fn who_reads_does_not_pay_for_those_who_hold_much_and_do_not() {
    let daemon = Daemon::with(&["--max-buffered", "16M"]);
    let mut honest = daemon.connect();
    let list = three_large_messages(&mut honest);
    let lazy = who_do_not_read(&daemon, 5, &list);
    for _ in 0..3 {
        assert_eq!(honest.ok(list.clone())["messages"].as_array().map(Vec::len), Some(3));
    }
    let stats = honest.ok(json!({"cmd": "stats"}));
    assert!(stats["connections"]["dropped"].as_u64() > Some(0), "{stats}");
    drop(lazy);
}

#[test]
fn large_values_are_had_while_others_that_do_not_read_ask_for_them_again_and_again() {
    let daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": megabyte()}));
    let get = json!({"cmd": "kv.get", "key": "k"});
    let mut lazy = who_do_not_read(&daemon, 30, &get);
    lazy.iter_mut().for_each(|client| (0..20).for_each(|_| client.send(get.clone())));
    let mut others: Vec<Client> = (0..20).map(|_| daemon.connect()).collect();
    others.iter_mut().for_each(|client| (0..60).for_each(|_| client.send(get.clone())));
    std::thread::scope(|scope| {
        for client in &mut others {
            scope.spawn(|| {
                for _ in 0..60 {
                    assert_eq!(client.read_ok()["value"].as_str().map(str::len), Some(megabyte().len()));
                }
            });
        }
    });
}

#[test]
fn where_little_may_be_buffered_replies_are_as_short_as_that_asks_for() {
    let daemon = Daemon::with(&["--max-buffered", "1M"]);
    let mut client = daemon.connect();
    assert_eq!(client.ok(json!({"cmd": "info"}))["limits"]["reply_bytes"], 256 << 10);
    let body = "x".repeat(2000);
    for _ in 0..5 {
        let posts =
            vec![json!({"cmd": "message.post", "recipient": "r", "originator": "o", "body": body}); 100];
        client.pipeline(&posts);
        client.pipeline(&vec![json!({"cmd": "queue.put", "queue": "q", "body": body}); 100]);
    }
    let (mut found, mut search) = (0, json!({"cmd": "message.search", "limit": 1000}));
    loop {
        let page = client.ok(search.clone());
        found += page["messages"].as_array().map_or(0, Vec::len);
        let Some(next) = page["next"].as_u64() else { break };
        search["before"] = next.into();
    }
    assert_eq!(found, 500);
    let mut reserved = 0;
    while reserved < 500 {
        let jobs = client.reserve(1000).len();
        assert!((1..=128).contains(&jobs), "{jobs}");
        reserved += jobs;
    }
}

#[test]
fn pages_of_many_searches_at_once_are_bounded_together() {
    let daemon = Daemon::start();
    let mut writer = daemon.connect();
    let body = format!("ipsum dolor {}", "x".repeat(1000));
    let posts: Vec<_> = (0..4000)
        .map(|_| json!({"cmd": "message.post", "recipient": "r", "originator": "o", "body": body}))
        .collect();
    writer.pipeline(&posts);
    let search = json!({"cmd": "message.search", "text": "\"ipsum dolor\"", "limit": 10_000});
    let _many = who_do_not_read(&daemon, 100, &search);
    until("all of them are answered", || {
        let stats = writer.ok(json!({"cmd": "stats"}));
        (stats["reads"]["answered"].as_u64()? >= 100).then_some(())
    });
    let memory = daemon.most_memory();
    assert!(memory < 250, "{memory} MiB for 100 pages of 4 MiB, with 64 MiB for what is not read");
}

#[test]
fn what_is_followed_counts_as_memory_of_the_connection() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "message.follow", "text": megabyte()}));
    let stats = daemon.connect().ok(json!({"cmd": "stats"}));
    assert!(stats["connections"]["buffered_bytes"].as_u64() >= Some(1_000_000), "{}", stats["connections"]);
}

#[test]
fn a_client_that_is_dropped_while_its_reserve_waits_gets_no_job() {
    let daemon = Daemon::with(&["--max-buffered", "2M"]);
    let mut honest = daemon.connect();
    honest.ok(json!({"cmd": "kv.set", "key": "large", "value": "x".repeat(750_000)}));
    honest.ok(json!({"cmd": "kv.set", "key": "other", "value": "x".repeat(600_000)}));
    let mut waiting = daemon.connect();
    waiting.send(json!({"cmd": "kv.get", "key": "large"}));
    waiting.send(json!({"cmd": "queue.reserve", "queue": "q", "lease_ms": 60_000, "wait_ms": 60_000}));
    until("the reserve waits", || {
        let stats = honest.ok(json!({"cmd": "stats"}));
        (stats["connections"]["waiting_reserves"] == 1).then_some(())
    });
    let others = who_do_not_read(&daemon, 4, &json!({"cmd": "kv.get", "key": "other"}));
    until("the one that holds most is dropped", || {
        let stats = honest.ok(json!({"cmd": "stats"}));
        (stats["connections"]["waiting_reserves"] == 0).then_some(())
    });
    let job = honest.put("for somebody");
    assert_eq!(honest.reserve_one()["job"], job);
    drop(others);
}

#[test]
fn writes_of_those_who_hang_up_take_no_more_memory_than_what_may_be_buffered() {
    let daemon = Daemon::start();
    let message = json!({"cmd": "message.post", "recipient": "r", "originator": "o", "body": megabyte()});
    let reserve = json!({"cmd": "queue.reserve", "queue": "none", "wait_ms": 60_000});
    let request = format!("{message}\n{message}\n{message}\n{reserve}\n");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..12 {
                    daemon.connect().send_bytes(&request);
                }
            });
        }
    });
    let mut honest = daemon.connect();
    until("they are gone", || {
        let stats = honest.ok(json!({"cmd": "stats"}));
        (stats["connections"]["open"] == 1).then_some(())
    });
    let memory = daemon.most_memory();
    assert!(memory < 100, "{memory} MiB for writes of 288 MiB, with 64 MiB for what is not read");
}

#[test]
fn reserves_of_large_jobs_that_are_sent_ahead_are_all_answered() {
    let daemon = Daemon::with(&["--max-buffered", "16M"]);
    let mut client = daemon.connect();
    for _ in 0..40 {
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": megabyte()}));
    }
    for _ in 0..20 {
        client.send(json!({"cmd": "queue.reserve", "queue": "q", "max": 2}));
    }
    for _ in 0..20 {
        assert_eq!(client.read_ok().list("jobs").len(), 2);
    }
}

#[test]
fn large_jobs_that_become_ready_at_once_reach_all_who_wait_and_read() {
    let daemon = Daemon::with(&["--max-buffered", "16M"]);
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    for _ in 0..60 {
        client.put(megabyte());
        let job = client.reserve_one();
        client.settle("nack", &job);
    }
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": null}));
    let mut workers: Vec<Client> = (0..60).map(|_| daemon.connect()).collect();
    let reserve = json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 3_600_000});
    workers.iter_mut().for_each(|worker| worker.send(reserve.clone()));
    until("all of them wait", || {
        let stats = client.ok(json!({"cmd": "stats"}));
        (stats["connections"]["waiting_reserves"] == 60).then_some(())
    });
    std::thread::scope(|scope| {
        for worker in &mut workers {
            scope.spawn(|| assert_eq!(worker.read_ok().list("jobs").len(), 1));
        }
        assert_eq!(client.ok(json!({"cmd": "queue.revive", "queue": "q"}))["revived"], 60);
    });
    let stats = client.ok(json!({"cmd": "stats"}));
    assert_eq!(stats["connections"]["dropped"], 0, "{stats}");
    let memory = daemon.most_memory();
    assert!(memory < 60, "{memory} MiB for jobs of 60 MB, with 16 MiB for what is not read");
}

#[test]
fn what_is_held_for_those_who_were_dropped_costs_no_one_who_reads() {
    let daemon = Daemon::with(&["--max-buffered", "16M"]);
    let mut honest = daemon.connect();
    let list = three_large_messages(&mut honest);
    let mut lazy = who_do_not_read(&daemon, 8, &list);
    lazy.iter_mut().for_each(|client| (0..10).for_each(|_| client.send(list.clone())));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (mut client, list) = (daemon.connect(), list.clone());
            scope.spawn(move || {
                for number in 0..6 {
                    assert_eq!(client.ok(list.clone())["messages"].as_array().map(Vec::len), Some(3));
                    client.ok(json!({"cmd": "kv.set", "key": "k", "value": number}));
                }
            });
        }
    });
    drop(lazy);
}

#[test]
fn who_sends_many_ahead_and_reads_is_answered_however_little_may_be_buffered() {
    for most in ["64K", "256K", "1M"] {
        let daemon = Daemon::with(&["--max-buffered", most]);
        let mut client = daemon.connect();
        for bytes in [10, 1000] {
            let set = json!({"cmd": "kv.set", "key": "k", "value": "x".repeat(bytes)});
            let replies = client.pipeline(&vec![set; 3000]);
            assert!(replies.iter().all(|reply| reply["ok"] == true), "{most}, {bytes}");
        }
        client.ok(json!({"cmd": "kv.set", "key": "k", "value": "x".repeat(8000)}));
        let replies = client.pipeline(&vec![json!({"cmd": "kv.get", "key": "k"}); 2000]);
        assert!(replies.iter().all(|reply| reply["ok"] == true), "{most}, values of 8 KB");
    }
}

#[test]
fn who_asks_for_much_long_work_lets_others_write_in_between() {
    const JOBS: usize = 4000;
    const ASKED: usize = 40;
    let daemon = Daemon::start();
    let (mut busy, mut honest) = (daemon.connect(), daemon.connect());
    busy.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    for _ in 0..JOBS / 1000 {
        let puts = vec![json!({"cmd": "queue.put", "queue": "q", "body": 1}); 1000];
        busy.ok(json!({"cmd": "batch", "commands": puts}));
        let nack = |job: &Value| json!({"cmd": "queue.nack", "job": job["job"], "lease": job["lease"]});
        let nacks: Vec<Value> = busy.reserve(1000).iter().map(nack).collect();
        busy.ok(json!({"cmd": "batch", "commands": nacks}));
    }
    // Nothing comes of it: else it could not be asked again.
    let revive = json!({"cmd": "queue.revive", "queue": "q", "dry_run": true});
    busy.send_bytes(format!("{revive}\n").repeat(ASKED));
    busy.send(json!({"cmd": "kv.set", "key": "behind all", "value": 1}));
    assert_eq!(busy.read_ok()["revived"], JOBS);
    let between = honest.ok(json!({"cmd": "kv.set", "key": "between", "value": 1}));
    for _ in 1..ASKED {
        assert_eq!(busy.read_ok()["revived"], JOBS);
    }
    let behind = busy.read_ok();
    assert!(between["seq"].as_u64() < behind["seq"].as_u64(), "{between} {behind}");
}
