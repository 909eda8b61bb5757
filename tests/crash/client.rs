//! The client: it sends random requests, checks every reply, and remembers what it was told, so
//! that after a crash it can say what must be there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use msglogd::domain::table::Facts;
use msglogd::error::{Code, Error};
use msglogd::snapshot::Snapshot;
use msglogd::writer::Answers;
use serde_json::{Value, json};

use super::random::Random;
use super::requests::{Draft, Known, draft, mark, scripted};

/// Most requests in one turn, unless a test says otherwise.
const TURN_REQUESTS: usize = 4;

/// What came of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Not answered yet.
    Waiting,
    /// It happened; the reply, and the last event that was visible then.
    Done { reply: Value, last: u64 },
    /// Nothing happened.
    Refused(Code),
    /// Nobody knows: the sync failed, or the power went away before an answer.
    Unknown,
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its line.
    pub request: Value,
    /// The mark of its events.
    pub mark: usize,
    /// How many events may carry the mark when it succeeded.
    pub counts: Vec<usize>,
    names_event: bool,
    /// What came of it.
    pub outcome: Outcome,
}

impl Sent {
    fn flag(&self, name: &str) -> bool {
        self.request[name] == true
    }

    fn is_durable(&self) -> bool {
        let leasing = ["queue.reserve", "queue.extend"].iter().any(|name| self.request["cmd"] == *name);
        self.request.get("durable").map_or(!leasing, |durable| *durable == true)
    }
}

fn sent(mark: usize, draft: Draft) -> Sent {
    let Draft { request, counts, names_event } = draft;
    Sent { request, mark, counts, names_event, outcome: Outcome::Waiting }
}

/// What may go wrong in this run.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// Nothing but the power.
    None,
    /// Calls to the storage; whether a sync of the log was among them.
    Calls(Arc<AtomicBool>),
}

/// A client with its memory.
#[derive(Debug, Clone)]
pub struct Client {
    random: Random,
    known: Known,
    /// All it sent, ever.
    pub sent: Vec<Sent>,
    /// All events it saw, by seq from 1.
    pub records: Vec<Vec<u8>>,
    /// How many run files the last snapshot that it saw had.
    pub run_files: usize,
    /// The last event that something durable was answered from.
    pub durable: u64,
    /// Whether a sync of the log failed since the start: nothing may be written any more.
    pub broken: bool,
    /// Whether the machine died since the last start, and not only the program.
    pub power_was_lost: bool,
    /// What may go wrong.
    pub trouble: Trouble,
    /// Most requests that it sends in one turn.
    pub turn_requests: usize,
    /// What it sends next, one command in each turn, before it goes on at random.
    pub script: VecDeque<&'static str>,
    marks: usize,
}

impl Client {
    /// A client that knows nothing.
    pub fn new(seed: u64) -> Self {
        Client {
            random: Random::new(seed),
            known: Known::default(),
            sent: Vec::new(),
            records: Vec::new(),
            run_files: 0,
            durable: 0,
            broken: false,
            power_was_lost: false,
            trouble: Trouble::None,
            turn_requests: TURN_REQUESTS,
            script: VecDeque::new(),
            marks: 0,
        }
    }

    /// Makes a few more requests; answers where they begin in `sent`.
    pub fn draw(&mut self) -> usize {
        if let Trouble::Calls(sync_failed) = &self.trouble {
            self.broken |= sync_failed.load(Ordering::Relaxed);
        }
        let start = self.sent.len();
        if let Some(name) = self.script.pop_front() {
            self.marks += 1;
            let draft = scripted(name, &self.known, &mark(self.marks));
            self.sent.push(sent(self.marks, draft));
            return start;
        }
        for _ in 0..=self.random.below(self.turn_requests) {
            let repeated = self.repeatable().filter(|_| self.random.one_in(6));
            let next = repeated.unwrap_or_else(|| {
                self.marks += 1;
                sent(self.marks, draft(&mut self.random, &self.known, &mark(self.marks)))
            });
            self.sent.push(next);
        }
        start
    }

    /// A request with an idempotency key, to be sent once more.
    fn repeatable(&mut self) -> Option<Sent> {
        let keyed: Vec<&Sent> =
            self.sent.iter().filter(|sent| sent.request.get("idempotency_key").is_some()).collect();
        let mut again = (*self.random.pick(&keyed)?).clone();
        again.outcome = Outcome::Waiting;
        Some(again)
    }

    /// Sees all that is visible now.
    fn see(&mut self, snapshot: &Snapshot) {
        assert!(snapshot.last >= self.records.len() as u64, "what was visible is gone");
        self.run_files = snapshot.runs.len();
        for seq in self.records.len() as u64 + 1..=snapshot.last {
            let record = snapshot.record(seq).unwrap_or_else(|error| panic!("event {seq}: {error}"));
            self.records.push(record.unwrap_or_else(|| panic!("event {seq} is not there")));
        }
    }

