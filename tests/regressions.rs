//! Defects that were found, each as a test.

mod common;

use std::io::{IoSlice, Read, Write};
use std::os::fd::AsFd;

use common::Daemon;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::json;

#[test]
fn a_null_value_and_a_null_body_survive_a_restart() {
    let mut daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "a", "value": null}));
    client.ok(json!({"cmd": "queue.put", "queue": "q", "body": null}));
    daemon.crash();
    let mut client = daemon.connect();
    assert_eq!(client.ok(json!({"cmd": "kv.get", "key": "a"}))["value"], json!(null));
    assert_eq!(client.ok(json!({"cmd": "queue.reserve", "queue": "q"}))["jobs"][0]["body"], json!(null));
}

#[test]
fn a_reader_of_many_large_replies_gets_them_all() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let value = "x".repeat(900_000);
    client.ok(json!({"cmd": "kv.set", "key": "large", "value": value}));
    let mut stream = client.stream();
    stream
        .write_all("{\"cmd\":\"kv.get\",\"key\":\"large\"}\n".repeat(200).as_bytes())
        .expect("it takes the lines");
    for _ in 0..200 {
        let reply = client.read_ok();
        assert_eq!(reply["value"].as_str().map(str::len), Some(value.len()));
    }
}

#[test]
fn a_client_that_hangs_up_with_replies_unread_leaves_nothing_behind() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.ok(json!({"cmd": "kv.set", "key": "large", "value": "x".repeat(900_000)}));
    let get = "{\"cmd\":\"kv.get\",\"key\":\"large\"}\n";
    let lines = format!("{}{{\"cmd\":\"kv.set\",\"key\":\"last\",\"value\":1}}\n", get.repeat(30));
    let gone = daemon.connect();
    gone.stream().write_all(lines.as_bytes()).expect("it takes the lines");
    // The first reply is on its way: all lines were received.
    gone.stream().read_exact(&mut [0; 1]).expect("a reply begins");
    drop(gone);
    while client.ok(json!({"cmd": "stats"}))["connections"]["open"] != 1 {
        std::thread::yield_now();
    }
    client.ok(json!({"cmd": "kv.get", "key": "last"}));
}

#[test]
fn a_client_that_hangs_up_with_a_request_that_waited_leaves_nothing_behind() {
    let daemon = Daemon::start();
    let mut other = daemon.connect();
    for turn in 0..8 {
        let queue = format!("q{turn}");
        for _ in 0..12 {
            let body = "x".repeat(1_000_000);
            other.ok(json!({"cmd": "queue.put", "queue": queue, "body": body, "durable": false}));
        }
        let client = daemon.connect();
        let reserve = json!({"cmd": "queue.reserve", "queue": queue, "max": 4}).to_string();
        let lines = format!("{reserve}\n{reserve}\n{reserve}\n{{\"cmd\":\"ping\"}}\n");
        client.stream().write_all(lines.as_bytes()).expect("it takes the lines");
        client.close();
    }
    common::until("only this connection is left", || {
        let stats = other.ok(json!({"cmd": "stats"}));
        (stats["connections"]["open"] == 1).then_some(())
    });
}

#[test]
fn a_line_behind_bytes_with_descriptors_is_read_at_once() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsFd;
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    client.last_seq();
    // Both pieces are there before the daemon reads.
    daemon.signal(rustix::process::Signal::STOP);
    let stream = client.stream();
    let descriptors = [stream.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); 128];
    let mut passed = SendAncillaryBuffer::new(&mut space);
    assert!(passed.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let piece = std::io::IoSlice::new(b"{\"cmd\":");
    sendmsg(&stream, &[piece], &mut passed, SendFlags::empty()).expect("a socket");
    client.send_bytes("\"ping\"}\n");
    daemon.signal(rustix::process::Signal::CONT);
    client.read_ok();
}

#[test]
fn all_reserves_of_a_batch_share_the_room_of_one_reply() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let body = "x".repeat(900_000);
    for _ in 0..20 {
        client.ok(json!({"cmd": "queue.put", "queue": "q", "body": body, "durable": false}));
    }
    let reserve = json!({"cmd": "queue.reserve", "queue": "q", "max": 10});
    let batch = client.ok(json!({"cmd": "batch", "commands": vec![reserve; 20]}));
    let results = batch["results"].as_array().expect("results");
    let leased: usize = results.iter().map(|result| result["jobs"].as_array().map_or(0, Vec::len)).sum();
    assert!((1..=5).contains(&leased), "{leased} jobs of 0.9 MB fit a reply of 4 MiB");
    let queue = client.ok(json!({"cmd": "queue.get", "queue": "q"}));
    assert_eq!(queue["queue"]["leased"], leased, "{queue}");
}

