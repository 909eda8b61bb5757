//! The terms of the tail, each stored once, with its postings linked from the newest back.
//!
//! ```text
//! bytes:    0 term 0 term 0 term 0 ...   a term ends in its terminator and holds no other zero
//! table:    by the term's hash: where it begins, its newest posting, that one's item, how many
//! postings: an item, and the posting of the same term before it
//! ```
//!
//! Adding a posting is a look-up by hash and a push: nothing is sorted or moved until the tail becomes
//! a file. All terms lie in one piece of memory, so those that begin with or hold some bytes are found
//! by one search through it.

use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};
use memchr::memmem::Finder;

use crate::index::block::beginning;

/// Where there is no other: no posting before the oldest, no version before the first.
pub(super) const NONE: u32 = u32::MAX;

/// A term of the dictionary.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    start: u32,
    newest: u32,
    /// The item of the newest posting, which is asked for at every new one.
    item: u32,
    count: u32,
}

#[derive(Debug, Clone, Copy)]
struct Posting {
    item: u32,
    before: u32,
}

/// The terms and their postings.
#[derive(Debug)]
pub struct Dictionary {
    hasher: DefaultHashBuilder,
    table: HashTable<Term>,
    bytes: Vec<u8>,
    postings: Vec<Posting>,
    /// Where the longest terms begin.
    long: Vec<u32>,
    beginnings: Beginnings,
}

/// A term of this length is one of the longest.
const LONG_BYTES: usize = 100;

impl Default for Dictionary {
    fn default() -> Self {
        Dictionary {
            hasher: DefaultHashBuilder::default(),
            table: HashTable::default(),
            // What a search for the beginning of a term finds before the first one.
            bytes: vec![0],
            postings: Vec::new(),
            long: Vec::new(),
            beginnings: Beginnings::default(),
        }
    }
}

/// A term's bytes, up to its terminator.
fn bytes_at(bytes: &[u8], start: u32) -> &[u8] {
    let rest = bytes.get(start as usize..).unwrap_or_default();
    let end = memchr::memchr(0, rest).map_or(rest.len(), |end| end + 1);
    &rest[..end]
}

/// Whether the term that begins at `start` is this one. A term has its terminator, so none is the
/// beginning of another.
fn is_at(bytes: &[u8], start: u32, term: &[u8]) -> bool {
    let rest = bytes.get(start as usize..).unwrap_or_default();
    // Most terms have few bytes, and a call to compare them costs more than they do: so their beginning and
    // their end are compared, which may overlap.
    match (rest.get(..term.len()), term.len()) {
        (None, _) => false,
        (Some(_), 0) => true,
        (Some(known), 1) => known[0] == term[0],
        (Some(known), 2..4) => same_ends::<2>(known, term),
        (Some(known), 4..8) => same_ends::<4>(known, term),
        (Some(known), 8..=16) => same_ends::<8>(known, term),
        (Some(known), _) => known == term,
    }
}

/// Whether two pieces begin and end with the same `N` bytes, which they have.
fn same_ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<N>() == other.first_chunk::<N>() && one.last_chunk::<N>() == other.last_chunk::<N>()
}

/// Whether the term that begins at `start` has this tag and these bytes before its terminator.
fn is_term(bytes: &[u8], start: u32, tag: u8, term: &[u8]) -> bool {
    let end = start as usize + 1 + term.len();
    bytes.get(start as usize) == Some(&tag) && bytes.get(end) == Some(&0) && is_at(bytes, start + 1, term)
}

fn hash_of(hasher: &DefaultHashBuilder, tag: u8, term: &[u8]) -> u64 {
    let mut hash = hasher.build_hasher();
    hash.write(term);
    // Hardly any term comes with two tags.
    hash.finish() ^ u64::from(tag)
}

/// The hash of a term that ends in its terminator.
fn hash_whole(hasher: &DefaultHashBuilder, term: &[u8]) -> u64 {
    let (tag, rest) = term.split_first().unwrap_or((&0, &[]));
    hash_of(hasher, *tag, rest.split_last().map_or(rest, |(_, rest)| rest))
}

/// A count of things in memory, all of which a batch or a tail bounds.
pub(super) fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(NONE)
}

