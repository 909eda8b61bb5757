//! Real texts, where `MSGLOGD_SAMPLE_DATA` names a folder of them, else made-up ones: searches find
//! what a scan of all texts finds, and numbers and counts are right.
#![allow(clippy::expect_used)]

#[path = "real_data/corpus.rs"]
mod corpus;
#[path = "real_data/draw.rs"]
mod draw;
#[path = "model/mod.rs"]
mod naive;
#[path = "real_data/scan.rs"]
mod scan;
#[path = "support_in_process/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use corpus::Generator;
use naive::exact::{line, must_number};
use scan::{Asked, Kept};
use support::Daemon;

/// Requests that go into one batch.
const BATCH: usize = 500;
const SEGMENT_BYTES: u64 = 4 << 20;
/// Real messages that are loaded beside the smaller sets.
const MESSAGES: usize = if cfg!(debug_assertions) { 20_000 } else { 125_052 };
/// Searches of each kind, the first time and then.
const SEARCHES: [usize; 2] = if cfg!(debug_assertions) { [4, 2] } else { [20, 20] };

fn parsed(reply: &str) -> Value {
    let reply: Value = serde_json::from_str(reply).expect("a reply is JSON");
    assert_eq!(reply["ok"], json!(true), "{reply}");
    reply
}

/// Sends requests, many in one batch, and gives the replies.
fn send(daemon: &mut Daemon, requests: impl Iterator<Item = String>) -> Vec<Value> {
    let mut replies = Vec::new();
    let mut requests = requests.peekable();
    while requests.peek().is_some() {
        daemon.advance(1000);
        daemon.begin();
        for request in requests.by_ref().take(BATCH) {
            replies.push(parsed(&daemon.answer(1, &request)));
        }
        daemon.commit();
        daemon.leave_tail();
    }
    replies
}

/// Posts all and keeps a list of them.
fn post(daemon: &mut Daemon) -> Vec<Kept> {
    let letters = corpus::letters(MESSAGES);
    let requests = letters.iter().map(|letter| {
        let corpus::Letter { originator, recipient, body } = letter;
        json!({"cmd": "message.post", "originator": originator, "recipient": recipient, "body": body})
            .to_string()
    });
    let replies = send(daemon, requests);
    let kept = letters.iter().zip(&replies).map(|(letter, reply)| {
        let at = msglogd::time::Timestamp::parse(reply["at"].as_str().expect("a time")).expect("a time");
        Kept::new(must_number(reply, "seq"), at, &letter.originator, &letter.recipient, &letter.body)
    });
    kept.collect()
}

/// Edits one in 200 and deletes one in 200.
fn change(daemon: &mut Daemon, kept: &mut Vec<Kept>, dice: &Generator) {
    let (mut requests, mut deleted) = (Vec::new(), BTreeSet::new());
    for _ in 0..kept.len() / 200 {
        let place = dice.below(kept.len());
        let text = format!("{} \u{6771}\u{4eac} edited", dice.pick(kept).text);
        requests.push(json!({"cmd": "message.edit", "seq": kept[place].seq, "body": text}).to_string());
        kept[place].edit(&text);
    }
    for _ in 0..kept.len() / 200 {
        let seq = dice.pick(kept).seq;
        if deleted.insert(seq) {
            requests.push(json!({"cmd": "message.delete", "seq": seq}).to_string());
        }
    }
    send(daemon, requests.into_iter());
    kept.retain(|message| !deleted.contains(&message.seq));
}

/// Pages through an answer to its end; the first page counts all matches.
fn found(daemon: &mut Daemon, asked: &Asked, order: &str, limit: usize, total: usize) -> Vec<u64> {
    let cursor = if order == "oldest" { "after" } else { "before" };
    let mut request = naive::merged(asked.arguments(), json!({"order": order, "limit": limit}));
    request["count"] = json!(true);
    let mut seqs = Vec::new();
    loop {
        let reply = parsed(&daemon.answer(1, &request.to_string()));
        let messages = reply["messages"].as_array().expect("messages");
        assert!(messages.len() <= limit, "{request}");
        seqs.extend(messages.iter().map(|message| must_number(message, "seq")));
        if request["count"] == json!(true) {
            assert_eq!(reply["total"], json!(total), "{request}");
        }
        let Some(next) = reply.get("next") else { return seqs };
        request[cursor] = next.clone();
        request["count"] = json!(false);
    }
}

/// Searches of every kind, in both orders, find what a scan finds.
fn compare(daemon: &mut Daemon, kept: &[Kept], dice: &Generator, searches: usize) {
    let mut compared = 0;
    for (kind, draw) in draw::KINDS {
        for asked in (0..searches).filter_map(|_| draw(dice, kept)) {
            let mut expected = asked.scan(kept);
            let total = expected.len();
            let limit = 1 + total / (1 + dice.below(3));
            assert!(
                found(daemon, &asked, "oldest", limit.min(10_000), total) == expected,
                "{kind}: {asked:?}"
            );
            expected.reverse();
            assert!(found(daemon, &asked, "newest", 10_000, total) == expected, "{kind}: {asked:?}");
            compared += 1;
        }
    }
    assert!(compared > draw::KINDS.len() * searches / 2, "only {compared} searches");
}

