//! The daemon through the tools that people have: netcat and socat.

mod common;

use common::{Daemon, Value, json, nc, run_tool, socat, tool};

#[test]
fn a_shell_script_talks_through_nc() {
    let daemon = Daemon::start();
    let script = r#"{"cmd":"kv.set","key":"greeting","value":"hello"}
{"cmd":"kv.get","key":"greeting"}
{"cmd":"kv.get","key":"missing","id":7}
"#;
    let replies = nc(&daemon.socket(), script);
    assert_eq!(replies.len(), 3, "{replies:?}");
    assert_eq!(replies[0]["created"], true, "{replies:?}");
    assert_eq!(replies[1]["value"], "hello", "{replies:?}");
    assert_eq!(replies[2]["error"], "not_found", "{replies:?}");
    assert_eq!(replies[2]["id"], 7, "{replies:?}");
}

#[test]
fn a_shell_script_talks_through_socat() {
    let daemon = Daemon::start();
    let script = "{\"cmd\":\"message.post\",\"originator\":\"ann\",\"recipient\":7,\"body\":\"hi\"}\r\n\r\n\
                  {\"cmd\":\"message.search\",\"recipient\":\"7\"}";
    let replies = socat(&daemon.socket(), script);
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert_eq!(replies[1]["messages"][0]["body"], "hi", "{replies:?}");
}

#[test]
fn plain_nc_is_ended_by_quit() {
    let daemon = Daemon::start();
    let mut command = tool("nc", "netcat-openbsd");
    command.arg("-U").arg(daemon.socket());
    let printed = run_tool(command, b"{\"cmd\":\"ping\"}\n{\"cmd\":\"quit\"}\n", "netcat-openbsd");
    assert_eq!(printed.lines().count(), 2, "{printed}");
    assert!(printed.lines().all(|line| line.starts_with("{\"ok\":true")), "{printed}");
}

#[test]
fn a_whole_file_goes_through_nc_in_order() {
    let daemon = Daemon::start();
    let lines: String = (0..5000)
        .map(|n| format!("{}\n", json!({"cmd": "kv.set", "key": format!("k{n}"), "value": n, "id": n})))
        .collect();
    let replies = nc(&daemon.socket(), lines);
    let ids: Vec<Value> = replies.iter().map(|reply| reply["id"].clone()).collect();
    assert_eq!(ids, (0..5000).map(Value::from).collect::<Vec<_>>());
    assert!(replies.iter().all(|reply| reply["ok"] == true));
}

#[test]
fn a_whole_file_goes_through_socat_and_a_bad_line_costs_only_itself() {
    let daemon = Daemon::start();
    let lines: String = (0..1000)
        .map(|n| match n % 10 {
            9 => "not json\n".to_owned(),
            _ => format!("{}\n", json!({"cmd": "queue.put", "queue": "q", "body": n})),
        })
        .collect();
    let replies = socat(&daemon.socket(), lines);
    assert_eq!(replies.len(), 1000);
    let refused = replies.iter().filter(|reply| reply["error"] == "bad_json").count();
    assert_eq!(refused, 100);
    let queue = daemon.connect().ok(json!({"cmd": "queue.get", "queue": "q"}));
    assert_eq!(queue["queue"]["ready"], 900, "{queue}");
}

#[test]
fn a_half_closed_reserve_still_waits_for_its_job() {
    let daemon = Daemon::start();
    let socket = daemon.socket();
    let reserve = json!({"cmd": "queue.reserve", "queue": "q", "wait_ms": 20_000}).to_string();
    let worker = std::thread::spawn(move || nc(&socket, reserve));
    daemon.connect().ok(json!({"cmd": "queue.put", "queue": "q", "body": "work"}));
    let replies = worker.join().expect("nc ends when the daemon closes");
    assert_eq!(replies[0]["jobs"][0]["body"], "work", "{replies:?}");
}
