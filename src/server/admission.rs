//! Who is let in: connections come here, and those are turned away whom an access rule or a bound leaves out.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::Shutdown;
use std::path::Path;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use mio::net::{UnixListener, UnixStream};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::access::Rights;
use super::router::Router;
use crate::error::{Code, Error};
use crate::protocol::reply::write_error;
use crate::stats::Stats;
use crate::storage;

/// Clients that are let in, or turned away, in one turn: more may come at any time, and others are to be served.
const ACCEPTS_A_TURN: usize = 64;
/// Pause after the system would give no more descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A shortage that lasts, or comes again and again, is told again after this.
const TOLD_EVERY: Duration = Duration::from_mins(1);
/// How long the socket of a client that was not let in stays, and how many of them.
const TURNED_AWAY: Duration = Duration::from_secs(1);
const TURNED_AWAY_MAX: usize = 64;

/// A client that is let in.
pub struct Admitted {
    /// Its socket.
    pub stream: UnixStream,
    /// The user behind it, as the kernel attests it.
    pub uid: u32,
    /// What that user may do.
    pub rights: Rights,
}

/// The listening socket, and whom it brought.
pub struct Admission {
    listener: UnixListener,
    /// When to accept next: somebody came, or a shortage may be over.
    again: Option<Instant>,
    /// When the operator was told that somebody cannot be let in.
    shortage_told: Option<Instant>,
    per_uid: HashMap<u32, usize>,
    /// Clients that were not let in, and until when their sockets stay.
    turned_away: VecDeque<(Instant, UnixStream)>,
}

impl Admission {
    /// Through this socket.
    #[must_use]
    pub fn new(listener: UnixListener) -> Self {
        let (per_uid, turned_away) = (HashMap::new(), VecDeque::new());
        Admission { listener, again: None, shortage_told: None, per_uid, turned_away }
    }

    /// The socket itself.
    pub fn listener(&mut self) -> &mut UnixListener {
        &mut self.listener
    }

    /// The system says that somebody is there; it says so only once.
    pub fn somebody_came(&mut self) {
        self.again = Some(Instant::now());
    }

