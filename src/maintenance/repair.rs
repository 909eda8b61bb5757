//! Repairs a damaged log while no daemon runs: what is damaged is set aside in files of its own, and
//! each segment that it was in is put in place anew, in one step. See `log::mend`, and
//! `repair_compacted` for the part of the log that was compacted.
//!
//! One segment at a time is held in memory. A repair that was cut short is begun again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint;
use super::compacted_list;
use super::repair_compacted::Part;
use crate::error::Code;
use crate::index::files::RunFiles;
use crate::index::run::Run;
use crate::log::compacted::Compacted;
use crate::log::files::open_segments;
use crate::log::mend::{Around, Aside, EVERYTHING, Mended, OtherVersion, mend};
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
    let repair = Repair { storage: storage.as_ref(), folders, uid, runs, change: Change::Nothing };
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

/// Repairs the log. The index goes: it was made from events that are lost now, and comes back from the
/// log at the next start.
///
/// # Errors
/// As [`look`].
pub fn carry_out(storage: &Arc<dyn Storage>, folders: &Folders, uid: u32) -> Result<(), Failure> {
    let files = RunFiles::new(Arc::clone(storage), folders.index.clone());
    // How far the log went at least must be in the log before the index, which knows it, goes; and the
    // index must go before a log is whole that it does not follow from.
    let runs = runs_of(&files)?;
    let mut repair = Repair { storage: storage.as_ref(), folders, uid, runs, change: Change::Newest };
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
}

impl Repair<'_> {
    fn walk(&self, say: &mut dyn FnMut(&Finding)) -> Result<Findings, Failure> {
        let log = &self.folders.log;
        let mut found = Findings::default();
        let compacted = self.list(&mut found, say)?;
        let at = self.compacted_part(&compacted, &mut found, say)?;
        let (mut segments, begun) = self.segments_behind(&compacted)?;
        let known = self.runs.last().map_or(0, |run| run.meta().last).max(begun);
        let begins = compacted.last + 1;
        let is_missing = segments.first().is_none_or(|(first, _)| *first > begins)
            && (known > 0 || compacted.last > 0 || !segments.is_empty());
        if is_missing {
            // What came before the first that is there is lost as a whole.
            segments.insert(0, (begins, path(log, begins)));
        }
        let (uid, was_there) = (self.uid, EVERYTHING);
        let mut around = Around { last: compacted.last, until: None, known, at, uid, was_there };
        for (number, (_, path)) in segments.iter().enumerate() {
            around.until = segments.get(number + 1).map(|(first, _)| first - 1);
            let bytes = read_or_empty(self.storage, path)?;
            let mut done = mended(path, &bytes, around.clone())?;
            if is_missing && number == 0 {
                done.bytes.get_or_insert_default();
            }
            if let Some(bytes) = &done.bytes {
                let finding = finding(self.storage, path, &done)?;
                say(&finding);
                found.add(&finding);
                let newest = around.until.is_none();
                if self.change == Change::Everything || (self.change == Change::Newest && newest) {
                    let io = |error| Failure::Io { path: path.clone(), error };
                    set_aside(self.storage, &done, &finding).map_err(io)?;
                    replace(self.storage, path, bytes).map_err(io)?;
                }
            }
            (around.last, around.at) = (done.last, done.at);
        }
        Ok(found)
    }

    /// What the last compaction left. Its list is found again when it is damaged or missing.
    fn list(&self, found: &mut Findings, say: &mut dyn FnMut(&Finding)) -> Result<Compacted, Failure> {
        let log = &self.folders.log;
        let read = Compacted::read(self.storage, log);
        if read.as_ref().is_ok_and(|list| list.last > 0) {
            return read;
        }
        let Some(list) = compacted_list::find(self.storage, log)? else { return read };
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

    /// The segments behind the part that was compacted, each with the first seq in it; and an event that
    /// they were begun behind.
    fn segments_behind(&self, compacted: &Compacted) -> Result<(Vec<(u64, PathBuf)>, u64), Failure> {
        let behind = Compacted::new(compacted.generation, compacted.last, Vec::new());
        let files = open_segments(self.storage, &self.folders.log, &behind, Open::Read)?;
        let segments = files.segments.iter().map(|segment| (segment.first, segment.path.clone()));
        Ok((segments.collect(), files.known()))
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
