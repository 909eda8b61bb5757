//! Events as the log stores them.
//!
//! A record is one JSON object, `{"seq":1,"at":"...","type":"...","uid":0, ...}`, in just the bytes
//! that replies send. A message in a reply is cut out of its record without being parsed: see
//! [`message_parts`].

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{Address, Event, Fact, JobState, Message};
use crate::error::{Code, Error, Result};
use crate::json::fields::{Fields, write_number};
use crate::time::Timestamp;

impl Event {
    /// Appends the event's JSON. `at` is its time as text, made once for a whole batch.
    pub fn encode(&self, at: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"seq\":");
        write_number(out, self.seq);
        out.extend_from_slice(b",\"at\":\"");
        out.extend_from_slice(at);
        out.extend_from_slice(b"\",\"type\":\"");
        out.extend_from_slice(self.fact.type_name().as_bytes());
        out.extend_from_slice(b"\",\"uid\":");
        write_number(out, u64::from(self.uid));
        self.encode_fact(&mut Fields(out));
        out.push(b'}');
    }

    fn encode_fact(&self, fields: &mut Fields<'_>) {
        match &self.fact {
            Fact::KeySet { key, value, created } => {
                fields.text("key", key).flag("created", *created).raw("value", value.as_bytes());
            }
            Fact::KeyDeleted { key } => {
                fields.text("key", key);
            }
            Fact::EventLost => {}
            Fact::MessagePosted(message) => message.encode(fields),
            Fact::MessageEdited { message, posted_at, now } => {
                fields.0.extend_from_slice(b",\"message\":{\"seq\":");
                write_number(fields.0, *message);
                fields.time("at", *posted_at);
                now.encode(fields);
                fields.time("edited_at", self.at);
                fields.0.push(b'}');
            }
            Fact::MessageDeleted { message, address } => {
                fields.number("message", *message);
                address.encode(fields);
            }
            Fact::AppCreated { token, name } | Fact::AppUpdated { token, name } => {
                fields.text("token", token).text("name", name);
            }
            Fact::AppDeleted { token } => {
                fields.text("token", token);
            }
            Fact::ChatCreated { app, chat, name } => {
                fields.text("app", app).number("chat", *chat);
                if let Some(name) = name {
                    fields.text("name", name);
                }
            }
            Fact::ChatUpdated { app, chat, name } => {
                fields.text("app", app).number("chat", *chat).text("name", name);
            }
            Fact::ChatDeleted { app, chat } => {
                fields.text("app", app).number("chat", *chat);
            }
            Fact::FormulaCreated { formula, name, materials } => {
                fields.text("formula", formula).text("name", name).raw("materials", materials.as_bytes());
            }
            Fact::RequestAnswered { key, content, reply } => {
                fields.text("key", key).text("content", content).raw("reply", reply.as_bytes());
            }
            _ => self.encode_queue_fact(fields),
        }
    }

    fn encode_queue_fact(&self, fields: &mut Fields<'_>) {
        match &self.fact {
            Fact::JobPut { queue, priority, delay_ms, body } => {
                fields.text("queue", queue).number("priority", u64::from(*priority));
                self.encode_delay(fields, *delay_ms);
                fields.raw("body", body.as_bytes());
            }
            Fact::JobLeased { queue, job, lease, attempt, lease_ms } => {
                fields.text("queue", queue).number("job", *job).text("lease", lease);
                fields.number("attempt", *attempt).number("lease_ms", *lease_ms);
                fields.time("expires_at", self.at.plus_ms(*lease_ms));
            }
            Fact::JobExtended { queue, job, lease_ms } => {
                fields.text("queue", queue).number("job", *job).number("lease_ms", *lease_ms);
                fields.time("expires_at", self.at.plus_ms(*lease_ms));
            }
            Fact::JobNacked { queue, job, delay_ms, dead } => {
                fields.text("queue", queue).number("job", *job);
                self.encode_delay(fields, *delay_ms);
                fields.flag("dead", *dead);
            }
            Fact::JobExpired { queue, job, dead } => {
                fields.text("queue", queue).number("job", *job).flag("dead", *dead);
            }
            Fact::JobAcked { queue, job }
            | Fact::JobReadied { queue, job }
            | Fact::JobDeleted { queue, job } => {
                fields.text("queue", queue).number("job", *job);
            }
            Fact::JobRevived { queue, job, revived } => {
                fields.text("queue", queue);
                if let Some(job) = job {
                    fields.number("job", *job);
                }
                fields.number("revived", *revived);
            }
            Fact::QueueConfigured { queue, lease_ms, max_attempts, max_jobs } => {
                fields.text("queue", queue).number("lease_ms", *lease_ms);
                fields.number_or_null("max_attempts", *max_attempts).number_or_null("max_jobs", *max_jobs);
            }
            Fact::QueuePurged { queue, state, deleted } => {
                fields.text("queue", queue);
                if let Some(state) = state {
                    fields.text("state", state.as_str());
                }
                fields.number("deleted", *deleted);
            }
            Fact::QueueDropped { queue } => {
                fields.text("queue", queue);
            }
            _ => {}
        }
    }

    fn encode_delay(&self, fields: &mut Fields<'_>, delay_ms: u64) {
        if delay_ms > 0 {
            fields.number("delay_ms", delay_ms).time("ready_at", self.at.plus_ms(delay_ms));
        }
    }

    /// Reads an event's JSON.
    ///
    /// # Errors
    /// `internal`, with what is wrong: the bytes passed their checksum, so another version wrote them.
    pub fn decode(json: &[u8]) -> Result<Event> {
        let stored: Stored<'_> = serde_json::from_slice(json).map_err(unreadable)?;
        let missing = || unreadable(format!("a field of {} is missing", stored.kind));
        let fact = stored.fact().ok_or_else(missing)?;
        Ok(Event {
            seq: stored.seq,
            at: Timestamp::parse(&stored.at).ok_or_else(missing)?,
            uid: stored.uid,
            fact,
        })
    }
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("a stored event cannot be read: {error}"))
}

