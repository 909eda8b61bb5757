//! What `msglog export` is told.

use super::What;
use crate::client::command_line::{CommandLine, Piece, text, unknown_option};
use crate::client::failure::{Failure, Result};
use crate::client::own::{Own, option};
use crate::client::request::{encode, option_name};
use crate::client::suggest::did_you_mean;
use crate::protocol::table::{self, Argument};

/// `msglog export`, as help and completions know it.
pub const OWN: Own = Own {
    words: "export",
    takes: "messages|kv|all [options]",
    doc: "Prints what is stored as JSON lines that `import` reads again.",
    about: &[
        "`messages` is each message as a search gives it, oldest first, those of chats too. `kv` is each key \
         with its value: key, value, seq, at; import reads it with --command kv.set. `all` is requests that \
         make everything anew: apps, chats and messages under their numbers, keys, formulas, queues with \
         their settings and jobs.",
        "What comes while it runs may be left out; everything that was there before is in it, unless it is \
         deleted meanwhile.",
    ],
    options: &[
        option("originator", "NAME", "with messages: only those from it"),
        option("recipient", "NAME", "with messages: only those to it"),
        option(
            "text",
            "TEXT",
            "with messages: only those that match; likewise --substring, --since, --until, --app and --chat, \
             as `message search` takes them",
        ),
        option("prefix", "TEXT", "with kv: only keys that begin so"),
    ],
    notes: &[
        "`all` is for moving to another daemon. There apps get new tokens, and import puts them in the place \
         of the old ones; events get new seqs and times; formulas bring their job along, as when they were \
         first submitted; leased jobs are ready again; delayed jobs wait from the import on for as long as they \
         had to at the export; dead jobs and idempotency keys are left out. To keep everything as it is, take \
         a backup: `msglog log backup DIR`.",
        "A chat that messages were deleted from gets a line for each of their numbers, which posts a message and \
         deletes it again; so does an app for each chat that was deleted.",
        "Exit status: 1 there is nothing; 3 the daemon refused, and what was printed until then is a part.",
    ],
    examples: &[
        "msglog export messages --recipient bob > bob.jsonl",
        "msglog export kv --prefix user/ | msglog --socket /other/s import - --command kv.set",
        "msglog export all > all.jsonl; msglog --socket /other/s import all.jsonl",
    ],
};

/// What to export, and which part of it.
#[derive(Debug)]
pub struct Options {
    /// What.
    pub what: What,
    /// Arguments of `message.search` or `kv.list`, as JSON.
    pub filters: Vec<(&'static Argument, String)>,
}

impl Options {
    /// Reads the command line behind `export`.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub fn parse(line: &mut CommandLine) -> Result<Self> {
        let (mut whats, mut given) = (Vec::new(), Vec::new());
        while let Some(piece) = line.next_piece()? {
            match piece {
                Piece::Value(value) => whats.push(text(value)?),
                Piece::Option(name) if known(&name).is_some() => given.push((name, line.text()?)),
                Piece::Option(name) => return Err(unknown_option(&name, "export", &OWN.option_names())),
            }
        }
        let what = match whats.as_slice() {
            [what] => named(what)?,
            _ => return Err(Failure::Usage(format!("`export` takes {}", OWN.takes))),
        };
        let mut filters = Vec::new();
        for (name, value) in given {
            let usage = |problem| Failure::Usage(format!("{problem} See `msglog help export`."));
            let argument = filters_of(what).find(|argument| option_name(argument) == name);
            let argument = argument.ok_or_else(|| usage(format!("this takes no --{name}.")))?;
            filters.push((argument, encode(argument, &value).map_err(usage)?));
        }
        Ok(Options { what, filters })
    }
}

fn named(what: &str) -> Result<What> {
    match what {
        "messages" => Ok(What::Messages),
        "kv" => Ok(What::Keys),
        "all" => Ok(What::All),
        _ => {
            let hint = did_you_mean(what, ["messages", "kv", "all"]);
            Err(Failure::Usage(format!("`export` takes messages, kv or all, not `{what}`{hint}")))
        }
    }
}

/// The arguments that say which part is meant.
fn filters_of(what: What) -> impl Iterator<Item = &'static Argument> {
    let command = match what {
        What::Messages => table::find("message.search"),
        What::Keys => table::find("kv.list"),
        What::All => None,
    };
    // Those that say which page are the exporter's own.
    let own = ["order", "limit", "before", "after", "count"];
    command
        .into_iter()
        .flat_map(|command| command.arguments)
        .filter(move |argument| !own.contains(&argument.name))
}

/// Every argument that says which part is meant.
pub fn filters() -> impl Iterator<Item = &'static Argument> {
    filters_of(What::Messages).chain(filters_of(What::Keys))
}

fn known(name: &str) -> Option<&'static Argument> {
    filters().find(|argument| option_name(argument) == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::command_line::{Action, Invocation};

    fn parse(words: &[&str]) -> std::result::Result<Options, String> {
        match Invocation::parse(["export"].iter().chain(words).map(Into::into).collect()) {
            Ok(Invocation { action: Action::Export(options), .. }) => Ok(options),
            Err(Failure::Usage(text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn filters_belong_to_what_they_choose_from() {
        let options = parse(&["messages", "--recipient", "bob", "--since", "2026-01-31T12:00:00Z"]).unwrap();
        assert_eq!((options.what, options.filters.len()), (What::Messages, 2));
        assert_eq!(parse(&["kv", "--prefix", "a/"]).unwrap().filters[0].1, "\"a/\"");
        assert!(parse(&["kv", "--recipient", "bob"]).unwrap_err().contains("takes no --recipient"));
        assert!(parse(&["messages", "--limit", "5"]).unwrap_err().contains("no option `--limit`"));
        assert!(parse(&["all", "--prefix", "a"]).unwrap_err().contains("takes no --prefix"));
    }

    #[test]
    fn what_is_unknown_or_missing_is_said() {
        assert!(parse(&[]).unwrap_err().contains("messages|kv|all"));
        assert!(parse(&["mesages"]).unwrap_err().contains("`messages`"));
    }
}
