//! A naive model of the whole domain, written for reading: maps and lists, and no index.
//!
//! It is given every request with the reply that it got, and says what the reply should have been.
//! Of the reply it takes only what nobody can foresee: tokens, and the ids of formulas.
#![allow(dead_code)]

pub mod chats;
pub mod compaction;
pub mod exact;
pub mod formulas;
pub mod kv;
pub mod messages;
pub mod pages;
pub mod promises;
pub mod queues;
pub mod requests;
pub mod search;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};

use msglogd::domain::table::Counts;
use msglogd::time::Timestamp;
use serde_json::{Value, json};

use exact::{must, number, text};

/// A refusal: its code, the argument at fault, and the member of the batch at fault.
#[derive(Debug, Clone)]
pub struct Refused {
    code: &'static str,
    field: Option<&'static str>,
    index: Option<usize>,
}

/// The fields of a reply, or the refusal.
pub type Answer = Result<Value, Refused>;

/// Refuses.
pub fn refuse<T>(code: &'static str) -> Result<T, Refused> {
    Err(Refused { code, field: None, index: None })
}

/// Refuses because of one argument.
pub fn refuse_field<T>(code: &'static str, field: &'static str) -> Result<T, Refused> {
    Err(Refused { code, field: Some(field), index: None })
}

/// Everything there is.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// What happened, all of it.
    pub log: Vec<Value>,
    /// The seqs of events that were compacted away.
    gone: BTreeSet<u64>,
    /// The time.
    pub now: Timestamp,
    /// Keys with their values.
    pub keys: BTreeMap<String, kv::Entry>,
    /// Live messages by the seq of their post.
    pub messages: BTreeMap<u64, messages::Message>,
    /// Applications by token.
    pub apps: BTreeMap<String, chats::App>,
    /// Formulas in the order of creation.
    pub formulas: Vec<formulas::Formula>,
    /// Queues by name.
    pub queues: BTreeMap<String, queues::Queue>,
    /// Jobs that are not done, by the seq of their put.
    pub jobs: BTreeMap<u64, queues::Job>,
    /// Content and reply of requests that had a key, by user and key.
    answered: BTreeMap<(u32, String), (Value, Value)>,
    /// Every lease that was ever given: the job and the token.
    pub leases: Vec<(u64, String)>,
    /// Every token that was ever given.
    tokens: BTreeSet<String>,
    uid: u32,
}

impl Model {
    /// Nothing yet, at a time.
    pub fn new(now: Timestamp) -> Self {
        Model { now, ..Model::default() }
    }

    /// The seq of the last event.
    pub fn last(&self) -> u64 {
        self.log.len() as u64
    }

    /// The time as replies tell it.
    pub fn at(&self) -> String {
        self.now.to_string()
    }

    /// Notes an event; answers its seq.
    fn emit(&mut self, kind: &str, fields: Value) -> u64 {
        let seq = self.last() + 1;
        let common = json!({"seq": seq, "at": self.at(), "type": kind, "uid": self.uid});
        self.log.push(merged(common, fields));
        seq
    }

    /// A token that the daemon gave: so long, letters and digits, and never given before. A reply that
    /// has none, because the rest of a batch failed, cannot come out as one that should have one.
    fn take_token(&mut self, given: &Value, characters: usize) -> String {
        let Some(token) = given.as_str().map(str::to_owned) else { return "none was given".to_owned() };
        assert_eq!(token.len(), characters, "{token}");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{token}");
        assert!(self.tokens.insert(token.clone()), "{token} was given twice");
        token
    }

    /// What a write is answered. `given` is the reply that it got.
    pub fn write(&mut self, uid: u32, request: &Value, given: &Value) -> Value {
        let mut after = self.clone();
        after.uid = uid;
        let dry_run = request["dry_run"] == json!(true);
        match after.with_key(request, given) {
            Err(refused) => failure(&refused),
            Ok(fields) if dry_run => {
                let events = &after.log[self.log.len()..];
                success(merged(fields, json!({"dry_run": true, "events": events})))
            }
            Ok(fields) => {
                *self = after;
                success(fields)
            }
        }
    }

