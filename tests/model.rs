//! Random requests of every noun against a naive model, with restarts and merges among them.
#![allow(clippy::expect_used)]

#[path = "model/mod.rs"]
mod naive;
#[path = "model/pair.rs"]
mod pair;
#[path = "support_in_process/mod.rs"]
mod support;

use msglogd::domain::command::Command;
use msglogd::protocol::request;
use msglogd::reader::follow;
use msglogd::snapshot::Snapshot;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Value, json};

use naive::requests::About;
use pair::{Checked, Pair, Step, step};
use support::Daemon;

/// Case counts fit a build without optimization; `PROPTEST_CASES` sets another.
fn config(cases: u32) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config
}

fn play(about: About, steps: &[Step]) -> Checked {
    let mut pair = Pair::new(about);
    steps.iter().try_for_each(|step| pair.step(step))?;
    pair.check()
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn every_reply_is_what_the_model_says(steps in vec(step(), 1..60)) {
        play(About::Everything, &steps)?;
    }

    #[test]
    fn messages_are_found_whatever_was_merged(steps in vec(step(), 1..60)) {
        play(About::Messages, &steps)?;
    }

    #[test]
    fn jobs_are_where_the_model_has_them(steps in vec(step(), 1..60)) {
        play(About::Queues, &steps)?;
    }
}

#[test]
fn null_is_a_value_and_a_body_like_any_other() -> Checked {
    let mut pair = Pair::new(About::Everything);
    pair.alone(&json!({"cmd": "kv.set", "key": "a", "value": null}))?;
    pair.alone(&json!({"cmd": "queue.put", "queue": "q", "body": null}))?;
    pair.daemon.restart(false);
    pair.alone(&json!({"cmd": "queue.reserve", "queue": "q"}))?;
    pair.check()
}

#[test]
fn the_largest_bound_of_a_queue_is_kept_as_it_is() -> Checked {
    let mut pair = Pair::new(About::Queues);
    pair.alone(&json!({"cmd": "queue.configure", "queue": "q", "max_jobs": u64::MAX}))?;
    pair.check()
}

#[test]
fn an_edited_message_goes_with_its_chat_whatever_was_merged() -> Checked {
    let mut pair = Pair::new(About::Messages);
    let app = pair.alone(&json!({"cmd": "app.create", "name": "one"}))?["token"].clone();
    pair.alone(&json!({"cmd": "chat.create", "app": app}))?;
    pair.alone(&json!({"cmd": "message.post", "app": app, "chat": 1, "body": "alpha"}))?;
    pair.alone(&json!({"cmd": "message.edit", "seq": 3, "body": "beta"}))?;
    pair.daemon.flush();
    pair.alone(&json!({"cmd": "chat.delete", "app": app, "chat": 1}))?;
    pair.check()
}

#[test]
fn a_follower_of_messages_sees_no_edit_and_no_deletion_that_is_not_on_disk() {
    let mut daemon = Daemon::new(1 << 20);
    for body in ["one", "two", "three"] {
        let post = json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": body});
        daemon.ask(&post.to_string());
    }
    daemon.ask(&json!({"cmd": "message.edit", "seq": 1, "body": "other"}).to_string());
    daemon.ask(&json!({"cmd": "message.delete", "seq": 2}).to_string());
    let follow = json!({"cmd": "message.follow"}).to_string();
    let Ok(Command::Follow(follow, None)) = request::parse(follow.as_bytes()).command else {
        panic!("it is a follower")
    };
    let seen = |synced: u64| {
        let snapshot = Snapshot { synced, ..daemon.snapshot().clone() };
        let piece = follow::piece(&snapshot, &follow, 1).expect("a piece");
        let lines = String::from_utf8(piece.lines).expect("text");
        let bodies = lines.lines().map(|line| {
            let message: Value = serde_json::from_str(line).expect("JSON");
            message["body"].as_str().expect("a body").to_owned()
        });
        (bodies.collect::<Vec<_>>().join(" "), piece.next)
    };
    assert_eq!(seen(0), (String::new(), 1));
    assert_eq!(seen(2), ("one two".to_owned(), 3));
    assert_eq!(seen(3), ("one two three".to_owned(), 4));
    assert_eq!(seen(4), ("other two three".to_owned(), 5));
    assert_eq!(seen(5), ("other three".to_owned(), 6));
}
