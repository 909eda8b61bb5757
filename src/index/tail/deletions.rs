//! The messages that went with their chats and applications.
//!
//! What went with any event is one set, so that whoever sees all events looks in one, however many chats were
//! deleted. Each event has a set of its own of those that had not gone before: who looks from before it leaves
//! those out again.

use std::sync::Arc;

use roaring::RoaringTreemap;

use crate::domain::command::Order;
use crate::error::Result;
use crate::index::cursor::{Boxed, Members, Not, boxed};

/// Bytes that a set of messages takes beside its members, about.
const SET_BYTES: usize = 256;

/// Messages that went, by the numbers of the events that they went with.
#[derive(Debug, Default)]
pub struct Deletions {
    all: Arc<RoaringTreemap>,
    each: Vec<(u32, Arc<RoaringTreemap>)>,
    each_bytes: usize,
}

impl Deletions {
    /// Adds what went with an event, later than those before.
    pub fn add(&mut self, event: u32, mut messages: RoaringTreemap) {
        messages -= self.all.as_ref();
        if messages.is_empty() {
            return;
        }
        // It is copied only while somebody looks in it.
        *Arc::make_mut(&mut self.all) |= &messages;
        self.each_bytes += SET_BYTES + messages.serialized_size();
        self.each.push((event, Arc::new(messages)));
    }

    /// What went with any event.
    #[must_use]
    pub fn all(&self) -> &RoaringTreemap {
        &self.all
    }

    /// What went after event `upto`.
    fn later(&self, upto: u32) -> impl Iterator<Item = &Arc<RoaringTreemap>> {
        let seen = self.each.partition_point(|(event, _)| *event <= upto);
        self.each.iter().skip(seen).map(|(_, messages)| messages)
    }

    /// Whether a message went by event `upto`.
    #[must_use]
    pub fn hold(&self, message: u64, upto: u32) -> bool {
        self.all.contains(message) && !self.later(upto).any(|messages| messages.contains(message))
    }

    /// What went by event `upto`. `None` when nothing did.
    ///
    /// # Errors
    /// None: all is in memory.
    pub fn cursor(&self, upto: u32, order: Order) -> Result<Option<Boxed<'static>>> {
        let members = |messages: &Arc<RoaringTreemap>| boxed(Members::of(Arc::clone(messages), order));
        let Some(all) = members(&self.all) else { return Ok(None) };
        let gone = Not::of(all, self.later(upto).filter_map(members).collect())?;
        Ok(gone.current().is_some().then_some(gone))
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        if self.each.is_empty() { 0 } else { self.each_bytes + SET_BYTES + self.all.serialized_size() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn who_looks_from_before_a_deletion_does_not_see_it(
            deletions in prop::collection::vec(prop::collection::btree_set(1_u64..60, 0..20), 0..9),
            newest: bool,
        ) {
            let order = if newest { Order::Newest } else { Order::Oldest };
            let mut all = Deletions::default();
            for (event, messages) in (0_u32..).zip(&deletions) {
                all.add(2 * event, messages.iter().copied().collect());
            }
            for upto in 0..20 {
                let seen = (0_u32..).zip(&deletions).filter(|(event, _)| 2 * event <= upto);
                let wanted: BTreeSet<u64> = seen.flat_map(|(_, messages)| messages.iter().copied()).collect();
                let held: BTreeSet<u64> = (0..70).filter(|message| all.hold(*message, upto)).collect();
                prop_assert_eq!(&held, &wanted);
                let mut walked = Vec::new();
                if let Some(mut cursor) = all.cursor(upto, order).expect("memory") {
                    cursor.take_before(u64::MAX, &mut walked).expect("memory");
                }
                prop_assert!(walked.is_sorted());
                let walked: BTreeSet<u64> =
                    walked.into_iter().map(|rank| crate::index::cursor::rank(order, rank)).collect();
                prop_assert_eq!(walked, wanted);
            }
        }
    }

    #[test]
    fn many_deletions_are_one_set_to_look_in() {
        let mut all = Deletions::default();
        (0..1000).for_each(|event| all.add(event, RoaringTreemap::from([u64::from(event)])));
        for (upto, left_out) in [(999, 0), (998, 1), (u32::MAX, 0)] {
            assert_eq!(all.later(upto).count(), left_out);
        }
        assert!(all.held_bytes() > 1000 * SET_BYTES);
        all.add(1000, RoaringTreemap::from([7]));
        assert_eq!(all.later(999).count(), 0, "that had gone before");
    }
}
