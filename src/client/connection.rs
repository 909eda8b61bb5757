//! Finding the daemon, and speaking lines with it.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::failure::{Failure, Result, say};
use super::reply::Reply;
use super::waiting;
use crate::paths;

/// Large enough that many pipelined replies come in one read.
const BUFFER_BYTES: usize = 64 << 10;

/// An answer that needs no waiting and takes longer is worth a word.
pub const SILENCE: Duration = Duration::from_secs(3);

/// Where to look for the daemon.
#[derive(Debug, Clone)]
pub struct Address {
    candidates: Vec<PathBuf>,
    /// Whether the daemon's variable is set and the client's is not, which are easily taken for one another.
    mistaken: bool,
    /// Whether `--socket` named it.
    by_option: bool,
    /// The socket that took the first connection. From then on there is no other one, also for copies of this
    /// address: a daemon elsewhere has other data.
    found: Arc<OnceLock<PathBuf>>,
}

/// Why no connection was made.
#[derive(Debug)]
pub enum Unreached {
    /// No daemon takes one, at any of these places.
    Away {
        /// Each place, and what is wrong there.
        places: Vec<String>,
        /// Whether there is a daemon, which this user may not connect to.
        closed_to_us: bool,
    },
    /// This process or the system has no room for one, whether a daemon is there or not.
    Shortage(io::Error),
}

/// One connection to the daemon.
#[derive(Debug)]
pub struct Connection {
    input: BufReader<UnixStream>,
    path: PathBuf,
}

impl Address {
    /// The socket that was named, by an option or by `MSGLOG_SOCKET`, or else every place where a
    /// daemon makes one.
    #[must_use]
    pub fn new(named: Option<PathBuf>, lookup: paths::Lookup<'_>) -> Self {
        let set = || lookup("MSGLOG_SOCKET").filter(|value| !value.is_empty()).map(PathBuf::from);
        let by_option = named.is_some();
        let address = match named.or_else(set) {
            Some(path) => Address::at(vec![path], false),
            None => Address::at(
                paths::client_sockets(lookup, paths::own_uid()),
                lookup("MSGLOGD_SOCKET").is_some(),
            ),
        };
        Address { by_option, ..address }
    }

    fn at(candidates: Vec<PathBuf>, mistaken: bool) -> Self {
        Address { candidates, mistaken, by_option: false, found: Arc::default() }
    }

    /// Whether `--socket` named the socket.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.by_option
    }

    /// Connects to the first socket that answers, and from then on to no other one.
    ///
    /// # Errors
    /// [`Failure::NoDaemon`], which says what was tried and how to start one; [`Failure::File`] where there is
    /// no room for a connection.
    pub fn connect(&self) -> Result<Connection> {
        self.connect_and_tell().map(|(connection, _)| connection)
    }

    /// The same, and which socket it was.
    ///
    /// # Errors
    /// As for [`Address::connect`].
    pub fn connect_and_tell(&self) -> Result<(Connection, &Path)> {
        if self.candidates.iter().any(|path| path.as_os_str().is_empty()) {
            return Err(Failure::Usage("the path of the socket is empty; --socket takes one".into()));
        }
        self.attempt().map_err(|unreached| match unreached {
            Unreached::Shortage(_) => Failure::File(unreached.to_string()),
            Unreached::Away { places, closed_to_us } => {
                let tried: Vec<String> = places.iter().map(|place| format!("\n  {place}")).collect();
                let [first, last] = if closed_to_us { CLOSED } else { ABSENT };
                let mistaken = if self.mistaken { MISTAKEN } else { "" };
                Failure::NoDaemon(format!("{first} Tried:{}\n{last}{mistaken}", tried.concat()))
            }
        })
    }

    /// Connects again, for those who wait for the daemon where there is none.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn reconnect(&self) -> std::result::Result<Connection, Unreached> {
        self.attempt().map(|(connection, _)| connection)
    }

    fn attempt(&self) -> std::result::Result<(Connection, &Path), Unreached> {
        let (mut places, mut closed_to_us) = (Vec::new(), false);
        for path in self.found.get().map_or(self.candidates.as_slice(), slice::from_ref) {
            match open(path) {
                Ok(stream) => {
                    self.found.get_or_init(|| path.clone());
                    let input = BufReader::with_capacity(BUFFER_BYTES, stream);
                    return Ok((Connection { input, path: path.clone() }, path));
                }
                // The next place is no better, and might be another daemon's.
                Err(error) if is_shortage(&error) => return Err(Unreached::Shortage(error)),
                Err(error) => {
                    closed_to_us |= is_denied(&error);
                    places.push(format!("{}: {}", path.display(), reason(path, &error)));
                }
            }
        }
        Err(Unreached::Away { places, closed_to_us })
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreached::Away { places, .. } => write!(formatter, "{}", places.join("; ")),
            Unreached::Shortage(error) => write!(formatter, "cannot connect to the daemon: {error}"),
        }
    }
}

