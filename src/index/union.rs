//! The union of many lists of a run, read only as far as it is walked.
//!
//! The chunks of short lists wait in the order in which their first items come; those that the walk has
//! reached are decoded. So the first items of a thousand lists cost a thousand looks at heads, and hardly
//! any list is read. Long lists are walked each by itself, and wait in the same order. Of very many lists only the
//! first are kept apart, and the others are gathered in one set: what a union takes grows with the messages that it can
//! find, and not with the words.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::block::RESTART_ENTRIES;
use super::chunk::{Chunk, chunk_of, decode, malformed};
use super::cursor::{Cursor, Members, Or, Postings, boxed, rank};
use super::grams::{self, GRAM_BYTES};
use super::position::Position;
use super::postings::{List, split_key};
use super::run::Run;
use crate::domain::command::Order;
use crate::error::{Code, Error, Result};

/// An entry with a smaller payload is passed without a look at what it says.
const PASSED_BYTES: usize = 16;

/// Items that are gathered before they are put in order and into the set: into many places of it at once is
/// quicker than one by one.
const GATHERED: usize = 1 << 16;

/// How many lists are kept apart, at most.
#[derive(Debug, Clone, Copy)]
pub struct Apart {
    /// Short ones, of a chunk. Each takes some hundred bytes.
    short: usize,
    /// Long ones. Each takes some thousand bytes, and a microsecond or two for each of its postings that is walked.
    long: usize,
}

impl Apart {
    /// None: all is gathered in the set.
    pub const NONE: Apart = Apart { short: 0, long: 0 };

    /// All of them, where they are surely few.
    pub const ALL: Apart = Apart { short: usize::MAX, long: usize::MAX };

    /// As many as a search may keep, for each of so many unions that it walks.
    #[must_use]
    pub fn in_each_of(unions: usize) -> Self {
        // In tests few, so that what lies behind is tested, too.
        let (short, long) = if cfg!(test) { (5, 2) } else { (8192, 512) };
        Apart { short: short / unions.max(1), long: long / unions.max(1) }
    }
}

/// A union of lists.
pub struct Union<'r> {
    run: &'r Run,
    order: Order,
    apart: Apart,
    /// Chunks that were not reached yet: the rank of the first item, and the number.
    waiting: BinaryHeap<Reverse<(u64, u32)>>,
    /// The chunks, each with where its payload ends in the bytes of all.
    chunks: Vec<(Chunk, usize)>,
    bytes: Vec<u8>,
    /// Ranks of items of the chunks that were reached.
    reached: BinaryHeap<Reverse<u64>>,
    seqs: Vec<u64>,
    /// The lists of more than a chunk, how many there are, and the term of the last one.
    long: Or<Postings<'r>>,
    long_lists: usize,
    last_long: Vec<u8>,
    /// The items of all lists that are not kept apart: in the set, and on the way there.
    set: RoaringTreemap,
    gathered: Vec<u64>,
    others: Option<Members>,
    /// How many items the short lists and those that are gathered have.
    size: u64,
}

impl<'r> Union<'r> {
    /// Of nothing yet.
    fn new(run: &'r Run, order: Order, apart: Apart) -> Self {
        Union {
            run,
            order,
            apart,
            waiting: BinaryHeap::new(),
            chunks: Vec::new(),
            bytes: Vec::new(),
            reached: BinaryHeap::new(),
            seqs: Vec::new(),
            long: Or::of(Vec::new()),
            long_lists: 0,
            last_long: Vec::new(),
            set: RoaringTreemap::new(),
            gathered: Vec::new(),
            others: None,
            size: 0,
        }
    }

    /// Adds an entry: the term, what follows it in the key, and the payload. Of a long list all is added at
    /// once.
    fn add(&mut self, term: &[u8], key_rest: &[u8], payload: &[u8]) -> Result<()> {
        let (chunk, postings) = chunk_of(key_rest, payload)?;
        if !chunk.is_whole_list() {
            if self.last_long != term {
                self.last_long.clear();
                self.last_long.extend_from_slice(term);
                self.add_long(term)?;
            }
            return Ok(());
        }
        if self.chunks.len() >= self.apart.short {
            return self.gather(chunk, postings);
        }
        self.size = self.size.saturating_add(chunk.count);
        let first = match self.order {
            Order::Newest => chunk.last,
            Order::Oldest => chunk.first,
        };
        let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(postings);
        self.chunks.push((chunk, self.bytes.len()));
        self.waiting.push(Reverse((rank(self.order, first), number)));
        Ok(())
    }

