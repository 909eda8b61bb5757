//! Parts of a record, found in it without decoding the rest: a message in a reply is cut out of its record.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;

use crate::time::Timestamp;

/// The name of a stored event's type.
#[must_use]
pub fn type_name(event: &[u8]) -> Option<&str> {
    let name = from_type(event)?.1.strip_prefix(b",\"type\":\"")?;
    std::str::from_utf8(name.get(..memchr::memchr(b'"', name)?)?).ok()
}

/// A stored event up to its type, and from there on.
fn from_type(event: &[u8]) -> Option<(&[u8], &[u8])> {
    // Before the type stand only the seq and the time, which is a string.
    let open = memchr::memchr(b':', event.get(8..)?)? + 8 + 2;
    event.split_at_checked(open + memchr::memchr(b'"', event.get(open..)?)? + 1)
}

/// The pieces of a stored event that make the message in a reply: to be put between braces. `None`
/// when the event is neither a post nor an edit.
#[must_use]
pub fn message_parts(event: &[u8]) -> Option<(&[u8], &[u8])> {
    const KIND: &[u8] = b",\"type\":\"message.";
    let (before, rest) = from_type(event)?;
    let rest = rest.strip_prefix(KIND)?;
    let fields = after_uid(rest)?;
    if rest.starts_with(b"posted\"") {
        Some((before.get(1..)?, fields.get(..fields.len().checked_sub(1)?)?))
    } else if rest.starts_with(b"edited\"") {
        let message = fields.strip_prefix(b",\"message\":{")?;
        Some((message.get(..message.len().checked_sub(2)?)?, b""))
    } else {
        None
    }
}

/// What stands behind the uid, its comma included.
fn after_uid(rest: &[u8]) -> Option<&[u8]> {
    const UID: &[u8] = b"\",\"uid\":";
    // All types of messages' events have names of one length.
    let behind = rest.get(b"posted".len()..)?.strip_prefix(UID)?;
    let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
    behind.get(digits..)
}

/// When a message was posted, from the event that holds its current form.
#[must_use]
pub fn message_time(event: &[u8]) -> Option<Timestamp> {
    let quoted = raw_time(message_parts(event)?.0)?;
    Timestamp::parse(std::str::from_utf8(quoted.get(1..quoted.len() - 1)?).ok()?)
}

/// The raw time of an event, quotes included.
#[must_use]
pub fn raw_time(event: &[u8]) -> Option<&[u8]> {
    // Before it stands only the seq.
    let time = event.get(memchr::memchr(b',', event)?..)?.strip_prefix(b",\"at\":")?;
    time.get(..memchr::memchr(b'"', time.get(1..)?)? + 2)
}

/// A message's body as JSON, and what follows it.
fn body_value(event: &[u8]) -> Option<&[u8]> {
    let (first, second) = message_parts(event)?;
    let fields = if second.is_empty() { first } else { second };
    behind_body_key(fields)
}

/// What follows the key of a message's or a job's body.
pub(super) fn behind_body_key(fields: &[u8]) -> Option<&[u8]> {
    // Names come before it and have their quotes escaped, so this is the key.
    static BODY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b",\"body\":"));
    fields.get(BODY.find(fields)? + BODY.needle().len()..)
}

/// The same event with an empty text: of a message all but its text can be known without reading that, which may
/// be long. `None` when the event is neither a post nor an edit.
#[must_use]
pub fn without_text(event: &[u8]) -> Option<Vec<u8>> {
    let (value, edited) = (body_value(event)?, message_parts(event)?.1.is_empty());
    let braces: &[u8] = if edited { b"}}" } else { b"}" };
    let before = event.get(..event.len().checked_sub(braces.len() + value.len())?)?;
    Some([before, b"\"\"", braces].concat())
}

/// The text of a message's body, from the event that holds its current form.
#[must_use]
pub fn message_body(event: &[u8]) -> Option<Cow<'_, str>> {
    let value = body_value(event)?;
    let text = value.strip_prefix(b"\"")?;
    let end = memchr::memchr2(b'"', b'\\', text)?;
    if text[end] == b'"' {
        // Nothing is escaped before the closing quote: the text is the bytes between.
        return std::str::from_utf8(&text[..end]).ok().map(Cow::Borrowed);
    }
    let value = std::str::from_utf8(value).ok()?;
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<Borrowed<'_>>();
    Some(values.next()?.ok()?.0)
}

