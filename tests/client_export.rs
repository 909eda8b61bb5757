//! `msglog export`, and what `msglog import` makes of it.

mod client_support;
mod common;

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use client_support::terminal::Terminal;
use client_support::{msglog, printed, run, scripted};
use common::{Client, Daemon, Finished, TempDir, Value, finish, json, string};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Exports from one daemon and imports into another.
#[track_caller]
fn copy(from: &Daemon, to: &Daemon, export: &[&str], import: &[&str]) -> Value {
    let file = to.folder().join("export.jsonl");
    fs::write(&file, printed(from, &[&["export"], export].concat())).expect("a file");
    let name = file.display().to_string();
    let summary = printed(to, &[&["import", &name], import].concat());
    serde_json::from_str(&summary).expect("JSON")
}

/// Some of everything, with numbers that were given and taken back.
fn fill(client: &mut Client) {
    let app = |client: &mut Client, name: &str| {
        string(client.ok(json!({"cmd": "app.create", "name": name})).json(), "token")
    };
    let (support, sales) = (app(client, "support"), app(client, "sales"));
    for (token, name) in [(&support, "one"), (&support, "two"), (&support, "three"), (&sales, "only")] {
        client.ok(json!({"cmd": "chat.create", "app": token, "name": name}));
    }
    client.ok(json!({"cmd": "chat.create", "app": sales}));
    client.ok(json!({"cmd": "chat.delete", "app": support, "chat": 2}));
    let post = |chat: u64, body: &str| json!({"cmd": "message.post", "app": support, "chat": chat, "originator": "anna", "body": body});
    for number in 1..=6 {
        client.ok(post(3, &format!("message {number} \u{65e5}\u{672c}\n\"quoted\"")));
        client.ok(json!({"cmd": "message.post", "originator": number, "recipient": "bob", "body": "hello"}));
    }
    for number in [1, 2, 5] {
        client.ok(json!({"cmd": "message.delete", "app": support, "chat": 3, "number": number}));
    }
    // The last of a chat, the only one of another, and the last chat.
    client.ok(post(3, "deleted"));
    client.ok(json!({"cmd": "message.delete", "app": support, "chat": 3, "number": 7}));
    client.ok(post(1, "deleted"));
    client.ok(json!({"cmd": "message.delete", "app": support, "chat": 1, "number": 1}));
    client.ok(json!({"cmd": "chat.create", "app": support}));
    client.ok(json!({"cmd": "chat.delete", "app": support, "chat": 4}));
    client.ok(json!({"cmd": "message.post", "app": sales, "chat": 1, "body": ""}));
    let values = [json!({"app": support, "n": 1.5}), json!([1, null]), json!("x".repeat(100_000))];
    for (number, value) in values.into_iter().enumerate() {
        client.ok(json!({"cmd": "kv.set", "key": format!("key/{number}"), "value": value}));
    }
    let materials = json!([{"name": "Vanillin", "concentration": "15.50"}]);
    client.ok(json!({"cmd": "formula.submit", "name": "Accord", "materials": materials}));
    let alike = json!({"type": "formula_created", "name": "of a client"});
    client.ok(json!({"cmd": "queue.put", "queue": "formulas", "body": alike}));
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": null, "max_jobs": 7}));
    for (body, priority) in [(json!("a"), 0), (json!({"b": 1}), 9)] {
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": body, "priority": priority}));
    }
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "later", "delay_ms": 600_000}));
    client.reserve_one();
}

/// An export with tokens by the names of their applications, and no times.
fn comparable(daemon: &Daemon) -> Vec<Value> {
    let mut text = printed(daemon, &["export", "all"]);
    let tokens: Vec<(String, String)> = lines(&text)
        .iter()
        .filter(|line| line["cmd"] == "app.create")
        .map(|line| (string(&line["id"], "app"), string(line, "name")))
        .collect();
    for (token, name) in tokens {
        text = text.replace(&format!("\"app\":\"{token}\""), &format!("\"app\":\"{name}\""));
    }
    let mut lines = lines(&text);
    for line in &mut lines {
        if let Some(delay) = line.get_mut("delay_ms") {
            assert!((1..=600_000).contains(&delay.as_u64().expect("a number")), "{delay}");
            *delay = json!("some");
        }
    }
    // The leased job is a ready one in the copy.
    lines.sort_by_key(|line| (line["cmd"] == "queue.put").then(|| line["body"].to_string()));
    lines
}

