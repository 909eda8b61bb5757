//! A server as a process, in a folder of its own.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::cells::Peer;
use crate::options::Options;

/// A running server; killed, and its folder removed, when it is dropped.
pub struct Server {
    peer: Peer,
    program: PathBuf,
    lazy: bool,
    folder: PathBuf,
    child: Child,
}

impl Server {
    /// Starts one in a new folder.
    ///
    /// # Errors
    /// `NotFound` when it is not installed.
    pub fn start(peer: Peer, lazy: bool, options: &Options) -> io::Result<Server> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = options.folder.join(format!("side-{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let other = options.against.as_ref().filter(|_| peer == Peer::Other);
        let program = other.cloned().unwrap_or_else(|| crate::daemon_binary::path().to_owned());
        let child =
            launch(peer, &program, lazy, &folder).inspect_err(|_| drop(fs::remove_dir_all(&folder)))?;
        let mut server = Server { peer, program, lazy, folder, child };
        server.wait()?;
        Ok(server)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        socket(&self.folder)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it and starts it again on the same folder.
    pub fn crash(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        // Not every server takes the place of a socket that one before left behind.
        let _ = fs::remove_file(self.socket());
        self.child = launch(self.peer, &self.program, self.lazy, &self.folder)?;
        self.wait()
    }

    fn wait(&mut self) -> io::Result<()> {
        let end = Instant::now() + Duration::from_secs(120);
        while UnixStream::connect(self.socket()).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(self.folder.join("said")).unwrap_or_default();
                return Err(io::Error::other(format!("{} ended: {status}: {said}", self.peer.name())));
            }
            if Instant::now() > end {
                return Err(io::Error::other(format!("{} does not listen", self.peer.name())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// User and system time so far.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let times = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
        // A tick is 10 ms on every Linux there is.
        Duration::from_millis(times.sum::<u64>() * 10)
    }

    /// Waits until it has nothing left to do, and answers its time then.
    pub fn idle_cpu(&self) -> Duration {
        let (mut last, mut same) = (self.cpu(), 0);
        for _ in 0..1200 {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.cpu();
            same = if now == last { same + 1 } else { 0 };
            last = now;
            if same == 5 {
                break;
            }
        }
        last
    }

    /// Memory that belongs to no file, in MiB.
    pub fn anonymous_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("s")
}

fn launch(peer: Peer, program: &Path, lazy: bool, folder: &Path) -> io::Result<Child> {
    let mut command = match peer {
        Peer::Msglogd | Peer::Other => {
            let mut command = Command::new(program);
            command.arg("--data").arg(folder.join("data")).arg("--socket").arg(socket(folder));
            command
        }
        Peer::Redis => {
            let mut command = Command::new("redis-server");
            // Its log is never written anew during a run: that would be to its disadvantage.
            command.args(["--port", "0", "--save", "", "--appendonly", "yes"]);
            command.args(["--auto-aof-rewrite-percentage", "0"]);
            command.args(["--appendfsync", if lazy { "everysec" } else { "always" }]);
            command.arg("--dir").arg(folder).arg("--unixsocket").arg(socket(folder));
            command
        }
        Peer::Beanstalkd => {
            let mut command = Command::new("beanstalkd");
            command.args(["-f0", "-b"]).arg(folder);
            command.arg("-l").arg(format!("unix:{}", socket(folder).display()));
            command
        }
        Peer::Sqlite => unreachable!("SQLite is no server"),
    };
    let said = fs::File::options().create(true).append(true).open(folder.join("said"))?;
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    command.spawn()
}
