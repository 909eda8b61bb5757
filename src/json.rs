//! Strict JSON for one request line.
//!
//! `serde_json` decides what is JSON; most requests are of a kind that `scan` reads quicker, to the same effect.
//! On top of it `strict` refuses what the protocol refuses and `serde_json` lets pass when it skips a value:
//! repeated keys and lone surrogates at any depth, and nesting deeper than
//! [`NESTING_LEVELS`](crate::limits::NESTING_LEVELS).
//! Values are never converted: an [`Object`] gives the text of each one as it was
//! sent, so that numbers keep every digit, and the helpers below read that text.
//!
//! The helpers expect text that [`parse_line`] has accepted. On other text they
//! do not fail, but what they answer means nothing.

use std::borrow::Cow;

use memchr::memchr;

mod content;
pub mod fields;
mod scan;
mod strict;
mod tokens;

pub use content::content_hash;
use strict::{RawFields, parse_slowly, refuse};
pub use tokens::{Elements, is_white_space};
use tokens::{string_end, unescape};

/// Why a line is no request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The line is not the JSON that the protocol accepts (`bad_json`).
    Bad {
        /// Where, in bytes from the start of the line; its length if the line ends too early.
        offset: usize,
        /// What is wrong, for people.
        message: String,
    },
    /// The line is good JSON, but not an object.
    NotAnObject,
}

/// A JSON object: its keys without escapes, each with the text of its value as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object<'a> {
    fields: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> Object<'a> {
    /// The text of the value under `key`: exactly the bytes sent, without outer white space.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.iter().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// All keys and the texts of their values, in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), *value))
    }
}

/// Reads a request line, with or without the line break that ends it.
///
/// # Errors
///
/// [`Failure::Bad`] for invalid UTF-8, broken JSON, anything behind the value, and in any
/// depth a key repeated in its object (compared without escapes), a lone surrogate, or
/// nesting beyond [`NESTING_LEVELS`](crate::limits::NESTING_LEVELS); [`Failure::NotAnObject`] for all other values.
pub fn parse_line(line: &[u8]) -> Result<Object<'_>, Failure> {
    let line = std::str::from_utf8(line)
        .map_err(|error| refuse(error.valid_up_to(), "the line is not valid UTF-8"))?;
    match scan::fields(line) {
        Some(fields) => Ok(Object { fields }),
        None => parse_slowly(line),
    }
}

/// The string that `raw` stands for, without its escapes; `None` if it is no JSON string.
#[must_use]
pub fn as_string(raw: &str) -> Option<Cow<'_, str>> {
    raw.starts_with('"').then(|| unescape(raw).ok()).flatten()
}

/// The integer in `raw`, if it is one as in [`integer_text`] and fits.
#[must_use]
pub fn as_u64(raw: &str) -> Option<u64> {
    integer_text(raw)?.parse().ok()
}

/// The boolean in `raw`, if it is one.
#[must_use]
pub fn as_bool(raw: &str) -> Option<bool> {
    raw.parse().ok()
}

/// The digits, with any number of them, of a JSON integer: a number without fraction and
/// exponent (`1.0` and `1e2` are none). `-0` gives `0`, so that equal integers are equal texts.
#[must_use]
pub fn integer_text(raw: &str) -> Option<&str> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(if digits == "0" { digits } else { raw })
}

/// The texts of the elements of a JSON array, one after the other; `None` if `raw` is no array.
#[must_use]
pub fn elements(raw: &str) -> Option<Elements<'_>> {
    Elements::of(raw)
}

/// The texts of the elements of a JSON array; `None` if `raw` is no array.
#[must_use]
pub fn array(raw: &str) -> Option<Vec<&str>> {
    Some(elements(raw)?.collect())
}

/// The fields of a JSON object; `None` if `raw` is no object.
#[must_use]
pub fn object(raw: &str) -> Option<Object<'_>> {
    let raw: RawFields = serde_json::from_str(raw).ok()?;
    let fields = raw.0.into_iter();
    let fields = fields.map(|(key, value)| Some((unescape(key).ok()?, value)));
    Some(Object { fields: fields.collect::<Option<_>>()? })
}

