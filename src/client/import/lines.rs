//! Lines of a file made into requests.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Options;
use super::left_out::LeftOut;
use crate::client::request::{RequestLine, nameable, string};
use crate::json::{self, Failure, Object};
use crate::protocol::table::{self, Command, Kind};

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Converted {
    /// There is nothing on it.
    Blank,
    /// A request, on one line.
    Request(String),
    /// A request that makes the application of this token anew: until its new token is known, the
    /// lines behind it cannot be converted.
    App(String, String),
    /// It cannot be sent, for this reason.
    Bad(String),
}

/// Makes requests from lines.
pub struct Converter {
    command: &'static Command,
    defaults: Vec<(&'static str, String)>,
    /// Part of the idempotency keys, where there are any.
    name: Option<String>,
    left_out: LeftOut,
    /// The applications that were made anew: the new token by the old one.
    renamed: HashMap<String, String>,
}

impl Converter {
    /// As the options say.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let defaults = options.defaults.iter().map(|(argument, value)| (argument.name, value.clone()));
        Converter {
            command: options.command,
            defaults: defaults.collect(),
            name: options.resume.as_ref().map(|resume| resume.name.clone()),
            left_out: LeftOut::default(),
            renamed: HashMap::new(),
        }
    }

    /// From now on the application of the first token is meant to be that of the second one.
    pub fn rename_app(&mut self, old: &str, new: &str) {
        self.renamed.insert(old.to_owned(), new.to_owned());
    }

    /// The keys that were left out of all lines so far.
    #[must_use]
    pub fn into_left_out(self) -> LeftOut {
        self.left_out
    }

    /// Converts the line of this number.
    pub fn convert(&mut self, line: &[u8], number: u64) -> Converted {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Converted::Blank;
        }
        let object = match json::parse_line(line) {
            Ok(object) => object,
            Err(Failure::NotAnObject) => return Converted::Bad("bad_json: it is no object".into()),
            Err(Failure::Bad { offset, message }) => {
                return Converted::Bad(format!("bad_json: {message} (at byte {offset})"));
            }
        };
        match object.get("cmd") {
            Some(name) => self.whole(line, &object, name, number),
            None => Converted::Request(self.plain(&object, number)),
        }
    }

    /// A line that is a request already.
    fn whole(&self, line: &[u8], object: &Object<'_>, name: &str, number: u64) -> Converted {
        let command = name_of(object).and_then(|name| table::find(&name));
        // What ends or changes the connection has no place among lines that are counted.
        if command.is_some_and(|command| command.kind == Kind::Follow || command.name == "quit") {
            return Converted::Bad(format!("bad_request: {name} cannot be imported"));
        }
        let text = self.with_new_tokens(String::from_utf8_lossy(line).into_owned());
        let Some(command) = command else { return Converted::Request(text) };
        let mut request = RequestLine::reopened(text);
        self.complete(&mut request, command, object, number);
        match app_of(command, object) {
            Some(token) => Converted::App(request.finish(), token),
            None => Converted::Request(request.finish()),
        }
    }

    /// Adds what the options say for a line that has none of it, and the key.
    fn complete(
        &self,
        request: &mut RequestLine,
        command: &'static Command,
        object: &Object<'_>,
        number: u64,
    ) {
        for (key, value) in &self.defaults {
            // The arguments of one command may mean something else to another one; those of writes do not.
            let meant = command.name == self.command.name
                || command.common_write().any(|argument| argument.name == *key);
            // A message goes to a recipient or into a chat; a line that says one needs no other.
            let elsewhere = match *key {
                "recipient" => object.get("app").is_some(),
                "app" | "chat" => object.get("recipient").is_some(),
                _ => false,
            };
            if meant && !elsewhere && object.get(key).is_none() {
                request.raw(key, value);
            }
        }
        if takes_key(command, object)
            && let Some(key) = self.key(number)
        {
            request.text("idempotency_key", &key);
        }
    }

    /// A request with new tokens for old ones: in its field `app`, or in those of a batch's commands. All
    /// else stays byte for byte; what clients store may well look like such a field.
    fn with_new_tokens(&self, request: String) -> String {
        if self.renamed.is_empty() {
            return request;
        }
        let Some(object) = json::object(&request) else { return request };
        let mut changed = String::with_capacity(request.len());
        let mut copied = 0;
        let members = name_of(&object).map_or(Vec::new(), |name| members(&name, &object));
        for old in members.iter().chain([&object]).filter_map(address) {
            let Some(new) = json::as_string(old).and_then(|old| self.renamed.get(old.as_ref())) else {
                continue;
            };
            // A value is given as the piece of the line that it is, so its place is known.
            let start = old.as_ptr().addr() - request.as_ptr().addr();
            changed += &request[copied..start];
            changed += &string(new);
            copied = start + old.len();
        }
        changed + &request[copied..]
    }

    /// A line that holds the arguments of the command.
    fn plain(&mut self, object: &Object<'_>, number: u64) -> String {
        let mut request = RequestLine::new(self.command.name);
        for (key, value) in object.iter() {
            if key != "id" && nameable(self.command).any(|argument| argument.name == key) {
                request.raw(key, value);
            } else {
                self.left_out.note(key);
            }
        }
        self.complete(&mut request, self.command, object, number);
        self.with_new_tokens(request.finish())
    }

    fn key(&self, number: u64) -> Option<String> {
        Some(format!("import:{}:{number}", self.name.as_ref()?))
    }
}

