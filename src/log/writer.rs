//! Appends frames to the newest segment, syncs it, and rolls to the next one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::compacted::Compacted;
use super::frame::{Frame, HEADER_ROOM, Header, VERSION};
use super::segment::{self, Segment};
use crate::storage::folder::GONE;
use crate::storage::{File, Open, Storage, temporary_name};

/// Zero bytes written ahead of the log's end, so that a sync has no file size to record. More would save
/// nothing, and the sync that takes them along would last for milliseconds.
const ROOM_BYTES: u64 = 256 << 10;
/// Room that is kept for what gives room back when the disk is full: a sixteenth of a segment, at most
/// this. It is part of the room made ahead, so it is there already when the disk is not.
const RESERVE_BYTES_MAX: u64 = 1 << 20;
/// Where a segment ends at the latest: the index has 32 bits for a place in one.
const END_MAX: u64 = u32::MAX as u64;
/// What is written ahead, in one call at most. A page of it takes no memory until it is read.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// The end of the log, to append to. Only recovery makes one.
pub struct LogWriter {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    segment: Arc<Segment>,
    segment_bytes: u64,
    /// From where on the next segment is to be begun.
    full_at: u64,
    /// Where the next frame goes.
    position: u64,
    /// How far the file reaches, zeros included.
    room: u64,
    last: u64,
    synced: u64,
}

/// The file of a segment that is to be begun.
pub struct Prepared {
    path: PathBuf,
    temporary: PathBuf,
    file: Arc<dyn File>,
    room: u64,
}

/// What went wrong with an append, and what it means.
#[derive(Debug)]
pub enum AppendError {
    /// The frame is not there: nothing has changed, and a later append may succeed.
    Refused(io::Error),
    /// Nobody knows what is in the file now: it must not be written again.
    Broken(io::Error),
}

impl LogWriter {
    /// Continues the log at `position` of its newest segment, behind event `last`, which is synced.
    #[must_use]
    pub fn continue_at(
        storage: Arc<dyn Storage>,
        folder: PathBuf,
        segment: Arc<Segment>,
        segment_bytes: u64,
        position: u64,
        room: u64,
        last: u64,
    ) -> Self {
        let (full_at, synced) = (segment_bytes, last);
        LogWriter { storage, folder, segment, segment_bytes, full_at, position, room, last, synced }
    }

    /// The segment that takes the next frame.
    #[must_use]
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The last seq that is surely on disk.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// The last seq appended.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Sees to room for a frame with so many bytes of lines, with the reserve behind it unless it may use that. Answers
    /// whether there is. For each request; the disk is asked only when the room made ahead is not enough.
    pub fn secure_room(&mut self, lines: u64, may_use_reserve: bool) -> bool {
        let end = self.position + HEADER_ROOM as u64 + lines;
        let reserve = self.reserve();
        if end + reserve > self.room && self.fits(lines) {
            self.make_room(end + reserve);
        }
        self.fits(lines) && end + if may_use_reserve { 0 } else { reserve } <= self.room
    }

    /// Whether a frame with so many bytes of lines may be part of the newest segment. Such a segment is long only
    /// when the next one could not be begun.
    #[must_use]
    pub fn fits(&self, lines: u64) -> bool {
        self.position + HEADER_ROOM as u64 + lines <= END_MAX
    }

    /// Appends the events `first` to `last`, whose lines `frame` has. Answers where the lines begin in the
    /// segment.
    ///
    /// # Errors
    /// As [`AppendError`] says.
    pub fn append(&mut self, first: u64, last: u64, frame: &mut Frame) -> Result<u64, AppendError> {
        let bytes = frame.lines().len() as u64;
        let (prev, synced) = (self.last, self.synced);
        let whole = frame.close(&Header { v: VERSION, first, last, prev, synced, bytes });
        let end = self.position + whole.len() as u64;
        if end > END_MAX {
            let what = "the segment has 4 GiB, and the next one could not be begun";
            return Err(AppendError::Refused(io::Error::other(what)));
        }
        if end > self.room {
            self.make_room(end);
        }
        if let Err(error) = self.segment.file.write_at(whole, self.position) {
            // What was written in part must not be taken for a frame: zeros are put over it.
            return Err(match self.wipe(whole.len()) {
                Ok(()) => AppendError::Refused(error),
                Err(_) => AppendError::Broken(error),
            });
        }
        self.position = end;
        self.room = self.room.max(end);
        self.last = last;
        Ok(end - bytes)
    }

    /// Writes zeros ahead. A disk with no room for them may still have room for the frame.
    fn make_room(&mut self, end: u64) {
        let target = (end + ROOM_BYTES).min(self.segment_bytes.max(end));
        let file = &self.segment.file;
        let reached = match write_zeros(file.as_ref(), self.room, target) {
            Ok(()) => target,
            // Some of it may be there, and on a full disk it would not come back.
            Err(_) => file.length().unwrap_or(0),
        };
        self.room = self.room.max(reached);
    }

