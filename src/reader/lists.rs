//! Pages of lists: in order, up to a limit, `next` when there is more.

use super::events::Events;
use super::items;
use crate::codec::read_ordered;
use crate::domain::command::Page;
use crate::domain::delivery::Standing;
use crate::domain::event::JobState;
use crate::domain::table::{Facts, malformed, number_in, scan_prefix, tag};
use crate::domain::{
    apps, chats as chat_table, formulas as formula_table, kv, messages as message_table,
    queues as queue_table,
};
use crate::error::{Code, Error, Result};
use crate::json::fields::Fields;
use crate::json::write_string;
use crate::snapshot::{ReplyBytes, Snapshot};

/// A page being filled.
pub struct Filling {
    /// With commas between them.
    items: Vec<u8>,
    count: u64,
    limit: u64,
    most_bytes: usize,
    more: bool,
}

/// The room that is made for items at first, at most.
const AT_FIRST_BYTES: usize = 8 << 10;
/// The room that is made for what stands beside the items in a reply.
const ROOM_BESIDE: usize = 256;

impl Filling {
    /// An empty page for `limit` items, as far as a reply has room for them.
    #[must_use]
    pub fn new(limit: u64, ReplyBytes(most_bytes): ReplyBytes) -> Self {
        Filling { items: Vec::new(), count: 0, limit, most_bytes, more: false }
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.items.capacity()
    }

    /// Whether another item is one too many; then there is a next page.
    pub fn is_full(&mut self) -> bool {
        self.more |= self.count >= self.limit;
        self.more
    }

    /// Takes an item. `false` when the reply would grow too large; then there is a next page.
    pub fn take(&mut self, item: &[u8]) -> bool {
        if self.is_full() || (self.count > 0 && self.items.len() + item.len() > self.most_bytes) {
            self.more = true;
            return false;
        }
        if self.count == 0 {
            let likely = usize::try_from(self.limit).unwrap_or(usize::MAX).saturating_mul(item.len() + 1);
            self.items.reserve(likely.min(AT_FIRST_BYTES));
        } else {
            self.items.push(b',');
        }
        self.items.extend_from_slice(item);
        self.count += 1;
        true
    }

    /// Writes the items under `name`. Answers whether there is a next page.
    pub fn finish(self, name: &str, out: &mut Vec<u8>) -> bool {
        out.reserve(self.items.len() + ROOM_BESIDE);
        Fields(out).list(name, &self.items);
        self.more
    }
}

/// The first key behind `key`.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// Fills a page with the items of the keys with a prefix that lie behind `after`. `item` gives each with the cursor
/// to go on behind it; the last cursor is the answer.
fn fill<C>(
    filling: &mut Filling,
    snapshot: &Snapshot,
    prefix: &[u8],
    after: Option<Vec<u8>>,
    mut item: impl FnMut(&[u8], &[u8]) -> Result<(Vec<u8>, C)>,
) -> Result<Option<C>> {
    let mut last = None;
    scan_prefix(snapshot, prefix, &after.map(behind).unwrap_or_default(), &mut |key, value| {
        // What lies behind the page is not read: it may be damaged.
        if filling.is_full() {
            return Ok(false);
        }
        let (item, cursor) = item(key.get(prefix.len()..).unwrap_or_default(), value)?;
        let taken = filling.take(&item);
        if taken {
            last = Some(cursor);
        }
        Ok(taken)
    })?;
    Ok(last)
}

/// The number that a key ends in.
fn number(mut rest: &[u8], what: &str) -> Result<u64> {
    read_ordered(&mut rest).ok_or_else(|| malformed(what))
}

/// `kv.list`
///
/// # Errors
/// What reading the table says.
pub fn keys(snapshot: &Snapshot, prefix: &str, page: &Page<String>, out: &mut Vec<u8>) -> Result<()> {
    let (mut filling, after) =
        (Filling::new(page.limit, snapshot.reply_bytes), page.after.as_deref().map(kv::table_key));
    let last = fill(&mut filling, snapshot, &kv::table_key(prefix), after, |rest, value| {
        let key = [prefix, std::str::from_utf8(rest).map_err(|_| malformed("key"))?].concat();
        let mut item = b"{\"key\":".to_vec();
        write_string(&mut item, &key);
        Fields(&mut item).number("seq", number_in(value)?);
        item.push(b'}');
        Ok((item, key))
    })?;
    finish_named(filling, "keys", last, out);
    Ok(())
}

/// `message.list`
///
/// # Errors
/// `not_found` when there is no such chat.
pub fn messages(
    snapshot: &Snapshot,
    app: &str,
    chat: u64,
    page: &Page<u64>,
    out: &mut Vec<u8>,
) -> Result<()> {
    chat_table::require_chat(snapshot, app, chat)?;
    let prefix = chat_table::key(tag::MESSAGE_NUMBER, app, chat);
    let after = page.after.map(|after| message_table::number_key(app, chat, after));
    let mut filling = Filling::new(page.limit, snapshot.reply_bytes);
    let last = fill(&mut filling, snapshot, &prefix, after, |rest, value| {
        let record = message_table::current_record(snapshot, number_in(value)?)?;
        let mut item = Vec::new();
        items::message(&record.ok_or_else(|| malformed("message"))?, &mut item)?;
        Ok((item, number(rest, "message number")?))
    })?;
    finish_numbered(filling, "messages", last, out);
    Ok(())
}

