//! `msglog queue metrics`: how many jobs each queue holds, in the text format of Prometheus.
//!
//! `metrics` tells of all queues together: the daemon answers it in the midst of everything else, and there may be very
//! many queues.

use std::fmt::Write;

use super::address::Address;
use super::failure::{DONE, Result};
use super::output::Output;
use super::own::Own;
use super::pages::Pages;
use super::record::Record;
use super::reply::Reply;
use super::request::{RequestLine, string};
use crate::domain::event::JobState;
use crate::json;
use crate::metrics;
use crate::time::Timestamp;

/// `msglog queue metrics`, as help and completions know it.
pub const OWN: Own = Own {
    words: "queue metrics",
    takes: "",
    doc: "Prints what each queue holds, in the text format of Prometheus.",
    about: &[
        "These belong behind what `msglog metrics` prints, which tells of all queues together:",
        "  msglogd_queue_jobs{queue,state}                      jobs by state",
        "  msglogd_queue_max_jobs{queue}                        where it is bounded",
        "  msglogd_queue_oldest_ready_timestamp_seconds{queue}  when that was put",
        "A job's age counts from its put, also where it was delayed, tried again or revived. Each queue has five or \
         six series: where there are very many queues, leave them out.",
    ],
    options: &[],
    notes: &[],
    examples: &["msglog metrics && msglog queue metrics"],
};

/// Prints the metrics of all queues.
///
/// # Errors
/// No daemon answers, it refuses, or nobody reads the output.
pub fn print(address: &Address, output: &mut Output) -> Result<u8> {
    let mut connection = address.connect()?;
    let mut families = Families::default();
    let mut queues = Pages::of(&RequestLine::new("queue.list"), "queues");
    while let Some(page) = queues.next(&mut connection)? {
        page.items().into_iter().for_each(|queue| families.add(&Record::of(queue)));
    }
    // As `metrics` is printed.
    let reply = format!("{{\"ok\":true,\"text\":{}}}", string(&families.text()));
    if let Some(reply) = Reply::new(reply) {
        output.reply("{\"cmd\":\"metrics\"}", &reply)?;
    }
    output.flush()?;
    Ok(DONE)
}

/// The samples of each metric, which have to stand together.
#[derive(Default)]
struct Families {
    jobs: String,
    most: String,
    oldest: String,
}

impl Families {
    /// Adds a queue of `queue.list`.
    fn add(&mut self, queue: &Record<'_>) {
        let Some(name) = queue.find("queue").and_then(json::as_string) else { return };
        let name = label(&name);
        for state in JobState::ALL.map(JobState::as_str) {
            let jobs = queue.number(state).unwrap_or(0);
            // Writing to a string cannot fail.
            let _ = writeln!(self.jobs, "msglogd_queue_jobs{{queue=\"{name}\",state=\"{state}\"}} {jobs}");
        }
        if let Some(most) = queue.number("max_jobs") {
            let _ = writeln!(self.most, "msglogd_queue_max_jobs{{queue=\"{name}\"}} {most}");
        }
        let oldest = queue.find("oldest_at").and_then(json::as_string);
        if let Some(Timestamp(us)) = oldest.and_then(|oldest| Timestamp::parse(&oldest)) {
            let _ = writeln!(
                self.oldest,
                "msglogd_queue_oldest_ready_timestamp_seconds{{queue=\"{name}\"}} {}",
                metrics::seconds(us)
            );
        }
    }

    /// All of them, each with what it is.
    fn text(&self) -> String {
        let families = [
            ("jobs", "jobs in a queue, by state", &self.jobs),
            ("max_jobs", "jobs that a queue may hold that are not dead", &self.most),
            ("oldest_ready_timestamp_seconds", "when the oldest ready job of a queue was put", &self.oldest),
        ];
        let mut out = String::new();
        for (name, doc, samples) in families.into_iter().filter(|(_, _, samples)| !samples.is_empty()) {
            metrics::head(&mut out, &format!("msglogd_queue_{name}"), "gauge", doc);
            out += samples;
        }
        out
    }
}

/// A name as it stands in a label
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
fn label(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_metric_stand_together_and_names_are_escaped() {
        let mut families = Families::default();
        assert_eq!(families.text(), "");
        families.add(&Record::of(
            r#"{"queue":"a","max_jobs":7,"ready":1,"delayed":2,"leased":3,"dead":4,
                "oldest_at":"1970-01-01T00:00:01.5Z"}"#,
        ));
        families.add(&Record::of(
            r#"{"queue":"b \"\\\n","max_jobs":null,"ready":0,"delayed":0,"leased":0,"dead":0}"#,
        ));
        let expected = r#"# HELP msglogd_queue_jobs jobs in a queue, by state
# TYPE msglogd_queue_jobs gauge
msglogd_queue_jobs{queue="a",state="ready"} 1
msglogd_queue_jobs{queue="a",state="delayed"} 2
msglogd_queue_jobs{queue="a",state="leased"} 3
msglogd_queue_jobs{queue="a",state="dead"} 4
msglogd_queue_jobs{queue="b \"\\\n",state="ready"} 0
msglogd_queue_jobs{queue="b \"\\\n",state="delayed"} 0
msglogd_queue_jobs{queue="b \"\\\n",state="leased"} 0
msglogd_queue_jobs{queue="b \"\\\n",state="dead"} 0
# HELP msglogd_queue_max_jobs jobs that a queue may hold that are not dead
# TYPE msglogd_queue_max_jobs gauge
msglogd_queue_max_jobs{queue="a"} 7
# HELP msglogd_queue_oldest_ready_timestamp_seconds when the oldest ready job of a queue was put
# TYPE msglogd_queue_oldest_ready_timestamp_seconds gauge
msglogd_queue_oldest_ready_timestamp_seconds{queue="a"} 1.500000
"#;
        assert_eq!(families.text(), expected);
    }
}
