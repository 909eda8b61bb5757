//! The newest run files are not synced: what a crash or a flipped bit takes of them is read from the log.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Client, Daemon, json, until};

const MESSAGES: u64 = 24_000;

/// A daemon with enough messages for run files, killed.
fn killed() -> Daemon {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    for hundred in 0..MESSAGES / 100 {
        let commands: Vec<_> = (0..100)
            .map(|n| {
                let number = hundred * 100 + n;
                let body = format!(
                    "number{number} of many, other{number}x and rare{number}y, word{} and word{}",
                    number % 977,
                    number % 3
                );
                json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": body})
            })
            .collect();
        client.ok(json!({"cmd": "batch", "commands": commands}));
    }
    until("a run file is written", || (!recent(&daemon.data()).is_empty()).then_some(()));
    daemon.kill();
    daemon
}

/// The run files that `recent` names.
fn recent(data: &Path) -> Vec<PathBuf> {
    let index = data.join("index");
    let line = fs::read_to_string(index.join("recent")).unwrap_or_default();
    let names: Vec<String> =
        line.get(9..).map_or_else(Vec::new, |json| serde_json::from_str(json).expect("JSON"));
    names.into_iter().map(|name| index.join(name)).collect()
}

fn assert_complete(client: &mut Client) {
    for number in [0, 1, 5000, MESSAGES - 1] {
        let found =
            client.ok(json!({"cmd": "message.search", "text": format!("number{number}"), "count": true}));
        assert_eq!(found["total"], 1, "message {number}");
    }
    let all = client.ok(json!({"cmd": "message.search", "text": "word0", "count": true, "limit": 1}));
    let expected = (0..MESSAGES).filter(|number| number % 977 == 0 || number % 3 == 0).count();
    assert_eq!(all["total"], expected);
}

/// The daemon starts, says that it reads the log instead of that file, and has everything.
fn assert_heals(mut daemon: Daemon, file: &Path) {
    let before = daemon.stderr();
    daemon.launch();
    let said = daemon.stderr()[before.len()..].to_owned();
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(said.contains(&name) && said.contains("read from the log"), "{said}");
    assert_complete(&mut daemon.connect());
    daemon.crash();
    assert_complete(&mut daemon.connect());
}

#[test]
fn after_a_kill_the_recent_run_files_are_taken_as_they_are() {
    let mut daemon = killed();
    let files = recent(&daemon.data());
    let before = daemon.stderr();
    daemon.launch();
    assert!(!daemon.stderr()[before.len()..].contains("read from the log"), "{}", daemon.stderr());
    assert_complete(&mut daemon.connect());
    assert!(files[0].exists());
}

#[test]
fn a_recent_run_file_with_a_flipped_bit_is_said_and_read_from_the_log() {
    let daemon = killed();
    let file = recent(&daemon.data()).swap_remove(0);
    let mut bytes = fs::read(&file).expect("a run file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&file, bytes).expect("it can be written");
    assert_heals(daemon, &file);
}

#[test]
fn a_recent_run_file_that_a_power_loss_took_is_said_and_read_from_the_log() {
    let daemon = killed();
    let file = recent(&daemon.data()).swap_remove(0);
    let length = fs::metadata(&file).expect("a run file").len();
    fs::write(&file, vec![0; usize::try_from(length).expect("a small file")]).expect("it can be written");
    assert_heals(daemon, &file);
}

#[test]
fn a_list_of_recent_run_files_that_a_power_loss_took_costs_nothing_but_time() {
    let mut daemon = killed();
    fs::write(daemon.data().join("index/recent"), "").expect("it can be written");
    daemon.launch();
    assert_complete(&mut daemon.connect());
}
