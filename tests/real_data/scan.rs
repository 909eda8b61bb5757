//! Messages in a list, and searches that look at each of them.

use msglogd::time::Timestamp;

use crate::naive::search::{Body, Query};

/// A message as it stands.
pub struct Kept {
    pub seq: u64,
    pub at: Timestamp,
    pub originator: String,
    pub recipient: String,
    pub text: String,
    body: Body,
}

impl Kept {
    /// One that was just posted.
    pub fn new(seq: u64, at: Timestamp, originator: &str, recipient: &str, text: &str) -> Self {
        let (originator, recipient) = (originator.to_owned(), recipient.to_owned());
        Kept { seq, at, originator, recipient, text: text.to_owned(), body: Body::new(text) }
    }

    /// Gives it another text.
    pub fn edit(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.body = Body::new(text);
    }
}

/// What a search asks for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub text: Option<String>,
    pub substring: Option<String>,
    pub originator: Option<String>,
    pub recipient: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

impl Asked {
    /// The arguments of the request.
    pub fn arguments(&self) -> serde_json::Value {
        let mut arguments = serde_json::json!({"cmd": "message.search"});
        let texts = [
            ("text", self.text.clone()),
            ("substring", self.substring.clone()),
            ("originator", self.originator.clone()),
            ("recipient", self.recipient.clone()),
            ("since", self.since.map(|time| time.to_string())),
            ("until", self.until.map(|time| time.to_string())),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                arguments[name] = value.into();
            }
        }
        arguments
    }

    /// The seqs of all that match, oldest first.
    pub fn scan(&self, messages: &[Kept]) -> Vec<u64> {
        let query = self.text.as_deref().map(Query::new);
        let fits = |message: &&Kept| {
            self.originator.as_ref().is_none_or(|name| *name == message.originator)
                && self.recipient.as_ref().is_none_or(|name| *name == message.recipient)
                && self.since.is_none_or(|since| message.at >= since)
                && self.until.is_none_or(|until| message.at < until)
                && query.as_ref().is_none_or(|query| query.matches(&message.body))
                && self.substring.as_ref().is_none_or(|piece| message.body.contains(piece))
        };
        messages.iter().filter(fits).map(|message| message.seq).collect()
    }
}
