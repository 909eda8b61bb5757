//! The index as a whole beside a look at every message: posts, edits and deletions at random, with tails
//! that were left, written to files and merged among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::candidates::{Candidate, Candidates, Reached, changed_since};
use super::count::count_at_once;
use super::cursor::rank;
use super::files::RunFiles;
use super::merge::meta_of;
use super::query::Plan;
use super::run::Run;
use super::source::Source;
use super::tail::{Added, Tail, removals};
use super::terms::{Kind, chat_bytes};
use crate::domain::command::Order;
use crate::domain::event::{Address, Event, Fact, Message};
use crate::domain::matcher::Matcher;
use crate::domain::substring::Substring;
use crate::domain::table::{Changes, Counts};
use crate::domain::text::parse;
use crate::storage::memory::Memory;
use crate::time::Timestamp;

const APP: &str = "app";

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    Post(u8, String),
    Edit(usize, String),
    Delete(usize),
    DeleteChat(u8),
    /// The tail is full.
    Leave,
    /// All full tails become files.
    Flush,
    Merge(usize, usize),
    /// Somebody goes on looking at what there is now.
    Hold,
}

/// Few words, so that most meet, and some of each kind that the index knows.
fn body() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => "[ab]{1,3}",
        1 => "ab[ab]{3,6}",
        1 => "[\u{e9}\u{6771}\u{301}]{1,2}",
        1 => "a{126,131}",
    ];
    vec((word, prop::sample::select(vec![" ", " ", "-", "> "])), 0..7)
        .prop_map(|words| words.into_iter().flat_map(|(word, space)| [word, space.to_owned()]).collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0_u8..4, body()).prop_map(|(to, body)| Step::Post(to, body)),
        3 => (0_usize..64, body()).prop_map(|(which, body)| Step::Edit(which, body)),
        2 => (0_usize..64).prop_map(Step::Delete),
        1 => (0_u8..2).prop_map(Step::DeleteChat),
        4 => Just(Step::Leave),
        2 => Just(Step::Flush),
        3 => (0_usize..16, 2_usize..4).prop_map(|(from, count)| Step::Merge(from, count)),
        1 => Just(Step::Hold),
    ]
}

/// What is asked for.
#[derive(Debug, Clone)]
struct Ask {
    scope: u8,
    text: Option<String>,
    piece: Option<String>,
    newest: bool,
    low: u64,
    high: u64,
}

fn ask() -> impl Strategy<Value = Ask> {
    let word = || prop_oneof![4 => "[ab]{1,3}", 1 => "\u{e9}", 1 => "a{127,130}"];
    let text = prop_oneof![
        2 => Just(None),
        2 => word().prop_map(Some),
        1 => (word(), word()).prop_map(|(one, other)| Some(format!("{one} {other}"))),
        1 => (word(), word()).prop_map(|(one, other)| Some(format!("{one} -{other}"))),
        1 => (word(), word()).prop_map(|(one, other)| Some(format!("{one} OR {other}"))),
        1 => (word(), word()).prop_map(|(one, other)| Some(format!("\"{one} {other}\""))),
        1 => (word(), word(), word()).prop_map(|(a, b, c)| Some(format!("{a} -\"{b} {c}\""))),
        1 => "[ab]{0,2}a\\*".prop_map(Some),
        1 => (word(), "[ab]").prop_map(|(one, start)| Some(format!("\"{one} {start}*\""))),
    ];
    let piece = prop_oneof![
        2 => Just(None),
        2 => "[ab]{1,4}".prop_map(Some),
        1 => "[ab]{0,3}[ ->]{1,2}[ab]{0,3}".prop_map(Some),
        1 => "[ab]{0,2} [ab]{1,2} [ab]{0,2}".prop_map(Some),
        1 => "[\u{e9}\u{6771}\u{301}ab ]{1,3}".prop_map(Some),
    ];
    let scope = prop_oneof![3 => Just(0_u8), 2 => 1_u8..6];
    // Half of the asks begin somewhere behind older pieces, as those of followers do.
    let low = prop_oneof![0_u64..8, 8_u64..70];
    (scope, text, piece, any::<bool>(), low, 0_u64..8).prop_map(|(scope, text, piece, newest, low, off)| {
        Ask { scope, text, piece: piece.filter(|piece| !piece.is_empty()), newest, low, high: 80 - 2 * off }
    })
}

