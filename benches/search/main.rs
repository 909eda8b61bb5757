//! `cargo bench --bench search`: how quickly msglogd finds messages, beside SQLite FTS5 and tantivy.
//!
//! Everything is asked of the same messages ([`corpus`]) with the same queries ([`queries`]): the 20
//! newest that match, with their texts. Ours is a live store, written by the daemon's own writer:
//! several run files, a tail in memory, nothing merged for the occasion. The peers are at their
//! best: one merged index each, no tail. Answers are compared with each other, and some with what
//! reading every message gives ([`scan`]). Then the same daemon as a program ([`through_socket`],
//! [`busy`]), and its memory with much of one thing in it ([`scenarios`]).

mod answer;
mod busy;
mod changes;
mod corpus;
mod daemon;
#[path = "../daemon_binary.rs"]
mod daemon_binary;
mod dice;
mod fts5;
mod made_up;
mod options;
mod ours;
mod peers;
mod queries;
mod report;
mod scan;
mod scenarios;
mod table;
mod tantivy_index;
mod through_socket;
mod timing;

use corpus::Corpus;
use report::Report;

fn main() {
    let options = options::parse().unwrap_or_else(|message| {
        eprintln!("{message}");
        std::process::exit(64);
    });
    let corpus = Corpus::load();
    let mut report = Report::default();
    report.heading(&format!("msglogd, search in {} messages from {}", options.messages, corpus.source));
    let classes = if options.wants("table") {
        table::run(&options, &corpus, &mut report)
    } else {
        table::classes(&options, &corpus)
    };
    if options.wants("daemon") {
        through_socket::run(&options, &corpus, &classes, &mut report);
    }
    scenarios::run(&options, &corpus, &mut report);
    if options.keep {
        report.keep(&format!("search-{}.txt", options.messages));
    }
}
