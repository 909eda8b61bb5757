//! The tail as one snapshot sees it.

use std::ops::Bound;

use super::contents::Contents;
use super::cursor::{TailAdjacent, TailChanged, TailPostings, TailUnion};
use super::dictionary::Term;
use super::{Inner, Tail};
use crate::domain::command::Order;
use crate::error::Result;
use crate::index::cursor::{Boxed, Gathered, boxed};
use crate::index::terms::{is_of_edits, may_be_cut};
use crate::time::Timestamp;

/// Entries of the table that are copied at once.
const ENTRIES_AT_ONCE: usize = 64;

/// A key of the table and its value, `None` when it was removed.
pub type Entry = (Vec<u8>, Option<Vec<u8>>);

/// Which words to look for among all of the tail.
#[derive(Debug, Clone, Copy)]
pub enum Words<'w> {
    /// Those that begin so.
    Beginning,
    /// Those that end so.
    Ending(&'w [u8]),
    /// Those that hold this.
    Holding(&'w [u8]),
}

/// The tail as of an event.
#[derive(Debug, Clone, Copy)]
pub struct View<'t> {
    pub(super) tail: &'t Tail,
    /// The number of the last event that is seen.
    pub(super) upto: u32,
}

impl<'t> View<'t> {
    pub(super) fn new(tail: &'t Tail, upto: u32) -> Self {
        View { tail, upto }
    }

    /// The seq of its first event.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.tail.first
    }

    /// The seq of the last event that is seen.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.seq(self.upto)
    }

    /// The seq of an event by its number.
    pub(super) fn seq(&self, number: u32) -> u64 {
        self.tail.first + u64::from(number)
    }

    /// The time of its first event.
    #[must_use]
    pub fn first_at(&self) -> Timestamp {
        self.tail.read().first_at
    }

    /// The time of the last event that was added, seen or not.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.tail.read().last_at
    }

    /// Where the record of a seq lies in its segment, and the next one's if it is known.
    #[must_use]
    pub fn place(&self, seq: u64) -> Option<(u32, Option<u32>)> {
        let number = usize::try_from(seq.checked_sub(self.tail.first)?).ok()?;
        if number > self.upto as usize {
            return None;
        }
        let Inner { offsets, .. } = &*self.tail.read();
        Some((*offsets.get(number)?, offsets.get(number + 1).copied()))
    }

    /// The value of a table's key, whose hash by `filter::hash` is given: `Some(None)` when it was removed
    /// here.
    #[must_use]
    pub fn value(&self, key: &[u8], hash: u64) -> Option<Option<Vec<u8>>> {
        let inner = self.tail.read();
        inner.contents.values.get(key, hash, self.upto).map(|value| value.map(<[u8]>::to_vec))
    }

    /// Some entries of the table behind a bound and below `to`, in order. Fewer than were asked for are
    /// the last ones.
    pub(super) fn entries(&self, from: Bound<&[u8]>, to: &[u8]) -> Vec<Entry> {
        let inner = self.tail.read();
        let range = inner.contents.values.range(from, to, self.upto).take(ENTRIES_AT_ONCE);
        range.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect()
    }

    /// Walks the entries of the table from `from` on and below `to`.
    #[must_use]
    pub fn walk(&self, from: &[u8], to: &[u8]) -> Walk<'t> {
        let entries = self.entries(Bound::Included(from), to);
        let more = entries.len() == ENTRIES_AT_ONCE;
        Walk { view: *self, to: to.to_vec(), entries: entries.into_iter(), current: None, more }.first()
    }

    /// The messages that have a term. `None` when there are none.
    #[must_use]
    pub fn postings(&self, term: &[u8], order: Order) -> Option<Boxed<'t>> {
        if term.first().is_some_and(|tag| is_of_edits(*tag)) {
            let edited = self.tail.read().contents.edited_with(term, self.upto);
            return boxed(Gathered::of(edited, order));
        }
        let term = self.tail.read().contents.dictionary.find(term)?;
        boxed(TailPostings::open(*self, &term, order))
    }

    /// The messages that have one of the words, which all share `prefix` with their tag.
    #[must_use]
    pub fn with_words(&self, prefix: &[u8], words: Words<'_>, order: Order) -> Option<Boxed<'t>> {
        let Inner { contents, .. } = &*self.tail.read();
        let terms = words_like(contents, prefix, words);
        let of_edits = prefix.first().is_some_and(|tag| is_of_edits(*tag));
        if order == Order::Newest && !of_edits {
            return boxed(TailUnion::open(*self, contents, &terms));
        }
        let mut seqs = Vec::new();
        for term in &terms {
            let items = contents.dictionary.items(term);
            if of_edits {
                seqs.extend(contents.edited(items, self.upto));
            } else {
                seqs.extend(items.filter(|event| *event <= self.upto).map(|event| self.seq(event)));
            }
        }
        boxed(Gathered::of(seqs, order))
    }

    /// The messages that may have words next to each other that set some bits.
    #[must_use]
    pub fn adjacent(&self, bits: u64, order: Order) -> Option<Boxed<'t>> {
        boxed(TailAdjacent::open(*self, bits, order))
    }

    /// How many messages have a term, those that changed since included. Of a term of edits a tail says only whether
    /// there may be any: it counts edits that came since, too.
    #[must_use]
    pub fn count(&self, term: &[u8]) -> u64 {
        let Inner { contents, .. } = &*self.tail.read();
        let Some(term) = contents.dictionary.find(term) else { return 0 };
        let later = contents.dictionary.items(&term).take_while(|event| *event > self.upto);
        u64::from(contents.dictionary.count(&term)) - later.count() as u64
    }

    /// The events with a term of their type from `seq` on, oldest first. `None` when there are none. Newer ones are
    /// nearer, so those before `seq` are not passed.
    #[must_use]
    pub fn postings_from(&self, term: &[u8], seq: u64) -> Option<Boxed<'t>> {
        let Inner { contents, .. } = &*self.tail.read();
        let term = contents.dictionary.find(term)?;
        let seen = contents.dictionary.items(&term).skip_while(|event| *event > self.upto);
        let seqs = seen.map(|event| self.seq(event)).take_while(|found| *found >= seq);
        boxed(Gathered::of(seqs.collect(), Order::Oldest))
    }

    /// Whether something may have happened to messages from `low` to `high`.
    #[must_use]
    pub fn touches(&self, low: u64, high: u64) -> bool {
        let range = self.tail.read().contents.changed_range();
        range.is_some_and(|(lowest, highest)| lowest <= high && highest >= low)
    }

    /// Whether it may hold terms of edits.
    #[must_use]
    pub fn has_edits(&self) -> bool {
        !self.tail.read().contents.edits.is_empty()
    }

    /// Adds the messages that something happened to: older postings of theirs are dead.
    ///
    /// # Errors
    /// None: all is in memory.
    pub fn changed(&self, order: Order, dead: &mut Vec<Boxed<'t>>) -> Result<()> {
        let Inner { contents, .. } = &*self.tail.read();
        dead.extend(contents.deletions.cursor(self.upto, order)?);
        if !contents.changed.is_empty() {
            dead.extend(boxed(TailChanged::open(*self, contents, order)));
        }
        Ok(())
    }
}

