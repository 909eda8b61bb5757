//! What a crash leaves of the last frame, and how that is told from damage.

use super::frame::{Header, check_line};

/// Bytes that reach a disk in one piece.
const SECTOR_BYTES: u64 = 512;

/// Whether `rest`, which begins at `place` of the newest segment behind the event `last` and is no
/// good frame, is the torn end of the log: nobody was told yes for it.
#[must_use]
pub fn is_torn(rest: &[u8], place: u64, last: u64) -> bool {
    let text = rest.iter().rposition(|byte| *byte != 0).map_or(0, |end| end + 1);
    // A later frame that says this one was on disk proves damage.
    let proves =
        |line: &[u8]| check_line(line).and_then(Header::read).is_some_and(|header| header.synced > last);
    if rest[..text].split(|byte| *byte == b'\n').any(proves) {
        return false;
    }
    let header_end = memchr::memchr(b'\n', rest);
    let header = header_end.and_then(|end| check_line(&rest[..end])).and_then(Header::read);
    let end = match (header, header_end) {
        (Some(header), Some(end)) => {
            (end + 1).saturating_add(usize::try_from(header.bytes).unwrap_or(usize::MAX))
        }
        // Without a header the frame reaches as far as there is text.
        _ => text,
    };
    let Some(frame) = rest.get(..end) else { return true };
    let ends_inside = header.is_none() && frame.last() != Some(&b'\n');
    ends_inside || frame.last() == Some(&0) || has_zero_sector(frame, place)
}

/// Whether an aligned block of 512 bytes of a frame that begins at `place` is all zeros.
fn has_zero_sector(frame: &[u8], place: u64) -> bool {
    let skip = usize::try_from((SECTOR_BYTES - place % SECTOR_BYTES) % SECTOR_BYTES).unwrap_or(0);
    // The block that the frame begins in was synced with the frame before; what the frame adds to
    // it may be lost as well.
    if skip > 0 && frame.iter().take(skip).all(|byte| *byte == 0) {
        return true;
    }
    let sectors = frame.get(skip..).unwrap_or_default();
    sectors
        .chunks_exact(usize::try_from(SECTOR_BYTES).unwrap_or(512))
        .any(|sector| sector.iter().all(|byte| *byte == 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frame::{VERSION, write_line};

    /// A frame of the events behind `prev` up to `last`.
    fn frame(prev: u64, last: u64, synced: u64) -> Vec<u8> {
        let mut lines = Vec::new();
        for seq in prev + 1..=last {
            write_line(&mut lines, |out| {
                out.extend_from_slice(format!("{{\"seq\":{seq},\"at\":\"\"}}").as_bytes())
            });
        }
        let mut out = Vec::new();
        let bytes = lines.len() as u64;
        Header { v: VERSION, first: prev + 1, last, prev, synced, bytes }.write(&mut out);
        out.extend_from_slice(&lines);
        out
    }

    #[test]
    fn a_frame_that_is_not_whole_is_torn_only_where_a_crash_leaves_it_so() {
        let mut whole = frame(2, 40, 2);
        let place = 100;
        assert!(!is_torn(&whole, place, 2), "all of it is there");
        let middle = whole.len() / 2;
        whole[middle] ^= 1;
        assert!(!is_torn(&whole, place, 2), "a flipped bit");
        let with_zeros = |from: usize, count: usize| {
            let mut bytes = whole.clone();
            bytes[from..from + count].fill(0);
            bytes
        };
        // The blocks of the disk begin at 412, 924 and so on.
        assert!(is_torn(&with_zeros(412, 512), place, 2), "an aligned block");
        assert!(!is_torn(&with_zeros(413, 511), place, 2), "most of one");
        assert!(!is_torn(&with_zeros(400, 512), place, 2), "as many bytes of two");
        assert!(is_torn(&with_zeros(0, 412), place, 2), "what the frame added to the block it begins in");
        assert!(!is_torn(&with_zeros(0, 411), place, 2), "most of that");
        assert!(!is_torn(&with_zeros(0, 412), place - 1, 2), "and a byte more of it");
        assert!(is_torn(&with_zeros(whole.len() - 1, 1), place, 2), "its last byte");
        let later = [with_zeros(412, 512), frame(40, 41, 40)].concat();
        assert!(!is_torn(&later, place, 2), "a later frame says that it was on disk");
        let beside = [with_zeros(412, 512), frame(40, 41, 2)].concat();
        assert!(is_torn(&beside, place, 2), "a later frame that was written before the sync says nothing");
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_torn() {
        let whole = frame(2, 9, 2);
        for end in 1..whole.len() {
            assert!(is_torn(&whole[..end], 0, 2), "at {end}");
        }
        let header = whole.iter().position(|byte| *byte == b'\n').expect("a header") + 1;
        let mut flipped = whole[..header].to_vec();
        flipped[30] ^= 1;
        assert!(!is_torn(&flipped, 0, 2), "a whole line that is no header");
    }
}
