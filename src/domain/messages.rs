//! Messages: to a recipient, or numbered in a chat.
//!
//! A message is known by the seq of its post. The table holds its number in its chat, and the seq
//! of its newest edit (0 once it is deleted). A chat that is gone has no messages.

use super::chats;
use super::draft::Draft;
use super::event::{Address, Event, Fact, Message};
use super::lost;
use super::parts::without_text;
use super::table::{Facts, Table, malformed, number_in, number_value, tag};
use crate::codec::write_ordered;
use crate::error::{Error, Result};
use crate::json::fields::Fields;
use crate::time::Timestamp;

/// Which message is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one posted under that seq.
    Seq(u64),
    /// The one of that number in a chat.
    Number {
        /// The application's token.
        app: String,
        /// The chat's number.
        chat: u64,
        /// The message's number.
        number: u64,
    },
}

/// Where a new message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To a recipient.
    Recipient(String),
    /// Into a chat, under its next number.
    Chat {
        /// The application's token.
        app: String,
        /// The chat's number.
        chat: u64,
    },
}

/// A live message: its post and its current form.
#[derive(Debug, Clone)]
pub struct Live {
    /// The seq of its post.
    pub seq: u64,
    /// When it was posted.
    pub posted_at: Timestamp,
    /// Its current form, without the text.
    pub now: Message,
    /// The record of its current form.
    pub record: Vec<u8>,
}

fn change_key(seq: u64) -> Vec<u8> {
    let mut key = vec![tag::MESSAGE_CHANGE];
    write_ordered(&mut key, seq);
    key
}

/// The table's key of a message's number.
#[must_use]
pub fn number_key(app: &str, chat: u64, number: u64) -> Vec<u8> {
    let mut key = chats::key(tag::MESSAGE_NUMBER, app, chat);
    write_ordered(&mut key, number);
    key
}

/// The record of the current form of the message posted as `seq`: of its post or its newest edit.
/// `None` when there is no such message any more. The record may be of another type of event.
///
/// # Errors
/// What reading the table and the log says.
pub fn current_record(facts: &dyn Facts, seq: u64) -> Result<Option<Vec<u8>>> {
    match change_of(facts, seq)? {
        None => facts.record(seq),
        Some(0) => Ok(None),
        Some(edit) => facts.record(edit),
    }
}

/// The seq of the newest edit of the message posted as `seq`, 0 once it is deleted. `None` when it is
/// as it was posted, or there is no such message.
///
/// # Errors
/// What reading the table says.
pub fn change_of(facts: &dyn Facts, seq: u64) -> Result<Option<u64>> {
    facts.get(&change_key(seq))?.map(|value| number_in(&value)).transpose()
}

/// The seq of the message that is meant.
///
/// # Errors
/// `not_found`.
pub fn locate(facts: &dyn Facts, target: &Target) -> Result<u64> {
    match target {
        Target::Seq(seq) => Ok(*seq),
        Target::Number { app, chat, number } => match facts.get(&number_key(app, *chat, *number))? {
            Some(value) if chats::is_there(facts, app, *chat)? => number_in(&value),
            _ => Err(Error::not_found(format!("there is no message {number} in chat {chat}"))),
        },
    }
}

/// The message that is meant, in its current form.
///
/// # Errors
/// `not_found`.
pub fn find(facts: &dyn Facts, target: &Target) -> Result<Live> {
    let seq = locate(facts, target)?;
    let missing = || Error::not_found(format!("there is no message with seq {seq}"));
    let record = current_record(facts, seq)?.ok_or_else(missing)?;
    let event = Event::decode(&without_text(&record).ok_or_else(missing)?)?;
    let live = match event.fact {
        Fact::MessagePosted(now) => Live { seq, posted_at: event.at, now, record },
        // An edit's own seq is no message's.
        Fact::MessageEdited { message, posted_at, now } if message == seq => {
            Live { seq, posted_at, now, record }
        }
        _ => return Err(missing()),
    };
    if let Address::Chat { app, chat, .. } = &live.now.address
        && !chats::is_there(facts, app, *chat)?
    {
        return Err(missing());
    }
    Ok(live)
}

