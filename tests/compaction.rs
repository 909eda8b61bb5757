//! `log.compact`: what is dead goes from every file, and all else stays as it was.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{Client, Daemon, Reply, Value, everything, finish, json, segments, until, writes};

fn compact(client: &mut Client) -> Reply {
    client.ok(json!({"cmd": "log.compact"}))
}

fn set(key: &str, value: impl Into<Value>) -> Value {
    json!({"cmd": "kv.set", "key": key, "value": value.into(), "durable": false})
}

fn post(body: &str) -> Value {
    json!({"cmd": "message.post", "originator": "ann", "recipient": "bob", "body": body})
}

fn events(client: &mut Client) -> Vec<Value> {
    client.ok(json!({"cmd": "log.read", "limit": 10_000})).list("events")
}

fn seqs(client: &mut Client) -> Vec<u64> {
    events(client).iter().map(|event| common::number(event, "seq")).collect()
}

/// Every file of a data folder.
fn files(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [data.join("log"), data.join("index")] {
        found.extend(fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()));
    }
    found
}

fn holding(data: &Path, text: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).expect("a file");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    files(data).into_iter().filter(holds).collect()
}

/// Starts again without the index.
fn rebuild(daemon: &mut Daemon) {
    assert_eq!(daemon.stop(), Some(0));
    fs::remove_dir_all(daemon.data().join("index")).expect("it can be removed");
    daemon.launch();
}

fn check(daemon: &mut Daemon) {
    assert_eq!(daemon.stop(), Some(0));
    let finished = finish(common::msglogd().arg("check").arg("--data").arg(daemon.data()));
    assert_eq!(finished.code, Some(0), "{finished:?}");
    daemon.launch();
}

#[test]
fn text_that_is_gone_is_in_no_file_when_it_is_answered() {
    let daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    let gone =
        ["overwritten", "unset", "erased", "mistyped", "oldname", "oldchat", "inchat", "inapp", "finished"];
    client.ok(set("a", "overwritten"));
    client.ok(set("a", "kept"));
    client.ok(set("unset", 1));
    client.ok(json!({"cmd": "kv.delete", "key": "unset"}));
    let seq = client.ok(post("erased")).seq();
    client.ok(json!({"cmd": "message.delete", "seq": seq}));
    let seq = client.ok(post("mistyped")).seq();
    client.ok(json!({"cmd": "message.edit", "seq": seq, "body": "corrected"}));
    let app = client.ok(json!({"cmd": "app.create", "name": "oldname"}))["token"].clone();
    client.ok(json!({"cmd": "app.update", "token": app, "name": "newname"}));
    for name in ["oldchat", "stays"] {
        client.ok(json!({"cmd": "chat.create", "app": app, "name": name}));
    }
    client.ok(json!({"cmd": "message.post", "app": app, "chat": 1, "body": "inchat"}));
    client.ok(json!({"cmd": "chat.delete", "app": app, "chat": 1}));
    let other = client.ok(json!({"cmd": "app.create", "name": "inapp"}))["token"].clone();
    client.ok(json!({"cmd": "chat.create", "app": other, "name": "inapp"}));
    client.ok(json!({"cmd": "message.post", "app": other, "chat": 1, "body": "inapp"}));
    client.ok(json!({"cmd": "app.delete", "token": other}));
    client.put("finished");
    let job = client.reserve_one();
    client.settle("ack", &job);
    for word in gone {
        assert!(!holding(&daemon.data(), word).is_empty(), "{word} was nowhere");
    }
    let reply = compact(&mut client);
    for word in gone {
        assert_eq!(holding(&daemon.data(), word), Vec::<PathBuf>::new(), "{word} is still there");
    }
    for word in ["kept", "corrected", "newname", "stays"] {
        assert!(!holding(&daemon.data(), word).is_empty(), "{word} is gone");
    }
    assert_eq!(reply["set_aside"], json!([]), "{reply}");
    assert!(reply.number("bytes") < reply.number("bytes_before"), "{reply}");
    assert_eq!(reply.number("events"), events(&mut client).len() as u64, "{reply}");
}

#[test]
fn an_empty_log_is_compacted_and_goes_on() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    let reply = compact(&mut client);
    assert_eq!((reply.seq(), &reply["events"], &reply["removed"]), (0, &json!(0), &json!(0)), "{reply}");
    assert_eq!(client.ok(set("a", 1)).seq(), 1);
    client.ok(json!({"cmd": "kv.delete", "key": "a"}));
    compact(&mut client);
    compact(&mut client);
    assert_eq!(seqs(&mut client), Vec::<u64>::new());
    rebuild(&mut daemon);
    assert_eq!(daemon.connect().ok(set("a", 1)).seq(), 3);
}

