//! Finds the messages that may match a filter, newest or oldest first, over all runs.
//!
//! Each run gives two sets: of its posts, and of the older messages that its events edited. What a
//! later event changed is left out of both, so every message is found in just the one set that has
//! its current form. Posts of the runs follow each other; the sets of edits are merged in by seq.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::changed::{self, Changed};
use super::cursor::{Boxed, Cursor, Less, rank};
use super::lookup::Lookup;
use super::query::Plan;
use super::source::Source;
use crate::domain::command::Order;
use crate::error::Result;

/// A message that may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The seq of its post.
    pub seq: u64,
    /// Whether its current form is an edit.
    pub edited: bool,
}

/// What a walk comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// A message that may match.
    Candidate(Candidate),
    /// One that does not, by its seq: what it has is excluded, or is not in its current form. Where there are many
    /// of them whoever walks can rest between two.
    Passed(u64),
    /// Nothing up to this seq, which took long to find out.
    Rested(u64),
}

/// The candidates in order.
pub struct Candidates<'r> {
    sources: &'r [Source<'r>],
    plan: &'r Plan,
    order: Order,
    /// Pieces whose posts were not looked at yet, in the order of the walk.
    waiting: std::vec::IntoIter<usize>,
    posts: Option<Less<'r>>,
    /// Of these posts those of messages in it are dead.
    changed: Option<Arc<Changed>>,
    /// The first place behind the piece that these are of.
    behind: Option<u64>,
    edits: Vec<Less<'r>>,
    next: u64,
    end: u64,
    /// How long it took to look up where to walk, since that was asked last.
    lookups: Duration,
}

impl<'r> Candidates<'r> {
    /// The candidates with seqs from `low` to `high`.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn new(sources: &'r [Source<'r>], plan: &'r Plan, order: Order, low: u64, high: u64) -> Result<Self> {
        let in_scope = |source: &Source<'_>| {
            let (first, last) = source.range();
            first <= high && last >= low
        };
        let mut waiting: Vec<usize> =
            (0..sources.len()).filter(|number| in_scope(&sources[*number])).collect();
        let (mut next, mut end) = (rank(order, low), rank(order, high));
        if order == Order::Newest {
            waiting.reverse();
            (next, end) = (end, next);
        }
        let (mut edits, started) = (Vec::new(), Instant::now());
        if low <= high {
            let with_edits = (0..sources.len()).filter(|number| has_edits_from(sources[*number], low));
            for number in with_edits {
                edits.extend(live(sources, number, plan, true, (order, next))?.0);
            }
        } else {
            waiting.clear();
        }
        let (waiting, lookups, posts) = (waiting.into_iter(), started.elapsed(), None);
        let (changed, behind) = (None, None);
        Ok(Candidates { sources, plan, order, waiting, posts, changed, behind, edits, next, end, lookups })
    }

    /// How long it took to look up where to walk, since this was asked last.
    pub fn lookups_took(&mut self) -> Duration {
        std::mem::take(&mut self.lookups)
    }

    /// Goes a step further.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn advance(&mut self) -> Result<Option<Reached>> {
        let posted = self.next_post()?;
        let rests = posted.is_some() && self.posts.as_ref().is_none_or(|posts| posts.wanted.rests());
        let mut first = posted;
        for set in &mut self.edits {
            set.wanted.seek(self.next)?;
            first = first.into_iter().chain(set.wanted.current()).min();
        }
        let Some(found) = first.filter(|found| *found <= self.end) else { return Ok(None) };
        if rests && posted == first {
            self.next = found;
            return Ok(Some(Reached::Rested(rank(self.order, found - 1))));
        }
        self.next = found.saturating_add(1);
        let seq = rank(self.order, found);
        if let Some(posts) = self.posts.as_mut().filter(|_| posted == first)
            && self.changed.as_ref().is_none_or(|changed| !changed.holds(seq))
            && !posts.excludes(found)?
        {
            return Ok(Some(Reached::Candidate(Candidate { seq, edited: false })));
        }
        for set in &mut self.edits {
            if set.wanted.current() == first && !set.excludes(found)? {
                return Ok(Some(Reached::Candidate(Candidate { seq, edited: true })));
            }
        }
        Ok(Some(Reached::Passed(seq)))
    }

    /// Where the next post is, or before which there is none: behind a piece that is at its end, without `posts`, or
    /// where these rest.
    fn next_post(&mut self) -> Result<Option<u64>> {
        loop {
            if let Some(posts) = &mut self.posts {
                posts.wanted.seek(self.next)?;
                if let Some(found) = posts.wanted.current() {
                    return Ok(Some(found));
                }
                self.posts = None;
                let behind = self.behind.filter(|behind| *behind > self.next && self.waiting.len() > 0);
                if behind.is_some() {
                    return Ok(behind);
                }
            }
            let Some(number) = self.waiting.next() else { return Ok(None) };
            let (first, last) = self.sources[number].range();
            self.behind = match self.order {
                Order::Oldest => last.checked_add(1),
                Order::Newest => first.checked_sub(1).map(|seq| rank(Order::Newest, seq)),
            };
            let started = Instant::now();
            (self.posts, self.changed) =
                live(self.sources, number, self.plan, false, (self.order, self.next))?;
            self.lookups += started.elapsed();
        }
    }
}