#[test]
fn everything_moves_to_another_daemon_under_its_numbers() {
    let (from, to) = (Daemon::start(), Daemon::start());
    fill(&mut from.connect());
    let summary = copy(&from, &to, &["all"], &[]);
    assert_eq!(summary["refused"], 0, "{summary}");
    let stored = |daemon: &Daemon| {
        let mut stored = daemon.connect().ok(json!({"cmd": "stats"})).json()["stored"].clone();
        for name in ["seq", "synced_seq"] {
            stored[name] = json!(null);
        }
        stored
    };
    assert_eq!(stored(&from), stored(&to));
    let (mut before, mut after) = (comparable(&from), comparable(&to));
    // A stored value that looks like an address stays as it is, and so names the old token.
    let value = |lines: &mut Vec<Value>| {
        let place = lines.iter().position(|line| line["key"] == "key/0").expect("the key");
        lines.remove(place)["value"]["n"].clone()
    };
    assert_eq!(value(&mut before), value(&mut after));
    assert_eq!(before, after);
    let mut client = to.connect();
    let token = client.ok(json!({"cmd": "app.list"})).json()["apps"][0]["token"].clone();
    let message = client.ok(json!({"cmd": "message.get", "app": token, "chat": 3, "number": 6}));
    assert!(string(&message["message"], "body").starts_with("message 6"), "{}", message.json());
    let missing = client.ask(json!({"cmd": "message.get", "app": token, "chat": 3, "number": 5}));
    common::assert_error(&missing, "not_found");
    for (request, next) in [
        (json!({"cmd": "message.post", "app": token, "chat": 3, "body": "x"}), 8),
        (json!({"cmd": "message.post", "app": token, "chat": 1, "body": "x"}), 2),
        (json!({"cmd": "chat.create", "app": token}), 5),
    ] {
        assert_eq!(client.ok(request).number("number"), next);
    }
    let jobs = client.ok(json!({"cmd": "queue.peek", "queue": "formulas"})).column("jobs", "body");
    assert_eq!(jobs.iter().filter(|job| job["name"] == "of a client").count(), 1, "{jobs:?}");
    assert_eq!(jobs.len(), 2, "{jobs:?}");
}

#[test]
fn an_import_that_is_resumed_finds_its_applications_again() {
    let (from, to) = (Daemon::start(), Daemon::start());
    fill(&mut from.connect());
    let file = to.folder().join("export.jsonl");
    let text = printed(&from, &["export", "all"]);
    let all: Vec<&str> = text.lines().collect();
    let position = to.folder().join("position").display().to_string();
    let name = file.display().to_string();
    let import = ["import", &name, "--resume-file", &position, "--resume-name", "move"];
    for end in [9, 14, all.len()] {
        fs::write(&file, all[..end].join("\n") + "\n").expect("a file");
        let summary: Value = serde_json::from_str(&printed(&to, &import)).expect("JSON");
        assert_eq!((&summary["refused"], &summary["last_line"]), (&json!(0), &json!(end)), "{summary}");
    }
    let mut client = to.connect();
    let stats = client.ok(json!({"cmd": "stats"}));
    let stored = &stats.json()["stored"];
    let expected = json!({"apps": 2, "chats": 4, "messages": 10, "keys": 3});
    for (name, count) in expected.as_object().expect("an object") {
        assert_eq!(&stored[name], count, "{name} in {stored}");
    }
}

