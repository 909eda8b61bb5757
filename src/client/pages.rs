//! Lists of the daemon, page after page.

use super::connection::Connection;
use super::failure::{Failure, Result};
use super::reply::Reply;
use super::request::RequestLine;
use crate::json;

/// Items on a page, unless it is said otherwise.
const PAGE: u64 = 1000;

/// The pages of a list.
pub struct Pages {
    /// The request, but for its end.
    open: String,
    list: &'static str,
    limit: u64,
    passing: bool,
    /// Whether to begin anew where the item to go on behind is deleted.
    beginning_anew: bool,
    /// What the request ended with when it began anew last.
    lost: String,
    /// What the request ends with to go on behind the page before.
    after: String,
    done: bool,
}

/// One page.
pub struct Page {
    reply: Reply,
    list: &'static str,
}

impl Pages {
    /// The pages of what a request lists under this key. It is one that goes on behind `after`.
    #[must_use]
    pub fn of(request: &RequestLine, list: &'static str) -> Self {
        let mut open = request.finish();
        open.pop();
        let [lost, after] = [String::new(), String::new()];
        Pages { open, list, limit: PAGE, passing: false, beginning_anew: false, lost, after, done: false }
    }

    /// So many items on a page.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        Pages { limit, ..self }
    }

    /// What the list belongs to may be deleted before its end is reached: then it has no more items.
    #[must_use]
    pub fn passing(self) -> Self {
        Pages { passing: true, ..self }
    }

    /// The daemon cannot go on behind an item that was deleted meanwhile: then the list comes from its beginning
    /// once more, and who takes it passes over what was there before.
    #[must_use]
    pub fn beginning_anew(self) -> Self {
        Pages { beginning_anew: true, ..self }
    }

    /// The next page; `None` behind the last one.
    ///
    /// # Errors
    /// The daemon refuses or goes away.
    pub fn next(&mut self, connection: &mut Connection) -> Result<Option<Page>> {
        if self.done {
            return Ok(None);
        }
        let request = format!("{},\"limit\":{}{}}}", self.open, self.limit, self.after);
        let reply = match connection.accepted(&request) {
            Err(Failure::Refused(refusal)) if self.passing && refusal.code == "not_found" => return Ok(None),
            // An item that is listed again and still not there is no deleted one.
            Err(Failure::Refused(refusal))
                if self.beginning_anew && refusal.code == "not_found" && self.after != self.lost =>
            {
                self.lost = std::mem::take(&mut self.after);
                return self.next(connection);
            }
            reply => reply?,
        };
        match reply.field("next") {
            Some(next) => self.after = format!(",\"after\":{next}"),
            None => self.done = true,
        }
        Ok(Some(Page { reply, list: self.list }))
    }
}

impl Page {
    /// What is on it.
    #[must_use]
    pub fn items(&self) -> Vec<&str> {
        self.reply.field(self.list).and_then(json::array).unwrap_or_default()
    }
}
