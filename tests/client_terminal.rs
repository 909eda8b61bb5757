//! `msglog` on a terminal: colours, columns, times, and text that cannot drive it.

mod client_support;
mod common;

use client_support::terminal::Terminal;
use client_support::{msglog_for, printed};
use common::{Daemon, json};

/// Everything that came out of the client on a terminal.
#[track_caller]
fn shown(daemon: &Daemon, arguments: &[&str]) -> String {
    let (code, text) = Terminal::start(daemon, arguments).finish();
    assert_eq!(code, Some(0), "{arguments:?}: {text}");
    text
}

/// The same without colours.
#[track_caller]
fn plain(daemon: &Daemon, arguments: &[&str]) -> String {
    let mut command = msglog_for(daemon, arguments);
    command.env("NO_COLOR", "1");
    let (code, text) = Terminal::of(command, 80, 24).finish();
    assert_eq!(code, Some(0), "{arguments:?}: {text}");
    text
}

#[test]
fn people_see_columns_and_programs_see_json() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for key in ["a", "a longer key"] {
        client.ok(json!({"cmd": "kv.set", "key": key, "value": 1}));
    }
    assert_eq!(plain(&daemon, &["kv", "list"]), "key           seq\na               1\na longer key    2\n");
    assert!(shown(&daemon, &["kv", "list"]).starts_with("\u{1b}[1mkey"));
    let json = shown(&daemon, &["kv", "list", "--json"]);
    assert_eq!(
        json,
        "{\"ok\":true,\"keys\":[{\"key\":\"a\",\"seq\":1},{\"key\":\"a longer key\",\"seq\":2}]}\n"
    );
}

#[test]
fn matches_stand_out_and_messages_cannot_drive_the_terminal() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let body = "Bergamot \u{1b}[2J\u{1b}]0;title\u{7} \u{9b}31m \u{202e}gpj.exe \r\nsecond line";
    client.ok(json!({"cmd": "message.post", "originator": "an\u{1b}na", "recipient": "bob", "body": body}));
    let text = shown(&daemon, &["message", "search", "bergamot"]);
    assert!(text.contains("\u{1b}[1;33mBergamot\u{1b}[0m"), "{text:?}");
    let seen = "^[[2J^[]0;title^G <U+009B>31m <U+202E>gpj.exe \\r\n    second line\n";
    assert!(text.contains(seen), "{text:?}");
    assert!(text.contains("an^[na"), "{text:?}");
    let colours = ["\u{1b}[1m", "\u{1b}[2m", "\u{1b}[36m", "\u{1b}[1;33m", "\u{1b}[0m"];
    let rest = colours.iter().fold(text, |text, colour| text.replace(colour, ""));
    let drives = |character: char| character.is_control() && character != '\n';
    assert!(!rest.contains(drives), "{rest:?}");
    // Without colours nothing of the kind is left at all, and as JSON it is still the same value.
    assert!(!plain(&daemon, &["message", "search", "bergamot"]).contains(drives));
    let line = shown(&daemon, &["message", "search", "bergamot", "--json"]);
    assert!(!line.contains(drives) && !line.contains('\u{202e}'), "{line:?}");
    let value: common::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(value["messages"][0]["body"], body);
}

#[test]
fn times_are_short_or_relative() {
    let daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "queue.put", "queue": "q", "body": 1, "delay_ms": 9_000_000}));
    let peek = ["queue", "peek", "q", "--state", "delayed"];
    let text = plain(&daemon, &peek);
    assert!(text.contains("Z  ") && !text.contains('.'), "{text}");
    let text = plain(&daemon, &[&peek[..], &["--relative"]].concat());
    assert!(text.contains("in 2h") && text.contains("delayed"), "{text}");
    let message = ["message", "post", "--originator", "a", "--recipient", "b", "x"];
    plain(&daemon, &message);
    let text = plain(&daemon, &["message", "search", "--relative"]);
    assert!(text.contains(" now ") || text.contains("s ago "), "{text}");
}

#[test]
fn without_a_terminal_times_are_relative_only_in_text_for_eyes_and_the_help_says_so() {
    let daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "queue.put", "queue": "q", "body": 1, "delay_ms": 9_000_000}));
    let peek = ["queue", "peek", "q", "--state", "delayed", "--relative"];
    assert!(!printed(&daemon, &peek).contains("in 2h"));
    assert!(printed(&daemon, &[&peek[..], &["--readable"]].concat()).contains("in 2h"));
    let help = printed(&daemon, &["help"]);
    let (_, relative) = help.split_once("--relative").expect("an option");
    assert!(relative.split("--help").next().expect("text").contains("--readable"), "{help}");
}

#[test]
fn refusals_and_nothing_found_are_said_and_have_their_statuses() {
    let daemon = Daemon::start();
    let ended = |arguments: &[&str]| Terminal::start(&daemon, arguments).finish();
    assert_eq!(ended(&["message", "search", "nothing"]), (Some(1), "msglog: nothing found\n".into()));
    let (code, text) = ended(&["queue", "ack", "7", "\u{1b}[2J"]);
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = ended(&["kv", "set", "\u{1b}[2J", "1", "--if-seq", "5"]);
    assert!(
        code == Some(3) && text.starts_with("msglog: conflict: ") && !text.contains('\u{1b}'),
        "{text:?}"
    );
}

#[test]
fn followers_print_as_it_comes_and_end_at_a_key() {
    let daemon = Daemon::start();
    let mut follower = Terminal::start(&daemon, &["message", "follow", "--from", "1", "bergamot"]);
    let mut client = daemon.connect();
    for body in ["bergamot one", "lemon", "bergamot two"] {
        client.ok(json!({"cmd": "message.post", "originator": "anna", "recipient": "bob", "body": body}));
    }
    let screen = follower.await_text("two");
    assert!(screen.contains("anna  -> bob\n    bergamot one") && !screen.contains("lemon"), "{screen}");
    follower.press("\u{3}");
    assert_eq!(follower.finish().0, None);
}
