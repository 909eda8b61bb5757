//! Key-value.

use serde_json::{Value, json};

use super::exact::{must, number, text};
use super::pages::page;
use super::{Answer, Model, refuse, refuse_field};

/// A key's value, and when it was set.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The seq of the event that set it.
    pub seq: u64,
    at: String,
    value: Value,
}

impl Model {
    pub(super) fn write_kv(&mut self, name: &str, request: &Value) -> Answer {
        let key = must(request, "key");
        let there = self.keys.get(&key).map(|entry| entry.seq);
        if name == "kv.delete" && there.is_none() {
            return refuse("not_found");
        }
        if number(request, "if_seq").is_some_and(|wanted| wanted != there.unwrap_or(0)) {
            return refuse_field("conflict", "if_seq");
        }
        if name == "kv.delete" {
            self.keys.remove(&key);
            return Ok(json!({"seq": self.emit("kv.deleted", json!({"key": key}))}));
        }
        let (created, value) = (there.is_none(), request["value"].clone());
        let seq = self.emit("kv.set", json!({"key": key, "created": created, "value": value}));
        self.keys.insert(key, Entry { seq, at: self.at(), value });
        Ok(json!({"seq": seq, "created": created}))
    }

    pub(super) fn read_kv(&self, name: &str, request: &Value) -> Answer {
        if name == "kv.get" {
            let key = must(request, "key");
            let Some(entry) = self.keys.get(&key) else { return refuse("not_found") };
            return Ok(json!({"key": key, "value": entry.value, "seq": entry.seq, "at": entry.at}));
        }
        let prefix = text(request, "prefix").unwrap_or_default();
        let after = text(request, "after");
        let keys = self
            .keys
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
            .map(|(key, entry)| (json!(key), json!({"key": key, "seq": entry.seq})))
            .collect();
        Ok(page("keys", request, keys))
    }
}
