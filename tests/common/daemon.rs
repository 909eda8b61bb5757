//! A daemon in a temporary folder, killed when the test is over.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, TempDir, until};

/// Every variable that the daemon or its start looks at; none leaks from the outside into a test.
const VARIABLES: &[&str] = &[
    "MSGLOGD_DATA",
    "MSGLOGD_SOCKET",
    "MSGLOGD_MAX_LINE",
    "MSGLOGD_MAX_CONNECTIONS",
    "MSGLOGD_SOCKET_MODE",
    "STATE_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
];

/// The daemon's program, in a clean environment, with no arguments yet.
pub fn msglogd() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_msglogd")))
}

/// The same command without any variable that could steer a daemon.
pub fn clean(mut command: Command) -> Command {
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    // Tests have variables of such names, too.
    let of_daemon = std::env::vars_os().map(|(name, _)| name);
    for variable in of_daemon.filter(|name| name.as_encoded_bytes().starts_with(b"MSGLOGD_")) {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub struct Finished {
    /// The exit status; nothing when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a program that is expected to end by itself.
pub fn finish(command: &mut Command) -> Finished {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut guard = Guard(child);
    // Both are read while it runs: a pipe holds only so much.
    let stdout = collected(guard.0.stdout.take().expect("piped"));
    let stderr = collected(guard.0.stderr.take().expect("piped"));
    let code = wait(&mut guard.0).code();
    Finished { code, stdout: stdout.join().expect("text"), stderr: stderr.join().expect("text") }
}

/// Reads a pipe to its end.
fn collected(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("text");
        text
    })
}

/// A running daemon, its data and its socket.
///
/// Fields are dropped in order: first the daemon ends, then its folder goes.
pub struct Daemon {
    child: Option<Guard>,
    options: Vec<String>,
    variables: Vec<(String, String)>,
    folder: TempDir,
}

/// Kills what it holds.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// Starts a daemon on an empty folder and waits until it answers.
    pub fn start() -> Daemon {
        Daemon::with(&[])
    }

    /// The same with more options.
    pub fn with(options: &[&str]) -> Daemon {
        let options = options.iter().map(ToString::to_string).collect();
        let mut daemon = Daemon { folder: TempDir::new(), options, variables: Vec::new(), child: None };
        daemon.launch();
        daemon
    }

    /// A daemon with an empty data folder that does not run yet.
    pub fn stopped(options: &[&str]) -> Daemon {
        let options = options.iter().map(ToString::to_string).collect();
        let daemon = Daemon { folder: TempDir::new(), options, variables: Vec::new(), child: None };
        fs::create_dir(daemon.data()).expect("a folder");
        daemon
    }

    /// Starts a daemon on a copy of this data folder and waits until it answers.
    pub fn start_on(data: &Path) -> Daemon {
        let mut daemon = Daemon::stopped_on(data);
        daemon.launch();
        daemon
    }

    /// A daemon on a copy of this data folder that does not run yet.
    pub fn stopped_on(data: &Path) -> Daemon {
        let daemon =
            Daemon { folder: TempDir::new(), options: Vec::new(), variables: Vec::new(), child: None };
        copy_folder(data, &daemon.data());
        daemon
    }

    /// Sets a variable in the environment of its next start.
    pub fn set_variable(&mut self, name: &str, value: String) {
        self.variables.push((name.to_owned(), value));
    }

    /// The temporary folder that holds everything of this daemon.
    pub fn folder(&self) -> &TempDir {
        &self.folder
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }

    /// What it has said on standard error, in all its runs.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }

    /// What it has said on standard output, in all its runs.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.folder.join("stdout")).unwrap_or_default()
    }

    /// The command that starts a daemon on this folder.
    pub fn command(&self) -> Command {
        let mut command = msglogd();
        command.arg("--data").arg(self.data()).arg("--socket").arg(self.socket()).args(&self.options);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A new connection.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(&self.socket())
            .unwrap_or_else(|error| panic!("cannot connect: {error}; stderr: {}", self.stderr()))
    }

    /// Starts it again after it has ended.
    #[track_caller]
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = self.command();
        command.stdout(self.append("stdout")).stderr(self.append("stderr"));
        let child = command.spawn().expect("msglogd starts");
        self.child = Some(Guard(child));
        let (socket, folder) = (self.socket(), self.folder.path().to_owned());
        await_socket(&mut self.child.as_mut().expect("just started").0, &socket, &folder);
    }

    /// Kills it, as a crash of the program would.
    pub fn kill(&mut self) {
        drop(self.child.take().expect("it runs"));
    }

    /// Ends it with SIGTERM; the exit status.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it with SIGTERM and starts it again.
    #[track_caller]
    pub fn restart(&mut self) {
        assert_eq!(self.stop(), Some(0), "a clean stop; stderr: {}", self.stderr());
        self.launch();
    }

    /// Kills it and starts it again.
    #[track_caller]
    pub fn crash(&mut self) {
        self.kill();
        self.launch();
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").0.id()
    }

    /// The most memory that it ever had since it was started, in MiB.
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
        line.trim_end_matches("kB").trim().parse::<u64>().expect("a number") / 1024
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let child = &self.child.as_ref().expect("it runs").0;
        kill_process(Pid::from_child(child), signal).expect("the signal is sent");
    }

    /// Waits until it has ended; the exit status.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        let mut guard = self.child.take().expect("it runs");
        wait(&mut guard.0).code()
    }

    /// Starts it where the start is expected to fail.
    pub fn fails_to_start(&self) -> Finished {
        assert!(self.child.is_none(), "it runs already");
        finish(&mut self.command())
    }

    fn append(&self, name: &str) -> File {
        File::options().create(true).append(true).open(self.folder.join(name)).expect("a file for its words")
    }
}

/// Copies a program, to be run by a user who may not look into the folder where it was built. Another process writes
/// the copy: where this one did, a child that another thread starts meanwhile would hold it open for writing, and such
/// a file cannot be run.
pub fn copy_program(from: &Command, to: &Path) {
    let status = Command::new("cp").arg(from.get_program()).arg(to).status().expect("cp is everywhere");
    assert!(status.success(), "cp: {status}");
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let path = entry.expect("an entry").path();
        let copy = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            fs::copy(&path, &copy).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

/// Every file and folder below.
pub fn everything_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(everything_below(&path));
        }
        found.push(path);
    }
    found
}

/// Waits until a daemon that was just started answers on its socket.
#[track_caller]
fn await_socket(child: &mut Child, socket: &Path, folder: &Path) {
    until("the daemon answers", || {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            let said = fs::read_to_string(folder.join("stderr")).unwrap_or_default();
            panic!("the daemon ended with {status}: {said}");
        }
        let mut client = Client::connect(socket).ok()?;
        client.try_send("{\"cmd\":\"ping\"}\n")?;
        client.line()
    });
}

/// Waits until a program has ended.
#[track_caller]
fn wait(child: &mut Child) -> ExitStatus {
    until("the program ends", || child.try_wait().expect("a child of ours"))
}
