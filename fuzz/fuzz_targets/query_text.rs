//! Searches for a text, and for a substring: see `checks/query_text.rs`.
#![no_main]

#[path = "../checks/query_text.rs"]
mod query_text;
#[path = "../../tests/support_in_process/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| query_text::check(bytes));
