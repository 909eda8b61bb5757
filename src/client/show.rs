//! Replies for people: messages as letters, lists as tables, everything else key by key.
//!
//! Numbers are shown as the daemon wrote them, digit by digit: nothing is converted on the way.

use super::columns::{Cell, table, width};
use super::highlight::Highlighter;
use super::reply::Reply;
use super::style::{Ink, Style, push_visible, visible};
use crate::json;
use crate::paths::shell_word;

/// Which argument takes a reply's `next`, by command.
const PAGES: &[(&str, &str)] = &[("log.read", "from"), ("message.search", "before")];

/// The text for a reply to this request.
#[must_use]
pub fn reply(style: Style, request: &str, reply: &Reply) -> String {
    let fields = json::object(reply.line());
    let fields: Vec<(&str, &str)> = fields.iter().flat_map(json::Object::iter).collect();
    let get = |key: &str| fields.iter().find_map(|(name, value)| (*name == key).then_some(*value));
    let mut shown = if let Some(messages) = get("messages").and_then(json::array) {
        let highlighter = Highlighter::of_request(request);
        messages.iter().map(|raw| message(style, &highlighter, raw)).collect::<Vec<_>>().join("\n")
    } else if let Some(raw) = get("message") {
        message(style, &Highlighter::default(), raw)
    } else if let Some(events) = get("events").and_then(json::array).filter(|_| get("dry_run").is_none()) {
        events.iter().map(|raw| event(style, raw)).collect()
    } else if let Some(text) = get("text").and_then(json::as_string) {
        text.lines().map(|line| visible(line) + "\n").collect()
    } else {
        let shown = |key: &str| !matches!(key, "ok" | "next" | "total");
        let others: Vec<(&str, &str)> = fields.iter().copied().filter(|(key, _)| shown(key)).collect();
        object(style, &others, 0)
    };
    if shown.is_empty() && fields.len() == 1 {
        shown = "done\n".into();
    }
    shown + &footer(style, request, get("total"), get("next"))
}

/// The text for a line that a follower got: an event, or a message.
#[must_use]
pub fn followed(style: Style, request: &str, line: &Reply) -> String {
    if line.field("type").is_some() {
        return event(style, line.line());
    }
    message(style, &Highlighter::of_request(request), line.line())
}

/// How many there are in all, and how to get the next page.
fn footer(style: Style, request: &str, total: Option<&str>, next: Option<&str>) -> String {
    let total = total.map(|total| format!("{total} in all"));
    let next = next.map(|next| {
        let asked = |key: &str| json::object(request).and_then(|request| json::as_string(request.get(key)?));
        let command = asked("cmd").unwrap_or_default().into_owned();
        let oldest = asked("order").is_some_and(|order| order == "oldest");
        let by_table = PAGES.iter().find(|(name, _)| *name == command).map(|(_, argument)| *argument);
        let argument = if oldest { "after" } else { by_table.unwrap_or("after") };
        let value = json::as_string(next).map_or(next.to_owned(), Into::into);
        // Where nothing is between them, a value is none of the options, nor their end.
        let between = if value.starts_with('-') { '=' } else { ' ' };
        format!("more with --{argument}{between}{}", shell_literal(&value))
    });
    let parts: Vec<String> = total.into_iter().chain(next).collect();
    if parts.is_empty() { String::new() } else { style.paint(Ink::Aside, &parts.join("; ")) + "\n" }
}

/// A word as a shell reads it back, on one line and with nothing in it that drives a terminal. What would is
/// written as `$'...'`, which bash, zsh and the shells of today's POSIX read.
#[must_use]
pub fn shell_literal(word: &str) -> String {
    if visible(word) == word {
        return shell_word(word);
    }
    let mut literal = String::from("$'");
    for character in word.chars() {
        let mut shown = String::new();
        push_visible(&mut shown, character);
        match character {
            '\n' => literal.push_str("\\n"),
            '\t' => literal.push_str("\\t"),
            '\'' | '\\' => literal.extend(['\\', character]),
            _ if shown.len() == character.len_utf8() => literal.push(character),
            // Octal digits are always three; how far others go is not the same in all shells.
            _ => {
                let bytes = character.to_string().into_bytes();
                literal.extend(bytes.iter().map(|byte| format!("\\{byte:03o}")));
            }
        }
    }
    literal + "'"
}