#[test]
fn messages_and_keys_are_records_with_filters() {
    let (from, to) = (Daemon::start(), Daemon::start());
    fill(&mut from.connect());
    let messages = lines(&printed(&from, &["export", "messages", "--recipient", "bob", "--text", "hello"]));
    let originators: Vec<&Value> = messages.iter().map(|message| &message["originator"]).collect();
    assert_eq!(originators, ["1", "2", "3", "4", "5", "6"]);
    assert!(messages[0]["at"].is_string() && messages[0]["seq"].is_u64());
    let summary = copy(&from, &to, &["messages", "--recipient", "bob"], &[]);
    assert_eq!((&summary["imported"], &summary["refused"]), (&json!(6), &json!(0)));
    let summary = copy(&from, &to, &["kv", "--prefix", "key/"], &["--command", "kv.set"]);
    assert_eq!((&summary["imported"], &summary["refused"]), (&json!(3), &json!(0)));
    let values = |daemon: &Daemon| {
        let mut records = lines(&printed(daemon, &["export", "kv"]));
        records.iter_mut().for_each(|record| record["seq"] = json!(0));
        records.iter_mut().for_each(|record| record["at"] = json!(0));
        records
    };
    assert_eq!(values(&from), values(&to));
    let nothing = run(&from, &["export", "kv", "--prefix", "nothing"]);
    assert_eq!((nothing.code, nothing.stdout.as_str()), (Some(1), ""));
    assert_eq!(run(&from, &["export"]).code, Some(2));
}

#[test]
fn pages_go_on_to_the_end_and_long_waits_are_shown() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let sets: Vec<Value> =
        (0..2500).map(|key| json!({"cmd": "kv.set", "key": format!("{key:05}"), "value": key})).collect();
    for some in sets.chunks(500) {
        client.pipeline(some);
    }
    let records = lines(&printed(&daemon, &["export", "kv"]));
    let values: Vec<u64> = records.iter().filter_map(|record| record["value"].as_u64()).collect();
    assert_eq!(values, (0..2500).collect::<Vec<_>>());
    let (_, text) = Terminal::start(&daemon, &["export", "kv", "--prefix", "0000"]).finish();
    assert!(text.lines().count() == 10 && text.lines().all(|line| line.starts_with('{')), "{text:?}");
    let words = ["queue", "reserve", "q", "--wait-ms", "3000"];
    let (code, text) = Terminal::start(&daemon, &words).finish();
    assert!(code == Some(1) && text.contains("waiting for queue.reserve"), "{text:?}");
}

#[test]
fn a_queue_that_holds_more_than_its_bound_is_made_anew_whole() {
    let (from, to) = (Daemon::start(), Daemon::start());
    let mut client = from.connect();
    for body in 1..=3 {
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": body}));
    }
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_jobs": 1}));
    let summary = copy(&from, &to, &["all"], &[]);
    assert_eq!((&summary["imported"], &summary["refused"]), (&json!(5), &json!(0)), "{summary}");
    let queue = to.connect().ok(json!({"cmd": "queue.get", "queue": "q"})).json()["queue"].clone();
    assert_eq!((&queue["ready"], &queue["max_jobs"]), (&json!(3), &json!(1)), "{queue}");
}

/// Exports everything from a daemon that is played.
fn export_all(answer: impl FnMut(&Value) -> Option<Value> + Send + 'static) -> Finished {
    let folder = TempDir::new();
    scripted(&folder.join("s"), answer);
    finish(msglog().arg("--socket").arg(folder.join("s")).args(["export", "all"]))
}

/// The bodies of the jobs in an export.
fn jobs(finished: &Finished) -> Vec<Value> {
    let put = lines(&finished.stdout).into_iter().filter(|line| line["cmd"] == "queue.put");
    put.map(|line| line["body"].clone()).collect()
}

