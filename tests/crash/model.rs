//! An independent reading of the log: what the events, one after the other, mean for a client, and
//! what they may never say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A message that is there.
#[derive(Debug, Clone)]
pub struct Message {
    /// The application, chat and number; none when it went to a recipient.
    pub place: Option<(String, u64, u64)>,
    pub body: String,
    pub is_edited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ready,
    Delayed,
    Leased,
    Dead,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub queue: String,
    pub state: State,
}

#[derive(Debug, Clone, Default)]
pub struct App {
    pub chats: BTreeMap<u64, u64>,
    last_chat: u64,
    gone: bool,
}

/// What the log says there is.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Keys with the seq of their last set and their values.
    pub values: BTreeMap<String, (u64, Value)>,
    /// Messages by the seq of their posts.
    pub messages: BTreeMap<u64, Message>,
    pub apps: BTreeMap<String, App>,
    /// Formulas by their ids.
    pub formulas: BTreeMap<String, u64>,
    /// Jobs by their seqs.
    pub jobs: BTreeMap<u64, Job>,
    pub queues: BTreeSet<String>,
    answered: BTreeSet<String>,
    /// The formula whose job must be the next event.
    owed: Option<String>,
    last: u64,
    at: String,
}

fn number(event: &Value, key: &str) -> u64 {
    event[key].as_u64().unwrap_or_else(|| panic!("no number {key} in {event}"))
}

fn text(event: &Value, key: &str) -> String {
    event[key].as_str().unwrap_or_else(|| panic!("no text {key} in {event}")).to_owned()
}

fn place(message: &Value) -> Option<(String, u64, u64)> {
    message.get("app").map(|_| (text(message, "app"), number(message, "chat"), number(message, "number")))
}

