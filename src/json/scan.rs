//! The quick way through a line: one pass that reads what most requests are made of.
//!
//! What it accepts is good JSON by all the rules of [`super::parse_line`]. Whatever it does not know
//! (escapes by number, escaped keys, objects of many keys, every error) it leaves to the slow way, which
//! also knows what is wrong and where.

use std::borrow::Cow;

use memchr::memchr2;

use super::strict::FEW_KEYS;
use super::tokens::is_white_space;
use crate::limits::NESTING_LEVELS;

/// The fields of the object in `line`, as [`super::Object`] has them. `None` says nothing about the line.
pub fn fields(line: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let mut scanner = Scanner { text: line, at: 0, keys: Vec::new() };
    let mut fields = Vec::with_capacity(8);
    scanner.space();
    scanner.take(b'{')?;
    scanner.space();
    if scanner.take(b'}').is_none() {
        loop {
            let key = scanner.key()?;
            let start = scanner.at;
            scanner.value(1)?;
            let repeated = fields.iter().any(|(other, _)| *other == key);
            if repeated || fields.len() == FEW_KEYS {
                return None;
            }
            fields.push((Cow::Borrowed(key), line.get(start..scanner.at)?));
            if !scanner.goes_on(b'}')? {
                break;
            }
        }
    }
    scanner.space();
    (scanner.at == line.len()).then_some(fields)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The keys of all objects inside the fields that are open.
    keys: Vec<&'a str>,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let space = |byte: &&u8| is_white_space(**byte);
        self.at += self.rest().iter().take_while(space).count();
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.rest().first().filter(|first| **first == byte)?;
        self.at += 1;
        Some(())
    }

    /// Behind an element: whether another follows, or else the container ends. Goes past the comma or
    /// the bracket, and the white space around.
    fn goes_on(&mut self, close: u8) -> Option<bool> {
        self.space();
        if self.take(b',').is_some() {
            self.space();
            return Some(true);
        }
        self.take(close).map(|()| false)
    }

    /// A string's text between the quotes, and whether an escape stands in it.
    fn string(&mut self) -> Option<(&'a str, bool)> {
        self.take(b'"')?;
        let (start, mut escaped) = (self.at, false);
        loop {
            let rest = self.rest();
            let found = memchr2(b'"', b'\\', rest)?;
            // The least of all: the compiler takes many at a time.
            if rest[..found].iter().min().is_some_and(|least| *least < b' ') {
                return None;
            }
            self.at += found + 1;
            if rest[found] == b'"' {
                return Some((self.text.get(start..self.at - 1)?, escaped));
            }
            escaped = true;
            rest.get(found + 1).filter(|escape| b"\"\\/bfnrt".contains(escape))?;
            self.at += 1;
        }
    }

    /// A key without escapes, its colon, and the white space around.
    fn key(&mut self) -> Option<&'a str> {
        let (key, escaped) = self.string()?;
        self.space();
        self.take(b':')?;
        self.space();
        (!escaped).then_some(key)
    }

    /// A value that lies in `depth` containers.
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.rest().first()? {
            b'"' => self.string().map(|_| ()),
            b'{' if depth < NESTING_LEVELS => self.object(depth + 1),
            b'[' if depth < NESTING_LEVELS => self.array(depth + 1),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        let own = self.keys.len();
        self.at += 1;
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.key()?;
            if self.keys[own..].contains(&key) || self.keys.len() - own == FEW_KEYS {
                return None;
            }
            self.keys.push(key);
            self.value(depth)?;
            if !self.goes_on(b'}')? {
                self.keys.truncate(own);
                return Some(());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        self.space();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if !self.goes_on(b']')? {
                return Some(());
            }
        }
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.rest().starts_with(word).then(|| self.at += word.len())
    }

    fn digits(&mut self) -> usize {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn number(&mut self) -> Option<()> {
        // Each part is there or not, but for the digits.
        let _ = self.take(b'-');
        let leads_with_zero = self.rest().first() == Some(&b'0');
        let whole = self.digits();
        if whole == 0 || (leads_with_zero && whole > 1) {
            return None;
        }
        if self.take(b'.').is_some() && self.digits() == 0 {
            return None;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            if self.digits() == 0 {
                return None;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Object, parse_slowly};
    use super::*;
    use proptest::prelude::*;

    fn agrees(line: &str) -> bool {
        fields(line).is_none_or(|fields| parse_slowly(line) == Ok(Object { fields }))
    }

    #[test]
    fn common_requests_go_the_quick_way() {
        let nested = format!("{{\"a\":{}1{}}}", "[".repeat(127), "]".repeat(127));
        for line in [
            r#"{"cmd":"kv.set","key":"k","value":{"a":[1,-0.5e+3,true,{"a":null}],"b":"\"x\\\n"},"id":7}"#,
            " { \"a\" : \"\" , \"b\" : [ ] , \"c\" : { } } \r\n",
            "{}",
            &nested,
        ] {
            assert!(fields(line).is_some() && agrees(line), "{line}");
        }
    }

    #[test]
    fn what_it_does_not_know_it_leaves_alone() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(128), "]".repeat(128));
        for line in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\n":1}"#,
            "{\"a\":\"\t\"}",
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":-}"#,
            r#"{"a":1e}"#,
            r#"{"a":tru}"#,
            r#"{"a":truex}"#,
            r#"{"a":1,}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1} x"#,
            r#"{"a""#,
            "[1]",
            "",
            &deep,
        ] {
            assert_eq!(fields(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_it_accepts_is_what_the_slow_way_reads(
            line in "\\{(\"[ab]\":[\\[\\]{}\"\\\\un0d8a:,1.eE+ -]{0,14},?){0,3}\\}",
        ) {
            prop_assert!(agrees(&line), "{}", line);
        }

        #[test]
        fn it_reads_values_as_the_slow_way_does(value in value()) {
            let line = format!("{{\"a\":{value}}}");
            prop_assert!(agrees(&line), "{}", line);
        }
    }

    /// Values that are good, or nearly.
    fn value() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            "-?[0-9]{1,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?",
            "\"(\\PC|\\\\[\"\\\\/bfnrtu]){0,6}\"",
            "true|false|null",
        ];
        scalar.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(", "))),
                prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|all| {
                    let members: Vec<_> =
                        all.into_iter().map(|(key, value)| format!("\"{key}\" :{value}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }
}
