//! Requests from dice: every command, over so few names that they meet all the time.

use serde_json::{Value, json};

use super::exact::{exact, marked};
use super::queues::{Job, STATES};
use super::{Model, merged};

const KEYS: [&str; 5] = ["a", "ab", "b", "\u{e9}", "a\u{0}"];
const VALUES: [&str; 6] = ["null", "1", "1.50", "\"x\"", "[1e400,{}]", "{\"value\":true,\"at\":\"never\"}"];
const PEOPLE: [&str; 4] = ["ann", "bob", "#7", "a\",\"body\":\""];
const BODIES: [&str; 10] = [
    "alpha beta",
    "Alpha-BETA, gamma",
    "",
    "beta  alpha alpha",
    "\u{6771}\u{4eac} gamma",
    "e\u{301}t\u{c9} \u{130}x",
    "\",\"body\":\"alpha\\",
    "al*pha! \u{1f600} alphabet",
    "\u{4eac}\u{6771}al",
    "line\nbreak\u{1}",
];
const TEXTS: [&str; 14] = [
    "alpha",
    "beta gamma",
    "alpha OR gamma",
    "alpha -beta",
    "al*",
    "\"alpha beta\"",
    "alpha.be*",
    "\u{6771}\u{4eac}",
    "\u{4eac}*",
    "gamma -\"alpha beta\"",
    "al* -alpha OR*",
    "beta OR \u{6771} OR \"alpha alpha\" -line",
    "\u{3a3}\u{e9} OR e\u{301}t\u{e9}",
    "body -alphabe*",
];
const PIECES: [&str; 12] = [
    "a",
    "pha b",
    "-",
    "\u{4eac}",
    "\u{6771}\u{4eac}",
    " ",
    "ALPHA",
    "phab",
    "\u{307}",
    "\u{1f600}",
    "\"",
    "a, gam",
];
const QUEUES: [&str; 3] = ["q", "r", "formulas"];
const TIMES: [u64; 5] = [0, 1, 5, 40, 1000];
const MAKEUPS: [&str; 6] = [
    r#"[{"name":"x","concentration":1}]"#,
    r#"[{"name":"x","concentration":1.0}]"#,
    r#"[{"name":" x","concentration":"10e-1"}]"#,
    r#"[{"name":"x","concentration":15.5},{"name":"y","concentration":2}]"#,
    r#"[{"name":"y","concentration":20e-1},{"name":"x","concentration":1.550e1}]"#,
    r#"[{"name":"x","concentration":15.500000000000000000000001},{"name":"y","concentration":2}]"#,
];

/// Numbers that say what to ask for; zeros when they are used up.
pub struct Dice<'d> {
    rolls: std::slice::Iter<'d, u16>,
}

impl<'d> Dice<'d> {
    /// Of these numbers.
    pub fn new(rolls: &'d [u16]) -> Self {
        Dice { rolls: rolls.iter() }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(*self.rolls.next().unwrap_or(&0)) % bound.max(1)
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// One time in `count`.
    fn rarely(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }

    fn maybe(&mut self, request: &mut Value, name: &str, value: impl FnOnce(&mut Self) -> Value) {
        if self.rarely(3) {
            request[name] = value(self);
        }
    }

    /// Mostly one of those that are there, else one of those that ever were, else `none`.
    fn mostly<T: Clone>(&mut self, there: Vec<T>, ever: Vec<T>, none: T) -> T {
        let astray = self.rarely(8);
        let from = if astray || there.is_empty() { ever } else { there };
        if from.is_empty() { none } else { self.pick(&from) }
    }

    fn app(&mut self, model: &Model) -> String {
        let ever = model.log.iter().filter(|event| event["type"] == "app.created");
        let ever = ever.filter_map(|event| Some(event["token"].as_str()?.to_owned())).collect();
        self.mostly(model.apps.keys().cloned().collect(), ever, "0123456789abcdefghijklmn".into())
    }

    fn chat(&mut self, model: &Model) -> Value {
        let place = |event: &Value| json!({"app": event["app"], "chat": event["chat"]});
        let created = model.log.iter().filter(|event| event["type"] == "chat.created");
        let ever: Vec<Value> = created.map(place).collect();
        let there = |place: &&Value| {
            let app = place["app"].as_str().and_then(|app| model.apps.get(app));
            app.zip(place["chat"].as_u64()).is_some_and(|(app, chat)| app.chats.contains_key(&chat))
        };
        let live = ever.iter().filter(there).cloned().collect();
        self.mostly(live, ever, json!({"app": "none", "chat": 1}))
    }

    fn message(&mut self, model: &Model) -> Value {
        if self.rarely(4) {
            return merged(self.chat(model), json!({"number": 1 + self.below(4)}));
        }
        let live = model.messages.keys().copied().collect();
        json!({"seq": self.mostly(live, (0..model.last() + 2).collect(), 0)})
    }

    fn lease(&mut self, model: &Model) -> Value {
        let held = model.jobs.iter().filter_map(|(seq, job)| Some((*seq, job.lease.clone()?)));
        let (job, lease) = self.mostly(held.collect(), model.leases.clone(), (1, "none".to_owned()));
        json!({"job": job, "lease": lease})
    }

    fn job(&mut self, model: &Model, state: Option<&str>) -> u64 {
        let wanted = |job: &Job| state.is_none_or(|state| state == job.state);
        let jobs = model.jobs.iter().filter(|(_, job)| wanted(job)).map(|(seq, _)| *seq).collect();
        self.mostly(jobs, (0..model.last() + 2).collect(), 0)
    }

    /// A queue, and most often the first.
    fn queue(&mut self) -> &'static str {
        self.pick(&["q", "q", "q", QUEUES[1], QUEUES[2]])
    }