impl Model {
    /// Reads a whole log.
    pub fn of(records: &[Vec<u8>]) -> Self {
        let mut model = Model::default();
        for record in records {
            let event = serde_json::from_slice(record)
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(record)));
            model.apply(&event);
        }
        assert_eq!(model.owed, None, "a formula is there without its job");
        model
    }

    fn apply(&mut self, event: &Value) {
        let seq = number(event, "seq");
        assert_eq!(seq, self.last + 1, "events are in order, without a gap");
        let at = text(event, "at");
        assert!(at >= self.at, "time ran backwards: {} and then {event}", self.at);
        (self.last, self.at) = (seq, at);
        let kind = text(event, "type");
        if let Some(formula) = self.owed.take() {
            assert_eq!(event["body"]["formula"], formula, "a formula's job comes with it: {event}");
        }
        match kind.split_once('.').unwrap_or_default() {
            ("kv", what) => self.key(seq, what, event),
            ("message", what) => self.message(seq, what, event),
            ("app", what) => self.app(what, event),
            ("chat", what) => self.chat(what, event),
            ("formula", _) => {
                let formula = text(event, "formula");
                let before = self.formulas.insert(formula.clone(), seq);
                assert_eq!(before, None, "a formula was stored twice: {event}");
                self.owed = Some(formula);
            }
            ("request", _) => {
                assert!(self.answered.insert(text(event, "key")), "a key was bound twice: {event}");
            }
            ("queue", what) => self.queue(what, event),
            ("job", what) => self.job(seq, what, event),
            _ => panic!("an event of no known type: {event}"),
        }
    }

    fn key(&mut self, seq: u64, what: &str, event: &Value) {
        let key = text(event, "key");
        let before = match what {
            "set" => self.values.insert(key, (seq, event["value"].clone())),
            _ => Some(self.values.remove(&key).unwrap_or_else(|| panic!("there was no such key: {event}"))),
        };
        if what == "set" {
            assert_eq!(event["created"], before.is_none(), "{event}");
        }
    }

    fn message(&mut self, seq: u64, what: &str, event: &Value) {
        match what {
            "posted" => {
                let place = place(event);
                if let Some((app, chat, number)) = &place {
                    let last = self.last_number(app, *chat, event);
                    *last += 1;
                    assert_eq!(number, last, "messages of a chat count up: {event}");
                }
                self.messages.insert(seq, Message { place, body: text(event, "body"), is_edited: false });
            }
            "edited" => {
                let message = &event["message"];
                let found = self.messages.get_mut(&number(message, "seq"));
                let found = found.unwrap_or_else(|| panic!("there was no such message: {event}"));
                assert_eq!(found.place, place(message), "{event}");
                (found.body, found.is_edited) = (text(message, "body"), true);
            }
            _ => {
                let gone = self.messages.remove(&number(event, "message"));
                assert!(gone.is_some(), "there was no such message: {event}");
            }
        }
    }

    fn last_number(&mut self, app: &str, chat: u64, event: &Value) -> &mut u64 {
        let app = self.live_app(app, event);
        app.chats.get_mut(&chat).unwrap_or_else(|| panic!("there is no such chat: {event}"))
    }

    fn live_app(&mut self, token: &str, event: &Value) -> &mut App {
        let app = self.apps.get_mut(token).filter(|app| !app.gone);
        app.unwrap_or_else(|| panic!("there is no such application: {event}"))
    }

    fn app(&mut self, what: &str, event: &Value) {
        let token = text(event, "token");
        match what {
            "created" => {
                let before = self.apps.insert(token, App::default());
                assert!(before.is_none(), "a token was given twice: {event}");
            }
            "updated" => {
                self.live_app(&token, event);
            }
            _ => {
                let app = self.live_app(&token, event);
                (app.gone, app.chats) = (true, BTreeMap::new());
                self.messages
                    .retain(|_, message| message.place.as_ref().is_none_or(|(app, ..)| *app != token));
            }
        }
    }

    fn chat(&mut self, what: &str, event: &Value) {
        let (token, chat) = (text(event, "app"), number(event, "chat"));
        let app = self.live_app(&token, event);
        match what {
            "created" => {
                app.last_chat += 1;
                assert_eq!(chat, app.last_chat, "chats count up: {event}");
                app.chats.insert(chat, 0);
            }
            "updated" => assert!(app.chats.contains_key(&chat), "there is no such chat: {event}"),
            _ => {
                assert!(app.chats.remove(&chat).is_some(), "there is no such chat: {event}");
                self.messages.retain(|_, message| {
                    let place = message.place.as_ref();
                    place.is_none_or(|(app, number, _)| (app, *number) != (&token, chat))
                });
            }
        }
    }

    fn queue(&mut self, what: &str, event: &Value) {
        let queue = text(event, "queue");
        match what {
            "configured" => {
                self.queues.insert(queue);
            }
            "purged" => {
                let state = event.get("state").map(|_| state_of(&text(event, "state")));
                let before = self.jobs.len();
                self.jobs
                    .retain(|_, job| job.queue != queue || state.is_some_and(|state| state != job.state));
                assert_eq!(number(event, "deleted"), (before - self.jobs.len()) as u64, "{event}");
            }
            _ => {
                let empty = self.jobs.values().all(|job| job.queue != queue);
                assert!(empty, "a queue with jobs was dropped: {event}");
                assert!(self.queues.remove(&queue), "there is no such queue: {event}");
            }
        }
    }

    fn job(&mut self, seq: u64, what: &str, event: &Value) {
        let queue = text(event, "queue");
        let delay = event.get("delay_ms").and_then(Value::as_u64).unwrap_or(0);
        let waiting = if delay > 0 { State::Delayed } else { State::Ready };
        if what == "put" {
            self.queues.insert(queue.clone());
            self.jobs.insert(seq, Job { queue, state: waiting });
            return;
        }
        let Some(job) = event.get("job").and_then(Value::as_u64) else {
            let dead = self.jobs.values_mut().filter(|job| job.queue == queue && job.state == State::Dead);
            dead.for_each(|job| job.state = State::Ready);
            return;
        };
        let found = self.jobs.get_mut(&job).unwrap_or_else(|| panic!("there is no such job: {event}"));
        let dead = event["dead"] == true;
        let (from, to): (&[State], Option<State>) = match what {
            // No two holders at the same time.
            "leased" => (&[State::Ready], Some(State::Leased)),
            "extended" => (&[State::Leased], Some(State::Leased)),
            "acked" => (&[State::Leased], None),
            "nacked" => (&[State::Leased], Some(if dead { State::Dead } else { waiting })),
            "expired" => (&[State::Leased], Some(if dead { State::Dead } else { State::Ready })),
            "readied" => (&[State::Delayed], Some(State::Ready)),
            "revived" => (&[State::Dead], Some(State::Ready)),
            _ => (&[State::Ready, State::Delayed, State::Leased, State::Dead], None),
        };
        assert!(from.contains(&found.state), "the job was {:?}: {event}", found.state);
        match to {
            Some(state) => found.state = state,
            None => drop(self.jobs.remove(&job)),
        }
    }

    /// How many jobs of a queue are in a state.
    pub fn count(&self, queue: &str, state: State) -> usize {
        self.jobs.values().filter(|job| job.queue == queue && job.state == state).count()
    }
}

fn state_of(name: &str) -> State {
    match name {
        "ready" => State::Ready,
        "delayed" => State::Delayed,
        "leased" => State::Leased,
        _ => State::Dead,
    }
}
