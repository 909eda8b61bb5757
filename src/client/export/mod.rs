//! `msglog export`: what is stored, as JSON lines.
//!
//! | module | what is there |
//! | --- | --- |
//! | `options` | what it is told |
//! | `chats`, `queues` | the requests that make these anew |

mod chats;
mod options;
mod queues;

use std::collections::HashSet;
use std::io;

pub use options::{OWN, Options, filters};

use super::address::Address;
use super::connection::Connection;
use super::failure::{DONE, Failure, NOTHING_FOUND, REFUSED, Result, say};
use super::output::Output;
use super::pages::Pages;
use super::record::Record;
use super::reply::Reply;
use super::request::RequestLine;
use crate::json;
use crate::progress::Progress;
use crate::protocol::table::Argument;
use chats::Numbers;

/// Keys whose values are asked for at once. A value may have a megabyte.
const VALUES_AHEAD: usize = 16;

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Messages as a search gives them.
    Messages,
    /// Keys with their values.
    Keys,
    /// Requests that make everything anew.
    All,
}

/// Exports to standard output.
///
/// # Errors
/// No daemon answers, it goes away in the middle, or nobody reads the output.
pub fn export(address: &Address, output: &mut Output, options: &Options) -> Result<u8> {
    let mut connection = address.connect()?;
    let stats = connection.accepted(&RequestLine::new("stats").finish())?;
    let stored = |name| json::as_u64(json::object(stats.field("stored")?)?.get(name)?);
    let total = match options.what {
        What::Messages if options.filters.is_empty() => stored("messages"),
        What::Keys if options.filters.is_empty() => stored("keys"),
        What::All => stored("messages").zip(stored("keys")).map(|(messages, keys)| messages + keys),
        _ => None,
    };
    let last = stored("seq").unwrap_or(u64::MAX - 1);
    let progress = if output.is_terminal() { Progress::hidden() } else { Progress::new(total) };
    let mut export = Export { connection, output, progress, lines: 0, last, without_numbers: false };
    let done = match options.what {
        What::Messages => export.messages(&options.filters),
        What::Keys => export.keys(&options.filters, Export::line),
        What::All => export.all(),
    };
    export.progress.finish();
    let lines = export.lines;
    match done {
        // Whatever is not found, a part has been printed, which is not nothing.
        Err(failure @ Failure::Refused(_)) if lines > 0 => {
            output.flush()?;
            failure.message().iter().for_each(|message| say(message));
            Ok(REFUSED)
        }
        done => {
            done.and_then(|()| output.flush())?;
            Ok(if lines == 0 { NOTHING_FOUND } else { DONE })
        }
    }
}

/// An export under way.
struct Export<'a> {
    connection: Connection,
    output: &'a mut Output,
    progress: Progress,
    /// Lines so far.
    lines: u64,
    /// The last event when it began.
    last: u64,
    /// Whether it was said that the next numbers are not to be known.
    without_numbers: bool,
}

impl<'a> Export<'a> {
    fn line(&mut self, line: &str) -> Result<()> {
        self.output.json_line(line)?;
        self.lines += 1;
        self.progress.advance(self.lines, self.lines);
        Ok(())
    }

    /// A request that makes something anew.
    fn request(&mut self, request: &RequestLine) -> Result<()> {
        self.line(&request.finish())
    }

    /// Every message that was there at the start, oldest first.
    fn each_message(
        &mut self,
        filters: &[(&'static Argument, String)],
        mut take: impl FnMut(&mut Export<'a>, &str) -> Result<()>,
    ) -> Result<()> {
        let mut search = RequestLine::new("message.search");
        filters.iter().for_each(|(argument, value)| {
            search.raw(argument.name, value);
        });
        search.text("order", "oldest").number("before", self.last + 1);
        let mut pages = Pages::of(&search, "messages");
        while let Some(page) = pages.next(&mut self.connection)? {
            page.items().into_iter().try_for_each(|message| take(self, message))?;
        }
        Ok(())
    }

    fn messages(&mut self, filters: &[(&'static Argument, String)]) -> Result<()> {
        self.each_message(filters, Self::line)
    }

    /// Every key with its value. A few values are asked for at once: each may be large.
    fn keys(
        &mut self,
        filters: &[(&'static Argument, String)],
        mut take: impl FnMut(&mut Export<'a>, &str) -> Result<()>,
    ) -> Result<()> {
        let mut list = RequestLine::new("kv.list");
        filters.iter().for_each(|(argument, value)| {
            list.raw(argument.name, value);
        });
        let mut pages = Pages::of(&list, "keys");
        while let Some(page) = pages.next(&mut self.connection)? {
            for keys in page.items().chunks(VALUES_AHEAD) {
                let get =
                    |key: &&str| RequestLine::new("kv.get").raw("key", Record::of(key).get("key")).finish();
                let values = keys.iter().map(get).collect::<Vec<_>>();
                for value in self.replies(&values).map_err(|error| Failure::lost(&error))? {
                    match value.refusal() {
                        // It was deleted meanwhile.
                        Some(refusal) if refusal.code == "not_found" => {}
                        Some(refusal) => return Err(refusal.into()),
                        None => take(self, &without_ok(value.line()))?,
                    }
                }
            }
        }
        Ok(())
    }

    /// The replies to these requests, which are sent at once: few enough that neither side has to wait.
    fn replies(&mut self, requests: &[String]) -> io::Result<Vec<Reply>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        self.connection.send(&requests.join("\n"))?;
        requests.iter().map(|_| self.connection.reply()).collect()
    }

    fn all(&mut self) -> Result<()> {
        let mut numbers = Numbers::default();
        chats::all(self, &mut numbers)?;
        self.each_message(&[], |export, message| chats::message(export, &mut numbers, message))?;
        chats::deleted_last(self, numbers)?;
        self.keys(&[], |export, key| {
            let key = Record::of(key);
            export
                .request(RequestLine::new("kv.set").raw("key", key.get("key")).raw("value", key.get("value")))
        })?;
        let mut jobs = HashSet::new();
        let mut formulas = Pages::of(&RequestLine::new("formula.list"), "formulas");
        while let Some(page) = formulas.next(&mut self.connection)? {
            for formula in page.items() {
                let formula = Record::of(formula);
                // Its job was put in the same step, right behind it.
                jobs.extend(formula.number("seq").map(|seq| seq + 1));
                let mut submit = RequestLine::new("formula.submit");
                submit.raw("name", formula.get("name")).raw("materials", formula.get("materials"));
                self.request(&submit)?;
            }
        }
        queues::all(self, &jobs)
    }
}

/// A reply as a record: without its first key.
fn without_ok(line: &str) -> String {
    line.strip_prefix("{\"ok\":true,").map_or_else(|| line.to_owned(), |rest| format!("{{{rest}"))
}
