//! Applications and their chats.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::exact::{must, must_number, number, text};
use super::pages::page;
use super::{Answer, Model, Refused, merged, refuse, refuse_field};

/// An application.
#[derive(Debug, Clone)]
pub struct App {
    seq: u64,
    pub name: String,
    created_at: String,
    last_chat: u64,
    /// Its chats by number.
    pub chats: BTreeMap<u64, Chat>,
}

/// A chat.
#[derive(Debug, Clone)]
pub struct Chat {
    pub name: Option<String>,
    created_at: String,
    last_message: u64,
}

impl Model {
    pub(super) fn app(&self, token: &str) -> Result<&App, Refused> {
        self.apps.get(token).map_or_else(|| refuse("not_found"), Ok)
    }

    pub(super) fn chat(&self, app: &str, chat: u64) -> Result<&Chat, Refused> {
        self.app(app)?.chats.get(&chat).map_or_else(|| refuse("not_found"), Ok)
    }

    fn app_mut(&mut self, token: &str) -> Result<&mut App, Refused> {
        self.apps.get_mut(token).map_or_else(|| refuse("not_found"), Ok)
    }

    fn chat_mut(&mut self, app: &str, chat: u64) -> Result<&mut Chat, Refused> {
        self.app_mut(app)?.chats.get_mut(&chat).map_or_else(|| refuse("not_found"), Ok)
    }

    pub(super) fn next_message_number(&mut self, app: &str, chat: u64) -> Result<u64, Refused> {
        let chat = self.chat_mut(app, chat)?;
        chat.last_message += 1;
        Ok(chat.last_message)
    }

    fn forget_messages(&mut self, app: &str, chat: Option<u64>) {
        let gone: Vec<u64> = self.messages_in(app, chat).into_iter().map(|(seq, _)| seq).collect();
        gone.iter().for_each(|seq| drop(self.messages.remove(seq)));
    }

    pub(super) fn write_chats(&mut self, name: &str, request: &Value, given: &Value) -> Answer {
        let called = text(request, "name");
        let seq = match name {
            "app.create" => {
                let (token, called) = (self.take_token(&given["token"], 24), called.unwrap_or_default());
                let seq = self.emit("app.created", json!({"token": token, "name": called}));
                let (created_at, chats) = (self.at(), BTreeMap::new());
                self.apps.insert(token.clone(), App { seq, name: called, created_at, last_chat: 0, chats });
                return Ok(json!({"token": token, "seq": seq}));
            }
            "app.update" => {
                let (token, called) = (must(request, "token"), called.unwrap_or_default());
                self.app_mut(&token)?.name.clone_from(&called);
                self.emit("app.updated", json!({"token": token, "name": called}))
            }
            "app.delete" => {
                let token = must(request, "token");
                self.app(&token)?;
                self.forget_messages(&token, None);
                self.apps.remove(&token);
                self.emit("app.deleted", json!({"token": token}))
            }
            _ => return self.write_chat(name, request, called),
        };
        Ok(json!({"seq": seq}))
    }

    fn write_chat(&mut self, name: &str, request: &Value, called: Option<String>) -> Answer {
        let app = must(request, "app");
        if name == "chat.create" {
            let created_at = self.at();
            let home = self.app_mut(&app)?;
            home.last_chat += 1;
            let chat = home.last_chat;
            home.chats.insert(chat, Chat { name: called.clone(), created_at, last_message: 0 });
            let event = merged(json!({"app": app, "chat": chat}), named(called.as_ref()));
            return Ok(json!({"number": chat, "seq": self.emit("chat.created", event)}));
        }
        let chat = must_number(request, "chat");
        let mut event = json!({"app": app, "chat": chat});
        if name == "chat.update" {
            self.chat_mut(&app, chat)?.name.clone_from(&called);
            event = merged(event, named(called.as_ref()));
            return Ok(json!({"seq": self.emit("chat.updated", event)}));
        }
        self.chat(&app, chat)?;
        self.forget_messages(&app, Some(chat));
        self.app_mut(&app)?.chats.remove(&chat);
        Ok(json!({"seq": self.emit("chat.deleted", event)}))
    }

    fn shown_app(&self, token: &str) -> Value {
        let App { name, chats, created_at, .. } = &self.apps[token];
        json!({"token": token, "name": name, "chats_count": chats.len(), "created_at": created_at})
    }

    fn shown_chat(&self, app: &str, number: u64) -> Value {
        let chat = &self.apps[app].chats[&number];
        let count = self.messages_in(app, Some(number)).len();
        let shown = json!({"number": number, "messages_count": count, "created_at": chat.created_at});
        merged(shown, named(chat.name.as_ref()))
    }

    pub(super) fn read_chats(&self, name: &str, request: &Value) -> Answer {
        match name {
            "app.get" => {
                let token = must(request, "token");
                self.app(&token)?;
                Ok(json!({"app": self.shown_app(&token)}))
            }
            "app.list" => {
                let after = match text(request, "after") {
                    None => 0,
                    Some(token) => match self.apps.get(&token) {
                        Some(app) => app.seq,
                        None => return refuse_field("not_found", "after"),
                    },
                };
                let mut apps: Vec<_> = self.apps.iter().filter(|(_, app)| app.seq > after).collect();
                apps.sort_by_key(|(_, app)| app.seq);
                let items = apps.into_iter().map(|(token, _)| (json!(token), self.shown_app(token)));
                Ok(page("apps", request, items.collect()))
            }
            "chat.get" => {
                let (app, chat) = (must(request, "app"), must_number(request, "chat"));
                self.chat(&app, chat)?;
                Ok(json!({"chat": self.shown_chat(&app, chat)}))
            }
            _ => {
                let app = must(request, "app");
                let after = number(request, "after").unwrap_or(0);
                let numbers = self.app(&app)?.chats.keys().filter(|number| **number > after);
                let items = numbers.map(|number| (json!(number), self.shown_chat(&app, *number)));
                Ok(page("chats", request, items.collect()))
            }
        }
    }
}

fn named(name: Option<&String>) -> Value {
    name.map_or(json!({}), |name| json!({"name": name}))
}
