//! What `msglog import` is told.

use std::ffi::OsString;
use std::mem;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::replies::Tally;
use super::resume::{Resume, Target};
use crate::client::command_line::{Action, CommandLine, Invocation, Piece, unknown_option};
use crate::client::failure::{Failure, Result};
use crate::client::own::{Own, flag, option};
use crate::client::request::{FLAG_WORDS, encode, nameable, option_name, valued};
use crate::client::suggest::did_you_mean;
use crate::paths::shell_word;
use crate::protocol::table::{Argument, COMMANDS, Command, Kind};

/// What no import takes though commands that write do, and why.
pub const NOT_FOR_ALL: [(&str, &str); 2] = [
    ("idempotency_key", "one --idempotency-key for all lines makes one of them; see --resume-file."),
    (
        "dry_run",
        "there is no --dry-run, as a line may need what the lines before it have made; it can be tried in a daemon \
         with a copy of the data.",
    ),
];

/// `msglog import`, as help and completions know it.
pub const OWN: Own = Own {
    words: "import",
    takes: "FILE [options]",
    doc: "Sends every line of a file, messages or requests.",
    about: &[
        "`-` is standard input (zcat FILE.gz | msglog import -). A line with `cmd` is a request and is \
              sent as it is, but for what the options add. Any other line is a message: `body` and either \
              `originator` and `recipient`, or `app` and `chat`. Keys that a message does not have are left \
              out, and named at the end. A refused line is reported with its number, and the import goes on.",
        "`msglog export all` makes files of requests. An app.create in them has the `id` {\"app\":TOKEN}; in \
         the chat and message requests behind it the new app's token takes the place of that one.",
    ],
    options: &[
        option(
            "command",
            "NAME",
            "what lines without `cmd` become, such as formula.submit or kv.set; default message.post. Then \
             its arguments take the place of a message's",
        ),
        option("originator", "NAME", "for lines that have none"),
        option(
            "recipient",
            "NAME",
            "for lines that have none; likewise every other argument of the command, such as --queue. Lines \
             with another `cmd` get none of them. --no-durable is for every line that writes",
        ),
        flag(
            "stop-on-error",
            "stop at the first line that is refused (up to 2000 lines behind it have been sent by then, and \
             count). Correct that line, or leave an empty one in its place: with --resume-file the lines are \
             known by their numbers",
        ),
        option(
            "resume-file",
            "FILE",
            "keep the number of the last acknowledged line there; the same command then goes on where it \
             was, after a crash of either side too",
        ),
        option("resume-name", "NAME", "what the import is called in its idempotency keys; needed for `-`"),
    ],
    notes: &[
        "With --resume-file each write carries the idempotency key `import:NAME:LINE`, so that no line is \
         stored twice even if it was acknowledged after the file was last saved. NAME is made from the \
         file's path unless it is given. So no line may be put in or taken out in front of others between two \
         runs, while the file may grow: a last line without its end is looked at again. The daemon keeps the \
         keys for ever: give a new --resume-name when other lines are imported from the same path.",
        "What the daemon refuses for no fault of the line ends the import before it: this user may not write, \
         or the daemon has no room; with --resume-file also a full queue, a line that is too long for this \
         daemon, stored data that is damaged (`corrupt`) and a failure of the daemon itself (`internal`). The \
         resume file keeps the daemon's socket: at another socket that --socket does not name, the import does \
         not begin.",
        "There is no --dry-run, as a line may need what the lines before it have made. To try an import, give \
         it to a daemon with a copy of the data: `msglog log backup DIR`; then, as the user who owns DIR, `msglogd \
         --data DIR --socket PATH`; and beside that `msglog --socket PATH import FILE`.",
        "At the end one line says how many were imported and refused, in how many seconds. Exit status: 0 \
         all imported; 3 some were refused, in this run or in an earlier one whose lines are skipped; 4 the \
         daemon went away, and then how to go on is said.",
    ],
    examples: &[
        "msglog import messages.jsonl --resume-file messages.position",
        "zcat sms.jsonl.gz | msglog import - --originator importer --recipient archive",
        "msglog import formulas.jsonl --command formula.submit",
        "msglog import files.jsonl --command queue.put --queue thumbnails",
    ],
};

/// What to import, and how.
#[derive(Debug)]
pub struct Options {
    /// The file; `-` for standard input.
    pub file: PathBuf,
    /// What lines without `cmd` become.
    pub command: &'static Command,
    /// Arguments for lines that do not have them, as JSON.
    pub defaults: Vec<(&'static Argument, String)>,
    /// Whether to stop at the first refused line.
    pub stop_on_error: bool,
    /// Where to keep the position, if anywhere.
    pub resume: Option<Resume>,
}

/// The options as they stand, before they are put together.
#[derive(Default)]
struct Given {
    files: Vec<PathBuf>,
    command: Option<String>,
    defaults: Vec<(String, String)>,
    stop_on_error: bool,
    resume_file: Option<PathBuf>,
    resume_name: Option<String>,
}

impl Options {
    /// Reads the command line behind `import`.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub fn parse(line: &mut CommandLine) -> Result<Self> {
        let mut given = Given::default();
        while let Some(piece) = line.next_piece()? {
            match piece {
                Piece::Value(value) => given.files.push(value.into()),
                Piece::Option(name) => given.option(&name, line)?,
            }
        }
        given.finish()
    }