#[test]
fn a_reply_with_jobs_is_no_longer_than_its_bound() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let bound = 4 << 20;
    let put = |client: &mut common::Client, queue: &str, body: &str| {
        client.ok(json!({"cmd": "queue.put", "queue": queue, "body": body, "durable": false}));
    };
    for length in [209_500, 209_600, 209_608, 209_700] {
        let queue = format!("q{length}");
        (0..21).for_each(|_| put(&mut client, &queue, &"x".repeat(length)));
        let reserve = json!({"cmd": "queue.reserve", "queue": queue, "max": 1000});
        let mut dry_run = reserve.clone();
        dry_run["dry_run"] = json!(true);
        for request in [dry_run, reserve] {
            let reply = client.ask(request);
            assert!(reply.json()["jobs"].as_array().is_some_and(|jobs| jobs.len() >= 19), "{length}");
            assert!(reply.json().to_string().len() < bound, "{length}");
        }
    }
    let strange = "\u{1}".repeat(256);
    for _ in 0..12 {
        let put = json!({"cmd": "queue.put", "queue": strange, "body": "x".repeat(3500)});
        client.ok(json!({"cmd": "batch", "commands": vec![put; 100], "durable": false}));
    }
    let reserve = json!({"cmd": "queue.reserve", "queue": strange, "max": 1000, "dry_run": true});
    assert!(client.ok(reserve).json().to_string().len() < bound);
    let small = vec![json!({"cmd": "queue.put", "queue": "small", "body": 1}); 1000];
    for _ in 0..40 {
        client.ok(json!({"cmd": "batch", "commands": small, "durable": false}));
    }
    let reserve = json!({"cmd": "queue.reserve", "queue": "small", "max": 1000});
    for dry_run in [true, false] {
        let reply =
            client.ok(json!({"cmd": "batch", "commands": vec![reserve.clone(); 100], "dry_run": dry_run}));
        let text = reply.json().to_string();
        assert!(text.matches("expires_at").count() > 5000 && text.len() < bound, "{}", text.len());
    }
}

#[test]
fn a_long_word_or_phrase_that_almost_matches_everywhere_is_told_apart_at_once() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut post = |body: String| {
        client.ok(json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": body}));
    };
    (0..3).for_each(|less| post("x".repeat(1_000_000 - less)));
    (0..3).for_each(|_| post(format!("b {}b", "aa ".repeat(330_000))));
    // Each of these would take a minute or more if every place were looked at anew.
    let mut found = |text: String| {
        let reply = client.ok(json!({"cmd": "message.search", "text": text, "count": true, "limit": 1}));
        reply["total"].as_u64()
    };
    assert_eq!(found("x".repeat(100_000)), Some(0));
    assert_eq!(found("x".repeat(999_999)), Some(1));
    assert_eq!(found(format!("\"b {}b\"", "aa ".repeat(250))), Some(0));
    assert_eq!(found(format!("\"{}b\"", "aa ".repeat(250))), Some(3));
}

#[test]
fn words_of_any_length_are_found_by_all_of_their_letters() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let long = |end: &str| format!("{}{end}", "ab".repeat(300));
    for body in [long("one"), long("two"), "short".to_owned()] {
        client.ok(json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": body}));
    }
    let mut found = |search: serde_json::Value| {
        let mut request = search;
        request["cmd"] = json!("message.search");
        request["count"] = json!(true);
        let reply = client.ok(request);
        let seqs: Vec<u64> = reply["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .filter_map(|m| m["seq"].as_u64())
            .collect();
        assert_eq!(reply["total"], seqs.len(), "{reply}");
        seqs
    };
    assert_eq!(found(json!({"text": long("one")})), [1]);
    assert_eq!(found(json!({"text": format!("{}*", long("t"))})), [2]);
    assert_eq!(found(json!({"text": "abab*"})), [2, 1]);
    assert_eq!(found(json!({"text": format!("ab* -{}", long("two"))})), [1]);
    assert_eq!(found(json!({"substring": "bone"})), [1]);
    assert_eq!(found(json!({"substring": "abab"})), [2, 1]);
}

#[test]
fn a_follow_that_is_begun_during_the_stop_ends_with_it() {
    let mut daemon = Daemon::start();
    let client = daemon.connect();
    let mut lines = "{\"cmd\":\"kv.set\",\"key\":\"k\",\"value\":1}\n".repeat(3000);
    lines.push_str("{\"cmd\":\"log.follow\"}\n");
    client.stream().write_all(lines.as_bytes()).expect("it takes the lines");
    assert_eq!(daemon.stop(), Some(0));
    let mut rest = String::new();
    client.stream().read_to_string(&mut rest).expect("the replies");
    let last = rest.lines().last().unwrap_or_default();
    assert!(last.contains("\"shutting_down\""), "{last}");
}

#[test]
fn a_text_and_a_substring_must_both_be_there() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for body in ["alpha beta", "gamma alpha beta"] {
        client.ok(json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": body}));
    }
    // The text is exact, so no message is checked for it; the substring is looked for message by message.
    for text in ["gam*", "gamma"] {
        let found = client.ok(json!({"cmd": "message.search", "text": text, "substring": "pha b"}));
        assert_eq!(found["messages"].as_array().map(Vec::len), Some(1), "{text}: {found}");
    }
}

#[test]
fn a_line_behind_one_that_came_with_a_descriptor_is_answered() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    for turn in 0..20 {
        let stream = client.stream();
        let descriptors = [stream.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let first = format!("{{\"cmd\":\"ping\",\"id\":\"first {turn}\"}}\n");
        let lines = [IoSlice::new(first.as_bytes())];
        sendmsg(&stream, &lines, &mut control, SendFlags::empty()).expect("it takes the line");
        client.send(json!({"cmd": "ping", "id": "second"}));
        assert_eq!(client.read_ok()["id"], format!("first {turn}"));
        assert_eq!(client.read_ok()["id"], "second");
    }
}

#[test]
fn many_long_answers_asked_for_at_once_all_come_in_their_order() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let commands = ["stats", "ping", "metrics", "info", "help"];
    for id in 0..300 {
        client.send(json!({"cmd": commands[id % commands.len()], "id": id}));
    }
    for id in 0..300 {
        assert_eq!(client.read_ok()["id"], id);
    }
}