impl Dictionary {
    /// Empty, but with room for as much as another holds: growing step by step costs a copy of it all. Memory
    /// that is never used is not taken.
    #[must_use]
    pub fn with_room_of(other: &Dictionary) -> Self {
        let mut new = Dictionary {
            table: HashTable::with_capacity(other.table.len()),
            postings: Vec::with_capacity(other.postings.len()),
            ..Dictionary::default()
        };
        new.bytes.reserve(other.bytes.len());
        new.beginnings.links.reserve(other.beginnings.links.len());
        new.beginnings.newest.reserve(other.beginnings.newest.len(), |_| 0);
        new
    }

    /// Gives the term of a tag and escaped bytes to an item. Items of a term ascend; one that it has already is
    /// not given twice.
    pub fn give(&mut self, tag: u8, term: &[u8], item: u32) {
        let Dictionary { hasher, table, bytes, postings, long, beginnings } = self;
        let hash = hash_of(hasher, tag, term);
        let newest = small(postings.len());
        if let Some(known) = table.find_mut(hash, |known| is_term(bytes, known.start, tag, term)) {
            if known.item != item {
                postings.push(Posting { item, before: known.newest });
                (known.newest, known.item) = (newest, item);
                known.count += 1;
            }
            return;
        }
        let start = small(bytes.len());
        if term.len() >= LONG_BYTES {
            long.push(start);
        }
        bytes.push(tag);
        bytes.extend_from_slice(term);
        bytes.push(0);
        beginnings.add(hasher, bytes, start);
        postings.push(Posting { item, before: NONE });
        let new = Term { start, newest, item, count: 1 };
        table.insert_unique(hash, new, |known| hash_whole(hasher, bytes_at(bytes, known.start)));
    }

    /// Finds a term.
    #[must_use]
    pub fn find(&self, term: &[u8]) -> Option<Term> {
        let hash = hash_whole(&self.hasher, term);
        self.table.find(hash, |known| is_at(&self.bytes, known.start, term)).copied()
    }

    /// A term's bytes.
    #[must_use]
    pub fn bytes(&self, term: &Term) -> &[u8] {
        bytes_at(&self.bytes, term.start)
    }

    /// How many terms there are.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.table.len()
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        // An entry of the table takes one byte more, and a third of the table is empty.
        self.beginnings.held_bytes() + self.bytes.len() + 26 * self.table.len() + 8 * self.postings.len()
    }

    /// How many items a term has.
    #[must_use]
    pub fn count(&self, term: &Term) -> u32 {
        term.count
    }

    /// The items of a term, newest first.
    #[must_use]
    pub fn items(&self, term: &Term) -> Items<'_> {
        self.items_from(term.newest)
    }

    /// The items from a place on that [`Items::place`] gave.
    #[must_use]
    pub fn items_from(&self, place: u32) -> Items<'_> {
        Items { postings: &self.postings, place }
    }

    /// All terms in order, each with its items, oldest first.
    #[must_use]
    pub fn sorted(&self) -> Sorted<'_> {
        // Most terms differ in their first bytes, which lie together here.
        let first_bytes = |term: &Term| {
            let start = term.start as usize;
            beginning(&self.bytes[start..])
        };
        let mut order: Vec<(u64, Term)> = self.table.iter().map(|term| (first_bytes(term), *term)).collect();
        order.sort_unstable_by(|(a, first), (b, second)| {
            a.cmp(b).then_with(|| self.bytes(first).cmp(self.bytes(second)))
        });
        // Every posting says which one comes before it, so walking all of them once, from the newest
        // back, tells of each whose it is. Following the links of one term after the other would wait
        // for memory at every step.
        let mut owners = vec![NONE; self.postings.len()];
        let mut ends = Vec::with_capacity(order.len());
        let mut end = 0;
        for (number, (_, term)) in (0..).zip(&order) {
            owners[term.newest as usize] = number;
            end += term.count;
            ends.push(end);
        }
        let mut next = ends.clone();
        let mut items = vec![0; self.postings.len()];
        for (place, posting) in self.postings.iter().enumerate().rev() {
            let owner = owners[place];
            let at = &mut next[owner as usize];
            *at -= 1;
            items[*at as usize] = posting.item;
            if let Some(before) = owners.get_mut(posting.before as usize) {
                *before = owner;
            }
        }
        Sorted { dictionary: self, order, ends, items }
    }

    /// The terms that begin with `prefix`.
    #[must_use]
    pub fn beginning_with(&self, prefix: &[u8]) -> Vec<Term> {
        if prefix.len() >= BEGINNING_BYTES {
            let starts = self.beginnings.of(&self.hasher, &self.bytes, prefix);
            return starts.filter_map(|start| self.at(start as usize)).collect();
        }
        let pattern = [&[0], prefix].concat();
        let finder = Finder::new(&pattern);
        finder.find_iter(&self.bytes).filter_map(|place| self.at(place + 1)).collect()
    }

    /// The terms that begin with `prefix` and hold `part` behind it.
    #[must_use]
    pub fn containing(&self, prefix: &[u8], part: &[u8]) -> Vec<Term> {
        let mut found: Vec<Term> = Vec::new();
        for place in Finder::new(part).find_iter(&self.bytes) {
            let start = memchr::memrchr(0, &self.bytes[..place]).map_or(0, |before| before + 1);
            let known = found.last().is_some_and(|last| last.start as usize == start);
            if !known && place >= start + prefix.len() && self.bytes[start..].starts_with(prefix) {
                found.extend(self.at(start));
            }
        }
        found
    }

    /// The longest terms that begin with `prefix`.
    pub fn long(&self, prefix: &[u8]) -> impl Iterator<Item = Term> {
        let places = self.long.iter().filter(move |start| is_at(&self.bytes, **start, prefix));
        places.filter_map(|start| self.at(*start as usize))
    }

    /// The term that begins at a place in the bytes of all.
    fn at(&self, place: usize) -> Option<Term> {
        self.find(bytes_at(&self.bytes, small(place)))
    }
}

