//! Starting: the lock, the socket file, the rights on both, and the exit statuses.

mod common;

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Client, Daemon, TempDir, everything_below, finish, json, msglogd, until};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("it is there").permissions().mode() & 0o777
}

/// A socket file that nobody answers on.
fn stale_socket(path: &Path) -> u64 {
    drop(UnixListener::bind(path).expect("a socket"));
    path.metadata().expect("its file stays").ino()
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let mut daemon = Daemon::start();
    daemon.kill();
    assert!(daemon.socket().exists(), "a killed daemon leaves its socket file");
    daemon.launch();
    assert_eq!(daemon.connect().last_seq(), 0);
}

#[test]
fn a_socket_that_answers_ends_the_start_with_75() {
    let daemon = Daemon::start();
    let folder = TempDir::new();
    let mut command = msglogd();
    command.arg("--data").arg(folder.join("data")).arg("--socket").arg(daemon.socket());
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(75), "{finished:?}");
    assert!(!finished.stderr.trim().is_empty(), "no clear error");
    assert_eq!(daemon.connect().last_seq(), 0);
}

#[test]
fn locked_data_ends_the_start_with_75_before_the_socket_is_touched() {
    let daemon = Daemon::start();
    let folder = TempDir::new();
    let socket = folder.join("s");
    let stale = stale_socket(&socket);
    let mut command = msglogd();
    command.arg("--data").arg(daemon.data()).arg("--socket").arg(&socket);
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(75), "{finished:?}");
    assert!(!finished.stderr.trim().is_empty(), "no clear error");
    assert_eq!(socket.metadata().expect("it is still there").ino(), stale, "the socket was replaced");
}

#[test]
fn a_second_daemon_on_everything_leaves_the_first_alone() {
    let daemon = Daemon::start();
    let finished = finish(&mut daemon.command());
    assert_eq!(finished.code, Some(75), "{finished:?}");
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
}

#[test]
fn the_lock_ends_with_the_daemon() {
    let mut daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    daemon.crash();
    daemon.restart();
    assert_eq!(daemon.connect().ok(json!({"cmd": "kv.get", "key": "k"}))["value"], 1);
}

#[test]
fn a_file_in_the_place_of_the_socket_is_not_lost() {
    let folder = TempDir::new();
    let socket = folder.join("s");
    fs::write(&socket, "precious").expect("a file");
    let mut command = msglogd();
    command.arg("--data").arg(folder.join("data")).arg("--socket").arg(&socket);
    let finished = finish(&mut command);
    assert!(finished.code.is_some_and(|code| code != 0), "{finished:?}");
    assert_eq!(fs::read_to_string(&socket).expect("it is still there"), "precious");
}

#[test]
fn data_that_cannot_be_written_ends_the_start_with_74() {
    let folder = TempDir::new();
    fs::write(folder.join("file"), "no folder").expect("a file");
    let mut command = msglogd();
    command.arg("--data").arg(folder.join("file/data")).arg("--socket").arg(folder.join("s"));
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(74), "{finished:?}");
    assert!(!folder.join("s").exists(), "it made a socket and did not serve");
}

#[test]
fn a_socket_that_cannot_be_made_ends_the_start_with_74() {
    let folder = TempDir::new();
    fs::write(folder.join("file"), "no folder").expect("a file");
    let mut command = msglogd();
    command.arg("--data").arg(folder.join("data")).arg("--socket").arg(folder.join("file/s"));
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(74), "{finished:?}");
}

#[test]
fn data_and_socket_are_for_their_owner_alone() {
    let folder = TempDir::new();
    let (data, socket) = (folder.join("data"), folder.join("s"));
    let mut command = open_umask();
    command.arg("--data").arg(&data).arg("--socket").arg(&socket);
    let mut child = command.spawn().expect("msglogd starts");
    let modes = std::panic::catch_unwind(|| {
        let mut client = until("the daemon answers", || Client::connect(&socket).ok());
        client.ok(json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": "c"}));
        let below = everything_below(&data);
        (mode(&data), mode(&socket), below.iter().map(|path| (path.clone(), mode(path))).collect::<Vec<_>>())
    });
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    let (data_mode, socket_mode, below) = modes.expect("it served");
    assert_eq!(data_mode, 0o700, "data folder {data_mode:o}");
    assert_eq!(socket_mode, 0o600, "socket {socket_mode:o}");
    assert!(!below.is_empty(), "the data folder is empty");
    for (path, mode) in below {
        let allowed = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, allowed, "{} has mode {mode:o}", path.display());
    }
}

/// The daemon where new files would be open to everybody.
fn open_umask() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(msglogd().get_program());
    command.stdin(Stdio::null());
    command
}

