//! Damage that shows only when the files of a data folder are looked at together.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use common::{Daemon, Finished, file_name, finish, json, msglogd, number, segments};

/// A daemon that ended right after it had begun a segment, with its segments; the newest is empty.
fn ended_behind_a_segment() -> (Daemon, Vec<PathBuf>) {
    let mut daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    let value = "v".repeat(500);
    while segments(&daemon.data()).len() < 3 {
        client.ok(json!({"cmd": "kv.set", "key": "k", "value": value}));
    }
    drop(client);
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.stderr());
    let files = segments(&daemon.data());
    assert_eq!(files[2].metadata().expect("a segment").len(), 0);
    // The index knows the events as well, and may go at any time.
    fs::remove_dir_all(daemon.data().join("index")).expect("an index");
    (daemon, files)
}

/// The first seq of a segment.
fn first(segment: &Path) -> u64 {
    file_name(segment).trim_end_matches(".log").parse().expect("a seq")
}

/// Every file below a folder, with what it holds; but for the lock.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if file_name(&path) != "lock" {
            found.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    found
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[place] ^= 1;
    fs::write(path, bytes).expect("a file");
}

fn check(daemon: &Daemon) -> Finished {
    finish(msglogd().arg("check").arg("--data").arg(daemon.data()))
}

fn repair(daemon: &Daemon, more: &[&str]) -> Finished {
    finish(msglogd().arg("repair").args(more).arg("--data").arg(daemon.data()))
}

/// Neither a start nor a check takes the folder, and both name this file. Nothing is changed.
#[track_caller]
fn assert_refused(daemon: &Daemon, named: &Path) {
    let before = files(&daemon.data());
    for finished in [check(daemon), daemon.fails_to_start(), check(daemon)] {
        assert_eq!(finished.code, Some(65), "{finished:?}");
        assert!(finished.stderr.contains(&file_name(named)), "{finished:?}");
    }
    assert!(files(&daemon.data()) == before, "something was changed");
}

#[test]
fn an_end_that_is_missing_before_an_empty_segment_is_damage() {
    for keep in [0, 30, 2000] {
        let (mut daemon, all) = ended_behind_a_segment();
        let sealed = File::options().write(true).open(&all[1]).expect("a segment");
        sealed.set_len(keep).expect("it can be cut");
        // The newest says how far the log went.
        assert_refused(&daemon, &all[2]);
        let said = repair(&daemon, &[]);
        assert_eq!(said.code, Some(65), "{said:?}");
        let last = first(&all[2]) - 1;
        assert!(said.stdout.contains(&format!("{last}")) && said.stdout.contains("lost"), "{said:?}");
        assert_eq!(repair(&daemon, &["--yes"]).code, Some(0));
        daemon.launch();
        let mut client = daemon.connect();
        assert_eq!(client.last_seq(), last, "no seq is given again");
        assert_eq!(client.ok(json!({"cmd": "kv.set", "key": "next", "value": 1})).seq(), last + 1);
    }
}

#[test]
fn a_log_that_ends_with_an_empty_segment_goes_on() {
    let (mut daemon, all) = ended_behind_a_segment();
    assert_eq!(check(&daemon).code, Some(0));
    daemon.launch();
    assert_eq!(daemon.connect().last_seq(), first(&all[2]) - 1);
    daemon.crash();
    let set = daemon.connect().ok(json!({"cmd": "kv.set", "key": "next", "value": 1}));
    assert_eq!(set.seq(), first(&all[2]));
}

/// A stopped daemon with several segments.
fn ended() -> (Daemon, Vec<PathBuf>) {
    let mut daemon = Daemon::with(&["--segment-bytes", "4K"]);
    let mut client = daemon.connect();
    for number in 0..60 {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": "v".repeat(500)}));
    }
    drop(client);
    daemon.stop();
    let all = segments(&daemon.data());
    (daemon, all)
}

