//! Run files: whatever the bytes are, a file is opened or refused, and whatever is asked of it is
//! answered or refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use msglogd::codec::read_varint;
use msglogd::domain::command::Order;
use msglogd::domain::text;
use msglogd::error::{Code, Error};
use msglogd::index::candidates::Candidates;
use msglogd::index::count::count_at_once;
use msglogd::index::files::RunFiles;
use msglogd::index::filter;
use msglogd::index::pairs::rows::read_table;
use msglogd::index::position::Position;
use msglogd::index::query::Plan;
use msglogd::index::run::{MAGIC, Run};
use msglogd::index::source::Source;
use msglogd::index::terms::Kind;
use msglogd::storage::{Open, Storage};

use crate::support::memory::Memory;

/// Steps of a walk; a file that says it has more is not walked to its end.
const STEPS_MAX: usize = 3000;

/// Windows of pairs whose checksums are put right.
const WINDOWS_MAX: usize = 8;

/// Takes the first byte for how to read the others: its lowest bit has the file's checksums put
/// right, so that what lies behind them is reached.
pub fn check(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    let mut file = rest.to_vec();
    if how & 1 == 1 {
        put_checksums_right(&mut file);
    }
    let Some(run) = opened(&file).map(Arc::new) else { return };
    refused(run.verify(&mut |_| Ok(())));
    walk(&run);
    places(&run);
    searches(&[Source::Run(&run)]);
    searches(&[Source::Run(&run), Source::Run(&run)]);
    let files = RunFiles::new(Arc::new(Memory::default()), PathBuf::from("/index"));
    refused(files.merge(&[run], how & 2 == 2, &mut || Ok(())));
}

/// The run in a file of these bytes.
pub fn opened(bytes: &[u8]) -> Option<Run> {
    let (storage, path) = (Memory::default(), Path::new("/index/a.run"));
    let file = storage.open(path, Open::Create).expect("memory");
    file.write_at(bytes, 0).expect("memory");
    refused(Run::open(file, "/index/a.run", &Arc::default(), true))
}

/// What there is. A refusal names damage, or bytes that pass their checksum and make no sense.
fn refused<T>(done: Result<T, Error>) -> Option<T> {
    if let Err(error) = &done {
        assert!([Code::Corrupt, Code::Internal].contains(&error.code()), "{error}");
    }
    done.ok()
}

fn walk(run: &Run) {
    let mut position = Position::new(run);
    let mut more = refused(position.seek(&[])).unwrap_or(false);
    let mut steps = 0;
    while more && steps < STEPS_MAX {
        let (key, length) = (position.key().to_vec(), position.payload().len());
        assert!(length as u64 <= run.bytes());
        refused(run.value(&key, filter::hash(&key)));
        let mut other = Position::new(run);
        refused(other.seek(&key));
        refused(other.seek_before(&key));
        more = refused(position.advance()).unwrap_or(false);
        steps += 1;
    }
}

fn places(run: &Run) {
    let meta = run.meta();
    let around = [meta.first, meta.last, meta.dense_from];
    for seq in around.into_iter().flat_map(|seq| [seq.wrapping_sub(1), seq, seq.wrapping_add(1)]) {
        refused(run.place(seq));
        refused(run.next_record(seq));
    }
}

fn searches(sources: &[Source<'_>]) {
    for order in [Order::Newest, Order::Oldest] {
        for plan in plans() {
            let found = Candidates::new(sources, &plan, order, 1, u64::MAX - 1);
            let Some(mut found) = refused(found) else { continue };
            for _ in 0..STEPS_MAX {
                match refused(found.advance()) {
                    Some(Some(_)) => {}
                    _ => break,
                }
            }
            refused(count_at_once(sources, &plan));
        }
    }
}

fn plans() -> Vec<Plan> {
    let mut plans = vec![Plan::default()];
    for query in ["tea", "te*", "tea -milk", "\"milk and\" OR honey", "and tea milk"] {
        let mut plan = Plan::default();
        plan.text(&text::parse(query).expect("a text"));
        plans.push(plan);
    }
    let mut plan = Plan::default();
    plan.substring("on");
    plans.push(plan);
    let mut plan = Plan::default();
    plan.require(Kind::Recipient, b"r");
    plans.push(plan);
    plans
}

/// The run in a file of these bytes, when all of its checksums hold.
#[allow(dead_code)]
pub fn verified(bytes: &[u8]) -> Option<Run> {
    opened(bytes).filter(|run| run.verify(&mut |_| Ok(())).is_ok())
}

/// Puts right the checksums of the pairs, the blocks and the tables at the end, as far as they can be found.
pub fn put_checksums_right(file: &mut [u8]) -> Option<()> {
    // Offsets in blocks with a checksum each, filter, windows, index and meta.
    const PLACES: usize = 5;
    const OFFSETS_BYTES: usize = 4 * 1024;
    let footer = file.len().checked_sub(PLACES * 8 + 4 + MAGIC.len())?;
    let places = file.get(footer..footer + PLACES * 8)?.as_chunks::<8>().0;
    let places: Result<Vec<usize>, _> =
        places.iter().map(|eight| usize::try_from(u64::from_le_bytes(*eight))).collect();
    let &[offsets, filter, windows, index, meta] = places.ok()?.as_slice() else { return None };
    let windows = file.get(windows..index).and_then(read_table).unwrap_or_default();
    for window in windows.into_iter().take(WINDOWS_MAX) {
        for (place, length) in window.pieces() {
            let Some(start) = usize::try_from(place).ok().filter(|start| *start < file.len()) else { break };
            seal(file, start, start + length);
        }
    }
    if let Some(table) = file.get(index..meta).map(<[u8]>::to_vec) {
        put_blocks_right(file, &table);
    }
    for start in (offsets..filter.min(file.len())).step_by(OFFSETS_BYTES + 4) {
        seal(file, start, (start + OFFSETS_BYTES).min(filter.checked_sub(4)?));
    }
    let end = footer + PLACES * 8;
    let checksum = crc32(file.get(filter..end)?).to_le_bytes();
    file.get_mut(end..end + 4)?.copy_from_slice(&checksum);
    file.get_mut(end + 4..)?.copy_from_slice(MAGIC);
    Some(())
}

fn put_blocks_right(file: &mut [u8], table: &[u8]) -> Option<()> {
    let mut rest = table;
    while !rest.is_empty() {
        let key = usize::try_from(read_varint(&mut rest)?).ok()?;
        rest = rest.get(key..)?;
        let start = usize::try_from(read_varint(&mut rest)?).ok()?;
        let length = usize::try_from(read_varint(&mut rest)?).ok()?;
        seal(file, start, start.checked_add(length)?);
    }
    Some(())
}

/// Puts the checksum of a piece behind it.
fn seal(file: &mut [u8], start: usize, end: usize) -> Option<()> {
    let checksum = crc32(file.get(start..end)?).to_le_bytes();
    file.get_mut(end..end.checked_add(4)?)?.copy_from_slice(&checksum);
    Some(())
}

/// As the log's lines have it in hexadecimal digits.
fn crc32(bytes: &[u8]) -> u32 {
    let mut line = Vec::new();
    msglogd::log::frame::write_line(&mut line, |out| out.extend_from_slice(bytes));
    let digits = std::str::from_utf8(&line[..8]).expect("digits");
    u32::from_str_radix(digits, 16).expect("digits")
}
