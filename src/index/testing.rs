//! For unit tests: run files in memory.

use std::io;
use std::sync::{Arc, Mutex};

use super::run::{Meta, Run};
use super::run_writer::RunWriter;
use crate::storage::File;

/// A file in memory.
#[derive(Default)]
struct Bytes(Mutex<Vec<u8>>);

impl File for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.lock().expect("no panic");
        let rest = bytes.get(usize::try_from(offset).expect("small")..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, new: &[u8], offset: u64) -> io::Result<()> {
        let mut bytes = self.0.lock().expect("no panic");
        let start = usize::try_from(offset).expect("small");
        let end = bytes.len().max(start + new.len());
        bytes.resize(end, 0);
        bytes[start..start + new.len()].copy_from_slice(new);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("no panic").len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.lock().expect("no panic").resize(usize::try_from(length).expect("small"), 0);
        Ok(())
    }
}

/// A run in a file that `fill` wrote, of the seqs up to `last`.
pub fn file_run(last: u64, keys: u64, fill: impl FnOnce(&mut RunWriter)) -> Run {
    file_run_of(Meta { first: 1, last, dense_from: last + 1, ..Meta::default() }, keys, fill)
}

/// A run in a file that `fill` wrote.
pub fn file_run_of(meta: Meta, keys: u64, fill: impl FnOnce(&mut RunWriter)) -> Run {
    let file: Arc<dyn File> = Arc::new(Bytes::default());
    let mut writer = RunWriter::to_file(Arc::clone(&file), keys);
    fill(&mut writer);
    writer.into_file(meta, &[], false).expect("memory");
    let run = Run::open(file, "test.run", &Arc::default(), true).expect("a whole file");
    run.verify(&mut |_| Ok(())).expect("a whole file");
    run
}
