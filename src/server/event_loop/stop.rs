//! The stop: everything that was received is answered, and nobody is waited for longer than it takes.

use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{EventLoop, swallow};
use crate::error::Error;
use crate::limits::{STOP_MOST_SECONDS, STOP_SECONDS};
use crate::server::admission::Admission;
use crate::server::router::Router;
use crate::server::streams::Client;
use crate::server::supervision::News;
use crate::writer::ToWriter;

/// When the daemon stops so many turns' worth of clients is let in: more than may wait for that.
const STOP_ACCEPTS: usize = 128;

impl EventLoop {
    /// When the next client that does not read is left behind by the stop.
    pub(super) fn left_at(&self) -> Option<Instant> {
        let since = self.clients.values().filter_map(|client| client.stuck).min()?;
        Some(since + Duration::from_secs(STOP_SECONDS))
    }

    /// Leaves the clients behind that have not read for long.
    pub(super) fn leave_stuck(&mut self, router: &mut Router) {
        while let Some(at) = self.left_at().filter(|at| *at <= Instant::now()) {
            let late = |client: &Client| {
                client.stuck.is_some_and(|since| since + Duration::from_secs(STOP_SECONDS) <= at)
            };
            let ids: Vec<usize> =
                self.clients.iter().filter(|(_, client)| late(client)).map(|(id, _)| *id).collect();
            ids.into_iter().for_each(|id| self.close(router, id));
        }
    }

    /// Begins the stop: nobody new, and nothing more from those who are there.
    pub(super) fn stop(&mut self, router: &mut Router) {
        swallow(&self.supervision.stop);
        if self.stop_by.is_some() {
            return;
        }
        // Who came before is let in.
        self.admission.iter_mut().for_each(Admission::somebody_came);
        for _ in 0..STOP_ACCEPTS {
            self.accept(router);
        }
        self.stop_by = Some(Instant::now() + Duration::from_secs(STOP_MOST_SECONDS));
        (self.supervision.tell)(News::Stopping);
        if let Some(mut admission) = self.admission.take() {
            let _ = self.poll.registry().deregister(admission.listener());
        }
        router.stopping.store(true, Ordering::Relaxed);
        router.writer.tell(ToWriter::Stop);
        for (id, client) in &mut self.clients {
            // Who ended what it sends has ended its last line, too.
            client.connection.stopping = !client.has_ended();
            // What the client sent before is still there to be read.
            let _ = client.stream.shutdown(Shutdown::Read);
            (client.readable, client.end_came) = (true, true);
            if client.connection.follower.is_some() {
                router.end_with(&mut client.connection, &Error::stopping());
            }
            self.ready.insert(*id);
        }
    }
}
