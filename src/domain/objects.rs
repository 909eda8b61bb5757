//! Queues and jobs that were set and removed, over a table that does not know of it yet.
//!
//! Almost every event of one reads it and writes it again. So what lies over the stored table keeps them as they
//! are, and brings each into its stored form once, when there are no more events to come.

use std::sync::Arc;

use hashbrown::HashMap;

/// An object by its number; `None` when it was removed.
pub type Change<T> = (u64, Option<Arc<T>>);

/// Up to so many, going through all of them is faster than any order.
const FEW: usize = 16;

/// Objects of one kind, each once, in no order.
#[derive(Debug, Clone)]
pub struct Objects<T> {
    /// Empty once there are many.
    few: Vec<Change<T>>,
    many: HashMap<u64, Option<Arc<T>>>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Objects { few: Vec::new(), many: HashMap::new() }
    }
}

impl<T> Objects<T> {
    /// What is said here of an object: `Some(None)` when it was removed.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Option<Arc<T>>> {
        let few = self.few.iter().find(|(other, _)| *other == number).map(|(_, object)| object);
        few.or_else(|| self.many.get(&number)).cloned()
    }

    /// Sets an object, or with `None` removes it.
    pub fn put(&mut self, number: u64, object: Option<Arc<T>>) {
        if let Some((_, known)) = self.few.iter_mut().find(|(other, _)| *other == number) {
            *known = object;
        } else if self.few.len() < FEW && self.many.is_empty() {
            self.few.push((number, object));
        } else {
            self.many.extend(self.few.drain(..));
            self.many.insert(number, object);
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (u64, Option<&T>)> {
        let few = self.few.iter().map(|(number, object)| (number, object));
        few.chain(&self.many).map(|(number, object)| (*number, object.as_deref()))
    }

    /// Takes all of them out. What held many is given back, so that it does not stay for the next few.
    pub fn take(&mut self) -> impl Iterator<Item = Change<T>> {
        let many = (!self.many.is_empty()).then(|| std::mem::take(&mut self.many));
        self.few.drain(..).chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_object_is_there_as_it_was_put_last(
            puts in prop::collection::vec((0_u64..40, prop::option::of(0_u8..9)), 0..80),
        ) {
            let (mut objects, mut model) = (Objects::default(), BTreeMap::new());
            for (number, object) in puts {
                let object = object.map(Arc::new);
                objects.put(number, object.clone());
                model.insert(number, object);
            }
            for number in 0..40 {
                prop_assert_eq!(objects.get(number), model.get(&number).cloned());
            }
            let mut taken: Vec<Change<u8>> = objects.take().collect();
            taken.sort_unstable();
            prop_assert_eq!(taken, model.into_iter().collect::<Vec<_>>());
            prop_assert!(objects.take().next().is_none());
        }
    }
}