    /// Puts zeros over a frame of so many bytes that was written in part, on the disk too: what was refused must not
    /// come back after a power loss. The room stays: on a full disk it would not come back.
    fn wipe(&mut self, bytes: usize) -> io::Result<()> {
        let inside = usize::try_from(self.room - self.position).unwrap_or(usize::MAX).min(bytes);
        let file = &self.segment.file;
        let wiped = file.write_at(&vec![0; inside], self.position).and_then(|()| file.set_length(self.room));
        wiped.or_else(|_| self.cut())?;
        self.segment.file.sync()
    }

    /// Puts all that was appended on disk.
    ///
    /// # Errors
    /// What the system says; then nobody knows what is on disk, and the file must not be written again.
    pub fn sync(&mut self) -> io::Result<()> {
        self.segment.file.sync()?;
        self.synced = self.last;
        Ok(())
    }

    /// Notes that all that was appended is on disk: someone else has synced the segment's file.
    pub fn confirm(&mut self) {
        self.synced = self.last;
    }

    /// Why nothing more may be written: what is appended to a file that was removed is lost with this process, and
    /// what is appended to one that was moved away is missed by the next. `None` also when that cannot be told now.
    #[must_use]
    pub fn gone(&self) -> Option<io::Error> {
        let there = self.storage.open(&self.segment.path, Open::Read);
        let is_missing = there.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        match there {
            Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => Some(error),
            _ if is_missing || !self.segment.file.has_name() => {
                Some(io::Error::new(io::ErrorKind::StaleNetworkFileHandle, format!("the file {GONE}")))
            }
            _ => None,
        }
    }

    /// The checkpoint of the table, where the log was compacted: open, it can be copied even when it is removed.
    #[must_use]
    pub fn checkpoint(&self, compacted: &Compacted) -> Option<Arc<dyn File>> {
        self.storage.open(&compacted.checkpoint_path(&self.folder), Open::Read).ok()
    }

    /// Whether the newest segment has grown past its bound.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.position >= self.full_at
    }

    /// Makes the file of the next segment under a temporary name, with the room that is kept in it: the newest
    /// one gives its own back only when a full disk has that.
    ///
    /// # Errors
    /// What the system says; the newest segment then goes on, and is full again a little later.
    pub fn prepare(&mut self) -> io::Result<Prepared> {
        self.full_at = self.position + ROOM_BYTES;
        let path = segment::path(&self.folder, self.last + 1);
        let temporary = temporary_name(&path);
        let make = || {
            let file = self.storage.open(&temporary, Open::Create)?;
            let room = self.reserve();
            write_zeros(file.as_ref(), 0, room)?;
            file.sync()?;
            Ok(Prepared { path, temporary: temporary.clone(), file, room })
        };
        // What cannot be removed takes room until the next start.
        make().inspect_err(|_| drop(self.storage.remove(&temporary)))
    }

    /// Removes the file of a segment that is not begun.
    pub fn discard(&self, prepared: &Prepared) {
        let _ = self.storage.remove(&prepared.temporary);
    }

    /// Begins the next segment. The newest must be cut and synced before.
    ///
    /// # Errors
    /// What the system says; the old segment then goes on.
    pub fn roll(&mut self, prepared: Prepared) -> io::Result<()> {
        let renamed = self.storage.rename(&prepared.temporary, &prepared.path);
        renamed.inspect_err(|_| self.discard(&prepared))?;
        let Prepared { path, file, room, .. } = prepared;
        // Each attempt has a name of its own: what is not begun must not be left.
        self.storage.sync_folder(&self.folder).inspect_err(|_| drop(self.storage.remove(&path)))?;
        self.segment = Arc::new(Segment { first: self.last + 1, path, file });
        (self.position, self.room, self.full_at) = (0, room, self.segment_bytes);
        Ok(())
    }

    /// Bytes of room that a segment has from the beginning, and keeps for what gives room back.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        RESERVE_BYTES_MAX.min(self.segment_bytes / 16)
    }

    /// Cuts the room made ahead off the newest segment, and syncs. Answers why it could not be cut: what was
    /// acknowledged is on disk all the same.
    ///
    /// # Errors
    /// As [`LogWriter::sync`].
    pub fn trim(&mut self) -> io::Result<Option<io::Error>> {
        let cut = self.cut();
        self.sync()?;
        Ok(cut.err())
    }

    /// Cuts the room made ahead off the newest segment.
    ///
    /// # Errors
    /// What the system says.
    pub fn cut(&mut self) -> io::Result<()> {
        self.segment.file.set_length(self.position)?;
        self.room = self.position;
        Ok(())
    }
}

