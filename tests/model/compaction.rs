//! Compaction: which of all events that ever were still say something that is so, found by looking
//! at the whole history each time.

use msglogd::domain::queues::lease_hash;
use serde_json::Value;

use super::Model;
use super::exact::{must, must_number, number};

impl Model {
    /// Takes what is dead out of the log.
    pub fn compact(&mut self) {
        let dead = self.log.iter().filter(|event| !self.is_live(event));
        let dead: Vec<u64> = dead.map(|event| must_number(event, "seq")).collect();
        self.gone.extend(dead);
    }

    fn is_live(&self, event: &Value) -> bool {
        let seq = must_number(event, "seq");
        match must(event, "type").as_str() {
            "kv.set" => self.keys.get(&must(event, "key")).is_some_and(|entry| entry.seq == seq),
            "message.posted" => self.messages.get(&seq).is_some_and(|message| message.edited_at.is_none()),
            "message.edited" => {
                let message = &event["message"]["seq"];
                let edits = self.log.iter().filter(|other| other["message"]["seq"] == *message);
                let newest = edits.map(|other| must_number(other, "seq")).max();
                newest == Some(seq) && self.messages.contains_key(&message.as_u64().expect("a seq"))
            }
            "app.created" | "app.updated" => {
                self.apps.get(&must(event, "token")).is_some_and(|app| event["name"] == app.name)
            }
            "chat.created" | "chat.updated" => {
                let app = self.apps.get(&must(event, "app"));
                let chat = app.and_then(|app| app.chats.get(&must_number(event, "chat")));
                chat.is_some_and(|chat| {
                    event["name"].is_null() || event["name"].as_str() == chat.name.as_deref()
                })
            }
            "formula.created" | "request.answered" => true,
            "job.put" => self.jobs.contains_key(&seq),
            "queue.configured" | "job.revived" if event["job"].is_null() => self.is_live_of_queue(event),
            "job.leased" | "job.extended" | "job.nacked" | "job.expired" | "job.readied" | "job.revived" => {
                self.is_live_of_job(event)
            }
            _ => false,
        }
    }

    /// Whether an event of a job that is there holds, or brought it where it is.
    fn is_live_of_job(&self, event: &Value) -> bool {
        let Some(job) = self.jobs.get(&must_number(event, "job")) else { return false };
        if event["type"] == "job.leased" {
            let hash = job.lease.as_deref().map(lease_hash);
            return event["lease"].as_str() == hash.as_deref();
        }
        let moves = self.log.iter().filter(|other| other["job"] == event["job"]);
        let newest = moves.map(|other| must_number(other, "seq")).max();
        // All dead ones of a queue may have been revived since.
        newest == number(event, "seq") && (event["dead"] != true || job.state == "dead")
    }

    fn is_live_of_queue(&self, event: &Value) -> bool {
        let name = must(event, "queue");
        let behind = self.log.iter().filter(|other| other["seq"].as_u64() > event["seq"].as_u64());
        let dropped =
            behind.filter(|other| other["queue"] == name).any(|other| other["type"] == "queue.dropped");
        let holds = if event["type"] == "job.revived" {
            self.jobs.values().any(|job| job.queue == name)
        } else {
            let settings = self.queues.get(&name).map(|_| self.settings(&name));
            settings.is_some_and(|now| {
                now.as_object().expect("an object").iter().all(|(field, value)| event[field] == *value)
            })
        };
        !dropped && holds
    }
}
