//! Where data and sockets are when nobody says otherwise: the same rules for daemon and client.
//!
//! The environment is asked through a closure, so that the rules can be tried without one; pass
//! [`process_environment`] in a program. An empty variable counts as one that is not set, and so
//! does a relative path, which would mean another folder for every program that reads it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The socket's name in whatever folder it is.
pub const SOCKET_NAME: &str = "msglogd.sock";

/// The socket of a daemon that was installed as a service of the host; only clients look there.
pub const SERVICE_SOCKET: &str = "/run/msglogd/msglogd.sock";

/// A socket's address has this many bytes, a zero at the end included.
pub const ADDRESS_BYTES: usize = 108;

/// A path as a shell reads it back, for commands that a message tells to run.
#[must_use]
pub fn for_shell(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// The command that puts a folder out of the way, from where it can be put back. It puts nothing into a folder that
/// has the other name already.
#[must_use]
pub fn move_away(folder: &Path) -> String {
    let mut old = folder.as_os_str().to_owned();
    old.push(".old");
    format!("mv -T {} {}", for_shell(folder), for_shell(Path::new(&old)))
}

/// A word as a shell reads it back.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "-_./:=,@%+".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// How an environment is asked for a variable.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Asks the environment of this process.
#[must_use]
pub fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The user id whose folders count, and who owns what this process makes.
#[must_use]
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The data folder: `$STATE_DIRECTORY`, `$XDG_STATE_HOME/msglogd` or `~/.local/state/msglogd`.
/// Nothing when the environment names none of them.
#[must_use]
pub fn data_folder(lookup: Lookup<'_>) -> Option<PathBuf> {
    let home = || Some(folder(lookup, "HOME")?.join(".local/state/msglogd"));
    folder(lookup, "STATE_DIRECTORY")
        .or_else(|| Some(folder(lookup, "XDG_STATE_HOME")?.join("msglogd")))
        .or_else(home)
}

/// Where a daemon that was given no socket makes one: in `$RUNTIME_DIRECTORY`, in
/// `$XDG_RUNTIME_DIR`, or in the [`private_folder`].
#[must_use]
pub fn daemon_socket(lookup: Lookup<'_>, uid: u32) -> PathBuf {
    folder(lookup, "RUNTIME_DIRECTORY")
        .or_else(|| folder(lookup, "XDG_RUNTIME_DIR"))
        .unwrap_or_else(|| private_folder(uid))
        .join(SOCKET_NAME)
}

/// Every place where a client looks for a socket, in this order: those of [`daemon_socket`], then
/// [`SERVICE_SOCKET`].
#[must_use]
pub fn client_sockets(lookup: Lookup<'_>, uid: u32) -> Vec<PathBuf> {
    let named = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"].into_iter().filter_map(|name| folder(lookup, name));
    let folders = named.chain([private_folder(uid)]).map(|folder| folder.join(SOCKET_NAME));
    let mut sockets: Vec<PathBuf> = folders.chain([PathBuf::from(SERVICE_SOCKET)]).collect();
    sockets.dedup();
    sockets
}

/// The folder for the socket of a user who has no other: `/tmp/msglogd-UID`.
///
/// Anyone can make a folder of this name before its user does, so it is used only after
/// [`make_private_folder`] or [`check_private_folder`] has found nothing against it.
#[must_use]
pub fn private_folder(uid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/msglogd-{uid}"))
}

/// Whether this socket lies in the [`private_folder`].
#[must_use]
pub fn is_in_private_folder(socket: &Path, uid: u32) -> bool {
    socket.parent() == Some(private_folder(uid).as_path())
}

/// Makes a private folder with mode 0700 where there is none, and checks it in either case.
///
/// # Errors
/// It cannot be made, or [`check_private_folder`] has something against it.
pub fn make_private_folder(folder: &Path, uid: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => check_private_folder(folder, uid),
    }
}

