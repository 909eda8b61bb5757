//! Writing JSON: the fields of a reply or a record, straight into bytes.

use crate::json::write_string;
use crate::time::Timestamp;

/// Writes the fields of a JSON object one after the other, each with a comma before it.
pub struct Fields<'a>(pub &'a mut Vec<u8>);

impl Fields<'_> {
    fn key(&mut self, name: &str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// A string.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.key(name);
        write_string(self.0, value);
        self
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.key(name);
        write_number(self.0, value);
        self
    }

    /// A number, or null.
    pub fn number_or_null(&mut self, name: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(name, value),
            None => self.raw(name, b"null"),
        }
    }

    /// A value that is JSON already.
    pub fn raw(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.key(name);
        self.0.extend_from_slice(value);
        self
    }

    /// A list of values that have commas between them already.
    pub fn list(&mut self, name: &str, items: &[u8]) -> &mut Self {
        self.key(name);
        self.0.push(b'[');
        self.0.extend_from_slice(items);
        self.0.push(b']');
        self
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.raw(name, if value { b"true" } else { b"false" })
    }

    /// A time.
    pub fn time(&mut self, name: &str, value: Timestamp) -> &mut Self {
        self.key(name);
        self.0.push(b'"');
        value.write(self.0);
        self.0.push(b'"');
        self
    }
}

/// Appends a number in decimal.
pub fn write_number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    let mut rest = value;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}
