//! The names of files in an index folder.

use crate::index::run::Meta;

/// Names the run files that are on disk for good.
pub(super) const MANIFEST: &str = "manifest";
/// Names the small ones behind those.
pub(super) const RECENT: &str = "recent";

/// What the name of a run's scratch file has behind that of the run.
pub(super) const SCRATCH: &str = ".grams.tmp";

/// Whether this program gives a file of an index folder that name, one that was not whole yet included.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    [MANIFEST, RECENT].contains(&name) || is_run(name) || is_unfinished(name)
}

/// Whether only this program gives a file of an index folder that name: a run's.
#[must_use]
pub fn is_run(name: &str) -> bool {
    let Some(whole) = name.strip_suffix(".run") else { return false };
    let mut parts = whole.split('-');
    let is_seq = |part: Option<&str>| part.is_some_and(|part| part.len() == 20 && is_number(part));
    is_seq(parts.next())
        && is_seq(parts.next())
        && parts.next().is_none_or(is_number)
        && parts.next().is_none()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a file is one of the index that was not whole yet, or one on the way to a run.
pub(super) fn is_unfinished(name: &str) -> bool {
    let Some(whole) = name.strip_suffix(SCRATCH).or_else(|| name.strip_suffix(".tmp")) else { return false };
    let piece = whole.strip_suffix(".tmp").unwrap_or(whole).strip_prefix("piece-");
    [MANIFEST, RECENT].contains(&whole) || is_run(whole) || piece.is_some_and(is_number)
}

/// The last seq of the run in a file of that name.
pub(super) fn last_of(name: &str) -> Option<u64> {
    name.split(['-', '.']).nth(1)?.parse().ok()
}

/// The file of a run. A compaction makes another one for the same seqs.
#[must_use]
pub fn name_of(meta: &Meta) -> String {
    let Meta { first, last, generation, .. } = meta;
    match generation {
        0 => format!("{first:020}-{last:020}.run"),
        _ => format!("{first:020}-{last:020}-{generation}.run"),
    }
}
