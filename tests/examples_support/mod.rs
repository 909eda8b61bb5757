//! What tests of the examples need beside a daemon: the programs, run with their interpreters.
#![allow(dead_code, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::{Daemon, Finished, finish};

/// Where the examples are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// Runs an example against a daemon with its interpreter. Nothing, said aloud, when that is missing.
pub fn run(daemon: &Daemon, interpreter: &str, name: &str, arguments: &[&str]) -> Option<Finished> {
    let mut command = command(interpreter, name)?;
    Some(finish(command.args(arguments).env("MSGLOG_SOCKET", daemon.socket())))
}

/// An example with its interpreter, if that is there.
pub fn command(interpreter: &str, name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join(interpreter).is_file()) {
        eprintln!("SKIPPED: examples/{name}, as `{interpreter}` is not installed");
        return None;
    }
    let mut command = Command::new(interpreter);
    command.arg(folder().join(name)).env("PYTHONDONTWRITEBYTECODE", "1");
    Some(command)
}

/// What an example printed, which must end well.
#[track_caller]
pub fn printed(daemon: &Daemon, interpreter: &str, name: &str, arguments: &[&str]) -> Option<String> {
    let finished = run(daemon, interpreter, name, arguments)?;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{name}: {}", finished.stdout);
    Some(finished.stdout)
}

/// A script with the examples in Python at hand.
pub fn python(daemon: &Daemon, script: &str) -> Option<Command> {
    let mut python = Command::new(command("python3", "client.py")?.get_program());
    python.arg("-c").arg(script).env("PYTHONPATH", folder());
    python.env("PYTHONDONTWRITEBYTECODE", "1").env("MSGLOG_SOCKET", daemon.socket());
    Some(python)
}
