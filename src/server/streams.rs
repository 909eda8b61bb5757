//! Reads from and writes to a client's socket, which never waits.

use std::io::{self, IoSliceMut, Write};
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::time::Instant;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, recvmsg};

use super::connection::{Connection, Life};
use super::replies::KEPT_BYTES;

/// A client and its socket.
pub struct Client {
    /// The socket.
    pub stream: UnixStream,
    /// What it asked, and what is due to it.
    pub connection: Connection,
    /// Whether the kernel may have more to read.
    pub readable: bool,
    /// Whether the kernel is to say when it takes more.
    pub awaits_room: bool,
    /// Whether the end of what it sends has come, behind what is there to read.
    pub end_came: bool,
    /// What it held of the daemon's memory when it was last counted.
    pub counted: usize,
    /// How much of that was held though it did not get on, when that was last looked at.
    pub counted_stuck: usize,
    /// When it last took some of what it is sent and not all, or sent a good piece of a long line.
    pub moved: Instant,
    /// Since when a daemon that stops could send it nothing of what it has for it.
    pub stuck: Option<Instant>,
}

impl Client {
    /// A client that was let in. There may be something to read already.
    pub fn new(stream: UnixStream, connection: Connection) -> Self {
        Client {
            stream,
            connection,
            readable: true,
            awaits_room: false,
            end_came: false,
            counted: 0,
            counted_stuck: 0,
            moved: Instant::now(),
            stuck: None,
        }
    }

    /// Nothing more can be sent to it: it sees the end. What it sent before is still there to be read.
    pub fn cut_off(&mut self) {
        self.connection.leave();
        let _ = self.stream.shutdown(Shutdown::Both);
        (self.readable, self.end_came) = (true, true);
    }

    /// Whether it sends no more, behind what is there to read. That may not have been told yet.
    pub fn has_ended(&self) -> bool {
        let mut waited = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        matches!(poll(&mut waited, Some(&Timespec::default())), Ok(1))
    }

    /// Whether it held too much: it gets the rest of a line, and why, and no more.
    pub fn is_dropped(&self) -> bool {
        let Connection { life, abandoned, .. } = &self.connection;
        *life == Life::Closing && abandoned.load(Ordering::Relaxed)
    }

    /// Whether there is nothing to do for it but to send replies.
    pub fn is_idle(&self) -> bool {
        let Connection { lines, held, life, follower, gone, ended, .. } = &self.connection;
        let open = *life == Life::Open && !gone && !ended;
        open && !self.readable
            && !self.awaits_room
            && lines.held() == 0
            && held.is_none()
            && follower.is_none()
    }
}

/// Reads once.
pub fn read_once(client: &mut Client, buffer: &mut [u8]) {
    let most = client.connection.read_bytes().min(buffer.len());
    // Descriptors that come along are not taken: the kernel closes them, and says that it did.
    let received = recvmsg(
        &client.stream,
        &mut [IoSliceMut::new(&mut buffer[..most])],
        &mut RecvAncillaryBuffer::default(),
        RecvFlags::empty(),
    );
    match received.map(|received| (received.bytes, received.flags)) {
        Ok((0, _)) => {
            client.readable = false;
            client.connection.ended = true;
            if client.connection.stopping {
                client.connection.lines.drop_unfinished();
            } else {
                client.connection.lines.end();
            }
        }
        Ok((count, flags)) => {
            // A stream that gave less than was asked for has no more (epoll(7)), but for its end: what comes
            // later is another event. Only behind bytes that descriptors were sent with a read ends, too.
            let more = count == most || flags.contains(ReturnFlags::CTRUNC);
            client.readable = more || client.end_came;
            if client.connection.life == Life::Open {
                let before = client.connection.lines.held();
                client.connection.lines.push(&buffer[..count]);
                // Byte by byte is no way to get on.
                if client.connection.lines.held() / KEPT_BYTES > before / KEPT_BYTES {
                    client.moved = Instant::now();
                }
            }
        }
        Err(Errno::INTR) => {}
        Err(error) => {
            client.readable = false;
            if error != Errno::AGAIN {
                client.connection.ended = true;
                client.connection.leave();
                client.connection.lines.end();
            }
        }
    }
}

/// Sends what the kernel takes. Answers whether it took anything.
pub fn send(client: &mut Client) -> bool {
    let mut sent = false;
    if client.connection.gone {
        // Nobody reads it; what was asked is still done.
        client.connection.replies.abandon_output();
    }
    while !client.connection.replies.output().is_empty() && !client.connection.gone {
        match client.stream.write(client.connection.replies.output()) {
            Ok(count) => {
                client.connection.replies.sent(count);
                sent = true;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // It reads no more, of its own accord, and may go on asking.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => client.connection.leave(),
            Err(_) => client.cut_off(),
        }
    }
    if sent && !client.connection.replies.output().is_empty() {
        client.moved = Instant::now();
    }
    sent
}

/// Has the kernel say when it takes more, if it did not take all; and only then: else it would say so every time
/// that a client has read a reply, and wake the event loop for nothing.
///
/// # Errors
/// What the system says.
pub fn await_room(client: &mut Client, left: bool, registry: &Registry, token: Token) -> io::Result<()> {
    if left == client.awaits_room {
        return Ok(());
    }
    client.awaits_room = left;
    let interest = if left { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
    registry.reregister(&mut client.stream, token, interest)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream as StdStream;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::limits::Limits;
    use crate::server::access::Rights;

    /// A client whose socket takes only so much at once, and its own end.
    fn client() -> (Client, StdStream) {
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::NONBLOCK, None);
        let (ours, its) = pair.expect("two sockets");
        let stream = UnixStream::from_std(StdStream::from(ours));
        (Client::new(stream, Connection::new(1, 0, Rights::ALL, &Limits::default())), StdStream::from(its))
    }

    #[test]
    fn a_client_that_cannot_be_sent_to_sees_the_end_and_what_it_sent_before_is_read() {
        let (mut client, mut its) = client();
        its.write_all(b"{\"cmd\":\"ping\"}\n").expect("room");
        // A packet of this length is refused, and not for want of room now.
        client.connection.replies.push(&vec![b' '; 16 << 20]);
        assert!(!send(&mut client) && client.connection.gone);
        assert_eq!(its.read(&mut [0; 16]).expect("the end"), 0);
        let mut buffer = vec![0; 1 << 10];
        while client.readable {
            read_once(&mut client, &mut buffer);
        }
        let Connection { lines, ended, .. } = &client.connection;
        assert!(*ended && lines.held() > 0, "{lines:?}");
    }

    #[test]
    fn a_client_that_only_reads_no_more_is_read_on() {
        let (ours, mut its) = StdStream::pair().expect("two sockets");
        ours.set_nonblocking(true).expect("a socket");
        let connection = Connection::new(1, 0, Rights::ALL, &Limits::default());
        let mut client = Client::new(UnixStream::from_std(ours), connection);
        its.shutdown(Shutdown::Read).expect("a socket");
        client.connection.replies.push(b"{}\n");
        assert!(!send(&mut client) && client.connection.gone);
        its.write_all(b"{\"cmd\":\"ping\"}\n").expect("it may still ask");
        read_once(&mut client, &mut [0; 64]);
        assert!(!client.connection.ended && client.connection.lines.held() > 0);
    }
}
