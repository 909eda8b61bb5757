//! Repairs a damaged log while no daemon runs: what is damaged is set aside in files of its own, and
//! each segment that it was in is put in place anew, in one step. See `log::mend`, and
//! `repair_compacted` for the part of the log that was compacted.
//!
//! One segment at a time is held in memory: where more events are missing than a segment holds, further segments say
//! so. A repair that was cut short is begun again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint;
use super::compacted_list;
use super::repair_compacted::{Part, records_in};
use crate::error::Code;
use crate::index::files::RunFiles;
use crate::index::run::Run;
use crate::log::compacted::Compacted;
use crate::log::files::{LogFiles, open_segments};
use crate::log::frame::seq_of;
use crate::log::mend::{Around, Aside, EVERYTHING, LINE_BYTES_MIN, Mended, OtherVersion, mend, mend_within};
use crate::log::recovery::Failure;
use crate::log::segment::path;
use crate::storage::{Open, Storage, path_of_copy, read_whole, replace, with_suffix};
use crate::store::{Folders, index_failure};

/// What is wrong with one segment, and what was or will be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The segment.
    pub path: PathBuf,
    /// Damaged pieces: where, how many bytes, and the file they go to.
    pub aside: Vec<(u64, u64, PathBuf)>,
    /// First and last seqs of the events that are lost.
    pub lost: Vec<(u64, u64)>,
    /// Of a table's checkpoint: how many events it alone told of, since a compaction removed them.
    pub untold: Option<u64>,
    /// Whether messages to recipients may be lost, too: in a compacted part only the index knows of them.
    pub unnamed: bool,
}

/// Looks at the whole log and tells `say` what is wrong; nothing is changed.
///
/// # Errors
/// `Io`; `Damage` when another version of this program wrote the log, or what it says cannot be
/// repaired.
pub fn look(
    storage: &Arc<dyn Storage>,
    folders: &Folders,
    uid: u32,
    say: &mut dyn FnMut(&Finding),
) -> Result<Findings, Failure> {
    let files = RunFiles::new(Arc::clone(storage), folders.index.clone());
    let runs = runs_of(&files)?;
    let repair = Repair::new(storage.as_ref(), folders, uid, runs, Change::Nothing);
    let mut findings = Vec::new();
    let found = repair.walk(&mut |finding| findings.push(finding.clone()))?;
    if let [Finding { path, untold: Some(_), .. }] = findings.as_slice()
        && checkpoint::is_needless(path, &repair.runs)
    {
        return Ok(Findings { needless: Some(path.clone()), ..Findings::default() });
    }
    findings.iter().for_each(say);
    Ok(found)
}

/// Repairs the log, behind a [`look`] that understood all of it. The index goes: it was made from events that are lost
/// now, and comes back from the log at the next start.
///
/// # Errors
/// As [`look`].
pub fn carry_out(storage: &Arc<dyn Storage>, folders: &Folders, uid: u32) -> Result<(), Failure> {
    let files = RunFiles::new(Arc::clone(storage), folders.index.clone());
    // How far the log went at least must be in the log before the index, which knows it, goes; and the
    // index must go before a log is whole that it does not follow from.
    let runs = runs_of(&files)?;
    let mut repair = Repair::new(storage.as_ref(), folders, uid, runs, Change::Newest);
    repair.walk(&mut |_| {})?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| Failure::Io { path, error }
    };
    // Also what a repair that failed had renamed.
    storage.sync_folder(&folders.log).map_err(io(&folders.log))?;
    storage.create_folder(&folders.index).map_err(io(&folders.index))?;
    files.announce(&[]).map_err(|error| index_failure(&folders.index, &error))?;
    storage.sync_folder(&folders.index).map_err(io(&folders.index))?;
    (repair.runs, repair.change) = (Vec::new(), Change::Everything);
    repair.walk(&mut |_| {})?;
    storage.sync_folder(&folders.log).map_err(io(&folders.log))
}

/// Which segments may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    /// The newest one, and those of the part that was compacted: the index helps with both.
    Newest,
    Everything,
}

struct Repair<'r> {
    storage: &'r dyn Storage,
    folders: &'r Folders,
    uid: u32,
    /// The runs of the index, as far as it can be read.
    runs: Vec<Arc<Run>>,
    change: Change,
    /// A segment of that many bytes takes no more lost events.
    segment_bytes: usize,
}

