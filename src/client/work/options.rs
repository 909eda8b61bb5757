//! What `msglog queue work` is told.

use std::ffi::OsString;
use std::time::Duration;

use crate::client::command_line::{CommandLine, Piece, text, unknown_option};
use crate::client::failure::{Failure, Result};
use crate::client::own::{Own, flag, option};
use crate::client::programs;
use crate::limits::TIME_MS;

/// `msglog queue work`, as help and completions know it.
pub const OWN: Own = Own {
    words: "queue work",
    takes: "QUEUE [options] -- COMMAND...",
    doc: "Runs a command for each job of a queue.",
    about: &["The job's body is on the command's standard input: a string as its plain text, anything else \
              as JSON. Its environment has MSGLOG_QUEUE, MSGLOG_JOB and MSGLOG_ATTEMPT. Exit status 0 acks \
              the job; anything else gives it back, to be tried again later, until the queue's max_attempts \
              are used up."],
    options: &[
        option("parallel", "N", "commands that run at the same time; default 1"),
        option(
            "lease-ms",
            "N",
            "how long a job is held; default the queue's at the start. While the command runs the lease is \
             extended every third of it",
        ),
        option(
            "retry-delay-ms",
            "N",
            "how long a job that failed waits; default 1 second after its first attempt, twice as long \
             after each further one, up to 5 minutes",
        ),
        flag("once", "take one job, wait for it if need be, and end"),
        flag("exit-when-empty", "end when no job is ready"),
    ],
    notes: &[
        "SIGTERM, SIGINT and SIGHUP: no new jobs are asked for (one that was on its way within a second is still \
         run), running commands finish, exit status 0. A second \
         SIGTERM or SIGINT kills them and gives their jobs back, which counts as an attempt. While the daemon \
         is away, commands go on and the worker waits for it; so it does where an answer is late, by 10 seconds or \
         by --timeout. A command whose lease was lost gets SIGTERM.",
        "A command that cannot be started at all, as its interpreter is not there or the system has no room, \
         stops the worker: the job waits as after a failure, and no other one is asked for. With --parallel the \
         others begin once one command was started.",
        "A job may be run more than once (a crash between the command's end and its ack), so the command \
         must bear that.",
        "Exit status: 0 stopped, or ended as asked; 1 with --once --exit-when-empty there was no job; 2 wrong \
         usage; 3 the daemon refused; 4 no daemon answered at the start; 74 the command could not be started.",
    ],
    examples: &[
        "msglog queue work thumbnails --parallel 4 -- ./make-thumb",
        "msglog queue work mail --exit-when-empty -- sh -c 'jq -r .text | mail -s news ops'",
    ],
};

/// The pause after a first failed attempt, where none was given.
const FIRST_DELAY_MS: u64 = 1000;

/// The longest pause after a failed attempt, where none was given.
const LONGEST_DELAY_MS: u64 = 300_000;

/// What to work on, and how.
#[derive(Debug)]
pub struct Options {
    /// The queue.
    pub queue: String,
    /// The command and its arguments; never empty.
    pub command: Vec<OsString>,
    /// How many commands run at the same time.
    pub parallel: u64,
    /// How long a job is held; nothing for the queue's own lease.
    pub lease_ms: Option<u64>,
    /// How long a failed job waits; nothing for a pause that grows.
    pub retry_delay_ms: Option<u64>,
    /// Whether to end after one job.
    pub once: bool,
    /// Whether to end when no job is ready.
    pub exit_when_empty: bool,
}

