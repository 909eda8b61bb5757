//! For unit tests: run files in memory.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::run::{Meta, Run};
use super::run_writer::{EachOffsets, RunWriter};
use crate::courtesy::Courtesy;
use crate::storage::memory::Memory;
use crate::storage::{File, Open, Storage};

/// A run in a file that `fill` wrote, of the seqs up to `last`.
pub fn file_run(last: u64, keys: u64, fill: impl FnOnce(&mut RunWriter)) -> Run {
    file_run_of(Meta { first: 1, last, dense_from: last + 1, ..Meta::default() }, keys, fill)
}

/// A run in a file that `fill` wrote.
pub fn file_run_of(meta: Meta, keys: u64, fill: impl FnOnce(&mut RunWriter)) -> Run {
    let file = file_of(meta, keys, &[], fill);
    let run = Run::open(file, "test.run", &Arc::default(), true).expect("a whole file");
    run.verify(&mut |_| Ok(())).expect("a whole file");
    run
}

/// A file with a run that `fill` wrote, whose records lie where `offsets` says.
pub fn file_of(
    meta: Meta,
    keys: u64,
    offsets: &[&dyn EachOffsets],
    fill: impl FnOnce(&mut RunWriter),
) -> Arc<dyn File> {
    let file = Memory::default().open(Path::new("/run"), Open::Create).expect("memory");
    let mut writer = RunWriter::to_file(Arc::clone(&file), keys, Courtesy::default().begin());
    fill(&mut writer);
    writer.into_file(meta, offsets, false, &mut || {}).expect("memory");
    file
}

/// A file that counts what it is asked for.
pub struct Counted {
    file: Arc<dyn File>,
    pub reads: AtomicU32,
    pub syncs: AtomicU32,
}

impl Counted {
    /// Nothing was asked for yet.
    pub fn new(file: Arc<dyn File>) -> Arc<Self> {
        Arc::new(Counted { file, reads: AtomicU32::new(0), syncs: AtomicU32::new(0) })
    }
}

impl File for Counted {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }
}
