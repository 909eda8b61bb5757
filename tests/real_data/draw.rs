//! Searches of every kind, drawn from the texts that are searched.

use crate::corpus::Generator;
use crate::naive::words::{lower, words};
use crate::scan::{Asked, Kept};

/// How to draw a search from some messages.
type Kind = fn(&Generator, &[Kept]) -> Option<Asked>;

/// Every kind of search, by name.
pub const KINDS: &[(&str, Kind)] = &[
    ("everything", |_, _| Some(Asked::default())),
    ("a word", |dice, all| text(word(dice, all))),
    ("two words", |dice, all| text(together(dice, all, 2))),
    ("three words", |dice, all| text(together(dice, all, 3))),
    ("either word", |dice, all| text(Some(format!("{} OR {}", word(dice, all)?, word(dice, all)?)))),
    ("one word and not another", |dice, all| {
        let both = together(dice, all, 2)?;
        text(Some(both.replacen(' ', " -", 1)))
    }),
    ("a word and not a phrase", |dice, all| {
        let phrase = phrase(dice, all, 2)?;
        text(Some(format!("{} -\"{phrase}\"", phrase.split(' ').next()?)))
    }),
    ("a prefix", |dice, all| text(prefix(dice, all))),
    ("a prefix and a word", |dice, all| text(Some(format!("{} {}", prefix(dice, all)?, word(dice, all)?)))),
    ("a phrase of two", |dice, all| text(Some(format!("\"{}\"", phrase(dice, all, 2)?)))),
    ("a phrase of three", |dice, all| text(Some(format!("\"{}\"", phrase(dice, all, 3)?)))),
    ("a phrase that ends in a prefix", |dice, all| {
        let mut phrase = phrase(dice, all, 2)?;
        phrase.pop();
        text(Some(format!("\"{}*\"", phrase.trim_end()))).filter(|_| !phrase.ends_with(' '))
    }),
    ("a piece of a word", |dice, all| {
        let word = word(dice, all)?;
        let length = 2 + dice.below(3);
        substring(piece(dice, &word, length))
    }),
    ("a piece across words", |dice, all| {
        let body = &dice.pick(all).text;
        let length = 6 + dice.below(12);
        substring(piece(dice, body, length))
    }),
    ("symbols", |dice, all| {
        let body = &dice.pick(all).text;
        let is_symbol = |character: char| !character.is_alphanumeric() && character != ' ';
        let start = body.find(is_symbol)?;
        substring(Some(body[start..].chars().take_while(|next| is_symbol(*next)).take(3).collect()))
    }),
    ("one letter", |dice, all| substring(piece(dice, &word(dice, all)?, 1))),
    ("two Han letters", |dice, all| {
        let is_han = |character: char| ('\u{4e00}'..'\u{a000}').contains(&character);
        let with: Vec<&Kept> = all.iter().filter(|message| message.text.contains(is_han)).collect();
        let han: String = dice.pick(&with).text.chars().filter(|next| is_han(*next)).collect();
        let two = piece(dice, &han, 2)?;
        if dice.below(2) == 0 { substring(Some(two)) } else { text(Some(two)) }
    }),
    ("from somebody", |dice, all| {
        Some(Asked { originator: Some(originator(dice, all)), ..Asked::default() })
    }),
    ("to somebody", |dice, all| Some(Asked { recipient: Some(recipient(dice, all)), ..Asked::default() })),
    ("from one to another", |dice, all| {
        let Kept { originator, recipient, .. } = dice.pick(all);
        let (originator, recipient) = (Some(originator.clone()), Some(recipient.clone()));
        Some(Asked { originator, recipient, ..Asked::default() })
    }),
    ("a word from somebody", |dice, all| {
        Some(Asked { originator: Some(originator(dice, all)), ..text(word(dice, all))? })
    }),
    ("a piece to somebody", |dice, all| {
        let piece = piece(dice, &dice.pick(all).text, 3);
        Some(Asked { recipient: Some(recipient(dice, all)), ..substring(piece)? })
    }),
    ("a word and a piece", |dice, all| {
        let message = dice.pick(all);
        let words = words(&message.text);
        let first = words.first()?.clone();
        Some(Asked { substring: piece(dice, &message.text, 4), ..text(Some(first))? })
    }),
    ("a word since some time", |dice, all| {
        Some(Asked { since: Some(dice.pick(all).at), ..text(word(dice, all))? })
    }),
    ("anything between two times", |dice, all| {
        let (one, other) = (dice.pick(all).at, dice.pick(all).at);
        Some(Asked { since: Some(one.min(other)), until: Some(one.max(other)), ..Asked::default() })
    }),
];

fn text(text: Option<String>) -> Option<Asked> {
    Some(Asked { text: Some(text?), ..Asked::default() })
}

fn substring(piece: Option<String>) -> Option<Asked> {
    let substring = piece.filter(|piece| !piece.is_empty() && piece.len() <= 1024)?;
    Some(Asked { substring: Some(substring), ..Asked::default() })
}

fn originator(dice: &Generator, all: &[Kept]) -> String {
    dice.pick(all).originator.clone()
}

fn recipient(dice: &Generator, all: &[Kept]) -> String {
    dice.pick(all).recipient.clone()
}

fn word(dice: &Generator, all: &[Kept]) -> Option<String> {
    let words = words(&dice.pick(all).text);
    if words.is_empty() { None } else { Some(dice.pick(&words).clone()) }
}

/// Words of one message, wherever they stand in it.
fn together(dice: &Generator, all: &[Kept], count: usize) -> Option<String> {
    let words = words(&dice.pick(all).text);
    if words.is_empty() {
        return None;
    }
    Some((0..count).map(|_| dice.pick(&words).clone()).collect::<Vec<_>>().join(" "))
}

/// Words that follow one another in a message.
fn phrase(dice: &Generator, all: &[Kept], count: usize) -> Option<String> {
    let words = words(&dice.pick(all).text);
    let starts = words.len().checked_sub(count - 1).filter(|starts| *starts > 0)?;
    let start = dice.below(starts);
    Some(words[start..start + count].join(" "))
}

fn prefix(dice: &Generator, all: &[Kept]) -> Option<String> {
    let word = word(dice, all)?;
    let length = 1 + dice.below(4);
    Some(format!("{}*", word.chars().take(length).collect::<String>()))
}

/// So many characters of a text, from anywhere, in small letters or as they are.
fn piece(dice: &Generator, text: &str, length: usize) -> Option<String> {
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return None;
    }
    let start = dice.below(characters.len());
    let piece: String = characters[start..].iter().take(length).collect();
    Some(if dice.below(2) == 0 { lower(&piece) } else { piece })
}
