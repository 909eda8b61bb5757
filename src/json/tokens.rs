//! The tokens of JSON text that is known to be good, as they stand in it.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// The text of a string literal.
pub(super) fn unescape(raw: &str) -> serde_json::Result<Cow<'_, str>> {
    match raw.get(1..raw.len().saturating_sub(1)) {
        Some(inner) if memchr(b'\\', inner.as_bytes()).is_none() => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str(raw).map(Cow::Owned),
    }
}

/// The index behind the string literal whose opening quote is at `quote`.
pub(super) fn string_end(text: &str, quote: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = quote + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        // The byte behind a backslash never ends the string.
        at += 2;
    }
    bytes.len()
}

/// A piece of JSON text that is known to be good; commas and colons need no token then.
pub(super) enum Token<'a> {
    /// The bracket that opens an object or an array, as a slice of the text.
    Open(&'a str),
    Close,
    /// A key, with its quotes.
    Key(&'a str),
    /// A string that is a value, with its quotes.
    String(&'a str),
    /// A number, `true`, `false` or `null`.
    Plain(&'a str),
}

/// Whether JSON takes a byte for white space.
#[must_use]
pub fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

pub(super) struct Tokens<'a> {
    text: &'a str,
    /// The place behind the last token, or behind the white space behind it.
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Tokens::from(text, 0)
    }

    /// Those from a place on.
    pub(super) fn from(text: &'a str, at: usize) -> Self {
        Tokens { text, at }
    }

    /// The place behind the last token, or behind the white space behind it.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// Goes to the end of the container that was just opened.
    fn leave(&mut self) {
        let mut depth = 1_usize;
        while depth > 0
            && let Some(token) = self.next()
        {
            match token {
                Token::Open(_) => depth += 1,
                Token::Close => depth -= 1,
                _ => {}
            }
        }
    }

    /// Stops at the next byte that is neither white space nor `skipped`, and tells it.
    fn skip(&mut self, skipped: &[u8]) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let between = |byte: &u8| is_white_space(*byte) || skipped.contains(byte);
        let found = rest.iter().position(|byte| !between(byte))?;
        self.at += found;
        Some(rest[found])
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let first = self.skip(b",:")?;
        let start = self.at;
        let text = self.text;
        let rest = &text.as_bytes()[start..];
        self.at = match first {
            b'"' => string_end(text, start),
            b'{' | b'[' | b'}' | b']' => start + 1,
            _ => {
                let ends = |byte: &u8| is_white_space(*byte) || matches!(byte, b',' | b']' | b'}');
                let length = rest.iter().position(ends);
                start + length.unwrap_or(rest.len())
            }
        };
        let piece = &text[start..self.at];
        Some(match first {
            b'"' if self.skip(b"") == Some(b':') => Token::Key(piece),
            b'"' => Token::String(piece),
            b'{' | b'[' => Token::Open(piece),
            b'}' | b']' => Token::Close,
            _ => Token::Plain(piece),
        })
    }
}

/// The elements of an array that is known to be good, each as it stands in the text.
pub struct Elements<'a>(Tokens<'a>);

impl<'a> Elements<'a> {
    /// `None` when the text is no array.
    pub(super) fn of(array: &'a str) -> Option<Self> {
        let mut tokens = Tokens::of(array);
        matches!(tokens.next()?, Token::Open("[")).then_some(Elements(tokens))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        match self.0.next()? {
            Token::Close => None,
            Token::Key(piece) | Token::String(piece) | Token::Plain(piece) => Some(piece),
            Token::Open(bracket) => {
                let start = self.0.place() - bracket.len();
                self.0.leave();
                self.0.text.get(start..self.0.place())
            }
        }
    }
}
