//! Compactions of the log among the requests, step by step between the writer's turns.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use msglogd::error::Result;
use msglogd::index::files::RunFiles;
use msglogd::log::compacted::Compacted;
use msglogd::maintenance::pace::Pace;
use msglogd::maintenance::rewrite::{Rewriter, Rewritten};
use msglogd::snapshot::Snapshot;
use msglogd::writer::{self, ToBackground, ToWriter};

use super::faulty_storage::FaultyStorage;
use super::machine::{SEGMENT_BYTES, folders, in_background};

/// What a compaction waits for.
enum Waiting {
    Nothing,
    Seal(Receiver<Result<Arc<Snapshot>>>),
    Published(Receiver<Result<()>>, Arc<Compacted>),
}

/// What maintenance does, in turns with the writer.
pub struct Compaction {
    storage: FaultyStorage,
    to_writer: Sender<ToWriter>,
    rewriter: Rewriter,
    waiting: Waiting,
}

impl Compaction {
    pub fn new(storage: &FaultyStorage, to_writer: &Sender<ToWriter>) -> Self {
        let files = RunFiles::new(storage.shared(), folders().index);
        let rewriter = Rewriter::new(storage.shared(), folders().log, files, SEGMENT_BYTES);
        let (storage, to_writer) = (storage.clone(), to_writer.clone());
        Compaction { storage, to_writer, rewriter, waiting: Waiting::Nothing }
    }

    pub fn is_under_way(&self) -> bool {
        !matches!(self.waiting, Waiting::Nothing)
    }

    /// Begins one if it is time, or does what comes next. `published` is the newest snapshot.
    pub fn step(&mut self, is_time: bool, published: &Snapshot) {
        self.waiting = match std::mem::replace(&mut self.waiting, Waiting::Nothing) {
            Waiting::Nothing if is_time && published.last > 0 => {
                let (reply, sealed) = bounded(1);
                self.to_writer.send(ToWriter::Seal(reply)).expect("a writer");
                Waiting::Seal(sealed)
            }
            Waiting::Nothing => Waiting::Nothing,
            // The writer answers behind the replies of its turn.
            Waiting::Seal(sealed) => match sealed.try_recv() {
                Ok(Ok(snapshot)) => self.rewrite(&snapshot, published),
                Ok(Err(_)) => Waiting::Nothing,
                Err(_) => Waiting::Seal(sealed),
            },
            Waiting::Published(done, compacted) => {
                let Ok(indexed) = done.try_recv() else {
                    self.waiting = Waiting::Published(done, compacted);
                    return;
                };
                let removed = compacted.remove_left_over(self.storage.shared().as_ref(), &folders().log);
                drop((indexed, removed));
                Waiting::Nothing
            }
        };
    }

    fn rewrite(&mut self, snapshot: &Snapshot, published: &Snapshot) -> Waiting {
        let Ok(rewritten) = self.rewriter.rewrite(snapshot, &mut Pace::full()) else {
            return Waiting::Nothing;
        };
        let Rewritten { segments, run, compacted, .. } = rewritten;
        let (done, finished) = bounded(1);
        let named = Arc::clone(&compacted);
        let compaction = writer::Compaction { segments, run, compacted, indexed: Ok(()), done };
        let files = published.runs.as_ref().clone();
        let given = ToBackground::Compacted(Box::new(compaction));
        in_background(&self.storage, &self.to_writer, files, vec![given]);
        Waiting::Published(finished, named)
    }
}