/// The old token of an application that an export makes anew: it stands in the `id`.
fn app_of(command: &Command, object: &Object<'_>) -> Option<String> {
    let id = object.get("id").filter(|_| command.name == "app.create")?;
    let id = json::object(id)?;
    json::as_string(id.get("app")?).map(String::from)
}

/// Whether a key can be given to a request: to every write but those that lease jobs, and not
/// where there is one.
fn takes_key(command: &Command, object: &Object<'_>) -> bool {
    let leases = |object: &Object<'_>| name_of(object).is_some_and(|name| name == "queue.reserve");
    let leases = command.name == "queue.reserve" || members(command.name, object).iter().any(leases);
    command.kind == Kind::Write && !leases && object.get("idempotency_key").is_none()
}

/// The commands in a batch; none in any other request. A line may leave out what the command is.
fn members<'a>(command: &str, object: &Object<'a>) -> Vec<Object<'a>> {
    let list = object.get("commands").filter(|_| command == "batch");
    list.and_then(json::array).unwrap_or_default().into_iter().filter_map(json::object).collect()
}

/// The token of the application that a request is for, as it stands in it.
fn address<'a>(object: &Object<'a>) -> Option<&'a str> {
    let name = name_of(object)?;
    object.get("app").filter(|_| name.starts_with("message.") || name.starts_with("chat."))
}