/// What is said around the places that were tried when nobody listens at any.
const ABSENT: [&str; 2] = [
    "no daemon answers.",
    "Start one with `msglogd`, or name its socket with --socket PATH or MSGLOG_SOCKET.",
];

/// What is added when the variable that is set is the daemon's.
const MISTAKEN: &str = "\nMSGLOGD_SOCKET is set; the client reads MSGLOG_SOCKET.";

/// The same when one is there that this user may not connect to.
const CLOSED: [&str; 2] = [
    "this user may not connect to the daemon's socket.",
    "Another socket is named with --socket PATH or MSGLOG_SOCKET.",
];

/// Connects, unless the socket lies in a folder that others could have made.
fn open(path: &Path) -> io::Result<UnixStream> {
    let uid = paths::own_uid();
    if paths::is_in_private_folder(path, uid) {
        paths::check_private_folder(&paths::private_folder(uid), uid)?;
    }
    UnixStream::connect(path)
}

/// What is wrong with a socket, in words that tell a stranger more than the system's.
fn reason(path: &Path, error: &io::Error) -> String {
    let found = fs::metadata(path);
    match error.kind() {
        io::ErrorKind::NotFound => "not there".into(),
        _ if found.is_ok_and(|found| !found.file_type().is_socket()) => "is no socket".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens on it".into(),
        _ if is_denied(error) => who_may(path),
        _ => error.to_string(),
    }
}

/// Whether the system itself says that this user may not.
fn is_denied(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ACCESS.raw_os_error())
}

/// Whether a descriptor or memory is missing on this side.
fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS))
}

/// Who may connect to a socket that this user may not connect to, as far as its mode tells.
fn who_may(path: &Path) -> String {
    let Ok(found) = fs::symlink_metadata(path) else {
        return "this user may not look into its folder".into();
    };
    if found.mode() & 0o020 == 0 {
        return "a daemon's socket is there, for its owner alone".into();
    }
    let group = group_name(found.gid());
    format!("a daemon's socket is there, for the group {group}: adduser USER {group}, then log in anew")
}

/// The name of a group, or its number where it has none.
fn group_name(gid: u32) -> String {
    let group = nix::unistd::Group::from_gid(gid.into());
    group.ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

impl Connection {
    /// Sends one line.
    ///
    /// # Errors
    /// The connection is lost.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        self.input.get_mut().write_all(&bytes)
    }

    /// Reads one line; `None` when the daemon has closed the connection.
    ///
    /// # Errors
    /// The connection is lost, or what came is no reply.
    pub fn receive(&mut self) -> io::Result<Option<Reply>> {
        let mut line = Vec::new();
        self.input.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        let reply = String::from_utf8(line).ok().and_then(Reply::new);
        let foreign = || io::Error::new(io::ErrorKind::InvalidData, "what answers is no msglogd");
        reply.ok_or_else(foreign).map(Some)
    }

    /// Reads one line that must come.
    ///
    /// # Errors
    /// The connection is lost, or what came is no reply.
    pub fn reply(&mut self) -> io::Result<Reply> {
        self.receive()?.ok_or_else(closed)
    }

    /// Sends a request that must succeed.
    ///
    /// # Errors
    /// The connection is lost before the reply has come, or the daemon refuses.
    pub fn accepted(&mut self, request: &str) -> Result<Reply> {
        Ok(self.ask(request).map_err(|error| Failure::lost(&error))?.accepted()?)
    }

    /// Sends a request and reads its reply.
    ///
    /// # Errors
    /// The connection is lost before the reply has come.
    pub fn ask(&mut self, request: &str) -> io::Result<Reply> {
        // A daemon that has no room says so and closes, whether or not it could be written to.
        let sent = self.send(request);
        if !waiting::may_take_long(request) {
            self.tell_of_silence(SILENCE, say);
        }
        match self.receive()? {
            Some(reply) => Ok(reply),
            None => sent.and(Err(closed())),
        }
    }

    /// Whether anything comes within this time. An end of the connection counts, too.
    #[must_use]
    pub fn answers_within(&self, time: Duration) -> bool {
        let timeout = Timespec::try_from(time).ok();
        let mut watched = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
        self.has_bytes() || !matches!(poll(&mut watched, timeout.as_ref()), Ok(0))
    }

    /// Says that nothing comes when nothing has come within this time: whoever waits at a socket that
    /// nobody accepts on waits for ever. It is said once in all.
    pub fn tell_of_silence(&self, time: Duration, say: impl FnOnce(&str)) {
        static SAID: AtomicBool = AtomicBool::new(false);
        if !self.answers_within(time) && !SAID.swap(true, Ordering::Relaxed) {
            say(&format!(
                "connected to {}, no answer yet: the daemon is starting, or fails and is started again \
                 (systemctl status msglogd)",
                self.path.display()
            ));
        }
    }

    /// Whether a whole line was read ahead, so that [`Connection::receive`] does not wait.
    #[must_use]
    pub fn has_line(&self) -> bool {
        memchr::memchr(b'\n', self.input.buffer()).is_some()
    }

    /// Whether anything was read ahead.
    #[must_use]
    pub fn has_bytes(&self) -> bool {
        !self.input.buffer().is_empty()
    }

    /// Makes reading fail when nothing has come for so long.
    ///
    /// # Errors
    /// The system refuses.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.input.get_ref().set_read_timeout(patience)
    }

    /// The sending side, to be used by another thread.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub fn sender(&self) -> io::Result<UnixStream> {
        self.input.get_ref().try_clone()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.get_ref().as_fd()
    }
}

