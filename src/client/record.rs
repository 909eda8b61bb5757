//! One object of a reply.

use crate::json::{self, Object};

/// An object and its fields; none where it is no object.
pub struct Record<'a>(Option<Object<'a>>);

impl<'a> Record<'a> {
    /// Reads it.
    #[must_use]
    pub fn of(raw: &'a str) -> Self {
        Record(json::object(raw))
    }

    /// The JSON text under a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'a str> {
        self.0.as_ref()?.get(name)
    }

    /// The same where it is always there.
    #[must_use]
    pub fn get(&self, name: &str) -> &'a str {
        self.find(name).unwrap_or("null")
    }

    /// The number under a name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        json::as_u64(self.find(name)?)
    }
}
