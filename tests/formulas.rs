//! Formulas: what makes two the same, and the one step that stores and publishes.

mod common;

use common::{Client, Daemon, Reply, Value, assert_error, assert_ok, json};

/// A submission of materials that are given as `name, concentration` pairs in JSON.
fn submit(name: &str, materials: &[(&str, &str)]) -> String {
    let materials: Vec<String> = materials
        .iter()
        .map(|(name, concentration)| {
            format!(r#"{{"name":{},"concentration":{concentration}}}"#, Value::from(*name))
        })
        .collect();
    let name = Value::from(name);
    format!(r#"{{"cmd":"formula.submit","name":{name},"materials":[{}]}}"#, materials.join(","))
}

#[track_caller]
fn submitted(client: &mut Client, name: &str, materials: &[(&str, &str)]) -> Reply {
    let reply = client.ask_raw(submit(name, materials));
    assert_ok(&reply);
    reply
}

/// How many jobs are on the queue `formulas`.
#[track_caller]
fn published_count(client: &mut Client) -> u64 {
    let reply = client.ok(json!({"cmd": "queue.get", "queue": "formulas"}));
    common::number(&reply["queue"], "ready")
}

#[test]
fn the_first_submission_is_stored_and_published() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let first = submitted(&mut client, "Rose", &[("rose oil", "15.50"), ("ethanol", "84.5")]);
    assert_eq!(first["created"], true, "{first}");
    let id = first.string("formula");
    let read = client.ok(json!({"cmd": "formula.get", "formula": id}));
    let formula = &read["formula"];
    assert_eq!(formula["formula"], id.as_str(), "{read}");
    assert_eq!(formula["name"], "Rose", "{read}");
    assert_eq!(formula["seq"], first["seq"], "{read}");
    assert!(common::is_time(&formula["at"]), "{read}");
    assert_eq!(formula["materials"][0]["name"], "rose oil", "{read}");
    assert!(read.text.contains("15.50"), "as first submitted\n{read}");

    let jobs = client.ok(json!({"cmd": "queue.peek", "queue": "formulas"})).list("jobs");
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let body = &jobs[0]["body"];
    assert_eq!(body["type"], "formula_created", "{body}");
    for key in ["formula", "name", "materials", "at"] {
        assert_eq!(body[key], formula[key], "{key} in {body}");
    }
}

#[test]
fn storing_and_publishing_are_one_step_of_two_events() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    submitted(&mut client, "Rose", &[("rose oil", "1")]);
    submitted(&mut client, "Rose again", &[("rose oil", "1.0")]);
    let log = client.ok(json!({"cmd": "log.read"}));
    assert_eq!(log.column("events", "type"), [json!("formula.created"), json!("job.put")], "{log}");
}

#[test]
fn a_duplicate_gets_the_first_ones_answer_and_publishes_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let first = submitted(&mut client, "Rose", &[("rose oil", "15.5"), ("ethanol", "84.5")]);
    let same: &[&[(&str, &str)]] = &[
        &[("rose oil", "15.5"), ("ethanol", "84.5")],
        &[("ethanol", "84.5"), ("rose oil", "15.5")],
        &[("rose oil", "15.50"), ("ethanol", "84.5000")],
        &[("rose oil", "1.55e1"), ("ethanol", "845E-1")],
        &[("rose oil", "155e-1"), ("ethanol", "0.845e+2")],
        &[("rose oil", "\"15.5\""), ("ethanol", "\"8.45e1\"")],
        &[(" rose oil\t", "15.5"), ("\u{3000}ethanol\u{a0}", "84.5")],
    ];
    for materials in same {
        let again = submitted(&mut client, "Another name", materials);
        assert_eq!(again["created"], false, "{again}");
        assert_eq!(again["formula"], first["formula"], "{again}");
        assert_eq!(again["seq"], first["seq"], "{again}");
    }
    assert_eq!(published_count(&mut client), 1);
    let read = client.ok(json!({"cmd": "formula.get", "formula": first["formula"]}));
    assert_eq!(read["formula"]["name"], "Rose", "{read}");
}