/// `raw` with spaces for carriage returns. JSON allows them between tokens, and many who read line by line take them
/// for the end of one.
#[must_use]
pub fn on_one_line(raw: &str) -> String {
    // In a string none is, as sent: there they must be escaped.
    raw.replace('\r', " ")
}

/// `raw` without the white space around its tokens; everything else, escapes too, as sent.
#[must_use]
pub fn compact(raw: &str) -> String {
    let mut compacted = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(quote) = memchr(b'"', rest.as_bytes()) {
        let end = string_end(rest, quote);
        compacted.extend(rest[..quote].split_ascii_whitespace());
        compacted.push_str(&rest[quote..end]);
        rest = &rest[end..];
    }
    compacted.extend(rest.split_ascii_whitespace());
    compacted
}

/// Appends `text` as a JSON string literal: quoted, and escaped where JSON demands it.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    // Neither a string nor writing to memory can fail here.
    let _infallible = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offset(line: impl AsRef<[u8]>) -> usize {
        match parse_line(line.as_ref()) {
            Err(Failure::Bad { offset, .. }) => offset,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// In every line of `marked`, a `^` stands before the place that must be refused.
    fn assert_refused_at_the_mark(marked: &str) {
        for marked in marked.split('\n') {
            let line = marked.replacen('^', "", 1);
            assert_eq!(offset(&line), marked.find('^').unwrap(), "{marked}");
        }
    }

    #[test]
    fn values_are_given_as_sent_and_keys_without_escapes() {
        let line = b" {\"\\u0061\" : 1.50e+2 ,\"b\":[ 1, \"\\n\" ],\"\":{} , \"d\":1e999}\r\n";
        let object = parse_line(line).unwrap();
        let fields: Vec<_> = object.iter().collect();
        let list = "[ 1, \"\\n\" ]";
        let expected = [("a", "1.50e+2"), ("b", list), ("", "{}"), ("d", "1e999")];
        assert_eq!(fields, expected);
        assert_eq!(object.get("b"), Some(list));
        assert_eq!(object.get("c"), None);
        assert!(parse_line(br#"{"$serde_json::private::RawValue":"x"}"#).is_ok());
    }

    #[test]
    fn good_json_that_is_no_object_is_told_apart_from_bad_json() {
        for line in ["[1]", " 5", "\"{\"", "null", "[{\"a\":1}, {\"a\":1}]"] {
            assert_eq!(parse_line(line.as_bytes()), Err(Failure::NotAnObject));
        }
        assert_refused_at_the_mark("^\n[1^\n[1]^x\n[{\"a\":1,^\"a\":1}]");
    }

    #[test]
    fn a_refusal_says_where_the_error_is() {
        assert_refused_at_the_mark(concat!(
            "{\"a\":1}^x\n{\"a\":1} ^{}\n{\"a\":[1,{\"b\":tru^?}]}\n{\"a\":[1,^\n{\"a\":0^1}\n{\"a\":1,^}\n",
            "{\"a\":\"x^\u{0}y\"}\n{\"a\":\"^\u{1}\"}\n{\"a\":[\"\\^x\"]}\n{\r\"a\":^?}",
        ));
        assert_eq!(offset("{\n\"a\":?}"), 6);
        assert_eq!(offset(b"{\"a\":\"\xff\"}"), 6);
        assert!(parse_line(b"{\"a\":\"\x7f\"}").is_ok());
    }

    #[test]
    fn a_repeated_key_is_refused_at_any_depth_and_however_it_is_escaped() {
        assert_refused_at_the_mark(r#"{"a":1,^"\u0061":2}"#);
        assert_refused_at_the_mark(r#"{"b":1,"a":[{"c":{"x":[],"y":"x",^"\u0078" :2}}]}"#);
        assert!(parse_line(br#"{"a":{"a":{"a":"a"},"b":{"a":1}},"b":["a","a"]}"#).is_ok());
        let many: Vec<_> = (0..100).map(|key| format!("\"{key}\":0")).collect();
        assert!(parse_line(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
        let line = format!("{{{},\"7\":0}}", many.join(","));
        assert_eq!(offset(&line), line.len() - 6);
    }

    #[test]
    fn a_lone_surrogate_is_refused_in_every_string_and_a_pair_is_not() {
        for bad in r#""\ud800" "\uDC00x" "\\\ud83d\n" "\ud83d\ud83d""#.split(' ') {
            for line in r#"{S:1} {"a":S} {"a":[{"b":S}]} {"a":{S:1}} [S]"#.split(' ') {
                let from = line.find('S').unwrap();
                let place = offset(line.replace('S', bad));
                assert!((from..from + bad.len()).contains(&place), "{line} {bad}");
            }
        }
        let object = parse_line(br#"{"a":"\ud83d\uDE00\\ud800"}"#).unwrap();
        let text = object.get("a").and_then(as_string).unwrap();
        assert_eq!(text, "\u{1f600}\\ud800");
    }

    #[test]
    fn nesting_is_counted_from_the_object_of_the_line() {
        let nested = |open: &str, close: &str, inner: usize| {
            format!("{{\"a\":{}1{}}}", open.repeat(inner), close.repeat(inner))
        };
        assert!(parse_line(nested("[", "]", 127).as_bytes()).is_ok());
        assert!(parse_line(nested("{\"a\":", "}", 127).as_bytes()).is_ok());
        assert_eq!(offset(nested("[", "]", 128)), 5 + 127);
        assert_eq!(offset(nested("{\"a\":", "}", 100_000)), 5 + 127 * 5);
        assert_eq!(offset("[".repeat(129) + &"]".repeat(129)), 128);
    }

    #[test]
    fn scalars_are_read_from_their_text() {
        assert_eq!(as_string("\"a\\n\""), Some("a\n".into()));
        assert_eq!(as_string("1"), None);
        assert_eq!([as_bool("true"), as_bool("\"true\"")], [Some(true), None]);
        let long = "-00000000000000000000012".replace('0', "9");
        assert_eq!(integer_text(&long), Some(long.as_str()));
        assert_eq!(integer_text("-0"), Some("0"));
        assert_eq!([as_u64("-0"), as_u64("-1"), as_u64("18446744073709551616")], [Some(0), None, None]);
        for raw in ["1.0", "1e2", "\"1\"", "-", "", "null", "[1]"] {
            assert_eq!(integer_text(raw), None);
        }
    }

    #[test]
    fn containers_are_read_from_their_text() {
        let elements = vec!["1.0", "[2 ,3]", "\"]\"", "{\"a\" : [ ] }", "null"];
        assert_eq!(array(" [ 1.0,[2 ,3], \"]\",{\"a\" : [ ] } ,null] "), Some(elements));
        assert_eq!(
            (array("[ ]"), array("{}"), array("1"), object("[]")),
            (Some(Vec::new()), None, None, None)
        );
        assert_eq!(object("{ \"\\u0061\":[ ]}").unwrap().get("a"), Some("[ ]"));
        let compacted = compact(" { \"a \\\" b\" :\t[1 , \" \"] } ");
        assert_eq!(compacted, "{\"a \\\" b\":[1,\" \"]}");
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_what_serde_json_accepts(
            line in "[{\\[\"a:,\\]} 0-]{0,12}|\\{\"a\":[\\[\\]{}\"\\\\u0d8a:,1 -]{0,12}\\}",
        ) {
            let good = serde_json::from_str::<serde_json::Value>(&line).is_ok();
            match parse_line(line.as_bytes()) {
                Ok(_) | Err(Failure::NotAnObject) => prop_assert!(good),
                Err(Failure::Bad { offset, message }) => {
                    prop_assert!(!good || message.contains("twice"));
                    prop_assert!(offset <= line.len());
                }
            }
        }

        #[test]
        fn a_written_string_reads_back(text: String) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            let raw = String::from_utf8(out).unwrap();
            prop_assert_eq!(as_string(&raw), Some(Cow::Owned(text)));
        }
    }
}
