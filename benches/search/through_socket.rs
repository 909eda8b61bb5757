//! The daemon with everything in it, as a client sees it: memory, disk, searches a second, searches
//! while posts come in, and starting again after it was killed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::busy;
use crate::corpus::{Corpus, Message};
use crate::daemon::Daemon;
use crate::options::Options;
use crate::report::{Report, mebibytes, ratio};
use crate::table::Measured;

/// Searches that are under way at the same time.
const OUTSTANDING: usize = 100;
/// How long one class is asked for.
const LENGTH: Duration = Duration::from_secs(2);
/// Times that the daemon is killed.
const KILLS: usize = 5;

/// `message.post` as a line, with something more in the body.
pub fn post(message: Message, more: &str) -> String {
    let Message { originator, recipient, body } = message;
    let body = format!("{body}{more}");
    json!({"cmd": "message.post", "originator": originator, "recipient": recipient, "body": body}).to_string()
}

/// Measures and prints. `classes` holds what the peers took, if that was measured.
pub fn run(options: &Options, corpus: &Corpus, classes: &[Measured], report: &mut Report) {
    report.say("");
    report.say("through the socket");
    let mut daemon = Daemon::start(&options.folder, "daemon");
    load(options, corpus, &daemon, report);
    rates(&daemon, classes, report);
    report.say(&format!("memory after these searches: anonymous {}", mebibytes(daemon.anonymous())));
    busy::run(&daemon, corpus, options.messages, classes, report);
    restarts(options, corpus, &mut daemon, report);
}

fn load(options: &Options, corpus: &Corpus, daemon: &Daemon, report: &mut Report) {
    let watch = daemon.watch();
    let lines = (0..options.messages).map(|number| post(corpus.message(number), ""));
    let (posted, took) = daemon.connect().pump(lines);
    assert_eq!(posted, options.messages as u64, "all posts are acknowledged");
    daemon.settle();
    #[allow(clippy::cast_precision_loss, reason = "a count of messages")]
    let rate = posted as f64 / took.as_secs_f64();
    report.say(&format!(
        "{posted} messages posted durably at {rate:.0} a second on one connection; memory: anonymous {} at most \
         while they came and while runs merged, {} after; disk: index and table {}, log {}",
        mebibytes(watch.peak()),
        mebibytes(daemon.anonymous()),
        mebibytes(daemon.bytes("index")),
        mebibytes(daemon.bytes("log")),
    ));
}

/// Searches a second with many under way on one connection.
fn rates(daemon: &Daemon, classes: &[Measured], report: &mut Report) {
    let head =
        ["searches a second, 100 outstanding on one connection", "ours", "best peer in process", "ratio"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for class in classes {
        let lines: Vec<Vec<u8>> = class.asks.iter().map(|ask| (ask.line() + "\n").into_bytes()).collect();
        let rate = daemon.connect().rate(&lines, OUTSTANDING, LENGTH);
        let peer = class.best_peer().map(|micros| 1e6 / micros);
        rows.push(vec![
            class.name.to_owned(),
            format!("{rate:.0}"),
            peer.map_or("-".to_owned(), |peer| format!("{peer:.0}")),
            peer.map_or("-".to_owned(), |peer| ratio(rate, peer)),
        ]);
    }
    report.say("");
    report.table(&rows);
    report.say("");
}

/// Kills the daemon while posts come in at full speed, and times the start to the first answer: a
/// search that must find the last message that was acknowledged.
fn restarts(options: &Options, corpus: &Corpus, daemon: &mut Daemon, report: &mut Report) {
    let mut taken = Vec::new();
    for kill in 0..KILLS {
        let connection = daemon.connect();
        let lines = (0..).map(|number| {
            post(corpus.message(options.messages + number), &format!(" zzkill{kill}x{}", number + 1))
        });
        let (good, _) = std::thread::scope(|scope| {
            let pump = scope.spawn(move || connection.pump(lines));
            std::thread::sleep(Duration::from_millis(1500));
            daemon.kill();
            pump.join().expect("all replies were good")
        });
        let search = json!({"cmd": "message.search", "text": format!("zzkill{kill}x{good}"), "limit": 20});
        let found = |reply: &Value| reply["messages"].as_array().is_some_and(|found| found.len() == 1);
        let took = daemon.start_again(&search.to_string(), found);
        taken.push((took, good));
        daemon.settle();
    }
    let each: Vec<String> = taken
        .iter()
        .map(|(took, good)| format!("{:.0} ms ({good} posts before)", took.as_secs_f64() * 1e3))
        .collect();
    report.say(&format!("killed while posts came in, start to the first right answer: {}", each.join(", ")));
}
