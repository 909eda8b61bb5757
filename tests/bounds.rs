//! Bounds: whatever one client does, the others go on being served.

mod common;

use std::fs;
use std::io::{ErrorKind, Write};

use common::{Client, Daemon, assert_error, assert_ok, json, until};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Somebody else writes and reads, as if nothing were.
#[track_caller]
fn assert_others_are_served(daemon: &Daemon) {
    let mut client = daemon.connect();
    let written = client.ok(json!({"cmd": "kv.set", "key": "other", "value": "client"})).seq();
    let read = client.ok(json!({"cmd": "kv.get", "key": "other"}));
    assert_eq!(read.seq(), written, "{read}");
}

/// Lets this process hold as many files as it may; a test with many connections needs them.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit is allowed");
    let enough = limit.maximum.is_none_or(|files| files >= 2500);
    assert!(enough, "the hard limit of open files is {:?}; this test needs 2500: ulimit -Hn", limit.maximum);
}

/// Sends this line again and again until the daemon takes no more.
fn stuff(client: &Client, line: &str) {
    let mut stream = client.stream();
    stream.set_write_timeout(Some(std::time::Duration::from_millis(200))).expect("a socket");
    let lines = line.repeat(1 + 64_000 / line.len());
    for _ in 0..10_000 {
        match stream.write_all(lines.as_bytes()) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                return;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the daemon took 640 MB from a client that never reads");
}

#[test]
fn a_client_that_never_reads_is_held_back_and_holds_nobody_up() {
    let daemon = Daemon::start();
    let sloths: Vec<Client> = (0..4).map(|_| daemon.connect()).collect();
    for sloth in &sloths {
        stuff(sloth, "{\"cmd\":\"help\"}\n");
        assert_others_are_served(&daemon);
    }
    let writer = daemon.connect();
    stuff(&writer, "{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":1,\"durable\":false}\n");
    assert_others_are_served(&daemon);
}

#[test]
fn a_client_that_reads_late_gets_every_reply_in_order() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut stream = client.stream();
    let writer = std::thread::spawn(move || {
        for id in 0..2000 {
            let line = format!("{}\n", json!({"cmd": "help", "on": "message.search", "id": id}));
            stream.write_all(line.as_bytes()).expect("the daemon goes on when it is read from");
        }
    });
    for _ in 0..20 {
        assert_others_are_served(&daemon);
    }
    for id in 0..2000 {
        assert_eq!(client.read_ok()["id"], id);
    }
    writer.join().expect("no panic");
}

#[test]
fn a_client_that_sends_one_byte_at_a_time_is_served_and_holds_nobody_up() {
    let daemon = Daemon::start();
    let mut slow = daemon.connect();
    let mut other = daemon.connect();
    for byte in "{\"cmd\":\"kv.set\",\"key\":\"slow\",\"value\":\"and steady\"}\n".bytes() {
        slow.send_bytes([byte]);
        other.ok(json!({"cmd": "ping"}));
    }
    assert_ok(&slow.read());
    assert_eq!(other.ok(json!({"cmd": "kv.get", "key": "slow"}))["value"], "and steady");
}

#[test]
fn a_thousand_connections_are_served_at_once() {
    let daemon = Daemon::start();
    allow_many_files();
    let mut clients: Vec<Client> = (0..1000).map(|_| daemon.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": number, "id": number}));
    }
    for (number, client) in clients.iter_mut().enumerate().rev() {
        assert_eq!(client.read_ok()["id"], number);
    }
    drop(clients);
    assert_others_are_served(&daemon);
}

#[test]
fn clients_that_leave_in_the_middle_of_a_line_leave_nothing_behind() {
    let daemon = Daemon::start();
    for number in 0..200 {
        let mut client = daemon.connect();
        client.send_bytes(format!("{{\"cmd\":\"kv.set\",\"key\":\"half{number}\",\"value\":"));
    }
    assert_others_are_served(&daemon);
    let keys = daemon.connect().ok(json!({"cmd": "kv.list"}));
    assert_eq!(keys.column("keys", "key"), [json!("other")], "{keys}");
}

#[test]
fn clients_that_leave_without_reading_do_not_stop_anything() {
    let daemon = Daemon::start();
    for number in 0..100 {
        let mut client = daemon.connect();
        for turn in 0..20 {
            client.send(json!({"cmd": "kv.set", "key": format!("k{number}.{turn}"), "value": turn}));
        }
    }
    assert_others_are_served(&daemon);
}

#[test]
fn past_the_connection_limit_there_is_one_busy_line() {
    let daemon = Daemon::with(&["--max-connections", "8"]);
    let mut inside: Vec<Client> = (0..4).map(|_| admitted(&daemon)).collect();
    let mut outside = daemon.connect();
    assert_error(&outside.read(), "busy");
    outside.assert_closed();
    for client in &mut inside {
        client.ok(json!({"cmd": "ping"}));
    }
    inside.pop();
    admitted(&daemon).ok(json!({"cmd": "ping"}));
}

