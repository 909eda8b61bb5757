//! One run of the command.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::Options;
use super::gate::{Gate, wait_for};
use super::worker::Job;

/// A command that runs, in a process group of its own: a Ctrl-C on the terminal is for the worker,
/// which lets its commands finish.
pub struct Running {
    child: Child,
    /// Can be read from when the command has ended.
    ended: OwnedFd,
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
        let (program, arguments) = options.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("MSGLOG_QUEUE", &options.queue)
            .env("MSGLOG_JOB", job.number.to_string())
            .env("MSGLOG_ATTEMPT", job.attempt.to_string())
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            let body = job.body.clone();
            // A command need not read its input, and may read it late.
            thread::spawn(move || input.write_all(body.as_bytes()));
        }
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
            match kill {
                Some(gate) => {
                    wait_for([self.ended.as_fd(), gate.as_fd()], until);
                }
                None => {
                    wait_for([self.ended.as_fd()], until);
                }
            }
        }
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
