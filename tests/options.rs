//! Options, the environment variables of the same names, and the defaults behind both.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};

use common::{Client, Daemon, TempDir, Value, assert_error, finish, json, msglogd, until};

/// A daemon started by a command of the test's own; killed on drop.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the command and waits until the daemon answers on this socket.
fn start(command: &mut Command, socket: &Path) -> (Started, Client) {
    let mut started = Started(command.spawn().expect("msglogd starts"));
    let client = until("the daemon answers", || {
        let ended = started.0.try_wait().expect("a child of ours");
        assert!(ended.is_none(), "the daemon ended: {ended:?}");
        Client::connect(socket).ok()
    });
    (started, client)
}

#[test]
fn help_is_printed_and_is_no_failure() {
    let finished = finish(msglogd().arg("--help"));
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for option in ["--data", "--socket", "--max-line", "--max-connections", "--socket-mode"] {
        assert!(finished.stdout.contains(option), "{option} is missing in: {}", finished.stdout);
    }
    assert!(finished.stdout.contains("MSGLOGD_"), "the variables are missing in: {}", finished.stdout);
}

#[test]
fn wrong_usage_ends_with_64_and_says_why() {
    let folder = TempDir::new();
    let data = folder.join("data").display().to_string();
    let cases: &[&[&str]] = &[
        &["--no-such-option"],
        &["no-such-command"],
        &["--data"],
        &["--data", &data, "--socket"],
        &["--data", &data, "--max-line", "many"],
        &["--data", &data, "--max-line", "-1"],
        &["--data", &data, "--max-connections", "many"],
        &["--data", &data, "--socket-mode", "999"],
        &["--data", &data, "--socket-mode", "rw"],
    ];
    for arguments in cases {
        let finished = finish(msglogd().args(*arguments).env("HOME", folder.path()));
        assert_eq!(finished.code, Some(64), "{arguments:?}: {finished:?}");
        assert!(!finished.stderr.trim().is_empty(), "{arguments:?} was refused without a word");
    }
}

#[test]
fn a_variable_with_a_bad_value_is_wrong_usage_too() {
    let folder = TempDir::new();
    let mut command = msglogd();
    command.env("MSGLOGD_DATA", folder.join("data")).env("MSGLOGD_SOCKET", folder.join("s"));
    let finished = finish(command.env("MSGLOGD_MAX_LINE", "many"));
    assert_eq!(finished.code, Some(64), "{finished:?}");
    assert!(finished.stderr.contains("many") || finished.stderr.contains("MAX_LINE"), "{finished:?}");
}

#[test]
fn every_option_is_also_an_environment_variable() {
    let folder = TempDir::new();
    let (data, socket) = (folder.join("data"), folder.join("s"));
    let mut command = msglogd();
    command.env("MSGLOGD_DATA", &data).env("MSGLOGD_SOCKET", &socket);
    command.env("MSGLOGD_MAX_LINE", "4096").env("MSGLOGD_SOCKET_MODE", "660");
    command.env("MSGLOGD_MAX_CONNECTIONS", "64");
    let (_started, mut client) = start(&mut command, &socket);

    let info = client.ok(json!({"cmd": "info"}));
    assert_eq!(info["limits"]["line_bytes"], 4096, "{info}");
    assert_eq!(info["limits"]["connections"], 64, "{info}");
    assert!(data.join("log").is_dir(), "the data is not in MSGLOGD_DATA");
    let mode = socket.metadata().expect("a socket").permissions().mode() & 0o777;
    assert_eq!(mode, 0o660, "mode {mode:o}");
}

#[test]
fn a_variable_that_is_no_option_is_warned_of() {
    let mut daemon = Daemon::stopped(&[]);
    daemon.set_variable("MSGLOGD_MAXLINE", "4096".into());
    daemon.launch();
    let said = daemon.stderr();
    assert!(said.contains("msglogd: there is no option MSGLOGD_MAXLINE: ignored\n"), "{said}");
}

/// Starts a daemon with these options as systemd does, which passes it the socket at this path.
fn activated(folder: &TempDir, socket: &Path, options: &[&str]) -> Command {
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("a socket");
    let mut command = common::clean(Command::new("sh"));
    command.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0 </dev/null"]);
    command.arg(msglogd().get_program()).arg("--data").arg(folder.join("data")).args(options);
    command.stdin(std::os::fd::OwnedFd::from(listener));
    command
}

#[test]
fn the_mode_of_a_socket_that_systemd_passed_is_systemds() {
    let folder = TempDir::new();
    let socket = folder.join("s");
    // By another name, as /var/run is one for /run.
    std::os::unix::fs::symlink(folder.path(), folder.join("run")).expect("a link");
    let path = folder.join("run/s").display().to_string();
    let mut command = activated(&folder, &socket, &["--socket", &path, "--socket-mode", "666"]);
    let said = std::fs::File::create(folder.join("said")).expect("a file");
    let (_started, mut client) = start(command.stderr(said), &socket);
    client.ok(json!({"cmd": "ping"}));
    let said = std::fs::read_to_string(folder.join("said")).expect("text");
    assert!(said.contains("--socket-mode (MSGLOGD_SOCKET_MODE) has no effect"), "{said}");
    assert!(said.contains("SocketMode="), "{said}");
    assert_ne!(socket.metadata().expect("a socket").permissions().mode() & 0o777, 0o666);
}

#[test]
fn another_socket_than_the_one_that_systemd_passed_is_wrong_usage() {
    let folder = TempDir::new();
    let mut command = activated(&folder, &folder.join("s"), &[]);
    let finished = finish(command.env("MSGLOGD_SOCKET", folder.join("other")));
    assert_eq!(finished.code, Some(64), "{finished:?}");
    for word in ["other", "systemd passed", "ListenStream="] {
        assert!(finished.stderr.contains(word), "{finished:?}");
    }
    assert!(!folder.join("data").join("log").exists(), "it went on all the same");
}