#[test]
fn searches_find_what_a_scan_finds() {
    let (mut daemon, dice) = (Daemon::new(SEGMENT_BYTES), Generator::new());
    let mut kept = post(&mut daemon);
    compare(&mut daemon, &kept, &dice, SEARCHES[0]);
    change(&mut daemon, &mut kept, &dice);
    compare(&mut daemon, &kept, &dice, SEARCHES[1]);
    daemon.flush();
    change(&mut daemon, &mut kept, &dice);
    compare(&mut daemon, &kept, &dice, SEARCHES[1]);
    daemon.merge_all();
    compare(&mut daemon, &kept, &dice, SEARCHES[1]);
    for message in kept.iter().step_by(97) {
        let reply = parsed(&daemon.answer(1, &json!({"cmd": "message.get", "seq": message.seq}).to_string()));
        assert_eq!(reply["message"]["body"], json!(message.text));
        assert_eq!(reply["message"]["recipient"], json!(message.recipient));
    }
    let table = daemon.table();
    daemon.rebuild();
    assert!(daemon.table() == table, "the log replays to another table");
    compare(&mut daemon, &kept, &dice, SEARCHES[1]);
}

#[test]
fn chats_have_the_right_numbers_and_counts() {
    let mut daemon = Daemon::new(SEGMENT_BYTES);
    let said = corpus::chats();
    let names: BTreeSet<&str> = said.iter().map(|said| said.app.as_str()).collect();
    let created =
        send(&mut daemon, names.iter().map(|name| json!({"cmd": "app.create", "name": name}).to_string()));
    let tokens = created.iter().map(|reply| reply["token"].as_str().expect("a token").to_owned());
    let apps: BTreeMap<&str, String> = names.iter().copied().zip(tokens).collect();
    let mut chats: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut requests, mut expected) = (Vec::new(), Vec::new());
    for corpus::Said { app, chat, author, body } in &said {
        let (number, messages) = chats.entry((app, chat)).or_insert_with(|| {
            let count = counts.entry(app).or_default();
            *count += 1;
            requests.push(json!({"cmd": "chat.create", "app": apps[app.as_str()]}).to_string());
            expected.push(*count);
            (*count, 0)
        });
        *messages += 1;
        let place = json!({"cmd": "message.post", "app": apps[app.as_str()], "chat": *number});
        requests.push(naive::merged(place, json!({"originator": author, "body": body})).to_string());
        expected.push(*messages);
    }
    let replies = send(&mut daemon, requests.into_iter());
    let numbers: Vec<u64> = replies.iter().map(|reply| must_number(reply, "number")).collect();
    assert!(numbers == expected, "another number was given");
    for ((app, chat), (number, messages)) in &chats {
        let request = json!({"cmd": "chat.get", "app": apps[app], "chat": number}).to_string();
        assert_eq!(parsed(&daemon.answer(1, &request))["chat"]["messages_count"], json!(messages), "{chat}");
    }
    for (app, token) in &apps {
        let request = json!({"cmd": "app.get", "token": token}).to_string();
        assert_eq!(parsed(&daemon.answer(1, &request))["app"]["chats_count"], json!(counts[app]), "{app}");
    }
    if corpus::folder().is_some() {
        assert_eq!((apps.len(), chats.len(), said.len()), (45, 5938, 88_881));
    }
}

#[test]
fn formulas_are_stored_once_each_with_one_job() {
    let mut daemon = Daemon::new(SEGMENT_BYTES);
    let formulas = corpus::formulas();
    let submit = |(name, materials): &(String, Value)| {
        line(&json!({"cmd": "formula.submit", "name": name, "materials": materials}))
    };
    let replies = send(&mut daemon, formulas.iter().map(submit));
    let mut known: BTreeMap<_, &Value> = BTreeMap::new();
    for ((name, materials), reply) in formulas.iter().zip(&replies) {
        let makeup = naive::formulas::makeup(materials);
        let first = known.get(&makeup);
        assert_eq!(reply["created"], json!(first.is_none()), "{name}");
        match first {
            Some(first) => assert_eq!((&reply["formula"], &reply["seq"]), (&first["formula"], &first["seq"])),
            None => drop(known.insert(makeup, reply)),
        }
    }
    let queue = parsed(&daemon.answer(1, r#"{"cmd":"queue.get","queue":"formulas"}"#));
    assert_eq!(queue["queue"]["ready"], json!(known.len()));
    let ids: BTreeSet<&str> = known.values().filter_map(|reply| reply["formula"].as_str()).collect();
    assert_eq!(ids.len(), known.len());
    if corpus::folder().is_some() {
        assert_eq!((formulas.len(), known.len()), (1173, 570));
    }
}