#[test]
fn the_socket_mode_can_be_set() {
    for (option, expected) in [("660", 0o660), ("0666", 0o666), ("600", 0o600)] {
        let daemon = Daemon::with(&["--socket-mode", option]);
        let found = mode(&daemon.socket());
        assert_eq!(found, expected, "--socket-mode {option} gave {found:o}");
    }
}

#[test]
fn a_socket_passed_by_systemd_is_served_and_left_in_place() {
    let folder = TempDir::new();
    let socket = folder.join("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let inode = socket.metadata().expect("its file").ino();
    let mut command = Command::new("sh");
    command.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0 </dev/null"]);
    command.arg(msglogd().get_program()).arg("--data").arg(folder.join("data"));
    command.stdin(Stdio::from(OwnedFd::from(listener)));
    let mut child = command.spawn().expect("msglogd starts");

    let mut client = Client::connect(&socket).expect("the passed socket listens already");
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .expect("the signal is sent");
    let status = until("it ends", || child.try_wait().expect("a child of ours"));
    assert_eq!(status.code(), Some(0));
    assert_eq!(socket.metadata().expect("the file belongs to systemd").ino(), inode);
}

#[test]
fn a_passed_socket_that_does_not_listen_ends_the_start() {
    let folder = TempDir::new();
    let (connected, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut command = Command::new("sh");
    command.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0 </dev/null"]);
    command.arg(msglogd().get_program()).arg("--data").arg(folder.join("data"));
    let finished = finish(command.stdin(Stdio::from(OwnedFd::from(connected))));
    assert_eq!(finished.code, Some(74), "{finished:?}");
    assert!(finished.stderr.contains("does not listen"), "{finished:?}");
}

#[test]
fn a_daemon_whose_folder_was_moved_away_leaves_the_next_ones_alone() {
    let folder = TempDir::new();
    let (data, away) = (folder.join("data"), folder.join("away"));
    let start = |socket: &str| {
        let mut command = msglogd();
        command.arg("--data").arg(&data).arg("--socket").arg(folder.join(socket));
        command.args(["--segment-bytes", "4K"]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("msglogd starts");
        let client = until("it listens", || Client::connect(&folder.join(socket)).ok());
        (child, client)
    };
    let end = |mut child: std::process::Child| {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::TERM,
        )
        .expect("the signal is sent");
        until("it ends", || child.try_wait().expect("a child of ours"));
    };
    let set = |number: usize| json!({"cmd": "kv.set", "key": format!("k{number}"), "value": "v".repeat(500)});
    let (first, mut ours) = start("one");
    (0..20).for_each(|number| drop(ours.ok(set(number))));
    fs::rename(&data, &away).expect("a folder");
    let (second, mut theirs) = start("two");
    (0..20).for_each(|number| drop(theirs.ok(set(100 + number))));
    // The first has to begin segments now, and has the room of its last one.
    (20..60).for_each(|number| drop(ours.ask(set(number))));
    let refused = ours.refused(json!({"cmd": "log.verify"}), "read_only");
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("moved or replaced")), "{refused}");
    ours.refused(json!({"cmd": "log.compact"}), "read_only");
    end(first);
    assert_eq!(theirs.ok(json!({"cmd": "kv.list", "limit": 1000})).list("keys").len(), 20);
    theirs.ok(json!({"cmd": "log.verify"}));
    end(second);
    let (third, mut again) = start("three");
    assert_eq!(again.ok(json!({"cmd": "kv.list", "limit": 1000})).list("keys").len(), 20);
    end(third);
}

#[test]
fn a_socket_whose_queue_is_full_is_one_that_somebody_has() {
    let daemon = Daemon::stopped(&[]);
    let listener = UnixListener::bind(daemon.socket()).expect("a socket");
    rustix::net::listen(&listener, 0).expect("it listens already");
    let _waits =
        std::os::unix::net::UnixStream::connect(daemon.socket()).expect("the only one that may wait");
    let finished = daemon.fails_to_start();
    assert_eq!(finished.code, Some(75), "{finished:?}");
}

#[test]
fn a_file_that_may_not_grow_is_told_of_as_a_full_disk_is() {
    let folder = TempDir::new();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 600; exec \"$0\" \"$@\""]);
    command.arg(msglogd().get_program()).arg("--data").arg(folder.join("data"));
    command.arg("--socket").arg(folder.join("s")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("msglogd starts");
    let connect = || Client::connect(&folder.join("s")).ok();
    let mut client = until("it listens", connect);
    client.refused(json!({"cmd": "kv.set", "key": "k", "value": "v".repeat(700_000)}), "read_only");
    client.ok(json!({"cmd": "ping"}));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .expect("the signal is sent");
    assert_eq!(until("it ends", || child.try_wait().expect("a child of ours")).code(), Some(0));
}