/// The terms that begin with `prefix` and whose words are as wanted, and those that may stand for longer
/// ones that are.
fn words_like(contents: &Contents, prefix: &[u8], words: Words<'_>) -> Vec<Term> {
    let dictionary = &contents.dictionary;
    let mut terms = match words {
        Words::Beginning => return dictionary.beginning_with(prefix),
        // A word ends with its terminator.
        Words::Ending(part) => dictionary.containing(prefix, &[part, &[0]].concat()),
        Words::Holding(part) => dictionary.containing(prefix, part),
    };
    let word = |term: &Term| dictionary.bytes(term).get(prefix.len()..).unwrap_or_default();
    terms.extend(dictionary.long(prefix).filter(|term| may_be_cut(word(term))));
    terms
}

/// A walk through entries of the table.
pub struct Walk<'t> {
    view: View<'t>,
    to: Vec<u8>,
    entries: std::vec::IntoIter<Entry>,
    current: Option<Entry>,
    more: bool,
}

impl Walk<'_> {
    fn first(mut self) -> Self {
        self.current = self.entries.next();
        self
    }

    /// The entry that it is at. `None` at the end.
    #[must_use]
    pub fn current(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.current.as_ref().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// Goes to the next entry.
    pub fn advance(&mut self) {
        let before = self.current.take();
        self.current = self.entries.next();
        if self.current.is_none()
            && std::mem::take(&mut self.more)
            && let Some((key, _)) = before
        {
            let entries = self.view.entries(Bound::Excluded(&key), &self.to);
            self.more = entries.len() == ENTRIES_AT_ONCE;
            self.entries = entries.into_iter();
            self.current = self.entries.next();
        }
    }
}
