//! Tiers: when run files of about one size become one, so that there are few and each posting is copied
//! a logarithmic number of times, as a carry runs through a counter.

use std::sync::Arc;

use super::run::Run;

/// Runs that become one, at least.
const FAN: usize = 4;

/// Where the newest runs begin that should become one: as far back as those behind a run have grown to twice
/// its size together. So there are few, and a posting is copied as often as three goes into the log's size.
#[must_use]
pub fn due(runs: &[Arc<Run>], eligible: impl Fn(&Run) -> bool) -> Option<usize> {
    let (mut newer, mut start) = (0, None);
    for (place, run) in runs.iter().enumerate().rev().take_while(|(_, run)| eligible(run)) {
        if runs.len() - place >= FAN && newer >= 2 * run.bytes() {
            start = Some(place);
        }
        newer += run.bytes();
    }
    start
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
        let begins = |sizes: &[u64]| due(&runs(sizes), |_| true);
        assert_eq!(begins(&[8, 8, 8]), None, "they are few");
        assert_eq!(begins(&[8, 1, 8]), None, "they are few, also behind a small one");
        assert_eq!(begins(&[8, 8, 8, 8]), Some(0));
        assert_eq!(begins(&[80, 8, 8, 8, 8]), Some(1), "the oldest is large");
        assert_eq!(begins(&[40, 20, 10, 5]), None, "each is as large as all behind it");
        assert_eq!(begins(&[16, 80, 8, 8, 8, 8]), Some(0), "the oldest is small beside those behind it");
        assert_eq!(begins(&[]), None);
    }

    #[test]
    fn a_run_that_may_not_be_merged_ends_the_search() {
        let all = runs(&[8, 9, 8, 8, 8, 8]);
        let largest = all[1].bytes();
        assert_eq!(due(&all, |run| run.bytes() < largest), Some(2));
    }
}
