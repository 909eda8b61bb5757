//! What tests of the client need beside a daemon: the program, started and watched.
#![allow(dead_code, clippy::expect_used)]

pub mod terminal;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::common::{Daemon, Finished, Value, clean, finish, until};

/// The client in a clean environment, with no socket named.
pub fn msglog() -> Command {
    let mut command = clean(Command::new(env!("CARGO_BIN_EXE_msglog")));
    command.env_remove("MSGLOG_SOCKET").env_remove("HOME").env_remove("NO_COLOR");
    command
}

/// The client for this daemon, with these arguments.
pub fn msglog_for(daemon: &Daemon, arguments: &[&str]) -> Command {
    let mut command = msglog();
    command.arg("--socket").arg(daemon.socket()).args(arguments);
    command
}

/// Runs the client to its end.
pub fn run(daemon: &Daemon, arguments: &[&str]) -> Finished {
    finish(&mut msglog_for(daemon, arguments))
}

/// Runs the client, which must succeed; what it printed.
#[track_caller]
pub fn printed(daemon: &Daemon, arguments: &[&str]) -> String {
    let finished = run(daemon, arguments);
    assert_eq!(finished.code, Some(0), "{arguments:?} gave {finished:?}");
    finished.stdout
}

/// Listens on a socket and answers each request of one connection as it is told to, like a daemon that does
/// what no daemon can be made to do at a given moment. Closes when it is told nothing.
pub fn scripted(socket: &Path, mut answer: impl FnMut(&Value) -> Option<Value> + Send + 'static) {
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a client");
        let mut replies = stream.try_clone().expect("a descriptor");
        for line in BufReader::new(stream).lines() {
            // A client that has left needs no more.
            let Ok(line) = line else { return };
            let Some(reply) = answer(&serde_json::from_str(&line).expect("JSON")) else { return };
            if writeln!(replies, "{reply}").is_err() {
                return;
            }
        }
    });
}

/// A client that runs beside the test, killed when the test is over.
pub struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts the client.
    pub fn start(daemon: &Daemon, arguments: &[&str]) -> Running {
        Running::spawn(&mut msglog_for(daemon, arguments))
    }

    /// Starts a command with its output piped.
    pub fn spawn(command: &mut Command) -> Running {
        Running::spawn_as_it_is(command.stdout(Stdio::piped()))
    }

    /// Starts a command whose output goes where it was told to.
    pub fn spawn_as_it_is(command: &mut Command) -> Running {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("msglog starts");
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = Arc::new(Mutex::new(String::new()));
        let (heard, said) = (Arc::clone(&stderr), child.stderr.take().expect("piped"));
        let listening = std::thread::spawn(move || {
            for line in BufReader::new(said).lines() {
                *heard.lock().expect("no panic") += &(line.expect("text") + "\n");
            }
        });
        Running { child, stdout, stderr, listening: Some(listening) }
    }

    /// Waits until it has said this on standard error.
    #[track_caller]
    pub fn await_said(&self, text: &str) {
        until(&format!("it says {text:?}"), || {
            self.stderr.lock().expect("no panic").contains(text).then_some(())
        });
    }

    /// Reads one line of its output, without the line feed.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("its output is read");
        stdout.read_line(&mut line).expect("text");
        assert_eq!(line.pop(), Some('\n'), "the output ended");
        line
    }

    /// Takes its standard input.
    pub fn input(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().expect("its input is piped")
    }

    /// Stops reading its output, as `head` does.
    pub fn close_output(&mut self) {
        self.stdout = None;
    }

    /// Its process.
    pub fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("the signal is sent");
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let status = until("msglog ends", || self.child.try_wait().expect("a child of ours"));
        let mut finished = Finished { code: status.code(), stdout: String::new(), stderr: String::new() };
        if let Some(stdout) = self.stdout.as_mut() {
            stdout.read_to_string(&mut finished.stdout).expect("text");
        }
        self.listening.take().expect("once").join().expect("no panic");
        finished.stderr.clone_from(&self.stderr.lock().expect("no panic"));
        finished
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
