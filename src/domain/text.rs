//! The `text` filter of a search: what people type, and whether a body matches it.
//!
//! ```text
//! text    = clause { space clause }               all must match
//! clause  = piece { space "OR" space piece }      any of them; binds tighter
//!         | "-" piece                             must not match
//! piece   = bare | '"' phrase '"'
//! ```
//!
//! A piece is cut into words as bodies are (see [`words`]); several words are a phrase. A star at
//! the very end of a bare piece, or at the end of a quoted phrase, right behind a word, makes that
//! word a prefix. Symbols count for nothing: `example.com`, `"example com"` and `(example-com)` ask
//! for the same. There is no escape for a quote: it is no part of any word.

use super::matcher::Matcher;
use super::words;
use crate::limits::{TEXT_CLAUSES, TEXT_WORDS};

/// A parsed text: every clause must hold. At least one of them is no exclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The clauses, in the order they were written; between 1 and [`TEXT_CLAUSES`].
    pub clauses: Vec<Clause>,
}

/// One condition on a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clause {
    /// At least one of the phrases is in the body: one phrase for a plain clause, several for an
    /// `OR`. Never empty.
    Any(Vec<Phrase>),
    /// The phrase is not in the body.
    Not(Phrase),
}

/// Words that follow one another in a body, whatever symbols and spaces are between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase {
    /// The words, lower-cased; at least one.
    pub words: Vec<String>,
    /// Whether the last word only has to begin a word of the body.
    pub prefix: bool,
}

/// Why a text cannot be searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    /// Where in the text, in bytes: the character, operator or clause that is at fault, and 0 where
    /// it is the text as a whole.
    pub offset: usize,
    /// What is wrong and what to do, for people.
    pub message: String,
}

impl Text {
    /// Whether `body` matches. For many bodies make one [`Matcher`].
    #[must_use]
    pub fn matches(&self, body: &str) -> bool {
        Matcher::new(self).matches(body)
    }

    /// Whether every phrase, excluded ones too, is a single word or prefix, so that an index of
    /// words answers exactly and no body has to be looked at.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.clauses.iter().all(|clause| match clause {
            Clause::Any(phrases) => phrases.iter().all(|phrase| phrase.words.len() == 1),
            Clause::Not(phrase) => phrase.words.len() == 1,
        })
    }
}

/// Parses what a client asks for.
///
/// # Errors
///
/// The text has no clause, only exclusions, or more than [`TEXT_CLAUSES`] or [`TEXT_WORDS`]; a clause
/// has no word; `OR` has no plain clause on one of its sides; a quote has no partner or touches
/// something else than white space; a star is not at the end of its clause's last word.
pub fn parse(text: &str) -> Result<Text, TextError> {
    let mut parser = Parser::default();
    let mut end = 0;
    while let Some(piece) = next_piece(text, end)? {
        end = piece.end;
        match piece.kind {
            Kind::Or => parser.or(piece.offset)?,
            Kind::Phrase { excluded, phrase } => parser.phrase(piece.offset, excluded, phrase)?,
        }
    }
    parser.finish()
}

/// The clauses so far.
#[derive(Default)]
struct Parser {
    clauses: Vec<Clause>,
    phrases_count: usize,
    words_count: usize,
    /// Where the last piece was, if it was an `OR`.
    open_or: Option<usize>,
}

impl Parser {
    fn or(&mut self, offset: usize) -> Result<(), TextError> {
        if self.open_or.is_some() {
            return error(offset, "OR stands twice: leave one of them out");
        }
        match self.clauses.last() {
            None => error(offset, "OR needs a clause before it; to search for the word, write or"),
            Some(Clause::Not(_)) => error(offset, EXCLUDED_OR),
            Some(Clause::Any(_)) => {
                self.open_or = Some(offset);
                Ok(())
            }
        }
    }

    fn phrase(&mut self, offset: usize, excluded: bool, phrase: Phrase) -> Result<(), TextError> {
        self.phrases_count += 1;
        self.words_count += phrase.words.len();
        if self.phrases_count > TEXT_CLAUSES {
            return error(offset, format!("too many clauses: at most {TEXT_CLAUSES} are allowed"));
        }
        if self.words_count > TEXT_WORDS {
            return error(offset, format!("too many words: at most {TEXT_WORDS} are allowed"));
        }
        match (self.open_or.take(), self.clauses.last_mut()) {
            (Some(or), _) if excluded => return error(or, EXCLUDED_OR),
            (Some(_), Some(Clause::Any(phrases))) => phrases.push(phrase),
            _ if excluded => self.clauses.push(Clause::Not(phrase)),
            _ => self.clauses.push(Clause::Any(vec![phrase])),
        }
        Ok(())
    }

