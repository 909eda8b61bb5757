//! The signals that the daemon heeds: SIGTERM and SIGINT to stop, SIGHUP to reload; SIGXFSZ is passed over.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level::pipe};

use super::Exit;

/// The signals that the daemon heeds.
pub struct Signals {
    /// Becomes readable when SIGTERM or SIGINT comes.
    pub stop: UnixStream,
    /// Becomes readable when SIGHUP comes.
    pub reload: UnixStream,
    /// While this is set, as it is at first, SIGTERM and SIGINT end the start at once: nobody waits for an answer, and
    /// whatever it had written is as good as after a crash.
    pub starting: Arc<AtomicBool>,
}

impl Signals {
    /// Heeds them from now on.
    ///
    /// # Errors
    /// `Exit::Io`.
    pub fn watch() -> Result<Self, Exit> {
        let failed = |error: io::Error| Exit::Io(format!("signals cannot be watched: {error}"));
        let (stop, to_stop) = UnixStream::pair().map_err(failed)?;
        let (reload, to_reload) = UnixStream::pair().map_err(failed)?;
        let starting = Arc::new(AtomicBool::new(true));
        for signal in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&starting)).map_err(failed)?;
            pipe::register(signal, to_stop.try_clone().map_err(failed)?).map_err(failed)?;
        }
        pipe::register(SIGHUP, to_reload).map_err(failed)?;
        // A file that may not grow is told of by the write itself, as a full disk is.
        flag::register(SIGXFSZ, Arc::default()).map_err(failed)?;
        Ok(Signals { stop, reload, starting })
    }
}
