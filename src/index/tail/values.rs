//! Keys of the table that the tail's events set and removed, each with what it was as of which event.
//!
//! A snapshot sees a key as of its own last event, so the values before the newest one stay until the
//! tail is a file. There are a few at most for each event, so they are as bounded as the tail.

use std::cmp::Ordering;
use std::ops::Bound;

use super::dictionary::{NONE, small};
use super::leaves::Leaves;
use crate::index::filter::{self, Filter};

/// The keys. Whatever has a length of its own lies in one piece of memory behind the other, which goes back whole
/// when the tail is a file.
#[derive(Debug, Default)]
pub struct Values {
    /// Keys and values.
    bytes: Vec<u8>,
    versions: Vec<Version>,
    /// The newest version of each key, in the order of the keys.
    keys: Leaves,
    /// Of the keys, once there are some: most look-ups are for keys of older pieces, and a way through
    /// them costs a cache miss for every other key that it compares.
    filter: Filter,
}

/// A key as of an event.
#[derive(Debug, Clone, Copy)]
struct Version {
    event: u32,
    /// Where the key lies in the bytes, and how long it is.
    key: (u32, u32),
    /// The value likewise; `REMOVED` for a length when the key was removed.
    value: (u32, u32),
    /// The version before it, or `NONE`.
    before: u32,
}

const REMOVED: u32 = u32::MAX;

/// As many small keys fill a tail.
const FILTERED_KEYS: u64 = 12_288;

impl Values {
    fn text(&self, (start, length): (u32, u32)) -> &[u8] {
        let start = start as usize;
        self.bytes.get(start..start + length as usize).unwrap_or_default()
    }

    fn put(&mut self, text: &[u8]) -> (u32, u32) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text);
        (small(start), small(text.len()))
    }

    fn version(&self, number: u32) -> Option<&Version> {
        self.versions.get(number as usize)
    }

    fn key(&self, number: u32) -> &[u8] {
        self.version(number).map_or(&[], |version| self.text(version.key))
    }

    fn value(&self, version: &Version) -> Option<&[u8]> {
        (version.value.1 != REMOVED).then(|| self.text(version.value))
    }

    /// The version of a key as of event `upto`, from its newest one. `None` when it was not touched by then.
    fn as_of(&self, newest: u32, upto: u32) -> Option<&Version> {
        let first = self.version(newest);
        let mut versions = std::iter::successors(first, |version| self.version(version.before));
        versions.find(|version| version.event <= upto)
    }

    /// Sets the value of a key, or with `None` removes it, as of an event. Events ascend.
    pub fn set(&mut self, key: &[u8], event: u32, value: Option<&[u8]>) {
        let value = value.map_or((0, REMOVED), |value| self.put(value));
        let number = small(self.versions.len());
        let (place, before) = match self.keys.find(|other| self.key(other).cmp(key)) {
            Ok(place) => {
                let before = self.keys.get(place).unwrap_or(NONE);
                self.keys.replace(place, number);
                (self.version(before).map_or((0, 0), |version| version.key), before)
            }
            Err(place) => {
                if self.keys.len() == 0 {
                    self.filter = Filter::with_room(FILTERED_KEYS);
                }
                self.filter.add(filter::hash(key));
                self.keys.insert(place, number);
                (self.put(key), NONE)
            }
        };
        self.versions.push(Version { event, key: place, value, before });
    }

    /// The value of a key, whose hash by `filter::hash` is given, as of event `upto`: `Some(None)` when it
    /// was removed, `None` when it was not touched by then.
    #[must_use]
    pub fn get(&self, key: &[u8], hash: u64, upto: u32) -> Option<Option<&[u8]>> {
        if !self.filter.may_hold(hash) {
            return None;
        }
        let place = self.keys.find(|other| self.key(other).cmp(key)).ok()?;
        self.as_of(self.keys.get(place)?, upto).map(|version| self.value(version))
    }

    /// The keys at `from` or behind it and below `to` that were touched by event `upto`, in order.
    pub fn range<'v>(
        &'v self,
        from: Bound<&[u8]>,
        to: &[u8],
        upto: u32,
    ) -> impl Iterator<Item = (&'v [u8], Option<&'v [u8]>)> {
        let before = |number: u32| match from {
            Bound::Included(from) => self.key(number) < from,
            Bound::Excluded(from) => self.key(number) <= from,
            Bound::Unbounded => false,
        };
        let start = self.keys.find(|number| if before(number) { Ordering::Less } else { Ordering::Greater });
        let (Ok(start) | Err(start)) = start;
        let numbers = self.keys.from(start).map(|number| (number, self.key(number)));
        let inside = numbers.take_while(move |(_, key)| *key < to);
        inside.filter_map(move |(number, key)| Some((key, self.value(self.as_of(number, upto)?))))
    }

    /// The keys in order, each with its newest value.
    pub fn newest(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let versions = self.keys.all().filter_map(|number| self.version(number));
        versions.map(|version| (self.text(version.key), self.value(version)))
    }

    /// How many keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that they take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.len()
            + self.versions.len() * size_of::<Version>()
            + self.keys.bytes()
            + self.filter.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_event_has_its_own_view(
            sets in prop::collection::vec(("[abc]{1,2}", prop::option::of(0_u8..9)), 1..60),
            from in "[abc]{0,2}",
            to in "[abc]{0,2}",
        ) {
            let mut values = Values::default();
            let mut views: Vec<BTreeMap<Vec<u8>, Option<Vec<u8>>>> = Vec::new();
            for (event, (key, value)) in (0..).zip(&sets) {
                let value = value.map(|byte| vec![byte]);
                values.set(key.as_bytes(), event, value.as_deref());
                let mut view = views.last().cloned().unwrap_or_default();
                view.insert(key.clone().into_bytes(), value);
                views.push(view);
            }
            for (upto, view) in (0..).zip(&views) {
                for (key, _) in &sets {
                    let expected = view.get(key.as_bytes()).map(|value| value.as_deref());
                    prop_assert_eq!(values.get(key.as_bytes(), filter::hash(key.as_bytes()), upto), expected);
                }
                let range = values.range(Bound::Included(from.as_bytes()), to.as_bytes(), upto);
                let found: Vec<_> = range.collect();
                let inside = |key: &Vec<u8>| key.as_slice() >= from.as_bytes() && key.as_slice() < to.as_bytes();
                let expected: Vec<_> = view
                    .iter()
                    .filter(|(key, _)| inside(key))
                    .map(|(key, value)| (key.as_slice(), value.as_deref()))
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