fn name_of<'a>(object: &Object<'a>) -> Option<Cow<'a, str>> {
    json::as_string(object.get("cmd")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converter(name: &str, defaults: &[(&'static str, &str)], resume: Option<&str>) -> Converter {
        let defaults = defaults.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let command = table::find(name).unwrap();
        Converter {
            command,
            defaults,
            name: resume.map(str::to_owned),
            left_out: LeftOut::default(),
            renamed: HashMap::new(),
        }
    }

    fn request(converter: &mut Converter, line: &str) -> String {
        match converter.convert(line.as_bytes(), 7) {
            Converted::Request(request) => request,
            other => panic!("{line} gave {other:?}"),
        }
    }

    #[test]
    fn messages_lose_what_the_command_does_not_take() {
        let mut lines = converter("message.post", &[("recipient", "\"box\"")], None);
        let first = r#"{"originator":"anna", "recipient": 6935397282,"body":"a\nb","at":"2019"}"#;
        let expected = r#"{"cmd":"message.post","originator":"anna","recipient":6935397282,"body":"a\nb"}"#;
        assert_eq!(request(&mut lines, first), expected);
        let second = r#"{"body":"x","at":"2020","label":"ham"}"#;
        assert_eq!(request(&mut lines, second), r#"{"cmd":"message.post","body":"x","recipient":"box"}"#);
        let chat = r#"{"app":"T","chat":3,"body":"x"}"#;
        assert_eq!(request(&mut lines, chat), r#"{"cmd":"message.post","app":"T","chat":3,"body":"x"}"#);
        assert_eq!(lines.into_left_out().to_string(), "`at` (2), `label` (1)");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let mut lines = converter("formula.submit", &[], None);
        let line = r#"{"name":"A","materials":[{"name":"x","concentration":2.50}],"source":"s"}"#;
        let expected =
            r#"{"cmd":"formula.submit","name":"A","materials":[{"name":"x","concentration":2.50}]}"#;
        assert_eq!(request(&mut lines, line), expected);
    }

    #[test]
    fn resumable_writes_carry_the_number_of_their_line() {
        let mut lines = converter("message.post", &[], Some("inbox"));
        assert!(request(&mut lines, r#"{"body":"x"}"#).ends_with(r#","idempotency_key":"import:inbox:7"}"#));
        let own = r#"{"body":"x","idempotency_key":"mine"}"#;
        assert!(request(&mut lines, own).ends_with(r#""idempotency_key":"mine"}"#));
        let whole = r#"{"cmd":"kv.set","key":"a","value":{}}  "#;
        assert!(request(&mut lines, whole).ends_with(r#""value":{},"idempotency_key":"import:inbox:7"}"#));
        let batch = r#"{"cmd":"batch","commands":[{"cmd":"kv.set","key":"a","value":"queue.reserve"}]}"#;
        assert!(request(&mut lines, batch).ends_with(r#"],"idempotency_key":"import:inbox:7"}"#));
        for keyless in [
            r#"{"cmd":"kv.get","key":"a"}"#,
            r#"{"cmd":"queue.reserve","queue":"q"}"#,
            r#"{"cmd":"batch","commands":[{"cmd":"queue.reserve","queue":"q"}]}"#,
            r#"{"cmd":"unheard.of"}"#,
        ] {
            assert_eq!(request(&mut lines, keyless), keyless);
        }
        let mut batches = converter("batch", &[], Some("inbox"));
        let reserving = r#"{"commands":[{"cmd":"queue.reserve","queue":"q"}]}"#;
        assert_eq!(request(&mut batches, reserving), reserving.replacen('{', r#"{"cmd":"batch","#, 1));
        let writing = r#"{"commands":[{"cmd":"kv.delete","key":"a"}]}"#;
        assert!(request(&mut batches, writing).ends_with(r#"],"idempotency_key":"import:inbox:7"}"#));
    }

    #[test]
    fn requests_get_what_is_said_for_all_lines_and_for_those_of_their_command() {
        let defaults = [("originator", "\"importer\""), ("recipient", "\"box\""), ("durable", "false")];
        let mut lines = converter("message.post", &defaults, None);
        for (line, added) in [
            (
                r#"{"cmd":"message.post","body":"x"}"#,
                r#","originator":"importer","recipient":"box","durable":false"#,
            ),
            (
                r#"{"cmd":"message.post","app":"T","chat":1,"body":"x","originator":"a"}"#,
                r#","durable":false"#,
            ),
            (r#"{"cmd":"kv.set","key":"a","value":1} "#, r#","durable":false"#),
            (r#"{"cmd":"batch","commands":[]}"#, r#","durable":false"#),
            (r#"{"cmd":"kv.delete","key":"a","durable":true}"#, ""),
            (r#"{"cmd":"message.search"}"#, ""),
            (r#"{"cmd":"unheard.of"}"#, ""),
        ] {
            let whole = line.trim_end().strip_suffix('}').unwrap();
            assert_eq!(request(&mut lines, line), format!("{whole}{added}}}"));
        }
    }

    #[test]
    fn apps_made_anew_take_the_place_of_the_old_ones_in_what_follows() {
        let mut lines = converter("message.post", &[], None);
        let create = r#"{"cmd":"app.create","name":"A","id":{"app":"OLD"}}"#;
        assert_eq!(lines.convert(create.as_bytes(), 1), Converted::App(create.into(), "OLD".into()));
        lines.rename_app("OLD", "NEW");
        let post = r#"{"cmd":"message.post","app":"OLD","chat":1,"body":"\"app\":\"OLD\""}"#;
        assert_eq!(request(&mut lines, post), post.replacen("OLD", "NEW", 1));
        let set = r#"{"cmd":"kv.set","key":"k","value":{"app":"OLD"}}"#;
        assert_eq!(request(&mut lines, set), set);
        let spaced = "{ \"cmd\" : \"chat.create\" , \"app\" :\t\"\\u004fLD\" , \"name\": \"OLD\" }";
        assert_eq!(request(&mut lines, spaced), spaced.replace("\"\\u004fLD\"", "\"NEW\""));
        let batch =
            format!(r#"{{"cmd":"batch","commands":[{set}, {post},{{"app" :"OLD","cmd":"chat.create"}}]}}"#);
        let expected = format!(
            r#"{{"cmd":"batch","commands":[{set}, {},{{"app" :"NEW","cmd":"chat.create"}}]}}"#,
            post.replacen("OLD", "NEW", 1)
        );
        assert_eq!(request(&mut lines, &batch), expected);
        // Lines of arguments are for the same applications.
        let plain = r#"{"app":"OLD","chat":1,"body":"\"app\":\"OLD\""}"#;
        assert_eq!(request(&mut lines, plain), post.replacen("OLD", "NEW", 1));
        let mut batches = converter("batch", &[], None);
        batches.rename_app("OLD", "NEW");
        let plain = batch.replacen(r#""cmd":"batch","#, "", 1);
        assert_eq!(request(&mut batches, &plain), expected);
    }

    #[test]
    fn lines_that_cannot_be_sent_say_why() {
        let mut lines = converter("message.post", &[], None);
        assert_eq!(lines.convert(b" \r\n", 1), Converted::Blank);
        for (line, reason) in [
            ("{\"a\":", "bad_json"),
            ("[1]", "no object"),
            (r#"{"cmd":"log.follow"}"#, "cannot be imported"),
            (r#"{"cmd":"quit"}"#, "cannot be imported"),
        ] {
            let Converted::Bad(problem) = lines.convert(line.as_bytes(), 1) else { panic!("{line}") };
            assert!(problem.contains(reason), "{problem}");
        }
    }
}