/// What piece `number` has for a plan from `rank` on, less what is dead; of posts also those in the set are.
fn live<'r>(
    sources: &'r [Source<'r>],
    number: usize,
    plan: &Plan,
    edits: bool,
    (order, rank): (Order, u64),
) -> Result<(Option<Less<'r>>, Option<Arc<Changed>>)> {
    let mut set = Lookup::new(plan, sources[number], edits, order).set()?;
    let Some(Less { wanted, excluded }) = &mut set else { return Ok((None, None)) };
    let dead = changed_since(sources, number, edits, order)?;
    excluded.extend(dead.lists);
    // A walk that rested has to come back to where it was.
    excluded.iter_mut().chain([wanted]).try_for_each(|part| part.seek(rank))?;
    Ok((set, dead.changed))
}

/// Whether a piece may hold edits of messages from `low` on: an edit is of a message before it.
fn has_edits_from(source: Source<'_>, low: u64) -> bool {
    source.has_edits() && source.range().1 > low
}

/// The seqs of the messages whose forms a piece holds: posts lie in its range, edits are of messages anywhere
/// before.
pub(super) fn holds_forms_of(source: Source<'_>, edits: bool) -> (u64, u64) {
    if edits { (0, u64::MAX) } else { source.range() }
}

/// Messages whose postings in a piece are dead.
pub(super) struct Dead<'r> {
    /// Those that are in this set.
    pub changed: Option<Arc<Changed>>,
    /// Those that are in any of these.
    pub lists: Vec<Boxed<'r>>,
}

impl Dead<'_> {
    /// Whether there surely are none.
    pub fn is_empty(&self) -> bool {
        self.changed.is_none() && self.lists.is_empty()
    }

    /// About how many there are, at the most.
    pub fn size(&self) -> u64 {
        let changed = self.changed.as_ref().map_or(0, |changed| changed.count());
        self.lists.iter().fold(changed, |all, list| all.saturating_add(list.size()))
    }

    /// Whether a message is dead. They are asked for oldest first, and the lists walk so.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn holds(&mut self, seq: u64) -> Result<bool> {
        if self.changed.as_ref().is_some_and(|changed| changed.holds(seq)) {
            return Ok(true);
        }
        for list in &mut self.lists {
            list.seek(seq)?;
            if list.current() == Some(seq) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first one at `seq` or behind. The lists walk oldest first, and are sought there.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn first_from(&mut self, seq: u64) -> Result<Option<u64>> {
        let mut first = self.changed.as_ref().and_then(|changed| changed.first_from(seq));
        for list in &mut self.lists {
            list.seek(seq)?;
            first = first.into_iter().chain(list.current()).min();
        }
        Ok(first)
    }
}

/// The messages that later events changed: their postings in piece `number` are dead.
pub(super) fn changed_since<'r>(
    sources: &'r [Source<'r>],
    number: usize,
    edits: bool,
    order: Order,
) -> Result<Dead<'r>> {
    let mut dead = Dead { changed: None, lists: Vec::new() };
    let (low, high) = holds_forms_of(sources[number], edits);
    for (later, source) in sources.iter().enumerate().skip(number) {
        if !source.touches(low, high) {
            continue;
        }
        if !edits && matches!(source, Source::Run(_)) {
            // One set has what all of them changed, unless that is too much.
            if dead.changed.is_none() {
                dead.changed = changed::in_runs(sources)?;
            }
            if dead.changed.is_some() {
                continue;
            }
        }
        source.changed(later == number, edits, order, &mut dead.lists)?;
    }
    Ok(dead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::run::Meta;
    use crate::index::terms::{Kind, term};
    use crate::index::testing::file_run_of;

    #[test]
    fn edits_are_looked_for_only_where_one_may_be_of_a_message_in_the_range() {
        let run = file_run_of(
            Meta { first: 1, last: 100, dense_from: 101, edits: true, ..Meta::default() },
            1,
            |writer| {
                let term = term(Kind::Message, true, b"");
                PostingsWriter::default().write(writer, &term, [7, 99].into_iter()).expect("memory");
            },
        );
        let (sources, plan) = ([Source::Run(&run)], Plan::default());
        for (low, looked_in) in [(1, 1), (99, 1), (100, 0), (101, 0)] {
            let candidates = Candidates::new(&sources, &plan, Order::Oldest, low, 200).expect("memory");
            assert_eq!(candidates.edits.len(), looked_in, "from {low} on");
        }
    }
}