/// The daemon closed the connection where it owed a reply.
#[must_use]
pub fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon closed it")
}

/// Growing pauses between attempts to reach a daemon that is away.
#[derive(Debug, Clone, Copy)]
pub struct Pauses(Duration);

impl Pauses {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(5);

    /// Begins with a short one.
    #[must_use]
    pub fn new() -> Self {
        Pauses(Self::FIRST)
    }

    /// How long to wait now; twice as long the next time, up to a bound.
    pub fn take(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Self::LONGEST);
        now
    }
}

impl Default for Pauses {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_named_socket_is_the_only_place_to_look() {
        let lookup = |name: &str| (name == "MSGLOG_SOCKET").then(|| OsString::from("/from/variable"));
        assert_eq!(Address::new(Some("/named".into()), &lookup).candidates, [PathBuf::from("/named")]);
        assert_eq!(Address::new(None, &lookup).candidates, [PathBuf::from("/from/variable")]);
        assert!(Address::new(None, &|_| None).candidates.len() > 1);
    }

    #[test]
    fn nobody_there_names_every_place_and_how_to_start() {
        let address = Address::at(vec!["/nowhere/a".into(), "/nowhere/b".into()], false);
        let Err(Failure::NoDaemon(text)) = address.connect() else { panic!("nobody is there") };
        assert!(text.contains("/nowhere/a: not there") && text.contains("/nowhere/b"), "{text}");
        assert!(text.contains("`msglogd`") && !text.contains("MSGLOGD_SOCKET"), "{text}");
    }

    #[test]
    fn what_is_no_socket_and_a_variable_of_the_daemon_are_named() {
        let places = vec!["/etc/passwd".into(), "/etc".into()];
        let Err(Failure::NoDaemon(text)) = Address::at(places, true).connect() else {
            panic!("nobody is there")
        };
        assert!(text.contains("/etc/passwd: is no socket") && text.contains("/etc: is no socket"), "{text}");
        assert!(text.ends_with("MSGLOGD_SOCKET is set; the client reads MSGLOG_SOCKET."), "{text}");
        let lookup = |name: &str| (name == "MSGLOGD_SOCKET").then(|| OsString::from("/s"));
        assert!(Address::new(None, &lookup).mistaken);
        assert!(!Address::new(Some("/named".into()), &lookup).mistaken);
    }

    #[test]
    fn the_socket_that_took_a_connection_is_the_only_one_from_then_on() {
        let folder = std::env::temp_dir().join(format!("msglog-address-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let [first, second] = ["first", "second"].map(|name| folder.join(name));
        let address = Address::at(vec![first.clone(), second.clone()], false);
        let one = UnixListener::bind(&second).unwrap();
        let copy = address.clone();
        assert_eq!(address.connect_and_tell().unwrap().1, second);
        drop(one);
        fs::remove_file(&second).unwrap();
        let _other = UnixListener::bind(&first).unwrap();
        for address in [&address, &copy] {
            let Err(Unreached::Away { places, .. }) = address.reconnect() else {
                panic!("it is another one")
            };
            assert_eq!(places, [format!("{}: not there", second.display())]);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_path_that_is_empty_is_told_as_that() {
        let empty = Address::new(Some(PathBuf::new()), &|_| None).connect();
        assert!(matches!(empty, Err(Failure::Usage(text)) if text.contains("path of the socket is empty")));
    }

    #[test]
    fn groups_have_names_where_the_system_knows_them() {
        assert_eq!(group_name(0), "root");
        assert_eq!(group_name(4_000_000_000), "4000000000");
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut pauses = Pauses::new();
        let taken: Vec<u128> = (0..9).map(|_| pauses.take().as_millis()).collect();
        assert_eq!(taken, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
