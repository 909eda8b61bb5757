//! Messages by number, as many as are asked for, the same in every run.
//!
//! The first ones are the sample: the lines of `messages.jsonl.gz` in the folder that
//! `MSGLOGD_SAMPLE_DATA` names, with the paragraphs of `multilingual.jsonl.gz` spread among them; or
//! made-up texts where there is no such folder. What is asked for beyond the sample are copies of it,
//! changed so that names and words grow as they do inside the sample:
//!
//! - **Words** follow Heaps' law: of n messages about n^0.7 are different (measured on the sample:
//!   0.72, 0.78 and 0.71 from one doubling to the next). So copy k brings `V * ((k+1)^0.7 - k^0.7)`
//!   new ones, V being the words of the sample. They take the place of rare words: of those in at
//!   most [`RARE_MESSAGES`] messages of the sample a share, drawn anew for every copy, is respelled
//!   (vowels to vowels, consonants to consonants, digits to digits). Frequent words stay, and become
//!   more frequent in proportion.
//! - **Originators and recipients** grow in proportion to the messages (measured: exponents 1.0 to
//!   1.2). So each copy has its own, but for the few large ones, which go on.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use msglogd::domain::words::{is_word_character, words};
use serde_json::Value;

use crate::dice::{hash, mix};
use crate::made_up;

/// The exponent of Heaps' law.
const HEAPS: f64 = 0.7;
/// Words in at most so many messages of the sample are respelled in copies.
const RARE_MESSAGES: u32 = 8;
/// Shorter words are not respelled: most spellings of three letters are taken.
const RESPELLED_LETTERS: usize = 4;
/// Originators and recipients with more messages in the sample than this go on in the copies.
const LARGE_MESSAGES: u32 = 1000;
/// Messages that are made up where there is no sample.
const MADE_UP: usize = 125_000;

/// A message to a recipient.
#[derive(Debug, Clone)]
pub struct Message {
    /// Who wrote it.
    pub originator: String,
    /// To whom.
    pub recipient: String,
    /// Its text.
    pub body: String,
}

/// The messages.
pub struct Corpus {
    sample: Vec<Message>,
    /// In how many messages of the sample each word is.
    frequencies: HashMap<String, u32>,
    /// How many messages of the sample each originator and each recipient has.
    names: HashMap<String, u32>,
    /// How many words of the sample may be respelled.
    rare: usize,
    /// Where the sample is from.
    pub source: String,
}

impl Corpus {
    /// Reads the sample.
    pub fn load() -> Self {
        let folder = std::env::var_os("MSGLOGD_SAMPLE_DATA").map(PathBuf::from);
        let (sample, source) = match &folder {
            Some(folder) => (sample(folder), folder.display().to_string()),
            None => (made_up::messages(MADE_UP), "made up (MSGLOGD_SAMPLE_DATA is not set)".to_owned()),
        };
        let mut frequencies: HashMap<String, u32> = HashMap::new();
        let mut names: HashMap<String, u32> = HashMap::new();
        for message in &sample {
            let mut words = words(&message.body);
            words.sort_unstable();
            words.dedup();
            words.into_iter().for_each(|word| *frequencies.entry(word).or_default() += 1);
            *names.entry(message.originator.clone()).or_default() += 1;
            *names.entry(message.recipient.clone()).or_default() += 1;
        }
        let rare = frequencies.iter().filter(|(word, count)| is_respelled(word, **count)).count();
        Corpus { sample, frequencies, names, rare, source }
    }

    /// Message `number`, counted from 0.
    pub fn message(&self, number: usize) -> Message {
        let (copy, place) = (number / self.sample.len(), number % self.sample.len());
        let message = &self.sample[place];
        if copy == 0 {
            return message.clone();
        }
        Message {
            originator: self.renamed(&message.originator, copy),
            recipient: self.renamed(&message.recipient, copy),
            body: self.rewritten(&message.body, copy),
        }
    }

    /// In how many messages of the sample a word is.
    pub fn frequency(&self, word: &str) -> u32 {
        self.frequencies.get(word).copied().unwrap_or(0)
    }

