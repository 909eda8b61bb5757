//! Makes a damaged segment one that a daemon starts on: good records stay, every lost event is said
//! in its place by an event `event.lost`, and no seq is given twice. Pure: bytes in, bytes out.
//!
//! A lost event is told by what is good around it: its frame's header, the next good frame's `prev`,
//! or the name of the next segment. At the very end of the log, where nothing good follows and even
//! the header is damaged, as many seqs are given up as the damaged bytes could have held.

#[cfg(test)]
mod tests;

use super::frame::{CHECKSUM_BYTES, Header, VERSION, check_line, seq_of, write_line};
use super::torn::is_torn;
use crate::domain::event::{Event, Fact};
use crate::time::Timestamp;

/// No event's line is shorter.
pub const LINE_BYTES_MIN: usize = 80;
/// No header's line is shorter.
const HEADER_BYTES_MIN: usize = 64;
/// Most events in one frame that is made anew.
const FRAME_EVENTS: u64 = 4096;
/// So many events more than the damaged bytes could hold may be missing at the end of the log. A header or a
/// record that makes no sense, though its checksum is right, must not fill the disk with lost events.
const MISSING_MOST: u64 = 1 << 16;

/// What is known around a segment.
#[derive(Clone)]
pub struct Around<'a> {
    /// The last seq before it.
    pub last: u64,
    /// The last seq that belongs into it: the next segment begins behind. `None` for the newest.
    pub until: Option<u64>,
    /// The last event that the index knows.
    pub known: u64,
    /// The time of the last event before it, as text.
    pub at: Vec<u8>,
    /// The user who repairs.
    pub uid: u32,
    /// Whether an event was in the log, if none was damaged: some are gone from a part that was
    /// compacted.
    pub was_there: &'a dyn Fn(u64) -> bool,
}

/// What was in a log that was not compacted.
pub const EVERYTHING: &dyn Fn(u64) -> bool = &|_| true;

/// A piece of a segment that is set aside.
#[derive(Debug, PartialEq, Eq)]
pub struct Aside {
    /// Where it was.
    pub offset: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A segment after mending.
#[derive(Debug, Default)]
pub struct Mended {
    /// What it must hold. `None`: what it holds.
    pub bytes: Option<Vec<u8>>,
    /// What is set aside.
    pub aside: Vec<Aside>,
    /// First and last seqs of the events that are lost, in order.
    pub lost: Vec<(u64, u64)>,
    /// The last seq in it.
    pub last: u64,
    /// The time of its last event, as text.
    pub at: Vec<u8>,
}

/// A frame of another version of the format, at this byte: not for this program to mend.
#[derive(Debug, PartialEq, Eq)]
pub struct OtherVersion(pub u64);

struct Mender<'b> {
    bytes: &'b [u8],
    around: Around<'b>,
    out: Vec<u8>,
    mended: Mended,
}

/// Mends the segment that holds `bytes`.
///
/// # Errors
/// When another version of this program wrote it.
pub fn mend<'b>(bytes: &'b [u8], around: Around<'b>) -> Result<Mended, OtherVersion> {
    mend_within(bytes, around, usize::MAX)
}

/// The same, but events that are missing at its end are said only until it has `room` bytes: what is left is for
/// further segments, of nothing but lost events.
///
/// # Errors
/// As [`mend`].
pub fn mend_within<'b>(bytes: &'b [u8], around: Around<'b>, room: usize) -> Result<Mended, OtherVersion> {
    let mended = Mended { last: around.last, at: around.at.clone(), ..Mended::default() };
    let mut mender = Mender { bytes, around, out: Vec::with_capacity(bytes.len()), mended };
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |place| place + 1);
    let (mut place, mut changed) = (0, false);
    while place < end {
        if let Some(next) = mender.keep(place) {
            place = next;
        } else if header_at(bytes, place).is_some_and(|header| header.v != VERSION) {
            return Err(OtherVersion(place as u64));
        } else if mender.is_torn(place) {
            if changed {
                // Elsewhere in the file it may not look torn any more.
                mender.mended.aside.push(Aside { offset: place as u64, bytes: bytes[place..end].to_vec() });
            } else {
                // The next start sets it aside.
                mender.out.extend_from_slice(&bytes[place..end]);
            }
            place = end;
        } else {
            place = mender.replace(place, end);
            changed = true;
        }
    }
    let last = mender.mended.last;
    let until = mender.around.until.unwrap_or(mender.around.known);
    mender.write(until, &[], room);
    changed |= mender.mended.last > last;
    // A sealed segment never ends in zeros.
    changed |= mender.around.until.is_some() && end < bytes.len();
    let Mender { out, mut mended, .. } = mender;
    mended.bytes = changed.then_some(out);
    Ok(mended)
}

