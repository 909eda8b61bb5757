//! Where a body holds what a search asked for, cut into words exactly as the daemon does it.

use crate::domain::text::{self, Clause, Phrase};
use crate::domain::words;
use crate::json;

/// Finds the places of a search in the bodies that it found. The default finds none.
#[derive(Debug, Clone, Default)]
pub struct Highlighter {
    phrases: Vec<Phrase>,
    substring: String,
}

/// A word of a body: where it is, and how it is indexed.
struct Word {
    start: usize,
    end: usize,
    lower: String,
}

impl Highlighter {
    /// Finds what this request searches for.
    #[must_use]
    pub fn of_request(request: &str) -> Self {
        let Some(request) = json::object(request) else { return Self::default() };
        let get = |key: &str| request.get(key).and_then(json::as_string).unwrap_or_default();
        // The daemon has accepted the text; one that cannot be parsed here only goes unmarked.
        let clauses = text::parse(&get("text")).map(|text| text.clauses).unwrap_or_default();
        let wanted = clauses.into_iter().flat_map(|clause| match clause {
            Clause::Any(phrases) => phrases,
            Clause::Not(_) => Vec::new(),
        });
        Highlighter { phrases: wanted.collect(), substring: words::lower(&get("substring")) }
    }

    /// The places in `body`, as byte offsets, in order and apart from each other.
    #[must_use]
    pub fn spans(&self, body: &str) -> Vec<(usize, usize)> {
        let mut spans = Vec::new();
        if !self.phrases.is_empty() {
            let words = words_of(body);
            for phrase in &self.phrases {
                let matching = words.windows(phrase.words.len()).filter(|window| matches(phrase, window));
                spans.extend(matching.filter_map(|window| Some((window.first()?.start, window.last()?.end))));
            }
        }
        if !self.substring.is_empty() {
            spans.extend(places_of(&self.substring, body));
        }
        merged(spans)
    }
}

fn matches(phrase: &Phrase, window: &[Word]) -> bool {
    let last = phrase.words.len() - 1;
    let pairs = phrase.words.iter().zip(window).enumerate();
    pairs.into_iter().all(|(index, (wanted, word))| {
        let begins = phrase.prefix && index == last && word.lower.starts_with(wanted.as_str());
        begins || word.lower == *wanted
    })
}

/// The words of a body with their places. A run of word characters may hold several words; each is
/// found again by lower-casing one character after the other.
fn words_of(body: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut rest = body;
    while let Some(offset) = rest.find(words::is_word_character) {
        rest = &rest[offset..];
        let length = rest.find(|character| !words::is_word_character(character)).unwrap_or(rest.len());
        let mut start = body.len() - rest.len();
        for lower in words::words(&rest[..length]) {
            let end = start + length_of(&lower, &body[start..]);
            found.push(Word { start, end, lower });
            start = end;
        }
        rest = &rest[length..];
    }
    found
}

/// How many bytes at the start of `text` are the word that lower-cases to `lower`.
fn length_of(lower: &str, text: &str) -> usize {
    let mut reached = 0;
    let mut bytes = 0;
    let mut characters = text.chars();
    while reached < lower.len() {
        let Some(character) = characters.next() else { break };
        bytes += character.len_utf8();
        reached += words::lower(character.encode_utf8(&mut [0; 4])).len();
    }
    bytes
}

/// Every place where the body, lower-cased, holds `wanted`.
fn places_of(wanted: &str, body: &str) -> Vec<(usize, usize)> {
    let mut lowered = String::with_capacity(body.len());
    // For each byte of the lowered text, where its character begins and ends in the body.
    let mut places = Vec::with_capacity(body.len());
    for (start, character) in body.char_indices() {
        lowered += &words::lower(character.encode_utf8(&mut [0; 4]));
        places.resize(lowered.len(), (start, start + character.len_utf8()));
    }
    let found = lowered.char_indices().filter(|(at, _)| lowered[*at..].starts_with(wanted));
    found.filter_map(|(at, _)| Some((places.get(at)?.0, places.get(at + wanted.len() - 1)?.1))).collect()
}

/// The same places in order, those that overlap or touch made one.
fn merged(mut spans: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    spans.sort_unstable();
    let mut apart: Vec<(usize, usize)> = Vec::with_capacity(spans.len());
    for (start, end) in spans {
        match apart.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => apart.push((start, end)),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(request: &str, body: &str) -> Vec<String> {
        let spans = Highlighter::of_request(request).spans(body);
        spans.into_iter().map(|(start, end)| body[start..end].to_owned()).collect()
    }

    #[test]
    fn words_phrases_and_prefixes_are_found() {
        let body = "Bergamot and bergamots: see you, See  YOU at example.com";
        assert_eq!(marked(r#"{"text":"bergamot -spam"}"#, body), ["Bergamot"]);
        assert_eq!(marked(r#"{"text":"berg*"}"#, body), ["Bergamot", "bergamots"]);
        assert_eq!(marked(r#"{"text":"\"see you\""}"#, body), ["see you", "See  YOU"]);
        assert_eq!(marked(r#"{"text":"and OR example.com"}"#, body), ["and", "example.com"]);
        assert!(marked(r#"{"recipient":"x"}"#, body).is_empty());
    }

    #[test]
    fn letters_that_stand_alone_are_found_in_their_run() {
        let body = "x\u{6771}\u{4eac}\u{90fd} \u{4eac}";
        assert_eq!(marked("{\"text\":\"\u{6771}\u{4eac}\"}", body), ["\u{6771}\u{4eac}"]);
        assert_eq!(marked("{\"text\":\"\u{4eac}\"}", body), ["\u{4eac}", "\u{4eac}"]);
    }

    #[test]
    fn substrings_are_found_across_words_and_whatever_their_case() {
        assert_eq!(marked(r#"{"substring":"e Yo"}"#, "See you, SEE YOU"), ["e yo", "E YO"]);
        assert_eq!(marked("{\"substring\":\"\u{130}\"}", "a\u{130}b"), ["\u{130}"]);
        assert_eq!(marked(r#"{"substring":"aa"}"#, "aaaaa"), ["aaaaa"]);
    }

    #[test]
    fn places_that_overlap_become_one() {
        assert_eq!(merged(vec![(4, 6), (0, 3), (2, 4), (8, 9)]), [(0, 6), (8, 9)]);
    }
}