#[test]
fn jobs_that_change_their_state_meanwhile_are_exported_once() {
    let mut looks: HashMap<String, usize> = HashMap::new();
    let finished = export_all(move |request| {
        let state = request["state"].as_str().unwrap_or_default();
        let look = looks.entry(format!("{state}{}", request["after"])).or_default();
        *look += 1;
        // Job 1 is reserved behind the first look at the leased ones, job 2 comes back and is put off then.
        // Job 3 stands on the next page, and job 99 came later.
        let (jobs, next) = match (state, *look, &request["after"]) {
            ("leased", 1, _) => (vec![2], None),
            ("leased", _, _) => (vec![1], None),
            ("ready", _, Value::Null) => (vec![99], Some(json!({"any": [1.50]}))),
            ("ready", _, after) => (if *after == json!({"any": [1.50]}) { vec![3] } else { vec![] }, None),
            (_, 1, _) => (vec![], None),
            _ => (vec![2], None),
        };
        let jobs: Vec<Value> = jobs.into_iter().map(|job| json!({"job": job, "body": job})).collect();
        let mut reply = match request["cmd"].as_str()? {
            "stats" => json!({"ok": true, "stored": {"seq": 10}}),
            "ping" => json!({"ok": true, "seq": 10}),
            "queue.list" => json!({"ok": true, "queues": [{"queue": "q", "max_jobs": null}]}),
            "queue.get" => json!({"ok": true, "queue": {"ready": 1, "delayed": 1, "leased": 1, "dead": 7}}),
            "queue.peek" => json!({"ok": true, "jobs": jobs}),
            _ => json!({"ok": true}),
        };
        if let Some(next) = next {
            reply["next"] = next;
        }
        Some(reply)
    });
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    assert_eq!(jobs(&finished), [2, 3, 1]);
}

#[test]
fn a_job_that_is_elsewhere_whenever_it_is_looked_for_is_looked_for_again_up_to_a_bound() {
    // Job 99 came after the export began, and does not stand for the one that is missing.
    for (found_at, told) in [(3, false), (usize::MAX, true)] {
        let mut looks = 0;
        let finished = export_all(move |request| {
            Some(match (request["cmd"].as_str()?, request["state"].as_str()) {
                ("stats", _) => json!({"ok": true, "stored": {"seq": 10}}),
                ("ping", _) => json!({"ok": true, "seq": 10}),
                ("queue.list", _) => json!({"ok": true, "queues": [{"queue": "q", "max_jobs": null}]}),
                ("queue.get", _) => json!({"ok": true, "queue": {"ready": 0, "delayed": 0, "leased": 1}}),
                ("queue.peek", Some("ready")) => {
                    looks += 1;
                    let job = if looks == found_at { 1 } else { 99 };
                    json!({"ok": true, "jobs": [{"job": job, "body": job}]})
                }
                _ => json!({"ok": true}),
            })
        });
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(jobs(&finished), if told { vec![] } else { vec![json!(1)] });
        assert_eq!(finished.stderr.contains("some may not have been found"), told, "{finished:?}");
    }
}

#[test]
fn a_job_that_workers_take_and_give_back_all_the_time_is_in_every_export() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "q", "max_attempts": null}));
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": "x"}));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let job = client.reserve_one();
                client.settle("nack", &job);
            }
        });
        let exports: Vec<Finished> = (0..20).map(|_| run(&daemon, &["export", "all"])).collect();
        stop.store(true, Ordering::Relaxed);
        for finished in exports {
            assert_eq!((jobs(&finished), finished.code), (vec![json!("x")], Some(0)), "{finished:?}");
        }
    });
}

#[test]
fn what_is_deleted_while_it_is_exported_has_nothing_in_it() {
    let finished = export_all(|request| {
        let gone = request["app"] == "gone" || request["queue"] == "gone";
        Some(match request["cmd"].as_str()? {
            _ if gone => json!({"ok": false, "error": "not_found", "message": "it is gone"}),
            "stats" => json!({"ok": true, "stored": {"seq": 10}}),
            "app.list" => {
                json!({"ok": true, "apps": [{"token": "gone", "name": "a"}, {"token": "T", "name": "b"}]})
            }
            "chat.list" => json!({"ok": true, "chats": [{"number": 1}]}),
            "queue.list" => json!({"ok": true, "queues": [{"queue": "gone"}, {"queue": "q"}]}),
            "queue.peek" if request["state"] == "ready" => {
                json!({"ok": true, "jobs": [{"job": 1, "body": 1}]})
            }
            _ => json!({"ok": true}),
        })
    });
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    let made = lines(&finished.stdout);
    assert_eq!(made.iter().filter(|line| line["cmd"] == "chat.create").count(), 1, "{finished:?}");
    assert_eq!(jobs(&finished), [1]);
}

