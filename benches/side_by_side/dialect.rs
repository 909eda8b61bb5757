//! How each server is asked, and how its replies read.

use memchr::memchr;

use crate::cells::Peer;
use crate::texts::{Texts, key};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    Post(u64),
    Set(u64),
    Get(u64),
    Put(u64),
    /// At most so many jobs, waiting for one.
    Reserve(usize),
    /// A job, in the server's own words.
    Ack(Vec<u8>),
}

/// A reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// Done; the number is the new item's, where the server gives one.
    Done(u64),
    Jobs(Vec<Vec<u8>>),
    Failed(String),
}

/// A server's way to speak.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    pub peer: Peer,
    pub lazy: bool,
}

impl Dialect {
    /// What is said once before all else; one reply comes to it.
    pub fn greeting(self) -> &'static [u8] {
        match self.peer {
            Peer::Redis => b"XGROUP CREATE jobs workers 0 MKSTREAM\r\n",
            _ => b"",
        }
    }

    /// Appends a request.
    pub fn write(self, ask: &Ask, texts: &Texts, out: &mut Vec<u8>) {
        match self.peer {
            Peer::Msglogd | Peer::Other => self.msglogd(ask, texts, out),
            Peer::Redis => redis(ask, texts, out),
            Peer::Beanstalkd => beanstalkd(ask, texts, out),
            Peer::Sqlite => unreachable!("SQLite has no socket"),
        }
    }

    /// Reads the reply that `bytes` begin with. `None` when it is not all there.
    pub fn read(self, ask: &Ask, bytes: &[u8]) -> Option<(usize, Said)> {
        match self.peer {
            Peer::Msglogd | Peer::Other => msglogd_reply(ask, bytes),
            Peer::Redis => redis_reply(ask, bytes),
            Peer::Beanstalkd => beanstalkd_reply(bytes),
            Peer::Sqlite => unreachable!("SQLite has no socket"),
        }
    }

    fn msglogd(self, ask: &Ask, texts: &Texts, out: &mut Vec<u8>) {
        match ask {
            Ask::Post(number) => {
                let text = texts.of(*number);
                for part in [
                    "{\"cmd\":\"message.post\",\"originator\":\"",
                    &text.originator,
                    "\",\"recipient\":\"",
                    &text.recipient,
                    "\",\"body\":\"",
                ] {
                    out.extend_from_slice(part.as_bytes());
                }
                texts.json(*number, out);
                out.push(b'"');
            }
            Ask::Set(number) => {
                let head = ["{\"cmd\":\"kv.set\",\"key\":\"", &key(*number), "\",\"value\":"].concat();
                out.extend_from_slice(head.as_bytes());
                texts.value(*number, out);
            }
            Ask::Get(number) => {
                let whole = ["{\"cmd\":\"kv.get\",\"key\":\"", &key(*number), "\"}\n"].concat();
                out.extend_from_slice(whole.as_bytes());
                return;
            }
            Ask::Put(number) => {
                out.extend_from_slice(b"{\"cmd\":\"queue.put\",\"queue\":\"jobs\",\"body\":");
                texts.value(*number, out);
            }
            Ask::Reserve(max) => {
                let whole = "{\"cmd\":\"queue.reserve\",\"queue\":\"jobs\",\"wait_ms\":60000,\"max\":";
                out.extend_from_slice(format!("{whole}{max}}}\n").as_bytes());
                return;
            }
            Ask::Ack(job) => {
                out.extend_from_slice(b"{\"cmd\":\"queue.ack\",");
                out.extend_from_slice(job);
            }
        }
        let end: &[u8] = if self.lazy { b",\"durable\":false}\n" } else { b"}\n" };
        out.extend_from_slice(end);
    }
}