/// Writes the text of a message's body, its ASCII lower-cased, to `out`. `Some(false)` when it has escapes that
/// are rare; then `out` means nothing.
#[must_use]
pub fn lower_body(event: &[u8], out: &mut Vec<u8>) -> Option<bool> {
    out.clear();
    let mut rest = body_value(event)?.strip_prefix(b"\"")?;
    loop {
        let (piece, behind) = rest.split_at(memchr::memchr2(b'"', b'\\', rest)?);
        out.extend_from_slice(piece);
        if behind.first() == Some(&b'"') {
            break;
        }
        out.push(match behind.get(1)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'f' => 12,
            b'u' => return Some(false),
            other => *other,
        });
        rest = behind.get(2..)?;
    }
    out.make_ascii_lowercase();
    Some(true)
}

#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Address, Event, Fact, Message};

    #[test]
    fn the_type_is_read_without_the_rest() {
        for event in crate::domain::testing::events() {
            let mut record = Vec::new();
            event.encode(b"2026-01-01T00:00:00.000000Z", &mut record);
            assert_eq!(type_name(&record), Some(event.fact.type_name()));
        }
        assert_eq!(type_name(b"{\"seq\":1}"), None);
    }

    proptest::proptest! {
        #[test]
        fn the_ascii_of_a_body_is_lowered_as_it_is_read(
            body in "([ -~\\n\\t\\\\\"/]|[\u{0}-\u{1f}\u{e9}\u{130}]){0,30}",
        ) {
            let address = Address::Recipient("r".into());
            let at = Timestamp(1_700_000_000_000_000);
            let fact = Fact::MessagePosted(Message { address, originator: None, body });
            let mut json = Vec::new();
            Event { seq: 7, at, uid: 0, fact }.encode(at.to_string().as_bytes(), &mut json);
            let body = message_body(&json).expect("a body");
            let mut lowered = Vec::new();
            if lower_body(&json, &mut lowered) == Some(true) {
                proptest::prop_assert_eq!(lowered, body.to_ascii_lowercase().into_bytes());
            }
        }
    }

    #[test]
    fn all_but_the_text_of_a_message_is_known_without_reading_it() {
        let names = ["r", "\"body\":\"", ",\"body\":\"x\""];
        for (name, edited) in names.into_iter().flat_map(|name| [(name, false), (name, true)]) {
            let message = |body: &str| Message {
                address: Address::Recipient(name.to_owned()),
                originator: Some(name.to_owned()),
                body: body.to_owned(),
            };
            let event = |body| {
                let (now, posted_at) = (message(body), Timestamp(5));
                let edit = Fact::MessageEdited { message: 3, posted_at, now: now.clone() };
                let fact = if edited { edit } else { Fact::MessagePosted(now) };
                Event { seq: 7, at: Timestamp(9), uid: 1, fact }
            };
            let mut record = Vec::new();
            let text = "a \"quoted\" text, \\ and }";
            event(text).encode(Timestamp(9).to_string().as_bytes(), &mut record);
            let short = without_text(&record).expect("a message");
            assert_eq!(Event::decode(&short).expect("readable"), event(""));
        }
        assert_eq!(without_text(b"{\"seq\":1,\"at\":\"\",\"type\":\"kv.set\",\"uid\":0}"), None);
    }

    #[test]
    fn a_message_is_cut_out_of_its_record_whatever_its_names_hold() {
        let trap = ",\"body\":\"x\",\"type\":\"message.posted\"";
        let address = Address::Recipient(trap.into());
        let now = Message { address, originator: Some(trap.into()), body: "the \"body\"\n".into() };
        let at = Timestamp(1_700_000_000_000_000);
        for fact in [
            Fact::MessagePosted(now.clone()),
            Fact::MessageEdited { message: 3, posted_at: at, now: now.clone() },
        ] {
            let mut json = Vec::new();
            Event { seq: 7, at, uid: 0, fact }.encode(at.to_string().as_bytes(), &mut json);
            assert_eq!(message_body(&json).as_deref(), Some("the \"body\"\n"));
            let mut lowered = Vec::new();
            assert_eq!(lower_body(&json, &mut lowered), Some(true));
            assert_eq!(lowered, b"the \"body\"\n");
            assert_eq!(message_time(&json), Some(at));
        }
    }
}
