//! Scans one segment: frame by frame, every record checked, through a window.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::frame::{Header, VERSION, check_line, seq_of};
use super::segment::Segment;
use super::torn::is_torn;
use crate::storage::explained;

/// Why a start cannot go on.
#[derive(Debug)]
pub enum Failure {
    /// Stored bytes are not what was written.
    Damage {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was expected and what is there.
        what: String,
    },
    /// A file cannot be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Damage { path, offset, what } => {
                write!(f, "{} at byte {offset}: {what}", path.display())
            }
            Failure::Io { path, error } => write!(f, "{}: {}", path.display(), explained(path, error)),
        }
    }
}

impl std::error::Error for Failure {}

/// An event as it is read back.
pub struct Found<'a> {
    /// Its seq.
    pub seq: u64,
    /// Its JSON.
    pub json: &'a [u8],
    /// Where its line begins in its segment.
    pub offset: u64,
    /// Whether it is the last of its frame.
    pub ends_frame: bool,
}

/// What a segment has from `start` up to `end`, or to the end of the file.
pub(super) fn read_range(segment: &Segment, start: u64, end: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    read_over(segment, start, end, &mut bytes)?;
    Ok(bytes)
}

/// The same, over what `bytes` held.
fn read_over(segment: &Segment, start: u64, end: u64, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let io = |error| Failure::Io { path: segment.path.clone(), error };
    let length = usize::try_from(end.saturating_sub(start)).map_err(|error| io(io::Error::other(error)))?;
    // A damaged file may seem to have more than there is memory: that must not end the process.
    let more = length.saturating_sub(bytes.len());
    bytes.try_reserve(more).map_err(|_| io(io::ErrorKind::OutOfMemory.into()))?;
    bytes.resize(length, 0);
    let read = segment.file.read_at(bytes, start).inspect_err(|_| bytes.clear()).map_err(io)?;
    bytes.truncate(read);
    Ok(())
}

/// Behind the last byte from `start` on that is not zero: a file may be much longer than what was written in it.
pub(super) fn used_end(segment: &Segment, start: u64, length: u64) -> Result<u64, Failure> {
    let (mut piece, mut end) = (Vec::new(), length);
    while end > start {
        let from = end.saturating_sub(WINDOW_BYTES as u64).max(start);
        read_over(segment, from, end, &mut piece)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte != 0) {
            return Ok(from + last as u64 + 1);
        }
        end = from;
    }
    Ok(start)
}

/// How a scan ended.
pub(super) enum End {
    /// At the end of the file, or before nothing but zeros.
    Clean,
    /// At something that is no good frame: where that shows, and what is wrong.
    Wrong { offset: u64, what: String },
}

/// Reads one segment, frame by frame, through a window.
pub(super) struct Scan<'a> {
    segment: &'a Segment,
    /// The segment's length.
    pub(super) length: u64,
    /// Where the next frame begins.
    pub(super) place: u64,
    /// Where the frames begin that no later one says were synced.
    pub(super) unconfirmed: u64,
    window: Vec<u8>,
    window_start: u64,
}

const WINDOW_BYTES: usize = 1 << 20;
/// Behind a line that is as long as this zeros are looked for: it may be none, and they take no memory then.
const LONG_BYTES: usize = 4 << 20;

impl<'a> Scan<'a> {
    /// Before the first frame, or behind the line at `skip`.
    pub(super) fn open(segment: &'a Segment, skip: Option<u64>) -> Result<Self, Failure> {
        let length =
            segment.file.length().map_err(|error| Failure::Io { path: segment.path.clone(), error })?;
        let mut scan =
            Scan { segment, length, place: 0, unconfirmed: 0, window: Vec::new(), window_start: 0 };
        if let Some(offset) = skip {
            scan.place = offset;
            let Some(line) = scan.line(offset)? else {
                let what = "the log ends before an event that the index knows".to_owned();
                return Err(Failure::Damage { path: segment.path.clone(), offset, what });
            };
            scan.place = offset + line.len() as u64 + 1;
            scan.unconfirmed = scan.place;
        }
        Ok(scan)
    }

    /// Bytes from `start` on, at least `count` of them unless the file ends.
    fn bytes(&mut self, start: u64, count: usize) -> Result<&[u8], Failure> {
        let end = self.window_start + self.window.len() as u64;
        let inside = start >= self.window_start && start + count as u64 <= end;
        if !inside {
            let stop = (start + count.max(WINDOW_BYTES) as u64).min(self.length);
            read_over(self.segment, start, stop, &mut self.window)?;
            self.window_start = start;
        }
        let skip = usize::try_from(start - self.window_start).unwrap_or(usize::MAX);
        Ok(self.window.get(skip..).unwrap_or_default())
    }

