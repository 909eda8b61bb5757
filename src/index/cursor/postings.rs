//! The postings of a term in a run, as a cursor.

use std::cell::OnceCell;

use super::{Cursor, Mark, rank};
use crate::domain::command::Order;
use crate::error::Result;
use crate::index::postings::{List, count};
use crate::index::run::Run;

/// The postings of a term in a run.
pub struct Postings<'r> {
    run: &'r Run,
    list: List<'r>,
    order: Order,
    /// How many there are. Oldest first that is known when somebody asks: the last chunk says it.
    size: OnceCell<u64>,
    /// The seq it stands at.
    current: Option<u64>,
    /// Whether it was marked, and the list is at some other chunk than that which `current` is in.
    elsewhere: bool,
    /// Seeks in this chunk so far.
    seeks: usize,
    /// The chunk's postings, ascending, once it was sought in often; those that are not passed are the first
    /// `left` when newest come first, the last `left` otherwise.
    seqs: Vec<u64>,
    left: usize,
}

/// Seeks in a chunk that together take as long as to decode it.
const SEEKS_DECODED: usize = 8;

impl<'r> Postings<'r> {
    /// Stands at the first item. `None` when the run does not hold the term.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn open(run: &'r Run, term: &[u8], order: Order) -> Result<Option<Self>> {
        let list = match order {
            Order::Oldest => List::open(run, term)?,
            Order::Newest => List::open_last(run, term)?,
        };
        let Some(list) = list else { return Ok(None) };
        let chunk = list.chunk();
        let (size, first) = match order {
            Order::Newest => (OnceCell::from(chunk.before + chunk.count), chunk.last),
            Order::Oldest if chunk.is_whole_list() => (OnceCell::from(chunk.count), chunk.first),
            Order::Oldest => (OnceCell::new(), chunk.first),
        };
        let current = Some(first);
        Ok(Some(Postings {
            run,
            list,
            order,
            size,
            current,
            elsewhere: false,
            seeks: 0,
            seqs: Vec::new(),
            left: 0,
        }))
    }

    /// Goes to the chunk that holds the first item from `seq` on. `false`: there is none.
    fn seek_chunk(&mut self, seq: u64) -> Result<bool> {
        (self.seeks, self.elsewhere) = (0, false);
        if self.order == Order::Oldest {
            return self.list.seek(seq);
        }
        if self.list.seek(seq)? && self.list.chunk().first <= seq {
            return Ok(true);
        }
        self.list.seek_before(seq)
    }

    /// The first item of the chunk from `seq` on.
    fn in_chunk(&mut self, seq: u64) -> Result<Option<u64>> {
        self.seeks += 1;
        if self.seeks < SEEKS_DECODED || self.list.chunk().is_dense() {
            return self.list.next_from(seq, self.order);
        }
        if self.seeks == SEEKS_DECODED {
            self.seqs.clear();
            self.list.decode(&mut self.seqs)?;
            self.left = self.seqs.len();
        }
        let index = match self.order {
            Order::Oldest => {
                let start = self.seqs.len() - self.left;
                self.left -= self.seqs[start..].partition_point(|each| *each < seq);
                self.seqs.len().checked_sub(self.left)
            }
            Order::Newest => {
                self.left = self.seqs[..self.left].partition_point(|each| *each <= seq);
                self.left.checked_sub(1)
            }
        };
        Ok(index.and_then(|index| self.seqs.get(index).copied()))
    }
}

impl Cursor for Postings<'_> {
    fn size(&self) -> u64 {
        // Damage is said where the list is walked.
        *self.size.get_or_init(|| count(self.run, self.list.term()).unwrap_or(u64::MAX))
    }

    fn current(&self) -> Option<u64> {
        self.current.map(|seq| rank(self.order, seq))
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        if self.current().is_none_or(|current| current >= target) {
            return Ok(());
        }
        let (seq, chunk) = (rank(self.order, target), self.list.chunk());
        let here = !self.elsewhere
            && match self.order {
                Order::Oldest => seq <= chunk.last,
                Order::Newest => seq >= chunk.first,
            };
        self.current = if here || self.seek_chunk(seq)? { self.in_chunk(seq)? } else { None };
        Ok(())
    }

    fn as_list(&mut self) -> Option<&mut dyn Mark> {
        Some(self)
    }
}

impl Mark for Postings<'_> {
    fn mark(&mut self, low: u64, window: &mut [u64]) -> Result<()> {
        let end = low.saturating_add(64 * window.len() as u64);
        self.elsewhere = true;
        if self.list.seek(low)? {
            self.list.chunks_before(end, &mut |list| list.mark(low, window, &mut self.seqs))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::testing::file_run;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_knows_how_long_it_is_whichever_comes_first(length in 1_u64..1500, newest: bool) {
            let run = file_run(20_000, 1, |writer| {
                PostingsWriter::default().write(writer, b"a\0", (1..=length).map(|n| 7 * n)).expect("memory");
            });
            let order = if newest { Order::Newest } else { Order::Oldest };
            let mut list = Postings::open(&run, b"a\0", order).expect("memory").expect("a list");
            prop_assert_eq!(list.size(), length);
            list.seek(rank(order, 35)).expect("memory");
            prop_assert_eq!(list.size(), length);
        }
    }
}
