//! What the daemon tells a service manager, and how it answers to its signals.

mod common;

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Client, Finished, PATIENCE, TempDir, json, msglogd, until};
use rustix::process::{Pid, Signal, kill_process};

/// A service manager: the socket it listens on, and the daemon it runs.
struct Manager {
    socket: UnixDatagram,
    child: Child,
    folder: TempDir,
}

impl Manager {
    fn start(prepare: impl FnOnce(&mut Command)) -> Manager {
        let folder = TempDir::new();
        Manager::start_in(folder, prepare)
    }

    fn start_in(folder: TempDir, prepare: impl FnOnce(&mut Command)) -> Manager {
        let _ = std::fs::remove_file(folder.join("notify"));
        let socket = UnixDatagram::bind(folder.join("notify")).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut command = msglogd();
        command.arg("--data").arg(folder.join("data")).arg("--socket").arg(folder.join("s"));
        command.env("NOTIFY_SOCKET", folder.join("notify")).env_remove("WATCHDOG_USEC");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        prepare(&mut command);
        let child = command.spawn().expect("msglogd starts");
        Manager { socket, child, folder }
    }

    /// The next message, one field a line.
    fn hear(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("it tells something in time");
        let text = std::str::from_utf8(&bytes[..length]).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    /// The next message with this field; others before it are passed over.
    fn hear_of(&self, field: &str) -> Vec<String> {
        loop {
            let message = self.hear();
            if message.iter().any(|line| line == field) {
                return message;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the signal is sent");
    }

    fn connect(&self) -> Client {
        Client::connect(&self.folder.join("s")).expect("it listens")
    }

    /// Waits for its end: the status, what it said, and the folder.
    fn end(mut self) -> (Finished, TempDir) {
        let code = until("it ends", || self.child.try_wait().expect("a child of ours")).code();
        let mut stderr = String::new();
        let mut said = self.child.stderr.take().expect("piped");
        std::io::Read::read_to_string(&mut said, &mut stderr).expect("text");
        (Finished { code, stdout: String::new(), stderr }, self.folder)
    }

    fn stop(self) -> (Finished, TempDir) {
        self.signal(Signal::TERM);
        self.hear_of("STOPPING=1");
        self.end()
    }
}

/// What follows `name=` in a message.
fn value<'a>(message: &'a [String], name: &str) -> Option<&'a str> {
    message.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

fn is_silent(manager: &Manager) -> bool {
    manager.socket.set_nonblocking(true).expect("it can");
    let heard = manager.socket.recv(&mut [0; 4096]);
    manager.socket.set_nonblocking(false).expect("it can");
    heard.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn it_is_ready_when_clients_are_served_and_says_when_it_stops() {
    let manager = Manager::start(|_| {});
    let opening = manager.hear();
    assert_eq!(value(&opening, "EXTEND_TIMEOUT_USEC"), Some("120000000"), "{opening:?}");
    let ready = manager.hear();
    assert_eq!(ready[0], "READY=1");
    assert!(value(&ready, "STATUS").is_some_and(|status| status.starts_with("0 events")), "{ready:?}");
    manager.connect().ok(json!({"cmd": "ping"}));
    let (finished, _) = manager.stop();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn a_hangup_is_a_reload_and_disturbs_nobody() {
    let manager = Manager::start(|_| {});
    manager.hear_of("READY=1");
    let mut client = manager.connect();
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    for _ in 0..3 {
        manager.signal(Signal::HUP);
        let reloading = manager.hear_of("RELOADING=1");
        let since = value(&reloading, "MONOTONIC_USEC").expect("systemd asks for the time");
        assert!(since.parse::<u64>().is_ok_and(|since| since > 0), "{reloading:?}");
        let ready = manager.hear_of("READY=1");
        assert_eq!(value(&ready, "STATUS"), Some("1 events, 1 connections"));
    }
    client.ok(json!({"cmd": "kv.get", "key": "k"}));
    let (finished, _) = manager.stop();
    assert_eq!(finished.code, Some(0));
    assert_eq!(finished.stderr.matches("reload: 1 events").count(), 3, "{}", finished.stderr);
}

#[test]
fn the_watchdog_is_fed_as_long_as_the_daemon_moves() {
    let manager = Manager::start(|command| {
        command.env("WATCHDOG_USEC", "60000");
    });
    for _ in 0..10 {
        manager.hear_of("WATCHDOG=1");
    }
    manager.signal(Signal::STOP);
    until("it stands", || {
        let pid = manager.child.id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
        stat.contains(") T ").then_some(())
    });
    while !is_silent(&manager) {}
    std::thread::sleep(Duration::from_millis(200));
    assert!(is_silent(&manager), "a daemon that stands still feeds the watchdog");
    manager.signal(Signal::CONT);
    manager.hear_of("WATCHDOG=1");
    let (finished, _) = manager.stop();
    assert_eq!(finished.code, Some(0));
}

#[test]
fn who_does_not_read_what_the_daemon_says_holds_it_up_neither_at_work_nor_at_its_end() {
    let manager = Manager::start(|command| {
        command.env("WATCHDOG_USEC", "30000");
    });
    manager.hear_of("READY=1");
    let mut client = manager.connect();
    // Each says something to the manager, whose queue is full after some ten, and a line to standard error, which is a
    // pipe of 64 KiB.
    for _ in 0..2000 {
        manager.signal(Signal::HUP);
        client.ok(json!({"cmd": "ping"}));
    }
    manager.signal(Signal::TERM);
    let (mut child, folder) = (manager.child, manager.folder);
    let code = until("it ends", || child.try_wait().expect("a child of ours")).code();
    assert_eq!(code, Some(0));
    drop(folder);
}

#[test]
fn no_watchdog_is_told_of_no_pulse() {
    for (name, setting) in [("WATCHDOG_USEC", "0"), ("WATCHDOG_USEC", "soon"), ("WATCHDOG_PID", "1")] {
        let manager = Manager::start(|command| {
            command.env("WATCHDOG_USEC", "3000").env(name, setting);
        });
        manager.hear_of("READY=1");
        manager.connect().ok(json!({"cmd": "ping"}));
        std::thread::sleep(Duration::from_millis(20));
        assert!(is_silent(&manager), "{name}={setting}");
        manager.stop();
    }
}

#[test]
fn a_line_for_the_journal_begins_with_its_priority_and_one_for_people_does_not() {
    let run = |journal: bool| {
        let folder = TempDir::new();
        let errors = std::fs::File::create(folder.join("stderr")).expect("a file");
        let found = errors.metadata().expect("it is there");
        let stream = if journal { found.ino() } else { found.ino() + 1 };
        let manager = Manager::start(|command| {
            command.env("JOURNAL_STREAM", format!("{}:{stream}", found.dev())).stderr(errors);
        });
        manager.hear_of("READY=1");
        manager.signal(Signal::HUP);
        manager.hear_of("RELOADING=1");
        manager.hear_of("READY=1");
        manager.signal(Signal::KILL);
        let mut manager = manager;
        manager.child.wait().expect("a child of ours");
        std::fs::read_to_string(folder.join("stderr")).expect("text")
    };
    let lines = run(true);
    assert!(lines.contains("listening on") && lines.contains("reload: "), "{lines}");
    assert!(lines.lines().all(|line| line.starts_with("<5>")), "{lines}");
    let lines = run(false);
    assert!(lines.lines().all(|line| line.starts_with("msglogd: ")), "{lines}");
}
