//! The daemon and the model side by side: the same requests go to both, and the replies must agree.

use std::collections::BTreeMap;

use msglogd::domain::table::Facts;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::naive::exact::{exact, line, marked};
use crate::naive::requests::{self, About, Dice};
use crate::naive::{self, Model};
use crate::support::{BEGINNING, DAEMON, Daemon};

/// Segments so small that a log has many.
const SEGMENT_BYTES: u64 = 3000;

/// What happens next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Requests that the writer takes as one batch.
    Writes(Vec<Request>),
    Search(Rolls),
    Advance(u64),
    Leave,
    Merge(usize, usize),
    Flush,
    MergeAll,
    Restart(bool),
    Rebuild,
    Compact,
}

/// A write: dice for each of its commands, and what any write may carry.
#[derive(Debug, Clone)]
pub struct Request {
    user: u32,
    commands: Vec<Rolls>,
    key: Option<u8>,
    /// Whether it is another request than the first one under its key.
    other_content: bool,
    dry_run: bool,
}

/// Numbers that say what is asked, shown on one line.
#[derive(Clone)]
pub struct Rolls(Vec<u16>);

impl std::fmt::Debug for Rolls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u16::to_string).collect();
        f.write_str(&numbers.join(" "))
    }
}

fn rolls() -> impl Strategy<Value = Rolls> {
    vec(0_u16..5040, 24).prop_map(Rolls)
}

fn rarely(one_in: u32) -> impl Strategy<Value = bool> {
    prop::bool::weighted(1.0 / f64::from(one_in))
}

fn request() -> impl Strategy<Value = Request> {
    let commands = prop_oneof![5 => vec(rolls(), 1), 1 => vec(rolls(), 2..5)];
    let key = prop_oneof![5 => Just(None), 1 => (0_u8..3).prop_map(Some)];
    (0_u32..2, commands, key, rarely(4), rarely(10)).prop_map(
        |(user, commands, key, other_content, dry_run)| Request {
            user,
            commands,
            key,
            other_content,
            dry_run,
        },
    )
}

/// Any step.
pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => vec(request(), 1..4).prop_map(Step::Writes),
        3 => rolls().prop_map(Step::Search),
        4 => prop::sample::select(vec![1, 4, 5, 40, 30_000]).prop_map(Step::Advance),
        2 => Just(Step::Leave),
        2 => (0_usize..64, 2_usize..6).prop_map(|(from, count)| Step::Merge(from, count)),
        1 => Just(Step::Flush),
        1 => Just(Step::MergeAll),
        1 => any::<bool>().prop_map(Step::Restart),
        1 => Just(Step::Rebuild),
        2 => Just(Step::Compact),
    ]
}

/// What was found, or how the daemon and the model differ.
pub type Checked<T = ()> = Result<T, TestCaseError>;

/// The daemon and the model of it, side by side.
pub struct Pair {
    about: About,
    pub daemon: Daemon,
    model: Model,
    /// All that was asked, for when it comes out wrong.
    told: Vec<String>,
    /// The writes that were sent first under each idempotency key.
    keyed: BTreeMap<u8, Value>,
    /// What was first replied to a user under a key.
    first: BTreeMap<(u32, String), Value>,
    /// The last job of each page of jobs, by what `next` was; the model pages by jobs.
    pages: BTreeMap<String, Value>,
}

impl Pair {
    /// On an empty data folder.
    pub fn new(about: About) -> Self {
        let (daemon, model) = (Daemon::new(SEGMENT_BYTES), Model::new(BEGINNING));
        let (keyed, first, pages) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Pair { about, daemon, model, told: Vec::new(), keyed, first, pages }
    }

    fn begin(&mut self) {
        self.model.now = self.daemon.now();
        self.daemon.begin();
        self.model.fall_due(DAEMON);
    }

    /// Sends a request that [`marked`] made, and compares the reply with the model's.
    fn ask(&mut self, user: u32, request: &Value, write: bool) -> Checked<Value> {
        let asked = line(request);
        self.told.push(format!("{user} {asked}"));
        let reply = self.daemon.answer(user, &asked);
        prop_assert!(reply.starts_with("{\"ok\":"), "{}", reply);
        let mut given = exact(&reply);
        if given["ok"] == json!(false) {
            given.as_object_mut().expect("an object").remove("message");
        }
        let mut request = request.clone();
        if request["cmd"] == "queue.peek"
            && let Some(after) = request["after"].as_str()
        {
            request["after"] = self.pages[after].clone();
        }
        let expected =
            if write { self.model.write(user, &request, &given) } else { self.model.read(&request) };
        strip(&mut given);
        let (expected, mut foreseen) = (marked(&expected), given.clone());
        if request["cmd"] == "queue.peek"
            && let Some(next) = foreseen.get_mut("next")
        {
            let last = given["jobs"].as_array().and_then(|jobs| jobs.last()).expect("a page")["job"].clone();
            self.pages.insert(next.as_str().expect("a string").to_owned(), last.clone());
            *next = last;
        }
        self.hold(foreseen == expected, || format!("is answered  {given}\nand not      {expected}"))?;
        Ok(given)
    }

