//! Pages of a search: no gap, no duplicate, in both orders, while more is posted.

mod common;

use common::{Client, Daemon, Reply, Value, json, with};

/// Posts so many messages, every third of which says `rare`; the seqs, oldest first.
fn post_many(client: &mut Client, count: usize) -> Vec<u64> {
    let requests: Vec<Value> = (0..count)
        .map(|turn| {
            let body = if turn % 3 == 0 { format!("rare common {turn}") } else { format!("common {turn}") };
            json!({"cmd": "message.post", "originator": "ann", "recipient": "bob", "body": body})
        })
        .collect();
    client.pipeline(&requests).iter().map(Reply::seq).collect()
}

/// All pages of this search put together; each page is shown to `look` first.
fn all_pages(client: &mut Client, search: &Value, cursor: &str, mut look: impl FnMut(&Reply)) -> Vec<u64> {
    let mut request = with(search, "cmd", "message.search");
    let mut seqs = Vec::new();
    loop {
        let page = client.ok(request.clone());
        look(&page);
        seqs.extend(page.column("messages", "seq").iter().filter_map(Value::as_u64));
        let Some(next) = page.get("next") else { return seqs };
        assert!(!page.list("messages").is_empty(), "an empty page with a next\n{page}");
        request[cursor] = next.clone();
    }
}

fn newest_first(seqs: &[u64], step: usize) -> Vec<u64> {
    seqs.iter().copied().step_by(step).rev().collect()
}

#[test]
fn pages_newest_first_have_no_gap_and_no_duplicate() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let seqs = post_many(&mut client, 120);
    for limit in [1, 7, 40, 60, 119, 120, 121, 10_000] {
        let found = all_pages(&mut client, &json!({"limit": limit}), "before", |page| {
            assert!(page.list("messages").len() <= limit, "{page}");
        });
        assert_eq!(found, newest_first(&seqs, 1), "limit {limit}");
        let rare = json!({"limit": limit, "text": "rare"});
        let found = all_pages(&mut client, &rare, "before", |_| {});
        assert_eq!(found, newest_first(&seqs, 3), "limit {limit}");
    }
}

#[test]
fn pages_oldest_first_have_no_gap_and_no_duplicate() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let seqs = post_many(&mut client, 120);
    for limit in [1, 7, 40, 60, 119, 120, 121] {
        let search = json!({"limit": limit, "order": "oldest"});
        assert_eq!(all_pages(&mut client, &search, "after", |_| {}), seqs, "limit {limit}");
        let rare = json!({"limit": limit, "order": "oldest", "substring": "rare"});
        let expected: Vec<u64> = seqs.iter().copied().step_by(3).collect();
        assert_eq!(all_pages(&mut client, &rare, "after", |_| {}), expected, "limit {limit}");
    }
}

#[test]
fn a_page_has_100_messages_unless_told() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    post_many(&mut client, 101);
    let page = client.ok(json!({"cmd": "message.search"}));
    assert_eq!(page.list("messages").len(), 100, "{page}");
    assert!(page["next"].is_u64(), "{page}");
}

#[test]
fn next_is_there_exactly_when_there_is_more() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    post_many(&mut client, 30);
    for (limit, more) in [(9, true), (10, false), (11, false)] {
        for order in ["newest", "oldest"] {
            let search = json!({"cmd": "message.search", "text": "rare", "limit": limit, "order": order});
            let page = client.ok(search);
            assert_eq!(page.has("next"), more, "limit {limit}\n{page}");
        }
    }
}

#[test]
fn the_total_is_that_of_all_matches_on_every_page() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let seqs = post_many(&mut client, 50);
    for (order, cursor) in [("newest", "before"), ("oldest", "after")] {
        let search = json!({"limit": 8, "count": true, "order": order});
        let mut pages = 0;
        let found = all_pages(&mut client, &search, cursor, |page| {
            assert_eq!(page["total"], 50, "{page}");
            pages += 1;
        });
        assert_eq!((found.len(), pages), (50, 7));
    }
    let none = json!({"cmd": "message.search", "count": true, "before": seqs[0]});
    let beyond = client.ok(none);
    assert_eq!((beyond.list("messages").len(), &beyond["total"]), (0, &json!(50)), "{beyond}");
}

#[test]
fn new_messages_do_not_disturb_pages_newest_first() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut other = daemon.connect();
    let seqs = post_many(&mut client, 60);
    let found = all_pages(&mut client, &json!({"limit": 7, "text": "common"}), "before", |_| {
        post_many(&mut other, 5);
    });
    assert_eq!(found, newest_first(&seqs, 1));
}

#[test]
fn new_messages_are_seen_by_pages_oldest_first() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let mut other = daemon.connect();
    let mut seqs = post_many(&mut client, 30);
    let search = json!({"limit": 7, "order": "oldest"});
    let mut left = 4;
    let found = all_pages(&mut client, &search, "after", |_| {
        if left > 0 {
            left -= 1;
            seqs.extend(post_many(&mut other, 3));
        }
    });
    assert_eq!(found, seqs);
}

#[test]
fn deleted_and_edited_messages_leave_no_gap_in_the_pages() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let seqs = post_many(&mut client, 90);
    for seq in seqs.iter().skip(1).step_by(2) {
        client.ok(json!({"cmd": "message.delete", "seq": seq}));
    }
    for seq in seqs.iter().step_by(6) {
        client.ok(json!({"cmd": "message.edit", "seq": seq, "body": "something else"}));
    }
    let search = json!({"limit": 4, "text": "common"});
    let found = all_pages(&mut client, &search, "before", |page| {
        assert!(page.list("messages").len() <= 4, "{page}");
    });
    let expected: Vec<u64> = seqs
        .iter()
        .enumerate()
        .filter(|(turn, _)| turn % 2 == 0 && turn % 6 != 0)
        .map(|(_, seq)| *seq)
        .rev()
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_page_ends_early_where_the_reply_would_grow_too_large() {
    let daemon = Daemon::start();
    let mut client = daemon.connect();
    let body = "x".repeat(500_000);
    let requests =
        vec![json!({"cmd": "message.post", "originator": "a", "recipient": "b", "body": body}); 20];
    let seqs: Vec<u64> = client.pipeline(&requests).iter().map(Reply::seq).collect();
    let info = client.ok(json!({"cmd": "info"}));
    let bound = info["limits"]["reply_bytes"].as_u64().expect("a bound") + 2048;
    let found = all_pages(&mut client, &json!({"limit": 10_000}), "before", |page| {
        assert!(page.text.len() as u64 <= bound, "a reply of {} bytes", page.text.len());
    });
    assert_eq!(found, newest_first(&seqs, 1));
}
