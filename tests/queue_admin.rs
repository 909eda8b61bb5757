//! Looking at queues and tidying them up: settings, counts, peek, delete, purge, drop, bounds.

mod common;

use common::{Daemon, Value, assert_error, assert_ok, bodies, is_time, json};

#[test]
fn a_queue_exists_from_its_first_put_or_configure() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.refused(json!({"cmd": "queue.get", "queue": "q"}), "not_found");
    client.put("x");
    let queue = client.queue();
    let expected = json!({"ready": 1, "delayed": 0, "leased": 0, "dead": 0});
    for (state, count) in expected.as_object().expect("counts") {
        assert_eq!(queue[state], *count, "{state} in {queue}");
    }
    assert_eq!((&queue["lease_ms"], &queue["max_attempts"]), (&json!(30_000), &json!(5)), "{queue}");
    assert!(queue["max_jobs"].is_null(), "{queue}");
    client.ok(json!({"cmd": "queue.configure", "queue": "set", "lease_ms": 7}));
    let set = client.ok(json!({"cmd": "queue.get", "queue": "set"}));
    assert_eq!(set["queue"]["lease_ms"], 7, "{set}");
}

#[test]
fn configure_writes_an_event_only_where_something_changes() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let settings = json!({"cmd": "queue.configure", "queue": "q", "lease_ms": 7});
    for same in [json!({"cmd": "queue.configure", "queue": "q"}), settings.clone(), settings] {
        client.ok(same);
    }
    assert_eq!(client.last_seq(), 2, "it is made, and then it has another lease");
    assert_eq!(client.ok(json!({"cmd": "queue.configure", "queue": "q"}))["lease_ms"], 7);
    assert_eq!(client.last_seq(), 2);
}

#[test]
fn configure_keeps_what_it_is_not_given() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let steps = [
        (json!({}), json!([30_000, 5, null])),
        (json!({"lease_ms": 100}), json!([100, 5, null])),
        (json!({"max_jobs": 3}), json!([100, 5, 3])),
        (json!({"max_attempts": null}), json!([100, null, 3])),
        (json!({"max_jobs": null, "max_attempts": 9}), json!([100, 9, null])),
    ];
    for (arguments, expected) in steps {
        let request = common::with(&common::with(&arguments, "cmd", "queue.configure"), "queue", "q");
        let reply = client.ok(request);
        assert_eq!(reply["queue"], "q", "{reply}");
        assert_eq!(settings(&reply), expected, "{reply}");
        assert_eq!(settings(&client.queue()), expected);
    }
}

/// The three settings, in the contract's order.
fn settings(value: &Value) -> Value {
    json!([value["lease_ms"], value["max_attempts"], value["max_jobs"]])
}

#[test]
fn counts_follow_every_step_of_a_job() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    for n in 0..4 {
        client.put(n);
    }
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": 4, "delay_ms": 600_000}));
    let mut assert_counts = |expected: [u64; 4]| {
        let queue = client.queue();
        let found = ["ready", "delayed", "leased", "dead"].map(|state| common::number(&queue, state));
        assert_eq!(found, expected, "ready, delayed, leased, dead in {queue}");
    };
    assert_counts([4, 1, 0, 0]);
    let mut other = daemon.connect();
    let jobs = other.reserve(2);
    assert_counts([2, 1, 2, 0]);
    assert_ok(&other.settle("nack", &jobs[0]));
    assert_counts([2, 1, 1, 1]);
    assert_ok(&other.settle("ack", &jobs[1]));
    assert_counts([2, 1, 0, 1]);
    other.ok(json!({"cmd": "queue.revive", "queue": "q"}));
    assert_counts([3, 1, 0, 0]);
}

#[test]
fn the_oldest_ready_job_is_told() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("a");
    client.put("b");
    let ready = client.peek("ready");
    assert_eq!(client.queue()["oldest_at"], ready[0]["at"]);
    client.reserve_one();
    assert_eq!(client.queue()["oldest_at"], ready[1]["at"]);
    client.reserve_one();
    assert!(client.queue()["oldest_at"].is_null());
}

#[test]
fn queues_are_listed_by_bytes_in_pages() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let names = ["A", "a", "aa", "b", "q", "\u{e9}", "\u{ffff}", "\u{10000}"];
    for name in names.iter().rev() {
        client.ok(json!({"cmd": "queue.put", "queue": name, "body": 1}));
    }
    for limit in [1, 3, 8, 9] {
        let (mut found, mut request) = (Vec::new(), json!({"cmd": "queue.list", "limit": limit}));
        loop {
            let page = client.ok(request.clone());
            found.extend(page.column("queues", "queue"));
            assert_eq!(page.has("next"), found.len() < names.len(), "{page}");
            let Some(next) = page.get("next") else { break };
            request["after"] = next.clone();
        }
        assert_eq!(json!(found), json!(names), "limit {limit}");
    }
    let listed = client.ok(json!({"cmd": "queue.list", "after": "b", "limit": 1}));
    assert_eq!(listed["queues"][0], client.queue(), "{listed}");
}

