//! The numbered chats of applications. Their counters are a value of their own, as those of applications are.

use super::apps::{self, TOKEN_BYTES};
use super::draft::Draft;
use super::event::Fact;
use super::lost;
use super::table::{Facts, Table, malformed, tag};
use crate::codec::{read_ordered, read_varint, write_ordered, write_varint};
use crate::error::{Error, Result};
use crate::json::fields::Fields;
use crate::time::Timestamp;

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

/// The table's key of something of a chat. Tokens have one length, so no two chats share a key.
#[must_use]
pub fn key(tag: u8, app: &str, chat: u64) -> Vec<u8> {
    let mut key = apps::key(tag, app);
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
    Ok((apps::token_in(app)?, chat))
}

/// The prefix of the table's keys of an application's chats.
#[must_use]
pub fn chats_prefix(app: &str) -> Vec<u8> {
    apps::key(tag::CHAT, app)
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
    apps::require(facts, app)?;
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
    if apps::find(facts, app)?.is_none() {
        return Ok(None);
    }
    facts.get(&key(tag::CHAT, app, number))?.map(|value| chat_in(&value)).transpose()
}

/// Whether the chat is there.
///
/// # Errors
/// What reading the table says.
pub fn is_there(facts: &dyn Facts, app: &str, number: u64) -> Result<bool> {
    Ok(apps::is_token(app)
        && facts.get(&key(tag::CHAT, app, number))?.is_some()
        && facts.get(&apps::key(tag::APP, app))?.is_some())
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
    let mut of_app = apps::counters(table, app)?;
    of_app.messages = of_app.messages + counters.messages - before;
    apps::put_counters(table, app, of_app);
    let mut value = Vec::with_capacity(6);
    write_varint(&mut value, counters.messages);
    write_varint(&mut value, counters.last_number);
    table.put(key(tag::CHAT_COUNTERS, app, chat), Some(value));
    Ok(())
}

/// `chat.create`
///
/// # Errors
/// `not_found`.
pub fn create(draft: &mut Draft<'_>, app: String, name: Option<String>) -> Result<()> {
    apps::require(draft, &app)?;
    let chat = apps::counters(draft, &app)?.last_chat + 1;
    let seq = draft.emit(Fact::ChatCreated { app, chat, name })?;
    Fields(draft.reply()).number("number", chat).number("seq", seq);
    Ok(())
}

/// `chat.update`
///
/// # Errors
/// `not_found`.
pub fn update(draft: &mut Draft<'_>, app: String, chat: u64, name: String) -> Result<()> {
    require_chat(draft, &app, chat)?;
    let seq = draft.emit(Fact::ChatUpdated { app, chat, name })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// `chat.delete`
///
/// # Errors
/// `not_found`.
pub fn delete(draft: &mut Draft<'_>, app: String, chat: u64) -> Result<()> {
    require_chat(draft, &app, chat)?;
    let seq = draft.emit(Fact::ChatDeleted { app, chat })?;
    Fields(draft.reply()).number("seq", seq);
    Ok(())
}

/// Applies what happened to a chat.
///
/// # Errors
/// What reading the table says.
pub fn apply(seq: u64, at: Timestamp, fact: &Fact, table: &mut dyn Table) -> Result<()> {
    match fact {
        Fact::ChatCreated { app, chat, name } => {
            apps::restore(seq, at, app, table)?;
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
            let mut counters = apps::counters(table, app)?;
            counters.chats -= 1;
            counters.messages -= messages;
            apps::put_counters(table, app, counters);
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
    let mut counters = apps::counters(table, app)?;
    counters.chats += 1;
    counters.last_chat = counters.last_chat.max(number);
    apps::put_counters(table, app, counters);
    table.counts_mut().chats += 1;
    Ok(())
}

/// Makes a chat again whose creation was lost, for what an event that is left says of it.
///
/// # Errors
/// What reading the table says.
pub fn restore_chat(seq: u64, at: Timestamp, app: &str, number: u64, table: &mut dyn Table) -> Result<()> {
    if lost::some(table) && !is_there(table, app, number)? {
        apps::restore(seq, at, app, table)?;
        add_chat(table, app, number, &Chat { created_at: at, name: None })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_given_stays_whatever_is_given_behind_it() {
        let mut counters = ChatCounters::default();
        [5, 3].into_iter().for_each(|number| counters.gave(number));
        assert_eq!(counters.last_number, 5);
    }
}
