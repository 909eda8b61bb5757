//! Events as the log stores them.
//!
//! A record is one JSON object, `{"seq":1,"at":"...","type":"...","uid":0, ...}`, in just the bytes
//! that replies send: `parts` cuts them out.

use std::borrow::Cow;

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
}
