//! What a search looks for in the index.

use std::collections::BTreeSet;

use super::pairs::bits_of;
use super::terms::{Kind, may_be_cut, symbol_pair_bytes, term, word_term};
use crate::domain::text::{Clause, Phrase, Text};
use crate::domain::words::{self, Token};

/// What to look for in the index.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub(super) required: Vec<(Kind, Vec<u8>)>,
    pub(super) clauses: Vec<Clause>,
    pub(super) pieces: Vec<Piece>,
    /// What the words of the substring that stand next to each other set; see `pairs`.
    pub(super) adjacent: u64,
}

/// A part of a substring, as words of the index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Word(String),
    Symbol(char),
    /// Two symbols that stand next to each other, as bytes of a term.
    SymbolPair([u8; 2]),
    /// A letter that stands alone, with the marks that follow it.
    Alone(String),
    Prefix(String),
    Suffix(String),
    Inside(String),
}

/// A whole word of so many characters mostly says more than the parts at the ends of a substring.
const TELLING_CHARACTERS: usize = 4;
/// The beginning or end of a word that is shorter than this is one of so many words that it tells little
/// beside the rest of a substring.
const PIECE_CHARACTERS: usize = 3;
/// A piece inside of a word that is shorter than this is in so many words that reading the texts is quicker.
const PIECE_BYTES: usize = 2;

impl Plan {
    /// Requires a term.
    pub fn require(&mut self, kind: Kind, bytes: &[u8]) {
        self.required.push((kind, bytes.to_vec()));
    }

    /// Requires what a text asks for. Whether it is phrases must be checked on the messages.
    pub fn text(&mut self, text: &Text) {
        let told = without_told(&text.clauses, is_told);
        self.clauses.extend(told.iter().map(without_repetition));
    }

    /// Whether a text asks for words that are longer than their terms, so that candidates must be
    /// checked.
    #[must_use]
    pub fn has_long_words(text: &Text) -> bool {
        text.clauses.iter().any(|clause| match clause {
            Clause::Any(phrases) => phrases.iter().any(is_long),
            Clause::Not(phrase) => is_long(phrase),
        })
    }

    /// Whether it asks for parts of words, which may be in very many messages.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        !self.pieces.iter().any(is_selective) && (self.adjacent != 0 || !self.pieces.is_empty())
    }

    /// What is asked for besides the substring: of that nothing is exact, of the rest something may be, and
    /// then is not checked.
    #[must_use]
    pub fn without_substring(&self) -> Plan {
        Plan { required: self.required.clone(), clauses: self.clauses.clone(), ..Plan::default() }
    }

    /// What is asked for with the whole words of the substring alone, where one of them says much and there are
    /// parts of words beside it: these cost more to look up, and are needed only where many messages have the words.
    #[must_use]
    pub fn of_telling_words(&self) -> Option<Plan> {
        let telling = |piece: &Piece| match piece {
            Piece::Word(word) => word.chars().count() >= TELLING_CHARACTERS || stands_alone(word),
            piece => matches!(piece, Piece::Alone(_)),
        };
        let pays = self.pieces.iter().any(telling) && !self.pieces.iter().all(is_selective);
        pays.then(|| {
            let mut plan = self.clone();
            plan.pieces.retain(is_selective);
            plan
        })
    }

    /// Requires the words and symbols of a lower-cased substring, which must be checked on the
    /// messages.
    pub fn substring(&mut self, needle: &str) {
        let mut pieces = Vec::new();
        let mut place = 0;
        words::tokens(needle, &mut String::new(), |token| match token {
            Token::Word(word) => {
                let start = place + needle.get(place..).and_then(|rest| rest.find(word)).unwrap_or(0);
                place = start + word.len();
                pieces.extend(piece(word, start == 0, place >= needle.len()));
            }
            Token::Symbol { symbol, behind } => {
                let start = needle.get(place..).and_then(|rest| rest.find(symbol)).unwrap_or(0);
                place += start + symbol.len_utf8();
                if let Some(both) = behind.and_then(|first| symbol_pair_bytes(first, symbol)) {
                    // It says all that each of the two does.
                    pieces.pop_if(|last| matches!(last, Piece::Symbol(_)));
                    pieces.push(Piece::SymbolPair(both));
                } else {
                    pieces.push(Piece::Symbol(symbol));
                }
            }
        });
        self.adjacent = adjacent(needle);
        // A piece that comes again and again is looked up once.
        let mut seen = BTreeSet::new();
        pieces.retain(|piece| seen.insert(piece.clone()));
        self.pieces = pieces;
    }

    /// The terms whose postings must all be there, when nothing else is asked for.
    pub(super) fn conjunction(&self, edit: bool) -> Option<Vec<Vec<u8>>> {
        if !self.pieces.is_empty() {
            return None;
        }
        let required = self.required.iter().map(|(kind, bytes)| Some(term(*kind, edit, bytes)));
        let words = self.clauses.iter().map(|clause| match clause {
            Clause::Any(phrases) => match phrases.as_slice() {
                [Phrase { words, prefix: false }] if words.len() == 1 => {
                    Some(word_term(edit, words.first()?))
                }
                _ => None,
            },
            Clause::Not(_) => None,
        });
        let terms: Option<Vec<Vec<u8>>> = required.chain(words).collect();
        terms.map(|terms| if terms.is_empty() { vec![term(Kind::Message, edit, b"")] } else { terms })
    }
}

