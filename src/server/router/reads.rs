//! Reads: which may begin, what they are answered from, and by whom.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::Router;
use crate::domain::command::Read;
use crate::limits::{
    ANSWERS_A_TURN_US, LARGE_REPLY_BYTES, LISTS_IN_FLIGHT, OWN_GETS, PARCEL_GETS, READS_WHEN_LARGE,
};
use crate::reader::{self, contained};
use crate::server::connection::Connection;
use crate::server::readers::ToReader;
use crate::snapshot::Snapshot;
use crate::storage;
use crate::writer::{Answers, Ticket};

/// Whether a read may take long: its reply may be long, or as for `queue.get` many jobs are looked at for it.
fn is_list(read: &Read) -> bool {
    !matches!(
        read,
        Read::KvGet { .. }
            | Read::MessageGet { .. }
            | Read::AppGet { .. }
            | Read::ChatGet { .. }
            | Read::FormulaGet { .. }
    )
}

/// Whether the reply of a read may be long.
pub(super) fn brings_much(read: &Read) -> bool {
    is_list(read) && !matches!(read, Read::QueueGet { .. })
}

impl Router {
    /// The newest snapshot. Every write whose answer a client had before a read of this turn was sent is in it,
    /// because the turn loads it behind taking answers, when its first read begins.
    pub(super) fn snapshot(&mut self) -> Arc<Snapshot> {
        Arc::clone(self.own.snapshot.get_or_insert_with(|| self.published.load()))
    }

    /// Sends a parcel of short reads.
    pub(super) fn send_gets(&self, snapshot: &Arc<Snapshot>, list: Vec<(Ticket, Read)>) {
        if !list.is_empty() {
            // When the readers are gone the daemon is stopping.
            let _ = self.readers.send(ToReader::Gets { snapshot: Arc::clone(snapshot), list });
        }
    }

    /// Has a read answered: a short one in this turn. It has its snapshot now, before a write behind it goes
    /// to the writer.
    pub(super) fn ask(&mut self, ticket: Ticket, read: Read, abandoned: &Arc<AtomicBool>) {
        let snapshot = self.snapshot();
        if is_list(&read) {
            let abandoned = Arc::clone(abandoned);
            let _ = self.readers.send(ToReader::Read { ticket, snapshot, read, abandoned });
        } else {
            self.own.gets.push((ticket, read));
        }
    }

    /// Answers the short reads of this turn into `own`, as far as what they need is in memory: the way to a
    /// reader and back costs more than most answers. Of many, the readers have a share, so that all cores
    /// answer; and so they have what would wait for a disk.
    pub fn answer_own_gets(&mut self, own: &mut Answers) {
        let mut list = std::mem::take(&mut self.own.gets);
        if list.is_empty() {
            return;
        }
        let snapshot = self.snapshot();
        // The loop must not wait for a long text to be added.
        let waits = snapshot.tails.iter().any(|tail| tail.takes_long());
        let share = if waits { 0 } else { list.len().div_ceil(self.answering).max(OWN_GETS) };
        let mut others = list.split_off(share.min(list.len()));
        while !others.is_empty() {
            let rest = others.split_off(others.len().min(PARCEL_GETS));
            self.send_gets(&snapshot, std::mem::replace(&mut others, rest));
        }
        let (started, mut fields, mut late) = (Instant::now(), Vec::new(), Vec::new());
        let (end, mut before) = (started + Duration::from_micros(ANSWERS_A_TURN_US), started);
        for (ticket, read) in list {
            fields.clear();
            let answer = || contained(|| reader::write_answer(&snapshot, &read, &mut fields));
            let Some(answered) = (if before < end { storage::without_waiting(answer) } else { None }) else {
                late.push((ticket, read));
                continue;
            };
            own.write(ticket, |out| answered.map(|()| out.extend_from_slice(&fields)));
            let now = Instant::now();
            self.stats.answered_read(now - before);
            before = now;
        }
        self.send_gets(&snapshot, late);
    }

    /// What lists may bring, all connections together, beside what is held: half of what may be held.
    #[must_use]
    pub fn room_for_lists(&self) -> usize {
        self.identity.limits.buffered_bytes / 2
    }

    /// What a connection's next list may bring.
    pub(super) fn may_bring(&self, connection: &Connection) -> usize {
        connection.list_bytes.min(self.identity.limits.reply_bytes())
    }

    /// Grants lists that waited for room. Answers which connections may begin theirs in the next turn.
    pub fn grant_lists(&mut self) -> Vec<usize> {
        let most = self.room_for_lists();
        self.own.room.grant_waiting(most, Instant::now())
    }

    /// Lets a read begin, or has it wait: a list for whose reply there is no room for that.
    pub(super) fn admit_read(&mut self, connection: &Connection, read: &Read) -> bool {
        if !is_list(read) {
            // Who was brought much and has not taken it gets no more yet.
            let large = connection.reads_max <= READS_WHEN_LARGE;
            let most = if large { LARGE_REPLY_BYTES } else { connection.short_read_bytes() };
            let takes = connection.replies.output().len() < most;
            return takes && connection.reads < connection.reads_max;
        }
        if connection.reads >= LISTS_IN_FLIGHT {
            return false;
        }
        // Last: what the room lets in must begin.
        let (bytes, most) = (self.may_bring(connection), self.room_for_lists());
        !brings_much(read) || self.own.room.admit(connection.id, bytes, most, Instant::now())
    }
}
