//! The log: what happened, in order, as text. It is the only truth; all else is derived from it.
//!
//! - `frame` is the format on disk: lines, records, frames.
//! - `segment` is one file of frames, read by anyone.
//! - `mend` makes a damaged segment one that a daemon starts on.
//! - `writer` appends, syncs and rolls; `recovery` reads back what is there at a start, `scan` one segment of
//!   it; `torn` tells what a crash left of the last frame from damage.
//! - `files` says which files make the log; `compaction` writes the segments of a part of the log of
//!   which dead events are gone, and `compacted` names them.

pub mod compacted;
pub mod compaction;
pub mod files;
pub mod frame;
pub mod mend;
pub mod recovery;
pub mod scan;
pub mod segment;
pub mod torn;
pub mod writer;
