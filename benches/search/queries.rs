//! Every class of search, and queries of each, drawn from the texts that are searched.

use std::collections::HashSet;

use msglogd::domain::words::words;
use serde_json::json;

use crate::corpus::{Corpus, Message};
use crate::dice::Dice;

/// Messages that every search asks for.
pub const LIMIT: usize = 20;

/// What a search asks for. Words are lower-cased and in ASCII, so that every engine cuts them alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// All of the words.
    Words(Vec<String>),
    /// A word that begins so.
    Prefix(String),
    /// The words next to each other.
    Phrase(Vec<String>),
    /// These characters, anywhere, within one word or beyond it.
    Piece(String),
    /// The word, to the recipient.
    To(String, String),
    /// The word, from the originator.
    From(String, String),
    /// How many messages have all of the words.
    Count(Vec<String>),
}

impl Ask {
    /// The request line, without its line feed.
    pub fn line(&self) -> String {
        let mut request = json!({"cmd": "message.search", "limit": LIMIT});
        match self {
            Ask::Words(words) => request["text"] = words.join(" ").into(),
            Ask::Prefix(start) => request["text"] = format!("{start}*").into(),
            Ask::Phrase(words) => request["text"] = format!("\"{}\"", words.join(" ")).into(),
            Ask::Piece(piece) => request["substring"] = piece.as_str().into(),
            Ask::To(name, word) => {
                request["recipient"] = name.as_str().into();
                request["text"] = word.as_str().into();
            }
            Ask::From(name, word) => {
                request["originator"] = name.as_str().into();
                request["text"] = word.as_str().into();
            }
            Ask::Count(words) => {
                request["text"] = words.join(" ").into();
                request["count"] = true.into();
                request["limit"] = 1.into();
            }
        }
        request.to_string()
    }
}

/// A class of searches.
pub struct Class {
    /// What it is called in the table.
    pub name: &'static str,
    draw: fn(&mut Draw<'_>) -> Option<Ask>,
}

/// All classes. `name` is also what an option chooses them by.
pub const CLASSES: &[Class] = &[
    Class { name: "frequent word", draw: |draw| Some(Ask::Words(vec![draw.frequent()])) },
    Class { name: "rare word", draw: |draw| Some(Ask::Words(vec![draw.rare()?])) },
    Class { name: "AND of 2", draw: |draw| Some(Ask::Words(draw.together(2)?)) },
    Class { name: "AND of 3", draw: |draw| Some(Ask::Words(draw.together(3)?)) },
    Class { name: "prefix of 3 letters", draw: |draw| draw.prefix() },
    Class { name: "phrase", draw: |draw| draw.phrase() },
    Class { name: "substring in a word", draw: |draw| draw.piece_in_a_word() },
    Class { name: "substring across words", draw: |draw| draw.piece_across_words() },
    Class { name: "recipient + word", draw: |draw| draw.with_name(|message| message.recipient, Ask::To) },
    Class { name: "originator + word", draw: |draw| draw.with_name(|message| message.originator, Ask::From) },
    Class { name: "count of a frequent word", draw: |draw| Some(Ask::Count(vec![draw.frequent()])) },
    Class { name: "count of an AND of 2", draw: |draw| Some(Ask::Count(draw.together(2)?)) },
    Class { name: "substring of one letter", draw: |draw| draw.characters(1, 1, char::is_alphabetic) },
    Class {
        name: "substring of symbols",
        draw: |draw| draw.characters(2, 3, |next| next.is_ascii_punctuation()),
    },
    Class { name: "substring of one emoji", draw: |draw| draw.characters(1, 1, is_emoji) },
    Class { name: "substring of two Han", draw: |draw| draw.characters(2, 2, is_han) },
];

/// Up to `count` different queries of a class, as many as the texts have.
pub fn draw(class: &Class, corpus: &Corpus, messages: usize, count: usize) -> Vec<Ask> {
    let dice = Dice::named(class.name);
    let mut draw = Draw { dice, corpus, messages, frequent: corpus.frequent_words(count + count / 5) };
    let (mut seen, mut drawn) = (HashSet::new(), Vec::new());
    let mut misses = 0;
    while drawn.len() < count && misses < 100_000 {
        match (class.draw)(&mut draw).filter(|ask| seen.insert(ask.clone())) {
            Some(ask) => drawn.push(ask),
            None => misses += 1,
        }
    }
    drawn
}

struct Draw<'c> {
    dice: Dice,
    corpus: &'c Corpus,
    messages: usize,
    frequent: Vec<String>,
}

