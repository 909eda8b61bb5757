//! The one table of commands. The parser checks requests against it, `help` prints it, and the
//! client `msglog` makes its subcommands from it.

pub use super::description::{Argument, Command, Kind, Type};
use crate::limits::{
    IDEMPOTENCY_KEY_BYTES, KEY_BYTES, NAME_BYTES, PAGE_ITEMS, PATH_BYTES, RESERVE_JOBS, SUBSTRING_BYTES,
    TIME_MS,
};

const fn must(name: &'static str, kind: Type, doc: &'static str) -> Argument {
    Argument { name, kind, required: true, doc }
}

const fn may(name: &'static str, kind: Type, doc: &'static str) -> Argument {
    Argument { name, kind, required: false, doc }
}

const NAME: Type = Type::Text { min: 1, max: NAME_BYTES };
const KEY: Type = Type::Text { min: 1, max: KEY_BYTES };
const STRING: Type = Type::Text { min: 0, max: usize::MAX };
const WHOLE: Type = Type::Integer { min: 0, max: u64::MAX };
const LIMIT: Argument =
    may("limit", Type::Integer { min: 1, max: PAGE_ITEMS }, "items on the page, default 100");
const MILLISECONDS: Type = Type::Integer { min: 0, max: TIME_MS };
const TOKEN: Type = Type::Text { min: 1, max: NAME_BYTES };
const APP: Argument = must("app", TOKEN, "the application's token");
const CHAT: Argument = must("chat", WHOLE, "the chat's number");
const QUEUE: Argument = must("queue", NAME, "the queue's name");
const JOB: Argument = must("job", WHOLE, "the job: the seq of its put");
const LEASE: Argument = must("lease", TOKEN, "the token that reserve gave");
const STATES: Type = Type::Choice(&["ready", "delayed", "leased", "dead"]);

const ADDRESS: [Argument; 4] = [
    may("seq", WHOLE, "the seq the message was posted under"),
    may("app", TOKEN, "the application's token, with chat and number"),
    may("chat", WHOLE, "the chat's number"),
    may("number", WHOLE, "the message's number in the chat"),
];
const FILTERS: [Argument; 8] = [
    may("text", STRING, "words, \"a phrase\", pre*, -without, this OR that; all must match"),
    may("originator", Type::Name, "only messages from this originator"),
    may("recipient", Type::Name, "only messages to this recipient"),
    may("app", TOKEN, "only messages of this application"),
    may("chat", WHOLE, "only messages of this chat of the application"),
    may(
        "substring",
        Type::Text { min: 1, max: SUBSTRING_BYTES },
        "contained in the body, whatever the case, across words",
    ),
    may("since", Type::Time, "posted at this time or later"),
    may("until", Type::Time, "posted before this time"),
];
const TYPES: Argument = may("types", Type::Texts, "only events of these types");

/// What any request may carry.
pub const COMMON: &[Argument] =
    &[must("cmd", STRING, "the command"), may("id", Type::Json, "echoed in the reply")];

/// What any write may carry.
pub const COMMON_WRITE: &[Argument] = &[
    may(
        "idempotency_key",
        Type::Text { min: 1, max: IDEMPOTENCY_KEY_BYTES },
        "a repetition under the same key changes nothing and gets the first reply",
    ),
    may("durable", Type::Flag, "false: answered before the sync, which follows within 100 ms"),
    may("dry_run", Type::Flag, "true: nothing happens; the reply shows what would have"),
];

