//! JSON as it was written. A number becomes the string of its digits with a `#` before it, so that
//! `1.50` and `1.5` stay two things and no digit is lost.

use serde_json::Value;

/// The value of a JSON text, its numbers as `"#digits"`.
pub fn exact(text: &str) -> Value {
    let mut marked = String::with_capacity(text.len() + 16);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        marked.push(character);
        if character == '"' {
            while let Some(inside) = characters.next() {
                marked.push(inside);
                match inside {
                    '\\' => marked.extend(characters.next()),
                    '"' => break,
                    _ => {}
                }
            }
        } else if character == '-' || character.is_ascii_digit() {
            marked.pop();
            marked.push_str("\"#");
            marked.push(character);
            while let Some(digit) = characters.next_if(|next| "+-.eE0123456789".contains(*next)) {
                marked.push(digit);
            }
            marked.push('"');
        }
    }
    serde_json::from_str(&marked).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The same value with its numbers marked, however it was made.
pub fn marked(value: &Value) -> Value {
    exact(&value.to_string())
}

/// The string under `key`; an integer stands for its decimal string.
pub fn text(request: &Value, key: &str) -> Option<String> {
    request[key].as_str().map(|text| text.strip_prefix('#').unwrap_or(text).to_owned())
}

/// The string that must be under `key`.
pub fn must(request: &Value, key: &str) -> String {
    text(request, key).unwrap_or_else(|| panic!("no string {key:?} in {request}"))
}

/// The whole number under `key`, marked or not.
pub fn number(request: &Value, key: &str) -> Option<u64> {
    let value = &request[key];
    value.as_u64().or_else(|| value.as_str()?.strip_prefix('#')?.parse().ok())
}

/// The whole number that must be under `key`.
pub fn must_number(request: &Value, key: &str) -> u64 {
    number(request, key).unwrap_or_else(|| panic!("no number {key:?} in {request}"))
}

/// The line that says a request: marked numbers are numbers again.
pub fn line(request: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(",");
    match request {
        Value::String(text) if text.starts_with('#') => text[1..].to_owned(),
        Value::Array(values) => format!("[{}]", joined(values.iter().map(line).collect())),
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| format!("{}:{}", Value::from(name.as_str()), line(value));
            format!("{{{}}}", joined(fields.iter().map(field).collect()))
        }
        other => other.to_string(),
    }
}
