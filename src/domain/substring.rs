//! The `substring` filter of a search.

use memchr::memmem::Finder;

use super::{half_lowered, words};

/// Finds a substring in bodies, both lower-cased, across words and symbols.
pub struct Substring {
    needle: Finder<'static>,
    /// Whether it is in a text whose ASCII alone is lower-cased if it is in the lower case.
    kept: bool,
    lowered: String,
}

impl Substring {
    /// Prepares a needle that [`words::lower`] made. An empty one is in every body.
    #[must_use]
    pub fn new(needle_lower: &str) -> Self {
        let (needle, kept) = (Finder::new(needle_lower).into_owned(), half_lowered::keeps(needle_lower));
        Substring { needle, kept, lowered: String::new() }
    }

    /// Whether it may be in the body of a record, as that is stored: a quick look before the body is read.
    /// `room` is for what the record is lower-cased into.
    #[must_use]
    pub fn may_be_in(&self, record: &[u8], room: &mut Vec<u8>) -> bool {
        let is_escaped = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
        let escaped = self.needle.needle().iter().any(is_escaped);
        if escaped || !self.is_kept_in(record) {
            return true;
        }
        room.clear();
        room.extend_from_slice(record);
        room.make_ascii_lowercase();
        self.needle.find(room).is_some()
    }

    /// Whether it is in the lower case of a text exactly when it is there once the ASCII is lower-cased.
    fn is_kept_in(&self, text: &[u8]) -> bool {
        text.is_ascii() || (self.kept && !half_lowered::hides_ascii(text))
    }

    /// Whether it is in a body whose ASCII is lower-cased already.
    pub fn is_in_half_lowered(&mut self, lowered: &[u8]) -> bool {
        if self.is_kept_in(lowered) {
            return self.needle.find(lowered).is_some();
        }
        self.is_in(&String::from_utf8_lossy(lowered))
    }

    /// Whether it is in `body`.
    pub fn is_in(&mut self, body: &str) -> bool {
        let needle = self.needle.needle();
        // Lower-casing leaves ASCII what it is and as long as it is, so that many a body need not even
        // be copied; one with other characters may grow, shrink, or become ASCII.
        if body.is_ascii() && (needle.len() > body.len() || !needle.is_ascii()) {
            return false;
        }
        self.lowered.clear();
        words::lower_into(body, &mut self.lowered);
        self.needle.find(self.lowered.as_bytes()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_substring_goes_across_words_and_ignores_case() {
        let contains = |body: &str, needle: &str| Substring::new(needle).is_in(body);
        assert!(contains("Hello, World", "o, w"));
        assert!(contains("Hello", ""));
        assert!(!contains("Hello", "hello!"));
        assert!(!contains("", "a"));
        assert!(contains("Caf\u{c9} X", "f\u{e9} x"));
        assert!(!contains("Cafe", "caf\u{e9}"));
        assert!(contains("300\u{212a}", "300k"));
        // Two bytes become three.
        assert!(contains("\u{130}", "i\u{307}"));
        assert!(contains("\u{23a}", "\u{2c65}"));
    }

    proptest! {
        #[test]
        fn a_substring_is_found_exactly_when_the_lower_cased_text_has_it(
            body in "[aAbB\u{c9}\u{130}\u{212a}\u{4e00} ]{0,12}",
            needle in "[aAbB\u{c9}k\u{307}\u{4e00} ]{0,3}",
        ) {
            let needle = words::lower(&needle);
            let expected = words::lower(&body).contains(&needle);
            let mut piece = Substring::new(&needle);
            prop_assert_eq!(piece.is_in(&body), expected);
            prop_assert_eq!(piece.is_in_half_lowered(body.to_ascii_lowercase().as_bytes()), expected);
        }
    }
}