/// Whether whatever has one phrase surely has a word that begins as the other asks, or is it.
fn has_word_of(phrase: &Phrase, word: &Phrase) -> bool {
    let [wanted] = word.words.as_slice() else { return phrase == word };
    let last = phrase.words.len().saturating_sub(1);
    phrase.words.iter().enumerate().any(|(place, found)| {
        let whole = !(phrase.prefix && place == last);
        if word.prefix { found.starts_with(wanted.as_str()) } else { whole && found == wanted }
    })
}

/// Whether a clause holds wherever another one does: of beginnings of words such as `wor* wo* w*` only the longest
/// need be looked up, which may each be thousands of lists.
fn is_told(clause: &Clause, by: &Clause) -> bool {
    match (clause, by) {
        (Clause::Any(any), Clause::Any(by)) => {
            by.iter().all(|phrase| any.iter().any(|other| has_word_of(phrase, other)))
        }
        (Clause::Not(phrase), Clause::Not(by)) => phrase == by,
        _ => false,
    }
}

/// All but those that others tell already; of equal ones the first is left.
fn without_told<T: Clone>(all: &[T], is_told: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for one in all {
        if !kept.iter().any(|by| is_told(one, by)) {
            kept.retain(|other| !is_told(other, one));
            kept.push(one.clone());
        }
    }
    kept
}

/// A clause without the phrases that another one of it stands for: of `w* OR wor*` the first is enough.
fn without_repetition(clause: &Clause) -> Clause {
    let Clause::Any(phrases) = clause else { return clause.clone() };
    Clause::Any(without_told(phrases, has_word_of))
}

/// Whether a piece is found in few terms.
pub(super) fn is_selective(piece: &Piece) -> bool {
    matches!(piece, Piece::Word(_) | Piece::Symbol(_) | Piece::SymbolPair(_) | Piece::Alone(_))
}

pub(super) fn is_long(phrase: &Phrase) -> bool {
    phrase.words.iter().any(|word| may_be_cut(word.as_bytes()))
}

fn piece(word: &str, at_start: bool, at_end: bool) -> Option<Piece> {
    // What stands alone in its script begins a word wherever it is; a mark may go on a word before.
    let alone = stands_alone(word);
    let mark = begins_with_mark(word);
    let marks = || word.chars().all(|character| begins_with_mark(character.encode_utf8(&mut [0; 4])));
    let long = word.chars().count() >= PIECE_CHARACTERS;
    match (at_start, at_end) {
        // Marks stay together, whatever they follow.
        (true, true) if marks() => Some(Piece::Inside(word.to_owned())),
        (true, _) if mark => None,
        (_, true) if alone => Some(Piece::Alone(word.to_owned())),
        (true, false) if alone => Some(Piece::Word(word.to_owned())),
        (true, true) => (word.len() >= PIECE_BYTES).then(|| Piece::Inside(word.to_owned())),
        (true, false) => long.then(|| Piece::Suffix(word.to_owned())),
        (false, true) => long.then(|| Piece::Prefix(word.to_owned())),
        (false, false) => Some(Piece::Word(word.to_owned())),
    }
}

