//! The socket in `/tmp/msglogd-UID`, where nothing names another place.
//!
//! That folder is one for the whole host. As root, the daemons here run as a user id that nobody
//! has; otherwise as the user who runs the tests, who must then have no daemon there.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{Client, TempDir, copy_program, finish, json, msglogd, own_uid, until};

/// The default folder of one user id, for one test at a time.
struct Place {
    uid: u32,
    folder: PathBuf,
    private: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    fn take() -> Place {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = if own_uid() == 0 { 1_000_000_000 + std::process::id() } else { own_uid() };
        let folder = PathBuf::from(format!("/tmp/msglogd-{uid}"));
        assert!(folder.symlink_metadata().is_err(), "{} is in use: remove it first", folder.display());
        let private = TempDir::new();
        copy_program(&msglogd(), &private.join("msglogd"));
        let place = Place { uid, folder, private, _turn: turn };
        place.give(place.private.path(), 0o755);
        place
    }

    /// Gives a file or folder to the daemon's user.
    fn give(&self, path: &std::path::Path, mode: u32) {
        chown(path, Some(self.uid), None).expect("it is ours");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    /// A daemon that was told its data folder and no socket.
    fn command(&self) -> Command {
        let mut command = common::clean(Command::new(self.private.join("msglogd")));
        if own_uid() == 0 {
            command.uid(self.uid).gid(self.uid);
        }
        command.arg("--data").arg(self.private.join("data")).current_dir(self.private.path());
        command
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.folder);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Kills what it holds.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_default_folder_is_made_for_its_owner_alone() {
    let place = Place::take();
    let _started = Started(place.command().spawn().expect("msglogd starts"));
    let socket = place.folder.join("msglogd.sock");
    let mut client = until("the daemon answers", || Client::connect(&socket).ok());
    client.ok(json!({"cmd": "ping"}));

    let folder = place.folder.metadata().expect("the folder");
    assert_eq!((folder.mode() & 0o777, folder.uid()), (0o700, place.uid));
    let socket = socket.metadata().expect("the socket");
    assert_eq!((socket.mode() & 0o777, socket.uid()), (0o600, place.uid));
}

#[test]
fn a_default_folder_that_is_there_and_private_is_used() {
    let place = Place::take();
    fs::create_dir(&place.folder).expect("a folder");
    place.give(&place.folder, 0o700);
    let _started = Started(place.command().spawn().expect("msglogd starts"));
    let socket = place.folder.join("msglogd.sock");
    let mut client = until("the daemon answers", || Client::connect(&socket).ok());
    assert_eq!(client.last_seq(), 0);
}

#[test]
fn a_default_folder_open_to_others_is_refused() {
    for mode in [0o755, 0o770, 0o701] {
        let place = Place::take();
        fs::create_dir(&place.folder).expect("a folder");
        place.give(&place.folder, mode);
        assert_refused(&place, &format!("mode {mode:o}"));
    }
}

#[test]
fn a_default_folder_that_is_a_link_is_refused() {
    let place = Place::take();
    let elsewhere = place.private.join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    place.give(&elsewhere, 0o700);
    symlink(&elsewhere, &place.folder).expect("a link");
    assert_refused(&place, "a link");
    assert_eq!(fs::read_dir(&elsewhere).expect("a folder").count(), 0, "something was made behind the link");
}

#[test]
fn a_default_place_that_is_no_folder_or_anothers_is_refused() {
    let place = Place::take();
    fs::write(&place.folder, "a file").expect("a file");
    place.give(&place.folder, 0o700);
    assert_refused(&place, "a file");
    fs::remove_file(&place.folder).expect("it is ours");
    if own_uid() == 0 {
        fs::create_dir(&place.folder).expect("a folder of root's");
        fs::set_permissions(&place.folder, fs::Permissions::from_mode(0o700)).expect("it is ours");
        assert_refused(&place, "another's");
    }
}

/// The start fails, says why, and makes no socket.
#[track_caller]
fn assert_refused(place: &Place, why: &str) {
    let finished = finish(&mut place.command());
    assert!(finished.code.is_some_and(|code| code != 0), "{why}: {finished:?}");
    assert!(finished.stderr.contains("/tmp/msglogd-"), "{why}: the folder is not named: {finished:?}");
    assert!(!place.folder.join("msglogd.sock").exists(), "{why}: there is a socket");
}