/// As [`Repair::segment_bytes`]: about as much as a segment has that a daemon makes.
const SEGMENT_BYTES: usize = 64 << 20;
/// So many events may be missing before a segment, whatever else there is: more than a whole segment holds.
const MISSING_LEAST: u64 = 1 << 20;
/// And so many times as many as the whole log could hold now.
const MISSING_TIMES: u64 = 16;

impl<'r> Repair<'r> {
    fn new(
        storage: &'r dyn Storage,
        folders: &'r Folders,
        uid: u32,
        runs: Vec<Arc<Run>>,
        change: Change,
    ) -> Self {
        Repair { storage, folders, uid, runs, change, segment_bytes: SEGMENT_BYTES }
    }

    fn walk(&self, say: &mut dyn FnMut(&Finding)) -> Result<Findings, Failure> {
        let log = &self.folders.log;
        let mut found = Findings::default();
        let compacted = self.list(&mut found, say)?;
        let at = self.compacted_part(&compacted, &mut found, say)?;
        let files = self.files_behind(&compacted)?;
        let indexed = self.runs.last().map_or(0, |run| run.meta().last);
        let known = indexed.max(files.known());
        let most = most_missing(&files)?;
        let mut segments: Vec<(u64, PathBuf)> =
            files.segments.iter().map(|segment| (segment.first, segment.path.clone())).collect();
        let begins = compacted.last + 1;
        let is_missing = segments.first().is_none_or(|(first, _)| *first > begins)
            && (known > 0 || compacted.last > 0 || !segments.is_empty());
        if is_missing {
            // What came before the first that is there is lost as a whole.
            segments.insert(0, (begins, path(log, begins)));
        }
        let (uid, was_there) = (self.uid, EVERYTHING);
        let mut around = Around { last: compacted.last, until: None, known, at, uid, was_there };
        let mut number = 0;
        while let Some((_, path_of)) = segments.get(number).cloned() {
            let next = segments.get(number + 1);
            around.until = next.map(|(first, _)| first - 1);
            let goes_to = around.until.unwrap_or(known);
            let is_far = goes_to > indexed.max(around.last).saturating_add(most);
            // Only while the index is there to know it by: it goes before everything may be changed.
            let may_refuse = self.change != Change::Everything;
            if may_refuse && is_far && (indexed > 0 || !self.begins_as_named(next)?) {
                let path = next.map(|(_, path)| path.clone()).or_else(|| files.begun());
                return Err(is_no_part(path.unwrap_or_default(), &around, goes_to));
            }
            let done = self.segment(&path_of, around.clone(), is_missing && number == 0, &mut found, say)?;
            (around.last, around.at) = (done.last, done.at);
            if around.last < goes_to {
                segments.insert(number + 1, (around.last + 1, path(log, around.last + 1)));
            }
            number += 1;
        }
        Ok(found)
    }

    /// Whether a segment has the first event that its name says; then it is taken for a part of the log where there
    /// is no index to tell, however much is missing before it.
    fn begins_as_named(&self, segment: Option<&(u64, PathBuf)>) -> Result<bool, Failure> {
        let Some((first, path)) = segment else { return Ok(false) };
        let bytes = read_or_empty(self.storage, path)?;
        Ok(records_in(&bytes).next().and_then(seq_of) == Some(*first))
    }

    /// Mends one segment, or only looks at it. `is_missing`: it must be there, also where it holds nothing.
    fn segment(
        &self,
        path: &Path,
        around: Around<'_>,
        is_missing: bool,
        found: &mut Findings,
        say: &mut dyn FnMut(&Finding),
    ) -> Result<Mended, Failure> {
        let newest = around.until.is_none();
        let bytes = read_or_empty(self.storage, path)?;
        let mended = mend_within(&bytes, around, self.segment_bytes);
        let mut done = mended.map_err(|OtherVersion(offset)| of_another_version(path, offset))?;
        if is_missing {
            done.bytes.get_or_insert_default();
        }
        if let Some(bytes) = &done.bytes {
            let finding = finding(self.storage, path, &done)?;
            say(&finding);
            found.add(&finding);
            if self.change == Change::Everything || (self.change == Change::Newest && newest) {
                let io = |error| Failure::Io { path: path.to_owned(), error };
                set_aside(self.storage, &done, &finding).map_err(io)?;
                replace(self.storage, path, bytes).map_err(io)?;
            }
        }
        Ok(done)
    }