fn line_at(bytes: &[u8], place: usize) -> Option<&[u8]> {
    let rest = bytes.get(place..)?;
    rest.get(..memchr::memchr(b'\n', rest)?)
}

fn header_at(bytes: &[u8], place: usize) -> Option<Header> {
    check_line(line_at(bytes, place)?).and_then(Header::read)
}

/// The time that an event's JSON says, as text.
fn at_of(json: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\"at\":\"";
    let start = memchr::memmem::find(json, KEY)? + KEY.len();
    json.get(start..start + "2026-01-31T12:00:00.000000Z".len())
}

impl<'b> Mender<'b> {
    /// Keeps the frame at `place` when all of it is good. Where it ends.
    fn keep(&mut self, place: usize) -> Option<usize> {
        let header = header_at(self.bytes, place)?;
        let last = self.mended.last;
        let follows = header.v == VERSION && header.prev == last && header.first > last;
        let lines = place + line_at(self.bytes, place)?.len() + 1;
        let end = lines.checked_add(usize::try_from(header.bytes).ok()?)?;
        if !follows || !header.is_sane() || end > self.bytes.len() {
            return None;
        }
        let (mut at, mut seq, mut next) = (None, header.first - 1, lines);
        while next < end {
            let line = line_at(&self.bytes[..end], next)?;
            let json = check_line(line)?;
            seq = seq_of(json).filter(|found| (seq + 1..=header.last).contains(found))?;
            at = at_of(json).or(at);
            next += line.len() + 1;
        }
        self.out.extend_from_slice(&self.bytes[place..end]);
        self.mended.last = header.last;
        self.note(at);
        Some(end)
    }

    fn note(&mut self, at: Option<&[u8]>) {
        if let Some(at) = at {
            self.mended.at = at.to_vec();
        }
    }

    /// Whether what begins at `place` is the torn end of the log. What the index knows is none.
    fn is_torn(&self, place: usize) -> bool {
        let Mended { last, .. } = self.mended;
        let newest = self.around.until.is_none() && self.around.known <= last;
        newest && is_torn(&self.bytes[place..], place as u64, last)
    }

    /// Puts new frames in the place of what is damaged from `place` on. Where that ends.
    fn replace(&mut self, place: usize, end: usize) -> usize {
        let last = self.mended.last;
        let own = header_at(self.bytes, place).filter(Header::is_sane);
        let own = own.filter(|header| header.prev == last && header.last > last);
        let most = self.plausible(end - place);
        let own = own.filter(|header| header.last <= most);
        let behind = own.map_or(last, |header| header.last);
        let next = self.next_header(place, end, behind, most);
        let stop = next.map_or(end, |(start, _)| start);
        let damaged = &self.bytes[place..stop];
        let follows = next.map(|(_, header)| header.prev);
        let good = good_lines(damaged, last, follows.unwrap_or(most));
        // At the end of the log its own header and the good records say how far it went at least.
        let until = follows.unwrap_or_else(|| {
            let newest = good.last().map_or(last, |(seq, _)| *seq);
            let told = own.map_or(newest, |header| newest.max(header.last));
            told.saturating_add(untold(damaged, own, good.last().map(|(_, line)| *line))).min(most)
        });
        self.mended.aside.push(Aside { offset: place as u64, bytes: damaged.to_vec() });
        self.write(until, &good, usize::MAX);
        stop
    }

