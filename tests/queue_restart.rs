//! Queues over a restart: leases, attempts, delays and settings go on.

mod common;

use common::{Daemon, assert_error, assert_ok, bodies, content, finish, json, msglogd};

/// Every way to end and begin again.
const RESTARTS: [fn(&mut Daemon); 2] = [Daemon::crash, Daemon::restart];

#[test]
fn jobs_and_their_order_survive() {
    for restart in RESTARTS {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        for (body, priority) in [("c", 0), ("a", 9), ("d", 0), ("b", 5)] {
            client.ok(json!({"cmd": "queue.put", "queue": "q", "body": body, "priority": priority}));
        }
        restart(&mut daemon);
        assert_eq!(json!(bodies(&daemon.connect().reserve(10))), json!(["a", "b", "c", "d"]));
    }
}

#[test]
fn a_running_lease_survives() {
    for restart in RESTARTS {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        client.put("held");
        client.put("extended");
        let (held, extended) = (client.reserve_one(), client.reserve_one());
        assert_ok(&client.settle("extend", &extended));
        restart(&mut daemon);
        let mut client = daemon.connect();
        assert!(client.reserve(2).is_empty(), "leased jobs were delivered again");
        assert_eq!(client.queue()["leased"], 2);
        assert_ok(&client.settle("ack", &held));
        assert_ok(&client.settle("nack", &extended));
        assert_eq!(client.reserve_one()["attempt"], 2);
    }
}

#[test]
fn a_lease_that_ended_while_nobody_served_is_over() {
    for restart in RESTARTS {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        client.put("x");
        let old = client.await_job(1);
        restart(&mut daemon);
        let mut client = daemon.connect();
        let again = client.await_job(600_000);
        assert_eq!(again["attempt"], 2, "{again}");
        assert_error(&client.settle("ack", &old), "lease_lost");
        assert_ok(&client.settle("ack", &again));
    }
}

#[test]
fn a_start_that_cannot_have_its_socket_ends_no_lease() {
    let mut daemon = Daemon::start();
    let segment = daemon.data().join("log").join(format!("{:020}.log", 1));
    let before = loop {
        let mut client = daemon.connect();
        client.put("x");
        client.await_job(1);
        daemon.kill();
        let log = content(&segment);
        let last = log.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        if String::from_utf8_lossy(last).contains("job.leased") {
            break log;
        }
        // It was over before the kill.
        daemon.launch();
    };
    let other = Daemon::start();
    let mut command = msglogd();
    let finished = finish(command.arg("--data").arg(daemon.data()).arg("--socket").arg(other.socket()));
    assert_eq!((finished.code, content(&segment)), (Some(75), before), "{finished:?}");
}

#[test]
fn attempts_and_dead_jobs_survive() {
    for restart in RESTARTS {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": 3}));
        client.put("x");
        for attempt in 1..=3 {
            let mut client = daemon.connect();
            let job = client.reserve_one();
            assert_eq!(job["attempt"], attempt, "{job}");
            assert_ok(&client.settle("nack", &job));
            restart(&mut daemon);
        }
        let mut client = daemon.connect();
        assert_eq!(client.queue()["dead"], 1);
        assert_eq!(client.peek("dead")[0]["attempts"], 3);
        client.ok(json!({"cmd": "queue.revive", "queue": "q"}));
        restart(&mut daemon);
        assert_eq!(daemon.connect().reserve_one()["attempt"], 1);
    }
}

#[test]
fn a_delay_survives() {
    for restart in RESTARTS {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "far", "delay_ms": 600_000}));
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "near", "delay_ms": 50}));
        let before = client.peek("delayed")[0]["ready_at"].clone();
        restart(&mut daemon);
        let mut client = daemon.connect();
        assert_eq!(client.await_job(600_000)["body"], "near");
        let delayed = client.peek("delayed");
        assert_eq!(json!(bodies(&delayed)), json!(["far"]));
        assert!(common::is_time(&before) && common::is_time(&delayed[0]["ready_at"]));
    }
}

#[test]
fn settings_survive_and_so_does_the_lack_of_a_queue() {
    for restart in RESTARTS {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        client.ok(json!({"cmd": "queue.configure", "queue": "q", "lease_ms": 7, "max_attempts": null,
                         "max_jobs": 2}));
        client.ok(json!({"cmd": "queue.configure", "queue": "dropped"}));
        client.ok(json!({"cmd": "queue.drop", "queue": "dropped"}));
        client.put("x");
        let before = client.queue();
        restart(&mut daemon);
        let mut client = daemon.connect();
        assert_eq!(client.queue(), before);
        client.put("y");
        client.refused(json!({"cmd": "queue.put", "queue": "q", "body": "z"}), "queue_full");
        client.refused(json!({"cmd": "queue.get", "queue": "dropped"}), "not_found");
    }
}

#[test]
fn finished_jobs_stay_finished() {
    for restart in RESTARTS {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        let jobs: Vec<u64> = (0..4).map(|n| client.put(n)).collect();
        let acked = client.reserve_one();
        assert_ok(&client.settle("ack", &acked));
        client.ok(json!({"cmd": "queue.delete", "job": jobs[1]}));
        restart(&mut daemon);
        let mut client = daemon.connect();
        assert_error(&client.settle("ack", &acked), "not_found");
        client.refused(json!({"cmd": "queue.delete", "job": jobs[1]}), "not_found");
        assert_eq!(json!(bodies(&client.reserve(4))), json!([2, 3]));
        client.ok(json!({"cmd": "queue.purge", "queue": "q", "state": "leased"}));
        restart(&mut daemon);
        assert!(daemon.connect().reserve(4).is_empty());
    }
}
