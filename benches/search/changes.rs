//! A share of the messages, edited or deleted.

use std::collections::BTreeMap;

use crate::dice::Dice;

/// What became of a message.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// It is gone.
    Deleted,
    /// It has the body of another message now.
    Edited {
        /// The other's number.
        like: usize,
    },
}

/// Changed messages by number.
#[derive(Debug, Clone, Default)]
pub struct Changes(BTreeMap<usize, Change>);

impl Changes {
    /// Of so many messages, as many more thousandths as are asked for, half of them deleted and half
    /// edited, from all over the store. None is changed twice: what `before` holds is left alone.
    pub fn more(before: &Changes, messages: usize, thousandths: usize) -> Self {
        let mut dice = Dice::named("changes");
        let mut changes = BTreeMap::new();
        let count = messages * thousandths / 1000;
        while changes.len() < count {
            let number = dice.below(messages);
            let like = dice.below(messages);
            if before.0.contains_key(&number) {
                continue;
            }
            let change = if changes.len() % 2 == 0 { Change::Deleted } else { Change::Edited { like } };
            changes.entry(number).or_insert(change);
        }
        Changes(changes)
    }

    /// Both together.
    pub fn and(&self, other: &Changes) -> Changes {
        Changes(self.0.iter().chain(&other.0).map(|(number, change)| (*number, *change)).collect())
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Change)> {
        self.0.iter().map(|(number, change)| (*number, change))
    }

    /// What became of a message.
    pub fn of(&self, number: usize) -> Option<Change> {
        self.0.get(&number).copied()
    }
}
