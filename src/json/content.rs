//! The hash of what a request says, however it is written.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::tokens::{Token, Tokens, unescape};

/// A hash of what `fields` (keys without escapes, texts of values) say: the same for the same
/// content whatever the order of keys, the spacing and the escapes, in any depth, and another
/// one for other content. Numbers are compared as written: `1` and `1.0` differ.
///
/// It is SHA-256, cut to 16 bytes, of a form in which every part is preceded by its kind and
/// length, so that no two contents have the same form. It recurses as deep as the values nest:
/// only for text whose depth [`super::parse_line`] has bounded.
pub fn content_hash<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> [u8; 16] {
    let members = fields.filter_map(|(key, value)| {
        let content = Content::read(&mut Tokens::of(value))?;
        Some((Cow::Borrowed(key), content))
    });
    let mut hash = Sha256::new();
    Content::object(members.collect()).feed(&mut hash);
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// What a value says, without how it was written.
enum Content<'a> {
    Plain(&'a str),
    String(Cow<'a, str>),
    Array(Vec<Content<'a>>),
    /// In the order of its keys' bytes.
    Object(Vec<(Cow<'a, str>, Content<'a>)>),
}

impl<'a> Content<'a> {
    /// The value that begins with the next token; `None` if a container ends there.
    fn read(tokens: &mut Tokens<'a>) -> Option<Self> {
        // Good JSON always unescapes.
        let text = |raw| unescape(raw).unwrap_or(Cow::Borrowed(raw));
        Some(match tokens.next()? {
            Token::Close => return None,
            Token::Plain(plain) => Content::Plain(plain),
            Token::Key(string) | Token::String(string) => Content::String(text(string)),
            Token::Open("[") => Content::Array(std::iter::from_fn(|| Content::read(tokens)).collect()),
            Token::Open(_) => {
                let mut members = Vec::new();
                while let Some(Token::Key(key)) = tokens.next() {
                    members.push((text(key), Content::read(tokens)?));
                }
                Content::object(members)
            }
        })
    }

    fn object(mut members: Vec<(Cow<'a, str>, Content<'a>)>) -> Self {
        members.sort_by(|(left, _), (right, _)| left.cmp(right));
        Content::Object(members)
    }

    fn feed(&self, hash: &mut Sha256) {
        let mut begin = |kind: u8, length: usize, bytes: &str| {
            hash.update([kind]);
            hash.update((length as u64).to_le_bytes());
            hash.update(bytes);
        };
        match self {
            Content::Plain(plain) => begin(b'p', plain.len(), plain),
            Content::String(text) => begin(b's', text.len(), text),
            Content::Array(elements) => {
                begin(b'a', elements.len(), "");
                elements.iter().for_each(|element| element.feed(hash));
            }
            Content::Object(members) => {
                begin(b'o', members.len(), "");
                for (key, value) in members {
                    hash.update((key.len() as u64).to_le_bytes());
                    hash.update(key.as_ref());
                    value.feed(hash);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::json::{compact, parse_line, write_string};

    #[derive(Debug, Clone, PartialEq)]
    enum Tree {
        Plain(&'static str),
        Text(String),
        Array(Vec<Tree>),
        Object(BTreeMap<String, Tree>),
    }

    const TEXT: &str = "[ab\\\\\"/:{\\[,\n\u{e9}\u{1f600}]{0,3}";

    fn trees() -> impl Strategy<Value = Tree> {
        let plain = prop::sample::select(vec!["1", "1.0", "-0", "1e400", "null", "true"]);
        let leaf = prop_oneof![plain.prop_map(Tree::Plain), TEXT.prop_map(Tree::Text)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let array = vec(inner.clone(), 0..4).prop_map(Tree::Array);
            prop_oneof![array, btree_map(TEXT, inner, 0..4).prop_map(Tree::Object)]
        })
    }

    fn objects() -> impl Strategy<Value = Tree> {
        btree_map(TEXT, trees(), 0..4).prop_map(Tree::Object)
    }

    /// One of many ways to write `tree`, chosen by `style`.
    fn render(tree: &Tree, style: &mut u32) -> String {
        *style = style.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let chosen = *style >> 24;
        let space = ["", " ", "\t "][chosen as usize % 3];
        let written = match tree {
            Tree::Plain(plain) => (*plain).to_owned(),
            Tree::Text(text) if chosen < 128 => {
                let units = text.encode_utf16();
                let escaped: String = units.map(|unit| format!("\\u{unit:04x}")).collect();
                format!("\"{escaped}\"")
            }
            Tree::Text(text) => {
                let mut out = Vec::new();
                write_string(&mut out, text);
                String::from_utf8(out).unwrap()
            }
            Tree::Array(elements) => {
                let written = elements.iter().map(|element| render(element, style));
                let elements: Vec<_> = written.collect();
                format!("[{space}{}]", elements.join(","))
            }
            Tree::Object(members) => {
                let mut written = Vec::new();
                for (key, value) in members {
                    let key = render(&Tree::Text(key.clone()), style);
                    written.push(format!("{key}:{}", render(value, style)));
                }
                let places = chosen as usize % written.len().max(1);
                written.rotate_left(places);
                format!("{{{}{space}}}", written.join(","))
            }
        };
        format!("{space}{written}{space}")
    }

    fn hash_of(line: &str) -> [u8; 16] {
        content_hash(parse_line(line.as_bytes()).unwrap().iter())
    }

    #[test]
    fn contents_that_look_alike_have_different_hashes() {
        let values = r#"1 1.0 "1" [1] {"1":1} ["b","c"] ["c","b"] ["bc"] [[],[]] [[[]]] null "" {} []"#;
        let contents = values.split(' ').map(|value| format!("{{\"a\":{value}}}"));
        let contents: Vec<_> = contents.collect();
        let hashes: HashSet<_> = contents.iter().map(|content| hash_of(content)).collect();
        assert_eq!(hashes.len(), contents.len());
    }

    proptest! {
        #[test]
        fn the_way_a_content_is_written_does_not_change_its_hash(
            tree in objects(), mut one: u32, mut two: u32,
        ) {
            let (one, two) = (render(&tree, &mut one), render(&tree, &mut two));
            prop_assert_eq!(hash_of(&one), hash_of(&two));
            prop_assert_eq!(hash_of(&one), hash_of(&compact(&one)));
        }

        #[test]
        fn different_contents_have_different_hashes(
            one in objects(), two in objects(), mut style: u32,
        ) {
            let same = hash_of(&render(&one, &mut style)) == hash_of(&render(&two, &mut style));
            prop_assert_eq!(same, one == two);
        }
    }
}
