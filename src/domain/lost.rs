//! Events that were lost to damage, after a repair.
//!
//! Where nothing was lost, every event follows from those before it, and `apply` takes that for
//! granted. Behind a loss it looks first: counts stay exact over what is left, an event whose subject
//! is gone changes nothing, and an application or a chat whose messages are left comes back.

use super::table::{Facts, Table, tag};
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
