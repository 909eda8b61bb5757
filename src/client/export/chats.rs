//! Applications, chats and messages, made anew under their numbers.
//!
//! Numbers are given in order, so where one is missing (its chat or message was deleted) something
//! is made and deleted again in its place. What number comes next is what a dry run would get.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::Export;
use crate::client::failure::{Failure, Result, say};
use crate::client::pages::Pages;
use crate::client::record::Record;
use crate::client::reply::Reply;
use crate::client::request::{RequestLine, string};
use crate::client::style::visible;

/// Chats whose next numbers are asked for at once.
const CHATS_AHEAD: usize = 100;

/// The numbers that messages of each chat have still to get, by application and chat.
#[derive(Debug, Default)]
pub struct Numbers(BTreeMap<(String, u64), Range<u64>>);

/// All applications with their chats, empty. The `id` tells `import` which token is meant.
pub fn all(export: &mut Export<'_>, numbers: &mut Numbers) -> Result<()> {
    let mut apps = Pages::of(&RequestLine::new("app.list"), "apps").beginning_anew();
    let mut seen = HashSet::new();
    while let Some(page) = apps.next(&mut export.connection)? {
        for app in page.items() {
            let app = Record::of(app);
            let token = app.get("token");
            if !seen.insert(token.to_owned()) {
                continue;
            }
            let mut create = RequestLine::new("app.create");
            create.raw("name", app.get("name")).raw("id", &format!("{{\"app\":{token}}}"));
            export.request(&create)?;
            chats(export, numbers, token)?;
        }
    }
    Ok(())
}

/// All chats of an application.
fn chats(export: &mut Export<'_>, numbers: &mut Numbers, token: &str) -> Result<()> {
    let mut next = 1;
    let mut pages = Pages::of(RequestLine::new("chat.list").raw("app", token), "chats").passing();
    while let Some(page) = pages.next(&mut export.connection)? {
        for some in page.items().chunks(CHATS_AHEAD) {
            let mut chats = Vec::new();
            for chat in some.iter().map(|chat| Record::of(chat)) {
                let number = chat.number("number").unwrap_or(next);
                missing_chats(export, token, next..number)?;
                next = number + 1;
                let mut create = RequestLine::new("chat.create");
                create.raw("app", token);
                if let Some(name) = chat.find("name") {
                    create.raw("name", name);
                }
                export.request(&create)?;
                chats.push(number);
            }
            let posts = chats.iter().map(|chat| {
                let mut post = RequestLine::new("message.post");
                post.raw("app", token).number("chat", *chat).text("body", "").raw("dry_run", "true").finish()
            });
            for (chat, end) in chats.iter().zip(next_numbers(export, posts.collect())?) {
                numbers.0.insert((token.to_owned(), *chat), 1..end);
            }
        }
    }
    let create = RequestLine::new("chat.create").raw("app", token).raw("dry_run", "true").finish();
    let end = next_numbers(export, vec![create])?.into_iter().next().unwrap_or(0);
    missing_chats(export, token, next..end)
}

/// The numbers that these dry runs would get; 0 where that is not to be known.
fn next_numbers(export: &mut Export<'_>, dry_runs: Vec<String>) -> Result<Vec<u64>> {
    let replies = export.replies(&dry_runs).map_err(|error| Failure::lost(&error))?;
    let refusals = replies.iter().filter_map(Reply::refusal);
    // A chat that was deleted meanwhile needs no number.
    if let Some(refusal) = refusals.into_iter().find(|refusal| refusal.code != "not_found")
        && !std::mem::replace(&mut export.without_numbers, true)
    {
        let refusal = visible(&refusal.to_string());
        export.progress.suspend(|| {
            say(&format!(
                "numbers of chats and messages that were deleted behind the last ones are given again in a copy, \
                 as the daemon does not tell them: {refusal}"
            ));
        });
    }
    Ok(replies.iter().map(|reply| reply.number("number").unwrap_or(0)).collect())
}

fn missing_chats(export: &mut Export<'_>, token: &str, numbers: Range<u64>) -> Result<()> {
    for number in numbers {
        let create = RequestLine::new("chat.create").raw("app", token).finish();
        let delete = RequestLine::new("chat.delete").raw("app", token).number("chat", number).finish();
        export.request(RequestLine::new("batch").raw("commands", &format!("[{create},{delete}]")))?;
    }
    Ok(())
}

fn missing_messages(export: &mut Export<'_>, app: &str, chat: u64, numbers: Range<u64>) -> Result<()> {
    for number in numbers {
        let [mut post, mut delete] = ["message.post", "message.delete"].map(RequestLine::new);
        let post = post.raw("app", app).number("chat", chat).raw("body", &string("")).finish();
        let delete = delete.raw("app", app).number("chat", chat).number("number", number).finish();
        export.request(RequestLine::new("batch").raw("commands", &format!("[{post},{delete}]")))?;
    }
    Ok(())
}

/// One message. Those of chats that came after [`all`] are left out.
pub fn message(export: &mut Export<'_>, numbers: &mut Numbers, message: &str) -> Result<()> {
    let message = Record::of(message);
    let mut post = RequestLine::new("message.post");
    if let Some(recipient) = message.find("recipient") {
        post.raw("recipient", recipient);
    } else {
        let app = message.get("app");
        let [chat, number] = ["chat", "number"].map(|name| message.number(name).unwrap_or(0));
        let Some(left) = numbers.0.get_mut(&(app.to_owned(), chat)) else { return Ok(()) };
        let missing = std::mem::replace(&mut left.start, number + 1)..number;
        missing_messages(export, app, chat, missing)?;
        post.raw("app", app).number("chat", chat);
    }
    if let Some(originator) = message.find("originator") {
        post.raw("originator", originator);
    }
    export.request(post.raw("body", message.find("body").unwrap_or("\"\"")))
}

/// What stands for the messages that were deleted behind the last one of each chat.
pub fn deleted_last(export: &mut Export<'_>, numbers: Numbers) -> Result<()> {
    numbers.0.into_iter().try_for_each(|((app, chat), left)| missing_messages(export, &app, chat, left))
}
