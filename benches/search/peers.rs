//! The engines that msglogd is compared with. Their stores are made once and used again.

use std::fs;
use std::ops::Deref;

use crate::answer::Answer;
use crate::corpus::Corpus;
use crate::fts5::Fts5;
use crate::options::Options;
use crate::queries::Ask;
use crate::report::mebibytes;
use crate::tantivy_index::Tantivy;

/// Another engine with the same messages.
pub trait Peer {
    /// What it is called.
    fn name(&self) -> &'static str;
    /// Whether it has a way to answer such queries.
    fn can(&self, ask: &Ask) -> bool;
    /// Answers.
    fn ask(&self, ask: &Ask) -> Answer;
    /// What it takes on disk.
    fn sizes(&self) -> String;
}

/// All of them.
pub struct Peers(Vec<Box<dyn Peer>>);

impl Peers {
    /// Opens them all, or makes them.
    pub fn open(options: &Options, corpus: &Corpus) -> Self {
        if options.alone {
            return Peers(Vec::new());
        }
        let made_up = if corpus.source.starts_with("made up") { "-made-up" } else { "" };
        let folder = options.folder.join(format!("peers-{}{made_up}", options.messages));
        fs::create_dir_all(&folder).expect("the folder of the benchmark can be written");
        let fts5 = Fts5::open(&folder, corpus, options.messages).expect("FTS5");
        let tantivy = Tantivy::open(&folder, corpus, options.messages).expect("tantivy");
        Peers(vec![Box::new(fts5), Box::new(tantivy)])
    }
}

impl Deref for Peers {
    type Target = [Box<dyn Peer>];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Peer for Fts5 {
    fn name(&self) -> &'static str {
        "FTS5"
    }

    fn can(&self, _: &Ask) -> bool {
        true
    }

    fn ask(&self, ask: &Ask) -> Answer {
        self.ask(ask).unwrap_or_else(|error| panic!("FTS5: {ask:?}: {error}"))
    }

    fn sizes(&self) -> String {
        let (words, grams) = self.bytes;
        format!("texts, words and prefixes {}, trigrams {}", mebibytes(words), mebibytes(grams))
    }
}

impl Peer for Tantivy {
    fn name(&self) -> &'static str {
        "tantivy"
    }

    fn can(&self, ask: &Ask) -> bool {
        self.can(ask)
    }

    fn ask(&self, ask: &Ask) -> Answer {
        self.ask(ask).unwrap_or_else(|error| panic!("tantivy: {ask:?}: {error}"))
    }

    fn sizes(&self) -> String {
        format!("texts and words {}", mebibytes(self.bytes))
    }
}