    fn add_long(&mut self, term: &[u8]) -> Result<()> {
        if self.long_lists < self.apart.long {
            self.long_lists += 1;
            Postings::open(self.run, term, self.order)?.into_iter().for_each(|list| self.long.push(list));
            return Ok(());
        }
        let Some(mut list) = List::open(self.run, term)? else { return Ok(()) };
        loop {
            self.gather(list.chunk(), list.postings())?;
            if !list.advance()? {
                return Ok(());
            }
        }
    }

    fn gather(&mut self, chunk: Chunk, postings: &[u8]) -> Result<()> {
        self.size = self.size.saturating_add(chunk.count);
        decode(chunk, postings, &mut self.gathered)?;
        if self.gathered.len() >= GATHERED { self.put_gathered() } else { Ok(()) }
    }

    fn put_gathered(&mut self) -> Result<()> {
        self.gathered.sort_unstable();
        self.gathered.dedup();
        self.set |= RoaringTreemap::from_sorted_iter(self.gathered.drain(..)).map_err(|_| malformed())?;
        Ok(())
    }

    /// What was gathered, which others may walk, too.
    #[must_use]
    pub fn others(self) -> Option<Members> {
        self.others
    }

    /// Stands at the first item of all that was added.
    fn start(mut self) -> Result<Self> {
        self.put_gathered()?;
        self.gathered = Vec::new();
        if !self.set.is_empty() {
            self.others = Some(Members::of(Arc::new(std::mem::take(&mut self.set)), self.order));
        }
        self.seek(0)?;
        Ok(self)
    }

    /// Of all terms in a run that begin with `prefix` and that `wanted` takes; it sees what follows the
    /// prefix, the terminator left off.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn of_prefix(
        run: &'r Run,
        prefix: &[u8],
        order: Order,
        apart: Apart,
        wanted: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Self> {
        let mut union = Union::new(run, order, apart);
        let mut place = Position::new(run);
        let mut behind = Vec::new();
        let mut going = place.seek(prefix)?;
        while going && place.key().starts_with(prefix) {
            let Some((term, rest)) = split_key(place.key()) else { break };
            let wanted = wanted(&term[prefix.len()..term.len() - 1]);
            if wanted {
                union.add(term, rest, place.payload())?;
            }
            // Most entries are short and not wanted: then it is no matter whether more of the list follows.
            let short = !wanted && place.payload().len() < PASSED_BYTES;
            going = if short || chunk_of(rest, place.payload())?.0.is_whole_list() {
                place.advance()?
            } else {
                if term <= behind.as_slice() {
                    // It would go round for ever.
                    return Err(Error::new(Code::Internal, "a run is out of order: please report this"));
                }
                // What follows the term's last chunk.
                behind.clear();
                behind.extend_from_slice(term);
                if let Some(last) = behind.last_mut() {
                    *last = 1;
                }
                place.seek(&behind)?
            };
        }
        union.start()
    }

    /// Of all words in a run that `wanted` takes: those that hold `part`, their terminator included, and
    /// those that may be cut. `prefix` is of all words of posts or all of edits.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn of_words(
        run: &'r Run,
        prefix: &[u8],
        part: &[u8],
        order: Order,
        apart: Apart,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Self> {
        // What holds two bytes, and goes on behind them if only with its terminator, holds a gram that begins
        // with them.
        let short = part.len() < GRAM_BYTES;
        let known = !short || part.len() == GRAM_BYTES - 1 && part.last() != Some(&0);
        if !run.meta().grams || !known {
            return Union::of_prefix(run, prefix, order, apart, &mut |word| wanted(word));
        }
        let groups = if short {
            // No more than 256.
            boxed(Union::of_prefix(run, &grams::gram_prefix(part), Order::Oldest, Apart::ALL, &mut |_| true)?)
        } else {
            grams::groups(run, part)?
        };
        let mut union = Union::new(run, order, apart);
        let mut place = Position::new(run);
        let Some(mut groups) = grams::with_cut(run, groups)? else { return union.start() };
        // Words of posts and of edits lie apart.
        let mut next = run.group_of(prefix);
        groups.seek(next)?;
        // Whatever a damaged list says, this goes on or ends.
        while let Some(group) = groups.current().filter(|group| *group >= next) {
            let mut left = if place.seek_group(group)? { RESTART_ENTRIES } else { 0 };
            while left > 0 && place.advance_in_block() {
                left -= 1;
                let Some((term, rest)) = split_key(place.key()) else { continue };
                let Some(word) = term.strip_prefix(prefix) else {
                    if term > prefix {
                        return union.start();
                    }
                    continue;
                };
                if wanted(word.split_last().map_or(word, |(_, word)| word)) {
                    union.add(term, rest, place.payload())?;
                }
            }
            let Some(behind) = group.checked_add(1) else { break };
            next = behind;
            groups.seek(next)?;
        }
        union.start()
    }