#[test]
fn peek_shows_jobs_without_touching_them() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "low", "priority": 1}));
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "high", "priority": 8}));
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "later", "delay_ms": 600_000}));
    let ready = client.ok(json!({"cmd": "queue.peek", "queue": "q"})).list("jobs");
    assert_eq!(json!(bodies(&ready)), json!(["high", "low"]));
    for (key, expected) in [("state", json!("ready")), ("priority", json!(8)), ("attempts", json!(0))] {
        assert_eq!(ready[0][key], expected, "{key} in {}", ready[0]);
    }
    assert!(is_time(&ready[0]["at"]), "{}", ready[0]);
    assert!(ready[0].get("lease").is_none(), "{}", ready[0]);

    let delayed = client.peek("delayed");
    assert_eq!(json!(bodies(&delayed)), json!(["later"]));
    assert!(is_time(&delayed[0]["ready_at"]), "{}", delayed[0]);
    assert!(client.peek("leased").is_empty() && client.peek("dead").is_empty());

    let job = client.reserve_one();
    let leased = client.peek("leased");
    assert_eq!(json!([leased[0]["job"], leased[0]["attempts"]]), json!([job["job"], 1]));
    assert_eq!(leased[0]["expires_at"], job["expires_at"], "{}", leased[0]);
    assert!(leased[0].get("lease").is_none(), "the token is the holder's alone: {}", leased[0]);
    let one = client.ok(json!({"cmd": "queue.peek", "queue": "q", "limit": 1})).list("jobs");
    assert_eq!(json!(bodies(&one)), json!(["low"]));
}

#[test]
fn a_page_of_jobs_is_not_gone_on_with_in_another_state() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for _ in 0..3 {
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": 1, "delay_ms": 3_600_000}));
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": 1}));
    }
    let page = |state| json!({"cmd": "queue.peek", "queue": "q", "state": state, "limit": 1});
    let delayed = client.ok(page("delayed"))["next"].clone();
    let ready = client.ok(page("ready"))["next"].clone();
    for (state, after) in [("dead", &delayed), ("leased", &delayed), ("ready", &delayed), ("delayed", &ready)]
    {
        let mut request = page(state);
        request["after"] = after.clone();
        client.refused_field(request, "after");
    }
}

#[test]
fn all_jobs_are_peeked_at_page_by_page_whatever_goes_or_comes_in_between() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let put = |number: u64| json!({"cmd": "queue.put", "queue": "q", "body": number, "priority": number % 3});
    for number in 1..=30 {
        client.ok(put(number));
    }
    // Of each priority some came back.
    let reserved = client.ok(json!({"cmd": "queue.reserve", "queue": "q", "max": 12})).list("jobs");
    for job in &reserved {
        client.ok(json!({"cmd": "queue.nack", "job": job["job"], "lease": job["lease"]}));
    }
    let order = json!(bodies(&client.peek("ready")));
    for limit in [1, 4, 30] {
        let mut request = json!({"cmd": "queue.peek", "queue": "q", "limit": limit});
        let mut found = Vec::new();
        loop {
            let reply = client.ok(request.clone());
            found.extend(bodies(&reply.list("jobs")));
            let Some(next) = reply.get("next") else { break };
            request["after"] = next.clone();
        }
        assert_eq!(json!(found), order, "limit {limit}");
    }
    let first = client.ok(json!({"cmd": "queue.peek", "queue": "q", "limit": 10}));
    let last = first.list("jobs")[9]["job"].clone();
    client.ok(json!({"cmd": "queue.delete", "job": last}));
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "before", "priority": 9}));
    let rest = client.ok(json!({"cmd": "queue.peek", "queue": "q", "after": first["next"]})).list("jobs");
    assert_eq!(json!(bodies(&rest)), json!(order.as_array().expect("a list")[10..]));
    let dead = json!({"cmd": "queue.peek", "queue": "q", "state": "dead", "after": first["next"]});
    assert_eq!(client.refused(dead, "bad_request")["field"], "after");
    for wrong in ["", "7", "1-", "-1", "99-1", "01-1", "1-1 "] {
        let request = json!({"cmd": "queue.peek", "queue": "q", "after": wrong});
        assert_eq!(client.refused(request, "bad_request")["field"], "after", "{wrong:?}");
    }
}

