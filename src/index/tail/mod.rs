//! The tail: the newest events, indexed in memory.
//!
//! A batch is added at once to what is there; nothing is frozen, sorted or merged for it. A snapshot
//! sees the tail as of its own last event: whatever is added later has a higher number and is passed
//! over, so the one tail serves every snapshot. When it has grown to its bound it is left as it is, a
//! new one begins, and the background makes a run file of it.
//!
//! A lock guards it. The writer holds it for a few events at a time, readers for one look-up or one
//! piece of a list, none of them while it waits for anything.
//!
//! - `dictionary` has the terms with their postings, `values` the keys of the table, `leaves` their order;
//!   `contents` has both and what happened to messages, `deletions` which went with their chats.
//! - `view` is the tail as one snapshot sees it; `cursor` walks it.
//! - `write` makes a run file of it.

pub mod contents;
pub mod cursor;
mod deletions;
pub mod dictionary;
mod leaves;
pub mod values;
pub mod view;
pub mod write;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use roaring::RoaringTreemap;

use super::postings;
use super::run::{Meta, Run};
use super::run_writer::{EachOffsets, RunWriter};
use super::terms::{Kind, chat_bytes, term};
use crate::domain::event::{Event, Fact};
use crate::domain::table::{Changes, Counts};
use crate::error::{Code, Error, Result};
use crate::time::Timestamp;
use contents::Contents;
use dictionary::Dictionary;
use view::View;

/// Keys of the table that are added without letting a reader in.
const ADDED_AT_ONCE: usize = 32;
/// Bytes of texts that are added without letting a reader in.
const ADDED_BYTES_AT_ONCE: usize = 16 << 10;
/// What an event counts for besides its text.
const AROUND_TEXT: usize = ADDED_BYTES_AT_ONCE / ADDED_AT_ONCE;

/// The newest events, or those before them that are on their way to a file.
#[derive(Debug)]
pub struct Tail {
    first: u64,
    inner: RwLock<Inner>,
    /// How many events were added.
    events: AtomicU64,
    /// Bytes that it takes.
    held: AtomicU64,
    /// Whether a long text is being added.
    takes_long: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    contents: Contents,
    /// Where each event's record lies in its segment.
    offsets: Vec<u32>,
    first_at: Timestamp,
    last_at: Timestamp,
    counts: Counts,
}

impl Inner {
    /// Appends the messages with a term of posts or one of edits. `first`: the seq of the first event.
    fn messages_with(&self, first: u64, [posts, edits]: &[Vec<u8>; 2], messages: &mut RoaringTreemap) {
        let dictionary = &self.contents.dictionary;
        if let Some(term) = dictionary.find(posts) {
            messages.extend(dictionary.items(&term).map(|event| first + u64::from(event)));
        }
        messages.extend(self.contents.edited_with(edits, u32::MAX));
    }
}

/// Events that follow those of a tail, and what came of them.
pub struct Added<'a> {
    /// The events, in order.
    pub events: &'a [Event],
    /// Where the record of each lies in its segment.
    pub offsets: &'a [u32],
    /// The table's keys that they changed, and the counts behind them.
    pub changes: Changes,
    /// How many there are of what, behind them.
    pub counts: Counts,
    /// For each event that deletes a chat or an application, see [`removals`].
    pub deleted: Vec<Removal>,
}

/// An event that deletes a chat or an application, by its seq, and the messages that go with it, as far as they
/// were there before its batch.
pub type Removal = (u64, RoaringTreemap);

/// What an event deletes with a chat or an application: a term of posts, and one of edits.
fn deleted_terms(event: &Event) -> Option<[Vec<u8>; 2]> {
    let (kind, bytes) = match &event.fact {
        Fact::ChatDeleted { app, chat } => (Kind::Chat, chat_bytes(app, *chat)),
        Fact::AppDeleted { token } => (Kind::App, token.as_bytes().to_vec()),
        _ => return None,
    };
    Some([false, true].map(|edit| term(kind, edit, &bytes)))
}

