//! A job's life: put, reserved, acked, nacked, extended, dead, revived.

mod common;

use common::{Daemon, Value, assert_error, assert_ok, is_time, json};

#[test]
fn a_job_is_put_reserved_and_acked() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let put = client.ok(json!({"cmd": "queue.put", "queue": "q", "body": {"task": [1, 2]}}));
    assert_eq!(put["job"], put["seq"], "a job is known by the seq of its put\n{put}");
    let reserved = client.ok(json!({"cmd": "queue.reserve", "queue": "q"}));
    let jobs = reserved.list("jobs");
    assert_eq!(jobs.len(), 1, "{reserved}");
    assert_eq!(jobs[0]["job"], put["job"], "{reserved}");
    assert_eq!(jobs[0]["attempt"], 1, "{reserved}");
    assert_eq!(jobs[0]["body"], json!({"task": [1, 2]}), "{reserved}");
    assert!(jobs[0]["lease"].as_str().is_some_and(|lease| lease.len() >= 8), "{reserved}");
    assert!(is_time(&jobs[0]["expires_at"]), "{reserved}");
    assert!(client.reserve(10).is_empty(), "a leased job is nobody else's");
    let acked = client.settle("ack", &jobs[0]);
    assert_ok(&acked);
    assert!(acked.seq() > put.seq(), "{acked}");
    assert!(client.reserve(10).is_empty());
}

#[test]
fn a_finished_or_unknown_job_is_not_found() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    let job = client.reserve_one();
    assert_ok(&client.settle("ack", &job));
    for command in ["ack", "nack", "extend"] {
        assert_error(&client.settle(command, &job), "not_found");
        let unknown = json!({"job": 999_999, "lease": job["lease"]});
        assert_error(&client.settle(command, &unknown), "not_found");
    }
    let key = client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1})).seq();
    let no_job = json!({"job": key, "lease": job["lease"]});
    assert_error(&client.settle("ack", &no_job), "not_found");
}

#[test]
fn only_the_current_lease_settles_a_job() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    client.put("y");
    let (first, second) = (client.reserve_one(), client.reserve_one());
    let swapped = common::with(&first, "lease", second["lease"].clone());
    let forged = common::with(&first, "lease", "not-a-lease");
    for wrong in [swapped, forged] {
        for command in ["ack", "nack", "extend"] {
            assert_error(&client.settle(command, &wrong), "lease_lost");
        }
    }
    assert_ok(&client.settle("ack", &first));
    assert_ok(&client.settle("ack", &second));
}

#[test]
fn a_lease_belongs_to_its_token_and_not_to_the_connection() {
    let daemon = Daemon::start();
    daemon.connect().put("x");
    let job = daemon.connect().reserve_one();
    let mut other = daemon.connect();
    assert!(other.reserve(1).is_empty(), "the lease ended with its connection");
    assert_ok(&other.settle("extend", &job));
    assert_ok(&daemon.connect().settle("ack", &job));
}

#[test]
fn a_job_whose_lease_ran_out_is_delivered_again() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let put = client.put("x");
    let mut job = client.await_job(1);
    for attempt in 2..=4 {
        let again = client.await_job(if attempt < 4 { 1 } else { 600_000 });
        assert_eq!((&again["job"], &again["attempt"]), (&json!(put), &json!(attempt)), "{again}");
        assert_ne!(again["lease"], job["lease"], "every delivery has its own lease");
        job = again;
    }
    assert_ok(&client.settle("ack", &job));
}

#[test]
fn a_lease_that_was_taken_over_is_lost() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    let old = client.await_job(1);
    let new = client.await_job(600_000);
    for command in ["ack", "nack", "extend"] {
        assert_error(&client.settle(command, &old), "lease_lost");
    }
    assert_ok(&client.settle("ack", &new));
}

#[test]
fn a_lease_that_ran_out_is_lost_before_anyone_takes_it_over() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    let job = client.await_job(1);
    client.await_count("leased", 0);
    assert_error(&client.settle("ack", &job), "lease_lost");
    assert_eq!(client.queue()["ready"], 1);
}

#[test]
fn an_extended_lease_ends_later_or_sooner() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    let job = client.reserve_one();
    let mut extend = |lease_ms: u64| {
        let request =
            json!({"cmd": "queue.extend", "job": job["job"], "lease": job["lease"], "lease_ms": lease_ms});
        client.ok(request).seq()
    };
    let first = extend(900_000);
    assert!(extend(1) > first);
    let again = client.await_job(600_000);
    assert_eq!(again["attempt"], 2, "{again}");
    assert_error(&client.settle("ack", &job), "lease_lost");
}

#[test]
fn extend_counts_from_now() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    let job = client.reserve_one();
    let expiry = |job: &Value| common::string(job, "expires_at");
    let before = expiry(&client.peek("leased")[0]);
    assert_eq!(before, expiry(&job));
    let shorter =
        json!({"cmd": "queue.extend", "job": job["job"], "lease": job["lease"], "lease_ms": 60_000});
    client.ok(shorter);
    let sooner = expiry(&client.peek("leased")[0]);
    assert!(sooner < before, "{sooner} is not before {before}");
    assert_ok(&client.settle("extend", &job));
    assert!(expiry(&client.peek("leased")[0]) > before);
}

