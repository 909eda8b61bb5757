//! One line of the daemon, and the refusal in it.

use std::fmt;

use crate::json;

/// The reply keys that hold what a command was asked to find. An empty one is nothing found.
const FINDINGS: &[&str] = &["messages", "jobs", "keys", "apps", "chats", "formulas", "queues", "events"];

/// One reply or one followed event, exactly as the daemon sent it, without its line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply(String);

/// Why the daemon refused a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code, such as `not_found`.
    pub code: String,
    /// The sentence for people.
    pub message: String,
    /// What else the reply says about the place: field, index, offset, file.
    pub place: String,
}

impl Reply {
    /// A line as a reply. `None` when it is no JSON object.
    #[must_use]
    pub fn new(line: String) -> Option<Self> {
        json::object(&line).is_some().then_some(Reply(line))
    }

    /// The line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.0
    }

    /// The JSON text under `key`.
    #[must_use]
    pub fn field(&self, key: &str) -> Option<&str> {
        json::object(&self.0)?.get(key)
    }

    /// The whole number under `key`.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        json::as_u64(self.field(key)?)
    }

    /// The string under `key`.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        Some(json::as_string(self.field(key)?)?.into_owned())
    }

    /// Whether it is a success that found nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Some(fields) = json::object(&self.0) else { return false };
        // A dry run tells of the events that there would be; none means that nothing would change.
        let dry = fields.get("dry_run").is_some();
        let found = FINDINGS.iter().filter(|key| !dry || **key != "events").find_map(|key| fields.get(key));
        found.and_then(json::array).is_some_and(|list| list.is_empty())
    }

    /// The refusal, when it is one. A followed event has no `ok` and is none.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        if !self.0.starts_with("{\"ok\":false") && self.field("ok") != Some("false") {
            return None;
        }
        // Messages about a line or a text say the byte themselves.
        let keys: &[&str] =
            if self.field("file").is_some() { &["file", "offset"] } else { &["field", "index"] };
        let place = keys.iter();
        let place = place.filter_map(|key| self.field(key).map(|value| format!("{key} {value}")));
        Some(Refusal {
            code: self.text("error").unwrap_or_default(),
            message: self.text("message").unwrap_or_default(),
            place: place.collect::<Vec<_>>().join(", "),
        })
    }

    /// The reply of a request that must succeed.
    ///
    /// # Errors
    /// The refusal, when it is one.
    pub fn accepted(self) -> Result<Self, Refusal> {
        match self.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(self),
        }
    }
}

impl Refusal {
    /// Whether the daemon as a whole refuses for now, so that any other request would fare no
    /// better and the same one may succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self.code.as_str(), "shutting_down" | "busy" | "read_only" | "outcome_unknown")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.message)?;
        if !self.place.is_empty() {
            write!(formatter, " ({})", self.place)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(line: &str) -> Reply {
        Reply::new(line.to_owned()).unwrap()
    }

    #[test]
    fn a_refusal_says_its_code_its_message_and_the_field() {
        let line = r#"{"ok":false,"error":"bad_request","message":"no key","field":"key"}"#;
        let refusal = reply(line).accepted().unwrap_err();
        assert_eq!(refusal.to_string(), "bad_request: no key (field \"key\")");
        assert!(!refusal.is_passing());
    }

    #[test]
    fn only_an_empty_list_of_findings_is_nothing_found() {
        assert!(reply(r#"{"ok":true,"messages":[]}"#).is_empty());
        assert!(!reply(r#"{"ok":true,"messages":[{"seq":1}]}"#).is_empty());
        assert!(!reply(r#"{"ok":true,"results":[]}"#).is_empty());
        assert!(!reply(r#"{"ok":true,"seq":1}"#).is_empty());
        assert!(reply(r#"{"ok":true,"events":[]}"#).is_empty());
        assert!(!reply(r#"{"ok":true,"dry_run":true,"purged":0,"events":[]}"#).is_empty());
        assert!(reply(r#"{"ok":true,"dry_run":true,"jobs":[],"events":[]}"#).is_empty());
    }

    #[test]
    fn a_line_that_is_no_object_is_no_reply() {
        assert_eq!(Reply::new("hello".into()), None);
        assert_eq!(Reply::new("[1]".into()), None);
    }
}
