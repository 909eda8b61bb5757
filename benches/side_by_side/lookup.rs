//! After kill -9 in the middle of a load: everything that was acknowledged is there.

use std::io::{BufRead, BufReader, Result, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cells::{Cell, Peer, Work};
use crate::dialect::Dialect;
use crate::load::{Load, Tally};
use crate::server::Server;
use crate::texts::{Texts, key};

/// Goes on with the load, kills the daemon under it, starts it again, and looks up all that was
/// acknowledged before and since. How many that was.
pub fn after_a_crash(server: &mut Server, cell: &Cell, texts: &Texts, before: Tally) -> Result<u64> {
    let first = before.items.len() as u64 + before.puts_asked;
    let dialect = Dialect { peer: Peer::Msglogd, lazy: false };
    let load = Load::of(cell, dialect, texts, first, Duration::from_secs(60));
    let daemon = Pid::from_raw(i32::try_from(server.id()).expect("a process id")).expect("not 0");
    let since = std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            kill_process(daemon, Signal::KILL).expect("it is ours");
        });
        load.run(&server.socket())
    })?;
    server.crash()?;
    let mut items = before.items;
    items.extend(&since.items);
    let stream = UnixStream::connect(server.socket())?;
    match cell.work {
        Work::Post => each(stream, &items, &|number, seq| {
            let mut body = Vec::new();
            texts.body(number, &mut body);
            let wanted = Value::from(String::from_utf8(body).expect("text"));
            let same = move |reply: &Value| reply["message"]["body"] == wanted;
            (format!("{{\"cmd\":\"message.get\",\"seq\":{seq}}}\n"), Box::new(same))
        }),
        Work::Set => each(stream, &items, &|number, _| {
            let mut value = Vec::new();
            texts.value(number, &mut value);
            let wanted: Value = serde_json::from_slice(&value).expect("JSON");
            let same = move |reply: &Value| reply["value"] == wanted;
            (format!("{{\"cmd\":\"kv.get\",\"key\":\"{}\"}}\n", key(number)), Box::new(same))
        }),
        _ => {
            // Acks that were asked and not answered may have happened, and puts as well.
            let least = (before.puts_done + since.puts_done) - (before.acks_asked + since.acks_asked);
            let most = (before.puts_asked + since.puts_asked) - (before.acks_done + since.acks_done);
            let ask = "{\"cmd\":\"queue.get\",\"queue\":\"jobs\"}\n".to_owned();
            let right = move |reply: &Value| {
                let count = |state: &str| reply["queue"][state].as_u64().unwrap_or(u64::MAX / 4);
                (least..=most).contains(&(count("ready") + count("leased") + count("delayed")))
            };
            each(stream, &[(0, 0)], &|_, _| (ask.clone(), Box::new(right)))?;
            Ok(before.puts_done + since.puts_done)
        }
    }
}

/// What to ask for an item, and whether a reply is right.
type Question = (String, Box<dyn Fn(&Value) -> bool>);

fn each(
    stream: UnixStream,
    items: &[(u64, u64)],
    question: &(dyn Fn(u64, u64) -> Question + Sync),
) -> Result<u64> {
    let mut output = stream.try_clone()?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in items.chunks(500) {
                let lines: String = piece.iter().map(|(number, seq)| question(*number, *seq).0).collect();
                if output.write_all(lines.as_bytes()).is_err() {
                    return;
                }
            }
        });
        let mut replies = BufReader::new(stream);
        let mut line = Vec::new();
        for (number, seq) in items {
            line.clear();
            replies.read_until(b'\n', &mut line)?;
            let reply: Value = serde_json::from_slice(&line)?;
            let (asked, right) = question(*number, *seq);
            assert!(right(&reply), "acknowledged, and wrong after kill -9: {asked}{reply}");
        }
        Ok(items.len() as u64)
    })
}
