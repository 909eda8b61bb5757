//! One run of the command.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Instant;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Options;
use super::gate::{Gate, wait_for};
use super::worker::Job;
use crate::client::programs;

/// A command that runs, in a process group of its own: a Ctrl-C on the terminal is for the worker,
/// which lets its commands finish.
pub struct Running {
    child: Child,
    /// Can be read from when the command has ended.
    ended: OwnedFd,
}

/// A job's body as a file for standard input. A pipe would need someone to write to it for as long as the
/// command, or whatever it has started, leaves it unread.
fn body_file(job: &Job) -> io::Result<File> {
    let mut file = File::from(memfd_create("job", MemfdFlags::CLOEXEC)?);
    file.write_all(job.body.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Starts these words.
fn spawn(words: &[&OsStr], options: &Options, job: &Job, body: &File) -> io::Result<Child> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Command::new(program)
        .args(arguments)
        .env("MSGLOG_QUEUE", &options.queue)
        .env("MSGLOG_JOB", job.number.to_string())
        .env("MSGLOG_ATTEMPT", job.attempt.to_string())
        .stdin(body.try_clone()?)
        .process_group(0)
        .spawn()
}

/// The file of a program that the system does not know how to run, where it is one for a shell: what has no
/// `#!` goes to `/bin/sh`, unless it is no text.
fn script(program: &OsStr) -> Option<PathBuf> {
    let path = programs::find(program)?;
    let mut start = Vec::new();
    File::open(&path).ok()?.take(128).read_to_end(&mut start).ok()?;
    (!start.contains(&0)).then_some(path)
}

/// Why a wait is over.
pub enum Woken {
    /// The command has ended.
    Ended(ExitStatus),
    /// The command is to be killed.
    ToKill,
    /// It runs on; the time is over.
    Deadline,
}

impl Running {
    /// Starts the command for a job, with the job's body on its standard input.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(options: &Options, job: &Job) -> io::Result<Self> {
        let program = options.command.first().ok_or(io::ErrorKind::InvalidInput)?;
        let words: Vec<&OsStr> = options.command.iter().map(OsString::as_os_str).collect();
        let body = body_file(job)?;
        let mut child = match spawn(&words, options, job, &body) {
            Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
                let script = script(program).ok_or(error)?;
                let words: Vec<&OsStr> = ["/bin/sh".as_ref(), script.as_os_str()]
                    .into_iter()
                    .chain(words.into_iter().skip(1))
                    .collect();
                spawn(&words, options, job, &body)?
            }
            spawned => spawned?,
        };
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(ended) => Ok(Running { child, ended }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Waits until the command has ended, the gate is open (if one is given), or this moment.
    ///
    /// # Errors
    /// The system does not know the command any more.
    pub fn wait(&mut self, kill: Option<&Gate>, until: Instant) -> io::Result<Woken> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Woken::Ended(status));
            }
            if kill.is_some_and(Gate::is_open) {
                return Ok(Woken::ToKill);
            }
            if Instant::now() >= until {
                return Ok(Woken::Deadline);
            }
            let watched = [Some(self.ended()), kill.map(Gate::as_fd)];
            wait_for(&watched.into_iter().flatten().collect::<Vec<_>>(), until);
        }
    }

    /// What can be read from when the command has ended.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Asks the command, and whatever it has started, to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the command, and whatever it has started.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// The command has not been waited for, so its number is still its own.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}
