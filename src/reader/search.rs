//! Finds messages: the index gives candidates, and their texts decide where words alone cannot.

use std::sync::Arc;

use super::items;
use super::lists::Filling;
use super::records::Records;
use super::slice::Slice;
use crate::domain::command::{Filter, Order, Search};
use crate::domain::matcher::Matcher;
use crate::domain::parts::{lower_body, message_body, message_time};
use crate::domain::substring::Substring;
use crate::domain::table::malformed;
use crate::domain::{apps, chats};
use crate::error::Result;
use crate::index::candidates::{Candidate, Candidates, Reached};
use crate::index::count::count_at_once;
use crate::index::query::Plan;
use crate::index::terms::{Kind, chat_bytes};
use crate::json::fields::Fields;
use crate::snapshot::{ReplyBytes, Snapshot};
use crate::time::Timestamp;

/// A message that matches.
pub struct Match<'m, 's> {
    /// The seq of its post.
    pub seq: u64,
    candidate: Candidate,
    records: &'m mut Records<'s>,
}

impl Match<'_, '_> {
    /// The record of its current form. `None` when it was compacted away.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn record(&mut self) -> Result<Option<&[u8]>> {
        self.records.current(self.candidate)
    }
}

/// What to do with a match: `false` ends the walk.
pub type Visit<'a> = dyn FnMut(Match<'_, '_>) -> Result<bool> + 'a;

/// Messages that are looked at one after the other where parts of words are sought, and as many more for each
/// one that matches.
const SCANNED: i32 = 20;
/// Texts that are read of messages that have the whole words of a substring, until the parts of words at its ends
/// are looked up, too: about what that costs.
const WITH_WORDS: i32 = 200;

/// A filter made ready for one snapshot.
pub struct Finder {
    plan: Plan,
    /// A plan that costs less to look up and finds more, and how many messages in vain are enough of it.
    first: Option<(Plan, i32)>,
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
    body: Vec<u8>,
}

impl Check {
    fn passes(&mut self, record: &[u8]) -> Result<bool> {
        if let Some(piece) = &self.substring
            && !piece.may_be_in(record, &mut self.body)
        {
            return Ok(false);
        }
        if lower_body(record, &mut self.body).ok_or_else(|| malformed("message"))? {
            let body = self.body.as_slice();
            let contains = self.substring.as_mut().is_none_or(|piece| piece.is_in_half_lowered(body));
            return Ok(contains && self.text.as_mut().is_none_or(|text| text.matches_half_lowered(body)));
        }
        let body = message_body(record).ok_or_else(|| malformed("message"))?;
        let contains = self.substring.as_mut().is_none_or(|piece| piece.is_in(&body));
        Ok(contains && self.text.as_mut().is_none_or(|text| text.matches(&body)))
    }
}

/// Checks that the application and the chat that a filter names are there.
///
/// # Errors
/// `not_found`.
pub fn require_place(snapshot: &Snapshot, filter: &Filter) -> Result<()> {
    let Some(app) = &filter.app else { return Ok(()) };
    match filter.chat {
        Some(chat) => chats::require_chat(snapshot, app, chat).map(drop),
        None => apps::require(snapshot, app).map(drop),
    }
}

