//! The thread that reads the input and sends it.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::lines::{Converted, Converter};
use super::{Passed, Sent, Whole};
use crate::client::ahead::{LinesAhead, Next};

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
    let lines = LinesAhead::new(input, stream);
    let mut sending = Sending { lines, converter, pass, tokens, end: 0, ended: true };
    let ended = loop {
        if stop.load(Ordering::Relaxed) {
            break Ok(());
        }
        match sending.next(skipped) {
            Ok(Step::Sent) => {}
            Ok(Step::End) => break Ok(()),
            Ok(Step::Unwanted) => return,
            Err(error) => break Err(error),
        }
    };
    // Whoever reads the replies notices when the connection is lost.
    sending.lines.flush();
    let lines = sending.lines.number();
    let _ =
        pass.send(Passed::End(ended.map(|()| Whole { lines, left_out: sending.converter.into_left_out() })));
}

/// What became of one line.
enum Step {
    /// It is on its way, or was passed over.
    Sent,
    /// There was none.
    End,
    /// Nobody wants to know.
    Unwanted,
}

struct Sending<'a> {
    lines: LinesAhead<'a, Box<dyn Read + Send>>,
    converter: Converter,
    pass: &'a Sender<Passed>,
    tokens: &'a Receiver<Option<String>>,
    /// The byte of the input that the last line ends at.
    end: u64,
    /// Whether it ends with a line feed, and so will not grow.
    ended: bool,
}

impl Sending<'_> {
    /// Reads one line and sends it.
    fn next(&mut self, skipped: u64) -> io::Result<Step> {
        let (number, line) = match self.lines.read()? {
            Next::Line(number, line) => (number, line),
            Next::End => return Ok(Step::End),
            Next::Gone => return Ok(Step::Unwanted),
        };
        self.end += line.len() as u64;
        self.ended = line.ends_with(b"\n");
        let skip = number <= skipped;
        // An application that was made before the import was cut off is asked for again: its key
        // makes that harmless, and its token is needed for the lines behind it.
        if skip && memchr::memmem::find(line, b"\"app.create\"").is_none() {
            return Ok(Step::Sent);
        }
        match self.converter.convert(line, number) {
            Converted::App(request, token) => Ok(self.send_app(&request, &token)),
            Converted::Blank => Ok(Step::Sent),
            _ if skip => Ok(Step::Sent),
            Converted::Bad(problem) => Ok(self.tell(Sent::Nothing(problem))),
            Converted::Request(request) => Ok(self.send(&request, Sent::Request)),
        }
    }

    /// Sends a request that makes an application, and waits for the token that it gets.
    fn send_app(&mut self, request: &str, token: &str) -> Step {
        if matches!(self.send(request, Sent::App), Step::Unwanted) || !self.lines.flush() {
            return Step::Unwanted;
        }
        match self.tokens.recv() {
            Ok(Some(new)) => self.converter.rename_app(token, &new),
            // It was refused, and so the requests for it will be.
            Ok(None) => {}
            Err(_) => return Step::Unwanted,
        }
        Step::Sent
    }

    fn send(&mut self, request: &str, what: Sent) -> Step {
        if self.lines.send(request.as_bytes()) { self.tell(what) } else { Step::Unwanted }
    }

    fn tell(&mut self, what: Sent) -> Step {
        let (number, end, ended) = (self.lines.number(), self.end, self.ended);
        self.pass(Passed::Line { number, end, ended, what })
    }

    /// Tells of a line. Before this waits, everything that was written is sent: the replies to it
    /// are what makes room.
    fn pass(&mut self, passed: Passed) -> Step {
        let passed = match self.pass.try_send(passed) {
            Ok(()) => return Step::Sent,
            Err(TrySendError::Disconnected(_)) => return Step::Unwanted,
            Err(TrySendError::Full(passed)) => passed,
        };
        let sent = self.lines.flush() && self.pass.send(passed).is_ok();
        if sent { Step::Sent } else { Step::Unwanted }
    }
}
