//! Makes a small run in memory from a batch of events and the changes of the table.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::block::beginning;
use super::places::{Places, PlacesWriter};
use super::postings::{self, PostingsWriter};
use super::run::{Meta, Run, write_value};
use super::run_writer::RunWriter;
use super::terms::{Kind, TermBuffers, chat_bytes, term};
use crate::domain::event::{Event, Fact, Message};
use crate::domain::table::{Changes, Counts};
use crate::error::Result;

/// The terms of a batch, each stored once, and which event has which.
#[derive(Default)]
struct Terms {
    hasher: DefaultHashBuilder,
    numbers: HashTable<u32>,
    /// All terms, one behind the other.
    bytes: Vec<u8>,
    list: Vec<Term>,
    /// Term and event, in the order of the events.
    given: Vec<(u32, u32)>,
}

/// A term of a batch.
struct Term {
    /// Where it lies in the bytes of all.
    start: usize,
    end: usize,
    /// The last event that it was given for.
    last: u32,
}

fn slice<'b>(bytes: &'b [u8], list: &[Term], number: u32) -> &'b [u8] {
    let Term { start, end, .. } = list[number as usize];
    &bytes[start..end]
}

impl Terms {
    fn find(&self, term: &[u8]) -> Option<u32> {
        let same = |number: &u32| slice(&self.bytes, &self.list, *number) == term;
        self.numbers.find(self.hasher.hash_one(term), same).copied()
    }

    /// Notes that event `event` of the batch has a term.
    fn give(&mut self, term: &[u8], event: u32) {
        let Terms { hasher, numbers, bytes, list, given } = self;
        let hash = hasher.hash_one(term);
        let same = |number: &u32| slice(bytes, list, *number) == term;
        if let Some(number) = numbers.find(hash, same) {
            if std::mem::replace(&mut list[*number as usize].last, event) != event {
                given.push((*number, event));
            }
            return;
        }
        // A batch is bounded, so its terms are far fewer than 2^32.
        let number = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let start = bytes.len();
        bytes.extend_from_slice(term);
        list.push(Term { start, end: bytes.len(), last: event });
        given.push((number, event));
        numbers.insert_unique(hash, number, |number| hasher.hash_one(slice(bytes, list, *number)));
    }

    /// The terms in order, each with the events that have it.
    fn sorted(&self) -> (Vec<u32>, Vec<u32>, Vec<usize>) {
        // A counting sort: the events of a term come out in their order.
        let mut starts = vec![0_usize; self.list.len() + 1];
        for (number, _) in &self.given {
            starts[*number as usize + 1] += 1;
        }
        for place in 1..starts.len() {
            starts[place] += starts[place - 1];
        }
        let mut next = starts.clone();
        let mut events = vec![0; self.given.len()];
        for (number, event) in &self.given {
            events[next[*number as usize]] = *event;
            next[*number as usize] += 1;
        }
        // Most terms differ in their first bytes, which lie together here.
        let term = |number: u32| slice(&self.bytes, &self.list, number);
        let numbers = 0..u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let mut order: Vec<(u64, u32)> = numbers.map(|number| (beginning(term(number)), number)).collect();
        order.sort_unstable_by(|(a, first), (b, second)| {
            a.cmp(b).then_with(|| term(*first).cmp(term(*second)))
        });
        (order.into_iter().map(|(_, number)| number).collect(), events, starts)
    }
}

/// Gathers the terms of a batch.
#[derive(Default)]
pub struct Builder {
    first: u64,
    terms: Terms,
    /// The newest text of messages that the batch edited.
    edits: BTreeMap<u64, Message>,
    edited: Vec<u64>,
    deleted: Vec<u64>,
    buffers: TermBuffers,
}

