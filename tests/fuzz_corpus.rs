//! What the fuzz targets found worth keeping, replayed: a defect that was found once is not there again.
//!
//! `fuzz/README.md` says how to look for more. When the format of run files changes, write new seeds:
//! `cargo test --test fuzz_corpus -- --ignored`

#[path = "../fuzz/checks/log_frame.rs"]
mod log_frame;
#[path = "../fuzz/checks/protocol_line.rs"]
mod protocol_line;
#[path = "../fuzz/checks/query_text.rs"]
mod query_text;
#[path = "../fuzz/checks/run_file.rs"]
mod run_file;
mod support_in_process;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use msglogd::index::files::RunFiles;
use msglogd::index::run::MAGIC;
use msglogd::storage::{Open, Storage, read_whole};
use msglogd::store::{self, Folders};
use support_in_process as support;
use support_in_process::memory::Memory;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Says which input it was.
struct Input(PathBuf);

impl Drop for Input {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was {}", self.0.display());
        }
    }
}

fn replay(target: &str, check: fn(&[u8])) {
    let mut count = 0;
    for entry in fs::read_dir(corpus(target)).expect("a corpus") {
        let input = Input(entry.expect("an entry").path());
        check(&fs::read(&input.0).expect("a file"));
        count += 1;
    }
    assert!(count > 0, "there is a corpus");
}

#[test]
fn no_line_in_the_corpus_is_answered_wrong() {
    replay("protocol_line", protocol_line::check);
}

#[test]
fn no_text_in_the_corpus_is_searched_wrong() {
    replay("query_text", query_text::check);
}

#[test]
fn no_segment_in_the_corpus_is_read_or_mended_wrong() {
    replay("log_frame", log_frame::check);
}

#[test]
fn no_run_file_in_the_corpus_does_harm() {
    replay("run_file", run_file::check);
    // A file of another version is refused at its last byte, and would show nothing.
    let read =
        |entry: std::io::Result<fs::DirEntry>| fs::read(entry.expect("an entry").path()).expect("a file");
    let all: Vec<_> = fs::read_dir(corpus("run_file")).expect("a corpus").map(read).collect();
    let current = all.iter().filter(|bytes| bytes.ends_with(MAGIC)).count();
    assert!(current > all.len() / 2, "{current} of {} are of this version: set their last bytes", all.len());
}

/// Run files of today: of a store with every type of event, and of its first two segments.
fn run_files() -> Vec<Vec<u8>> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1/log");
    let mut names: Vec<PathBuf> = fs::read_dir(golden)
        .expect("a golden store")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    names.sort();
    [names.len(), 2].into_iter().map(|count| run_file_of(&names[..count])).collect()
}

fn run_file_of(segments: &[PathBuf]) -> Vec<u8> {
    let folders = Folders::new(Path::new("/data"));
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    for path in segments {
        let place = folders.log.join(path.file_name().expect("a name"));
        let file = storage.open(&place, Open::Create).expect("memory");
        file.write_at(&fs::read(path).expect("a segment"), 0).expect("memory");
    }
    let opened = store::open(&storage, &folders, 64 << 10, &mut ()).expect("a golden store");
    let files = RunFiles::new(Arc::clone(&storage), folders.index.clone());
    let mut runs = opened.snapshot.runs.as_ref().clone();
    for tail in opened.snapshot.tails.iter() {
        runs.push(files.write(tail, runs.is_empty()).expect("memory"));
    }
    let run = files.merge(&runs, true, &mut || Ok(())).expect("memory");
    let (_, name) = run.file();
    read_whole(storage.as_ref(), &folders.index.join(name)).expect("memory")
}

#[test]
fn the_target_for_run_files_reaches_what_lies_behind_the_checksums() {
    for whole in run_files() {
        assert!(run_file::opened(&whole).is_some());
        let (mut opened, mut refused) = (0, 0);
        for place in (0..whole.len()).step_by(97) {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            refused += usize::from(run_file::verified(&damaged).is_none());
            run_file::put_checksums_right(&mut damaged);
            opened += usize::from(run_file::verified(&damaged).is_some());
        }
        assert!(refused > 10 && opened > refused / 2, "{opened} of {refused} were put right");
    }
}

#[test]
#[ignore = "writes seeds into fuzz/corpus"]
fn seeds() {
    for (number, bytes) in run_files().into_iter().enumerate() {
        let seed = [&[1], bytes.as_slice()].concat();
        fs::write(corpus("run_file").join(format!("seed-{number}")), seed).expect("it can be written");
    }
}
