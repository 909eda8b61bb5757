//! For unit tests: events that follow from each other.

use super::draft::{Circumstances, Draft, Outcome};
use super::event::{Address, Event, Fact, Message};
use super::table::Nothing;
use crate::limits::REPLY_BYTES;
use crate::time::Timestamp;

/// The token of its application.
pub const APP: &str = "abcdefghijklmnopqrstuvwx";

fn in_chat(chat: u64, number: u64) -> Address {
    Address::Chat { app: APP.into(), chat, number }
}

fn to_recipient() -> Address {
    Address::Recipient("r".into())
}

fn posted(address: Address) -> Fact {
    Fact::MessagePosted(Message { address, originator: Some("o".into()), body: "hello".into() })
}

fn edited(message: u64, address: Address) -> Fact {
    let now = Message { address, originator: Some("o".into()), body: "again".into() };
    Fact::MessageEdited { message, posted_at: Timestamp(0), now }
}

fn set(key: &str, created: bool) -> Fact {
    Fact::KeySet { key: key.into(), value: "1".into(), created }
}

fn put(queue: &str, delay_ms: u64) -> Fact {
    Fact::JobPut { queue: queue.into(), priority: 5, delay_ms, body: "1".into() }
}

fn leased(job: u64, lease: &str) -> Fact {
    Fact::JobLeased { queue: "q".into(), job, lease: lease.into(), attempt: 1, lease_ms: 1000 }
}

/// What happened: something of every noun, and of everything that takes something away.
pub fn story() -> Vec<Fact> {
    let (app, queue) = (|| APP.to_owned(), || "q".to_owned());
    vec![
        Fact::AppCreated { token: app(), name: "one".into() },
        Fact::ChatCreated { app: app(), chat: 1, name: None },
        Fact::ChatCreated { app: app(), chat: 2, name: Some("two".into()) },
        posted(in_chat(1, 1)),
        posted(in_chat(1, 2)),
        posted(in_chat(2, 1)),
        edited(4, in_chat(1, 1)),
        Fact::MessageDeleted { message: 5, address: in_chat(1, 2) },
        Fact::ChatDeleted { app: app(), chat: 2 },
        posted(to_recipient()),
        edited(10, to_recipient()),
        posted(to_recipient()),
        Fact::MessageDeleted { message: 12, address: to_recipient() },
        set("k", true),
        Fact::KeyDeleted { key: "k".into() },
        set("k", true),
        set("l", true),
        set("l", false),
        put("q", 0),
        put("q", 0),
        put("q", 1000),
        put("q", 0),
        leased(19, "first"),
        Fact::JobAcked { queue: queue(), job: 19 },
        leased(20, "second"),
        Fact::JobNacked { queue: queue(), job: 20, delay_ms: 0, dead: true },
        leased(22, "third"),
        Fact::JobReadied { queue: queue(), job: 21 },
        Fact::JobExtended { queue: queue(), job: 22, lease_ms: 9 },
        Fact::JobExpired { queue: queue(), job: 22, dead: false },
        put("q", 0),
        leased(22, "fourth"),
        put("p", 0),
        Fact::QueuePurged { queue: "p".into(), state: None, deleted: 1 },
        Fact::QueueDropped { queue: "p".into() },
        Fact::QueueConfigured { queue: queue(), lease_ms: 7, max_attempts: Some(3), max_jobs: None },
        Fact::FormulaCreated { formula: "f".into(), name: "f".into(), materials: "[]".into() },
        Fact::RequestAnswered { key: "i".into(), content: "c".into(), reply: "{\"seq\":1}".into() },
        Fact::AppUpdated { token: app(), name: "renamed".into() },
        Fact::ChatUpdated { app: app(), chat: 1, name: "renamed".into() },
        posted(in_chat(1, 3)),
    ]
}

/// The same as events.
pub fn events() -> impl Iterator<Item = Event> {
    (1..).zip(story()).map(|(seq, fact)| Event { seq, at: Timestamp(seq), uid: 0, fact })
}

/// A table before the first event.
pub fn empty(random: &mut dyn FnMut(&mut [u8])) -> Draft<'_> {
    let circumstances = Circumstances {
        at: Timestamp(0),
        at_text: b"2026-01-31T12:00:00.000000Z",
        uid: 0,
        random,
        reply_bytes: REPLY_BYTES,
    };
    Draft::new(&Nothing, 1, circumstances, Outcome::default())
}

/// The table of a story, for a closure to look at.
pub fn folded<T>(story: impl IntoIterator<Item = Fact>, look: impl FnOnce(Draft<'_>) -> T) -> T {
    let random = &mut |_: &mut [u8]| {};
    let mut table = empty(random);
    for fact in story {
        table.emit(fact).expect("memory");
    }
    table.store_objects();
    look(table)
}
