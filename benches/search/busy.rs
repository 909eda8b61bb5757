//! Searches while posts come in at a steady rate.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::corpus::Corpus;
use crate::daemon::{Connection, Daemon};
use crate::report::Report;
use crate::table::Measured;
use crate::through_socket::post;

/// Posts a second.
const POSTS: usize = 100_000;
/// How long they come in.
const LENGTH: Duration = Duration::from_secs(5);
/// Between one search and the next.
const PAUSE: Duration = Duration::from_millis(2);

/// Measures and prints. The messages are those behind the first `messages`.
pub fn run(daemon: &Daemon, corpus: &Corpus, messages: usize, classes: &[Measured], report: &mut Report) {
    let seconds = usize::try_from(LENGTH.as_secs()).unwrap_or(1);
    // Made ahead: making them must not slow the posts.
    let lines: Vec<Vec<u8>> = (messages..messages + POSTS * seconds)
        .map(|number| (post(corpus.message(number), "") + "\n").into_bytes())
        .collect();
    let (acknowledged, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let connection = daemon.connect();
        let (acknowledged, over) = (&acknowledged, &over);
        scope.spawn(move || {
            post_steadily(connection, &lines, acknowledged);
            over.store(true, Ordering::Relaxed);
        });
        let begin = Instant::now();
        let (searches, missed) = search(daemon, classes, over);
        #[allow(clippy::cast_precision_loss, reason = "a count of posts")]
        let rate = acknowledged.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
        report.say(&format!("while {POSTS} durable posts a second were sent and {rate:.0} acknowledged:"));
        for (name, times) in searches {
            report.say(&format!("  {name}: {}", describe(times)));
        }
        assert_eq!(missed, 0, "messages were not found by the first search after their acknowledgement");
    });
}

fn post_steadily(connection: Connection, lines: &[Vec<u8>], acknowledged: &AtomicU64) {
    let (mut sending, mut receiving) = connection.split();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let begin = Instant::now();
            for (number, block) in lines.chunks(POSTS / 1000).enumerate() {
                let due = Duration::from_millis(number as u64);
                std::thread::sleep(due.saturating_sub(begin.elapsed()));
                if begin.elapsed() > LENGTH {
                    break;
                }
                sending.send(&block.concat());
            }
            sending.end();
        });
        while receiving.reply().starts_with(b"{\"ok\":true") {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    });
}

type Searches = [(&'static str, Vec<Duration>); 2];

/// Searches of all classes by turns, and every tenth time one for a message just acknowledged.
fn search(daemon: &Daemon, classes: &[Measured], over: &AtomicBool) -> (Searches, usize) {
    let classes: Vec<&Measured> = classes
        .iter()
        .filter(|class| !class.name.starts_with("count") && !class.name.starts_with("substring of"))
        .collect();
    let mut connection = daemon.connect();
    let (mut any, mut newest, mut missed) = (Vec::new(), Vec::new(), 0);
    for turn in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        if turn % 10 == 0 {
            let (posted, took) = own_message(&mut connection, turn);
            newest.push(took);
            missed += usize::from(!posted);
        } else if !classes.is_empty() {
            let class = classes[turn % classes.len()];
            let line = class.asks[turn % class.asks.len()].line() + "\n";
            let started = Instant::now();
            connection.send(line.as_bytes());
            let reply = connection.reply();
            any.push(started.elapsed());
            assert!(reply.starts_with(b"{\"ok\":true"), "{}", String::from_utf8_lossy(&reply));
        }
        std::thread::sleep(PAUSE);
    }
    (
        [("searches of all classes but counts", any), ("searches for what was just acknowledged", newest)],
        missed,
    )
}

/// Posts a message, and searches for it once it is acknowledged: whether it is found, and how long the
/// search took.
fn own_message(connection: &mut Connection, turn: usize) -> (bool, Duration) {
    let body = format!("zzbusy{turn}");
    let post = format!(r#"{{"cmd":"message.post","originator":"bench","recipient":"busy","body":"{body}"}}"#);
    assert_eq!(connection.ask(&post)["ok"], true, "a post");
    let started = Instant::now();
    let reply = connection.ask(&format!(r#"{{"cmd":"message.search","text":"{body}","limit":20}}"#));
    (reply["messages"][0]["body"] == body.as_str(), started.elapsed())
}

fn describe(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let Some(longest) = times.last() else { return "none".to_owned() };
    let at = |hundredth: usize| times[(times.len() - 1) * hundredth / 100].as_secs_f64() * 1e3;
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms, of {}",
        at(50),
        at(99),
        longest.as_secs_f64() * 1e3,
        times.len()
    )
}