#[test]
fn a_nacked_job_comes_back_at_once() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let put = client.put("x");
    let job = client.reserve_one();
    let nacked = client.settle("nack", &job);
    assert_ok(&nacked);
    assert!(nacked.seq() > put, "{nacked}");
    assert_error(&client.settle("ack", &job), "lease_lost");
    let again = client.reserve_one();
    assert_eq!((&again["job"], &again["attempt"]), (&json!(put), &json!(2)), "{again}");
}

#[test]
fn a_nack_that_makes_a_job_dead_says_nothing_of_when_it_is_ready() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    client.put("x");
    let job = client.reserve_one();
    client.ok(json!({"cmd": "queue.nack", "job": job["job"], "lease": job["lease"], "delay_ms": 600_000}));
    let log = client.ok(json!({"cmd": "log.read", "types": ["job.nacked"]}));
    let nacked = log["events"][0].as_object().expect("an event");
    assert_eq!(nacked["dead"], true, "{nacked:?}");
    assert!(!nacked.contains_key("delay_ms") && !nacked.contains_key("ready_at"), "{nacked:?}");
}

#[test]
fn a_job_nacked_with_a_delay_comes_back_after_it() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    let job = client.reserve_one();
    let nack = json!({"cmd": "queue.nack", "job": job["job"], "lease": job["lease"], "delay_ms": 600_000});
    client.ok(nack);
    assert!(client.reserve(1).is_empty());
    let delayed = client.peek("delayed");
    assert!(is_time(&delayed[0]["ready_at"]), "{delayed:?}");

    client.put("y");
    let job = client.reserve_one();
    client.ok(json!({"cmd": "queue.nack", "job": job["job"], "lease": job["lease"], "delay_ms": 20}));
    let again = client.await_job(600_000);
    assert_eq!((&again["body"], &again["attempt"]), (&json!("y"), &json!(2)), "{again}");
}

#[test]
fn a_queue_has_its_own_lease_time() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "lease_ms": 1}));
    client.put("x");
    client.ok(json!({"cmd": "queue.reserve", "queue": "q"}));
    assert_eq!(client.await_job(600_000)["attempt"], 2);
}

#[test]
fn after_max_attempts_a_job_is_dead() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 2}));
    let put = client.put("x");
    for attempt in 1..=2 {
        let job = client.reserve_one();
        assert_eq!(job["attempt"], attempt, "{job}");
        assert_ok(&client.settle("nack", &job));
    }
    assert!(client.reserve(1).is_empty());
    assert_eq!(client.queue()["dead"], 1);
    let dead = client.peek("dead");
    assert_eq!((&dead[0]["job"], &dead[0]["attempts"]), (&json!(put), &json!(2)), "{dead:?}");
}

#[test]
fn five_deliveries_are_the_default() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("x");
    for attempt in 1..=5 {
        let job = client.reserve_one();
        assert_eq!(job["attempt"], attempt, "{job}");
        assert_ok(&client.settle("nack", &job));
    }
    assert_eq!(client.queue()["dead"], 1);
}

#[test]
fn a_job_whose_last_lease_runs_out_is_dead_too() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    client.put("x");
    let job = client.await_job(1);
    client.await_count("dead", 1);
    assert!(client.reserve(1).is_empty());
    assert_eq!(client.settle("ack", &job)["ok"], false);
}

#[test]
fn without_max_attempts_a_job_never_dies() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": null}));
    client.put("x");
    for attempt in 1..=20 {
        let job = client.reserve_one();
        assert_eq!(job["attempt"], attempt, "{job}");
        assert_ok(&client.settle("nack", &job));
    }
    assert_eq!(client.queue()["ready"], 1);
}

#[test]
fn dead_jobs_can_be_revived_all_or_one() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 1}));
    let jobs: Vec<u64> = (0..3).map(|n| client.put(n)).collect();
    for job in client.reserve(3) {
        assert_ok(&client.settle("nack", &job));
    }
    assert_eq!(client.queue()["dead"], 3);
    let one = client.ok(json!({"cmd": "queue.revive", "queue": "q", "job": jobs[1]}));
    assert_eq!(one["revived"], 1, "{one}");
    let job = client.reserve_one();
    assert_eq!((&job["job"], &job["attempt"]), (&json!(jobs[1]), &json!(1)), "attempts begin again");
    let rest = client.ok(json!({"cmd": "queue.revive", "queue": "q"}));
    assert_eq!(rest["revived"], 2, "{rest}");
    let queue = client.queue();
    assert_eq!((&queue["dead"], &queue["ready"]), (&json!(0), &json!(2)), "{queue}");
}

#[test]
fn any_json_is_a_body_and_keeps_every_digit() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for body in ["null", "1.10", "123456789012345678901234567890", "1e400", "{\"b\":[1.0],\"a\":\"\"}"] {
        assert_ok(&client.ask_raw(format!(r#"{{"cmd":"queue.put","queue":"q","body":{body}}}"#)));
        client.send(json!({"cmd": "queue.reserve", "queue": "q"}));
        let reply = client.line().expect("a reply");
        assert!(reply.contains(&format!("\"body\":{body}")), "{body} came back as {reply}");
    }
}
