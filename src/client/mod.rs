//! The client `msglog`, for people and their scripts.
//!
//! | module | what is there |
//! | --- | --- |
//! | [`command_line`] | which command is meant, and the options that all commands have |
//! | [`request`] | a request made from the table of commands |
//! | [`own`] | the commands that the table does not know |
//! | [`help`], [`suggest`] | help texts made from the same tables, and what a mistyped word meant |
//! | [`assets`] | man pages and completions, made from the same tables |
//! | [`connection`], [`reply`] | finding the daemon, speaking lines with it, what it answers |
//! | [`call`], [`follow`] | single requests, many requests, and streams of events |
//! | [`ahead`] | lines of the input, sent ahead of their replies |
//! | [`import`], [`export`] | a whole file, sent ahead and resumable; what is stored, as such a file |
//! | [`pages`], [`record`] | lists of the daemon, page after page; one object of them |
//! | [`work`], [`queue_metrics`] | a command run for every job of a queue; what each queue holds |
//! | [`top`], [`mod@bench`] | a live screen of the daemon; what this machine gives |
//! | [`output`], [`show`], [`columns`], [`highlight`], [`style`], [`moment`] | what people see of it |
//! | [`waiting`] | requests that take long, and how far they are |
//! | [`programs`], [`signals`] | programs to run; signals that end what runs for long |
//! | [`failure`] | the exit statuses |

pub mod address;
pub mod ahead;
pub mod assets;
pub mod bench;
pub mod call;
pub mod columns;
pub mod command_line;
pub mod connection;
pub mod export;
pub mod failure;
pub mod follow;
pub mod help;
pub mod highlight;
pub mod import;
pub mod moment;
pub mod output;
pub mod own;
pub mod pages;
pub mod programs;
pub mod queue_metrics;
pub mod record;
pub mod reply;
pub mod request;
pub mod show;
pub mod signals;
pub mod style;
pub mod suggest;
pub mod top;
pub mod waiting;
pub mod work;

use std::ffi::OsString;

use crate::paths::process_environment;
use crate::protocol::table::Kind;
use address::Address;
use command_line::{Action, Invocation};
use failure::{DONE, Result, say};
use output::Output;

/// Runs the client with these arguments, the program's name not among them. The exit status.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let ended = Invocation::parse(arguments.into_iter().collect()).and_then(act);
    match ended {
        Ok(status) => status,
        Err(failure) => {
            if let Some(message) = failure.message() {
                say(&message);
            }
            failure.status()
        }
    }
}

fn act(invocation: Invocation) -> Result<u8> {
    let Invocation { globals, action } = invocation;
    let mut output = Output::new(&globals, &process_environment);
    let address = Address::new(globals.socket, &process_environment).with_timeout(globals.timeout);
    match action {
        Action::Help(words) => print(&mut output, &help::text(&words)?),
        Action::Version => print(&mut output, concat!("msglog ", env!("CARGO_PKG_VERSION"), "\n")),
        Action::Request(command, request) if command.kind == Kind::Follow => {
            follow::follow(&address, &mut output, &request)
        }
        Action::Request(_, request) => call::ask(&address, &mut output, &request),
        Action::Call(request) => call::raw(&address, &mut output, &request),
        Action::Import(options) => import::import(&address, &mut output, options),
        Action::Export(options) => export::export(&address, &mut output, &options),
        Action::Work(options) => work::work(&address, options),
        Action::QueueMetrics => queue_metrics::print(&address, &mut output),
        Action::Top(options) => top::top(&address, &mut output, &options),
        Action::Bench(options) => bench::bench(&address, &mut output, &options),
        Action::Completions(shell) => print(&mut output, &assets::completions(shell)),
        Action::Assets(folder) => assets::write(&folder, &mut output),
    }
}

fn print(output: &mut Output, text: &str) -> Result<u8> {
    output.write(text)?;
    output.flush()?;
    Ok(DONE)
}