impl Address {
    fn encode(&self, fields: &mut Fields<'_>) {
        match self {
            Address::Recipient(recipient) => fields.text("recipient", recipient),
            Address::Chat { app, chat, number } => {
                fields.text("app", app).number("chat", *chat).number("number", *number)
            }
        };
    }
}

impl Message {
    fn encode(&self, fields: &mut Fields<'_>) {
        if let Some(originator) = &self.originator {
            fields.text("originator", originator);
        }
        self.address.encode(fields);
        fields.text("body", &self.body);
    }
}

/// The name of a stored event's type.
#[must_use]
pub fn type_name(event: &[u8]) -> Option<&str> {
    let name = from_type(event)?.1.strip_prefix(b",\"type\":\"")?;
    std::str::from_utf8(name.get(..memchr::memchr(b'"', name)?)?).ok()
}

/// A stored event up to its type, and from there on.
fn from_type(event: &[u8]) -> Option<(&[u8], &[u8])> {
    // Before the type stand only the seq and the time, which is a string.
    let open = memchr::memchr(b':', event.get(8..)?)? + 8 + 2;
    event.split_at_checked(open + memchr::memchr(b'"', event.get(open..)?)? + 1)
}

/// The pieces of a stored event that make the message in a reply: to be put between braces. `None`
/// when the event is neither a post nor an edit.
#[must_use]
pub fn message_parts(event: &[u8]) -> Option<(&[u8], &[u8])> {
    const KIND: &[u8] = b",\"type\":\"message.";
    let (before, rest) = from_type(event)?;
    let rest = rest.strip_prefix(KIND)?;
    let fields = after_uid(rest)?;
    if rest.starts_with(b"posted\"") {
        Some((before.get(1..)?, fields.get(..fields.len().checked_sub(1)?)?))
    } else if rest.starts_with(b"edited\"") {
        let message = fields.strip_prefix(b",\"message\":{")?;
        Some((message.get(..message.len().checked_sub(2)?)?, b""))
    } else {
        None
    }
}

/// What stands behind the uid, its comma included.
fn after_uid(rest: &[u8]) -> Option<&[u8]> {
    const UID: &[u8] = b"\",\"uid\":";
    // All types of messages' events have names of one length.
    let behind = rest.get(b"posted".len()..)?.strip_prefix(UID)?;
    let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
    behind.get(digits..)
}

/// When a message was posted, from the event that holds its current form.
#[must_use]
pub fn message_time(event: &[u8]) -> Option<Timestamp> {
    let quoted = raw_time(message_parts(event)?.0)?;
    Timestamp::parse(std::str::from_utf8(quoted.get(1..quoted.len() - 1)?).ok()?)
}

/// The raw time of an event, quotes included.
#[must_use]
pub fn raw_time(event: &[u8]) -> Option<&[u8]> {
    // Before it stands only the seq.
    let time = event.get(memchr::memchr(b',', event)?..)?.strip_prefix(b",\"at\":")?;
    time.get(..memchr::memchr(b'"', time.get(1..)?)? + 2)
}