/// A live message, and whether it was edited.
#[derive(Debug, Clone)]
struct Live {
    message: Message,
    edited: bool,
}

/// What can be looked at.
#[derive(Clone, Default)]
struct Seen {
    last: u64,
    runs: Vec<Arc<Run>>,
    tails: Vec<Arc<Tail>>,
    live: BTreeMap<u64, Live>,
}

struct Store {
    files: RunFiles,
    now: Seen,
    held: Vec<Seen>,
}

fn address(to: u8, number: u64) -> Address {
    match to {
        0 | 1 => Address::Chat { app: APP.into(), chat: u64::from(to), number },
        other => Address::Recipient(format!("r{other}")),
    }
}

impl Store {
    fn new() -> Self {
        let now = Seen { tails: vec![Arc::new(Tail::new(1))], ..Seen::default() };
        Store { files: RunFiles::new(Arc::new(Memory::default()), "/index".into()), now, held: Vec::new() }
    }

    fn say(&mut self, fact: Fact) {
        let Seen { last, runs, tails, .. } = &mut self.now;
        *last += 1;
        let event = Event { seq: *last, at: Timestamp(10 * *last), uid: 0, fact };
        let offsets = [u32::try_from(100 * *last).expect("small")];
        let counts = Counts { messages: *last, ..Counts::default() };
        let changes = Changes::default();
        let events = [event];
        let deleted = removals(&events, runs, tails).expect("memory");
        let added = Added { events: &events, offsets: &offsets, changes, counts, deleted };
        tails.last().expect("a tail").add(added);
    }

    fn which(&self, which: usize) -> Option<(u64, Live)> {
        let live = &self.now.live;
        let found = live.iter().nth(which.checked_rem(live.len())?)?;
        Some((*found.0, found.1.clone()))
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Post(to, body) => {
                let originator = Some(format!("o{}", body.len() % 2));
                let message =
                    Message { address: address(*to, self.now.last), originator, body: body.clone() };
                self.say(Fact::MessagePosted(message.clone()));
                self.now.live.insert(self.now.last, Live { message, edited: false });
            }
            Step::Edit(which, body) => {
                let Some((seq, Live { message, .. })) = self.which(*which) else { return };
                let now = Message { body: body.clone(), ..message };
                self.say(Fact::MessageEdited {
                    message: seq,
                    posted_at: Timestamp(10 * seq),
                    now: now.clone(),
                });
                self.now.live.insert(seq, Live { message: now, edited: true });
            }
            Step::Delete(which) => {
                let Some((seq, Live { message, .. })) = self.which(*which) else { return };
                self.say(Fact::MessageDeleted { message: seq, address: message.address });
                self.now.live.remove(&seq);
            }
            Step::DeleteChat(wanted) => {
                let wanted = u64::from(*wanted);
                self.say(Fact::ChatDeleted { app: APP.into(), chat: wanted });
                self.now.live.retain(
                    |_, live| !matches!(&live.message.address, Address::Chat { chat, .. } if *chat == wanted),
                );
            }
            Step::Leave => self.leave(),
            Step::Flush => {
                self.leave();
                let Seen { runs, tails, .. } = &mut self.now;
                for full in tails.drain(..tails.len() - 1) {
                    runs.push(self.files.write(&full, runs.is_empty()).expect("memory"));
                }
            }
            Step::Merge(from, count) => {
                let runs = &mut self.now.runs;
                let start = from.checked_rem(runs.len()).unwrap_or(0);
                let end = runs.len().min(start + count);
                if end - start > 1 {
                    let merged =
                        self.files.merge(&runs[start..end], start == 0, &mut || Ok(())).expect("memory");
                    runs.splice(start..end, [merged]);
                }
            }
            Step::Hold => self.held.push(self.now.clone()),
        }
    }

    fn leave(&mut self) {
        let tails = &mut self.now.tails;
        if tails.last().is_some_and(|tail| tail.view(self.now.last).is_some()) {
            tails.push(Arc::new(Tail::new(self.now.last + 1)));
        }
    }
}