/// `message.post`
///
/// # Errors
/// `not_found` when there is no such chat.
pub fn post(
    draft: &mut Draft<'_>,
    destination: Destination,
    originator: Option<String>,
    body: String,
) -> Result<()> {
    let address = match destination {
        Destination::Recipient(recipient) => Address::Recipient(recipient),
        Destination::Chat { app, chat } => {
            let number = chats::require(draft, &app, chat)?.last_number + 1;
            Address::Chat { app, chat, number }
        }
    };
    let number = match address {
        Address::Chat { number, .. } => Some(number),
        Address::Recipient(_) => None,
    };
    let seq = draft.emit(Fact::MessagePosted(Message { address, originator, body }))?;
    let at = draft.at();
    let mut fields = Fields(draft.reply());
    if let Some(number) = number {
        fields.number("number", number);
    }
    fields.number("seq", seq).time("at", at);
    Ok(())
}

/// `message.edit`
///
/// # Errors
/// `not_found`.
pub fn edit(draft: &mut Draft<'_>, target: &Target, body: String) -> Result<()> {
    let Live { seq, posted_at, now, .. } = find(draft, target)?;
    let now = Message { body, ..now };
    let change = draft.emit(Fact::MessageEdited { message: seq, posted_at, now })?;
    Fields(draft.reply()).number("seq", change);
    Ok(())
}

/// `message.delete`
///
/// # Errors
/// `not_found`.
pub fn delete(draft: &mut Draft<'_>, target: &Target) -> Result<()> {
    let live = find(draft, target)?;
    let change = draft.emit(Fact::MessageDeleted { message: live.seq, address: live.now.address })?;
    Fields(draft.reply()).number("seq", change);
    Ok(())
}

/// Applies what happened to a message.
///
/// # Errors
/// What reading the table says.
pub fn apply(seq: u64, at: Timestamp, fact: &Fact, table: &mut dyn Table) -> Result<()> {
    match fact {
        Fact::MessagePosted(message) => enter(seq, at, &message.address, table)?,
        Fact::MessageEdited { message, now, .. } => {
            if is_gone(*message, table)? {
                // Its post was lost, and an edit holds the whole message.
                enter(*message, at, &now.address, table)?;
            }
            table.put(change_key(*message), Some(number_value(seq)));
        }
        Fact::MessageDeleted { message, address } => {
            let gone = is_gone(*message, table)?;
            table.put(change_key(*message), Some(number_value(0)));
            if gone {
                // Its number was given all the same.
                return match address {
                    Address::Chat { app, chat, number } => {
                        chats::restore_chat(seq, at, app, *chat, table)?;
                        chats::count_message(table, app, *chat, |counters| counters.gave(*number))
                    }
                    Address::Recipient(_) => Ok(()),
                };
            }
            table.counts_mut().messages -= 1;
            if let Address::Chat { app, chat, number } = address {
                table.put(number_key(app, *chat, *number), None);
                chats::count_message(table, app, *chat, |counters| counters.messages -= 1)?;
            }
        }
        _ => return Err(malformed("message")),
    }
    Ok(())
}

/// Brings a message in.
fn enter(seq: u64, at: Timestamp, address: &Address, table: &mut dyn Table) -> Result<()> {
    table.counts_mut().messages += 1;
    if let Address::Chat { app, chat, number } = address {
        chats::restore_chat(seq, at, app, *chat, table)?;
        table.put(number_key(app, *chat, *number), Some(number_value(seq)));
        chats::count_message(table, app, *chat, |counters| {
            counters.gave(*number);
            counters.messages += 1;
        })?;
    }
    Ok(())
}

/// Whether the message's post was lost, and no edit has brought it back.
fn is_gone(message: u64, table: &dyn Table) -> Result<bool> {
    let gone = lost::is_lost(table, message)? || lost::is_untold(table, message)?;
    Ok(gone && table.get(&change_key(message))?.is_none())
}
