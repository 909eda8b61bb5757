//! A disk that is full for a while: writes are refused, and come back by themselves.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use msglogd::error::Code;

use super::client::{Client, Outcome, Sent, Trouble};
use super::faulty_storage::FaultyStorage;
use super::image::Fate;
use super::machine::{End, Life, empty_disk, live, lock};

fn is_read_only(sent: &Sent) -> bool {
    sent.outcome == Outcome::Refused(Code::ReadOnly)
}

/// Whether this went through, and is what goes through on a full disk.
fn gave_room(sent: &Sent) -> bool {
    let cmd = sent.request["cmd"].as_str().unwrap_or_default();
    let gives = ["ack", "nack", "extend", "delete", "purge", "drop"].iter().any(|end| cmd.ends_with(end));
    gives && matches!(sent.outcome, Outcome::Done { .. })
}

/// A life with a full disk in its midst, and one after it. How many writes were refused, and how many
/// that give room went through meanwhile.
fn fill_up(seed: u64) -> (usize, usize) {
    let client = Arc::new(Mutex::new(Client::new(seed)));
    let never = Arc::new(AtomicBool::new(false));
    lock(&client).trouble = Trouble::Calls(never);
    let storage = FaultyStorage::new(empty_disk());
    let end = live(
        &storage,
        &client,
        Life { turns: 60, index_every: None, full: Some((15, 45)), compact_every: None },
    );
    assert!(matches!(end, End::Stopped), "{end:?}");
    let refused = {
        let client = lock(&client);
        let last = client.sent.iter().rposition(is_read_only).unwrap_or(0);
        let after = client.sent[last..].iter().filter(|sent| matches!(sent.outcome, Outcome::Done { .. }));
        assert!(after.count() > 3, "writes come back when there is room");
        assert!(!client.broken, "a full disk breaks nothing");
        let first = client.sent.iter().position(is_read_only).unwrap_or(last);
        let meanwhile = client.sent[first..last].iter().filter(|sent| gave_room(sent)).count();
        (client.sent.iter().filter(|sent| is_read_only(sent)).count(), meanwhile)
    };
    lock(&client).trouble = Trouble::None;
    lock(&client).power_was_lost = true;
    let after = FaultyStorage::new(storage.image().after(Fate::Lost));
    let end = live(&after, &client, Life { turns: 3, index_every: None, full: None, compact_every: None });
    assert!(matches!(end, End::Stopped), "{end:?}");
    refused
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let lives: Vec<(usize, usize)> = (20..30).map(fill_up).collect();
    let refused: usize = lives.iter().map(|(refused, _)| refused).sum();
    let gave_room: usize = lives.iter().map(|(_, gave_room)| gave_room).sum();
    assert!(refused > 20, "only {refused} writes met a full disk");
    assert!(gave_room > 20, "only {gave_room} writes that give room went through");
}
