//! Finds the list of compacted segments again, for a repair: the files of the log say what was in it.

use std::path::Path;

use super::repair::{mended, read_or_empty};
use crate::log::compacted::Compacted;
use crate::log::mend::Around;
use crate::log::recovery::Failure;
use crate::log::segment;
use crate::storage::Storage;
use crate::store::compacted_part::open_checkpoint;

/// What the last compaction left, when its list is damaged or missing, or an older one: the newest of those whose
/// checkpoint and segments are all there and whole. `None` when there is none, or the list says what
/// this program does not know.
///
/// # Errors
/// `Io`; `Damage` when another version of this program wrote it.
pub fn find(storage: &dyn Storage, folder: &Path) -> std::result::Result<Option<Compacted>, Failure> {
    let io = |error| Failure::Io { path: folder.to_owned(), error };
    let names = storage.list(folder).map_err(io)?;
    let mut known = 0;
    if Compacted::is_whole(&read_or_empty(storage, &Compacted::path(folder))?) {
        let Ok(list) = Compacted::read(storage, folder) else { return Ok(None) };
        if list.segments.iter().chain([&list.checkpoint()]).all(|name| names.contains(name)) {
            return Ok(None);
        }
        known = list.generation;
    }
    if names.iter().any(|name| segment::first_of(name) == Some((1, 0))) {
        // Nothing was compacted, or what was before is still there.
        return Ok(None);
    }
    let mut made: Vec<(u64, u64)> = names.iter().filter_map(|name| Compacted::of_checkpoint(name)).collect();
    made.retain(|(generation, _)| *generation > known);
    made.sort_unstable_by(|one, other| other.cmp(one));
    for (generation, last) in made {
        if let Some(segments) = chain(storage, folder, &names, generation, last)? {
            let found = Compacted::new(generation, last, segments);
            match open_checkpoint(storage, folder, &found, &mut |_| Ok(())) {
                Ok(_) => return Ok(Some(found)),
                Err(Failure::Damage { .. }) => {}
                Err(unreadable) => return Err(unreadable),
            }
        }
    }
    Ok(None)
}

/// The segments up to the event `last` that compactions up to `generation` made, if they follow each
/// other without a gap and are whole.
fn chain(
    storage: &dyn Storage,
    folder: &Path,
    names: &[String],
    generation: u64,
    last: u64,
) -> std::result::Result<Option<Vec<String>>, Failure> {
    let (mut end, mut found) = (0, Vec::new());
    while end < last {
        let next = names.iter().filter_map(|name| Some((segment::first_of(name)?, name)));
        let next = next.filter(|((first, made), _)| *first == end + 1 && (1..=generation).contains(made));
        let Some((_, name)) = next.max() else { return Ok(None) };
        let path = folder.join(name);
        let bytes = read_or_empty(storage, &path)?;
        let around =
            Around { last: end, until: None, known: 0, at: Vec::new(), uid: 0, was_there: &|_| false };
        let done = mended(&path, &bytes, around)?;
        if done.bytes.is_some() || done.last <= end || done.last > last {
            return Ok(None);
        }
        end = done.last;
        found.push(name.clone());
    }
    Ok(Some(found))
}
