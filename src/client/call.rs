//! Single requests, and `call -`: many, sent ahead.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::str;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::address::Address;
use super::ahead::{LinesAhead, Next};
use super::connection::{Connection, closed};
use super::failure::{DONE, Failure, NOTHING_FOUND, REFUSED, Result, say};
use super::follow;
use super::output::Output;
use super::own::Own;
use super::reply::{Refusal, Reply};
use super::waiting;
use crate::protocol::table::Kind;

/// `msglog call`, as help and completions know it.
pub const OWN: Own = Own {
    words: "call",
    takes: "REQUEST",
    doc: "Sends a request as it is; with `-`, every line of standard input.",
    about: &["The request is a JSON object, and the reply is printed. Lines of standard input are sent \
              without waiting for replies, which are printed in the same order."],
    options: &[],
    notes: &[],
    examples: &["msglog call '{\"cmd\":\"ping\"}'", "msglog call - < requests.jsonl"],
};

/// Sends a request that was made from the table and prints its reply.
///
/// # Errors
/// No daemon answers, it refuses, or the reply cannot be written.
pub fn ask(address: &Address, output: &mut Output, request: &str) -> Result<u8> {
    let reply = waiting::ask(address, &mut address.connect()?, request);
    let reply = reply.map_err(|error| waiting::unanswered(request, &error))?;
    if let Some(refusal) = reply.refusal() {
        output.refusal(&reply)?;
        return Err(refused(request, refusal));
    }
    if reply.is_empty() && output.is_for_people() {
        say("nothing found");
    } else {
        output.reply(request, &reply)?;
    }
    output.flush()?;
    Ok(if reply.is_empty() { NOTHING_FOUND } else { DONE })
}

/// Sends a request as it was typed. Its reply is printed, a refusal too.
///
/// # Errors
/// As for [`ask`].
pub fn raw(address: &Address, output: &mut Output, request: &str) -> Result<u8> {
    if request == "-" {
        return many(address, output);
    }
    if request.trim().is_empty() || request.contains('\n') {
        return Err(Failure::Usage("`call` takes one request on one line, or `-`".into()));
    }
    let mut connection = address.connect()?;
    let first = connection.ask(request).map_err(|error| waiting::unanswered(request, &error))?;
    output.json_line(first.line())?;
    output.flush()?;
    let empty = first.is_empty();
    let follows = first.field("following").is_some();
    first.accepted().map_err(|refusal| refused(request, refusal))?;
    if !follows {
        return Ok(if empty { NOTHING_FOUND } else { DONE });
    }
    loop {
        if !connection.has_bytes() {
            follow::wait(&connection, None)?;
        }
        let reply = connection.reply().map_err(|error| Failure::lost(&error))?;
        output.json_line(reply.line())?;
        output.flush()?;
        // A daemon that stops says so before it goes.
        match reply.refusal() {
            Some(refusal) if refusal.is_passing() => return Err(Failure::NoDaemon(refusal.to_string())),
            Some(refusal) => return Err(refusal.into()),
            None => {}
        }
    }
}

/// How a refused request ends. Maintenance looks for nothing that could be found: what is not there is a place that it
/// needs.
fn refused(request: &str, refusal: Refusal) -> Failure {
    if waiting::kind_of(request) == Some(Kind::Maintenance) {
        return Failure::NotDone(refusal);
    }
    refusal.into()
}

/// Sends every line of standard input while replies are read and printed.
fn many(address: &Address, output: &mut Output) -> Result<u8> {
    let mut connection = address.connect()?;
    let sender = connection.sender().map_err(|error| Failure::lost(&error))?;
    let (tell, told) = crossbeam_channel::bounded(1);
    let sent = Arc::new(Sent { timed: address.timeout().is_some(), ..Sent::default() });
    let counted = Arc::clone(&sent);
    let sending = thread::Builder::new().spawn(move || {
        let sent = send_input(&sender, &counted);
        // The count is told first: the end of the replies is what makes the other side ask for it.
        let _ = tell.send(sent);
        let _ = sender.shutdown(Shutdown::Write);
    });
    sending.map_err(|error| Failure::file("cannot start the thread that sends", &error))?;
    let (replies, refused) = print_replies(&mut connection, output, &sent)?;
    // When the daemon has left early, the other thread may wait for input that never comes.
    let requests = told.recv_timeout(Duration::from_secs(1)).map_err(|_| Failure::lost(&closed()))??;
    if replies < requests {
        let lost = format!("{} of {requests} requests were not answered", requests - replies);
        return Err(Failure::NoDaemon(lost));
    }
    if refused > 0 {
        say(&format!("{refused} of {replies} requests were refused"));
    }
    Ok(if refused > 0 { REFUSED } else { DONE })
}

/// What of the input was sent so far.
#[derive(Default)]
struct Sent {
    requests: AtomicU64,
    /// Whether there is a timeout: else no request need be read.
    timed: bool,
    /// The longest that one of them lets the daemon wait, in milliseconds.
    wait_ms: AtomicU64,
}

impl Sent {
    fn note(&self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        if self.timed {
            let wait = str::from_utf8(line).map(waiting::wait_of).unwrap_or_default();
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            self.wait_ms.fetch_max(wait_ms, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Sends standard input line by line. The number of requests in it, which is counted while it goes on, too.
fn send_input(stream: &UnixStream, sent: &Sent) -> Result<u64> {
    let mut lines = LinesAhead::new(io::stdin().lock(), stream);
    loop {
        match lines.read().map_err(|error| Failure::file("cannot read standard input", &error))? {
            Next::Line(_, line) => sent.note(line),
            Next::End => {
                lines.flush();
                break;
            }
            Next::Gone => break,
        }
        if !lines.send_on() {
            break;
        }
    }
    Ok(sent.requests())
}

/// Prints replies until the daemon closes. How many, and how many were refusals.
fn print_replies(connection: &mut Connection, output: &mut Output, sent: &Sent) -> Result<(u64, u64)> {
    let (mut replies, mut refused) = (0, 0);
    loop {
        let awaited = await_due(connection, sent, replies).and_then(|()| connection.receive());
        let reply = awaited.map_err(|error| {
            let open = sent.requests() - replies;
            Failure::lost_and(&error, &format!("; {open} requests were not answered, and may have been done"))
        })?;
        let Some(reply) = reply else { break };
        replies += 1;
        refused += u64::from(is_refusal(&reply));
        output.json_line(reply.line())?;
        if !connection.has_line() {
            output.flush()?;
        }
    }
    output.flush()?;
    Ok((replies, refused))
}

/// Waits for the next reply, which is late only where it was due for the whole of the timeout: the input may make
/// itself wait.
fn await_due(connection: &Connection, sent: &Sent, replies: u64) -> io::Result<()> {
    loop {
        let is_due = sent.requests() > replies;
        // Any of those that are open may be the one that waits.
        let wait = Duration::from_millis(sent.wait_ms.load(Ordering::Relaxed));
        match connection.await_answer(connection.due_after(wait)) {
            Err(_) if !is_due => {}
            awaited => return awaited,
        }
    }
}

fn is_refusal(reply: &Reply) -> bool {
    reply.refusal().is_some()
}
