//! Every class of search, in process: msglogd beside its peers, before and after changes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use msglogd::domain::command::Search;
use msglogd::snapshot::Snapshot;

use crate::answer::Answer;
use crate::changes::Changes;
use crate::corpus::Corpus;
use crate::options::Options;
use crate::ours::{self, Ours};
use crate::peers::{Peer, Peers};
use crate::queries::{Ask, CLASSES, draw};
use crate::report::{Report, mebibytes, micros, ratio};
use crate::scan;
use crate::timing::{Asked, Times, side_by_side};

/// A class with its queries, and what was measured.
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// The queries.
    pub asks: Vec<Ask>,
    searches: Vec<Search>,
    /// Ours: as loaded, with 1 % changed, with 5 % changed.
    ours: Vec<Times>,
    /// Each peer's, if it can answer such queries.
    peers: Vec<Option<Times>>,
    /// Of the queries of each peer, those it answers otherwise than we do.
    differing: Vec<Vec<usize>>,
}

impl Measured {
    /// The quickest peer's mean, in microseconds.
    pub fn best_peer(&self) -> Option<f64> {
        self.peers.iter().flatten().map(|times| times.mean).min_by(f64::total_cmp)
    }
}

/// Draws the queries of the classes that are chosen.
pub fn classes(options: &Options, corpus: &Corpus) -> Vec<Measured> {
    let chosen = CLASSES.iter().filter(|class| options.wants_class(class.name));
    let measured = chosen.map(|class| {
        let asks = draw(class, corpus, options.messages, options.queries);
        let searches = asks.iter().map(ours::parsed).collect();
        let (ours, peers, differing) = (Vec::new(), Vec::new(), Vec::new());
        Measured { name: class.name, asks, searches, ours, peers, differing }
    });
    measured.filter(|class| !class.asks.is_empty()).collect()
}

/// Measures and prints.
pub fn run(options: &Options, corpus: &Corpus, report: &mut Report) -> Vec<Measured> {
    let peers = Peers::open(options, corpus);
    let data = options.folder.join(match options.reuse {
        true => format!("ours-{}-messages", options.messages),
        false => format!("ours-{}", std::process::id()),
    });
    let mut classes = classes(options, corpus);
    let mut store = Ours::open(&data);
    if store.found == 0 {
        store.load(corpus, options.messages);
    }
    store.settle();
    sizes(options, corpus, &data, &peers, report);
    report.say(&format!("as loaded: {}", store.describe_runs()));
    for class in &mut classes {
        compare(class, &store.snapshot(), options.rounds, &peers);
    }
    if options.reuse {
        print(&classes, &peers, report);
        return classes;
    }
    let mut changes = Changes::default();
    let mut wrong = check(options, corpus, &changes, &store.snapshot(), &classes, &peers, report);
    for (thousandths, only_counts) in [(10, false), (40, true)] {
        let more = Changes::more(&changes, options.messages, thousandths);
        store.change(corpus, &more);
        changes = changes.and(&more);
        store.settle();
        report.say(&format!(
            "{} messages edited or deleted: {}",
            changes.all().count(),
            store.describe_runs()
        ));
        for class in classes.iter_mut().filter(|class| !only_counts || class.name.starts_with("count")) {
            again(class, &store.snapshot(), options.rounds);
        }
        wrong += check(options, corpus, &changes, &store.snapshot(), &classes, &[], report);
    }
    drop(store);
    fs::remove_dir_all(&data).expect("the folder of the benchmark can be removed");
    print(&classes, &peers, report);
    assert_eq!(wrong, 0, "answers of ours are wrong");
    classes
}

fn ours_asked<'a>(class: &'a [Search], snapshot: &'a Arc<Snapshot>) -> Asked<'a> {
    Box::new(move |number| drop(std::hint::black_box(ours::answer(snapshot, &class[number]))))
}

/// Times ours and the peers, and compares the answers.
fn compare(class: &mut Measured, snapshot: &Arc<Snapshot>, rounds: usize, peers: &[Box<dyn Peer>]) {
    let (asks, searches) = (&class.asks, &class.searches);
    let able: Vec<&dyn Peer> = peers.iter().map(AsRef::as_ref).filter(|peer| peer.can(&asks[0])).collect();
    let mut engines = vec![ours_asked(searches, snapshot)];
    for peer in &able {
        engines.push(Box::new(move |number| drop(std::hint::black_box(peer.ask(&asks[number])))));
    }
    let times = side_by_side(asks.len(), rounds, engines);
    // As many as the slowest had time for.
    let compared = times.iter().map(|times| times.queries).min().unwrap_or(0);
    let mut times = times.into_iter();
    class.ours.extend(times.next());
    let own: Vec<Answer> = searches[..compared].iter().map(|search| own_answer(snapshot, search)).collect();
    for peer in peers {
        let can = peer.can(&asks[0]);
        class.peers.push(if can { times.next() } else { None });
        let differs = |number: &usize| can && !own[*number].agrees(&peer.ask(&asks[*number]));
        class.differing.push((0..compared).filter(differs).collect());
    }
}

