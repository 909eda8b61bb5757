//! Takes out of a table what stood on events that are lost from a compacted part of the log.
//!
//! The table of such a part is not folded anew: it is kept beside the part, because it cannot be
//! folded from what is left. So what refers to a lost event goes: a key and its value, a message, a
//! formula, a job, the answer to a request. Names, settings and counters stand in the table itself
//! and stay, so that no number is given twice. What comes behind is then applied as behind any loss:
//! see `lost`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::jobs::Job;
use super::lost;
use super::table::{FIRST_POSTINGS_TAG, Facts, Table, malformed, number_in, tag};
use super::{chats, messages};
use crate::codec::read_ordered;
use crate::error::Result;

/// The events that a table refers to, of those from `first` to `last`. Messages to a recipient are
/// referred to by no key.
///
/// # Errors
/// What reading the table says.
pub fn references(facts: &dyn Facts, first: u64, last: u64) -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    facts.scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
        found.extend(reference(facts, key, value)?.filter(|seq| (first..=last).contains(seq)));
        Ok(true)
    })?;
    Ok(found)
}

/// The event whose record a key of the table needs.
fn reference(facts: &dyn Facts, key: &[u8], value: &[u8]) -> Result<Option<u64>> {
    Ok(match key.first() {
        Some(&(tag::KEY | tag::FORMULA | tag::ANSWERED)) => Some(number_in(value)?),
        // 0 where it was deleted: no event has that seq.
        Some(&tag::MESSAGE_CHANGE) => Some(number_in(value)?).filter(|edit| *edit > 0),
        Some(&(tag::FORMULA_ORDER | tag::JOB)) => Some(seq_in(key)?),
        Some(&tag::MESSAGE_NUMBER) => {
            let seq = number_in(value)?;
            Some(messages::change_of(facts, seq)?.unwrap_or(seq))
        }
        _ => None,
    })
}

fn seq_in(key: &[u8]) -> Result<u64> {
    let mut rest = key.get(1..).unwrap_or_default();
    read_ordered(&mut rest).ok_or_else(|| malformed("key"))
}

/// Takes out what refers to `gone`, and notes that these events are lost. `messages` says how many
/// messages are left: each has just one record in a compacted part.
///
/// # Errors
/// What reading the table says.
pub fn forget(table: &mut dyn Table, gone: &BTreeSet<u64>, messages: u64) -> Result<()> {
    let mut keys = Vec::new();
    let facts: &dyn Facts = table;
    facts.scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
        if reference(facts, key, value)?.is_some_and(|seq| gone.contains(&seq)) {
            keys.push(key.to_vec());
        }
        Ok(true)
    })?;
    for key in keys {
        take_out(key, table)?;
    }
    for seq in gone {
        if !lost::is_lost(table, *seq)? {
            lost::apply(*seq, table);
        }
    }
    table.counts_mut().messages = messages;
    Ok(())
}

