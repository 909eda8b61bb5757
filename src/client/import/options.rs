//! What `msglog import` is told.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::resume::Resume;
use crate::client::command_line::{CommandLine, Piece, unknown_option};
use crate::client::failure::{Failure, Result};
use crate::client::own::{Own, flag, option};
use crate::client::request::{encode, nameable, option_name};
use crate::client::suggest::did_you_mean;
use crate::paths::shell_word;
use crate::protocol::table::{Argument, COMMANDS, Command, Kind, Type};

/// `msglog import`, as help and completions know it.
pub const OWN: Own = Own {
    words: "import",
    takes: "FILE [options]",
    doc: "Sends every line of a file, messages or requests.",
    about: &[
        "`-` is standard input (zcat FILE.gz | msglog import -). A line with `cmd` is a request and is \
              sent as it is. Any other line is a message: `body` and either `originator` and `recipient`, or \
              `app` and `chat`. Keys that a message does not have are left out, and named at the end. A \
              refused line is reported with its number, and the import goes on.",
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
            "for lines that have none; likewise every other argument of the command, such as --queue, or \
             --no-durable",
        ),
        flag(
            "stop-on-error",
            "stop at the first line that is refused (up to 2000 lines behind it have been sent by then, and \
             count)",
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
         file's path unless it is given. The daemon keeps the keys for ever: give a new --resume-name when \
         other lines are imported from the same path.",
        "At the end one line says how many were imported and refused, in how many seconds. Exit status: 0 \
         all imported; 3 some were refused; 4 the daemon went away, and then how to go on is said.",
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

    /// What to do after an import that was cut off behind this line.
    #[must_use]
    pub fn how_to_go_on(&self, line: u64) -> String {
        let words: Vec<String> =
            std::env::args_os().map(|word| shell_word(&word.to_string_lossy())).collect();
        if self.resume.is_some() {
            return format!("To go on, run the same again: {}", words.join(" "));
        }
        let input =
            if self.is_standard_input() { "INPUT".into() } else { shell_word(&self.file.to_string_lossy()) };
        let file = self.file.to_string_lossy();
        let words: Vec<String> =
            words.into_iter().map(|word| if word == shell_word(&file) { "-".into() } else { word }).collect();
        format!(
            "To go on: tail -n +{} {input} | {}\nUp to 2000 lines behind line {line} may be stored all the same; \
             with --resume-file none is stored twice.",
            line + 1,
            words.join(" ")
        )
    }
}

impl Given {
    fn option(&mut self, name: &str, line: &mut CommandLine) -> Result<()> {
        match name {
            "command" => self.command = Some(line.text()?),
            "stop-on-error" => self.stop_on_error = true,
            "resume-file" => self.resume_file = Some(line.value()?.into()),
            "resume-name" => self.resume_name = Some(line.text()?),
            _ => {
                let name = name.replace('_', "-");
                let (name, denied) = match name.strip_prefix("no-") {
                    Some(flag) => (flag.to_owned(), true),
                    None => (name, false),
                };
                let value = match kind_of(&name) {
                    Some(Type::Flag) => (!denied).to_string(),
                    Some(_) if !denied => line.text()?,
                    _ => return Err(unknown(&name)),
                };
                self.defaults.push((name, value));
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

/// The kind of an argument that any command has under this name.
fn kind_of(name: &str) -> Option<Type> {
    let mut arguments = COMMANDS.iter().flat_map(nameable);
    arguments.find(|argument| option_name(argument) == name).map(|argument| argument.kind)
}

fn unknown(name: &str) -> Failure {
    unknown_option(name, "import", &OWN.option_names())
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
    let trouble = |error| Failure::file(&format!("cannot read {}", file.display()), &error);
    let path = file.canonicalize().map_err(trouble)?;
    let hash = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let (start, _) = hash.split_at(8);
    Ok(start.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)))
        .map(|number| format!("{number:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::command_line::{Action, Invocation};

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
    fn what_makes_no_sense_is_said() {
        assert!(parse(&[]).unwrap_err().contains("one file"));
        assert!(parse(&["a", "b"]).unwrap_err().contains("one file"));
        assert!(parse(&["a.jsonl.gz"]).unwrap_err().contains("zcat a.jsonl.gz | msglog import -"));
        assert!(parse(&["-", "--stop-on-eror"]).unwrap_err().contains("`--stop-on-error`"));
        assert!(parse(&["-", "--queue", "q"]).unwrap_err().contains("takes no `queue`"));
        assert!(parse(&["-", "--command", "kv.get"]).unwrap_err().contains("`kv.set`"));
        assert!(parse(&["-", "--resume-file", "p"]).unwrap_err().contains("--resume-name"));
    }

    #[test]
    fn names_are_made_from_the_whole_path() {
        let (here, there) = (name_of(Path::new("/")).unwrap(), name_of(Path::new("/tmp/../")).unwrap());
        assert_eq!((here.len(), &here), (16, &there));
        assert_ne!(here, name_of(Path::new("/tmp")).unwrap());
    }
}
