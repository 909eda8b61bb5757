//! The hash of what a request says, however it is written.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::tokens::{Token, Tokens, unescape};

/// A hash of what `fields` (keys without escapes, texts of values) say: the same for the same
/// content whatever the order of keys, the spacing and the escapes, in any depth, and another
/// one for other content. Numbers are compared as written: `1` and `1.0` differ.
///
/// It is SHA-256, cut to 16 bytes, of a form in which every part is preceded by its kind and
/// length, so that no two contents have the same form. It is stored in logs: a change here would
/// make known requests others. It recurses as deep as the values nest: only for text whose depth
/// [`super::parse_line`] has bounded. The memory that it takes is a few times that of the text.
pub fn content_hash<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> [u8; 16] {
    let mut members: Vec<_> = fields.collect();
    members.sort_by_key(|(key, _)| *key);
    let mut form = Form { hash: Sha256::new(), buffer: Vec::with_capacity(BUFFER_BYTES) };
    form.begin(b'o', members.len(), "");
    for (key, value) in members {
        form.key(key);
        Value { text: value, containers: containers(value), members: Vec::new() }.put(&mut form);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&form.finish()[..16]);
    short
}

/// The form that is hashed, a piece at a time.
struct Form {
    hash: Sha256,
    buffer: Vec<u8>,
}

/// Bytes that are hashed in one go: to hash each small part by itself takes several times as long.
const BUFFER_BYTES: usize = 4096;

