//! What the event loop has for the writer. Requests go in parcels, a few a turn of the loop, so that
//! one wake-up and one batch serve many.

use std::cell::RefCell;

use crossbeam_channel::Sender;

use crate::limits::{PARCEL_BYTES, PARCEL_REQUESTS};
use crate::writer::{Asked, ToWriter};

/// The way to the writer; used by the event loop alone.
pub struct Outbox {
    sender: Sender<ToWriter>,
    parcel: RefCell<Parcel>,
}

#[derive(Default)]
struct Parcel {
    requests: Vec<Asked>,
    bytes: usize,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(sender: Sender<ToWriter>) -> Self {
        Outbox { sender, parcel: RefCell::default() }
    }

    /// Puts a request into the parcel; a full one goes at once.
    pub fn ask(&self, asked: Asked) {
        let mut parcel = self.parcel.borrow_mut();
        parcel.bytes += asked.bytes;
        parcel.requests.push(asked);
        if parcel.requests.len() >= PARCEL_REQUESTS || parcel.bytes >= PARCEL_BYTES {
            drop(parcel);
            self.flush();
        }
    }

    /// Sends the parcel. The loop must do this before it sleeps.
    pub fn flush(&self) {
        let Parcel { requests, .. } = self.parcel.take();
        if !requests.is_empty() {
            // When the writer is gone the daemon is stopping.
            let _ = self.sender.send(ToWriter::Requests(requests));
        }
    }

    /// Tells the writer something, behind all that was asked before.
    pub fn tell(&self, message: ToWriter) {
        self.flush();
        let _ = self.sender.send(message);
    }
}
