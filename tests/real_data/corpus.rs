//! Texts to load: real ones where there are some, else made-up ones.

use std::cell::Cell;
use std::io::Read;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::naive::exact::{exact, must, text};

/// A message to a recipient.
pub struct Letter {
    pub originator: String,
    pub recipient: String,
    pub body: String,
}

/// A message in a chat, both by name.
pub struct Said {
    pub app: String,
    pub chat: String,
    pub author: String,
    pub body: String,
}

/// The folder of sample data, if there is one.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("MSGLOGD_SAMPLE_DATA").map(PathBuf::from)
}

fn lines(name: &str) -> Option<Vec<Value>> {
    let path = folder()?.join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("a compressed text");
    Some(text.lines().map(exact).collect())
}

/// Messages to recipients: `count` of the large set and all of the others.
pub fn letters(count: usize) -> Vec<Letter> {
    let Some(messages) = lines("messages.jsonl.gz") else { return Generator::new().letters(3000) };
    let paragraphs = lines("multilingual.jsonl.gz").unwrap_or_default();
    let sms = lines("sms.jsonl.gz").unwrap_or_default();
    let stride = (messages.len() / count).max(1);
    let messages = messages.iter().step_by(stride).map(|line| Letter {
        originator: must(line, "originator"),
        recipient: must(line, "recipient"),
        body: body(line),
    });
    let paragraphs = paragraphs.iter().map(|line| Letter {
        originator: must(line, "lang"),
        recipient: "paragraphs".to_owned(),
        body: body(line),
    });
    let sms = sms.iter().map(|line| Letter {
        originator: must(line, "label"),
        recipient: "telephone".to_owned(),
        body: body(line),
    });
    messages.chain(paragraphs).chain(sms).collect()
}

fn body(line: &Value) -> String {
    line["body"].as_str().expect("a body").to_owned()
}

/// Messages in chats, in the order they were said.
pub fn chats() -> Vec<Said> {
    let Some(lines) = lines("chats.jsonl.gz") else { return Generator::new().chats(1500) };
    let said = lines.iter().map(|line| Said {
        app: line["app"].as_str().expect("an application").to_owned(),
        chat: line["chat"].as_str().expect("a chat").to_owned(),
        author: must(line, "author"),
        body: body(line),
    });
    said.collect()
}

/// Names and materials of formulas.
pub fn formulas() -> Vec<(String, Value)> {
    let Some(lines) = lines("formulas.jsonl.gz") else { return Generator::new().formulas(200) };
    lines.iter().map(|line| (text(line, "name").expect("a name"), line["materials"].clone())).collect()
}

/// Makes up what it is asked for, the same each time.
pub struct Generator(Cell<u64>);

impl Generator {
    /// At its beginning.
    pub fn new() -> Self {
        Generator(Cell::new(1))
    }

    /// A number below `bound`.
    pub fn below(&self, bound: usize) -> usize {
        let next =
            self.0.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.set(next);
        usize::try_from(next >> 33).expect("31 bits") % bound
    }

    /// One of these.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Small numbers far more often than large ones, as words are in texts.
    fn uneven(&self, bound: usize) -> usize {
        let bound = 1 + self.below(bound);
        self.below(bound)
    }

    fn word(&self) -> String {
        const SYLLABLES: [&str; 12] = [
            "ba",
            "Ra",
            "lin",
            "tor",
            "e\u{301}",
            "\u{e9}s",
            "\u{3a9}\u{3c3}\u{3a3}",
            "7",
            "\u{6771}",
            "\u{4eac}",
            "\u{e01}\u{e34}",
            "x",
        ];
        let number = self.uneven(600);
        let parts = [number % 12, number / 12 % 12, number / 144];
        parts.iter().filter(|part| **part > 0).map(|part| SYLLABLES[*part]).collect()
    }

    fn text(&self) -> String {
        const BETWEEN: [&str; 9] = [" ", " ", " ", " ", ", ", ".", " -- ", "\n", "\" (\u{1f600})"];
        let count = self.below(30);
        (0..count).map(|_| self.word() + BETWEEN[self.below(9)]).collect()
    }

    fn letters(&self, count: usize) -> Vec<Letter> {
        let one = |_| Letter {
            originator: format!("u{}", self.uneven(60)),
            recipient: self.uneven(200).to_string(),
            body: self.text(),
        };
        (0..count).map(one).collect()
    }

    fn chats(&self, count: usize) -> Vec<Said> {
        let one = |_| Said {
            app: format!("app {}", self.uneven(6)),
            chat: format!("chat {}", self.uneven(40)),
            author: format!("u{}", self.uneven(60)),
            body: self.text(),
        };
        (0..count).map(one).collect()
    }

    fn formulas(&self, count: usize) -> Vec<(String, Value)> {
        let one = |number| {
            let amount = ["1", "1.0", "10e-1", "1.5", "0.150e1"][self.below(5)];
            let (first, second) = (self.below(6), 6 + self.below(6));
            let materials = format!(
                r#"[{{"name":"m{first}","concentration":{amount}}},{{"name":"m{second}","concentration":2}}]"#
            );
            (format!("formula {number}"), exact(&materials))
        };
        (0..count).map(one).collect()
    }
}