#[test]
fn a_copy_of_a_segment_under_another_number_is_named() {
    let (daemon, all) = ended();
    let copy = daemon.data().join("log").join(format!("{:020}.log", first(&all[2]) + 1));
    fs::copy(&all[1], &copy).expect("a copy");
    let finished = check(&daemon);
    assert_eq!(finished.code, Some(65), "{finished:?}");
    assert!(finished.stderr.contains(&file_name(&copy)), "{finished:?}");
    assert!(finished.stderr.contains("move it away"), "{finished:?}");
    fs::remove_dir_all(daemon.data().join("index")).expect("an index");
    assert_refused(&daemon, &copy);
    fs::remove_file(copy).expect("a copy");
    assert_eq!(check(&daemon).code, Some(0));
}

#[test]
fn a_segment_that_reads_as_zeros_between_others_is_not_taken_for_nothing() {
    let (daemon, all) = ended();
    let length = all[1].metadata().expect("a segment").len();
    for length in [length, 0] {
        fs::write(&all[1], vec![0; usize::try_from(length).expect("small")]).expect("a segment");
        assert_eq!(check(&daemon).code, Some(65));
        let before = files(&daemon.data());
        let index = daemon.data().join("index");
        let _ = fs::remove_dir_all(&index);
        let finished = daemon.fails_to_start();
        assert_eq!(finished.code, Some(65), "{finished:?}");
        let log = |all: BTreeMap<PathBuf, Vec<u8>>| -> Vec<(PathBuf, Vec<u8>)> {
            all.into_iter().filter(|(path, _)| !path.starts_with(&index)).collect()
        };
        assert!(log(files(&daemon.data())) == log(before), "something was changed");
    }
}

/// A stopped daemon whose log was compacted, with an index behind it.
fn compacted() -> Daemon {
    let mut daemon = Daemon::with(&["--segment-bytes", "16K"]);
    let mut client = daemon.connect();
    for number in 0..300 {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{}", number % 40), "value": "v".repeat(300)}));
    }
    client.ok(json!({"cmd": "log.compact"}));
    client.ok(json!({"cmd": "kv.set", "key": "later", "value": 1}));
    let runs = number(&client.ok(json!({"cmd": "stats"})).json()["index"], "file_runs");
    assert!(runs > 0, "there is an index");
    drop(client);
    daemon.stop();
    daemon
}

fn checkpoint(daemon: &Daemon) -> PathBuf {
    let all = files(&daemon.data()).into_keys();
    let mut checkpoints = all.filter(|path| path.extension().is_some_and(|end| end == "checkpoint"));
    checkpoints.next().expect("a checkpoint")
}

#[test]
fn a_start_that_is_refused_removes_nothing() {
    let daemon = compacted();
    let checkpoint = checkpoint(&daemon);
    flip(&checkpoint, 100);
    for list in ["manifest", "recent"] {
        let path = daemon.data().join("index").join(list);
        if path.exists() {
            flip(&path, 3);
        }
    }
    let before = files(&daemon.data());
    let finished = daemon.fails_to_start();
    assert_eq!(finished.code, Some(65), "{finished:?}");
    assert!(files(&daemon.data()) == before, "something was changed: {finished:?}");
}

#[test]
fn a_damaged_list_of_run_files_is_found_by_a_check_and_healed_by_a_start() {
    let mut tried = 0;
    for list in ["manifest", "recent"] {
        let mut daemon = compacted();
        let path = daemon.data().join("index").join(list);
        if !path.exists() {
            continue;
        }
        tried += 1;
        flip(&path, 3);
        let finished = check(&daemon);
        assert_eq!(finished.code, Some(65), "{finished:?}");
        assert!(finished.stderr.contains(list), "{finished:?}");
        let before = daemon.stderr();
        daemon.launch();
        let said = daemon.stderr()[before.len()..].to_owned();
        assert!(said.contains(list), "{said}");
        assert_eq!(daemon.connect().ok(json!({"cmd": "kv.get", "key": "later"}))["value"], 1);
        daemon.restart();
        daemon.stop();
        assert_eq!(check(&daemon).code, Some(0));
    }
    assert!(tried > 0, "there is a list");
}

