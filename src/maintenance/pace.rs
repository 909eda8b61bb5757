//! How fast maintenance may go: breaks, a rest after each piece, and an end when the daemon stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::courtesy::{Breaks, Courtesy};
use crate::error::{Code, Error, Result};
use crate::log::recovery::{Failure, Found};
use crate::log::segment::Segment;

/// Bytes between two rests.
const PIECE_BYTES: u64 = 1 << 20;
/// Longest rest, where a slow disk made a piece take long.
const REST_MAX: Duration = Duration::from_millis(50);

/// The pace of one piece of work.
pub struct Pace {
    /// `None`: nobody else is waiting, and nothing stops it.
    stopping: Option<Arc<AtomicBool>>,
    since: Instant,
    bytes: u64,
    breaks: Breaks,
    watcher: Option<Watcher>,
}

/// Who is told of bytes as they are read and written.
type Watcher = Box<dyn FnMut(u64) + Send>;

impl Pace {
    /// Rests as long as it works, so that the disk has time for others.
    #[must_use]
    pub fn polite(stopping: Arc<AtomicBool>) -> Self {
        Pace { stopping: Some(stopping), breaks: Courtesy::of_patience().begin(), ..Pace::full() }
    }

    /// Goes as fast as it can, for a program that does nothing else.
    #[must_use]
    pub fn full() -> Self {
        let breaks = Courtesy::default().begin();
        Pace { stopping: None, since: Instant::now(), bytes: 0, breaks, watcher: None }
    }

    /// Tells someone of bytes as they are read and written, for people who wait.
    #[must_use]
    pub fn watched_by(self, watcher: impl FnMut(u64) + Send + 'static) -> Self {
        Pace { watcher: Some(Box::new(watcher)), ..self }
    }

    /// Notes that so many bytes were read or written, and rests when it is time.
    ///
    /// # Errors
    /// `shutting_down`.
    pub fn moved(&mut self, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        if let Some(watcher) = &mut self.watcher {
            watcher(bytes);
        }
        self.breaks.take_if_due();
        if self.bytes < PIECE_BYTES {
            return Ok(());
        }
        self.check()?;
        self.bytes = 0;
        if self.stopping.is_some() {
            std::thread::sleep(self.since.elapsed().min(REST_MAX));
        }
        self.since = Instant::now();
        Ok(())
    }

    /// Notes that an event was read from a segment.
    ///
    /// # Errors
    /// `Io` where [`Pace::check`] says why it may not go on.
    pub fn read(&mut self, segment: &Segment, event: &Found<'_>) -> std::result::Result<(), Failure> {
        self.moved(event.json.len() as u64).map_err(|error| Failure::Io {
            path: segment.path.clone(),
            error: std::io::Error::other(error.to_string()),
        })
    }

    /// Whether it may go on.
    ///
    /// # Errors
    /// `shutting_down`.
    pub fn check(&self) -> Result<()> {
        match &self.stopping {
            Some(stopping) if stopping.load(Ordering::Relaxed) => {
                Err(Error::new(Code::ShuttingDown, "the daemon is stopping: the work was given up"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_on_until_the_daemon_stops() {
        let stopping = Arc::new(AtomicBool::new(false));
        let mut pace = Pace::polite(Arc::clone(&stopping));
        assert_eq!(pace.moved(PIECE_BYTES), Ok(()));
        stopping.store(true, Ordering::Relaxed);
        assert_eq!(pace.moved(PIECE_BYTES).map_err(|error| error.code()), Err(Code::ShuttingDown));
        assert_eq!(Pace::full().moved(PIECE_BYTES), Ok(()));
        let (tell, told) = std::sync::mpsc::channel();
        let mut watched = Pace::full().watched_by(move |bytes| tell.send(bytes).unwrap());
        assert_eq!((watched.moved(7), told.recv()), (Ok(()), Ok(7)));
    }
}