    /// Whether the lines come from standard input.
    #[must_use]
    pub fn is_standard_input(&self) -> bool {
        self.file == Path::new("-")
    }

    /// What to do after an import that was cut off. Where the socket was found it may be another daemon's the
    /// next time, so it is named.
    #[must_use]
    pub fn how_to_go_on(&self, tally: &Tally, target: Target<'_>) -> String {
        let found = if target.named { vec![] } else { vec!["--socket".into(), target.socket.into()] };
        let arguments: Vec<OsString> = found.into_iter().chain(std::env::args_os().skip(1)).collect();
        if self.resume.is_some() {
            return format!("To go on, run the same again: {}", command_line(&arguments));
        }
        if tally.has_apps {
            return "It cannot go on from here: the new tokens of the apps that it made are known to this run \
                    alone. Delete those apps and what else was imported, then import the whole file with \
                    --resume-file, which goes on after a loss."
                .into();
        }
        let (input, arguments) = if self.is_standard_input() {
            ("INPUT".into(), arguments)
        } else {
            (shell_word(&self.file.to_string_lossy()), from_standard_input(arguments))
        };
        format!(
            "To go on: tail -n +{} {input} | {}\nUp to 2000 lines behind line {} may be stored all the same; \
             with --resume-file none is stored twice.",
            tally.last + 1,
            command_line(&arguments),
            tally.last
        )
    }
}

/// A command line of this program, for a shell.
fn command_line(arguments: &[OsString]) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "msglog".into());
    let words = [program].into_iter().chain(arguments.iter().cloned());
    words.map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// The same import of standard input. Which word is the file, and not a name that is written like it, is
/// known by what comes of another word in its place.
fn from_standard_input(mut arguments: Vec<OsString>) -> Vec<OsString> {
    for place in 0..arguments.len() {
        let file = mem::replace(&mut arguments[place], "-".into());
        match Invocation::parse(arguments.clone()) {
            Ok(Invocation { action: Action::Import(options), .. }) if options.is_standard_input() => break,
            _ => arguments[place] = file,
        }
    }
    arguments
}