#[test]
fn a_checkpoint_that_nobody_needs_is_told_to_be_made_anew() {
    let daemon = compacted();
    let checkpoint = checkpoint(&daemon);
    flip(&checkpoint, 100);
    for finished in [check(&daemon), repair(&daemon, &[])] {
        assert_eq!(finished.code, Some(65), "{finished:?}");
        let said = &finished.stderr;
        assert!(said.contains(&file_name(&checkpoint)) && said.contains("msglog log compact"), "{said}");
        assert!(!said.contains("backup") && !said.contains("msglogd repair"), "{said}");
    }
}

/// A stopped daemon whose log was compacted, with one run file of the index, so large that a start does not read all
/// of it.
fn compacted_with_many_words() -> (Daemon, PathBuf) {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "the only key", "value": 1}));
    for some in 0..40 {
        let post = |number: u32| {
            let words: Vec<String> = (0..100).map(|word| format!("w{some}x{number}x{word}")).collect();
            json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": words.join(" ")})
        };
        let posts: Vec<_> = (0..100).map(post).collect();
        client.ok(json!({"cmd": "batch", "commands": posts, "durable": false}));
    }
    client.ok(json!({"cmd": "log.compact"}));
    drop(client);
    daemon.stop();
    let run = run(&daemon);
    (daemon, run)
}

fn run(daemon: &Daemon) -> PathBuf {
    let all = files(&daemon.data()).into_keys();
    all.filter(|path| path.extension().is_some_and(|end| end == "run")).min().expect("a run file")
}

#[test]
fn a_damaged_index_is_told_to_be_moved_away_only_where_all_that_it_is_made_from_is_whole() {
    let (mut daemon, of_words) = compacted_with_many_words();
    let length = of_words.metadata().expect("a run file").len();
    flip(&of_words, usize::try_from(length).expect("small") / 2);
    let finished = check(&daemon);
    let index = daemon.data().join("index");
    let away = format!("mv -T {} {}.old", index.display(), index.display());
    assert_eq!(finished.code, Some(65), "{finished:?}");
    assert!(
        finished.stderr.contains(&file_name(&of_words)) && finished.stderr.contains(&away),
        "{finished:?}"
    );
    // With the checkpoint damaged, too, nothing else has the table.
    flip(&checkpoint(&daemon), 20);
    for finished in [check(&daemon), repair(&daemon, &["--yes"])] {
        assert_eq!(finished.code, Some(65), "{finished:?}");
        assert!(finished.stderr.contains("msglog log compact"), "{finished:?}");
        assert!(finished.stderr.contains("must stay") && !finished.stderr.contains("mv "), "{finished:?}");
    }
    daemon.launch();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "log.compact"}));
    client.ok(json!({"cmd": "log.verify"}));
    drop(client);
    daemon.stop();
    assert_eq!(check(&daemon).code, Some(0));
    // Where the index does not have all of the table, either, only a repair helps.
    let of_table = run(&daemon);
    let bytes = fs::read(&of_table).expect("a run file");
    flip(&of_table, bytes.windows(12).position(|found| found == b"the only key").expect("a key"));
    flip(&checkpoint(&daemon), 20);
    let finished = check(&daemon);
    assert_eq!(finished.code, Some(65), "{finished:?}");
    assert!(finished.stderr.contains("msglogd repair") && !finished.stderr.contains("mv "), "{finished:?}");
    assert_eq!(repair(&daemon, &["--yes"]).code, Some(0));
    assert_eq!(check(&daemon).code, Some(0));
}

#[test]
fn a_pipe_under_the_name_of_a_segment_is_told_and_not_waited_for() {
    let (daemon, all) = ended();
    fs::remove_file(&all[1]).expect("a segment");
    mknodat(CWD, &all[1], FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
    for finished in [check(&daemon), repair(&daemon, &[]), daemon.fails_to_start()] {
        assert_eq!(finished.code, Some(74), "{finished:?}");
        assert!(finished.stderr.contains(&file_name(&all[1])), "{finished:?}");
        assert!(finished.stderr.contains("no regular file"), "{finished:?}");
    }
}

#[test]
fn a_checkpoint_in_the_place_of_a_run_file_is_damage_of_the_index_that_a_start_heals() {
    let mut daemon = compacted();
    let checkpoint = checkpoint(&daemon);
    let all = files(&daemon.data()).into_keys();
    let run = all.filter(|path| path.extension().is_some_and(|end| end == "run")).min().expect("a run file");
    fs::copy(&checkpoint, &run).expect("a copy");
    let finished = check(&daemon);
    assert_eq!(finished.code, Some(65), "{finished:?}");
    assert!(finished.stderr.contains("no part of the index"), "{finished:?}");
    daemon.launch();
    let mut client = daemon.connect();
    assert_eq!(client.ok(json!({"cmd": "kv.list"})).list("keys").len(), 41);
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "k7"}))["value"], "v".repeat(300));
}

