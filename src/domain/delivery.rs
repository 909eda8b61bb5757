//! In which order the ready jobs of a queue are delivered: see [`super::jobs`] for the classes that they stand in.

use std::collections::VecDeque;

use super::event::JobState;
use super::jobs::{CLASSES, Queue};
use super::table::{Facts, malformed, scan_prefix};
use crate::codec::{read_ordered, write_ordered};
use crate::error::Result;

/// Jobs that came back are looked up so many at a time, to be merged with the others.
const CAME_BACK_AT_ONCE: usize = 64;

/// Where a job stands among those that are shown together, and what a page of them ends with. They ascend in the order
/// in which jobs are shown, whatever comes in between or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Standing {
    /// Of a ready job its class, those that came back standing with the others of their priority; else 0.
    class: usize,
    /// Its place there: the seq, but of an expired lease its place among these.
    place: u64,
}

impl Standing {
    /// Where a job stands that is not ready.
    #[must_use]
    pub fn of_job(seq: u64) -> Self {
        Standing { class: 0, place: seq }
    }

    /// The first place behind it.
    #[must_use]
    pub fn behind(self) -> Self {
        Standing { place: self.place.saturating_add(1), ..self }
    }

    /// The place, where all stand in one class.
    #[must_use]
    pub fn place(self) -> u64 {
        self.place
    }

    /// As a client sees it who pages through jobs in a state.
    #[must_use]
    pub fn to_text(self, state: JobState) -> String {
        format!("{}-{}-{}", state.as_str(), self.class, self.place)
    }

    /// What a client sent who pages through jobs in a state. `None` when it is none.
    #[must_use]
    pub fn parse(text: &str, state: JobState) -> Option<Self> {
        let (class, place) = text.strip_prefix(state.as_str())?.strip_prefix('-')?.split_once('-')?;
        let standing = Standing { class: class.parse().ok()?, place: place.parse().ok()? };
        // A job that came back stands with the others of its priority.
        let class = standing.class;
        let is_class = class == 0 || state == JobState::Ready && class % 2 == 1 && class < CLASSES;
        (is_class && standing.to_text(state) == text).then_some(standing)
    }
}

impl Queue {
    /// Visits the seqs of ready jobs in the order of delivery.
    ///
    /// # Errors
    /// What reading the table and `visit` say.
    pub fn visit_ready(&self, facts: &dyn Facts, visit: &mut dyn FnMut(u64) -> Result<bool>) -> Result<()> {
        self.visit_ready_from(facts, Standing::default(), &mut |seq, _| visit(seq))
    }

    /// Visits the seqs of ready jobs in the order of delivery from a place on, each with where it stands.
    ///
    /// # Errors
    /// What reading the table and `visit` say.
    pub fn visit_ready_from(
        &self,
        facts: &dyn Facts,
        from: Standing,
        visit: &mut dyn FnMut(u64, Standing) -> Result<bool>,
    ) -> Result<()> {
        let mut going = true;
        if from.class == 0 {
            going = self.visit_class(facts, 0, from.place, &mut |place, seq| {
                visit(seq, Standing { class: 0, place })
            })?;
        }
        for class in (1..CLASSES).step_by(2).filter(|class| *class >= from.class) {
            let start = if class == from.class { from.place } else { 0 };
            let mut visit = |_: u64, seq: u64| visit(seq, Standing { class, place: seq });
            let (others, came_back) = (self.ready[class].count, self.ready[class + 1].count);
            going = match (others > 0, came_back > 0) {
                _ if !going => return Ok(()),
                (false, false) => continue,
                (true, false) => self.visit_class(facts, class, start, &mut visit)?,
                (false, true) => self.visit_class(facts, class + 1, start, &mut visit)?,
                (true, true) => self.visit_both(facts, class, start, &mut |seq| visit(seq, seq))?,
            };
        }
        Ok(())
    }

