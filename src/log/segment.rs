//! A segment: one file of the log. Anyone who has its handle may read it while it grows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{CHECKSUM_BYTES, check_line, seq_of};
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
        let damaged = |what: String| Error::corrupt(self.path.display().to_string(), offset, what);
        let mut length =
            next.and_then(|next| usize::try_from(next.checked_sub(offset)?).ok()).unwrap_or(GUESS_BYTES);
        loop {
            let mut bytes = vec![0; length];
            let read = self
                .file
                .read_at(&mut bytes, offset)
                .map_err(|error| damaged(format!("cannot be read: {error}")))?;
            let end = memchr::memchr(b'\n', &bytes[..read]);
            let Some(end) = end else {
                if read == length {
                    length *= 4;
                    continue;
                }
                return Err(damaged(format!("the record of event {seq} is cut")));
            };
            bytes.truncate(end);
            if check_line(&bytes).and_then(seq_of) != Some(seq) {
                return Err(damaged(format!("the record of event {seq} fails its checksum")));
            }
            bytes.drain(..CHECKSUM_BYTES);
            return Ok(bytes);
        }
    }
}

/// The segment that holds `seq`.
#[must_use]
pub fn holding(segments: &[Arc<Segment>], seq: u64) -> Option<&Arc<Segment>> {
    let count = segments.partition_point(|segment| segment.first <= seq);
    segments.get(count.checked_sub(1)?)
}
