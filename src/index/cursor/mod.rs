//! Cursors: sets of seqs to walk in one direction, and their combinations.
//!
//! A cursor speaks in *ranks*, which ascend in the direction of the walk: the seq itself when the
//! oldest come first, its complement when the newest do. So AND, OR and NOT are written once.
//!
//! - `postings` walks a term of a run; `in_memory` walks seqs that lie in memory.
//! - `combined` has OR and NOT. For AND see `and`.

mod combined;
mod in_memory;
mod postings;

use crate::domain::command::Order;
use crate::error::Result;
pub use combined::{Less, Not, Or};
pub use in_memory::{Gathered, Listed, Members};
pub use postings::Postings;

/// A seq's rank in a direction, and back: the same function both ways.
#[must_use]
pub fn rank(order: Order, seq: u64) -> u64 {
    match order {
        Order::Oldest => seq,
        Order::Newest => !seq,
    }
}

/// A set to walk. After `seek` it stands at an item or at its end.
pub trait Cursor {
    /// The rank it stands at; `None` at the end.
    fn current(&self) -> Option<u64>;

    /// Goes to the first item whose rank is `target` or more; it never goes back.
    ///
    /// # Errors
    /// `corrupt`.
    fn seek(&mut self, target: u64) -> Result<()>;

    /// About how many items it has, where that is known; else very many.
    fn size(&self) -> u64 {
        u64::MAX
    }

    /// Whether it rests: it stands where it has come to, before which there is nothing, and which need not be an
    /// item. It goes on when it is told to seek that place.
    fn rests(&self) -> bool {
        false
    }

    /// Appends the ranks of the items before `end` that are left, and goes there.
    ///
    /// # Errors
    /// `corrupt`.
    fn take_before(&mut self, end: u64, out: &mut Vec<u64>) -> Result<()> {
        while let Some(current) = self.current().filter(|current| *current < end) {
            out.push(current);
            self.seek(current + 1)?;
        }
        Ok(())
    }

    /// Itself as a list that is quicker put into a bitmap than walked, if it is one.
    fn as_list(&mut self) -> Option<&mut dyn Mark> {
        None
    }
}

/// A list that can be put into a bitmap.
pub trait Mark {
    /// Sets the bits of its items among the seqs from `low` on: the lowest bit of the first word is that of `low`.
    /// Where it stands does not change.
    ///
    /// # Errors
    /// `corrupt`.
    fn mark(&mut self, low: u64, window: &mut [u64]) -> Result<()>;
}

/// A cursor of any kind.
pub type Boxed<'r> = Box<dyn Cursor + 'r>;

impl Cursor for Boxed<'_> {
    fn current(&self) -> Option<u64> {
        self.as_ref().current()
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        self.as_mut().seek(target)
    }

    fn size(&self) -> u64 {
        self.as_ref().size()
    }

    fn rests(&self) -> bool {
        self.as_ref().rests()
    }

    fn take_before(&mut self, end: u64, out: &mut Vec<u64>) -> Result<()> {
        self.as_mut().take_before(end, out)
    }

    fn as_list(&mut self) -> Option<&mut dyn Mark> {
        self.as_mut().as_list()
    }
}

/// A cursor in a box, unless it has nothing.
pub fn boxed<'r, C: Cursor + 'r>(cursor: C) -> Option<Boxed<'r>> {
    cursor.current().is_some().then(|| Box::new(cursor) as Boxed<'r>)
}