/// One message: a line about it, and its text.
fn message(style: Style, highlighter: &Highlighter, raw: &str) -> String {
    let Some(fields) = json::object(raw) else { return visible(raw) + "\n" };
    let get = |key: &str| fields.get(key).map(plain).unwrap_or_default();
    let text = |key: &str| fields.get(key).and_then(json::as_string).unwrap_or_default();
    let mut about =
        vec![style.paint(Ink::Heading, &get("seq")), style.paint(Ink::Aside, &style.moment(&text("at")))];
    about.push(style.paint(Ink::Name, &get("originator")));
    if fields.get("recipient").is_some() {
        about.push(format!("-> {}", style.paint(Ink::Name, &get("recipient"))));
    }
    if fields.get("chat").is_some() {
        about.push(format!("in chat {} of {}, number {}", get("chat"), get("app"), get("number")));
    }
    if fields.get("edited_at").is_some() {
        about.push(style.paint(Ink::Aside, &format!("(edited {})", style.moment(&text("edited_at")))));
    }
    about.retain(|part| !part.is_empty());
    let body = text("body");
    format!("{}\n{}", about.join("  "), indented(&painted(style, highlighter, &body)))
}

/// A body with its matches painted and everything else in it made visible. Its lines stay lines,
/// and its tabs become spaces.
fn painted(style: Style, highlighter: &Highlighter, body: &str) -> String {
    let mut shown = String::with_capacity(body.len());
    let mut at = 0;
    for (start, end) in highlighter.spans(body) {
        push_lines(&mut shown, &body[at..start]);
        let mut matched = String::new();
        push_lines(&mut matched, &body[start..end]);
        let lines: Vec<String> = matched.split('\n').map(|line| style.paint(Ink::Match, line)).collect();
        shown += &lines.join("\n");
        at = end;
    }
    push_lines(&mut shown, &body[at..]);
    shown
}

fn push_lines(shown: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\n' => shown.push('\n'),
            '\t' => shown.push_str("    "),
            _ => push_visible(shown, character),
        }
    }
}

fn indented(text: &str) -> String {
    text.split('\n').map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect()
}

/// One event on one line: its seq, when, what, and the rest as it was written.
fn event(style: Style, raw: &str) -> String {
    let Some(fields) = json::object(raw) else { return visible(raw) + "\n" };
    let get = |key: &str| fields.get(key).map(plain).unwrap_or_default();
    let rest = fields.iter().filter(|(key, _)| !matches!(*key, "seq" | "at" | "type"));
    let rest: Vec<String> = rest.map(|(key, value)| format!("{}={}", visible(key), visible(value))).collect();
    let seq = style.paint(Ink::Heading, &format!("{:>6}", get("seq")));
    let at = style.paint(Ink::Aside, &named(style, "at", fields.get("at").unwrap_or_default()));
    let kind = style.paint(Ink::Name, &format!("{:<17}", get("type")));
    format!("{seq}  {at}  {kind}  {}\n", rest.join(" "))
}

