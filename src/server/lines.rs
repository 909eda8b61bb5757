//! Cuts what a client sends into lines.

use super::replies::{KEPT_BYTES, held};
use crate::json::is_white_space;

/// What comes next out of the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A line that is not blank, without its line feed and carriage return.
    Line(&'a [u8]),
    /// A line was longer than the limit. It is skipped to its end; this is said once.
    TooLong,
    /// More bytes are needed.
    Nothing,
}

/// Bytes received and not yet used.
#[derive(Debug, Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Bytes before this are used.
    start: usize,
    /// Bytes before this hold no line feed.
    scanned: usize,
    skipping: bool,
    ended: bool,
}

/// A buffer larger than this is given back though a little of it is in use.
const LARGE_BYTES: usize = 8 * KEPT_BYTES;

impl Lines {
    /// Takes bytes that came.
    pub fn push(&mut self, bytes: &[u8]) {
        // No more is moved than was used.
        if self.start > 0 && self.start >= self.held() {
            self.bytes.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// No more bytes will come: what is left is the last line.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Drops a last line whose end did not come.
    pub fn drop_unfinished(&mut self) {
        let end =
            memchr::memrchr(b'\n', &self.bytes[self.start..]).map_or(self.start, |end| self.start + end + 1);
        self.bytes.truncate(end);
        self.scanned = self.scanned.min(end);
    }

    /// Bytes held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether some was not looked at yet: lines that must wait.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.scanned < self.bytes.len()
    }

    /// Bytes of memory that they take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        held(&self.bytes, self.held())
    }

    /// Gives memory back when little of it is in use.
    pub fn shrink(&mut self) {
        let (used, room) = (self.held(), self.bytes.capacity());
        if used > 0 && (room <= LARGE_BYTES || used > room / 4) {
            return;
        }
        self.bytes.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        if room > KEPT_BYTES {
            self.bytes.shrink_to_fit();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Lines { ended: self.ended, ..Lines::default() };
    }

    /// Takes the next line of at most `line_bytes_max` bytes out.
    pub fn next(&mut self, line_bytes_max: usize) -> Next<'_> {
        loop {
            let found = memchr::memchr(b'\n', &self.bytes[self.scanned..]).map(|place| self.scanned + place);
            let (start, end) = if let Some(end) = found {
                let start = self.start;
                (self.start, self.scanned) = (end + 1, end + 1);
                (start, end)
            } else {
                self.scanned = self.bytes.len();
                let held = self.held();
                if self.skipping || held > line_bytes_max {
                    self.start = self.bytes.len();
                    let said = std::mem::replace(&mut self.skipping, true);
                    return if said { Next::Nothing } else { Next::TooLong };
                }
                if !self.ended || held == 0 {
                    return Next::Nothing;
                }
                let start = self.start;
                self.start = self.bytes.len();
                (start, self.start)
            };
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if end - start > line_bytes_max {
                return Next::TooLong;
            }
            let line = &self.bytes[start..end];
            // A line of anything else has to be answered, if only with an error.
            if line.iter().all(|byte| is_white_space(*byte)) {
                continue;
            }
            let length = line.strip_suffix(b"\r").unwrap_or(line).len();
            return Next::Line(&self.bytes[start..start + length]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(lines: &mut Lines, limit: usize) -> Vec<Option<Vec<u8>>> {
        let mut found = Vec::new();
        loop {
            match lines.next(limit) {
                Next::Line(line) => found.push(Some(line.to_vec())),
                Next::TooLong => found.push(None),
                Next::Nothing => return found,
            }
        }
    }

    fn line(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_end_with_a_line_feed_or_both_and_blank_ones_are_skipped() {
        let mut lines = Lines::default();
        lines.push(b"one\r\n\n  \t\r\ntwo\nthr");
        assert_eq!(all(&mut lines, 10), [line("one"), line("two")]);
        lines.push(b"ee");
        assert_eq!(all(&mut lines, 10), []);
        lines.end();
        assert_eq!(all(&mut lines, 10), [line("three")]);
        assert_eq!(all(&mut lines, 10), []);
    }

    #[test]
    fn a_line_over_the_limit_is_said_once_and_skipped_to_its_end() {
        let mut lines = Lines::default();
        for _ in 0..5 {
            lines.push(b"0123456789");
        }
        assert_eq!(all(&mut lines, 10), [None]);
        assert_eq!(lines.held(), 0);
        lines.push(b"still the same\nnext\n");
        assert_eq!(all(&mut lines, 10), [line("next")]);
        lines.push(b"0123456789\n01234567890\nx\n");
        assert_eq!(all(&mut lines, 10), [line("0123456789"), None, line("x")]);
        lines.push(b"01234567890123");
        assert_eq!(all(&mut lines, 10), [None]);
        lines.end();
        assert_eq!(all(&mut lines, 10), []);
    }

    #[test]
    fn a_line_whose_end_did_not_come_can_be_dropped() {
        let mut lines = Lines::default();
        lines.push(b"one\ntwo\nthr");
        assert_eq!(lines.next(10), Next::Line(b"one"));
        lines.drop_unfinished();
        assert_eq!(all(&mut lines, 10), [line("two")]);
        assert_eq!(lines.held(), 0);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(
            bytes in prop::collection::vec(prop::sample::select(b"ab \r\n".to_vec()), 0..80),
            cuts in prop::collection::vec(0_usize..80, 0..6),
        ) {
            let mut whole = Lines::default();
            whole.push(&bytes);
            whole.end();
            let expected = all(&mut whole, 5);
            let mut places: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let mut pieces = Lines::default();
            let mut found = Vec::new();
            for pair in places.windows(2) {
                pieces.push(&bytes[pair[0]..pair[1]]);
                found.extend(all(&mut pieces, 5));
            }
            pieces.end();
            found.extend(all(&mut pieces, 5));
            prop_assert_eq!(found, expected);
        }
    }
}