#[test]
fn a_page_of_jobs_that_would_grow_too_large_is_gone_on_with() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let large = "x".repeat(1_000_000);
    for _ in 0..6 {
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": large}));
    }
    let first = client.ok(json!({"cmd": "queue.peek", "queue": "q"}));
    let behind = client.ok(json!({"cmd": "queue.peek", "queue": "q", "after": first["next"]}));
    assert_eq!((first.list("jobs").len(), behind.list("jobs").len()), (4, 2));
    assert!(behind.get("next").is_none());
}

#[test]
fn a_job_can_be_deleted_in_every_state() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let delete = |job: &Value| json!({"cmd": "queue.delete", "job": job});
    let ready = json!(client.put("ready"));
    client.ok(delete(&ready));
    client.refused(delete(&ready), "not_found");
    let put = json!({"cmd": "queue.put", "queue": "q", "body": "delayed", "delay_ms": 600_000});
    let delayed = client.ok(put)["job"].clone();
    client.ok(delete(&delayed));
    client.put("leased");
    let leased = client.reserve_one();
    let before = client.last_seq();
    assert!(client.ok(delete(&leased["job"])).seq() > before);
    assert_error(&client.settle("ack", &leased), "not_found");
    client.refused(delete(&json!(999_999)), "not_found");
    let queue = client.queue();
    assert_eq!(json!([queue["ready"], queue["delayed"], queue["leased"]]), json!([0, 0, 0]), "{queue}");
}

#[test]
fn purge_deletes_the_jobs_of_a_state() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    let fill = |client: &mut common::Client| {
        for n in 0..6 {
            client.put(n);
        }
        let jobs = client.reserve(3);
        assert_ok(&client.settle("nack", &jobs[0]));
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": 6, "delay_ms": 600_000}));
    };
    fill(&mut client);
    for (state, count) in [("dead", 1), ("leased", 2), ("delayed", 1), ("ready", 3), ("ready", 0)] {
        let purged = client.ok(json!({"cmd": "queue.purge", "queue": "q", "state": state}));
        assert_eq!(purged["deleted"], count, "{state}\n{purged}");
        assert_eq!(client.queue()[state], 0);
    }
    client.refused(json!({"cmd": "queue.purge", "queue": "missing"}), "not_found");
}

#[test]
fn purge_without_a_state_deletes_ready_jobs() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for n in 0..5 {
        client.put(n);
    }
    let purged = client.ok(json!({"cmd": "queue.purge", "queue": "q"}));
    assert_eq!(purged["deleted"], 5, "{purged}");
    assert!(client.reserve(5).is_empty());
}

#[test]
fn only_an_empty_queue_can_be_dropped() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let drop = json!({"cmd": "queue.drop", "queue": "q"});
    client.refused(drop.clone(), "not_found");
    client.put("x");
    client.refused(drop.clone(), "conflict");
    let job = client.reserve_one();
    client.refused(drop.clone(), "conflict");
    let acked = client.settle("ack", &job).seq();
    assert!(client.ok(drop.clone()).seq() > acked);
    client.refused(drop, "not_found");
    client.refused(json!({"cmd": "queue.get", "queue": "q"}), "not_found");
    assert_eq!(client.ok(json!({"cmd": "queue.list"}))["queues"], json!([]));
}

#[test]
fn a_dropped_queue_forgets_its_settings() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "lease_ms": 7, "max_jobs": 1}));
    client.ok(json!({"cmd": "queue.drop", "queue": "q"}));
    client.put("x");
    client.put("y");
    assert_eq!(settings(&client.queue()), json!([30_000, 5, null]));
}

#[test]
fn a_full_queue_refuses_puts_until_there_is_room() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_jobs": 3, "max_attempts": 1}));
    client.put(0);
    client.put(1);
    let put = json!({"cmd": "queue.put", "queue": "q", "body": 2, "delay_ms": 600_000});
    client.ok(put.clone());
    let jobs = client.reserve(2);
    let before = client.last_seq();
    client.refused(put.clone(), "queue_full");
    assert_eq!(client.last_seq(), before);

    assert_ok(&client.settle("ack", &jobs[0]));
    client.ok(put.clone());
    client.refused(put.clone(), "queue_full");
    assert_ok(&client.settle("nack", &jobs[1]));
    assert_eq!(client.queue()["dead"], 1);
    client.ok(put.clone());
    client.refused(put.clone(), "queue_full");
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_jobs": null}));
    client.ok(put);
}
