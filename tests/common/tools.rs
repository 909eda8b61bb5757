//! The real tools that people use on a socket: netcat and socat.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::PATIENCE;

/// Sends `input` through `nc -N -U`, which half-closes at its end, and gives the replies.
#[track_caller]
pub fn nc(socket: &Path, input: impl AsRef<[u8]>) -> Vec<Value> {
    let mut command = tool("nc", "netcat-openbsd");
    command.args(["-N", "-U"]).arg(socket);
    replies(&run_tool(command, input.as_ref(), "netcat-openbsd"))
}

/// Sends `input` through `socat`, which half-closes at its end, and gives the replies.
#[track_caller]
pub fn socat(socket: &Path, input: impl AsRef<[u8]>) -> Vec<Value> {
    let mut command = tool("socat", "socat");
    command.arg("-t").arg(PATIENCE.as_secs().to_string()).arg("-");
    command.arg(format!("UNIX-CONNECT:{}", socket.display()));
    replies(&run_tool(command, input.as_ref(), "socat"))
}

/// The program under `timeout`, so that no test hangs in it; it must be installed.
#[track_caller]
pub fn tool(program: &str, package: &str) -> Command {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    assert!(found, "`{program}` is missing; install it: apt-get install {package}");
    let mut command = Command::new("timeout");
    command.arg(PATIENCE.as_secs().to_string()).arg(program);
    command
}

/// Runs a tool with this input until it ends by itself; what it printed.
#[track_caller]
pub fn run_tool(mut command: Command, input: &[u8], package: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("`timeout` (coreutils) is installed");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    let mut printed = String::new();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        stdout.read_to_string(&mut printed).expect("text");
    });
    let output = child.wait_with_output().expect("a child of ours");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} (apt-get install {package}): {}: {said}", output.status);
    printed
}

fn replies(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect()
}
