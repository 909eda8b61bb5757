//! Who may connect, write and administer, tried by processes of other users. That takes root.

mod common;

use common::{Daemon, Value, json, run_tool, tool};

/// A client's user and groups, the first of them its own.
struct User(u32, &'static [u32]);

impl User {
    /// Sends lines as this user; the replies. Nothing when the system does not let it connect.
    #[track_caller]
    fn asks(&self, daemon: &Daemon, requests: &[Value]) -> Vec<Value> {
        let User(uid, gids) = self;
        let mut command = tool("setpriv", "util-linux");
        command.arg(format!("--reuid={uid}")).arg(format!("--regid={}", gids[0]));
        match &gids[1..] {
            [] => command.arg("--clear-groups"),
            others => {
                let others: Vec<String> = others.iter().map(u32::to_string).collect();
                command.arg(format!("--groups={}", others.join(",")))
            }
        };
        command.args(["nc", "-N", "-U"]).arg(daemon.socket());
        let input: String = requests.iter().map(|request| format!("{request}\n")).collect();
        let printed = run_tool(command, input.as_bytes(), "netcat-openbsd");
        printed.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
    }

    /// The codes of the replies, `ok` for a success.
    #[track_caller]
    fn codes(&self, daemon: &Daemon, requests: &[Value]) -> Vec<String> {
        let replies = self.asks(daemon, requests);
        replies.iter().map(|reply| reply["error"].as_str().unwrap_or("ok").to_owned()).collect()
    }
}

/// Whether this test can be another user. Says so when it cannot.
fn is_root(test: &str) -> bool {
    let root = common::own_uid() == 0;
    if !root {
        eprintln!("SKIPPED: it takes root: {test}");
    }
    root
}

fn all() -> Vec<Value> {
    vec![
        json!({"cmd": "ping"}),
        json!({"cmd": "kv.set", "key": "k", "value": 1}),
        json!({"cmd": "kv.get", "key": "k"}),
        json!({"cmd": "log.verify"}),
    ]
}

#[test]
fn without_options_others_read_and_write_and_do_not_administer() {
    if !is_root("without_options_others_read_and_write_and_do_not_administer") {
        return;
    }
    let daemon = Daemon::with(&["--socket-mode", "666"]);
    assert_eq!(User(0, &[0]).codes(&daemon, &all()), ["ok"; 4]);
    assert_eq!(User(1234, &[1234]).codes(&daemon, &all()), ["ok", "ok", "ok", "forbidden"]);
    let events = daemon.connect().ok(json!({"cmd": "log.read"}));
    assert_eq!(events.column("events", "uid"), [0, 1234]);
}

#[test]
fn whom_no_option_names_is_told_so_and_closed() {
    if !is_root("whom_no_option_names_is_told_so_and_closed") {
        return;
    }
    let daemon = Daemon::with(&[
        "--socket-mode",
        "666",
        "--allow-uid",
        "2001",
        "--allow-uid",
        "2002",
        "--allow-gid",
        "3001",
    ]);
    let three = ["ok", "ok", "ok", "forbidden"];
    for user in [User(2001, &[1]), User(2002, &[1]), User(2003, &[3001]), User(2003, &[1, 5, 3001])] {
        assert_eq!(user.codes(&daemon, &all()), three, "{} {:?}", user.0, user.1);
    }
    for user in [User(2003, &[1]), User(2003, &[1, 5])] {
        assert_eq!(user.codes(&daemon, &all()), ["forbidden"]);
    }
    assert_eq!(User(0, &[0]).codes(&daemon, &all()), ["ok"; 4]);
}

#[test]
fn members_of_a_read_only_group_only_read_and_members_of_an_admin_group_administer() {
    let name = "members_of_a_read_only_group_only_read_and_members_of_an_admin_group_administer";
    if !is_root(name) {
        return;
    }
    let daemon =
        Daemon::with(&["--socket-mode", "666", "--read-only-gid", "4001,4002", "--admin-gid", "4003"]);
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    assert_eq!(User(2003, &[1]).codes(&daemon, &all()), ["ok", "ok", "ok", "forbidden"]);
    for groups in [&[4001][..], &[1, 4001], &[1, 9, 4002]] {
        let reader = User(2003, groups);
        assert_eq!(reader.codes(&daemon, &all()), ["ok", "forbidden", "ok", "forbidden"], "{groups:?}");
        let writes = [
            json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 100_000}),
            json!({"cmd": "batch", "commands": [{"cmd": "kv.delete", "key": "k"}]}),
            json!({"cmd": "kv.delete", "key": "k", "dry_run": true}),
        ];
        assert_eq!(reader.codes(&daemon, &writes), ["forbidden"; 3]);
    }
    for groups in [&[4003][..], &[1, 4003]] {
        assert_eq!(User(2003, groups).codes(&daemon, &all()), ["ok"; 4]);
    }
    assert_eq!(User(2003, &[4003, 4001]).codes(&daemon, &all()), ["ok", "forbidden", "ok", "ok"]);
    let events = daemon.connect().ok(json!({"cmd": "log.read"})).list("events");
    assert!(events.iter().all(|event| event["type"] == "kv.set"), "{events:?}");
}
