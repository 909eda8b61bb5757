//! SQLite, in process: no socket, one transaction for as many items as a server has in flight.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use crate::cells::{Cell, KEYS, Work};
use crate::load::Tally;
use crate::texts::{Texts, key, mix};

/// A database in a folder of its own.
pub struct Database {
    connection: Connection,
    folder: std::path::PathBuf,
}

impl Database {
    /// An empty one.
    pub fn open(under: &Path) -> Database {
        let folder = under.join(format!("side-{}-sqlite", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder for SQLite");
        let connection = Connection::open(folder.join("data")).expect("a database");
        // FULL: the write-ahead log is synced at each commit.
        let setup = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
            CREATE VIRTUAL TABLE messages USING fts5(originator UNINDEXED, recipient UNINDEXED, body);
            CREATE TABLE keys (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;";
        connection.execute_batch(setup).expect("tables");
        Database { connection, folder }
    }

    /// Sets every key of [`KEYS`].
    pub fn fill(&self, texts: &Texts) {
        for start in (0..KEYS).step_by(10_000) {
            self.write(Work::Set, texts, start, 10_000);
        }
    }

    /// Runs a cell's work for some time; the time of this thread too.
    pub fn run(&self, cell: &Cell, texts: &Texts, first: u64, duration: Duration) -> (Tally, Duration) {
        let (started, before) = (Instant::now(), thread_time());
        let together = cell.connections * cell.depth;
        let mut tally = Tally::default();
        while started.elapsed() < duration {
            let began = Instant::now();
            if cell.work == Work::Get {
                self.read(first + tally.all, together);
            } else {
                self.write(cell.work, texts, first + tally.all, together);
            }
            let took = u32::try_from(began.elapsed().as_nanos() / 100).unwrap_or(u32::MAX);
            tally.all += together as u64;
            tally.latencies.resize(tally.latencies.len() + together, took);
        }
        tally.in_time = tally.all;
        (tally, thread_time() - before)
    }

    fn write(&self, work: Work, texts: &Texts, first: u64, count: usize) {
        self.connection.execute_batch("BEGIN").expect("a transaction");
        let insert = match work {
            Work::Post => "INSERT INTO messages VALUES (?1, ?2, ?3)",
            _ => "INSERT OR REPLACE INTO keys VALUES (?1, ?2)",
        };
        let mut insert = self.connection.prepare_cached(insert).expect("a statement");
        let mut made = Vec::new();
        for number in (first..).take(count) {
            made.clear();
            let done = if work == Work::Post {
                texts.body(number, &mut made);
                let (text, body) = (texts.of(number), std::str::from_utf8(&made).expect("text"));
                insert.execute(params![text.originator, text.recipient, body])
            } else {
                texts.value(number, &mut made);
                insert.execute(params![key(number), std::str::from_utf8(&made).expect("text")])
            };
            done.expect("an insert");
        }
        self.connection.execute_batch("COMMIT").expect("a commit");
    }

    fn read(&self, first: u64, count: usize) {
        let mut select =
            self.connection.prepare_cached("SELECT value FROM keys WHERE key = ?1").expect("a statement");
        for number in (first..).take(count) {
            let wanted = key(mix(number + 0x5EED) % KEYS);
            let value: String = select.query_row([wanted], |row| row.get(0)).expect("a key that is there");
            assert!(value.starts_with('{'));
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The processor time of this thread.
fn thread_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}
