//! Applications, chats and messages, made anew under their numbers.
//!
//! Numbers are given in order, so where one is missing (its chat or message was deleted) something
//! is made and deleted again in its place.

use std::collections::HashMap;

use super::Export;
use super::pages::each;
use crate::client::failure::Result;
use crate::client::request::{RequestLine, string};
use crate::json;

/// The number that the next message of each chat will get, by application and chat.
#[derive(Debug, Default)]
pub struct Numbers(HashMap<(String, u64), u64>);

/// All applications with their chats, empty. The `id` tells `import` which token is meant.
pub fn all(export: &mut Export<'_>, numbers: &mut Numbers) -> Result<()> {
    each(export, &RequestLine::new("app.list"), "apps", &mut |export, app| {
        let fields = json::object(app);
        let get = |name| fields.as_ref().and_then(|fields| fields.get(name)).unwrap_or_default();
        let token = get("token");
        let mut create = RequestLine::new("app.create");
        export.request(create.raw("name", get("name")).raw("id", &format!("{{\"app\":{token}}}")))?;
        let mut next = 1;
        let mut list = RequestLine::new("chat.list");
        each(export, list.raw("app", token), "chats", &mut |export, chat| {
            let fields = json::object(chat);
            let get = |name| fields.as_ref().and_then(|fields| fields.get(name));
            let number = get("number").and_then(json::as_u64).unwrap_or(next);
            for gap in next..number {
                let create = RequestLine::new("chat.create").raw("app", token).finish();
                let delete = RequestLine::new("chat.delete").raw("app", token).number("chat", gap).finish();
                export.request(RequestLine::new("batch").raw("commands", &format!("[{create},{delete}]")))?;
            }
            next = number + 1;
            numbers.0.insert((token.to_owned(), number), 1);
            let mut create = RequestLine::new("chat.create");
            create.raw("app", token);
            if let Some(name) = get("name") {
                create.raw("name", name);
            }
            export.request(&create)
        })
    })
}

/// One message. Those of chats that came after [`all`] are left out.
pub fn message(export: &mut Export<'_>, numbers: &mut Numbers, message: &str) -> Result<()> {
    let fields = json::object(message);
    let get = |name| fields.as_ref().and_then(|fields| fields.get(name));
    let mut post = RequestLine::new("message.post");
    if let Some(recipient) = get("recipient") {
        post.raw("recipient", recipient);
    } else {
        let app = get("app").unwrap_or_default();
        let number = |name| get(name).and_then(json::as_u64).unwrap_or(0);
        let Some(next) = numbers.0.get_mut(&(app.to_owned(), number("chat"))) else { return Ok(()) };
        let gaps = std::mem::replace(next, number("number") + 1)..number("number");
        for gap in gaps {
            let place = |request: &mut RequestLine| {
                request.raw("app", app).number("chat", number("chat"));
            };
            let (mut post, mut delete) =
                (RequestLine::new("message.post"), RequestLine::new("message.delete"));
            place(&mut post);
            place(&mut delete);
            let (post, delete) =
                (post.raw("body", &string("")).finish(), delete.number("number", gap).finish());
            export.request(RequestLine::new("batch").raw("commands", &format!("[{post},{delete}]")))?;
        }
        post.raw("app", app).number("chat", number("chat"));
    }
    if let Some(originator) = get("originator") {
        post.raw("originator", originator);
    }
    export.request(post.raw("body", get("body").unwrap_or("\"\"")))
}
