//! Walks through the log, all of it or the events of some types.

use crate::error::Result;
use crate::index::cursor::{Boxed, Cursor, Or};
use crate::index::source::Source;
use crate::index::terms::{Kind, term};
use crate::snapshot::Snapshot;

/// The events of a snapshot, in order.
pub struct Events<'s> {
    snapshot: &'s Snapshot,
    /// The terms of the types that are asked for, unless all are.
    types: Option<Vec<Vec<u8>>>,
    /// Pieces of the index that were not reached yet.
    waiting: std::vec::IntoIter<Source<'s>>,
    /// The events of the types in the piece that was reached.
    here: Or<Boxed<'s>>,
}

impl<'s> Events<'s> {
    /// All events, or those of some types.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot, types: Option<&[String]>) -> Self {
        let types = types.map(|types| {
            let mut terms: Vec<Vec<u8>> =
                types.iter().map(|name| term(Kind::Type, false, name.as_bytes())).collect();
            terms.sort_unstable();
            terms.dedup();
            terms
        });
        Events { snapshot, types, waiting: snapshot.sources().into_iter(), here: Or::of(Vec::new()) }
    }

    /// The first that is in the log at `from` or behind it; it never goes back.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn first_from(&mut self, from: u64) -> Result<Option<u64>> {
        let Some(types) = &self.types else { return self.snapshot.next_record(from) };
        loop {
            self.here.seek(from)?;
            if let Some(found) = self.here.current() {
                return Ok(Some(found));
            }
            let Some(source) = self.waiting.find(|source| source.range().1 >= from) else { return Ok(None) };
            let mut here = Vec::new();
            for term in types {
                here.extend(source.postings_from(term, from)?);
            }
            self.here = Or::of(here);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Fact;
    use crate::reader::testing::{post, snapshot_of};
    use proptest::prelude::*;

    fn fact(number: u8) -> Fact {
        match number {
            0 => Fact::KeySet { key: "k".into(), value: "1".into(), created: true },
            1 => Fact::ChatDeleted { app: "a".into(), chat: 1 },
            _ => post("a"),
        }
    }

    proptest! {
        #[test]
        fn events_of_some_types_come_in_the_order_of_the_log_from_wherever_it_begins(
            tails in prop::collection::vec(prop::collection::vec(0_u8..3, 1..20), 1..4),
            wanted in prop::collection::btree_set(0_u8..4, 0..4),
            steps in prop::collection::vec(1_u64..9, 1..30),
            seen in 1_u64..80,
        ) {
            let all: Vec<u8> = tails.concat();
            let facts = tails.iter().map(|tail| tail.iter().copied().map(fact).collect());
            let mut snapshot = snapshot_of(facts.collect());
            snapshot.last = snapshot.last.min(seen);
            // Of a type that nothing has there is nothing, and of one that is named twice as much as of others.
            let name = |number: u8| if number == 3 { "no.type" } else { fact(number).type_name() };
            let types: Vec<String> =
                wanted.iter().chain(&wanted).map(|number| name(*number).to_owned()).collect();
            let mut events = Events::new(&snapshot, Some(&types));
            let mut from = 0;
            for step in steps {
                from += step;
                let found = (from..=snapshot.last).find(|seq| {
                    let place = usize::try_from(seq - 1).expect("small");
                    wanted.contains(&all[place])
                });
                prop_assert_eq!(events.first_from(from).expect("memory"), found);
            }
        }
    }
}
