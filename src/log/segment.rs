//! A segment: one file of the log. Anyone who has its handle may read it while it grows.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{check_line, seq_of};
use crate::error::{Error, Result};
use crate::storage::File;

/// One file of the log.
pub struct Segment {
    /// The seq of its first event.
    pub first: u64,
    /// Its path.
    pub path: PathBuf,
    /// Its handle.
    pub file: Arc<dyn File>,
}

/// Bytes that a read takes when nobody knows how long the record is.
const GUESS_BYTES: usize = 1024;

/// The file of the segment that begins with `first`.
#[must_use]
pub fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.log"))
}

/// The file of a segment that the compaction `generation` made.
#[must_use]
pub fn compacted_path(folder: &Path, first: u64, generation: u64) -> PathBuf {
    folder.join(format!("{first:020}-{generation}.log"))
}

/// The first seq, and which compaction made it (0: none), from a segment's file name. `None` for
/// other files.
#[must_use]
pub fn first_of(name: &str) -> Option<(u64, u64)> {
    let (digits, rest) = name.strip_suffix(".log")?.split_at_checked(20)?;
    let number = |digits: &str| {
        let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if all { digits.parse::<u64>().ok() } else { None }
    };
    let generation = if rest.is_empty() { 0 } else { number(rest.strip_prefix('-')?)? };
    Some((number(digits)?, generation))
}

impl Segment {
    /// The JSON of the event `seq`, which begins at `offset`; `next` is where the next one begins,
    /// where that is known.
    ///
    /// # Errors
    /// `corrupt` when the record fails its checksum or is another one.
    pub fn read(&self, seq: u64, offset: u64, next: Option<u64>) -> Result<Vec<u8>> {
        let mut window = Window::default();
        let json = self.locate(seq, offset, next, &mut window)?;
        window.bytes.truncate(json.end);
        window.bytes.drain(..json.start);
        Ok(window.bytes)
    }

    /// The same, out of a window that is moved there if need be: where in it the JSON lies. The window takes in
    /// what lies beside, in the direction that it was moved in before, when it was not moved far.
    ///
    /// # Errors
    /// As [`Segment::read`].
    pub fn locate(
        &self,
        seq: u64,
        offset: u64,
        next: Option<u64>,
        window: &mut Window,
    ) -> Result<Range<usize>> {
        let damaged = |what: String| Error::corrupt(self.path.display().to_string(), offset, what);
        let told = next.and_then(|next| usize::try_from(next.checked_sub(offset)?).ok());
        let mut length = told.filter(|length| *length > 0).unwrap_or(GUESS_BYTES);
        loop {
            if !window.holds(offset, length) {
                let (start, wanted) = window.place_for(offset, length);
                window
                    .move_to(self.file.as_ref(), start, wanted)
                    .map_err(|error| damaged(format!("cannot be read: {error}")))?;
            }
            let start = usize::try_from(offset - window.start).unwrap_or(usize::MAX);
            let rest = window.bytes.get(start..).unwrap_or_default();
            let Some(end) = memchr::memchr(b'\n', rest) else {
                // No line holds a zero: blocks that the disk lost are not read to their end.
                let left = self.file.length().unwrap_or(0).saturating_sub(offset);
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                if rest.len() < length || rest.len() >= left || memchr::memchr(0, rest).is_some() {
                    return Err(damaged(format!("the record of event {seq} is cut")));
                }
                length = left.min(4 * rest.len());
                continue;
            };
            let Some(json) = check_line(&rest[..end]).filter(|json| seq_of(json) == Some(seq)) else {
                return Err(damaged(format!("the record of event {seq} fails its checksum")));
            };
            return Ok(start + end - json.len()..start + end);
        }
    }
}

/// A piece of a segment that was read.
#[derive(Debug, Default)]
pub struct Window {
    start: u64,
    bytes: Vec<u8>,
}

/// What is taken in beside a record when records lie close to each other.
const BESIDE_BYTES: usize = 16 << 10;
/// A record that is not further than this from the one before lies close to it.
const CLOSE_BYTES: u64 = 3 << 10;

impl Window {
    /// Forgets what it holds: the next record is of another segment.
    pub fn forget(&mut self) {
        self.bytes.clear();
    }

