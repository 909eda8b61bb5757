//! Lines to the daemon: see `checks/protocol_line.rs`.
#![no_main]

#[path = "../checks/protocol_line.rs"]
mod protocol_line;
#[path = "../../tests/support_in_process/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| protocol_line::check(bytes));
