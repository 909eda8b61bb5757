//! Events that were lost to damage, after a repair.
//!
//! Where nothing was lost, every event follows from those before it, and `apply` takes that for
//! granted. Behind a loss it looks first: counts stay exact over what is left, an event whose subject
//! is gone changes nothing, and an application or a chat that is named by an event that is left comes back:
//! no number is given twice that the log still names.

use super::table::{Facts, Table, number_in, number_value, tag};
use crate::codec::write_ordered;
use crate::error::Result;

fn key(seq: u64) -> Vec<u8> {
    let mut key = vec![tag::LOST];
    write_ordered(&mut key, seq);
    key
}

/// Notes that an event was lost.
pub fn apply(seq: u64, table: &mut dyn Table) {
    mark(seq, table);
    table.counts_mut().lost += 1;
}

/// Notes that nothing is left of what an event said, though no event says that it was lost.
pub fn mark(seq: u64, table: &mut dyn Table) {
    table.put(key(seq), Some(Vec::new()));
}

/// Notes that the table is folded anew from what a compaction left of the events up to `last`: the table
/// that was kept with them is lost, and so may be others of them, though no event says so.
///
/// What is left comes back whole, with its names and settings. Lost is what only events said that are
/// gone: how often a job was delivered that is not leased now, and where it stood among those whose
/// lease ran out; the largest numbers of chats and messages, when they were deleted; a queue without
/// jobs and settings; and when an application or a chat was made that was renamed.
pub fn fold_anew(last: u64, gone: u64, table: &mut dyn Table) {
    table.put(key(0), Some(number_value(last)));
    table.counts_mut().lost += gone;
}

/// Whether nothing is left of this event, though no event says that it was lost.
///
/// # Errors
/// What reading the table and the log says.
pub fn is_untold(facts: &(impl Facts + ?Sized), seq: u64) -> Result<bool> {
    if !some(facts) {
        return Ok(false);
    }
    let until = facts.get(&key(0))?.map_or(Ok(0), |value| number_in(&value))?;
    Ok(seq <= until && facts.record(seq)?.is_none())
}

/// Whether any event was lost.
#[must_use]
pub fn some(facts: &(impl Facts + ?Sized)) -> bool {
    facts.counts().lost > 0
}

/// Whether this event was lost.
///
/// # Errors
/// What reading the table says.
pub fn is_lost(facts: &(impl Facts + ?Sized), seq: u64) -> Result<bool> {
    Ok(some(facts) && facts.get(&key(seq))?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::apply;
    use crate::domain::event::{Address, Event, Fact};
    use crate::domain::testing::{APP, empty, folded};
    use crate::domain::{apps, chats};
    use crate::error::Code;
    use crate::time::Timestamp;

    #[test]
    fn an_event_whose_subject_is_not_there_is_refused_unless_events_were_lost() {
        let fact = Fact::JobAcked { queue: "q".into(), job: 3 };
        let event = Event { seq: 7, at: Timestamp(0), uid: 0, fact };
        let random = &mut |_: &mut [u8]| {};
        let mut table = empty(random);
        assert_eq!(apply(&event, &mut table).map_err(|error| error.code()), Err(Code::NotFound));
        table.counts_mut().lost = 1;
        assert_eq!(apply(&event, &mut table), Ok(()));
    }

    #[test]
    fn nothing_is_told_of_what_is_gone_from_the_part_that_was_folded_anew_alone() {
        let random = &mut |_: &mut [u8]| {};
        let mut table = empty(random);
        let first = table.emit(Fact::KeySet { key: "k".into(), value: "1".into(), created: true });
        assert_eq!(first.expect("memory"), 1);
        assert!(!is_untold(&table, 2).expect("memory"), "no event was lost");
        fold_anew(5, 1, &mut table);
        let untold = [1, 2, 5, 6].map(|seq| is_untold(&table, seq).expect("memory"));
        assert_eq!(untold, [false, true, true, false], "it is there, gone, gone, and behind");
    }

    #[test]
    fn no_number_is_given_twice_that_is_named_by_an_event_that_is_left() {
        let app = || APP.to_owned();
        let deleted = |number| Fact::MessageDeleted {
            message: 3,
            address: Address::Chat { app: app(), chat: 1, number },
        };
        let last_numbers = |story: Vec<Fact>| {
            folded(story, |table| {
                let chat = chats::chat_counters(&table, APP, 1).expect("memory");
                let counts = table.counts();
                let app = apps::counters(&table, APP).expect("memory");
                assert_eq!((app.chats, chat.messages), (counts.chats, counts.messages));
                (app.last_chat, chat.last_number)
            })
        };
        let made = || [Fact::AppCreated { token: app(), name: "one".into() }];
        let chat = Fact::ChatCreated { app: app(), chat: 1, name: None };
        let lost_post = [chat, Fact::EventLost, deleted(7)];
        assert_eq!(last_numbers(made().into_iter().chain(lost_post).collect()), (1, 7));
        let lost_chat =
            [Fact::EventLost, Fact::EventLost, deleted(7), Fact::ChatDeleted { app: app(), chat: 9 }];
        assert_eq!(last_numbers(made().into_iter().chain(lost_chat.clone()).collect()), (9, 7));
        let lost_app = [Fact::EventLost].into_iter().chain(lost_chat);
        assert_eq!(last_numbers(lost_app.collect()), (9, 7));
    }

    #[test]
    fn a_chat_whose_creation_was_lost_comes_back_with_the_name_that_is_left_and_before_those_made_since() {
        let app = || APP.to_owned();
        let story = vec![
            Fact::AppCreated { token: app(), name: "one".into() },
            Fact::EventLost,
            Fact::ChatCreated { app: app(), chat: 2, name: None },
            Fact::ChatUpdated { app: app(), chat: 1, name: "renamed".into() },
        ];
        folded(story, |table| {
            let chat = chats::require_chat(&table, APP, 1).expect("it is there again");
            let app = apps::counters(&table, APP).expect("memory");
            assert_eq!((chat.name.as_deref(), app.chats, app.last_chat), (Some("renamed"), 2, 2));
        });
    }
}
