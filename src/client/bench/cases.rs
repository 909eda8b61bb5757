//! What is measured.

use super::scratch::Scratch;

/// Posts in one batch.
const BATCH: u64 = 100;

/// One case.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// How many of it one request is.
    pub items: u64,
    /// How it goes.
    pub work: Work,
}

/// How a case goes.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Requests that need nothing of one another, each made from a number.
    Requests(fn(&Scratch, u64) -> String),
    /// Puts, a reserve of as many, and their acks.
    Cycles,
}

/// All of them. Searches come behind the posts that they find.
pub const CASES: &[Case] = &[
    Case {
        name: "post",
        what: "durable posts",
        items: 1,
        work: Work::Requests(|scratch, number| scratch.post(number, true)),
    },
    Case {
        name: "post-async",
        what: "posts, durable: false",
        items: 1,
        work: Work::Requests(|scratch, number| scratch.post(number, false)),
    },
    Case {
        name: "batch",
        what: "posts in batches of 100",
        items: BATCH,
        work: Work::Requests(|scratch, number| scratch.posts(number, BATCH)),
    },
    Case { name: "set", what: "durable sets", items: 1, work: Work::Requests(Scratch::set) },
    Case { name: "get", what: "gets", items: 1, work: Work::Requests(Scratch::get) },
    Case { name: "search", what: "searches for two words", items: 1, work: Work::Requests(Scratch::search) },
    Case { name: "queue", what: "queue cycles", items: 1, work: Work::Cycles },
];