#[test]
fn an_export_that_ends_in_the_middle_is_not_told_to_be_nothing() {
    let finished = export_all(|request| {
        Some(match (request["cmd"].as_str()?, request.get("after")) {
            ("app.list", None) => json!({"ok": true, "apps": [{"token": "T", "name": "a"}], "next": "T"}),
            ("app.list", _) => json!({"ok": false, "error": "not_found", "message": "no such application"}),
            _ => json!({"ok": true}),
        })
    });
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains("not_found") && finished.stdout.contains("app.create"), "{finished:?}");
}

#[test]
fn apps_behind_one_that_was_deleted_meanwhile_are_exported_all_the_same() {
    let mut lists = 0;
    let finished = export_all(move |request| {
        let app = |token: &str| json!({"token": token, "name": token});
        Some(match (request["cmd"].as_str()?, request["after"].as_str()) {
            ("app.list", None) => {
                lists += 1;
                match lists {
                    1 => json!({"ok": true, "apps": [app("A"), app("B")], "next": "B"}),
                    2 => json!({"ok": true, "apps": [app("A"), app("C")], "next": "C"}),
                    _ => json!({"ok": true, "apps": [app("A")], "next": "A"}),
                }
            }
            ("app.list", Some("A")) => json!({"ok": true, "apps": [app("D")]}),
            ("app.list", _) => json!({"ok": false, "error": "not_found", "message": "no such application"}),
            _ => json!({"ok": true}),
        })
    });
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{finished:?}");
    let made = lines(&finished.stdout).into_iter().filter(|line| line["cmd"] == "app.create");
    assert_eq!(made.map(|line| line["name"].clone()).collect::<Vec<_>>(), ["A", "B", "C", "D"]);
}

#[test]
fn a_job_that_is_put_off_further_than_any_may_be_is_put_off_as_far_as_that() {
    let finished = export_all(|request| {
        Some(match (request["cmd"].as_str()?, request["state"].as_str()) {
            ("stats", _) => json!({"ok": true, "stored": {"seq": 10}}),
            ("ping", _) => json!({"ok": true, "seq": 10}),
            ("queue.list", _) => json!({"ok": true, "queues": [{"queue": "q", "max_jobs": null}]}),
            ("queue.peek", Some("delayed")) => {
                json!({"ok": true, "jobs": [{"job": 1, "body": 1, "ready_at": "9999-01-01T00:00:00Z"}]})
            }
            _ => json!({"ok": true}),
        })
    });
    let put = lines(&finished.stdout).into_iter().find(|line| line["cmd"] == "queue.put").expect("the job");
    assert_eq!(put["delay_ms"], msglogd::limits::TIME_MS);
}

#[test]
fn numbers_that_the_daemon_does_not_tell_are_told_of_once() {
    let finished = export_all(|request| {
        Some(match request["cmd"].as_str()? {
            "app.list" => json!({"ok": true, "apps": [{"token": "T", "name": "a"}]}),
            "chat.list" => json!({"ok": true, "chats": [{"number": 1}, {"number": 3}]}),
            "message.post" | "chat.create" => {
                json!({"ok": false, "error": "forbidden", "message": "only reads"})
            }
            _ => json!({"ok": true}),
        })
    });
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.stderr.matches("forbidden: only reads").count(), 1, "{finished:?}");
    // The app, both chats and the one that was between them.
    assert_eq!(finished.stdout.lines().count(), 4, "{finished:?}");
}