    fn time(&mut self, model: &Model) -> Value {
        if model.log.is_empty() {
            return json!(model.at());
        }
        let event = &model.log[self.below(model.log.len())];
        event["at"].clone()
    }

    fn seq(&mut self, model: &Model) -> u64 {
        self.below(model.log.len() + 3) as u64
    }

    fn state(&mut self) -> Value {
        json!(self.pick(&STATES))
    }
}

/// What a sequence is about.
#[derive(Debug, Clone, Copy)]
pub enum About {
    Everything,
    Messages,
    Queues,
}

/// A write that changes one thing.
pub fn write(about: About, dice: &mut Dice<'_>, model: &Model) -> Value {
    let noun = match about {
        About::Everything => dice.below(10),
        About::Messages => 2 + dice.below(5),
        About::Queues => 9,
    };
    let request = match noun {
        0 => kv(dice, model),
        1 => formula(dice),
        2..=4 => message(dice, model),
        5 | 6 => chat(dice, model),
        _ if model.jobs.values().any(|job| job.lease.is_some()) && dice.rarely(3) => holder(dice, model),
        _ => queue(dice, model),
    };
    marked(&request)
}

fn formula(dice: &mut Dice<'_>) -> Value {
    let (name, materials) = (dice.pick(&["one", "two"]), exact(dice.pick(&MAKEUPS)));
    json!({"cmd": "formula.submit", "name": name, "materials": materials})
}

fn holder(dice: &mut Dice<'_>, model: &Model) -> Value {
    let milliseconds = dice.pick(&TIMES);
    let request = match dice.below(5) {
        0 | 1 => json!({"cmd": "queue.nack"}),
        2 => json!({"cmd": "queue.nack", "delay_ms": milliseconds}),
        3 => json!({"cmd": "queue.extend", "lease_ms": milliseconds}),
        _ => json!({"cmd": "queue.ack"}),
    };
    merged(request, dice.lease(model))
}

fn kv(dice: &mut Dice<'_>, model: &Model) -> Value {
    let key = dice.pick(&KEYS);
    let mut request = json!({"cmd": "kv.set", "key": key, "value": exact(dice.pick(&VALUES))});
    if dice.rarely(3) {
        request = json!({"cmd": "kv.delete", "key": key});
    }
    let there = model.keys.get(key).map_or(0, |entry| entry.seq);
    dice.maybe(&mut request, "if_seq", |dice| json!(dice.pick(&[there, 0, there + 1])));
    request
}

fn message(dice: &mut Dice<'_>, model: &Model) -> Value {
    let body = json!({"body": dice.pick(&BODIES)});
    match dice.below(8) {
        0..=2 if model.apps.values().all(|app| app.chats.is_empty()) => chat(dice, model),
        0..=2 => {
            let mut request = merged(json!({"cmd": "message.post"}), merged(dice.chat(model), body));
            dice.maybe(&mut request, "originator", |dice| json!(dice.pick(&PEOPLE)));
            request
        }
        3 | 4 => {
            let (originator, recipient) = (dice.pick(&PEOPLE), dice.pick(&PEOPLE));
            let to = json!({"cmd": "message.post", "originator": originator, "recipient": recipient});
            merged(to, body)
        }
        5 | 6 => merged(json!({"cmd": "message.edit"}), merged(dice.message(model), body)),
        _ => merged(json!({"cmd": "message.delete"}), dice.message(model)),
    }
}

