//! Whoever runs the daemon, systemd as a rule: asks it to stop or to reload, and hears that it lives.
//!
//! A pulse goes from the event loop through the writer's inbox, as a request does, and back. Only
//! when it is back is the supervisor told, so it hears nothing once the loop or the writer hangs. Where there is none
//! a pulse goes, too: the writer then looks whether its log is still in its place.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What the supervisor is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The event loop and the writer have both moved.
    Alive,
    /// A reload has begun.
    Reloading,
    /// The reload is over, and the event loop and the writer have both moved since it began.
    Reloaded,
    /// A stop has begun.
    Stopping,
}

/// The supervisor, as the event loop knows it.
pub struct Supervision {
    /// Becomes readable when the daemon is to stop.
    pub stop: UnixStream,
    /// Becomes readable when the daemon is to reload.
    pub reload: UnixStream,
    /// How often it wants to hear of the daemon, when it does.
    pub every: Option<Duration>,
    /// Tells it something.
    pub tell: Box<dyn Fn(News)>,
}

/// How often a pulse is sent where nobody wants to hear of it.
const UNHEARD_EVERY: Duration = Duration::from_secs(10);

/// When pulses are sent, and what is told when they are back.
#[derive(Debug, Default)]
pub struct Pulse {
    /// When the next one is sent; nothing while one is on its way.
    due: Option<Instant>,
    on_its_way: bool,
    /// A reload is to be told of when a pulse that was sent after it began is back.
    reload: Option<Reload>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reload {
    /// The pulse on its way is older.
    Asked,
    Sent,
}

impl Pulse {
    /// The first one is sent at `due`.
    #[must_use]
    pub fn first(due: Instant) -> Self {
        Pulse { due: Some(due), ..Pulse::default() }
    }

    /// When the loop must be awake to send the next one.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A reload was asked for: the next pulse is sent at once.
    pub fn reload(&mut self, now: Instant) {
        self.reload = Some(Reload::Asked);
        if !self.on_its_way {
            self.due = Some(now);
        }
    }

    /// Whether one is to be sent now; then it is on its way.
    pub fn send(&mut self, now: Instant) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        self.due = None;
        self.on_its_way = true;
        self.reload = self.reload.map(|_| Reload::Sent);
        true
    }

    /// One is back: what is told to a supervisor that wants to hear of the daemon `every` so often, and the next is due
    /// after that.
    pub fn is_back(&mut self, now: Instant, every: Option<Duration>) -> Option<News> {
        self.on_its_way = false;
        self.due = Some(now + every.unwrap_or(UNHEARD_EVERY));
        match self.reload {
            Some(Reload::Sent) => {
                self.reload = None;
                return Some(News::Reloaded);
            }
            Some(Reload::Asked) => self.due = Some(now),
            None => {}
        }
        every.map(|_| News::Alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Option<Duration> = Some(Duration::from_secs(10));

    #[test]
    fn a_pulse_is_sent_when_it_is_due_and_never_a_second_one_while_it_is_on_its_way() {
        let start = Instant::now();
        let mut pulse = Pulse::first(start);
        assert!(pulse.send(start) && !pulse.send(start + Duration::from_secs(99)));
        assert_eq!(pulse.due(), None);
        assert_eq!(pulse.is_back(start, EVERY), Some(News::Alive));
        assert!(!pulse.send(start) && pulse.send(start + Duration::from_secs(10)));
    }

    #[test]
    fn a_reload_is_over_when_a_pulse_is_back_that_was_sent_after_it_began() {
        let now = Instant::now();
        let mut pulse = Pulse::first(now);
        assert!(pulse.send(now));
        pulse.reload(now);
        assert!(!pulse.send(now), "one is on its way");
        assert_eq!(pulse.is_back(now, EVERY), Some(News::Alive));
        assert!(pulse.send(now));
        assert_eq!(pulse.is_back(now, EVERY), Some(News::Reloaded));
        assert_eq!(pulse.due(), Some(now + Duration::from_secs(10)));
    }

    #[test]
    fn where_nobody_asks_pulses_are_sent_and_only_a_reload_is_told_of() {
        let now = Instant::now();
        let mut pulse = Pulse::first(now);
        assert!(pulse.send(now));
        assert_eq!((pulse.is_back(now, None), pulse.due()), (None, Some(now + UNHEARD_EVERY)));
        pulse.reload(now);
        assert!(pulse.send(now));
        assert_eq!(
            (pulse.is_back(now, None), pulse.due()),
            (Some(News::Reloaded), Some(now + UNHEARD_EVERY))
        );
    }
}
