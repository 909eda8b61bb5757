//! What `msglog top` is told.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::command_line::{CommandLine, Piece, unknown_option};
use crate::client::failure::{Failure, Result};
use crate::client::own::{Own, flag, option};

/// `msglog top`, as help and completions know it.
pub const OWN: Own = Own {
    words: "top",
    takes: "[options]",
    doc: "Shows live what the daemon does: rates, latencies, queues, sizes.",
    about: &[
        "Rates and latencies are those of the time between two looks; a latency is a bound under which \
              half (p50) or 99 of 100 (p99) lie, rounded up to a power of two. `daemon away` stands there \
              while it cannot be reached.",
    ],
    options: &[
        option("interval", "SECONDS", "time between two looks, 0.1 to 60; default 1"),
        flag("once", "take two looks, print the screen (with --json: the numbers), and end"),
        option("svg", "FILE", "at the end, draw the last screen as a picture"),
    ],
    notes: &[
        "Keys: q or Esc ends; p holds the screen; s sorts the queues by depth, age, dead jobs or name; r turns \
         the order round; the arrows, Page Up and Page Down move through them; + and - change the interval.",
    ],
    examples: &["msglog top", "msglog top --once --interval 5", "msglog top --once --json | jq .rates"],
};

/// How to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Time between two looks.
    pub interval: Duration,
    /// Whether to print one screen and end.
    pub once: bool,
    /// Where to draw the last screen.
    pub svg: Option<PathBuf>,
}

impl Options {
    /// Reads the command line behind `top`.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub fn parse(line: &mut CommandLine) -> Result<Self> {
        let mut options = Options { interval: Duration::from_secs(1), once: false, svg: None };
        while let Some(piece) = line.next_piece()? {
            match piece {
                Piece::Value(value) => {
                    let value = value.to_string_lossy();
                    return Err(Failure::Usage(format!("`top` takes no `{value}`; see `msglog help top`")));
                }
                Piece::Option(name) => match name.as_str() {
                    "interval" => options.interval = interval(&line.text()?)?,
                    "once" => options.once = true,
                    "svg" => options.svg = Some(line.value()?.into()),
                    _ => return Err(unknown_option(&name, "top", &OWN.option_names())),
                },
            }
        }
        Ok(options)
    }
}

fn interval(text: &str) -> Result<Duration> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| Failure::Usage(format!("--interval takes 0.1 to 60 seconds, not `{text}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::command_line::{Action, Invocation};

    fn parse(words: &[&str]) -> std::result::Result<Options, String> {
        match Invocation::parse(["top"].iter().chain(words).map(Into::into).collect()) {
            Ok(Invocation { action: Action::Top(options), .. }) => Ok(options),
            Err(Failure::Usage(text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn intervals_are_seconds_within_bounds() {
        let options = parse(&["--interval", "0.5", "--once"]).unwrap();
        assert_eq!((options.interval, options.once), (Duration::from_millis(500), true));
        for wrong in ["0", "61", "-1", "NaN", "fast"] {
            assert!(parse(&["--interval", wrong]).unwrap_err().contains("0.1 to 60"), "{wrong}");
        }
        assert!(parse(&["--intervall", "1"]).unwrap_err().contains("`--interval`"));
        assert!(parse(&["q"]).unwrap_err().contains("takes no `q`"));
    }
}