impl Given {
    fn option(&mut self, name: &str, line: &mut CommandLine) -> Result<()> {
        match name {
            "command" => self.command = Some(line.text()?),
            "stop-on-error" => self.stop_on_error = true,
            "resume-file" => self.resume_file = Some(line.value()?.into()),
            "resume-name" => self.resume_name = Some(line.text()?),
            _ => {
                let unknown = || unknown_option(name, "import", &OWN.option_names());
                let (argument, value) = valued(name, argument, FLAG_WORDS, line)?.ok_or_else(unknown)?;
                self.defaults.push((option_name(argument), value));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Options> {
        let usage = |text: &str| Failure::Usage(format!("{text} See `msglog help import`."));
        let [file] =
            <[PathBuf; 1]>::try_from(self.files).map_err(|_| usage("`import` takes one file, or `-`."))?;
        if file.extension().is_some_and(|extension| extension == "gz") {
            let file = file.display();
            return Err(Failure::Usage(format!("{file} is compressed; try: zcat {file} | msglog import -")));
        }
        let command = command(self.command.as_deref().unwrap_or("message.post"))?;
        let mut defaults = Vec::new();
        for (name, value) in self.defaults {
            let refused = |(refused, _): &&(&str, &str)| refused.replace('_', "-") == name;
            if let Some((_, why)) = NOT_FOR_ALL.iter().find(refused) {
                return Err(usage(why));
            }
            let Some(argument) = nameable(command).find(|argument| option_name(argument) == name) else {
                return Err(usage(&format!("{} takes no `{name}`.", command.name)));
            };
            defaults.push((argument, encode(argument, &value).map_err(|problem| usage(&problem))?));
        }
        let resume = match (self.resume_file, self.resume_name) {
            (None, None) => None,
            (None, Some(_)) => return Err(usage("--resume-name needs --resume-file.")),
            (Some(_), None) if file == Path::new("-") => {
                return Err(usage("standard input has no name: --resume-file needs --resume-name for it."));
            }
            (Some(path), name) => Some(Resume { path, name: name.map_or_else(|| name_of(&file), Ok)? }),
        };
        if resume.as_ref().is_some_and(|resume| !(1..=200).contains(&resume.name.len())) {
            return Err(usage("--resume-name takes 1 to 200 bytes."));
        }
        Ok(Options { file, command, defaults, stop_on_error: self.stop_on_error, resume })
    }
}

/// An argument that any command has under this name.
fn argument(name: &str) -> Option<&'static Argument> {
    COMMANDS.iter().flat_map(nameable).find(|argument| option_name(argument) == name)
}

/// A command that lines can become: any write.
fn command(name: &str) -> Result<&'static Command> {
    let writes = || COMMANDS.iter().filter(|command| command.kind == Kind::Write);
    let name = name.replacen(' ', ".", 1);
    writes().find(|command| command.name == name).ok_or_else(|| {
        let hint = did_you_mean(&name, writes().map(|command| command.name));
        Failure::Usage(format!("--command takes a command that writes, and `{name}` is none{hint}"))
    })
}

/// A name for the import of this file: the same for the same path, from whatever folder.
fn name_of(file: &Path) -> Result<String> {
    let trouble = |error| {
        let name = file.display();
        // A pipe may be read under a name that leads to no other one.
        if file.metadata().is_ok() {
            return Failure::Usage(format!("{name} is no file: --resume-file needs --resume-name for it."));
        }
        Failure::file(&format!("cannot read {name}"), &error)
    };
    let path = file.canonicalize().map_err(trouble)?;
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let (start, _) = hash.split_at(8);
    Ok(start.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)))
        .map(|number| format!("{number:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> std::result::Result<Options, String> {
        let words = ["import"].iter().chain(words).map(Into::into).collect();
        match Invocation::parse(words) {
            Ok(Invocation { action: Action::Import(options), .. }) => Ok(options),
            Err(Failure::Usage(text)) => Err(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_of_the_command_are_defaults() {
        let options = parse(&["-", "--originator", "7", "--no-durable", "--stop-on-error"]).unwrap();
        let defaults: Vec<_> =
            options.defaults.iter().map(|(key, value)| (key.name, value.as_str())).collect();
        assert_eq!(defaults, [("originator", "\"7\""), ("durable", "false")]);
        assert!(options.stop_on_error && options.is_standard_input() && options.resume.is_none());
        let options = parse(&["--priority", "3", "--command", "queue put", "-"]).unwrap();
        assert_eq!((options.command.name, options.defaults[0].1.as_str()), ("queue.put", "3"));
    }

    #[test]
    fn flags_are_said_denied_or_spelled_out_as_for_every_write() {
        for words in
            [["-", "--no-durable"].as_slice(), &["-", "--durable=false"], &["--durable", "false", "--", "-"]]
        {
            let options = parse(words).unwrap();
            assert_eq!((options.defaults[0].0.name, options.defaults[0].1.as_str()), ("durable", "false"));
        }
        assert!(parse(&["-", "--stop_on_error"]).unwrap().stop_on_error);
        let error = parse(&["-", "--no-originator", "x"]).unwrap_err();
        assert!(error.contains("no option `--no-originator`"), "{error}");
    }

    #[test]
    fn only_the_file_becomes_standard_input_in_the_hint() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (typed, hinted) in [
            ("import a --originator a", "import - --originator a"),
            ("--socket a import --originator a a", "--socket a import --originator a -"),
            ("import --recipient=b -- b", "import --recipient=b -- -"),
        ] {
            assert_eq!(from_standard_input(words(typed)), words(hinted));
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert!(parse(&[]).unwrap_err().contains("one file"));
        assert!(parse(&["a", "b"]).unwrap_err().contains("one file"));
        assert!(parse(&["a.jsonl.gz"]).unwrap_err().contains("zcat a.jsonl.gz | msglog import -"));
        assert!(parse(&["-", "--stop-on-eror"]).unwrap_err().contains("`--stop-on-error`"));
        assert!(parse(&["-", "--queue", "q"]).unwrap_err().contains("takes no `queue`"));
        assert!(parse(&["-", "--command", "kv.get"]).unwrap_err().contains("`kv.set`"));
        assert!(parse(&["-", "--resume-file", "p"]).unwrap_err().contains("--resume-name"));
        for options in
            [["a", "--idempotency-key", "K"].as_slice(), &["a", "--idempotency-key=K", "--resume-file=p"]]
        {
            assert!(parse(options).unwrap_err().contains("see --resume-file"));
        }
    }

    #[test]
    fn an_import_cannot_be_tried_dry_and_says_how_else() {
        for dry_run in ["--dry-run", "--dry-run=true", "--no-dry-run"] {
            assert!(
                parse(&["a", dry_run]).unwrap_err().contains("a copy of the data. See `msglog help import`")
            );
        }
    }

    #[test]
    fn names_are_made_from_the_whole_path() {
        let (here, there) = (name_of(Path::new("/")).unwrap(), name_of(Path::new("/tmp/../")).unwrap());
        assert_eq!((here.len(), &here), (16, &there));
        assert_ne!(here, name_of(Path::new("/tmp")).unwrap());
    }
}
