//! Takes what threads deliver, and sends early what needs no turn of its own.

use std::time::Instant;

use super::EventLoop;
use crate::error::Error;
use crate::limits::UNCOUNTED_BYTES;
use crate::server::connection::Life;
use crate::server::mailbox::ToEventLoop;
use crate::server::router::Router;
use crate::server::streams::send;
use crate::writer::{Answers, Ticket};

/// Bytes of replies of readers that are taken in one turn: readers make more while they are sent.
const TAKEN_BYTES_A_TURN: usize = 1 << 20;

impl EventLoop {
    /// Takes what the threads delivered. What is left nobody was told of yet, so a read of this turn need not
    /// see it.
    pub(super) fn empty_inbox(&mut self, router: &mut Router) {
        let mut taken = 0;
        while taken < TAKEN_BYTES_A_TURN
            && let Ok(message) = self.inbox.try_recv()
        {
            let bytes = message.reply_bytes();
            self.mailbox.took(bytes);
            taken += bytes;
            match message {
                ToEventLoop::Answers(answers) => self.take_answers(router, &answers),
                ToEventLoop::Gets { answers, .. } => {
                    for (ticket, answer) in &answers.list {
                        self.take_read(router, *ticket, answers.fields(answer));
                    }
                }
                ToEventLoop::Read { ticket, fields } => {
                    let is_list = router.own.room.came(ticket);
                    if let Some(client) = self.clients.get_mut(&ticket.connection).filter(|_| is_list) {
                        router.note_list(&mut client.connection, &fields);
                    }
                    self.take_read(router, ticket, fields.as_deref());
                }
                ToEventLoop::Maintained { ticket, fields } => {
                    if let Some(client) = self.clients.get_mut(&ticket.connection) {
                        router.take_maintenance(&mut client.connection, ticket.number, fields);
                        self.ready.insert(ticket.connection);
                    }
                }
                ToEventLoop::Follow { ticket, follower } => {
                    if let Some(client) = self.clients.get_mut(&ticket.connection) {
                        router.take_follower(&mut client.connection, ticket.number, follower);
                        self.ready.insert(ticket.connection);
                    }
                }
                ToEventLoop::Piece { connection, piece } => {
                    if let Some(client) = self.clients.get_mut(&connection)
                        && client.connection.life == Life::Open
                        && let Some(follower) = client.connection.follower.as_mut()
                    {
                        follower.asked = false;
                        match piece {
                            Ok(piece) => {
                                follower.next = piece.next;
                                client.connection.replies.push(&piece.lines);
                            }
                            Err(error) => router.end_with(&mut client.connection, &error),
                        }
                        self.ready.insert(connection);
                    }
                }
                ToEventLoop::Published => self.ready.extend(self.followers.iter()),
                ToEventLoop::Pulse => {
                    let news = self.pulse.is_back(Instant::now(), self.supervision.every);
                    news.into_iter().for_each(&self.supervision.tell);
                }
            }
        }
    }

    pub(super) fn take_answers(&mut self, router: &mut Router, answers: &Answers) {
        router.writer.decided(answers.decided_bytes, answers.decided_long);
        router.writer.arrives(answers.bytes.len());
        for (ticket, answer) in &answers.list {
            let Some(client) = self.clients.get_mut(&ticket.connection) else { continue };
            router.take_write(&mut client.connection, ticket.number, answers.fields(answer));
            self.ready.insert(ticket.connection);
        }
    }

    /// Gives this turn's short reads their answers, or to the readers, and sends what is there.
    pub(super) fn settle_gets(&mut self, router: &mut Router) {
        let mut own = Answers::default();
        router.answer_own_gets(&mut own);
        for (ticket, answer) in &own.list {
            self.take_read(router, *ticket, own.fields(answer));
        }
        // The reads of a connection follow each other.
        let mut ids: Vec<usize> = own.list.iter().map(|(ticket, _)| ticket.connection).collect();
        ids.dedup();
        ids.into_iter().for_each(|id| self.send_early(router, id));
    }

    /// Sends to a client that has nothing to do but to read: then it need not be served in a turn of its own.
    pub(super) fn send_early(&mut self, router: &mut Router, id: usize) {
        if self.stop_by.is_some() || !self.ready.contains(&id) {
            return;
        }
        let Some(client) = self.clients.get_mut(&id) else { return };
        if client.is_idle() && send(client) && client.connection.replies.output().is_empty() {
            self.ready.remove(&id);
            self.count(router, id);
        }
    }

    pub(super) fn take_read(&mut self, router: &mut Router, ticket: Ticket, answer: Result<&[u8], &Error>) {
        let id = ticket.connection;
        let Some(client) = self.clients.get_mut(&id) else { return };
        router.take_read(&mut client.connection, ticket.number, answer);
        self.ready.insert(id);
        // Hundreds of large replies may come in one turn, and the bound holds within it, too.
        if client.connection.held_bytes() > client.counted + UNCOUNTED_BYTES {
            if send(client) {
                client.stuck = None;
            }
            self.count(router, id);
        }
    }
}
