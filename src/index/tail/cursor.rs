//! Cursors over the tail. Each takes the lock for as long as one look takes.

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::contents::Contents;
use super::dictionary::Term;
use super::view::View;
use crate::domain::command::Order;
use crate::error::Result;
use crate::index::cursor::{Cursor, rank};

/// Postings that are copied at first, and at most at once.
const COPIED_AT_FIRST: usize = 32;
const COPIED_AT_MOST: usize = 2048;

/// The postings of a term of posts.
pub struct TailPostings<'t> {
    view: View<'t>,
    order: Order,
    /// How many there are, those that are not seen included.
    size: u64,
    /// Ranks copied, ascending.
    ranks: Vec<u64>,
    at: usize,
    /// Where older postings go on, when newest come first.
    place: u32,
    step: usize,
}

impl<'t> TailPostings<'t> {
    /// Stands at the first item that is seen.
    #[must_use]
    pub fn open(view: View<'t>, term: &Term, order: Order) -> Self {
        let inner = view.tail.read();
        let size = u64::from(inner.contents.dictionary.count(term));
        let (ranks, step) = (Vec::new(), COPIED_AT_FIRST);
        let mut cursor = TailPostings { view, order, size, ranks, at: 0, place: u32::MAX, step };
        let mut items = inner.contents.dictionary.items(term);
        if order == Order::Newest {
            cursor.place = items.place();
            drop(inner);
            cursor.refill();
        } else {
            let seen = items.by_ref().skip_while(|event| *event > view.upto);
            cursor.ranks = seen.map(|event| view.seq(event)).collect();
            cursor.ranks.reverse();
        }
        cursor
    }

    /// Copies the next older postings.
    fn refill(&mut self) {
        self.ranks.clear();
        self.at = 0;
        let view = self.view;
        let inner = view.tail.read();
        let mut items = inner.contents.dictionary.items_from(self.place);
        let seen = items.by_ref().skip_while(|event| *event > view.upto).take(self.step);
        self.ranks.extend(seen.map(|event| rank(self.order, view.seq(event))));
        self.place = items.place();
        self.step = COPIED_AT_MOST.min(2 * self.step);
    }
}

impl Cursor for TailPostings<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn current(&self) -> Option<u64> {
        self.ranks.get(self.at).copied()
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        while let Some(last) = self.ranks.last() {
            if *last >= target {
                let left = self.ranks.get(self.at..).unwrap_or_default();
                self.at += left.partition_point(|rank| *rank < target);
                break;
            }
            self.refill();
        }
        Ok(())
    }
}

/// The postings of many terms of posts together, newest first.
pub struct TailUnion<'t> {
    view: View<'t>,
    /// The newest item left of each term, and where its older ones go on.
    next: BinaryHeap<(u32, u32)>,
    /// How many there are of all terms, those that are not seen included.
    size: u64,
}

impl<'t> TailUnion<'t> {
    /// Stands at the newest item.
    #[must_use]
    pub fn open(view: View<'t>, contents: &Contents, terms: &[Term]) -> Self {
        let newest = terms.iter().filter_map(|term| {
            let mut items = contents.dictionary.items(term);
            let item = items.find(|event| *event <= view.upto)?;
            Some((item, items.place()))
        });
        let size = terms.iter().map(|term| u64::from(contents.dictionary.count(term))).sum();
        TailUnion { view, next: newest.collect(), size }
    }
}

impl Cursor for TailUnion<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn current(&self) -> Option<u64> {
        self.next.peek().map(|(item, _)| rank(Order::Newest, self.view.seq(*item)))
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        if self.current().is_none_or(|current| current >= target) {
            return Ok(());
        }
        let seq = rank(Order::Newest, target);
        let inner = self.view.tail.read();
        while let Some(mut newest) = self.next.peek_mut().filter(|newest| self.view.seq(newest.0) > seq) {
            let mut items = inner.contents.dictionary.items_from(newest.1);
            match items.find(|event| self.view.seq(*event) <= seq) {
                Some(item) => *newest = (item, items.place()),
                None => drop(PeekMut::pop(newest)),
            }
        }
        Ok(())
    }
}

/// The messages whose columns have all of some bits.
pub struct TailAdjacent<'t> {
    view: View<'t>,
    bits: u64,
    order: Order,
    current: Option<u64>,
}