#[test]
fn who_comes_while_no_file_may_be_opened_waits_and_the_operator_hears_of_it_once() {
    let daemon = Daemon::start();
    let mut inside = daemon.connect();
    inside.ok(json!({"cmd": "ping"}));
    let id = Pid::from_raw(i32::try_from(daemon.id()).expect("a process")).expect("a process");
    let open = fs::read_dir(format!("/proc/{}/fd", daemon.id())).expect("it runs").count() as u64;
    let most = |files| Rlimit { current: Some(files), maximum: getrlimit(Resource::Nofile).maximum };
    // Less than there are: one that was open for a moment, when they were counted, leaves no place that can be taken.
    let before = prlimit(Some(id), Resource::Nofile, most(open - 2)).expect("it is ours");
    let mut outside: Vec<Client> = (0..3).map(|_| daemon.connect()).collect();
    outside.iter_mut().for_each(|client| client.send(json!({"cmd": "ping"})));
    let said = || daemon.stderr().matches("connections cannot be accepted").count();
    until("the operator is told", || (said() > 0).then_some(()));
    inside.ok(json!({"cmd": "ping"}));
    prlimit(Some(id), Resource::Nofile, before).expect("it is ours");
    outside.iter_mut().for_each(|client| drop(client.read_ok()));
    assert!(said() == 1 && daemon.stderr().contains("LimitNOFILE="), "{}", daemon.stderr());
}

/// A connection that the daemon has let in; those that closed before count until it has noticed.
fn admitted(daemon: &Daemon) -> Client {
    until("a connection is let in", || {
        let mut client = daemon.connect();
        let sent = client.try_send("{\"cmd\":\"ping\"}\n");
        let line = client.line()?;
        (sent.is_some() && line.starts_with("{\"ok\":true")).then_some(client)
    })
}

#[test]
fn one_user_gets_half_of_the_connections() {
    let daemon = Daemon::with(&["--max-connections", "6"]);
    let limits = admitted(&daemon).ok(json!({"cmd": "info"}));
    assert_eq!(limits["limits"]["connections"], 6, "{limits}");
    let inside: Vec<Client> = (0..3).map(|_| admitted(&daemon)).collect();
    assert_error(&daemon.connect().read(), "busy");
    assert_eq!(inside.len(), 3);
}

#[test]
fn large_replies_behind_many_small_ones_are_bounded_while_they_come() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "large", "value": "x".repeat(1_000_000)}));
    client.ok(json!({"cmd": "kv.set", "key": "small", "value": 1}));
    let before = daemon.most_memory();
    let get = |key: &str, id: usize| format!("{{\"cmd\":\"kv.get\",\"key\":\"{key}\",\"id\":{id}}}\n");
    // Small replies raise how many reads are begun ahead.
    client.send_bytes((0..1000).map(|id| get("small", id)).collect::<String>());
    (0..1000).for_each(|_| drop(client.read_ok()));
    client.send_bytes((0..500).map(|id| get("large", id)).collect::<String>());
    assert_others_are_served(&daemon);
    for id in 0..500 {
        let reply = client.read();
        if reply["ok"] == false {
            assert_error(&reply, "busy");
            client.assert_closed();
            break;
        }
        assert_eq!(reply["id"], id);
    }
    // What the readers have made and not delivered comes on top.
    let memory = daemon.most_memory() - before;
    assert!(memory < 160, "{memory} MiB more under a bound of 64 MiB");
}

#[test]
fn half_sent_lines_are_bounded_together() {
    let daemon = Daemon::start();
    let (start, end) = ("{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":\"", "\"}\n");
    let half = format!("{start}{}", "x".repeat(1_000_000));
    let mut hoarders: Vec<Client> = (0..120).map(|_| daemon.connect()).collect();
    for hoarder in &hoarders {
        let _ = hoarder.stream().write_all(half.as_bytes());
    }
    assert_others_are_served(&daemon);
    let mut busy = 0;
    for hoarder in &mut hoarders {
        let _ = hoarder.stream().write_all(end.as_bytes());
        match hoarder.line() {
            Some(line) if line.starts_with("{\"ok\":true") => {}
            Some(line) => {
                assert!(line.contains("\"busy\""), "{line}");
                busy += 1;
            }
            None => panic!("a connection was closed without a word"),
        }
    }
    assert!(busy > 0, "120 MB of half lines were held under a bound of 64 MiB");
    assert!(busy < 120, "nobody was served");
    assert_others_are_served(&daemon);
}
