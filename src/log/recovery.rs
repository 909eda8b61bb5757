//! Reads the log back at a start: finds its end, sets a torn frame aside, refuses damage.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{Header, VERSION, check_line, seq_of};
use super::segment::{self, Segment};
use super::torn::is_torn;
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
        return Err(missing_before(oldest, last));
    }
    let mut begun = false;
    for (number, segment) in segments.iter().enumerate() {
        let newest = number + 1 == segments.len();
        let known =
            !newest && segments[number + 1].first <= last + 1 && segments[number + 1].first > segment.first;
        if known && !begun {
            continue;
        }
        if segment.first > last + 1 {
            return Err(missing_before(segment, last));
        }
        if begun && segment.first <= last {
            let what = format!(
                "this is no part of the log, which has event {} already in the file before: move it away",
                segment.first
            );
            return Err(Failure::Damage { path: segment.path.clone(), offset: 0, what });
        }
        begun = true;
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

/// Events that a segment follows are not there.
pub(super) fn missing_before(segment: &Segment, last: u64) -> Failure {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frame::write_line;
    use crate::storage::memory::Memory;

    fn line(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_line(&mut out, |out| out.extend_from_slice(json.as_bytes()));
        out
    }

    /// A frame of the events behind `prev` up to `last`.
    fn frame(prev: u64, last: u64, synced: u64) -> Vec<u8> {
        let lines: Vec<u8> =
            (prev + 1..=last).flat_map(|seq| line(&format!("{{\"seq\":{seq},\"at\":\"\"}}"))).collect();
        let mut out = Vec::new();
        let bytes = lines.len() as u64;
        Header { v: VERSION, first: prev + 1, last, prev, synced, bytes }.write(&mut out);
        out.extend_from_slice(&lines);
        out
    }

    fn log_of(files: &[(u64, Vec<u8>)]) -> (Arc<dyn Storage>, Vec<Arc<Segment>>) {
        let storage: Arc<dyn Storage> = Arc::new(Memory::default());
        let segments = files.iter().map(|(first, bytes)| {
            let path = segment::path(Path::new("/log"), *first);
            let file = storage.open(&path, Open::Create).expect("memory");
            file.write_at(bytes, 0).expect("memory");
            Arc::new(Segment { first: *first, path, file })
        });
        let segments = segments.collect();
        (storage, segments)
    }

    /// An event's seq, where it begins, and whether it ends its frame.
    type Given = (u64, u64, bool);

    /// What is read, and what came of it.
    fn seqs(files: &[(u64, Vec<u8>)], start: Start) -> (Vec<Given>, Result<Recovered, Failure>) {
        let mut found = Vec::new();
        let read = read(log_of(files).1, start, &mut |_, event| {
            found.push((event.seq, event.offset, event.ends_frame));
            Ok(())
        });
        (found, read)
    }

    #[track_caller]
    fn damage(files: &[(u64, Vec<u8>)], file: u64, at: usize, says: &str) {
        match seqs(files, Start::default()).1 {
            Err(Failure::Damage { path, offset, what }) => {
                assert_eq!(path, segment::path(Path::new("/log"), file), "{what}");
                assert_eq!(offset, at as u64, "{what}");
                assert!(what.contains(says), "{what}");
            }
            other => panic!("{:?}", other.map(|read| read.last)),
        }
    }

    #[test]
    fn every_event_is_given_once_with_its_place_over_all_segments() {
        let (one, two, three) = (frame(0, 2, 0), frame(2, 3, 2), frame(3, 4, 3));
        let (end, length) = (one.len(), one.len() + two.len());
        let files = [(1, [one, two].concat()), (4, three.clone())];
        let (found, read) = seqs(&files, Start::default());
        let read = read.expect("it is whole");
        assert_eq!((read.last, read.end(), read.segments.len()), (4, three.len() as u64, 2));
        assert_eq!(found.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(found.iter().map(|(.., ends)| *ends).collect::<Vec<_>>(), [false, true, true, true]);
        for (seq, offset, _) in found {
            let bytes = &files[usize::from(seq > 3)].1[usize::try_from(offset).expect("small")..];
            assert!(bytes[CHECKSUM..].starts_with(format!("{{\"seq\":{seq},").as_bytes()), "event {seq}");
        }
        assert!(end < length);
    }

    const CHECKSUM: usize = crate::log::frame::CHECKSUM_BYTES;

    #[test]
    fn a_read_begins_behind_what_is_known_and_ends_where_it_is_told() {
        let whole = [frame(0, 2, 0), frame(2, 3, 2), frame(3, 5, 3)].concat();
        let (found, _) = seqs(&[(1, whole.clone())], Start::default());
        let start = Start { last: 2, offset: Some(found[1].1) };
        let (rest, read) = seqs(&[(1, whole.clone())], start);
        assert_eq!(rest, found[2..], "behind event 2");
        assert_eq!(read.expect("it is whole").last, 5);
        let two = [(1, frame(0, 2, 0)), (3, [frame(2, 3, 2), frame(3, 5, 3)].concat())];
        let (rest, _) = seqs(&two, Start { last: 2, offset: None });
        assert_eq!(rest.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), [3, 4, 5]);
        let mut last = 0;
        let read = read_until(log_of(&[(1, whole.clone())]).1, Start::default(), 3, &mut |_, event| {
            last = event.seq;
            Ok(())
        });
        assert_eq!((read.expect("it is whole").last, last), (3, 3));
        let beyond = Start { last: 5, offset: Some(whole.len() as u64) };
        assert!(matches!(seqs(&[(1, whole)], beyond).1, Err(Failure::Damage { .. })), "the log ends before");
    }

    #[test]
    fn what_does_not_follow_is_damage_and_named() {
        let (one, two) = (frame(0, 2, 0), frame(2, 3, 2));
        damage(&[(2, two.clone())], 2, 0, "from 1 to 1 are missing");
        damage(&[(1, one.clone()), (4, frame(3, 4, 3))], 4, 0, "from 3 to 3 are missing");
        damage(&[(1, [one.clone(), frame(5, 6, 5)].concat())], 1, one.len(), "one behind 5 found");
        damage(&[(1, [one.clone(), frame(1, 2, 1)].concat())], 1, one.len(), "one behind 1 found");
        let sealed = [one.clone(), vec![0; 40]].concat();
        damage(&[(1, sealed), (3, two.clone())], 1, one.len(), "no frame");
        let long = [one.clone(), two.clone()].concat();
        damage(&[(1, long.clone()), (2, two.clone()), (4, frame(3, 4, 3))], 2, 0, "no part of the log");
        damage(&[(1, long), (3, two.clone())], 3, 0, "no part of the log");
        damage(&[(1, one[..one.len() - 3].to_vec()), (3, two.clone())], 1, 0, "ends inside");
        let mut other = Vec::new();
        Header { v: 2, first: 3, last: 3, prev: 2, synced: 2, bytes: 0 }.write(&mut other);
        damage(&[(1, [one.clone(), other].concat())], 1, one.len(), "version 2");
        let mut long = Vec::new();
        Header { v: 1, first: 3, last: 3, prev: 2, synced: 2, bytes: u64::MAX }.write(&mut long);
        damage(&[(1, [one.clone(), long].concat()), (3, two.clone())], 1, one.len(), "ends inside");
        let mut strange = Vec::new();
        let lines = line("{\"seq\":9,\"at\":\"\"}");
        let bytes = lines.len() as u64;
        Header { v: 1, first: 3, last: 3, prev: 2, synced: 2, bytes }.write(&mut strange);
        damage(&[(1, [one.clone(), strange, lines].concat())], 1, one.len(), "event 9");
        let mut short = Vec::new();
        let lines = line("{\"seq\":3,\"at\":\"\"}");
        let bytes = lines.len() as u64 - 1;
        Header { v: 1, first: 3, last: 3, prev: 2, synced: 2, bytes }.write(&mut short);
        damage(&[(1, [one.clone(), short, lines, two].concat())], 1, one.len(), "length");
    }

    #[test]
    fn only_the_end_of_the_newest_segment_may_be_torn() {
        let (one, two) = (frame(0, 2, 0), frame(2, 4, 2));
        for cut in 1..two.len() {
            let files = [(1, [one.as_slice(), &two[..cut]].concat())];
            let read = seqs(&files, Start::default()).1.expect("a torn end");
            assert_eq!((read.last, read.end()), (2, one.len() as u64), "cut at {cut}");
            assert_eq!(read.torn_length().expect("memory"), cut);
        }
        let mut flipped = two.clone();
        *flipped.last_mut().expect("bytes") ^= 1;
        flipped.push(b'\n');
        damage(&[(1, [one.clone(), flipped].concat())], 1, one.len(), "checksum");
    }

    #[test]
    fn a_torn_end_is_set_aside_and_the_log_goes_on_in_its_place() {
        let (one, two) = (frame(0, 2, 0), frame(2, 4, 2));
        let torn = &two[..two.len() - 5];
        let (storage, segments) = log_of(&[(1, [&one, torn, &[0; 30]].concat())]);
        let read = read(segments, Start::default(), &mut |_, _| Ok(())).expect("a torn end");
        let folder = Path::new("/log");
        let (mut log, segments, aside) = read.into_writer(&storage, folder, 1 << 20).expect("memory");
        let (copy, bytes) = aside.expect("it was set aside");
        assert_eq!(copy, folder.join(format!("{:020}.log.{}.torn", 1, one.len())));
        assert_eq!(
            (bytes, crate::storage::read_whole(storage.as_ref(), &copy).expect("memory")),
            (torn.len() as u64, torn.to_vec())
        );
        assert_eq!(segments[0].file.length().expect("memory"), one.len() as u64);
        assert_eq!((log.last(), log.synced()), (2, 2));
        log.append(3, 3, &line("{\"seq\":3,\"at\":\"\"}")).expect("memory");
        log.trim().expect("memory");
        let again = super::read(segments, Start::default(), &mut |_, _| Ok(())).expect("it is whole");
        assert_eq!((again.last, again.torn_length().expect("memory")), (3, 0));
    }

    #[test]
    fn an_empty_folder_gets_its_first_segment() {
        let (storage, segments) = log_of(&[]);
        let read = read(segments, Start::default(), &mut |_, _| Ok(())).expect("nothing");
        let (log, segments, aside) = read.into_writer(&storage, Path::new("/log"), 1 << 20).expect("memory");
        assert_eq!((log.last(), segments.len(), segments[0].first), (0, 1, 1));
        assert!(aside.is_none());
        assert_eq!(storage.list(Path::new("/log")).expect("memory"), ["00000000000000000001.log"]);
    }
}
