//! Looks a plan up in a piece of the index: the set of what it has.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::and::And;
use super::cursor::{Boxed, Less, Members, Or, boxed};
use super::pairs::bits_of;
use super::query::{Piece, Plan, is_long, is_selective};
use super::source::Source;
use super::tail::view::Words;
use super::terms::{Kind, symbol_bytes, term, word_prefix, word_term};
use super::union::{Apart, Union};
use crate::domain::command::Order;
use crate::domain::text::{Clause, Phrase};
use crate::error::Result;

/// Texts that are read in the time that it takes to look through a window of pairs.
const TEXTS_A_WINDOW: u64 = 4;
/// How many times as often words that are asked for together are in one message as they were by chance.
const TOGETHER: u64 = 16;
/// Texts that are read in the time that it takes to gather the words that hold a piece.
const TEXTS_A_PIECE: u64 = 500;

/// Looks up one plan in one piece of the index.
pub(super) struct Lookup<'p, 'r> {
    plan: &'p Plan,
    source: Source<'r>,
    edit: bool,
    order: Order,
    /// What each of the plan's unions may take.
    apart: Apart,
    /// Beginnings of words that the plan has more than once: looked up once, as sets.
    repeated: BTreeSet<&'p str>,
    known: RefCell<BTreeMap<&'p str, Option<Members>>>,
}

impl<'p, 'r> Lookup<'p, 'r> {
    /// Of the posts of a piece, or of the edits in it.
    pub fn new(plan: &'p Plan, source: Source<'r>, edit: bool, order: Order) -> Self {
        let phrases = plan.clauses.iter().flat_map(|clause| match clause {
            Clause::Any(phrases) => phrases.as_slice(),
            Clause::Not(phrase) => std::slice::from_ref(phrase),
        });
        let (mut beginnings, mut repeated) = (BTreeSet::new(), BTreeSet::new());
        for (word, _) in phrases.flat_map(looked_up).filter(|(_, begins)| *begins) {
            if !beginnings.insert(word) {
                repeated.insert(word);
            }
        }
        let apart = Apart::in_each_of(beginnings.len() + plan.pieces.len());
        Lookup { plan, source, edit, order, apart, repeated, known: RefCell::default() }
    }

