//! Queues with their settings and their jobs, made anew.
//!
//! A job may change its state while the states are looked at one after the other, and so be in none of them
//! or in several. They are looked at again until as many jobs are found in a round as there were before it. A
//! job is made anew once, and not at all if it came after the export began.

use std::collections::HashSet;

use super::Export;
use crate::client::failure::{Failure, Result, say};
use crate::client::pages::Pages;
use crate::client::record::Record;
use crate::client::request::RequestLine;
use crate::client::style::visible;
use crate::json;
use crate::limits::{PAGE_ITEMS, TIME_MS};
use crate::time::Timestamp;

/// The queue of the jobs that formulas bring along.
const FORMULAS: &str = "\"formulas\"";

/// The jobs that are made anew: all but the dead ones.
const STATES: [&str; 3] = ["leased", "ready", "delayed"];

/// Rounds over the states of a queue whose jobs never keep still.
const ROUNDS: usize = 20;
/// After so many rounds that brought nothing new all was found, though the counts do not say so.
const ROUNDS_WITHOUT_NEWS: usize = 3;

/// All queues. Their bounds come last: a queue may hold more than its own, and takes no job then. The jobs
/// with these numbers are brought along by formulas.
pub fn all(export: &mut Export<'_>, of_formulas: &HashSet<u64>) -> Result<()> {
    let mut bounds = Vec::new();
    let mut queues = Pages::of(&RequestLine::new("queue.list"), "queues");
    while let Some(page) = queues.next(&mut export.connection)? {
        for queue in page.items() {
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
            let mut seen = if name == FORMULAS { of_formulas.clone() } else { HashSet::new() };
            jobs(export, name, &mut seen)?;
        }
    }
    bounds.iter().try_for_each(|bound| export.request(bound))
}

/// The jobs of a queue, but for those that were seen.
fn jobs(export: &mut Export<'_>, queue: &str, seen: &mut HashSet<u64>) -> Result<()> {
    let mut without_news = 0;
    for _ in 0..ROUNDS {
        let last = export.connection.accepted(&RequestLine::new("ping").finish())?.number("seq").unwrap_or(0);
        let before = seen.len();
        let there = count(export, queue)?;
        let mut found = HashSet::new();
        for state in STATES {
            jobs_in(export, queue, state, seen, &mut found)?;
        }
        // Jobs that came behind the count do not stand for those that were counted.
        let counted = found.into_iter().filter(|job| *job <= last).count() as u64;
        if counted >= there {
            return Ok(());
        }
        // Jobs that are done between the count and the look are missing in every round of a busy queue.
        without_news = if counted > 0 && seen.len() == before { without_news + 1 } else { 0 };
        if without_news == ROUNDS_WITHOUT_NEWS {
            return Ok(());
        }
    }
    let queue = visible(queue);
    export.progress.suspend(|| {
        say(&format!("the jobs of {queue} change so often that some may not have been found"));
    });
    Ok(())
}

/// How many jobs a queue has, the dead ones not counted; none where it was dropped meanwhile.
fn count(export: &mut Export<'_>, queue: &str) -> Result<u64> {
    let get = RequestLine::new("queue.get").raw("queue", queue).finish();
    let reply = match export.connection.accepted(&get) {
        Err(Failure::Refused(refusal)) if refusal.code == "not_found" => return Ok(0),
        reply => reply?,
    };
    let queue = reply.field("queue").map(Record::of);
    Ok(queue.iter().flat_map(|queue| STATES.iter().filter_map(|state| queue.number(state))).sum())
}

/// The jobs of a queue in a state, but for those that were seen. Tells the numbers of all.
fn jobs_in(
    export: &mut Export<'_>,
    queue: &str,
    state: &str,
    seen: &mut HashSet<u64>,
    found: &mut HashSet<u64>,
) -> Result<()> {
    let mut peek = RequestLine::new("queue.peek");
    peek.raw("queue", queue).text("state", state);
    let mut pages = Pages::of(&peek, "jobs").limit(PAGE_ITEMS).passing();
    while let Some(page) = pages.next(&mut export.connection)? {
        for job in page.items() {
            let job = Record::of(job);
            let number = job.number("job").unwrap_or(u64::MAX);
            found.insert(number);
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
                // After the clock was set back, it is further away than any job may be put off.
                let delay_ms = ready_at.0.saturating_sub(Timestamp::now().0).div_ceil(1000);
                put.number("delay_ms", delay_ms.min(TIME_MS));
            }
            export.request(&put)?;
        }
    }
    Ok(())
}