impl Form {
    fn bytes(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.hash.update(&self.buffer);
            self.buffer.clear();
        }
        if bytes.len() > BUFFER_BYTES {
            self.hash.update(bytes);
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// A part: its kind, its length, and what it says if it is no container.
    fn begin(&mut self, kind: u8, length: usize, text: &str) {
        self.bytes(&[kind]);
        self.bytes(&(length as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    fn key(&mut self, key: &str) {
        self.bytes(&(key.len() as u64).to_le_bytes());
        self.bytes(key.as_bytes());
    }

    fn finish(mut self) -> impl std::ops::Deref<Target = [u8]> {
        self.hash.update(&self.buffer);
        self.hash.finalize()
    }
}

/// An object or an array in a text. Their contents are not built up: that takes many times the memory of the text.
struct Container {
    /// Its members or elements.
    count: u32,
    /// Where it ends in the text.
    end: u32,
    /// The number of the first container behind it.
    behind: u32,
}

fn number(place: usize) -> u32 {
    // No line is as long.
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// The containers of a text, in the order in which they begin.
fn containers(text: &str) -> Vec<Container> {
    let mut containers: Vec<Container> = Vec::new();
    // Those that are open: their numbers, and whether they are arrays, whose values count; of objects the keys do.
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut tokens = Tokens::of(text);
    while let Some(token) = tokens.next() {
        let is_key = matches!(token, Token::Key(_));
        if let Some((number, is_array)) = open.last()
            && !matches!(token, Token::Close)
            && *is_array != is_key
        {
            containers[*number].count += 1;
        }
        match token {
            Token::Open(bracket) => {
                open.push((containers.len(), bracket == "["));
                containers.push(Container { count: 0, end: 0, behind: 0 });
            }
            Token::Close => {
                let behind = number(containers.len());
                if let Some(closed) = open.pop().and_then(|(number, _)| containers.get_mut(number)) {
                    (closed.end, closed.behind) = (number(tokens.place()), behind);
                }
            }
            _ => {}
        }
    }
    containers
}

/// Where a value begins: its place in the text, and the number of the next container.
#[derive(Clone, Copy)]
struct Start {
    place: usize,
    container: usize,
}

/// A value and its parts.
struct Value<'a> {
    text: &'a str,
    containers: Vec<Container>,
    /// The members of the objects that are being put: their keys, and where their values begin.
    members: Vec<(Cow<'a, str>, Start)>,
}

/// Good JSON always unescapes.
fn unescaped(raw: &str) -> Cow<'_, str> {
    unescape(raw).unwrap_or(Cow::Borrowed(raw))
}

impl Value<'_> {
    fn put(&mut self, form: &mut Form) {
        self.put_from(Start { place: 0, container: 0 }, form);
    }

    /// Puts the value that begins somewhere. Where the next one begins.
    fn put_from(&mut self, start: Start, form: &mut Form) -> Start {
        let mut tokens = Tokens::from(self.text, start.place);
        let token = tokens.next();
        let inside = Start { place: tokens.place(), container: start.container };
        let bracket = match token {
            None | Some(Token::Close) => return inside,
            Some(Token::Plain(plain)) => {
                form.begin(b'p', plain.len(), plain);
                return inside;
            }
            Some(Token::Key(raw) | Token::String(raw)) => {
                let text = unescaped(raw);
                form.begin(b's', text.len(), &text);
                return inside;
            }
            Some(Token::Open(bracket)) => bracket,
        };
        let Some(Container { count, end, behind }) = self.containers.get(start.container) else {
            return inside;
        };
        let (count, end, behind) = (*count as usize, *end as usize, *behind as usize);
        let inside = Start { container: start.container + 1, ..inside };
        if bracket == "[" {
            form.begin(b'a', count, "");
            (0..count).fold(inside, |next, _| self.put_from(next, form));
        } else {
            form.begin(b'o', count, "");
            self.put_members(count, inside, form);
        }
        Start { place: end, container: behind }
    }

    /// Puts the members of an object in the order of their keys' bytes.
    fn put_members(&mut self, count: usize, inside: Start, form: &mut Form) {
        let first = self.members.len();
        let mut next = inside;
        for _ in 0..count {
            let mut tokens = Tokens::from(self.text, next.place);
            let Some(Token::Key(key)) = tokens.next() else { break };
            let value = Start { place: tokens.place(), ..next };
            self.members.push((unescaped(key), value));
            next = self.behind(value);
        }
        self.members[first..].sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        for place in first..self.members.len() {
            let (key, value) = &mut self.members[place];
            let (key, value) = (std::mem::take(key), *value);
            form.key(&key);
            self.put_from(value, form);
        }
        self.members.truncate(first);
    }

    /// Where what follows a value begins.
    fn behind(&self, value: Start) -> Start {
        let mut tokens = Tokens::from(self.text, value.place);
        let Some(Token::Open(_)) = tokens.next() else { return Start { place: tokens.place(), ..value } };
        let container = self.containers.get(value.container);
        container.map_or(value, |own| Start { place: own.end as usize, container: own.behind as usize })
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

    /// The form that is hashed, put together from the content.
    fn form_of(tree: &Tree, form: &mut Vec<u8>) {
        let begin = |form: &mut Vec<u8>, kind: &[u8], length: usize, text: &str| {
            form.extend(kind);
            form.extend((length as u64).to_le_bytes());
            form.extend(text.bytes());
        };
        match tree {
            Tree::Plain(plain) => begin(form, b"p", plain.len(), plain),
            Tree::Text(text) => begin(form, b"s", text.len(), text),
            Tree::Array(elements) => {
                begin(form, b"a", elements.len(), "");
                elements.iter().for_each(|element| form_of(element, form));
            }
            Tree::Object(members) => {
                begin(form, b"o", members.len(), "");
                for (key, value) in members {
                    begin(form, b"", key.len(), key);
                    form_of(value, form);
                }
            }
        }
    }

    #[test]
    fn what_is_nested_as_deep_as_may_be_is_hashed_with_little_beside_its_text() {
        let deep = format!("{}{}", "[".repeat(126), "]".repeat(126));
        let text = format!("[{}]", vec![deep.as_str(); 100].join(","));
        let containers = containers(&text);
        assert_eq!(containers.len(), 1 + 126 * 100);
        assert_eq!((containers[0].count, containers[0].end as usize), (100, text.len()));
        assert!(containers.len() * size_of::<Container>() <= 6 * text.len());
        let line = format!("{{\"a\":{text}}}");
        let mut form = Vec::new();
        form_of(&Tree::Object(BTreeMap::from([("a".to_owned(), nested(126, 100))])), &mut form);
        assert_eq!(hash_of(&line), Sha256::digest(&form)[..16]);
    }

    /// So many arrays that each nest so deep, in one.
    fn nested(depth: usize, count: usize) -> Tree {
        let deep = (0..depth).fold(None, |inner, _| Some(Tree::Array(inner.into_iter().collect())));
        Tree::Array(vec![deep.unwrap(); count])
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
            let mut form = Vec::new();
            form_of(&tree, &mut form);
            prop_assert_eq!(&hash_of(&one)[..], &Sha256::digest(&form)[..16]);
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