impl<'t> TailAdjacent<'t> {
    /// Stands at the first.
    #[must_use]
    pub fn open(view: View<'t>, bits: u64, order: Order) -> Self {
        let mut cursor = TailAdjacent { view, bits, order, current: None };
        cursor.find(0);
        cursor
    }

    fn find(&mut self, target: u64) {
        let View { tail, upto } = self.view;
        let seq = rank(self.order, target);
        let inner = tail.read();
        let columns = inner.contents.columns.list();
        let matches = |column: &&(u32, u64)| column.0 <= upto && column.1 & self.bits == self.bits;
        let found = match self.order {
            Order::Newest => {
                let end = columns.partition_point(|(number, _)| self.view.seq(*number) <= seq);
                columns[..end].iter().rev().find(matches)
            }
            Order::Oldest => {
                let start = columns.partition_point(|(number, _)| self.view.seq(*number) < seq);
                columns[start..].iter().find(matches)
            }
        };
        self.current = found.map(|(number, _)| rank(self.order, self.view.seq(*number)));
    }
}

impl Cursor for TailAdjacent<'_> {
    fn current(&self) -> Option<u64> {
        self.current
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        if self.current.is_some_and(|current| current < target) {
            self.find(target);
        }
        Ok(())
    }
}

/// The messages that something happened to, one by one.
pub struct TailChanged<'t> {
    view: View<'t>,
    order: Order,
    current: Option<u64>,
}

impl<'t> TailChanged<'t> {
    /// Stands at the first.
    #[must_use]
    pub fn open(view: View<'t>, contents: &Contents, order: Order) -> Self {
        TailChanged { view, order, current: changed_from(contents, view.upto, order, 0).next() }
    }
}

/// The messages, as ranks in order, from `target` on that something happened to by event `upto`. One that changed
/// several times comes as often.
fn changed_from(contents: &Contents, upto: u32, order: Order, target: u64) -> impl Iterator<Item = u64> {
    let seq = rank(order, target);
    let later = (order == Order::Oldest).then(|| contents.changed.range((seq, 0)..));
    let earlier = (order == Order::Newest).then(|| contents.changed.range(..=(seq, u32::MAX)).rev());
    let all = later.into_iter().flatten().chain(earlier.into_iter().flatten());
    all.filter(move |((_, event), _)| *event <= upto).map(move |((message, _), _)| rank(order, *message))
}

impl Cursor for TailChanged<'_> {
    fn current(&self) -> Option<u64> {
        self.current
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        if self.current.is_some_and(|current| current < target) {
            let inner = self.view.tail.read();
            self.current = changed_from(&inner.contents, self.view.upto, self.order, target).next();
        }
        Ok(())
    }

    fn take_before(&mut self, end: u64, out: &mut Vec<u64>) -> Result<()> {
        let Some(first) = self.current.take() else { return Ok(()) };
        let inner = self.view.tail.read();
        let mut before = None;
        for found in changed_from(&inner.contents, self.view.upto, self.order, first) {
            if found >= end {
                self.current = Some(found);
                break;
            }
            if before.replace(found) != Some(found) {
                out.push(found);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Address, Event, Fact, Message};
    use crate::domain::table::{Changes, Counts};
    use crate::index::tail::view::Words;
    use crate::index::tail::{Added, Tail};
    use crate::index::terms::{word_prefix, word_term};
    use crate::time::Timestamp;

    #[test]
    fn lists_know_how_long_they_are_whichever_comes_first() {
        let tail = Tail::new(1);
        let post = |seq: u64| {
            let body = if seq.is_multiple_of(7) { "ab ac" } else { "ab" };
            let message =
                Message { address: Address::Recipient("r".into()), originator: None, body: body.into() };
            Event { seq, at: Timestamp(seq), uid: 0, fact: Fact::MessagePosted(message) }
        };
        let events: Vec<Event> = (1..=70).map(post).collect();
        let (changes, counts, deleted) = (Changes::default(), Counts::default(), Vec::new());
        tail.add(Added { events: &events, offsets: &[0; 70], changes, counts, deleted });
        let view = tail.view(70).expect("it has events");
        for order in [Order::Newest, Order::Oldest] {
            let size = |word: &str| view.postings(&word_term(false, word), order).map(|list| list.size());
            assert_eq!([size("ab"), size("ac"), size("a")], [Some(70), Some(10), None], "{order:?}");
            let both = view.with_words(&word_prefix(false, "a"), Words::Beginning, order);
            assert_eq!(both.map(|both| both.size()), Some(80), "{order:?}");
        }
    }
}
