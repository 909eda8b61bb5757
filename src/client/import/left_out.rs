//! What an import leaves out of its lines, told at its end.

use std::fmt;

/// So many keys are told by their names. A file may have ids for keys, another on each line.
const NAMED: usize = 20;
/// What is told of a long one, in bytes.
const NAME_BYTES: usize = 100;

/// The keys that were left out of lines, those first that came first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Each with how many lines had it.
    named: Vec<(String, u64)>,
    /// How often any other was left out.
    others: u64,
}

impl LeftOut {
    /// A line had this key.
    pub fn note(&mut self, key: &str) {
        let name = key.get(..key.floor_char_boundary(NAME_BYTES)).unwrap_or_default();
        if let Some((_, lines)) = self.named.iter_mut().find(|(other, _)| other == name) {
            *lines += 1;
        } else if self.named.len() < NAMED {
            self.named.push((name.to_owned(), 1));
        } else {
            self.others += 1;
        }
    }

    /// Whether no line had such a key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, lines)) in self.named.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}`{name}` ({lines})")?;
        }
        if self.others > 0 {
            write!(f, ", and others ({})", self.others)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_keys_are_told_by_name_and_the_others_are_counted() {
        let mut left_out = LeftOut::default();
        assert!(left_out.is_empty());
        for key in ["at", "label", "at"] {
            left_out.note(key);
        }
        assert_eq!(left_out.to_string(), "`at` (2), `label` (1)");
        for number in 0..100_000 {
            left_out.note(&format!("id{number}"));
        }
        left_out.note("label");
        let told = left_out.to_string();
        assert!(told.starts_with("`at` (2), `label` (2), `id0` (1), "), "{told}");
        assert!(told.ends_with("`id17` (1), and others (99982)"), "{told}");
        let mut long = LeftOut::default();
        long.note(&"\u{e9}".repeat(1000));
        assert_eq!(long.to_string(), format!("`{}` (1)", "\u{e9}".repeat(NAME_BYTES / 2)));
    }
}
