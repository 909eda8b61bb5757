//! Stopping: what was received is answered, then the daemon ends with status 0.

mod common;

use std::fs;
use std::io::Write;

use common::{Client, Daemon, Reply, Value, assert_error, content, file_name, json, padded, segments, until};
use rustix::process::Signal;

fn set(number: u64) -> Value {
    json!({"cmd": "kv.set", "key": format!("k{number}"), "value": number, "id": number})
}

#[test]
fn sigterm_and_sigint_end_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start();
        let mut client = daemon.connect();
        client.ok(set(1));
        daemon.signal(signal);
        assert_eq!(daemon.wait(), Some(0), "{signal:?}; stderr: {}", daemon.stderr());
        client.assert_closed();
        daemon.launch();
        assert_eq!(daemon.connect().ok(json!({"cmd": "kv.get", "key": "k1"}))["value"], 1);
    }
}

#[test]
fn what_was_received_before_sigterm_is_answered_in_order() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.last_seq();
    let lines: String = (0..1000).map(|number| format!("{}\n", set(number))).collect();
    client.stream().write_all(lines.as_bytes()).expect("the socket's buffer holds them");
    daemon.signal(Signal::TERM);

    let replies = client.lines_to_the_end();
    assert_eq!(replies.len(), 1000, "one reply for each line");
    for (number, text) in replies.into_iter().enumerate() {
        let reply = Reply::parse(set(number as u64).to_string(), text);
        common::assert_ok(&reply);
        assert_eq!(reply["id"], number, "{reply}");
    }
    assert_eq!(daemon.wait(), Some(0), "stderr: {}", daemon.stderr());
    daemon.launch();
    assert!(daemon.connect().last_seq() >= 1000);
}

#[test]
fn a_waiting_reserve_is_answered_with_no_jobs() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.last_seq();
    client.send(json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 600_000}));
    daemon.signal(Signal::TERM);
    let reply = client.read_ok();
    assert_eq!(reply["jobs"], json!([]), "{reply}");
    client.assert_closed();
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn followers_are_told_that_it_stops() {
    let mut daemon = Daemon::start();
    let mut followers = [daemon.connect(), daemon.connect()];
    let requests = [json!({"cmd": "log.follow"}), json!({"cmd": "message.follow"})];
    for (follower, request) in followers.iter_mut().zip(&requests) {
        let reply = follower.ok(request.clone());
        assert_eq!(reply["following"], true, "{reply}");
    }
    daemon.signal(Signal::TERM);
    for (follower, request) in followers.iter_mut().zip(&requests) {
        let text = follower.line().expect("a last line");
        assert_error(&Reply::parse(request.to_string(), text), "shutting_down");
        follower.assert_closed();
    }
    assert_eq!(daemon.wait(), Some(0));
}

#[test]
fn a_half_sent_line_does_not_hold_it_up() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(set(1));
    client.send_bytes(r#"{"cmd":"kv.set","key":"half","val"#);
    assert_eq!(daemon.stop(), Some(0), "stderr: {}", daemon.stderr());
    daemon.launch();
    daemon.connect().refused(json!({"cmd": "kv.get", "key": "half"}), "not_found");
}

#[test]
fn a_last_line_that_its_client_ended_by_a_half_close_before_the_stop_is_answered() {
    let mut daemon = Daemon::start();
    // One that the daemon knows, and one that waits to be let in.
    let mut known = daemon.connect();
    known.last_seq();
    daemon.signal(Signal::STOP);
    let mut new = daemon.connect();
    for client in [&mut known, &mut new] {
        client.send_bytes(r#"{"cmd":"kv.set","key":"k","value":1}"#);
        client.half_close();
    }
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::CONT);
    for client in [&mut known, &mut new] {
        let reply = client.read_ok();
        assert!(reply.seq() > 0, "{reply}");
        client.assert_closed();
    }
    assert_eq!(daemon.wait(), Some(0), "stderr: {}", daemon.stderr());
}

#[test]
fn a_client_that_does_not_read_does_not_hold_it_up() {
    let mut daemon = Daemon::start();
    let client = daemon.connect();
    let stream = client.stream();
    stream.set_nonblocking(true).expect("a socket");
    let line = b"{\"cmd\":\"help\"}\n".repeat(1000);
    while (&stream).write(&line).is_ok() {}
    assert_eq!(daemon.stop(), Some(0), "stderr: {}", daemon.stderr());
}

#[test]
fn a_client_that_reads_slowly_gets_all_of_its_replies() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "large", "value": "x".repeat(900_000)}));
    let lines = b"{\"cmd\":\"kv.get\",\"key\":\"large\"}\n".repeat(16);
    client.stream().write_all(&lines).expect("the socket's buffer holds them");
    daemon.signal(Signal::TERM);
    // It takes longer than a client gets that does not read at all.
    for reply in 0..16 {
        std::thread::sleep(std::time::Duration::from_millis(400));
        let line = client.line().unwrap_or_else(|| panic!("no reply {reply}; stderr: {}", daemon.stderr()));
        assert_eq!(line.matches('x').count(), 900_000, "reply {reply}");
    }
    client.assert_closed();
    assert_eq!(daemon.wait(), Some(0), "stderr: {}", daemon.stderr());
}

