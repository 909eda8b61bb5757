//! Messages, to recipients and in chats.

use serde_json::{Value, json};

use super::exact::{must, must_number, number, text};
use super::pages::page;
use super::search::{Body, Query};
use super::{Answer, Model, Refused, merged, refuse};

/// A live message.
#[derive(Debug, Clone)]
pub struct Message {
    at: String,
    originator: Option<String>,
    /// Its recipient; or its application, chat and number.
    address: Result<String, (String, u64, u64)>,
    body: String,
    pub edited_at: Option<String>,
}

impl Message {
    fn is_in(&self, app: &str, chat: Option<u64>) -> bool {
        let same = |place: &(String, u64, u64)| place.0 == app && chat.is_none_or(|chat| chat == place.1);
        self.address.as_ref().is_err_and(same)
    }

    /// Its number in its chat.
    pub fn number(&self) -> u64 {
        self.address.as_ref().map_or_else(|place| place.2, |_| 0)
    }

    fn address(&self) -> Value {
        match &self.address {
            Ok(recipient) => json!({"recipient": recipient}),
            Err((app, chat, number)) => json!({"app": app, "chat": chat, "number": number}),
        }
    }

    /// As the log tells it.
    fn content(&self) -> Value {
        let mut content = merged(self.address(), json!({"body": self.body}));
        if let Some(originator) = &self.originator {
            content["originator"] = json!(originator);
        }
        content
    }

    /// As replies tell it.
    pub fn shown(&self, seq: u64) -> Value {
        let mut shown = merged(json!({"seq": seq, "at": self.at}), self.content());
        if let Some(edited_at) = &self.edited_at {
            shown["edited_at"] = json!(edited_at);
        }
        shown
    }
}

impl Model {
    /// Messages of a chat, or of all chats of an application.
    pub fn messages_in(&self, app: &str, chat: Option<u64>) -> Vec<(u64, &Message)> {
        let all = self.messages.iter().map(|(seq, message)| (*seq, message));
        all.filter(|(_, message)| message.is_in(app, chat)).collect()
    }

    fn located(&self, request: &Value) -> Result<u64, Refused> {
        if let Some(seq) = number(request, "seq") {
            return if self.messages.contains_key(&seq) { Ok(seq) } else { refuse("not_found") };
        }
        let (app, chat) = (must(request, "app"), must_number(request, "chat"));
        let wanted = must_number(request, "number");
        let mut inside = self.messages_in(&app, Some(chat)).into_iter();
        match inside.find(|(_, message)| message.number() == wanted) {
            Some((seq, _)) => Ok(seq),
            None => refuse("not_found"),
        }
    }

    pub(super) fn write_message(&mut self, name: &str, request: &Value) -> Answer {
        if name == "message.post" {
            return self.post(request);
        }
        let seq = self.located(request)?;
        if name == "message.delete" {
            let Some(message) = self.messages.remove(&seq) else { return refuse("not_found") };
            let change = self.emit("message.deleted", merged(json!({"message": seq}), message.address()));
            return Ok(json!({"seq": change}));
        }
        let now = self.at();
        let Some(message) = self.messages.get_mut(&seq) else { return refuse("not_found") };
        message.body = must_body(request);
        message.edited_at = Some(now);
        let shown = message.shown(seq);
        Ok(json!({"seq": self.emit("message.edited", json!({"message": shown}))}))
    }

    fn post(&mut self, request: &Value) -> Answer {
        let (address, mut reply) = if let Some(recipient) = text(request, "recipient") {
            (Ok(recipient), json!({}))
        } else {
            let (app, chat) = (must(request, "app"), must_number(request, "chat"));
            let number = self.next_message_number(&app, chat)?;
            (Err((app, chat, number)), json!({"number": number}))
        };
        let (originator, body) = (text(request, "originator"), must_body(request));
        let message = Message { at: self.at(), originator, address, body, edited_at: None };
        let seq = self.emit("message.posted", message.content());
        self.messages.insert(seq, message);
        reply = merged(reply, json!({"seq": seq, "at": self.at()}));
        Ok(reply)
    }

    pub(super) fn read_messages(&self, name: &str, request: &Value) -> Answer {
        match name {
            "message.get" => {
                let seq = self.located(request)?;
                Ok(json!({"message": self.messages[&seq].shown(seq)}))
            }
            "message.list" => {
                let (app, chat) = (must(request, "app"), must_number(request, "chat"));
                self.chat(&app, chat)?;
                let after = number(request, "after").unwrap_or(0);
                let inside = self.messages_in(&app, Some(chat)).into_iter();
                let items = inside
                    .filter(|(_, message)| message.number() > after)
                    .map(|(seq, message)| (json!(message.number()), message.shown(seq)))
                    .collect();
                Ok(page("messages", request, items))
            }
            _ => self.search(request),
        }
    }

    fn search(&self, request: &Value) -> Answer {
        let (app, chat) = (text(request, "app"), number(request, "chat"));
        match (&app, chat) {
            (Some(app), Some(chat)) => self.chat(app, chat).map(|_| ())?,
            (Some(app), None) => self.app(app).map(|_| ())?,
            _ => {}
        }
        let (originator, recipient) = (text(request, "originator"), text(request, "recipient"));
        let query = request["text"].as_str().map(Query::new);
        let substring = request["substring"].as_str();
        let (since, until) = (text(request, "since"), text(request, "until"));
        let mut found: Vec<(u64, &Message)> = Vec::new();
        for (seq, message) in &self.messages {
            let body = Body::new(&message.body);
            let fits = app.as_ref().is_none_or(|app| message.is_in(app, chat))
                && (originator.is_none() || message.originator == originator)
                && recipient.as_ref().is_none_or(|recipient| message.address.as_ref() == Ok(recipient))
                && query.as_ref().is_none_or(|query| query.matches(&body))
                && substring.is_none_or(|piece| body.contains(piece))
                && since.as_ref().is_none_or(|since| message.at >= *since)
                && until.as_ref().is_none_or(|until| message.at < *until);
            if fits {
                found.push((*seq, message));
            }
        }
        let total = found.len();
        let after = number(request, "after").unwrap_or(0);
        let before = number(request, "before").unwrap_or(u64::MAX);
        found.retain(|(seq, _)| after < *seq && *seq < before);
        if request["order"] != "oldest" {
            found.reverse();
        }
        let items = found.into_iter().map(|(seq, message)| (json!(seq), message.shown(seq))).collect();
        let mut reply = page("messages", request, items);
        if request["count"] == json!(true) {
            reply["total"] = json!(total);
        }
        Ok(reply)
    }
}

fn must_body(request: &Value) -> String {
    request["body"].as_str().unwrap_or_else(|| panic!("no body in {request}")).to_owned()
}
