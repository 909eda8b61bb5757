//! How many files may be open, and what follows from that for connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::options::Options;
use crate::limits::Limits;
use crate::report;
use crate::storage::{Disk, Storage};
use crate::store::Folders;

/// Lets this process have as many files open as the system lets it: each segment of the log takes one, and each
/// file of the index.
pub(super) fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is refused the limit stays, and what cannot be opened is told.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The limits, with connections no more than descriptors allow. Tells of what does not fit together.
pub(super) fn with_descriptors(options: &Options, folders: &Folders) -> Limits {
    /// Descriptors for everything but connections and the files that there are now: also for those that come.
    const OTHERS: u64 = 256;
    let files_in = |folder| Disk.list(folder).map_or(0, |names| names.len() as u64);
    let files = files_in(&folders.log) + files_in(&folders.index);
    let mut limits = options.limits.clone();
    limits.connections_per_uid = limits.connections_per_uid.min(limits.connections);
    if limits.buffered_bytes <= limits.line_bytes {
        report::warning(&format!(
            "--max-buffered ({}) is no more than --max-line ({}): who sends lines of nearly that length is cut off",
            limits.buffered_bytes, limits.line_bytes
        ));
    }
    let wanted = limits.connections as u64 + files + OTHERS;
    if let Some(current) = getrlimit(Resource::Nofile).current.filter(|current| *current < wanted) {
        limits.connections = usize::try_from(current.saturating_sub(files + OTHERS)).unwrap_or(1).max(1);
        // What was half of them stays half: nobody is to take all.
        let half = options.limits.connections.div_ceil(2);
        let is_half = limits.connections_per_uid == half;
        let most = if is_half { limits.connections.div_ceil(2) } else { limits.connections };
        limits.connections_per_uid = limits.connections_per_uid.min(most);
        report::warning(&format!(
            "only {} connections: the system allows {current} open files, and log and index have {files}",
            limits.connections
        ));
    }
    limits
}
