//! What every black-box test needs: a temporary folder, a running daemon, a client that speaks
//! lines, the tools `nc` and `socat`, and a reader of the log's files.
#![allow(dead_code, unused_imports)]

mod client;
mod daemon;
mod jobs;
mod log_files;
mod reply;
mod temp_dir;
mod tools;
mod writes;

use std::time::{Duration, Instant};

pub use client::Client;
pub use daemon::{Daemon, Finished, clean, copy_folder, copy_program, everything_below, finish, msglogd};
pub use jobs::bodies;
pub use log_files::{Frame, content, file_name, frames, newest_segment, padded, segments};
pub use reply::{Reply, assert_error, assert_field, assert_ok, short};
pub use serde_json::{Value, json};
pub use temp_dir::TempDir;
pub use tools::{nc, run_tool, socat, tool};
pub use writes::{Write, everything, writes};

/// How long anything may take before a test gives up: a guard against hangs, never a measure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Says that it is done when it goes, also when that is by a panic.
pub struct Finish<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Asks again and again until there is an answer; for what no event announces.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The user id that the tests, and so the daemons, run as.
pub fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Whether this is a time as the daemon writes it: UTC, microseconds, ending in `Z`.
pub fn is_time(value: &Value) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    value.as_str().is_some_and(|text| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(byte, expected)| match expected {
                b'd' => byte.is_ascii_digit(),
                other => byte == other,
            })
    })
}

/// The number under `key`.
pub fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("no number \"{key}\" in {value}"))
}

/// The string under `key`.
pub fn string(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no string \"{key}\" in {value}")).to_owned()
}

/// The list under `key`.
pub fn list(value: &Value, key: &str) -> Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no list \"{key}\" in {value}")).clone()
}

/// The same request with one more argument.
pub fn with(request: &Value, key: &str, value: impl Into<Value>) -> Value {
    let mut request = request.clone();
    request[key] = value.into();
    request
}