fn take_out(key: Vec<u8>, table: &mut dyn Table) -> Result<()> {
    match key.first() {
        Some(&tag::KEY) => table.counts_mut().keys -= 1,
        Some(&tag::FORMULA) => table.counts_mut().formulas -= 1,
        Some(&tag::ANSWERED) => table.counts_mut().answered -= 1,
        // A later edit holds the whole message and brings it back, as if its post were lost.
        Some(&tag::MESSAGE_CHANGE) => lost::mark(seq_in(&key)?, table),
        Some(&tag::MESSAGE_NUMBER) => {
            let (app, chat) = chats::chat_in_key(&key)?;
            chats::count_message(table, &app, chat, |counters| counters.messages -= 1)?;
        }
        Some(&tag::JOB) => {
            let seq = seq_in(&key)?;
            if let Some((queue, job)) = Job::find(table, seq)? {
                let mut queue = Arc::unwrap_or_clone(queue);
                job.leave(&mut queue, table);
                queue.put(table);
            }
            table.put_job(seq, None);
            return Ok(());
        }
        _ => {}
    }
    table.put(key, None);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::draft::Draft;
    use crate::domain::event::{Address, Event, Fact, JobState};
    use crate::domain::jobs::Queue;
    use crate::domain::liveness::Liveness;
    use crate::domain::table::Counts;
    use crate::domain::testing::{APP, empty, events, folded, story};
    use crate::domain::{apply, apps};
    use crate::time::Timestamp;

    /// The events that a compaction leaves.
    fn live() -> Vec<u64> {
        folded(story(), |table| {
            let mut liveness = Liveness::new(&table);
            let live = events().filter(|event| liveness.event(event).expect("memory"));
            live.map(|event| event.seq).collect()
        })
    }

    /// What the keys of a table come to; messages to recipients have none.
    fn counted(table: &mut Draft<'_>, to_recipients: u64) -> Counts {
        table.store_objects();
        let table = &*table;
        let mut found = Counts { messages: to_recipients, lost: table.counts().lost, ..Counts::default() };
        let mut jobs = Vec::new();
        let (mut chats, mut in_chats, mut queues) = (Vec::new(), Vec::new(), Vec::new());
        let scanned = table.scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, _| {
            match key[0] {
                tag::KEY => found.keys += 1,
                tag::APP => found.apps += 1,
                tag::CHAT => chats.push(chats::chat_in_key(key)?),
                tag::MESSAGE_NUMBER => in_chats.push(chats::chat_in_key(key)?),
                tag::FORMULA => found.formulas += 1,
                tag::ANSWERED => found.answered += 1,
                tag::QUEUE_NAME => queues.push(String::from_utf8_lossy(&key[1..]).into_owned()),
                tag::JOB => jobs.extend(Job::find(table, seq_in(key)?)?),
                _ => {}
            }
            Ok(true)
        });
        scanned.expect("memory");
        (found.chats, found.queues) = (chats.len() as u64, queues.len() as u64);
        for (app, chat) in chats {
            let held = in_chats.iter().filter(|each| **each == (app.clone(), chat)).count() as u64;
            assert_eq!(chats::chat_counters(table, &app, chat).expect("memory").messages, held);
            found.messages += held;
        }
        for queue in queues {
            let queue = Queue::named(table, &queue).expect("memory").expect("a queue");
            for (place, state) in JobState::ALL.into_iter().enumerate() {
                let of_state = jobs.iter().filter(|(of, job)| of.id == queue.id && job.state == state);
                assert_eq!(queue.counts[place], of_state.count() as u64, "{queue:?}");
                found.jobs[place] += queue.counts[place];
            }
            let mut ready = 0;
            let visited = queue.visit_ready(table, &mut |_| {
                ready += 1;
                Ok(true)
            });
            assert!(visited.is_ok() && ready == queue.counts[0], "every ready job is found: {queue:?}");
        }
        found
    }

    #[test]
    fn counts_are_those_of_what_is_left_whichever_event_is_lost() {
        let all = story().len();
        for gone in 0..=all {
            let mut left = story();
            if let Some(fact) = left.get_mut(gone) {
                *fact = Fact::EventLost;
            }
            // The first is edited later, and the second is deleted by the event after it.
            let to_recipients = 1 + u64::from(gone + 1 == 13);
            folded(left, |mut table| {
                assert_eq!(table.counts(), counted(&mut table, to_recipients), "without event {}", gone + 1);
                assert_eq!(table.counts().lost, u64::from(gone < all));
            });
        }
    }

    #[test]
    fn counts_are_those_of_what_is_left_whichever_event_is_forgotten() {
        for gone in live() {
            folded(story(), |mut table| {
                let was_message = [7, 11, 41].contains(&gone);
                let messages = table.counts().messages - u64::from(was_message);
                let before = references(&table, 1, u64::MAX).expect("memory");
                forget(&mut table, &BTreeSet::from([gone]), messages).expect("memory");
                assert_eq!(
                    table.counts(),
                    counted(&mut table, u64::from(gone != 11)),
                    "without event {gone}"
                );
                assert!(lost::is_lost(&table, gone).expect("memory"));
                let mut after = references(&table, 1, u64::MAX).expect("memory");
                assert!(!after.contains(&gone), "event {gone} is referred to");
                if before.contains(&gone) {
                    after.insert(gone);
                }
                assert_eq!(after, before, "only what stood on event {gone} goes");
            });
        }
    }

    #[test]
    fn what_a_table_refers_to_are_the_records_that_it_needs() {
        folded(story(), |table| {
            let all = references(&table, 1, u64::MAX).expect("memory");
            // Also a message of a chat that was deleted, and a job that was purged.
            assert_eq!(all, BTreeSet::from([6, 7, 11, 16, 18, 20, 21, 22, 31, 33, 37, 38, 41]));
            let some = references(&table, 16, 20).expect("memory");
            assert_eq!(some, BTreeSet::from([16, 18, 20]));
        });
    }

    /// A table that is folded anew from what a compaction left, less one event.
    fn folded_anew<T>(gone: Option<u64>, look: impl FnOnce(Draft<'_>) -> T) -> T {
        let (live, random) = (live(), &mut |_: &mut [u8]| {});
        let mut table = empty(random);
        let all = story().len();
        lost::fold_anew(all as u64, (all - live.len()) as u64, &mut table);
        for mut event in events().filter(|event| live.contains(&event.seq)) {
            if gone == Some(event.seq) {
                event.fact = Fact::EventLost;
            }
            apply(&event, &mut table).expect("memory");
        }
        look(table)
    }

    #[test]
    fn what_a_compaction_leaves_folds_into_all_that_is_there() {
        assert_eq!(live(), [2, 7, 11, 16, 18, 20, 21, 22, 26, 28, 31, 32, 36, 37, 38, 39, 40, 41]);
        let before = folded(story(), |table| table.counts());
        folded_anew(None, |mut table| {
            assert_eq!(Counts { lost: 0, ..table.counts() }, before);
            assert_eq!(table.counts(), counted(&mut table, 1));
            assert_eq!(apps::find(&table, APP).expect("memory").expect("it is there").name, "renamed");
            let chat = chats::find_chat(&table, APP, 1).expect("memory").expect("it is there");
            assert_eq!(chat.name.as_deref(), Some("renamed"));
            let needed = references(&table, 1, u64::MAX).expect("memory");
            assert_eq!(needed, BTreeSet::from([7, 11, 16, 18, 20, 21, 22, 31, 37, 38, 41]));
        });
    }

    #[test]
    fn a_message_whose_only_record_is_lost_comes_back_with_a_later_edit_and_goes_but_once() {
        for gone in live() {
            folded_anew(Some(gone), |mut table| {
                let edits = story().into_iter().filter(|fact| matches!(fact, Fact::MessageEdited { .. }));
                for (seq, fact) in (100..).zip(edits) {
                    let event = Event { seq, at: Timestamp(seq), uid: 0, fact };
                    apply(&event, &mut table).expect("memory");
                }
                assert_eq!(table.counts(), counted(&mut table, 1), "without event {gone}");
            });
            folded_anew(Some(gone), |mut table| {
                let address = Address::Recipient("r".into());
                let fact = Fact::MessageDeleted { message: 10, address };
                let event = Event { seq: 100, at: Timestamp(0), uid: 0, fact };
                apply(&event, &mut table).expect("memory");
                assert_eq!(table.counts(), counted(&mut table, 0), "without event {gone}");
            });
        }
    }
}
