//! Jobs for the reserves that wait: one that is put goes to who waits for it in the same frame. Of many that become
//! ready in one moment each frame brings some, as far as there is room for the replies.

use std::time::Instant;

use super::Writer;
use super::timers::TIMER_AGAIN;
use super::turn::Turn;
use crate::domain::command::{Write, WriteRequest};
use crate::domain::event::{Event, Fact};
use crate::error::Code;
use crate::limits::FRAME_BYTES;

/// What waiting reserves were given in a turn.
#[derive(Default)]
pub(super) struct Served {
    /// Bytes of their replies.
    bytes: usize,
    /// The queues.
    queues: Vec<String>,
}

impl Writer {
    /// Gives jobs that became ready to those who wait for them.
    pub(super) fn serve_readied(&mut self, turn: &mut Turn, readied: Vec<Readied>) {
        for Readied { queue, put, others } in readied {
            if others || self.waiters.is_put_off(&queue) {
                self.serve(turn, &queue);
                continue;
            }
            // Nobody waits for a job that was ready before: these are all there are, and no larger than what was sent.
            for _ in 0..put {
                if !self.serve_first(turn, &queue) {
                    break;
                }
            }
        }
    }

    /// Goes on where there was no room.
    pub(super) fn serve_put_off(&mut self, turn: &mut Turn) {
        for queue in self.waiters.take_put_off(turn.now) {
            self.serve(turn, &queue);
        }
    }

    /// Gives ready jobs of a queue to those who wait for them, as far as there is room.
    fn serve(&mut self, turn: &mut Turn, queue: &str) {
        while self.waiters.first(queue).is_some() {
            if let Err(again) = self.pace.may_give(&self.around.unread, &turn.served, turn.now) {
                return self.waiters.put_off(queue, again);
            }
            if !self.serve_first(turn, queue) {
                return;
            }
        }
    }

    /// Gives ready jobs of a queue to who has waited longest. Whether others may get some, too.
    fn serve_first(&mut self, turn: &mut Turn, queue: &str) -> bool {
        let Some(waiter) = self.waiters.first(queue) else { return false };
        let write = Write::QueueReserve(waiter.reserve.clone());
        let (ticket, uid, durable) = (waiter.ticket, waiter.uid, waiter.durable);
        let request = WriteRequest { write, durable, dry_run: false, idempotency: None };
        let before = turn.batch.events().len();
        let outcome = self.decide(turn, uid, request);
        if outcome.is_ok() && turn.batch.events().len() == before {
            return false;
        }
        if let Err(error) = &outcome {
            // The disk is full, and not for ever. Or the first job cannot be read, which one is told at a time.
            self.waiters.put_off(queue, turn.now + TIMER_AGAIN);
            if error.code() == Code::ReadOnly {
                return false;
            }
        }
        self.waiters.take_first(queue);
        turn.durable |= durable;
        match outcome {
            Ok(outcome) => {
                turn.answers.say(ticket, &outcome.reply);
                turn.served.note(queue, outcome.reply.len());
                self.pace.gave(outcome.reply.len());
                self.spare = outcome;
                true
            }
            Err(error) => {
                turn.answers.refuse(ticket, error);
                false
            }
        }
    }

    /// What was given in a turn was not: the jobs are ready as before.
    pub(super) fn serve_again(&mut self, served: &mut Served, at: Instant) {
        served.queues.drain(..).for_each(|queue| self.waiters.put_off(&queue, at));
    }

    /// Answers those who have waited long enough.
    pub(super) fn answer_late(&mut self, turn: &mut Turn) {
        while let Some(late) = self.waiters.take_late(turn.now) {
            turn.answers.say(late.ticket, b",\"jobs\":[]");
            turn.durable |= late.durable;
        }
    }
}

impl Served {
    /// Whether it is as much as goes into one turn.
    pub(super) fn is_much(&self) -> bool {
        self.bytes >= FRAME_BYTES
    }

    /// The same in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn note(&mut self, queue: &str, bytes: usize) {
        self.bytes += bytes;
        if !self.queues.iter().any(|other| other == queue) {
            self.queues.push(queue.to_owned());
        }
    }
}

/// A queue that has a job ready now that it had not before.
pub(super) struct Readied {
    queue: String,
    /// How many of them were put.
    put: usize,
    /// Whether there are others.
    others: bool,
}

/// The queues that have a job ready now that they had not before.
pub(super) fn readied_queues(events: &[Event]) -> Vec<Readied> {
    let mut queues: Vec<Readied> = Vec::new();
    for event in events {
        let (queue, put) = match &event.fact {
            Fact::JobPut { queue, delay_ms: 0, .. } => (queue, 1),
            Fact::JobNacked { queue, delay_ms: 0, dead: false, .. }
            | Fact::JobExpired { queue, dead: false, .. }
            | Fact::JobReadied { queue, .. }
            | Fact::JobRevived { queue, .. } => (queue, 0),
            _ => continue,
        };
        match queues.iter_mut().find(|readied| readied.queue == *queue) {
            Some(readied) => (readied.put, readied.others) = (readied.put + put, readied.others || put == 0),
            None => queues.push(Readied { queue: queue.clone(), put, others: put == 0 }),
        }
    }
    queues
}
