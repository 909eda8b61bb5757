//! The `substring` filter of a search.

use memchr::memmem::Finder;

use super::words;

/// Finds a substring in bodies, both lower-cased, across words and symbols.
pub struct Substring {
    needle: Finder<'static>,
    lowered: String,
}

impl Substring {
    /// Prepares a needle that [`words::lower`] made. An empty one is in every body.
    #[must_use]
    pub fn new(needle_lower: &str) -> Self {
        Substring { needle: Finder::new(needle_lower).into_owned(), lowered: String::new() }
    }

    /// Whether it may be in the body of a record of ASCII, as that is stored: a quick look before the body is
    /// read. `room` is for what the record is lower-cased into.
    #[must_use]
    pub fn may_be_in(&self, record: &[u8], room: &mut Vec<u8>) -> bool {
        let is_escaped = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
        if self.needle.needle().iter().any(is_escaped) {
            return true;
        }
        room.clear();
        room.extend_from_slice(record);
        room.make_ascii_lowercase();
        self.needle.find(room).is_some()
    }

    /// Whether it is in a body that is lower-cased already and has only ASCII.
    #[must_use]
    pub fn is_in_ascii(&self, lowered: &[u8]) -> bool {
        self.needle.find(lowered).is_some()
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
            body in "[aAbB\u{c9}\u{130}\u{212a} ]{0,12}",
            needle in "[aAbB\u{c9}k\u{307} ]{0,3}",
        ) {
            let needle = words::lower(&needle);
            let expected = words::lower(&body).contains(&needle);
            prop_assert_eq!(Substring::new(&needle).is_in(&body), expected);
        }
    }
}
