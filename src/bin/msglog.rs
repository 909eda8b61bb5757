//! `msglog`, the client of msglogd for people and their scripts.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(msglogd::client::run(std::env::args_os().skip(1)))
}