    /// The set. `None` when it is empty.
    ///
    /// # Errors
    /// `corrupt`.
    pub fn set(&self) -> Result<Option<Less<'r>>> {
        let mut parts: Vec<Boxed<'r>> = Vec::new();
        let mut excluded: Vec<Boxed<'r>> = Vec::new();
        for (kind, bytes) in &self.plan.required {
            let Some(found) = self.postings(&term(*kind, self.edit, bytes))? else { return Ok(None) };
            parts.push(found);
        }
        // What is in one list is looked up first: when there is none the others need not be.
        let begins = |clause: &&Clause| match clause {
            Clause::Any(phrases) => phrases.iter().any(|phrase| phrase.prefix),
            Clause::Not(_) => true,
        };
        let clauses = self.plan.clauses.iter();
        for clause in clauses.clone().filter(|clause| !begins(clause)).chain(clauses.filter(begins)) {
            match clause {
                Clause::Any(phrases) => {
                    let mut any = Vec::new();
                    for phrase in phrases {
                        any.extend(self.phrase(phrase)?);
                    }
                    match any.len() {
                        0 => return Ok(None),
                        1 => parts.append(&mut any),
                        _ => parts.push(Box::new(Or::of(any))),
                    }
                }
                // Words that are not next to each other do not make a phrase, and a long word's term
                // stands for others too: left to the check.
                Clause::Not(phrase) if phrase.words.len() > 1 || is_long(phrase) => {}
                Clause::Not(phrase) => excluded.extend(self.phrase(phrase)?),
            }
        }
        if !self.add_pieces(&mut parts)? {
            return Ok(None);
        }
        // Sets of edits are walked beside others, and are shorter.
        let wanted =
            if self.edit { And::of(parts, self.order)? } else { And::that_rests(parts, self.order)? };
        Ok(Some(Less { wanted, excluded }))
    }

    /// Adds what is known of the substring. `false`: nothing has it.
    fn add_pieces(&self, parts: &mut Vec<Boxed<'r>>) -> Result<bool> {
        let pieces = self.plan.pieces.iter();
        let selective = pieces.clone().filter(|piece| is_selective(piece));
        for piece in selective.chain(pieces.filter(|piece| !is_selective(piece))) {
            if !is_selective(piece) && least(parts) <= TEXTS_A_PIECE {
                break;
            }
            let Some(found) = self.piece(piece)? else { return Ok(false) };
            parts.push(found);
        }
        let mut adjacent = None;
        if self.plan.adjacent != 0 && !self.edit && self.pays(parts)? {
            let Some(found) = self.source.adjacent(self.plan.adjacent, self.order)? else {
                return Ok(false);
            };
            adjacent = Some(found);
        }
        if parts.is_empty() {
            let Some(all) = self.postings(&term(Kind::Message, self.edit, b""))? else { return Ok(false) };
            parts.push(all);
        }
        // Pairs are known of messages, too, that are gone: never without a part that is not.
        parts.extend(adjacent);
        Ok(true)
    }

    fn postings(&self, term: &[u8]) -> Result<Option<Boxed<'r>>> {
        self.source.postings(term, self.order)
    }

    /// All words of a phrase, wherever they stand.
    fn phrase(&self, phrase: &'p Phrase) -> Result<Option<Boxed<'r>>> {
        let mut parts: Vec<Boxed<'r>> = Vec::new();
        for (word, begins) in looked_up(phrase) {
            let found =
                if begins { self.beginning(word)? } else { self.postings(&word_term(self.edit, word))? };
            let Some(found) = found else { return Ok(None) };
            parts.push(found);
        }
        if !self.edit && phrase.words.len() > 1 && self.pays(&parts)? {
            let words: Vec<&str> = phrase.words.iter().map(String::as_str).collect();
            let Some(found) = self.source.adjacent(bits_of(&words, true, !phrase.prefix), self.order)? else {
                return Ok(None);
            };
            parts.push(found);
        }
        Ok(Some(And::of(parts, self.order)?))
    }

    /// All words that begin so.
    fn beginning(&self, word: &'p str) -> Result<Option<Boxed<'r>>> {
        let prefix = word_prefix(self.edit, word);
        let Source::Run(run) = self.source else { return self.words(&prefix, Words::Beginning) };
        if !self.repeated.contains(word) {
            return self.words(&prefix, Words::Beginning);
        }
        if let Some(known) = self.known.borrow().get(word) {
            return Ok(known.clone().and_then(boxed));
        }
        let found = Union::of_prefix(run, &prefix, self.order, Apart::NONE, &mut |_| true)?.others();
        self.known.borrow_mut().insert(word, found.clone());
        Ok(found.and_then(boxed))
    }

    fn piece(&self, piece: &Piece) -> Result<Option<Boxed<'r>>> {
        let all = word_prefix(self.edit, "");
        match piece {
            Piece::Word(word) => self.postings(&word_term(self.edit, word)),
            Piece::Symbol(symbol) => self.postings(&term(Kind::Symbol, self.edit, &symbol_bytes(*symbol))),
            Piece::SymbolPair(both) => self.postings(&term(Kind::Symbol, self.edit, both)),
            Piece::Alone(start) | Piece::Prefix(start) => {
                self.words(&word_prefix(self.edit, start), Words::Beginning)
            }
            Piece::Suffix(end) => self.words(&all, Words::Ending(end.as_bytes())),
            Piece::Inside(part) => self.words(&all, Words::Holding(part.as_bytes())),
        }
    }

    fn words(&self, prefix: &[u8], words: Words<'_>) -> Result<Option<Boxed<'r>>> {
        self.source.with_words(prefix, words, self.order, self.apart)
    }

    /// Whether looking through the pairs of a piece of the index costs less than reading the texts that may
    /// have all parts.
    fn pays(&self, parts: &[Boxed<'_>]) -> Result<bool> {
        let most = TEXTS_A_WINDOW * self.source.windows();
        if least(parts) <= most {
            return Ok(false);
        }
        // As many as have all parts by chance, and some more, since what is asked for together often is together.
        let messages = self.source.count(&term(Kind::Message, false, b""))?.max(1);
        let sizes = parts.iter().map(|part| part.size().min(messages));
        let by_chance = sizes.fold(messages, |all, size| all.saturating_mul(size) / messages);
        Ok(by_chance.saturating_mul(TOGETHER) > most)
    }
}

/// The words of a phrase less those that others before them tell, and of each whether it only begins a word.
fn looked_up(phrase: &Phrase) -> impl Iterator<Item = (&str, bool)> {
    let words = phrase.words.as_slice();
    words.iter().enumerate().filter_map(move |(place, word)| {
        let begins = phrase.prefix && place + 1 == words.len();
        let tells = |other: &String| if begins { other.starts_with(word) } else { other == word };
        (!words[..place].iter().any(tells)).then_some((word.as_str(), begins))
    })
}

/// The size of the smallest part.
fn least(parts: &[Boxed<'_>]) -> u64 {
    parts.iter().map(|part| part.size()).min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::parse;
    use crate::index::postings_writer::PostingsWriter;
    use crate::index::testing::file_run;

    #[test]
    fn a_word_of_a_phrase_that_another_tells_is_not_looked_up() {
        for (text, expected) in [
            ("\"a a a a\"", vec![("a", false)]),
            ("\"a b a b\"", vec![("a", false), ("b", false)]),
            ("\"ab a ab*\"", vec![("ab", false), ("a", false)]),
            ("\"ab b a*\"", vec![("ab", false), ("b", false)]),
            ("\"a ab*\"", vec![("a", false), ("ab", true)]),
            ("\"ab a\"", vec![("ab", false), ("a", false)]),
        ] {
            let parsed = parse(text).expect("a text");
            let [Clause::Any(phrases)] = parsed.clauses.as_slice() else { panic!("{text}") };
            assert_eq!(looked_up(&phrases[0]).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn a_beginning_that_many_clauses_have_is_looked_up_once_and_as_a_set() {
        let run = file_run(3000, 40, |writer| {
            let mut out = PostingsWriter::default();
            for number in 0..40_u64 {
                let term = word_term(false, &format!("u{number:02}"));
                out.write(writer, &term, (1..300).map(|seq| 10 * seq + number % 10)).expect("memory");
            }
        });
        let found = |text: &str, order| {
            let mut plan = Plan::default();
            plan.text(&parse(text).expect("a text"));
            let lookup = Lookup::new(&plan, Source::Run(&run), false, order);
            let mut wanted = lookup.set().expect("whole").expect("some have it").wanted;
            let mut ranks = Vec::new();
            wanted.take_before(u64::MAX, &mut ranks).expect("whole");
            (ranks, lookup.known.borrow().len())
        };
        let many: Vec<String> = (0..20).map(|number| format!("u* OR u{number:02} OR x{number}")).collect();
        for order in [Order::Newest, Order::Oldest] {
            let (once, kept) = found("u*", order);
            assert_eq!((once.len(), kept), (2990, 0));
            assert_eq!(found(&many.join(" "), order), (once, 1));
        }
    }
}
