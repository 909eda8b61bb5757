//! Lists of the daemon, page after page.

use crate::client::connection::Connection;
use crate::client::failure::{Failure, Result};
use crate::client::reply::Reply;
use crate::client::request::RequestLine;
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
    pub fn of(request: &RequestLine, list: &'static str) -> Self {
        let mut open = request.finish();
        open.pop();
        Pages { open, list, limit: PAGE, passing: false, after: String::new(), done: false }
    }

    /// So many items on a page.
    pub fn limit(self, limit: u64) -> Self {
        Pages { limit, ..self }
    }

    /// What the list belongs to may be deleted before its end is reached: then it has no more items.
    pub fn passing(self) -> Self {
        Pages { passing: true, ..self }
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
    pub fn items(&self) -> Vec<&str> {
        self.reply.field(self.list).and_then(json::array).unwrap_or_default()
    }
}
