//! Searches: the index finds just what a look at every body finds.

use msglogd::domain::{text, words};
use serde_json::{Value, json};

use crate::support::Daemon;

/// More add nothing but time.
const BODIES_MAX: usize = 24;
/// Longer ones are refused.
const SUBSTRING_BYTES_MAX: usize = 1024;

/// Takes the first line as what is searched for and the others as bodies.
pub fn check(bytes: &[u8]) {
    let all = String::from_utf8_lossy(bytes);
    let mut lines = all.split('\n');
    let query = lines.next().unwrap_or_default();
    let bodies: Vec<&str> = lines.take(BODIES_MAX).collect();
    let mut daemon = posted(&bodies);
    let parsed = text::parse(query);
    let reply = ask(&mut daemon, json!({"text": query}));
    match &parsed {
        Ok(wanted) => assert_found(&reply, &bodies, |body| wanted.matches(body)),
        Err(refused) => {
            assert!(query.is_char_boundary(refused.offset), "{refused:?}");
            assert_eq!(
                (&reply["error"], &reply["field"]),
                (&json!("bad_request"), &json!("text")),
                "{reply}"
            );
        }
    }
    if !query.is_empty() && query.len() <= SUBSTRING_BYTES_MAX {
        let reply = ask(&mut daemon, json!({"substring": query}));
        let needle = words::lower(query);
        assert_found(&reply, &bodies, |body| words::lower(body).contains(&needle));
    }
}

/// A daemon with these messages, in pieces of the index of several kinds and sizes.
fn posted(bodies: &[&str]) -> Daemon {
    let mut daemon = Daemon::new(64 << 10);
    for (number, body) in bodies.iter().enumerate() {
        let post = json!({"cmd": "message.post", "originator": "o", "recipient": "r", "body": body});
        let reply = daemon.ask(&post.to_string());
        assert!(reply.starts_with("{\"ok\":true"), "{reply}");
        match (number + body.len()) % 5 {
            0 => daemon.leave_tail(),
            1 => daemon.flush(),
            2 => daemon.merge(number, 2),
            _ => {}
        }
    }
    daemon
}

fn ask(daemon: &mut Daemon, filter: Value) -> Value {
    let mut request = filter;
    request["cmd"] = json!("message.search");
    request["order"] = json!("oldest");
    request["count"] = json!(true);
    serde_json::from_str(&daemon.ask(&request.to_string())).expect("a reply is JSON")
}

fn assert_found(reply: &Value, bodies: &[&str], matches: impl Fn(&str) -> bool) {
    let expected: Vec<u64> =
        (1..).zip(bodies).filter(|(_, body)| matches(body)).map(|(seq, _)| seq).collect();
    let messages = reply["messages"].as_array().unwrap_or_else(|| panic!("{reply}"));
    let found: Vec<u64> = messages.iter().filter_map(|message| message["seq"].as_u64()).collect();
    assert_eq!(found, expected, "{reply}");
    assert_eq!(reply["total"], expected.len(), "{reply}");
}
