//! What events say that is to be found again: terms, values of the table, and which messages changed.
//!
//! Events are numbered from the first one, and everything is noted with the number of its event: so
//! whoever looks names the last event that it may see.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::deletions::Deletions;
use super::dictionary::Dictionary;
use super::values::Values;
use crate::domain::event::{Event, Fact};
use crate::index::pairs::columns::Columns;
use crate::index::terms::{Kind, TermBuffers};

/// What happened to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has another text, found by the terms of edits: which edit that is.
    Edited(u32),
    /// It is gone.
    Deleted,
}

/// An edit of a message.
#[derive(Debug, Clone, Copy)]
pub struct Edit {
    event: u32,
    message: u64,
    /// The last event as of which it is the newest change of its message.
    newest_to: u32,
}

/// What events say.
#[derive(Debug, Default)]
pub struct Contents {
    /// The terms. The items of posts are numbers of events, those of edits are numbers in `edits`.
    pub dictionary: Dictionary,
    /// The pairs of the posts, by numbers of events.
    pub columns: Columns,
    /// The keys of the table.
    pub values: Values,
    /// Every edit.
    pub edits: Vec<Edit>,
    /// What happened to single messages, by message and event.
    pub changed: BTreeMap<(u64, u32), Change>,
    /// The messages that were deleted with their chat or application by an event.
    pub deletions: Deletions,
    buffers: TermBuffers,
}

impl Contents {
    /// Adds what an event says itself. That is all there is to add for one of a part of the log that was
    /// compacted, where the post of an edited message is gone.
    pub fn add_live(&mut self, event: &Event, number: u32) {
        let Contents { dictionary, columns, edits, buffers, .. } = self;
        // No name of a type holds a byte that is escaped.
        dictionary.give(Kind::Type.tag(false), event.fact.type_name().as_bytes(), number);
        match &event.fact {
            Fact::MessagePosted(message) => {
                buffers.each(message, false, &mut |word| columns.add_word(number, word), |tag, term| {
                    dictionary.give(tag, term, number);
                });
                columns.end_message(number);
            }
            Fact::MessageEdited { message, now, .. } => {
                let edit = u32::try_from(edits.len()).unwrap_or(u32::MAX);
                edits.push(Edit { event: number, message: *message, newest_to: u32::MAX });
                buffers.each(now, true, &mut |_| {}, |tag, term| dictionary.give(tag, term, edit));
            }
            _ => {}
        }
    }

    /// Adds an event and what it changes, but for what goes with a chat or an application.
    pub fn add(&mut self, event: &Event, number: u32) {
        self.add_live(event, number);
        match &event.fact {
            Fact::MessageEdited { message, .. } => {
                let edit = u32::try_from(self.edits.len().saturating_sub(1)).unwrap_or(u32::MAX);
                self.change(*message, number, Change::Edited(edit));
            }
            Fact::MessageDeleted { message, .. } => self.change(*message, number, Change::Deleted),
            _ => {}
        }
    }

    /// Adds the messages that an event deleted with their chat or application.
    pub fn delete(&mut self, number: u32, messages: RoaringTreemap) {
        self.deletions.add(number, messages);
    }

    fn change(&mut self, message: u64, number: u32, change: Change) {
        let before = self.changed.range((message, 0)..=(message, u32::MAX)).next_back();
        if let Some((_, Change::Edited(edit))) = before
            && let Some(edit) = self.edits.get_mut(*edit as usize)
        {
            edit.newest_to = number.saturating_sub(1);
        }
        self.changed.insert((message, number), change);
    }

    /// Whether an edit is the newest that happened to its message, of all events up to `upto`.
    #[must_use]
    pub fn is_current(&self, edit: u32, upto: u32) -> bool {
        let Some(Edit { event, message, newest_to }) = self.edits.get(edit as usize) else { return false };
        *event <= upto && upto <= *newest_to && !self.deletions.hold(*message, upto)
    }

    /// Whether something happened to a message by event `upto`.
    #[must_use]
    pub fn is_changed(&self, message: u64, upto: u32) -> bool {
        self.changed.range((message, 0)..=(message, upto)).next().is_some()
            || self.deletions.hold(message, upto)
    }

    /// The messages with a term of edits, as of event `upto`, in the order of their edits.
    #[must_use]
    pub fn edited_with(&self, term: &[u8], upto: u32) -> Vec<u64> {
        let items = self.dictionary.find(term).map(|term| self.dictionary.items(&term));
        self.edited(items.into_iter().flatten(), upto)
    }

    /// The messages of those edits that are current as of event `upto`.
    pub fn edited(&self, edits: impl Iterator<Item = u32>, upto: u32) -> Vec<u64> {
        let current = edits.filter(|edit| self.is_current(*edit, upto));
        current.filter_map(|edit| self.edits.get(edit as usize)).map(|edit| edit.message).collect()
    }

    /// The smallest and the largest seq of a message that something happened to, by whatever event.
    #[must_use]
    pub fn changed_range(&self) -> Option<(u64, u64)> {
        let single = |end: Option<(&(u64, u32), &Change)>| end.map(|((message, _), _)| *message);
        let gone = self.deletions.all();
        let low = gone.min().into_iter().chain(single(self.changed.first_key_value())).min()?;
        let high = gone.max().into_iter().chain(single(self.changed.last_key_value())).max()?;
        Some((low, high))
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.dictionary.held_bytes()
            + 16 * self.columns.list().len()
            + self.values.held_bytes()
            + size_of::<Edit>() * self.edits.len()
            + 40 * self.changed.len()
            + self.deletions.held_bytes()
    }
}