#[test]
fn an_option_goes_before_its_variable() {
    let folder = TempDir::new();
    let socket = folder.join("right");
    let mut command = msglogd();
    command.env("MSGLOGD_DATA", folder.join("wrong-data")).env("MSGLOGD_SOCKET", folder.join("wrong"));
    command.env("MSGLOGD_MAX_LINE", "4096");
    command.arg("--data").arg(folder.join("data")).arg("--socket").arg(&socket).args(["--max-line", "8192"]);
    let (_started, mut client) = start(&mut command, &socket);

    let info = client.ok(json!({"cmd": "info"}));
    assert_eq!(info["limits"]["line_bytes"], 8192, "{info}");
    assert!(!folder.join("wrong").exists() && !folder.join("wrong-data").exists());
}

#[test]
fn the_line_limit_is_the_one_that_was_set() {
    let daemon = Daemon::with(&["--max-line", "256"]);
    let mut client = daemon.connect();
    let long = json!({"cmd": "kv.set", "key": "k", "value": "x".repeat(300)});
    assert_error(&client.ask(long), "too_large");
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": "x"}));
}

#[test]
fn data_defaults_to_the_state_directory_then_to_the_home_folder() {
    let folder = TempDir::new();
    let cases = [
        (vec!["STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"], "STATE_DIRECTORY"),
        (vec!["XDG_STATE_HOME", "HOME"], "XDG_STATE_HOME/msglogd"),
        (vec!["HOME"], "HOME/.local/state/msglogd"),
    ];
    for (number, (variables, place)) in cases.iter().enumerate() {
        let root = folder.join(&number.to_string());
        let socket = folder.join(&format!("s{number}"));
        let mut command = msglogd();
        command.env("MSGLOGD_SOCKET", &socket);
        for variable in variables {
            std::fs::create_dir_all(root.join(variable)).expect("a folder");
            command.env(variable, root.join(variable));
        }
        let (_started, mut client) = start(&mut command, &socket);
        client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
        assert!(root.join(place).join("log").is_dir(), "no log in {place} with {variables:?}");
    }
}

#[test]
fn the_socket_defaults_to_the_runtime_directory() {
    let folder = TempDir::new();
    let runtime = folder.join("runtime");
    let user = folder.join("user");
    std::fs::create_dir(&runtime).expect("a folder");
    std::fs::create_dir(&user).expect("a folder");
    let cases: [(&[(&str, &Path)], &Path); 2] = [
        (&[("RUNTIME_DIRECTORY", &runtime), ("XDG_RUNTIME_DIR", &user)], &runtime),
        (&[("XDG_RUNTIME_DIR", &user)], &user),
    ];
    for (number, (variables, place)) in cases.into_iter().enumerate() {
        let mut command = msglogd();
        command.arg("--data").arg(folder.join(&format!("data{number}"))).envs(variables.iter().copied());
        let (_started, mut client) = start(&mut command, &place.join("msglogd.sock"));
        let pong = client.ok(json!({"cmd": "ping"}));
        assert_eq!(pong["seq"], 0, "{pong}");
    }
}

#[test]
fn info_names_the_program_and_its_limits() {
    let daemon = Daemon::start();
    let info = daemon.connect().ok(json!({"cmd": "info"}));
    assert_eq!(info["name"], "msglogd", "{info}");
    assert_eq!(info["protocol"], 1, "{info}");
    assert_eq!(info["seq"], 0, "{info}");
    assert!(common::is_time(&info["started_at"]), "{info}");
    assert!(info["version"].as_str().is_some_and(|version| !version.is_empty()), "{info}");
    assert!(info.has("durability"), "{info}");
    for limit in ["line_bytes", "connections", "batch_commands", "key_bytes", "reply_bytes"] {
        assert!(info["limits"][limit].is_u64(), "limit {limit} is missing\n{info}");
    }
    let expected = json!([1 << 20, 1000, 1024]);
    let limits = &info["limits"];
    let found = json!([limits["line_bytes"], limits["batch_commands"], limits["key_bytes"]]);
    assert_eq!(found, expected, "{info}");
}

#[test]
fn a_started_daemon_says_where_its_socket_is() {
    let daemon = Daemon::start();
    let socket = daemon.socket().display().to_string();
    let said = until("it says where", || Some(daemon.stdout()).filter(|said| said.contains(&socket)));
    assert!(said.contains("nc "), "no line to try with nc in: {said}");
}

#[test]
fn the_line_to_try_quotes_a_path_with_a_space() {
    let folder = TempDir::new();
    let socket = folder.join("a socket");
    let said = std::fs::File::create(folder.join("said")).expect("a file");
    let mut command = msglogd();
    command.arg("--data").arg(folder.join("data")).arg("--socket").arg(&socket).stdout(said);
    let _started = start(&mut command, &socket);
    let line = format!("nc -N -U '{}'\n", socket.display());
    until("it says how to try it", || {
        std::fs::read_to_string(folder.join("said")).ok().filter(|said| said.ends_with(&line))
    });
}

#[test]
fn stats_are_numbers_nested_by_subject() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    let stats = client.ok(json!({"cmd": "stats"}));
    let subjects = stats.without(&["ok"]);
    assert!(!leaves(&subjects).is_empty(), "no figures\n{stats}");
    for leaf in leaves(&subjects) {
        assert!(leaf.is_number(), "{leaf} is no number\n{stats}");
    }
}

/// Every value that is no object and no list.
fn leaves(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(members) => members.values().flat_map(leaves).collect(),
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        leaf => vec![leaf],
    }
}
