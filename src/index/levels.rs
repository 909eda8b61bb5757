//! Tiers: when run files of about one size become one, so that there are few and each posting is copied
//! a logarithmic number of times, as a carry runs through a counter.

use std::sync::Arc;

use super::run::Run;

/// How few runs there are to be.
#[derive(Debug, Clone, Copy)]
pub struct Tiers {
    /// Runs that become one, at least.
    least: usize,
    /// They do when those behind a run have grown to so many times its size together.
    times: u64,
}

/// While nothing more comes: a search has few runs to look in.
pub const WHEN_CALM: Tiers = Tiers { least: 4, times: 2 };
/// While more comes: each posting is copied some two thirds as often, and for a moment there are more runs.
pub const WHEN_BUSY: Tiers = Tiers { least: 8, times: 6 };

/// Where the newest runs begin that should become one, as far back as those go that have that many behind them. So
/// there are few, and a posting is copied as often as one more than `times` goes into the log's size.
#[must_use]
pub fn due(runs: &[Arc<Run>], tiers: Tiers, eligible: impl Fn(&Run) -> bool) -> Option<usize> {
    let (mut newer, mut start) = (0, None);
    for (place, run) in runs.iter().enumerate().rev().take_while(|(_, run)| eligible(run)) {
        if runs.len() - place >= tiers.least && newer >= tiers.times * run.bytes() {
            start = Some(place);
        }
        newer += run.bytes();
    }
    start
}

/// Keys that were removed and are worth a merge of all runs, at least.
const REMOVED_LEAST: u64 = 4096;

/// Whether so much of what runs hold says only that a key was removed that whoever walks through the table mostly
/// walks over that. A merge of all of them leaves it out.
#[must_use]
pub fn are_crowded(runs: &[Arc<Run>]) -> bool {
    let (removed, keys) = runs.iter().fold((0_u64, 0_u64), |(removed, keys), run| {
        (removed.saturating_add(run.meta().removed), keys.saturating_add(run.meta().keys))
    });
    removed >= REMOVED_LEAST && removed.saturating_mul(4) >= keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::file_run;

    /// Runs of about so many kibibytes, oldest first.
    fn runs(sizes: &[u64]) -> Vec<Arc<Run>> {
        let run = |size: &u64| {
            file_run(1, 0, |writer| {
                for key in 0..*size {
                    writer.add(&key.to_be_bytes(), &[7; 1024]).expect("memory");
                }
            })
        };
        sizes.iter().map(|size| Arc::new(run(size))).collect()
    }

    #[test]
    fn runs_become_one_when_those_behind_have_grown_to_twice_the_size() {
        let begins = |sizes: &[u64]| due(&runs(sizes), WHEN_CALM, |_| true);
        assert_eq!(begins(&[8, 8, 8]), None, "they are few");
        assert_eq!(begins(&[8, 1, 8]), None, "they are few, also behind a small one");
        assert_eq!(begins(&[8, 8, 8, 8]), Some(0));
        assert_eq!(begins(&[80, 8, 8, 8, 8]), Some(1), "the oldest is large");
        assert_eq!(begins(&[40, 20, 10, 5]), None, "each is as large as all behind it");
        assert_eq!(begins(&[16, 80, 8, 8, 8, 8]), Some(0), "the oldest is small beside those behind it");
        assert_eq!(begins(&[]), None);
        let begins = |sizes: &[u64]| due(&runs(sizes), WHEN_BUSY, |_| true);
        assert_eq!((begins(&[8; 7]), begins(&[8; 8])), (None, Some(0)));
        assert_eq!((begins(&[60, 8, 8, 8, 8, 8, 8, 8, 8])), Some(1));
    }

    #[test]
    fn runs_are_crowded_when_a_quarter_of_their_keys_were_removed() {
        let run = |keys: u64, removed: u64| {
            Arc::new(file_run(1, keys, |writer| {
                for key in 0..keys {
                    let payload: &[u8] = if key < removed { &[0] } else { &[1, 7] };
                    writer.add(&[&[1], &key.to_be_bytes()[..]].concat(), payload).expect("memory");
                }
            }))
        };
        let (old, new) = (run(20_000, 0), run(REMOVED_LEAST, REMOVED_LEAST));
        assert_eq!((old.meta().removed, new.meta().removed), (0, REMOVED_LEAST));
        assert!(!are_crowded(&[Arc::clone(&old), Arc::clone(&new)]) && !are_crowded(&[]));
        assert!(are_crowded(&[old, new, run(4000, 4000)]));
        assert!(!are_crowded(&[run(4000, 4000)]), "it is not worth it");
    }

    #[test]
    fn a_run_that_may_not_be_merged_ends_the_search() {
        let all = runs(&[8, 9, 8, 8, 8, 8]);
        let largest = all[1].bytes();
        assert_eq!(due(&all, WHEN_CALM, |run| run.bytes() < largest), Some(2));
    }
}