fn number_at(bytes: &[u8], place: usize) -> u64 {
    let digits = bytes[place..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn failed(bytes: &[u8]) -> Said {
    Said::Failed(String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned())
}

fn msglogd_reply(ask: &Ask, bytes: &[u8]) -> Option<(usize, Said)> {
    let end = memchr(b'\n', bytes)?;
    let line = &bytes[..end];
    let said = if !line.starts_with(b"{\"ok\":true") {
        failed(line)
    } else if matches!(ask, Ask::Reserve(_)) {
        // Each job begins with its number and its lease, which is what an ack names.
        let jobs = memchr::memmem::find_iter(line, b"{\"job\":").map(|start| {
            let lease = memchr::memmem::find(&line[start..], b"\"lease\":\"").expect("a lease") + 9;
            let length = memchr(b'"', &line[start + lease..]).expect("its end") + 1;
            line[start + 1..start + lease + length].to_vec()
        });
        Said::Jobs(jobs.collect())
    } else {
        let place = memchr::memmem::find(line, b"\"seq\":").map_or(line.len(), |place| place + 6);
        Said::Done(number_at(line, place))
    };
    Some((end + 1, said))
}

fn redis(ask: &Ask, texts: &Texts, out: &mut Vec<u8>) {
    let word = |out: &mut Vec<u8>, word: &[u8]| {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    };
    let mut made = Vec::new();
    match ask {
        Ask::Post(number) => {
            texts.body(*number, &mut made);
            let text = texts.of(*number);
            let head = "*9\r\n$4\r\nXADD\r\n$8\r\nmessages\r\n$1\r\n*\r\n$10\r\noriginator\r\n";
            out.extend_from_slice(head.as_bytes());
            word(out, text.originator.as_bytes());
            out.extend_from_slice(b"$9\r\nrecipient\r\n");
            word(out, text.recipient.as_bytes());
            out.extend_from_slice(b"$4\r\nbody\r\n");
            word(out, &made);
        }
        Ask::Set(number) => {
            texts.value(*number, &mut made);
            out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
            word(out, key(*number).as_bytes());
            word(out, &made);
        }
        Ask::Get(number) => {
            out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
            word(out, key(*number).as_bytes());
        }
        Ask::Put(number) => {
            texts.value(*number, &mut made);
            out.extend_from_slice(b"*5\r\n$4\r\nXADD\r\n$4\r\njobs\r\n$1\r\n*\r\n$4\r\nbody\r\n");
            word(out, &made);
        }
        Ask::Reserve(max) => {
            out.extend_from_slice(
                b"*11\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$7\r\nworkers\r\n$1\r\nw\r\n$5\r\nCOUNT\r\n",
            );
            word(out, max.to_string().as_bytes());
            out.extend_from_slice(
                b"$5\r\nBLOCK\r\n$5\r\n60000\r\n$7\r\nSTREAMS\r\n$4\r\njobs\r\n$1\r\n>\r\n",
            );
        }
        Ask::Ack(job) => {
            out.extend_from_slice(b"*4\r\n$4\r\nXACK\r\n$4\r\njobs\r\n$7\r\nworkers\r\n");
            word(out, job);
        }
    }
}

/// How long the value at the front is.
fn redis_length(bytes: &[u8]) -> Option<usize> {
    let line = memchr(b'\n', bytes)? + 1;
    let count = if bytes[1] == b'-' { 0 } else { usize::try_from(number_at(bytes, 1)).expect("small") };
    match bytes[0] {
        b'$' if bytes[1] == b'-' => Some(line),
        b'$' => (bytes.len() >= line + count + 2).then_some(line + count + 2),
        b'*' => {
            let mut end = line;
            for _ in 0..count {
                end += redis_length(bytes.get(end..).filter(|rest| rest.len() > 1)?)?;
            }
            Some(end)
        }
        _ => Some(line),
    }
}

fn redis_reply(ask: &Ask, bytes: &[u8]) -> Option<(usize, Said)> {
    if bytes.len() < 2 {
        return None;
    }
    let end = redis_length(bytes)?;
    let reply = &bytes[..end];
    let said = match ask {
        _ if reply.starts_with(b"-") || reply.starts_with(b"$-1") => failed(reply),
        Ask::Reserve(_) => {
            // [[stream, [[id, [name, value]], ...]]]: an id stands behind each "*2\r\n$".
            let mut jobs = Vec::new();
            let mut place = memchr::memmem::find(reply, b"jobs\r\n").map_or(end, |place| place + 6);
            place += memchr(b'\n', &reply[place..]).map_or(0, |line| line + 1);
            while place < end {
                let id = place + 4 + memchr(b'\n', &reply[place + 4..]).expect("a line") + 1;
                let length = usize::try_from(number_at(reply, place + 5)).expect("small");
                jobs.push(reply[id..id + length].to_vec());
                place += redis_length(&reply[place..]).expect("a whole entry");
            }
            Said::Jobs(jobs)
        }
        _ => Said::Done(0),
    };
    Some((end, said))
}

fn beanstalkd(ask: &Ask, texts: &Texts, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    match ask {
        Ask::Post(number) => texts.body(*number, &mut body),
        Ask::Put(number) => texts.value(*number, &mut body),
        Ask::Reserve(_) => return out.extend_from_slice(b"reserve\r\n"),
        Ask::Ack(job) => {
            let line = [b"delete ", job.as_slice(), b"\r\n"].concat();
            return out.extend_from_slice(&line);
        }
        Ask::Set(_) | Ask::Get(_) => unreachable!("beanstalkd has no keys"),
    }
    out.extend_from_slice(format!("put 0 0 60 {}\r\n", body.len()).as_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(b"\r\n");
}

fn beanstalkd_reply(bytes: &[u8]) -> Option<(usize, Said)> {
    let end = memchr(b'\n', bytes)? + 1;
    let line = &bytes[..end];
    if line.starts_with(b"INSERTED") {
        return Some((end, Said::Done(number_at(line, 9))));
    }
    if line.starts_with(b"DELETED") {
        return Some((end, Said::Done(0)));
    }
    let Some(rest) = line.strip_prefix(b"RESERVED ") else { return Some((end, failed(line))) };
    let id = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
    let length = usize::try_from(number_at(rest, id.len() + 1)).expect("small");
    let whole = end + length + 2;
    (bytes.len() >= whole).then(|| (whole, Said::Jobs(vec![id.to_vec()])))
}