#[test]
fn formulas_that_differ_in_their_make_up_are_different() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let different: &[&[(&str, &str)]] = &[
        &[("rose oil", "15.5")],
        &[("rose oil", "15.5"), ("ethanol", "84.5")],
        &[("rose oil", "84.5"), ("ethanol", "15.5")],
        &[("rose oil", "15.50000000000000000000000000000000000001")],
        &[("rose oil", "0.1")],
        &[("rose oil", "0.1000000000000000055511151231257827021181583404541015625")],
        &[("rose oil", "9007199254740992")],
        &[("rose oil", "9007199254740993")],
        &[("rose oil", "1e400")],
        &[("rose oil", "1e401")],
        &[("rose oil", "1e-400")],
        &[("Rose oil", "15.5")],
        &[("rose  oil", "15.5")],
        &[("roseoil", "15.5")],
        &[("a", "1"), ("b", "1")],
        &[("a", "11"), ("b", "1")],
        &[("a\u{0}b", "1")],
    ];
    let mut ids: Vec<String> = Vec::new();
    for materials in different {
        let reply = submitted(&mut client, "x", materials);
        assert_eq!(reply["created"], true, "{reply}");
        ids.push(reply.string("formula"));
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), different.len());
    assert_eq!(published_count(&mut client), different.len() as u64);
}

#[test]
fn the_id_comes_from_the_make_up_alone() {
    let (one, two) = (Daemon::start(), Daemon::start());
    two.connect().ok(json!({"cmd": "kv.set", "key": "k", "value": 1}));
    let first = submitted(&mut one.connect(), "Rose", &[("a", "1"), ("b", "2.0")]);
    let second = submitted(&mut two.connect(), "Tulip", &[("b", "2"), ("a", "1.00")]);
    assert_eq!(first["formula"], second["formula"], "{second}");
    assert_eq!(second["created"], true, "{second}");
}

#[test]
fn numbers_may_have_a_thousand_digits_and_exponents_of_a_thousand() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let digits = "7".repeat(1000);
    let created = [digits.as_str(), "1e1000", "1e-1000", "\"2E+1000\""];
    for concentration in created {
        let reply = submitted(&mut client, "x", &[("a", concentration)]);
        assert_eq!(reply["created"], true, "{reply}");
    }
    let again = submitted(&mut client, "x", &[("a", "10e999")]);
    assert_eq!(again["created"], false, "{again}");
    for concentration in
        ["7".repeat(1001), "1e1001".into(), "1e-1001".into(), "1e99999999999999999999".into()]
    {
        assert_refused(&mut client, &submit("x", &[("a", &concentration)]));
    }
    assert_eq!(published_count(&mut client), created.len() as u64);
}

/// It is `bad_request` over the materials, or over something inside of them.
#[track_caller]
fn assert_refused(client: &mut Client, line: &str) {
    let reply = client.ask_raw(line);
    assert_error(&reply, "bad_request");
    assert!(reply.string("field").starts_with("materials"), "{reply}");
}

#[test]
fn what_is_no_formula_is_refused() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for concentration in [
        "0", "0.0", "-0", "-1", "\"0e5\"", "\"-2\"", "\"\"", "\"abc\"", "\"+1\"", "\".5\"", "\"1.\"",
        "\"01\"", "\" 1\"", "\"1 \"", "\"0x10\"", "\"1e\"", "\"NaN\"", "true", "null", "[1]",
    ] {
        assert_refused(&mut client, &submit("x", &[("a", concentration)]));
    }
    let long = "n".repeat(1025);
    for materials in [
        &[][..],
        &[("a", "1"), ("a", "2")],
        &[("a", "1"), (" a ", "1")],
        &[("", "1")],
        &[(" \t\u{3000}", "1")],
        &[(long.as_str(), "1")],
    ] {
        assert_refused(&mut client, &submit("x", materials));
    }
    for material in [
        r#"{"name":"a"}"#,
        r#"{"concentration":1}"#,
        "1",
        "null",
        r#""a""#,
        "[]",
        r#"{"name":1,"concentration":1}"#,
        r#"{"name":"a","concentration":1,"unit":"%"}"#,
    ] {
        let line = format!(r#"{{"cmd":"formula.submit","name":"x","materials":[{material}]}}"#);
        assert_refused(&mut client, &line);
    }
    assert_eq!(client.last_seq(), 0);
}