/// What words that stand next to each other in a substring set.
fn adjacent(needle: &str) -> u64 {
    let mut all = words::words(needle);
    // A mark at the beginning may go on a word before, and then another word may begin behind it.
    if all.first().is_some_and(|word| needle.starts_with(word.as_str()) && begins_with_mark(word)) {
        all.remove(0);
    }
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let whole_start = all.first().is_some_and(|word| !needle.starts_with(word) || stands_alone(word));
    let whole_end = all.last().is_some_and(|word| !needle.ends_with(word));
    bits_of(&all, whole_start, whole_end)
}

/// Whether it is a letter of a script in which every letter is a word.
fn stands_alone(word: &str) -> bool {
    words::words(&format!("{word}a")).len() > 1
}

fn begins_with_mark(word: &str) -> bool {
    words::words(&format!("\u{4e00}{word}")).first().is_none_or(|first| first != "\u{4e00}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(needle: &str) -> Vec<Piece> {
        let mut plan = Plan::default();
        plan.substring(needle);
        plan.pieces
    }

    #[test]
    fn only_the_first_and_the_last_word_of_a_substring_may_go_on_outside_of_it() {
        let word = |word: &str| Piece::Word(word.into());
        let (start, end) = (Piece::Suffix("pha".into()), Piece::Prefix("gam".into()));
        assert_eq!(
            pieces("pha b-cd gam"),
            [start.clone(), word("b"), Piece::Symbol('-'), word("cd"), end.clone()]
        );
        assert_eq!(pieces("pha, gam"), [start, Piece::Symbol(','), end]);
        assert_eq!(pieces(" abc "), [word("abc")]);
        assert_eq!(pieces("pha"), [Piece::Inside("pha".into())]);
        assert_eq!(pieces("\u{e9}"), [Piece::Inside("\u{e9}".into())]);
        assert_eq!(pieces("\u{64f}\u{301}"), [Piece::Inside("\u{64f}\u{301}".into())]);
        assert_eq!(pieces("\u{64f}a"), [], "its words may be two in the text");
        assert_eq!(pieces("a"), [], "it is in too many words");
        assert_eq!(pieces("ha b ga"), [word("b")], "short ones are in too many words");
    }

    #[test]
    fn what_comes_again_and_again_is_looked_up_once() {
        let dash = Piece::Symbol('-');
        assert_eq!(pieces(&"-".repeat(1024)), [Piece::SymbolPair(*b"--")]);
        assert_eq!(pieces("- a - b - a -"), [dash, Piece::Word("a".into()), Piece::Word("b".into())]);
    }

    #[test]
    fn symbols_next_to_each_other_are_looked_up_together() {
        let (word, symbol) = (|word: &str| Piece::Word(word.into()), Piece::Symbol);
        let pair = |both: &[u8; 2]| Piece::SymbolPair(*both);
        assert_eq!(pieces("->"), [pair(b"->")]);
        assert_eq!(pieces("()/ ."), [pair(b"()"), pair(b")/"), symbol('.')]);
        assert_eq!(pieces("a-b- >"), [symbol('-'), word("b"), symbol('>')]);
        assert_eq!(
            pieces(".\u{2026}-> !?"),
            [symbol('.'), symbol('\u{2026}'), pair(b"->"), pair(b"!?")],
            "those beyond ASCII are terms only alone"
        );
    }

    #[test]
    fn words_next_to_each_other_are_known_of_as_far_as_they_are_whole() {
        assert_eq!(adjacent("alpha"), 0);
        assert_eq!(adjacent("pha bet"), bits_of(&["pha", "bet"], false, false));
        assert_eq!(adjacent(" pha bet "), bits_of(&["pha", "bet"], true, true));
        assert_eq!(adjacent("-pha bet"), bits_of(&["pha", "bet"], true, false));
        assert_eq!(adjacent("pha bet."), bits_of(&["pha", "bet"], false, true));
        // What stands alone begins a word wherever it is.
        assert_eq!(adjacent("\u{6771} bet"), bits_of(&["\u{6771}", "bet"], true, false));
        // A mark may go on a word before, so its word may end elsewhere.
        assert_eq!(adjacent("\u{301}pha bet"), 0);
        assert_eq!(adjacent("\u{301}pha bet gam"), bits_of(&["bet", "gam"], true, false));
        assert_eq!(adjacent(" \u{301}pha bet"), bits_of(&["\u{301}pha", "bet"], true, false));
    }

    #[test]
    fn terms_alone_are_a_conjunction_and_nothing_else_is() {
        let terms = |text: &str| {
            let mut plan = Plan::default();
            plan.require(Kind::Recipient, b"r");
            plan.text(&crate::domain::text::parse(text).expect("a text"));
            plan.conjunction(false)
        };
        let recipient = term(Kind::Recipient, false, b"r");
        let all = vec![recipient.clone(), word_term(false, "a"), word_term(false, "b")];
        assert_eq!(terms("a b"), Some(all));
        for other in ["a*", "\"a b\"", "a OR b", "a -b"] {
            assert_eq!(terms(other), None, "{other}");
        }
        assert_eq!(Plan::default().conjunction(true), Some(vec![term(Kind::Message, true, b"")]));
        let mut plan = Plan::default();
        plan.require(Kind::Recipient, b"r");
        plan.text(&crate::domain::text::parse("a").expect("a text"));
        plan.substring("alpha");
        assert_eq!(plan.conjunction(false), None);
        let rest = plan.without_substring().conjunction(false);
        assert_eq!(rest, Some(vec![recipient, word_term(false, "a")]));
    }

    #[test]
    fn what_other_clauses_and_phrases_say_already_is_not_looked_up() {
        let kept = |text: &str| {
            let mut plan = Plan::default();
            plan.text(&crate::domain::text::parse(text).expect("a text"));
            plan.clauses
        };
        for (text, same) in [
            ("w* wo* wor*", "wor*"),
            ("a a \"a b\"", "\"a b\""),
            ("w* OR wor* OR w*", "w*"),
            ("x OR wor* OR \"big word\" OR wo*", "x OR wo*"),
            ("w* word OR work", "word OR work"),
            ("\"a b*\" b*", "\"a b*\""),
            ("a -b -b", "a -b"),
        ] {
            assert_eq!(kept(text), kept(same), "{text}");
        }
        for text in
            ["a b", "wor* word*x", "\"a b*\" b", "\"a b\" OR c a", "a b -a", "\"a b\" \"b a\"", "ab* OR c a*"]
        {
            let parsed = crate::domain::text::parse(text);
            if let Ok(parsed) = parsed {
                assert_eq!(kept(text), parsed.clauses, "{text}");
            }
        }
    }

    #[test]
    fn whole_words_that_say_much_are_looked_for_alone_at_first() {
        let alone = |needle: &str| {
            let mut plan = Plan::default();
            plan.substring(needle);
            plan.of_telling_words().map(|plan| plan.pieces)
        };
        let beta = Piece::Word("beta".into());
        assert_eq!(
            pieces("pha beta gam"),
            [Piece::Suffix("pha".into()), beta.clone(), Piece::Prefix("gam".into())]
        );
        assert_eq!(alone("pha beta gam"), Some(vec![beta.clone()]));
        assert_eq!(alone("pha beta-gam"), Some(vec![beta, Piece::Symbol('-')]));
        assert_eq!(alone("pha bet gam"), None, "a short one says little");
        assert_eq!(alone(" beta "), None, "there is nothing else");
    }
}