    /// Visits the ready jobs of a priority by seq, from one on: of a class and of the one behind it, of those that
    /// came back. `false` when it was stopped.
    fn visit_both(
        &self,
        facts: &dyn Facts,
        class: usize,
        start: u64,
        visit: &mut dyn FnMut(u64) -> Result<bool>,
    ) -> Result<bool> {
        let mut came_back = VecDeque::new();
        let mut from = Some(start);
        // The next that came back, looked up when it is needed.
        let mut next = |taken: bool| -> Result<Option<u64>> {
            if taken {
                came_back.pop_front();
            }
            if came_back.is_empty()
                && let Some(place) = from
            {
                self.visit_class(facts, class + 1, place, &mut |_, seq| {
                    came_back.push_back(seq);
                    Ok(came_back.len() < CAME_BACK_AT_ONCE)
                })?;
                from = came_back.back().map(|last| last + 1);
            }
            Ok(came_back.front().copied())
        };
        let mut other = next(false)?;
        let mut going = self.visit_class(facts, class, start, &mut |_, seq| {
            while let Some(before) = other.filter(|other| *other < seq) {
                if !visit(before)? {
                    return Ok(false);
                }
                other = next(true)?;
            }
            visit(seq)
        })?;
        while going && let Some(seq) = other {
            going = visit(seq)?;
            other = next(true)?;
        }
        Ok(going)
    }

    /// Visits the ready jobs of a class from a place on, in order, each with its place and its seq. `false` when it
    /// was stopped.
    fn visit_class(
        &self,
        facts: &dyn Facts,
        class: usize,
        from: u64,
        visit: &mut dyn FnMut(u64, u64) -> Result<bool>,
    ) -> Result<bool> {
        let mut going = true;
        let mut left = self.ready[class].count;
        if left > 0 {
            let prefix = self.ready_prefix(class);
            let mut start = prefix.clone();
            write_ordered(&mut start, from.max(self.ready[class].front));
            scan_prefix(facts, &prefix, &start, &mut |key, _| {
                let read = place_and_seq(class, key.get(prefix.len()..).unwrap_or_default());
                let (place, seq) = read.ok_or_else(|| malformed("ready job"))?;
                going = visit(place, seq)?;
                left -= 1;
                // Behind the last one there may be many keys of jobs that were deleted.
                Ok(going && left > 0)
            })?;
        }
        Ok(going)
    }

    /// The seq of the ready job that was put first.
    ///
    /// # Errors
    /// What reading the table says.
    pub fn oldest_ready(&self, facts: &dyn Facts) -> Result<Option<u64>> {
        let mut oldest: Option<u64> = None;
        for class in 0..CLASSES {
            self.visit_class(facts, class, 0, &mut |_, seq| {
                oldest = Some(oldest.map_or(seq, |oldest| oldest.min(seq)));
                // Expired leases stand as they ran out; all other classes by seq.
                Ok(class == 0)
            })?;
        }
        Ok(oldest)
    }
}

