//! Whether a body matches, by looking at it.

use super::words::{lower, words};

/// A body made ready to be looked at many times.
#[derive(Debug, Clone)]
pub struct Body {
    /// Its words, each between two spaces.
    spaced: String,
    lowered: String,
}

impl Body {
    /// Of a text.
    pub fn new(text: &str) -> Self {
        Body { spaced: format!(" {} ", words(text).join(" ")), lowered: lower(text) }
    }

    /// Whether a piece of text is in it, whatever the case.
    pub fn contains(&self, piece: &str) -> bool {
        self.lowered.contains(&lower(piece))
    }
}

/// A text to search for. Only what is well formed can be read.
#[derive(Debug)]
pub struct Query(Vec<Clause>);

/// One of these, or none of these.
#[derive(Debug)]
struct Clause {
    excluded: bool,
    /// Phrases as they stand among the spaced words of a body.
    phrases: Vec<String>,
}

impl Query {
    /// Reads a text.
    pub fn new(text: &str) -> Self {
        let mut clauses: Vec<Clause> = Vec::new();
        let mut either = false;
        for piece in pieces(text) {
            if piece == "OR" {
                either = true;
                continue;
            }
            let phrases = vec![phrase(&piece)];
            match clauses.last_mut() {
                Some(clause) if std::mem::take(&mut either) => clause.phrases.extend(phrases),
                _ => clauses.push(Clause { excluded: piece.starts_with('-'), phrases }),
            }
        }
        Query(clauses)
    }

    /// Whether a body has what is asked for.
    pub fn matches(&self, body: &Body) -> bool {
        self.0
            .iter()
            .all(|clause| clause.phrases.iter().any(|phrase| body.spaced.contains(phrase)) != clause.excluded)
    }
}

/// What stands between spaces that are not inside quotes.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut quoted = false;
    for character in text.chars() {
        quoted ^= character == '"';
        match pieces.last_mut() {
            Some(piece) if quoted || !character.is_whitespace() => piece.push(character),
            _ => pieces.push(String::new()),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn phrase(piece: &str) -> String {
    let inside = piece.trim_start_matches('-').trim_matches('"').trim();
    let end = if inside.ends_with('*') { "" } else { " " };
    format!(" {}{end}", words(inside).join(" "))
}
