//! Pages of lists: in order, up to a limit, `next` when there is more.

use super::items;
use crate::codec::read_ordered;
use crate::domain::command::Page;
use crate::domain::event::JobState;
use crate::domain::jobs::Queue;
use crate::domain::table::{Facts, malformed, number_in, scan_prefix, tag};
use crate::domain::{chats as chat_table, formulas as formula_table, kv, messages as message_table};
use crate::error::{Error, Result};
use crate::index::terms::{Kind, term};
use crate::json::fields::Fields;
use crate::json::write_string;
use crate::limits::REPLY_BYTES;
use crate::snapshot::Snapshot;

/// A page being filled.
pub struct Filling {
    items: Vec<u8>,
    count: u64,
    limit: u64,
    more: bool,
}

impl Filling {
    /// An empty page for `limit` items.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Filling { items: vec![b'['], count: 0, limit, more: false }
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
        if self.is_full() || (self.count > 0 && self.items.len() + item.len() > REPLY_BYTES) {
            self.more = true;
            return false;
        }
        if self.count > 0 {
            self.items.push(b',');
        }
        self.items.extend_from_slice(item);
        self.count += 1;
        true
    }

    /// Writes the items under `name`. Answers whether there is a next page.
    pub fn finish(mut self, name: &str, out: &mut Vec<u8>) -> bool {
        self.items.push(b']');
        Fields(out).raw(name, &self.items);
        self.more
    }
}

/// The first key behind `key`.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// `kv.list`
///
/// # Errors
/// What reading the table says.
pub fn keys(snapshot: &Snapshot, prefix: &str, page: &Page<String>, out: &mut Vec<u8>) -> Result<()> {
    let mut filling = Filling::new(page.limit);
    let mut last = String::new();
    let from = page.after.as_ref().map(|after| behind(kv::table_key(after))).unwrap_or_default();
    scan_prefix(snapshot, &kv::table_key(prefix), &from, &mut |key, value| {
        let key =
            key.get(1..).and_then(|key| std::str::from_utf8(key).ok()).ok_or_else(|| malformed("key"))?;
        let mut item = b"{\"key\":".to_vec();
        write_string(&mut item, key);
        Fields(&mut item).number("seq", number_in(value)?);
        item.push(b'}');
        let taken = filling.take(&item);
        if taken {
            key.clone_into(&mut last);
        }
        Ok(taken)
    })?;
    if filling.finish("keys", out) {
        Fields(out).text("next", &last);
    }
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
    let mut filling = Filling::new(page.limit);
    let mut last = 0;
    let prefix = chat_table::key(tag::MESSAGE_NUMBER, app, chat);
    let from =
        page.after.map(|after| behind(message_table::number_key(app, chat, after))).unwrap_or_default();
    scan_prefix(snapshot, &prefix, &from, &mut |key, value| {
        if filling.is_full() {
            return Ok(false);
        }
        let mut rest = key.get(prefix.len()..).unwrap_or_default();
        let number = read_ordered(&mut rest).ok_or_else(|| malformed("message number"))?;
        let record = message_table::current_record(snapshot, number_in(value)?)?;
        let mut item = Vec::new();
        items::message(&record.ok_or_else(|| malformed("message"))?, &mut item)?;
        let taken = filling.take(&item);
        if taken {
            last = number;
        }
        Ok(taken)
    })?;
    if filling.finish("messages", out) {
        Fields(out).number("next", last);
    }
    Ok(())
}

/// `app.list`
///
/// # Errors
/// `not_found` when `after` is no application.
pub fn apps(snapshot: &Snapshot, page: &Page<String>, out: &mut Vec<u8>) -> Result<()> {
    let from = match &page.after {
        None => Vec::new(),
        Some(token) => behind(chat_table::order_key(chat_table::require_app(snapshot, token)?.created)),
    };
    let mut filling = Filling::new(page.limit);
    let mut last = String::new();
    scan_prefix(snapshot, &[tag::APP_ORDER], &from, &mut |_, value| {
        let token = chat_table::token_in(value)?;
        let taken = filling.take(&items::app(snapshot, &token)?);
        if taken {
            last = token;
        }
        Ok(taken)
    })?;
    if filling.finish("apps", out) {
        Fields(out).text("next", &last);
    }
    Ok(())
}