    fn with_key(&mut self, request: &Value, given: &Value) -> Answer {
        let Some(key) = text(request, "idempotency_key") else { return self.one_or_many(request, given) };
        let content = without(request, &["id", "durable", "dry_run", "idempotency_key"]);
        let place = (self.uid, key.clone());
        match self.answered.get(&place) {
            Some((first, reply)) if *first == content => Ok(merged(reply.clone(), json!({"replayed": true}))),
            Some(_) => refuse_field("conflict", "idempotency_key"),
            None => {
                let reply = self.one_or_many(request, given)?;
                self.emit("request.answered", json!({"key": key, "reply": reply}));
                self.answered.insert(place, (content, reply.clone()));
                Ok(reply)
            }
        }
    }

    fn one_or_many(&mut self, request: &Value, given: &Value) -> Answer {
        let Some(commands) = request["commands"].as_array() else { return self.one(request, given) };
        let mut results = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let reply = self.one(command, &given["results"][index]);
            let fields = reply.map_err(|refused| Refused { index: Some(index), ..refused })?;
            results.push(success(fields));
        }
        Ok(json!({"results": results}))
    }

    fn one(&mut self, request: &Value, given: &Value) -> Answer {
        let name = must(request, "cmd");
        match name.split_once('.').unwrap_or_default().0 {
            "kv" => self.write_kv(&name, request),
            "message" => self.write_message(&name, request),
            "app" | "chat" => self.write_chats(&name, request, given),
            "formula" => self.submit_formula(request, given),
            _ => self.write_queue(&name, request, given),
        }
    }

    /// What a read is answered.
    pub fn read(&self, request: &Value) -> Value {
        let name = must(request, "cmd");
        let answer = match name.split_once('.').unwrap_or_default().0 {
            "kv" => self.read_kv(&name, request),
            "message" => self.read_messages(&name, request),
            "app" | "chat" => self.read_chats(&name, request),
            "formula" => self.read_formulas(&name, request),
            "queue" => self.read_queues(&name, request),
            _ => Ok(self.read_log(request)),
        };
        match answer {
            Ok(fields) => success(fields),
            Err(refused) => failure(&refused),
        }
    }

    fn read_log(&self, request: &Value) -> Value {
        let types = request["types"].as_array();
        let from = number(request, "from").unwrap_or(1);
        let wanted: Vec<&Value> = self
            .log
            .iter()
            .filter(|event| event["seq"].as_u64() >= Some(from))
            .filter(|event| event["seq"].as_u64().is_none_or(|seq| !self.gone.contains(&seq)))
            .filter(|event| types.is_none_or(|types| types.contains(&event["type"])))
            .collect();
        let limit = pages::limit(request);
        let mut reply = json!({"events": wanted[..limit.min(wanted.len())]});
        if let Some(next) = wanted.get(limit) {
            reply["next"] = next["seq"].clone();
        }
        reply
    }
}

impl Model {
    /// How many there are of what.
    pub fn counts(&self) -> Counts {
        let in_state = |state: &str| self.jobs.values().filter(|job| job.state == state).count() as u64;
        Counts {
            keys: self.keys.len() as u64,
            messages: self.messages.len() as u64,
            apps: self.apps.len() as u64,
            chats: self.apps.values().map(|app| app.chats.len() as u64).sum(),
            formulas: self.formulas.len() as u64,
            queues: self.queues.len() as u64,
            jobs: queues::STATES.map(in_state),
            answered: self.answered.len() as u64,
            lost: 0,
        }
    }
}

/// The fields of both.
pub fn merged(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

fn without(request: &Value, names: &[&str]) -> Value {
    let mut rest = request.clone();
    if let Value::Object(fields) = &mut rest {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    rest
}

fn success(fields: Value) -> Value {
    merged(json!({"ok": true}), fields)
}

fn failure(refused: &Refused) -> Value {
    let mut reply = json!({"ok": false, "error": refused.code});
    if let Some(field) = refused.field {
        reply["field"] = json!(field);
    }
    if let Some(index) = refused.index {
        reply["index"] = json!(index);
    }
    reply
}