impl Builder {
    /// A builder for a batch whose first event is `first` and whose records have about so many bytes.
    #[must_use]
    pub fn new(first: u64, bytes: usize) -> Self {
        let mut terms = Terms::default();
        // A record of some 200 bytes has some 25 terms, and half of them were not in the batch before.
        terms.given.reserve(bytes / 8);
        terms.list.reserve(bytes / 16);
        terms.bytes.reserve(bytes / 2);
        terms.numbers.reserve(bytes / 16, |_| 0);
        Builder { first, terms, ..Builder::default() }
    }

    /// Adds an event. `runs` is what was there before the batch.
    ///
    /// # Errors
    /// `corrupt` when a chat's messages cannot be listed.
    pub fn add(&mut self, event: &Event, runs: &[Arc<Run>]) -> Result<()> {
        self.add_live(event);
        match &event.fact {
            Fact::MessageEdited { message, .. } => self.edited.push(*message),
            Fact::MessageDeleted { message, .. } => self.delete(&[*message]),
            Fact::ChatDeleted { app, chat } => {
                self.delete_all(Kind::Chat, &chat_bytes(app, *chat), runs)?;
            }
            Fact::AppDeleted { token } => self.delete_all(Kind::App, token.as_bytes(), runs)?,
            _ => {}
        }
        Ok(())
    }

    /// Adds what an event says itself, not what it changes: all there is to add for an event of a part of
    /// the log that was compacted, where the post of an edited message is gone.
    pub fn add_live(&mut self, event: &Event) {
        let Builder { first, terms, buffers, .. } = self;
        let number = u32::try_from(event.seq - *first).unwrap_or(u32::MAX);
        buffers.one(Kind::Type, event.fact.type_name().as_bytes(), |term| terms.give(term, number));
        match &event.fact {
            Fact::MessagePosted(message) => buffers.each(message, false, |term| terms.give(term, number)),
            Fact::MessageEdited { message, now, .. } => {
                self.edits.insert(*message, now.clone());
            }
            _ => {}
        }
    }

    fn delete(&mut self, messages: &[u64]) {
        for message in messages {
            self.edits.remove(message);
            self.deleted.push(*message);
        }
    }

    /// Deletes all messages of a chat or an application: they are the postings of its term, of posts
    /// and of edits, because a merge drops the post of a message that was edited.
    fn delete_all(&mut self, kind: Kind, bytes: &[u8], runs: &[Arc<Run>]) -> Result<()> {
        let (posts, edits) = (term(kind, false, bytes), term(kind, true, bytes));
        for run in runs {
            self.delete(&postings::all(run, &posts)?);
            self.delete(&postings::all(run, &edits)?);
        }
        if let Some(number) = self.terms.find(&posts) {
            let given = self.terms.given.iter().filter(|(term, _)| *term == number);
            let own: Vec<u64> = given.map(|(_, event)| self.first + u64::from(*event)).collect();
            self.delete(&own);
        }
        Ok(())
    }

    /// The terms that are not of the batch's own posts: of edits, and the lists of what changed.
    fn others(&mut self, meta: &mut Meta) -> BTreeMap<Vec<u8>, Vec<u64>> {
        let mut others: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
        meta.edits = !self.edits.is_empty();
        for (seq, message) in std::mem::take(&mut self.edits) {
            self.buffers.each(&message, true, |term| {
                let seqs = others.entry(term.to_vec()).or_default();
                if seqs.last() != Some(&seq) {
                    seqs.push(seq);
                }
            });
        }
        let changes = [(Kind::Edited, &mut self.edited), (Kind::Deleted, &mut self.deleted)];
        for (kind, seqs) in changes {
            seqs.sort_unstable();
            seqs.dedup();
            if let (Some(&low), Some(&high)) = (seqs.first(), seqs.last()) {
                let (other_low, other_high) = meta.changed.unwrap_or((low, high));
                meta.changed = Some((other_low.min(low), other_high.max(high)));
                others.insert(term(kind, false, b""), std::mem::take(seqs));
            }
        }
        others
    }

