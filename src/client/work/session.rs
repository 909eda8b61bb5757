//! A worker's conversation with the daemon, which may go away and come back.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::gate::{Stop, wait_for};
use crate::client::address::{Address, Unreached};
use crate::client::connection::{Connection, Pauses};
use crate::client::failure::{lost_how, say};
use crate::client::reply::{Refusal, Reply};
use crate::client::style::visible;

/// How long an answer that needs no waiting may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an answer may be due before a long poll is given up.
const OVERDUE: Duration = Duration::from_mins(1);

/// How long a worker that stops waits for an answer that may be on its way.
pub const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// How long a worker that stops still tries to settle a job with a daemon that is away.
const LAST_TRIES: Duration = Duration::from_secs(10);

/// One connection at a time, made anew when it is lost.
pub struct Session<'a> {
    address: &'a Address,
    connection: Option<Connection>,
    stop: &'a Stop,
    /// Whether it was said that the daemon is away.
    away: bool,
}

/// How a request came out that the daemon may not be there for.
pub enum Answer {
    /// It was answered.
    Reply(Reply),
    /// It was refused, for a reason that lies in the request.
    Refused(Refusal),
    /// The daemon is away or takes nothing for now.
    Away {
        /// Whether it may have received the request, and done what it says.
        received: bool,
    },
}

/// Why a request has no reply.
enum Unanswered {
    /// There was no connection to send it on.
    Unreached(Unreached),
    /// The connection was lost, or nothing came in time.
    Lost(io::Error),
}

impl<'a> Session<'a> {
    /// Begins with a connection, if there is one already.
    pub fn new(address: &'a Address, connection: Option<Connection>, stop: &'a Stop) -> Self {
        Session { address, connection, stop, away: false }
    }

    /// Asks once.
    pub fn ask(&mut self, request: &str) -> Answer {
        self.ask_until(request, None)
    }

    /// Asks once. When the worker is to stop at once, or this descriptor can be read, only an answer that is on its
    /// way is waited for.
    pub fn ask_until(&mut self, request: &str, end: Option<BorrowedFd<'_>>) -> Answer {
        let ends: Vec<_> = [Some(self.stop.kill.as_fd()), end].into_iter().flatten().collect();
        let asked = self.with_connection(|connection| {
            connection.set_patience(PATIENCE)?;
            let sent = connection.send(request);
            let patience = connection.timeout().unwrap_or(PATIENCE);
            await_answer(connection, Instant::now() + patience, &ends, &[])?;
            connection.reply_to(sent)
        });
        self.answer(asked)
    }

    /// Asks what the daemon may take `wait` to answer, until there is an answer; `None` when no more jobs are
    /// to be taken and none has come shortly after that.
    pub fn wait(&mut self, request: &str, wait: Duration) -> Option<Result<Reply, Refusal>> {
        let mut pauses = Pauses::new();
        loop {
            let asked = self.wait_once(request, wait);
            if asked.is_err() && self.stop.no_more.is_open() {
                return None;
            }
            match self.answer(asked) {
                Answer::Reply(reply) => return Some(Ok(reply)),
                Answer::Refused(refusal) => return Some(Err(refusal)),
                Answer::Away { .. } if self.stop.no_more.wait(pauses.take()) => return None,
                Answer::Away { .. } => {}
            }
        }
    }

    /// A job may be on its way already when the stop comes: it would be leased to nobody. Giving up closes the
    /// connection, and a reserve that still waits then gets none.
    fn wait_once(&mut self, request: &str, wait: Duration) -> Result<Reply, Unanswered> {
        let stop = self.stop;
        self.with_connection(|connection| {
            connection.send(request)?;
            let overdue = connection.timeout().unwrap_or(OVERDUE);
            let due = Instant::now() + wait + overdue;
            await_answer(connection, due, &[stop.no_more.as_fd()], &[stop.kill.as_fd()])?;
            connection.set_patience(PATIENCE)?;
            connection.reply()
        })
    }

    /// Asks until there is an answer; `None` when the worker stops and there still is none. Also
    /// tells whether an earlier try may have been received.
    pub fn insist(&mut self, request: &str) -> Option<(Result<Reply, Refusal>, bool)> {
        let mut pauses = Pauses::new();
        let mut last_try = None;
        let mut again = false;
        loop {
            match self.ask(request) {
                Answer::Reply(reply) => return Some((Ok(reply), again)),
                Answer::Refused(refusal) => return Some((Err(refusal), again)),
                Answer::Away { received } => again |= received,
            }
            if self.stop.no_more.is_open() {
                let limit = *last_try.get_or_insert_with(|| Instant::now() + LAST_TRIES);
                if Instant::now() >= limit {
                    return None;
                }
            }
            if self.stop.kill.wait(pauses.take()) {
                return None;
            }
        }
    }

    fn with_connection(
        &mut self,
        act: impl FnOnce(&mut Connection) -> io::Result<Reply>,
    ) -> Result<Reply, Unanswered> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.address.reconnect().map_err(Unanswered::Unreached)?,
        };
        let done = act(&mut connection).map_err(Unanswered::Lost)?;
        // A connection on which anything went wrong is out of step, and not used again.
        self.connection = Some(connection);
        Ok(done)
    }

    fn answer(&mut self, asked: Result<Reply, Unanswered>) -> Answer {
        let (problem, received) = match asked.map(Reply::accepted) {
            Ok(Ok(reply)) => {
                if std::mem::take(&mut self.away) {
                    say("the daemon is back");
                }
                return Answer::Reply(reply);
            }
            Ok(Err(refusal)) if !refusal.is_passing() => return Answer::Refused(refusal),
            Ok(Err(refusal)) => (refusal.to_string(), refusal.code == "outcome_unknown"),
            Err(Unanswered::Unreached(unreached @ Unreached::Shortage(_))) => {
                tell_of_shortage(&unreached);
                return Answer::Away { received: false };
            }
            Err(Unanswered::Unreached(unreached)) => (format!("the daemon is away ({unreached})"), false),
            // A connection that was closed before takes nothing.
            Err(Unanswered::Lost(error)) => (
                format!("the daemon is away ({})", lost_how(&error)),
                error.kind() != io::ErrorKind::BrokenPipe,
            ),
        };
        if !std::mem::replace(&mut self.away, true) {
            say(&format!("{}; waiting", visible(&problem)));
        }
        Answer::Away { received }
    }
}

/// Says that there is no room for a connection. All workers are short of the same, so it is said once.
fn tell_of_shortage(unreached: &Unreached) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::Relaxed) {
        say(&format!("{unreached}; a worker waits until there is room"));
    }
}

/// Waits for an answer until it is due, or shortly after one of these ends can be read, or until a last one can.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when none has come.
fn await_answer(
    connection: &Connection,
    due: Instant,
    ends: &[BorrowedFd<'_>],
    last: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let answered = comes(connection, ends, due)
        || (Instant::now() < due && comes(connection, last, Instant::now() + ON_ITS_WAY));
    if answered { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
}

/// Whether an answer comes before the deadline, and before any of these ends can be read.
fn comes(connection: &Connection, ends: &[BorrowedFd<'_>], deadline: Instant) -> bool {
    let watched = [&[connection.as_fd()], ends].concat();
    loop {
        let ready = wait_for(&watched, deadline);
        if ready.contains(&true) || Instant::now() >= deadline {
            return ready.first() == Some(&true);
        }
    }
}
