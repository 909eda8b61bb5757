//! A full disk, a real one in memory: what stores more is refused, what gives room back goes through, and
//! all comes back by itself when there is room. That takes root, to mount it.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use common::{Client, Daemon, Value, finish, json, msglogd, until};

/// A small file system in memory on a folder, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it. `None`, and a line that says so, where this user may not.
    fn mount(folder: PathBuf, size: &str, test: &str) -> Option<SmallDisk> {
        let options = format!("size={size},mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&folder).output();
        match mounted {
            Ok(done) if done.status.success() => Some(SmallDisk(folder)),
            other => {
                eprintln!("SKIPPED: nothing can be mounted here: {test}: {other:?}");
                None
            }
        }
    }

    /// Fills it to its last byte.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("a file");
        for size in [1 << 16, 1 << 12, 1 << 6, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// Gives it another option, such as another size.
    fn remount(&self, option: &str) {
        let options = format!("remount,{option}");
        let done = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(done.expect("mount starts").success());
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).expect("a file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Some of everything that can end: leased jobs, keys, messages.
struct Things {
    leases: Vec<Value>,
    messages: Vec<u64>,
}

fn store(client: &mut Client) -> Things {
    for number in 0..60 {
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": number}));
        client.ok(json!({"cmd": "kv.set", "key": format!("k{number}"), "value": number}));
    }
    let post = json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": "hello"});
    let messages = (0..20).map(|_| client.ok(post.clone()).seq()).collect();
    let reserve = json!({"cmd": "queue.reserve", "queue": "q", "max": 50, "lease_ms": 10_000_000});
    Things { leases: client.ok(reserve).list("jobs"), messages }
}

/// Writes until the disk takes no more.
fn until_full(client: &mut Client) {
    for size in [20_000, 2_000, 200, 1] {
        for _ in 0..10_000 {
            let reply = client.ask(json!({"cmd": "kv.set", "key": "big", "value": "v".repeat(size)}));
            if reply["ok"] == false {
                assert_eq!(reply["error"], "read_only", "{reply}");
                break;
            }
        }
    }
}

fn assert_full(client: &mut Client) {
    for request in [
        json!({"cmd": "kv.set", "key": "k", "value": "v".repeat(500)}),
        json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": "v".repeat(500)}),
        json!({"cmd": "queue.put", "queue": "q", "body": "v".repeat(500)}),
        json!({"cmd": "batch", "commands": [
            {"cmd": "kv.delete", "key": "k0"}, {"cmd": "kv.set", "key": "k", "value": "v".repeat(500)}]}),
    ] {
        let mut dry = request.clone();
        dry["dry_run"] = json!(true);
        client.refused(request, "read_only");
        client.refused(dry, "read_only");
    }
    client.ok(json!({"cmd": "kv.get", "key": "k0"}));
    client.ok(json!({"cmd": "message.search", "text": "hello"}));
}

#[test]
fn acks_and_deletes_go_through_on_a_full_disk_and_writes_come_back_when_there_is_room() {
    let name = "acks_and_deletes_go_through_on_a_full_disk_and_writes_come_back_when_there_is_room";
    let mut daemon = Daemon::stopped(&["--segment-bytes", "1M"]);
    let Some(disk) = SmallDisk::mount(daemon.data(), "8m", name) else { return };
    daemon.launch();
    let mut client = daemon.connect();
    let Things { leases, messages } = store(&mut client);
    disk.fill();
    until_full(&mut client);
    assert_full(&mut client);

    let of = |number: usize| (leases[number]["job"].clone(), leases[number]["lease"].clone());
    for number in 0..40 {
        let (job, lease) = of(number);
        client.ok(json!({"cmd": "queue.ack", "job": job, "lease": lease}));
        client.ok(json!({"cmd": "kv.delete", "key": format!("k{}", number + 1)}));
    }
    for seq in &messages {
        client.ok(json!({"cmd": "message.delete", "seq": seq}));
    }
    let (job, lease) = of(40);
    client.ok(json!({"cmd": "queue.extend", "job": job, "lease": lease, "lease_ms": 20_000_000}));
    client.ok(json!({"cmd": "queue.nack", "job": job, "lease": lease}));
    let two = json!([{"cmd": "kv.delete", "key": "k50"}, {"cmd": "kv.delete", "key": "k51"}]);
    client.ok(json!({"cmd": "batch", "commands": two}));
    assert_full_again(&mut client);
    client.ok(json!({"cmd": "queue.purge", "queue": "q"}));
    client.ok(json!({"cmd": "queue.drop", "queue": "q"}));
    let last = client.last_seq();

    disk.make_room();
    let set = json!({"cmd": "kv.set", "key": "later", "value": "v".repeat(500)});
    assert_eq!(client.ok(set).seq(), last + 1, "writes come back by themselves, and nothing is lost between");
    let said = daemon.stderr();
    let (refused, taken) = ("writes are refused: nothing was written: the disk", "writes are taken again");
    assert!(said.contains(refused) && said.contains(taken), "the operator is told of both: {said}");
    assert_eq!(said.matches("writes are refused").count(), 1, "and not of each: {said}");
    daemon.crash();
    let mut client = daemon.connect();
    assert_eq!(client.last_seq(), last + 1);
    client.refused(json!({"cmd": "kv.get", "key": "k1"}), "not_found");
    client.ok(json!({"cmd": "log.verify"}));
}

fn assert_full_again(client: &mut Client) {
    client.refused(json!({"cmd": "queue.put", "queue": "q", "body": "v".repeat(500)}), "read_only");
}

#[test]
fn deletes_go_through_though_the_disk_filled_up_when_a_segment_was_to_be_begun() {
    let name = "deletes_go_through_though_the_disk_filled_up_when_a_segment_was_to_be_begun";
    // Where in a segment the disk is full differs.
    for size in ["6000k", "6048k", "6100k", "6150k", "6200k"] {
        let mut daemon = Daemon::stopped(&["--segment-bytes", "256K"]);
        let Some(disk) = SmallDisk::mount(daemon.data(), size, name) else { return };
        daemon.launch();
        let mut client = daemon.connect();
        for keys in (0..1000).collect::<Vec<u64>>().chunks(100) {
            let set = |key: &u64| json!({"cmd": "kv.set", "key": format!("k{key}"), "value": 1});
            client.ok(json!({"cmd": "batch", "commands": keys.iter().map(set).collect::<Vec<_>>()}));
        }
        until_full(&mut client);
        let delete = |key: u64| json!({"cmd": "kv.delete", "key": format!("k{key}")});
        (0..20).for_each(|key| drop(client.ok(delete(key))));
        // It finds no room, and takes none from those who need it.
        client.refused(json!({"cmd": "log.compact"}), "read_only");
        (20..40).for_each(|key| drop(client.ok(delete(key))));
        let told = daemon.stderr().matches("the segment goes on").count();
        assert!(told <= 1, "{size}: {}", daemon.stderr());
        drop(client);
        daemon.crash();
        (40..50).for_each(|key| drop(daemon.connect().ok(delete(key))));
        assert_eq!(daemon.stop(), Some(0), "{size}: {}", daemon.stderr());
        drop(disk);
    }
}

#[test]
fn a_daemon_starts_on_a_full_disk_and_answers_reads() {
    let mut daemon = Daemon::stopped(&["--segment-bytes", "1M"]);
    let Some(disk) =
        SmallDisk::mount(daemon.data(), "8m", "a_daemon_starts_on_a_full_disk_and_answers_reads")
    else {
        return;
    };
    daemon.launch();
    let mut client = daemon.connect();
    store(&mut client);
    client.ok(json!({"cmd": "log.compact"}));
    disk.fill();
    until_full(&mut client);
    let last = client.last_seq();
    for restart in [Daemon::crash, Daemon::restart] {
        restart(&mut daemon);
        let mut client = daemon.connect();
        assert_eq!(client.last_seq(), last);
        client.ok(json!({"cmd": "message.search", "text": "hello"}));
    }
    // A list of run files that a power loss took, and what a compaction left: a start heals what it can.
    daemon.kill();
    let lists = ["manifest", "recent"].map(|list| daemon.data().join("index").join(list));
    let list = lists.iter().find(|list| list.exists()).expect("an index");
    let mut bytes = fs::read(list).expect("a list");
    bytes[3] ^= 1;
    fs::OpenOptions::new()
        .write(true)
        .open(list)
        .and_then(|mut file| file.write_all(&bytes))
        .expect("a list");
    daemon.launch();
    let mut client = daemon.connect();
    assert_eq!(client.last_seq(), last);
    client.ok(json!({"cmd": "message.search", "text": "hello"}));
    disk.make_room();
    daemon.connect().ok(json!({"cmd": "kv.set", "key": "later", "value": 1}));
}

#[test]
fn a_daemon_starts_on_a_full_disk_though_its_last_write_was_cut_short() {
    let name = "a_daemon_starts_on_a_full_disk_though_its_last_write_was_cut_short";
    let mut daemon = Daemon::stopped(&["--segment-bytes", "1M"]);
    let Some(disk) = SmallDisk::mount(daemon.data(), "8m", name) else { return };
    daemon.launch();
    let mut client = daemon.connect();
    store(&mut client);
    let last = client.last_seq();
    client.ok(json!({"cmd": "kv.set", "key": "torn", "value": "v".repeat(500)}));
    drop(client);
    daemon.kill();
    // The end of the last frame never reached the disk; the room behind it, made ahead, is there.
    let segment = common::newest_segment(&daemon.data());
    let end = common::content(&segment).len();
    let file = fs::OpenOptions::new().write(true).open(segment).expect("a segment");
    file.write_all_at(&[0; 300], end as u64 - 300).expect("it fits");
    disk.fill();
    daemon.launch();
    let mut client = daemon.connect();
    assert_eq!(client.last_seq(), last);
    client.ok(json!({"cmd": "message.search", "text": "hello"}));
}

#[test]
fn leases_that_end_while_the_disk_is_full_end_when_there_is_room() {
    const JOBS: usize = 2000;
    let name = "leases_that_end_while_the_disk_is_full_end_when_there_is_room";
    let mut daemon = Daemon::stopped(&["--segment-bytes", "256K"]);
    let Some(disk) = SmallDisk::mount(daemon.data(), "8m", name) else { return };
    daemon.launch();
    let mut client = daemon.connect();
    for _ in 0..JOBS / 1000 {
        let puts = vec![json!({"cmd": "queue.put", "queue": "q", "body": 1}); 1000];
        client.ok(json!({"cmd": "batch", "commands": puts}));
    }
    for _ in 0..JOBS / 1000 {
        let reserve = json!({"cmd": "queue.reserve", "queue": "q", "max": 1000, "lease_ms": 2000});
        assert_eq!(client.ok(reserve).list("jobs").len(), 1000);
    }
    disk.fill();
    until_full(&mut client);
    let count = |client: &mut Client, state: &str| {
        let queue = client.ok(json!({"cmd": "queue.get", "queue": "q"})).json()["queue"].clone();
        queue[state].as_u64().expect("a count")
    };
    // There is room in reserve for some, not for all.
    until("some end", || (count(&mut client, "ready") > 0).then_some(()));
    assert!(count(&mut client, "leased") > 0);
    disk.make_room();
    until("all end", || (count(&mut client, "ready") == JOBS as u64).then_some(()));
    let jobs = (0..JOBS / 1000).flat_map(|_| client.reserve(1000));
    let jobs: Vec<u64> = jobs.map(|job| job["job"].as_u64().expect("a number")).collect();
    assert!(jobs.is_sorted() && jobs.len() == JOBS, "in the order in which they ran out: {jobs:?}");
}

#[test]
fn writes_are_refused_when_the_index_cannot_be_written_and_memory_holds_much_of_it() {
    let name = "writes_are_refused_when_the_index_cannot_be_written_and_memory_holds_much_of_it";
    let mut daemon = Daemon::with(&["--max-line", "2M"]);
    daemon.stop();
    let Some(disk) = SmallDisk::mount(daemon.data().join("index"), "64k", name) else { return };
    daemon.launch();
    let mut client = daemon.connect();
    let kept = client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1})).seq();
    // Each word is another: the index takes more room than the log.
    let refused = (0..60).find_map(|number| {
        let body: String = (0..120_000).map(|word| format!("w{number}x{word} ")).collect();
        let reply =
            client.ask(json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": body}));
        (reply["ok"] == false).then_some(reply)
    });
    let refused = refused.expect("the index took more and more memory");
    assert_eq!(refused["error"], "read_only", "{refused}");
    let message = refused["message"].as_str().expect("a sentence");
    let index = daemon.data().join("index");
    assert!(message.contains(&index.display().to_string()), "{message}");
    let post = json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": "small"});
    client.refused(post.clone(), "read_only");
    client.refused(json!({"cmd": "queue.put", "queue": "q", "body": 1}), "read_only");
    assert!(client.ok(json!({"cmd": "kv.delete", "key": "k"})).seq() > kept);
    client.ok(json!({"cmd": "message.search", "text": "w0x1"}));
    disk.remount("size=1g");
    until("writes come back by themselves", || (client.ask(post.clone())["ok"] == true).then_some(()));
}

#[test]
fn a_backup_does_not_take_the_place_of_a_mounted_disk_and_goes_into_a_new_folder_in_it() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    let place = daemon.folder().join("disk");
    fs::create_dir(&place).expect("a folder");
    let name = "a_backup_does_not_take_the_place_of_a_mounted_disk_and_goes_into_a_new_folder_in_it";
    let Some(disk) = SmallDisk::mount(place, "16M", name) else { return };
    let refusal = client.refused(json!({"cmd": "log.backup", "to": disk.0}), "conflict");
    assert!(refusal.string("message").contains("mount point"), "{refusal}");
    client.ok(json!({"cmd": "log.backup", "to": disk.0.join("new")}));
}

#[test]
fn a_file_system_that_is_read_only_is_told_with_what_may_make_it_writable() {
    let mut daemon = Daemon::stopped(&[]);
    let place = daemon.folder().join("elsewhere");
    fs::create_dir(&place).expect("a folder");
    let name = "a_file_system_that_is_read_only_is_told_with_what_may_make_it_writable";
    let Some(disk) = SmallDisk::mount(place, "8m", name) else { return };
    disk.remount("ro");
    let mut elsewhere = msglogd();
    elsewhere.arg("--data").arg(&disk.0).arg("--socket").arg(daemon.socket());
    let finished = finish(&mut elsewhere);
    assert_eq!(finished.code, Some(74), "{finished:?}");
    assert!(finished.stderr.contains("ReadWritePaths="), "{finished:?}");
    daemon.launch();
    let backup = json!({"cmd": "log.backup", "to": disk.0.join("b")});
    let refusal = daemon.connect().refused(backup, "read_only");
    assert!(refusal.string("message").contains("ReadWritePaths="), "{refusal}");
}
