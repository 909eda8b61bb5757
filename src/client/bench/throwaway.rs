//! A daemon of its own, in a folder of its own, and gone afterwards.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::statfs;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::address::Address;
use crate::client::failure::{Failure, Result};
use crate::client::programs;
use crate::paths::{ADDRESS_BYTES, data_folder, process_environment};

/// How long the daemon may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket, in the folder.
const SOCKET: &str = "s";

/// What the kernel calls a file system that lies in memory.
const TMPFS: i64 = 0x0102_1994;

/// The daemon, stopped and removed when this is dropped.
pub struct Throwaway {
    child: Child,
    folder: PathBuf,
    /// The folder, opened: through it the socket has a short path where its own is too long.
    opened: File,
}

impl Throwaway {
    /// Starts it in a new folder in this one, or else where data lies by default.
    ///
    /// # Errors
    /// The folder cannot be made, there is no `msglogd`, or it does not start.
    pub fn start(dir: Option<&Path>) -> Result<Self> {
        let folder = make_folder(dir)?;
        // It is looked for by this process: the daemon has no environment, and so no PATH.
        let program = program();
        let trouble =
            |error: io::Error| Failure::file(&format!("cannot start {}", program.display()), &error);
        let started = File::create(folder.join("stderr")).and_then(|said| {
            let opened = File::open(&folder)?;
            let mut command = Command::new(&program);
            command.current_dir(&folder).arg("--data").arg(folder.join("data")).args(["--socket", SOCKET]);
            // Nothing of the environment steers it, and a Ctrl-C is not for it.
            command.env_clear().process_group(0);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn()?;
            Ok((child, opened))
        });
        let (child, opened) = match started {
            Ok(started) => started,
            Err(error) => {
                let _ = fs::remove_dir_all(&folder);
                return Err(trouble(error));
            }
        };
        let mut daemon = Throwaway { child, folder, opened };
        daemon.await_answer()?;
        Ok(daemon)
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> Address {
        let socket = self.folder.join(SOCKET);
        let short = || PathBuf::from(format!("/proc/self/fd/{}", self.opened.as_raw_fd())).join(SOCKET);
        let fits = socket.as_os_str().len() < ADDRESS_BYTES;
        Address::new(Some(if fits { socket } else { short() }), &|_| None)
    }

    /// What it is, for people.
    #[must_use]
    pub fn about(&self) -> String {
        let place = self.folder.display();
        let in_memory = statfs(&self.folder).is_ok_and(|about| about.f_type == TMPFS);
        let warning = if in_memory { ", which lies in memory: no disk is measured (see --dir)" } else { "" };
        format!("A throwaway daemon on {place}{warning}")
    }

    fn await_answer(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.address().connect().is_err() {
            let ended = self.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() >= deadline {
                let said = fs::read_to_string(self.folder.join("stderr")).unwrap_or_default();
                return Err(Failure::NoDaemon(format!(
                    "the throwaway daemon does not start: {}",
                    said.trim()
                )));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A new folder that only this user can look into. One that was named to put it in must be there: what is not is a
/// slip, and nobody would remove it.
fn make_folder(dir: Option<&Path>) -> Result<PathBuf> {
    let default = || Some(data_folder(&process_environment)?.parent()?.to_owned());
    let parent = dir.map_or_else(|| default().unwrap_or_else(std::env::temp_dir), Path::to_owned);
    let parent = std::path::absolute(&parent).unwrap_or(parent);
    let folder = parent.join(format!("msglog-bench-{}", std::process::id()));
    let there = if dir.is_some() { Ok(()) } else { fs::create_dir_all(&parent) };
    let made = there.and_then(|()| DirBuilder::new().mode(0o700).create(&folder));
    made.map_err(|error| Failure::file(&format!("cannot make {}", folder.display()), &error))?;
    Ok(folder)
}

/// The daemon's program: the one beside this, or else that of the PATH.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("msglogd"));
    // From the root on, since it is started in another folder.
    let found = || programs::find("msglogd".as_ref()).and_then(|path| std::path::absolute(path).ok());
    let on_path = || found().unwrap_or_else(|| "msglogd".into());
    beside.filter(|path| path.is_file()).unwrap_or_else(on_path)
}
