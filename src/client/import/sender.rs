//! The thread that reads the input and sends it.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::lines::{Converted, Converter};
use super::{Passed, Sent};

/// Bytes read and written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What the sender works with.
pub struct Task<'a> {
    /// Where the lines come from.
    pub input: Box<dyn Read + Send>,
    /// Where the requests go.
    pub stream: &'a UnixStream,
    /// Makes the ones from the others.
    pub converter: Converter,
    /// Who waits for the replies.
    pub pass: &'a Sender<Passed>,
    /// Who tells the tokens of applications that were made, nothing for one that was refused.
    pub tokens: &'a Receiver<Option<String>>,
    /// How many lines to pass over.
    pub skipped: u64,
    /// Whether to stop.
    pub stop: &'a AtomicBool,
}

/// Sends every line behind the skipped ones, until the input ends, or it is told to stop, or nobody
/// waits for the replies any more.
pub fn send(task: Task<'_>) {
    let Task { input, stream, converter, pass, tokens, skipped, stop } = task;
    let out = BufWriter::with_capacity(BUFFER_BYTES, stream);
    let mut sending = Sending { out, converter, pass, tokens, number: 0, end: 0 };
    let mut input = BufReader::with_capacity(BUFFER_BYTES, input);
    let ended = loop {
        if stop.load(Ordering::Relaxed) {
            break Ok(sending.converter.into_dropped());
        }
        match sending.next(&mut input, skipped) {
            Ok(Next::Sent) => {}
            Ok(Next::End) => break Ok(sending.converter.into_dropped()),
            Ok(Next::Unwanted) => return,
            Err(error) => break Err(error),
        }
    };
    // Whoever reads the replies notices when the connection is lost.
    let _ = sending.out.flush();
    let _ = pass.send(Passed::End(ended));
}

/// What became of one line.
enum Next {
    /// It is on its way, or was passed over.
    Sent,
    /// There was none.
    End,
    /// Nobody wants to know.
    Unwanted,
}

struct Sending<'a> {
    out: BufWriter<&'a UnixStream>,
    converter: Converter,
    pass: &'a Sender<Passed>,
    tokens: &'a Receiver<Option<String>>,
    number: u64,
    end: u64,
}

impl Sending<'_> {
    /// Reads one line and sends it.
    fn next(&mut self, input: &mut BufReader<Box<dyn Read + Send>>, skipped: u64) -> io::Result<Next> {
        // Nothing is held back while the input makes itself wait.
        if memchr::memchr(b'\n', input.buffer()).is_none() && self.out.flush().is_err() {
            return Ok(Next::Unwanted);
        }
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(Next::End);
        }
        self.number += 1;
        self.end += line.len() as u64;
        let skip = self.number <= skipped;
        // An application that was made before the import was cut off is asked for again: its key
        // makes that harmless, and its token is needed for the lines behind it.
        if skip && memchr::memmem::find(&line, b"\"app.create\"").is_none() {
            return Ok(Next::Sent);
        }
        match self.converter.convert(&line, self.number) {
            Converted::App(request, token) => Ok(self.send_app(&request, &token)),
            Converted::Blank => Ok(Next::Sent),
            _ if skip => Ok(Next::Sent),
            Converted::Bad(problem) => Ok(self.tell(Sent::Nothing(problem))),
            Converted::Request(request) => Ok(self.send(&request, Sent::Request)),
        }
    }

    /// Sends a request that makes an application, and waits for the token that it gets.
    fn send_app(&mut self, request: &str, token: &str) -> Next {
        if matches!(self.send(request, Sent::App), Next::Unwanted) || self.out.flush().is_err() {
            return Next::Unwanted;
        }
        match self.tokens.recv() {
            Ok(Some(new)) => self.converter.rename_app(token, &new),
            // It was refused, and so the requests for it will be.
            Ok(None) => {}
            Err(_) => return Next::Unwanted,
        }
        Next::Sent
    }

    fn send(&mut self, request: &str, what: Sent) -> Next {
        let sent = self.out.write_all(request.as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        if sent.is_ok() { self.tell(what) } else { Next::Unwanted }
    }

    fn tell(&mut self, what: Sent) -> Next {
        self.pass(Passed::Line { number: self.number, end: self.end, what })
    }

    /// Tells of a line. Before this waits, everything that was written is sent: the replies to it
    /// are what makes room.
    fn pass(&mut self, passed: Passed) -> Next {
        let passed = match self.pass.try_send(passed) {
            Ok(()) => return Next::Sent,
            Err(TrySendError::Disconnected(_)) => return Next::Unwanted,
            Err(TrySendError::Full(passed)) => passed,
        };
        let sent = self.out.flush().is_ok() && self.pass.send(passed).is_ok();
        if sent { Next::Sent } else { Next::Unwanted }
    }
}
