//! Memory with much of one thing in the store.

use serde_json::json;

use crate::corpus::Corpus;
use crate::daemon::Daemon;
use crate::dice::mix;
use crate::options::Options;
use crate::report::{Report, mebibytes};

/// Things of each kind.
const THINGS: usize = 1_000_000;
/// Chats that the messages are spread over.
const CHATS: usize = 100_000;

/// A kind of thing: what the option calls it, what the table calls it, how to make and how to read it.
struct Scenario {
    part: &'static str,
    name: &'static str,
    make: fn(&Daemon, &Corpus),
    read: fn(usize) -> String,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        part: "keys",
        name: "1,000,000 keys",
        make: |daemon, _| {
            pump(
                daemon,
                THINGS,
                |number| json!({"cmd": "kv.set", "key": key(number), "value": {"n": number}}),
            )
        },
        read: |number| json!({"cmd": "kv.get", "key": key(number)}).to_string(),
    },
    Scenario {
        part: "chats",
        name: "1,000,000 messages in 100,000 chats",
        make: chats,
        read: |_| "{\"cmd\":\"ping\"}".to_owned(),
    },
    Scenario {
        part: "idempotency",
        name: "1,000,000 idempotency keys",
        make: |daemon, _| pump(daemon, THINGS, keyed),
        read: |number| keyed(number).to_string(),
    },
    Scenario {
        part: "jobs",
        name: "1,000,000 ready jobs in one queue",
        make: |daemon, _| {
            pump(
                daemon,
                THINGS,
                |number| json!({"cmd": "queue.put", "queue": "q", "body": {"file": key(number)}}),
            )
        },
        read: |_| json!({"cmd": "queue.reserve", "queue": "q", "max": 10, "lease_ms": 3_600_000}).to_string(),
    },
];

/// Reads of each kind once all is there.
const READS: usize = 20_000;

fn key(number: usize) -> String {
    format!("user:{:016x}", mix(number as u64))
}

fn keyed(number: usize) -> serde_json::Value {
    json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": "", "idempotency_key": key(number)})
}

fn pump(daemon: &Daemon, count: usize, line: impl Fn(usize) -> serde_json::Value + Send + Sync) {
    let (good, _) = daemon.connect().pump((0..count).map(|number| line(number).to_string()));
    assert_eq!(good, count as u64, "all are acknowledged");
}

fn chats(daemon: &Daemon, corpus: &Corpus) {
    let app = daemon.connect().ask(r#"{"cmd":"app.create","name":"bench"}"#)["token"].clone();
    pump(daemon, CHATS, |_| json!({"cmd": "chat.create", "app": app}));
    pump(daemon, THINGS, |number| {
        let chat = 1 + mix(number as u64) % CHATS as u64;
        json!({"cmd": "message.post", "app": app, "chat": chat, "body": corpus.message(number).body})
    });
}

/// Measures those that are chosen, and prints.
pub fn run(options: &Options, corpus: &Corpus, report: &mut Report) {
    for scenario in SCENARIOS.iter().filter(|scenario| options.wants(scenario.part)) {
        let daemon = Daemon::start(&options.folder, scenario.part);
        let watch = daemon.watch();
        (scenario.make)(&daemon, corpus);
        daemon.settle();
        let (peak, after) = (watch.peak(), daemon.anonymous());
        let watch = daemon.watch();
        let step = THINGS / READS;
        let (good, _) = daemon.connect().pump((0..READS).map(|number| (scenario.read)(number * step)));
        assert_eq!(good, READS as u64, "all reads are answered");
        report.say(&format!(
            "{}: anonymous {} at most while they came, {} after, {} at most while {READS} were read; \
             disk: index and table {}, log {}",
            scenario.name,
            mebibytes(peak),
            mebibytes(after),
            mebibytes(watch.peak()),
            mebibytes(daemon.bytes("index")),
            mebibytes(daemon.bytes("log")),
        ));
    }
}
