//! A run file, opened, verified, walked and searched: see `checks/run_file.rs`.
#![no_main]

#[path = "../checks/run_file.rs"]
mod run_file;
#[path = "../../tests/support_in_process/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run_file::check(bytes));
