//! `message.search`: every filter, all of them together, against a scan written for reading.

mod common;

use common::{Client, Daemon, Value, json, with};

/// One message that was posted, as the scan knows it.
struct Posted {
    seq: u64,
    at: String,
    originator: Option<&'static str>,
    recipient: Option<&'static str>,
    body: &'static str,
}

const BODIES: &[&str] = &[
    "The quick brown fox",
    "quick thinking, brown bread!",
    "Bergamot & lavender; 15.5%",
    "bergamot again",
    "",
    "the FOX says: e=mc^2",
];

/// Messages from three people to two, each body several times, and some in a chat.
fn post_many(client: &mut Client) -> (Vec<Posted>, String) {
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    client.ok(json!({"cmd": "chat.create", "app": app}));
    let mut posted = Vec::new();
    for turn in 0..60 {
        let body = BODIES[turn % BODIES.len()];
        let originator = ["ann", "bob", "carla"][turn % 3];
        let recipient = ["dora", "emil"][turn / 7 % 2];
        let mut message = Posted { seq: 0, at: String::new(), originator: None, recipient: None, body };
        let reply = if turn % 5 == 4 {
            client.ok(json!({"cmd": "message.post", "app": app, "chat": 1, "body": body}))
        } else {
            (message.originator, message.recipient) = (Some(originator), Some(recipient));
            client.ok(json!({"cmd": "message.post", "originator": originator, "recipient": recipient,
                             "body": body}))
        };
        (message.seq, message.at) = (reply.seq(), reply.string("at"));
        posted.push(message);
    }
    (posted, app)
}

/// The seqs of those that a scan lets through, newest first.
fn scan(posted: &[Posted], keep: impl Fn(&Posted) -> bool) -> Vec<Value> {
    posted.iter().rev().filter(|message| keep(message)).map(|message| json!(message.seq)).collect()
}

/// Searches for everything that matches, in one page.
#[track_caller]
fn assert_found(client: &mut Client, filters: &Value, expected: &[Value]) {
    let request = with(&with(&with(filters, "cmd", "message.search"), "limit", 10_000), "count", true);
    let newest = client.ok(request.clone());
    assert_eq!(newest.column("messages", "seq"), expected, "{newest}");
    assert_eq!(newest["total"], expected.len(), "{newest}");
    assert!(!newest.has("next"), "{newest}");
    let oldest = client.ok(with(&request, "order", "oldest"));
    let reversed: Vec<Value> = expected.iter().rev().cloned().collect();
    assert_eq!(oldest.column("messages", "seq"), reversed, "{oldest}");
}

#[test]
fn without_a_filter_everything_is_found_newest_first() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    assert_found(&mut client, &json!({}), &[]);
    let (posted, _) = post_many(&mut client);
    assert_found(&mut client, &json!({}), &scan(&posted, |_| true));
    assert_found(&mut client, &json!({"order": "newest"}), &scan(&posted, |_| true));
}

#[test]
fn who_wrote_and_to_whom_can_be_asked_for() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let (posted, app) = post_many(&mut client);
    for name in ["ann", "bob", "carla", "dora", "nobody", "an"] {
        let by = scan(&posted, |message| message.originator == Some(name));
        assert_found(&mut client, &json!({"originator": name}), &by);
        let to = scan(&posted, |message| message.recipient == Some(name));
        assert_found(&mut client, &json!({"recipient": name}), &to);
    }
    let both = scan(&posted, |m| m.originator == Some("ann") && m.recipient == Some("dora"));
    assert_found(&mut client, &json!({"originator": "ann", "recipient": "dora"}), &both);
    let in_chats = scan(&posted, |message| message.recipient.is_none());
    assert_found(&mut client, &json!({"app": app}), &in_chats);
    assert_found(&mut client, &json!({"app": app, "chat": 1}), &in_chats);
    assert_found(&mut client, &json!({"app": app, "recipient": "dora"}), &[]);
}

#[test]
fn a_time_span_begins_inclusive_and_ends_exclusive() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let (posted, _) = post_many(&mut client);
    for pick in [0, 17, 30, 59] {
        let at = &posted[pick].at;
        let since = scan(&posted, |message| message.at >= *at);
        let until = scan(&posted, |message| message.at < *at);
        assert_found(&mut client, &json!({"since": at}), &since);
        assert_found(&mut client, &json!({"until": at}), &until);
        assert_found(&mut client, &json!({"since": at, "until": at}), &[]);
    }
    let (from, to) = (&posted[10].at, &posted[50].at);
    let between = scan(&posted, |message| message.at >= *from && message.at < *to);
    assert_found(&mut client, &json!({"since": from, "until": to}), &between);
    assert_found(&mut client, &json!({"since": to, "until": from}), &[]);
}

