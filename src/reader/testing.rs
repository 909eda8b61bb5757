//! For unit tests: snapshots of a tail, without a log.

use std::sync::Arc;

use crate::domain::event::{Address, Event, Fact, Message};
use crate::domain::table::{Changes, Counts};
use crate::index::tail::{Added, Tail};
use crate::snapshot::Snapshot;
use crate::time::Timestamp;

/// A post with this body.
pub fn post(body: &str) -> Fact {
    let address = Address::Recipient("r".into());
    Fact::MessagePosted(Message { address, originator: Some("o".into()), body: body.into() })
}

/// A snapshot that sees these facts, each tail those of one list. The time of each is ten times its seq.
pub fn snapshot_of(tails: Vec<Vec<Fact>>) -> Snapshot {
    let mut last = 0;
    let tails = tails.into_iter().map(|facts| {
        let tail = Tail::new(last + 1);
        let events: Vec<Event> = facts
            .into_iter()
            .map(|fact| {
                last += 1;
                Event { seq: last, at: Timestamp(10 * last), uid: 0, fact }
            })
            .collect();
        let (offsets, changes) = (vec![0; events.len()], Changes::default());
        let counts = Counts { messages: last, ..Counts::default() };
        tail.add(Added { events: &events, offsets: &offsets, changes, counts, deleted: Vec::new() });
        Arc::new(tail)
    });
    let tails = Arc::new(tails.collect());
    Snapshot { tails, last, last_at: Timestamp(10 * last), synced: last, ..Snapshot::default() }
}
