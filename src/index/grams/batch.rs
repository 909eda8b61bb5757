//! Batches of grams: sorted and packed, in memory or in a scratch file, and merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::ops::Range;

use crate::codec::{read_varint, write_varint};
use crate::index::scratch::Scratch;

/// Grams in order. Of each there is what its number has more than the one before, then what each of its groups
/// has more than the one before, and a zero; all varints.
pub(super) struct Batch {
    /// Whether it was made of others.
    pub(super) long: bool,
    /// The first group has so much less than its number says.
    pub(super) first: u64,
    bytes: Vec<u8>,
    /// Where the bytes lie in the scratch file, when they are not here.
    place: Range<u64>,
}

impl Batch {
    /// Of grams, each with a group: in order, and none twice.
    pub(super) fn of(
        long: bool,
        first: u64,
        grams: impl FnOnce(&mut dyn FnMut(u64, u64) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let (mut bytes, mut last, mut behind) = (Vec::new(), None, first);
        grams(&mut |gram, group| {
            if last != Some(gram) {
                if last.is_some() {
                    bytes.push(0);
                }
                write_varint(&mut bytes, gram - last.unwrap_or(0));
                (last, behind) = (Some(gram), first);
            }
            write_varint(&mut bytes, group + 1 - behind);
            behind = group + 1;
            Ok(())
        })?;
        if last.is_some() {
            bytes.push(0);
        }
        bytes.shrink_to_fit();
        Ok(Batch { long, first, bytes, place: 0..0 })
    }

    /// Leaves memory.
    pub(super) fn move_to(&mut self, scratch: &mut Scratch) -> io::Result<()> {
        self.place = scratch.put(&self.bytes)?;
        self.bytes = Vec::new();
        Ok(())
    }
}

/// The numbers of a batch, one after the other.
struct Numbers<'b> {
    scratch: Option<&'b Scratch>,
    /// What lies in the scratch file still.
    place: Range<u64>,
    /// What was read of it, and how much of that is done with.
    read: Vec<u8>,
    done: usize,
    /// What is in memory.
    here: &'b [u8],
}

/// Bytes of a number, at most.
const NUMBER_BYTES: usize = 10;

impl<'b> Numbers<'b> {
    fn of(batch: &'b Batch, scratch: Option<&'b Scratch>) -> Self {
        Numbers { scratch, place: batch.place.clone(), read: Vec::new(), done: 0, here: &batch.bytes }
    }

    /// The next one. `None` at the end.
    fn next(&mut self) -> io::Result<Option<u64>> {
        let Some(scratch) = self.scratch.filter(|_| self.here.is_empty()) else {
            return Ok(read_varint(&mut self.here));
        };
        if self.read.len() - self.done < NUMBER_BYTES && !self.place.is_empty() {
            self.read.drain(..std::mem::take(&mut self.done));
            scratch.take_piece(&mut self.place, &mut self.read)?;
        }
        let mut left = self.read.get(self.done..).unwrap_or_default();
        let number = read_varint(&mut left);
        self.done = self.read.len() - left.len();
        Ok(number)
    }
}

/// Gives the grams of batches that follow each other, each with a group: in order, and none twice.
pub(super) fn merge(
    batches: &[Batch],
    scratch: Option<&Scratch>,
    each: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut steps: Vec<Numbers<'_>> = batches.iter().map(|batch| Numbers::of(batch, scratch)).collect();
    let mut next = BinaryHeap::new();
    for (number, steps) in steps.iter_mut().enumerate() {
        next.extend(steps.next()?.map(|gram| Reverse((gram, number))));
    }
    while let Some(Reverse((gram, _))) = next.peek().copied() {
        // One more than the last group: the same one may be in two batches that follow each other.
        let mut last = 0;
        while let Some(Reverse((_, number))) = next.peek().copied().filter(|Reverse(next)| next.0 == gram) {
            next.pop();
            let mut behind = batches[number].first;
            while let Some(step) = steps[number].next()?.filter(|step| *step > 0) {
                behind += step;
                if behind > last {
                    each(gram, behind - 1)?;
                    last = behind;
                }
            }
            next.extend(steps[number].next()?.map(|more| Reverse((gram + more, number))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn batches_merged_have_what_each_had(
            grams in prop::collection::vec((0_u64..4, 1_u64..40), 1..60),
            parts in 1_usize..6,
        ) {
            // Groups come ascending, so each batch has those behind the one before, or the last of it.
            let all: BTreeSet<(u64, u64)> = grams.into_iter().map(|(gram, group)| (group, gram)).collect();
            let groups: Vec<(u64, u64)> = all.into_iter().collect();
            let of = |(group, gram): (u64, u64)| (gram, group);
            let mut batches: Vec<Batch> = groups
                .chunks(groups.len().div_ceil(parts))
                .map(|part| {
                    let sorted: BTreeSet<(u64, u64)> = part.iter().copied().map(of).collect();
                    let give = |each: &mut dyn FnMut(u64, u64) -> io::Result<()>| {
                        sorted.iter().try_for_each(|(gram, group)| each(*gram, *group))
                    };
                    Batch::of(false, part[0].0, give).expect("memory")
                })
                .collect();
            let merged = |batches: &[Batch]| {
                let mut found = Vec::new();
                let each = &mut |gram, group| {
                    found.push((gram, group));
                    Ok(())
                };
                merge(batches, None, each).expect("memory");
                found
            };
            let right: Vec<(u64, u64)> =
                groups.iter().copied().map(of).collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(&merged(&batches), &right);
            let level = batches.split_off(batches.len() / 2);
            let long = Batch::of(true, level[0].first, |each| merge(&level, None, each));
            batches.push(long.expect("memory"));
            prop_assert_eq!(merged(&batches), right);
        }
    }
}
