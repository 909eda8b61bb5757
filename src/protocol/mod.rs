//! The protocol: one JSON object a line, both ways. `protocol.md` documents it for users.
//!
//! - `table` lists every command with its arguments, in the terms of `description`.
//! - `arguments` checks a request against the table; `request` makes it a typed command.
//! - `reply` writes replies.

pub mod arguments;
pub mod description;
pub mod reply;
pub mod request;
pub mod table;
