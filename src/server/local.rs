//! What the event loop answers itself.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::access::Access;
use crate::domain::command::Local;
use crate::domain::words::UNICODE_VERSION;
use crate::error::Result;
use crate::json::fields::{Fields, write_number};
use crate::limits::{self, Limits};
use crate::log::compacted::Compacted;
use crate::metrics;
use crate::paths::{for_shell, own_uid};
use crate::protocol::reply;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::time::Timestamp;

/// The version of the protocol.
pub const PROTOCOL: u64 = 1;

/// What does not change while the daemon runs.
#[derive(Debug, Clone)]
pub struct Identity {
    /// When it started.
    pub started_at: Timestamp,
    /// Its bounds.
    pub limits: Limits,
    /// Who may do what.
    pub access: Access,
    /// Its own user id.
    pub uid: u32,
    /// Its data folder, for people.
    pub data: PathBuf,
}

impl Identity {
    /// A daemon of this process that starts now.
    #[must_use]
    pub fn new(limits: Limits, access: Access, data: &Path) -> Self {
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        Identity { started_at: Timestamp::now(), limits, access, uid: own_uid(), data }
    }

    /// What the operator is to do about damage in a file of the data.
    #[must_use]
    pub fn cure(&self, file: &str) -> String {
        let name = Path::new(file).file_name().and_then(OsStr::to_str);
        if name.and_then(Compacted::of_checkpoint).is_some() {
            return "this daemon does without it: `msglog log compact` makes it anew; leave the folder `index` where \
                    it is until then"
                .to_owned();
        }
        let data = for_shell(&self.data);
        format!(
            "stop the daemon, and `msglogd check --data {data}` and `msglogd repair --data {data}` say what is lost"
        )
    }
}

/// The fields of the reply.
///
/// # Errors
/// `not_found` for help on no command.
pub fn answer(local: &Local, snapshot: &Snapshot, stats: &Stats, identity: &Identity) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match local {
        Local::Ping => {
            Fields(&mut out).number("seq", snapshot.last);
        }
        Local::Quit => {}
        Local::Help(on) => out = reply::help(on.as_deref())?,
        Local::Info => info(snapshot, identity, &mut out),
        Local::Stats => out = metrics::json(stats, snapshot, Timestamp::now()),
        Local::Metrics => {
            let text = metrics::prometheus(stats, snapshot, Timestamp::now(), identity.started_at);
            Fields(&mut out).text("text", &text);
        }
    }
    Ok(out)
}

fn info(snapshot: &Snapshot, identity: &Identity, out: &mut Vec<u8>) {
    let bounds = &identity.limits;
    let mut limits = b"{\"line_bytes\":".to_vec();
    write_number(&mut limits, bounds.line_bytes as u64);
    Fields(&mut limits)
        .number("connections", bounds.connections as u64)
        .number("connections_per_uid", bounds.connections_per_uid as u64)
        .number("buffered_bytes", bounds.buffered_bytes as u64)
        .number("batch_commands", limits::BATCH_COMMANDS as u64)
        .number("key_bytes", limits::KEY_BYTES as u64)
        .number("name_bytes", limits::NAME_BYTES as u64)
        .number("idempotency_key_bytes", limits::IDEMPOTENCY_KEY_BYTES as u64)
        .number("reply_bytes", bounds.reply_bytes() as u64)
        .number("page_items", limits::PAGE_ITEMS)
        .number("substring_bytes", limits::SUBSTRING_BYTES as u64)
        .number("nesting_levels", limits::NESTING_LEVELS as u64)
        .number("reserve_jobs", limits::RESERVE_JOBS)
        .number("time_ms", limits::TIME_MS);
    limits.push(b'}');
    let (major, minor, patch) = UNICODE_VERSION;
    Fields(out)
        .text("name", "msglogd")
        .text("version", env!("CARGO_PKG_VERSION"))
        .number("protocol", PROTOCOL)
        .number("seq", snapshot.last)
        .time("started_at", identity.started_at)
        .raw("limits", &limits)
        .text("durability", "fdatasync before every reply to a write, unless it says \"durable\":false")
        .text("unicode", &format!("{major}.{minor}.{patch}"));
}
