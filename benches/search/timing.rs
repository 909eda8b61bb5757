//! How long things take: several engines asked the same, by turns, so that what else goes on in the
//! machine meets them alike.

use std::time::{Duration, Instant};

/// One engine's way to answer query number so-and-so.
pub type Asked<'a> = Box<dyn FnMut(usize) + 'a>;

/// An engine that has taken longer than this for one class is asked no more of it, and the queries that
/// it was asked count.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the queries of a class took.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// The mean over the queries, of the median of each, in microseconds.
    pub mean: f64,
    /// The median over the queries.
    pub p50: f64,
    /// Of a hundred queries one takes longer.
    pub p99: f64,
    /// How many queries were asked.
    pub queries: usize,
}

/// Asks every engine each of `queries` queries, in `rounds` rounds behind one that does not count.
pub fn side_by_side(queries: usize, rounds: usize, mut engines: Vec<Asked<'_>>) -> Vec<Times> {
    let mut taken = vec![vec![Vec::with_capacity(rounds); queries]; engines.len()];
    let mut spent = vec![[Duration::ZERO; 2]; engines.len()];
    for round in 0..=rounds {
        for (engine, ask) in engines.iter_mut().enumerate() {
            // A slow engine need not be warmed up for long.
            let (patience, spent) = match round {
                0 => (PATIENCE / 5, &mut spent[engine][0]),
                _ => (PATIENCE, &mut spent[engine][1]),
            };
            for (query, taken) in taken[engine].iter_mut().enumerate() {
                if *spent > patience {
                    break;
                }
                let started = Instant::now();
                ask(query);
                let took = started.elapsed();
                *spent += took;
                if round > 0 {
                    taken.push(took);
                }
            }
        }
    }
    taken.into_iter().map(times).collect()
}

fn times(taken: Vec<Vec<Duration>>) -> Times {
    let median = |mut one: Vec<Duration>| {
        one.sort_unstable();
        one[(one.len() - 1) / 2].as_secs_f64() * 1e6
    };
    let mut medians: Vec<f64> = taken.into_iter().filter(|one| !one.is_empty()).map(median).collect();
    medians.sort_unstable_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "a count of queries")]
    let mean = medians.iter().sum::<f64>() / medians.len() as f64;
    Times {
        mean,
        p50: medians[medians.len() / 2],
        p99: medians[medians.len() * 99 / 100],
        queries: medians.len(),
    }
}