#[test]
fn an_older_checkpoint_under_the_name_of_a_newer_is_told_of() {
    let mut daemon = compacted();
    let old = fs::read(checkpoint(&daemon)).expect("a checkpoint");
    daemon.launch();
    let mut client = daemon.connect();
    for number in 0..100 {
        client.ok(json!({"cmd": "kv.set", "key": format!("k{}", number % 40), "value": "w".repeat(300)}));
    }
    client.ok(json!({"cmd": "log.compact"}));
    drop(client);
    daemon.stop();
    let newer = checkpoint(&daemon);
    fs::write(&newer, old).expect("a file");
    fs::remove_dir_all(daemon.data().join("index")).expect("an index");
    assert_refused(&daemon, &newer);
}

#[test]
fn a_check_needs_no_lock_and_makes_none() {
    let mut daemon = Daemon::start();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    daemon.stop();
    let lock = daemon.data().join("lock");
    fs::remove_file(&lock).expect("a lock");
    assert_eq!(check(&daemon).code, Some(0));
    assert!(!lock.exists());
}

#[test]
fn a_check_looks_at_no_file_of_the_index_that_no_list_names() {
    let daemon = compacted();
    let left_over = daemon.data().join("index").join(format!("{:020}-{:020}.run", 1, 2));
    fs::write(&left_over, [0; 4096]).expect("it can be written");
    let finished = check(&daemon);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn a_check_says_that_a_start_does_without_a_recent_run_file_once_the_log_is_known_to_be_whole() {
    let daemon = compacted();
    let log = segments(&daemon.data());
    let index = files(&daemon.data().join("index")).into_keys();
    let runs: Vec<PathBuf> = index.filter(|path| path.extension().is_some_and(|end| end == "run")).collect();
    flip(&runs[0], 40);
    let finished = check(&daemon);
    assert_eq!(finished.code, Some(65), "{finished:?}");
    assert!(finished.stderr.contains(&file_name(&runs[0])), "{finished:?}");
    assert!(finished.stderr.contains("the next start reads what it held from the log"), "{finished:?}");
    assert!(!finished.stderr.contains("mv "), "{finished:?}");
    flip(&log[0], 200);
    let finished = check(&daemon);
    assert!(finished.stderr.contains(&file_name(&log[0])), "{finished:?}");
}

#[test]
fn a_folder_in_the_place_of_a_file_is_named_with_what_to_do_and_all_is_well_when_it_is_away() {
    for name in ["lock", "index/recent", "index/manifest"] {
        let (mut daemon, _) = ended();
        daemon.launch();
        daemon.stop();
        let (path, away) = (daemon.data().join(name), daemon.folder().join("away"));
        let _ = fs::remove_file(&path);
        fs::create_dir(&path).expect("a folder");
        fs::write(path.join("file"), "another's").expect("a file");
        let advice = |finished: &Finished| {
            let said = &finished.stderr;
            said.contains(&path.display().to_string()) && said.contains("move the folder away")
        };
        let refused = daemon.fails_to_start();
        assert!(refused.code == Some(74) && advice(&refused), "{name}: {refused:?}");
        let checked = check(&daemon);
        assert!(checked.code == Some(74) && advice(&checked), "{name}: {checked:?}");
        fs::rename(&path, &away).expect("a folder");
        daemon.launch();
        assert_eq!(daemon.connect().last_seq(), 60, "{name}");
    }
}
