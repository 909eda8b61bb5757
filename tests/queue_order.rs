//! In which order jobs are delivered, and what wakes a waiting reserve.

mod common;

use common::{Client, Daemon, Value, assert_ok, bodies, json};

#[track_caller]
fn put(client: &mut Client, body: &str, arguments: &Value) {
    let request = common::with(&common::with(arguments, "cmd", "queue.put"), "queue", "q");
    client.ok(common::with(&request, "body", body));
}

#[test]
fn jobs_come_in_the_order_of_their_seq() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for n in 0..50 {
        client.put(n);
    }
    let jobs: Vec<Value> = [1, 9, 40].into_iter().flat_map(|max| client.reserve(max)).collect();
    assert_eq!(bodies(&jobs), (0..50).map(Value::from).collect::<Vec<_>>());
}

#[test]
fn higher_priorities_come_first() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for (body, priority) in [("c", 1), ("a", 9), ("e", 0), ("b", 5), ("d", 1)] {
        put(&mut client, body, &json!({"priority": priority}));
    }
    put(&mut client, "f", &json!({}));
    assert_eq!(json!(bodies(&client.reserve(10))), json!(["a", "b", "c", "d", "e", "f"]));
}

#[test]
fn queues_know_nothing_of_each_other() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("mine");
    client.ok(json!({"cmd": "queue.put", "queue": "other", "body": "theirs", "priority": 9}));
    assert_eq!(json!(bodies(&client.reserve(10))), json!(["mine"]));
}

#[test]
fn an_expired_lease_comes_before_every_other_job() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("expires");
    client.put("waits");
    client.await_job(1);
    put(&mut client, "urgent", &json!({"priority": 9}));
    client.await_count("ready", 3);
    assert_eq!(json!(bodies(&client.reserve(3))), json!(["expires", "urgent", "waits"]));
}

#[test]
fn of_expired_leases_the_longest_expired_comes_first() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for body in ["a", "b", "c"] {
        client.put(body);
    }
    let jobs = client.reserve(3);
    for (turn, place) in [2, 0, 1].into_iter().enumerate() {
        let job = &jobs[place];
        client.ok(json!({"cmd": "queue.extend", "job": job["job"], "lease": job["lease"], "lease_ms": 1}));
        client.await_count("ready", turn as u64 + 1);
    }
    assert_eq!(json!(bodies(&client.reserve(3))), json!(["c", "a", "b"]));
}

#[test]
fn of_leases_that_ran_out_together_the_higher_priority_comes_first() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for (body, priority) in [("low", 0), ("high", 9), ("middle", 5), ("high, too", 9)] {
        put(&mut client, body, &json!({"priority": priority}));
    }
    client.ok(json!({"cmd": "queue.reserve", "queue": "q", "max": 4, "lease_ms": 1}));
    client.await_count("ready", 4);
    assert_eq!(json!(bodies(&client.reserve(4))), json!(["high", "high, too", "middle", "low"]));
}

#[test]
fn a_delayed_job_is_not_ready_and_then_keeps_its_place() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    put(&mut client, "never", &json!({"delay_ms": 600_000}));
    put(&mut client, "late", &json!({"delay_ms": 50}));
    client.put("now");
    client.await_count("ready", 2);
    assert_eq!(client.queue()["delayed"], 1);
    assert_eq!(json!(bodies(&client.reserve(3))), json!(["late", "now"]));
}

#[test]
fn a_nacked_job_keeps_its_place() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for body in ["a", "b", "c"] {
        client.put(body);
    }
    let jobs = client.reserve(2);
    for job in jobs.iter().rev() {
        assert_ok(&client.settle("nack", job));
    }
    assert_eq!(json!(bodies(&client.reserve(3))), json!(["a", "b", "c"]));
}

#[test]
fn a_revived_job_keeps_its_place() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    client.put("a");
    client.put("b");
    let first = client.reserve_one();
    assert_ok(&client.settle("nack", &first));
    client.ok(json!({"cmd": "queue.revive", "queue": "q"}));
    assert_eq!(json!(bodies(&client.reserve(3))), json!(["a", "b"]));
}

#[test]
fn a_reserve_on_a_queue_that_is_not_there_is_empty() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    assert!(client.reserve(1).is_empty());
    let waited = client.ok(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 20}));
    assert_eq!(waited["jobs"], json!([]), "{waited}");
    client.refused(json!({"cmd": "queue.get", "queue": "q"}), "not_found");
}

