//! Replies: `ok` first, then the `id`, then the rest.

use super::table::{Argument, COMMANDS, COMMON, Command, find};
use crate::error::{Code, Error, Result, shown};
use crate::json::fields::Fields;
use crate::json::write_string;

/// Appends the line of a success. `fields` has a comma before each field.
pub fn write_ok(out: &mut Vec<u8>, id: Option<&str>, fields: &[u8]) {
    out.extend_from_slice(b"{\"ok\":true");
    write_id(out, id);
    out.extend_from_slice(fields);
    out.extend_from_slice(b"}\n");
}

/// Appends the line of a failure.
pub fn write_error(out: &mut Vec<u8>, id: Option<&str>, error: &Error) {
    out.extend_from_slice(b"{\"ok\":false");
    write_id(out, id);
    let mut fields = Fields(out);
    fields.text("error", error.code().as_str()).text("message", error.message());
    if let Some(field) = error.field() {
        fields.text("field", field);
    }
    if let Some(file) = error.file() {
        fields.text("file", file);
    }
    if let Some(offset) = error.offset() {
        fields.number("offset", offset);
    }
    if let Some(index) = error.index() {
        fields.number("index", index as u64);
    }
    out.extend_from_slice(b"}\n");
}

fn write_id(out: &mut Vec<u8>, id: Option<&str>) {
    if let Some(id) = id {
        Fields(out).raw("id", id.as_bytes());
    }
}

/// The fields of a reply to `help`.
///
/// # Errors
/// `not_found` when there is no such command.
pub fn help(on: Option<&str>) -> Result<Vec<u8>> {
    let one = match on {
        None => None,
        Some(name) => Some(find(name).ok_or_else(|| {
            let shown = shown(name);
            Error::new(Code::NotFound, format!("there is no command {shown:?}")).of_field("on")
        })?),
    };
    let mut list = Vec::new();
    for command in COMMANDS.iter().filter(|command| one.is_none_or(|one| one.name == command.name)) {
        if !list.is_empty() {
            list.push(b',');
        }
        write_command(&mut list, command);
    }
    let mut fields = Vec::new();
    Fields(&mut fields).list("commands", &list);
    Ok(fields)
}

fn write_command(out: &mut Vec<u8>, command: &Command) {
    out.extend_from_slice(b"{\"cmd\":");
    write_string(out, command.name);
    let mut arguments = Vec::new();
    for argument in command.arguments.iter().chain(COMMON.iter().skip(1)).chain(command.common_write()) {
        if !arguments.is_empty() {
            arguments.push(b',');
        }
        write_argument(&mut arguments, argument);
    }
    Fields(out).list("args", &arguments).text("doc", command.doc);
    out.push(b'}');
}

fn write_argument(out: &mut Vec<u8>, argument: &Argument) {
    out.extend_from_slice(b"{\"name\":");
    write_string(out, argument.name);
    Fields(out)
        .flag("required", argument.required)
        .text("type", &argument.kind.describe())
        .text("doc", argument.doc);
    out.push(b'}');
}
