//! Side by side: the daemon and its peers under the same load, in one run.
//!
//! ```text
//! cargo bench --bench side_by_side                    the main cells, a minute a run: over an hour
//! cargo bench --bench side_by_side -- --quick         every cell, a few seconds each
//! cargo bench --bench side_by_side -- --quick set.64x1 queue    only cells whose name holds one of these
//! cargo bench --bench side_by_side -- --plot          the pictures, into benches/side_by_side/
//! ```
//!
//! Peers are Debian's redis-server and beanstalkd, and SQLite in process; one that is not installed is
//! left out. Every server keeps its data and its socket in a new temporary folder, and the runs of a
//! cell take turns, so that whatever else the machine does meets all of them alike: the ratios count.
//! One thread makes the load for all, over non-blocking sockets, a request a reply, never a `batch`.
//!
//! | file | what is there |
//! | --- | --- |
//! | [`options`], [`cells`] | what to run: a cell is a kind of work in a shape, with its targets |
//! | [`texts`] | real messages where `MSGLOGD_SAMPLE_DATA` names them, else made-up ones |
//! | [`server`], [`dialect`] | a peer as a process; its way to say a request and a reply |
//! | [`load`], [`link`] | the generator: connections, what is in flight on each, latencies |
//! | [`sqlite`] | the peer without a socket |
//! | [`run`], [`lookup`] | one run of one peer; after kill -9, every acknowledged item |
//! | [`table`], [`plot`], [`sweep`] | what is printed and drawn |

mod cells;
#[path = "../daemon_binary.rs"]
mod daemon_binary;
mod dialect;
mod link;
mod load;
mod lookup;
mod options;
mod plot;
mod run;
mod server;
mod sqlite;
mod sweep;
mod table;
mod texts;

use options::Options;

fn main() {
    let Some(options) = Options::parse(std::env::args().skip(1)) else { return };
    if options.pinned {
        // Servers inherit it.
        let id = std::process::id().to_string();
        let done = std::process::Command::new("taskset").args(["-cp", "0", &id]).output();
        assert!(done.is_ok_and(|done| done.status.success()), "--pinned needs taskset");
    }
    let texts = texts::Texts::load();
    println!("{}", machine());
    println!("messages: {}; folder: {}", texts.source, options.folder.display());
    if options.plot {
        return sweep::draw(&options, &texts);
    }
    for cell in cells::all().iter().filter(|cell| options.wants(cell)) {
        let results = run::interleaved(cell, &options, &texts);
        table::print(cell, &results);
    }
}

/// The machine and the day, for whoever reads the figures later.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let model = model.trim_start_matches(['\t', ':', ' ']);
    let date = jiff::Timestamp::now().to_string();
    let date = date.get(..16).unwrap_or_default();
    format!("{date}Z, {count} x {model}, Linux {}, load {load} before the start", kernel.trim())
}
