//! A client: one connection that sends and reads lines.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::reply::short;
use super::{PATIENCE, Reply, assert_error, assert_field, assert_ok};

/// One connection to a daemon.
pub struct Client {
    reader: BufReader<UnixStream>,
    sent: VecDeque<String>,
}

impl Client {
    /// Connects.
    pub fn connect(socket: &Path) -> std::io::Result<Client> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { reader: BufReader::new(stream), sent: VecDeque::new() })
    }

    /// Sends a request and reads its reply.
    #[track_caller]
    pub fn ask(&mut self, request: impl Into<Value>) -> Reply {
        self.send(request);
        self.read()
    }

    /// Sends one line as it is and reads its reply.
    #[track_caller]
    pub fn ask_raw(&mut self, line: impl AsRef<[u8]>) -> Reply {
        self.send_line(line);
        self.read()
    }

    /// Sends a request that must succeed.
    #[track_caller]
    pub fn ok(&mut self, request: impl Into<Value>) -> Reply {
        let reply = self.ask(request);
        assert_ok(&reply);
        reply
    }

    /// Sends a request that must fail with this code.
    #[track_caller]
    pub fn refused(&mut self, request: impl Into<Value>, code: &str) -> Reply {
        let reply = self.ask(request);
        assert_error(&reply, code);
        reply
    }

    /// Sends a request that must fail with `bad_request` over this argument.
    #[track_caller]
    pub fn refused_field(&mut self, request: impl Into<Value>, field: &str) -> Reply {
        let reply = self.ask(request);
        assert_field(&reply, field);
        reply
    }

    /// The last event's `seq`.
    #[track_caller]
    pub fn last_seq(&mut self) -> u64 {
        self.ok(serde_json::json!({"cmd": "ping"})).seq()
    }

    /// Sends a request without reading its reply.
    #[track_caller]
    pub fn send(&mut self, request: impl Into<Value>) {
        self.send_line(request.into().to_string());
    }

    /// Sends one line without reading its reply.
    #[track_caller]
    pub fn send_line(&mut self, line: impl AsRef<[u8]>) {
        let mut bytes = line.as_ref().to_vec();
        self.sent.push_back(short(&String::from_utf8_lossy(&bytes)));
        bytes.push(b'\n');
        self.send_bytes(bytes);
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).expect("the daemon takes bytes");
    }

    /// Sends bytes to a daemon that may have closed; nothing when it has.
    pub fn try_send(&mut self, bytes: &str) -> Option<()> {
        self.reader.get_mut().write_all(bytes.as_bytes()).ok()
    }

    /// Sends all requests ahead while it reads the replies, one for each.
    #[track_caller]
    pub fn pipeline(&mut self, requests: &[Value]) -> Vec<Reply> {
        let mut stream = self.stream();
        let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
        std::thread::scope(|scope| {
            scope.spawn(move || stream.write_all(lines.as_bytes()).expect("the daemon takes bytes"));
            self.sent.extend(requests.iter().map(Value::to_string));
            requests.iter().map(|_| self.read()).collect()
        })
    }

    /// Reads one reply; the end of the connection fails the test.
    #[track_caller]
    pub fn read(&mut self) -> Reply {
        let request = self.sent.pop_front().unwrap_or_else(|| "(unknown)".into());
        let Some(text) = self.line() else { panic!("the connection ended\n  request: {request}") };
        Reply::parse(request, text)
    }

    /// Reads one reply that must be a success.
    #[track_caller]
    pub fn read_ok(&mut self) -> Reply {
        let reply = self.read();
        assert_ok(&reply);
        reply
    }

    /// Reads one line, without its line feed; nothing when the connection has ended.
    #[track_caller]
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no line came: {error}\n  waiting requests: {:?}", self.sent.front()),
        }
        if line.is_empty() {
            return None;
        }
        assert_eq!(line.pop(), Some(b'\n'), "a line without its end: {}", String::from_utf8_lossy(&line));
        Some(String::from_utf8(line).expect("replies are UTF-8"))
    }

    /// Reads every line until the daemon closes.
    #[track_caller]
    pub fn lines_to_the_end(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Reads what a killed daemon has left: every whole line.
    pub fn whole_lines_to_the_end(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        let _ = self.reader.read_to_end(&mut rest);
        let end = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        String::from_utf8_lossy(&rest[..end]).lines().map(str::to_owned).collect()
    }

    /// Says that no more requests come.
    pub fn half_close(&mut self) {
        self.reader.get_ref().shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// Closes the connection at this moment. Dropping it would do so only when the last copy of the socket
    /// goes: a child that another test starts just now has one until it is a program of its own.
    pub fn close(self) {
        self.reader.get_ref().shutdown(Shutdown::Both).expect("the socket is open");
    }

    /// The daemon has closed the connection, and nothing was left to read.
    #[track_caller]
    pub fn assert_closed(&mut self) {
        let rest = self.line();
        assert!(rest.is_none(), "the connection is open and says {rest:?}");
    }

    /// The same socket, once more.
    pub fn stream(&self) -> UnixStream {
        self.reader.get_ref().try_clone().expect("a socket can be shared")
    }
}
