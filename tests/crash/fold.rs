//! The table as the domain folds it from the log, in memory and with nothing below: what any
//! snapshot of the same log must hold.

use std::collections::BTreeMap;
use std::ops::Bound;

use msglogd::domain::event::Event;
use msglogd::domain::kv;
use msglogd::domain::liveness::Liveness;
use msglogd::domain::table::{Counts, FIRST_POSTINGS_TAG, Facts, Table, Visit, tag};
use msglogd::error::Result;
use msglogd::snapshot::Snapshot;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A table in memory.
#[derive(Default)]
pub struct Fold {
    entries: Entries,
    counts: Counts,
    records: Vec<Vec<u8>>,
}

impl Fold {
    /// Folds a whole log.
    pub fn of(records: &[Vec<u8>]) -> Self {
        let mut fold = Fold { records: records.to_vec(), ..Fold::default() };
        for record in records {
            let event = Event::decode(record).expect("a record can be read");
            msglogd::domain::apply(&event, &mut fold)
                .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(record)));
        }
        fold
    }

    /// The snapshot holds just this.
    pub fn assert_same(&self, snapshot: &Snapshot) {
        let (mut found, mut placed) = (Entries::new(), Vec::new());
        snapshot
            .scan(&[], &[FIRST_POSTINGS_TAG], &mut |key, value| {
                found.insert(key.to_vec(), value.to_vec());
                if key.first() == Some(&tag::KEY) {
                    let stored = snapshot.stored(key)?.expect("it was just there");
                    let (seq, place) = kv::seq_and_place(&stored)?;
                    placed.extend(place.map(|(offset, _)| (seq, offset)));
                }
                Ok(true)
            })
            .expect("the table can be read");
        for (seq, offset) in placed.into_iter().filter(|(seq, _)| *seq > snapshot.compacted.last) {
            let place = snapshot.place(seq).expect("it can be read").map(|place| place.offset);
            assert_eq!(place, Some(u64::from(offset)), "event {seq} lies where its key says");
        }
        assert_eq!(snapshot.counts(), self.counts, "the counts are those of the log");
        for (key, value) in &self.entries {
            let shown = String::from_utf8_lossy(key);
            match found.remove(key) {
                // What nothing can reach any more goes with a compaction.
                None if snapshot.compacted.last > 0 => {
                    let live = Liveness::new(self).key(key, value).expect("it is in memory");
                    assert!(!live, "key {shown:?} is gone");
                }
                other => assert_eq!(other.as_ref(), Some(value), "key {shown:?}"),
            }
        }
        assert!(found.is_empty(), "keys that the log does not give: {:?}", found.keys());
    }
}

impl Facts for Fold {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.entries.get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        for (key, value) in self.entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn record(&self, seq: u64) -> Result<Option<Vec<u8>>> {
        let index = seq.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        Ok(index.and_then(|index| self.records.get(index)).cloned())
    }

    fn counts(&self) -> Counts {
        self.counts
    }
}

impl Table for Fold {
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        match value {
            Some(value) => drop(self.entries.insert(key, value)),
            None => drop(self.entries.remove(&key)),
        }
    }

    fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }
}
