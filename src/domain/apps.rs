//! Applications: a name, and a token that is the key to all that lies under it.
//!
//! What a client named it and when is one value; the counters are another, because they change
//! with every message. Deleting an application removes only its own keys: what lies under its
//! token cannot be reached without it, and tokens are never given twice.

use super::draft::Draft;
use super::event::Fact;
use super::lost;
use super::table::{Counts, Facts, Table, malformed, tag};
use crate::codec::{read_varint, write_ordered, write_varint};
use crate::error::{Error, Result};
use crate::json::fields::Fields;
use crate::time::Timestamp;

/// Length of an application's token.
pub const TOKEN_BYTES: usize = 24;

/// An application, less its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// The seq of its creation.
    pub created: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its name.
    pub name: String,
}

/// An application's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppCounters {
    /// Live chats.
    pub chats: u64,
    /// The highest number given to a chat.
    pub last_chat: u64,
    /// Live messages in all chats.
    pub messages: u64,
}

pub(super) fn key(tag: u8, token: &str) -> Vec<u8> {
    [&[tag], token.as_bytes()].concat()
}

/// The table's key of an application's place in the order of creation.
#[must_use]
pub fn order_key(created: u64) -> Vec<u8> {
    let mut key = vec![tag::APP_ORDER];
    write_ordered(&mut key, created);
    key
}

pub(super) fn is_token(text: &str) -> bool {
    text.len() == TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The application with that token.
///
/// # Errors
/// What reading the table says.
pub fn find(facts: &dyn Facts, token: &str) -> Result<Option<App>> {
    if !is_token(token) {
        return Ok(None);
    }
    let Some(value) = facts.get(&key(tag::APP, token))? else { return Ok(None) };
    let mut bytes = value.as_slice();
    let created = read_varint(&mut bytes).ok_or_else(|| malformed("application"))?;
    let created_at = Timestamp(read_varint(&mut bytes).ok_or_else(|| malformed("application"))?);
    let name = String::from_utf8(bytes.to_vec()).map_err(|_| malformed("application"))?;
    Ok(Some(App { created, created_at, name }))
}

/// The application with that token, or the refusal.
///
/// # Errors
/// `not_found`.
pub fn require(facts: &dyn Facts, token: &str) -> Result<App> {
    find(facts, token)?.ok_or_else(|| Error::not_found("there is no application with this token"))
}

fn value_of(app: &App) -> Vec<u8> {
    let mut value = Vec::with_capacity(16 + app.name.len());
    write_varint(&mut value, app.created);
    write_varint(&mut value, app.created_at.0);
    value.extend_from_slice(app.name.as_bytes());
    value
}

/// An application's counters.
///
/// # Errors
/// What reading the table says.
pub fn counters(facts: &dyn Facts, token: &str) -> Result<AppCounters> {
    let Some(value) = facts.get(&key(tag::APP_COUNTERS, token))? else {
        return Ok(AppCounters::default());
    };
    let mut bytes = value.as_slice();
    let mut next = || read_varint(&mut bytes).ok_or_else(|| malformed("counter"));
    Ok(AppCounters { chats: next()?, last_chat: next()?, messages: next()? })
}

pub(super) fn put_counters(table: &mut dyn Table, token: &str, counters: AppCounters) {
    let mut value = Vec::with_capacity(9);
    for number in [counters.chats, counters.last_chat, counters.messages] {
        write_varint(&mut value, number);
    }
    table.put(key(tag::APP_COUNTERS, token), Some(value));
}

/// The value of an order key: the token.
///
/// # Errors
/// `internal` when it is none.
pub fn token_in(value: &[u8]) -> Result<String> {
    String::from_utf8(value.to_vec()).map_err(|_| malformed("token"))
}

/// `app.create`
///
/// # Errors
/// What reading the table says.
pub fn create(draft: &mut Draft<'_>, name: String) -> Result<()> {
    let token = new_token(draft)?;
    let seq = draft.emit(Fact::AppCreated { token: token.clone(), name })?;
    Fields(draft.reply()).text("token", &token).number("seq", seq);
    Ok(())
}

/// 24 letters and digits from a cryptographic source: 142 bits.
fn new_token(draft: &mut Draft<'_>) -> Result<String> {
    loop {
        let token = draft.random_word(TOKEN_BYTES);
        if find(draft, &token)?.is_none() {
            return Ok(token);
        }
    }
}

/// `app.update`
///
/// # Errors
/// `not_found`.
pub fn update(draft: &mut Draft<'_>, token: String, name: String) -> Result<()> {
    require(draft, &token)?;
    let seq = draft.emit(Fact::AppUpdated { token, name })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// `app.delete`
///
/// # Errors
/// `not_found`.
pub fn delete(draft: &mut Draft<'_>, token: String) -> Result<()> {
    require(draft, &token)?;
    let seq = draft.emit(Fact::AppDeleted { token })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// Applies what happened to an application.
///
/// # Errors
/// What reading the table says.
pub fn apply(seq: u64, at: Timestamp, fact: &Fact, table: &mut dyn Table) -> Result<()> {
    match fact {
        Fact::AppCreated { token, name } => {
            let app = App { created: seq, created_at: at, name: name.clone() };
            table.put(key(tag::APP, token), Some(value_of(&app)));
            table.put(order_key(seq), Some(token.clone().into_bytes()));
            table.counts_mut().apps += 1;
        }
        Fact::AppUpdated { token, name } => {
            restore(seq, at, token, table)?;
            let app = App { name: name.clone(), ..require(table, token)? };
            table.put(key(tag::APP, token), Some(value_of(&app)));
        }
        Fact::AppDeleted { token } => {
            let (app, counters) = (require(table, token)?, counters(table, token)?);
            table.put(key(tag::APP, token), None);
            table.put(key(tag::APP_COUNTERS, token), None);
            table.put(order_key(app.created), None);
            let Counts { apps, chats, messages, .. } = table.counts_mut();
            *apps -= 1;
            *chats -= counters.chats;
            *messages -= counters.messages;
        }
        _ => return Err(malformed("application")),
    }
    Ok(())
}

/// The name of an application whose creation was lost to damage.
const LOST_NAME: &str = "(its name was lost)";

/// Makes an application again whose creation was lost, for what an event that is left says of it.
pub(super) fn restore(seq: u64, at: Timestamp, token: &str, table: &mut dyn Table) -> Result<()> {
    if lost::some(table) && find(table, token)?.is_none() {
        let created = Fact::AppCreated { token: token.to_owned(), name: LOST_NAME.to_owned() };
        apply(seq, at, &created, table)?;
    }
    Ok(())
}
