//! Reads the log back at a start: finds its end, sets a torn frame aside, refuses damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::scan::{End, Scan, read_range, used_end};
pub use super::scan::{Failure, Found};
use super::segment::{self, Segment};
use super::writer::LogWriter;
use crate::storage::{Open, Storage, path_of_copy, replace, with_suffix};

/// Where to begin: everything up to `last` is known already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start {
    /// The last seq that is known; 0 to read everything.
    pub last: u64,
    /// Where its line begins in its segment. `None`: it is the last of a segment, and may be gone.
    pub offset: Option<u64>,
}

/// What was set aside: the copy, and how many bytes it has.
pub type Torn = Option<(PathBuf, u64)>;

/// A log that was read to its end.
pub struct Recovered {
    /// The segments, oldest first; none where the log has not begun.
    pub segments: Vec<Arc<Segment>>,
    /// The last seq.
    pub last: u64,
    /// Where the next frame goes in the newest segment.
    position: u64,
    /// The newest segment's length.
    length: u64,
    /// Where the frames begin that no later frame says were synced.
    unconfirmed: u64,
}

/// Reads the log from `start` to its end, giving every event to `visit`. Nothing is changed.
///
/// # Errors
/// `Damage`, `Io`, and what `visit` says.
pub fn read(
    segments: Vec<Arc<Segment>>,
    start: Start,
    visit: &mut dyn FnMut(&Segment, Found<'_>) -> Result<(), Failure>,
) -> Result<Recovered, Failure> {
    read_until(segments, start, u64::MAX, visit)
}

/// The same, up to the event `until`: what is behind it may be half written.
///
/// # Errors
/// `Damage`, `Io`, and what `visit` says.
pub fn read_until(
    segments: Vec<Arc<Segment>>,
    start: Start,
    until: u64,
    visit: &mut dyn FnMut(&Segment, Found<'_>) -> Result<(), Failure>,
) -> Result<Recovered, Failure> {
    let mut last = start.last;
    let (mut position, mut length, mut unconfirmed) = (0, 0, 0);
    if let Some(oldest) = segments.first()
        && oldest.first > last + 1
    {
        return Err(missing_before(oldest, last));
    }
    let mut begun = false;
    for (number, segment) in segments.iter().enumerate() {
        let newest = number + 1 == segments.len();
        let known =
            !newest && segments[number + 1].first <= last + 1 && segments[number + 1].first > segment.first;
        if known && !begun {
            continue;
        }
        if segment.first > last + 1 {
            return Err(missing_before(segment, last));
        }
        if begun && segment.first <= last {
            let what = format!(
                "this is no part of the log, which has event {} already in the file before: move it away",
                segment.first
            );
            return Err(Failure::Damage { path: segment.path.clone(), offset: 0, what });
        }
        begun = true;
        let skip = start.offset.filter(|_| segment.first <= start.last);
        let mut scan = Scan::open(segment, skip)?;
        let end = scan.run(&mut last, until, visit)?;
        (position, length, unconfirmed) = (scan.place, scan.length, scan.unconfirmed);
        if let End::Wrong { offset, what } = end
            && !(newest && scan.is_torn(last)?)
        {
            return Err(Failure::Damage { path: segment.path.clone(), offset, what });
        }
        if !newest && scan.place != scan.length {
            let what = "a sealed segment ends in bytes that are no frame".to_owned();
            return Err(Failure::Damage { path: segment.path.clone(), offset: scan.place, what });
        }
    }
    Ok(Recovered { segments, last, position, length, unconfirmed })
}

/// Events that a segment follows are not there.
pub(super) fn missing_before(segment: &Segment, last: u64) -> Failure {
    let what = format!("the events from {} to {} are missing before it", last + 1, segment.first - 1);
    Failure::Damage { path: segment.path.clone(), offset: 0, what }
}

impl Recovered {
    /// Checks that the log goes to the event `last`.
    ///
    /// # Errors
    /// `Damage`.
    pub fn must_reach(&self, last: u64) -> Result<(), Failure> {
        if self.last >= last {
            return Ok(());
        }
        let path = self.segments.last().map(|newest| newest.path.clone()).unwrap_or_default();
        let what = format!("the log ends behind event {}, and goes to {last}", self.last);
        Err(Failure::Damage { path, offset: self.end(), what })
    }

    /// Where the frames end in the newest segment.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.position
    }

    /// Where the torn write ends that the log ends in; the log's end when there is none.
    fn torn_end(&self) -> Result<u64, Failure> {
        self.segments.last().map_or(Ok(self.position), |newest| used_end(newest, self.position, self.length))
    }

    /// How many bytes of a torn write the log ends in.
    ///
    /// # Errors
    /// `Io`.
    pub fn torn_length(&self) -> Result<u64, Failure> {
        Ok(self.torn_end()? - self.position)
    }

    /// Makes the log one to append to: sets a torn frame aside, makes durable what was read, and
    /// begins a first segment where there is none.
    ///
    /// # Errors
    /// `Io`.
    pub fn into_writer(
        mut self,
        storage: &Arc<dyn Storage>,
        folder: &Path,
        segment_bytes: u64,
    ) -> Result<(LogWriter, Vec<Arc<Segment>>, Torn), Failure> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| Failure::Io { path, error }
        };
        if self.segments.is_empty() {
            let path = segment::path(folder, self.last + 1);
            replace(storage.as_ref(), &path, b"").map_err(io(&path))?;
            let file = storage.open(&path, Open::Write).map_err(io(&path))?;
            self.segments.push(Arc::new(Segment { first: self.last + 1, path, file }));
        }
        let newest = Arc::clone(&self.segments[self.segments.len() - 1]);
        let rest = read_range(&newest, self.position, self.torn_end()?)?;
        let mut torn = None;
        if !rest.is_empty() {
            // The room behind it, which was made ahead, is what a full disk has for the copy.
            newest.file.set_length(self.position + rest.len() as u64).map_err(io(&newest.path))?;
            let name = with_suffix(&newest.path, &format!(".{}.torn", self.position));
            // What was set aside there before was torn off another end.
            let copy = path_of_copy(storage.as_ref(), &name, &rest).map_err(io(folder))?;
            replace(storage.as_ref(), &copy, &rest).map_err(io(&copy))?;
            newest.file.set_length(self.position).map_err(io(&newest.path))?;
            self.length = self.position;
            torn = Some((copy, rest.len() as u64));
        }
        // What no sync confirmed may be in memory only: it is written again, then synced.
        let tail = read_range(&newest, self.unconfirmed, self.position)?;
        newest.file.write_at(&tail, self.unconfirmed).map_err(io(&newest.path))?;
        newest.file.sync().map_err(io(&newest.path))?;
        storage.sync_folder(folder).map_err(io(folder))?;
        let writer = LogWriter::continue_at(
            Arc::clone(storage),
            folder.to_owned(),
            newest,
            segment_bytes,
            self.position,
            self.length,
            self.last,
        );
        Ok((writer, self.segments, torn))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::log::frame::{Frame, Header, VERSION, write_line};
    use crate::storage::File;
    use crate::storage::failing::{Call, Failing};
    use crate::storage::memory::Memory;

    fn line(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_line(&mut out, |out| out.extend_from_slice(json.as_bytes()));
        out
    }

    /// A frame of the events behind `prev` up to `last`.
    fn frame(prev: u64, last: u64, synced: u64) -> Vec<u8> {
        let lines: Vec<u8> =
            (prev + 1..=last).flat_map(|seq| line(&format!("{{\"seq\":{seq},\"at\":\"\"}}"))).collect();
        let mut out = Vec::new();
        let bytes = lines.len() as u64;
        Header { v: VERSION, first: prev + 1, last, prev, synced, bytes }.write(&mut out);
        out.extend_from_slice(&lines);
        out
    }

    fn log_of(files: &[(u64, Vec<u8>)]) -> (Arc<dyn Storage>, Vec<Arc<Segment>>) {
        let storage: Arc<dyn Storage> = Arc::new(Memory::default());
        let segments = files.iter().map(|(first, bytes)| {
            let path = segment::path(Path::new("/log"), *first);
            let file = storage.open(&path, Open::Create).expect("memory");
            file.write_at(bytes, 0).expect("memory");
            Arc::new(Segment { first: *first, path, file })
        });
        let segments = segments.collect();
        (storage, segments)
    }

    /// An event's seq, where it begins, and whether it ends its frame.
    type Given = (u64, u64, bool);

    /// What is read, and what came of it.
    fn seqs(files: &[(u64, Vec<u8>)], start: Start) -> (Vec<Given>, Result<Recovered, Failure>) {
        let mut found = Vec::new();
        let read = read(log_of(files).1, start, &mut |_, event| {
            found.push((event.seq, event.offset, event.ends_frame));
            Ok(())
        });
        (found, read)
    }

    #[track_caller]
    fn damage(files: &[(u64, Vec<u8>)], file: u64, at: usize, says: &str) {
        match seqs(files, Start::default()).1 {
            Err(Failure::Damage { path, offset, what }) => {
                assert_eq!(path, segment::path(Path::new("/log"), file), "{what}");
                assert_eq!(offset, at as u64, "{what}");
                assert!(what.contains(says), "{what}");
            }
            other => panic!("{:?}", other.map(|read| read.last)),
        }
    }

    #[test]
    fn every_event_is_given_once_with_its_place_over_all_segments() {
        let (one, two, three) = (frame(0, 2, 0), frame(2, 3, 2), frame(3, 4, 3));
        let (end, length) = (one.len(), one.len() + two.len());
        let files = [(1, [one, two].concat()), (4, three.clone())];
        let (found, read) = seqs(&files, Start::default());
        let read = read.expect("it is whole");
        assert_eq!((read.last, read.end(), read.segments.len()), (4, three.len() as u64, 2));
        assert_eq!(found.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(found.iter().map(|(.., ends)| *ends).collect::<Vec<_>>(), [false, true, true, true]);
        for (seq, offset, _) in found {
            let bytes = &files[usize::from(seq > 3)].1[usize::try_from(offset).expect("small")..];
            assert!(bytes[CHECKSUM..].starts_with(format!("{{\"seq\":{seq},").as_bytes()), "event {seq}");
        }
        assert!(end < length);
    }

    const CHECKSUM: usize = crate::log::frame::CHECKSUM_BYTES;

    #[test]
    fn a_read_begins_behind_what_is_known_and_ends_where_it_is_told() {
        let whole = [frame(0, 2, 0), frame(2, 3, 2), frame(3, 5, 3)].concat();
        let (found, _) = seqs(&[(1, whole.clone())], Start::default());
        let start = Start { last: 2, offset: Some(found[1].1) };
        let (rest, read) = seqs(&[(1, whole.clone())], start);
        assert_eq!(rest, found[2..], "behind event 2");
        assert_eq!(read.expect("it is whole").last, 5);
        let two = [(1, frame(0, 2, 0)), (3, [frame(2, 3, 2), frame(3, 5, 3)].concat())];
        let (rest, _) = seqs(&two, Start { last: 2, offset: None });
        assert_eq!(rest.iter().map(|(seq, ..)| *seq).collect::<Vec<_>>(), [3, 4, 5]);
        let mut last = 0;
        let read = read_until(log_of(&[(1, whole.clone())]).1, Start::default(), 3, &mut |_, event| {
            last = event.seq;
            Ok(())
        });
        assert_eq!((read.expect("it is whole").last, last), (3, 3));
        let beyond = Start { last: 5, offset: Some(whole.len() as u64) };
        assert!(matches!(seqs(&[(1, whole)], beyond).1, Err(Failure::Damage { .. })), "the log ends before");
    }

    #[test]
    fn what_does_not_follow_is_damage_and_named() {
        let (one, two) = (frame(0, 2, 0), frame(2, 3, 2));
        damage(&[(2, two.clone())], 2, 0, "from 1 to 1 are missing");
        damage(&[(1, one.clone()), (4, frame(3, 4, 3))], 4, 0, "from 3 to 3 are missing");
        damage(&[(1, [one.clone(), frame(5, 6, 5)].concat())], 1, one.len(), "one behind 5 found");
        damage(&[(1, [one.clone(), frame(1, 2, 1)].concat())], 1, one.len(), "one behind 1 found");
        let sealed = [one.clone(), vec![0; 40]].concat();
        damage(&[(1, sealed), (3, two.clone())], 1, one.len(), "no frame");
        let long = [one.clone(), two.clone()].concat();
        damage(&[(1, long.clone()), (2, two.clone()), (4, frame(3, 4, 3))], 2, 0, "no part of the log");
        damage(&[(1, long), (3, two.clone())], 3, 0, "no part of the log");
        damage(&[(1, one[..one.len() - 3].to_vec()), (3, two.clone())], 1, 0, "ends inside");
        let mut other = Vec::new();
        Header { v: 2, first: 3, last: 3, prev: 2, synced: 2, bytes: 0 }.write(&mut other);
        damage(&[(1, [one.clone(), other].concat())], 1, one.len(), "version 2");
        let mut long = Vec::new();
        Header { v: 1, first: 3, last: 3, prev: 2, synced: 2, bytes: u64::MAX }.write(&mut long);
        damage(&[(1, [one.clone(), long].concat()), (3, two.clone())], 1, one.len(), "ends inside");
        let mut strange = Vec::new();
        let lines = line("{\"seq\":9,\"at\":\"\"}");
        let bytes = lines.len() as u64;
        Header { v: 1, first: 3, last: 3, prev: 2, synced: 2, bytes }.write(&mut strange);
        let event = one.len() + strange.len();
        damage(&[(1, [one.clone(), strange, lines].concat())], 1, event, "event 9");
        let mut short = Vec::new();
        let lines = line("{\"seq\":3,\"at\":\"\"}");
        let bytes = lines.len() as u64 - 1;
        Header { v: 1, first: 3, last: 3, prev: 2, synced: 2, bytes }.write(&mut short);
        damage(&[(1, [one.clone(), short, lines, two].concat())], 1, one.len(), "length");
    }

    #[test]
    fn only_the_end_of_the_newest_segment_may_be_torn() {
        let (one, two) = (frame(0, 2, 0), frame(2, 4, 2));
        for cut in 1..two.len() {
            let files = [(1, [one.as_slice(), &two[..cut]].concat())];
            let read = seqs(&files, Start::default()).1.expect("a torn end");
            assert_eq!((read.last, read.end()), (2, one.len() as u64), "cut at {cut}");
            assert_eq!(read.torn_length().expect("memory"), cut as u64);
        }
        let mut flipped = two.clone();
        let record = flipped.iter().position(|byte| *byte == b'\n').expect("a header") + 1;
        flipped[record + CHECKSUM] ^= 1;
        damage(&[(1, [one.clone(), flipped].concat())], 1, one.len() + record, "checksum");
    }

    /// A file that is longer than what was written in it.
    struct Sparse {
        bytes: Vec<u8>,
        length: u64,
        /// The most bytes that were read at once.
        most: AtomicUsize,
        /// After so many reads one fails.
        fails_after: AtomicUsize,
    }

    impl Sparse {
        fn new(bytes: Vec<u8>, length: u64, fails_after: usize) -> (Arc<Self>, Vec<Arc<Segment>>) {
            let (most, fails_after) = (AtomicUsize::new(0), AtomicUsize::new(fails_after));
            let file = Arc::new(Sparse { bytes, length, most, fails_after });
            let path = segment::path(Path::new("/log"), 1);
            let segment = Segment { first: 1, path, file: Arc::clone(&file) as Arc<dyn File> };
            (file, vec![Arc::new(segment)])
        }
    }

    impl File for Sparse {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            if self.fails_after.fetch_sub(1, SeqCst) == 0 {
                return Err(io::Error::other("the disk is bad"));
            }
            self.most.fetch_max(buffer.len(), SeqCst);
            let from = usize::try_from(offset).expect("64 bits").min(self.bytes.len());
            let count = buffer.len().min(self.bytes.len() - from);
            buffer[..count].copy_from_slice(&self.bytes[from..from + count]);
            buffer[count..].fill(0);
            Ok(buffer.len().min(usize::try_from(self.length - offset).expect("64 bits")))
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn length(&self) -> io::Result<u64> {
            Ok(self.length)
        }

        fn set_length(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    #[test]
    fn zeros_behind_the_end_take_no_memory_however_many_they_are() {
        let (one, two) = (frame(0, 2, 0), frame(2, 4, 2));
        for cut in [0, 1, 40, two.len() - 1] {
            let bytes = [one.as_slice(), &two[..cut]].concat();
            let (file, segments) = Sparse::new(bytes, 256 << 20, usize::MAX);
            let read = read(segments, Start::default(), &mut |_, _| Ok(())).expect("a torn end");
            assert_eq!((read.last, read.end()), (2, one.len() as u64), "cut at {cut}");
            assert_eq!(read.torn_length().expect("it is read"), cut as u64);
            let most = file.most.load(SeqCst);
            assert!(most <= 8 << 20, "{most} bytes were read at once");
        }
    }

    #[test]
    fn a_read_that_fails_is_no_damage_wherever_in_the_log_it_is() {
        let (one, two) = (frame(0, 2, 0), frame(2, 4, 2));
        let bytes = [one.as_slice(), &two[..two.len() - 1]].concat();
        let outcomes = (0..).map(|reads| {
            let (_, segments) = Sparse::new(bytes.clone(), 4 << 20, reads);
            read(segments, Start::default(), &mut |_, _| Ok(()))
        });
        let failed = outcomes.take_while(Result::is_err).map(|outcome| {
            let failure = outcome.err().expect("it failed");
            assert!(matches!(failure, Failure::Io { .. }), "{failure}");
        });
        assert!(failed.count() > 2, "the torn end is read again to be told from damage");
    }

    #[test]
    fn a_torn_end_is_set_aside_and_the_log_goes_on_in_its_place() {
        let (one, two) = (frame(0, 2, 0), frame(2, 4, 2));
        let torn = &two[..two.len() - 5];
        let (storage, segments) = log_of(&[(1, [&one, torn, &[0; 30]].concat())]);
        let read = read(segments, Start::default(), &mut |_, _| Ok(())).expect("a torn end");
        let folder = Path::new("/log");
        let (mut log, segments, aside) = read.into_writer(&storage, folder, 1 << 20).expect("memory");
        let (copy, bytes) = aside.expect("it was set aside");
        assert_eq!(copy, folder.join(format!("{:020}.log.{}.torn", 1, one.len())));
        assert_eq!(
            (bytes, crate::storage::read_whole(storage.as_ref(), &copy).expect("memory")),
            (torn.len() as u64, torn.to_vec())
        );
        assert_eq!(segments[0].file.length().expect("memory"), one.len() as u64);
        assert_eq!((log.last(), log.synced()), (2, 2));
        let mut frame = Frame::default();
        frame.add(b"{\"seq\":3,\"at\":\"\"}");
        log.append(3, 3, &mut frame).expect("memory");
        log.trim().expect("memory");
        let again = super::read(segments, Start::default(), &mut |_, _| Ok(())).expect("it is whole");
        assert_eq!((again.last, again.torn_length().expect("memory")), (3, 0));
    }

    #[test]
    fn an_empty_folder_gets_its_first_segment() {
        let (storage, segments) = log_of(&[]);
        let read = read(segments, Start::default(), &mut |_, _| Ok(())).expect("nothing");
        let (log, segments, aside) = read.into_writer(&storage, Path::new("/log"), 1 << 20).expect("memory");
        assert_eq!((log.last(), segments.len(), segments[0].first), (0, 1, 1));
        assert!(aside.is_none());
        assert_eq!(storage.list(Path::new("/log")).expect("memory"), ["00000000000000000001.log"]);
    }

    #[test]
    fn two_ends_that_were_torn_off_at_one_place_are_both_kept() {
        let (one, two) = (frame(0, 2, 0), frame(2, 4, 2));
        let (storage, segments) = log_of(&[(1, one.clone())]);
        let copies = [2, 5].map(|less| {
            let torn = &two[..two.len() - less];
            segments[0].file.write_at(torn, one.len() as u64).expect("memory");
            let read = read(segments.clone(), Start::default(), &mut |_, _| Ok(())).expect("a torn end");
            let (_, _, aside) = read.into_writer(&storage, Path::new("/log"), 1 << 20).expect("memory");
            let (copy, _) = aside.expect("it was set aside");
            assert_eq!(crate::storage::read_whole(storage.as_ref(), &copy).expect("memory"), torn);
            copy
        });
        assert_ne!(copies[0], copies[1]);
        assert!(copies.iter().all(|copy| storage.open(copy, Open::Read).is_ok()));
    }

    #[test]
    fn a_log_that_ends_before_what_is_known_of_it_is_damaged_at_its_end() {
        let whole = frame(0, 3, 0);
        let (_, read) = seqs(&[(1, whole.clone())], Start::default());
        let read = read.expect("it is whole");
        assert!(read.must_reach(3).is_ok());
        let Err(Failure::Damage { path, offset, what }) = read.must_reach(4) else {
            panic!("event 4 is missing")
        };
        assert_eq!((path, offset), (segment::path(Path::new("/log"), 1), whole.len() as u64));
        assert!(what.contains("behind event 3, and goes to 4"), "{what}");
    }

    #[test]
    fn what_no_sync_confirmed_is_written_again_and_then_put_on_disk_with_its_name() {
        let (one, two) = (frame(0, 2, 0), frame(2, 3, 2));
        let (memory, _) = log_of(&[(1, [one, two.clone()].concat())]);
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&calls);
        let storage = Failing::over(memory, move |call, path| {
            let call = match call {
                Call::Open | Call::Read => return Ok(()),
                Call::Write(bytes) => format!("write {}", String::from_utf8_lossy(bytes)),
                other => format!("{other:?}"),
            };
            told.lock().expect("no panic").push(format!("{call} {}", path.display()));
            Ok(())
        });
        let path = segment::path(Path::new("/log"), 1);
        let file = storage.open(&path, Open::Write).expect("memory");
        let segments = vec![Arc::new(Segment { first: 1, path: path.clone(), file })];
        let read = read(segments, Start::default(), &mut |_, _| Ok(())).expect("it is whole");
        read.into_writer(&storage, Path::new("/log"), 1 << 20).expect("memory");
        let (path, tail) = (path.display(), String::from_utf8_lossy(&two));
        let expected = [format!("write {tail} {path}"), format!("Sync {path}"), "SyncFolder /log".to_owned()];
        assert_eq!(*calls.lock().expect("no panic"), expected);
    }
}
