//! Lines to commands.

use std::collections::BTreeSet;

use super::arguments::Arguments;
use super::table::{self, Kind};
use crate::codec::hex;
use crate::domain::command::{
    Command, Filter, Follow, Idempotency, Local, Maintenance, Order, Page, Read, Reserve, Search, Write,
    WriteRequest,
};
use crate::domain::delivery::Standing;
use crate::domain::event::{JobState, TYPES};
use crate::domain::formulas_makeup::Makeup;
use crate::domain::messages::{Destination, Target};
use crate::domain::{text, words};
use crate::error::{Code, Error, Result, shown};
use crate::json::{self, Failure, Object};
use crate::limits::{BATCH_COMMANDS, MATERIAL_NAME_BYTES, PAGE_ITEMS_DEFAULT};

/// A line after parsing.
#[derive(Debug)]
pub struct Request {
    /// The `id` as it was sent.
    pub id: Option<String>,
    /// What is asked, or the refusal.
    pub command: Result<Command>,
}

const EXAMPLE: &str = "a request is a JSON object such as {\"cmd\":\"ping\"}";

/// Parses a line, without its line feed.
#[must_use]
pub fn parse(line: &[u8]) -> Request {
    match json::parse_line(line) {
        Ok(object) => Request { id: object.get("id").map(json::on_one_line), command: command(&object) },
        Err(Failure::Bad { offset, message }) => {
            // Whoever types something else than JSON sees what it looks like.
            let example = if offset == 0 { format!(": {EXAMPLE}") } else { String::new() };
            let message = format!("{message} at byte {offset}{example}");
            Request { id: None, command: Err(Error::new(Code::BadJson, message).at_offset(offset as u64)) }
        }
        Err(Failure::NotAnObject) => Request { id: None, command: Err(Error::bad_field("cmd", EXAMPLE)) },
    }
}

