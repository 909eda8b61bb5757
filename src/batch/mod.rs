//! A batch: the outcomes of many requests, over a snapshot, before they are on disk.

pub mod hot;

use std::cell::RefCell;
use std::sync::Arc;

use crate::domain::draft::Outcome;
use crate::domain::event::{Event, Fact};
use crate::domain::jobs::{Job, Queue};
use crate::domain::objects::Objects;
use crate::domain::table::{Changes, Counts, Facts, Table, Visit, tag};
use crate::error::Result;
use crate::index::tail::{Added, Removal};
use crate::log::frame::Frame;
use crate::snapshot::Snapshot;
use hot::{BatchLines, HotValues};

/// Outcomes kept so far. Later requests see what earlier ones did.
pub struct Batch {
    snapshot: Arc<Snapshot>,
    hot: RefCell<HotValues>,
    changes: Changes,
    /// The queues set and removed, by id, and the jobs, by seq: in `changes` only once there are no more to come.
    queues: Objects<Queue>,
    jobs: Objects<Job>,
    counts: Counts,
    events: Vec<Event>,
    lines: BatchLines,
    /// Whether it has happened: its changes were taken.
    kept: bool,
}

impl Batch {
    /// An empty batch. `hot` knows values of the snapshot.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, mut hot: HotValues) -> Self {
        let (counts, frame) = (snapshot.counts(), hot.take_frame());
        let lines = BatchLines { first: snapshot.last + 1, frame, starts: Vec::new() };
        Batch {
            snapshot,
            hot: RefCell::new(hot),
            changes: Changes::default(),
            queues: Objects::default(),
            jobs: Objects::default(),
            counts,
            events: Vec::new(),
            lines,
            kept: false,
        }
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
        outcome.queues.take().for_each(|(id, queue)| self.queues.put(id, queue));
        outcome.jobs.take().for_each(|(seq, job)| self.jobs.put(seq, job));
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

    /// Takes what is to be added to the tail; `offsets` are the places of the lines in their segment. Queues and
    /// jobs are brought into their stored form here, once for all that happened to them. `deleted`: see
    /// [`Added::deleted`].
    pub fn take_added<'b>(&'b mut self, offsets: &'b [u32], deleted: Vec<Removal>) -> Added<'b> {
        self.kept = true;
        let (mut changes, hot) = (std::mem::take(&mut self.changes), self.hot.get_mut());
        hot.change(&changes);
        for (id, queue) in self.queues.take() {
            changes.0.insert(Queue::key(id), queue.as_deref().map(Queue::value));
            hot.queues.note(id, queue);
        }
        for (seq, job) in self.jobs.take() {
            changes.0.insert(Job::key(seq), job.as_deref().map(Job::value));
            // Whoever put a job or leased it is likely to go on with it; one that is done is not.
            match job {
                Some(job) => hot.jobs.note(seq, Some(job)),
                None => hot.jobs.forget(&seq),
            }
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
        let beside = |tag: u8| to <= &[tag][..] || from > &[tag, u8::MAX][..];
        debug_assert!(beside(tag::QUEUE) && beside(tag::JOB), "queues are got by id, and jobs by seq");
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

    fn queue(&self, id: u64) -> Result<Option<Arc<Queue>>> {
        let known = self.queues.get(id).or_else(|| self.hot.borrow().queues.get(&id));
        known.map_or_else(|| self.hot.borrow_mut().queues.noted(id, self.snapshot.queue(id)), Ok)
    }

    fn job(&self, seq: u64) -> Result<Option<Arc<Job>>> {
        let known = self.jobs.get(seq).or_else(|| self.hot.borrow().jobs.get(&seq));
        known.map_or_else(|| self.hot.borrow_mut().jobs.noted(seq, self.snapshot.job(seq)), Ok)
    }
}

impl Table for Batch {
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.changes.0.insert(key, value);
    }

    fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    fn put_queue(&mut self, id: u64, queue: Option<Arc<Queue>>) {
        self.queues.put(id, queue);
    }

    fn put_job(&mut self, seq: u64, job: Option<Arc<Job>>) {
        self.jobs.put(seq, job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::draft::{Circumstances, Draft};
    use crate::limits::REPLY_BYTES;
    use crate::log::compacted::Compacted;
    use crate::time::Timestamp;

    /// What is known lately behind a batch in which a job was put, and whose changes were taken or not.
    fn behind_a_put(taken: bool) -> HotValues {
        let mut batch = Batch::new(Arc::default(), HotValues::default());
        let random = &mut |_: &mut [u8]| {};
        let (at, at_text) = (Timestamp(1), b"1970-01-01T00:00:00.000001Z");
        let circumstances = Circumstances { at, at_text, uid: 0, random, reply_bytes: REPLY_BYTES };
        let mut draft = Draft::new(&batch, batch.next_seq(), circumstances, Outcome::default());
        let put = Fact::JobPut { queue: "q".into(), priority: 0, delay_ms: 0, body: "1".into() };
        draft.emit(put).expect("memory");
        let mut outcome = draft.finish();
        batch.keep(&mut outcome);
        if taken {
            batch.take_added(&[0], Vec::new());
        }
        batch.take_rest().0
    }

    #[test]
    fn a_record_is_known_once_its_batch_has_happened_and_not_when_it_was_refused() {
        assert_eq!([true, false].map(|taken| behind_a_put(taken).record(1).is_some()), [true, false]);
    }

    #[test]
    fn a_record_that_was_compacted_away_is_not_taken_from_what_is_known() {
        let snapshot = |compacted| {
            let compacted = Arc::new(Compacted::new(1, compacted, Vec::new()));
            Arc::new(Snapshot { last: 1, compacted, ..Snapshot::default() })
        };
        let record = |compacted| Batch::new(snapshot(compacted), behind_a_put(true)).record(1);
        assert!(record(0).is_ok_and(|record| record.is_some()));
        assert!(!record(1).is_ok_and(|record| record.is_some()), "nothing of it is left");
    }
}
