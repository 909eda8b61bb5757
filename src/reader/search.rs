//! Finds messages: the index gives candidates, and their texts decide where words alone cannot.

use std::sync::Arc;

use super::items;
use super::lists::Filling;
use crate::domain::chats;
use crate::domain::command::{Filter, Order, Search};
use crate::domain::matcher::Matcher;
use crate::domain::messages;
use crate::domain::record::{message_body, message_time};
use crate::domain::substring::Substring;
use crate::domain::table::{Facts, malformed};
use crate::error::Result;
use crate::index::count::count_at_once;
use crate::index::query::{Candidate, Candidates, Plan};
use crate::index::terms::{Kind, chat_bytes};
use crate::json::fields::Fields;
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

/// Gives the record of a match's current form.
pub type Load<'a> = dyn FnMut() -> Result<Option<Vec<u8>>> + 'a;

/// What to do with a match, by the seq of its post: `false` ends the walk.
pub type Visit<'a> = dyn FnMut(u64, &mut Load<'_>) -> Result<bool> + 'a;

/// A filter made ready for one snapshot.
pub struct Finder {
    plan: Plan,
    check: Option<Check>,
    /// The seqs that `since` and `until` leave, first and last.
    low: u64,
    high: u64,
    /// `since` and `until`, when there is one of them.
    times: Option<Times>,
}

/// `since` and `until`.
type Times = (Option<Timestamp>, Option<Timestamp>);

/// What the text of a candidate must hold.
struct Check {
    text: Option<Matcher>,
    substring: Option<Substring>,
}

impl Check {
    fn passes(&mut self, record: &[u8]) -> Result<bool> {
        let body = message_body(record).ok_or_else(|| malformed("message"))?;
        let contains = self.substring.as_mut().is_none_or(|piece| piece.is_in(&body));
        Ok(contains && self.text.as_mut().is_none_or(|text| text.matches(&body)))
    }
}

impl Finder {
    /// Makes a filter ready.
    ///
    /// # Errors
    /// `not_found` when there is no such application or chat.
    pub fn new(snapshot: &Snapshot, filter: &Filter) -> Result<Self> {
        let mut plan = Plan::default();
        if let Some(app) = &filter.app {
            if let Some(chat) = filter.chat {
                chats::require_chat(snapshot, app, chat)?;
                plan.require(Kind::Chat, &chat_bytes(app, chat));
            } else {
                chats::require_app(snapshot, app)?;
                plan.require(Kind::App, app.as_bytes());
            }
        }
        if let Some(recipient) = &filter.recipient {
            plan.require(Kind::Recipient, recipient.as_bytes());
        }
        if let Some(originator) = &filter.originator {
            plan.require(Kind::Originator, originator.as_bytes());
        }
        if let Some(text) = &filter.text {
            plan.text(text);
        }
        if let Some(substring) = &filter.substring {
            plan.substring(substring);
        }
        let text = filter
            .text
            .as_ref()
            .filter(|text| !text.is_exact() || Plan::has_long_words(text))
            .map(Matcher::new);
        let substring = filter.substring.as_deref().map(Substring::new);
        let check = (text.is_some() || substring.is_some()).then_some(Check { text, substring });
        let low = filter.since.map_or(Ok(1), |since| snapshot.behind_all_before(since))?;
        let until = filter.until.map(|until| snapshot.behind_all_before(until)).transpose()?;
        let next = until.map(|until| snapshot.next_record(until)).transpose()?.flatten();
        let high = next.map_or(snapshot.last, |next| next - 1);
        let times =
            (filter.since.is_some() || filter.until.is_some()).then_some((filter.since, filter.until));
        Ok(Finder { plan, check, low, high, times })
    }

    /// Visits the matches with seqs above `after` and below `before`, as far as `budget` goes: each
    /// message whose text is checked takes one from it. Answers the seq to go on behind when the
    /// budget ran out.
    ///
    /// # Errors
    /// `corrupt`, and what `visit` says.
    pub fn visit(
        &mut self,
        snapshot: &Snapshot,
        order: Order,
        (after, before): (u64, u64),
        budget: &mut u32,
        visit: &mut Visit<'_>,
    ) -> Result<Option<u64>> {
        let (low, high) = (self.low.max(after.saturating_add(1)), self.high.min(before.saturating_sub(1)));
        let sources = snapshot.sources();
        let mut candidates = Candidates::new(&sources, &self.plan, order, low, high)?;
        while let Some(candidate) = candidates.advance()? {
            let mut record = None;
            let mut passes = true;
            // The post of an edited message may be compacted away; then its seq does not tell its time.
            let times = self.times.filter(|_| candidate.edited);
            if self.check.is_some() || times.is_some() {
                *budget = budget.saturating_sub(1);
                record = current(snapshot, candidate)?;
                passes = record
                    .as_deref()
                    .map_or(Ok(false), |record| passes_all(&mut self.check, times, record))?;
            }
            let mut load = || match record.take() {
                Some(record) => Ok(Some(record)),
                None => current(snapshot, candidate),
            };
            if passes && !visit(candidate.seq, &mut load)? {
                break;
            }
            if *budget == 0 {
                return Ok(Some(candidate.seq));
            }
        }
        Ok(None)
    }
}

