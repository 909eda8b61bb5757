//! Applications and their numbered chats.
//!
//! What a client named it and when is one value; the counters are another, because they change
//! with every message. Deleting an application removes only its own keys: what lies under its
//! token cannot be reached without it, and tokens are never given twice.

use super::draft::Draft;
use super::event::Fact;
use super::lost;
use super::table::{Counts, Facts, Table, malformed, tag};
use crate::codec::{read_ordered, read_varint, write_ordered, write_varint};
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

/// A chat, less its counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// When it was made.
    pub created_at: Timestamp,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// A chat's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChatCounters {
    /// Live messages.
    pub messages: u64,
    /// The highest number given to a message.
    pub last_number: u64,
}

impl ChatCounters {
    /// Notes that this number was given to a message.
    pub fn gave(&mut self, number: u64) {
        self.last_number = self.last_number.max(number);
    }
}

fn app_key(tag: u8, token: &str) -> Vec<u8> {
    [&[tag], token.as_bytes()].concat()
}

/// The table's key of an application's place in the order of creation.
#[must_use]
pub fn order_key(created: u64) -> Vec<u8> {
    let mut key = vec![tag::APP_ORDER];
    write_ordered(&mut key, created);
    key
}

/// The table's key of something of a chat. Tokens have one length, so no two chats share a key.
#[must_use]
pub fn key(tag: u8, app: &str, chat: u64) -> Vec<u8> {
    let mut key = app_key(tag, app);
    write_ordered(&mut key, chat);
    key
}

/// The application's token and the chat's number in a table's key of something of a chat.
///
/// # Errors
/// `internal` when it is none.
pub fn chat_in_key(key: &[u8]) -> Result<(String, u64)> {
    let (app, mut rest) = key.get(1..).and_then(|key| key.split_at_checked(TOKEN_BYTES)).unwrap_or_default();
    let chat = read_ordered(&mut rest).ok_or_else(|| malformed("chat"))?;
    Ok((token_in(app)?, chat))
}

/// The prefix of the table's keys of an application's chats.
#[must_use]
pub fn chats_prefix(app: &str) -> Vec<u8> {
    app_key(tag::CHAT, app)
}

