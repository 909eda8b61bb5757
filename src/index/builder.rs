//! Makes a small run in memory from a batch of events and the changes of the table.

use std::collections::{BTreeMap, HashMap};

use super::postings::{self, PostingsWriter};
use super::run::{Meta, Run, RunWriter, write_value};
use super::terms::{Kind, TermBuffers, chat_bytes, term};
use crate::domain::event::{Event, Fact, Message};
use crate::domain::table::{Changes, Counts};
use crate::error::Result;
use std::sync::Arc;

/// Gathers the terms of a batch.
#[derive(Debug, Default)]
pub struct Builder {
    terms: HashMap<Vec<u8>, Vec<u64>>,
    /// The newest text of messages that the batch edited.
    edits: BTreeMap<u64, Message>,
    edited: Vec<u64>,
    deleted: Vec<u64>,
    buffers: TermBuffers,
}

impl Builder {
    /// Adds an event. `runs` is what was there before the batch.
    ///
    /// # Errors
    /// `corrupt` when a chat's messages cannot be listed.
    pub fn add(&mut self, event: &Event, runs: &[Arc<Run>]) -> Result<()> {
        let Builder { terms, buffers, .. } = self;
        let mut give = |term: &[u8], seq: u64| match terms.get_mut(term) {
            Some(seqs) if seqs.last() == Some(&seq) => {}
            Some(seqs) => seqs.push(seq),
            None => {
                terms.insert(term.to_vec(), vec![seq]);
            }
        };
        give(&term(Kind::Type, false, event.fact.type_name().as_bytes()), event.seq);
        match &event.fact {
            Fact::MessagePosted(message) => buffers.each(message, false, |term| give(term, event.seq)),
            Fact::MessageEdited { message, now, .. } => {
                self.edited.push(*message);
                self.edits.insert(*message, now.clone());
            }
            Fact::MessageDeleted { message, .. } => self.delete(&[*message]),
            Fact::ChatDeleted { app, chat } => {
                self.delete_all(&term(Kind::Chat, false, &chat_bytes(app, *chat)), runs)?;
            }
            Fact::AppDeleted { token } => self.delete_all(&term(Kind::App, false, token.as_bytes()), runs)?,
            _ => {}
        }
        Ok(())
    }

    fn delete(&mut self, messages: &[u64]) {
        for message in messages {
            self.edits.remove(message);
            self.deleted.push(*message);
        }
    }

    /// Deletes all messages of a chat or an application: they are the postings of its term.
    fn delete_all(&mut self, term: &[u8], runs: &[Arc<Run>]) -> Result<()> {
        for run in runs {
            self.delete(&postings::all(run, term)?);
        }
        let own = self.terms.get(term).cloned().unwrap_or_default();
        self.delete(&own);
        Ok(())
    }

    /// The run of the batch. `meta.changed` and `meta.edits` are set here.
    ///
    /// # Errors
    /// None that memory gives.
    pub fn finish(mut self, mut meta: Meta, changes: &Changes, offsets: Vec<u32>) -> std::io::Result<Run> {
        meta.edits = !self.edits.is_empty();
        let edits = std::mem::take(&mut self.edits);
        for (seq, message) in &edits {
            self.buffers.each(message, true, |term| {
                let seqs = self.terms.entry(term.to_vec()).or_default();
                if seqs.last() != Some(seq) {
                    seqs.push(*seq);
                }
            });
        }
        for (kind, mut seqs) in [(Kind::Edited, self.edited), (Kind::Deleted, self.deleted)] {
            seqs.sort_unstable();
            seqs.dedup();
            if let (Some(low), Some(high)) = (seqs.first(), seqs.last()) {
                meta.changed = Some(match meta.changed {
                    Some((other_low, other_high)) => (other_low.min(*low), other_high.max(*high)),
                    None => (*low, *high),
                });
                self.terms.insert(term(kind, false, b""), seqs);
            }
        }
        let mut writer = RunWriter::in_memory();
        let mut payload = Vec::new();
        for (key, value) in &changes.0 {
            write_value(&mut payload, value.as_deref());
            writer.add(key, &payload)?;
        }
        let mut terms: Vec<_> = self.terms.into_iter().collect();
        terms.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut lists = PostingsWriter::default();
        for (term, seqs) in &terms {
            for seq in seqs {
                lists.push(&mut writer, term, *seq)?;
            }
            lists.finish(&mut writer, term)?;
        }
        Ok(writer.into_memory(meta, offsets))
    }
}

/// The description of a batch's run, before its events are known to the index.
#[must_use]
pub fn meta_of(events: &[Event], counts: Counts) -> Option<Meta> {
    let (first, last) = (events.first()?, events.last()?);
    Some(Meta {
        first: first.seq,
        last: last.seq,
        first_at: first.at,
        last_at: last.at,
        changed: None,
        edits: false,
        counts,
    })
}
