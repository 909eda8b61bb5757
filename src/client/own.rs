//! The client's own commands, which the table of the protocol does not know.
//!
//! Each is described once, here or beside its code; help texts, man pages and completions are made
//! from the descriptions.

use super::{assets, bench, call, export, import, queue_metrics, top, work};

/// One command of the client.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// What is typed to get it: one word, or a noun of the table and a verb of its own.
    pub words: &'static str,
    /// What is typed behind it.
    pub takes: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Paragraphs, each one line; lines that begin with two spaces stand as they are.
    pub about: &'static [&'static str],
    /// Its options, beside those of every command.
    pub options: &'static [Opt],
    /// Paragraphs that belong behind the options.
    pub notes: &'static [&'static str],
    /// Command lines.
    pub examples: &'static [&'static str],
}

impl Own {
    /// The names of its options, without the dashes.
    #[must_use]
    pub fn option_names(&self) -> Vec<&'static str> {
        self.options.iter().map(|option| option.name).collect()
    }
}

/// An option of the client.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// The kind of value that it takes: `N`, `FILE`, or words apart by `|`. Empty for a flag.
    pub value: &'static str,
    /// What it does.
    pub doc: &'static str,
}

impl Opt {
    /// How it is typed. Only the options that do not belong to a command are also letters.
    #[must_use]
    pub fn typed(&self) -> String {
        match (self.name, self.value) {
            ("help", _) => "-h, --help".into(),
            ("version", _) => "-V, --version".into(),
            (name, "") => format!("--{name}"),
            (name, value) => format!("--{name} {value}"),
        }
    }
}

/// A flag.
#[must_use]
pub const fn flag(name: &'static str, doc: &'static str) -> Opt {
    Opt { name, value: "", doc }
}

/// An option with a value.
#[must_use]
pub const fn option(name: &'static str, value: &'static str, doc: &'static str) -> Opt {
    Opt { name, value, doc }
}

/// The options of every command.
pub const GLOBALS: &[Opt] = &[
    option(
        "socket",
        "PATH",
        "the daemon's socket; otherwise $MSGLOG_SOCKET, or the first that answers of \
         $RUNTIME_DIRECTORY/msglogd.sock, $XDG_RUNTIME_DIR/msglogd.sock, /tmp/msglogd-UID/msglogd.sock and \
         /run/msglogd/msglogd.sock; a further one of them that is there is told of",
    ),
    option(
        "timeout",
        "SECONDS",
        "how long the daemon may take to answer, such as 10 or 0.5; what --wait-ms says comes on top. Then it ends \
         with exit status 4, and a write may have been done. Without it, as long as it takes. What follows or works \
         must be answered so at the start, and later waits for the daemon",
    ),
    flag(
        "json",
        "replies as the daemon sends them, one a line, refusals too; without a terminal replies are printed so, and \
         refusals only told",
    ),
    flag("readable", "text for eyes, without a terminal too: for a pager, or for cron's mail"),
    flag(
        "relative",
        "times as how long ago they were; JSON keeps them, so without a terminal it needs --readable",
    ),
    flag("help", "what a command takes, as `msglog help NOUN VERB` says it"),
    flag("version", "the version"),
];

/// All of them, in the order of the overview.
pub const OWN: &[Own] = &[
    work::OWN,
    queue_metrics::OWN,
    import::OWN,
    export::OWN,
    top::OWN,
    bench::OWN,
    call::OWN,
    assets::COMPLETIONS,
    assets::ASSETS,
    HELP,
];

const HELP: Own = Own {
    words: "help",
    takes: "[NOUN [VERB]]",
    doc: "Says what a command takes and does.",
    about: &[],
    options: &[],
    notes: &[],
    examples: &["msglog help", "msglog help queue", "msglog help queue put"],
};

/// The command of these words, which may have more behind them.
#[must_use]
pub fn find(words: &[&str]) -> Option<&'static Own> {
    OWN.iter().find(|own| {
        let own: Vec<&str> = own.words.split(' ').collect();
        words.starts_with(&own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_by_all_their_words() {
        assert_eq!(find(&["import", "--help"]).unwrap().words, "import");
        assert_eq!(find(&["queue", "work"]).unwrap().words, "queue work");
        assert!(find(&["queue"]).is_none());
    }
}
