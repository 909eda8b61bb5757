//! Terms: what a message can be found by. A term is a tag, the escaped bytes, and a terminator.
//!
//! Every term of a message comes in two forms: of posts, whose seqs lie in the run's own range, and
//! of edits, whose seqs are those of older messages. An edited message is found by its edit's terms.

use crate::codec::{write_escaped, write_ordered, write_terminated};
use crate::domain::event::{Address, Message};
use crate::domain::table::FIRST_POSTINGS_TAG;
use crate::domain::words::{self, Token};

/// Kinds of terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word of the body.
    Word = 0,
    /// A character that is neither word nor white space, or two of ASCII that stand next to each other: each of those
    /// alone is in very many messages.
    Symbol = 1,
    /// Who said it.
    Originator = 2,
    /// Whom it is for.
    Recipient = 3,
    /// Its chat.
    Chat = 4,
    /// Its application.
    App = 5,
    /// Every message.
    Message = 6,
    /// The type of an event of any kind.
    Type = 7,
    /// Messages that the run's events edited.
    Edited = 8,
    /// Messages that the run's events deleted, alone or with their chat.
    Deleted = 9,
    /// No term of a message: where records lie, see `places`.
    Place = 10,
    /// No term of a message: which groups of words hold three bytes, see `grams`.
    Gram = 11,
}

impl Kind {
    /// The first byte of its terms.
    #[must_use]
    pub fn tag(self, edit: bool) -> u8 {
        FIRST_POSTINGS_TAG + 2 * (self as u8) + u8::from(edit)
    }
}

/// Whether a term with that tag is of messages' posts, so that it loses postings when messages
/// change.
#[must_use]
pub fn is_of_posts(tag: u8) -> bool {
    tag < Kind::Type.tag(false) && tag.is_multiple_of(2)
}

/// Whether a term is a word, of posts or of edits.
#[must_use]
pub fn is_of_words(term: &[u8]) -> bool {
    term.first().is_some_and(|tag| [Kind::Word.tag(false), Kind::Word.tag(true)].contains(tag))
}

/// Whether a term is a gram of words.
#[must_use]
pub fn is_of_grams(term: &[u8]) -> bool {
    term.first() == Some(&Kind::Gram.tag(false))
}

/// Whether a term with that tag is of edits.
#[must_use]
pub fn is_of_edits(tag: u8) -> bool {
    tag < Kind::Type.tag(false) && !tag.is_multiple_of(2)
}

/// Bytes of a word that its term keeps: a longer word is found by its beginning and then checked on
/// the text, so that nobody fills the index with words of a megabyte.
pub const WORD_BYTES: usize = 128;

/// The beginning of a word that its term keeps.
#[must_use]
pub fn kept(word: &str) -> &str {
    if word.len() <= WORD_BYTES { word } else { &word[..word.floor_char_boundary(WORD_BYTES)] }
}

/// Whether the term of a word may stand for longer words with the same beginning.
#[must_use]
pub fn may_be_cut(word: &[u8]) -> bool {
    // A character has at most four bytes.
    word.len() + 3 >= WORD_BYTES
}

/// The term of a kind for some bytes.
#[must_use]
pub fn term(kind: Kind, edit: bool, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    out.push(kind.tag(edit));
    write_terminated(&mut out, bytes);
    out
}

/// What all words share that begin so.
#[must_use]
pub fn word_prefix(edit: bool, prefix: &str) -> Vec<u8> {
    let mut out = vec![Kind::Word.tag(edit)];
    write_escaped(&mut out, kept(prefix).as_bytes());
    out
}

/// The term of a word.
#[must_use]
pub fn word_term(edit: bool, word: &str) -> Vec<u8> {
    term(Kind::Word, edit, kept(word).as_bytes())
}

/// The bytes of a chat's term.
#[must_use]
pub fn chat_bytes(app: &str, chat: u64) -> Vec<u8> {
    let mut bytes = app.as_bytes().to_vec();
    write_ordered(&mut bytes, chat);
    bytes
}

/// The bytes of a symbol's term.
#[must_use]
pub fn symbol_bytes(symbol: char) -> [u8; 4] {
    u32::from(symbol).to_be_bytes()
}

/// The bytes of the term of two symbols that stand next to each other, if they have one: those of ASCII do, so that
/// there are few thousand such terms, whatever texts hold.
#[must_use]
pub fn symbol_pair_bytes(first: char, second: char) -> Option<[u8; 2]> {
    let of_ascii = |symbol: char| u8::try_from(symbol).ok().filter(u8::is_ascii);
    Some([of_ascii(first)?, of_ascii(second)?])
}