/// What goes with the chats and applications that events delete, of all that is in `runs` and `tails`. Asked for
/// at every write, of which hardly any deletes one.
///
/// # Errors
/// `corrupt`.
pub fn removals(events: &[Event], runs: &[Arc<Run>], tails: &[Arc<Tail>]) -> Result<Vec<Removal>> {
    events.iter().filter_map(|event| removal(event, runs, tails).transpose()).collect()
}

/// The messages that an event deletes with a chat or an application; of posts and of edits, because a merge
/// drops the post of a message that was edited. `None` for other events.
fn removal(event: &Event, runs: &[Arc<Run>], tails: &[Arc<Tail>]) -> Result<Option<Removal>> {
    let Some(terms) = deleted_terms(event) else { return Ok(None) };
    let mut messages = RoaringTreemap::new();
    for run in runs {
        for term in &terms {
            messages |= postings::set(run, term)?;
        }
    }
    tails.iter().for_each(|tail| tail.read().messages_with(tail.first, &terms, &mut messages));
    Ok(Some((event.seq, messages)))
}

/// Bytes of the texts of messages in events, each with some for what is around it.
fn text_bytes(events: &[Event]) -> usize {
    let of = |event: &Event| match &event.fact {
        Fact::MessagePosted(message) | Fact::MessageEdited { now: message, .. } => message.body.len(),
        _ => 0,
    };
    events.iter().map(|event| AROUND_TEXT + of(event)).sum()
}

/// Whether an event is to be added together with the one before.
fn at_once() -> impl FnMut(&Event, &Event) -> bool {
    let mut bytes = 0;
    move |before, next| {
        bytes += text_bytes(std::slice::from_ref(before));
        let together = bytes + text_bytes(std::slice::from_ref(next)) <= ADDED_BYTES_AT_ONCE;
        if !together {
            bytes = 0;
        }
        together
    }
}

impl Tail {
    /// An empty tail whose first event will be `first`.
    #[must_use]
    pub fn new(first: u64) -> Self {
        Tail {
            first,
            inner: RwLock::default(),
            events: AtomicU64::new(0),
            held: AtomicU64::new(0),
            takes_long: AtomicBool::new(false),
        }
    }

    /// An empty tail that follows another, and is likely to grow as large.
    #[must_use]
    pub fn behind(full: &Tail) -> Self {
        let new = Tail::new(full.last() + 1);
        new.write().contents.dictionary = Dictionary::with_room_of(&full.read().contents.dictionary);
        new
    }

    /// The seq of its first event.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The seq of its last event, one before the first when it is empty.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + self.events.load(Ordering::Acquire) - 1
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether what is added to it just now takes so long that nobody should wait for it who need not.
    #[must_use]
    pub fn takes_long(&self) -> bool {
        self.takes_long.load(Ordering::Relaxed)
    }

