//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::cells::{Cell, Peer};

/// What to run, and for how long.
pub struct Options {
    /// How long one run of one peer lasts.
    pub duration: Duration,
    /// How often the peers take turns.
    pub rounds: usize,
    /// Cells whose name holds one of these; all when there is none.
    pub only: Vec<String>,
    /// Peers to leave out.
    pub without: Vec<String>,
    /// Whether server and generator share one core.
    pub pinned: bool,
    /// Whether every acknowledged item is looked up after kill -9.
    pub lookup: bool,
    /// Whether to draw the pictures instead.
    pub plot: bool,
    /// Whether the short form was asked for.
    pub quick: bool,
    /// Another build of the daemon to run beside this one.
    pub against: Option<PathBuf>,
    /// Where the servers' folders are made.
    pub folder: PathBuf,
}

const HELP: &str = "\
cargo bench --bench side_by_side -- [OPTION ...] [CELL ...]
  CELL            only cells whose name holds this, such as post, set.64x1 or lazy
  --quick         2 s a run, 3 rounds (else 60 s a run, 3 rounds, the main cells only)
  --seconds N     how long one run lasts
  --rounds N      how often the peers take turns
  --without PEER  leave out redis, beanstalkd or sqlite
  --against FILE  run another msglogd as well
  --pinned        server and generator on one core
  --no-lookup     no kill -9 and no look-up of what was acknowledged
  --plot          draw the pictures
  --folder DIR    where the servers keep their data while they run";

impl Options {
    /// Reads the command line. `None` when there is nothing to run.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Option<Options> {
        let mut options = Options {
            duration: Duration::from_secs(60),
            rounds: 3,
            only: Vec::new(),
            without: Vec::new(),
            pinned: false,
            lookup: true,
            plot: false,
            quick: false,
            against: None,
            folder: std::env::temp_dir(),
        };
        let mut seconds = None;
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
            match argument.as_str() {
                // Cargo says so to every benchmark; a test run says it to none.
                "--bench" => {}
                "--test" | "--list" => return None,
                "--quick" => options.quick = true,
                "--seconds" => seconds = Some(value().parse().expect("--seconds takes a number")),
                "--rounds" => options.rounds = value().parse().expect("--rounds takes a number"),
                "--without" => options.without.push(value()),
                "--pinned" => options.pinned = true,
                "--no-lookup" => options.lookup = false,
                "--plot" => options.plot = true,
                "--against" => options.against = Some(value().into()),
                "--folder" => options.folder = value().into(),
                name if !name.starts_with('-') => options.only.push(name.to_owned()),
                _ => {
                    println!("{HELP}");
                    return None;
                }
            }
        }
        let seconds = seconds.unwrap_or(if options.quick { 2.0 } else { 60.0 });
        options.duration = Duration::from_secs_f64(seconds);
        Some(options)
    }

    /// Whether a peer is to run.
    pub fn has(&self, peer: Peer) -> bool {
        match peer {
            Peer::Other => self.against.is_some(),
            _ => !self.without.iter().any(|name| name == peer.name()),
        }
    }

    /// Whether a cell is to run.
    pub fn wants(&self, cell: &Cell) -> bool {
        if self.only.is_empty() {
            self.quick || cell.main
        } else {
            self.only.iter().any(|part| cell.name.contains(part))
        }
    }
}
