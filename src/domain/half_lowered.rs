//! A text of which only the ASCII is lower-cased. That is quickly made, in place, and most questions can be
//! answered from it as from the lower case itself.

use memchr::memmem;

/// Characters whose lower case is ASCII or has some in it: the sign of the kelvin, and the Turkish capital I.
const HIDDEN: [&str; 2] = ["\u{212a}", "\u{130}"];

/// Whether the lower case has ASCII that such a text has not.
#[must_use]
pub fn hides_ascii(text: &[u8]) -> bool {
    HIDDEN.iter().any(|character| memmem::find(text, character.as_bytes()).is_some())
}

/// Whether such a text, if it hides no ASCII, has `needle` exactly when its lower case has: there must be no
/// character in it that is the lower case of another one.
#[must_use]
pub fn keeps(needle: &str) -> bool {
    needle.chars().all(|character| character.is_ascii() || character.to_uppercase().eq([character]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::words;

    #[test]
    fn no_other_character_has_hidden_ascii_or_another_one_as_its_lower_case() {
        for character in '\u{80}'..=char::MAX {
            let text = character.to_string();
            let lower = words::lower(&text);
            assert_eq!(lower.bytes().any(|byte| byte.is_ascii()), hides_ascii(text.as_bytes()), "{text}");
            let kept = |other: char| !keeps(&other.to_string());
            assert!(lower == text || hides_ascii(text.as_bytes()) || lower.chars().all(kept), "{text}");
        }
        assert!(keeps("a-> \u{4e00}\u{1f600}") && !keeps("\u{e9}"));
    }
}
