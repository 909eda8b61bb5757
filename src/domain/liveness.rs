//! What still holds: which events of the log, and which keys of the table, say something that is so
//! at one moment. Compaction drops the others.
//!
//! An event is live when what it says was not overwritten, deleted or done since. The table is not
//! folded from live events alone: numbers that must not be given twice, counts and attempts come from
//! events that are dead. So what is compacted is kept with its table, and events that only take
//! something away are dead at once.

use super::event::{Address, Event, Fact};
use super::jobs::{Job, Queue};
use super::parts::type_name;
use super::table::{Facts, number_in, tag};
use super::{apps, chats, jobs, kv, messages};
use crate::error::Result;

/// Tells what is live in one table.
pub struct Liveness<'f> {
    facts: &'f dyn Facts,
    /// The chat that was asked for last, and whether it is there: messages come in crowds.
    chat: (String, u64, bool),
}

impl<'f> Liveness<'f> {
    /// Tells what is live as of `facts`.
    #[must_use]
    pub fn new(facts: &'f dyn Facts) -> Self {
        Liveness { facts, chat: (String::new(), 0, false) }
    }

    /// The event of a record, if it is live.
    ///
    /// # Errors
    /// What reading the table says, and that the record is none.
    pub fn record(&mut self, seq: u64, json: &[u8]) -> Result<Option<Event>> {
        let told = type_name(json).map_or(Ok(None), |name| self.by_type(seq, name))?;
        if told == Some(false) {
            return Ok(None);
        }
        let event = Event::decode(json)?;
        let live = told.map_or_else(|| self.event(&event), Ok)?;
        Ok(live.then_some(event))
    }

    /// Whether an event is live, where its seq and the name of its type tell: then the rest of it need not be
    /// read, which is most of what compaction costs where most is dead.
    fn by_type(&self, seq: u64, type_name: &str) -> Result<Option<bool>> {
        Ok(match type_name {
            "job.put" => Some(Job::find(self.facts, seq)?.is_some()),
            "kv.deleted" | "message.deleted" | "app.deleted" | "chat.deleted" | "job.acked"
            | "job.deleted" | "queue.purged" | "queue.dropped" => Some(false),
            _ => None,
        })
    }

    /// Whether an event is live.
    ///
    /// # Errors
    /// What reading the table says.
    pub fn event(&mut self, event: &Event) -> Result<bool> {
        let facts = self.facts;
        let seq = event.seq;
        Ok(match &event.fact {
            Fact::KeySet { key, .. } => kv::seq_of(facts, key)? == Some(seq),
            Fact::MessagePosted(message) => {
                messages::change_of(facts, seq)?.is_none() && self.address(&message.address)?
            }
            Fact::MessageEdited { message, now, .. } => {
                messages::change_of(facts, *message)? == Some(seq) && self.address(&now.address)?
            }
            Fact::AppCreated { token, name } => {
                apps::find(facts, token)?.is_some_and(|app| app.created == seq && app.name == *name)
            }
            Fact::AppUpdated { token, name } => {
                apps::find(facts, token)?.is_some_and(|app| app.name == *name)
            }
            // A chat that had no name when it was made has lost none.
            Fact::ChatCreated { app, chat, name } => {
                chats::find_chat(facts, app, *chat)?.is_some_and(|now| name.is_none() || now.name == *name)
            }
            Fact::ChatUpdated { app, chat, name } => {
                chats::find_chat(facts, app, *chat)?.is_some_and(|now| now.name.as_ref() == Some(name))
            }
            Fact::FormulaCreated { .. } | Fact::RequestAnswered { .. } | Fact::EventLost => true,
            Fact::JobPut { .. } => Job::find(facts, seq)?.is_some(),
            Fact::JobLeased { job, lease, .. } => {
                Job::find(facts, *job)?.is_some_and(|(_, job)| job.lease == *lease)
            }
            Fact::JobExtended { job, .. }
            | Fact::JobNacked { job, .. }
            | Fact::JobExpired { job, .. }
            | Fact::JobReadied { job, .. }
            | Fact::JobRevived { job: Some(job), .. } => {
                Job::find(facts, *job)?.is_some_and(|(_, job)| job.revision == seq)
            }
            // Nothing says which jobs it revived; it is live as long as one may be there.
            Fact::JobRevived { queue, job: None, .. } => Queue::named(facts, queue)?
                .is_some_and(|queue| queue.id <= seq && queue.counts.iter().any(|count| *count > 0)),
            Fact::QueueConfigured { queue, lease_ms, max_attempts, max_jobs } => Queue::named(facts, queue)?
                .is_some_and(|now| {
                    let same = (now.lease_ms, now.max_attempts, now.max_jobs);
                    now.id <= seq && same == (*lease_ms, *max_attempts, *max_jobs)
                }),
            Fact::KeyDeleted { .. }
            | Fact::MessageDeleted { .. }
            | Fact::AppDeleted { .. }
            | Fact::ChatDeleted { .. }
            | Fact::JobAcked { .. }
            | Fact::JobDeleted { .. }
            | Fact::QueuePurged { .. }
            | Fact::QueueDropped { .. } => false,
        })
    }