/// What is said to have changed is the same whether it is taken at once or walked, up to any place.
fn check_changed(sources: &[Source<'_>], order: Order, place: u64) -> Result<(), TestCaseError> {
    let end = rank(order, place);
    for (number, edits) in (0..sources.len()).flat_map(|number| [(number, false), (number, true)]) {
        let mut at_once = changed_since(sources, number, edits, order).expect("memory");
        let walked = changed_since(sources, number, edits, order).expect("memory");
        for (cursor, mut other) in at_once.lists.iter_mut().zip(walked.lists) {
            let (mut taken, mut passed) = (Vec::new(), Vec::new());
            cursor.take_before(end, &mut taken).expect("memory");
            while let Some(current) = other.current().filter(|current| *current < end) {
                passed.push(current);
                other.seek(current + 1).expect("memory");
            }
            prop_assert_eq!(taken, passed);
            prop_assert_eq!(cursor.current(), other.current());
        }
    }
    Ok(())
}

/// All candidates from `low` to `high`. Every step goes further, whether there is one or not.
fn candidates(
    sources: &[Source<'_>],
    plan: &Plan,
    order: Order,
    (low, high): (u64, u64),
) -> Result<Vec<Candidate>, TestCaseError> {
    let (mut found, mut before) = (Vec::new(), None);
    let mut candidates = Candidates::new(sources, plan, order, low, high).expect("memory");
    while let Some(reached) = candidates.advance().expect("memory") {
        let seq = match reached {
            Reached::Candidate(candidate) => {
                found.push(candidate);
                candidate.seq
            }
            Reached::Passed(seq) | Reached::Rested(seq) => seq,
        };
        let here = Some(rank(order, seq));
        prop_assert!(before < here && (low..=high).contains(&seq), "{}", seq);
        before = here;
    }
    Ok(found)
}

impl Seen {
    fn sources(&self) -> Vec<Source<'_>> {
        let views = self.tails.iter().filter_map(|tail| tail.view(self.last));
        self.runs.iter().map(|run| Source::Run(run)).chain(views.map(Source::Tail)).collect()
    }

    fn check(&self, ask: &Ask) -> Result<(), TestCaseError> {
        let (mut plan, mut exact) = (Plan::default(), true);
        let recipient = format!("r{}", ask.scope);
        match ask.scope {
            1 => plan.require(Kind::Chat, &chat_bytes(APP, 1)),
            2 | 3 => plan.require(Kind::Recipient, recipient.as_bytes()),
            4 => plan.require(Kind::App, APP.as_bytes()),
            5 => plan.require(Kind::Originator, b"o1"),
            _ => {}
        }
        let in_scope = |message: &Message| match (ask.scope, &message.address) {
            (0, _) => true,
            (1, Address::Chat { chat, .. }) => *chat == 1,
            (2 | 3, Address::Recipient(to)) => *to == recipient,
            (4, address) => matches!(address, Address::Chat { .. }),
            (5, _) => message.originator.as_deref() == Some("o1"),
            _ => false,
        };
        let text = ask.text.as_deref().map(|text| parse(text).expect("a text"));
        if let Some(text) = &text {
            plan.text(text);
            exact = text.is_exact() && !Plan::has_long_words(text);
        }
        if let Some(piece) = &ask.piece {
            plan.substring(piece);
            exact = false;
        }
        let mut matcher = text.as_ref().map(Matcher::new);
        let mut piece = ask.piece.as_deref().map(Substring::new);
        let mut matches = |message: &Message| {
            in_scope(message)
                && matcher.as_mut().is_none_or(|matcher| matcher.matches(&message.body))
                && piece.as_mut().is_none_or(|piece| piece.is_in(&message.body))
        };
        let sources = self.sources();
        let (low, high) = (ask.low, ask.high.min(self.last));
        let order = if ask.newest { Order::Newest } else { Order::Oldest };
        let mut found = candidates(&sources, &plan, order, (low, high))?;
        let live = self.live.range(low..=high.max(low)).filter(|(seq, _)| **seq <= high);
        let wanted = live.filter(|(_, live)| matches(&live.message));
        let mut wanted: Vec<Candidate> =
            wanted.map(|(seq, live)| Candidate { seq: *seq, edited: live.edited }).collect();
        if order == Order::Newest {
            wanted.reverse();
        }
        // Each is a live message in its current form, and none that matches is missing.
        for Candidate { seq, edited } in &found {
            let live = self.live.get(seq);
            prop_assert!(
                live.is_some_and(|live| live.edited == *edited && in_scope(&live.message)),
                "{}",
                seq
            );
        }
        found.retain(|candidate| exact || wanted.contains(candidate));
        prop_assert_eq!(&found, &wanted);
        if exact && let Some(total) = count_at_once(&sources, &plan).expect("memory") {
            let all = self.live.values().filter(|live| matches(&live.message)).count();
            prop_assert_eq!(total, all as u64);
        }
        check_changed(&sources, order, low)
    }

    /// What says which events a piece covers, and where their records lie.
    fn check_places(&self) -> Result<(), TestCaseError> {
        let mut next = 1;
        for source in self.sources() {
            let (first, last) = source.range();
            prop_assert_eq!(first, next);
            next = last + 1;
            for seq in first..=last {
                let place = match source {
                    Source::Run(run) => run.place(seq).expect("memory"),
                    Source::Tail(view) => view.place(seq),
                };
                let (offset, behind) = place.expect("its place");
                prop_assert_eq!(u64::from(offset), 100 * seq);
                // Of the last that is seen it is no matter if the next is known.
                let expected = (seq < last).then_some(100 * (seq + 1));
                prop_assert!(behind.map(u64::from) == expected || seq == self.last, "{}", seq);
            }
        }
        prop_assert_eq!(next, self.last + 1);
        for run in &self.runs {
            let meta = run.meta();
            let (first, last) = (meta.first, meta.last);
            prop_assert_eq!((meta.first_at, meta.last_at), (Timestamp(10 * first), Timestamp(10 * last)));
            prop_assert_eq!((meta.counts.messages, meta.dense_from), (last, first));
            prop_assert_eq!(run.place(first - 1).expect("memory"), None);
            prop_assert_eq!(run.place(last + 1).expect("memory"), None);
            prop_assert_eq!(run.next_record(0).expect("memory"), Some(first));
            prop_assert_eq!(run.next_record(last).expect("memory"), Some(last));
            prop_assert_eq!(run.next_record(last + 1).expect("memory"), None);
        }
        let whole =
            meta_of(&self.runs).map(|meta| (meta.first, meta.last, meta.dense_from, meta.counts.messages));
        let last = self.runs.last().map(|run| run.meta().last);
        prop_assert_eq!(whole, last.map(|last| (1, last, 1, last)));
        Ok(())
    }
}

proptest! {
    // A few cases meet little of what can meet here.
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_is_found_in_its_current_form_whatever_was_merged(
        steps in vec(step(), 1..70),
        asks in vec(ask(), 12),
    ) {
        let mut store = Store::new();
        steps.iter().for_each(|step| store.step(step));
        for seen in store.held.iter().chain([&store.now]) {
            seen.check_places()?;
            asks.iter().try_for_each(|ask| seen.check(ask))?;
        }
    }
}

#[test]
fn what_is_gone_is_not_found_by_how_its_words_stood_next_to_each_other() {
    let mut store = Store::new();
    let posts = (0..4).map(|_| Step::Post(2, "xab cdx".into()));
    let gone = (0..2).map(|_| Step::Delete(0)).chain((0..2).map(|which| Step::Edit(which, "b".into())));
    let seen_again = [Step::Flush, Step::Post(2, "b".into())];
    posts.chain(gone).chain(seen_again).for_each(|step| store.step(&step));
    assert_eq!(store.now.runs.len(), 1);
    for newest in [true, false] {
        let piece = Some("ab cd".to_owned());
        let ask = Ask { scope: 0, text: None, piece, newest, low: 0, high: 80 };
        store.now.check(&ask).expect("no post of the run is left");
    }
}