/// `chat.list`
///
/// # Errors
/// `not_found` when there is no such application.
pub fn chats(snapshot: &Snapshot, app: &str, page: &Page<u64>, out: &mut Vec<u8>) -> Result<()> {
    chat_table::require_app(snapshot, app)?;
    let mut filling = Filling::new(page.limit);
    let mut last = 0;
    let prefix = chat_table::chats_prefix(app);
    let from = page.after.map(|after| behind(chat_table::key(tag::CHAT, app, after))).unwrap_or_default();
    scan_prefix(snapshot, &prefix, &from, &mut |key, value| {
        let mut rest = key.get(prefix.len()..).unwrap_or_default();
        let number = read_ordered(&mut rest).ok_or_else(|| malformed("chat number"))?;
        let taken = filling.take(&items::chat(snapshot, app, number, &chat_table::chat_in(value)?)?);
        if taken {
            last = number;
        }
        Ok(taken)
    })?;
    if filling.finish("chats", out) {
        Fields(out).number("next", last);
    }
    Ok(())
}

/// `formula.list`
///
/// # Errors
/// `not_found` when `after` is no formula.
pub fn formulas(snapshot: &Snapshot, page: &Page<String>, out: &mut Vec<u8>) -> Result<()> {
    let from = match &page.after {
        None => Vec::new(),
        Some(id) => {
            let seq = formula_table::seq_of(snapshot, id)?
                .ok_or_else(|| Error::not_found("there is no formula with this id").of_field("after"))?;
            behind(formula_table::order_key(seq))
        }
    };
    let mut filling = Filling::new(page.limit);
    let mut last = String::new();
    scan_prefix(snapshot, &[tag::FORMULA_ORDER], &from, &mut |key, id| {
        if filling.is_full() {
            return Ok(false);
        }
        let seq =
            key.get(1..).and_then(|mut rest| read_ordered(&mut rest)).ok_or_else(|| malformed("formula"))?;
        let taken = filling.take(&items::formula(snapshot, seq)?);
        if taken {
            last = String::from_utf8(id.to_vec()).map_err(|_| malformed("formula"))?;
        }
        Ok(taken)
    })?;
    if filling.finish("formulas", out) {
        Fields(out).text("next", &last);
    }
    Ok(())
}

/// `queue.list`
///
/// # Errors
/// What reading the table says.
pub fn queues(snapshot: &Snapshot, page: &Page<String>, out: &mut Vec<u8>) -> Result<()> {
    let mut filling = Filling::new(page.limit);
    let mut last = String::new();
    let from = page.after.as_ref().map(|after| behind([&[tag::QUEUE_NAME], after.as_bytes()].concat()));
    scan_prefix(snapshot, &[tag::QUEUE_NAME], &from.unwrap_or_default(), &mut |_, value| {
        if filling.is_full() {
            return Ok(false);
        }
        let queue = snapshot.queue(number_in(value)?)?.ok_or_else(|| malformed("queue"))?;
        let taken = filling.take(&items::queue(snapshot, &queue)?);
        if taken {
            last = queue.name.to_string();
        }
        Ok(taken)
    })?;
    if filling.finish("queues", out) {
        Fields(out).text("next", &last);
    }
    Ok(())
}

/// `queue.peek`
///
/// # Errors
/// `not_found`.
pub fn jobs(snapshot: &Snapshot, name: &str, state: JobState, limit: u64, out: &mut Vec<u8>) -> Result<()> {
    let queue = Queue::named(snapshot, name)?
        .ok_or_else(|| Error::not_found(format!("there is no queue {name:?}")))?;
    let mut filling = Filling::new(limit);
    let mut visit = |seq| {
        if filling.is_full() {
            return Ok(false);
        }
        Ok(filling.take(&items::job(snapshot, seq)?))
    };
    match state {
        JobState::Ready => queue.visit_ready(snapshot, &mut visit)?,
        other => queue.visit_state(snapshot, other, &mut visit)?,
    }
    // A peek shows the front: it has no cursor to go on from.
    filling.finish("jobs", out);
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
    let mut filling = Filling::new(limit);
    let mut next = from.max(1);
    while let Some(seq) = next_of_types(snapshot, next, types)? {
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

/// The first event of these types that is in the log at `from` or behind it.
///
/// # Errors
/// `corrupt`.
pub fn next_of_types(snapshot: &Snapshot, from: u64, types: Option<&[String]>) -> Result<Option<u64>> {
    let Some(types) = types else { return snapshot.next_record(from) };
    let sources = snapshot.sources();
    let start = sources.partition_point(|source| source.range().1 < from);
    for source in &sources[start..] {
        let mut first: Option<u64> = None;
        for name in types {
            let found = source.first_at_or_after(&term(Kind::Type, false, name.as_bytes()), from)?;
            first = first.into_iter().chain(found).min();
        }
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(None)
}
