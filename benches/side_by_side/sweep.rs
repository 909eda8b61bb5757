//! What the pictures show: rate and latency over connections, and over messages that are stored.

use std::path::Path;
use std::time::Duration;

use crate::cells::{Peer, all};
use crate::dialect::Dialect;
use crate::load::Load;
use crate::options::Options;
use crate::plot::{Chart, Line};
use crate::run::{Figures, interleaved};
use crate::server::Server;
use crate::table::median;
use crate::texts::Texts;

const CONNECTIONS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const STORED: u64 = 10_000_000;
const STEPS: u64 = 10;
const PEERS: [Peer; 3] = [Peer::Msglogd, Peer::Redis, Peer::Beanstalkd];

/// Draws both pictures into this folder of the project.
pub fn draw(options: &Options, texts: &Texts) {
    let mut charts = over_connections(options, texts);
    charts.extend(over_stored(options, texts));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("side_by_side/side_by_side.svg");
    let title = format!("Durable messages, one request one reply. {}", crate::machine());
    std::fs::write(&path, crate::plot::svg(&title, &charts)).expect("the picture can be written");
    println!("{}", path.display());
}

fn over_connections(options: &Options, texts: &Texts) -> Vec<Chart> {
    let mut rates: Vec<Line> = PEERS.iter().map(|peer| Line::new(peer.name())).collect();
    let mut latencies: Vec<Line> = PEERS.iter().map(|peer| Line::new(peer.name())).collect();
    for connections in CONNECTIONS {
        let mut cell = all().into_iter().find(|cell| cell.name == "post.64x1").expect("it is there");
        cell.connections = connections;
        let quick = Options {
            duration: Duration::from_secs(2),
            rounds: 3,
            lookup: false,
            only: Vec::new(),
            without: [options.without.clone(), vec!["sqlite".to_owned()]].concat(),
            against: None,
            folder: options.folder.clone(),
            ..*options
        };
        let results = interleaved(&cell, &quick, texts);
        for (number, peer) in PEERS.iter().enumerate() {
            let of = |what: fn(&Figures) -> f64| {
                let figures = results.rounds.iter().flatten().filter(|figures| figures.peer == *peer);
                median(figures.map(what).collect())
            };
            let x = connections as f64;
            rates[number].push(x, of(|figures| figures.rate));
            latencies[number].push(x, of(|figures| figures.p99_us));
        }
        println!("{connections} connections: done");
    }
    let x = "connections, one request in flight on each";
    vec![Chart::new(x, "messages/s", true, rates), Chart::new(x, "p99, microseconds", true, latencies)]
}

fn over_stored(options: &Options, texts: &Texts) -> Vec<Chart> {
    let (mut rates, mut latencies) = (Line::new("msglogd"), Line::new("msglogd"));
    let server = Server::start(Peer::Msglogd, false, options).expect("the daemon starts");
    let cell = all().into_iter().find(|cell| cell.name == "post.64x1").expect("it is there");
    let dialect = Dialect { peer: Peer::Msglogd, lazy: false };
    let mut stored = 0;
    while stored < STORED {
        let load = Load::of(&cell, dialect, texts, stored, Duration::from_secs(2));
        let mut tally = load.run(&server.socket()).expect("it answers");
        stored += tally.all;
        let millions = stored as f64 / 1e6;
        rates.push(millions, tally.in_time as f64 / 2.0);
        latencies.push(millions, tally.percentile_us(99));
        // The way to the next measurement.
        let mut fill = Load::of(&cell, dialect, texts, stored, Duration::from_secs(600));
        fill.depth = 64;
        fill.items =
            stored..(stored.next_multiple_of(STORED / STEPS).max(stored + STORED / STEPS / 2)).min(STORED);
        stored += fill.run(&server.socket()).expect("it answers").all;
        println!("{stored} messages stored");
    }
    let x = "million messages stored";
    vec![
        Chart::new(x, "messages/s, 64 connections", false, vec![rates]),
        Chart::new(x, "p99, microseconds, 64 connections", false, vec![latencies]),
    ]
}
