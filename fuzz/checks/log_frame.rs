//! Segments of the log: whatever the bytes are, a start reads or refuses them, and what was mended is
//! whole.

use std::path::Path;
use std::sync::Arc;

use msglogd::log::frame::{CHECKSUM_BYTES, Header, write_line};
use msglogd::log::mend::{Around, EVERYTHING, mend};
use msglogd::log::recovery::{self, Failure, Start};
use msglogd::log::segment::{self, Segment};
use msglogd::storage::{Open, Storage};
use msglogd::store::{self, Folders, Progress, Replayed};

use crate::support::memory::Memory;

/// A gap of so many events is not filled here: every lost event takes a line.
const SEQ_MAX: u64 = 100_000;

struct Quiet;

impl Progress for Quiet {
    fn say(&mut self, _: &str) {}

    fn replayed(&mut self, _: Replayed) {}
}

/// Takes the first byte for how to read the others: its lowest bit has the checksum of every line put
/// right, so that what lies behind the checksums is reached.
pub fn check(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    let segment = if how & 1 == 1 { with_checksums(rest) } else { rest.to_vec() };
    let folders = Folders::new(Path::new("/data"));
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    put(&storage, &segment::path(&folders.log, 1), &segment);
    let last = read(&storage, &folders).unwrap_or_default();
    if let Ok(opened) = store::open(&storage, &folders, 4 << 10, &mut Quiet) {
        assert_eq!(opened.snapshot.last, last, "the store has what the log has");
        let again = store::open(&storage, &folders, 4 << 10, &mut Quiet);
        let again = again.unwrap_or_else(|failure| panic!("it opens once only: {failure}"));
        assert_eq!(again.snapshot.last, last, "what a start leaves reads as before");
    }
    let sealed = (how & 2 == 2).then(|| u64::from(how >> 2));
    if biggest(&segment) <= SEQ_MAX {
        mended(&segment, sealed);
    }
}

fn put(storage: &Arc<dyn Storage>, path: &Path, bytes: &[u8]) {
    let file = storage.open(path, Open::Create).expect("memory");
    file.write_at(bytes, 0).expect("memory");
}

/// Reads a log; the seqs go up. The last of them.
fn read(storage: &Arc<dyn Storage>, folders: &Folders) -> Result<u64, Failure> {
    let path = segment::path(&folders.log, 1);
    let file = storage.open(&path, Open::Read).expect("it was put there");
    let length = file.length().expect("memory");
    let segments = vec![Arc::new(Segment { first: 1, path, file })];
    let mut newest = 0;
    let read = recovery::read(segments, Start::default(), &mut |_, found| {
        assert!(found.seq > newest, "event {} behind {newest}", found.seq);
        newest = found.seq;
        Ok(())
    });
    if let Err(Failure::Damage { offset, what, .. }) = &read {
        assert!(*offset <= length, "{what} at {offset} of {length}");
    }
    let recovered = read?;
    assert!(recovered.end() <= length && recovered.last >= newest);
    Ok(recovered.last)
}

/// What comes out of mending is read to its end, and needs no mending.
fn mended(segment: &[u8], until: Option<u64>) {
    let around = Around { last: 0, until, known: 0, at: AT.to_vec(), uid: 7, was_there: EVERYTHING };
    let Ok(done) = mend(segment, around.clone()) else { return };
    if until.is_some_and(|until| done.last > until) {
        return;
    }
    let whole = done.bytes.unwrap_or_else(|| segment.to_vec());
    let again = mend(&whole, around).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(again.bytes.is_none() && again.lost.is_empty(), "it is mended twice");
    let folders = Folders::new(Path::new("/data"));
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    put(&storage, &segment::path(&folders.log, 1), &whole);
    let last = read(&storage, &folders).unwrap_or_else(|failure| panic!("it was mended: {failure}"));
    assert_eq!(last, done.last);
}

const AT: &[u8] = b"2026-01-31T12:00:00.000000Z";

/// The same lines, each with its checksum.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(whole) if whole.len() >= CHECKSUM_BYTES && whole[0] != 0 => {
                write_line(&mut out, |out| out.extend_from_slice(&whole[CHECKSUM_BYTES..]));
            }
            _ => out.extend_from_slice(line),
        }
    }
    out
}

/// The largest seq that a header names.
fn biggest(bytes: &[u8]) -> u64 {
    let json = bytes.split(|byte| *byte == b'\n').filter_map(|line| line.get(CHECKSUM_BYTES..));
    let headers = json.filter_map(Header::read);
    headers.map(|header| header.first.max(header.last).max(header.prev)).max().unwrap_or(0)
}
