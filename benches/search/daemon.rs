//! The real daemon, in a folder of its own, and connections to it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running daemon. It is killed and its folder removed when it is dropped.
pub struct Daemon {
    child: Child,
    folder: PathBuf,
}

impl Daemon {
    /// Starts one on an empty folder, made inside `place`.
    pub fn start(place: &std::path::Path, name: &str) -> Self {
        let folder = place.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder of the benchmark can be written");
        let child = spawn(&folder);
        let daemon = Daemon { child, folder };
        daemon.until_it_answers("{\"cmd\":\"ping\"}", |_| true);
        daemon
    }

    /// Starts it again after it was killed, and asks as soon as it listens: the answer must be right.
    /// How long that took.
    pub fn start_again(&mut self, request: &str, right: impl Fn(&Value) -> bool) -> Duration {
        let started = Instant::now();
        self.child = spawn(&self.folder);
        self.until_it_answers(request, right);
        started.elapsed()
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    fn until_it_answers(&self, request: &str, right: impl Fn(&Value) -> bool) {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(120) {
            if let Ok(stream) = UnixStream::connect(self.socket()) {
                let mut connection = Connection::on(stream);
                let reply = connection.ask(request);
                assert!(right(&reply), "the first answer is not right: {request}: {reply}");
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        let said = fs::read_to_string(self.folder.join("said")).unwrap_or_default();
        panic!("the daemon does not answer: {said}");
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }

    /// A new connection.
    pub fn connect(&self) -> Connection {
        Connection::on(UnixStream::connect(self.socket()).expect("the daemon listens"))
    }

    /// Bytes in one of the folders of its data.
    pub fn bytes(&self, name: &str) -> u64 {
        let entries = fs::read_dir(self.folder.join("data").join(name)).expect("a data folder");
        entries.map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |found| found.len())).sum()
    }

    /// Bytes of memory that is no file's: `Anonymous` in `smaps_rollup`.
    pub fn anonymous(&self) -> u64 {
        anonymous(self.child.id())
    }

    /// Watches its memory until that is asked for.
    pub fn watch(&self) -> Watch {
        let (peak, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (id, most, ended) = (self.child.id(), Arc::clone(&peak), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                most.fetch_max(anonymous(id), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Watch { peak, stop, thread }
    }

    /// Waits until the background has nothing left to do: it makes no new run files.
    pub fn settle(&self) {
        let merges = || self.connect().ask("{\"cmd\":\"stats\"}")["index"].to_string();
        let (mut since, mut before) = (Instant::now(), merges());
        while since.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(200));
            let now = merges();
            if now != before {
                (since, before) = (Instant::now(), now);
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The most memory that was seen.
pub struct Watch {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Ends the watch: the peak in bytes.
    pub fn peak(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a thread that only reads");
        self.peak.load(Ordering::Relaxed)
    }
}

fn anonymous(id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Anonymous:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn spawn(folder: &std::path::Path) -> Child {
    let said = File::options().create(true).append(true).open(folder.join("said")).expect("a file");
    let mut command = Command::new(crate::daemon_binary::path());
    command.arg("--data").arg(folder.join("data")).arg("--socket").arg(folder.join("s"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    command.spawn().expect("msglogd starts")
}

/// A connection.
pub struct Connection(BufReader<UnixStream>);

impl Connection {
    fn on(stream: UnixStream) -> Self {
        Connection(BufReader::with_capacity(1 << 20, stream))
    }

    /// One to send on and one to take replies from.
    pub fn split(self) -> (Connection, Connection) {
        let sending = Connection::on(self.0.get_ref().try_clone().expect("a descriptor"));
        (sending, self)
    }

    /// Nothing more is sent.
    pub fn end(&self) {
        self.0.get_ref().shutdown(std::net::Shutdown::Write).expect("an open connection");
    }

    /// Sends lines.
    pub fn send(&mut self, lines: &[u8]) {
        self.0.get_mut().write_all(lines).expect("the daemon reads");
    }

    /// Takes one reply. Empty when the daemon is gone.
    pub fn reply(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(_) => line,
            Err(_) => Vec::new(),
        }
    }

    /// Sends one request and takes its reply.
    pub fn ask(&mut self, request: &str) -> Value {
        self.send(format!("{request}\n").as_bytes());
        let reply = self.reply();
        serde_json::from_slice(&reply).unwrap_or_else(|error| panic!("no reply to {request}: {error}"))
    }

    /// Asks all of these over and over with so many outstanding, as long as it is told to but all at
    /// least once. Requests a second.
    pub fn rate(&mut self, lines: &[Vec<u8>], outstanding: usize, length: Duration) -> f64 {
        let started = Instant::now();
        let (mut sent, mut answered) = (0, 0);
        let mut buffer = vec![0; 1 << 20];
        let mut next = Vec::new();
        loop {
            let more = started.elapsed() < length || sent < lines.len();
            if !more && answered == sent {
                #[allow(clippy::cast_precision_loss, reason = "a count of requests")]
                return answered as f64 / started.elapsed().as_secs_f64();
            }
            next.clear();
            while more && sent - answered < outstanding {
                next.extend_from_slice(&lines[sent % lines.len()]);
                sent += 1;
            }
            self.send(&next);
            let count = self.0.get_mut().read(&mut buffer).expect("the daemon answers");
            assert!(count > 0, "the daemon closed the connection");
            answered += memchr::memchr_iter(b'\n', &buffer[..count]).count();
        }
    }

    /// Sends all lines as quickly as they are taken, and takes the replies, which must all be good. How
    /// many were good before the daemon was gone, and how long it took.
    pub fn pump(mut self, lines: impl Iterator<Item = String> + Send) -> (u64, Duration) {
        let started = Instant::now();
        let mut writing = self.0.get_ref().try_clone().expect("a descriptor");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut block = Vec::with_capacity(1 << 18);
                for line in lines {
                    block.extend_from_slice(line.as_bytes());
                    block.push(b'\n');
                    if block.len() > (1 << 17) {
                        // A daemon that is killed takes no more.
                        if writing.write_all(&block).is_err() {
                            return;
                        }
                        block.clear();
                    }
                }
                let _ = writing.write_all(&block);
                let _ = writing.shutdown(std::net::Shutdown::Write);
            });
            let mut good = 0;
            loop {
                let reply = self.reply();
                if !reply.ends_with(b"\n") {
                    return (good, started.elapsed());
                }
                assert!(reply.starts_with(b"{\"ok\":true"), "{}", String::from_utf8_lossy(&reply));
                good += 1;
            }
        })
    }
}
