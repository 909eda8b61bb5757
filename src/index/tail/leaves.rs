//! Numbers in an order that whoever uses it knows, where another can be put in anywhere.
//!
//! They lie in leaves of at most 32, and the leaves in a list: what is put in moves a few numbers of its leaf,
//! and now and then the list. Of the few thousand keys of a tail that is quicker than a tree, and it takes a few
//! bytes for each.

use std::cmp::Ordering;

/// Numbers in a leaf, at the most.
const LEAF_NUMBERS: usize = 32;

/// A leaf: its numbers, and how many of the places are taken.
#[derive(Debug, Clone)]
struct Leaf {
    numbers: [u32; LEAF_NUMBERS],
    taken: usize,
}

impl Leaf {
    fn numbers(&self) -> &[u32] {
        &self.numbers[..self.taken]
    }
}

/// Numbers in order.
#[derive(Debug, Default)]
pub struct Leaves {
    stored: Vec<Leaf>,
    /// The leaves in order.
    order: Vec<u32>,
    numbers: usize,
}

/// Where a number is, or would be: in which leaf of the order, and behind how many there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    leaf: usize,
    number: usize,
}

impl Leaves {
    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.numbers
    }

    /// Bytes that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.stored.len() * (size_of::<Leaf>() + size_of::<u32>())
    }

    fn leaf(&self, place: usize) -> Option<&Leaf> {
        self.stored.get(*self.order.get(place)? as usize)
    }

    /// The number at a place.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<u32> {
        self.leaf(place.leaf)?.numbers().get(place.number).copied()
    }

    /// Where a number stands that `compare` says is equal, or else where it would stand. `compare` says how
    /// a number is to what is sought.
    pub fn find(&self, mut compare: impl FnMut(u32) -> Ordering) -> Result<Place, Place> {
        // The last leaf whose first number is not larger.
        let first = |leaf: &u32| self.stored[*leaf as usize].numbers[0];
        let behind = self.order.partition_point(|leaf| compare(first(leaf)) != Ordering::Greater);
        let leaf = behind.saturating_sub(1);
        let numbers = self.leaf(leaf).map(Leaf::numbers).unwrap_or_default();
        match numbers.binary_search_by(|number| compare(*number)) {
            Ok(number) => Ok(Place { leaf, number }),
            Err(number) => Err(Place { leaf, number }),
        }
    }

    /// Puts a number in where `find` said that it would stand.
    pub fn insert(&mut self, place: Place, number: u32) {
        let Place { mut leaf, number: mut at } = place;
        if self.order.is_empty() {
            self.split(0, 0);
        }
        let taken = self.leaf(leaf).map_or(0, |leaf| leaf.taken);
        if taken == LEAF_NUMBERS {
            // What comes in order fills its leaves.
            let is_end = leaf + 1 == self.order.len() && at == taken;
            let kept = if is_end { taken } else { taken / 2 };
            self.split(leaf, kept);
            if at >= kept {
                (leaf, at) = (leaf + 1, at - kept);
            }
        }
        let Leaf { numbers, taken } = &mut self.stored[self.order[leaf] as usize];
        numbers.copy_within(at..*taken, at + 1);
        numbers[at] = number;
        *taken += 1;
        self.numbers += 1;
    }

    /// Moves all but the first `kept` numbers of a leaf to one of their own behind it. Of none makes the first.
    fn split(&mut self, place: usize, kept: usize) {
        let mut new = Leaf { numbers: [0; LEAF_NUMBERS], taken: 0 };
        let number = u32::try_from(self.stored.len()).unwrap_or(u32::MAX);
        let Some(full) = self.order.get(place).map(|leaf| *leaf as usize) else {
            self.stored.push(new);
            self.order.push(number);
            return;
        };
        let moved = &self.stored[full].numbers()[kept..];
        new.taken = moved.len();
        new.numbers[..moved.len()].copy_from_slice(moved);
        self.stored[full].taken = kept;
        self.stored.push(new);
        self.order.insert(place + 1, number);
    }

    /// Puts another number where one is that has the same place in the order.
    pub fn replace(&mut self, place: Place, number: u32) {
        let leaf = self.order.get(place.leaf).and_then(|leaf| self.stored.get_mut(*leaf as usize));
        if let Some(old) = leaf.and_then(|leaf| leaf.numbers.get_mut(place.number)) {
            *old = number;
        }
    }

    /// The numbers from a place on, in order.
    pub fn from(&self, place: Place) -> impl Iterator<Item = u32> {
        let leaves = self.order.get(place.leaf..).unwrap_or_default();
        let numbers = leaves.iter().flat_map(|leaf| self.stored[*leaf as usize].numbers());
        numbers.skip(place.number).copied()
    }

    /// All numbers, in order.
    pub fn all(&self) -> impl Iterator<Item = u32> {
        self.from(Place { leaf: 0, number: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn they_are_in_order_whatever_order_they_came_in(
            numbers in prop_oneof![
                prop::collection::vec(0_u32..400, 0..400),
                (0_u32..400).prop_map(|count| (0..count).collect()),
                (0_u32..400).prop_map(|count| (0..count).rev().collect()),
            ],
            sought in 0_u32..400,
        ) {
            // A number is in the order of its last digits, and these are what is sought.
            let key = |number: u32| number % 1000;
            let (mut sorted, mut model) = (Leaves::default(), std::collections::BTreeMap::new());
            for (place, number) in (0_u32..).zip(&numbers) {
                let new = 1000 * place + number;
                match sorted.find(|other| key(other).cmp(number)) {
                    Ok(place) => sorted.replace(place, new),
                    Err(place) => sorted.insert(place, new),
                }
                model.insert(*number, new);
                prop_assert_eq!(sorted.len(), model.len());
            }
            prop_assert!(sorted.all().eq(model.values().copied()));
            let found = sorted.find(|other| key(other).cmp(&sought));
            prop_assert_eq!(found.ok().and_then(|place| sorted.get(place)), model.get(&sought).copied());
            let (Ok(place) | Err(place)) = found;
            prop_assert!(sorted.from(place).eq(model.range(sought..).map(|(_, number)| *number)));
            let full = sorted.stored.len() * LEAF_NUMBERS;
            prop_assert!(full <= 2 * model.len() + LEAF_NUMBERS, "{full} places for {}", model.len());
        }
    }
}
