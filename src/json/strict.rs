//! What `serde_json` leaves open of a line that `scan` does not read: keys that are repeated, lone surrogates, how
//! deep it is nested. And where in the line it is that something is wrong.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use memchr::{memchr, memmem};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::tokens::{Token, Tokens, unescape};
use super::{Failure, Object};
use crate::limits::NESTING_LEVELS;

/// Up to this many keys, comparing each with each is faster than hashing them.
pub(super) const FEW_KEYS: usize = 16;

/// Reads any line, and says what is wrong with it.
pub(super) fn parse_slowly(line: &str) -> Result<Object<'_>, Failure> {
    if line.starts_with('\u{feff}') {
        return Err(refuse(0, "a line does not begin with a byte order mark"));
    }
    if !line.trim_ascii_start().starts_with('{') {
        let value: &RawValue = serde_json::from_str(line).map_err(|error| bad(line, line, &error))?;
        check_value(line, value.get(), 0)?;
        return Err(Failure::NotAnObject);
    }
    let raw: RawFields = serde_json::from_str(line).map_err(|error| bad(line, line, &error))?;
    let mut fields = Vec::with_capacity(raw.0.len());
    for &(key, value) in &raw.0 {
        fields.push((check_key(line, key)?, value));
        check_value(line, value, 1)?;
    }
    match first_repeated(&fields) {
        Some(index) => Err(repeated(line, raw.0[index].0)),
        None => Ok(Object { fields }),
    }
}

/// One object's keys, with quotes and escapes, and values as sent; nothing inside them checked.
pub(super) struct RawFields<'a>(pub(super) Vec<(&'a str, &'a str)>);

impl<'de> Deserialize<'de> for RawFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = RawFields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::with_capacity(8);
                while let Some((key, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    fields.push((key.get(), value.get()));
                }
                Ok(RawFields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// Checks a value of `line` that lies in `depth` containers.
fn check_value(line: &str, raw: &str, depth: usize) -> Result<(), Failure> {
    match raw.as_bytes().first() {
        Some(b'"') => check_string(line, raw),
        Some(b'{' | b'[') => check_container(line, raw, depth),
        _ => Ok(()),
    }
}

fn check_key<'a>(line: &str, raw: &'a str) -> Result<Cow<'a, str>, Failure> {
    unescape(raw).map_err(|error| bad(line, raw, &error))
}

fn check_string(line: &str, raw: &str) -> Result<(), Failure> {
    // Only `\u` can write a surrogate: all other strings are spared the copy.
    let escaped = memchr(b'\\', raw.as_bytes())
        .is_some_and(|first| memmem::find(&raw.as_bytes()[first..], b"\\u").is_some());
    if escaped {
        check_key(line, raw)?;
    }
    Ok(())
}

/// Walks over everything in `raw`, once, without recursion.
fn check_container(line: &str, raw: &str, depth: usize) -> Result<(), Failure> {
    // The keys of all open objects, and for each open container where its own begin.
    let mut keys = Vec::new();
    let mut open = Vec::new();
    for token in Tokens::of(raw) {
        match token {
            Token::Open(bracket) if depth + open.len() >= NESTING_LEVELS => {
                let message = format!("nested deeper than {NESTING_LEVELS} levels");
                return Err(refuse(offset_in(line, bracket), &message));
            }
            Token::Open(_) => open.push(keys.len()),
            Token::Key(key) => keys.push((check_key(line, key)?, key)),
            Token::String(string) => check_string(line, string)?,
            Token::Plain(_) => {}
            Token::Close => {
                let own = open.pop().unwrap_or_default();
                if let Some(index) = first_repeated(&keys[own..]) {
                    return Err(repeated(line, keys[own + index].1));
                }
                keys.truncate(own);
            }
        }
    }
    Ok(())
}

/// The index of the first field whose key an earlier one has.
fn first_repeated<T>(fields: &[(Cow<str>, T)]) -> Option<usize> {
    if fields.len() <= FEW_KEYS {
        return (1..fields.len())
            .find(|&index| fields[..index].iter().any(|(key, _)| *key == fields[index].0));
    }
    let mut seen = HashSet::with_capacity(fields.len());
    fields.iter().position(|(key, _)| !seen.insert(key))
}

fn repeated(line: &str, key: &str) -> Failure {
    refuse(offset_in(line, key), "the key is there twice in one object")
}

pub(super) fn refuse(offset: usize, message: &str) -> Failure {
    let message = message.to_owned();
    Failure::Bad { offset, message }
}

/// The failure for what `serde_json` said about `part` of `line`.
fn bad(line: &str, part: &str, error: &serde_json::Error) -> Failure {
    let mut message = error.to_string();
    if let Some(place) = message.rfind(" at line ") {
        message.truncate(place);
    }
    let lines_before = part.split_inclusive('\n').take(error.line().saturating_sub(1));
    let line_start: usize = lines_before.map(str::len).sum();
    let mut offset = (line_start + error.column()).saturating_sub(1).min(part.len());
    if error.is_eof() {
        offset = part.len();
    } else if message.starts_with("control character") {
        // Where it skips a string, serde_json reports the byte before the control character.
        let control = part.as_bytes()[offset..].iter().position(|byte| *byte < b' ');
        offset += control.unwrap_or(0);
    }
    refuse(offset_in(line, part) + offset, &message)
}

/// Where `part`, a slice of `line`, begins in it.
fn offset_in(line: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(line.as_ptr().addr())
}
