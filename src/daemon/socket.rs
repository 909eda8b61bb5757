//! The listening socket: passed by systemd, or made at a path without taking one that is in use.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt};

use super::Exit;
use super::options::Options;
use crate::paths::{self, ADDRESS_BYTES};
use crate::report;

/// A listening socket, and the file to remove at the end.
pub struct Listening {
    /// The socket.
    pub listener: UnixListener,
    /// Its path, for people.
    pub path: PathBuf,
    /// The file's device and inode, when it is ours to remove.
    ours: Option<(u64, u64)>,
}

/// The mode of a socket where none was named.
const MODE: u32 = 0o600;

/// The socket that systemd passed, if it did. Says which options have no effect on it.
///
/// # Errors
/// `Exit::Usage` when the options name another one: whoever connects to the one that was passed would wait for
/// ever. `Exit::Io`.
pub fn passed(options: &Options) -> Result<Option<Listening>, Exit> {
    let Some(passed) = passed_by_systemd()? else { return Ok(None) };
    if let Some(named) = options.socket.as_ref().filter(|named| !is_same(named, &passed.path)) {
        return Err(Exit::Usage(format!(
            "--socket names {}, and systemd passed {}: leave --socket (MSGLOGD_SOCKET) out, or change ListenStream= \
             (systemctl edit msglogd.socket)",
            named.display(),
            passed.path.display()
        )));
    }
    if options.socket_mode.is_some() {
        report::warning(
            "--socket-mode (MSGLOGD_SOCKET_MODE) has no effect on a socket that systemd passes: its mode is \
             SocketMode= (systemctl edit msglogd.socket; systemctl restart msglogd.socket)",
        );
    }
    Ok(Some(passed))
}

/// Listens where the options say.
///
/// # Errors
/// `Exit::Busy` when another daemon answers there, `Exit::Io`.
pub fn listen(options: &Options) -> Result<Listening, Exit> {
    listen_at(&path_of(options)?, options.socket_mode.unwrap_or(MODE))
}

/// Refuses a place where [`listen`] could not put a socket now, before anything is changed.
///
/// # Errors
/// As those of [`listen`].
pub fn look(options: &Options) -> Result<(), Exit> {
    take_place(&path_of(options)?).map(drop)
}

/// Where the socket goes, in a folder that is there if it is one of ours.
fn path_of(options: &Options) -> Result<PathBuf, Exit> {
    let uid = paths::own_uid();
    let path = options.socket.clone();
    let path = path.unwrap_or_else(|| paths::daemon_socket(&paths::process_environment, uid));
    if paths::is_in_private_folder(&path, uid) {
        paths::make_private_folder(&paths::private_folder(uid), uid)
            .map_err(|error| Exit::Io(error.to_string()))?;
    }
    Ok(path)
}

/// Whether two paths lead to one file, as those in `/run` and `/var/run` do.
fn is_same(one: &Path, other: &Path) -> bool {
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn passed_by_systemd() -> Result<Option<Listening>, Exit> {
    let listener = listenfd::ListenFd::from_env().take_unix_listener(0).map_err(|error| {
        Exit::Io(format!("the socket that systemd passed (LISTEN_FDS) is of no use: {error}"))
    })?;
    let Some(listener) = listener else { return Ok(None) };
    if !sockopt::socket_acceptconn(&listener).is_ok_and(|listens| listens) {
        let message = "the socket that systemd passed (LISTEN_FDS) does not listen: Accept= must be off";
        return Err(Exit::Io(message.to_owned()));
    }
    let address = listener.local_addr().ok();
    let path = address.and_then(|address| address.as_pathname().map(Path::to_owned));
    let path = path.unwrap_or_else(|| PathBuf::from("(a socket without a path)"));
    Ok(Some(Listening { listener, path, ours: None }))
}

/// The right to a place where nobody answers.
fn take_place(path: &Path) -> Result<Place, Exit> {
    if path.as_os_str().len() >= ADDRESS_BYTES {
        let message = format!(
            "the socket's path is too long for the system: {}; name another with --socket",
            path.display()
        );
        return Err(Exit::Io(message));
    }
    // Whoever has the place, there or in the making, is told of before a folder that may not be written to.
    let place = Place::take(path);
    refuse_if_answered(path)?;
    place
}

fn listen_at(path: &Path, mode: u32) -> Result<Listening, Exit> {
    let failed = |error: io::Error| Exit::Io(format!("the socket {}: {error}", path.display()));
    let _place = take_place(path)?;
    // The socket gets its mode under another name, and then its own name in one step: nobody can
    // connect before the mode is right.
    let name = path.file_name().unwrap_or_default().display();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&temporary);
    // The process's mask lets nobody else in until then.
    let listener = bind(&temporary).map_err(failed)?;
    let placed = fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))
        .and_then(|()| fs::symlink_metadata(&temporary))
        .and_then(|found| fs::rename(&temporary, path).map(|()| found));
    match placed {
        Ok(found) => {
            Ok(Listening { listener, path: path.to_owned(), ours: Some((found.dev(), found.ino())) })
        }
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(failed(error))
        }
    }
}

/// The right to put a socket at a path: one daemon has it at a time, from the look at what is there until its own
/// is there. Two that found nobody would otherwise both put theirs there, and one would serve where nobody finds it.
///
/// It is the lock of a file beside the socket, for this user alone, which goes with it. The folder itself would not
/// do: it may be the data folder, which has its own lock.
struct Place {
    path: PathBuf,
    _file: fs::File,
}

