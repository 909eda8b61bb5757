//! The table that is printed.

use crate::cells::{Cell, Peer};
use crate::run::{Figures, Results};

/// The middle one of some figures.
pub fn median(mut figures: Vec<f64>) -> f64 {
    if figures.is_empty() {
        return f64::NAN;
    }
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { f64::midpoint(figures[middle - 1], figures[middle]) }
}

impl Results {
    fn of(&self, peer: Peer) -> Vec<&Figures> {
        self.rounds.iter().flatten().filter(|figures| figures.peer == peer).collect()
    }

    fn median(&self, peer: Peer, what: impl Fn(&Figures) -> f64) -> f64 {
        median(self.of(peer).into_iter().map(what).collect())
    }

    /// Ours by a peer's, each round for itself: both met the same weather.
    fn ratio(&self, peer: Peer, what: impl Fn(&Figures) -> f64) -> f64 {
        let in_round = |round: &Vec<Figures>| {
            let of = |peer| round.iter().find(|figures| figures.peer == peer);
            Some(what(of(Peer::Msglogd)?) / what(of(peer)?))
        };
        median(self.rounds.iter().filter_map(in_round).collect())
    }
}

/// Prints a cell.
pub fn print(cell: &Cell, results: &Results) {
    let heads = ["median/s", "p50 us", "p99 us", "cpu us", "anon MiB"];
    println!(
        "\n{:<17}{:>11}{:>10}{:>10}{:>8}{:>10}   ours/its",
        cell.name, heads[0], heads[1], heads[2], heads[3], heads[4]
    );
    for peer in cell.peers() {
        if peer == Peer::Other && results.of(peer).is_empty() {
            continue;
        }
        if results.of(peer).is_empty() {
            println!(
                "  {:<15}{}",
                peer.name(),
                if results.missing.contains(&peer) { "not installed" } else { "left out" }
            );
            continue;
        }
        let of = |what: fn(&Figures) -> f64| results.median(peer, what);
        print!(
            "  {:<15}{:>11.0}{:>10.1}{:>10.1}{:>8.2}{:>10.1}   ",
            peer.name(),
            of(|figures| figures.rate),
            of(|figures| figures.p50_us),
            of(|figures| figures.p99_us),
            of(|figures| figures.cpu_us),
            of(|figures| figures.anonymous_mib)
        );
        if peer == Peer::Msglogd {
            match results.of(peer).iter().filter_map(|figures| figures.found).reduce(|a, b| a + b) {
                Some(found) => println!("{found} looked up after kill -9"),
                None => println!(),
            }
            continue;
        }
        let rate = results.ratio(peer, |figures| figures.rate);
        print!("{rate:.2} (p99 {:.2}x)", results.ratio(peer, |figures| figures.p99_us));
        match cell.targets.iter().find(|(other, _)| *other == peer) {
            Some((_, target)) if rate >= *target => println!(", asked: {target}, reached"),
            Some((_, target)) => println!(", asked: {target}, MISSED"),
            None => println!(),
        }
    }
}