fn is_token(text: &str) -> bool {
    text.len() == TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The application with that token.
///
/// # Errors
/// What reading the table says.
pub fn app(facts: &dyn Facts, token: &str) -> Result<Option<App>> {
    if !is_token(token) {
        return Ok(None);
    }
    let Some(value) = facts.get(&app_key(tag::APP, token))? else { return Ok(None) };
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
pub fn require_app(facts: &dyn Facts, token: &str) -> Result<App> {
    app(facts, token)?.ok_or_else(|| Error::not_found("there is no application with this token"))
}

fn app_value(app: &App) -> Vec<u8> {
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
pub fn app_counters(facts: &dyn Facts, token: &str) -> Result<AppCounters> {
    let Some(value) = facts.get(&app_key(tag::APP_COUNTERS, token))? else {
        return Ok(AppCounters::default());
    };
    let mut bytes = value.as_slice();
    let mut next = || read_varint(&mut bytes).ok_or_else(|| malformed("counter"));
    Ok(AppCounters { chats: next()?, last_chat: next()?, messages: next()? })
}

fn put_app_counters(table: &mut dyn Table, token: &str, counters: AppCounters) {
    let mut value = Vec::with_capacity(9);
    for number in [counters.chats, counters.last_chat, counters.messages] {
        write_varint(&mut value, number);
    }
    table.put(app_key(tag::APP_COUNTERS, token), Some(value));
}

/// A chat as it is stored under its key.
///
/// # Errors
/// `internal` when it cannot be read.
pub fn chat_in(value: &[u8]) -> Result<Chat> {
    let mut bytes = value;
    let created_at = Timestamp(read_varint(&mut bytes).ok_or_else(|| malformed("chat"))?);
    let name = match bytes.split_first() {
        Some((1, name)) => Some(String::from_utf8(name.to_vec()).map_err(|_| malformed("chat"))?),
        _ => None,
    };
    Ok(Chat { created_at, name })
}

fn put_chat(table: &mut dyn Table, app: &str, number: u64, chat: &Chat) {
    let mut value = Vec::with_capacity(16);
    write_varint(&mut value, chat.created_at.0);
    if let Some(name) = &chat.name {
        value.push(1);
        value.extend_from_slice(name.as_bytes());
    }
    table.put(key(tag::CHAT, app, number), Some(value));
}

/// The chat of that number.
///
/// # Errors
/// `not_found` when there is no such application or chat.
pub fn require_chat(facts: &dyn Facts, app: &str, number: u64) -> Result<Chat> {
    require_app(facts, app)?;
    match facts.get(&key(tag::CHAT, app, number))? {
        Some(value) => chat_in(&value),
        None => Err(Error::not_found(format!("the application has no chat {number}"))),
    }
}

/// The chat of that number, if it and its application are there.
///
/// # Errors
/// What reading the table says.
pub fn find_chat(facts: &dyn Facts, app: &str, number: u64) -> Result<Option<Chat>> {
    if self::app(facts, app)?.is_none() {
        return Ok(None);
    }
    facts.get(&key(tag::CHAT, app, number))?.map(|value| chat_in(&value)).transpose()
}

/// Whether the chat is there.
///
/// # Errors
/// What reading the table says.
pub fn is_there(facts: &dyn Facts, app: &str, number: u64) -> Result<bool> {
    Ok(is_token(app)
        && facts.get(&key(tag::CHAT, app, number))?.is_some()
        && facts.get(&app_key(tag::APP, app))?.is_some())
}

/// A chat's counters.
///
/// # Errors
/// What reading the table says.
pub fn chat_counters(facts: &dyn Facts, app: &str, number: u64) -> Result<ChatCounters> {
    let Some(value) = facts.get(&key(tag::CHAT_COUNTERS, app, number))? else {
        return Ok(ChatCounters::default());
    };
    let mut bytes = value.as_slice();
    let mut next = || read_varint(&mut bytes).ok_or_else(|| malformed("counter"));
    Ok(ChatCounters { messages: next()?, last_number: next()? })
}

/// The counters of a chat that must be there.
///
/// # Errors
/// `not_found`.
pub fn require(facts: &dyn Facts, app: &str, number: u64) -> Result<ChatCounters> {
    require_chat(facts, app, number)?;
    chat_counters(facts, app, number)
}

/// Changes a chat's counters, and those of its application and of all in step.
///
/// # Errors
/// What reading the table says.
pub fn count_message(
    table: &mut dyn Table,
    app: &str,
    chat: u64,
    change: impl FnOnce(&mut ChatCounters),
) -> Result<()> {
    let mut counters = chat_counters(table, app, chat)?;
    let before = counters.messages;
    change(&mut counters);
    let mut of_app = app_counters(table, app)?;
    of_app.messages = of_app.messages + counters.messages - before;
    put_app_counters(table, app, of_app);
    let mut value = Vec::with_capacity(6);
    write_varint(&mut value, counters.messages);
    write_varint(&mut value, counters.last_number);
    table.put(key(tag::CHAT_COUNTERS, app, chat), Some(value));
    Ok(())
}

/// `app.create`
///
/// # Errors
/// What reading the table says.
pub fn create_app(draft: &mut Draft<'_>, name: String) -> Result<()> {
    let token = new_token(draft)?;
    let seq = draft.emit(Fact::AppCreated { token: token.clone(), name })?;
    Fields(draft.reply()).text("token", &token).number("seq", seq);
    Ok(())
}

/// 24 letters and digits from a cryptographic source: 142 bits.
fn new_token(draft: &mut Draft<'_>) -> Result<String> {
    loop {
        let token = random_word(draft, TOKEN_BYTES);
        if app(draft, &token)?.is_none() {
            return Ok(token);
        }
    }
}

/// So many letters and digits from a cryptographic source, each equally likely.
pub fn random_word(draft: &mut Draft<'_>, length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut word = String::with_capacity(length);
    let mut bytes = [0; 32];
    while word.len() < length {
        draft.random(&mut bytes);
        // 248 is the largest multiple of 62 in a byte: what lies above would favour some letters.
        for byte in bytes.into_iter().filter(|byte| *byte < 248).take(length - word.len()) {
            word.push(char::from(ALPHABET[usize::from(byte % 62)]));
        }
    }
    word
}

/// `app.update`
///
/// # Errors
/// `not_found`.
pub fn update_app(draft: &mut Draft<'_>, token: String, name: String) -> Result<()> {
    require_app(draft, &token)?;
    let seq = draft.emit(Fact::AppUpdated { token, name })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// `app.delete`
///
/// # Errors
/// `not_found`.
pub fn delete_app(draft: &mut Draft<'_>, token: String) -> Result<()> {
    require_app(draft, &token)?;
    let seq = draft.emit(Fact::AppDeleted { token })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// `chat.create`
///
/// # Errors
/// `not_found`.
pub fn create_chat(draft: &mut Draft<'_>, app: String, name: Option<String>) -> Result<()> {
    require_app(draft, &app)?;
    let chat = app_counters(draft, &app)?.last_chat + 1;
    let seq = draft.emit(Fact::ChatCreated { app, chat, name })?;
    Fields(draft.reply()).number("number", chat).number("seq", seq);
    Ok(())
}

/// `chat.update`
///
/// # Errors
/// `not_found`.
pub fn update_chat(draft: &mut Draft<'_>, app: String, chat: u64, name: String) -> Result<()> {
    require_chat(draft, &app, chat)?;
    let seq = draft.emit(Fact::ChatUpdated { app, chat, name })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// `chat.delete`
///
/// # Errors
/// `not_found`.
pub fn delete_chat(draft: &mut Draft<'_>, app: String, chat: u64) -> Result<()> {
    require_chat(draft, &app, chat)?;
    let seq = draft.emit(Fact::ChatDeleted { app, chat })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// Applies what happened to an application or a chat.
///
/// # Errors
/// What reading the table says.
pub fn apply(seq: u64, at: Timestamp, fact: &Fact, table: &mut dyn Table) -> Result<()> {
    match fact {
        Fact::AppCreated { token, name } => {
            let app = App { created: seq, created_at: at, name: name.clone() };
            table.put(app_key(tag::APP, token), Some(app_value(&app)));
            table.put(order_key(seq), Some(token.clone().into_bytes()));
            table.counts_mut().apps += 1;
        }
        Fact::AppUpdated { token, name } => {
            restore_app(seq, at, token, table)?;
            let app = App { name: name.clone(), ..require_app(table, token)? };
            table.put(app_key(tag::APP, token), Some(app_value(&app)));
        }
        Fact::AppDeleted { token } => {
            let (app, counters) = (require_app(table, token)?, app_counters(table, token)?);
            table.put(app_key(tag::APP, token), None);
            table.put(app_key(tag::APP_COUNTERS, token), None);
            table.put(order_key(app.created), None);
            let Counts { apps, chats, messages, .. } = table.counts_mut();
            *apps -= 1;
            *chats -= counters.chats;
            *messages -= counters.messages;
        }
        Fact::ChatCreated { app, chat, name } => {
            restore_app(seq, at, app, table)?;
            add_chat(table, app, *chat, &Chat { created_at: at, name: name.clone() })?;
        }
        Fact::ChatUpdated { app, chat, name } => {
            restore_chat(seq, at, app, *chat, table)?;
            let renamed = Chat { name: Some(name.clone()), ..require_chat(table, app, *chat)? };
            put_chat(table, app, *chat, &renamed);
        }
        Fact::ChatDeleted { app, chat } => {
            // Its number was given, also where its creation was lost.
            restore_chat(seq, at, app, *chat, table)?;
            let messages = chat_counters(table, app, *chat)?.messages;
            let mut counters = app_counters(table, app)?;
            counters.chats -= 1;
            counters.messages -= messages;
            put_app_counters(table, app, counters);
            table.put(key(tag::CHAT, app, *chat), None);
            table.put(key(tag::CHAT_COUNTERS, app, *chat), None);
            let counts = table.counts_mut();
            counts.chats -= 1;
            counts.messages -= messages;
        }
        _ => return Err(malformed("chat")),
    }
    Ok(())
}

fn add_chat(table: &mut dyn Table, app: &str, number: u64, chat: &Chat) -> Result<()> {
    put_chat(table, app, number, chat);
    let mut counters = app_counters(table, app)?;
    counters.chats += 1;
    counters.last_chat = counters.last_chat.max(number);
    put_app_counters(table, app, counters);
    table.counts_mut().chats += 1;
    Ok(())
}

/// The name of an application whose creation was lost to damage.
const LOST_NAME: &str = "(its name was lost)";

/// Makes an application again whose creation was lost, for what an event that is left says of it.
fn restore_app(seq: u64, at: Timestamp, token: &str, table: &mut dyn Table) -> Result<()> {
    if lost::some(table) && app(table, token)?.is_none() {
        let created = Fact::AppCreated { token: token.to_owned(), name: LOST_NAME.to_owned() };
        apply(seq, at, &created, table)?;
    }
    Ok(())
}

/// Makes a chat again whose creation was lost, for what an event that is left says of it.
///
/// # Errors
/// What reading the table says.
pub fn restore_chat(seq: u64, at: Timestamp, app: &str, number: u64, table: &mut dyn Table) -> Result<()> {
    if lost::some(table) && !is_there(table, app, number)? {
        restore_app(seq, at, app, table)?;
        add_chat(table, app, number, &Chat { created_at: at, name: None })?;
    }
    Ok(())
}

/// The value of an order key: the token.
///
/// # Errors
/// `internal` when it is none.
pub fn token_in(value: &[u8]) -> Result<String> {
    String::from_utf8(value.to_vec()).map_err(|_| malformed("token"))
}