#[test]
fn what_was_set_aside_is_named_and_left_alone() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(set("a", 1));
    let aside = daemon.data().join("log/00000000000000000001.log.120.torn");
    fs::write(&aside, "a torn write").expect("it can be written");
    let reply = compact(&mut client);
    assert_eq!(reply["set_aside"], json!([{"file": "00000000000000000001.log.120.torn", "bytes": 12}]));
    assert!(aside.exists());
}

#[test]
fn everything_reads_the_same_before_and_after_and_after_a_start_without_the_index() {
    let mut daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for write in writes(&mut client) {
        client.ok(write.request);
    }
    for n in 0..60 {
        client.ok(set(&format!("k{}", n % 7), "v".repeat(90)));
        client.ok(post(&format!("word{n} hello")));
    }
    let log = |client: &mut Client| events(client);
    let read = |client: &mut Client| {
        let replies = everything(client);
        let is_log = |reply: &&Value| reply.get("events").is_none();
        replies.iter().filter(is_log).cloned().collect::<Vec<_>>()
    };
    let (before, last) = (read(&mut client), client.last_seq());
    compact(&mut client);
    let left = log(&mut client);
    assert_eq!(read(&mut client), before);
    check(&mut daemon);
    rebuild(&mut daemon);
    let mut client = daemon.connect();
    assert_eq!((read(&mut client), log(&mut client), client.last_seq()), (before, left, last));
    assert_eq!(client.ok(set("next", 1)).seq(), last + 1);
}

#[test]
fn live_events_keep_their_seqs_and_pages_go_over_the_gaps() {
    let daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for n in 0..300 {
        client.ok(set(&format!("k{}", if n % 10 == 0 { n } else { 1 }), "v".repeat(40)));
    }
    let mut expected: Vec<u64> = (1..=300).filter(|seq| seq % 10 == 1).collect();
    expected.push(300);
    let before: Vec<Value> = events(&mut client);
    compact(&mut client);
    assert_eq!(seqs(&mut client), expected);
    for event in events(&mut client) {
        let seq = usize::try_from(common::number(&event, "seq")).expect("small");
        assert_eq!(event, before[seq - 1]);
    }
    let (mut found, mut from) = (Vec::new(), 1);
    loop {
        let page = client.ok(json!({"cmd": "log.read", "from": from, "limit": 7}));
        let seqs = page.column("events", "seq");
        found.extend(seqs.iter().filter_map(Value::as_u64));
        if !page.has("next") {
            break;
        }
        assert_eq!(seqs.len(), 7, "{page}");
        from = page.number("next");
    }
    assert_eq!(found, expected, "page by page");
    let all = client.ok(json!({"cmd": "log.read", "types": ["kv.set"], "limit": 31}));
    assert!(!all.has("next") && all.list("events").len() == 31, "{all}");
}

#[test]
fn keys_are_found_where_compaction_put_them_though_files_of_the_index_say_where_they_lay() {
    const KEYS: usize = 6000;
    let mut daemon = Daemon::with(&["--segment-bytes", "256K"]);
    let mut client = daemon.connect();
    // Of such a length that they are more than a tail takes.
    let name = |key: usize| format!("key-{key:0>100}");
    for number in 0..2 * KEYS {
        client.ok(set(&name(number % KEYS), number));
    }
    let in_files =
        |client: &mut Client| common::number(&client.ok(json!({"cmd": "stats"}))["index"], "file_runs");
    until("the first keys are in a file", || (in_files(&mut client) > 0).then_some(()));
    let all_are_there = |daemon: &Daemon| {
        let mut client = daemon.connect();
        for key in 0..KEYS {
            let found = client.ok(json!({"cmd": "kv.get", "key": name(key)}));
            assert_eq!((&found["value"], found.seq()), (&json!(KEYS + key), (KEYS + key + 1) as u64));
        }
    };
    all_are_there(&daemon);
    compact(&mut client);
    all_are_there(&daemon);
    check(&mut daemon);
    all_are_there(&daemon);
}

#[test]
fn followers_go_over_a_compaction_and_get_what_comes_once_and_in_order() {
    let daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for n in 0..50 {
        client.ok(set("k", n));
    }
    let mut early = daemon.connect();
    early.ok(json!({"cmd": "log.follow", "from": 1}));
    let next = |follower: &mut Client| {
        let line = follower.line().expect("one more line");
        common::number(&serde_json::from_str(&line).expect("JSON"), "seq")
    };
    let first: Vec<u64> = (0..50).map(|_| next(&mut early)).collect();
    assert_eq!(first, (1..=50).collect::<Vec<u64>>());
    compact(&mut client);
    let mut late = daemon.connect();
    late.ok(json!({"cmd": "log.follow", "from": 1}));
    client.ok(json!({"cmd": "kv.set", "key": "new", "value": 1}));
    assert_eq!(next(&mut early), 51);
    assert_eq!((next(&mut late), next(&mut late)), (50, 51));
}

