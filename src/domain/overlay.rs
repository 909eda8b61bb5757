//! Keys set and removed, over a table that does not know of it yet.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::table::{Facts, Visit};
use crate::error::Result;

/// A key that was set, or with `None` removed.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// Keys set and removed, over something else: those of a batch.
#[derive(Debug, Default, Clone)]
pub struct Changes(pub BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Changes {
    /// Visits what is here and what is in `below`, in one order.
    ///
    /// # Errors
    /// As [`Facts::scan`].
    pub fn scan(&self, below: &dyn Facts, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let range = self.0.range::<[u8], _>(bounds);
        merged(range.map(|(key, value)| (key.as_slice(), value.as_deref())), below, from, to, visit)
    }
}

/// Visits what `changed` says in order and what is in `below`, in one order.
fn merged<'c>(
    changed: impl Iterator<Item = (&'c [u8], Option<&'c [u8]>)>,
    below: &dyn Facts,
    from: &[u8],
    to: &[u8],
    visit: &mut Visit<'_>,
) -> Result<()> {
    let mut changed = changed.peekable();
    let mut going = true;
    below.scan(from, to, &mut |key, value| {
        while let Some((changed_key, changed_value)) = changed.next_if(|(changed_key, _)| *changed_key < key)
        {
            if let Some(changed_value) = changed_value {
                going = visit(changed_key, changed_value)?;
                if !going {
                    return Ok(false);
                }
            }
        }
        going = match changed.next_if(|(changed_key, _)| *changed_key == key) {
            Some((_, Some(changed_value))) => visit(key, changed_value)?,
            Some((_, None)) => true,
            None => visit(key, value)?,
        };
        Ok(going)
    })?;
    while going && let Some((key, value)) = changed.next() {
        if let Some(value) = value {
            going = visit(key, value)?;
        }
    }
    Ok(())
}

/// Up to so many changes, going through all of them is faster than any order.
const FEW: usize = 16;

/// The keys that one command sets and removes: few as a rule, and then without an allocation but those
/// of the keys.
#[derive(Debug, Default, Clone)]
pub struct Overlay {
    /// Each key once, in no order. Empty once there are many.
    few: Vec<Change>,
    many: Changes,
}

impl Overlay {
    /// What is said here of a key: `Some(None)` when it was removed.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Option<Vec<u8>>> {
        let few = self.few.iter().find(|(other, _)| other == key).map(|(_, value)| value);
        few.or_else(|| self.many.0.get(key))
    }

    /// Sets a key, or with `None` removes it.
    pub fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        if let Some((_, known)) = self.few.iter_mut().find(|(other, _)| *other == key) {
            *known = value;
        } else if self.few.len() < FEW && self.many.0.is_empty() {
            self.few.push((key, value));
        } else {
            self.many.0.extend(self.few.drain(..));
            self.many.0.insert(key, value);
        }
    }

    /// As [`Changes::scan`].
    ///
    /// # Errors
    /// As [`Facts::scan`].
    pub fn scan(&self, below: &dyn Facts, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        if !self.many.0.is_empty() {
            return self.many.scan(below, from, to, visit);
        }
        let inside = self.few.iter().filter(|(key, _)| key.as_slice() >= from && key.as_slice() < to);
        let mut inside: Vec<&Change> = inside.collect();
        if inside.is_empty() {
            return below.scan(from, to, visit);
        }
        inside.sort_unstable_by_key(|(key, _)| key);
        let changed = inside.into_iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        merged(changed, below, from, to, visit)
    }

    /// Moves all of it over other changes.
    pub fn move_to(&mut self, changes: &mut Changes) {
        changes.0.extend(self.few.drain(..));
        // Few into many: `append` would build the whole map anew.
        changes.0.extend(std::mem::take(&mut self.many.0));
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.few.clear();
        self.many.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::table::Counts;
    use proptest::prelude::*;

    /// A table of its changes alone.
    struct Plain(Changes);

    impl Facts for Plain {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            Ok(self.0.0.get(key).cloned().flatten())
        }

        fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
            for (key, value) in self.0.0.range(from.to_vec()..to.to_vec()) {
                if let Some(value) = value
                    && !visit(key, value)?
                {
                    break;
                }
            }
            Ok(())
        }

        fn record(&self, _seq: u64) -> Result<Option<Vec<u8>>> {
            Ok(None)
        }

        fn counts(&self) -> Counts {
            Counts::default()
        }
    }

    fn all(scan: impl FnOnce(&mut Visit<'_>) -> Result<()>, most: usize) -> Vec<Change> {
        let mut found = Vec::new();
        let visited = scan(&mut |key, value| {
            found.push((key.to_vec(), Some(value.to_vec())));
            Ok(found.len() < most)
        });
        visited.expect("memory");
        found
    }

    proptest! {
        #[test]
        fn few_changes_and_many_are_seen_alike(
            stored in prop::collection::btree_map("[a-d]{1,2}", 0_u8..9, 0..12),
            puts in prop::collection::vec(("[a-d]{1,2}", prop::option::of(0_u8..9)), 0..40),
            most in 1_usize..30,
        ) {
            let bytes = |value: Option<u8>| value.map(|value| vec![value]);
            let below = stored.into_iter().map(|(key, value)| (key.into_bytes(), bytes(Some(value))));
            let below = Plain(Changes(below.collect()));
            let (mut overlay, mut changes, mut after) = (Overlay::default(), Changes::default(), below.0.clone());
            for (key, value) in puts {
                overlay.put(key.clone().into_bytes(), bytes(value));
                changes.0.insert(key.clone().into_bytes(), bytes(value));
                after.0.insert(key.into_bytes(), bytes(value));
            }
            for (key, value) in &changes.0 {
                prop_assert_eq!(overlay.get(key), Some(value));
            }
            let after = Plain(after);
            let expected = all(|visit| after.scan(b"ab", b"d", visit), most);
            prop_assert_eq!(&all(|visit| overlay.scan(&below, b"ab", b"d", visit), most), &expected);
            prop_assert_eq!(&all(|visit| changes.scan(&below, b"ab", b"d", visit), most), &expected);
            let mut moved = below.0.clone();
            overlay.move_to(&mut moved);
            prop_assert_eq!(moved.0, after.0.0);
        }
    }
}
