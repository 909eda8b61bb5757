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

/// What waiting reserves were given in a turn, but for jobs that were put in it.
#[derive(Default)]
pub(super) struct Served {
    /// Bytes of their replies.
    bytes: usize,
    /// The queues that were looked at for it.
    queues: Vec<String>,
}

impl Writer {
    /// Gives jobs that became ready to those who wait for them.
    pub(super) fn serve_readied(&mut self, turn: &mut Turn, readied: Vec<Readied>) {
        for Readied { queue, put, others } in readied {
            // Where it is put off the jobs before these are for those who wait.
            if others || self.waiters.is_put_off(&queue) {
                self.serve(turn, &queue);
                continue;
            }
            // Nobody waits for a job that was ready before: these are all there are, and no larger than what was sent.
            for _ in 0..put {
                if matches!(self.serve_first(turn, &queue), None | Some(0)) {
                    break;
                }
            }
        }
    }

    /// Goes on where there was no room, as far as there is some. Who gets nothing stays before who got something.
    pub(super) fn serve_put_off(&mut self, turn: &mut Turn) {
        while let Some(queue) = self.waiters.next_put_off(turn.now) {
            if !self.serve(turn, &queue) {
                break;
            }
        }
    }

    /// Gives ready jobs of a queue to those who wait for them. Whether there was room for all of them.
    fn serve(&mut self, turn: &mut Turn, queue: &str) -> bool {
        turn.served.queues.push(queue.to_owned());
        while self.waiters.first(queue).is_some() {
            if let Err(again) = self.serve_rate.may_give(&self.around.unread, &turn.served, turn.now) {
                self.waiters.put_off(queue, again);
                return false;
            }
            match self.serve_first(turn, queue) {
                None => break,
                // It was put off.
                Some(0) => return true,
                Some(bytes) => {
                    turn.served.bytes += bytes;
                    self.serve_rate.gave(bytes);
                }
            }
        }
        self.waiters.put_off_no_more(queue);
        true
    }

    /// Gives ready jobs of a queue to who has waited longest. Answers how many bytes the reply has; 0 when it tells of
    /// a mistake, and `None` when nobody waits or there is no job.
    fn serve_first(&mut self, turn: &mut Turn, queue: &str) -> Option<usize> {
        let waiter = self.waiters.first(queue)?;
        let write = Write::QueueReserve(waiter.reserve.clone());
        let (ticket, uid, durable) = (waiter.ticket, waiter.uid, waiter.durable);
        let request = WriteRequest { write, durable, dry_run: false, idempotency: None };
        let before = turn.batch.events().len();
        let outcome = self.decide(turn, uid, request);
        if outcome.is_ok() && turn.batch.events().len() == before {
            return None;
        }
        if let Err(error) = &outcome {
            // The disk is full, and not for ever. Or the first job cannot be read, which one is told at a time.
            self.waiters.put_off(queue, turn.now + TIMER_AGAIN);
            if error.code() == Code::ReadOnly {
                return Some(0);
            }
        }
        self.waiters.take_first(queue);
        turn.durable |= durable;
        match outcome {
            Ok(outcome) => {
                let bytes = outcome.reply.len();
                turn.answers.say(ticket, &outcome.reply);
                self.spare = outcome;
                Some(bytes)
            }
            Err(error) => {
                turn.answers.refuse(ticket, error);
                Some(0)
            }
        }
    }

    /// What was given in a turn, or taken by others before those who wait, was not: the jobs are ready as before.
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
