//! A segment of the log, read back and repaired: see `checks/log_frame.rs`.
#![no_main]

#[path = "../checks/log_frame.rs"]
mod log_frame;
#[path = "../../tests/support_in_process/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| log_frame::check(bytes));