    /// The tail as of event `last`. `None` when it has none of the events up to there.
    #[must_use]
    pub fn view(&self, last: u64) -> Option<View<'_>> {
        let newest = self.events.load(Ordering::Acquire).checked_sub(1)?;
        let upto = last.checked_sub(self.first)?.min(newest);
        Some(View::new(self, u32::try_from(upto).unwrap_or(u32::MAX)))
    }

    // Nothing that is done under the lock can leave things half done: a panic elsewhere is no reason to
    // stop answering.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch. No snapshot sees it before its last event is one of this batch.
    pub fn add(&self, added: Added<'_>) {
        let Added { events, offsets, changes, counts, mut deleted } = added;
        let Some(last) = events.last() else { return };
        let number = |event: &Event| u32::try_from(event.seq - self.first).unwrap_or(u32::MAX);
        for some in events.chunk_by(at_once()) {
            // Of one long text all that it has is added at once.
            self.takes_long.store(text_bytes(some) > ADDED_BYTES_AT_ONCE, Ordering::Relaxed);
            let mut inner = self.write();
            for event in some {
                if let Some(terms) = deleted_terms(event) {
                    let known = deleted.iter_mut().find(|(seq, _)| *seq == event.seq);
                    let mut messages =
                        known.map(|(_, messages)| std::mem::take(messages)).unwrap_or_default();
                    // Those of its own batch came since.
                    inner.messages_with(self.first, &terms, &mut messages);
                    inner.contents.delete(number(event), messages);
                }
                inner.contents.add(event, number(event));
            }
        }
        self.takes_long.store(false, Ordering::Relaxed);
        let mut changed = changes.0.into_iter().peekable();
        while changed.peek().is_some() {
            let values = &mut self.write().contents.values;
            for (key, value) in changed.by_ref().take(ADDED_AT_ONCE) {
                values.set(&key, number(last), value.as_deref());
            }
        }
        let mut inner = self.write();
        if inner.offsets.is_empty() {
            inner.first_at = events.first().map_or(last.at, |first| first.at);
        }
        inner.offsets.extend_from_slice(offsets);
        (inner.last_at, inner.counts) = (last.at, counts);
        let held = inner.contents.held_bytes() + 4 * inner.offsets.len();
        self.held.store(held as u64, Ordering::Relaxed);
        self.events.store(inner.offsets.len() as u64, Ordering::Release);
    }

    /// How many keys and terms a file of it has to write.
    #[must_use]
    pub fn keys(&self) -> u64 {
        write::keys(&self.read().contents)
    }

    /// What a run file of it covers, less what the entries say of changes.
    ///
    /// # Errors
    /// `internal` when it is empty.
    pub fn meta(&self) -> Result<Meta> {
        let inner = self.read();
        if inner.offsets.is_empty() {
            return Err(Error::new(Code::Internal, "an empty tail makes no file"));
        }
        Ok(Meta {
            first: self.first,
            last: self.first + inner.offsets.len() as u64 - 1,
            dense_from: self.first,
            first_at: inner.first_at,
            last_at: inner.last_at,
            counts: inner.counts,
            ..Meta::default()
        })
    }

    /// Writes its entries. Nothing is added to it any more. `bottom`: there is no older run.
    ///
    /// # Errors
    /// `read_only` when they cannot be written.
    pub fn write_entries(&self, bottom: bool, writer: &mut RunWriter) -> Result<Meta> {
        let mut meta = self.meta()?;
        let Inner { contents, offsets, .. } = &*self.read();
        write::write_entries(contents, offsets, self.first, bottom, &mut meta, writer)?;
        Ok(meta)
    }
}

impl EachOffsets for Tail {
    fn each_offsets(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.read().offsets.iter().try_for_each(|offset| each(&offset.to_le_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing;

    #[test]
    fn its_description_is_of_all_its_events() {
        let events: Vec<Event> = testing::events().skip(3).take(4).collect();
        let tail = Tail::new(4);
        assert_eq!(tail.meta().map_err(|error| error.code()), Err(Code::Internal));
        for (number, event) in (1_u32..).zip(&events) {
            let counts = Counts { messages: u64::from(number), ..Counts::default() };
            let (offsets, changes) = ([100 * number], Changes::default());
            let added = Added {
                events: std::slice::from_ref(event),
                offsets: &offsets,
                changes,
                counts,
                deleted: Vec::new(),
            };
            tail.add(added);
        }
        let expected = Meta {
            first: 4,
            last: 7,
            dense_from: 4,
            first_at: events[0].at,
            last_at: events[3].at,
            counts: Counts { messages: 4, ..Counts::default() },
            ..Meta::default()
        };
        assert_eq!(tail.meta().expect("it has events"), expected);
        let view = tail.view(6).expect("it has events");
        assert_eq!((view.first(), view.last()), (4, 6));
        assert_eq!(
            [4, 6, 7].map(|seq| view.place(seq)),
            [Some((100, Some(200))), Some((300, Some(400))), None]
        );
        assert_eq!(tail.view(9).and_then(|view| view.place(7)), Some((400, None)));
        assert!(tail.view(3).is_none());
    }
}
