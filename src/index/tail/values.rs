//! Keys of the table that the tail's events set and removed, each with what it was as of which event.
//!
//! A snapshot sees a key as of its own last event, so the values before the newest one stay until the
//! tail is a file. There is one at most for each event, so they are as bounded as the tail.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::index::filter::{self, Filter};

/// A value as of an event; `None` when the key was removed.
type Version = (u32, Option<Box<[u8]>>);

/// The keys.
#[derive(Debug, Default)]
pub struct Values {
    keys: BTreeMap<Vec<u8>, Versions>,
    /// Of the keys, once there are some: most look-ups are for keys of older pieces, and a way through
    /// the map costs a cache miss for every other key that it compares.
    filter: Filter,
    bytes: usize,
}

#[derive(Debug)]
struct Versions {
    newest: Version,
    /// Oldest first.
    before: Vec<Version>,
}

impl Versions {
    fn new(version: Version) -> Self {
        Versions { newest: version, before: Vec::new() }
    }

    /// The version as of event `upto`. `None` when it was not touched by then.
    fn as_of(&self, upto: u32) -> Option<&Version> {
        let newest_first = std::iter::once(&self.newest).chain(self.before.iter().rev());
        newest_first.into_iter().find(|(event, _)| *event <= upto)
    }
}

/// What a key takes beside its bytes and its value's: its part of a node, and two allocations.
const KEY_BYTES: usize = 120;
/// As many small keys fill a tail.
const FILTERED_KEYS: u64 = 8192;

impl Values {
    /// Sets the value of a key, or with `None` removes it, as of an event. Events ascend.
    pub fn set(&mut self, key: Vec<u8>, event: u32, value: Option<Vec<u8>>) {
        let length = value.as_ref().map_or(0, Vec::len);
        let version = (event, value.map(Vec::into_boxed_slice));
        self.bytes += length + size_of::<Version>();
        if let Some(versions) = self.keys.get_mut(&key) {
            let before = std::mem::replace(&mut versions.newest, version);
            versions.before.push(before);
        } else {
            if self.keys.is_empty() {
                self.filter = Filter::with_room(FILTERED_KEYS);
                self.bytes += self.filter.bytes();
            }
            self.filter.add(filter::hash(&key));
            self.bytes += key.len() + KEY_BYTES;
            self.keys.insert(key, Versions::new(version));
        }
    }

    /// The value of a key, whose hash by `filter::hash` is given, as of event `upto`: `Some(None)` when it
    /// was removed, `None` when it was not touched by then.
    #[must_use]
    pub fn get(&self, key: &[u8], hash: u64, upto: u32) -> Option<Option<&[u8]>> {
        if !self.filter.may_hold(hash) {
            return None;
        }
        self.keys.get(key)?.as_of(upto).map(|(_, value)| value.as_deref())
    }

    /// The keys at `from` or behind it and below `to` that were touched by event `upto`, in order.
    pub fn range<'v>(
        &'v self,
        from: Bound<&[u8]>,
        to: &[u8],
        upto: u32,
    ) -> impl Iterator<Item = (&'v [u8], Option<&'v [u8]>)> {
        let to = match from {
            // A range must not end before it begins.
            Bound::Included(from) | Bound::Excluded(from) if from >= to => None,
            _ => Some(to),
        };
        let keys = to.map(|to| self.keys.range::<[u8], _>((from, Bound::Excluded(to))));
        let touched = keys.into_iter().flatten();
        touched.filter_map(move |(key, versions)| Some((key.as_slice(), versions.as_of(upto)?.1.as_deref())))
    }

    /// The keys in order, each with its newest value.
    pub fn newest(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.keys.iter().map(|(key, versions)| (key.as_slice(), versions.newest.1.as_deref()))
    }

    /// How many keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Bytes that they take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
                values.set(key.clone().into_bytes(), event, value.clone());
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
