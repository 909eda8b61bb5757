//! Finds messages: the index gives candidates, and their texts decide where words alone cannot.

use super::items;
use super::lists::Filling;
use crate::domain::chats;
use crate::domain::command::{Filter, Order, Search};
use crate::domain::messages;
use crate::domain::record::message_body;
use crate::domain::table::{Facts, malformed};
use crate::domain::text::{Matcher, contains_lower};
use crate::error::Result;
use crate::index::query::{Candidate, Candidates, Plan, count_at_once};
use crate::index::terms::{Kind, chat_bytes};
use crate::json::fields::Fields;
use crate::snapshot::Snapshot;

/// Gives the record of a match's current form.
pub type Load<'a> = dyn FnMut() -> Result<Option<Vec<u8>>> + 'a;

/// What to do with a match, by the seq of its post: `false` ends the walk.
pub type Visit<'a> = dyn FnMut(u64, &mut Load<'_>) -> Result<bool> + 'a;

/// A filter made ready for one snapshot.
pub struct Finder<'f> {
    plan: Plan,
    check: Option<Check<'f>>,
    /// The seqs that `since` and `until` leave, first and last.
    low: u64,
    high: u64,
    bounded: bool,
}

/// What the text of a candidate must hold.
struct Check<'f> {
    text: Option<Matcher>,
    substring: Option<&'f str>,
    scratch: String,
}

impl Check<'_> {
    fn passes(&mut self, record: &[u8]) -> Result<bool> {
        let body = message_body(record).ok_or_else(|| malformed("message"))?;
        let contains = self.substring.is_none_or(|piece| contains_lower(&body, piece, &mut self.scratch));
        Ok(contains && self.text.as_mut().is_none_or(|text| text.matches(&body)))
    }
}

impl<'f> Finder<'f> {
    /// Makes a filter ready.
    ///
    /// # Errors
    /// `not_found` when there is no such application or chat.
    pub fn new(snapshot: &Snapshot, filter: &'f Filter) -> Result<Self> {
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
        let text = filter.text.as_ref().filter(|text| !text.is_exact()).map(Matcher::new);
        let substring = filter.substring.as_deref();
        let check = (text.is_some() || substring.is_some()).then(|| Check {
            text,
            substring,
            scratch: String::new(),
        });
        let low = filter.since.map_or(Ok(1), |since| snapshot.first_at_or_after(since))?;
        let high = match filter.until {
            Some(until) => snapshot.first_at_or_after(until)?.saturating_sub(1),
            None => snapshot.last,
        };
        let bounded = filter.since.is_some() || filter.until.is_some();
        Ok(Finder { plan, check, low, high, bounded })
    }

    /// Visits the matches with seqs above `after` and below `before`. `visit` gets the record of a
    /// message's current form on demand; `false` from it ends the walk.
    ///
    /// # Errors
    /// `corrupt`, and what `visit` says.
    pub fn visit(
        &mut self,
        snapshot: &Snapshot,
        order: Order,
        (after, before): (u64, u64),
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let (low, high) = (self.low.max(after.saturating_add(1)), self.high.min(before.saturating_sub(1)));
        let mut candidates = Candidates::new(&snapshot.runs, &self.plan, order, low, high)?;
        while let Some(candidate) = candidates.advance()? {
            let mut record = None;
            if let Some(check) = &mut self.check {
                record = current(snapshot, candidate)?;
                if !record.as_deref().map_or(Ok(false), |record| check.passes(record))? {
                    continue;
                }
            }
            let mut load = || match record.take() {
                Some(record) => Ok(Some(record)),
                None => current(snapshot, candidate),
            };
            if !visit(candidate.seq, &mut load)? {
                break;
            }
        }
        Ok(())
    }

    /// How many messages match.
    fn total(&mut self, snapshot: &Snapshot) -> Result<u64> {
        if self.check.is_none()
            && !self.bounded
            && let Some(total) = count_at_once(&snapshot.runs, &self.plan)?
        {
            return Ok(total);
        }
        let mut total = 0;
        self.visit(snapshot, Order::Oldest, (0, u64::MAX), &mut |_, _| {
            total += 1;
            Ok(true)
        })?;
        Ok(total)
    }
}

/// The record of a candidate's current form. `None` when it was compacted away.
fn current(snapshot: &Snapshot, candidate: Candidate) -> Result<Option<Vec<u8>>> {
    if candidate.edited {
        messages::current_record(snapshot, candidate.seq)
    } else {
        snapshot.record(candidate.seq)
    }
}

/// `message.search`
///
/// # Errors
/// `not_found` when there is no such application or chat.
pub fn answer(snapshot: &Snapshot, search: &Search, out: &mut Vec<u8>) -> Result<()> {
    let mut finder = Finder::new(snapshot, &search.filter)?;
    let mut filling = Filling::new(search.limit);
    let mut last = 0;
    let mut item = Vec::new();
    let range = (search.after.unwrap_or(0), search.before.unwrap_or(u64::MAX));
    finder.visit(snapshot, search.order, range, &mut |seq, record| {
        if filling.is_full() {
            return Ok(false);
        }
        let Some(record) = record()? else { return Ok(true) };
        item.clear();
        items::message(&record, &mut item)?;
        let taken = filling.take(&item);
        if taken {
            last = seq;
        }
        Ok(taken)
    })?;
    let more = filling.finish("messages", out);
    if more {
        Fields(out).number("next", last);
    }
    if search.count {
        Fields(out).number("total", finder.total(snapshot)?);
    }
    Ok(())
}