fn chat(dice: &mut Dice<'_>, model: &Model) -> Value {
    let name = dice.pick(&["one", "two"]);
    if model.apps.is_empty() {
        return json!({"cmd": "app.create", "name": name});
    }
    match dice.below(16) {
        0..=7 => {
            let mut request = json!({"cmd": "chat.create", "app": dice.app(model)});
            dice.maybe(&mut request, "name", |_| json!(name));
            request
        }
        8 | 9 => merged(json!({"cmd": "chat.update", "name": name}), dice.chat(model)),
        10 | 11 => merged(json!({"cmd": "chat.delete"}), dice.chat(model)),
        12 | 13 => json!({"cmd": "app.update", "token": dice.app(model), "name": name}),
        14 => json!({"cmd": "app.delete", "token": dice.app(model)}),
        _ => json!({"cmd": "app.create", "name": name}),
    }
}

fn queue(dice: &mut Dice<'_>, model: &Model) -> Value {
    let name = dice.queue();
    let lease_ms = dice.pick(&TIMES);
    let mut request = match dice.below(15) {
        0..=4 => json!({"cmd": "queue.put", "queue": name, "body": exact(dice.pick(&VALUES))}),
        5..=8 => json!({"cmd": "queue.reserve", "queue": name, "max": 1 + dice.below(3)}),
        9 => return holder(dice, model),
        10 => json!({"cmd": "queue.configure", "queue": name}),
        11 => json!({"cmd": "queue.revive", "queue": name}),
        12 => json!({"cmd": "queue.delete", "job": dice.job(model, None)}),
        13 => json!({"cmd": "queue.purge", "queue": name}),
        _ => json!({"cmd": "queue.drop", "queue": name}),
    };
    match request["cmd"].as_str().unwrap_or_default() {
        "queue.put" => {
            dice.maybe(&mut request, "priority", |dice| json!(dice.pick(&[1, 5, 9])));
            dice.maybe(&mut request, "delay_ms", |dice| json!(dice.pick(&TIMES)));
        }
        "queue.reserve" if !dice.rarely(5) => request["lease_ms"] = json!(lease_ms),
        "queue.configure" => {
            dice.maybe(&mut request, "lease_ms", |dice| json!(dice.pick(&TIMES)));
            dice.maybe(&mut request, "max_attempts", |dice| dice.pick(&[json!(1), json!(2), json!(null)]));
            dice.maybe(&mut request, "max_jobs", |dice| dice.pick(&[json!(3), json!(0), json!(null)]));
        }
        "queue.revive" => {
            dice.maybe(&mut request, "job", |dice| json!(dice.job(model, Some("dead"))));
        }
        "queue.purge" if !dice.rarely(4) => request["state"] = dice.state(),
        _ => {}
    }
    request
}

/// A search with some of all filters.
pub fn search(dice: &mut Dice<'_>, model: &Model) -> Value {
    let mut request = json!({"cmd": "message.search"});
    dice.maybe(&mut request, "text", |dice| json!(dice.pick(&TEXTS)));
    dice.maybe(&mut request, "substring", |dice| json!(dice.pick(&PIECES)));
    dice.maybe(&mut request, "originator", |dice| json!(dice.pick(&PEOPLE)));
    dice.maybe(&mut request, "recipient", |dice| json!(dice.pick(&PEOPLE)));
    if dice.rarely(3) {
        request = merged(request, dice.chat(model));
    } else {
        dice.maybe(&mut request, "app", |dice| json!(dice.app(model)));
    }
    dice.maybe(&mut request, "since", |dice| dice.time(model));
    dice.maybe(&mut request, "until", |dice| dice.time(model));
    dice.maybe(&mut request, "after", |dice| json!(dice.seq(model)));
    dice.maybe(&mut request, "before", |dice| json!(dice.seq(model)));
    dice.maybe(&mut request, "limit", |dice| json!(1 + dice.below(4)));
    dice.maybe(&mut request, "order", |dice| json!(dice.pick(&["oldest", "newest"])));
    request["count"] = json!(!dice.rarely(3));
    marked(&request)
}