impl Place {
    fn take(socket: &Path) -> Result<Self, Exit> {
        let name = socket.file_name().unwrap_or_default().display();
        let path = socket.with_file_name(format!(".{name}.lock"));
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Exit::Io(format!(
                "the socket {}: its folder is not there: make it, or name another socket with --socket",
                socket.display()
            )),
            io::ErrorKind::PermissionDenied if path.exists() => Exit::Io(format!(
                "the socket {}: its lock {} may not be opened: have it removed if no daemon is starting there",
                socket.display(),
                path.display()
            )),
            _ => Exit::Io(format!("the socket {}: its lock {}: {error}", socket.display(), path.display())),
        };
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
            let file = fs::File::from(file.map_err(|error| failed(error.into()))?);
            match file.try_lock() {
                Err(fs::TryLockError::WouldBlock) => {
                    return Err(Exit::Busy(format!(
                        "another daemon is starting on {}, as the lock {} says: stop it, or name another socket with \
                         --socket",
                        socket.display(),
                        path.display()
                    )));
                }
                // Where the file system has no locks it is as it would be without.
                Err(fs::TryLockError::Error(_)) | Ok(()) => {}
            }
            // Whoever had it until now has removed the file: then the lock is that of a file which nobody else opens.
            if identity(&path) == file.metadata().ok().map(|found| (found.dev(), found.ino())) {
                return Ok(Place { path, _file: file });
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // While the lock is held: nobody else removes the file, and so it is this one. One that stays is taken again.
        let _ = fs::remove_file(&self.path);
    }
}

/// The device and the inode of what is at a path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Binds a socket, also at a path that is longer than its own will be and does not fit an address.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return UnixListener::bind(path);
    };
    if path.as_os_str().len() < ADDRESS_BYTES {
        return UnixListener::bind(path);
    }
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixListener::bind(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

/// A socket file that nobody answers on may be replaced; anything else may not.
fn refuse_if_answered(path: &Path) -> Result<(), Exit> {
    let failed = |error: io::Error| Exit::Io(format!("the socket {}: {error}", path.display()));
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            let message = format!(
                "{} is there and is no socket: remove it, or name another with --socket",
                path.display()
            );
            return Err(Exit::Io(message));
        }
        Ok(_) => {}
    }
    match connect_at_once(path) {
        // Where its queue is full somebody is there, too, if only to come back.
        Ok(()) | Err(Errno::AGAIN) => {
            let message = format!(
                "a daemon answers on {}: stop it, or name another socket with --socket",
                path.display()
            );
            Err(Exit::Busy(message))
        }
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Connects, and does not wait for a queue that is full.
fn connect_at_once(path: &Path) -> rustix::io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
}

/// Removes the socket's file, if it is still this daemon's.
pub fn remove(path: &Path, ours: Option<(u64, u64)>) {
    if ours.is_some() && identity(path) == ours {
        // A file that stays behind is replaced by the next start.
        let _ = fs::remove_file(path);
    }
}

impl Listening {
    /// The file's identity, to remove it at the end.
    #[must_use]
    pub fn ours(&self) -> Option<(u64, u64)> {
        self.ours
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn temporary_folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("msglogd-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn refusal(listening: Result<Listening, Exit>) -> String {
        match listening {
            Err(Exit::Busy(message)) => message,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("both have it"),
        }
    }

    #[test]
    fn who_starts_while_another_is_about_to_take_the_socket_is_refused() {
        let folder = temporary_folder("place");
        let path = folder.join("s");
        let other = Place::take(&path).expect("nobody has it");
        assert!(refusal(listen_at(&path, MODE)).contains("is starting on"));
        drop(other);
        let first = listen_at(&path, MODE).expect("nobody has it");
        assert!(refusal(listen_at(&path, MODE)).contains("answers on"));
        drop(first);
        let _second = listen_at(&path, MODE).expect("nobody answers any more");
        let left: Vec<_> =
            fs::read_dir(&folder).expect("a folder").flatten().map(|one| one.file_name()).collect();
        assert_eq!(left, ["s"]);
        fs::remove_dir_all(folder).expect("a folder");
    }

    #[test]
    fn a_folder_of_the_socket_that_is_not_there_is_to_be_made() {
        let folder = temporary_folder("missing");
        let Err(Exit::Io(said)) = listen_at(&folder.join("run/s"), MODE) else {
            panic!("there is no folder")
        };
        assert!(
            said.contains("run/s: its folder is not there: make it") && said.contains("--socket"),
            "{said}"
        );
        fs::remove_dir_all(folder).expect("a folder");
    }

    #[test]
    fn of_many_that_start_at_once_one_has_the_socket() {
        let folder = temporary_folder("places");
        for round in 0..100 {
            let path = folder.join(format!("s{round}"));
            if round % 2 == 0 {
                drop(UnixListener::bind(&path).expect("a socket that nobody answers on"));
            }
            let together = Barrier::new(4);
            let start = || {
                together.wait();
                listen_at(&path, MODE)
            };
            let started: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            let (served, refused): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
            assert_eq!(served.len(), 1, "round {round}");
            refused.into_iter().for_each(|refused| drop(refusal(refused)));
        }
        fs::remove_dir_all(folder).expect("a folder");
    }
}
