//! What lies in the data folder: whose it is, and what is said of one that holds no data.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{Daemon, TempDir, everything_below, finish, json, msglogd};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_folder_of_other_things_is_left_alone() {
    let folder = TempDir::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::create_dir(folder.join("lost+found")).expect("a folder");
    fs::write(folder.join("letter"), "").expect("a file");
    let socket = folder.join("s");
    let finished = finish(msglogd().arg("--data").arg(folder.path()).arg("--socket").arg(&socket));
    assert_eq!(finished.code, Some(74), "{finished:?}");
    assert!(finished.stderr.contains("--data"), "{finished:?}");
    assert_eq!(mode(folder.path()), 0o755);
}

#[test]
fn a_folder_with_a_log_and_a_lock_of_others_is_left_alone() {
    let folder = TempDir::new();
    let made = |name: &str, entries: &[&str]| {
        let data = folder.join(name);
        for entry in entries {
            let path = data.join(entry);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "another's").expect("a file");
        }
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("it is ours");
        data
    };
    let project = made("project", &["log/development.log", "log/notes.tmp", "index/1.run", "index/a.tmp"]);
    let packages = made("packages", &["lock", "status"]);
    let system = made("system", &["lib/status"]);
    std::os::unix::fs::symlink("/run/lock", system.join("lock")).expect("a link");
    std::os::unix::fs::symlink("/nowhere", system.join("log")).expect("a link");
    for data in [project, packages, system] {
        let before = everything_below(&data);
        for words in [[].as_slice(), &["check"], &["repair"], &["repair", "--yes"]] {
            let mut command = msglogd();
            command.args(words).arg("--data").arg(&data).env("MSGLOGD_SOCKET", folder.join("s"));
            let finished = finish(&mut command);
            assert_eq!(finished.code, Some(74), "{finished:?}");
            assert!(finished.stderr.contains("no data"), "{finished:?}");
        }
        assert_eq!((mode(&data), everything_below(&data)), (0o755, before));
    }
}

#[test]
fn files_of_others_in_the_folders_of_the_data_stay() {
    let mut daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    daemon.stop();
    let names = ["log/notes.tmp", "log/another's.checkpoint", "index/notes.tmp", "index/5k.run"];
    let others = names.map(|name| daemon.data().join(name));
    others.iter().for_each(|path| fs::write(path, "another's").expect("a file"));
    daemon.launch();
    daemon.connect().ok(json!({"cmd": "log.compact"}));
    daemon.stop();
    for path in &others {
        assert!(path.exists(), "{} is gone", path.display());
    }
}

#[test]
fn a_data_folder_that_was_only_begun_is_taken_again() {
    let daemon = Daemon::stopped(&[]);
    fs::write(daemon.data().join("lock"), "").expect("a file");
    for name in ["log", "index", "lost+found"] {
        fs::create_dir(daemon.data().join(name)).expect("a folder");
    }
    // So far came a start that was killed.
    fs::write(daemon.data().join("log/00000000000000000001.log.tmp"), "").expect("a file");
    let mut daemon = daemon;
    daemon.launch();
    assert_eq!(daemon.connect().last_seq(), 0);
}

#[test]
fn a_data_folder_that_was_put_back_one_folder_too_deep_is_named_with_the_command_that_mends_it() {
    let mut daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    daemon.stop();
    let (data, deep) = (daemon.data(), daemon.data().join("where it was"));
    fs::rename(&data, daemon.folder().join("away")).expect("a folder");
    fs::create_dir(&data).expect("as systemd makes it");
    fs::rename(daemon.folder().join("away"), &deep).expect("a folder");
    let told = daemon.fails_to_start();
    assert_eq!(told.code, Some(74), "{told:?}");
    assert!(told.stderr.contains(&format!("--data '{}'; or", deep.display())), "{told:?}");
    let command = told.stderr.split('`').nth(1).expect("a command");
    assert!(Command::new("sh").args(["-c", command]).status().expect("sh starts").success(), "{command}");
    daemon.launch();
    assert_eq!(daemon.connect().ok(json!({"cmd": "kv.get", "key": "k"}))["value"], 1);
}

#[test]
fn where_the_folder_above_the_data_is_named_the_one_in_it_is_told_and_no_command_that_moves_what_is_in_its_place()
 {
    let mut daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    daemon.stop();
    let above = daemon.folder().join("above");
    fs::create_dir(&above).expect("a folder");
    let named = |inner: &Path| format!("{} does: name that one with --data", inner.display());
    let inner = above.join("2026-01-31");
    fs::rename(daemon.data(), &inner).expect("a folder");
    for words in [["check"].as_slice(), &["repair", "--yes"]] {
        let finished = finish(msglogd().args(words).arg("--data").arg(&above));
        assert_eq!(finished.code, Some(74), "{finished:?}");
        assert!(finished.stderr.contains(&named(&inner)) && !finished.stderr.contains("mv "), "{finished:?}");
    }
    let starts_on = |folder: &Path| {
        finish(msglogd().arg("--data").arg(folder).arg("--socket").arg(daemon.folder().join("s")))
    };
    let log = above.join("log");
    fs::rename(&inner, &log).expect("a folder");
    let linked = daemon.folder().join("linked");
    fs::create_dir(&linked).expect("a folder");
    std::os::unix::fs::symlink(&log, linked.join("data")).expect("a link");
    for (folder, inner) in [(&above, log), (&linked, linked.join("data"))] {
        let finished = starts_on(folder);
        assert_eq!(finished.code, Some(74), "{finished:?}");
        assert!(finished.stderr.contains(&named(&inner)) && !finished.stderr.contains("mv "), "{finished:?}");
    }
}

#[test]
fn a_check_or_repair_of_what_is_no_data_says_what_is_there_and_what_to_name() {
    let folder = TempDir::new();
    let run = |words: &[&str], data: &Path| {
        let mut command = msglogd();
        command.args(words).arg("--data").arg(data);
        finish(&mut command)
    };
    fs::create_dir(folder.join("empty")).expect("a folder");
    fs::write(folder.join("file"), "").expect("a file");
    for (name, said) in [
        ("missing", "there is no data folder"),
        ("empty", "holds no data"),
        ("file", "is no folder"),
        ("file/data", "is no folder"),
    ] {
        for words in [["check"].as_slice(), &["repair"], &["repair", "--yes"]] {
            let finished = run(words, &folder.join(name));
            assert_eq!(finished.code, Some(74), "{finished:?}");
            assert!(finished.stderr.contains(said) && finished.stderr.contains("--data"), "{finished:?}");
        }
    }
    assert_eq!(fs::read_dir(folder.join("empty")).expect("a folder").count(), 0, "nothing was made in it");
}