    /// Whether to accept now.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.again.is_some_and(|again| again <= now)
    }

    /// When there is something to do next.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let turned_away = self.turned_away.front().map(|(until, _)| *until);
        self.again.into_iter().chain(turned_away).min()
    }

    /// Leaves the sockets of those who were turned away long enough ago.
    pub fn leave_turned_away(&mut self, now: Instant) {
        while self.turned_away.front().is_some_and(|(until, _)| *until <= now) {
            self.turned_away.pop_front();
        }
    }

    /// Lets in who waits, as many as may come in a turn, where so many are there already.
    pub fn accept(&mut self, router: &Router, open: usize) -> Vec<Admitted> {
        let mut admitted = Vec::new();
        self.again = None;
        for _ in 0..ACCEPTS_A_TURN {
            match self.listener.accept() {
                Ok((stream, _)) => admitted.extend(self.admit(router, stream, open + admitted.len())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return admitted,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.note_shortage(&error);
                    return admitted;
                }
            }
        }
        self.somebody_came();
        admitted
    }

    /// Out of descriptors or memory: those who wait are let in when there is room.
    fn note_shortage(&mut self, error: &io::Error) {
        self.again = Some(Instant::now() + ACCEPT_PAUSE);
        let why = storage::explained(Path::new(""), error);
        self.tell_shortage(&format!("connections cannot be accepted, and wait: {why}"));
    }

    fn tell_shortage(&mut self, line: &str) {
        let now = Instant::now();
        if self.shortage_told.is_none_or(|told| told + TOLD_EVERY <= now) {
            self.shortage_told = Some(now);
            crate::report::warning(line);
        }
    }

    /// A client that was admitted cannot be served, as the system does not watch its socket.
    pub fn cannot_watch(&mut self, stats: &Stats, admitted: Admitted, error: &io::Error) {
        let why = format!("the system watches no more sockets: {error}");
        self.left(admitted.uid);
        self.turn_away(stats, admitted.stream, &Error::new(Code::Busy, format!("{why}; try again later")));
        self.tell_shortage(&format!("connections are turned away: {why} (see fs.epoll.max_user_watches)"));
    }

    fn admit(&mut self, router: &Router, stream: UnixStream, open: usize) -> Option<Admitted> {
        let limits = &router.identity.limits;
        let Ok(peer) = getsockopt(&stream, PeerCredentials) else { return None };
        let (uid, access) = (peer.uid(), &router.identity.access);
        // Of a process in a container that is not seen from here the number is 0, and the groups are not known.
        let peer = match access.peer(peer.pid(), uid, peer.gid()) {
            Ok(peer) => peer,
            Err(error) => {
                let message = format!("the groups of process {} cannot be read now: {error}", peer.pid());
                self.turn_away(&router.stats, stream, &Error::new(Code::Busy, message));
                return None;
            }
        };
        let Some(rights) = access.rights(&peer, router.identity.uid) else {
            let message = format!("user {uid} may not connect: see --allow-uid and --allow-gid");
            self.turn_away(&router.stats, stream, &Error::new(Code::Forbidden, message));
            return None;
        };
        let of_uid = self.per_uid.get(&uid).copied().unwrap_or(0);
        let refusal = if open >= limits.connections {
            Some(format!("{open} connections are open: try again later"))
        } else if of_uid >= limits.connections_per_uid {
            Some(format!("user {uid} has {of_uid} connections open: try again later"))
        } else {
            None
        };
        if let Some(message) = refusal {
            self.turn_away(&router.stats, stream, &Error::new(Code::Busy, message));
            return None;
        }
        self.per_uid.insert(uid, of_uid + 1);
        Some(Admitted { stream, uid, rights })
    }

    /// Tells a client that is not let in why. Its socket stays for a moment: a client that writes
    /// before it reads would otherwise fail, and never see why.
    fn turn_away(&mut self, stats: &Stats, mut stream: UnixStream, error: &Error) {
        stats.connections_refused.add(1);
        let mut line = Vec::new();
        write_error(&mut line, None, error);
        // It fits the empty buffer of a new socket; a client that is gone needs no answer.
        let _ = stream.write(&line);
        let _ = stream.shutdown(Shutdown::Write);
        if self.turned_away.len() >= TURNED_AWAY_MAX {
            self.turned_away.pop_front();
        }
        self.turned_away.push_back((Instant::now() + TURNED_AWAY, stream));
    }

    /// A client of this user that was let in is there no more.
    pub fn left(&mut self, uid: u32) {
        if let Some(count) = self.per_uid.get_mut(&uid) {
            *count -= 1;
            if *count == 0 {
                self.per_uid.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};

    use super::*;

    #[test]
    fn a_client_whose_socket_the_system_does_not_watch_is_told_so_and_counts_as_refused() {
        let path = std::env::temp_dir().join(format!("msglogd-test-admission-{}", std::process::id()));
        let listener = UnixListener::from_std(StdListener::bind(&path).expect("a socket"));
        std::fs::remove_file(&path).expect("it is ours");
        let (mut admission, stats) = (Admission::new(listener), Stats::default());
        let (ours, mut its) = StdStream::pair().expect("two sockets");
        ours.set_nonblocking(true).expect("a socket");
        admission.per_uid.insert(7, 1);
        let admitted = Admitted { stream: UnixStream::from_std(ours), uid: 7, rights: Rights::ALL };
        let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        admission.cannot_watch(&stats, admitted, &full);
        let mut said = String::new();
        its.read_to_string(&mut said).expect("a line and the end");
        assert!(said.contains("\"error\":\"busy\"") && said.contains("watches no more"), "{said}");
        assert_eq!((stats.connections_accepted.get(), stats.connections_refused.get()), (0, 1));
        assert!(admission.per_uid.is_empty() && admission.shortage_told.is_some());
        // One leaves and another comes: each time is no line of its own.
        let told = admission.shortage_told;
        admission.note_shortage(&full);
        assert_eq!(admission.shortage_told, told);
    }
}
