//! The folder of the log: which of its files make the log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compacted::Compacted;
use super::recovery::{self, Failure, Start, missing_before};
use super::segment::{self, Segment};
use crate::storage::{Open, Storage};

/// Whether only this program gives a file of a log folder that name, one that was not whole yet included.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    is_of_log(name) || is_unfinished(name)
}

fn is_of_log(name: &str) -> bool {
    segment::first_of(name).is_some() || Compacted::is_list(name) || Compacted::of_checkpoint(name).is_some()
}

/// Whether a file is one of the log, or one that bytes of a segment were set aside in, and was not whole yet.
fn is_unfinished(name: &str) -> bool {
    let Some(whole) = name.strip_suffix(".tmp") else { return false };
    let segment = whole.find(".log").and_then(|end| whole.get(..end + 4));
    is_of_log(segment.unwrap_or(whole))
}

/// The files that make the log.
pub struct LogFiles {
    /// The segments, oldest first.
    pub segments: Vec<Arc<Segment>>,
    /// The name of the newest segment, where that is empty and no part of the log yet. A segment is begun when
    /// all before it is on disk.
    begun: Option<Arc<Segment>>,
    /// Segments that are no part of the log.
    empty: Vec<PathBuf>,
    /// Whether there are files of a compaction, and no list that names them.
    unlisted: bool,
}

impl LogFiles {
    /// The last event that was surely on disk when the newest segment was begun; 0 when nobody knows.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.begun.as_ref().map_or(0, |begun| begun.first - 1)
    }

    /// The newest segment, where it is empty.
    #[must_use]
    pub fn begun(&self) -> Option<PathBuf> {
        self.begun.as_ref().map(|begun| begun.path.clone())
    }

    /// Checks that the log, which ends behind event `last`, goes as far as its newest segment says.
    ///
    /// # Errors
    /// `Damage` when it does not.
    pub fn check_end(&self, last: u64) -> Result<(), Failure> {
        match &self.begun {
            Some(begun) if begun.first > last + 1 => Err(missing_before(begun, last)),
            _ => Ok(()),
        }
    }

    /// Checks that the log has its beginning: an index may know what it no longer holds.
    ///
    /// # Errors
    /// `Damage` when the first segment is missing, or all of them though events up to `known` were there or some were
    /// compacted.
    pub fn check_beginning(&self, folder: &Path, compacted: &Compacted, known: u64) -> Result<(), Failure> {
        let whole = match self.segments.first() {
            Some(oldest) => compacted.last > 0 || oldest.first == 1,
            None => known == 0 && !self.unlisted,
        };
        if whole {
            return Ok(());
        }
        if self.unlisted {
            let what = "the list of compacted segments is missing".to_owned();
            return Err(Failure::Damage { path: Compacted::path(folder), offset: 0, what });
        }
        let what = "the log begins with event 1, and this segment is missing".to_owned();
        Err(Failure::Damage { path: segment::path(folder, 1), offset: 0, what })
    }

    /// Removes what is no part of the log, once it is known that the log is whole. What cannot be removed only
    /// takes room: nothing names it.
    pub fn remove_left_over(&self, storage: &dyn Storage, folder: &Path, compacted: &Compacted) {
        for path in &self.empty {
            let _ = storage.remove(path);
        }
        let names = storage.list(folder).unwrap_or_default();
        for name in names.iter().filter(|name| is_unfinished(name)) {
            let _ = storage.remove(&folder.join(name));
        }
        // A log without its beginning may lack the list of what was compacted: what that named is no leftover.
        let begins = self.segments.first().is_some_and(|oldest| oldest.first == 1);
        if begins && names.iter().any(|name| compacted.is_left_over(name)) {
            let _ = compacted.remove_left_over(storage, folder);
        }
    }
}