fn find(object: &Object<'_>) -> Result<&'static table::Command> {
    let Some(name) = object.get("cmd").and_then(json::as_string) else {
        return Err(Error::bad_field("cmd", "`cmd` must name a command: try {\"cmd\":\"help\"}"));
    };
    table::find(&name).ok_or_else(|| {
        let shown = shown(&name);
        let message = format!("there is no command {shown:?}: try {{\"cmd\":\"help\"}}");
        Error::new(Code::UnknownCommand, message).of_field("cmd")
    })
}

fn command(object: &Object<'_>) -> Result<Command> {
    let spec = find(object)?;
    let arguments = Arguments::check(object, spec, false)?;
    Ok(match spec.kind {
        Kind::Local => Command::Local(local(arguments)?),
        Kind::Read => Command::Read(read(arguments)?),
        Kind::Follow => follow(arguments)?,
        Kind::Maintenance => Command::Maintenance(maintenance(arguments)?),
        Kind::Write => Command::Write(write_request(arguments)?),
    })
}

fn local(arguments: Arguments<'_, '_>) -> Result<Local> {
    Ok(match arguments.command().name {
        "ping" => Local::Ping,
        "quit" => Local::Quit,
        "info" => Local::Info,
        "stats" => Local::Stats,
        "metrics" => Local::Metrics,
        "help" => Local::Help(arguments.text("on")),
        other => return Err(not_parsed(other)),
    })
}

fn not_parsed(name: &str) -> Error {
    Error::new(Code::Internal, format!("{name} is in the table and not in the parser"))
}

fn maintenance(arguments: Arguments<'_, '_>) -> Result<Maintenance> {
    match arguments.command().name {
        "log.verify" => Ok(Maintenance::Verify),
        "log.backup" => Ok(Maintenance::Backup { to: arguments.required_text("to") }),
        "log.compact" => Ok(Maintenance::Compact),
        other => Err(not_parsed(other)),
    }
}

fn write_request(arguments: Arguments<'_, '_>) -> Result<WriteRequest> {
    let write = write(arguments, false)?;
    let leasing = matches!(write, Write::QueueReserve(_) | Write::QueueExtend { .. });
    let idempotency = match arguments.text("idempotency_key") {
        None => None,
        Some(_) if holds_reserve(&write) => {
            let message = "a reserve takes no idempotency_key: its leases run out";
            return Err(Error::bad_field("idempotency_key", message));
        }
        Some(key) => {
            let own = ["id", "durable", "dry_run", "idempotency_key"];
            let content = json::content_hash(arguments.iter().filter(|(name, _)| !own.contains(name)));
            let content = hex(&content);
            Some(Idempotency { key, content })
        }
    };
    Ok(WriteRequest {
        write,
        durable: arguments.flag("durable").unwrap_or(!leasing),
        dry_run: arguments.flag("dry_run").unwrap_or(false),
        idempotency,
    })
}

fn holds_reserve(write: &Write) -> bool {
    match write {
        Write::QueueReserve(_) => true,
        Write::Batch { commands } => commands.iter().any(holds_reserve),
        _ => false,
    }
}

fn batch(arguments: Arguments<'_, '_>) -> Result<Write> {
    let mut elements = arguments.raw("commands").and_then(json::elements);
    // Of too many only their number is of interest.
    let members: Vec<&str> = elements.iter_mut().flatten().take(BATCH_COMMANDS).collect();
    let count = members.len() + elements.map_or(0, Iterator::count);
    if count == 0 || count > BATCH_COMMANDS {
        let message = format!("`commands` must hold 1 to {BATCH_COMMANDS} requests, not {count}");
        return Err(Error::bad_field("commands", message));
    }
    let mut commands = Vec::with_capacity(members.len());
    for (index, raw) in members.into_iter().enumerate() {
        match member(raw) {
            Ok(command) => commands.push(command),
            Err(error) if index == 0 => return Err(error.of_member(0)),
            // One before it may fail, and the first that does is named.
            Err(error) => {
                commands.push(Write::Refused(error));
                break;
            }
        }
    }
    Ok(Write::Batch { commands })
}

fn member(raw: &str) -> Result<Write> {
    let object = json::object(raw)
        .ok_or_else(|| Error::bad_field("commands", "a member of a batch is a JSON object with `cmd`"))?;
    let spec = find(&object)?;
    if spec.kind != Kind::Write || spec.name == "batch" {
        let message = format!("a batch takes writes only, and no batch: {} is none", spec.name);
        return Err(Error::bad_field("cmd", message));
    }
    write(Arguments::check(&object, spec, true)?, true)
}

fn destination(arguments: Arguments<'_, '_>) -> Result<Destination> {
    match (arguments.name("recipient"), arguments.text("app"), arguments.number("chat")) {
        (Some(recipient), None, None) => {
            if arguments.raw("originator").is_none() {
                return Err(Error::bad_field("originator", "a message to a recipient needs `originator`"));
            }
            Ok(Destination::Recipient(recipient))
        }
        (None, Some(app), Some(chat)) => Ok(Destination::Chat { app, chat }),
        (None, Some(_), None) => {
            Err(Error::bad_field("chat", "a message into a chat needs `app` and `chat`"))
        }
        (None, None, Some(_)) => Err(Error::bad_field("app", "a message into a chat needs `app` and `chat`")),
        (None, None, None) => {
            Err(Error::bad_field("recipient", "a message goes to a `recipient`, or to an `app` and `chat`"))
        }
        (Some(_), ..) => {
            Err(Error::bad_field("recipient", "a message goes to a `recipient` or into a chat, not to both"))
        }
    }
}

fn target(arguments: Arguments<'_, '_>) -> Result<Target> {
    let by_number = ["app", "chat", "number"];
    match arguments.number("seq") {
        Some(seq) => match by_number.into_iter().find(|name| arguments.raw(name).is_some()) {
            Some(name) => {
                Err(Error::bad_field(name, "a message is named by `seq`, or by `app`, `chat` and `number`"))
            }
            None => Ok(Target::Seq(seq)),
        },
        None => match by_number.into_iter().find(|name| arguments.raw(name).is_none()) {
            Some(name) if by_number.into_iter().any(|name| arguments.raw(name).is_some()) => {
                Err(Error::bad_field(name, "a message in a chat is named by `app`, `chat` and `number`"))
            }
            Some(_) => {
                Err(Error::bad_field("seq", "a message is named by `seq`, or by `app`, `chat` and `number`"))
            }
            None => Ok(Target::Number {
                app: arguments.required_text("app"),
                chat: arguments.required_number("chat"),
                number: arguments.required_number("number"),
            }),
        },
    }
}

fn write(arguments: Arguments<'_, '_>, member: bool) -> Result<Write> {
    let text = |name| arguments.required_text(name);
    let number = |name| arguments.required_number(name);
    let raw = |name| json::on_one_line(arguments.raw(name).unwrap_or("null"));
    Ok(match arguments.command().name {
        "batch" => batch(arguments)?,
        "kv.set" => {
            Write::KvSet { key: text("key"), value: raw("value"), if_seq: arguments.number("if_seq") }
        }
        "kv.delete" => Write::KvDelete { key: text("key"), if_seq: arguments.number("if_seq") },
        "message.post" => Write::MessagePost {
            destination: destination(arguments)?,
            originator: arguments.name("originator"),
            body: text("body"),
        },
        "message.edit" => Write::MessageEdit { target: target(arguments)?, body: text("body") },
        "message.delete" => Write::MessageDelete { target: target(arguments)? },
        "app.create" => Write::AppCreate { name: text("name") },
        "app.update" => Write::AppUpdate { token: text("token"), name: text("name") },
        "app.delete" => Write::AppDelete { token: text("token") },
        "chat.create" => Write::ChatCreate { app: text("app"), name: arguments.text("name") },
        "chat.update" => Write::ChatUpdate { app: text("app"), chat: number("chat"), name: text("name") },
        "chat.delete" => Write::ChatDelete { app: text("app"), chat: number("chat") },
        "formula.submit" => {
            let materials = raw("materials");
            let name = text("name");
            if !(1..=MATERIAL_NAME_BYTES).contains(&name.trim().len()) {
                let message =
                    format!("`name` must have 1 to {MATERIAL_NAME_BYTES} bytes less outer white space");
                return Err(Error::bad_field("name", message));
            }
            let makeup =
                Makeup::parse(&materials).map_err(|error| Error::bad_field("materials", error.message))?;
            Write::FormulaSubmit { formula: makeup.id(), name, materials: json::compact(&materials) }
        }
        _ => queue_write(arguments, member)?,
    })
}

fn queue_write(arguments: Arguments<'_, '_>, member: bool) -> Result<Write> {
    let text = |name| arguments.required_text(name);
    let number = |name| arguments.required_number(name);
    let state = || arguments.text("state").and_then(|name| JobState::parse(&name));
    Ok(match arguments.command().name {
        "queue.put" => Write::QueuePut {
            queue: text("queue"),
            body: json::on_one_line(arguments.raw("body").unwrap_or("null")),
            delay_ms: number("delay_ms"),
            priority: u8::try_from(number("priority")).unwrap_or(0),
        },
        "queue.reserve" if member && arguments.raw("wait_ms").is_some() => {
            return Err(Error::bad_field("wait_ms", "a reserve inside a batch does not wait"));
        }
        "queue.reserve" => Write::QueueReserve(Reserve {
            queue: text("queue"),
            lease_ms: arguments.number("lease_ms"),
            max: arguments.number("max").unwrap_or(1),
            wait_ms: number("wait_ms"),
        }),
        "queue.ack" => Write::QueueAck { job: number("job"), lease: text("lease") },
        "queue.extend" => {
            Write::QueueExtend { job: number("job"), lease: text("lease"), lease_ms: number("lease_ms") }
        }
        "queue.nack" => {
            Write::QueueNack { job: number("job"), lease: text("lease"), delay_ms: number("delay_ms") }
        }
        "queue.configure" => Write::QueueConfigure {
            queue: text("queue"),
            lease_ms: arguments.number("lease_ms"),
            max_attempts: arguments.number_or_null("max_attempts"),
            max_jobs: arguments.number_or_null("max_jobs"),
        },
        "queue.revive" => Write::QueueRevive { queue: text("queue"), job: arguments.number("job") },
        "queue.delete" => Write::QueueDelete { job: number("job") },
        "queue.purge" => Write::QueuePurge { queue: text("queue"), state: state() },
        "queue.drop" => Write::QueueDrop { queue: text("queue") },
        other => return Err(not_parsed(other)),
    })
}

fn read(arguments: Arguments<'_, '_>) -> Result<Read> {
    let text = |name| arguments.required_text(name);
    let number = |name| arguments.required_number(name);
    let limit = arguments.number("limit").unwrap_or(PAGE_ITEMS_DEFAULT);
    let by_text = || Page { after: arguments.text("after"), limit };
    let by_number = || Page { after: arguments.number("after"), limit };
    Ok(match arguments.command().name {
        "kv.get" => Read::KvGet { key: text("key") },
        "kv.list" => Read::KvList { prefix: text("prefix"), page: by_text() },
        "message.get" => Read::MessageGet { target: target(arguments)? },
        "message.list" => Read::MessageList { app: text("app"), chat: number("chat"), page: by_number() },
        "message.search" => Read::MessageSearch(Box::new(search(arguments, limit)?)),
        "app.get" => Read::AppGet { token: text("token") },
        "app.list" => Read::AppList { page: by_text() },
        "chat.get" => Read::ChatGet { app: text("app"), chat: number("chat") },
        "chat.list" => Read::ChatList { app: text("app"), page: by_number() },
        "formula.get" => Read::FormulaGet { formula: text("formula") },
        "formula.list" => Read::FormulaList { page: by_text() },
        "queue.get" => Read::QueueGet { queue: text("queue") },
        "queue.list" => Read::QueueList { page: by_text() },
        "queue.peek" => {
            let state = arguments.text("state").and_then(|name| JobState::parse(&name));
            let state = state.unwrap_or(JobState::Ready);
            Read::QueuePeek {
                queue: text("queue"),
                state,
                page: Page { after: standing(arguments, state)?, limit },
            }
        }
        "log.read" => {
            Read::LogRead { from: arguments.number("from").unwrap_or(1), limit, types: types(arguments)? }
        }
        other => return Err(not_parsed(other)),
    })
}

/// Where a page of jobs begins.
fn standing(arguments: Arguments<'_, '_>, state: JobState) -> Result<Option<Standing>> {
    let Some(after) = arguments.text("after") else { return Ok(None) };
    let standing = Standing::parse(&after, state).ok_or_else(|| {
        let message = format!("`after` is no `next` of queue.peek in this state: \"{}\"", shown(&after));
        Error::new(Code::BadRequest, message).of_field("after")
    });
    standing.map(Some)
}

fn types(arguments: Arguments<'_, '_>) -> Result<Option<Vec<String>>> {
    let Some(names) = arguments.texts("types") else { return Ok(None) };
    let mut types = BTreeSet::new();
    for name in names {
        let Some(known) = TYPES.iter().find(|known| **known == name) else {
            let shown = shown(&name);
            let message = format!("there is no event type {shown:?}; there are: {}", TYPES.join(", "));
            return Err(Error::bad_field("types", message));
        };
        types.insert(*known);
    }
    Ok(Some(types.into_iter().map(str::to_owned).collect()))
}

fn filter(arguments: Arguments<'_, '_>) -> Result<Filter> {
    if arguments.raw("chat").is_some() && arguments.raw("app").is_none() {
        return Err(Error::bad_field("app", "a `chat` is named with its `app`"));
    }
    let text = match arguments.text("text") {
        None => None,
        Some(text) => Some(text::parse(&text).map_err(|error| {
            let offset = error.offset as u64;
            Error::bad_field("text", format!("{} (at byte {offset} of `text`)", error.message))
                .at_offset(offset)
        })?),
    };
    Ok(Filter {
        originator: arguments.name("originator"),
        recipient: arguments.name("recipient"),
        app: arguments.text("app"),
        chat: arguments.number("chat"),
        text,
        substring: arguments.text("substring").map(|piece| words::lower(&piece)),
        since: arguments.time("since"),
        until: arguments.time("until"),
    })
}

fn search(arguments: Arguments<'_, '_>, limit: u64) -> Result<Search> {
    Ok(Search {
        filter: filter(arguments)?,
        order: if arguments.text("order").as_deref() == Some("oldest") {
            Order::Oldest
        } else {
            Order::Newest
        },
        limit,
        before: arguments.number("before"),
        after: arguments.number("after"),
        count: arguments.flag("count").unwrap_or(false),
    })
}

fn follow(arguments: Arguments<'_, '_>) -> Result<Command> {
    let from = arguments.number("from");
    let follow = match arguments.command().name {
        "log.follow" => Follow::Log { types: types(arguments)? },
        "message.follow" => Follow::Messages(Box::new(filter(arguments)?)),
        other => return Err(not_parsed(other)),
    };
    Ok(Command::Follow(follow, from))
}
