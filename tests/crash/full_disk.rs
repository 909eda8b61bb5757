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

/// A life with a full disk in its midst, and one after it. How many writes were refused.
fn fill_up(seed: u64) -> usize {
    let client = Arc::new(Mutex::new(Client::new(seed)));
    let never = Arc::new(AtomicBool::new(false));
    lock(&client).trouble = Trouble::Calls(never);
    let storage = FaultyStorage::new(empty_disk());
    let end = live(&storage, &client, Life { turns: 60, index_every: None, full: Some((15, 45)) });
    assert!(matches!(end, End::Stopped), "{end:?}");
    let refused = {
        let client = lock(&client);
        let last = client.sent.iter().rposition(is_read_only).unwrap_or(0);
        let after = client.sent[last..].iter().filter(|sent| matches!(sent.outcome, Outcome::Done { .. }));
        assert!(after.count() > 3, "writes come back when there is room");
        assert!(!client.broken, "a full disk breaks nothing");
        client.sent.iter().filter(|sent| is_read_only(sent)).count()
    };
    lock(&client).trouble = Trouble::None;
    lock(&client).power_was_lost = true;
    let after = FaultyStorage::new(storage.image().after(Fate::Lost));
    let end = live(&after, &client, Life { turns: 3, index_every: None, full: None });
    assert!(matches!(end, End::Stopped), "{end:?}");
    refused
}

#[test]
fn a_full_disk_refuses_writes_and_takes_them_again_when_there_is_room() {
    let refused: usize = (20..30).map(fill_up).sum();
    assert!(refused > 20, "only {refused} writes met a full disk");
}