/// Checks that a private folder is a folder of this user that is closed to everyone else.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when it is not there; [`io::ErrorKind::PermissionDenied`], with the
/// reason for people, when it is a link, no folder, another user's, or open to others.
pub fn check_private_folder(folder: &Path, uid: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    let reason = if found.is_symlink() {
        "it is a link"
    } else if !found.is_dir() {
        "it is not a folder"
    } else if found.uid() != uid {
        "it belongs to another user"
    } else if found.mode() & 0o077 != 0 {
        "it is open to other users (its mode must be 0700)"
    } else {
        return Ok(());
    };
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!("{} is not to be trusted: {reason}", folder.display()),
    ))
}

/// The folder that a variable names. Where systemd lists several apart by colons, the first.
fn folder(lookup: Lookup<'_>, name: &str) -> Option<PathBuf> {
    let value = lookup(name)?;
    let listed = matches!(name, "STATE_DIRECTORY" | "RUNTIME_DIRECTORY");
    let bytes = value.as_bytes();
    let end = if listed { bytes.iter().position(|byte| *byte == b':') } else { None };
    let path = PathBuf::from(OsString::from_vec(bytes[..end.unwrap_or(bytes.len())].to_vec()));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// An environment of these variables.
    fn with(variables: &[(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        let variables = variables.to_vec();
        move |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(shell_word("a/b.c"), "a/b.c");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn data_lies_in_the_first_folder_that_is_named() {
        let all = [("STATE_DIRECTORY", "/a:/b"), ("XDG_STATE_HOME", "/x"), ("HOME", "/home/h")];
        assert_eq!(data_folder(&with(&all)), Some("/a".into()));
        assert_eq!(data_folder(&with(&all[1..])), Some("/x/msglogd".into()));
        assert_eq!(data_folder(&with(&all[2..])), Some("/home/h/.local/state/msglogd".into()));
        assert_eq!(data_folder(&with(&[])), None);
    }

    #[test]
    fn empty_and_relative_variables_count_for_nothing() {
        let odd = with(&[("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "here"), ("HOME", "/h")]);
        assert_eq!(data_folder(&odd), Some("/h/.local/state/msglogd".into()));
        assert_eq!(
            daemon_socket(&with(&[("XDG_RUNTIME_DIR", "")]), 7),
            Path::new("/tmp/msglogd-7/msglogd.sock")
        );
    }

    #[test]
    fn the_client_looks_where_the_daemon_listens_and_then_at_the_service() {
        let all = [("RUNTIME_DIRECTORY", "/r"), ("XDG_RUNTIME_DIR", "/x:y")];
        let sockets = client_sockets(&with(&all), 7);
        let expected =
            ["/r/msglogd.sock", "/x:y/msglogd.sock", "/tmp/msglogd-7/msglogd.sock", SERVICE_SOCKET];
        assert_eq!(sockets, expected.map(PathBuf::from));
        assert_eq!(daemon_socket(&with(&all), 7), sockets[0]);
        assert_eq!(daemon_socket(&with(&all[1..]), 7), sockets[1]);
        assert_eq!(daemon_socket(&with(&[]), 7), sockets[2]);
        assert!(is_in_private_folder(&sockets[2], 7) && !is_in_private_folder(&sockets[2], 8));
    }

    #[test]
    fn a_folder_that_is_a_link_or_anothers_or_open_is_refused() {
        let uid = own_uid();
        let base = std::env::temp_dir().join(format!("msglogd-paths-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        let (folder, link) = (base.join("own"), base.join("link"));
        assert_eq!(check_private_folder(&folder, uid).unwrap_err().kind(), io::ErrorKind::NotFound);
        make_private_folder(&folder, uid).unwrap();
        make_private_folder(&folder, uid).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);

        symlink(&folder, &link).unwrap();
        let refused = |path: &Path, uid| make_private_folder(path, uid).unwrap_err().to_string();
        assert!(refused(&link, uid).contains("a link"));
        assert!(refused(&folder, uid + 1).contains("another user"));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(refused(&folder, uid).contains("open to other users"));
        fs::write(base.join("file"), "").unwrap();
        assert!(refused(&base.join("file"), uid).contains("not a folder"));
        fs::remove_dir_all(&base).unwrap();
    }
}
