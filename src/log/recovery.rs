//! Reads the log back at a start: finds its end, sets a torn frame aside, refuses damage.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{Header, VERSION, check_line, seq_of};
use super::segment::{self, Segment};
use super::writer::LogWriter;
use crate::storage::{Open, Storage, replace};

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
            Failure::Io { path, error } => write!(f, "{}: {error}", path.display()),
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

/// Where to begin: everything up to `last` is known already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start {
    /// The last seq that is known; 0 to read everything.
    pub last: u64,
    /// Where its line begins in its segment. `None`: it is the last of a segment, and may be gone.
    pub offset: Option<u64>,
}

/// What was set aside: the copy, and how many bytes it has.
pub type Torn = Option<(PathBuf, u64)>;

/// A log that was read to its end.
pub struct Recovered {
    /// The segments, oldest first; at least one.
    pub segments: Vec<Arc<Segment>>,
    /// The last seq.
    pub last: u64,
    /// Where the next frame goes in the newest segment.
    position: u64,
    /// The newest segment's length.
    length: u64,
    /// Where the frames begin that no later frame says were synced.
    unconfirmed: u64,
    /// What was set aside: the copy, and how many bytes it has.
    pub torn: Torn,
}

/// Reads the log from `start` to its end, giving every event to `visit`. Nothing is changed.
///
/// # Errors
/// `Damage`, `Io`, and what `visit` says.
pub fn read(
    segments: Vec<Arc<Segment>>,
    start: Start,
    visit: &mut dyn FnMut(&Segment, Found<'_>) -> Result<(), Failure>,
) -> Result<Recovered, Failure> {
    read_until(segments, start, u64::MAX, visit)
}

/// The same, up to the event `until`: what is behind it may be half written.
///
/// # Errors
/// `Damage`, `Io`, and what `visit` says.
pub fn read_until(
    segments: Vec<Arc<Segment>>,
    start: Start,
    until: u64,
    visit: &mut dyn FnMut(&Segment, Found<'_>) -> Result<(), Failure>,
) -> Result<Recovered, Failure> {
    let mut last = start.last;
    let (mut position, mut length, mut unconfirmed) = (0, 0, 0);
    if let Some(oldest) = segments.first()
        && oldest.first > last + 1
    {
        return Err(missing(oldest, last));
    }
    for (number, segment) in segments.iter().enumerate() {
        let newest = number + 1 == segments.len();
        if !newest && segments[number + 1].first <= last + 1 && segments[number + 1].first > segment.first {
            continue;
        }
        if segment.first > last + 1 {
            return Err(missing(segment, last));
        }
        let skip = start.offset.filter(|_| segment.first <= start.last);
        let mut scan = Scan::open(segment, skip)?;
        let end = scan.run(&mut last, until, visit)?;
        (position, length, unconfirmed) = (scan.place, scan.length, scan.unconfirmed);
        if let End::Wrong { what } = end
            && (!newest || !scan.is_torn(last))
        {
            return Err(Failure::Damage { path: segment.path.clone(), offset: scan.place, what });
        }
        if !newest && scan.place != scan.length {
            let what = "a sealed segment ends in bytes that are no frame".to_owned();
            return Err(Failure::Damage { path: segment.path.clone(), offset: scan.place, what });
        }
    }
    Ok(Recovered { segments, last, position, length, unconfirmed, torn: None })
}

fn missing(segment: &Segment, last: u64) -> Failure {
    let what = format!("the events from {} to {} are missing before it", last + 1, segment.first - 1);
    Failure::Damage { path: segment.path.clone(), offset: 0, what }
}

impl Recovered {
    /// Where the frames end in the newest segment.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position
    }

    /// How many bytes behind the end are no frames and not zeros.
    fn torn_bytes(&self) -> Result<Vec<u8>, Failure> {
        let Some(newest) = self.segments.last() else { return Ok(Vec::new()) };
        let mut bytes = read_range(newest, self.position, self.length)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |place| place + 1);
        bytes.truncate(used);
        Ok(bytes)
    }

    /// How many bytes of a torn write the log ends in.
    ///
    /// # Errors
    /// `Io`.
    pub fn torn_length(&self) -> Result<usize, Failure> {
        self.torn_bytes().map(|bytes| bytes.len())
    }

    /// Makes the log one to append to: sets a torn frame aside, makes durable what was read, and
    /// begins a first segment where there is none.
    ///
    /// # Errors
    /// `Io`.
    pub fn into_writer(
        mut self,
        storage: &Arc<dyn Storage>,
        folder: &Path,
        segment_bytes: u64,
    ) -> Result<(LogWriter, Vec<Arc<Segment>>, Torn), Failure> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| Failure::Io { path, error }
        };
        if self.segments.is_empty() {
            let path = segment::path(folder, self.last + 1);
            replace(storage.as_ref(), &path, b"").map_err(io(&path))?;
            let file = storage.open(&path, Open::Write).map_err(io(&path))?;
            self.segments.push(Arc::new(Segment { first: self.last + 1, path, file }));
        }
        let torn = self.torn_bytes()?;
        let newest = Arc::clone(&self.segments[self.segments.len() - 1]);
        if !torn.is_empty() {
            let mut name = newest.path.as_os_str().to_owned();
            name.push(format!(".{}.torn", self.position));
            let copy = PathBuf::from(name);
            replace(storage.as_ref(), &copy, &torn).map_err(io(&copy))?;
            newest.file.set_length(self.position).map_err(io(&newest.path))?;
            self.length = self.position;
            self.torn = Some((copy, torn.len() as u64));
        }
        // What no sync confirmed may be in memory only: it is written again, then synced.
        let tail = read_range(&newest, self.unconfirmed, self.position)?;
        newest.file.write_at(&tail, self.unconfirmed).map_err(io(&newest.path))?;
        newest.file.sync().map_err(io(&newest.path))?;
        storage.sync_folder(folder).map_err(io(folder))?;
        let writer = LogWriter::continue_at(
            Arc::clone(storage),
            folder.to_owned(),
            newest,
            segment_bytes,
            self.position,
            self.length,
            self.last,
        );
        Ok((writer, self.segments, self.torn))
    }
}