#[test]
fn keys_replay_and_numbers_go_on_after_a_compaction_and_a_start_without_the_index() {
    let mut daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "one"}))["token"].clone();
    client.ok(json!({"cmd": "chat.create", "app": app}));
    let mut keyed = post("said once");
    keyed["idempotency_key"] = json!("k1");
    let first = client.ok(keyed.clone());
    client.ok(json!({"cmd": "message.delete", "seq": first["seq"]}));
    let say = json!({"cmd": "message.post", "app": app, "chat": 1, "body": "x"});
    for number in 1..=3 {
        client.ok(say.clone());
        client.ok(json!({"cmd": "message.delete", "app": app, "chat": 1, "number": number}));
    }
    client.ok(json!({"cmd": "chat.create", "app": app, "name": "second"}));
    client.ok(json!({"cmd": "chat.delete", "app": app, "chat": 2}));
    let formula = json!({"cmd": "formula.submit", "name": "tea",
        "materials": [{"name": "leaf", "concentration": 1.5}]});
    let submitted = client.ok(formula.clone());
    let job = client.ok(json!({"cmd": "queue.reserve", "queue": "formulas"}))["jobs"][0].clone();
    client.ok(json!({"cmd": "queue.ack", "job": job["job"], "lease": job["lease"]}));
    compact(&mut client);
    rebuild(&mut daemon);
    let mut client = daemon.connect();
    let again = client.ok(keyed.clone());
    assert_eq!(
        (&again["seq"], &again["at"], &again["replayed"]),
        (&first["seq"], &first["at"], &json!(true))
    );
    keyed["body"] = json!("something else");
    client.refused(keyed, "conflict");
    assert_eq!(client.ok(say)["number"], 4, "the number of a message is not used again");
    assert_eq!(client.ok(json!({"cmd": "chat.create", "app": app}))["number"], 3);
    let submitted_again = client.ok(formula);
    assert_eq!(submitted_again["created"], false);
    assert_eq!(submitted_again["seq"], submitted["seq"]);
    assert_eq!(client.ok(json!({"cmd": "queue.reserve", "queue": "formulas"}))["jobs"], json!([]));
}

#[test]
fn a_lease_holds_over_a_compaction_and_attempts_are_kept() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.put("work");
    let job = client.reserve_one();
    client.settle("nack", &job);
    let job = client.reserve_one();
    assert_eq!(job["attempt"], 2);
    compact(&mut client);
    let types: Vec<Value> = events(&mut client).iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, [json!("job.put"), json!("job.leased")]);
    rebuild(&mut daemon);
    let mut client = daemon.connect();
    client.settle("nack", &job);
    assert_eq!(client.reserve_one()["attempt"], 3);
}

#[test]
fn writes_go_on_while_the_log_is_compacted_again_and_again() {
    let mut daemon = Daemon::with(&["--segment-bytes", "16K"]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (daemon, done) = (&daemon, &done);
        scope.spawn(move || {
            let mut client = daemon.connect();
            // Every compaction reads all that is left: the writes, not they, say when it is enough.
            while !done.load(Ordering::Relaxed) {
                compact(&mut client);
            }
        });
        scope.spawn(move || {
            let mut client = daemon.connect();
            // Also when this panics: the scope waits for its threads.
            let _finish = common::Finish(done);
            for round in 1..=150 {
                let requests: Vec<Value> = (0..40)
                    .map(|n| set(&format!("k{n}"), json!([round, "v".repeat(100)])))
                    .chain((0..10).map(|n| post(&format!("round{round} number{n}"))))
                    .collect();
                let replies = client.pipeline(&requests);
                assert!(replies.iter().all(|reply| reply["ok"] == true));
                let seq = replies[40].seq();
                client.ok(json!({"cmd": "message.delete", "seq": seq}));
                assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "k7"}))["value"][0], round);
                let search = json!({"cmd": "message.search", "text": format!("round{round}"), "count": true});
                assert_eq!(client.ok(search)["total"], 9);
            }
        });
    });
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "log.verify"}));
    let (left, total) = (seqs(&mut client), client.ok(json!({"cmd": "stats"}))["stored"]["messages"].clone());
    check(&mut daemon);
    rebuild(&mut daemon);
    let mut client = daemon.connect();
    assert_eq!(seqs(&mut client), left);
    assert_eq!(client.ok(json!({"cmd": "message.search", "count": true, "limit": 1}))["total"], total);
}

