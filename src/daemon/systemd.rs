//! What systemd is told, as `sd_notify(3)` has it. Where no systemd listens nothing happens.
//!
//! Nothing here can fail the daemon, or hold it up: a message that does not arrive is systemd's to miss.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use sd_notify::NotifyState;

use super::Exit;
use super::threads::spawn;
use crate::report;
use crate::server::supervision::News;
use crate::snapshot::Published;
use crate::stats::Stats;

/// A start that gives no sign for so long may be given up. It gives one each second, unless the disk does not answer.
const START_PATIENCE_US: u32 = 120_000_000;

/// How often systemd wants to hear that the daemon lives: three times in its `WatchdogSec=`.
#[must_use]
pub fn watchdog_every() -> Option<Duration> {
    let every = sd_notify::watchdog_enabled()?.checked_div(3)?;
    (every > Duration::ZERO).then_some(every)
}

/// The start gets on, and may take longer.
pub fn starting(status: &str) {
    tell(&[NotifyState::Status(&one_line(status)), NotifyState::ExtendTimeoutUsec(START_PATIENCE_US)]);
}

/// The start is done: clients are served.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// What is told while the daemon serves. A reload reads nothing again, for there is nothing to read:
/// options come with the start. It shows that the daemon moves, and what it holds.
pub fn teller(published: Arc<Published>, stats: Arc<Stats>) -> Box<dyn Fn(News)> {
    Box::new(move |news| {
        let status = || status(&published, &stats);
        match news {
            News::Alive => tell(&[NotifyState::Watchdog, NotifyState::Status(&status())]),
            News::Reloading => match NotifyState::monotonic_usec_now() {
                Ok(now) => tell(&[NotifyState::Reloading, now]),
                Err(_) => tell(&[NotifyState::Reloading]),
            },
            News::Stopping => {
                let status = "answering what was asked, and syncing";
                tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
            }
            News::Reloaded => {
                let status = status();
                report::notice(&format!("reload: {status}; options are read at a start only"));
                tell(&[NotifyState::Ready, NotifyState::Watchdog, NotifyState::Status(&status)]);
            }
        }
    })
}

/// What `systemctl status` shows of a daemon that serves.
fn status(published: &Published, stats: &Stats) -> String {
    let events = published.load().last;
    let connections = stats.connections_open.get();
    let read_only = if stats.is_broken() { "READ-ONLY until a restart: " } else { "" };
    format!("{read_only}{events} events, {connections} connections")
}

/// Where messages go to whoever tells them: a systemd that does not read would hold up all others.
static TO_TELLER: OnceLock<Sender<String>> = OnceLock::new();
/// Messages that may wait for it; what comes then is dropped.
const WAITING: usize = 64;
/// How long the end of the daemon waits for what it is still to be told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tells all that was said, when it is dropped, or gives up.
pub struct Telling(Receiver<()>);

impl Drop for Telling {
    fn drop(&mut self) {
        // An empty message is the last.
        if TO_TELLER.get().is_some_and(|teller| teller.try_send(String::new()).is_ok()) {
            let _ = self.0.recv_timeout(PATIENCE);
        }
    }
}

/// From now on a thread of its own tells it.
///
/// # Errors
/// `Exit::Io`.
pub fn tell_aside() -> Result<Telling, Exit> {
    let (teller, messages) = bounded::<String>(WAITING);
    let (told, is_told) = bounded(1);
    spawn("teller", move || {
        for message in messages.iter().take_while(|message| !message.is_empty()) {
            let _ = sd_notify::notify(&[NotifyState::Custom(&message)]);
        }
        let _ = told.send(());
    })?;
    let _ = TO_TELLER.set(teller);
    Ok(Telling(is_told))
}

fn tell(state: &[NotifyState<'_>]) {
    let Some(teller) = TO_TELLER.get() else { return };
    let fields: Vec<String> = state.iter().map(ToString::to_string).collect();
    let _ = teller.try_send(fields.join("\n"));
}

/// A line feed would end the message's field.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
