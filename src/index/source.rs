//! A piece of the index to look in: a run file, or a tail as a snapshot sees it.
//!
//! Pieces follow each other: each covers a range of seqs. A piece holds the terms of the messages that
//! were posted in its range, those of older messages that were edited in it, and says which messages
//! its events changed.

use std::sync::Arc;

use super::cursor::{Boxed, Cursor, Listed, Postings, boxed};
use super::pairs::cursor::Adjacent;
use super::postings;
use super::run::Run;
use super::tail::view::{View, Words};
use super::terms::{Kind, may_be_cut, term};
use super::union::{Apart, Union};
use crate::domain::command::Order;
use crate::error::Result;

/// Changed messages of a run that stay in memory, at most: whoever walks sets of edits asks for them each time, and
/// every search does where one set of all that was changed would be too large. There are so many only in the few large
/// runs.
const CHANGED_KEPT: u64 = 1 << 15;

/// A piece of the index.
#[derive(Clone, Copy)]
pub enum Source<'s> {
    /// A run.
    Run(&'s Run),
    /// A tail.
    Tail(View<'s>),
}

impl<'s> Source<'s> {
    /// The first and the last seq that it covers; of a tail it is no matter if the last is not seen yet.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        match self {
            Source::Run(run) => (run.meta().first, run.meta().last),
            Source::Tail(view) => (view.first(), view.last()),
        }
    }

    /// The messages that have a term. `None` when there are none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn postings(&self, term: &[u8], order: Order) -> Result<Option<Boxed<'s>>> {
        match self {
            Source::Run(run) => Ok(Postings::open(run, term, order)?.and_then(boxed)),
            Source::Tail(view) => Ok(view.postings(term, order)),
        }
    }

    /// The messages that have one of the words, or may have one: a term may stand for longer words. All
    /// terms share `prefix`.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn with_words(
        &self,
        prefix: &[u8],
        words: Words<'_>,
        order: Order,
        apart: Apart,
    ) -> Result<Option<Boxed<'s>>> {
        let run = match self {
            Source::Run(run) => run,
            Source::Tail(view) => return Ok(view.with_words(prefix, words, order)),
        };
        let union = match words {
            Words::Beginning => Union::of_prefix(run, prefix, order, apart, &mut |_| true)?,
            Words::Ending(end) => {
                let wanted = |word: &[u8]| word.ends_with(end) || may_be_cut(word);
                Union::of_words(run, prefix, &[end, &[0]].concat(), order, apart, &wanted)?
            }
            Words::Holding(part) => {
                let finder = memchr::memmem::Finder::new(part);
                let wanted = |word: &[u8]| finder.find(word).is_some() || may_be_cut(word);
                Union::of_words(run, prefix, part, order, apart, &wanted)?
            }
        };
        Ok(boxed(union))
    }

    /// The messages that may have words next to each other that set some bits; see `pairs`. Only posts are
    /// known of. `None` when there are none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn adjacent(&self, bits: u64, order: Order) -> Result<Option<Boxed<'s>>> {
        match self {
            Source::Run(run) => Ok(boxed(Adjacent::open(run, bits, order)?)),
            Source::Tail(view) => Ok(view.adjacent(bits, order)),
        }
    }

    /// How many windows of pairs it has to read; those of a tail need not be read.
    #[must_use]
    pub fn windows(&self) -> u64 {
        match self {
            Source::Run(run) => run.windows().len() as u64,
            Source::Tail(_) => 0,
        }
    }

    /// How many messages have a term, those that changed since included. Of a term of edits a tail says only whether
    /// there may be any: it counts edits that came since, too.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn count(&self, term: &[u8]) -> Result<u64> {
        match self {
            Source::Run(run) => postings::count(run, term),
            Source::Tail(view) => Ok(view.count(term)),
        }
    }

    /// The events with a term of their type from `seq` on, oldest first. `None` when there are none.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn postings_from(&self, term: &[u8], seq: u64) -> Result<Option<Boxed<'s>>> {
        match self {
            Source::Run(run) => {
                let Some(mut found) = Postings::open(run, term, Order::Oldest)? else { return Ok(None) };
                found.seek(seq)?;
                Ok(boxed(found))
            }
            Source::Tail(view) => Ok(view.postings_from(term, seq)),
        }
    }

    /// Whether it holds terms of edited messages.
    #[must_use]
    pub fn has_edits(&self) -> bool {
        match self {
            Source::Run(run) => run.meta().edits,
            Source::Tail(view) => view.has_edits(),
        }
    }

    /// Adds the messages that its events changed to `dead`, as far as that makes postings dead. `own`:
    /// of those that it holds itself. `edits`: of edits, of which only the current ones are there.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn changed(&self, own: bool, edits: bool, order: Order, dead: &mut Vec<Boxed<'s>>) -> Result<()> {
        match self {
            Source::Run(run) => {
                if !(own && edits) {
                    dead.extend(changed_in(run, Kind::Edited, order)?);
                }
                dead.extend(changed_in(run, Kind::Deleted, order)?);
            }
            // It gives no edits that are not current.
            Source::Tail(_) if own && edits => {}
            Source::Tail(view) => view.changed(order, dead)?,
        }
        Ok(())
    }

    /// Whether its events may have changed messages from `low` to `high`.
    #[must_use]
    pub fn touches(&self, low: u64, high: u64) -> bool {
        match self {
            Source::Run(run) => {
                run.meta().changed.is_some_and(|(lowest, highest)| lowest <= high && highest >= low)
            }
            Source::Tail(view) => view.touches(low, high),
        }
    }
}

/// The messages that the events of a run edited, or deleted, by the kind of their term.
fn changed_in(run: &Run, kind: Kind, order: Order) -> Result<Option<Boxed<'_>>> {
    let term = || term(kind, false, b"");
    let listing = run.changed(kind == Kind::Deleted);
    if listing.get().is_none() {
        let few = postings::count(run, &term())? <= CHANGED_KEPT;
        // Another reader may have been quicker, with the same list.
        let _ = listing.set(if few { Some(postings::all(run, &term())?.into()) } else { None });
    }
    match listing.get() {
        Some(Some(seqs)) => Ok(boxed(Listed::new(Arc::clone(seqs), order))),
        _ => Ok(Postings::open(run, &term(), order)?.and_then(boxed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::run::Meta;
    use crate::index::testing::file_run_of;

    #[test]
    fn changed_messages_are_the_same_whether_they_stay_in_memory_or_are_too_many() {
        for (count, kept) in [(1, true), (CHANGED_KEPT, true), (CHANGED_KEPT + 1, false)] {
            let meta = Meta { first: 200_001, last: 200_002, dense_from: 200_003, ..Meta::default() };
            let run = file_run_of(meta, 1, |writer| {
                let mut postings = PostingsWriter::default();
                let seqs = (1..=count).map(|number| 3 * number);
                postings.write(writer, &term(Kind::Deleted, false, b""), seqs).expect("memory");
            });
            for again in [false, true] {
                let (mut dead, mut seqs) = (Vec::new(), Vec::new());
                Source::Run(&run).changed(false, false, Order::Oldest, &mut dead).expect("whole");
                assert_eq!(dead.len(), 1, "nothing was edited");
                dead[0].take_before(u64::MAX, &mut seqs).expect("whole");
                assert_eq!(seqs, (1..=count).map(|number| 3 * number).collect::<Vec<_>>(), "{again}");
            }
            assert_eq!(run.changed(true).get().map(Option::is_some), Some(kept));
        }
    }
}
