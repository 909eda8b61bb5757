//! What `msglog bench` is told.

use std::path::PathBuf;
use std::time::Duration;

use super::cases::CASES;
use crate::client::command_line::{CommandLine, Piece, unknown_option};
use crate::client::failure::{Failure, Result};
use crate::client::own::{Own, flag, option};
use crate::client::suggest::did_you_mean;

/// `msglog bench`, as help and completions know it.
pub const OWN: Own = Own {
    words: "bench",
    takes: "[options]",
    doc: "Shows what this machine gives: writes, reads, queue cycles, searches a second.",
    about: &[
        "It starts a daemon of its own in a new folder, so that nothing of yours is touched, and removes \
              both at the end. Every case runs with one request at a time, with many outstanding on one \
              connection, and with many connections.",
    ],
    options: &[
        option(
            "dir",
            "DIR",
            "where the new folder is made: on the disk that is to be measured. Default: where the daemon's data \
             would lie",
        ),
        flag(
            "live",
            "use the daemon that runs, in scratch names that are deleted afterwards. The requests of others \
             share the machine meanwhile, and the log keeps what happened until it is compacted",
        ),
        option("seconds", "N", "how long each case runs in each shape, 1 to 60; default 1"),
        option("only", "post|post-async|batch|set|get|search|queue", "one case"),
        option("connections", "N", "with --outstanding: one shape, of so many connections, 1 to 1000"),
        option("outstanding", "N", "requests sent and not yet answered on each of them, 1 to 1000"),
    ],
    notes: &[
        "A latency is the time from sending a request to having its reply; p50 is the one that half are under, \
         p99 the one that 99 of 100 are under. A queue cycle is put, reserve and ack. Searches find what was posted \
         before; where they are the only case, messages are posted first. Ctrl-C ends it and cleans up.",
        "Exit status: 0 measured; 128 and the signal's number where one ended it: 130 for SIGINT, 143 for SIGTERM, \
         129 for SIGHUP; 3 the daemon refused; 4 no daemon answers; 74 there is no msglogd to start.",
    ],
    examples: &["msglog bench", "msglog bench --only post --connections 100 --outstanding 10 --seconds 10"],
};

/// Connections and requests outstanding on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Connections.
    pub connections: u64,
    /// Requests outstanding on each.
    pub outstanding: u64,
}

/// The shapes that are tried when none is named.
const SHAPES: [Shape; 3] = [
    Shape { connections: 1, outstanding: 1 },
    Shape { connections: 1, outstanding: 64 },
    Shape { connections: 16, outstanding: 16 },
];

/// What to measure, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to make the folder of the daemon.
    pub dir: Option<PathBuf>,
    /// Whether to use the daemon that runs.
    pub live: bool,
    /// How long each case runs in each shape.
    pub duration: Duration,
    /// The name of the only case.
    pub only: Option<String>,
    /// The shapes.
    pub shapes: Vec<Shape>,
}

impl Options {
    /// Reads the command line behind `bench`.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub fn parse(line: &mut CommandLine) -> Result<Self> {
        let usage = |text: &str| Failure::Usage(format!("{text} See `msglog help bench`."));
        let mut options = Options {
            dir: None,
            live: false,
            duration: Duration::from_secs(1),
            only: None,
            shapes: SHAPES.into(),
        };
        let (mut connections, mut outstanding) = (None, None);
        while let Some(piece) = line.next_piece()? {
            let Piece::Option(name) = piece else {
                return Err(usage("`bench` takes options only."));
            };
            match name.as_str() {
                "dir" => options.dir = Some(line.value()?.into()),
                "live" => options.live = true,
                "seconds" => options.duration = Duration::from_secs(bounded(line, "seconds", 60)?),
                "only" => options.only = Some(case(line.text()?)?),
                "connections" => connections = Some(bounded(line, "connections", 1000)?),
                "outstanding" => outstanding = Some(bounded(line, "outstanding", 1000)?),
                _ => return Err(unknown_option(&name, "bench", &OWN.option_names())),
            }
        }
        if connections.is_some() || outstanding.is_some() {
            let (connections, outstanding) = (connections.unwrap_or(1), outstanding.unwrap_or(1));
            options.shapes = vec![Shape { connections, outstanding }];
        }
        if options.live && options.dir.is_some() {
            return Err(usage("--live uses the daemon that runs, so --dir makes no sense with it."));
        }
        Ok(options)
    }
}

fn bounded(line: &mut CommandLine, name: &str, most: u64) -> Result<u64> {
    let number = line.number(name)?;
    if (1..=most).contains(&number) {
        return Ok(number);
    }
    Err(Failure::Usage(format!("--{name} takes 1 to {most}, not {number}")))
}

fn case(name: String) -> Result<String> {
    let names = || CASES.iter().map(|case| case.name);
    if names().any(|known| known == name) {
        return Ok(name);
    }
    let known = names().collect::<Vec<_>>().join(", ");
    let hint = did_you_mean(&name, names());
    Err(Failure::Usage(format!("--only takes one of {known}, not `{name}`{hint}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::command_line::{Action, Invocation};

    fn parse(words: &[&str]) -> std::result::Result<Options, String> {
        match Invocation::parse(["bench"].iter().chain(words).map(Into::into).collect()) {
            Ok(Invocation { action: Action::Bench(options), .. }) => Ok(options),
            Err(Failure::Usage(text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_shape_is_named_by_either_number() {
        assert_eq!(parse(&[]).unwrap().shapes, SHAPES);
        let shapes = parse(&["--connections", "7"]).unwrap().shapes;
        assert_eq!(shapes, [Shape { connections: 7, outstanding: 1 }]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert!(parse(&["--live", "--dir", "/tmp"]).unwrap_err().contains("makes no sense"));
        assert!(parse(&["--seconds", "0"]).unwrap_err().contains("1 to 60"));
        assert!(parse(&["--only", "pst"]).unwrap_err().contains("`post`"));
        assert!(parse(&["--onyl", "post"]).unwrap_err().contains("`--only`"));
        assert!(parse(&["post"]).unwrap_err().contains("options only"));
    }

    #[test]
    fn the_help_names_every_case() {
        let only = OWN.options.iter().find(|option| option.name == "only").unwrap();
        assert_eq!(only.value, CASES.iter().map(|case| case.name).collect::<Vec<_>>().join("|"));
    }
}
