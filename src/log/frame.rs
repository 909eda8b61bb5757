//! The log's format on disk, version 1.
//!
//! ```text
//! line:   8 hex digits, a space, JSON, a line feed; the digits are the CRC-32 of the JSON
//! frame:  a header line, then the lines of its events, in order of seq
//! header: {"v":1,"first":7,"last":9,"prev":6,"synced":6,"bytes":412}
//! event:  {"seq":7,"at":"2026-01-31T12:00:00.000000Z","type":"kv.set","uid":1000, ...}
//! ```
//!
//! A frame is a batch: all of its events happened or none. `first` and `last` are its seqs, `prev` is
//! the last seq of the frame before, `bytes` the length of its event lines. `synced` is the last
//! seq that was surely on disk before this frame was written. So when a frame is damaged and a
//! later one says that it had been synced, acknowledged data is lost, and the start says so; when
//! none does, the frame may be the torn end of what nobody was told yes for.
//!
//! Segments are files `<first seq, 20 digits>.log` of whole frames. The newest may end in zero bytes:
//! room made ahead, so that a sync need not change the file's size. Text holds no zero byte. When a
//! segment is sealed its end is cut and synced before the next one is made.
//!
//! A part of the log that was compacted lies in segments `<first seq, 20 digits>-<generation>.log`
//! that `compacted` names. There a frame covers seqs of events that are gone, and may hold none.
//!
//! What we assume of the disk: what fdatasync confirmed stays; a write that was not confirmed may
//! be there, or not, or in part by blocks of 512 bytes, in any order; a block that was never
//! written reads as zeros.
//!
//! History: version 1, the first.

use serde::Deserialize;

use crate::json::fields::write_number;

/// The version that this program writes, and the only one it reads.
pub const VERSION: u64 = 1;
/// Bytes of a line before its JSON.
pub const CHECKSUM_BYTES: usize = 9;

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub v: u64,
    /// The first seq.
    pub first: u64,
    /// The last seq.
    pub last: u64,
    /// The last seq of the frame before.
    pub prev: u64,
    /// The last seq that was on disk before this frame was written.
    pub synced: u64,
    /// Length of the event lines that follow, in bytes.
    pub bytes: u64,
}

/// Appends a line whose JSON `write` appends.
pub fn write_line(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(b"00000000 ");
    write(out);
    let checksum = crc32fast::hash(&out[start + CHECKSUM_BYTES..]);
    for (place, digit) in out[start..start + 8].iter_mut().enumerate() {
        let nibble = checksum >> (28 - 4 * place) & 15;
        *digit = b"0123456789abcdef"[nibble as usize];
    }
    out.push(b'\n');
}

impl Header {
    /// Whether there can be such a frame: nothing comes behind the largest number there is.
    #[must_use]
    pub fn is_sane(&self) -> bool {
        self.first <= self.last && self.last < u64::MAX
    }

    /// Appends the header's line.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Header { v, first, last, prev, synced, bytes } = *self;
        write_line(out, |out| {
            let fields = [
                ("v", v),
                ("first", first),
                ("last", last),
                ("prev", prev),
                ("synced", synced),
                ("bytes", bytes),
            ];
            for (place, (name, value)) in fields.into_iter().enumerate() {
                out.extend_from_slice(if place == 0 { b"{\"" } else { b",\"" });
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                write_number(out, value);
            }
            out.push(b'}');
        });
    }

    /// Reads a header from the JSON of a line.
    #[must_use]
    pub fn read(json: &[u8]) -> Option<Self> {
        if !json.starts_with(b"{\"v\":") {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}

/// The lines of a batch, and room before them for the header, which is known last: so what is written lies in one
/// piece.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// Nothing at all, or the room and the lines.
    bytes: Vec<u8>,
}

/// Room for a header. None is longer.
pub const HEADER_ROOM: usize = 192;

