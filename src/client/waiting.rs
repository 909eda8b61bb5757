//! Asking for something that may take long, such as a backup: people see that it is under way, and
//! how far it is.

use std::io;
use std::time::Duration;

use super::address::Address;
use super::connection::{Connection, SILENCE, closed};
use super::failure::say;
use super::reply::Reply;
use crate::json;
use crate::progress::Progress;

/// What takes longer is shown to be under way.
const NOTICEABLE: Duration = Duration::from_millis(500);

/// How often the daemon is asked how far it is.
const INTERVAL: Duration = Duration::from_millis(200);

/// Long work, of which `stats` tells how far it is.
const LONG: [&str; 3] = ["log.backup", "log.verify", "log.compact"];

/// Sends a request and reads its reply.
///
/// # Errors
/// The connection is lost before the reply has come.
pub fn ask(address: &Address, connection: &mut Connection, request: &str) -> io::Result<Reply> {
    // A daemon that has no room says so and closes, whether or not it could be written to.
    let sent = connection.send(request);
    if !connection.answers_within(NOTICEABLE) {
        let command = command_of(request);
        let mut progress = Progress::waiting(&format!("waiting for {command}"));
        if LONG.contains(&command.as_str()) && progress.is_shown() {
            watch(address, connection, &mut progress);
        }
        if !may_take_long(request) {
            connection
                .tell_of_silence(SILENCE.saturating_sub(NOTICEABLE), |text| progress.suspend(|| say(text)));
        }
        // Nothing of what is to be seen meanwhile may take the time of the reply itself.
        while !connection.answers_within(NOTICEABLE) {}
        progress.finish();
    }
    connection.receive()?.ok_or_else(|| sent.err().unwrap_or_else(closed))
}

/// Whether the daemon may rightly take long to answer: the work is long, or the request waits for something.
#[must_use]
pub fn may_take_long(request: &str) -> bool {
    let waits = json::object(request).is_some_and(|fields| fields.get("wait_ms").is_some());
    waits || LONG.contains(&command_of(request).as_str())
}

fn command_of(request: &str) -> String {
    let fields = json::object(request);
    let command = fields.and_then(|fields| json::as_string(fields.get("cmd")?).map(String::from));
    command.unwrap_or_default()
}

/// Shows how far the daemon is, by another connection, until the reply comes. What is wrong with
/// that connection is no matter for the request.
fn watch(address: &Address, connection: &Connection, progress: &mut Progress) {
    let Ok(mut beside) = address.connect() else { return };
    while !connection.answers_within(INTERVAL) {
        let Ok(stats) = beside.ask("{\"cmd\":\"stats\"}") else { return };
        let fields = stats.field("maintenance").and_then(json::object);
        let number = |name| fields.as_ref().and_then(|fields| json::as_u64(fields.get(name)?)).unwrap_or(0);
        progress.amount(number("done_bytes"), number("total_bytes"));
    }
}
