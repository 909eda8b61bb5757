//! Whether a body matches a `text`, for many bodies.

use memchr::memmem::Finder;

use super::text::{Clause, Phrase, Text};
use super::words::{self, Token};

/// A [`Text`] made ready to be tried on many bodies.
#[derive(Debug, Clone)]
pub struct Matcher {
    clauses: Vec<Needles>,
    body: Vec<u8>,
    /// The words of a body, each between two spaces: see `space`.
    spaced: Vec<u8>,
    scratch: String,
}

/// Places of a body where a phrase's longest word stands and the phrase does not, until the body is cut into
/// words: looking at the words around each of very many places would take far longer.
const MISSES: usize = 64;

#[derive(Debug, Clone)]
struct Needles {
    any: Vec<Needle>,
    /// What the clause says of a body that has one of them.
    wanted: bool,
}

/// A phrase to look for.
#[derive(Debug, Clone)]
struct Needle {
    phrase: Phrase,
    /// The longest of its words, and where it stands in the phrase.
    longest: Finder<'static>,
    place: usize,
    /// All of its words, each with a space on both sides.
    spaced: Finder<'static>,
}

impl Matcher {
    /// Prepares `text`.
    #[must_use]
    pub fn new(text: &Text) -> Matcher {
        let clauses = text.clauses.iter().map(|clause| match clause {
            Clause::Any(phrases) => Needles { any: phrases.iter().map(Needle::new).collect(), wanted: true },
            Clause::Not(phrase) => Needles { any: vec![Needle::new(phrase)], wanted: false },
        });
        let (body, spaced, scratch) = Default::default();
        Matcher { clauses: clauses.collect(), body, spaced, scratch }
    }

    /// Whether `body` matches.
    pub fn matches(&mut self, body: &str) -> bool {
        if !body.is_ascii() {
            self.space(body);
            let spaced = self.spaced.as_slice();
            let found = |needle: &Needle| needle.spaced.find(spaced).is_some();
            return self.clauses.iter().all(|clause| clause.any.iter().any(found) == clause.wanted);
        }
        let mut lowered = std::mem::take(&mut self.body);
        lowered.clear();
        lowered.extend_from_slice(body.as_bytes());
        lowered.make_ascii_lowercase();
        let matches = self.matches_ascii(&lowered);
        self.body = lowered;
        matches
    }

    /// Whether a body matches that is lower-cased already and has only ASCII.
    #[must_use]
    pub fn matches_ascii(&mut self, lowered: &[u8]) -> bool {
        let clauses = std::mem::take(&mut self.clauses);
        let mut cut = false;
        let mut found = |needle: &Needle| {
            needle.is_in_ascii(lowered).unwrap_or_else(|| {
                if !std::mem::replace(&mut cut, true) {
                    self.space(&String::from_utf8_lossy(lowered));
                }
                needle.spaced.find(&self.spaced).is_some()
            })
        };
        let matches = clauses.iter().all(|clause| clause.any.iter().any(&mut found) == clause.wanted);
        self.clauses = clauses;
        matches
    }

    /// Writes the words of a body into one buffer, each between two spaces. No word has a space in
    /// it, so a phrase is there exactly when it, written the same way, is a substring.
    fn space(&mut self, body: &str) {
        let spaced = &mut self.spaced;
        spaced.clear();
        spaced.push(b' ');
        words::tokens(body, &mut self.scratch, |token| {
            if let Token::Word(word) = token {
                spaced.extend_from_slice(word.as_bytes());
                spaced.push(b' ');
            }
        });
    }
}

impl Needle {
    fn new(phrase: &Phrase) -> Self {
        let mut spaced = format!(" {}", phrase.words.join(" "));
        if !phrase.prefix {
            spaced.push(' ');
        }
        let longest = phrase.words.iter().enumerate().max_by_key(|(_, word)| word.len());
        let (place, word) = longest.map_or((0, ""), |(place, word)| (place, word.as_str()));
        Needle {
            phrase: phrase.clone(),
            longest: Finder::new(word).into_owned(),
            place,
            spaced: Finder::new(&spaced).into_owned(),
        }
    }

    /// In a lower-cased body of ASCII alone, where words are runs of letters and digits. Most bodies
    /// are, and cutting all of one into words costs far more than looking at the words around a hit. `None`
    /// when there are so many that it does not.
    fn is_in_ascii(&self, body: &[u8]) -> Option<bool> {
        let (mut from, mut misses) = (0, 0);
        while let Some(found) = body.get(from..).and_then(|rest| self.longest.find(rest)) {
            let start = from + found;
            if self.stands_around(body, start) {
                return Some(true);
            }
            misses += 1;
            if misses > MISSES && self.phrase.words.len() > 1 {
                return None;
            }
            // No other place in the same run begins a word.
            from =
                start + body[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count().max(1);
        }
        Some(false)
    }

    /// Whether the whole phrase is there, its longest word at `start`.
    fn stands_around(&self, body: &[u8], start: usize) -> bool {
        let (before, rest) = body.split_at(start);
        let (earlier, later) = self.phrase.words.split_at(self.place);
        let ends_here = |rest: &[u8]| !rest.first().is_some_and(u8::is_ascii_alphanumeric);
        if before.last().is_some_and(u8::is_ascii_alphanumeric) {
            return false;
        }
        let mut before = before;
        for word in earlier.iter().rev() {
            let end = before.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
            let Some(rest) = before[..end].strip_suffix(word.as_bytes()) else { return false };
            if rest.last().is_some_and(u8::is_ascii_alphanumeric) {
                return false;
            }
            before = rest;
        }
        let mut rest = rest;
        for (place, word) in later.iter().enumerate() {
            let begin = rest.iter().position(u8::is_ascii_alphanumeric).unwrap_or(rest.len());
            let Some(behind) = rest[begin..].strip_prefix(word.as_bytes()) else { return false };
            let is_prefix = self.phrase.prefix && place + 1 == later.len();
            if !is_prefix && !ends_here(behind) {
                return false;
            }
            rest = behind;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::parse;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_body_of_ascii_matches_as_its_words_do(
            text in "-?\"?[ab.]{1,4}\\*?\"?( OR | | -)\"?[ab. ]{1,5}\\*?\"?",
            body in "[abAB. ]{0,20}",
            times in prop_oneof![Just(1), Just(100)],
        ) {
            let body = body.repeat(times);
            if let Ok(parsed) = parse(&text) {
                let mut matcher = Matcher::new(&parsed);
                let at_once = matcher.matches(&body);
                matcher.space(&body);
                let by_words = matcher.clauses.iter().all(|clause| {
                    clause.any.iter().any(|needle| needle.spaced.find(&matcher.spaced).is_some()) == clause.wanted
                });
                prop_assert_eq!(at_once, by_words, "{} in {}", text, body);
            }
        }
    }
}