    /// What the last compaction left. Its list is found again when it is damaged or missing.
    fn list(&self, found: &mut Findings, say: &mut dyn FnMut(&Finding)) -> Result<Compacted, Failure> {
        let log = &self.folders.log;
        let Some(list) = compacted_list::find(self.storage, log)? else {
            return Compacted::read(self.storage, log);
        };
        let path = Compacted::path(log);
        let bytes = read_or_empty(self.storage, &path)?;
        let aside = if bytes.is_empty() { Vec::new() } else { vec![Aside { offset: 0, bytes }] };
        let done = Mended { aside, ..Mended::default() };
        let finding = finding(self.storage, &path, &done)?;
        say(&finding);
        found.add(&finding);
        if self.change != Change::Nothing {
            let io = |error| Failure::Io { path: path.clone(), error };
            set_aside(self.storage, &done, &finding).map_err(io)?;
            list.write(self.storage, log).map_err(io)?;
        }
        Ok(list)
    }

    /// The files of the log behind the part that was compacted.
    fn files_behind(&self, compacted: &Compacted) -> Result<LogFiles, Failure> {
        let behind = Compacted::new(compacted.generation, compacted.last, Vec::new());
        open_segments(self.storage, &self.folders.log, &behind, Open::Read)
    }

    /// Repairs the part that was compacted, or only looks at it. The time of its last event, as text.
    fn compacted_part(
        &self,
        compacted: &Compacted,
        found: &mut Findings,
        say: &mut dyn FnMut(&Finding),
    ) -> Result<Vec<u8>, Failure> {
        if compacted.last == 0 {
            return Ok(BEGINNING.to_vec());
        }
        let part = Part::open(self.storage, &self.folders.log, compacted, &self.runs, self.uid)?;
        let change = self.change != Change::Nothing;
        let of_part = part.walk(BEGINNING, change)?;
        for finding in &of_part.findings {
            say(finding);
            found.add(finding);
        }
        if change && !of_part.findings.is_empty() {
            part.finish(&of_part)?;
        }
        Ok(of_part.at)
    }
}

/// How many events may be missing before a segment. The name of a file that is no part of the log must not fill the
/// disk with lost events.
fn most_missing(files: &LogFiles) -> Result<u64, Failure> {
    let mut bytes = 0;
    for segment in &files.segments {
        let length = segment.file.length();
        bytes += length.map_err(|error| Failure::Io { path: segment.path.clone(), error })?;
    }
    Ok(MISSING_LEAST + MISSING_TIMES * (bytes / LINE_BYTES_MIN as u64))
}

/// The name of a file says that more events came before it than there can have been.
fn is_no_part(path: PathBuf, around: &Around<'_>, goes_to: u64) -> Failure {
    let what = format!(
        "by its name the log goes to event {goes_to} before it: that is more than it can have held behind event {}; if \
         this file is no part of it, move it away and run this again",
        around.last
    );
    Failure::Damage { path, offset: 0, what }
}

/// The bytes of a segment; none when it is missing.
pub(super) fn read_or_empty(storage: &dyn Storage, path: &Path) -> Result<Vec<u8>, Failure> {
    match read_whole(storage, path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| Failure::Io { path: path.to_owned(), error }),
    }
}

/// Mends the segment at `path`.
pub(super) fn mended(path: &Path, bytes: &[u8], around: Around<'_>) -> Result<Mended, Failure> {
    mend(bytes, around).map_err(|OtherVersion(offset)| of_another_version(path, offset))
}

/// What is not for this program to repair.
pub(super) fn of_another_version(path: &Path, offset: u64) -> Failure {
    let what = "another version of this program wrote this: repair it with that one".to_owned();
    Failure::Damage { path: path.to_owned(), offset, what }
}

/// Writes the damaged pieces of a segment to files of their own.
pub(super) fn set_aside(storage: &dyn Storage, mended: &Mended, finding: &Finding) -> std::io::Result<()> {
    let pieces = mended.aside.iter().zip(&finding.aside);
    pieces.into_iter().try_for_each(|(piece, (_, _, file))| replace(storage, file, &piece.bytes))
}

/// The time of events that were lost before any that is left.
const BEGINNING: &[u8] = b"1970-01-01T00:00:00.000000Z";

/// What a look at the whole log found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Segments and other files of the log that are damaged.
    pub files: u64,
    /// Events that are lost.
    pub lost: u64,
    /// A checkpoint of the table that is damaged or missing, where nothing else is and the index has all of it.
    pub needless: Option<PathBuf>,
}

impl Findings {
    fn add(&mut self, finding: &Finding) {
        self.files += 1;
        self.lost += finding.lost.iter().map(|(first, last)| last - first + 1).sum::<u64>();
    }
}

