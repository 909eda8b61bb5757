//! What the command line asks for.

use std::path::PathBuf;

use crate::queries::CLASSES;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Messages to load.
    pub messages: usize,
    /// Different queries of each class.
    pub queries: usize,
    /// Times that each query is asked; the median counts.
    pub rounds: usize,
    /// Queries of each class that are also answered by reading every message.
    pub checks: usize,
    /// Only classes whose names contain one of these; all when empty.
    pub classes: Vec<String>,
    /// Parts to run; see [`PARTS`].
    pub parts: Vec<String>,
    /// Whether the peers are left out.
    pub alone: bool,
    /// Whether to write the result to a file in `benches/`.
    pub keep: bool,
    /// Whether the store of the last such run is used again, or made and left. It is never changed.
    pub reuse: bool,
    /// Where the stores lie; those of the peers are used again.
    pub folder: PathBuf,
}

/// The parts of the benchmark.
pub const PARTS: &[(&str, &str)] = &[
    ("table", "every class of search, in process, beside the peers"),
    ("daemon", "memory, disk, searches a second, searches while posts come in, starts after kills"),
    ("keys", "memory with 1,000,000 keys"),
    ("chats", "memory with 1,000,000 messages in 100,000 chats"),
    ("idempotency", "memory with 1,000,000 idempotency keys"),
    ("jobs", "memory with 1,000,000 ready jobs in one queue"),
];

const HELP: &str = "\
cargo bench --bench search -- [OPTION ...]

  --messages N      messages to load (1000000)
  --queries N       different queries of each class (500)
  --rounds N        times that each query is asked; the median counts (5)
  --checks N        queries of each class also answered by reading every message (3)
  --class TEXT      only classes whose names contain TEXT; may be repeated
  --part NAME       only this part; may be repeated
  --alone           leave the peers out
  --reuse           use the store that the last such run left, or make and leave one; it is not
                    changed, so there are no columns for that, and no answers are checked again
  --keep            write the result to benches/search-MESSAGES.txt
  --folder DIR      where the stores lie (target/search-bench)

Parts:
";

/// Reads the command line.
pub fn parse() -> Result<Options, String> {
    let mut options = Options {
        messages: 1_000_000,
        queries: 500,
        rounds: 5,
        checks: 3,
        classes: Vec::new(),
        parts: Vec::new(),
        alone: false,
        keep: false,
        reuse: false,
        folder: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("search-bench"),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--messages" => options.messages = number(&value()?)?,
            "--queries" => options.queries = number(&value()?)?,
            "--rounds" => options.rounds = number(&value()?)?,
            "--checks" => options.checks = number(&value()?)?,
            "--class" => options.classes.push(value()?),
            "--part" => options.parts.push(value()?),
            "--folder" => options.folder = value()?.into(),
            "--alone" => options.alone = true,
            "--keep" => options.keep = true,
            "--reuse" => options.reuse = true,
            // What cargo itself adds.
            "--bench" => {}
            _ => return Err(help(&argument)),
        }
    }
    let known = |part: &String| PARTS.iter().any(|(name, _)| name == part);
    if let Some(part) = options.parts.iter().find(|part| !known(part)) {
        return Err(help(part));
    }
    if !CLASSES.iter().any(|class| options.wants_class(class.name)) {
        return Err(format!("no class is called so: {}", options.classes.join(", ")));
    }
    if options.messages < 1000 || options.queries == 0 || options.rounds == 0 {
        return Err("at least 1000 messages, one query and one round".to_owned());
    }
    Ok(options)
}

fn number(text: &str) -> Result<usize, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text} is no number"))
}

fn help(argument: &str) -> String {
    let parts: String = PARTS.iter().map(|(name, what)| format!("  {name:<16}{what}\n")).collect();
    let unknown = if argument == "--help" { String::new() } else { format!("{argument} is unknown\n\n") };
    format!("{unknown}{HELP}{parts}")
}

impl Options {
    /// Whether a class is chosen.
    pub fn wants_class(&self, name: &str) -> bool {
        self.classes.is_empty() || self.classes.iter().any(|part| name.contains(part.as_str()))
    }

    /// Whether a part is chosen.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|name| name == part)
    }
}