/// A message's body as JSON, and what follows it.
fn body_value(event: &[u8]) -> Option<&[u8]> {
    let (first, second) = message_parts(event)?;
    let fields = if second.is_empty() { first } else { second };
    behind_body_key(fields)
}

/// What follows the key of a message's or a job's body.
pub(super) fn behind_body_key(fields: &[u8]) -> Option<&[u8]> {
    // Names come before it and have their quotes escaped, so this is the key.
    static BODY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b",\"body\":"));
    fields.get(BODY.find(fields)? + BODY.needle().len()..)
}

/// The same event with an empty text: of a message all but its text can be known without reading that, which may
/// be long. `None` when the event is neither a post nor an edit.
#[must_use]
pub fn without_text(event: &[u8]) -> Option<Vec<u8>> {
    let (value, edited) = (body_value(event)?, message_parts(event)?.1.is_empty());
    let braces: &[u8] = if edited { b"}}" } else { b"}" };
    let before = event.get(..event.len().checked_sub(braces.len() + value.len())?)?;
    Some([before, b"\"\"", braces].concat())
}

/// The text of a message's body, from the event that holds its current form.
#[must_use]
pub fn message_body(event: &[u8]) -> Option<Cow<'_, str>> {
    let value = body_value(event)?;
    let text = value.strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', text)?;
    if text[end] == b'"' {
        // Nothing is escaped before the closing quote: the text is the bytes between.
        return std::str::from_utf8(&text[..end]).ok().map(Cow::Borrowed);
    }
    let value = std::str::from_utf8(value).ok()?;
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<Borrowed<'_>>();
    Some(values.next()?.ok()?.0)
}

/// Writes the text of a message's body, its ASCII lower-cased, to `out`. `Some(false)` when it has escapes that
/// are rare; then `out` means nothing.
#[must_use]
pub fn lower_body(event: &[u8], out: &mut Vec<u8>) -> Option<bool> {
    out.clear();
    let mut rest = body_value(event)?.strip_prefix(b"\"")?;
    loop {
        let (piece, behind) = rest.split_at(memchr::memchr2(b'"', b'\\', rest)?);
        out.extend_from_slice(piece);
        if behind.first() == Some(&b'"') {
            break;
        }
        out.push(match behind.get(1)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => return Some(false),
            other => *other,
        });
        rest = behind.get(2..)?;
    }
    out.make_ascii_lowercase();
    Some(true)
}

#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of all types of events, as stored.
#[derive(Deserialize)]
struct Stored<'a> {
    seq: u64,
    at: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: Cow<'a, str>,
    uid: u32,
    key: Option<String>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    created: Option<bool>,
    originator: Option<String>,
    recipient: Option<String>,
    app: Option<String>,
    chat: Option<u64>,
    number: Option<u64>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    token: Option<String>,
    name: Option<String>,
    formula: Option<String>,
    #[serde(borrow)]
    materials: Option<&'a RawValue>,
    queue: Option<String>,
    priority: Option<u8>,
    delay_ms: Option<u64>,
    job: Option<u64>,
    lease: Option<String>,
    attempt: Option<u64>,
    lease_ms: Option<u64>,
    dead: Option<bool>,
    revived: Option<u64>,
    max_attempts: Option<u64>,
    max_jobs: Option<u64>,
    state: Option<Cow<'a, str>>,
    deleted: Option<u64>,
    content: Option<String>,
    #[serde(borrow)]
    reply: Option<&'a RawValue>,
}

/// A value that is there, also when it is null.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A whole message inside an edit.
#[derive(Deserialize)]
struct StoredMessage<'a> {
    seq: u64,
    at: Cow<'a, str>,
    originator: Option<String>,
    recipient: Option<String>,
    app: Option<String>,
    chat: Option<u64>,
    number: Option<u64>,
    body: String,
}

fn address(
    recipient: Option<&String>,
    app: Option<&String>,
    chat: Option<u64>,
    number: Option<u64>,
) -> Option<Address> {
    match recipient {
        Some(recipient) => Some(Address::Recipient(recipient.clone())),
        None => Some(Address::Chat { app: app?.clone(), chat: chat?, number: number? }),
    }
}

