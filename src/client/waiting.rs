//! Asking for something that may take long, such as a backup: people see that it is under way, and
//! how far it is.

use std::io;
use std::time::{Duration, Instant};

use super::address::Address;
use super::connection::{Connection, SILENCE};
use super::failure::{Failure, say};
use super::reply::Reply;
use crate::json;
use crate::limits::TIME_MS;
use crate::progress::Progress;
use crate::protocol::table::{self, Kind};

/// What takes longer is shown to be under way.
const NOTICEABLE: Duration = Duration::from_millis(500);

/// How often the daemon is asked how far it is.
const INTERVAL: Duration = Duration::from_millis(200);

/// Long work, of which `stats` tells how far it is.
const LONG: [&str; 3] = ["log.backup", "log.verify", "log.compact"];

/// Sends a request and reads its reply.
///
/// # Errors
/// The connection is lost before the reply has come, or there is none in time.
pub fn ask(address: &Address, connection: &mut Connection, request: &str) -> io::Result<Reply> {
    let due = connection.due(request);
    let sent = connection.send(request);
    if !connection.answers_within(left(due).min(NOTICEABLE)) {
        let command = command_of(request);
        let mut progress = Progress::waiting(&format!("waiting for {command}"));
        if LONG.contains(&command.as_str()) && progress.is_shown() {
            watch(address, connection, &mut progress, due);
        }
        if !may_take_long(request) {
            connection
                .tell_of_silence(SILENCE.saturating_sub(NOTICEABLE), |text| progress.suspend(|| say(text)));
        }
        // Nothing of what is to be seen meanwhile may take the time of the reply itself.
        let answered = connection.await_answer(due);
        progress.finish();
        answered?;
    }
    connection.reply_to(sent)
}

/// How long it is until then; for ever where there is no such moment.
#[must_use]
pub fn left(due: Option<Instant>) -> Duration {
    due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()))
}

/// How long a request itself lets the daemon wait.
#[must_use]
pub fn wait_of(request: &str) -> Duration {
    let fields = json::object(request);
    let wait_ms = fields.and_then(|fields| json::as_u64(fields.get("wait_ms")?)).unwrap_or(0);
    Duration::from_millis(wait_ms.min(TIME_MS))
}

/// What to say of a request that was sent and has no reply: a write may have been done all the same.
#[must_use]
pub fn unanswered(request: &str, error: &io::Error) -> Failure {
    let fields = json::object(request);
    let get = |name: &str| fields.as_ref().and_then(|fields| fields.get(name));
    let command = command_of(request);
    let changes = matches!(kind_of(request), Some(Kind::Write | Kind::Maintenance));
    // A connection that was closed before takes nothing.
    let may_be_done = changes && get("dry_run") != Some("true") && error.kind() != io::ErrorKind::BrokenPipe;
    Failure::lost_and(
        error,
        &match (may_be_done, get("idempotency_key").is_some()) {
            (false, _) => String::new(),
            (true, true) => {
                format!("; {command} may have been done: its idempotency key makes it safe to send again")
            }
            (true, false) => format!("; {command} may have been done"),
        },
    )
}

/// Whether the daemon may rightly take long to answer: the work is long, or the request waits for something.
#[must_use]
pub fn may_take_long(request: &str) -> bool {
    let waits = json::object(request).is_some_and(|fields| fields.get("wait_ms").is_some());
    waits || LONG.contains(&command_of(request).as_str())
}

/// What kind of request it is, where its command is known.
#[must_use]
pub fn kind_of(request: &str) -> Option<Kind> {
    table::find(&command_of(request)).map(|command| command.kind)
}

fn command_of(request: &str) -> String {
    let fields = json::object(request);
    let command = fields.and_then(|fields| json::as_string(fields.get("cmd")?).map(String::from));
    command.unwrap_or_default()
}

/// Shows how far the daemon is, by another connection, until the reply comes. What is wrong with
/// that connection is no matter for the request.
fn watch(address: &Address, connection: &Connection, progress: &mut Progress, due: Option<Instant>) {
    let Ok(mut beside) = address.connect() else { return };
    while !connection.answers_within(left(due).min(INTERVAL)) && !left(due).is_zero() {
        let Ok(stats) = beside.ask("{\"cmd\":\"stats\"}") else { return };
        let fields = stats.field("maintenance").and_then(json::object);
        let number = |name| fields.as_ref().and_then(|fields| json::as_u64(fields.get(name)?)).unwrap_or(0);
        progress.amount(number("done_bytes"), number("total_bytes"));
    }
}