/// Opens the segments of a folder, oldest first: those of the part that was compacted, and what
/// follows it. Nothing is changed.
///
/// # Errors
/// `Damage` when a segment of the compacted part or the one behind it is missing, `Io`.
pub fn open_segments(
    storage: &dyn Storage,
    folder: &Path,
    compacted: &Compacted,
    how: Open,
) -> Result<LogFiles, Failure> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::Io { path, error }
    };
    let names = storage.list(folder).map_err(io(folder))?;
    let mut segments = Vec::new();
    for name in &compacted.segments {
        let path = folder.join(name);
        if !names.contains(name) {
            return Err(missing(&path, compacted));
        }
        segments.push(open(storage, path, how)?);
    }
    let whole = segments.len();
    let behind = names.iter().filter(|name| segment::first_of(name).is_some_and(|(_, made)| made == 0));
    for name in behind.filter(|name| segment::first_of(name).is_some_and(|(first, _)| first > compacted.last))
    {
        segments.push(open(storage, folder.join(name), how)?);
    }
    if whole > 0 && segments.get(whole).is_none_or(|next| next.first != compacted.last + 1) {
        return Err(missing(&segment::path(folder, compacted.last + 1), compacted));
    }
    // A roll that failed half way leaves an empty segment, and the log went on in the one before.
    let (mut used, mut empty): (Vec<Arc<Segment>>, Vec<Arc<Segment>>) = (Vec::new(), Vec::new());
    for segment in &segments {
        let begins = segment.first == compacted.last + 1;
        let used_or_not =
            if begins || !is_empty(segment).map_err(io(&segment.path))? { &mut used } else { &mut empty };
        used_or_not.push(Arc::clone(segment));
    }
    let newest = used.last().map_or(0, |newest| newest.first);
    let begun = empty.last().filter(|begun| begun.first > newest).cloned();
    // One between others may have lost what it held: then the one before does not go past it.
    let is_lost = |lost: &Arc<Segment>| {
        let before = used.iter().rfind(|before| before.first < lost.first);
        lost.first < newest && !before.is_some_and(|before| goes_to(before, lost.first))
    };
    let lost: Vec<Arc<Segment>> = empty.extract_if(.., |segment| is_lost(segment)).collect();
    used.extend(lost);
    used.sort_by_key(|segment| segment.first);
    if used.is_empty() && !empty.is_empty() {
        used.push(empty.remove(0));
    }
    let empty = empty.iter().map(|segment| segment.path.clone()).collect();
    // A crash amid the very first compaction leaves such files, too, but beside all that they were made from.
    let unlisted = compacted.last == 0 && names.iter().any(|name| compacted.is_left_over(name));
    Ok(LogFiles { segments: used, begun, empty, unlisted })
}

/// Whether a segment holds an event, or a later one.
fn goes_to(segment: &Arc<Segment>, seq: u64) -> bool {
    let start = Start { last: segment.first - 1, offset: None };
    let read = recovery::read(vec![Arc::clone(segment)], start, &mut |_, _| Ok(()));
    read.is_ok_and(|read| read.last >= seq)
}

/// Whether a segment has nothing but the room that was made in it.
fn is_empty(segment: &Segment) -> io::Result<bool> {
    let (mut piece, mut place) = (vec![0; 64 << 10], 0);
    loop {
        // Most begin with a frame, and are read no further.
        let length = if place == 0 { 1 } else { piece.len() };
        let read = segment.file.read_at(&mut piece[..length], place)?;
        if piece[..read].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if read < length {
            return Ok(true);
        }
        place += read as u64;
    }
}

fn open(storage: &dyn Storage, path: PathBuf, how: Open) -> Result<Arc<Segment>, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(segment::first_of);
    let Some((first, _)) = name else {
        let what = "this is no name of a segment".to_owned();
        return Err(Failure::Damage { path, offset: 0, what });
    };
    match storage.open(&path, how) {
        Ok(file) => Ok(Arc::new(Segment { first, path, file })),
        Err(error) => Err(Failure::Io { path, error }),
    }
}

fn missing(path: &Path, compacted: &Compacted) -> Failure {
    let what = format!("the log was compacted up to event {}, and this segment is missing", compacted.last);
    Failure::Damage { path: path.to_owned(), offset: 0, what }
}