/// The fields of an object: plain ones in two columns, lists and objects under a heading.
fn object(style: Style, fields: &[(&str, &str)], depth: usize) -> String {
    let margin = "  ".repeat(depth);
    let nested = |raw: &str| (raw.starts_with('{') && raw != "{}") || is_list_of_objects(raw);
    let plain_names = fields.iter().filter(|(_, raw)| !nested(raw)).map(|(name, _)| width(&visible(name)));
    let widest = plain_names.max().unwrap_or(0);
    let mut shown = Vec::new();
    for (name, raw) in fields {
        let gap = " ".repeat(widest.saturating_sub(width(&visible(name))));
        let heading = style.paint(Ink::Heading, &(visible(name) + &gap));
        // What clients have stored has times of their own.
        let style = if matches!(*name, "value" | "body") { style.with_times_as_sent() } else { style };
        if let Some(inner) = json::object(raw).filter(|_| nested(raw)) {
            let inner: Vec<(&str, &str)> = inner.iter().collect();
            shown.push(format!("{margin}{}\n", heading.trim_end()));
            shown.push(object(style, &inner, depth + 1));
        } else if let Some(rows) = json::array(raw).filter(|_| nested(raw)) {
            // A reply with nothing but a list needs no name above it.
            if fields.len() > 1 {
                shown.push(format!("{margin}{}\n", heading.trim_end()));
            }
            shown.push(rows_of(style, &rows, if fields.len() > 1 { depth + 1 } else { depth }));
        } else {
            shown
                .push(format!("{margin}{heading}  {}", named(style, name, raw)).trim_end().to_owned() + "\n");
        }
    }
    shown.concat()
}

fn is_list_of_objects(raw: &str) -> bool {
    json::array(raw).is_some_and(|list| !list.is_empty() && list.iter().all(|item| item.starts_with('{')))
}

/// A list of objects as a table, with a column for every key that any of them has.
fn rows_of(style: Style, rows: &[&str], depth: usize) -> String {
    let rows: Vec<_> = rows.iter().filter_map(|row| json::object(row)).collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(json::Object::iter) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let headings = names.iter().map(|name| visible(name)).collect();
    let cell = |name: &str, raw: Option<&str>| Cell {
        text: raw.map(|raw| named(style, name, raw)).unwrap_or_default(),
        number: raw.is_some_and(is_number),
    };
    let rows = rows.iter().map(|row| names.iter().map(|name| cell(name, row.get(name))).collect()).collect();
    table(style, headings, rows, depth)
}

/// A value on one line: a string without its quotes, anything else as JSON.
fn plain(raw: &str) -> String {
    json::as_string(raw).map_or_else(|| visible(raw), |text| visible(&text))
}