    /// Takes the replies of a turn. `snapshot` is what every reader sees when they are given.
    pub fn take(&mut self, answers: &Answers, snapshot: &Snapshot) {
        let before = self.records.len() as u64;
        self.see(snapshot);
        for (ticket, answer) in &answers.list {
            let number = usize::try_from(ticket.number).expect("a small number");
            let sent = &self.sent[number];
            assert_eq!(sent.outcome, Outcome::Waiting, "{} was answered twice", sent.request);
            let outcome = match answer {
                Ok(range) => {
                    let fields = String::from_utf8_lossy(&answers.bytes[range.clone()]);
                    let reply = serde_json::from_str(&format!("{{\"ok\":true{fields}}}"))
                        .unwrap_or_else(|error| panic!("{error}: {fields}"));
                    let nothing = reply == json!({"ok": true, "jobs": []});
                    assert!(
                        !self.broken || nothing,
                        "after a failed sync this was written: {}",
                        sent.request
                    );
                    self.check_success(number, &reply);
                    Outcome::Done { reply, last: snapshot.last }
                }
                Err(error) => self.refusal(number, error, snapshot.last == before),
            };
            let sent = &mut self.sent[number];
            if sent.is_durable() && matches!(outcome, Outcome::Done { .. }) {
                self.durable = self.durable.max(snapshot.last);
            }
            sent.outcome = outcome;
        }
    }

    fn refusal(&mut self, number: usize, error: &Error, nothing_new: bool) -> Outcome {
        let sent = &self.sent[number];
        let expected = matches!(self.trouble, Trouble::Calls(_));
        match error.code() {
            code @ (Code::ReadOnly | Code::Corrupt) if expected => Outcome::Refused(code),
            Code::OutcomeUnknown if expected => {
                assert!(nothing_new, "the sync failed, and this is visible: {}", sent.request);
                self.broken = true;
                Outcome::Unknown
            }
            code @ (Code::NotFound | Code::Conflict | Code::LeaseLost | Code::QueueFull) => {
                assert!(!self.broken, "after a failed sync this was decided: {}", sent.request);
                if sent.is_durable() {
                    self.durable = self.durable.max(self.records.len() as u64);
                }
                Outcome::Refused(code)
            }
            _ => panic!("{error}\n  request: {}", sent.request),
        }
    }

    fn check_success(&mut self, number: usize, reply: &Value) {
        let sent = &self.sent[number];
        if sent.flag("dry_run") {
            return;
        }
        if let Some(first) = self.first_reply(number) {
            let mut first = first.clone();
            first["replayed"] = Value::Bool(true);
            assert_eq!(reply, &first, "a repetition is answered like the first: {}", sent.request);
            return;
        }
        if sent.names_event && reply.get("replayed").is_none() {
            let seq = usize::try_from(reply["seq"].as_u64().expect("a seq")).expect("a small number");
            let record = String::from_utf8_lossy(&self.records[seq - 1]);
            assert!(
                record.contains(&mark(sent.mark)),
                "{} was answered with {reply}: {record}",
                sent.request
            );
        }
        self.learn(number, reply);
    }

    /// The reply to the same request when it was done before.
    fn first_reply(&self, number: usize) -> Option<&Value> {
        let sent = &self.sent[number];
        let key = sent.request.get("idempotency_key")?;
        self.sent[..number].iter().find_map(|other| match &other.outcome {
            Outcome::Done { reply, .. }
                if other.request.get("idempotency_key") == Some(key) && !other.flag("dry_run") =>
            {
                Some(reply)
            }
            _ => None,
        })
    }

    /// Remembers what a reply names.
    fn learn(&mut self, number: usize, reply: &Value) {
        let command = self.sent[number].request["cmd"].as_str().unwrap_or_default().to_owned();
        let seq = reply["seq"].as_u64();
        match command.as_str() {
            "app.create" => self.known.apps.extend(reply["token"].as_str().map(str::to_owned)),
            "message.post" => self.known.messages.extend(seq),
            "queue.put" => self.known.jobs.extend(seq),
            "queue.reserve" => {
                for job in reply["jobs"].as_array().into_iter().flatten() {
                    let lease = job["lease"].as_str().unwrap_or_default().to_owned();
                    self.known.leases.push((job["job"].as_u64().unwrap_or_default(), lease));
                }
            }
            _ => {}
        }
    }

    /// After a crash: what was not answered is unknown, and what is gone is forgotten. `records` is
    /// what is there now; all of it is on disk.
    pub fn go_on(&mut self, records: Vec<Vec<u8>>) {
        let there = records.len() as u64;
        for sent in &mut self.sent {
            match &sent.outcome {
                Outcome::Waiting => sent.outcome = Outcome::Unknown,
                Outcome::Done { last, .. } if *last > there => sent.outcome = Outcome::Unknown,
                _ => {}
            }
        }
        self.durable = there;
        self.records = records;
        (self.broken, self.power_was_lost) = (false, false);
    }
}