    /// Fails, with all that was told, when something does not hold.
    fn hold(&self, holds: bool, what: impl FnOnce() -> String) -> Checked {
        prop_assert!(holds, "{}\n{}", self.told.join("\n"), what());
        Ok(())
    }

    fn write(&mut self, asked: &Request) -> Checked {
        let commands = asked.commands.iter();
        let mut commands: Vec<Value> = commands
            .map(|rolls| requests::write(self.about, &mut Dice::new(&rolls.0), &self.model))
            .collect();
        let reserves = commands.iter().any(|command| command["cmd"] == "queue.reserve");
        let mut request = match commands.len() {
            1 => commands.remove(0),
            _ => json!({"cmd": "batch", "commands": commands}),
        };
        if let Some(key) = asked.key.filter(|_| !reserves) {
            request["idempotency_key"] = json!(format!("key {key}"));
            let first = self.keyed.entry(key).or_insert_with(|| request.clone());
            if !asked.other_content {
                request.clone_from(first);
            }
        }
        if asked.dry_run {
            request["dry_run"] = json!(true);
        }
        let before = self.daemon.next_seq();
        let reply = self.ask(asked.user, &request, true)?;
        let kept = reply["ok"] == json!(true) && !asked.dry_run;
        let wrote = self.daemon.next_seq() > before;
        self.hold(kept || !wrote, || "a refusal and a dry run leave nothing".to_owned())?;
        match request["idempotency_key"].as_str().filter(|_| kept) {
            Some(key) => self.a_replay_equals_the_first_reply(asked.user, key, &reply),
            None => Ok(()),
        }
    }

    fn a_replay_equals_the_first_reply(&mut self, user: u32, key: &str, reply: &Value) -> Checked {
        let place = (user, key.to_owned());
        let Some(first) = self.first.get(&place).cloned() else {
            self.first.insert(place, reply.clone());
            return Ok(());
        };
        let again = naive::merged(first, json!({"replayed": true}));
        self.hold(*reply == again, || format!("the first reply was another than {reply}"))
    }

    /// Sends a write in a batch of its own.
    pub fn alone(&mut self, request: &Value) -> Checked<Value> {
        self.begin();
        let reply = self.ask(0, &marked(request), true)?;
        self.daemon.commit();
        Ok(reply)
    }

    /// Does what a step says.
    pub fn step(&mut self, step: &Step) -> Checked {
        if !matches!(step, Step::Writes(_) | Step::Search(_)) {
            self.told.push(format!("{step:?}"));
        }
        match step {
            Step::Writes(requests) => {
                self.begin();
                self.told.push("begin".to_owned());
                requests.iter().try_for_each(|request| self.write(request))?;
                self.daemon.commit();
            }
            Step::Search(rolls) => {
                let search = requests::search(&mut Dice::new(&rolls.0), &self.model);
                self.ask(0, &search, false)?;
            }
            Step::Advance(milliseconds) => self.daemon.advance(*milliseconds),
            Step::Leave => self.daemon.leave_tail(),
            Step::Merge(from, count) => self.daemon.merge(*from, *count),
            Step::Flush => self.daemon.flush(),
            Step::MergeAll => self.daemon.merge_all(),
            Step::Restart(trimmed) => self.daemon.restart(*trimmed),
            Step::Rebuild => self.daemon.rebuild(),
            Step::Compact => {
                self.daemon.compact();
                self.model.compact();
            }
        }
        Ok(())
    }

    /// Asks for everything, page by page.
    fn read_everything(&mut self) -> Checked<Vec<Value>> {
        let mut replies = Vec::new();
        for read in requests::reads(&self.model) {
            let mut page = Some(read);
            while let Some(read) = page {
                let reply = self.ask(0, &read, false)?;
                self.told.pop();
                page = requests::next_page(&read, &reply);
                replies.push(reply);
            }
        }
        Ok(replies)
    }

    /// The log, the counts, every read; and the same once more after all was replayed from the log.
    pub fn check(&mut self) -> Checked {
        // Event by event it is the daemon's, as far as it was not compacted away.
        naive::promises::check(&self.model.log);
        prop_assert_eq!(self.daemon.snapshot().counts(), self.model.counts());
        let (replies, table) = (self.read_everything()?, self.daemon.table());
        self.daemon.rebuild();
        self.hold(self.daemon.table() == table, || "the log replays to another table".to_owned())?;
        let again = self.read_everything()?;
        self.hold(again == replies, || "the log replays to other replies".to_owned())
    }
}

/// Takes off what the model does not foresee: the hash of a request's content.
fn strip(reply: &mut Value) {
    for event in reply.get_mut("events").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(content) = event.as_object_mut().and_then(|event| event.remove("content")) {
            assert!(content.as_str().is_some_and(|hash| hash.len() == 32), "{content}");
        }
    }
}
