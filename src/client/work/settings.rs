//! What the settings of the queue say.

use std::time::Duration;

use super::Options;
use super::session::Session;
use crate::client::failure::{Failure, Result};
use crate::client::reply::Reply;
use crate::client::request::RequestLine;
use crate::json;
use crate::limits::LEASE_MS_DEFAULT;

/// The shortest lease that is asked for where none was given.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// The request for the settings of a queue.
pub fn request(queue: &str) -> String {
    RequestLine::new("queue.get").text("queue", queue).finish()
}

/// A number among those in the reply; `None` where there is no such bound.
pub fn number(reply: &Reply, name: &str) -> Option<u64> {
    json::as_u64(json::object(reply.field("queue")?)?.get(name)?)
}

/// How long jobs are held: as was told, or else as the queue says. `None` when the worker stops before that is
/// known. It is asked for with every reserve: the end of a lease whose length is not known could only be told
/// by the clock, and that may be set.
///
/// # Errors
/// The daemon refuses to tell.
pub fn lease(options: &Options, session: &mut Session<'_>) -> Result<Option<Duration>> {
    if let Some(lease) = options.lease_ms {
        return Ok(Some(Duration::from_millis(lease)));
    }
    let lease = match session.wait(&request(&options.queue), Duration::ZERO) {
        None => return Ok(None),
        Some(Ok(reply)) => number(&reply, "lease_ms"),
        // Its first job will make it, and this is its lease then.
        Some(Err(refusal)) if refusal.code == "not_found" => Some(LEASE_MS_DEFAULT),
        Some(Err(refusal)) => return Err(refusal.into()),
    };
    let lease = lease.ok_or_else(|| Failure::NoDaemon("what answers does not tell the queue's lease".into()));
    Ok(Some(Duration::from_millis(lease?).max(SHORTEST_LEASE)))
}
