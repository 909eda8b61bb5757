//! msglogd: durable messaging for one host.
//!
//! # Map
//!
//! A request runs through these modules from left to right and its reply back:
//!
//! ```text
//! socket -> server -> protocol -+-> writer: domain::decide -> log -> index -> snapshot -> reply
//!                               +-> reader: snapshot -> index, log -> reply
//!                               +-> maintenance: snapshot -> files -> reply
//! ```
//!
//! Other roads:
//!
//! ```text
//! writer <-> background: tails -> run files
//! follower: snapshot -> reader -> piece, again and again
//! log.compact: writer (seal) -> maintenance -> background -> writer (see maintenance::compact)
//! ```
//!
//! Each module uses only those above it in this list:
//!
//! | module | what is there |
//! | --- | --- |
//! | [`error`], [`limits`] | the catalogue of error codes; the bounds |
//! | [`time`], [`codec`], [`json`], [`randomness`] | times, small encodings, strict JSON |
//! | [`paths`], [`report`], [`progress`] | where things lie by default; lines for the operator; how far it is |
//! | [`courtesy`] | how work that takes long lets others go first |
//! | [`domain`] | pure: requests, events, the table, `decide` and `apply`, a file a noun |
//! | [`storage`] | the one trait for files |
//! | [`log`] | the truth on disk: frames, segments, recovery |
//! | [`index`] | terms with postings, and the table: the newest in memory, the rest in run files |
//! | [`snapshot`] | what there is to answer from as of one moment |
//! | [`stats`], [`metrics`] | what is counted; how it is told |
//! | [`batch`] | the outcomes of many requests, before they are on disk |
//! | [`store`] | opening a data folder |
//! | [`writer`] | the one thread that changes anything |
//! | [`background`] | writes and merges run files |
//! | [`maintenance`] | long work on the whole store: verify, back up, compact; and repair, while none serves |
//! | [`reader`] | answers from a snapshot |
//! | [`protocol`] | the table of commands; lines to requests, outcomes to replies |
//! | [`server`] | the event loop, connections, and the order of replies on each |
//! | [`daemon`] | the program `msglogd`: options, socket, start and stop |
//! | [`client`] | the program `msglog` |
//!
//! Only the log is the truth. The table of the domain (who has which number, which job is leased)
//! is a fold over it, and lies in the runs of the index together with words and recipients. Run
//! files can be deleted at any time: they come back from the log.

// What unit tests share with those in `tests/` names this crate from outside.
#[cfg(test)]
extern crate self as msglogd;

pub mod background;
pub mod batch;
pub mod client;
pub mod codec;
pub mod courtesy;
pub mod daemon;
pub mod domain;
pub mod error;
pub mod index;
pub mod json;
pub mod limits;
pub mod log;
pub mod maintenance;
pub mod metrics;
pub mod paths;
pub mod progress;
pub mod protocol;
pub mod randomness;
pub mod reader;
pub mod report;
pub mod server;
pub mod snapshot;
pub mod stats;
pub mod storage;
pub mod store;
pub mod time;
pub mod writer;