    /// The words of the sample in ASCII, those in most messages first.
    pub fn frequent_words(&self, count: usize) -> Vec<String> {
        let mut words: Vec<(&String, &u32)> =
            self.frequencies.iter().filter(|(word, _)| word.is_ascii()).collect();
        words.sort_unstable_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        words.into_iter().take(count).map(|(word, _)| word.clone()).collect()
    }

    /// `u17` of copy 2 is `u17c2`; a number gets its copy in front, so that it stays one.
    fn renamed(&self, name: &str, copy: usize) -> String {
        if self.names.get(name).is_some_and(|count| *count > LARGE_MESSAGES) {
            name.to_owned()
        } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("{copy}{name}")
        } else {
            format!("{name}c{copy}")
        }
    }

    /// How many of 2^32 rare words are respelled in a copy.
    fn share(&self, copy: usize) -> u64 {
        #[allow(clippy::cast_precision_loss, reason = "a share need not be exact")]
        let (copy, vocabulary, rare) = (copy as f64, self.frequencies.len() as f64, self.rare as f64);
        let fresh = vocabulary * ((copy + 1.0).powf(HEAPS) - copy.powf(HEAPS));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^32")]
        let share = ((fresh / rare).min(1.0) * 4_294_967_296.0) as u64;
        share
    }

    fn rewritten(&self, body: &str, copy: usize) -> String {
        let share = self.share(copy);
        let mut out = String::with_capacity(body.len());
        let mut rest = body;
        while !rest.is_empty() {
            let end = rest.find(|next| !is_word_character(next)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            let lower = word.to_ascii_lowercase();
            let chance = hash(copy as u64, &lower);
            if is_respelled(&lower, self.frequency(&lower)) && chance >> 32 < share {
                respell(word, chance, &mut out);
            } else {
                out.push_str(word);
            }
            let next = behind.find(is_word_character).unwrap_or(behind.len());
            out.push_str(&behind[..next]);
            rest = &behind[next..];
        }
        out
    }
}

fn is_respelled(word: &str, frequency: u32) -> bool {
    (1..=RARE_MESSAGES).contains(&frequency) && word.len() >= RESPELLED_LETTERS && word.is_ascii()
}

/// Writes another word of the same shape: letters for letters, small for small.
fn respell(word: &str, chance: u64, out: &mut String) {
    const KINDS: [&[u8]; 3] = [b"aeiou", b"bcdfghjklmnpqrstvwxyz", b"0123456789"];
    let mut numbers = chance;
    for (place, byte) in word.bytes().enumerate() {
        numbers = mix(numbers);
        let lower = byte.to_ascii_lowercase();
        let kind = KINDS.iter().find(|kind| kind.contains(&lower));
        // Every other character on average; the second and third always, so that it is a new word.
        let stays = place == 0 || (place > 2 && numbers & 1 == 0);
        let Some(kind) = kind.filter(|_| !stays) else {
            out.push(char::from(byte));
            continue;
        };
        let own = kind.iter().position(|other| *other == lower).unwrap_or(0);
        let step = 1 + usize::try_from((numbers >> 8) % (kind.len() as u64 - 1)).unwrap_or(0);
        let new = kind[(own + step) % kind.len()];
        out.push(char::from(if byte.is_ascii_uppercase() { new.to_ascii_uppercase() } else { new }));
    }
}

fn lines(folder: &Path, name: &str) -> Vec<Value> {
    let path = folder.join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("a compressed text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn sample(folder: &Path) -> Vec<Message> {
    let paragraphs = lines(folder, "multilingual.jsonl.gz").into_iter().map(|line| Message {
        originator: text(&line["lang"]),
        recipient: "paragraphs".to_owned(),
        body: text(&line["body"]),
    });
    let messages = lines(folder, "messages.jsonl.gz").into_iter().map(|line| Message {
        originator: text(&line["originator"]),
        recipient: text(&line["recipient"]),
        body: text(&line["body"]),
    });
    let mut paragraphs: Vec<Message> = paragraphs.collect();
    let every = messages.len() / paragraphs.len().max(1);
    let mut sample = Vec::with_capacity(messages.len() + paragraphs.len());
    for (place, message) in messages.enumerate() {
        sample.push(message);
        if place % every == 0 {
            sample.extend(paragraphs.pop());
        }
    }
    sample
}
