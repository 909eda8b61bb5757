//! `msglog top`: on a terminal, once, and as JSON.

mod client_support;
mod common;

use std::collections::BTreeSet;
use std::process::Command;

use client_support::terminal::Terminal;
use client_support::{msglog, msglog_for, printed, run, scripted};
use common::{Daemon, TempDir, Value, finish, json};
use msglogd::client::top::history::{RATES, SHOWN};
use rustix::process::Signal;

/// A daemon with a few queues.
fn daemon() -> Daemon {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for (queue, jobs) in [("mails", 2), ("thumb\u{1b}[2Jnails", 5), ("reports", 3)] {
        for body in 0..jobs {
            client.ok(json!({"cmd": "queue.put", "queue": queue, "body": body}));
        }
    }
    daemon
}

/// The names of the queues on a screen, from above.
fn queues(screen: &str) -> Vec<&str> {
    let names = screen.lines().filter_map(|line| line.strip_prefix('\u{2502}')?.split_whitespace().next());
    names.filter(|name| ["mails", "thumb^[[2Jnails", "reports"].contains(name)).collect()
}

/// Waits until the queues stand on the screen in this order. It is drawn piece by piece.
#[track_caller]
fn await_queues(top: &Terminal, order: [&str; 3]) {
    common::until(&format!("the queues are {order:?}"), || (queues(&top.screen()) == order).then_some(()));
}

#[test]
fn keys_sort_hold_and_end_and_the_terminal_is_as_it_was() {
    let daemon = daemon();
    let mut top = Terminal::start(&daemon, &["top", "--interval", "0.1"]);
    await_queues(&top, ["thumb^[[2Jnails", "reports", "mails"]);
    assert!(top.has_own_screen() && !top.is_as_a_shell_needs_it());
    let screen = top.await_text("arrows queues");
    assert_eq!(screen.lines().count(), 24, "{screen}");
    top.press("r");
    await_queues(&top, ["mails", "reports", "thumb^[[2Jnails"]);
    top.press("r");
    await_queues(&top, ["thumb^[[2Jnails", "reports", "mails"]);
    top.press("sss");
    await_queues(&top, ["mails", "reports", "thumb^[[2Jnails"]);
    top.await_text("sort: name");
    top.press("+");
    top.await_text("every 0.2 s");
    top.press("p");
    top.await_text("paused");
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "a", "value": 1}));
    top.press("p");
    top.await_text("keys                    1");
    top.press("q");
    assert_eq!(top.finish().0, Some(0));
    assert!(top.is_as_a_shell_needs_it());
}

#[test]
fn the_screen_follows_the_size_of_the_terminal() {
    let daemon = daemon();
    let mut top = Terminal::start(&daemon, &["top", "--interval", "0.1"]);
    top.await_text("sort: depth");
    top.resize(120, 40);
    let widest = |screen: &str| screen.lines().map(|line| line.trim_end().chars().count()).max();
    common::until("the screen is as large as the terminal", || {
        let screen = top.screen();
        let last = screen.lines().nth(39)?;
        (widest(&screen) == Some(120) && last.contains("quit")).then_some(())
    });
    top.resize(40, 10);
    common::until("the screen is as small as the terminal", || {
        let screen = top.screen();
        (widest(&screen) <= Some(40) && screen.lines().nth(9)?.contains("quit")).then_some(())
    });
    // A key that comes in the moment of a new size may be read with the next one only.
    top.signal(Signal::TERM);
    assert_eq!(top.finish().0, Some(0));
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    let daemon = daemon();
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut top = Terminal::start(&daemon, &["top"]);
        top.await_text("sort: depth");
        top.signal(signal);
        assert_eq!(top.finish().0, Some(0), "{signal:?}");
        assert!(top.is_as_a_shell_needs_it(), "{signal:?}");
    }
}

