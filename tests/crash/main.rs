//! Crashes and faults: the real store, writer and background over a twin of the disk that loses,
//! tears and reorders what no sync confirmed, and fails any call. See `tests/README.md`.

mod backups;
mod bit_flips;
mod client;
mod compaction;
mod cut_logs;
mod every_crash;
mod every_failure;
mod failures;
mod faulty_storage;
mod fold;
mod full_disk;
mod image;
mod index_failures;
mod machine;
mod model;
mod promises;
mod random;
mod repairs;
mod requests;
mod sequences;
mod simulations;
mod tears;
