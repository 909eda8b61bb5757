//! Metrics for Prometheus, and the dashboard that shows them.

mod client_support;
mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use client_support::printed;
use common::{Daemon, Value, json};

/// The metrics of a daemon that has done a little of everything.
fn metrics() -> String {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    client.ok(json!({"cmd": "kv.get", "key": "k"}));
    client.put(1);
    client.ok(json!({"cmd": "metrics"})).string("text") + &printed(&daemon, &["queue", "metrics"])
}

/// The lines that are samples: name with labels, and value.
fn samples(text: &str) -> Vec<(&str, &str)> {
    let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line}"))).collect()
}

#[test]
fn metrics_are_in_the_prometheus_text_format() {
    let text = metrics();
    let samples = samples(&text);
    for expected in [
        ("msglogd_stored_keys", "1"),
        ("msglogd_jobs{state=\"ready\"}", "1"),
        ("msglogd_writer_events_total", "2"),
        ("msglogd_reads_duration_seconds_count", "1"),
    ] {
        assert!(samples.contains(&expected), "no {expected:?} in {text}");
    }
    for (name, value) in samples {
        assert!(name.starts_with("msglogd_"), "{name}");
        assert!(value.parse::<f64>().is_ok(), "{name} {value}");
    }
}

#[test]
fn promtool_finds_nothing_to_say_against_them() {
    let found = Command::new("promtool").arg("--version").output();
    if found.is_err() {
        eprintln!("SKIPPED: promtool (Debian's package prometheus) is not installed");
        return;
    }
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(metrics().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("a child of ours");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_client_prints_them_as_they_are_unless_it_is_asked_for_json() {
    let daemon = Daemon::start();
    let text = printed(&daemon, &["metrics"]);
    assert!(text.starts_with("# HELP msglogd_build_info "), "{text}");
    let reply: Value = serde_json::from_str(&printed(&daemon, &["metrics", "--json"])).expect("JSON");
    assert!(reply["text"].as_str().is_some_and(|text| text.starts_with("# HELP ")), "{reply}");
}

#[test]
fn what_each_queue_holds_is_printed_behind_them() {
    let daemon = Daemon::start();
    assert_eq!(printed(&daemon, &["queue", "metrics"]), "");
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.put", "queue": "mails", "body": 1}));
    client.ok(json!({"cmd": "queue.put", "queue": "a \"b\"", "body": 1, "delay_ms": 3_600_000}));
    let text = printed(&daemon, &["queue", "metrics"]);
    for line in [
        r#"msglogd_queue_jobs{queue="mails",state="ready"} 1"#,
        r#"msglogd_queue_jobs{queue="a \"b\"",state="delayed"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line} in {text}");
    }
    assert!(text.contains(r#"msglogd_queue_oldest_ready_timestamp_seconds{queue="mails"} 1"#), "{text}");
    let reply: Value =
        serde_json::from_str(&printed(&daemon, &["queue", "metrics", "--json"])).expect("JSON");
    assert_eq!(reply, json!({"ok": true, "text": text}));
    // One text of both: no metric is described twice.
    let both = printed(&daemon, &["metrics"]) + &text;
    let described: Vec<&str> = both.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    let once: BTreeSet<&str> = described.iter().copied().collect();
    assert_eq!(once.len(), described.len());
}

#[test]
fn the_dashboard_shows_only_what_there_is() {
    let dashboard: Value =
        serde_json::from_str(include_str!("../docs/grafana-dashboard.json")).expect("JSON");
    let text = metrics();
    let there: BTreeSet<&str> =
        samples(&text).iter().map(|(name, _)| name.split('{').next().unwrap_or_default()).collect();
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            for name in query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                if name.starts_with("msglogd_") {
                    assert!(there.contains(name), "{name} in panel {} is no metric", panel["title"]);
                    shown.insert(name.to_owned());
                }
            }
        }
    }
    assert!(shown.len() > 20, "{shown:?}");
}
