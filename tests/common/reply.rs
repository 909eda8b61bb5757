//! A reply, with the request it answers, and what tests say of it.

use std::fmt;
use std::ops::Deref;

use serde_json::Value;

/// One line from the daemon, parsed; it remembers the request, to be shown when a test fails.
pub struct Reply {
    /// The request as it was sent.
    pub request: String,
    /// The line as it came, without its line feed.
    pub text: String,
    json: Value,
}

impl Reply {
    /// Parses a line; anything but one JSON object fails the test.
    pub fn parse(request: String, text: String) -> Reply {
        let json: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("not JSON: {error}\n  request: {request}\n  reply: {text}"));
        assert!(json.is_object(), "not an object\n  request: {request}\n  reply: {text}");
        Reply { request, text, json }
    }

    /// The `seq` of a reply.
    pub fn seq(&self) -> u64 {
        self.number("seq")
    }

    /// The number under `key`.
    pub fn number(&self, key: &str) -> u64 {
        self.json[key].as_u64().unwrap_or_else(|| panic!("no number \"{key}\"\n{self}"))
    }

    /// The string under `key`.
    pub fn string(&self, key: &str) -> String {
        self.json[key].as_str().unwrap_or_else(|| panic!("no string \"{key}\"\n{self}")).to_owned()
    }

    /// The list under `key`.
    pub fn list(&self, key: &str) -> Vec<Value> {
        self.json[key].as_array().unwrap_or_else(|| panic!("no list \"{key}\"\n{self}")).clone()
    }

    /// What `key` is in every item of the list under `name`.
    pub fn column(&self, name: &str, key: &str) -> Vec<Value> {
        self.list(name).iter().map(|item| item[key].clone()).collect()
    }

    /// Whether there is such a key at the top.
    pub fn has(&self, key: &str) -> bool {
        self.json.get(key).is_some()
    }

    /// The whole reply.
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// The whole reply without these keys.
    pub fn without(&self, keys: &[&str]) -> Value {
        let mut json = self.json.clone();
        if let Some(object) = json.as_object_mut() {
            object.retain(|key, _| !keys.contains(&key.as_str()));
        }
        json
    }
}

impl Deref for Reply {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.json
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  request: {}\n  reply: {}", short(&self.request), short(&self.text))
    }
}

/// A long text, cut for a failure message.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(2000) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// The request succeeded.
#[track_caller]
pub fn assert_ok(reply: &Reply) {
    assert_eq!(reply["ok"], true, "not ok\n{reply}");
    assert!(reply.text.starts_with("{\"ok\":"), "`ok` is not the first key\n{reply}");
}

/// The request failed with this code, and with a sentence for people.
#[track_caller]
pub fn assert_error(reply: &Reply, code: &str) {
    assert_eq!(reply["ok"], false, "expected {code}\n{reply}");
    assert_eq!(reply["error"], code, "expected {code}\n{reply}");
    assert!(reply["message"].as_str().is_some_and(|text| !text.is_empty()), "no message\n{reply}");
    assert!(reply.text.starts_with("{\"ok\":"), "`ok` is not the first key\n{reply}");
}

/// The request failed with `bad_request` over this argument.
#[track_caller]
pub fn assert_field(reply: &Reply, field: &str) {
    assert_error(reply, "bad_request");
    assert_eq!(reply["field"], field, "expected field {field}\n{reply}");
}
