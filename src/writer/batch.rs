//! A batch: the outcomes of many requests, over a snapshot, before they are on disk.

use std::cell::RefCell;
use std::sync::Arc;

use super::hot::HotValues;
use crate::domain::event::Event;
use crate::domain::table::{Changes, Counts, Facts, Outcome, Table, Visit};
use crate::error::Result;
use crate::index::tail::Added;
use crate::log::frame::{CHECKSUM_BYTES, write_line};
use crate::snapshot::Snapshot;

/// Outcomes kept so far. Later requests see what earlier ones did.
pub struct Batch {
    snapshot: Arc<Snapshot>,
    hot: RefCell<HotValues>,
    changes: Changes,
    counts: Counts,
    events: Vec<Event>,
    lines: Vec<u8>,
    /// Where each event's line begins in `lines`.
    starts: Vec<usize>,
}

impl Batch {
    /// An empty batch. `hot` knows values of the snapshot.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, hot: HotValues) -> Self {
        let counts = snapshot.counts();
        let changes = Changes::default();
        let hot = RefCell::new(hot);
        Batch { snapshot, hot, changes, counts, events: Vec::new(), lines: Vec::new(), starts: Vec::new() }
    }

    /// The values known, as of after the batch when its changes were taken, else as of before it; and the
    /// events.
    #[must_use]
    pub fn into_rest(self) -> (HotValues, Vec<Event>) {
        (self.hot.into_inner(), self.events)
    }

    /// The seq of the next event.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.snapshot.last + 1 + self.events.len() as u64
    }

    /// The events so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The lines of a frame so far.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Keeps an outcome.
    pub fn keep(&mut self, outcome: &mut Outcome) {
        for index in 0..outcome.events.len() {
            self.starts.push(self.lines.len());
            let record = outcome.record(index).unwrap_or_default();
            write_line(&mut self.lines, |out| out.extend_from_slice(record));
        }
        self.events.append(&mut outcome.events);
        // Few into many: `append` would build the whole map anew.
        self.changes.0.extend(std::mem::take(&mut outcome.changes.0));
        self.counts = outcome.counts;
    }

    /// Keeps an event that the log holds already, when the log is read back.
    ///
    /// # Errors
    /// What reading the table says.
    pub fn replay(&mut self, event: Event) -> Result<()> {
        crate::domain::apply(&event, self)?;
        self.events.push(event);
        Ok(())
    }

    /// Where each event's line begins in the lines.
    #[must_use]
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Takes what is to be added to the tail; `offsets` are the places of the lines in their segment.
    pub fn take_added<'b>(&'b mut self, offsets: &'b [u32]) -> Added<'b> {
        let changes = std::mem::take(&mut self.changes);
        self.hot.get_mut().change(&changes);
        Added { events: &self.events, offsets, changes, counts: self.counts }
    }
}

impl Facts for Batch {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(value) = self.changes.0.get(key) {
            return Ok(value.clone());
        }
        if let Some(value) = self.hot.borrow().get(key) {
            return Ok(value);
        }
        let value = self.snapshot.get(key)?;
        self.hot.borrow_mut().note(key, value.as_ref());
        Ok(value)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        self.changes.scan(self.snapshot.as_ref(), from, to, visit)
    }

    fn record(&self, seq: u64) -> Result<Option<Vec<u8>>> {
        let Some(number) = seq.checked_sub(self.snapshot.last + 1) else { return self.snapshot.record(seq) };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(start) = self.starts.get(number) else { return Ok(None) };
        let end = self.starts.get(number + 1).copied().unwrap_or(self.lines.len());
        // Less the checksum before it and the line feed behind it.
        Ok(self.lines.get(start + CHECKSUM_BYTES..end - 1).map(<[u8]>::to_vec))
    }

    fn counts(&self) -> Counts {
        self.counts
    }
}

impl Table for Batch {
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.changes.0.insert(key, value);
    }

    fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }
}
