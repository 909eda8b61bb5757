//! The daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    match msglogd::daemon::main(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            msglogd::report::error(exit.message());
            ExitCode::from(exit.status())
        }
    }
}
