//! Finding the daemon.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::connection::Connection;
use super::failure::{Failure, Result, is_late, lost_how, say};
use crate::paths;

/// Where to look for the daemon.
#[derive(Debug, Clone)]
pub struct Address {
    candidates: Vec<PathBuf>,
    /// Whether the daemon's variable is set and the client's is not, which are easily taken for one another.
    mistaken: bool,
    /// Whether `--socket` named it.
    by_option: bool,
    /// How long the daemon may take to answer; nothing for as long as it likes.
    timeout: Option<Duration>,
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
        Address { candidates, mistaken, by_option: false, timeout: None, found: Arc::default() }
    }

    /// The same, where the daemon may take so long to answer, and to take a connection.
    #[must_use]
    pub fn with_timeout(self, timeout: Option<Duration>) -> Self {
        Address { timeout, ..self }
    }

    /// How long the daemon may take to answer, where that was told.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
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
                let [first, last] = if closed_to_us {
                    CLOSED
                } else if self.looks_for_service() && service_is_installed() {
                    STOPPED
                } else {
                    ABSENT
                };
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
            match open(path, self.timeout)
                .and_then(|stream| Connection::new(stream, path.clone(), self.timeout))
            {
                Ok(connection) => {
                    self.found.get_or_init(|| {
                        self.other_than(path).iter().for_each(|other| say(&two_sockets(path, other)));
                        path.clone()
                    });
                    return Ok((connection, path));
                }
                // The next place is no better, and might be another daemon's.
                Err(error) if is_shortage(&error) => return Err(Unreached::Shortage(error)),
                Err(error) => {
                    closed_to_us |= is_denied(&error);
                    places.push(format!("{}: {}", path.display(), reason(path, &error)));
                    // A daemon that hangs is there.
                    if is_late(&error) {
                        break;
                    }
                }
            }
        }
        Err(Unreached::Away { places, closed_to_us })
    }

    /// Whether the socket of the host's service is among the places.
    fn looks_for_service(&self) -> bool {
        self.candidates.iter().any(|path| path == Path::new(paths::SERVICE_SOCKET))
    }

    /// A socket behind this one that this user may connect to as well: another daemon's, with other data. It is
    /// only looked at, since a connection could start that daemon.
    fn other_than(&self, taken: &Path) -> Option<&Path> {
        let behind = self.candidates.iter().skip_while(|path| *path != taken).skip(1);
        let identity = |path: &Path| fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
        behind.map(PathBuf::as_path).find(|path| {
            let is_socket = fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
            let is_another = identity(path) != identity(taken);
            is_socket && is_another && is_trusted(path).is_ok() && access(*path, Access::WRITE_OK).is_ok()
        })
    }
}

/// What is said where the first of two sockets is taken: it may have been forgotten there.
fn two_sockets(taken: &Path, other: &Path) -> String {
    format!(
        "taking {}; there is {} too, for a daemon with other data: --socket PATH or MSGLOG_SOCKET names the one that \
         is meant",
        taken.display(),
        other.display()
    )
}

/// Whether the daemon is installed as a service of this host, which then has the data that is meant. Where no
/// systemd runs, as in a container, its folder says nothing.
fn service_is_installed() -> bool {
    let places =
        ["/run/msglogd", "/etc/systemd/system/msglogd.socket", "/usr/lib/systemd/system/msglogd.socket"];
    Path::new("/run/systemd/system").is_dir() && places.iter().any(|place| Path::new(place).exists())
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

/// The same where the daemon is a service of the host: one that was started by hand would have other data.
const STOPPED: [&str; 2] = [
    "no daemon answers.",
    "Start the service with `systemctl start msglogd.socket msglogd.service`, or name another daemon's socket with \
     --socket PATH or MSGLOG_SOCKET.",
];

/// What is added when the variable that is set is the daemon's.
const MISTAKEN: &str = "\nMSGLOGD_SOCKET is set; the client reads MSGLOG_SOCKET.";

/// The same when one is there that this user may not connect to.
const CLOSED: [&str; 2] = [
    "this user may not connect to the daemon's socket.",
    "Another socket is named with --socket PATH or MSGLOG_SOCKET.",
];

/// Connects, unless the socket lies in a folder that others could have made. A daemon whose queue of connections is
/// full takes none for as long as it hangs.
fn open(path: &Path, timeout: Option<Duration>) -> io::Result<UnixStream> {
    is_trusted(path)?;
    let Some(timeout) = timeout else { return UnixStream::connect(path) };
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(timeout))?;
    retry_on_intr(|| connect(&socket, &SocketAddrUnix::new(path)?))?;
    Ok(socket.into())
}

/// Whether nobody else could have made the folder that a socket lies in.
fn is_trusted(path: &Path) -> io::Result<()> {
    let uid = paths::own_uid();
    if paths::is_in_private_folder(path, uid) {
        paths::check_private_folder(&paths::private_folder(uid), uid)?;
    }
    Ok(())
}

/// What is wrong with a socket, in words that tell a stranger more than the system's.
fn reason(path: &Path, error: &io::Error) -> String {
    let found = fs::metadata(path);
    match error.kind() {
        io::ErrorKind::NotFound => "not there".into(),
        _ if found.is_ok_and(|found| !found.file_type().is_socket()) => "is no socket".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens on it".into(),
        _ if is_denied(error) => who_may(path),
        _ => lost_how(error),
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
    fn a_daemon_that_takes_no_connection_in_time_is_not_passed_over_for_another() {
        let folder = std::env::temp_dir().join(format!("msglog-late-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let [hanging, other] = ["hanging", "other"].map(|name| folder.join(name));
        let (_hanging, _other) = (UnixListener::bind(&hanging).unwrap(), UnixListener::bind(&other).unwrap());
        let timeout = Some(Duration::from_millis(50));
        // Until its queue of connections is full.
        let queued: Vec<UnixStream> = std::iter::from_fn(|| open(&hanging, timeout).ok()).collect();
        assert!(!queued.is_empty());
        let address = Address::at(vec![hanging, other], false).with_timeout(timeout);
        let Err(Failure::NoDaemon(said)) = address.connect() else { panic!("no daemon takes it") };
        assert!(said.contains("no answer in time") && !said.contains("other"), "{said}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_second_socket_that_could_be_meant_is_told_of() {
        let folder = std::env::temp_dir().join(format!("msglog-two-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let [first, second, file] = ["first", "second", "file"].map(|name| folder.join(name));
        fs::write(&file, "").unwrap();
        let address = Address::at(vec![first.clone(), file, second.clone()], false);
        let _one = UnixListener::bind(&first).unwrap();
        assert_eq!(address.other_than(&first), None);
        let _other = UnixListener::bind(&second).unwrap();
        assert_eq!(address.other_than(&first), Some(second.as_path()));
        assert_eq!(address.other_than(&second), None);
        let link = folder.join("link");
        std::os::unix::fs::symlink(&first, &link).unwrap();
        assert_eq!(Address::at(vec![first.clone(), link], false).other_than(&first), None, "it is the same");
        let said = two_sockets(&first, &second);
        assert!(said.contains("/first; there is ") && said.contains("/second too"), "{said}");
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
}