/// What was found in the segment at `path`. No piece goes where that of an earlier repair is.
pub(super) fn finding(storage: &dyn Storage, path: &Path, mended: &Mended) -> Result<Finding, Failure> {
    let aside = mended.aside.iter().map(|piece| {
        let name = with_suffix(path, &format!(".{}.damaged", piece.offset));
        let copy = path_of_copy(storage, &name, &piece.bytes);
        let copy = copy.map_err(|error| Failure::Io { path: name, error })?;
        Ok((piece.offset, piece.bytes.len() as u64, copy))
    });
    Ok(Finding {
        path: path.to_owned(),
        aside: aside.collect::<Result<_, Failure>>()?,
        lost: mended.lost.clone(),
        untold: None,
        unnamed: false,
    })
}

/// The runs of the index; none when it is damaged.
fn runs_of(files: &RunFiles) -> Result<Vec<Arc<Run>>, Failure> {
    match files.read(&mut |_| ()) {
        // An index that is there and may not be read must not be taken for none.
        Err(error) if error.code() != Code::Corrupt => Err(index_failure(files.folder(), &error)),
        read => Ok(read.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frame::{Frame, Header, VERSION};
    use crate::log::recovery::{Start, read};
    use crate::storage::memory::Memory;

    /// A log of one event, and a segment of another one far behind it, under its own name or a wrong one.
    fn log_with_gap(second: u64, name: u64) -> (Arc<dyn Storage>, Folders) {
        let storage: Arc<dyn Storage> = Arc::new(Memory::default());
        let folders = Folders::new(Path::new("/data"));
        for (seq, name) in [(1, 1), (second, name)] {
            let mut frame = Frame::default();
            frame.add(format!("{{\"seq\":{seq},\"at\":\"1970-01-01T00:00:00.000001Z\"}}").as_bytes());
            let bytes = frame.lines().len() as u64;
            let prev = seq - 1;
            let whole = frame.close(&Header { v: VERSION, first: seq, last: seq, prev, synced: prev, bytes });
            let file = storage.open(&path(&folders.log, name), Open::Create).expect("memory");
            file.write_at(whole, 0).expect("memory");
        }
        (storage, folders)
    }

    #[test]
    fn where_more_is_missing_than_a_segment_holds_further_segments_say_so() {
        let (storage, folders) = log_with_gap(30_001, 30_001);
        let (runs, change) = (Vec::new(), Change::Everything);
        let repair =
            Repair { segment_bytes: 1 << 20, ..Repair::new(storage.as_ref(), &folders, 7, runs, change) };
        let mut files = 0;
        let found = repair.walk(&mut |_| files += 1).expect("memory");
        assert_eq!((found.lost, found.files), (29_999, files));
        let log = repair.files_behind(&Compacted::default()).expect("memory");
        assert!(log.segments.len() > 3, "{}", log.segments.len());
        let longest = log.segments.iter().map(|segment| segment.file.length().expect("memory")).max();
        assert!(longest < Some(2 << 20), "{longest:?}");
        let mut seqs = 0..;
        let whole = read(log.segments, Start::default(), &mut |_, event| {
            assert_eq!(Some(event.seq - 1), seqs.next());
            Ok(())
        });
        assert_eq!(whole.expect("it is whole").last, 30_001);
    }

    #[test]
    fn a_file_whose_name_says_that_more_is_missing_than_there_can_have_been_is_named_and_nothing_is_done() {
        for far in [200_000_001, u64::MAX - 1] {
            let (storage, folders) = log_with_gap(2, far);
            let names = || storage.list(&folders.log).expect("memory");
            let before = names();
            let looked = look(&storage, &folders, 7, &mut |_| panic!("there is nothing to say"));
            for done in [looked.map(|_| ()), carry_out(&storage, &folders, 7)] {
                let failure = done.expect_err("it is no part of the log").to_string();
                let file = path(&folders.log, far).display().to_string();
                assert!(failure.starts_with(&file) && failure.contains("move it away"), "{failure}");
            }
            assert_eq!(names(), before);
        }
    }

    #[test]
    fn a_segment_that_begins_as_its_name_says_is_part_of_the_log_however_far_off() {
        for (name, expected) in [(5_000_000, true), (5_000_001, false)] {
            let (storage, folders) = log_with_gap(5_000_000, name);
            let repair = Repair::new(storage.as_ref(), &folders, 7, Vec::new(), Change::Nothing);
            let segment = (name, path(&folders.log, name));
            assert_eq!(repair.begins_as_named(Some(&segment)).expect("memory"), expected);
        }
    }
}
