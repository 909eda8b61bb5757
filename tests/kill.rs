//! kill -9 under load, again and again: whatever was answered is there after the start.
//!
//! `MSGLOGD_KILLS=n` kills n times. After each kill the answers since the one before it are looked up, and the
//! end of the log; after the 1st, 2nd, 4th ... and the last one all of them, and the whole log.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use common::{Client, Daemon, Value, json};

/// How many clients write at the same time.
const CLIENTS: u64 = 4;

/// Something that was answered: the request and the reply.
type Answered = (Value, Value);

/// The `number`th request of a client; it carries a mark of its own.
fn request(app: &str, client: u64, kill: u64, number: u64) -> Value {
    let mark = format!("mark-{kill}-{client}-{number}");
    let durable = !number.is_multiple_of(3);
    match number % 7 {
        0 | 1 => json!({"cmd": "kv.set", "key": mark, "value": [mark], "durable": durable}),
        2 => json!({"cmd": "message.post", "originator": "o", "recipient": client, "body": mark}),
        3 => json!({"cmd": "message.post", "app": app, "chat": 1, "body": mark, "durable": durable}),
        4 => json!({"cmd": "queue.put", "queue": "q", "body": mark, "idempotency_key": mark}),
        5 => json!({"cmd": "formula.submit", "name": mark,
            "materials": [{"name": mark, "concentration": 1.5}]}),
        _ => json!({"cmd": "batch", "commands": [
            {"cmd": "kv.set", "key": format!("{mark}-a"), "value": mark},
            {"cmd": "queue.put", "queue": "q", "body": mark}]}),
    }
}

/// Writes until the daemon is gone; each answer is told at once.
fn write(stream: UnixStream, requests: impl Iterator<Item = Value>, answered: &Sender<Answered>) {
    let mut stream = BufReader::new(stream);
    for request in requests {
        let sent = stream.get_mut().write_all(format!("{request}\n").as_bytes());
        let mut line = String::new();
        // Only a whole line is an answer.
        if sent.is_err() || stream.read_line(&mut line).is_err() || !line.ends_with('\n') {
            return;
        }
        let reply: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(reply["ok"], true, "{request}: {reply}");
        if answered.send((request, reply)).is_err() {
            return;
        }
    }
}

/// Looks up what was answered.
fn look_up(client: &mut Client, request: &Value, reply: &Value) {
    let command = request["cmd"].as_str().expect("a command");
    match command {
        "kv.set" => {
            let read = client.ok(json!({"cmd": "kv.get", "key": request["key"]}));
            assert_eq!((&read["value"], &read["seq"]), (&request["value"], &reply["seq"]), "{read}");
        }
        "message.post" => {
            let message = client.ok(json!({"cmd": "message.get", "seq": reply["seq"]}))["message"].clone();
            assert_eq!(message["body"], request["body"], "{message}");
            assert_eq!(message["number"], reply["number"], "{message}");
        }
        "queue.put" => {
            let event = client.ok(json!({"cmd": "log.read", "from": reply["job"], "limit": 1}));
            assert_eq!(event["events"][0]["body"], request["body"], "{event}");
            let again = client.ok(request.clone());
            assert_eq!((&again["job"], &again["replayed"]), (&reply["job"], &json!(true)), "{again}");
        }
        "formula.submit" => {
            let again = client.ok(request.clone());
            let expected = (&reply["formula"], &reply["seq"], &json!(false));
            assert_eq!((&again["formula"], &again["seq"], &again["created"]), expected, "{again}");
        }
        _ => {
            let (members, results) = (&request["commands"], &reply["results"]);
            look_up(client, &members[0], &results[0]);
            let event = client.ok(json!({"cmd": "log.read", "from": results[1]["job"], "limit": 1}));
            assert_eq!(event["events"][0]["body"], members[1]["body"], "{event}");
        }
    }
}

/// Goes on with a walk of the log: no event is missing behind `from`, the first one that was not seen,
/// and the newest one is the last that is visible. Where the next walk begins.
fn log_has_no_gap(client: &mut Client, from: u64) -> u64 {
    let (mut next, last) = (json!(from), client.last_seq());
    let mut expected = from;
    while !next.is_null() {
        let page = client.ok(json!({"cmd": "log.read", "from": next, "limit": 10_000}));
        for event in page.list("events") {
            assert_eq!(event["seq"], expected, "{event}");
            expected += 1;
        }
        next = page.get("next").cloned().unwrap_or(Value::Null);
    }
    assert_eq!(expected, last + 1);
    expected
}

/// Whether all that was ever answered is looked at after this kill, not only what is new: so often that
/// it doubles the work, and no more.
fn looks_at_everything(kill: u64, kills: u64) -> bool {
    kill.is_power_of_two() || kill == kills
}

/// Events that are read once more after the next kill: what a start sets aside lay at the end.
const READ_AGAIN: u64 = 1000;

#[test]
fn whatever_was_answered_is_there_after_every_kill() {
    let kills = std::env::var("MSGLOGD_KILLS").map_or(20, |kills| kills.parse().expect("a number"));
    // Small segments, so that some kills meet a new one.
    let mut daemon = Daemon::with(&["--segment-bytes", "65536"]);
    let app = daemon.connect().ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    daemon.connect().ok(json!({"cmd": "chat.create", "app": app}));
    let mut all: Vec<Answered> = Vec::new();
    let mut end = 1_u64;
    for kill in 1..=kills {
        let (sender, answers) = channel();
        let before = all.len();
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (stream, sender, app) = (daemon.connect().stream(), sender.clone(), app.as_str());
                let requests = (0..).map(move |n| request(app, number, kill, n));
                scope.spawn(move || write(stream, requests, &sender));
            }
            drop(sender);
            all.extend(answers.iter().take(usize::try_from(50 + 37 * kill % 400).expect("small")));
            daemon.kill();
            all.extend(answers.iter());
        });
        daemon.launch();
        let mut client = daemon.connect();
        let everything = looks_at_everything(kill, kills);
        let (answered, from) = if everything {
            (all.as_slice(), 1)
        } else {
            (&all[before..], end.saturating_sub(READ_AGAIN).max(1))
        };
        answered.iter().for_each(|(request, reply)| look_up(&mut client, request, reply));
        end = log_has_no_gap(&mut client, from);
    }
    eprintln!("{kills} kills, {} answers, {} events", all.len(), end - 1);
}