/// Writes zeros into a file.
fn write_zeros(file: &dyn File, mut from: u64, to: u64) -> io::Result<()> {
    while from < to {
        let count = usize::try_from(to - from).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_at(&ZEROS[..count], from)?;
        from += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

    use super::*;
    use crate::log::recovery::{Start, read};
    use crate::storage::failing::{Call, Failing, fail_if};
    use crate::storage::memory::Memory;
    use crate::storage::read_whole;

    const SEGMENT_BYTES: u64 = 1 << 20;

    /// What fails: the sync of a folder, the write of a frame, half way, and the sync of a file.
    #[derive(Default)]
    struct Faults {
        folder_syncs: AtomicBool,
        frames: AtomicBool,
        syncs: AtomicBool,
        synced: AtomicU32,
    }

    fn failing(faults: &Arc<Faults>) -> Arc<dyn Storage> {
        let faults = Arc::clone(faults);
        Failing::in_memory(move |call, _| match call {
            Call::SyncFolder => fail_if(&faults.folder_syncs),
            Call::Write(bytes) if bytes.iter().any(|byte| *byte != 0) => fail_if(&faults.frames),
            Call::Sync => fail_if(&faults.syncs).inspect(|()| {
                faults.synced.fetch_add(1, SeqCst);
            }),
            _ => Ok(()),
        })
    }

    fn log() -> (Arc<dyn Storage>, LogWriter) {
        log_on(Arc::new(Memory::default()))
    }

    fn log_on(storage: Arc<dyn Storage>) -> (Arc<dyn Storage>, LogWriter) {
        let read = read(Vec::new(), Start::default(), &mut |_, _| Ok(())).expect("nothing");
        let (log, ..) = read.into_writer(&storage, Path::new("/log"), SEGMENT_BYTES).expect("memory");
        (storage, log)
    }

    /// Appends a frame of one line.
    fn append(log: &mut LogWriter, first: u64, last: u64, json: &[u8]) -> u64 {
        let mut frame = Frame::default();
        frame.add(json);
        log.append(first, last, &mut frame).expect("memory")
    }

    fn roll(log: &mut LogWriter) -> io::Result<()> {
        let prepared = log.prepare()?;
        log.roll(prepared)
    }

    fn content(storage: &Arc<dyn Storage>, first: u64) -> Vec<u8> {
        read_whole(storage.as_ref(), &segment::path(Path::new("/log"), first)).expect("memory")
    }

    #[test]
    fn a_frame_says_what_came_before_it_and_what_of_that_is_on_disk() {
        let (storage, mut log) = log();
        let start = append(&mut log, 1, 2, b"first");
        assert_eq!((log.last(), log.synced()), (2, 0));
        log.sync().expect("memory");
        assert_eq!(log.synced(), 2);
        let second = append(&mut log, 3, 3, b"second");
        let bytes = content(&storage, 1);
        let at = |place: u64| &bytes[usize::try_from(place).expect("small")..];
        assert!(at(start)[9..].starts_with(b"first\n") && at(second)[9..].starts_with(b"second\n"));
        let header = &at(start + 15)[9..];
        let header = &header[..header.iter().position(|byte| *byte == b'\n').expect("a line")];
        let expected = Header { v: VERSION, first: 3, last: 3, prev: 2, synced: 2, bytes: 16 };
        assert_eq!(Header::read(header), Some(expected));
    }

    #[test]
    fn room_is_made_ahead_of_the_end_and_cut_off_at_the_end() {
        let (storage, mut log) = log();
        append(&mut log, 1, 1, b"x");
        let bytes = content(&storage, 1);
        let used = bytes.iter().rposition(|byte| *byte != 0).expect("a frame") + 1;
        let ahead = (bytes.len() - used) as u64;
        assert!((ROOM_BYTES - 200..=ROOM_BYTES).contains(&ahead), "{ahead}");
        for seq in 2..=20 {
            append(&mut log, seq, seq, &[b'y'; 60_000]);
            assert!(content(&storage, 1).len() as u64 <= SEGMENT_BYTES.max(log.position), "event {seq}");
        }
        assert!(log.is_full());
        log.trim().expect("memory");
        assert_eq!((content(&storage, 1).len() as u64, log.synced()), (log.position, 20));
    }

    #[test]
    fn a_full_segment_is_followed_by_one_that_is_named_after_its_first_event() {
        let (storage, mut log) = log();
        assert!(!log.is_full());
        append(&mut log, 1, 7, &vec![b'x'; 1 << 20]);
        assert!(log.is_full());
        log.trim().and_then(|_| roll(&mut log)).expect("memory");
        assert_eq!((log.segment().first, log.is_full(), log.last()), (8, false, 7));
        assert_eq!(
            storage.list(Path::new("/log")).expect("memory"),
            ["00000000000000000001.log", "00000000000000000008.log"]
        );
        let reserve = content(&storage, 8).len() as u64;
        assert!(reserve >= SEGMENT_BYTES / 16, "room that a full disk may not have later: {reserve}");
        append(&mut log, 8, 8, b"y");
        assert!(content(&storage, 8).starts_with(&content(&storage, 8)[..9]));
        assert_eq!(
            content(&storage, 1).len() as u64,
            (1 << 20)
                + 10
                + content(&storage, 1).iter().position(|byte| *byte == b'\n').expect("a header") as u64
                + 1
        );
    }

    #[test]
    fn a_segment_that_is_not_begun_leaves_no_file_and_is_not_made_again_at_once() {
        let (storage, mut log) = log();
        append(&mut log, 1, 1, &vec![b'y'; 1 << 20]);
        assert!(log.is_full());
        let prepared = log.prepare().expect("memory");
        assert!(!log.is_full());
        log.discard(&prepared);
        assert_eq!(storage.list(Path::new("/log")).expect("memory").len(), 1);
        append(&mut log, 2, 2, &vec![b'y'; 1 << 20]);
        assert!(log.is_full());
        log.trim().and_then(|_| roll(&mut log)).expect("memory");
        assert!(!log.is_full());
        assert_eq!(log.room, log.reserve());
    }

    #[test]
    fn a_frame_that_would_end_behind_4_gib_of_a_segment_is_refused() {
        let storage: Arc<dyn Storage> = Arc::new(Memory::default());
        let path = segment::path(Path::new("/log"), 1);
        let file = storage.open(&path, Open::Create).expect("memory");
        let segment = Arc::new(Segment { first: 1, path, file });
        let position = END_MAX - 1000;
        let folder = Path::new("/log").to_owned();
        let mut log = LogWriter::continue_at(storage, folder, segment, SEGMENT_BYTES, position, END_MAX, 7);
        assert!(log.fits(100) && !log.fits(1000) && !log.secure_room(1000, true));
        let mut frame = Frame::default();
        frame.add(&[b'x'; 1000]);
        assert!(matches!(log.append(8, 8, &mut frame), Err(AppendError::Refused(_))));
        assert_eq!((log.last(), log.segment().file.length().expect("memory")), (7, 0), "nothing was written");
    }

    #[test]
    fn a_segment_whose_name_is_not_on_disk_leaves_no_file_and_the_one_before_goes_on() {
        let faults = Arc::new(Faults::default());
        let (storage, mut log) = log_on(failing(&faults));
        append(&mut log, 1, 1, &vec![b'y'; 1 << 20]);
        log.trim().expect("memory");
        faults.folder_syncs.store(true, SeqCst);
        roll(&mut log).expect_err("the folder cannot be synced");
        assert_eq!(log.segment().first, 1);
        assert_eq!(storage.list(Path::new("/log")).expect("memory"), ["00000000000000000001.log"]);
        append(&mut log, 2, 2, b"y");
        faults.folder_syncs.store(false, SeqCst);
        log.trim().and_then(|_| roll(&mut log)).expect("memory");
        assert_eq!(log.segment().first, 3);
    }

    #[test]
    fn a_frame_that_was_written_in_part_is_wiped_on_the_disk_too() {
        for syncs_fail in [false, true] {
            let faults = Arc::new(Faults::default());
            let (storage, mut log) = log_on(failing(&faults));
            append(&mut log, 1, 1, b"one");
            let synced = faults.synced.load(SeqCst);
            faults.frames.store(true, SeqCst);
            faults.syncs.store(syncs_fail, SeqCst);
            let mut frame = Frame::default();
            frame.add(b"two");
            let failed = log.append(2, 2, &mut frame).expect_err("the disk is bad");
            assert_eq!(matches!(failed, AppendError::Broken(_)), syncs_fail, "{failed:?}");
            let position = usize::try_from(log.position).expect("small");
            assert!(content(&storage, 1)[position..].iter().all(|byte| *byte == 0));
            let more = faults.synced.load(SeqCst) - synced;
            assert_eq!(more, u32::from(!syncs_fail));
        }
    }

    #[test]
    fn there_is_room_for_a_frame_and_the_reserve_behind_it_while_the_disk_has_any() {
        let (_, mut log) = log();
        assert!(log.secure_room(10, false));
        assert!(log.secure_room(SEGMENT_BYTES, true) && log.secure_room(SEGMENT_BYTES, false));
        assert_eq!(log.reserve(), SEGMENT_BYTES / 16);
        assert!(log.room >= log.position + HEADER_ROOM as u64 + SEGMENT_BYTES + log.reserve());
    }
}