/// Whether the current form of a message passes where the index cannot tell.
fn passes_all(check: &mut Option<Check>, times: Option<Times>, record: &[u8]) -> Result<bool> {
    if let Some((since, until)) = times {
        let at = message_time(record).ok_or_else(|| malformed("message"))?;
        if since.is_some_and(|since| at < since) || until.is_some_and(|until| at >= until) {
            return Ok(false);
        }
    }
    check.as_mut().map_or(Ok(true), |check| check.passes(record))
}

/// The record of a candidate's current form. `None` when it was compacted away.
fn current(snapshot: &Snapshot, candidate: Candidate) -> Result<Option<Vec<u8>>> {
    if candidate.edited {
        messages::current_record(snapshot, candidate.seq)
    } else {
        snapshot.record(candidate.seq)
    }
}

/// A search under way. A long one is answered slice by slice, so that it holds up no other read.
pub struct Task {
    snapshot: Arc<Snapshot>,
    search: Box<Search>,
    filling: Filling,
    /// What is left of the seqs to look at for the page: above the first, below the second.
    left: (u64, u64),
    page_done: bool,
    last: u64,
    /// Matches counted so far, and the last seq that was looked at for it.
    total: u64,
    counted: u64,
}

/// Messages whose texts one slice checks: about two milliseconds.
const SLICE_MESSAGES: u32 = 2000;

impl Task {
    /// `message.search` on one snapshot.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, search: Box<Search>) -> Self {
        let left = (search.after.unwrap_or(0), search.before.unwrap_or(u64::MAX));
        let filling = Filling::new(search.limit);
        Task { snapshot, search, filling, left, page_done: false, last: 0, total: 0, counted: 0 }
    }

    /// Does one slice. The fields of the reply when that was the last.
    ///
    /// # Errors
    /// `not_found` when there is no such application or chat, `corrupt`.
    pub fn step(&mut self) -> Result<Option<Vec<u8>>> {
        let snapshot = Arc::clone(&self.snapshot);
        let filter = self.search.filter.clone();
        let mut finder = Finder::new(&snapshot, &filter)?;
        let mut budget = SLICE_MESSAGES;
        if !self.page_done && !self.fill(&mut finder, &mut budget)? {
            return Ok(None);
        }
        if self.search.count && !self.count(&mut finder, &mut budget)? {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(256);
        let filling = std::mem::replace(&mut self.filling, Filling::new(0));
        if filling.finish("messages", &mut out) {
            Fields(&mut out).number("next", self.last);
        }
        if self.search.count {
            Fields(&mut out).number("total", self.total);
        }
        Ok(Some(out))
    }

    /// Goes on with the page. `false` when the budget ran out first.
    fn fill(&mut self, finder: &mut Finder, budget: &mut u32) -> Result<bool> {
        let Task { snapshot, search, filling, left, last, .. } = self;
        let mut item = Vec::new();
        let stopped = finder.visit(snapshot, search.order, *left, budget, &mut |seq, record| {
            if filling.is_full() {
                return Ok(false);
            }
            let Some(record) = record()? else { return Ok(true) };
            item.clear();
            items::message(&record, &mut item)?;
            let taken = filling.take(&item);
            if taken {
                *last = seq;
            }
            Ok(taken)
        })?;
        match (stopped, search.order) {
            (Some(seq), Order::Newest) => left.1 = seq,
            (Some(seq), Order::Oldest) => left.0 = seq,
            (None, _) => self.page_done = true,
        }
        Ok(self.page_done)
    }

    /// Goes on counting. `false` when the budget ran out first.
    fn count(&mut self, finder: &mut Finder, budget: &mut u32) -> Result<bool> {
        if finder.check.is_none()
            && finder.times.is_none()
            && let Some(total) = count_at_once(&self.snapshot.sources(), &finder.plan)?
        {
            self.total = total;
            return Ok(true);
        }
        let Task { snapshot, total, counted, .. } = self;
        let stopped = finder.visit(snapshot, Order::Oldest, (*counted, u64::MAX), budget, &mut |_, _| {
            *total += 1;
            Ok(true)
        })?;
        if let Some(seq) = stopped {
            *counted = seq;
        }
        Ok(stopped.is_none())
    }
}
