//! How much of the log is dead: an estimate, from events looked up at places spread evenly over the
//! bytes of all sealed segments. It needs no accounting that every write would pay for, and none that a
//! start would have to make up again.

use crate::domain::liveness::Liveness;
use crate::domain::table::Facts;
use crate::error::{Error, Result};
use crate::log::segment::Segment;
use crate::snapshot::Snapshot;

use super::pace::Pace;

/// Places looked at, about: enough for an error of a few in a hundred.
const SAMPLES: u64 = 512;

/// What the sealed segments hold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Their bytes.
    pub bytes: u64,
    /// How many of these are of dead events, about.
    pub dead: u64,
}

impl Estimate {
    /// Whether a compaction pays: so many bytes are dead, and such a share.
    #[must_use]
    pub fn is_worth_it(&self, percent: u64, bytes_min: u64) -> bool {
        self.dead >= bytes_min.max(1) && self.dead.saturating_mul(100) >= self.bytes.saturating_mul(percent)
    }
}

/// Looks at the sealed segments of a snapshot.
///
/// # Errors
/// `corrupt`, `shutting_down`.
pub fn estimate(snapshot: &Snapshot, pace: &mut Pace) -> Result<Estimate> {
    let mut ends = Vec::new();
    let mut bytes = 0;
    for pair in snapshot.segments.windows(2) {
        let length = pair[0].file.length().map_err(|error| {
            Error::corrupt(pair[0].path.display().to_string(), 0, format!("cannot be read: {error}"))
        })?;
        bytes += length;
        ends.push((bytes, length, pair));
    }
    let mut liveness = Liveness::new(snapshot);
    // The event that was looked at last, and whether it is dead: a large one lies at many places.
    let mut last = None;
    // From the middle of one piece to the middle of the next.
    let piece = (bytes / SAMPLES).max(1);
    let mut dead = 0;
    for sample in 0..bytes / piece {
        // Each may be many reads of a slow disk.
        pace.check()?;
        let place = piece * sample + piece / 2;
        let number = ends.partition_point(|(end, ..)| *end <= place);
        let Some((end, length, pair)) = ends.get(number) else { break };
        let Some(seq) = event_at(snapshot, &pair[0], pair[1].first, place + length - end)? else { continue };
        let is_dead = match last {
            Some((known, is_dead)) if known == seq => is_dead,
            _ => is_dead(snapshot, &mut liveness, seq, pace)?,
        };
        last = Some((seq, is_dead));
        dead += if is_dead { piece } else { 0 };
    }
    Ok(Estimate { bytes, dead })
}

/// Whether the event of a seq is dead. What it read is paid for with a rest.
fn is_dead(snapshot: &Snapshot, liveness: &mut Liveness<'_>, seq: u64, pace: &mut Pace) -> Result<bool> {
    let Some(record) = snapshot.record(seq)? else { return Ok(false) };
    pace.moved(record.len() as u64)?;
    Ok(liveness.record(seq, &record)?.is_none())
}

/// The seq of the event whose line lies at `offset` of a segment, or the first one; `behind` is the next segment's
/// first. `None` when the segment holds none.
fn event_at(snapshot: &Snapshot, segment: &Segment, behind: u64, offset: u64) -> Result<Option<u64>> {
    let (mut low, mut high) = (segment.first, behind);
    let mut found = None;
    while low < high {
        let middle = u64::midpoint(low, high);
        let Some(seq) = snapshot.next_record(middle)?.filter(|seq| *seq < high) else {
            high = middle;
            continue;
        };
        let before = snapshot.place(seq)?.is_some_and(|place| place.offset <= offset);
        if before || found.is_none() {
            found = Some(seq);
        }
        if before {
            low = seq + 1;
        } else {
            high = middle;
        }
    }
    Ok(found)
}