#[test]
fn nobody_connects_to_a_stopped_daemon() {
    let mut daemon = Daemon::start();
    assert_eq!(daemon.stop(), Some(0));
    let answer = std::os::unix::net::UnixStream::connect(daemon.socket());
    assert!(answer.is_err(), "somebody answers");
}

#[test]
fn a_clean_stop_trims_the_room_made_ahead() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    for number in 0..10 {
        client.ok(set(number));
    }
    assert_eq!(daemon.stop(), Some(0));
    let segments = segments(&daemon.data());
    assert!(!segments.is_empty(), "there is a log");
    for segment in segments {
        assert!(!padded(&segment), "{} ends in zero bytes", file_name(&segment));
        assert!(!content(&segment).is_empty(), "{} is empty", file_name(&segment));
    }
}

#[test]
fn a_daemon_that_wrote_nothing_starts_again() {
    let mut daemon = Daemon::start();
    daemon.restart();
    daemon.crash();
    assert_eq!(daemon.connect().last_seq(), 0);
}

#[test]
fn a_seq_is_never_given_twice() {
    let mut daemon = Daemon::start();
    let first = daemon.connect().ok(set(1)).seq();
    daemon.restart();
    let second = daemon.connect().ok(set(2)).seq();
    daemon.crash();
    let third = daemon.connect().ok(set(3)).seq();
    assert!(first < second && second < third, "{first}, {second}, {third}");
}

/// Waits until a daemon has noticed at a reload that its log is gone; what it tells who writes.
fn refused_after_reload(daemon: &Daemon, client: &mut Client) -> String {
    daemon.signal(Signal::HUP);
    let refusal = until("it refuses writes", || {
        let reply = client.ask(set(1_000));
        (reply["ok"] == false).then_some(reply)
    });
    assert_eq!(refusal["error"], "read_only", "{refusal}");
    refusal.string("message")
}

#[test]
fn a_daemon_whose_data_was_removed_refuses_writes_when_it_knows_and_can_be_backed_up_and_ends_with_74() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    (0..20).for_each(|number| drop(client.ok(set(number % 10))));
    client.ok(json!({"cmd": "log.compact"}));
    client.ok(set(20));
    fs::remove_dir_all(daemon.data()).expect("a folder");
    let said = refused_after_reload(&daemon, &mut client);
    assert!(said.contains("beneath this daemon") && said.contains("log backup"), "{said}");
    let (last, to) = (client.last_seq(), daemon.folder().join("backup"));
    client.ok(json!({"cmd": "log.backup", "to": to}));
    let backup = Daemon::start_on(&to);
    assert_eq!(backup.connect().last_seq(), last);
    backup.connect().ok(json!({"cmd": "log.verify"}));
    assert_eq!(daemon.stop(), Some(74));
    assert!(daemon.stderr().contains("beneath this daemon; if it was moved"), "{}", daemon.stderr());
}

#[test]
fn a_daemon_whose_data_was_moved_away_refuses_writes_when_it_knows_and_all_is_there_when_it_is_put_back() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut follower = daemon.connect();
    follower.ok(json!({"cmd": "log.follow"}));
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1, "durable": false}));
    let away = daemon.folder().join("away");
    fs::rename(daemon.data(), &away).expect("a folder");
    let said = refused_after_reload(&daemon, &mut client);
    assert!(said.contains("moved or replaced") && said.contains("put it back"), "{said}");
    // It was synced before writing was given up, so that followers have it, too.
    assert!(follower.line().expect("one more line").contains("\"seq\":1,"));
    assert_eq!(daemon.stop(), Some(74));
    fs::rename(&away, daemon.data()).expect("a folder");
    daemon.launch();
    assert_eq!(daemon.connect().ok(json!({"cmd": "kv.get", "key": "k"}))["value"], 1);
}

#[test]
fn a_daemon_that_learns_at_its_end_that_its_log_was_removed_ends_with_74() {
    for also in ["", "put something else there"] {
        let mut daemon = Daemon::start();
        daemon.connect().ok(set(1));
        let log = daemon.data().join("log");
        let segment = segments(&daemon.data()).remove(0);
        fs::remove_dir_all(&log).expect("a folder");
        if !also.is_empty() {
            fs::create_dir(&log).expect("a folder");
            fs::write(segment, also).expect("a file");
        }
        assert_eq!(daemon.stop(), Some(74));
        assert!(daemon.stderr().contains("removed"), "{}", daemon.stderr());
    }
}