    /// The run of the batch. `meta.changed` and `meta.edits` are set here.
    ///
    /// # Errors
    /// None that memory gives.
    pub fn finish(mut self, mut meta: Meta, changes: &Changes, places: Places) -> std::io::Result<Run> {
        let others = self.others(&mut meta);
        let mut writer = RunWriter::in_memory(0, changes.0.len() as u64);
        let mut payload = Vec::new();
        for (key, value) in &changes.0 {
            write_value(&mut payload, value.as_deref());
            writer.add(key, &payload)?;
        }
        let (order, events, starts) = self.terms.sorted();
        let mut lists = PostingsWriter::default();
        let mut others = others.into_iter().peekable();
        for number in order {
            let term = slice(&self.terms.bytes, &self.terms.list, number);
            while let Some((other, seqs)) = others.next_if(|(other, _)| other.as_slice() < term) {
                lists.write(&mut writer, &other, seqs.into_iter())?;
            }
            let own = &events[starts[number as usize]..starts[number as usize + 1]];
            lists.write(&mut writer, term, own.iter().map(|event| self.first + u64::from(*event)))?;
        }
        for (other, seqs) in others {
            lists.write(&mut writer, &other, seqs.into_iter())?;
        }
        match places {
            Places::All(offsets) => Ok(writer.into_memory(meta, offsets)),
            Places::Some(places) => {
                let mut out = PlacesWriter::default();
                places.into_iter().try_for_each(|(seq, offset)| out.push(&mut writer, seq, offset))?;
                out.finish(&mut writer)?;
                Ok(writer.into_memory(meta, Vec::new()))
            }
        }
    }
}

/// The description of a batch's run, before its events are known to the index.
#[must_use]
pub fn meta_of(events: &[Event], counts: Counts) -> Option<Meta> {
    let (first, last) = (events.first()?, events.last()?);
    Some(Meta {
        first: first.seq,
        last: last.seq,
        dense_from: first.seq,
        generation: 0,
        first_at: first.at,
        last_at: last.at,
        changed: None,
        edits: false,
        counts,
        keys: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::Order;
    use crate::domain::event::Address;
    use crate::index::merge;
    use crate::index::query::{Candidates, Plan};
    use crate::time::Timestamp;

    fn run(first: u64, facts: Vec<Fact>, before: &[Arc<Run>]) -> Arc<Run> {
        let at = Timestamp(first);
        let numbered = facts.into_iter().zip(first..);
        let events: Vec<Event> = numbered.map(|(fact, seq)| Event { seq, at, uid: 0, fact }).collect();
        let mut builder = Builder::new(first, 0);
        events.iter().for_each(|event| builder.add(event, before).expect("in memory"));
        let meta = meta_of(&events, Counts::default()).expect("events");
        let places = Places::All(vec![0; events.len()]);
        Arc::new(builder.finish(meta, &Changes::default(), places).expect("in memory"))
    }

    fn message(body: &str) -> Message {
        let address = Address::Chat { app: "token".into(), chat: 1, number: 1 };
        Message { address, originator: None, body: body.into() }
    }

    #[test]
    fn deleting_a_chat_deletes_a_message_whose_post_a_merge_dropped() {
        let posted = run(1, vec![Fact::MessagePosted(message("old"))], &[]);
        let now = message("new");
        let edit = Fact::MessageEdited { message: 1, posted_at: Timestamp(1), now };
        let edited = run(2, vec![edit], &[Arc::clone(&posted)]);
        let merged = Arc::new(merge::in_memory(&[posted, edited], true).expect("in memory"));
        let deleted =
            run(3, vec![Fact::ChatDeleted { app: "token".into(), chat: 1 }], &[Arc::clone(&merged)]);
        let everything = Plan::default();
        let found = |runs: &[Arc<Run>]| {
            let mut candidates = Candidates::new(runs, &everything, Order::Newest, 0, 9).expect("in memory");
            candidates.advance().expect("in memory").map(|candidate| candidate.seq)
        };
        assert_eq!(found(&[Arc::clone(&merged)]), Some(1));
        assert_eq!(found(&[merged, deleted]), None);
    }
}
