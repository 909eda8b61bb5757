//! Queues with their settings and their jobs, made anew.

use super::Export;
use super::pages::{ask, each};
use crate::client::failure::{Result, say};
use crate::client::request::RequestLine;
use crate::client::style::visible;
use crate::json;
use crate::limits::PAGE_ITEMS;
use crate::time::Timestamp;

/// The jobs that are made anew: all but the dead ones.
const STATES: [&str; 3] = ["leased", "ready", "delayed"];

/// All queues. Their bounds come last: a queue may hold more than its own, and takes no job then.
pub fn all(export: &mut Export<'_>) -> Result<()> {
    let mut bounds = Vec::new();
    each(export, &RequestLine::new("queue.list"), "queues", &mut |export, queue| {
        let fields = json::object(queue);
        let get = |name| fields.as_ref().and_then(|fields| fields.get(name)).unwrap_or("null");
        let mut configure = RequestLine::new("queue.configure");
        for name in ["queue", "lease_ms", "max_attempts"] {
            configure.raw(name, get(name));
        }
        export.request(&configure)?;
        if get("max_jobs") != "null" {
            let mut bound = RequestLine::new("queue.configure");
            bound.raw("queue", get("queue")).raw("max_jobs", get("max_jobs"));
            bounds.push(bound);
        }
        STATES.iter().try_for_each(|state| jobs(export, get("queue"), state))
    })?;
    bounds.iter().try_for_each(|bound| export.request(bound))
}

/// The jobs of a queue in one state.
fn jobs(export: &mut Export<'_>, queue: &str, state: &str) -> Result<()> {
    let mut peek = RequestLine::new("queue.peek");
    let peek = peek.raw("queue", queue).text("state", state).number("limit", PAGE_ITEMS).finish();
    let page = ask(&mut export.connection, &peek)?;
    let jobs = page.field("jobs").and_then(json::array).unwrap_or_default();
    // A page may also be shorter than its limit, when its bytes are many.
    let whole = ask(&mut export.connection, &RequestLine::new("queue.get").raw("queue", queue).finish())?;
    let there = whole.field("queue").and_then(json::object).and_then(|queue| json::as_u64(queue.get(state)?));
    if there.is_some_and(|there| there > jobs.len() as u64) {
        export.cut = true;
        let (queue, first) = (visible(queue), jobs.len());
        export
            .progress
            .suspend(|| say(&format!("of the {state} jobs of {queue} only the first {first} are exported")));
    }
    for job in jobs {
        let fields = json::object(job);
        let get = |name| fields.as_ref().and_then(|fields| fields.get(name));
        if is_of_formula(queue, get("body")) {
            continue;
        }
        let mut put = RequestLine::new("queue.put");
        put.raw("queue", queue).raw("body", get("body").unwrap_or("null"));
        if let Some(priority) = get("priority").filter(|priority| *priority != "0") {
            put.raw("priority", priority);
        }
        let ready_at = get("ready_at").and_then(json::as_string).and_then(|at| Timestamp::parse(&at));
        if let Some(ready_at) = ready_at.filter(|_| state == "delayed") {
            put.number("delay_ms", ready_at.0.saturating_sub(Timestamp::now().0).div_ceil(1000));
        }
        export.request(&put)?;
    }
    Ok(())
}

/// Whether it is the job that a formula brings along by itself.
fn is_of_formula(queue: &str, body: Option<&str>) -> bool {
    let kind =
        body.and_then(json::object).and_then(|body| json::as_string(body.get("type")?).map(String::from));
    queue == "\"formulas\"" && kind.is_some_and(|kind| kind == "formula_created")
}