    /// A part of it.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn holds(&self, offset: u64, length: usize) -> bool {
        offset >= self.start && offset + length as u64 <= self.end()
    }

    /// From where to read how much for a record.
    fn place_for(&self, offset: u64, length: usize) -> (u64, usize) {
        let end = offset + length as u64;
        if self.bytes.is_empty() || length >= BESIDE_BYTES {
            (offset, length)
        } else if offset < self.start && self.start - offset <= CLOSE_BYTES + length as u64 {
            let start = end.saturating_sub(BESIDE_BYTES as u64);
            (start, usize::try_from(end - start).unwrap_or(length))
        } else if offset >= self.start && offset <= self.end() + CLOSE_BYTES {
            (offset, BESIDE_BYTES)
        } else {
            (offset, length)
        }
    }

    fn move_to(&mut self, file: &dyn File, start: u64, length: usize) -> std::io::Result<()> {
        self.start = start;
        let more = length.saturating_sub(self.bytes.len());
        self.bytes.try_reserve(more).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        self.bytes.resize(length, 0);
        let read = file.read_at(&mut self.bytes, start);
        self.bytes.truncate(*read.as_ref().unwrap_or(&0));
        read.map(|_| ())
    }
}

/// The segment that holds `seq`.
#[must_use]
pub fn holding(segments: &[Arc<Segment>], seq: u64) -> Option<&Arc<Segment>> {
    let count = segments.partition_point(|segment| segment.first <= seq);
    segments.get(count.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::log::frame::write_line;
    use crate::storage::memory::Memory;
    use crate::storage::{Open, Storage};

    #[test]
    fn a_record_in_blocks_that_the_disk_lost_is_damage_that_is_found_without_reading_them_all() {
        let storage = Memory::default();
        let path = Path::new("/log/1.log");
        let file = storage.open(path, Open::Create).expect("memory");
        file.set_length(1 << 24).expect("memory");
        let segment = Segment { first: 1, path: path.to_owned(), file };
        let mut window = Window::default();
        let error = segment.locate(1, 100, None, &mut window).expect_err("zeros");
        assert_eq!(error.code(), Code::Corrupt);
        assert!(window.bytes.capacity() < 1 << 16, "{} bytes", window.bytes.capacity());
    }

    #[test]
    fn a_name_tells_the_first_event_and_the_compaction() {
        let folder = Path::new("/log");
        let name = |path: PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        assert_eq!(first_of(&name(path(folder, 12))), Some((12, 0)));
        assert_eq!(first_of(&name(compacted_path(folder, 12, 3))), Some((12, 3)));
        for other in [
            "12.log",
            "00000000000000000012.run",
            "00000000000000000012-.log",
            "00000000000000000012-x.log",
            "0000000000000000001x.log",
            "00000000000000000012x3.log",
            "+0000000000000000012.log",
            "compacted",
        ] {
            assert_eq!(first_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_record_is_read_with_and_without_knowing_its_length_and_no_other_is_taken_for_it() {
        let storage = Memory::default();
        let path = path(Path::new("/log"), 1);
        let file = storage.open(&path, Open::Create).expect("memory");
        let json = |seq: u64, length: usize| format!("{{\"seq\":{seq},\"x\":\"{}\"}}", "x".repeat(length));
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for (seq, length) in [(1, 10), (2, 5000), (3, 20)] {
            places.push(bytes.len() as u64);
            write_line(&mut bytes, |out| out.extend_from_slice(json(seq, length).as_bytes()));
        }
        file.write_at(&bytes[..bytes.len() - 1], 0).expect("memory");
        let segment = Segment { first: 1, path, file };
        for next in [None, Some(places[2]), Some(places[1] + 3), Some(places[1]), Some(places[0])] {
            assert_eq!(segment.read(2, places[1], next).expect("it is there"), json(2, 5000).as_bytes());
        }
        for (seq, place) in [(1, places[1]), (2, places[1] + 1), (2, places[0]), (3, places[2]), (4, 1 << 40)]
        {
            let refused = segment.read(seq, place, None).expect_err("another record, or none");
            assert_eq!((refused.code(), refused.offset()), (Code::Corrupt, Some(place)));
        }
    }

    #[test]
    fn a_segment_holds_the_events_from_its_first_to_the_next_ones() {
        let storage = Memory::default();
        let segments: Vec<Arc<Segment>> = [1, 5, 9]
            .into_iter()
            .map(|first| {
                let path = path(Path::new("/log"), first);
                let file = storage.open(&path, Open::Create).expect("memory");
                Arc::new(Segment { first, path, file })
            })
            .collect();
        let held = |seq| holding(&segments, seq).map(|segment| segment.first);
        assert_eq!(
            [0, 1, 4, 5, 8, 9, 90].map(held),
            [None, Some(1), Some(1), Some(5), Some(5), Some(9), Some(9)]
        );
    }
}