/// Every command, in the order of `help`.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "ping",
        kind: Kind::Local,
        arguments: &[],
        doc: "Is it there? Replies seq, the last event's.",
    },
    Command { name: "quit", kind: Kind::Local, arguments: &[], doc: "Replies, then closes the connection." },
    Command {
        name: "help",
        kind: Kind::Local,
        arguments: &[may("on", STRING, "a command; default all")],
        doc: "Replies commands: what each takes and does.",
    },
    Command {
        name: "info",
        kind: Kind::Local,
        arguments: &[],
        doc: "Replies name, version, protocol, seq, started_at, limits, durability, unicode.",
    },
    Command {
        name: "stats",
        kind: Kind::Local,
        arguments: &[],
        doc: "Replies counts, sizes, latencies and memory, by subject.",
    },
    Command {
        name: "metrics",
        kind: Kind::Local,
        arguments: &[],
        doc: "Replies text: the numbers of `stats` in the Prometheus text format.",
    },
    Command {
        name: "batch",
        kind: Kind::Write,
        arguments: &[must("commands", Type::Requests, "1 to 1000 writes")],
        doc: "All of the writes or none, in one atomic step. Replies results, one each.",
    },
    Command {
        name: "kv.set",
        kind: Kind::Write,
        arguments: &[
            must("key", KEY, "the key"),
            must("value", Type::Json, "any JSON value"),
            may("if_seq", WHOLE, "only if the key was last set at this seq; 0: only if it is not there"),
        ],
        doc: "Stores a value under a key. Replies seq, created.",
    },
    Command {
        name: "kv.get",
        kind: Kind::Read,
        arguments: &[must("key", KEY, "the key")],
        doc: "Replies key, value, seq, at.",
    },
    Command {
        name: "kv.delete",
        kind: Kind::Write,
        arguments: &[
            must("key", KEY, "the key"),
            may("if_seq", WHOLE, "only if the key was last set at this seq"),
        ],
        doc: "Deletes a key. Replies seq.",
    },
    Command {
        name: "kv.list",
        kind: Kind::Read,
        arguments: &[
            may("prefix", Type::Text { min: 0, max: KEY_BYTES }, "only keys that begin so"),
            may("after", Type::Text { min: 0, max: KEY_BYTES }, "only keys behind this one"),
            LIMIT,
        ],
        doc: "Replies keys in byte order, each with its seq; next when there are more.",
    },
    Command {
        name: "message.post",
        kind: Kind::Write,
        arguments: &[
            must("body", STRING, "the text"),
            may("originator", Type::Name, "who says it; may be left out in a chat"),
            may("recipient", Type::Name, "whom it is for; or app and chat"),
            may("app", TOKEN, "the application's token"),
            may("chat", WHOLE, "the chat's number"),
        ],
        doc: "Posts to a recipient or into a chat. Replies seq, at; in a chat also number.",
    },
    Command { name: "message.get", kind: Kind::Read, arguments: &ADDRESS, doc: "Replies message." },
    Command {
        name: "message.edit",
        kind: Kind::Write,
        arguments: &[must("body", STRING, "the new text"), ADDRESS[0], ADDRESS[1], ADDRESS[2], ADDRESS[3]],
        doc: "Replaces a message's body. Replies seq, of the change.",
    },
    Command {
        name: "message.delete",
        kind: Kind::Write,
        arguments: &ADDRESS,
        doc: "Deletes a message. Replies seq, of the change.",
    },
    Command {
        name: "message.list",
        kind: Kind::Read,
        arguments: &[APP, CHAT, may("after", WHOLE, "only numbers behind this one"), LIMIT],
        doc: "Replies messages of a chat by number; next when there are more.",
    },
    Command {
        name: "message.search",
        kind: Kind::Read,
        arguments: &[
            FILTERS[0],
            FILTERS[1],
            FILTERS[2],
            FILTERS[3],
            FILTERS[4],
            FILTERS[5],
            FILTERS[6],
            FILTERS[7],
            may("order", Type::Choice(&["newest", "oldest"]), "default newest first"),
            LIMIT,
            may("before", WHOLE, "only messages of a smaller seq"),
            may("after", WHOLE, "only messages of a larger seq"),
            may("count", Type::Flag, "true: reply total, the number of all matches"),
        ],
        doc: "Replies messages that match all filters; next when there are more.",
    },
    Command {
        name: "message.follow",
        kind: Kind::Follow,
        arguments: &[
            FILTERS[0],
            FILTERS[1],
            FILTERS[2],
            FILTERS[3],
            FILTERS[4],
            FILTERS[5],
            FILTERS[6],
            FILTERS[7],
            may("from", WHOLE, "from this seq on; default only what comes"),
        ],
        doc: "Replies following, then one matching message a line: the past, then what comes.",
    },
    Command {
        name: "app.create",
        kind: Kind::Write,
        arguments: &[must("name", NAME, "its name")],
        doc: "Makes an application. Replies token, seq.",
    },
    Command {
        name: "app.get",
        kind: Kind::Read,
        arguments: &[must("token", TOKEN, "the application's token")],
        doc: "Replies app.",
    },
    Command {
        name: "app.list",
        kind: Kind::Read,
        arguments: &[may("after", TOKEN, "only applications made after this one"), LIMIT],
        doc: "Replies apps by creation; next when there are more.",
    },
    Command {
        name: "app.update",
        kind: Kind::Write,
        arguments: &[must("token", TOKEN, "the application's token"), must("name", NAME, "its new name")],
        doc: "Renames an application. Replies seq.",
    },
    Command {
        name: "app.delete",
        kind: Kind::Write,
        arguments: &[must("token", TOKEN, "the application's token")],
        doc: "Deletes an application with its chats and messages. Replies seq.",
    },
    Command {
        name: "chat.create",
        kind: Kind::Write,
        arguments: &[APP, may("name", NAME, "its name")],
        doc: "Makes the application's next chat. Replies number, seq.",
    },
    Command { name: "chat.get", kind: Kind::Read, arguments: &[APP, CHAT], doc: "Replies chat." },
    Command {
        name: "chat.list",
        kind: Kind::Read,
        arguments: &[APP, may("after", WHOLE, "only numbers behind this one"), LIMIT],
        doc: "Replies chats by number; next when there are more.",
    },
    Command {
        name: "chat.update",
        kind: Kind::Write,
        arguments: &[APP, CHAT, must("name", NAME, "its new name")],
        doc: "Renames a chat. Replies seq.",
    },
    Command {
        name: "chat.delete",
        kind: Kind::Write,
        arguments: &[APP, CHAT],
        doc: "Deletes a chat with its messages. Replies seq.",
    },
    Command {
        name: "formula.submit",
        kind: Kind::Write,
        arguments: &[
            must("name", STRING, "the formula's name, which counts for nothing in its identity"),
            must("materials", Type::Materials, "at least one, each with an exact concentration"),
        ],
        doc: "Stores a formula and puts its job on the queue formulas, once. Replies formula, created, seq.",
    },
    Command {
        name: "formula.get",
        kind: Kind::Read,
        arguments: &[must("formula", TOKEN, "the formula's id")],
        doc: "Replies formula, as first submitted.",
    },
    Command {
        name: "formula.list",
        kind: Kind::Read,
        arguments: &[may("after", TOKEN, "only formulas stored after this one"), LIMIT],
        doc: "Replies formulas by creation; next when there are more.",
    },
    Command {
        name: "queue.put",
        kind: Kind::Write,
        arguments: &[
            QUEUE,
            must("body", Type::Json, "the work: any JSON value"),
            may("delay_ms", MILLISECONDS, "not before this time has passed"),
            may("priority", Type::Integer { min: 0, max: 9 }, "higher first, default 0"),
        ],
        doc: "Puts a job on a queue, which exists from then. Replies job, seq.",
    },
    Command {
        name: "queue.reserve",
        kind: Kind::Write,
        arguments: &[
            QUEUE,
            may("lease_ms", MILLISECONDS, "how long the job is held; default the queue's"),
            may("max", Type::Integer { min: 1, max: RESERVE_JOBS }, "most jobs to lease, default 1"),
            may("wait_ms", MILLISECONDS, "how long to wait for a job, default 0"),
        ],
        doc: "Leases jobs. Replies jobs, empty when there is none in time.",
    },
    Command {
        name: "queue.ack",
        kind: Kind::Write,
        arguments: &[JOB, LEASE],
        doc: "The job is done. Replies seq.",
    },
    Command {
        name: "queue.extend",
        kind: Kind::Write,
        arguments: &[JOB, LEASE, must("lease_ms", MILLISECONDS, "hold it so long from now")],
        doc: "Holds a job longer. Replies seq, expires_at.",
    },
    Command {
        name: "queue.nack",
        kind: Kind::Write,
        arguments: &[JOB, LEASE, may("delay_ms", MILLISECONDS, "not again before this time has passed")],
        doc: "Gives a job back. Replies seq.",
    },
    Command {
        name: "queue.configure",
        kind: Kind::Write,
        arguments: &[
            QUEUE,
            may("lease_ms", MILLISECONDS, "lease of a reserve that names none, default 30000"),
            may(
                "max_attempts",
                Type::IntegerOrNull { min: 1, max: u32::MAX as u64 },
                "deliveries before a job is dead, default 5; null: no bound",
            ),
            may(
                "max_jobs",
                Type::IntegerOrNull { min: 0, max: u64::MAX },
                "jobs it may hold, default no bound; null: no bound",
            ),
        ],
        doc: "Sets a queue's bounds; what is not given stays. Replies the settings.",
    },
    Command {
        name: "queue.get",
        kind: Kind::Read,
        arguments: &[QUEUE],
        doc: "Replies queue: settings, ready, delayed, leased, dead, oldest_at.",
    },
    Command {
        name: "queue.list",
        kind: Kind::Read,
        arguments: &[
            may("after", Type::Text { min: 0, max: NAME_BYTES }, "only names behind this one"),
            LIMIT,
        ],
        doc: "Replies queues in byte order; next when there are more.",
    },
    Command {
        name: "queue.peek",
        kind: Kind::Read,
        arguments: &[
            QUEUE,
            may("state", STATES, "default ready"),
            may(
                "after",
                Type::Text { min: 1, max: NAME_BYTES },
                "only jobs behind the page that ended with this next",
            ),
            LIMIT,
        ],
        doc: "Replies jobs in a state, ready ones in the order of delivery; next when there are more.",
    },
    Command {
        name: "queue.revive",
        kind: Kind::Write,
        arguments: &[QUEUE, may("job", WHOLE, "one dead job; default all")],
        doc: "Makes dead jobs ready again. Replies revived.",
    },
    Command {
        name: "queue.delete",
        kind: Kind::Write,
        arguments: &[JOB],
        doc: "Deletes a job in whatever state. Replies seq.",
    },
    Command {
        name: "queue.purge",
        kind: Kind::Write,
        arguments: &[QUEUE, may("state", STATES, "default every state")],
        doc: "Deletes all jobs, or all in a state. Replies deleted.",
    },
    Command {
        name: "queue.drop",
        kind: Kind::Write,
        arguments: &[QUEUE],
        doc: "Removes an empty queue. Replies seq.",
    },
    Command {
        name: "log.read",
        kind: Kind::Read,
        arguments: &[may("from", WHOLE, "the first seq, default 1"), LIMIT, TYPES],
        doc: "Replies events in order; next when there are more (pass as from).",
    },
    Command {
        name: "log.follow",
        kind: Kind::Follow,
        arguments: &[may("from", WHOLE, "from this seq on; default only what comes"), TYPES],
        doc: "Replies following, then one event a line, each once, in order.",
    },
    Command {
        name: "log.compact",
        kind: Kind::Maintenance,
        arguments: &[],
        doc: "Removes dead events and deleted text from all files. Replies what was removed and what is left.",
    },
    Command {
        name: "log.verify",
        kind: Kind::Maintenance,
        arguments: &[],
        doc: "Reads every record and every block of the index again. Replies seq and how much was checked.",
    },
    Command {
        name: "log.backup",
        kind: Kind::Maintenance,
        arguments: &[must("to", Type::Text { min: 1, max: PATH_BYTES }, "a new folder: an absolute path")],
        doc: "Copies everything into a new data folder that a daemon starts on. Replies seq and how much.",
    },
];

impl Command {
    /// What it may carry of [`COMMON_WRITE`]. A batch that holds a reserve takes no key either.
    pub fn common_write(&self) -> impl Iterator<Item = &'static Argument> + use<> {
        let (writes, reserves) = (self.kind == Kind::Write, self.name == "queue.reserve");
        COMMON_WRITE
            .iter()
            .filter(move |argument| writes && !(reserves && argument.name == "idempotency_key"))
    }
}

/// The command of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_once_and_required_arguments_stand_before_optional_ones() {
        for (place, command) in COMMANDS.iter().enumerate() {
            assert!(!COMMANDS[..place].iter().any(|other| other.name == command.name));
            let required: Vec<bool> = command.arguments.iter().map(|argument| argument.required).collect();
            assert!(required.is_sorted_by(|a, b| a >= b), "{}", command.name);
        }
    }
}
