//! `log follow` and `message follow`: each event once, over restarts of the daemon too.
//!
//! The seq of the last event is the cursor. A follower that asks for nothing old asks the daemon
//! for its last seq first and follows from there, so that it has a cursor before the first event. A
//! daemon whose last seq has become smaller has other data than before.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::address::{Address, Unreached};
use super::connection::{Connection, Pauses, SILENCE};
use super::failure::{Failure, Result, lost_how, say};
use super::output::Output;
use super::reply::Reply;
use super::style::visible;
use super::waiting;
use crate::json;

/// How a connection to follow on came to its end.
enum End {
    /// The daemon went away, or takes nobody for now, for this reason; it may come back.
    Lost(String),
    /// The daemon refuses for good, or nobody reads the output.
    Failed(Failure),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Lost(lost_how(&error))
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        End::Failed(failure)
    }
}

/// Follows for ever.
///
/// # Errors
/// Nobody answers at the start, the daemon refuses, or nobody reads the output any more.
pub fn follow(address: &Address, output: &mut Output, request: &str) -> Result<u8> {
    let cursor = asked_cursor(request);
    let mut follower = Follower { request, cursor, seen: 0, began: false, following: false, output };
    let mut pauses = Pauses::new();
    let mut connection = address.connect()?;
    loop {
        match follower.run(&mut connection) {
            End::Failed(failure) => return Err(failure),
            End::Lost(reason) => {
                say(&format!("waiting for the daemon ({})", visible(&reason)));
            }
        }
        follower.output.flush()?;
        // A daemon that only takes the connection is not back yet.
        if std::mem::take(&mut follower.following) {
            pauses = Pauses::new();
        }
        // Its descriptor may be the only one that there is for the next one.
        drop(connection);
        let mut told = false;
        connection = loop {
            pause(pauses.take())?;
            match address.reconnect() {
                Ok(connection) => break connection,
                Err(unreached @ Unreached::Shortage(_)) if !told => {
                    say(&format!("{unreached}; waiting until there is room"));
                    told = true;
                }
                Err(_) => {}
            }
        };
    }
}

/// The `from` of a request.
fn asked_cursor(request: &str) -> Option<u64> {
    json::as_u64(json::object(request)?.get("from")?)
}

struct Follower<'a> {
    request: &'a str,
    /// The seq to go on with, once it is known.
    cursor: Option<u64>,
    /// The last seq that the daemon was known to have.
    seen: u64,
    /// Whether any connection has come so far that it followed.
    began: bool,
    /// Whether this one has.
    following: bool,
    output: &'a mut Output,
}