/// Terms that begin alike, linked from the newest back: so those that begin with a piece are found without
/// looking at all.
#[derive(Debug, Default)]
struct Beginnings {
    /// The newest of each beginning, by its place in `links`.
    newest: HashTable<u32>,
    /// Where a term begins, and the place of the one before it that begins alike.
    links: Vec<(u32, u32)>,
}

/// Bytes that terms are linked by: a tag, and three letters.
const BEGINNING_BYTES: usize = 4;

impl Beginnings {
    /// Adds the term at `start`, which is the last of `bytes`.
    fn add(&mut self, hasher: &DefaultHashBuilder, bytes: &[u8], start: u32) {
        let beginning_at =
            |at: u32| bytes.get(at as usize..).and_then(|rest| rest.first_chunk::<BEGINNING_BYTES>());
        let Some(beginning) = beginning_at(start) else { return };
        let Beginnings { newest, links } = self;
        let link = small(links.len());
        let hash = hasher.hash_one(beginning);
        if let Some(known) = newest.find_mut(hash, |known| is_at(bytes, links[*known as usize].0, beginning))
        {
            links.push((start, std::mem::replace(known, link)));
            return;
        }
        links.push((start, NONE));
        newest.insert_unique(hash, link, |known| {
            let (at, _) = links[*known as usize];
            hasher.hash_one(beginning_at(at).unwrap_or(beginning))
        });
    }

    /// Where the terms with this prefix begin, which is no shorter than what they are linked by.
    fn of<'b>(
        &'b self,
        hasher: &DefaultHashBuilder,
        bytes: &'b [u8],
        prefix: &'b [u8],
    ) -> impl Iterator<Item = u32> + 'b {
        let known = prefix.first_chunk::<BEGINNING_BYTES>().and_then(|beginning| {
            let same = |known: &u32| is_at(bytes, self.links[*known as usize].0, beginning);
            self.newest.find(hasher.hash_one(beginning), same).copied()
        });
        let mut next = known.unwrap_or(NONE);
        let all = std::iter::from_fn(move || {
            let (start, before) = *self.links.get(next as usize)?;
            next = before;
            Some(start)
        });
        all.filter(move |start| is_at(bytes, *start, prefix))
    }

    /// Bytes that it takes.
    fn held_bytes(&self) -> usize {
        8 * self.links.len() + 8 * self.newest.len()
    }
}