#[test]
fn names_have_up_to_1024_bytes_without_the_white_space_around() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let name = "n".repeat(1024);
    let first = submitted(&mut client, &name, &[(&name, "1")]);
    let padded = format!("\u{2003}{name}\n");
    let again = submitted(&mut client, &padded, &[(&padded, "1")]);
    assert_eq!(again["formula"], first["formula"], "{again}");
    for name in ["", "  ", &format!("{name}n")] {
        let reply = client.ask_raw(submit(name, &[("a", "1")]));
        common::assert_field(&reply, "name");
    }
}

#[test]
fn a_full_queue_refuses_a_new_formula_whole_and_no_duplicate() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "queue.configure", "queue": "formulas", "max_jobs": 1}));
    let first = submitted(&mut client, "first", &[("a", "1")]);
    let before = client.last_seq();
    let refused = client.ask_raw(submit("second", &[("b", "1")]));
    assert_error(&refused, "queue_full");
    assert_eq!(client.last_seq(), before);
    let again = submitted(&mut client, "again", &[("a", "1")]);
    assert_eq!(again["created"], false, "{again}");
    let listed = client.ok(json!({"cmd": "formula.list"}));
    assert_eq!(listed.column("formulas", "formula"), [first["formula"].clone()], "{listed}");

    let reserved = client.ok(json!({"cmd": "queue.reserve", "queue": "formulas"}));
    let job = &reserved["jobs"][0];
    client.ok(json!({"cmd": "queue.ack", "job": job["job"], "lease": job["lease"]}));
    let second = submitted(&mut client, "second", &[("b", "1")]);
    assert_eq!(second["created"], true, "{second}");
}

#[test]
fn formulas_are_listed_by_creation_in_pages() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let ids: Vec<String> = (0..15)
        .map(|n| submitted(&mut client, "x", &[("a", &format!("{}", 100 - n))]).string("formula"))
        .collect();
    for limit in [1, 4, 15, 16] {
        let (mut found, mut request) = (Vec::new(), json!({"cmd": "formula.list", "limit": limit}));
        loop {
            let page = client.ok(request.clone());
            found.extend(page.column("formulas", "formula"));
            assert_eq!(page.has("next"), found.len() < ids.len(), "{page}");
            let Some(next) = page.get("next") else { break };
            request["after"] = next.clone();
        }
        assert_eq!(json!(found), json!(ids), "limit {limit}");
    }
}

#[test]
fn an_unknown_formula_is_not_found() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let id = submitted(&mut client, "x", &[("a", "1")]).string("formula");
    let unknown: String = id.chars().rev().collect();
    client.refused(json!({"cmd": "formula.get", "formula": unknown}), "not_found");
}

#[test]
fn a_duplicate_is_known_after_a_restart() {
    let mut daemon = Daemon::start();
    let first = submitted(&mut daemon.connect(), "x", &[("a", "1"), ("b", "2")]);
    for crash in [true, false] {
        if crash {
            daemon.crash()
        } else {
            daemon.restart()
        }
        let mut client = daemon.connect();
        let again = submitted(&mut client, "y", &[("b", "2.0"), ("a", "1e0")]);
        assert_eq!(again["created"], false, "{again}");
        assert_eq!(again["seq"], first["seq"], "{again}");
        assert_eq!(published_count(&mut client), 1);
    }
}