    /// Whether a key of the table is live: one that is set may be of something that went with a whole
    /// chat, application or state of a queue, and nothing can reach it any more.
    ///
    /// # Errors
    /// What reading the table and the log says.
    pub fn key(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        match key.first() {
            Some(&(tag::CHAT | tag::CHAT_COUNTERS | tag::MESSAGE_NUMBER)) => {
                let (app, chat) = chats::chat_in_key(key)?;
                self.is_there(&app, chat)
            }
            Some(&tag::MESSAGE_CHANGE) => match number_in(value)? {
                // What says that a message was deleted goes with the message.
                0 => Ok(false),
                edit => match self.facts.record(edit)? {
                    Some(record) => self.event(&Event::decode(&record)?),
                    None => Ok(false),
                },
            },
            Some(&(tag::JOB | tag::READY | tag::JOB_STATE)) => jobs::key_is_live(self.facts, key),
            _ => Ok(true),
        }
    }

    fn address(&mut self, address: &Address) -> Result<bool> {
        match address {
            Address::Recipient(_) => Ok(true),
            Address::Chat { app, chat, .. } => self.is_there(app, *chat),
        }
    }

    fn is_there(&mut self, app: &str, chat: u64) -> Result<bool> {
        if self.chat.0 != app || self.chat.1 != chat {
            self.chat = (app.to_owned(), chat, chats::is_there(self.facts, app, chat)?);
        }
        Ok(self.chat.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::table::FIRST_POSTINGS_TAG;
    use crate::domain::testing::{events, folded, story};

    #[test]
    fn what_the_type_tells_is_so_and_of_what_only_takes_away_it_tells_that_it_is_dead() {
        folded(story(), |table| {
            let mut liveness = Liveness::new(&table);
            let mut dead = 0;
            for event in events() {
                let told = liveness.by_type(event.seq, event.fact.type_name()).expect("memory");
                let live = liveness.event(&event).expect("memory");
                assert!(told.is_none_or(|told| told == live), "{event:?}");
                let surely = told == Some(false);
                let name = event.fact.type_name();
                let takes_away = [".deleted", ".acked", ".purged", ".dropped"];
                assert!(surely || !takes_away.iter().any(|end| name.ends_with(end)), "{event:?}");
                dead += u32::from(surely);
            }
            assert!(dead > 8, "{dead}");
        });
    }

    #[test]
    fn keys_of_what_went_with_a_chat_or_a_queue_or_was_deleted_are_dead() {
        folded(story(), |table| {
            let mut dead = Vec::new();
            let mut liveness = Liveness::new(&table);
            let scanned = table.scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
                if !liveness.key(key, value)? {
                    dead.push(key[0]);
                }
                Ok(true)
            });
            scanned.expect("memory");
            let deleted = [tag::MESSAGE_CHANGE; 2];
            let others = [tag::JOB, tag::MESSAGE_NUMBER, tag::READY];
            assert_eq!(dead, [&deleted[..], &others].concat());
        });
    }
}