#[test]
fn a_backup_of_a_compacted_log_is_one_that_a_daemon_starts_on() {
    let daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for n in 0..100 {
        client.ok(set(&format!("k{}", n % 9), "v".repeat(90)));
    }
    compact(&mut client);
    client.ok(post("later"));
    let (before, log) = (everything(&mut client), seqs(&mut client));
    let place = daemon.folder().join("copy");
    client.ok(json!({"cmd": "log.backup", "to": place}));
    for index in ["there", "removed"] {
        if index == "removed" {
            fs::remove_dir_all(place.join("index")).expect("it can be removed");
        }
        let socket = daemon.folder().join(&format!("{index}.sock"));
        let mut command = common::msglogd();
        let mut child =
            command.arg("--data").arg(&place).arg("--socket").arg(&socket).spawn().expect("a daemon");
        let mut copy = until("it listens", || Client::connect(&socket).ok());
        assert_eq!((everything(&mut copy), seqs(&mut copy)), (before.clone(), log.clone()), "index {index}");
        child.kill().and_then(|()| child.wait()).expect("it ends");
    }
}

#[test]
fn a_log_of_which_half_is_dead_is_compacted_by_itself() {
    let daemon =
        Daemon::with(&["--segment-bytes", "16K", "--compact-bytes", "40K", "--compact-percent", "50"]);
    let mut client = daemon.connect();
    until("the log is compacted", || {
        let requests: Vec<Value> = (0..20).map(|n| set(&format!("k{n}"), "v".repeat(500))).collect();
        assert!(client.pipeline(&requests).iter().all(|reply| reply["ok"] == true));
        (client.ok(json!({"cmd": "stats"}))["log"]["compactions"] != 0).then_some(())
    });
}

#[test]
fn a_log_is_not_compacted_by_itself_when_that_is_turned_off() {
    let daemon = Daemon::with(&["--segment-bytes", "4K", "--compact-bytes", "0", "--compact-percent", "0"]);
    let mut client = daemon.connect();
    let requests: Vec<Value> = (0..400).map(|_| set("k", "v".repeat(200))).collect();
    assert!(client.pipeline(&requests).iter().all(|reply| reply["ok"] == true));
    until("it was looked at", || {
        client.ok(set("k", "v".repeat(5000)));
        (client.ok(json!({"cmd": "stats"}))["log"]["dead_bytes"] != 0).then_some(())
    });
    assert_eq!(client.ok(json!({"cmd": "stats"}))["log"]["compactions"], 0);
    assert_eq!(seqs(&mut client).len(), usize::try_from(client.last_seq()).expect("small"));
}

#[test]
fn damage_to_what_a_compaction_left_is_named_with_status_65() {
    let mut daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for n in 0..80 {
        client.ok(set(&format!("k{n}"), "v".repeat(100)));
    }
    compact(&mut client);
    daemon.stop();
    let log = daemon.data().join("log");
    let checkpoint = files(&daemon.data())
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "checkpoint"));
    let checkpoint = checkpoint.expect("a checkpoint");
    let oldest = segments(&daemon.data()).remove(0);
    for path in [log.join("compacted"), oldest.clone(), checkpoint] {
        let whole = fs::read(&path).expect("a file");
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(&path, damaged).expect("it can be written");
        let finished = finish(common::msglogd().arg("check").arg("--data").arg(daemon.data()));
        assert_eq!(finished.code, Some(65), "{}: {finished:?}", path.display());
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(finished.stderr.contains(&name), "{finished:?}");
        fs::write(&path, whole).expect("it can be written");
    }
    let elsewhere = log.join("elsewhere");
    fs::rename(&oldest, &elsewhere).expect("it can be renamed");
    let finished = daemon.fails_to_start();
    assert_eq!(finished.code, Some(65), "{finished:?}");
    assert!(finished.stderr.contains(&common::file_name(&oldest)), "{finished:?}");
    fs::rename(&elsewhere, &oldest).expect("it can be renamed");
    daemon.launch();
}

#[test]
fn the_operator_of_a_daemon_with_a_damaged_checkpoint_is_told_what_makes_it_anew() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(set("k", "v"));
    compact(&mut client);
    let is_checkpoint = |path: &PathBuf| path.extension().is_some_and(|end| end == "checkpoint");
    let checkpoint = files(&daemon.data()).into_iter().find(is_checkpoint).expect("a checkpoint");
    let mut bytes = fs::read(&checkpoint).expect("a file");
    bytes[10] ^= 1;
    fs::write(&checkpoint, bytes).expect("it can be written");
    client.refused(json!({"cmd": "log.verify"}), "corrupt");
    let said = daemon.stderr();
    assert!(said.contains("`msglog log compact` makes it anew") && !said.contains("repair"), "{said}");
    compact(&mut client);
    client.ok(json!({"cmd": "log.verify"}));
}