/// The place and the seq in a ready job's key, from what stands behind its class.
fn place_and_seq(class: usize, mut rest: &[u8]) -> Option<(u64, u64)> {
    let place = read_ordered(&mut rest)?;
    if class > 0 {
        return Some((place, place));
    }
    // Before its seq stands the event that says that its lease ran out.
    Some((place, read_ordered(&mut rest)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Fact;
    use crate::domain::table::{Counts, Visit};
    use crate::domain::testing::folded;
    use std::cell::Cell;

    #[test]
    fn jobs_are_delivered_as_their_leases_ran_out_then_by_priority_and_then_by_seq() {
        let queue = || "q".to_owned();
        let put = |priority| Fact::JobPut { queue: queue(), priority, delay_ms: 0, body: "1".into() };
        let leased = |job, lease_ms| {
            let lease = format!("lease {job}");
            Fact::JobLeased { queue: queue(), job, lease, attempt: 1, lease_ms }
        };
        let expired = |job| Fact::JobExpired { queue: queue(), job, dead: false };
        let nacked = |job| Fact::JobNacked { queue: queue(), job, delay_ms: 0, dead: false };
        let order = |story: Vec<Fact>| {
            folded(story, |table| {
                let queue = Queue::named(&table, "q").expect("memory").expect("it is there");
                let mut seqs = Vec::new();
                let visited = queue.visit_ready(&table, &mut |seq| {
                    seqs.push(seq);
                    Ok(true)
                });
                visited.expect("memory");
                seqs
            })
        };
        // Whatever the wall clock said of them.
        let all = [put(0), put(9), put(9), leased(1, 10), leased(2, 30), leased(3, 20)];
        let story = all.into_iter().chain([expired(2), expired(1), expired(3)]);
        assert_eq!(order(story.collect()), [2, 1, 3]);
        // Those that came back have the places of their seqs again.
        let mut story: Vec<Fact> = (0..300).map(|_| put(5)).collect();
        story.push(put(7));
        story.extend((1..=200).map(|job| leased(job, 1000)));
        story.extend((2..=200).step_by(2).map(nacked));
        let left = |from: u64| [301].into_iter().chain((from..=200).step_by(2)).chain(201..=300);
        assert_eq!(order(story.clone()), left(2).collect::<Vec<u64>>());
        story.extend((2..100).step_by(2).map(|job| leased(job, 1000)));
        assert_eq!(order(story), left(100).collect::<Vec<u64>>());
    }

    /// A table that notes whether somebody went to the end of what he asked for.
    struct Watched<'t>(&'t dyn Facts, Cell<bool>);

    impl Facts for Watched<'_> {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            self.0.get(key)
        }

        fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
            let mut going = true;
            self.0.scan(from, to, &mut |key, value| {
                going = visit(key, value)?;
                Ok(going)
            })?;
            self.1.set(self.1.get() || going);
            Ok(())
        }

        fn record(&self, seq: u64) -> Result<Option<Vec<u8>>> {
            self.0.record(seq)
        }

        fn counts(&self) -> Counts {
            self.0.counts()
        }
    }

    #[test]
    fn nobody_walks_on_behind_the_last_ready_job_of_a_class() {
        let queue = || "q".to_owned();
        let put = |priority| Fact::JobPut { queue: queue(), priority, delay_ms: 0, body: "1".into() };
        let deleted = |job| Fact::JobDeleted { queue: queue(), job };
        let story = [put(5), put(5), put(5), put(7), put(7), deleted(3), deleted(2), deleted(5)];
        folded(story, |table| {
            let queue = Queue::named(&table, "q").expect("memory").expect("it is there");
            let (watched, mut seqs) = (Watched(&table, Cell::new(false)), Vec::new());
            let visited = queue.visit_ready(&watched, &mut |seq| {
                seqs.push(seq);
                Ok(true)
            });
            visited.expect("memory");
            assert_eq!((seqs, watched.1.get()), (vec![4, 1], false));
        });
    }

    #[test]
    fn the_oldest_ready_job_is_found_whatever_is_delivered_first() {
        let oldest = |story: Vec<Fact>| {
            folded(story, |table| {
                let queue = Queue::named(&table, "q").expect("memory").expect("it is there");
                queue.oldest_ready(&table).expect("memory")
            })
        };
        let queue = || "q".to_owned();
        let put = |priority| Fact::JobPut { queue: queue(), priority, delay_ms: 0, body: "1".into() };
        assert_eq!(oldest(vec![put(9), put(1), put(5)]), Some(1));
        assert_eq!(oldest(vec![put(1), put(9), put(5)]), Some(1));
        // Leases that ran out stand by when they did.
        let leased = |job, lease_ms| {
            let lease = format!("lease {job}");
            Fact::JobLeased { queue: queue(), job, lease, attempt: 1, lease_ms }
        };
        let expired = |job| Fact::JobExpired { queue: queue(), job, dead: false };
        let both = vec![put(5), put(5), leased(1, 2000), leased(2, 1000), expired(2), expired(1)];
        assert_eq!(oldest(both), Some(1));
        assert_eq!(oldest(vec![put(5), leased(1, 1000)]), None);
    }

    #[test]
    fn a_place_is_one_of_its_state_and_of_a_class_that_pages_show() {
        let ready = |text: &str| Standing::parse(text, JobState::Ready);
        let shown = Standing { class: 1, place: 5 };
        assert_eq!(ready(&shown.to_text(JobState::Ready)), Some(shown));
        assert_eq!(ready("ready-0-5"), Some(Standing { class: 0, place: 5 }));
        for wrong in ["ready-2-5", "ready-21-5", "dead-0-5", "ready-01-5", "ready-1", "1-5", ""] {
            assert_eq!(ready(wrong), None, "{wrong:?}");
        }
        assert_eq!(Standing::parse("dead-0-5", JobState::Dead), Some(Standing::of_job(5)));
        assert_eq!(Standing::parse("dead-1-5", JobState::Dead), None);
    }
}
