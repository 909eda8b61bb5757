//! What a terminal gets to see: colours, times, and stored text made harmless.
//!
//! Bodies, names and keys come from anyone. Printed as they are they could move the cursor, change
//! the window's title or turn the direction of writing, so everything that drives a terminal is
//! shown as what it is: `^[` for an escape, `<U+202E>` for a change of direction.

use std::fmt::Write;

use super::moment;
use crate::time::Timestamp;

/// The colours of human output, all of them empty where there are none, and how it shows times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    coloured: bool,
    times: Times,
}

/// How times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    AsSent,
    Short,
    RelativeTo(Timestamp),
}

/// What a piece of output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// A heading or a key.
    Heading,
    /// Numbers and times beside what people look for.
    Aside,
    /// A person or another name.
    Name,
    /// A word that was searched for.
    Match,
}

impl Style {
    /// With colours or without.
    #[must_use]
    pub fn new(coloured: bool) -> Self {
        Style { coloured, times: Times::Short }
    }

    /// With times as how far they are from now.
    #[must_use]
    pub fn relative_to(self, now: Timestamp) -> Self {
        Style { times: Times::RelativeTo(now), ..self }
    }

    /// Whether there are colours.
    #[must_use]
    pub fn is_coloured(self) -> bool {
        self.coloured
    }

    /// With times as they were sent, for what clients have stored.
    #[must_use]
    pub fn with_times_as_sent(self) -> Self {
        Style { times: Times::AsSent, ..self }
    }

    /// A time of the daemon, made visible.
    #[must_use]
    pub fn moment(self, at: &str) -> String {
        let shown = match self.times {
            Times::AsSent => None,
            Times::Short => Some(moment::short(at)),
            Times::RelativeTo(now) => moment::relative(at, now),
        };
        visible(shown.as_deref().unwrap_or(at))
    }

    /// `text` in this ink. The text must be [`visible`] already.
    #[must_use]
    pub fn paint(self, ink: Ink, text: &str) -> String {
        if !self.coloured || text.is_empty() {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Heading => "1",
            Ink::Aside => "2",
            Ink::Name => "36",
            Ink::Match => "1;33",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// `text` on one line, with everything that could drive a terminal made visible.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        push_visible(&mut shown, character);
    }
    shown
}

/// Appends one character as [`visible`] shows it.
pub fn push_visible(shown: &mut String, character: char) {
    // Writing to a string cannot fail.
    let _ = match character {
        '\n' => write!(shown, "\\n"),
        '\r' => write!(shown, "\\r"),
        '\t' => write!(shown, "\\t"),
        '\0'..=' ' if character != ' ' => write!(shown, "^{}", char::from(character as u8 + b'@')),
        '\x7f' => write!(shown, "^?"),
        _ if drives_terminals(character) => write!(shown, "<U+{:04X}>", u32::from(character)),
        _ => {
            shown.push(character);
            Ok(())
        }
    };
}

/// A line of JSON for a terminal: the same value, with the characters that JSON allows as they are
/// but a terminal obeys written as escapes.
#[must_use]
pub fn visible_json(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for character in line.chars() {
        if drives_terminals(character) {
            // All of them are below U+10000, so four digits are enough.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Controls, and the marks that turn the direction of writing or end a line.
fn drives_terminals(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_passes() {
        assert_eq!(visible("a\x1b[31mb\x07\x7f"), "a^[[31mb^G^?");
        assert_eq!(visible("\u{9b}2J \u{202e}\u{2066}\u{200f}"), "<U+009B>2J <U+202E><U+2066><U+200F>");
        assert_eq!(visible("two\r\nlines\tand\0"), "two\\r\\nlines\\tand^@");
        for code in (0..0x2100).filter_map(char::from_u32) {
            let mut shown = String::new();
            push_visible(&mut shown, code);
            assert!(!shown.chars().any(drives_terminals), "{code:?}");
        }
    }

    #[test]
    fn letters_joiners_and_emoji_stay() {
        let text = "gr\u{fc}n \u{65e5}\u{672c} \u{1f469}\u{200d}\u{1f680} e\u{301}";
        assert_eq!(visible(text), text);
        assert_eq!(visible_json(text), text);
    }

    #[test]
    fn json_for_a_terminal_keeps_its_value() {
        let shown = visible_json("{\"a\":\"x\u{9b}\u{202e}\"}");
        assert_eq!(shown, r#"{"a":"x\u009b\u202e"}"#);
        let value: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(value["a"], "x\u{9b}\u{202e}");
    }

    #[test]
    fn without_colour_paint_adds_nothing() {
        assert_eq!(Style::new(false).paint(Ink::Match, "word"), "word");
        assert_eq!(Style::new(true).paint(Ink::Match, "word"), "\x1b[1;33mword\x1b[0m");
        assert_eq!(Style::new(true).paint(Ink::Match, ""), "");
    }
}
