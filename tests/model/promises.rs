//! What a log must keep whatever happened, seen from the log alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::exact::{must, must_number, number};

/// Goes through all events, oldest first.
pub fn check(events: &[Value]) {
    seqs_have_no_gap_and_times_never_run_backwards(events);
    numbers_count_up_and_are_never_reused(events);
    every_formula_has_one_job(events);
    no_job_has_two_holders(events);
}

fn seqs_have_no_gap_and_times_never_run_backwards(events: &[Value]) {
    let mut before = String::new();
    for (place, event) in events.iter().enumerate() {
        assert_eq!(must_number(event, "seq"), place as u64 + 1, "{event}");
        let at = must(event, "at");
        assert!(at >= before, "{event} is before {before}");
        before = at;
    }
}

fn numbers_count_up_and_are_never_reused(events: &[Value]) {
    let mut chats: BTreeMap<String, u64> = BTreeMap::new();
    let mut messages: BTreeMap<(String, u64), u64> = BTreeMap::new();
    for event in events {
        match (event["type"].as_str(), number(event, "number")) {
            (Some("chat.created"), _) => {
                let last = chats.entry(must(event, "app")).or_default();
                *last += 1;
                assert_eq!(must_number(event, "chat"), *last, "{event}");
            }
            (Some("message.posted"), Some(number)) => {
                let chat = (must(event, "app"), must_number(event, "chat"));
                let last = messages.entry(chat).or_default();
                *last += 1;
                assert_eq!(number, *last, "{event}");
            }
            _ => {}
        }
    }
}

fn every_formula_has_one_job(events: &[Value]) {
    let mut formulas = BTreeSet::new();
    for pair in events.windows(2).filter(|pair| pair[0]["type"] == "formula.created") {
        let id = must(&pair[0], "formula");
        assert_eq!(pair[1]["type"], "job.put", "{}", pair[1]);
        assert_eq!(pair[1]["queue"], "formulas", "{}", pair[1]);
        assert_eq!(must(&pair[1]["body"], "formula"), id);
        assert!(formulas.insert(id), "two formulas of one make-up: {}", pair[0]);
    }
    assert!(events.last().is_none_or(|last| last["type"] != "formula.created"));
}

fn no_job_has_two_holders(events: &[Value]) {
    let mut held: BTreeMap<u64, String> = BTreeMap::new();
    for event in events {
        match event["type"].as_str() {
            Some("job.leased") => {
                let (job, queue) = (must_number(event, "job"), must(event, "queue"));
                assert_eq!(held.insert(job, queue), None, "two holders: {event}");
            }
            Some("job.acked" | "job.nacked" | "job.expired") => {
                let job = must_number(event, "job");
                assert!(held.remove(&job).is_some(), "nobody held it: {event}");
            }
            Some("job.deleted") => drop(held.remove(&must_number(event, "job"))),
            Some("queue.purged") if event["state"].is_null() || event["state"] == "leased" => {
                held.retain(|_, queue| event["queue"] != *queue);
            }
            _ => {}
        }
    }
}