/// All terms in order.
pub struct Sorted<'d> {
    dictionary: &'d Dictionary,
    order: Vec<(u64, Term)>,
    /// Where the items of each end, and the items of all.
    ends: Vec<u32>,
    items: Vec<u32>,
}

impl Sorted<'_> {
    /// The terms, each with its items, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u32])> {
        self.order.iter().zip(&self.ends).map(|((_, term), end)| {
            let end = *end as usize;
            (self.dictionary.bytes(term), &self.items[end - term.count as usize..end])
        })
    }
}

/// The items of a term, newest first.
#[derive(Debug, Clone)]
pub struct Items<'d> {
    postings: &'d [Posting],
    place: u32,
}

impl Items<'_> {
    /// Where it is, for [`Dictionary::items_from`].
    #[must_use]
    pub fn place(&self) -> u32 {
        self.place
    }
}

impl Iterator for Items<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        // Nothing lies at `NONE`.
        let posting = self.postings.get(self.place as usize)?;
        self.place = posting.before;
        Some(posting.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn it_gives_back_what_it_was_given(
            given in prop::collection::vec(prop::collection::vec("[ab]{0,5}", 0..5), 0..40),
            wanted in "[ab]{1,3}",
        ) {
            let mut dictionary = Dictionary::default();
            let mut all: BTreeMap<Vec<u8>, BTreeSet<u32>> = BTreeMap::new();
            for (item, terms) in (0..).zip(given) {
                for term in terms {
                    dictionary.give(b'w', term.as_bytes(), item);
                    let term = [b"w", term.as_bytes(), &[0]].concat();
                    all.entry(term).or_default().insert(item);
                }
            }
            let sorted = dictionary.sorted();
            let in_order: Vec<(Vec<u8>, BTreeSet<u32>)> =
                sorted.iter().map(|(term, items)| (term.to_vec(), items.iter().copied().collect())).collect();
            prop_assert_eq!(&in_order, &all.clone().into_iter().collect::<Vec<_>>());
            prop_assert!(sorted.iter().all(|(_, items)| items.is_sorted()));
            for (term, items) in &all {
                let found = dictionary.find(term).expect("it was given");
                let newest_first: Vec<u32> = dictionary.items(&found).collect();
                prop_assert_eq!(dictionary.count(&found) as usize, items.len());
                prop_assert_eq!(newest_first, items.iter().rev().copied().collect::<Vec<_>>());
            }
            prop_assert!(dictionary.find(b"wc\0").is_none());
            let terms = |found: Vec<Term>| -> BTreeSet<Vec<u8>> {
                found.iter().map(|term| dictionary.bytes(term).to_vec()).collect()
            };
            let prefix = [b"w", wanted.as_bytes()].concat();
            let beginning: BTreeSet<Vec<u8>> =
                all.keys().filter(|term| term.starts_with(&prefix)).cloned().collect();
            prop_assert_eq!(terms(dictionary.beginning_with(&prefix)), beginning);
            let holds = |term: &&Vec<u8>| {
                term[1..].windows(wanted.len()).any(|window| window == wanted.as_bytes())
            };
            let containing: BTreeSet<Vec<u8>> = all.keys().filter(holds).cloned().collect();
            prop_assert_eq!(terms(dictionary.containing(b"w", wanted.as_bytes())), containing);
        }
    }

    #[test]
    fn what_it_takes_grows_with_its_terms_and_their_items() {
        let mut dictionary = Dictionary::default();
        let mut given = |terms: u32, items: u32| {
            for item in 0..items {
                (0..terms).for_each(|term| dictionary.give(b'w', format!("{term:07}").as_bytes(), item));
            }
            dictionary.held_bytes()
        };
        let (few, many, again) = (given(1, 1), given(1000, 1), given(1000, 100));
        assert!(few < 1000, "{few} bytes for a term");
        assert!((35_000..80_000).contains(&many), "{many} bytes for 1000 terms of 9 bytes");
        assert!((700_000..1_000_000).contains(&again), "{again} bytes for 100,000 items");
    }
}