#[test]
fn a_put_wakes_a_waiting_reserve() {
    let daemon = Daemon::start();
    let (mut worker, mut client) = (daemon.connect(), daemon.connect());
    for n in 0..30 {
        worker.send(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 25_000, "lease_ms": 600_000}));
        client.put(n);
        let reply = worker.read_ok();
        assert_eq!(json!(bodies(&reply.list("jobs"))), json!([n]), "{reply}");
    }
}

#[test]
fn everything_that_makes_a_job_ready_wakes_a_waiting_reserve() {
    let daemon = Daemon::start();
    let (mut worker, mut client) = (daemon.connect(), daemon.connect());
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    put(&mut client, "delayed", &json!({"delay_ms": 30}));
    assert_eq!(worker.await_job(600_000)["body"], "delayed");

    client.put("revived");
    let job = client.reserve_one();
    assert_ok(&client.settle("nack", &job));
    worker.send(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 25_000}));
    client.ok(json!({"cmd": "queue.revive", "queue": "q"}));
    assert_eq!(worker.read_ok()["jobs"][0]["body"], "revived");

    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": null}));
    client.put("nacked");
    let job = client.reserve_one();
    worker.send(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 25_000}));
    assert_ok(&client.settle("nack", &job));
    assert_eq!(worker.read_ok()["jobs"][0]["body"], "nacked");
}

#[test]
fn every_waiting_reserve_gets_another_job() {
    let daemon = Daemon::start();
    let mut workers: Vec<Client> = (0..8).map(|_| daemon.connect()).collect();
    for worker in &mut workers {
        worker.send(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 25_000, "lease_ms": 600_000}));
    }
    let mut client = daemon.connect();
    let commands: Vec<Value> = (0..8).map(|n| json!({"cmd": "queue.put", "queue": "q", "body": n})).collect();
    client.ok(json!({"cmd": "batch", "commands": commands}));
    let mut found: Vec<u64> = workers
        .iter_mut()
        .map(|worker| worker.read_ok()["jobs"][0]["body"].as_u64().expect("a body"))
        .collect();
    found.sort_unstable();
    assert_eq!(found, (0..8).collect::<Vec<u64>>());
}

#[test]
fn behind_a_waiting_reserve_nothing_of_that_connection_is_begun() {
    let daemon = Daemon::start();
    let (mut worker, mut client) = (daemon.connect(), daemon.connect());
    worker.send(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 25_000}));
    worker.send(json!({"cmd": "kv.set", "key": "behind", "value": 1}));
    for n in 0..20 {
        client.ok(json!({"cmd": "kv.set", "key": "other", "value": n}));
        client.refused(json!({"cmd": "kv.get", "key": "behind"}), "not_found");
    }
    let put = client.put("x");
    assert_eq!(worker.read_ok()["jobs"][0]["job"], put);
    let behind = worker.read_ok();
    assert!(behind.seq() > put, "{behind}");
}

#[test]
fn a_client_that_closed_while_it_waited_gets_no_lease() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for n in 0..20 {
        let mut gone = daemon.connect();
        gone.send(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 25_000, "lease_ms": 600_000}));
        let waited = client.ok(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 20}));
        assert_eq!(waited["jobs"], json!([]), "by now the other one waits too\n{waited}");
        gone.close();
        client.put(n);
        let job = client.await_job(600_000);
        assert_eq!((&job["body"], &job["attempt"]), (&json!(n), &json!(1)), "{job}");
    }
}

#[test]
fn a_half_closed_client_still_gets_its_job() {
    let daemon = Daemon::start();
    let (mut worker, mut client) = (daemon.connect(), daemon.connect());
    worker.send(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 25_000}));
    worker.half_close();
    client.put("x");
    assert_eq!(worker.read_ok()["jobs"][0]["body"], "x");
    worker.assert_closed();
}

#[test]
fn a_reserve_leases_only_as_many_jobs_as_fit_a_reply() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let body = "x".repeat(900_000);
    for _ in 0..8 {
        client.put(body.as_str());
    }
    let bound = common::number(&client.ok(json!({"cmd": "info"}))["limits"], "reply_bytes");
    let mut jobs = 0;
    while jobs < 8 {
        let reply = client.ok(json!({"cmd": "queue.reserve", "queue": "q", "max": 100}));
        let found = reply.list("jobs").len();
        assert!(found > 0, "at least one job fits");
        assert!(reply.text.len() as u64 <= bound + 2048, "a reply of {} bytes", reply.text.len());
        jobs += found;
        assert_eq!(client.queue()["leased"], jobs);
    }
}