impl Draw<'_> {
    fn message(&mut self) -> Message {
        self.corpus.message(self.dice.below(self.messages))
    }

    /// The different words in ASCII of a message.
    fn words(&mut self) -> (Message, Vec<String>) {
        let message = self.message();
        let mut words = words(&message.body);
        words.retain(|word| word.is_ascii());
        words.sort_unstable();
        words.dedup();
        (message, words)
    }

    fn frequent(&mut self) -> String {
        self.dice.pick(&self.frequent).clone()
    }

    /// One in at most three messages of the sample.
    fn rare(&mut self) -> Option<String> {
        let (_, mut words) = self.words();
        words.retain(|word| self.corpus.frequency(word) <= 3);
        (!words.is_empty()).then(|| self.dice.pick(&words).clone())
    }

    /// Different words of one message, wherever they stand in it.
    fn together(&mut self, count: usize) -> Option<Vec<String>> {
        let (_, mut words) = self.words();
        if words.len() < count {
            return None;
        }
        Some((0..count).map(|_| words.swap_remove(self.dice.below(words.len()))).collect())
    }

    fn prefix(&mut self) -> Option<Ask> {
        let (_, mut words) = self.words();
        words.retain(|word| word.len() > 3 && word.bytes().all(|byte| byte.is_ascii_alphabetic()));
        (!words.is_empty()).then(|| Ask::Prefix(self.dice.pick(&words)[..3].to_owned()))
    }

    /// Two or three words that follow each other in a message.
    fn phrase(&mut self) -> Option<Ask> {
        let count = 2 + self.dice.below(2);
        let words = words(&self.message().body);
        let starts = words.len().checked_sub(count - 1).filter(|starts| *starts > 0)?;
        let start = self.dice.below(starts);
        let phrase = words[start..start + count].to_vec();
        phrase.iter().all(|word| word.is_ascii()).then_some(Ask::Phrase(phrase))
    }

    /// Three to six letters from the middle of a word.
    fn piece_in_a_word(&mut self) -> Option<Ask> {
        let length = 3 + self.dice.below(4);
        let (_, mut words) = self.words();
        words.retain(|word| word.len() >= length + 2);
        if words.is_empty() {
            return None;
        }
        let word = self.dice.pick(&words).clone();
        let start = 1 + self.dice.below(word.len() - length - 1);
        Some(Ask::Piece(word[start..start + length].to_owned()))
    }

    /// Six to seventeen characters with a space among them, but not at an end.
    fn piece_across_words(&mut self) -> Option<Ask> {
        let length = 6 + self.dice.below(12);
        let body = self.message().body;
        let start = self.dice.below(body.len().max(1));
        let piece = body.get(start..start + length)?;
        let whole = piece.is_ascii() && !piece.contains(|next: char| next.is_ascii_control());
        (whole && piece.trim() == piece && piece.contains(' '))
            .then(|| Ask::Piece(piece.to_ascii_lowercase()))
    }

    fn with_name(&mut self, name: fn(Message) -> String, ask: fn(String, String) -> Ask) -> Option<Ask> {
        let (message, words) = self.words();
        (!words.is_empty()).then(|| ask(name(message), self.dice.pick(&words).clone()))
    }

    /// So many characters of a kind that stand next to each other.
    fn characters(&mut self, least: usize, most: usize, is: fn(char) -> bool) -> Option<Ask> {
        let length = least + self.dice.below(most - least + 1);
        let characters: Vec<char> = self.message().body.chars().flat_map(char::to_lowercase).collect();
        let starts: Vec<usize> = (0..characters.len().saturating_sub(length - 1))
            .filter(|start| characters[*start..start + length].iter().all(|next| is(*next)))
            .collect();
        if starts.is_empty() {
            return None;
        }
        let start = *self.dice.pick(&starts);
        Some(Ask::Piece(characters[start..start + length].iter().collect()))
    }
}

fn is_han(character: char) -> bool {
    ('\u{4e00}'..'\u{a000}').contains(&character)
}

fn is_emoji(character: char) -> bool {
    ('\u{1f300}'..'\u{1fb00}').contains(&character) || ('\u{2600}'..'\u{27c0}').contains(&character)
}
