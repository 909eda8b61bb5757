//! Random requests of every noun, over few names, so that they meet each other.
//!
//! A request carries a mark of its own, such as `#17#`, in what it stores, so that its events can
//! be told in the log.

use serde_json::{Value, json};

use super::random::Random;

/// Leases and delays that do not run out while a test runs.
const LONG_MS: u64 = 3_600_000;
/// The words of messages.
pub const WORDS: [&str; 6] = ["ash", "birch", "cedar", "date", "elm", "fir"];
/// The keys.
pub const KEYS: [&str; 4] = ["k0", "k1", "k2", "k3"];
/// The queues.
pub const QUEUES: [&str; 2] = ["q0", "q1"];

/// What a client has learned from replies and may name again.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub apps: Vec<String>,
    pub messages: Vec<u64>,
    pub jobs: Vec<u64>,
    pub leases: Vec<(u64, String)>,
}

/// A command, and how many events carry its mark when it succeeds.
#[derive(Debug, Clone)]
pub struct Command {
    pub request: Value,
    pub events: usize,
    /// How many more, when formulas in it are new: two each.
    pub formulas: usize,
    /// Whether the reply's `seq` is that of an event with the mark.
    pub names_event: bool,
}

fn plain(request: Value) -> Command {
    Command { request, events: 0, formulas: 0, names_event: false }
}

fn marked(request: Value) -> Command {
    Command { request, events: 1, formulas: 0, names_event: true }
}

/// A request, and how many events may carry its mark when it succeeded.
pub struct Draft {
    pub request: Value,
    pub counts: Vec<usize>,
    pub names_event: bool,
}

/// The mark of a request.
pub fn mark(number: usize) -> String {
    format!("#{number}#")
}

/// The numbers of the marks in a record.
pub fn marks(record: &str) -> impl Iterator<Item = usize> {
    record.split('#').skip(1).step_by(2).filter_map(|number| number.parse().ok())
}

/// A random request with this mark.
pub fn draft(random: &mut Random, known: &Known, mark: &str) -> Draft {
    let mut command = match random.one_in(6) {
        true => batch(random, known, mark),
        false => single(random, known, mark),
    };
    let reserving = command.request.to_string().contains("queue.reserve");
    if random.one_in(3) && !reserving {
        command.request["idempotency_key"] = json!(mark);
        command.events += 1;
    }
    if random.one_in(3) {
        command.request["durable"] = json!(random.one_in(4));
    }
    let mut counts: Vec<usize> = (0..=command.formulas).map(|new| command.events + 2 * new).collect();
    if random.one_in(15) {
        command.request["dry_run"] = json!(true);
        (counts, command.names_event) = (vec![0], false);
    }
    Draft { request: command.request, counts, names_event: command.names_event }
}

/// The commands of short sequences.
pub const ALPHABET: [&str; 9] = [
    "kv.set",
    "message.post",
    "app.create",
    "formula.submit",
    "queue.put",
    "queue.reserve",
    "kv.delete",
    "message.delete",
    "batch",
];

/// The command of that name in the alphabet.
pub fn scripted(name: &str, known: &Known, mark: &str) -> Draft {
    let last = known.messages.last().copied().unwrap_or(1);
    let (request, counts) = match name {
        "kv.set" => (json!({"cmd": name, "key": KEYS[0], "value": mark, "idempotency_key": mark}), vec![2]),
        "message.post" => (json!({"cmd": name, "originator": "o", "recipient": "r", "body": mark}), vec![1]),
        "app.create" => (json!({"cmd": name, "name": mark, "durable": false}), vec![1]),
        "formula.submit" => {
            let materials = json!([{"name": "bergamot", "concentration": 1.5}]);
            (json!({"cmd": name, "name": mark, "materials": materials}), vec![0, 2])
        }
        "queue.put" => (json!({"cmd": name, "queue": QUEUES[0], "body": mark}), vec![1]),
        "queue.reserve" => (json!({"cmd": name, "queue": QUEUES[0], "lease_ms": 60_000}), vec![0]),
        "kv.delete" => (json!({"cmd": name, "key": KEYS[0]}), vec![0]),
        "message.delete" => (json!({"cmd": name, "seq": last}), vec![0]),
        _ => {
            let put = json!({"cmd": "queue.put", "queue": QUEUES[0], "body": mark});
            let set = json!({"cmd": "kv.set", "key": KEYS[0], "value": mark});
            (json!({"cmd": "batch", "commands": [set, put]}), vec![2])
        }
    };
    Draft { request, counts, names_event: false }
}

fn batch(random: &mut Random, known: &Known, mark: &str) -> Command {
    let members: Vec<Command> = (0..2 + random.below(3)).map(|_| single(random, known, mark)).collect();
    let requests: Vec<Value> = members
        .iter()
        .map(|member| {
            let mut request = member.request.clone();
            request.as_object_mut().expect("an object").remove("wait_ms");
            request
        })
        .collect();
    Command {
        request: json!({"cmd": "batch", "commands": requests}),
        events: members.iter().map(|member| member.events).sum(),
        formulas: members.iter().map(|member| member.formulas).sum(),
        names_event: false,
    }
}

