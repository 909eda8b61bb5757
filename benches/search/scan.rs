//! Reads every message, newest first: slow, and right.

use msglogd::domain::words::{lower, words};

use crate::answer::Answer;
use crate::changes::{Change, Changes};
use crate::corpus::{Corpus, Message};
use crate::queries::{Ask, LIMIT};

/// A message made ready.
struct Ready<'m> {
    message: &'m Message,
    lower: String,
    words: Vec<String>,
}

impl Ready<'_> {
    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    fn matches(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Words(words) | Ask::Count(words) => words.iter().all(|word| self.has(word)),
            Ask::Prefix(start) => self.words.iter().any(|word| word.starts_with(start.as_str())),
            Ask::Phrase(phrase) => self.words.windows(phrase.len()).any(|words| words == phrase),
            Ask::Piece(piece) => self.lower.contains(piece.as_str()),
            Ask::To(name, word) => self.message.recipient == *name && self.has(word),
            Ask::From(name, word) => self.message.originator == *name && self.has(word),
        }
    }
}

/// The right answers.
pub fn answers(corpus: &Corpus, messages: usize, changes: &Changes, asks: &[&Ask]) -> Vec<Answer> {
    let mut answers = vec![Answer::default(); asks.len()];
    for (ask, answer) in asks.iter().zip(&mut answers) {
        answer.total = matches!(ask, Ask::Count(_)).then_some(0);
    }
    let mut open: Vec<usize> = (0..asks.len()).collect();
    for number in (0..messages).rev() {
        if open.is_empty() {
            break;
        }
        let mut message = corpus.message(number);
        match changes.of(number) {
            Some(Change::Deleted) => continue,
            Some(Change::Edited { like }) => message.body = corpus.message(like).body,
            None => {}
        }
        let (lower, words) = (lower(&message.body), words(&message.body));
        let ready = Ready { message: &message, lower, words };
        open.retain(|place| {
            let answer = &mut answers[*place];
            if !ready.matches(asks[*place]) {
                return true;
            }
            if let Some(total) = &mut answer.total {
                *total += 1;
                return true;
            }
            answer.found.push(number);
            answer.found.len() < LIMIT
        });
    }
    answers
}
