//! What is in any of some sets, and what is in one and in none of the others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::{Boxed, Cursor};
use crate::error::Result;

/// What is in any of them. Those that stand before the target of a seek move, the others are not looked at.
pub struct Or<C> {
    parts: Vec<C>,
    /// Where each part stands that is not at its end, and its number.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
}

impl<C: Cursor> Or<C> {
    /// Of so many parts, or none.
    #[must_use]
    pub fn of(parts: Vec<C>) -> Self {
        let heads = parts.iter().enumerate();
        let heads = heads.filter_map(|(number, part)| Some(Reverse((part.current()?, number)))).collect();
        Or { parts, heads }
    }

    /// Adds a part.
    pub fn push(&mut self, part: C) {
        self.heads.extend(part.current().map(|current| Reverse((current, self.parts.len()))));
        self.parts.push(part);
    }
}

impl<C: Cursor> Cursor for Or<C> {
    fn size(&self) -> u64 {
        self.parts.iter().fold(0, |all: u64, part| all.saturating_add(part.size()))
    }

    fn current(&self) -> Option<u64> {
        self.heads.peek().map(|Reverse((current, _))| *current)
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        while let Some(mut head) = self.heads.peek_mut().filter(|head| head.0.0 < target) {
            let Some(part) = self.parts.get_mut(head.0.1) else { break };
            part.seek(target)?;
            match part.current() {
                Some(current) => head.0.0 = current,
                None => drop(PeekMut::pop(head)),
            }
        }
        Ok(())
    }
}

/// A set, and others that are left out of it.
pub struct Less<'r> {
    /// The set.
    pub wanted: Boxed<'r>,
    /// What is left out.
    pub excluded: Vec<Boxed<'r>>,
}

impl Less<'_> {
    /// Whether the item of a rank is left out. Ranks are asked for in order.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn excludes(&mut self, rank: u64) -> Result<bool> {
        for excluded in &mut self.excluded {
            excluded.seek(rank)?;
            if excluded.current() == Some(rank) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What is in one and in none of the others.
pub struct Not<'r>(Less<'r>);

impl<'r> Not<'r> {
    /// `wanted` less `excluded`.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn of(wanted: Boxed<'r>, excluded: Vec<Boxed<'r>>) -> Result<Boxed<'r>> {
        if excluded.is_empty() {
            return Ok(wanted);
        }
        let mut not = Not(Less { wanted, excluded });
        not.pass_excluded()?;
        Ok(Box::new(not))
    }

    fn pass_excluded(&mut self) -> Result<()> {
        while let Some(current) = self.current() {
            let Some(next) = current.checked_add(1) else { break };
            if !self.0.excludes(current)? {
                break;
            }
            self.0.wanted.seek(next)?;
        }
        Ok(())
    }
}

impl Cursor for Not<'_> {
    fn size(&self) -> u64 {
        self.0.wanted.size()
    }

    fn current(&self) -> Option<u64> {
        self.0.wanted.current()
    }

    fn seek(&mut self, target: u64) -> Result<()> {
        self.0.wanted.seek(target)?;
        self.pass_excluded()
    }
}
