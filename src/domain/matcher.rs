//! Whether a body matches a `text`, for many bodies.

use memchr::memmem::Finder;

use super::half_lowered;
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
    /// Whether all of its words are ASCII.
    ascii: bool,
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
        let mut lowered = std::mem::take(&mut self.body);
        lowered.clear();
        lowered.extend_from_slice(body.as_bytes());
        lowered.make_ascii_lowercase();
        let matches = self.matches_half_lowered(&lowered);
        self.body = lowered;
        matches
    }

    /// Whether a body matches whose ASCII is lower-cased already.
    #[must_use]
    pub fn matches_half_lowered(&mut self, lowered: &[u8]) -> bool {
        let clauses = std::mem::take(&mut self.clauses);
        let ascii = lowered.is_ascii();
        let hides_ascii = !ascii && half_lowered::hides_ascii(lowered);
        let mut cut = false;
        let mut found = |needle: &Needle| {
            let may_tell = ascii || (needle.ascii && !hides_ascii);
            let told = if may_tell { needle.is_in(lowered) } else { None };
            told.unwrap_or_else(|| {
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
            ascii: spaced.is_ascii(),
            longest: Finder::new(word).into_owned(),
            place,
            spaced: Finder::new(&spaced).into_owned(),
        }
    }

    /// In a body whose ASCII is lower-cased. Among ASCII, words are runs of letters and digits, and cutting all
    /// of a body into words costs far more than looking at the words around a hit. `None` when there are so
    /// many hits that it does not, or something else stands around one.
    fn is_in(&self, body: &[u8]) -> Option<bool> {
        let (mut from, mut misses, mut unclear) = (0, 0, false);
        while let Some(found) = body.get(from..).and_then(|rest| self.longest.find(rest)) {
            let start = from + found;
            match self.stands_around(body, start) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => unclear = true,
            }
            misses += 1;
            if misses > MISSES && self.phrase.words.len() > 1 {
                return None;
            }
            // No other place in the same run begins a word.
            from =
                start + body[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count().max(1);
        }
        if unclear { None } else { Some(false) }
    }

    /// Whether the whole phrase is there, its longest word at `start`. `None` when that depends on something
    /// that is not ASCII.
    fn stands_around(&self, body: &[u8], start: usize) -> Option<bool> {
        let (mut before, mut rest) = body.split_at(start);
        let (earlier, later) = self.phrase.words.split_at(self.place);
        if goes_on(before.last())? {
            return Some(false);
        }
        for word in earlier.iter().rev() {
            let end = before.iter().rposition(|byte| !separates(*byte)).map_or(0, |last| last + 1);
            goes_on(before[..end].last())?;
            let Some(rest) = before[..end].strip_suffix(word.as_bytes()) else { return Some(false) };
            if goes_on(rest.last())? {
                return Some(false);
            }
            before = rest;
        }
        for (place, word) in later.iter().enumerate() {
            let begin = rest.iter().position(|byte| !separates(*byte)).unwrap_or(rest.len());
            goes_on(rest.get(begin))?;
            let Some(behind) = rest[begin..].strip_prefix(word.as_bytes()) else { return Some(false) };
            let is_prefix = self.phrase.prefix && place + 1 == later.len();
            if !is_prefix && goes_on(behind.first())? {
                return Some(false);
            }
            rest = behind;
        }
        Some(true)
    }
}

/// Whether a byte is ASCII and of no word.
fn separates(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric()
}

/// Whether a word goes on with the byte beside it. `None` when that is not ASCII.
fn goes_on(beside: Option<&u8>) -> Option<bool> {
    match beside {
        Some(byte) if byte.is_ascii() => Some(byte.is_ascii_alphanumeric()),
        Some(_) => None,
        None => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::parse;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_body_matches_as_its_words_do(
            text in "-?\"?[abk\u{e9}.]{1,4}\\*?\"?( OR | | -)\"?[abk. ]{1,5}\\*?\"?",
            body in "([abAB. ]{0,20}|[abAB. ]{0,9}[abKi\u{212a}\u{130}\u{e9}\u{c9}\u{301}\u{4e00}\u{2026}. ]{0,9})",
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
