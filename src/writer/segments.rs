//! Where the log goes on: the next segment when the newest is full or is to be compacted, and the
//! segments of a compaction in the place of those that they replace.

use std::fmt::Display;
use std::io::ErrorKind::{QuotaExceeded, StorageFull};
use std::sync::Arc;

use super::{Compaction, ToBackground, ToWriter, Writer};
use crate::error::{Code, Error, Result};
use crate::snapshot::Snapshot;

impl Writer {
    /// Begins the next segment when the newest is full.
    pub(super) fn roll_when_full(&mut self) {
        if !self.log.is_full() || self.broken.is_some() || self.log.last() == 0 {
            return;
        }
        // It is tried again every few hundred kibibytes: what fails is told once, until it works again.
        let failure = self.roll().err().map(|error| error.message().to_owned());
        if failure.is_some() {
            self.look_for_log();
        }
        if let Some(failure) = &failure
            && self.broken.is_none()
            && self.roll_failure.as_ref() != Some(failure)
        {
            crate::report::warning(&format!(
                "{failure}; the segment goes on until the next one can be begun"
            ));
        }
        self.roll_failure = failure;
    }

    /// Gives up writing when the newest segment is not where it was.
    pub(super) fn look_for_log(&mut self) {
        if self.broken.is_some() {
            return;
        }
        if let Some(gone) = self.log.gone() {
            // Whoever moved it away may bring it back. Where that fails writing is given up for that.
            if self.sync().is_ok() {
                self.show(Snapshot { synced: self.log.synced(), ..Snapshot::clone(&self.snapshot) });
                self.give_up(&gone, Code::ReadOnly);
            }
            self.refuse_open();
            self.give_up_waiters();
        }
    }

    /// Begins the next segment. What was not synced is.
    fn roll(&mut self) -> Result<()> {
        let before = Arc::clone(self.log.segment());
        let failed = |what: &dyn Display| {
            let path = before.path.display();
            Error::new(Code::ReadOnly, format!("{path}: the segment cannot be sealed: {what}"))
        };
        let next_file = self.log.prepare().map_err(|error| match error.kind() {
            StorageFull | QuotaExceeded => {
                failed(&format!("{error}; the next one needs {} bytes to begin with", self.log.reserve()))
            }
            _ => failed(&error),
        })?;
        let cut = self.log.cut().map_err(|error| failed(&error));
        // A sync that fails ends all writing, here as well.
        cut.and_then(|()| self.sync()).inspect_err(|_| self.log.discard(&next_file))?;
        self.log.roll(next_file).map_err(|error| failed(&error))?;
        let mut next = Snapshot::clone(&self.snapshot);
        let mut segments = next.segments.as_ref().clone();
        segments.push(Arc::clone(self.log.segment()));
        (next.segments, next.synced) = (Arc::new(segments), self.log.synced());
        self.show(next);
        (self.around.sealed)();
        Ok(())
    }

    /// Does what maintenance asks of the log, or shows what was made of it then.
    pub(super) fn change_log(&mut self, change: ToWriter) {
        match change {
            ToWriter::Seal(reply) => {
                let sealed = self.seal();
                // When nobody takes it the daemon is stopping.
                let _ = reply.send(sealed);
            }
            ToWriter::Compacted(compaction) => self.take_compaction(*compaction),
            ToWriter::NewRun(run) => self.publish(Snapshot::clone(&self.snapshot), &[run]),
            _ => {}
        }
    }

    /// Ends the newest segment and the tail where they are: a snapshot whose last event is the
    /// last of both.
    fn seal(&mut self) -> Result<Arc<Snapshot>> {
        if let Some(reason) = &self.broken {
            return Err(Error::new(Code::ReadOnly, reason.as_str()));
        }
        let last = self.log.last();
        if self.log.segment().first <= last {
            self.roll().inspect_err(|_| self.look_for_log())?;
        }
        if self.tail.first() <= last {
            self.hand_over_tail();
        }
        (self.around.background)(ToBackground::Part(last));
        Ok(Arc::clone(&self.snapshot))
    }

    fn take_compaction(&mut self, compaction: Compaction) {
        let Compaction { segments, run, compacted, indexed, done } = compaction;
        let mut next = Snapshot::clone(&self.snapshot);
        let behind = next.segments.iter().filter(|segment| segment.first > compacted.last).cloned();
        next.segments = Arc::new(segments.into_iter().chain(behind).collect());
        next.checkpoint = self.log.checkpoint(&compacted);
        next.compacted = compacted;
        self.publish(next, &[run]);
        // When nobody takes it the daemon is stopping.
        let _ = done.send(indexed);
    }
}