    /// The next good header behind `place` of a frame that lies behind the event `last`.
    fn next_header(&self, place: usize, end: usize, last: u64, most: u64) -> Option<(usize, Header)> {
        let mut start = place;
        loop {
            start += memchr::memchr(b'\n', self.bytes.get(start..end)?)? + 1;
            // Blocks that were lost may lie before it.
            start += self.bytes[start..end].iter().take_while(|byte| **byte == 0).count();
            let header = header_at(self.bytes, start);
            let header = header.filter(|header| header.v == VERSION && header.is_sane());
            if let Some(header) = header.filter(|header| (last..=most).contains(&header.prev)) {
                return Some((start, header));
            }
        }
    }

    /// The last seq that there can be in so many damaged bytes, or before what follows them.
    fn plausible(&self, bytes: usize) -> u64 {
        let missing = (bytes / LINE_BYTES_MIN) as u64 + MISSING_MOST;
        self.around.until.unwrap_or(self.mended.last.saturating_add(missing).max(self.around.known))
    }

    /// Appends frames of the events up to `until`, as long as there is room: the good ones, and for each other that
    /// it is lost.
    fn write(&mut self, until: u64, good: &[(u64, &'b [u8])], room: usize) {
        let mut good = good.iter().copied().peekable();
        while self.mended.last < until && self.out.len() < room {
            let prev = self.mended.last;
            let (mut last, mut events, mut lines) = (prev, 0, Vec::new());
            while last < until && events < FRAME_EVENTS {
                last += 1;
                if let Some((_, line)) = good.next_if(|(found, _)| *found == last) {
                    self.note(check_line(line).and_then(at_of));
                    lines.extend_from_slice(line);
                    lines.push(b'\n');
                } else if (self.around.was_there)(last) {
                    self.lose(last, &mut lines);
                } else {
                    continue;
                }
                events += 1;
            }
            let (v, first, bytes) = (VERSION, prev + 1, lines.len() as u64);
            Header { v, first, last, prev, synced: prev, bytes }.write(&mut self.out);
            self.out.extend_from_slice(&lines);
            self.mended.last = last;
        }
    }

    fn lose(&mut self, seq: u64, lines: &mut Vec<u8>) {
        let event = Event { seq, at: Timestamp(0), uid: self.around.uid, fact: Fact::EventLost };
        write_line(lines, |out| event.encode(&self.mended.at, out));
        match self.mended.lost.last_mut() {
            Some((_, last)) if *last + 1 == seq => *last = seq,
            _ => self.mended.lost.push((seq, seq)),
        }
    }
}

/// As many events as damaged bytes could have held behind what tells of them: the good header of the first frame,
/// or the newest good line.
fn untold(damaged: &[u8], own: Option<Header>, newest: Option<&[u8]>) -> u64 {
    let header = memchr::memchr(b'\n', damaged).map_or(0, |end| end + 1);
    let told = match own {
        Some(own) => usize::try_from(own.bytes).unwrap_or(usize::MAX).saturating_add(header),
        // What looks like a header is no event; an event may hang on it where its line feed is damaged.
        None if damaged.get(CHECKSUM_BYTES..).is_some_and(|json| json.starts_with(b"{\"v\":")) => {
            header.min(HEADER_BYTES_MIN)
        }
        None => 0,
    };
    let end_of = |line: &[u8]| memchr::memmem::rfind(damaged, line).map_or(0, |start| start + line.len() + 1);
    let told = newest.map_or(told, |line| told.max(end_of(line)));
    (damaged.len().saturating_sub(told) / LINE_BYTES_MIN) as u64
}

/// The lines of good records, in order, of events behind `last` and up to `until`.
fn good_lines(bytes: &[u8], last: u64, until: u64) -> Vec<(u64, &[u8])> {
    let mut good: Vec<(u64, &[u8])> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let newest = good.last().map_or(last, |(seq, _)| *seq);
        if let Some(seq) = check_line(line).and_then(seq_of).filter(|seq| *seq > newest && *seq <= until) {
            good.push((seq, line));
        }
    }
    good
}
