//! Keeps what all clients together hold within its bound.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{EventLoop, give_up_waiting};
use crate::error::{Code, Error};
use crate::server::connection::Life;
use crate::server::replies::KEPT_BYTES;
use crate::server::room::STUCK;
use crate::server::router::Router;
use crate::server::streams::{Client, send};

/// Who holds this part of what the largest does may go before it.
const FAIR_PART: usize = 4;

impl EventLoop {
    /// Counts what a client holds, and while all hold too much closes one that holds much.
    pub(super) fn count(&mut self, router: &mut Router, id: usize) {
        self.recount(router, id);
        while self.buffered > router.identity.limits.buffered_bytes {
            let Some(id) = self.holds_too_much() else { return };
            self.drop_client(router, id);
        }
    }

    /// Who holds most; but of those who hold a fair part of that, and have replies to read or do not get on, the one
    /// that got on longest ago: who reads is not to pay for who does not, and who has read all not for a long line.
    /// Before all others those who were dropped and have not read the rest of their last line.
    pub(super) fn holds_too_much(&self) -> Option<usize> {
        let now = Instant::now();
        let held = |client: &Client| client.counted;
        let dropped =
            self.clients.iter().filter(|(_, client)| client.is_dropped() && held(client) > KEPT_BYTES);
        if let Some((id, _)) = dropped.max_by_key(|(_, client)| held(client)) {
            return Some(*id);
        }
        let (id, most) = self.clients.iter().max_by_key(|(_, client)| held(client))?;
        let fair = self.clients.iter().filter(|(_, client)| {
            let reads = !client.connection.replies.output().is_empty();
            // Whoever waits for an answer cannot get on.
            let does_not_get_on = client.moved + STUCK <= now && client.connection.wants_bytes();
            held(client) >= held(most) / FAIR_PART && (reads || does_not_get_on)
        });
        Some(*fair.min_by_key(|(_, client)| client.moved).map_or(id, |(id, _)| id))
    }

    pub(super) fn recount(&mut self, router: &mut Router, id: usize) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let held = client.connection.held_bytes();
        if client.counted <= KEPT_BYTES && held > KEPT_BYTES {
            client.moved = Instant::now();
        }
        let before = std::mem::replace(&mut client.counted, held);
        if held != before {
            router.own.room.gets_on(std::mem::take(&mut client.counted_stuck));
        }
        self.set_buffered(router, self.buffered + held - before);
    }

    /// All clients together hold so much now.
    pub(super) fn set_buffered(&mut self, router: &mut Router, bytes: usize) {
        self.buffered = bytes;
        router.own.room.note_held(bytes);
        router.stats.buffered_bytes.set(bytes as u64);
    }

    /// Ends a connection that holds too much. It is told why, behind the line that it has read in part; if that
    /// is too much, too, it is closed.
    pub(super) fn drop_client(&mut self, router: &mut Router, id: usize) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.connection.life != Life::Open {
            self.close(router, id);
            return;
        }
        router.stats.connections_dropped.add(1);
        client.connection.replies.abandon();
        client.connection.abandoned.store(true, Ordering::Relaxed);
        let message = "all connections together hold too much, and this one the most: read replies sooner";
        router.end_with(&mut client.connection, &Error::new(Code::Busy, message));
        give_up_waiting(router, client);
        router.own.room.forget(id);
        send(client);
        self.ready.insert(id);
        self.recount(router, id);
    }
}
