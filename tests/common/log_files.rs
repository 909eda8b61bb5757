//! The log as it lies on disk: one text line a record, a checksum, a space, JSON.

use std::fs;
use std::path::{Path, PathBuf};

use flate2::Crc;
use serde_json::Value;

/// One frame: a line that describes a batch, and the batch's events.
#[derive(Debug)]
pub struct Frame {
    /// The byte of the file where it begins.
    pub start: usize,
    /// The byte behind its last line feed.
    pub end: usize,
    /// Its first line.
    pub header: Value,
    /// Its other lines, as they are behind the checksum.
    pub events: Vec<String>,
}

impl Frame {
    /// The byte where the line of its last event begins.
    pub fn last_record(&self) -> u64 {
        let last = self.events.last().expect("an event");
        (self.end - "01234567 \n".len() - last.len()) as u64
    }
}

/// The segments of a data folder, oldest first.
pub fn segments(data: &Path) -> Vec<PathBuf> {
    let folder = data.join("log");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths
}

/// The segment that is written to.
pub fn newest_segment(data: &Path) -> PathBuf {
    segments(data).pop().expect("there is a segment")
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

/// A segment's bytes without the room made ahead.
pub fn content(segment: &Path) -> Vec<u8> {
    let mut bytes = fs::read(segment).expect("a segment");
    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    bytes
}

/// Whether the file ends in zero bytes.
pub fn padded(segment: &Path) -> bool {
    fs::read(segment).expect("a segment").last() == Some(&0)
}

/// The frames of a segment's bytes; a line that fails its checksum fails the test.
pub fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut start = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let end = start + line.len();
        let text = checked(line);
        let json: Value = serde_json::from_str(&text).expect("a record is JSON");
        if json.get("v").is_some() {
            frames.push(Frame { start, end, header: json, events: Vec::new() });
        } else {
            let frame = frames.last_mut().expect("a segment begins with a frame's first line");
            frame.end = end;
            frame.events.push(text);
        }
        start = end;
    }
    frames
}

/// The JSON of one line whose checksum holds.
fn checked(line: &[u8]) -> String {
    let text = std::str::from_utf8(line).expect("the log is text");
    let text = text.strip_suffix('\n').expect("a record ends with a line feed");
    let (checksum, json) = text.split_once(' ').expect("a checksum and JSON");
    let mut crc = Crc::new();
    crc.update(json.as_bytes());
    assert_eq!(checksum, format!("{:08x}", crc.sum()), "checksum of {json}");
    json.to_owned()
}