impl Frame {
    /// Begins anew, with the memory that it has.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Bytes of memory that it has.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn make_room(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.resize(HEADER_ROOM, 0);
        }
    }

    /// Adds a line with this JSON. Answers where it begins among the lines.
    pub fn add(&mut self, json: &[u8]) -> usize {
        self.make_room();
        let start = self.bytes.len() - HEADER_ROOM;
        write_line(&mut self.bytes, |out| out.extend_from_slice(json));
        start
    }

    /// Its lines.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        self.bytes.get(HEADER_ROOM..).unwrap_or_default()
    }

    /// Puts a header before the lines. Answers both, as they are to be written.
    pub fn close(&mut self, header: &Header) -> &[u8] {
        let mut line = Vec::with_capacity(HEADER_ROOM);
        header.write(&mut line);
        self.make_room();
        let start = HEADER_ROOM - line.len();
        self.bytes[start..HEADER_ROOM].copy_from_slice(&line);
        &self.bytes[start..]
    }
}

/// The JSON of a line (without its line feed) whose checksum holds. `None` when it does not.
#[must_use]
pub fn check_line(line: &[u8]) -> Option<&[u8]> {
    let (digits, json) = line.split_at_checked(CHECKSUM_BYTES)?;
    let mut checksum = 0_u32;
    for digit in digits.get(..8)? {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        checksum = checksum << 4 | u32::from(nibble);
    }
    (digits.get(8) == Some(&b' ') && crc32fast::hash(json) == checksum).then_some(json)
}

/// The seq that an event's JSON begins with.
#[must_use]
pub fn seq_of(json: &[u8]) -> Option<u64> {
    let digits = json.strip_prefix(b"{\"seq\":")?;
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits.get(length) != Some(&b',') {
        return None;
    }
    std::str::from_utf8(digits.get(..length)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_reads_back() {
        let header = Header { v: 1, first: 7, last: 9, prev: 6, synced: 6, bytes: 412 };
        let mut line = Vec::new();
        header.write(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        assert_eq!(check_line(&line).and_then(Header::read), Some(header));
    }

    #[test]
    fn a_frame_is_its_header_and_its_lines_and_may_begin_anew() {
        let mut frame = Frame::default();
        for (last, lines) in [(7, "1c1ff3b5 {\"seq\":7}\n"), (8, "")] {
            assert_eq!(frame.lines(), b"");
            if last == 7 {
                assert_eq!((frame.add(b"{\"seq\":7}"), frame.lines().len()), (0, lines.len()));
            }
            let bytes = frame.lines().len() as u64;
            let header = Header { v: 1, first: last, last, prev: last - 1, synced: 0, bytes };
            let mut expected = Vec::new();
            header.write(&mut expected);
            expected.extend_from_slice(frame.lines());
            assert_eq!(frame.close(&header), expected);
            frame.clear();
        }
        assert_eq!((frame.add(b"{}"), frame.add(b"{}")), (0, 12));
    }

    #[test]
    fn the_longest_header_has_room() {
        let most = u64::MAX;
        let header = Header { v: VERSION, first: most, last: most, prev: most, synced: most, bytes: most };
        let mut line = Vec::new();
        header.write(&mut line);
        assert_eq!(Frame::default().close(&header), line);
    }

    proptest! {
        #[test]
        fn a_line_with_one_flipped_bit_fails(json in "[ -~]{0,80}", bit in 0_usize..700) {
            let mut line = Vec::new();
            write_line(&mut line, |out| out.extend_from_slice(json.as_bytes()));
            line.pop();
            prop_assert_eq!(check_line(&line), Some(json.as_bytes()));
            let bit = bit % (line.len() * 8);
            line[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(check_line(&line), None);
        }
    }

    #[test]
    fn the_seq_stands_first() {
        assert_eq!(seq_of(b"{\"seq\":12,\"at\":\"\"}"), Some(12));
        for wrong in [&b"{\"seq\":12"[..], b"{\"seq\":,", b"{\"at\":1}", b""] {
            assert_eq!(seq_of(wrong), None);
        }
    }
}