/// Buffers for making a message's terms.
#[derive(Debug, Default)]
pub struct TermBuffers {
    escaped: Vec<u8>,
    words: String,
}

impl TermBuffers {
    /// Gives every word of a message as it stands in the text, and every term as its tag and its escaped bytes;
    /// a term may come more than once.
    pub fn each(
        &mut self,
        message: &Message,
        edit: bool,
        word: &mut impl FnMut(&str),
        mut each: impl FnMut(u8, &[u8]),
    ) {
        let each_word = word;
        let TermBuffers { escaped, words } = self;
        let (of_words, of_symbols) = (Kind::Word.tag(edit), Kind::Symbol.tag(edit));
        // A text has few different symbols, and most of them many times; lines of one symbol are drawn in texts.
        let (mut given, mut given_pair) = (0_u128, None);
        words::tokens(&message.body, words, |token| match token {
            Token::Word(word) => {
                each_word(word);
                // Nothing in a word is ever escaped: it holds letters, numbers and marks.
                each(of_words, kept(word).as_bytes());
            }
            Token::Symbol { symbol, behind } => {
                let pair = behind.and_then(|first| symbol_pair_bytes(first, symbol));
                if let Some(both) = pair.filter(|_| pair != given_pair) {
                    given_pair = pair;
                    escaped.clear();
                    write_escaped(escaped, &both);
                    each(of_symbols, escaped);
                }
                let bit = if symbol.is_ascii() { 1 << u32::from(symbol) } else { 0 };
                if given & bit != 0 {
                    return;
                }
                given |= bit;
                escaped.clear();
                write_escaped(escaped, &symbol_bytes(symbol));
                each(of_symbols, escaped);
            }
        });
        let mut give = |kind: Kind, bytes: &[u8]| {
            escaped.clear();
            write_escaped(escaped, bytes);
            each(kind.tag(edit), escaped);
        };
        give(Kind::Message, b"");
        if let Some(originator) = &message.originator {
            give(Kind::Originator, originator.as_bytes());
        }
        match &message.address {
            Address::Recipient(recipient) => give(Kind::Recipient, recipient.as_bytes()),
            Address::Chat { app, chat, .. } => {
                give(Kind::App, app.as_bytes());
                give(Kind::Chat, &chat_bytes(app, *chat));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_terms_are_part_of_the_format() {
        let tag = FIRST_POSTINGS_TAG;
        assert_eq!(word_term(false, "ab"), [tag, b'a', b'b', 0]);
        assert_eq!(word_term(true, "ab"), [tag + 1, b'a', b'b', 0]);
        assert_eq!(word_prefix(true, "ab"), [tag + 1, b'a', b'b']);
        assert_eq!(term(Kind::Symbol, false, &symbol_bytes('>')), [tag + 2, 1, 1, 1, 1, 1, 1, b'>', 0]);
        assert_eq!(symbol_pair_bytes('-', '>'), Some(*b"->"));
        assert_eq!(term(Kind::Symbol, true, b"->"), [tag + 3, b'-', b'>', 0]);
        assert_eq!([('-', '\u{2192}'), ('\u{ab}', '-')].map(|(a, b)| symbol_pair_bytes(a, b)), [None; 2]);
        assert_eq!(chat_bytes("ab", 1), [b'a', b'b', 1, 1]);
        assert_eq!(chat_bytes("ab", 0x102), [b'a', b'b', 2, 1, 2]);
        let long = "\u{e9}".repeat(WORD_BYTES);
        assert_eq!(word_term(false, &long).len(), WORD_BYTES + 2, "a long word is cut");
    }

    #[test]
    fn a_tag_says_whether_a_term_is_of_posts_or_of_edits() {
        let both =
            |kind: Kind| [false, true].map(|edit| (is_of_posts(kind.tag(edit)), is_of_edits(kind.tag(edit))));
        for kind in [
            Kind::Word,
            Kind::Symbol,
            Kind::Originator,
            Kind::Recipient,
            Kind::Chat,
            Kind::App,
            Kind::Message,
        ] {
            assert_eq!(both(kind), [(true, false), (false, true)], "{kind:?}");
        }
        for kind in [Kind::Type, Kind::Edited, Kind::Deleted, Kind::Place, Kind::Gram] {
            assert_eq!(both(kind)[0], (false, false), "{kind:?}");
        }
    }
}
