//! What the person at the screen has chosen to see.

use std::cmp::Reverse;
use std::time::Duration;

use super::sample::Queue;
use crate::time::Timestamp;

/// The intervals that `+` and `-` step through, in milliseconds.
const INTERVALS_MS: [u64; 9] = [100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/// How queues are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Most jobs first.
    Depth,
    /// The oldest ready job first.
    Age,
    /// Most dead jobs first.
    Dead,
    /// By name.
    Name,
}

impl Sort {
    /// The order that comes after this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Sort::Depth => Sort::Age,
            Sort::Age => Sort::Dead,
            Sort::Dead => Sort::Name,
            Sort::Name => Sort::Depth,
        }
    }

    /// The order in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Sort::Depth => "depth",
            Sort::Age => "age",
            Sort::Dead => "dead",
            Sort::Name => "name",
        }
    }
}

/// What is shown, and how.
#[derive(Debug, Clone)]
pub struct View {
    /// The socket or another word for where the daemon is.
    pub place: String,
    /// Why there is nothing new to show, such as that the daemon is away.
    pub away: Option<String>,
    /// Whether the screen is held.
    pub paused: bool,
    /// How queues are ordered.
    pub sort: Sort,
    /// Whether the other way round.
    pub reversed: bool,
    /// Queues above the screen.
    pub scrolled: usize,
    /// Time between two looks.
    pub interval: Duration,
    /// Whether there are colours.
    pub coloured: bool,
}

impl View {
    /// The start of it.
    #[must_use]
    pub fn new(place: String, interval: Duration, coloured: bool) -> Self {
        View {
            place,
            away: None,
            paused: false,
            sort: Sort::Depth,
            reversed: false,
            scrolled: 0,
            interval,
            coloured,
        }
    }

    /// The queues in the order that was chosen.
    #[must_use]
    pub fn ordered<'a>(&self, queues: &'a [Queue]) -> Vec<&'a Queue> {
        let mut ordered: Vec<&Queue> = queues.iter().collect();
        match self.sort {
            Sort::Depth => ordered.sort_by_key(|queue| (Reverse(queue.depth()), &queue.name)),
            Sort::Age => {
                ordered.sort_by_key(|queue| (queue.oldest_at.unwrap_or(Timestamp(u64::MAX)), &queue.name));
            }
            Sort::Dead => ordered.sort_by_key(|queue| (Reverse(queue.dead), &queue.name)),
            Sort::Name => ordered.sort_by_key(|queue| &queue.name),
        }
        if self.reversed {
            ordered.reverse();
        }
        ordered
    }

    /// Moves through so many queues, of which there are `count`.
    pub fn scroll(&mut self, by: isize, count: usize) {
        self.scrolled = self.scrolled.saturating_add_signed(by).min(count.saturating_sub(1));
    }

    /// The next longer or shorter interval.
    pub fn step_interval(&mut self, longer: bool) {
        let now = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let step = if longer {
            INTERVALS_MS.into_iter().find(|step| *step > now)
        } else {
            INTERVALS_MS.into_iter().rev().find(|step| *step < now)
        };
        self.interval = step.map_or(self.interval, Duration::from_millis);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        View::new("s".into(), Duration::from_secs(1), false)
    }

    #[test]
    fn queues_are_ordered_by_depth_age_dead_jobs_and_name() {
        let queue = |name: &str, ready, dead, oldest: Option<u64>| Queue {
            name: name.into(),
            ready,
            dead,
            oldest_at: oldest.map(Timestamp),
            ..Queue::default()
        };
        let queues = [
            queue("a", 1, 0, Some(50)),
            queue("b", 9, 1, Some(70)),
            queue("c", 0, 7, None),
            queue("d", 2, 0, Some(10)),
        ];
        let mut view = view();
        let names =
            |view: &View| view.ordered(&queues).iter().map(|queue| queue.name.clone()).collect::<String>();
        assert_eq!((view.sort.name(), names(&view)), ("depth", "bdac".to_owned()));
        view.sort = view.sort.next();
        assert_eq!((view.sort.name(), names(&view)), ("age", "dabc".to_owned()));
        view.sort = view.sort.next();
        assert_eq!((view.sort.name(), names(&view)), ("dead", "cbad".to_owned()));
        view.sort = view.sort.next();
        view.reversed = true;
        assert_eq!((view.sort.name(), names(&view)), ("name", "dcba".to_owned()));
        assert_eq!(view.sort.next(), Sort::Depth);
    }

    #[test]
    fn nobody_scrolls_past_the_last_queue_or_steps_past_the_bounds() {
        let mut view = view();
        view.scroll(5, 3);
        assert_eq!(view.scrolled, 2);
        view.scroll(-9, 3);
        assert_eq!(view.scrolled, 0);
        view.scroll(1, 0);
        assert_eq!(view.scrolled, 0);
        for _ in 0..20 {
            view.step_interval(true);
        }
        assert_eq!(view.interval, Duration::from_secs(60));
        for _ in 0..20 {
            view.step_interval(false);
        }
        assert_eq!(view.interval, Duration::from_millis(100));
    }
}
