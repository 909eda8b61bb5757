//! Keeps the replies of a connection in the order of its requests.

use std::collections::VecDeque;

/// A request that was begun.
#[derive(Debug)]
struct Slot {
    id: Option<String>,
    /// The reply's line, once it is there.
    line: Option<Vec<u8>>,
    /// What the request holds until then.
    bytes: usize,
    /// What its reply may bring.
    expected: usize,
}

/// Replies that are due, and bytes to send.
#[derive(Debug, Default)]
pub struct Replies {
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u64,
    output: Vec<u8>,
    sent: usize,
    /// Whether the last byte that was sent is inside a line.
    inside: bool,
    waiting_bytes: usize,
    expected_bytes: usize,
}

/// A buffer larger than this is given back when it is empty, and counts whole before.
pub(super) const KEPT_BYTES: usize = 16 << 10;

/// What a buffer with so many bytes in use counts for.
pub(super) fn held(buffer: &Vec<u8>, used: usize) -> usize {
    if buffer.capacity() > KEPT_BYTES { buffer.capacity() } else { used }
}

/// What a reply has around its fields, but for its `id`.
const FRAME_BYTES: usize = "{\"ok\":true,\"id\":}\n".len();

impl Replies {
    /// A request was begun: its number on the connection.
    pub fn begin(&mut self, id: Option<String>, bytes: usize) -> u64 {
        self.slots.push_back(Slot { id, line: None, bytes, expected: 0 });
        self.waiting_bytes += bytes;
        self.first + self.slots.len() as u64 - 1
    }

    /// The reply to the request that was begun last may bring so many bytes.
    pub fn await_bytes(&mut self, bytes: usize) {
        if let Some(slot) = self.slots.back_mut() {
            slot.expected += bytes;
            self.expected_bytes += bytes;
        }
    }

    /// Whether the reply to a request was said to bring something.
    #[must_use]
    pub fn expects(&self, number: u64) -> bool {
        self.slot(number).is_some_and(|slot| slot.expected > 0)
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The `id` of a request that was begun.
    #[must_use]
    pub fn id(&self, number: u64) -> Option<&str> {
        self.slot(number)?.id.as_deref()
    }

    /// Takes the reply to a request: `write` appends its line, some more than `bytes` long, given the request's
    /// `id`.
    pub fn answer(&mut self, number: u64, bytes: usize, write: impl FnOnce(&mut Vec<u8>, Option<&str>)) {
        let Some(place) = number.checked_sub(self.first).and_then(|place| usize::try_from(place).ok()) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(place) else { return };
        self.waiting_bytes -= std::mem::take(&mut slot.bytes);
        self.expected_bytes -= std::mem::take(&mut slot.expected);
        // A buffer that grows by itself may take twice what is in it.
        let bytes = bytes + FRAME_BYTES + slot.id.as_ref().map_or(0, String::len);
        if place == 0 {
            self.output.reserve(bytes);
            write(&mut self.output, slot.id.as_deref());
            self.slots.pop_front();
            self.first += 1;
            while let Some(line) = self.slots.front_mut().and_then(|slot| slot.line.take()) {
                self.waiting_bytes -= line.len();
                self.output.extend_from_slice(&line);
                self.slots.pop_front();
                self.first += 1;
            }
        } else {
            let mut line = Vec::with_capacity(bytes);
            write(&mut line, slot.id.as_deref());
            self.waiting_bytes += line.len();
            slot.line = Some(line);
        }
    }

    /// Appends bytes that answer no request.
    pub fn push(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Requests that were begun and whose replies are not in the output yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of requests begun and of replies that wait for earlier ones.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes that replies may bring which are not there yet, as far as that was said.
    #[must_use]
    pub fn expected_bytes(&self) -> usize {
        self.expected_bytes
    }

    /// Bytes to send now.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// So many bytes were sent.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        if count > 0 {
            self.inside = self.output.get(self.sent - 1) != Some(&b'\n');
        }
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
            if self.output.capacity() > KEPT_BYTES {
                self.output = Vec::new();
            }
        } else if self.sent >= KEPT_BYTES && self.sent >= self.output.len() / 2 {
            self.keep(self.output().len());
        }
    }

    /// Keeps only so many of the bytes to send, in memory of their own.
    fn keep(&mut self, count: usize) {
        self.output = self.output[self.sent..self.sent + count].to_vec();
        self.sent = 0;
    }

    /// Bytes of memory that the bytes to send take.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        held(&self.output, self.output().len())
    }

    /// Drops the bytes to send.
    pub fn abandon_output(&mut self) {
        self.sent(self.output().len());
    }

    /// Drops all that is due, but for the line that is sent in part.
    pub fn abandon(&mut self) {
        let keep = match memchr::memchr(b'\n', self.output()) {
            Some(end) if self.inside => end + 1,
            _ => 0,
        };
        self.keep(keep);
        self.first += self.slots.len() as u64;
        self.slots.clear();
        (self.waiting_bytes, self.expected_bytes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(replies: &mut Replies, number: u64, text: &str) {
        replies.answer(number, text.len(), |out, id| {
            out.extend_from_slice(id.unwrap_or("-").as_bytes());
            out.extend_from_slice(text.as_bytes());
            out.push(b'\n');
        });
    }

    #[test]
    fn replies_leave_in_the_order_of_the_requests() {
        let mut replies = Replies::default();
        for id in ["a", "b", "c"] {
            replies.begin(Some(id.to_owned()), 10);
        }
        say(&mut replies, 2, "3");
        say(&mut replies, 1, "2");
        assert_eq!(replies.output(), b"");
        assert_eq!(replies.waiting_bytes(), 10 + 3 + 3);
        say(&mut replies, 0, "1");
        assert_eq!(replies.output(), b"a1\nb2\nc3\n");
        assert_eq!((replies.waiting(), replies.waiting_bytes()), (0, 0));
        replies.sent(9);
        assert_eq!(replies.begin(None, 0), 3);
        say(&mut replies, 3, "4");
        assert_eq!(replies.output(), b"-4\n");
    }

    #[test]
    fn abandoning_keeps_the_line_that_was_sent_in_part() {
        let mut replies = Replies::default();
        replies.push(b"first\nsecond\nthird\n");
        replies.sent(8);
        replies.begin(None, 5);
        replies.abandon();
        assert_eq!(replies.output(), b"cond\n");
        assert_eq!(replies.waiting(), 0);
        replies.sent(5);
        replies.push(b"whole\n");
        replies.abandon();
        assert_eq!(replies.output(), b"");
        replies.push(&[&[b'x'; 3 * KEPT_BYTES], b"\nnext\n".as_slice()].concat());
        replies.sent(2 * KEPT_BYTES);
        assert!(replies.held_bytes() <= KEPT_BYTES + 6, "{}", replies.held_bytes());
        replies.abandon();
        assert_eq!(replies.output().len(), KEPT_BYTES + 1, "the rest of its line");
    }
}
