//! Where the log goes on: the next segment when the newest is full or is to be compacted, and the
//! segments of a compaction in the place of those that they replace.

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

    /// Begins the next segment. What was not synced is.
    fn roll(&mut self) -> Result<()> {
        let failed = |path: &std::path::Path, error| {
            Error::new(Code::ReadOnly, format!("{}: the segment cannot be sealed: {error}", path.display()))
        };
        let before = Arc::clone(self.log.segment());
        let next_file = self.log.prepare().map_err(|error| failed(&before.path, error))?;
        let cut = self.log.cut().map_err(|error| failed(&before.path, error));
        // A sync that fails ends all writing, here as well.
        cut.and_then(|()| self.sync()).inspect_err(|_| self.log.discard(&next_file))?;
        self.log.roll(next_file).map_err(|error| failed(&before.path, error))?;
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
            ToWriter::Merged(run) => self.publish(Snapshot::clone(&self.snapshot), &[run]),
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
            self.roll()?;
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
        next.compacted = compacted;
        self.publish(next, &[run]);
        // When nobody takes it the daemon is stopping.
        let _ = done.send(indexed);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use crossbeam_channel::bounded;

    use super::super::{Asked, Surroundings, Ticket};
    use super::*;
    use crate::domain::command::Command;
    use crate::log::compacted::Compacted;
    use crate::protocol::request;
    use crate::snapshot::Published;
    use crate::storage::Storage;
    use crate::storage::memory::Memory;
    use crate::store::Folders;
    use crate::store::{self, Progress};

    struct Silence;

    impl Progress for Silence {
        fn say(&mut self, _: &str) {}
    }

    fn set(number: u64) -> ToWriter {
        let line = br#"{"cmd":"kv.set","key":"k","value":1}"#;
        let Ok(Command::Write(request)) = request::parse(line).command else { panic!("it is a write") };
        let ticket = Ticket { connection: 1, number };
        ToWriter::Requests(vec![Asked { ticket, uid: 0, request, bytes: line.len() }])
    }

    #[test]
    fn a_run_that_was_made_behind_a_compaction_is_not_shown_before_it() {
        let storage: Arc<dyn Storage> = Arc::new(Memory::default());
        let store = store::open(&storage, &Folders::new(Path::new("/data")), 1 << 20, &mut Silence);
        let store = store.unwrap_or_else(|failure| panic!("memory: {failure}"));
        let (files, published) = (store.files.clone(), Arc::new(Published::default()));
        let (shown, tails) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (seen, newest, full) = (Arc::clone(&shown), Arc::clone(&published), Arc::clone(&tails));
        let around = Surroundings {
            published,
            stats: Arc::default(),
            deliver: Box::new(|_| {}),
            announce: Box::new(move || {
                let Snapshot { compacted, runs, .. } = &*newest.load();
                let runs = runs.iter().map(|run| (run.meta().first, run.meta().last)).collect::<Vec<_>>();
                seen.lock().expect("a list").push((compacted.last, runs));
            }),
            background: Box::new(move |work| {
                if let ToBackground::Flush(tail) = work {
                    full.lock().expect("a list").push(tail);
                }
            }),
            sealed: Box::new(|| {}),
            uid: 0,
            flush_bytes: 1 << 20,
            syncer: None,
        };
        around.stats.followers.add(1);
        let mut writer = Writer::new(store, around).expect("a store");
        let (reply, sealed) = bounded(2);
        for number in 1..=2 {
            let mut turn = writer.begin_turn();
            writer.take(&mut turn, set(number));
            writer.take(&mut turn, ToWriter::Seal(reply.clone()));
            writer.commit(turn);
        }
        let runs: Vec<_> = tails.lock().expect("a list").iter().map(|tail| files.write(tail, true)).collect();
        let runs = runs.into_iter().collect::<Result<Vec<_>>>().expect("memory");
        let both = files.merge(&runs, true, &mut || Ok(())).expect("memory");
        let segments = sealed.recv().and_then(|snapshot| Ok(snapshot.expect("sealed").segments.to_vec()));
        let (done, answer) = bounded(1);
        let compaction = Compaction {
            segments: segments.expect("sealed")[..1].to_vec(),
            run: Arc::clone(&runs[0]),
            compacted: Arc::new(Compacted::new(1, 1, Vec::new())),
            indexed: Ok(()),
            done,
        };
        shown.lock().expect("a list").clear();

        let mut turn = writer.begin_turn();
        writer.take(&mut turn, ToWriter::Compacted(Box::new(compaction)));
        writer.take(&mut turn, ToWriter::Merged(both));
        writer.commit(turn);
        answer.recv().expect("it is told").expect("it is done");
        assert_eq!(*shown.lock().expect("a list"), [(1, vec![(1, 1)]), (1, vec![(1, 2)])]);
    }
}
