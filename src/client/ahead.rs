//! Lines of the input, sent ahead of their replies.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;

use crate::limits::LINE_BYTES_MAX;

/// Bytes read and written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What some programs begin a file in UTF-8 with. It belongs to no line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The input, line by line, and the connection that goes out for it.
pub struct LinesAhead<'a, R> {
    input: BufReader<R>,
    out: BufWriter<&'a UnixStream>,
    line: Vec<u8>,
    number: u64,
}

/// What the input has next.
pub enum Next<'a> {
    /// A line with its number, counted from 1, and with the line feed that ends it. Only the last line of
    /// all may have none.
    Line(u64, &'a [u8]),
    /// Nothing more.
    End,
    /// Whatever it is, the daemon has left. Whoever reads the replies notices that too.
    Gone,
}

impl<'a, R: Read> LinesAhead<'a, R> {
    /// Nothing read and nothing sent yet.
    pub fn new(input: R, stream: &'a UnixStream) -> Self {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        let out = BufWriter::with_capacity(BUFFER_BYTES, stream);
        LinesAhead { input, out, line: Vec::new(), number: 0 }
    }

    /// Reads the next line. Nothing is held back while the input makes itself wait.
    ///
    /// # Errors
    /// The input cannot be read, or a line in it is longer than the longest that any daemon takes: what
    /// never ends must not fill the memory.
    pub fn read(&mut self) -> io::Result<Next<'_>> {
        if memchr::memchr(b'\n', self.input.buffer()).is_none() && self.out.flush().is_err() {
            return Ok(Next::Gone);
        }
        self.line.clear();
        // One byte more than the longest line, and its end.
        let most = LINE_BYTES_MAX as u64 + 2;
        if self.input.by_ref().take(most).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(Next::End);
        }
        self.number += 1;
        if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        if self.line.len() > LINE_BYTES_MAX && self.line.last() != Some(&b'\n') {
            let (number, most) = (self.number, LINE_BYTES_MAX >> 20);
            let text = format!("line {number} is longer than {most} MiB, which no daemon takes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(Next::Line(self.number, &self.line))
    }

    /// The number of the line that was read last: how many there are, at the end.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Sends a line; the line feed is added where it has none. Whether the daemon is still there.
    pub fn send(&mut self, line: &[u8]) -> bool {
        let end: &[u8] = if line.last() == Some(&b'\n') { b"" } else { b"\n" };
        self.out.write_all(line).and_then(|()| self.out.write_all(end)).is_ok()
    }

    /// Sends the line that was read last, as it is. Whether the daemon is still there.
    pub fn send_on(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        let sent = self.send(&line);
        self.line = line;
        sent
    }

    /// Hands everything on. Whether the daemon is still there.
    pub fn flush(&mut self) -> bool {
        self.out.flush().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_behind_a_mark_of_the_byte_order_keep_their_ends_and_are_counted() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut lines = LinesAhead::new(b"\xef\xbb\xbfone\n\nlast".as_slice(), &ours);
        for (number, expected) in (1..).zip(["one\n", "\n", "last"]) {
            let Next::Line(count, line) = lines.read().unwrap() else { panic!("no line {number}") };
            assert_eq!((count, line), (number, expected.as_bytes()));
            assert!(lines.send_on());
        }
        assert!(matches!(lines.read().unwrap(), Next::End));
        assert_eq!(lines.number(), 3);
        let mut sent = [0; 10];
        theirs.read_exact(&mut sent).unwrap();
        assert_eq!(&sent, b"one\n\nlast\n");
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut lines = LinesAhead::new(io::repeat(b'x'), &ours);
        let Err(error) = lines.read() else { panic!("it has an end") };
        assert_eq!(error.to_string(), "line 1 is longer than 64 MiB, which no daemon takes");
        assert!(lines.line.capacity() < 3 * LINE_BYTES_MAX);
    }
}
