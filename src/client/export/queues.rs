//! Queues with their settings and their jobs, made anew.
//!
//! A job may change its state while the states are looked at one after the other, and so be in none of them
//! or in several. They are looked at again until there is no new job, and a job counts once. Jobs that came
//! after the export began do not count, so that this comes to an end.

use std::collections::HashSet;

use super::Export;
use super::pages::{each, pages_of};
use super::record::Record;
use crate::client::failure::{Failure, Result, say};
use crate::client::request::RequestLine;
use crate::client::style::visible;
use crate::json;
use crate::limits::PAGE_ITEMS;
use crate::time::Timestamp;

/// The queue of the jobs that formulas bring along.
const FORMULAS: &str = "\"formulas\"";

/// The jobs that are made anew: all but the dead ones.
const STATES: [&str; 3] = ["leased", "ready", "delayed"];

/// All queues. Their bounds come last: a queue may hold more than its own, and takes no job then. The jobs
/// with these numbers are brought along by formulas.
pub fn all(export: &mut Export<'_>, of_formulas: &HashSet<u64>) -> Result<()> {
    let mut bounds = Vec::new();
    let on_pages = is_on_pages(export)?;
    each(export, &RequestLine::new("queue.list"), "queues", &mut |export, queue| {
        let queue = Record::of(queue);
        let name = queue.get("queue");
        let mut configure = RequestLine::new("queue.configure");
        for setting in ["queue", "lease_ms", "max_attempts"] {
            configure.raw(setting, queue.get(setting));
        }
        export.request(&configure)?;
        if queue.get("max_jobs") != "null" {
            let mut bound = RequestLine::new("queue.configure");
            bound.raw("queue", name).raw("max_jobs", queue.get("max_jobs"));
            bounds.push(bound);
        }
        let of_formulas = of_formulas.iter().filter(|_| name == FORMULAS);
        jobs(export, name, &mut of_formulas.copied().collect(), on_pages)
    })?;
    bounds.iter().try_for_each(|bound| export.request(bound))
}

/// Whether the daemon shows all jobs of a queue, page after page. Earlier ones show the first page alone.
fn is_on_pages(export: &mut Export<'_>) -> Result<bool> {
    let help = RequestLine::new("help").text("on", "queue.peek").finish();
    let help = export.connection.ask(&help).map_err(|error| Failure::lost(&error))?;
    Ok(help.line().contains("\"name\":\"after\""))
}

/// The jobs of a queue, but for those that were seen.
fn jobs(export: &mut Export<'_>, queue: &str, seen: &mut HashSet<u64>, on_pages: bool) -> Result<()> {
    let mut looks = 0;
    loop {
        let before = seen.len();
        for state in STATES {
            let is_first_page_alone = !on_pages && looks == 0;
            let there = if is_first_page_alone { count(export, queue, state)? } else { 0 };
            let found = jobs_in(export, queue, state, seen)?;
            // Those that have left the state meanwhile are found in another one.
            if there > found && count(export, queue, state)? > found {
                export.cut = true;
                let queue = visible(queue);
                export.progress.suspend(|| {
                    say(&format!("of the {state} jobs of {queue} only the first {found} are exported"));
                });
            }
        }
        if seen.len() == before {
            return Ok(());
        }
        looks += 1;
    }
}

/// How many jobs of a queue are in a state.
fn count(export: &mut Export<'_>, queue: &str, state: &str) -> Result<u64> {
    let get = RequestLine::new("queue.get").raw("queue", queue).finish();
    let reply = export.connection.ask(&get).map_err(|error| Failure::lost(&error))?;
    // A queue that was dropped meanwhile has none.
    Ok(reply.field("queue").and_then(|queue| Record::of(queue).number(state)).unwrap_or(0))
}

/// The jobs of a queue in a state, but for those that were seen. How many there are.
fn jobs_in(export: &mut Export<'_>, queue: &str, state: &str, seen: &mut HashSet<u64>) -> Result<u64> {
    let mut peek = RequestLine::new("queue.peek");
    peek.raw("queue", queue).text("state", state);
    let mut found = 0;
    pages_of(export, PAGE_ITEMS, &peek, "jobs", &mut |export, jobs| {
        found += jobs.len() as u64;
        for job in jobs.iter().map(|job| Record::of(job)) {
            let number = job.number("job").unwrap_or(u64::MAX);
            if number > export.last || !seen.insert(number) {
                continue;
            }
            let mut put = RequestLine::new("queue.put");
            put.raw("queue", queue).raw("body", job.get("body"));
            if let Some(priority) = job.find("priority").filter(|priority| *priority != "0") {
                put.raw("priority", priority);
            }
            let ready_at =
                job.find("ready_at").and_then(json::as_string).and_then(|at| Timestamp::parse(&at));
            if let Some(ready_at) = ready_at.filter(|_| state == "delayed") {
                put.number("delay_ms", ready_at.0.saturating_sub(Timestamp::now().0).div_ceil(1000));
            }
            export.request(&put)?;
        }
        Ok(())
    })?;
    Ok(found)
}