impl Finder {
    /// Makes a filter ready.
    ///
    /// # Errors
    /// `not_found` when there is no such application or chat.
    pub fn new(snapshot: &Snapshot, filter: &Filter) -> Result<Self> {
        require_place(snapshot, filter)?;
        let mut plan = Plan::default();
        if let Some(app) = &filter.app {
            match filter.chat {
                Some(chat) => plan.require(Kind::Chat, &chat_bytes(app, chat)),
                None => plan.require(Kind::App, app.as_bytes()),
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
        let check =
            (text.is_some() || substring.is_some()).then_some(Check { text, substring, body: Vec::new() });
        let low = filter.since.map_or(Ok(1), |since| snapshot.behind_all_before(since))?;
        let until = filter.until.map(|until| snapshot.behind_all_before(until)).transpose()?;
        let next = until.map(|until| snapshot.next_record(until)).transpose()?.flatten();
        let high = next.map_or(snapshot.last, |next| next - 1);
        let times =
            (filter.since.is_some() || filter.until.is_some()).then_some((filter.since, filter.until));
        let first = if plan.is_wide() {
            Some((plan.without_substring(), SCANNED))
        } else {
            plan.of_telling_words().map(|plan| (plan, WITH_WORDS))
        };
        Ok(Finder { plan, first, check, low, high, times })
    }

    /// Visits the matches with seqs above `after` and below `before`, as far as a slice goes. Answers the
    /// seq to go on behind when that was over first.
    ///
    /// # Errors
    /// `corrupt`, and what `visit` says.
    pub fn visit(
        &mut self,
        snapshot: &Snapshot,
        order: Order,
        (after, before): (u64, u64),
        slice: &mut Slice,
        visit: &mut Visit<'_>,
    ) -> Result<Option<u64>> {
        let (mut low, mut high) =
            (self.low.max(after.saturating_add(1)), self.high.min(before.saturating_sub(1)));
        let sources = snapshot.sources();
        let mut records = Records::new(snapshot);
        if let Some((first, patience)) = self.first.take() {
            // Where about every twentieth message matches, looking at one after the other is quickest.
            let mut left = patience;
            let candidates = Candidates::new(&sources, &first, order, low, high)?;
            let end = self.walk(
                candidates,
                &mut records,
                slice,
                &mut |seq, passes| {
                    left = if passes { left + SCANNED } else { left - 1 };
                    match order {
                        Order::Newest => high = seq - 1,
                        Order::Oldest => low = seq + 1,
                    }
                    left > 0
                },
                visit,
            );
            self.first = Some((first, patience));
            match end? {
                End::Enough | End::Exhausted => return Ok(None),
                End::Over(seq) => return Ok(Some(seq)),
                End::Stopped => {}
            }
        }
        let plan = std::mem::take(&mut self.plan);
        let end = Candidates::new(&sources, &plan, order, low, high)
            .and_then(|candidates| self.walk(candidates, &mut records, slice, &mut |_, _| true, visit));
        self.plan = plan;
        Ok(match end? {
            End::Over(seq) => Some(seq),
            _ => None,
        })
    }

    /// Visits candidates that match. `going` is told of each whether it does, and may stop the walk.
    fn walk(
        &mut self,
        mut candidates: Candidates<'_>,
        records: &mut Records<'_>,
        slice: &mut Slice,
        going: &mut dyn FnMut(u64, bool) -> bool,
        visit: &mut Visit<'_>,
    ) -> Result<End> {
        while let Some(step) = candidates.advance()? {
            slice.looked_up(candidates.lookups_took());
            let candidate = match step {
                Reached::Candidate(candidate) => candidate,
                Reached::Passed(seq) if slice.count_step(0) => return Ok(End::Over(seq)),
                Reached::Rested(seq) if slice.look_at_clock() => return Ok(End::Over(seq)),
                Reached::Passed(_) | Reached::Rested(_) => continue,
            };
            let (mut passes, mut text_bytes) = (true, 0);
            // The post of an edited message may be compacted away; then its seq does not tell its time.
            let times = self.times.filter(|_| candidate.edited);
            if self.check.is_some() || times.is_some() {
                let record = records.current(candidate)?;
                text_bytes = record.map_or(0, <[u8]>::len);
                passes = record.map_or(Ok(false), |record| passes_all(&mut self.check, times, record))?;
            }
            if passes && !visit(Match { seq: candidate.seq, candidate, records: &mut *records })? {
                return Ok(End::Enough);
            }
            if slice.count_step(text_bytes) {
                return Ok(End::Over(candidate.seq));
            }
            if !going(candidate.seq, passes) {
                return Ok(End::Stopped);
            }
        }
        Ok(End::Exhausted)
    }
}

/// Why a walk ended.
enum End {
    /// There is nothing left.
    Exhausted,
    /// Whoever visits has enough.
    Enough,
    /// The slice was over at this seq.
    Over(u64),
    /// It was told to stop.
    Stopped,
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

/// A search under way. A long one is answered slice by slice, so that it holds up no other read.
pub struct SearchTask {
    snapshot: Arc<Snapshot>,
    search: Box<Search>,
    filling: Filling,
    /// What is left of the seqs to look at for the page: above the first, below the second.
    left: (u64, u64),
    last: u64,
    /// Matches counted so far, and the last seq that was looked at for it.
    total: u64,
    counted: u64,
    count_done: bool,
}

impl SearchTask {
    /// `message.search` on one snapshot.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, search: Box<Search>) -> Self {
        let left = (search.after.unwrap_or(0), search.before.unwrap_or(u64::MAX));
        let filling = Filling::new(search.limit, snapshot.reply_bytes);
        SearchTask { snapshot, search, filling, left, last: 0, total: 0, counted: 0, count_done: false }
    }

    /// Takes an item into the page, whatever it is.
    #[cfg(test)]
    pub fn take(&mut self, item: &[u8]) {
        self.filling.take(item);
    }

    /// Bytes of memory that its page takes so far.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.filling.held_bytes()
    }

    /// Does one slice. The fields of the reply when that was the last.
    ///
    /// # Errors
    /// `not_found` when there is no such application or chat, `corrupt`.
    pub fn step(&mut self) -> Result<Option<Vec<u8>>> {
        let mut finder = Finder::new(&self.snapshot, &self.search.filter)?;
        let mut slice = Slice::begin();
        // The page comes last: it would take memory for as long as the rest is counted.
        if self.search.count && !self.count_done && !self.count(&mut finder, &mut slice)? {
            return Ok(None);
        }
        self.count_done = true;
        if !self.fill(&mut finder, &mut slice)? {
            return Ok(None);
        }
        let mut out = Vec::new();
        let filling = std::mem::replace(&mut self.filling, Filling::new(0, ReplyBytes(0)));
        if filling.finish("messages", &mut out) {
            Fields(&mut out).number("next", self.last);
        }
        if self.search.count {
            Fields(&mut out).number("total", self.total);
        }
        Ok(Some(out))
    }

    /// Goes on with the page. `false` when the slice was over first.
    fn fill(&mut self, finder: &mut Finder, slice: &mut Slice) -> Result<bool> {
        let SearchTask { snapshot, search, filling, left, last, .. } = self;
        let mut item = Vec::new();
        let stopped = finder.visit(snapshot, search.order, *left, slice, &mut |mut found| {
            if filling.is_full() {
                return Ok(false);
            }
            let seq = found.seq;
            let Some(record) = found.record()? else { return Ok(true) };
            item.clear();
            items::message(record, &mut item)?;
            let taken = filling.take(&item);
            if taken {
                *last = seq;
            }
            Ok(taken)
        })?;
        match (stopped, search.order) {
            (Some(seq), Order::Newest) => left.1 = seq,
            (Some(seq), Order::Oldest) => left.0 = seq,
            (None, _) => {}
        }
        Ok(stopped.is_none())
    }

    /// Goes on counting. `false` when the slice was over first.
    fn count(&mut self, finder: &mut Finder, slice: &mut Slice) -> Result<bool> {
        if finder.check.is_none()
            && finder.times.is_none()
            && let Some(total) = count_at_once(&self.snapshot.sources(), &finder.plan)?
        {
            self.total = total;
            return Ok(true);
        }
        let SearchTask { snapshot, total, counted, .. } = self;
        let stopped = finder.visit(snapshot, Order::Oldest, (*counted, u64::MAX), slice, &mut |_| {
            *total += 1;
            Ok(true)
        })?;
        if let Some(seq) = stopped {
            *counted = seq;
        }
        Ok(stopped.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::parse;
    use crate::reader::testing::{post, snapshot_of};

    #[test]
    fn a_walk_rests_whether_texts_are_checked_or_not_and_also_where_nothing_matches() {
        let posts = |count| vec![post("ab ac"); count];
        let snapshot = snapshot_of(vec![posts(150), posts(170)]);
        for (text, matching) in [("a*", 320), ("ab OR b", 320), ("ab -b", 320), ("a* -ab*", 0), ("ab -a*", 0)]
        {
            let filter = Filter { text: Some(parse(text).expect("a text")), ..Filter::default() };
            for order in [Order::Newest, Order::Oldest] {
                let (mut found, mut slices, mut left) = (Vec::new(), 0, (0, u64::MAX));
                loop {
                    let mut finder = Finder::new(&snapshot, &filter).expect("no chat");
                    let over =
                        finder.visit(&snapshot, order, left, &mut Slice::shortest(), &mut |found_one| {
                            found.push(found_one.seq);
                            Ok(true)
                        });
                    slices += 1;
                    match (over.expect("memory"), order) {
                        (None, _) => break,
                        (Some(seq), Order::Newest) => left.1 = seq,
                        (Some(seq), Order::Oldest) => left.0 = seq,
                    }
                }
                assert_eq!(
                    slices, 6,
                    "{text} {order:?}: 64 messages in each of five, and a look behind them"
                );
                assert_eq!(found.len(), matching, "{text} {order:?}");
                found.sort_unstable();
                found.dedup();
                assert_eq!(found.len(), matching, "{text} {order:?}: each once");
            }
        }
    }
}
