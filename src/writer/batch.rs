//! A batch: the outcomes of many requests, over a snapshot, before they are on disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::hot::{HotValues, Lines};
use crate::domain::draft::Outcome;
use crate::domain::event::{Event, Fact};
use crate::domain::jobs::Queue;
use crate::domain::table::{Changes, Counts, Facts, Table, Visit, tag};
use crate::error::Result;
use crate::index::tail::{Added, Removal};
use crate::log::frame::Frame;
use crate::snapshot::Snapshot;

/// Outcomes kept so far. Later requests see what earlier ones did.
pub struct Batch {
    snapshot: Arc<Snapshot>,
    hot: RefCell<HotValues>,
    changes: Changes,
    /// The queues set and removed, by id: in `changes` only once there are no more to come.
    queues: BTreeMap<u64, Option<Queue>>,
    counts: Counts,
    events: Vec<Event>,
    lines: Lines,
    /// Whether it has happened: its changes were taken.
    kept: bool,
}

impl Batch {
    /// An empty batch. `hot` knows values of the snapshot.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, mut hot: HotValues) -> Self {
        let (counts, frame) = (snapshot.counts(), hot.take_frame());
        let lines = Lines { first: snapshot.last + 1, frame, starts: Vec::new() };
        let (changes, queues, hot) = (Changes::default(), BTreeMap::new(), RefCell::new(hot));
        Batch { snapshot, hot, changes, queues, counts, events: Vec::new(), lines, kept: false }
    }

    /// Takes out the values known, as of after the batch when its changes were taken, else as of before it; and the
    /// events.
    pub fn take_rest(&mut self) -> (HotValues, Vec<Event>) {
        let mut hot = self.hot.take();
        // A job's record is what is read again soon.
        let jobs = self.events.iter().any(|event| matches!(event.fact, Fact::JobPut { .. }));
        hot.keep_lines(std::mem::take(&mut self.lines), self.kept && jobs);
        (hot, std::mem::take(&mut self.events))
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

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        self.lines.frame.lines()
    }

    /// The frame, to be written.
    pub fn frame(&mut self) -> &mut Frame {
        &mut self.lines.frame
    }

    /// Keeps an outcome.
    pub fn keep(&mut self, outcome: &mut Outcome) {
        for index in 0..outcome.events.len() {
            let start = self.lines.frame.add(outcome.record(index).unwrap_or_default());
            self.lines.starts.push(start);
        }
        self.events.append(&mut outcome.events);
        outcome.changes.move_to(&mut self.changes);
        self.queues.extend(outcome.queues.drain(..));
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
        &self.lines.starts
    }

    /// Takes what is to be added to the tail; `offsets` are the places of the lines in their segment. The
    /// queues are brought into their stored form here, once for all that happened to them. `deleted`: see
    /// [`Added::deleted`].
    pub fn take_added<'b>(&'b mut self, offsets: &'b [u32], deleted: Vec<Removal>) -> Added<'b> {
        self.kept = true;
        let (mut changes, hot) = (std::mem::take(&mut self.changes), self.hot.get_mut());
        hot.change(&changes);
        for (id, queue) in std::mem::take(&mut self.queues) {
            changes.0.insert(Queue::key(id), queue.as_ref().map(Queue::value));
            hot.note_queue(id, queue);
        }
        Added { events: &self.events, offsets, changes, counts: self.counts, deleted }
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
        debug_assert!(to <= &[tag::QUEUE][..] || from > &[tag::QUEUE, u8::MAX][..], "queues are got by id");
        self.changes.scan(self.snapshot.as_ref(), from, to, visit)
    }

    fn record(&self, seq: u64) -> Result<Option<Vec<u8>>> {
        if seq > self.snapshot.last {
            return Ok(self.lines.record(seq).map(<[u8]>::to_vec));
        }
        // What was read lately may have been compacted away since.
        let is_kept = seq > self.snapshot.compacted.last;
        match self.hot.borrow().record(seq).filter(|_| is_kept) {
            Some(record) => Ok(Some(record.to_vec())),
            None => self.snapshot.record(seq),
        }
    }

    fn counts(&self) -> Counts {
        self.counts
    }

    fn queue(&self, id: u64) -> Result<Option<Queue>> {
        if let Some(queue) = self.queues.get(&id) {
            return Ok(queue.clone());
        }
        if let Some(queue) = self.hot.borrow().queue(id) {
            return Ok(queue);
        }
        let queue = self.snapshot.queue(id)?;
        self.hot.borrow_mut().note_queue(id, queue.clone());
        Ok(queue)
    }
}

impl Table for Batch {
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.changes.0.insert(key, value);
    }

    fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    fn put_queue(&mut self, id: u64, queue: Option<Queue>) {
        self.queues.insert(id, queue);
    }
}