/// A variable in the environment that a process was started with.
fn variable(process: u32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{process}/environ")).expect("a running process");
    let mut variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    variables.find_map(|variable| Some(variable.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

#[cfg(target_env = "gnu")]
#[test]
fn the_allocator_gives_back_what_is_not_needed_unless_an_operator_has_set_it_up() {
    let mut daemon = Daemon::start();
    assert!(variable(daemon.id(), "MALLOC_TRIM_THRESHOLD_").is_some());
    daemon.kill();
    let mut command = daemon.command();
    command.env("MALLOC_ARENA_MAX", "3").stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("msglogd starts");
    until("the daemon answers", || {
        let mut client = Client::connect(&daemon.socket()).ok()?;
        client.try_send("{\"cmd\":\"ping\"}\n")?;
        client.line()
    });
    let (own, others) =
        (variable(child.id(), "MALLOC_ARENA_MAX"), variable(child.id(), "MALLOC_TRIM_THRESHOLD_"));
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    assert_eq!((own.as_deref(), others), (Some("3"), None));
}

/// Starts it with a standard error that takes nothing.
fn launch_unheard(daemon: &Daemon) -> std::process::Child {
    let full = fs::File::options().write(true).open("/dev/full").expect("a device");
    daemon.command().stdout(Stdio::null()).stderr(full).spawn().expect("msglogd starts")
}

#[test]
fn what_nobody_can_hear_ends_no_daemon() {
    let daemon = Daemon::stopped(&[]);
    let mut child = launch_unheard(&daemon);
    let mut client = until("it serves", || Client::connect(&daemon.socket()).ok());
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::HUP).expect("the signal is sent");
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    drop(client);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("the signal is sent");
    assert_eq!(child.wait().expect("its end").code(), Some(0));
    let mut segment = fs::read(&common::segments(&daemon.data())[0]).expect("a segment");
    segment[20] ^= 1;
    segment.extend_from_within(..);
    fs::write(&common::segments(&daemon.data())[0], segment).expect("a segment");
    fs::remove_dir_all(daemon.data().join("index")).expect("an index");
    assert_eq!(launch_unheard(&daemon).wait().expect("its end").code(), Some(65));
}

#[test]
fn a_socket_path_may_be_as_long_as_the_system_takes() {
    let folder = TempDir::new();
    let path_of = |bytes: usize| {
        let start = folder.path().as_os_str().len() + 1;
        folder.join(&"s".repeat(bytes - start))
    };
    for bytes in [100, 106, 107] {
        let path = path_of(bytes);
        let mut command = msglogd();
        command.arg("--data").arg(folder.join("data")).arg("--socket").arg(&path).stdout(Stdio::null());
        let mut child = command.spawn().expect("msglogd starts");
        let mut client = until("it serves", || Client::connect(&path).ok());
        assert_eq!(client.last_seq(), 0, "{bytes}");
        drop(client);
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("the signal is sent");
        assert_eq!(child.wait().expect("its end").code(), Some(0));
    }
    let mut command = msglogd();
    command.arg("--data").arg(folder.join("data")).arg("--socket").arg(path_of(108));
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(74), "{finished:?}");
    assert!(finished.stderr.contains("too long"), "{finished:?}");
}

#[test]
fn an_empty_path_and_a_signed_mode_are_wrong_usage() {
    for arguments in [["--data", ""], ["--socket", ""], ["--backup-dir", ""], ["--socket-mode", "+66"]] {
        let finished = finish(msglogd().args(arguments));
        assert_eq!(finished.code, Some(64), "{finished:?}");
        assert!(finished.stderr.contains(arguments[0]), "{finished:?}");
    }
    let folder = TempDir::new();
    fs::write(folder.join("file"), "").expect("a file");
    let finished = finish(msglogd().arg("--data").arg(folder.join("file")));
    assert_eq!(finished.code, Some(74), "{finished:?}");
    assert!(finished.stderr.contains("is no folder"), "{finished:?}");
}

/// The daemon's program as a user to whom folders can be closed.
fn as_no_root(arguments: &[&str]) -> Command {
    let program = msglogd();
    let mut command = Command::new("setpriv");
    if common::own_uid() == 0 {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program.get_program());
    } else {
        command = program;
    }
    command.args(arguments);
    command
}

#[test]
fn a_check_of_a_folder_that_is_closed_says_that_it_is() {
    if !as_no_root(&["--version"]).output().is_ok_and(|ended| ended.status.success()) {
        return eprintln!("SKIPPED: the program cannot be run as another user");
    }
    let folder = TempDir::new();
    let closed = folder.join("closed");
    fs::create_dir_all(closed.join("data/log")).expect("a folder");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).expect("it is ours");
    for data in [&closed, &closed.join("data")] {
        let finished = finish(as_no_root(&["check", "--data"]).arg(data));
        assert_eq!(finished.code, Some(74), "{finished:?}");
        for word in ["Permission denied", &data.display().to_string(), "mode 000", "with ch", "--data"] {
            assert!(finished.stderr.contains(word), "{finished:?}");
        }
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("it is ours");
}

