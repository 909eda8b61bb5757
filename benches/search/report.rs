//! What is printed, and kept.

use std::fs;
use std::path::Path;

use msglogd::time::Timestamp;

/// The lines so far.
#[derive(Default)]
pub struct Report(String);

impl Report {
    /// Prints a line.
    pub fn say(&mut self, line: &str) {
        println!("{line}");
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// Prints when and where this runs.
    pub fn heading(&mut self, title: &str) {
        let date = Timestamp::now().to_string();
        let proc = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        self.say(title);
        self.say(&format!(
            "{}; {cores} cores of {}, memory {}, Linux {}; load {}",
            &date[..10],
            field(&proc("/proc/cpuinfo"), "model name"),
            field(&proc("/proc/meminfo"), "MemTotal"),
            proc("/proc/sys/kernel/osrelease").trim(),
            proc("/proc/loadavg").trim(),
        ));
    }

    /// Prints a table whose first row is its head; the first column is left-aligned.
    pub fn table(&mut self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            self.say(&cells.collect::<Vec<_>>().join("  "));
            if number == 0 {
                let lines: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                self.say(&lines.join("  "));
            }
        }
    }

    /// Writes all of it to a file in `benches/`.
    pub fn keep(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        fs::write(&path, &self.0).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("kept in {}", path.display());
    }
}

/// Microseconds, with as many digits as are worth reading.
pub fn micros(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// One figure over another.
pub fn ratio(value: f64, other: f64) -> String {
    format!("{:.2}", value / other)
}

/// Bytes as mebibytes.
#[allow(clippy::cast_precision_loss, reason = "for people")]
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