fn read_range(segment: &Segment, start: u64, end: u64) -> Result<Vec<u8>, Failure> {
    let io = |error| Failure::Io { path: segment.path.clone(), error };
    let length = usize::try_from(end.saturating_sub(start)).map_err(|error| io(io::Error::other(error)))?;
    let mut bytes = vec![0; length];
    let read = segment.file.read_at(&mut bytes, start).map_err(io)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// How a scan ended.
enum End {
    /// At the end of the file, or before nothing but zeros.
    Clean,
    /// At something that is no good frame.
    Wrong { what: String },
}

/// Reads one segment, frame by frame, through a window.
struct Scan<'a> {
    segment: &'a Segment,
    length: u64,
    /// Where the next frame begins.
    place: u64,
    unconfirmed: u64,
    window: Vec<u8>,
    window_start: u64,
}

const WINDOW_BYTES: usize = 1 << 20;
const SECTOR_BYTES: u64 = 512;

impl<'a> Scan<'a> {
    fn open(segment: &'a Segment, skip: Option<u64>) -> Result<Self, Failure> {
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
            self.window = read_range(self.segment, start, stop)?;
            self.window_start = start;
        }
        let skip = usize::try_from(start - self.window_start).unwrap_or(usize::MAX);
        Ok(self.window.get(skip..).unwrap_or_default())
    }

    /// The line that begins at `start`, without its line feed. `None` when the file ends before.
    fn line(&mut self, start: u64) -> Result<Option<&[u8]>, Failure> {
        let mut count = 256;
        loop {
            let available = self.length.saturating_sub(start);
            let found = memchr::memchr(b'\n', self.bytes(start, count)?);
            match found {
                Some(end) => return Ok(self.bytes(start, end + 1)?.get(..end)),
                None if count as u64 >= available => return Ok(None),
                None => count = count.max(self.window.len()) * 2,
            }
        }
    }

    fn run(
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
            let wrong = |what: &str| Ok(End::Wrong { what: what.to_owned() });
            let Some(line) = self.line(place)? else { return wrong("the frame's header is cut") };
            let header_bytes = line.len() as u64 + 1;
            let Some(header) = check_line(line).and_then(Header::read) else {
                return wrong("a frame's header was expected; what is there fails its checksum");
            };
            if header.v != VERSION {
                let what = format!("the log's format is version {}; this program reads {VERSION}", header.v);
                return Err(Failure::Damage { path: self.segment.path.clone(), offset: place, what });
            }
            // Nothing comes behind the largest number there is.
            let sane = header.first <= header.last && header.last < u64::MAX;
            if header.prev != *last || header.first <= *last || !sane {
                let what =
                    format!("a frame behind event {last} was expected, and one behind {} found", header.prev);
                return Ok(End::Wrong { what });
            }
            let lines = place + header_bytes;
            if let Some(what) = self.check_frame(header, lines)? {
                return Ok(End::Wrong { what });
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

    /// What is wrong with a frame's events. `None` when nothing is.
    fn check_frame(&mut self, header: Header, lines: u64) -> Result<Option<String>, Failure> {
        if lines.saturating_add(header.bytes) > self.length {
            return Ok(Some("the file ends inside the frame".to_owned()));
        }
        let (mut place, end, mut seq) = (lines, lines + header.bytes, header.first - 1);
        while place < end {
            let found = self.line(place)?.map(|line| (line.len() as u64, check_line(line).and_then(seq_of)));
            let Some((length, Some(found))) = found else {
                return Ok(Some(format!("the record at byte {place} fails its checksum")));
            };
            if found <= seq || found > header.last {
                return Ok(Some(format!("event {found} at byte {place} is not of this frame")));
            }
            seq = found;
            place += length + 1;
        }
        let whole = place == end;
        Ok((!whole).then(|| "the frame's length is not that of its events".to_owned()))
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
    fn is_torn(&mut self, last: u64) -> bool {
        self.is_torn_or_error(last).unwrap_or(false)
    }

    fn is_torn_or_error(&mut self, last: u64) -> Result<bool, Failure> {
        let rest = read_range(self.segment, self.place, self.length)?;
        Ok(is_torn(&rest, self.place, last))
    }
}

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
