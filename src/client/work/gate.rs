//! Gates: what opens once and for all, and can be waited for together with other things.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Closed until it is opened, and then open for ever.
pub struct Gate {
    open: AtomicBool,
    /// Both ends of a pair: when one is shut, the other can be read from, and all who wait wake.
    ends: (UnixStream, UnixStream),
}

/// How far a stop has come.
pub struct Stop {
    /// No new jobs are taken.
    pub no_more: Gate,
    /// What runs is killed.
    pub kill: Gate,
}

impl Gate {
    fn new() -> io::Result<Self> {
        Ok(Gate { open: AtomicBool::new(false), ends: UnixStream::pair()? })
    }

    /// Opens it.
    pub fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
        let _ = self.ends.0.shutdown(Shutdown::Both);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits so long, or until it is open. Whether it is.
    pub fn wait(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while !self.is_open() && Instant::now() < deadline {
            wait_for(&[self.as_fd()], deadline);
        }
        self.is_open()
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ends.1.as_fd()
    }
}

impl Stop {
    /// Nothing stops.
    ///
    /// # Errors
    /// The system has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Stop { no_more: Gate::new()?, kill: Gate::new()? })
    }
}

/// Waits until one of these can be read, or the deadline has come, or earlier. Which can.
pub fn wait_for(watched: &[BorrowedFd<'_>], deadline: Instant) -> Vec<bool> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    let watched = watched.iter().map(|descriptor| PollFd::from_borrowed_fd(*descriptor, PollFlags::IN));
    let mut watched: Vec<PollFd<'_>> = watched.collect();
    match poll(&mut watched, Some(&timeout)) {
        Ok(_) => {}
        Err(Errno::INTR) => return vec![false; watched.len()],
        // Nothing can be waited for; at least do not spin.
        Err(_) => std::thread::sleep(Duration::from_millis(10)),
    }
    watched.iter().map(|descriptor| !descriptor.revents().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_wakes_everyone_who_waits_and_stays_open() {
        let stop = Stop::new().unwrap();
        assert!(!stop.no_more.wait(Duration::from_millis(5)));
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..3).map(|_| scope.spawn(|| stop.no_more.wait(Duration::from_secs(30)))).collect();
            stop.no_more.open();
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        });
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(stop.no_more.wait(Duration::ZERO) && !stop.kill.is_open());
    }
}