/// `app.list`
///
/// # Errors
/// `not_found` when `after` is no application.
pub fn apps(snapshot: &Snapshot, page: &Page<String>, out: &mut Vec<u8>) -> Result<()> {
    let after = page.after.as_deref().map(|token| {
        let app = apps::require(snapshot, token).map_err(of_after);
        app.map(|app| apps::order_key(app.created))
    });
    let mut filling = Filling::new(page.limit, snapshot.reply_bytes);
    let last = fill(&mut filling, snapshot, &[tag::APP_ORDER], after.transpose()?, |_, value| {
        let token = apps::token_in(value)?;
        Ok((items::app(snapshot, &token)?, token))
    })?;
    finish_named(filling, "apps", last, out);
    Ok(())
}

/// Why a list of applications does not go on behind one: of one that was deleted nobody knows any more what was made
/// after it.
fn of_after(error: Error) -> Error {
    let error = match error.code() {
        Code::NotFound => {
            Error::not_found("there is no application with this token, or no more: list anew without `after`")
        }
        _ => error,
    };
    error.of_field("after")
}

/// `chat.list`
///
/// # Errors
/// `not_found` when there is no such application.
pub fn chats(snapshot: &Snapshot, app: &str, page: &Page<u64>, out: &mut Vec<u8>) -> Result<()> {
    apps::require(snapshot, app)?;
    let after = page.after.map(|after| chat_table::key(tag::CHAT, app, after));
    let mut filling = Filling::new(page.limit, snapshot.reply_bytes);
    let last = fill(&mut filling, snapshot, &chat_table::chats_prefix(app), after, |rest, value| {
        let number = number(rest, "chat number")?;
        Ok((items::chat(snapshot, app, number, &chat_table::chat_in(value)?)?, number))
    })?;
    finish_numbered(filling, "chats", last, out);
    Ok(())
}

/// `formula.list`
///
/// # Errors
/// `not_found` when `after` is no formula.
pub fn formulas(snapshot: &Snapshot, page: &Page<String>, out: &mut Vec<u8>) -> Result<()> {
    let after = page.after.as_deref().map(|id| {
        let seq = formula_table::require(snapshot, id).map_err(|error| error.of_field("after"))?;
        Ok(formula_table::order_key(seq))
    });
    let mut filling = Filling::new(page.limit, snapshot.reply_bytes);
    let last = fill(&mut filling, snapshot, &[tag::FORMULA_ORDER], after.transpose()?, |rest, id| {
        let id = String::from_utf8(id.to_vec()).map_err(|_| malformed("formula"))?;
        Ok((items::formula(snapshot, number(rest, "formula")?)?, id))
    })?;
    finish_named(filling, "formulas", last, out);
    Ok(())
}

/// `queue.list`
///
/// # Errors
/// What reading the table says.
pub fn queues(snapshot: &Snapshot, page: &Page<String>, out: &mut Vec<u8>) -> Result<()> {
    let after = page.after.as_ref().map(|after| [&[tag::QUEUE_NAME], after.as_bytes()].concat());
    let mut filling = Filling::new(page.limit, snapshot.reply_bytes);
    let last = fill(&mut filling, snapshot, &[tag::QUEUE_NAME], after, |_, value| {
        let queue = snapshot.queue(number_in(value)?)?.ok_or_else(|| malformed("queue"))?;
        Ok((items::queue(snapshot, &queue)?, queue.name.to_string()))
    })?;
    finish_named(filling, "queues", last, out);
    Ok(())
}

/// Writes a page, and the name to go on behind when there is a next one.
fn finish_named(filling: Filling, name: &str, last: Option<String>, out: &mut Vec<u8>) {
    if filling.finish(name, out) {
        Fields(out).text("next", &last.unwrap_or_default());
    }
}

/// The same with a number.
fn finish_numbered(filling: Filling, name: &str, last: Option<u64>, out: &mut Vec<u8>) {
    if filling.finish(name, out) {
        Fields(out).number("next", last.unwrap_or_default());
    }
}

/// `queue.peek`
///
/// # Errors
/// `not_found`.
pub fn jobs(
    snapshot: &Snapshot,
    name: &str,
    state: JobState,
    page: &Page<Standing>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let queue = queue_table::require(snapshot, name)?;
    let mut filling = Filling::new(page.limit, snapshot.reply_bytes);
    let (from, mut last) = (page.after.map(Standing::behind).unwrap_or_default(), None);
    let mut visit = |seq, standing: Standing| {
        if filling.is_full() {
            return Ok(false);
        }
        let taken = filling.take(&items::job(snapshot, seq)?);
        if taken {
            last = Some(standing);
        }
        Ok(taken)
    };
    match state {
        JobState::Ready => queue.visit_ready_from(snapshot, from, &mut visit)?,
        other => {
            queue.visit_state(snapshot, other, from.place(), &mut |seq| visit(seq, Standing::of_job(seq)))?;
        }
    }
    finish_named(filling, "jobs", last.map(|last: Standing| last.to_text(state)), out);
    Ok(())
}

/// `log.read`
///
/// # Errors
/// `corrupt`.
pub fn events(
    snapshot: &Snapshot,
    from: u64,
    limit: u64,
    types: Option<&[String]>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut filling = Filling::new(limit, snapshot.reply_bytes);
    let (mut events, mut next) = (Events::new(snapshot, types), from.max(1));
    while let Some(seq) = events.first_from(next)? {
        next = seq;
        if filling.is_full() {
            break;
        }
        if let Some(record) = snapshot.record(seq)?
            && !filling.take(&record)
        {
            break;
        }
        next = seq + 1;
    }
    if filling.finish("events", out) {
        Fields(out).number("next", next);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_not_told_as_an_application_that_is_gone() {
        let codes = [Error::not_found("none"), Error::corrupt("a.run", 7, "a block")].map(|error| {
            let told = of_after(error);
            (told.code(), told.offset())
        });
        assert_eq!(codes, [(Code::NotFound, None), (Code::Corrupt, Some(7))]);
    }
}