impl Follower<'_> {
    /// Follows on one connection until it ends.
    fn run(&mut self, connection: &mut Connection) -> End {
        match self.begin(connection) {
            Ok(()) => {}
            Err(end) => return end,
        }
        loop {
            if let Err(end) = self.next(connection) {
                return end;
            }
        }
    }

    /// Sends the request with the cursor in it.
    fn begin(&mut self, connection: &mut Connection) -> std::result::Result<(), End> {
        let reply = self.ask(connection, r#"{"cmd":"ping"}"#)?;
        let last = self.accepted(reply)?.number("seq").unwrap_or(0);
        if last < self.seen {
            say(&format!(
                "the daemon's last event is {last}, and {} was there before: its data is older now, or other (a \
                 backup that was put back?); following from {} on",
                self.seen,
                last + 1
            ));
            self.cursor = None;
        }
        self.seen = last;
        let cursor = *self.cursor.get_or_insert(last + 1);
        let reply = self.ask(connection, &with_cursor(self.request, cursor))?;
        self.accepted(reply)?;
        self.following = true;
        if std::mem::replace(&mut self.began, true) {
            say("the daemon is back");
        }
        Ok(())
    }

    /// A line that is no refusal. A daemon that is stopping or has no room may be asked again.
    fn accepted(&mut self, reply: Reply) -> std::result::Result<Reply, End> {
        match reply.refusal() {
            None => Ok(reply),
            Some(refusal) if refusal.is_passing() => Err(End::Lost(refusal.to_string())),
            Some(refusal) => {
                self.output.refusal(&reply)?;
                Err(End::Failed(refusal.into()))
            }
        }
    }

    /// Sends a request and reads its reply, which a daemon that only takes the connection owes for ever. One that
    /// is late ends a follower that has not begun; any other one waits on.
    fn ask(&self, connection: &mut Connection, request: &str) -> std::result::Result<Reply, End> {
        let due = connection.due(request);
        let sent = connection.send(request);
        connection.tell_of_silence(SILENCE, say);
        if !connection.has_bytes() && !wait(connection, due)? {
            let late = io::Error::from(io::ErrorKind::TimedOut);
            return Err(if self.began { late.into() } else { Failure::lost(&late).into() });
        }
        Ok(connection.reply_to(sent)?)
    }

    /// Waits for one line and prints it.
    fn next(&mut self, connection: &mut Connection) -> std::result::Result<(), End> {
        if !connection.has_line() {
            self.output.flush()?;
            if !connection.has_bytes() {
                wait(connection, None)?;
            }
        }
        let line = self.accepted(connection.reply()?)?;
        let seq = line.number("seq").unwrap_or(0);
        // What was printed once is not printed again, whatever the daemon thinks of the cursor.
        if self.cursor.is_none_or(|cursor| seq >= cursor) {
            self.output.followed(self.request, &line)?;
            self.cursor = Some(seq + 1);
            self.seen = self.seen.max(seq);
        }
        Ok(())
    }
}

/// The same request from this seq on.
fn with_cursor(request: &str, cursor: u64) -> String {
    let fields = json::object(request);
    let kept = fields.iter().flat_map(json::Object::iter).filter(|(key, _)| *key != "from");
    let kept: Vec<String> = kept.map(|(key, value)| format!("\"{key}\":{value},")).collect();
    format!("{{{}\"from\":{cursor}}}", kept.concat())
}

/// Waits until the daemon says something, or until nobody reads standard output any more: a
/// follower may have nothing to write for hours, and must not outlive the pipe that it is for. Whether
/// something came before it was due.
///
/// # Errors
/// [`Failure::OutputClosed`] when nobody reads it.
pub fn wait(connection: &Connection, due: Option<Instant>) -> Result<bool> {
    let stdout = io::stdout();
    loop {
        let left = Timespec::try_from(waiting::left(due)).ok();
        let mut watched = [
            PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut watched, left.as_ref()) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(Failure::lost(&error.into())),
            Ok(_) if has_no_reader(watched[1].revents()) => return Err(Failure::OutputClosed),
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
        }
    }
}

/// Waits so long, or until nobody reads standard output any more.
///
/// # Errors
/// [`Failure::OutputClosed`] when nobody reads it.
fn pause(time: Duration) -> Result<()> {
    let stdout = io::stdout();
    let deadline = Instant::now() + time;
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
        let mut watched = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
        match poll(&mut watched, left.as_ref()) {
            Ok(0) => return Ok(()),
            Ok(_) if has_no_reader(watched[0].revents()) => return Err(Failure::OutputClosed),
            Err(Errno::INTR) => {}
            // Nothing can be waited for; at least do not spin.
            Ok(_) | Err(_) => {
                std::thread::sleep(time);
                return Ok(());
            }
        }
    }
}

/// Whether this says that standard output is read no more. A pipe tells it by an error; a socket, which is what
/// some programs give to those that they start, by its end.
fn has_no_reader(events: PollFlags) -> bool {
    events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_takes_the_place_of_from() {
        let request = r#"{"cmd":"log.follow","from":1,"types":["kv.set"]}"#;
        assert_eq!(asked_cursor(request), Some(1));
        assert_eq!(with_cursor(request, 7), r#"{"cmd":"log.follow","types":["kv.set"],"from":7}"#);
        assert_eq!(asked_cursor(r#"{"cmd":"log.follow"}"#), None);
    }
}
