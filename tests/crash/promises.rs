//! The promises, each a check of what a start found after a crash.

use std::collections::BTreeMap;

use msglogd::domain::command::Command;
use msglogd::domain::table::Facts;
use msglogd::snapshot::Snapshot;
use serde_json::{Value, json};

use super::client::{Client, Outcome};
use super::fold::Fold;
use super::model::{Model, State};
use super::requests::{KEYS, QUEUES, WORDS, marks};

/// Every event up to a snapshot's last. The client knows those that were compacted away.
pub fn records(client: &Client, snapshot: &Snapshot) -> Vec<Vec<u8>> {
    (1..=snapshot.last)
        .map(|seq| {
            let record = snapshot.record(seq).unwrap_or_else(|error| panic!("event {seq}: {error}"));
            let known = || client.records.get(usize::try_from(seq).expect("small") - 1).cloned();
            let compacted = seq <= snapshot.compacted.last;
            record
                .or_else(|| known().filter(|_| compacted))
                .unwrap_or_else(|| panic!("event {seq} is not there"))
        })
        .collect()
}

/// Compaction took nothing that is live.
fn what_is_live_is_there(model: &Model, snapshot: &Snapshot) {
    let values = model.values.values().map(|(seq, _)| *seq);
    let messages = model.messages.iter().filter(|(_, message)| !message.is_edited).map(|(seq, _)| *seq);
    let jobs = model.jobs.keys().copied();
    for seq in values.chain(messages).chain(jobs).chain(model.formulas.values().copied()) {
        let record = snapshot.record(seq).expect("it can be read");
        assert!(record.is_some(), "event {seq} is live, and gone");
    }
}

/// All promises, of a store that was opened after a crash.
pub fn check(client: &Client, snapshot: &Snapshot) {
    let found = records(client, snapshot);
    check_log(client, &found);
    check_answers(&found, snapshot);
}

/// The promises about what is in the log.
pub fn check_log(client: &Client, found: &[Vec<u8>]) {
    acknowledged_is_there(client, found);
    if !client.power_was_lost {
        assert!(
            found.len() >= client.records.len(),
            "what was answered is gone though only the program died"
        );
    }
    nothing_is_altered(client, found);
    each_request_is_there_whole_or_not_at_all(client, found);
    nothing_is_there_that_was_not_asked(client, found);
}

/// What can be read is what the log says.
pub fn check_answers(found: &[Vec<u8>], snapshot: &Snapshot) {
    let model = Model::of(found);
    Fold::of(found).assert_same(snapshot);
    what_is_live_is_there(&model, snapshot);
    values_are_those_of_the_log(&model, snapshot);
    searches_find_what_a_look_at_every_message_finds(&model, snapshot);
    queues_hold_what_the_log_says(&model, snapshot);
}

fn shown(record: &[u8]) -> String {
    String::from_utf8_lossy(record).chars().take(300).collect()
}

/// What was acknowledged, and what a refusal or a replay was decided from.
fn acknowledged_is_there(client: &Client, found: &[Vec<u8>]) {
    let there = found.len() as u64;
    assert!(there >= client.durable, "event {} was acknowledged; the log ends at {there}", client.durable);
}

fn nothing_is_altered(client: &Client, found: &[Vec<u8>]) {
    for (before, now) in client.records.iter().zip(found) {
        assert_eq!(shown(now), shown(before), "an event is not what it was");
    }
}

/// How many events carry each mark.
fn marked(found: &[Vec<u8>]) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for record in found {
        let mut marks: Vec<usize> = marks(&String::from_utf8_lossy(record)).collect();
        marks.dedup();
        marks.into_iter().for_each(|mark| *counts.entry(mark).or_default() += 1);
    }
    counts
}

fn each_request_is_there_whole_or_not_at_all(client: &Client, found: &[Vec<u8>]) {
    let counts = marked(found);
    let mut done: BTreeMap<usize, bool> = BTreeMap::new();
    for sent in &client.sent {
        let count = counts.get(&sent.mark).copied().unwrap_or(0);
        assert!(count == 0 || sent.counts.contains(&count), "{count} events of {}", sent.request);
        if let Outcome::Done { last, .. } = &sent.outcome
            && *last <= found.len() as u64
        {
            assert!(sent.counts.contains(&count), "{count} events of {}, which was done", sent.request);
        }
        *done.entry(sent.mark).or_default() |= !matches!(sent.outcome, Outcome::Refused(_));
    }
    for (mark, _) in done.iter().filter(|(_, done)| !**done) {
        assert_eq!(counts.get(mark), None, "request {mark} was refused, and this is there");
    }
}

fn nothing_is_there_that_was_not_asked(client: &Client, found: &[Vec<u8>]) {
    for record in found.iter().skip(client.records.len()) {
        for mark in marks(&String::from_utf8_lossy(record)) {
            let asked = client
                .sent
                .iter()
                .any(|sent| sent.mark == mark && matches!(sent.outcome, Outcome::Waiting | Outcome::Unknown));
            assert!(asked, "nobody waits for this: {}", shown(record));
        }
    }
}