    /// Decodes the chunk that comes next.
    fn reach(&mut self, number: u32, target: u64) -> Result<()> {
        let number = number as usize;
        let Some((chunk, end)) = self.chunks.get(number).copied() else { return Ok(()) };
        let last = match self.order {
            Order::Newest => rank(self.order, chunk.first),
            Order::Oldest => chunk.last,
        };
        if last < target {
            return Ok(());
        }
        let start =
            number.checked_sub(1).and_then(|before| self.chunks.get(before)).map_or(0, |(_, end)| *end);
        self.seqs.clear();
        decode(chunk, self.bytes.get(start..end).unwrap_or_default(), &mut self.seqs)?;
        let ranks = self.seqs.iter().map(|seq| rank(self.order, *seq)).filter(|rank| *rank >= target);
        self.reached.extend(ranks.map(Reverse));
        Ok(())
    }
}

impl Cursor for Union<'_> {
    fn size(&self) -> u64 {
        self.size.saturating_add(self.long.size())
    }

    fn current(&self) -> Option<u64> {
        let reached = self.reached.peek().map(|Reverse(rank)| *rank);
        let others = self.others.as_ref().and_then(Members::current);
        reached.into_iter().chain(others).chain(self.long.current()).min()
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        self.long.seek(target)?;
        self.others.iter_mut().try_for_each(|others| others.seek(target))?;
        while self.reached.peek().is_some_and(|Reverse(rank)| *rank < target) {
            self.reached.pop();
        }
        while let Some(Reverse((first, number))) = self.waiting.peek().copied() {
            if self.reached.peek().is_some_and(|Reverse(rank)| *rank <= first) {
                break;
            }
            self.waiting.pop();
            self.reach(number, target)?;
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
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn it_walks_what_all_of_its_lists_have(
            lists in prop::collection::btree_map("[a-c]{1,3}", prop::collection::btree_set(0_u64..3000, 1..700), 1..12),
            prefix in "[a-c]{0,2}",
            steps in prop::collection::vec(1_u64..400, 0..40),
            newest: bool,
        ) {
            let order = if newest { Order::Newest } else { Order::Oldest };
            let lists: BTreeMap<String, BTreeSet<u64>> = lists;
            let run = file_run(3000, lists.len() as u64, |writer| {
                let mut out = PostingsWriter::default();
                for (word, seqs) in &lists {
                    let term = [&[200], word.as_bytes(), &[0]].concat();
                    out.write(writer, &term, seqs.iter().copied()).expect("memory");
                }
            });
            let wanted_word = |word: &str| word.starts_with(&prefix) && !word.ends_with('b');
            let ranks: BTreeSet<u64> = lists
                .iter()
                .filter(|(word, _)| wanted_word(word))
                .flat_map(|(_, seqs)| seqs.iter().map(|seq| rank(order, *seq)))
                .collect();
            let start = [&[200], prefix.as_bytes()].concat();
            let mut wanted = |rest: &[u8]| !rest.ends_with(b"b") && (!rest.is_empty() || !prefix.ends_with('b'));
            let mut union = Union::of_prefix(&run, &start, order, Apart::in_each_of(1), &mut wanted).expect("memory");
            let wanted_lists = lists.iter().filter(|(word, _)| wanted_word(word));
            let size: usize = wanted_lists.map(|(_, seqs)| seqs.len()).sum();
            prop_assert_eq!(union.size(), size as u64, "whichever comes first");
            let mut at = 0;
            for step in steps.into_iter().chain([0]) {
                prop_assert_eq!(union.current(), ranks.range(at..).next().copied());
                let Some(current) = union.current() else { break };
                at = current.saturating_add(step).max(at);
                union.seek(at).expect("memory");
            }
        }
    }
}
