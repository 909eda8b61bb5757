//! The clock set an hour forward and back, while a daemon runs and over a restart: no lease ends early.
//! That takes libfaketime (Debian's `faketime`); the clock that leases go by is left alone, as setting the
//! time leaves it alone.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Client, Daemon, json};

const HOUR: &str = "3600";

/// libfaketime, where it is installed.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: libfaketime is missing (apt-get install faketime): tests of the clock");
    }
    found
}

/// A daemon whose clock is off by what the file says.
struct Clock(PathBuf);

impl Clock {
    fn set(&self, offset: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, format!("{offset}\n")).expect("a file");
        fs::rename(new, &self.0).expect("a file");
    }
}

fn daemon() -> Option<(Daemon, Clock)> {
    let library = library()?;
    let mut daemon = Daemon::stopped(&[]);
    let clock = Clock(daemon.folder().join("clock"));
    clock.set("+0");
    for (name, value) in [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", clock.0.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ] {
        daemon.set_variable(name, value);
    }
    daemon.launch();
    Some((daemon, clock))
}

/// Puts a job and holds it for ten minutes; then lets a short delay and a short lease pass, so that the
/// timers have run.
fn hold(client: &mut Client) {
    client.put("held");
    client.await_job(600_000);
}

fn let_timers_run(client: &mut Client) {
    client.ok(json!({"cmd": "queue.configure", "queue": "timer"}));
    client.ok(json!({"cmd": "queue.purge", "queue": "timer"}));
    client.ok(json!({"cmd": "queue.put", "queue": "timer", "body": 1, "delay_ms": 20}));
    let reserve = json!({"cmd": "queue.reserve", "queue": "timer", "wait_ms": 25_000, "lease_ms": 1});
    client.ok(reserve.clone());
    let again = client.ok(reserve).list("jobs");
    assert_eq!(again[0]["attempt"], 2, "the short lease has run out");
}

#[track_caller]
fn assert_held(client: &mut Client) {
    let queue = client.queue();
    assert_eq!((&queue["leased"], &queue["ready"]), (&json!(1), &json!(0)), "{queue}");
}

#[test]
fn a_clock_that_is_set_forward_and_back_ends_no_lease() {
    let Some((daemon, clock)) = daemon() else { return };
    let mut client = daemon.connect();
    hold(&mut client);
    let mut before = String::new();
    for offset in [&format!("+{HOUR}"), "+0", &format!("-{HOUR}"), "+0"] {
        clock.set(offset);
        let_timers_run(&mut client);
        assert_held(&mut client);
        let events = client.ok(json!({"cmd": "log.read", "limit": 10_000})).list("events");
        let at = common::string(&events[events.len() - 1], "at");
        assert!(at >= before, "time ran backwards along the log");
        before = at;
    }
    let events = client.ok(json!({"cmd": "log.read", "limit": 10_000})).list("events");
    let (first, last) = (common::string(&events[0], "at"), before);
    assert!(first[..13] != last[..13], "the clock was set: {first} to {last}");
}

#[test]
fn a_clock_that_is_set_back_while_it_runs_is_told_of_once_and_once_when_it_has_caught_up() {
    let Some((daemon, clock)) = daemon() else { return };
    let mut client = daemon.connect();
    let told = |line| daemon.stderr().matches(line).count();
    client.put("first");
    for (offset, behind, caught_up) in [("-3600", 1, 0), ("+0", 1, 1)] {
        clock.set(offset);
        client.put("a");
        client.put("b");
        assert_eq!(told("s ahead of the clock"), behind, "{}", daemon.stderr());
        assert_eq!(told("has caught up with the log"), caught_up, "{}", daemon.stderr());
    }
}

#[test]
fn a_clock_that_is_set_back_over_a_restart_ends_no_lease_and_makes_none_longer() {
    let Some((mut daemon, clock)) = daemon() else { return };
    hold(&mut daemon.connect());
    daemon.connect().ok(json!({"cmd": "queue.put", "queue": "timer", "body": 1}));
    daemon.connect().ok(json!({"cmd": "queue.reserve", "queue": "timer", "lease_ms": 2000}));
    clock.set(&format!("-{HOUR}"));
    daemon.restart();
    let mut client = daemon.connect();
    assert_held(&mut client);
    // It has at most its full length left: the job comes long before the hour is over.
    let reserve = json!({"cmd": "queue.reserve", "queue": "timer", "wait_ms": 25_000});
    assert_eq!(client.ok(reserve).list("jobs")[0]["attempt"], 2);
    assert_held(&mut client);
}

#[test]
fn a_clock_that_is_set_forward_over_a_restart_ends_no_lease_that_is_longer() {
    let Some((mut daemon, clock)) = daemon() else { return };
    daemon.connect().put("held");
    daemon.connect().await_job(2 * 3_600_000);
    clock.set(&format!("+{HOUR}"));
    daemon.restart();
    let mut client = daemon.connect();
    let_timers_run(&mut client);
    assert_held(&mut client);
}