/// A value on one line, under this name: times are told by theirs.
fn named(style: Style, name: &str, raw: &str) -> String {
    match json::as_string(raw) {
        Some(at) if name == "at" || name.ends_with("_at") => style.moment(&at),
        _ => plain(raw),
    }
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(request: &str, line: &str) -> String {
        super::reply(Style::new(false), request, &Reply::new(line.into()).unwrap())
    }

    const MESSAGE: &str = concat!(
        r#"{"seq":17,"at":"2026-01-31T12:00:00.000000Z","originator":"anna","#,
        r#""recipient":"bob","body":"two\nlines \u001b[2J"}"#
    );

    #[test]
    fn messages_are_letters_whose_text_drives_nothing() {
        let line = format!(r#"{{"ok":true,"messages":[{MESSAGE}],"next":17,"total":2}}"#);
        let text = shown(r#"{"cmd":"message.search"}"#, &line);
        assert_eq!(
            text,
            "17  2026-01-31 12:00:00Z  anna  -> bob\n    two\n    lines ^[[2J\n2 in all; more with --before 17\n"
        );
    }

    #[test]
    fn words_that_were_searched_for_stand_out() {
        let line = format!(r#"{{"ok":true,"messages":[{MESSAGE}]}}"#);
        let request = r#"{"cmd":"message.search","text":"LINES"}"#;
        let text = super::reply(Style::new(true), request, &Reply::new(line).unwrap());
        assert!(text.contains("    \x1b[1;33mlines\x1b[0m ^[[2J"), "{text:?}");
    }

    #[test]
    fn lists_are_tables_and_numbers_keep_their_digits() {
        let text = shown(
            r#"{"cmd":"queue.peek"}"#,
            r#"{"ok":true,"jobs":[{"job":7,"body":1.50},{"job":123,"body":"a\tb","ready_at":"x"}]}"#,
        );
        assert_eq!(text, "job  body  ready_at\n  7  1.50\n123  a\\tb  x\n");
    }

    #[test]
    fn nested_objects_are_indented_under_their_name() {
        let text = shown("{}", r#"{"ok":true,"seq":5,"limits":{"line_bytes":10,"k":{"a":1}},"version":"1"}"#);
        assert_eq!(text, "seq      5\nlimits\n  line_bytes  10\n  k\n    a  1\nversion  1\n");
    }

    #[test]
    fn names_in_broad_letters_keep_the_columns() {
        let text = shown("{}", "{\"ok\":true,\"value\":{\"\u{65e5}\":1,\"key\":2}}");
        assert_eq!(text, "value\n  \u{65e5}   1\n  key  2\n");
    }

    #[test]
    fn pages_go_on_with_the_argument_of_their_command() {
        let keys = r#"{"ok":true,"keys":[{"key":"a","seq":1}],"next":"a"}"#;
        assert!(shown(r#"{"cmd":"kv.list"}"#, keys).ends_with("more with --after a\n"));
        let quoted = keys.replace("\"next\":\"a\"", "\"next\":\"it's\"");
        assert!(shown(r#"{"cmd":"kv.list"}"#, &quoted).ends_with("more with --after 'it'\\''s'\n"));
        for (next, word) in [
            ("--", "=--"),
            ("-a b", "='-a b'"),
            ("a-", " a-"),
            ("zz\\na", " $'zz\\na'"),
            ("it's\\u001b\\u202e1\\\\", " $'it\\'s\\033\\342\\200\\2561\\\\'"),
        ] {
            let page = keys.replace("\"next\":\"a\"", &format!("\"next\":\"{next}\""));
            let text = shown(r#"{"cmd":"kv.list"}"#, &page);
            assert!(text.ends_with(&format!("more with --after{word}\n")), "{text}");
        }
        let events = r#"{"ok":true,"events":[{"seq":1,"at":"t","type":"kv.set","key":"a"}],"next":2}"#;
        assert_eq!(
            shown(r#"{"cmd":"log.read"}"#, events),
            format!("     1  t  {:<17}  key=\"a\"\nmore with --from 2\n", "kv.set")
        );
        let oldest = r#"{"cmd":"message.search","order":"oldest"}"#;
        assert!(shown(oldest, r#"{"ok":true,"messages":[{"seq":3}],"next":3}"#).contains("--after 3"));
    }

    #[test]
    fn times_of_the_daemon_are_short_or_relative_and_those_of_clients_stay() {
        let at = r#""at":"2026-01-31T12:00:00.000000Z""#;
        let line = format!(r#"{{"ok":true,"key":"k","value":{{{at}}},"seq":1,{at}}}"#);
        let reply = Reply::new(line).unwrap();
        let stored = "value\n  at  2026-01-31T12:00:00.000000Z\n";
        let text = super::reply(Style::new(false), "{}", &reply);
        assert!(text.contains(stored) && text.ends_with("at   2026-01-31 12:00:00Z\n"), "{text}");
        let list = Reply::new(format!(r#"{{"ok":true,"key":"k","value":[{{{at}}}],"seq":1}}"#)).unwrap();
        let text = super::reply(Style::new(false), "{}", &list);
        assert!(text.contains("  2026-01-31T12:00:00.000000Z\n"), "{text}");
        let now = crate::time::Timestamp::parse("2026-01-31T15:00:00Z").unwrap();
        let text = super::reply(Style::new(false).relative_to(now), "{}", &reply);
        assert!(text.contains(stored) && text.ends_with("at   3h ago\n"), "{text}");
    }

    #[test]
    fn a_reply_without_anything_else_says_that_it_is_done() {
        assert_eq!(shown("{}", r#"{"ok":true}"#), "done\n");
        assert_eq!(shown("{}", r#"{"ok":true,"seq":3,"created":true}"#), "seq      3\ncreated  true\n");
    }
}
