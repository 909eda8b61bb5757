//! A client for msglogd: one JSON object a line, replies in the order of the requests.

use std::io::{BufRead, BufReader, Error, Result, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

struct Msglog(BufReader<UnixStream>);

impl Msglog {
    fn connect(path: &str) -> Result<Self> {
        UnixStream::connect(path).map(|stream| Msglog(BufReader::new(stream)))
    }

    /// Sends all requests, then reads all replies. Some thousand at a time are a good measure.
    fn send_ahead(&mut self, requests: &[Value]) -> Result<Vec<Value>> {
        let lines: String = requests.iter().flat_map(|request| [request.to_string(), "\n".into()]).collect();
        self.0.get_mut().write_all(lines.as_bytes())?;
        requests.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(Error::other)
    }
}

fn main() -> Result<()> {
    let path = std::env::var("MSGLOG_SOCKET").map_err(|_| Error::other("set MSGLOG_SOCKET"))?;
    let mut msglog = Msglog::connect(&path)?;
    let set = |number| json!({"cmd": "kv.set", "key": format!("example/rust/{number}"), "value": number});
    let replies = msglog.send_ahead(&(0..1000).map(set).collect::<Vec<_>>())?;
    println!("set {}", replies.iter().filter(|reply| reply["ok"] == true).count());
    println!("{}", msglog.send_ahead(&[json!({"cmd": "kv.get", "key": "example/rust/999"})])?[0]["value"]);
    Ok(())
}
