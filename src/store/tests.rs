use super::*;
use crate::domain::event::Fact;
use crate::log::frame::Frame;
use crate::storage::memory::Memory;

const MEBIBYTE: usize = 1 << 20;

/// What a start told.
#[derive(Default)]
struct Told {
    /// How many bytes were read when it said so.
    bytes: Vec<u64>,
}

impl Progress for Told {
    fn say(&mut self, line: &str) {
        panic!("{line}");
    }

    fn replayed(&mut self, so_far: Replayed) {
        self.bytes.push(so_far.bytes);
    }
}

fn folders() -> Folders {
    Folders::new(Path::new("/data"))
}

/// A store whose log has so many keys with values of a mebibyte, and no index.
fn store_of_large_values(count: u64) -> Arc<dyn Storage> {
    let storage: Arc<dyn Storage> = Arc::new(Memory::default());
    let mut store = open(&storage, &folders(), 1 << 30, &mut Told::default()).expect("memory");
    for seq in 1..=count {
        let value = format!("\"{}\"", "v".repeat(MEBIBYTE));
        let fact = Fact::KeySet { key: format!("k{seq}"), value, created: true };
        let (mut json, mut frame) = (Vec::new(), Frame::default());
        Event { seq, at: Timestamp(seq), uid: 0, fact }.encode(b"1970-01-01T00:00:00.000001Z", &mut json);
        frame.add(&json);
        store.log.append(seq, seq, &mut frame).expect("memory");
    }
    store.log.trim().expect("memory");
    storage
}

#[test]
fn a_start_gathers_no_more_bytes_at_once_than_a_frame_has() {
    let storage = store_of_large_values(12);
    let mut told = Told::default();
    let store = open(&storage, &folders(), 1 << 30, &mut told).expect("it is whole");
    assert_eq!(store.snapshot.last, 12);
    let steps: Vec<u64> = told.bytes.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(steps.len() >= 4, "{steps:?}");
    assert!(steps.iter().all(|step| *step <= (FRAME_BYTES + MEBIBYTE) as u64), "{steps:?}");
}