/// The reply to a read.
pub fn ask(snapshot: &Snapshot, request: &Value) -> msglogd::error::Result<Value> {
    let parsed = msglogd::protocol::request::parse(request.to_string().as_bytes());
    let Command::Read(read) = parsed.command? else { panic!("{request} is no read") };
    let fields = msglogd::reader::answer(snapshot, &read)?;
    let text = format!("{{\"ok\":true{}}}", String::from_utf8_lossy(&fields));
    Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

fn read(snapshot: &Snapshot, request: &Value) -> Value {
    ask(snapshot, request).unwrap_or_else(|error| panic!("{error}\n  request: {request}"))
}

fn values_are_those_of_the_log(model: &Model, snapshot: &Snapshot) {
    for key in KEYS {
        let request = json!({"cmd": "kv.get", "key": key});
        match model.values.get(key) {
            Some((seq, value)) => {
                let reply = read(snapshot, &request);
                assert_eq!((&reply["seq"], &reply["value"]), (&json!(seq), value), "{reply}");
            }
            None => assert!(ask(snapshot, &request).is_err(), "{key} is there"),
        }
    }
}

fn found_by(snapshot: &Snapshot, filter: &Value) -> Vec<u64> {
    let mut request = filter.clone();
    request["cmd"] = json!("message.search");
    request["order"] = json!("oldest");
    request["limit"] = json!(10_000);
    request["count"] = json!(true);
    let reply = read(snapshot, &request);
    let messages = reply["messages"].as_array().expect("a list");
    assert_eq!(reply["total"], messages.len(), "{filter}");
    messages.iter().map(|message| message["seq"].as_u64().expect("a seq")).collect()
}

fn searches_find_what_a_look_at_every_message_finds(model: &Model, snapshot: &Snapshot) {
    let by_looking = |matches: &dyn Fn(&str) -> bool| -> Vec<u64> {
        let found = model.messages.iter().filter(|(_, message)| matches(&message.body));
        found.map(|(seq, _)| *seq).collect()
    };
    assert_eq!(found_by(snapshot, &json!({})), by_looking(&|_| true), "all messages");
    // Another word after every event, so that all of them have their turn.
    let place = usize::try_from(snapshot.last).unwrap_or(0) % WORDS.len();
    let (word, other) = (WORDS[place], WORDS[(place + 1) % WORDS.len()]);
    let has = |body: &str| body.split(' ').any(|part| part == word);
    assert_eq!(found_by(snapshot, &json!({"text": word})), by_looking(&has), "{word}");
    let phrase = format!("{word} {other}");
    let of_phrase = by_looking(&|body| format!("{body} ").contains(&format!(" {phrase} ")));
    assert_eq!(found_by(snapshot, &json!({"text": format!("\"{phrase}\"")})), of_phrase, "{phrase}");
    let piece = &phrase[1..phrase.len() - 1];
    let of_piece = by_looking(&|body| body.contains(piece));
    assert_eq!(found_by(snapshot, &json!({"substring": piece})), of_piece, "a piece: {piece}");
    for token in model.apps.iter().filter(|(_, app)| !app.chats.is_empty()).map(|(token, _)| token) {
        let inside = model
            .messages
            .iter()
            .filter(|(_, message)| message.place.as_ref().is_some_and(|(app, ..)| app == token));
        let inside: Vec<u64> = inside.map(|(seq, _)| *seq).collect();
        assert_eq!(found_by(snapshot, &json!({"app": token})), inside, "messages of {token}");
    }
}

fn queues_hold_what_the_log_says(model: &Model, snapshot: &Snapshot) {
    for queue in QUEUES.into_iter().chain(["formulas"]) {
        let request = json!({"cmd": "queue.get", "queue": queue});
        if !model.queues.contains(queue) {
            assert!(ask(snapshot, &request).is_err(), "{queue} is there");
            continue;
        }
        let reply = read(snapshot, &request);
        let states = [State::Ready, State::Delayed, State::Leased, State::Dead];
        for (state, name) in states.into_iter().zip(["ready", "delayed", "leased", "dead"]) {
            assert_eq!(reply["queue"][name], model.count(queue, state), "{name} jobs of {queue}");
            let peeked = read(snapshot, &json!({"cmd": "queue.peek", "queue": queue, "state": name}));
            let jobs: Vec<u64> = peeked["jobs"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|job| job["job"].as_u64())
                .collect();
            assert_eq!(jobs.len(), model.count(queue, state), "{name} jobs of {queue}: {jobs:?}");
            assert!(jobs.iter().all(|job| model.jobs[job].state == state), "{name}: {jobs:?}");
        }
    }
}