/// Times ours once more.
fn again(class: &mut Measured, snapshot: &Arc<Snapshot>, rounds: usize) {
    let engines = vec![ours_asked(&class.searches, snapshot)];
    class.ours.extend(side_by_side(class.asks.len(), rounds, engines));
}

fn own_answer(snapshot: &Arc<Snapshot>, search: &Search) -> Answer {
    ours::read_answer(&ours::answer(snapshot, search))
}

/// Compares answers with what reading every message gives: some of each class, and some of those
/// where a peer disagrees. How many of ours are wrong.
fn check(
    options: &Options,
    corpus: &Corpus,
    changes: &Changes,
    snapshot: &Arc<Snapshot>,
    classes: &[Measured],
    peers: &[Box<dyn Peer>],
    report: &mut Report,
) -> usize {
    let mut chosen: Vec<(&Measured, usize)> = Vec::new();
    for class in classes {
        chosen.extend((0..class.asks.len().min(options.checks)).map(|number| (class, number)));
        if !peers.is_empty() {
            let differing = class.differing.iter().flat_map(|numbers| numbers.iter().take(options.checks));
            chosen.extend(differing.map(|number| (class, *number)));
        }
    }
    let asks: Vec<&Ask> = chosen.iter().map(|(class, number)| &class.asks[*number]).collect();
    let right = scan::answers(corpus, options.messages, changes, &asks);
    let mut wrong = 0;
    let mut wrong_peers: Vec<Vec<(&str, String)>> = vec![Vec::new(); peers.len()];
    for ((class, number), right) in chosen.iter().zip(&right) {
        let ask = &class.asks[*number];
        let own = own_answer(snapshot, &class.searches[*number]);
        if !own.agrees(right) {
            wrong += 1;
            report.say(&format!("WRONG: {}\n  ours  {own:?}\n  right {right:?}", ask.line()));
        }
        for (peer, wrong) in peers.iter().zip(&mut wrong_peers) {
            if peer.can(ask) && !peer.ask(ask).agrees(right) {
                wrong.push((class.name, ask.line()));
            }
        }
    }
    let counts = peers.iter().zip(&wrong_peers).map(|(peer, wrong)| (peer.name(), wrong.len()));
    let others: Vec<String> = counts.map(|(name, wrong)| format!(", {name}'s in {wrong}")).collect();
    report.say(&format!(
        "checked against reading every message: of {} answers ours differ in {wrong}{}",
        chosen.len(),
        others.concat()
    ));
    for (peer, mut wrong) in peers.iter().zip(wrong_peers) {
        wrong.dedup_by_key(|(class, _)| *class);
        wrong.iter().for_each(|(_, line)| report.say(&format!("  {} differs in {line}", peer.name())));
    }
    wrong
}

fn sizes(options: &Options, corpus: &Corpus, data: &Path, peers: &Peers, report: &mut Report) {
    let text: u64 = (0..options.messages).map(|number| corpus.message(number).body.len() as u64).sum();
    let folder = |name: &str| -> u64 {
        let entries = fs::read_dir(data.join(name)).expect("a data folder");
        entries.map(|entry| entry.and_then(|entry| entry.metadata()).map_or(0, |found| found.len())).sum()
    };
    let index = folder("index");
    report.say(&format!(
        "{} messages, text {}; ours: index and table {} ({} of the text), log {}",
        options.messages,
        mebibytes(text),
        mebibytes(index),
        percent(index, text),
        mebibytes(folder("log")),
    ));
    for peer in peers.iter() {
        report.say(&format!("{}: {}", peer.name(), peer.sizes()));
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn percent(part: u64, whole: u64) -> String {
    format!("{:.0} %", part as f64 * 100.0 / whole as f64)
}

fn print(classes: &[Measured], peers: &Peers, report: &mut Report) {
    let head = ["us a query, mean / p50 (p99)", "queries", "ours", "1 % changed", "5 % changed"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows[0].extend(peers.iter().map(|peer| peer.name().to_owned()));
    rows[0].extend(["ours/best".to_owned(), "changed/best".to_owned()]);
    rows[0].extend(peers.iter().map(|peer| format!("{} differs", peer.name())));
    let show = |times: Option<&Times>, asked: usize| {
        let Some(Times { mean, p50, p99, queries }) = times else { return "-".to_owned() };
        let few = if *queries < asked { format!(" of {queries}") } else { String::new() };
        format!("{} / {} ({}){few}", micros(*mean), micros(*p50), micros(*p99))
    };
    for class in classes {
        let asked = class.asks.len();
        let mut row = vec![class.name.to_owned(), asked.to_string()];
        row.extend((0..3).map(|state| show(class.ours.get(state), asked)));
        row.extend(class.peers.iter().map(|times| show(times.as_ref(), asked)));
        let over_best = |state: usize| match (class.ours.get(state), class.best_peer()) {
            (Some(ours), Some(best)) => ratio(ours.mean, best),
            _ => "-".to_owned(),
        };
        row.extend([over_best(0), over_best(1)]);
        row.extend(class.differing.iter().map(|numbers| numbers.len().to_string()));
        rows.push(row);
    }
    report.say("");
    report.table(&rows);
}
