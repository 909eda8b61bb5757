//! Finds the list of compacted segments again, for a repair: the files of the log say what was in it.

use std::collections::BTreeMap;
use std::path::Path;

use super::repair::{mended, read_or_empty};
use crate::log::compacted::Compacted;
use crate::log::mend::Around;
use crate::log::recovery::Failure;
use crate::log::segment;
use crate::storage::Storage;
use crate::store::compacted_part::open_checkpoint;

/// What the last compaction left, when its list is damaged or missing, or an older one: of all whose files are or were
/// in the folder, the one with the fewest that are damaged or missing, and of several the newest. Behind a list that is
/// whole only a newer one counts that is whole, too. `None` when there is none, or the list says what this program does
/// not know.
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
    // Of as many faults what is missing is worse than what is damaged: a compaction that was cut short left nothing.
    let mut best: Option<(Faults, Compacted)> = None;
    for (generation, last) in made(&names).into_iter().filter(|(generation, _)| *generation > known) {
        let (segments, mut faults) = chain(storage, folder, &names, generation, last)?;
        let found = Compacted::new(generation, last, segments);
        match open_checkpoint(storage, folder, &found, &mut |_| Ok(())) {
            Ok(_) => {}
            Err(Failure::Damage { .. }) => faults.files += 1,
            Err(unreadable) => return Err(unreadable),
        }
        if best.as_ref().is_none_or(|(fewest, _)| faults < *fewest) {
            best = Some((faults, found));
        }
    }
    Ok(best.filter(|(faults, _)| faults.files == 0 || known == 0).map(|(_, found)| found))
}

/// What is not whole of a compaction.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Faults {
    /// Files that are damaged or missing.
    files: u64,
    /// Segments of these that are missing, or empty.
    missing: u64,
}

/// Compactions and the last event of each, newest first: the names of their checkpoints say so. Without a checkpoint
/// the part ends where the segment behind it begins.
fn made(names: &[String]) -> Vec<(u64, u64)> {
    let segments = || names.iter().filter_map(|name| segment::first_of(name));
    let newest = segments().map(|(_, made)| made).max().filter(|made| *made > 0);
    let behind = segments().filter(|(_, made)| *made == 0).map(|(first, _)| first.saturating_sub(1)).min();
    let mut made: Vec<(u64, u64)> = names.iter().filter_map(|name| Compacted::of_checkpoint(name)).collect();
    made.extend(newest.zip(behind));
    made.retain(|(_, last)| (1..u64::MAX).contains(last));
    made.sort_unstable_by(|one, other| other.cmp(one));
    made.dedup();
    made
}

/// The segments up to the event `last` that compactions up to `generation` made, one behind the other, and what is
/// not whole of them. Where such a one ends is told by the name of the next.
fn chain(
    storage: &dyn Storage,
    folder: &Path,
    names: &[String],
    generation: u64,
    last: u64,
) -> std::result::Result<(Vec<String>, Faults), Failure> {
    let there = names.iter().filter_map(|name| Some((segment::first_of(name)?, name)));
    let there: BTreeMap<u64, (u64, &String)> = there
        .filter(|((first, made), _)| *first <= last && (1..=generation).contains(made))
        .fold(BTreeMap::new(), |mut there, ((first, made), name)| {
            let newest = there.entry(first).or_insert((made, name));
            *newest = (*newest).max((made, name));
            there
        });
    let (mut begins, mut found, mut faults) = (1, Vec::new(), Faults::default());
    while begins <= last {
        let next = there.range(begins + 1..).next().map_or(last + 1, |(first, _)| *first);
        let path = match there.get(&begins) {
            Some((_, name)) => folder.join(name),
            None => segment::compacted_path(folder, begins, generation),
        };
        let bytes = read_or_empty(storage, &path)?;
        let around =
            Around { last: begins - 1, until: None, known: 0, at: Vec::new(), uid: 0, was_there: &|_| false };
        let done = mended(&path, &bytes, around)?;
        let is_whole = done.bytes.is_none() && (begins..=last).contains(&done.last);
        let goes_on = done.last == last || there.contains_key(&(done.last + 1));
        faults.files += u64::from(!is_whole);
        faults.missing += u64::from(bytes.is_empty());
        begins = if is_whole || (goes_on && done.last >= begins) { done.last + 1 } else { next };
        found.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    Ok((found, faults))
}