impl Stored<'_> {
    fn fact(&self) -> Option<Fact> {
        let raw = |value: Option<&RawValue>| value.map(|value| value.get().to_owned());
        Some(match self.kind.as_ref() {
            "kv.set" => {
                Fact::KeySet { key: self.key.clone()?, value: raw(self.value)?, created: self.created? }
            }
            "kv.deleted" => Fact::KeyDeleted { key: self.key.clone()? },
            "message.posted" => Fact::MessagePosted(Message {
                address: self.address()?,
                originator: self.originator.clone(),
                body: serde_json::from_str(self.body?.get()).ok()?,
            }),
            "message.edited" => {
                let stored: StoredMessage<'_> = serde_json::from_str(self.message?.get()).ok()?;
                let address =
                    address(stored.recipient.as_ref(), stored.app.as_ref(), stored.chat, stored.number)?;
                Fact::MessageEdited {
                    message: stored.seq,
                    posted_at: Timestamp::parse(&stored.at)?,
                    now: Message { address, originator: stored.originator, body: stored.body },
                }
            }
            "message.deleted" => {
                Fact::MessageDeleted { message: self.message?.get().parse().ok()?, address: self.address()? }
            }
            "app.created" => Fact::AppCreated { token: self.token.clone()?, name: self.name.clone()? },
            "app.updated" => Fact::AppUpdated { token: self.token.clone()?, name: self.name.clone()? },
            "app.deleted" => Fact::AppDeleted { token: self.token.clone()? },
            "chat.created" => {
                Fact::ChatCreated { app: self.app.clone()?, chat: self.chat?, name: self.name.clone() }
            }
            "chat.updated" => {
                Fact::ChatUpdated { app: self.app.clone()?, chat: self.chat?, name: self.name.clone()? }
            }
            "chat.deleted" => Fact::ChatDeleted { app: self.app.clone()?, chat: self.chat? },
            "formula.created" => Fact::FormulaCreated {
                formula: self.formula.clone()?,
                name: self.name.clone()?,
                materials: raw(self.materials)?,
            },
            "event.lost" => Fact::EventLost,
            "request.answered" => Fact::RequestAnswered {
                key: self.key.clone()?,
                content: self.content.clone()?,
                reply: raw(self.reply)?,
            },
            _ => return self.queue_fact(),
        })
    }

    fn queue_fact(&self) -> Option<Fact> {
        let queue = self.queue.clone()?;
        let delay_ms = self.delay_ms.unwrap_or(0);
        Some(match self.kind.as_ref() {
            "job.put" => {
                Fact::JobPut { queue, priority: self.priority?, delay_ms, body: self.body?.get().to_owned() }
            }
            "job.leased" => Fact::JobLeased {
                queue,
                job: self.job?,
                lease: self.lease.clone()?,
                attempt: self.attempt?,
                lease_ms: self.lease_ms?,
            },
            "job.extended" => Fact::JobExtended { queue, job: self.job?, lease_ms: self.lease_ms? },
            "job.acked" => Fact::JobAcked { queue, job: self.job? },
            "job.nacked" => Fact::JobNacked { queue, job: self.job?, delay_ms, dead: self.dead? },
            "job.expired" => Fact::JobExpired { queue, job: self.job?, dead: self.dead? },
            "job.readied" => Fact::JobReadied { queue, job: self.job? },
            "job.deleted" => Fact::JobDeleted { queue, job: self.job? },
            "job.revived" => Fact::JobRevived { queue, job: self.job, revived: self.revived? },
            "queue.configured" => Fact::QueueConfigured {
                queue,
                lease_ms: self.lease_ms?,
                max_attempts: self.max_attempts,
                max_jobs: self.max_jobs,
            },
            "queue.purged" => {
                let state = match self.state.as_deref() {
                    Some(name) => Some(JobState::parse(name)?),
                    None => None,
                };
                Fact::QueuePurged { queue, state, deleted: self.deleted? }
            }
            "queue.dropped" => Fact::QueueDropped { queue },
            _ => return None,
        })
    }

    fn address(&self) -> Option<Address> {
        address(self.recipient.as_ref(), self.app.as_ref(), self.chat, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::TYPES;
    use crate::domain::testing::story;
    use std::collections::BTreeSet;

    #[test]
    fn the_type_is_read_without_the_rest() {
        for event in crate::domain::testing::events() {
            let mut record = Vec::new();
            event.encode(b"2026-01-01T00:00:00.000000Z", &mut record);
            assert_eq!(type_name(&record), Some(event.fact.type_name()));
        }
        assert_eq!(type_name(b"{\"seq\":1}"), None);
    }

    fn reads_back(fact: Fact) {
        let at = Timestamp(1_700_000_000_000_000);
        let event = Event { seq: 7, at, uid: 1000, fact };
        let mut json = Vec::new();
        event.encode(at.to_string().as_bytes(), &mut json);
        assert_eq!(Event::decode(&json), Ok(event));
    }

    #[test]
    fn every_type_of_event_reads_back_as_it_was_written() {
        let (queue, job) = (|| "q".to_owned(), 3);
        let others = [
            Fact::AppDeleted { token: "t".into() },
            Fact::JobDeleted { queue: queue(), job },
            Fact::JobRevived { queue: queue(), job: None, revived: 2 },
            Fact::JobRevived { queue: queue(), job: Some(job), revived: 1 },
            Fact::JobNacked { queue: queue(), job, delay_ms: 5, dead: false },
            Fact::JobExpired { queue: queue(), job, dead: true },
            Fact::QueuePurged { queue: queue(), state: Some(JobState::Dead), deleted: 4 },
            Fact::QueueConfigured { queue: queue(), lease_ms: 9, max_attempts: None, max_jobs: Some(8) },
            Fact::EventLost,
        ];
        let mut types = BTreeSet::new();
        for fact in story().into_iter().chain(others) {
            types.insert(fact.type_name());
            reads_back(fact);
        }
        assert_eq!(types, TYPES.iter().copied().collect());
    }

    #[test]
    fn a_value_and_a_body_may_be_null() {
        for value in ["null", "0", "{\"a\":[null]}", "1.50"] {
            let value = value.to_owned();
            reads_back(Fact::KeySet { key: "k".into(), value: value.clone(), created: true });
            reads_back(Fact::JobPut { queue: "q".into(), priority: 3, delay_ms: 9, body: value });
        }
    }

    proptest::proptest! {
        #[test]
        fn the_ascii_of_a_body_is_lowered_as_it_is_read(
            body in "([ -~\\n\\t\\\\\"/]|[\u{0}-\u{1f}\u{e9}\u{130}]){0,30}",
        ) {
            let address = Address::Recipient("r".into());
            let at = Timestamp(1_700_000_000_000_000);
            let fact = Fact::MessagePosted(Message { address, originator: None, body });
            let mut json = Vec::new();
            Event { seq: 7, at, uid: 0, fact }.encode(at.to_string().as_bytes(), &mut json);
            let body = message_body(&json).expect("a body");
            let mut lowered = Vec::new();
            if lower_body(&json, &mut lowered) == Some(true) {
                proptest::prop_assert_eq!(lowered, body.to_ascii_lowercase().into_bytes());
            }
        }
    }

    #[test]
    fn all_but_the_text_of_a_message_is_known_without_reading_it() {
        let names = ["r", "\"body\":\"", ",\"body\":\"x\""];
        for (name, edited) in names.into_iter().flat_map(|name| [(name, false), (name, true)]) {
            let message = |body: &str| Message {
                address: Address::Recipient(name.to_owned()),
                originator: Some(name.to_owned()),
                body: body.to_owned(),
            };
            let event = |body| {
                let (now, posted_at) = (message(body), Timestamp(5));
                let edit = Fact::MessageEdited { message: 3, posted_at, now: now.clone() };
                let fact = if edited { edit } else { Fact::MessagePosted(now) };
                Event { seq: 7, at: Timestamp(9), uid: 1, fact }
            };
            let mut record = Vec::new();
            let text = "a \"quoted\" text, \\ and }";
            event(text).encode(Timestamp(9).to_string().as_bytes(), &mut record);
            let short = without_text(&record).expect("a message");
            assert_eq!(Event::decode(&short).expect("readable"), event(""));
        }
        assert_eq!(without_text(b"{\"seq\":1,\"at\":\"\",\"type\":\"kv.set\",\"uid\":0}"), None);
    }

    #[test]
    fn a_message_is_cut_out_of_its_record_whatever_its_names_hold() {
        let trap = ",\"body\":\"x\",\"type\":\"message.posted\"";
        let address = Address::Recipient(trap.into());
        let now = Message { address, originator: Some(trap.into()), body: "the \"body\"\n".into() };
        let at = Timestamp(1_700_000_000_000_000);
        for fact in [
            Fact::MessagePosted(now.clone()),
            Fact::MessageEdited { message: 3, posted_at: at, now: now.clone() },
        ] {
            reads_back(fact.clone());
            let mut json = Vec::new();
            Event { seq: 7, at, uid: 0, fact }.encode(at.to_string().as_bytes(), &mut json);
            assert_eq!(message_body(&json).as_deref(), Some("the \"body\"\n"));
            let mut lowered = Vec::new();
            assert_eq!(lower_body(&json, &mut lowered), Some(true));
            assert_eq!(lowered, b"the \"body\"\n");
            assert_eq!(message_time(&json), Some(at));
        }
    }
}