#[test]
fn times_may_have_any_offset_and_precision() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let (posted, _) = post_many(&mut client);
    let everything = scan(&posted, |_| true);
    let local = posted[30].at.trim_end_matches('Z');
    let half = scan(&posted, |message| message.at >= posted[30].at);
    assert_found(&mut client, &json!({"since": format!("{local}+00:00")}), &half);
    assert_found(&mut client, &json!({"since": format!("{local}+14:00")}), &everything);
    assert_found(&mut client, &json!({"since": format!("{local}-12:00")}), &[]);
    assert_found(&mut client, &json!({"until": format!("{local}+14:00")}), &[]);
    assert_found(&mut client, &json!({"until": format!("{local}-12:00")}), &everything);
    assert_found(&mut client, &json!({"since": "2001-02-03T04:05:06Z"}), &everything);
    assert_found(&mut client, &json!({"since": "2001-02-03T04:05:06.789+05:30"}), &everything);
    assert_found(&mut client, &json!({"until": "2001-02-03T04:05:06Z"}), &[]);
}

#[test]
fn what_is_no_time_is_refused() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let texts =
        ["", "now", "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T25:00:00Z"];
    for text in texts {
        client.refused_field(json!({"cmd": "message.search", "since": text}), "since");
        client.refused_field(json!({"cmd": "message.search", "until": text}), "until");
    }
}

#[test]
fn a_substring_goes_across_words_and_punctuation() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let (posted, _) = post_many(&mut client);
    let pieces = [
        "q",
        "k b",
        "brown",
        "BROWN",
        "row",
        "g,",
        ", b",
        "!",
        "&",
        " & ",
        "15.5%",
        ".",
        "mc^2",
        "s: e=",
        "^",
        " ",
        "fox",
        "t a",
        "x says",
        "nothing like it",
        "  ",
    ];
    for piece in pieces {
        let expected = scan(&posted, |m| m.body.to_lowercase().contains(&piece.to_lowercase()));
        assert_found(&mut client, &json!({"substring": piece}), &expected);
    }
}

#[test]
fn all_filters_together_must_match() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let (posted, _) = post_many(&mut client);
    let (from, to) = (posted[5].at.clone(), posted[52].at.clone());
    for choice in 0_u32..64 {
        let on = |bit: u32| choice & (1 << bit) != 0;
        let mut filters = json!({});
        let wanted = [
            ("originator", json!("ann")),
            ("recipient", json!("dora")),
            ("text", json!("quick")),
            ("substring", json!("n f")),
            ("since", json!(from)),
            ("until", json!(to)),
        ];
        for (bit, (filter, value)) in wanted.into_iter().enumerate() {
            if choice & (1 << bit) != 0 {
                filters[filter] = value;
            }
        }
        let expected = scan(&posted, |message| {
            (!on(0) || message.originator == Some("ann"))
                && (!on(1) || message.recipient == Some("dora"))
                && (!on(2) || message.body.contains("quick"))
                && (!on(3) || message.body.contains("n f"))
                && (!on(4) || message.at >= from)
                && (!on(5) || message.at < to)
        });
        assert_found(&mut client, &filters, &expected);
    }
}

#[test]
fn a_search_shows_whole_messages() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    client.ok(json!({"cmd": "chat.create", "app": app}));
    let first = client
        .ok(json!({"cmd": "message.post", "originator": "ann", "recipient": "bob", "body": "hello"}))
        .seq();
    let second = client
        .ok(json!({"cmd": "message.post", "app": app, "chat": 1, "originator": "ann", "body": "hello all"}))
        .seq();
    client.ok(json!({"cmd": "message.edit", "seq": first, "body": "hello again"}));
    let found = client.ok(json!({"cmd": "message.search", "text": "hello"}));
    let read: Vec<Value> = [second, first]
        .map(|seq| client.ok(json!({"cmd": "message.get", "seq": seq}))["message"].clone())
        .to_vec();
    assert_eq!(found.list("messages"), read, "{found}");
    assert_eq!(found["messages"][0]["number"], 1, "{found}");
    assert_eq!(found["messages"][0]["app"], app.as_str(), "{found}");
    assert!(!found.has("total"), "nobody asked for a count\n{found}");
}

#[test]
fn a_search_where_there_is_nothing_to_search_is_refused() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let app = client.ok(json!({"cmd": "app.create", "name": "a"})).string("token");
    let unknown = "abcdefghijklmnopqrstuvwx";
    client.refused(json!({"cmd": "message.search", "app": unknown}), "not_found");
    client.refused(json!({"cmd": "message.search", "app": app, "chat": 1}), "not_found");
    client.refused(json!({"cmd": "message.search", "chat": 1}), "bad_request");
    assert_found(&mut client, &json!({"app": app}), &[]);
}

#[test]
fn searches_find_the_same_after_a_restart() {
    let mut daemon = Daemon::start();
    let (posted, _) = post_many(&mut daemon.connect());
    for crash in [true, false] {
        if crash {
            daemon.crash()
        } else {
            daemon.restart()
        }
        let mut client = daemon.connect();
        assert_found(&mut client, &json!({}), &scan(&posted, |_| true));
        let quick = scan(&posted, |message| message.body.contains("quick"));
        assert_found(&mut client, &json!({"text": "quick"}), &quick);
        let piece = scan(&posted, |message| message.body.contains("n f"));
        assert_found(&mut client, &json!({"substring": "n f"}), &piece);
    }
}