#[test]
fn a_lock_that_may_not_be_opened_is_named_with_its_owner() {
    const NOBODY: u32 = 65_534;
    if common::own_uid() != 0
        || !as_no_root(&["--version"]).output().is_ok_and(|ended| ended.status.success())
    {
        return eprintln!("SKIPPED: only root can make what another user may not open");
    }
    let folder = TempDir::new();
    let (data, lock) = (folder.join("data"), folder.join("data/lock"));
    fs::create_dir(&data).expect("a folder");
    std::os::unix::fs::chown(&data, Some(NOBODY), None).expect("root may");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::write(&lock, "").expect("a file");
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let finished = finish(as_no_root(&["--data"]).arg(&data));
    assert_eq!(finished.code, Some(74), "{finished:?}");
    let said =
        format!("{}: Permission denied (os error 13); it belongs to user 0 (mode 600)", lock.display());
    assert!(finished.stderr.contains(&said) && finished.stderr.contains("chown"), "{finished:?}");
}

#[test]
fn a_client_whose_process_the_daemon_cannot_see_is_served() {
    let folder = TempDir::new();
    let socket = folder.join("s");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(msglogd().get_program());
    command.arg("--data").arg(folder.join("data")).arg("--socket").arg(&socket);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return eprintln!("SKIPPED: there is no unshare here") };
    let connected = until("it listens", || match child.try_wait().expect("a child of ours") {
        Some(status) => Some(Err(status)),
        None => Client::connect(&socket).ok().map(Ok),
    });
    match connected {
        Ok(mut client) => {
            client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
            child.kill().and_then(|()| child.wait()).expect("a child of ours");
        }
        Err(status) => eprintln!("SKIPPED: no namespace can be made here: {status}"),
    }
}

#[test]
fn what_cannot_be_printed_is_no_success() {
    let full = || fs::File::options().write(true).open("/dev/full").expect("a device");
    let mut help = msglogd();
    assert_eq!(help.arg("--help").stdout(full()).status().expect("it ends").code(), Some(74));
    let mut daemon = Daemon::start();
    daemon.stop();
    let mut check = msglogd();
    let checked = check.arg("check").arg("--data").arg(daemon.data()).stdout(full()).status();
    assert_eq!(checked.expect("it ends").code(), Some(74));
}

#[test]
fn a_log_of_more_segments_than_the_soft_limit_of_open_files_is_checked_and_repaired() {
    const FILES: usize = 64;
    let mut daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for number in 0..FILES {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": "v".repeat(5000)}));
    }
    drop(client);
    assert!(common::segments(&daemon.data()).len() >= FILES);
    daemon.kill();
    let limited = |command: &Command| {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -S -n {}; exec \"$0\" \"$@\"", FILES / 2);
        shell.args(["-c", &script]).arg(command.get_program()).args(command.get_args());
        finish(&mut shell)
    };
    let data = daemon.data();
    for action in [["check"].as_slice(), &["repair"], &["repair", "--yes"]] {
        let mut command = msglogd();
        command.args(action).arg("--data").arg(&data);
        let finished = limited(&command);
        assert_eq!(finished.code, Some(0), "{action:?}: {finished:?}");
    }
}

#[test]
fn root_repairs_no_folder_of_another_user() {
    const NOBODY: u32 = 65_534;
    if common::own_uid() != 0 {
        eprintln!("SKIPPED: only root can give a folder away: root_repairs_no_folder_of_another_user");
        return;
    }
    let mut daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    daemon.stop();
    std::os::unix::fs::chown(daemon.data(), Some(NOBODY), None).expect("root may");
    let mut command = msglogd();
    command.args(["repair", "--yes", "--data"]).arg(daemon.data());
    let finished = finish(&mut command);
    assert_eq!(finished.code, Some(64), "{finished:?}");
    let again = format!("msglogd repair --data {} --yes", daemon.data().display());
    assert!(finished.stderr.contains("runuser -u nobody -- "), "{finished:?}");
    assert!(finished.stderr.contains(&again), "{finished:?}");
    let mut look = msglogd();
    look.args(["repair", "--data"]).arg(daemon.data());
    assert_eq!(finish(&mut look).code, Some(0), "to look changes nothing");
    daemon.launch();
    assert!(daemon.stderr().contains("belongs to user 65534"), "{}", daemon.stderr());
}