fn single(random: &mut Random, known: &Known, mark: &str) -> Command {
    match random.below(10) {
        0..2 => key(random, mark),
        2..5 => message(random, known, mark),
        5 => chats(random, known, mark),
        6 => formula(random, mark),
        _ => queue(random, known, mark),
    }
}

fn key(random: &mut Random, mark: &str) -> Command {
    let key = random.pick(&KEYS);
    let mut command = match random.one_in(4) {
        true => plain(json!({"cmd": "kv.delete", "key": key})),
        false => marked(json!({"cmd": "kv.set", "key": key, "value": [mark, 1.50]})),
    };
    if random.one_in(5) {
        command.request["if_seq"] = json!(random.below(20));
    }
    command
}

/// A few words, sometimes so many that they lie in several sectors.
fn body(random: &mut Random, mark: &str) -> String {
    let count = if random.one_in(4) { 100 + random.below(200) } else { random.below(6) };
    let words = (0..count).filter_map(|_| random.pick(&WORDS).copied());
    std::iter::once(mark).chain(words).collect::<Vec<_>>().join(" ")
}

fn message(random: &mut Random, known: &Known, mark: &str) -> Command {
    let body = body(random, mark);
    let seq = random.pick(&known.messages).copied().unwrap_or(1);
    match (random.below(8), random.pick(&known.apps)) {
        (0, _) => marked(json!({"cmd": "message.edit", "seq": seq, "body": body})),
        (1, _) => plain(json!({"cmd": "message.delete", "seq": seq})),
        (2..5, Some(app)) => {
            let chat = 1 + random.below(3);
            marked(json!({"cmd": "message.post", "app": app, "chat": chat, "body": body}))
        }
        _ => {
            let recipient = random.below(3);
            let post =
                json!({"cmd": "message.post", "originator": "o", "recipient": recipient, "body": body});
            marked(post)
        }
    }
}

fn chats(random: &mut Random, known: &Known, mark: &str) -> Command {
    let Some(app) = random.pick(&known.apps).filter(|_| known.apps.len() > 1 || !random.one_in(4)) else {
        return marked(json!({"cmd": "app.create", "name": mark}));
    };
    let chat = 1 + random.below(3);
    match random.below(12) {
        0 => marked(json!({"cmd": "app.update", "token": app, "name": mark})),
        1 => plain(json!({"cmd": "app.delete", "token": app})),
        2 => plain(json!({"cmd": "chat.delete", "app": app, "chat": chat})),
        3 => marked(json!({"cmd": "chat.update", "app": app, "chat": chat, "name": mark})),
        _ => marked(json!({"cmd": "chat.create", "app": app, "name": mark})),
    }
}

/// One of few make-ups, written in different ways.
fn formula(random: &mut Random, mark: &str) -> Command {
    let makeup = random.below(3);
    let mut materials = vec![
        json!({"name": "bergamot", "concentration": format!("{makeup}.5{}", "0".repeat(random.below(3)))}),
        json!({"name": " neroli ", "concentration": 2}),
    ];
    if random.one_in(2) {
        materials.reverse();
    }
    let request = json!({"cmd": "formula.submit", "name": mark, "materials": materials});
    Command { request, events: 0, formulas: 1, names_event: false }
}

fn queue(random: &mut Random, known: &Known, mark: &str) -> Command {
    let queue = match random.one_in(8) {
        true => "formulas",
        false => random.pick(&QUEUES).copied().unwrap_or_default(),
    };
    let (job, lease) = random.pick(&known.leases).cloned().unwrap_or((1, "none".to_owned()));
    match random.below(24) {
        0..8 => {
            let delay = if random.one_in(5) { LONG_MS } else { 0 };
            let (priority, words) = (random.below(3), body(random, mark));
            marked(json!({"cmd": "queue.put", "queue": queue, "body": [words], "delay_ms": delay,
                "priority": priority}))
        }
        8..13 => {
            let max = 1 + random.below(3);
            let mut request =
                json!({"cmd": "queue.reserve", "queue": queue, "max": max, "lease_ms": LONG_MS});
            if random.one_in(4) {
                request["wait_ms"] = json!(LONG_MS);
            }
            plain(request)
        }
        13..16 => plain(json!({"cmd": "queue.ack", "job": job, "lease": lease})),
        16..18 => plain(json!({"cmd": "queue.nack", "job": job, "lease": lease,
            "delay_ms": if random.one_in(3) { LONG_MS } else { 0 }})),
        18 => plain(json!({"cmd": "queue.extend", "job": job, "lease": lease, "lease_ms": LONG_MS})),
        19 => {
            let (attempts, jobs) = (1 + random.below(2), 4 + random.below(9));
            plain(
                json!({"cmd": "queue.configure", "queue": queue, "max_attempts": attempts, "max_jobs": jobs}),
            )
        }
        20 => plain(json!({"cmd": "queue.revive", "queue": queue})),
        21 => plain(json!({"cmd": "queue.delete", "job": random.pick(&known.jobs).copied().unwrap_or(1)})),
        22 => {
            let state = random.pick(&["ready", "delayed", "leased", "dead"]);
            plain(json!({"cmd": "queue.purge", "queue": queue, "state": state}))
        }
        _ => plain(json!({"cmd": "queue.drop", "queue": queue})),
    }
}