#[test]
fn a_daemon_that_is_away_is_waited_for() {
    let mut daemon = daemon();
    let mut top = Terminal::start(&daemon, &["top", "--interval", "0.1"]);
    top.await_text("thumb");
    daemon.kill();
    top.await_text("daemon away");
    daemon.launch();
    common::until("it shows the daemon again", || (!top.screen().contains("daemon away")).then_some(()));
    await_queues(&top, ["thumb^[[2Jnails", "reports", "mails"]);
    top.press("q");
    assert_eq!(top.finish().0, Some(0));
    let nobody = run(
        &{
            daemon.kill();
            daemon
        },
        &["top", "--once"],
    );
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(4), ""));
}

#[test]
fn once_prints_a_screen_or_the_numbers() {
    let daemon = daemon();
    let (code, text) = Terminal::start(&daemon, &["top", "--once", "--interval", "0.1"]).finish();
    assert!(code == Some(0) && text.contains("queues by depth: 3") && !text.contains("quit"), "{text}");
    assert_eq!(run(&daemon, &["top"]).code, Some(2));
    let sizeless = msglog_for(&daemon, &["top", "--once", "--interval", "0.1"]);
    assert!(Terminal::of(sizeless, 0, 0).finish().1.contains("queues by depth: 3"));

    let picture = daemon.folder().join("top.svg");
    let name = picture.display().to_string();
    let line = printed(&daemon, &["top", "--once", "--interval", "0.2", "--svg", &name]);
    let numbers: Value = serde_json::from_str(&line).expect("JSON");
    // The looks themselves are requests, and so are rates.
    assert!(numbers["rates"]["requests_per_second"].as_f64() > Some(0.0), "{line}");
    let latencies = numbers["latencies"].as_object().expect("an object");
    let reads = latencies.iter().find(|(name, _)| name.starts_with("reads")).expect("the time of reads");
    assert!(reads.1["p99_us"].as_u64() > Some(0), "{line}");
    let picture = std::fs::read_to_string(picture).expect("a picture");
    assert!(picture.starts_with("<svg ") && picture.contains("thumb^[[2Jnails"), "{picture}");
}

#[test]
fn where_no_thread_can_be_started_it_says_so_and_leaves_the_terminal_alone() {
    let daemon = daemon();
    // No stack of this size has room there.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 3000000; exec \"$0\" \"$@\""]).arg(msglog().get_program());
    command.arg("--socket").arg(daemon.socket()).arg("top").env("RUST_MIN_STACK", (1_u64 << 46).to_string());
    let mut top = Terminal::of(command, 80, 24);
    let (code, text) = top.finish();
    assert!(code == Some(74) && text.contains("cannot start the thread"), "{text}");
    assert!(top.is_as_a_shell_needs_it());
}

#[test]
fn whom_the_daemon_refuses_is_told_so_as_by_every_command() {
    let folder = TempDir::new();
    let refusal = json!({"ok": false, "error": "forbidden", "message": "user 7 may not connect"});
    scripted(&folder.join("s"), move |_| Some(refusal.clone()));
    let finished = finish(msglog().arg("--socket").arg(folder.join("s")).args(["top", "--once"]));
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains("user 7 may not connect"), "{finished:?}");
}

#[test]
fn every_number_that_the_screen_shows_is_one_of_stats() {
    let daemon = Daemon::start();
    let stats: Value = serde_json::from_str(&printed(&daemon, &["stats"])).expect("JSON");
    let names = RATES.iter().map(|(_, name)| *name).chain(SHOWN.iter().copied());
    let missing: BTreeSet<&str> = names
        .filter(|name| {
            let (subject, number) = name.split_once('.').expect("a subject and a name");
            !stats[subject][number].is_u64()
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_color_leaves_them_out() {
    let daemon = daemon();
    let mut command = msglog_for(&daemon, &["top", "--interval", "0.1"]);
    command.env("NO_COLOR", "1");
    let mut top = Terminal::of(command, 80, 24);
    top.await_text("thumb");
    top.press("q");
    let (_, text) = top.finish();
    let coloured =
        |text: &str| text.contains("\u{1b}[38") || text.contains("\u{1b}[31m") || text.contains(";32m");
    assert!(!coloured(&text), "{text:?}");
}
