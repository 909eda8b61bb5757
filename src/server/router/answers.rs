//! Replies on their way back: what each tells of its connection, and how it is written.

use std::sync::atomic::{Ordering, fence};

use super::Router;
use crate::error::{Code, Error};
use crate::limits::{LARGE_REPLY_BYTES, LIST_BYTES_LEAST, READS_AT_MOST, READS_WHEN_LARGE};
use crate::protocol::reply::{write_error, write_ok};
use crate::server::connection::{Barrier, Connection, Follower, Life};

/// Damaged places that the operator is told of, at most.
const DAMAGE_TOLD: usize = 64;

impl Router {
    /// Takes the reply of a write.
    pub fn take_write(&mut self, connection: &mut Connection, number: u64, answer: Result<&[u8], &Error>) {
        connection.writes = connection.writes.saturating_sub(1);
        if connection.barrier == Some(Barrier::Reserve(number)) {
            connection.barrier = None;
            self.writer.waits_no_more();
        }
        if connection.replies.expects(number) {
            connection.reserve_bytes = answer.map_or(0, <[u8]>::len);
        }
        self.settle(connection, number, answer);
    }

    /// Takes the size of a list's reply, before the reply.
    pub fn note_list(&self, connection: &mut Connection, answer: &Result<Vec<u8>, Error>) {
        let bytes = answer.as_ref().map_or(0, Vec::len);
        connection.list_bytes = (2 * bytes).max(LIST_BYTES_LEAST);
    }

    /// Takes the reply of a read.
    pub fn take_read(&mut self, connection: &mut Connection, number: u64, answer: Result<&[u8], &Error>) {
        connection.reads = connection.reads.saturating_sub(1);
        if let Ok(fields) = answer {
            connection.reads_max = match fields.len() {
                LARGE_REPLY_BYTES.. => READS_WHEN_LARGE,
                bytes => {
                    let most = connection.short_read_bytes() / bytes.max(1);
                    // One large one among many small ones says little.
                    let most = most.clamp(1, READS_AT_MOST).max(connection.reads_max / 2);
                    most.min(connection.reads_max + 1)
                }
            };
        }
        self.settle(connection, number, answer);
    }

    /// Takes the reply of maintenance.
    pub fn take_maintenance(
        &mut self,
        connection: &mut Connection,
        number: u64,
        answer: Result<Vec<u8>, Error>,
    ) {
        connection.barrier = None;
        self.settle(connection, number, answer.as_deref());
    }

    /// Takes what a reader says of a follower.
    pub fn take_follower(
        &mut self,
        connection: &mut Connection,
        number: u64,
        follower: Result<Follower, Error>,
    ) {
        connection.barrier = None;
        // Who asks for what is not there may have asked for more behind that.
        if follower.is_ok() && self.stopping.load(Ordering::Relaxed) {
            self.refuse(connection, number, &Error::stopping());
            connection.life = Life::Closing;
            return;
        }
        self.settle(connection, number, follower.as_ref().map(|_| &b",\"following\":true"[..]));
        if let Ok(follower) = follower
            && connection.life == Life::Open
        {
            connection.follower = Some(follower);
            self.stats.followers.add(1);
            // The writer publishes, and then looks for followers.
            fence(Ordering::SeqCst);
        }
    }

    pub(super) fn settle(&mut self, connection: &mut Connection, number: u64, answer: Result<&[u8], &Error>) {
        match answer {
            Ok(fields) => self.answer(connection, number, fields),
            Err(error) => self.refuse(connection, number, error),
        }
    }

    /// Takes a reply's fields.
    pub(super) fn answer(&self, connection: &mut Connection, number: u64, fields: &[u8]) {
        self.stats.requests.add(1);
        connection.replies.answer(number, fields.len(), |out, id| write_ok(out, id, fields));
    }

    /// Takes a refusal.
    pub(super) fn refuse(&mut self, connection: &mut Connection, number: u64, error: &Error) {
        self.stats.requests.add(1);
        self.stats.errors.add(1);
        self.tell_of_damage(error);
        connection.replies.answer(number, 0, |out, id| write_error(out, id, error));
    }

    /// Tells the operator of damage that an answer met, once for each place.
    pub(super) fn tell_of_damage(&mut self, error: &Error) {
        let Some((file, offset)) = error.file().zip(error.offset()) else { return };
        let told = &mut self.own.damage;
        if error.code() == Code::Corrupt && told.len() < DAMAGE_TOLD && told.insert((file.into(), offset)) {
            crate::report::error(&format!(
                "damage was found while answering: {file} at byte {offset}: {}; {}",
                error.message(),
                self.identity.cure(file)
            ));
        }
    }

    /// Ends a connection with one last line.
    pub fn end_with(&self, connection: &mut Connection, error: &Error) {
        let mut line = Vec::new();
        write_error(&mut line, None, error);
        self.stats.errors.add(1);
        connection.replies.push(&line);
        connection.life = Life::Closing;
        connection.lines.clear();
        connection.held = None;
    }
}
