//! How the writer waits for the next request: awake for a moment, where that paid lately.
//!
//! A client that sends one request at a time sends the next some 30 us after the reply. A core that went
//! to sleep meanwhile takes about half as long to wake up, and whoever wakes it has to ask the kernel.

use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::ToWriter;

/// How long to stay awake at most.
const AWAKE: Duration = Duration::from_micros(50);

/// Knows whether to stay awake.
#[derive(Debug)]
pub(super) struct Patience {
    /// Whether there is a core for it that others do not need.
    has_core: bool,
    /// Whether the last request came soon.
    came_soon: bool,
    began: Option<Instant>,
}

impl Patience {
    pub(super) fn new() -> Self {
        let has_core = available_parallelism().is_ok_and(|cores| cores.get() > 1);
        Patience { has_core, came_soon: false, began: None }
    }

    /// A wait begins, behind a turn of so many requests. Stays awake for the next one if that pays: behind one
    /// of many others, who come at any time, need the core.
    pub(super) fn stay_awake(&mut self, inbox: &Receiver<ToWriter>, requests: usize) -> Option<ToWriter> {
        self.began = None;
        if !self.has_core || requests != 1 {
            return None;
        }
        let began = Instant::now();
        self.began = Some(began);
        while self.came_soon {
            if let Ok(message) = inbox.try_recv() {
                return Some(message);
            }
            self.came_soon = began.elapsed() < AWAKE;
            std::hint::spin_loop();
        }
        None
    }

    /// A message came behind a sleep.
    pub(super) fn woke_up(&mut self) {
        self.came_soon = self.began.is_some_and(|began| began.elapsed() < AWAKE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::unbounded;

    fn patience() -> Patience {
        Patience { has_core: true, came_soon: true, began: None }
    }

    #[test]
    fn who_comes_soon_finds_the_writer_awake_and_who_does_not_lets_it_sleep() {
        let (sender, inbox) = unbounded();
        let mut patience = patience();
        sender.send(ToWriter::Stop).expect("it is there");
        assert!(patience.stay_awake(&inbox, 1).is_some() && patience.came_soon);
        assert!(patience.stay_awake(&inbox, 1).is_none() && !patience.came_soon, "nobody came in time");
        sender.send(ToWriter::Stop).expect("it is there");
        assert!(patience.stay_awake(&inbox, 1).is_none(), "it did not pay the last time");
    }

    #[test]
    fn nobody_stays_awake_behind_many_requests_or_on_the_only_core() {
        let (sender, inbox) = unbounded();
        sender.send(ToWriter::Stop).expect("it is there");
        assert!([0, 2, 64].iter().all(|requests| patience().stay_awake(&inbox, *requests).is_none()));
        assert!(Patience { has_core: false, ..patience() }.stay_awake(&inbox, 1).is_none());
        let mut slept = patience();
        slept.stay_awake(&inbox, 64);
        slept.woke_up();
        assert!(!slept.came_soon, "nobody knows how long it slept");
    }
}