    fn finish(self) -> Result<Text, TextError> {
        if let Some(offset) = self.open_or {
            return error(offset, "OR needs a clause after it; to search for the word, write or");
        }
        if self.clauses.is_empty() {
            return error(0, "the text is empty: give at least one word");
        }
        if self.clauses.iter().all(|clause| matches!(clause, Clause::Not(_))) {
            return error(0, "there are only exclusions: add a word that must be there");
        }
        Ok(Text { clauses: self.clauses })
    }
}

const EXCLUDED_OR: &str = "OR cannot stand next to an exclusion: put the clause with - elsewhere";

/// What stands between two white spaces, or between quotes.
struct Piece {
    offset: usize,
    end: usize,
    kind: Kind,
}

enum Kind {
    Or,
    Phrase { excluded: bool, phrase: Phrase },
}

/// The first piece at or behind byte `from`.
fn next_piece(text: &str, from: usize) -> Result<Option<Piece>, TextError> {
    let rest = text[from..].trim_start();
    if rest.is_empty() {
        return Ok(None);
    }
    let offset = text.len() - rest.len();
    let (excluded, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let start = text.len() - rest.len();
    let (content, content_start, end) = if let Some(rest) = rest.strip_prefix('"') {
        let content = quoted(rest, start)?;
        (content.trim_end(), start + 1, start + content.len() + 2)
    } else {
        let content = bare(rest, start)?;
        (content, start, start + content.len())
    };
    if !excluded && &text[offset..end] == "OR" {
        return Ok(Some(Piece { offset, end, kind: Kind::Or }));
    }
    let phrase = phrase(content, content_start, offset)?;
    Ok(Some(Piece { offset, end, kind: Kind::Phrase { excluded, phrase } }))
}

/// What is between the quote at byte `open` of the text and the next one; `rest` is what follows
/// the former.
fn quoted(rest: &str, open: usize) -> Result<&str, TextError> {
    let Some((content, after)) = rest.split_once('"') else {
        return error(open, "this quote is not closed: add one behind the phrase");
    };
    let close = open + 1 + content.len();
    match after.chars().next() {
        Some('*') => error(close + 1, "the star of a phrase goes inside the quotes: \"like th*\""),
        Some(character) if !character.is_whitespace() => {
            error(close, "a quote cannot be inside a word: put a space behind the closing quote")
        }
        _ => Ok(content),
    }
}

/// What comes before the next white space; `rest` starts at byte `start` of the text.
fn bare(rest: &str, start: usize) -> Result<&str, TextError> {
    let content = rest.split(char::is_whitespace).next().unwrap_or(rest);
    match content.find('"') {
        Some(at) if at + 1 == content.len() => {
            error(start + at, "this quote ends nothing: put one before the first word of a phrase")
        }
        Some(at) => error(start + at, "a quote cannot be inside a word: put a space before it"),
        None => Ok(content),
    }
}

/// The words of `content`, which starts at byte `start` of the text and belongs to the clause that
/// starts at byte `clause`.
fn phrase(content: &str, start: usize, clause: usize) -> Result<Phrase, TextError> {
    let (content, prefix) = match content.find('*') {
        None => (content, false),
        Some(star) => {
            let (before, after) = content.split_at(star);
            if !before.ends_with(words::is_word_character) {
                return error(start + star, "a star goes right behind a word: exam*");
            }
            if after.len() > 1 {
                return error(start + star, "a star goes at the end of a clause only: exam*");
            }
            (before, true)
        }
    };
    // One more than there may be is too many.
    let words = words::first_words(content, TEXT_WORDS + 1);
    if words.is_empty() {
        return error(clause, "there is no word here: a clause needs a letter or a digit");
    }
    Ok(Phrase { words, prefix })
}

fn error<T>(offset: usize, message: impl Into<String>) -> Result<T, TextError> {
    Err(TextError { offset, message: message.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text written out: words of a phrase joined by `+`, alternatives by `|`.
    fn shown(text: &str) -> String {
        let show = |phrase: &Phrase| phrase.words.join("+") + if phrase.prefix { "*" } else { "" };
        let text = parse(text).unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
        let clauses = text.clauses.iter().map(|clause| match clause {
            Clause::Any(phrases) => phrases.iter().map(show).collect::<Vec<_>>().join("|"),
            Clause::Not(phrase) => format!("-{}", show(phrase)),
        });
        clauses.collect::<Vec<_>>().join(" ")
    }

    fn offset(text: &str) -> usize {
        match parse(text) {
            Ok(parsed) => panic!("{text:?} is no error: {parsed:?}"),
            Err(error) => error.offset,
        }
    }

    /// Each text, once the first `^` is taken out of it, is refused where that was.
    fn assert_refused(marked: &[&str]) {
        for text in marked {
            let at = text.find('^').unwrap();
            assert_eq!(offset(&text.replacen('^', "", 1)), at, "{text:?}");
        }
    }

    fn matches(text: &str, body: &str) -> bool {
        parse(text).unwrap().matches(body)
    }

    #[test]
    fn clauses_are_apart_by_any_white_space() {
        assert_eq!(shown(" one\ttwo\r\nthree\u{3000}four\u{a0}five "), "one two three four five");
    }

    #[test]
    fn words_are_lower_cased_as_in_bodies() {
        assert_eq!(shown("BERGAMOT \u{3a3}\u{3a3}"), "bergamot \u{3c3}\u{3c3}");
        assert!(matches("\u{39f}\u{3a3}", "\u{3bf}\u{3c3}"));
        assert!(matches("\u{130}X", "i\u{307}x"));
    }

    #[test]
    fn a_clause_of_several_words_is_their_phrase() {
        assert_eq!(shown("example.com"), "example+com");
        assert_eq!(shown("\u{6771}\u{4eac}"), "\u{6771}+\u{4eac}");
        assert_eq!(shown("\"Example, com!\""), "example+com");
        assert_eq!(shown("(don't)"), "don+t");
    }

    #[test]
    fn a_star_makes_the_last_word_a_prefix() {
        assert_eq!(shown("pre*"), "pre*");
        assert_eq!(shown("exam.com*"), "exam+com*");
        assert_eq!(shown("\u{6771}\u{4eac}*"), "\u{6771}+\u{4eac}*");
        assert_eq!(shown("\"foo ba*\""), "foo+ba*");
        assert_eq!(shown("\" foo ba* \""), "foo+ba*");
        assert_eq!(shown("e\u{301}* a"), "e\u{301}* a");
    }

    #[test]
    fn a_dash_excludes_and_only_at_the_start() {
        assert_eq!(shown("a -b -\"c d\" -e* f-g"), "a -b -c+d -e* f+g");
        assert_eq!(shown("-b a"), "-b a");
        // The second dash is a symbol like any other.
        assert_eq!(shown("a --b"), "a -b");
        assert_eq!(shown("a \"-b\""), "a b");
    }

    #[test]
    fn or_binds_tighter_than_the_rest() {
        assert_eq!(shown("a b OR \"c d\" OR e* f"), "a b|c+d|e* f");
        assert_eq!(shown("a OR b -c d OR e"), "a|b -c d|e");
    }

    #[test]
    fn only_or_in_upper_case_and_bare_is_the_operator() {
        assert_eq!(shown("a or b"), "a or b");
        assert_eq!(shown("a Or \"OR\" b"), "a or or b");
        assert_eq!(shown("a OR* ORB OR."), "a or* orb or");
        assert_eq!(shown("a -OR"), "a -or");
    }

    #[test]
    fn a_text_without_a_clause_is_an_error() {
        assert_refused(&["^", "^ ", "^\t\r\n\u{3000}"]);
    }

    #[test]
    fn a_clause_without_a_word_is_an_error_where_it_starts() {
        assert_refused(&[
            "^\"\"",
            "^\" \"",
            "^\"!\"",
            "^-",
            "^-\"\"",
            "^!!",
            "^--",
            "^\u{1f600}",
            "^\u{200d}",
        ]);
        assert_refused(&["\u{e9} ^\"\" b", "a ^- b", "a ^-! b", "a OR ^!!"]);
    }

    #[test]
    fn an_or_without_a_plain_clause_on_both_sides_is_an_error_where_it_is() {
        assert_refused(&["^OR", " ^OR a", "a ^OR", "a OR ^OR b"]);
        assert_refused(&["-a ^OR b", "a ^OR -b", "a OR b ^OR -\"c\""]);
    }

    #[test]
    fn a_quote_that_is_not_closed_is_an_error_where_it_is() {
        assert_refused(&["^\"", "a ^\"b c", "-^\"a", "\"a\" ^\""]);
    }

    #[test]
    fn a_quote_inside_a_word_is_an_error_where_it_is() {
        assert_refused(&["abc^\"def\"", "a^\"", "\"a^\"b", "\"a^\"\"b\"", "(^\"a\")"]);
    }

    #[test]
    fn a_star_elsewhere_than_at_the_end_of_a_clause_and_word_is_an_error_where_it_is() {
        assert_refused(&["^*", "-^*", "a ^*b", "a^*b", "a^**", "a.^*", "a^*.", "\u{1f600}^*"]);
        assert_refused(&["\"^*\"", "\"a^* b\"", "\"a ^*\"", "\"a\"^*"]);
    }

    #[test]
    fn only_exclusions_are_an_error() {
        assert_refused(&["^-a", "^ -a -\"b c\""]);
    }

    #[test]
    fn clauses_and_words_are_bounded() {
        for separator in [" ", " OR "] {
            let most = vec!["a"; TEXT_CLAUSES].join(separator);
            assert!(parse(&most).is_ok());
            assert_refused(&[&format!("{most}{separator}^b")]);
        }
        let most = vec!["a"; TEXT_WORDS].join(".");
        assert!(parse(&most).is_ok());
        assert_refused(&[&format!("{most} ^-b"), &format!("^{most}.b")]);
    }

    #[test]
    fn errors_say_what_to_do() {
        let error = parse("a *").unwrap_err();
        assert_eq!((error.message.as_str(), error.offset), ("a star goes right behind a word: exam*", 2));
    }

    #[test]
    fn all_clauses_must_match() {
        assert!(matches("one three", "Three, two, ONE"));
        assert!(!matches("one four", "Three, two, ONE"));
        assert!(matches("one OR four three", "Three, two, ONE"));
        assert!(!matches("one -two", "Three, two, ONE"));
        assert!(matches("one -tw", "Three, two, ONE"));
        assert!(!matches("one -tw*", "Three, two, ONE"));
        assert!(!matches("a", ""));
    }

    #[test]
    fn a_word_is_found_only_whole_and_a_prefix_only_at_the_start() {
        assert!(matches("cat", "the cat"));
        assert!(!matches("cat", "concat catch"));
        assert!(matches("cat*", "concat catch"));
        assert!(!matches("cat*", "concat"));
        assert!(matches("cat*", "cat"));
    }

    #[test]
    fn a_phrase_is_consecutive_words_whatever_is_between_them() {
        assert!(matches("\"example com\"", "see example.com"));
        assert!(matches("example.com", "Example -- COM"));
        assert!(!matches("example.com", "example of com"));
        assert!(!matches("example.com", "com example"));
        assert!(!matches("example.com", "example.community"));
        assert!(matches("example.com*", "example.community"));
        assert!(!matches("a.b*", "a.c a-d"));
        assert!(matches("a -\"b c\"", "a c b"));
        assert!(!matches("a -\"b c\"", "a b c"));
        // The same word ends one try and begins the next.
        assert!(matches("\"a a b\"", "a a a b"));
    }

    #[test]
    fn a_phrase_of_han_letters_is_found_within_a_run() {
        assert!(matches("\u{6771}\u{4eac}", "\u{5728}\u{6771}\u{4eac}\u{90fd}"));
        assert!(!matches("\u{6771}\u{4eac}", "\u{4eac}\u{6771}"));
        assert!(matches("\u{e01}*", "\u{e02}\u{e01}\u{e34}"));
        assert!(!matches("\u{e01}", "\u{e02}\u{e01}\u{e34}"));
    }

    #[test]
    fn a_text_is_exact_when_it_has_no_phrase() {
        let exact = |text| parse(text).unwrap().is_exact();
        assert!(exact("a b* -c d OR e -f* \"g\""));
        assert!(!exact("a b.c"));
        assert!(!exact("a -b.c"));
        assert!(!exact("a OR b.c"));
    }

    /// Consecutive words, looked for in the plainest way.
    fn has_phrase(body: &[String], phrase: &Phrase) -> bool {
        let (last, first) = phrase.words.split_last().unwrap();
        body.windows(phrase.words.len()).any(|window| {
            let (end, start) = window.split_last().unwrap();
            start == first && if phrase.prefix { end.starts_with(last) } else { end == last }
        })
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_within_its_bounds(text in "[aO\u{6771}\u{e9}R*\"! -]{0,24}") {
            match parse(&text) {
                Ok(parsed) => prop_assert!(!parsed.clauses.is_empty()),
                Err(error) => prop_assert!(text.is_char_boundary(error.offset)),
            }
        }

        #[test]
        fn matching_is_the_same_as_looking_at_the_words(
            text in "-?\"?[ab\u{6771}.]{1,4}\\*?\"?( OR | | -)\"?[ab\u{6771}. ]{1,4}\\*?\"?",
            body in "[abAB\u{6771}\u{301}. ]{0,16}",
        ) {
            if let Ok(parsed) = parse(&text) {
                let body_words = words::words(&body);
                let expected = parsed.clauses.iter().all(|clause| match clause {
                    Clause::Any(phrases) => phrases.iter().any(|phrase| has_phrase(&body_words, phrase)),
                    Clause::Not(phrase) => !has_phrase(&body_words, phrase),
                });
                prop_assert_eq!(parsed.matches(&body), expected, "{} in {}", text, body);
            }
        }
    }
}
