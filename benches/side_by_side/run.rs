//! Runs of a cell: the peers take turns.

use std::time::Duration;

use crate::cells::{Cell, Peer, Work};
use crate::dialect::Dialect;
use crate::load::{Load, Tally};
use crate::lookup;
use crate::options::Options;
use crate::server::Server;
use crate::sqlite::Database;
use crate::texts::Texts;

/// What one run of one peer showed.
pub struct Figures {
    pub peer: Peer,
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// Processor time of the server for each request, until it was idle again.
    pub cpu_us: f64,
    pub anonymous_mib: f64,
    /// Items that were looked up after kill -9.
    pub found: Option<u64>,
}

impl Figures {
    /// The figures of a load that took `duration`.
    pub fn of(peer: Peer, tally: &mut Tally, duration: Duration, cpu: Duration) -> Figures {
        if let Some(failure) = &tally.failure {
            panic!("{}: {failure}", peer.name());
        }
        Figures {
            peer,
            rate: tally.in_time as f64 / duration.as_secs_f64(),
            p50_us: tally.percentile_us(50),
            p99_us: tally.percentile_us(99),
            cpu_us: cpu.as_secs_f64() * 1e6 / tally.all as f64,
            anonymous_mib: f64::NAN,
            found: None,
        }
    }
}

/// Every round of a cell, and the peers that are not installed.
pub struct Results {
    pub rounds: Vec<Vec<Figures>>,
    pub missing: Vec<Peer>,
}

/// Runs a cell: in each round every peer once.
pub fn interleaved(cell: &Cell, options: &Options, texts: &Texts) -> Results {
    let mut results = Results { rounds: Vec::new(), missing: Vec::new() };
    let mut full = Full::default();
    for _ in 0..options.rounds {
        let mut round = Vec::new();
        for peer in cell.peers() {
            if results.missing.contains(&peer) || !options.has(peer) {
                continue;
            }
            let done = match (peer, cell.work) {
                (Peer::Sqlite, _) => Ok(full.sqlite(cell, options, texts)),
                (_, Work::Get) => full.get(peer, cell, options, texts),
                _ => write(peer, cell, options, texts),
            };
            match done {
                Ok(figures) => round.push(figures),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => results.missing.push(peer),
                Err(error) => panic!("{}: {error}", peer.name()),
            }
        }
        results.rounds.push(round);
    }
    results
}

/// A run that begins with an empty folder and ends with kill -9.
fn write(peer: Peer, cell: &Cell, options: &Options, texts: &Texts) -> std::io::Result<Figures> {
    let mut server = Server::start(peer, cell.lazy, options)?;
    let dialect = Dialect { peer, lazy: cell.lazy };
    let before = server.cpu();
    let load = Load::of(cell, dialect, texts, 0, options.duration);
    let mut tally = load.run(&server.socket())?;
    let cpu = server.idle_cpu() - before;
    let mut figures = Figures::of(peer, &mut tally, options.duration, cpu);
    figures.anonymous_mib = server.anonymous_mib();
    if peer == Peer::Msglogd && options.lookup && !cell.lazy {
        figures.found = Some(lookup::after_a_crash(&mut server, cell, texts, tally)?);
    }
    Ok(figures)
}

/// Servers that hold every key, for a cell that reads.
#[derive(Default)]
struct Full {
    servers: Vec<(Peer, Server)>,
    database: Option<Database>,
}

impl Full {
    fn get(&mut self, peer: Peer, cell: &Cell, options: &Options, texts: &Texts) -> std::io::Result<Figures> {
        if !self.servers.iter().any(|(other, _)| *other == peer) {
            let server = Server::start(peer, true, options)?;
            let filled = Load::fill(Dialect { peer, lazy: true }, texts).run(&server.socket())?;
            assert_eq!((filled.failure, filled.items.len() as u64), (None, crate::cells::KEYS));
            server.idle_cpu();
            self.servers.push((peer, server));
        }
        let (_, server) = self.servers.iter().find(|(other, _)| *other == peer).expect("just started");
        let before = server.cpu();
        let load = Load::of(cell, Dialect { peer, lazy: false }, texts, 0, options.duration);
        let mut tally = load.run(&server.socket())?;
        let mut figures = Figures::of(peer, &mut tally, options.duration, server.idle_cpu() - before);
        figures.anonymous_mib = server.anonymous_mib();
        Ok(figures)
    }

    fn sqlite(&mut self, cell: &Cell, options: &Options, texts: &Texts) -> Figures {
        let fresh = || Database::open(&options.folder);
        let database = if cell.work == Work::Get {
            self.database.get_or_insert_with(|| {
                let database = fresh();
                database.fill(texts);
                database
            })
        } else {
            // The one before is closed first.
            self.database = None;
            self.database.insert(fresh())
        };
        let (mut tally, cpu) = database.run(cell, texts, 0, options.duration);
        Figures::of(Peer::Sqlite, &mut tally, options.duration, cpu)
    }
}