impl Options {
    /// Reads the command line behind `queue work`.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub fn parse(line: &mut CommandLine) -> Result<Self> {
        let mut queues = Vec::new();
        let mut options = Options {
            queue: String::new(),
            command: line.take_behind_dashes(),
            parallel: 1,
            lease_ms: None,
            retry_delay_ms: None,
            once: false,
            exit_when_empty: false,
        };
        while let Some(piece) = line.next_piece()? {
            match piece {
                Piece::Value(value) => queues.push(text(value)?),
                Piece::Option(name) => options.option(&name, line)?,
            }
        }
        let usage = |problem: &str| Err(Failure::Usage(format!("{problem} See `msglog help queue work`.")));
        let [queue] = queues.as_slice() else {
            return usage("`queue work` takes one queue; the command goes behind `--`.");
        };
        options.queue.clone_from(queue);
        if options.command.is_empty() {
            return usage("which command? It goes behind `--`.");
        }
        if !(1..=1000).contains(&options.parallel) {
            return usage("--parallel takes 1 to 1000.");
        }
        if options.lease_ms.is_some_and(|lease| !(100..=TIME_MS).contains(&lease)) {
            return usage("--lease-ms takes at least 100, and at most a year.");
        }
        if options.retry_delay_ms.is_some_and(|delay| delay > TIME_MS) {
            return usage("--retry-delay-ms takes at most a year.");
        }
        if options.once && options.parallel > 1 {
            return usage("--once takes one job, so --parallel makes no sense with it.");
        }
        Ok(options)
    }

    fn option(&mut self, name: &str, line: &mut CommandLine) -> Result<()> {
        match name {
            "parallel" => self.parallel = line.number(name)?,
            "lease-ms" => self.lease_ms = Some(line.number(name)?),
            "retry-delay-ms" => self.retry_delay_ms = Some(line.number(name)?),
            "once" => self.once = true,
            "exit-when-empty" => self.exit_when_empty = true,
            _ => {
                return Err(unknown_option(name, "queue work", &OWN.option_names()));
            }
        }
        Ok(())
    }

    /// Looks for the program before any job is taken: a job that no program can be run for would
    /// use up its attempts.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it is not there, or cannot be run.
    pub fn find_program(&self) -> Result<()> {
        let missing = self.command.first().filter(|program| programs::find(program).is_none());
        missing.map_or(Ok(()), |program| {
            let name = program.to_string_lossy();
            Err(Failure::Usage(format!("there is no program `{name}` that can be run")))
        })
    }

    /// How long a job waits after this attempt has failed.
    #[must_use]
    pub fn delay_after(&self, attempt: u64) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        let grown = FIRST_DELAY_MS.saturating_mul(2_u64.saturating_pow(doublings)).min(LONGEST_DELAY_MS);
        Duration::from_millis(self.retry_delay_ms.unwrap_or(grown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::command_line::{Action, Invocation};

    fn parse(words: &str) -> std::result::Result<Options, String> {
        let words =
            ["queue", "work"].into_iter().chain(words.split_whitespace()).map(OsString::from).collect();
        match Invocation::parse(words) {
            Ok(Invocation { action: Action::Work(options), .. }) => Ok(options),
            Err(Failure::Usage(text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_behind_the_dashes_is_the_commands() {
        let options = parse("q --parallel 4 --lease-ms=500 -- make --once -j 2 -- x").unwrap();
        assert_eq!((options.queue.as_str(), options.parallel, options.lease_ms), ("q", 4, Some(500)));
        assert_eq!(options.command, ["make", "--once", "-j", "2", "--", "x"].map(OsString::from));
        assert!(!options.once);
    }

    #[test]
    fn options_of_every_command_may_stand_right_before_the_dashes() {
        for options in ["--socket /s", "--socket=/s", "--json", "--relative", "--json --socket /s --once"] {
            let parsed = parse(&format!("q {options} -- true --json")).unwrap();
            assert_eq!((parsed.queue.as_str(), parsed.command.len()), ("q", 2), "{options}");
        }
        assert!(parse("q --socket -- true").unwrap_err().contains("--socket"));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert!(parse("-- make").unwrap_err().contains("one queue"));
        assert!(parse("q").unwrap_err().contains("behind `--`"));
        assert!(parse("q make").unwrap_err().contains("one queue"));
        assert!(parse("q --parallel 0 -- make").unwrap_err().contains("1 to 1000"));
        assert!(parse("q --parallel two -- make").unwrap_err().contains("whole number"));
        assert!(parse("q --parralel 2 -- make").unwrap_err().contains("`--parallel`"));
        assert!(parse("q --once --parallel 2 -- make").unwrap_err().contains("one job"));
    }

    #[test]
    fn pauses_grow_with_the_attempts_unless_they_are_given() {
        let growing = parse("q -- make").unwrap();
        let seconds = |attempt| growing.delay_after(attempt).as_secs();
        assert_eq!([1, 2, 3, 9, 10, 1000].map(seconds), [1, 2, 4, 256, 300, 300]);
        let fixed = parse("q --retry-delay-ms 0 -- make").unwrap();
        assert_eq!(fixed.delay_after(7), Duration::ZERO);
    }

    #[test]
    fn programs_are_looked_for() {
        assert!(parse("q -- sh -c true").unwrap().find_program().is_ok());
        assert!(parse("q -- /bin/sh").unwrap().find_program().is_ok());
        assert!(parse("q -- /etc/passwd").unwrap().find_program().is_err());
        assert!(parse("q -- no-such-program-anywhere").unwrap().find_program().is_err());
    }
}
