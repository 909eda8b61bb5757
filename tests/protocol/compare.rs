//! Whether a line that came is the one that a document shows.
//!
//! Both are cut into tokens: strings, brackets and other signs, and runs of anything else. White
//! space between them does not count; all else must be the same, in the same order, but for this:
//!
//! - A time as the daemon writes it matches any other.
//! - A string like a token (24 letters and digits), a lease (22) or a hash (32 hexadecimal digits)
//!   is a name: it stands for what the daemon gives where it is first met, there and later, also in
//!   lines that are sent.
//! - A number under one of the keys in [`VARYING`] matches any number, and the checksum that begins
//!   a line of the log any other.
//! - `...` in an object or a list stands for the rest of it, which must not be empty; at the end of a
//!   string it stands for the rest of the string.

use std::collections::BTreeMap;

use super::common::is_time;

/// Keys whose numbers depend on the machine.
const VARYING: &[&str] = &["\"uid\"", "\"bytes\"", "\"connections\"", "\"connections_per_uid\""];

/// What the names in a document stand for.
#[derive(Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// A line with what its names stand for.
    pub fn fill(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value))
    }

    /// Whether `actual` is what `name` stands for; a new name stands for it from now on.
    fn stands_for(&mut self, name: &str, actual: &str) -> bool {
        if shape(actual) != shape(name) {
            return false;
        }
        self.0.entry(name.to_owned()).or_insert_with(|| actual.to_owned()) == actual
    }

    /// Compares a line; what is different where it is not the same.
    pub fn compare(&mut self, expected: &str, actual: &str) -> Result<(), String> {
        let (wanted, found) = (tokens(expected), tokens(actual));
        let mut place = 0;
        for (index, token) in wanted.iter().enumerate() {
            if *token == "..." {
                let rest = rest_of_level(&found[place..]);
                if rest == 0 {
                    return Err("there is no rest".to_owned());
                }
                place += rest;
                continue;
            }
            let Some(other) = found.get(place) else { return Err(format!("it ends before {token}")) };
            let before = index.checked_sub(2).map_or("", |before| wanted[before]);
            if !self.same(before, index, token, other) {
                return Err(format!("{token} is wanted and {other} is there"));
            }
            place += 1;
        }
        match found.get(place) {
            Some(more) => Err(format!("it goes on with {more}")),
            None => Ok(()),
        }
    }

    /// Compares a token; `before` is the one before the last.
    fn same(&mut self, before: &str, index: usize, wanted: &str, found: &str) -> bool {
        if wanted == found && shape(wanted) == Shape::Plain {
            return true;
        }
        if let Some(start) = wanted.strip_suffix("...\"") {
            return found.starts_with(start);
        }
        match shape(wanted) {
            Shape::Time => shape(found) == Shape::Time,
            Shape::Plain => {
                let numbers = is_number(wanted) && is_number(found);
                let checksums = index == 0 && is_hex(wanted, 8) && is_hex(found, 8);
                checksums || numbers && VARYING.contains(&before)
            }
            _ => self.stands_for(wanted.trim_matches('"'), found.trim_matches('"')),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Shape {
    Time,
    Token,
    Lease,
    Hash,
    Plain,
}

/// What kind of value a token, with quotes or without, looks like.
fn shape(token: &str) -> Shape {
    let text = token.trim_matches('"');
    let has = |what: fn(&u8) -> bool| text.bytes().any(|byte| what(&byte));
    let random = text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase);
    match text.len() {
        _ if is_time(&text.into()) => Shape::Time,
        24 if random => Shape::Token,
        22 if random => Shape::Lease,
        32 if is_hex(text, 32) => Shape::Hash,
        _ => Shape::Plain,
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// How many tokens there are before the bracket that closes what is open at the start.
fn rest_of_level(tokens: &[&str]) -> usize {
    let mut depth = 0;
    for (count, token) in tokens.iter().enumerate() {
        match *token {
            "{" | "[" => depth += 1,
            "}" | "]" if depth == 0 => return count,
            "}" | "]" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

fn tokens(line: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            '"' => string_length(rest),
            _ => rest.find(|c: char| "{}[],:\"".contains(c) || c.is_whitespace()).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

/// The length of the string that a text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

#[test]
fn a_difference_is_found_and_a_name_stands_for_one_thing() {
    let same = |expected: &str, actual: &str| Names::default().compare(expected, actual).is_ok();
    assert!(same(r#"{"a":1, ...}"#, r#"{"a":1,"b":[{}],"c":2}"#));
    assert!(same(r#"{"a":"x...", "l":[1, ...]}"#, r#"{"a":"xyz","l":[1,2]}"#));
    assert!(same(r#"{"uid":1000}"#, r#"{"uid":0}"#));
    for (expected, actual) in [
        (r#"{"a":1, ...}"#, r#"{"a":1}"#),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1.5}"#, r#"{"a":1.50}"#),
        (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
        (r#"{"a":"2026-01-31T12:00:00.000000Z"}"#, r#"{"a":"2026-01-31T12:00:00Z"}"#),
    ] {
        assert!(!same(expected, actual), "{expected} {actual}");
    }
    let mut names = Names::default();
    let lease = |first: &str| format!("{first}aB3dE5gH7jK9mN1pQ3sT5");
    assert!(names.compare(&lease("x"), &lease("y")).is_ok());
    assert!(names.compare(&lease("x"), &lease("z")).is_err());
    assert_eq!(names.fill(&format!("ack {}", lease("x"))), format!("ack {}", lease("y")));
}