/// Every read that has something to say of what there is, and of what there is no more.
pub fn reads(model: &Model) -> Vec<Value> {
    let mut reads: Vec<Value> = Vec::new();
    for name in ["kv.list", "app.list", "formula.list", "queue.list", "log.read"] {
        reads.push(json!({"cmd": name}));
        reads.push(json!({"cmd": name, "limit": 2}));
    }
    reads.extend(KEYS.map(|key| json!({"cmd": "kv.get", "key": key})));
    for key in KEYS {
        reads.push(json!({"cmd": "kv.list", "prefix": key, "limit": 1}));
        reads.push(json!({"cmd": "kv.list", "prefix": "a", "after": key}));
    }
    for seq in 0..=model.last() + 1 {
        reads.push(json!({"cmd": "message.get", "seq": seq}));
    }
    for id in model.formulas.iter().map(|formula| &formula.id) {
        reads.push(json!({"cmd": "formula.get", "formula": id}));
        reads.push(json!({"cmd": "formula.list", "after": id, "limit": 1}));
    }
    reads.push(json!({"cmd": "formula.list", "after": "none"}));
    for queue in QUEUES.into_iter().chain(["none"]) {
        reads.push(json!({"cmd": "queue.get", "queue": queue}));
        reads.push(json!({"cmd": "queue.list", "after": queue, "limit": 1}));
        for state in STATES {
            reads.push(json!({"cmd": "queue.peek", "queue": queue, "state": state}));
            reads.push(json!({"cmd": "queue.peek", "queue": queue, "state": state, "limit": 1}));
        }
    }
    let types = json!(["message.posted", "job.leased", "request.answered"]);
    reads.push(json!({"cmd": "log.read", "types": types}));
    reads.push(json!({"cmd": "log.read", "types": types, "limit": 3, "from": model.last() / 2}));
    reads.extend(reads_of_chats(model));
    reads.extend(searches());
    reads.iter().map(marked).collect()
}

fn reads_of_chats(model: &Model) -> Vec<Value> {
    let mut reads = Vec::new();
    let created = model.log.iter().filter(|event| event["type"] == "app.created");
    for token in created.map(|event| &event["token"]) {
        reads.push(json!({"cmd": "app.get", "token": token}));
        reads.push(json!({"cmd": "app.list", "after": token, "limit": 1}));
        reads.push(json!({"cmd": "chat.list", "app": token}));
        reads.push(json!({"cmd": "chat.list", "app": token, "limit": 1}));
        reads.push(json!({"cmd": "message.search", "app": token, "count": true}));
        for chat in 1..=3 {
            let place = json!({"app": token, "chat": chat});
            for more in [
                json!({"cmd": "chat.get"}),
                json!({"cmd": "message.list"}),
                json!({"cmd": "message.list", "limit": 1, "after": 1}),
                json!({"cmd": "message.get", "number": 1}),
                json!({"cmd": "message.get", "number": 2}),
                json!({"cmd": "message.search", "count": true}),
                json!({"cmd": "message.search", "text": "alpha", "order": "oldest", "limit": 1}),
            ] {
                reads.push(merged(place.clone(), more));
            }
        }
    }
    reads
}

fn searches() -> Vec<Value> {
    let texts = TEXTS.map(|text| json!({"text": text, "count": true}));
    let pieces = PIECES.map(|piece| json!({"substring": piece, "count": true}));
    let people = PEOPLE.map(|name| json!({"originator": name, "count": true}));
    let recipients = PEOPLE.map(|name| json!({"recipient": name, "count": true}));
    let all = [json!({"count": true}), json!({"limit": 2, "order": "oldest"})];
    let filters = texts.into_iter().chain(pieces).chain(people).chain(recipients).chain(all);
    filters.map(|filter| merged(json!({"cmd": "message.search"}), filter)).collect()
}

/// The read of the next page, if there is one.
pub fn next_page(read: &Value, reply: &Value) -> Option<Value> {
    let next = reply.get("next")?;
    let cursor = match read["cmd"].as_str()? {
        "log.read" => "from",
        "message.search" if read["order"] != "oldest" => "before",
        _ => "after",
    };
    Some(merged(read.clone(), json!({cursor: next})))
}