/// Bytes that were set aside in a folder of the log: every file that is no part of the log, with its
/// length.
///
/// # Errors
/// What the system says.
pub fn set_aside(
    storage: &dyn Storage,
    folder: &Path,
    compacted: &Compacted,
) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for name in storage.list(folder)? {
        // The next segment is made under a name of its own while this looks.
        if segment::first_of(&name).is_none() && !compacted.names(&name) && !is_unfinished(&name) {
            use io::ErrorKind::{IsADirectory, NotFound, Unsupported};
            match storage.open(&folder.join(&name), Open::Read).and_then(|file| file.length()) {
                // Folders and pipes are another's.
                Err(error) if matches!(error.kind(), NotFound | IsADirectory | Unsupported) => {}
                length => found.push((name, length?)),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::memory::Memory;

    const FOLDER: &str = "/log";

    /// A folder of the log with files of so many bytes.
    fn folder(files: &[(&str, usize)]) -> Memory {
        let storage = Memory::default();
        for (name, bytes) in files {
            let file = storage.open(&Path::new(FOLDER).join(name), Open::Create).expect("memory");
            file.write_at(&vec![b'x'; *bytes], 0).expect("memory");
        }
        storage
    }

    fn names(storage: &Memory) -> Vec<String> {
        let mut names = storage.list(Path::new(FOLDER)).expect("memory");
        names.sort();
        names
    }

    /// The first seqs of the segments that make the log.
    fn opened(storage: &Memory, compacted: &Compacted, how: Open) -> Result<Vec<u64>, String> {
        let opened = open_segments(storage, Path::new(FOLDER), compacted, how);
        let opened = opened.map_err(|failure| failure.to_string())?;
        if how == Open::Write {
            opened.remove_left_over(storage, Path::new(FOLDER), compacted);
        }
        Ok(opened.segments.iter().map(|segment| segment.first).collect())
    }

    #[test]
    fn an_empty_segment_behind_others_is_no_part_of_the_log_and_goes_when_that_is_written() {
        let [one, other] = ["00000000000000000001.log", "00000000000000000009.log"];
        let storage = folder(&[(one, 5), (other, 0)]);
        let nothing = Compacted::default();
        assert_eq!(opened(&storage, &nothing, Open::Read), Ok(vec![1]));
        assert_eq!(names(&storage), [one, other]);
        assert_eq!(opened(&storage, &nothing, Open::Write), Ok(vec![1]));
        assert_eq!(names(&storage), [one]);
        let storage = folder(&[(one, 0)]);
        assert_eq!(opened(&storage, &nothing, Open::Write), Ok(vec![1]), "the log has only begun");
        assert_eq!(opened(&folder(&[]), &nothing, Open::Write), Ok(vec![]));
    }

    #[test]
    fn an_empty_segment_tells_how_far_the_log_went_when_it_was_begun() {
        let files = [("00000000000000000001.log", 5), ("00000000000000000009.log", 0)];
        let (storage, nothing) = (folder(&files), Compacted::default());
        let newest = storage.open(&Path::new(FOLDER).join(files[1].0), Open::Write).expect("memory");
        newest.set_length(100_000).expect("memory");
        let opened = open_segments(&storage, Path::new(FOLDER), &nothing, Open::Read).expect("memory");
        assert_eq!((opened.known(), opened.segments.len()), (8, 1), "room that was made is nothing");
        newest.write_at(b"x", 99_999).expect("memory");
        let other = open_segments(&storage, Path::new(FOLDER), &nothing, Open::Read).expect("memory");
        assert_eq!((other.known(), other.segments.len()), (0, 2));
        // A roll that failed half way: the log went on in the segment before.
        assert!(opened.check_end(8).is_ok() && opened.check_end(11).is_ok());
        let said = opened.check_end(7).expect_err("event 8 is missing").to_string();
        assert!(said.contains("00000000000000000009.log") && said.contains("from 8 to 8"), "{said}");
        let opened = open_segments(&folder(&files[..1]), Path::new(FOLDER), &nothing, Open::Read);
        assert!(opened.is_ok_and(|opened| opened.known() == 0 && opened.check_end(0).is_ok()));
    }

    #[test]
    fn only_what_is_named_as_this_program_names_its_files_is_one_that_was_not_whole_yet() {
        for name in [
            "00000000000000000013.log.tmp",
            "00000000000000000001-2.log.tmp",
            "00000000000000000001-2.log.40.damaged.tmp",
            "00000000000000000001.log.40.torn.2.tmp",
            "00000000000000000812-2.checkpoint.tmp",
            "compacted.tmp",
        ] {
            assert!(is_unfinished(name), "{name}");
        }
        for name in [
            "notes.tmp",
            "13.log.tmp",
            "app.log.tmp",
            "compacted",
            ".tmp",
            "00000000000000000013.log.40.torn",
        ] {
            assert!(!is_unfinished(name), "{name}");
        }
    }

    #[test]
    fn a_compacted_part_is_followed_by_the_segment_behind_it_and_what_it_took_the_place_of_goes() {
        let [part, behind] = ["00000000000000000001-2.log", "00000000000000000013.log"];
        let [old, older] = ["00000000000000000001.log", "00000000000000000001-1.log"];
        let compacted = Compacted::new(2, 12, vec![part.to_owned()]);
        let storage = folder(&[(part, 5), (behind, 0), (old, 5), (older, 5)]);
        assert_eq!(opened(&storage, &compacted, Open::Read), Ok(vec![1, 13]));
        assert_eq!(names(&storage).len(), 4);
        assert_eq!(opened(&storage, &compacted, Open::Write), Ok(vec![1, 13]));
        assert_eq!(names(&storage), [part, behind]);
        for missing in [part, behind] {
            storage.remove(&Path::new(FOLDER).join(missing)).expect("memory");
            let said = opened(&storage, &compacted, Open::Write).expect_err("it is missing");
            assert!(said.contains(missing), "{said}");
            storage.open(&Path::new(FOLDER).join(missing), Open::Create).expect("memory");
        }
    }

    #[test]
    fn a_log_without_its_beginning_is_refused() {
        let begins = |files: &[(&str, usize)], known| {
            let (storage, nothing) = (folder(files), Compacted::default());
            let opened = open_segments(&storage, Path::new(FOLDER), &nothing, Open::Read).expect("memory");
            opened.check_beginning(Path::new(FOLDER), &nothing, known).is_ok()
        };
        assert!(begins(&[], 0) && begins(&[("00000000000000000001.log", 5)], 9));
        assert!(!begins(&[], 1) && !begins(&[("00000000000000000002.log", 5)], 0));
    }

    #[test]
    fn a_compacted_log_without_its_list_is_refused_unless_what_was_compacted_is_still_there() {
        let [segment, checkpoint] = ["00000000000000000001-1.log", "00000000000000000012-1.checkpoint"];
        let [before, behind] = ["00000000000000000001.log", "00000000000000000013.log"];
        let said = |files: &[(&str, usize)]| {
            let (storage, nothing) = (folder(files), Compacted::default());
            let opened = open_segments(&storage, Path::new(FOLDER), &nothing, Open::Read).expect("memory");
            opened.check_beginning(Path::new(FOLDER), &nothing, 0).err().map(|failure| failure.to_string())
        };
        for files in
            [&[(segment, 5)], &[(checkpoint, 5)], &[(segment, 5), (behind, 5)], &[(segment, 5), (behind, 0)]]
                as [&[(&str, usize)]; 4]
        {
            let said = said(files).expect("its list is missing");
            assert!(said.starts_with("/log/compacted at byte 0: ") && said.contains("list"), "{said}");
        }
        // A crash amid the very first compaction.
        assert_eq!(said(&[(before, 5), (behind, 0), (segment, 5), (checkpoint, 5)]), None);
    }

    #[test]
    fn what_was_set_aside_is_all_that_is_no_part_of_the_log() {
        let part = "00000000000000000001-2.log";
        let compacted = Compacted::new(2, 12, vec![part.to_owned()]);
        let checkpoint = compacted.checkpoint();
        let next = "00000000000000000013.log.tmp";
        let (part, checkpoint) = ((part, 5), (checkpoint.as_str(), 7));
        let files = [part, checkpoint, ("compacted", 9), ("a.torn", 3), ("b.damaged", 4), (next, 5)];
        let mut found = set_aside(&folder(&files), Path::new(FOLDER), &compacted).expect("memory");
        found.sort();
        assert_eq!(found, [("a.torn".to_owned(), 3), ("b.damaged".to_owned(), 4)]);
    }
}