    /// The line that begins at `start`, without its line feed. `None` when the file ends before.
    fn line(&mut self, start: u64) -> Result<Option<&[u8]>, Failure> {
        let (mut count, mut stop) = (256, self.length);
        loop {
            let available = stop.saturating_sub(start);
            let found = memchr::memchr(b'\n', self.bytes(start, count)?);
            match found {
                Some(end) => return Ok(self.bytes(start, end + 1)?.get(..end)),
                None if count as u64 >= available => return Ok(None),
                None => {
                    count = count.max(self.window.len()) * 2;
                    if count > LONG_BYTES {
                        stop = used_end(self.segment, start, stop)?;
                        count = count.min(usize::try_from(stop - start).unwrap_or(count));
                    }
                }
            }
        }
    }

    /// Gives every record behind event `last` up to `until`, and moves `last`.
    pub(super) fn run(
        &mut self,
        last: &mut u64,
        until: u64,
        visit: &mut dyn FnMut(&Segment, Found<'_>) -> Result<(), Failure>,
    ) -> Result<End, Failure> {
        while self.place < self.length && *last < until {
            let place = self.place;
            if self.bytes(place, 1)?.first() == Some(&0) && self.only_zeros(place)? {
                return Ok(End::Clean);
            }
            let wrong = |what: &str| Ok(End::Wrong { offset: place, what: what.to_owned() });
            let Some(line) = self.line(place)? else { return wrong("the frame's header is cut") };
            let header_bytes = line.len() as u64 + 1;
            let Some(header) = check_line(line).and_then(Header::read) else {
                return wrong("a frame's header was expected; what is there fails its checksum");
            };
            if header.v != VERSION {
                let what = format!("the log's format is version {}; this program reads {VERSION}", header.v);
                return Err(Failure::Damage { path: self.segment.path.clone(), offset: place, what });
            }
            if header.prev != *last || header.first <= *last || !header.is_sane() {
                let what =
                    format!("a frame behind event {last} was expected, and one behind {} found", header.prev);
                return Ok(End::Wrong { offset: place, what });
            }
            let lines = place + header_bytes;
            if let Some(wrong) = self.check_frame(header, lines)? {
                return Ok(wrong);
            }
            self.give(header, lines, visit)?;
            if header.synced >= header.prev {
                self.unconfirmed = place;
            }
            *last = header.last;
            self.place = lines + header.bytes;
        }
        Ok(End::Clean)
    }

    /// What is wrong with a frame's events, and where. `None` when nothing is.
    fn check_frame(&mut self, header: Header, lines: u64) -> Result<Option<End>, Failure> {
        let wrong = |offset, what: String| Ok(Some(End::Wrong { offset, what }));
        if lines.saturating_add(header.bytes) > self.length {
            return wrong(self.place, "the file ends inside the frame".to_owned());
        }
        let (mut place, end, mut seq) = (lines, lines + header.bytes, header.first - 1);
        while place < end {
            let found = self.line(place)?.map(|line| (line.len() as u64, check_line(line).and_then(seq_of)));
            let Some((length, Some(found))) = found else {
                return wrong(place, "the record fails its checksum".to_owned());
            };
            if found <= seq || found > header.last {
                return wrong(place, format!("event {found} is not of the frame that it lies in"));
            }
            seq = found;
            place += length + 1;
        }
        if place == end {
            return Ok(None);
        }
        wrong(self.place, "the frame's length is not that of its events".to_owned())
    }

    fn give(
        &mut self,
        header: Header,
        lines: u64,
        visit: &mut dyn FnMut(&Segment, Found<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut place, end) = (lines, lines + header.bytes);
        let segment = self.segment;
        while place < end {
            let Some(line) = self.line(place)? else { break };
            let next = place + line.len() as u64 + 1;
            if let Some(json) = check_line(line)
                && let Some(seq) = seq_of(json)
            {
                visit(segment, Found { seq, json, offset: place, ends_frame: next >= end })?;
            }
            place = next;
        }
        Ok(())
    }

    fn only_zeros(&mut self, start: u64) -> Result<bool, Failure> {
        let mut place = start;
        while place < self.length {
            let bytes = self.bytes(place, 1)?;
            if bytes.is_empty() || bytes.iter().any(|byte| *byte != 0) {
                return Ok(bytes.is_empty());
            }
            place += bytes.len() as u64;
        }
        Ok(true)
    }

    /// Whether what begins at `place` is the torn end of the log: nobody was told yes for it.
    pub(super) fn is_torn(&self, last: u64) -> Result<bool, Failure> {
        let end = used_end(self.segment, self.place, self.length)?;
        let rest = read_range(self.segment, self.place, end)?;
        Ok(is_torn(&rest, self.place, last))
    }
}
