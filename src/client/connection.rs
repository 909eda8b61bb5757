//! Speaking lines with the daemon.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::failure::{Failure, Result, say};
use super::reply::Reply;
use super::waiting;

/// Large enough that many pipelined replies come in one read.
const BUFFER_BYTES: usize = 64 << 10;

/// An answer that needs no waiting and takes longer is worth a word.
pub const SILENCE: Duration = Duration::from_secs(3);

/// One connection to the daemon.
#[derive(Debug)]
pub struct Connection {
    input: BufReader<UnixStream>,
    path: PathBuf,
    /// How long the daemon may take to answer; nothing for as long as it likes.
    timeout: Option<Duration>,
}

impl Connection {
    /// One that was just made, to this socket. With a timeout, reading and writing fail when nothing moves for so
    /// long.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(stream: UnixStream, path: PathBuf, timeout: Option<Duration>) -> io::Result<Self> {
        stream.set_read_timeout(timeout)?;
        stream.set_write_timeout(timeout)?;
        Ok(Connection { input: BufReader::with_capacity(BUFFER_BYTES, stream), path, timeout })
    }

    /// Sends one line.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.input.get_mut().write_all(&bytes)
    }

    /// Reads one line; `None` when the daemon has closed the connection.
    ///
    /// # Errors
    /// The connection is lost, or what came is no reply.
    pub fn receive(&mut self) -> io::Result<Option<Reply>> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        let reply = String::from_utf8(line).ok().and_then(Reply::new);
        let foreign = || io::Error::new(io::ErrorKind::InvalidData, "what answers is no msglogd");
        reply.ok_or_else(foreign).map(Some)
    }

    /// Reads one line that must come.
    ///
    /// # Errors
    /// The connection is lost, or what came is no reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        self.receive()?.ok_or_else(closed)
    }

    /// Sends a request that must succeed.
    ///
    /// # Errors
    /// The connection is lost before the reply has come, or the daemon refuses.
    pub fn accepted(&mut self, request: &str) -> Result<Reply> {
        Ok(self.ask(request).map_err(|error| Failure::lost(&error))?.accepted()?)
    }

    /// Sends a request and reads its reply.
    ///
    /// # Errors
    /// The connection is lost before the reply has come, or there is none in time.
    pub fn ask(&mut self, request: &str) -> io::Result<Reply> {
        let due = self.due(request);
        let sent = self.send(request);
        if !waiting::may_take_long(request) {
            self.tell_of_silence(SILENCE, say);
        }
        self.await_answer(due)?;
        self.reply_to(sent)
    }

    /// When the reply to a request that is sent now must have come: after the timeout, and after what the request
    /// itself lets the daemon wait.
    #[must_use]
    pub fn due(&self, request: &str) -> Option<Instant> {
        // Where there is no timeout a request need not be read.
        self.timeout.and_then(|_| self.due_after(waiting::wait_of(request)))
    }

    /// When a reply must have come that the daemon may keep back for so long.
    #[must_use]
    pub fn due_after(&self, wait: Duration) -> Option<Instant> {
        Some(Instant::now() + self.timeout? + wait)
    }

    /// How long the daemon may take to answer.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Waits until something comes. An end of the connection counts, too.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] when nothing has come by then.
    pub fn await_answer(&self, due: Option<Instant>) -> io::Result<()> {
        loop {
            let left = waiting::left(due);
            if self.answers_within(left) {
                return Ok(());
            }
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Reads the reply to what was sent so. A daemon that has no room says so and closes, whether or not it could be
    /// written to.
    ///
    /// # Errors
    /// The connection is lost before the reply has come.
    pub fn reply_to(&mut self, sent: io::Result<()>) -> io::Result<Reply> {
        match self.receive()? {
            Some(reply) => Ok(reply),
            None => sent.and(Err(closed())),
        }
    }

    /// Whether anything comes within this time. An end of the connection counts, too.
    #[must_use]
    pub fn answers_within(&self, time: Duration) -> bool {
        let timeout = Timespec::try_from(time).ok();
        let mut watched = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
        self.has_bytes() || !matches!(poll(&mut watched, timeout.as_ref()), Ok(0))
    }

    /// Says that nothing comes when nothing has come within this time: whoever waits at a socket that
    /// nobody accepts on waits for ever. It is said once in all.
    pub fn tell_of_silence(&self, time: Duration, say: impl FnOnce(&str)) {
        static SAID: AtomicBool = AtomicBool::new(false);
        // Where it is given up before, that is said instead.
        if self.timeout.is_some_and(|timeout| timeout <= SILENCE) {
            return;
        }
        if !self.answers_within(time) && !SAID.swap(true, Ordering::Relaxed) {
            say(&format!(
                "connected to {}, no answer yet: the daemon is starting, or fails and is started again \
                 (systemctl status msglogd)",
                self.path.display()
            ));
        }
    }

    /// Whether a whole line was read ahead, so that [`Connection::receive`] does not wait.
    #[must_use]
    pub fn has_line(&self) -> bool {
        memchr::memchr(b'\n', self.input.buffer()).is_some()
    }

    /// Whether anything was read ahead.
    #[must_use]
    pub fn has_bytes(&self) -> bool {
        !self.input.buffer().is_empty()
    }

    /// Makes reading and writing fail when nothing has moved for so long, or for the timeout where one was told.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_patience(&self, patience: Duration) -> io::Result<()> {
        let patience = Some(self.timeout.unwrap_or(patience));
        self.input.get_ref().set_read_timeout(patience)?;
        self.input.get_ref().set_write_timeout(patience)
    }

    /// The sending side, to be used by another thread.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub fn sender(&self) -> io::Result<UnixStream> {
        self.input.get_ref().try_clone()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.get_ref().as_fd()
    }
}

/// The daemon closed the connection where it owed a reply.
#[must_use]
pub fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed it")
}

/// Growing pauses between attempts to reach a daemon that is away.
#[derive(Debug, Clone, Copy)]
pub struct Pauses(Duration);

impl Pauses {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);

    /// Begins with a short one.
    #[must_use]
    pub fn new() -> Self {
        Pauses(Self::FIRST)
    }

    /// How long to wait now; twice as long the next time, up to a bound.
    pub fn take(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Self::LONGEST);
        now
    }
}

impl Default for Pauses {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_lets_the_daemon_wait_comes_on_top_of_the_timeout() {
        let with = |timeout| {
            let (ours, _) = UnixStream::pair().unwrap();
            Connection::new(ours, PathBuf::new(), timeout).unwrap()
        };
        let request = r#"{"cmd":"queue.reserve","queue":"q","wait_ms":60000}"#;
        let (now, hour) = (Instant::now(), Duration::from_secs(3600));
        let due = with(Some(hour)).due(request).unwrap();
        assert!(due >= now + hour + Duration::from_secs(60));
        assert!(with(Some(hour)).due("{\"cmd\":\"ping\"}").unwrap() < due);
        assert_eq!(with(None).due(request), None);
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut pauses = Pauses::new();
        let taken: Vec<u128> = (0..9).map(|_| pauses.take().as_millis()).collect();
        assert_eq!(taken, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
