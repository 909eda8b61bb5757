//! The daemon's options: from the command line, or else from the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::limits::{self, LINE_BYTES_MAX, LINE_BYTES_MIN, Limits};
use crate::paths;
use crate::server::access::Access;

/// One option, as `--help` shows it.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its name, without the dashes.
    pub name: &'static str,
    /// The kind of value that it takes.
    pub value: &'static str,
    /// What it does, and its default in brackets.
    pub doc: &'static str,
}

/// Every option that takes a value.
pub const SPECS: &[Spec] = &[
    Spec { name: "data", value: "DIR", doc: "the data folder" },
    Spec { name: "socket", value: "PATH", doc: "the socket" },
    Spec { name: "socket-mode", value: "MODE", doc: "who may connect, in octal [0600]" },
    Spec { name: "allow-uid", value: "UIDS", doc: "users who may connect [all]" },
    Spec { name: "allow-gid", value: "GIDS", doc: "groups whose members may connect [all]" },
    Spec { name: "read-only-gid", value: "GIDS", doc: "groups whose members may only read [none]" },
    Spec { name: "admin-gid", value: "GIDS", doc: "groups that may verify, back up, compact [none]" },
    Spec { name: "backup-dir", value: "DIR", doc: "the one folder that backups go into [any]" },
    Spec { name: "max-line", value: "BYTES", doc: "longest request line [1M]" },
    Spec { name: "max-connections", value: "N", doc: "connections in all [4096]" },
    Spec { name: "max-connections-per-uid", value: "N", doc: "connections of one user [half of all]" },
    Spec { name: "max-buffered", value: "BYTES", doc: "lines and replies held for all clients [64M]" },
    Spec { name: "segment-bytes", value: "BYTES", doc: "size at which a log segment is sealed [64M]" },
    Spec { name: "compact-percent", value: "N", doc: "dead share to compact the log at; 0: never [50]" },
    Spec { name: "compact-bytes", value: "BYTES", doc: "dead bytes below which it is not [16M]" },
];

/// What the daemon was told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data folder.
    pub data: Option<PathBuf>,
    /// The socket, when one was named.
    pub socket: Option<PathBuf>,
    /// The socket's mode, when one was named.
    pub socket_mode: Option<u32>,
    /// Who may do what.
    pub access: Access,
    /// Where backups go, when they may go nowhere else.
    pub backup_dir: Option<PathBuf>,
    /// The bounds.
    pub limits: Limits,
}

/// What to do.
#[derive(Debug, Clone)]
pub enum Action {
    /// To serve.
    Serve(Options),
    /// To check a data folder.
    Check(Options),
    /// To repair one, or to say what that would do unless this is set.
    Repair(Options, bool),
    /// To print this and end.
    Print(String),
}

/// The environment variable of an option.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("MSGLOGD_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Those of these variables that look like an option's and are none.
pub fn unknown_variables(names: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let names = names.into_iter().map(|name| name.to_string_lossy().into_owned());
    let is_known = |name: &str| SPECS.iter().any(|spec| variable(spec.name) == name);
    names.filter(|name| name.starts_with("MSGLOGD_") && !is_known(name)).collect()
}

/// Reads the command line and the environment.
///
/// # Errors
/// What is wrong with which option, for people.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    lookup: paths::Lookup<'_>,
) -> Result<Action, String> {
    use lexopt::prelude::*;
    let mut given: Vec<(String, &str, OsString)> = Vec::new();
    let (mut command, mut yes) = (None, false);
    let mut parser = lexopt::Parser::from_iter(arguments);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Long("help") | Short('h') => return Ok(Action::Print(help())),
            Long("version") | Short('V') => {
                return Ok(Action::Print(format!("msglogd {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Long("yes") => yes = true,
            Long(name) => {
                let name = name.to_owned();
                let Some(spec) = SPECS.iter().find(|spec| spec.name == name) else {
                    return Err(format!("there is no option --{name}"));
                };
                let value = parser.value().map_err(|error| error.to_string())?;
                given.push((format!("--{name}"), spec.name, value));
            }
            Value(word) if (word == "check" || word == "repair") && command.is_none() => command = Some(word),
            other => return Err(other.unexpected().to_string()),
        }
    }
    if let Some(command) = &command
        && let Some((shown, ..)) = given.iter().find(|(_, name, _)| *name != "data")
    {
        return Err(format!("{shown} does not go with {}, which takes --data", command.display()));
    }
    for Spec { name, .. } in SPECS {
        let variable = variable(name);
        if let Some(value) = lookup(&variable).filter(|value| !value.is_empty())
            && given.iter().all(|(_, given, _)| given != name)
        {
            given.push((variable, name, value));
        }
    }
    let (access, limits) = (Access::default(), Limits::default());
    let mut options =
        Options { data: None, socket: None, socket_mode: None, access, backup_dir: None, limits };
    let mut per_uid = false;
    for (shown, name, value) in given {
        set(&mut options, &mut per_uid, name, value).map_err(|error| format!("{shown}: {error}"))?;
    }
    if !per_uid {
        options.limits.connections_per_uid = options.limits.connections.div_ceil(2);
    }
    if options.data.is_none() {
        options.data = paths::data_folder(lookup);
    }
    Ok(match command {
        Some(command) if command == "repair" => Action::Repair(options, yes),
        _ if yes => return Err("--yes goes with repair".to_owned()),
        Some(_) => Action::Check(options),
        None => Action::Serve(options),
    })
}

fn set(options: &mut Options, per_uid: &mut bool, name: &str, value: OsString) -> Result<(), String> {
    let text = || value.to_str().ok_or_else(|| "the value is not UTF-8".to_owned());
    match name {
        "data" | "socket" | "backup-dir" if value.is_empty() => {
            return Err("a path, and not nothing".to_owned());
        }
        "data" => options.data = Some(PathBuf::from(value)),
        "socket" => options.socket = Some(PathBuf::from(value)),
        "socket-mode" => {
            let mode = mode(text()?);
            options.socket_mode =
                Some(mode.ok_or("a mode is three octal digits such as 660, the first one 6 or 7")?);
        }
        "allow-uid" => options.access.allow_uids.extend(ids(text()?)?),
        "allow-gid" => options.access.allow_gids.extend(ids(text()?)?),
        "read-only-gid" => options.access.read_only_gids.extend(ids(text()?)?),
        "admin-gid" => options.access.admin_gids.extend(ids(text()?)?),
        "backup-dir" => {
            let path = PathBuf::from(value);
            options.backup_dir = Some(path).filter(|path| path.is_absolute());
            options.backup_dir.as_ref().ok_or("an absolute path")?;
        }
        "max-line" => {
            let (low, high) = (LINE_BYTES_MIN as u64, LINE_BYTES_MAX as u64);
            options.limits.line_bytes = usize::try_from(size(text()?, low, high)?).unwrap_or(LINE_BYTES_MAX);
        }
        "max-connections" => options.limits.connections = count(text()?)?,
        "max-connections-per-uid" => {
            options.limits.connections_per_uid = count(text()?)?;
            *per_uid = true;
        }
        "max-buffered" => {
            let bytes = size(text()?, 64 << 10, 1 << 40)?;
            options.limits.buffered_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        "segment-bytes" => options.limits.segment_bytes = size(text()?, 4 << 10, 2 << 30)?,
        "compact-percent" => {
            let percent = text()?.parse().ok().filter(|percent| *percent <= 100);
            options.limits.compaction.percent = percent.ok_or("a number from 0 to 100")?;
        }
        "compact-bytes" => options.limits.compaction.bytes = size(text()?, 0, 1 << 50)?,
        other => return Err(format!("{other} is in the table and not in the parser")),
    }
    Ok(())
}

/// The mode of a socket: three octal digits, or four of which the first is 0. Its owner always reads and writes.
fn mode(text: &str) -> Option<u32> {
    let digits = Some(text).filter(|text| matches!(text.len(), 3 | 4) && !text.starts_with('+'))?;
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777 && mode & 0o600 == 0o600)
}

/// User or group ids, apart by commas.
fn ids(text: &str) -> Result<Vec<u32>, String> {
    let numbers = text.split(',').map(|number| number.trim().parse().ok()).collect::<Option<Vec<u32>>>();
    numbers.ok_or_else(|| format!("{text:?} are no numeric ids, such as 1000 or 1000,1001"))
}

fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=1_000_000).contains(count))
        .ok_or("a number from 1 to 1000000".to_owned())
}

/// A number of bytes: plain, or with K, M or G for powers of 1024.
fn size(text: &str, low: u64, high: u64) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((end, 'k' | 'K')) => (&text[..end], 10),
        Some((end, 'm' | 'M')) => (&text[..end], 20),
        Some((end, 'g' | 'G')) => (&text[..end], 30),
        _ => (text, 0),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes
        .filter(|bytes| (low..=high).contains(bytes))
        .ok_or_else(|| format!("a number of bytes from {low} to {high}, such as 4096, 512K or 64M"))
}

/// What `--help` prints.
#[must_use]
pub fn help() -> String {
    use std::fmt::Write;
    let mut text = "\
msglogd: durable messages, search, key-value, chats and work queues for one
host, over one socket

usage: msglogd [options]             serve until SIGTERM or SIGINT
       msglogd check [--data DIR]    verify data that no daemon has open
       msglogd repair [--data DIR]   say what is damaged and lost in it; with
                                     --yes make it one that a daemon starts on

options, each with a value also an environment variable:
"
    .to_owned();
    for Spec { name, value, doc } in SPECS {
        let option = format!("--{name} {value}");
        let _ = writeln!(text, "  {option:<30} {}\n      {doc}", variable(name));
    }
    text.push_str(
        "  --yes
      with repair: do what it says it would
  -h, --help
      this text
  -V, --version
      the version

The data folder is the first of $STATE_DIRECTORY, $XDG_STATE_HOME/msglogd,
~/.local/state/msglogd.
The socket is the first of one passed by systemd,
$RUNTIME_DIRECTORY/msglogd.sock, $XDG_RUNTIME_DIR/msglogd.sock,
/tmp/msglogd-UID/msglogd.sock.

exit status: 0 stopped, 64 wrong usage, 65 damaged data, 74 cannot read or
write, 75 another daemon has the data or the socket

Try it:  echo '{\"cmd\":\"help\"}' | nc -N -U SOCKET    or the client:  msglog help
",
    );
    text
}

const _: () = assert!(limits::CONNECTIONS_DEFAULT == 4096 && limits::LINE_BYTES_DEFAULT == 1 << 20);

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Options, String> {
        let variables: Vec<(String, OsString)> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
        let lookup =
            move |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let arguments = std::iter::once("msglogd").chain(arguments.iter().copied()).map(OsString::from);
        match parse(arguments, &lookup)? {
            Action::Serve(options) | Action::Check(options) | Action::Repair(options, _) => Ok(options),
            Action::Print(text) => Err(text),
        }
    }

    #[test]
    fn an_option_beats_its_variable_and_both_beat_the_default() {
        let variables = [("MSGLOGD_MAX_LINE", "2M"), ("MSGLOGD_MAX_CONNECTIONS", "9"), ("HOME", "/h")];
        let options = parsed(&["--max-line", "4096"], &variables).expect("good");
        assert_eq!(options.limits.line_bytes, 4096);
        assert_eq!((options.limits.connections, options.limits.connections_per_uid), (9, 5));
        assert_eq!(options.data, Some("/h/.local/state/msglogd".into()));
    }

    #[test]
    fn ids_may_be_listed_and_repeated_and_beat_those_of_the_variable() {
        let variables = [("MSGLOGD_ALLOW_UID", "7"), ("MSGLOGD_ALLOW_GID", "8, 9")];
        let options = parsed(&["--allow-uid", "1,2", "--allow-uid", "3"], &variables).expect("good");
        assert_eq!(options.access.allow_uids, [1, 2, 3]);
        assert_eq!(options.access.allow_gids, [8, 9]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (arguments, named) in [
            (&["--max-line", "12"][..], "--max-line"),
            (&["--max-line"], "max-line"),
            (&["--socket-mode", "9"], "--socket-mode"),
            (&["--no-such"], "--no-such"),
            (&["--admin-gid", "wheel"], "--admin-gid"),
            (&["what"], "what"),
            (&["check", "--socket", "/s"], "--socket does not go with check"),
            (&["--yes"], "--yes goes with repair"),
        ] {
            let error = parsed(arguments, &[]).expect_err("wrong");
            assert!(error.contains(named), "{error}");
        }
        parsed(&["check", "--data", "/d"], &[("MSGLOGD_SOCKET", "/s")]).expect("meant for the daemon");
        let error = parsed(&[], &[("MSGLOGD_MAX_LINE", "x")]).expect_err("wrong");
        assert!(error.contains("MSGLOGD_MAX_LINE"), "{error}");
    }

    #[test]
    fn a_mode_has_three_or_four_digits_and_lets_its_owner_in() {
        for (text, mode) in [("600", 0o600), ("0666", 0o666), ("777", 0o777)] {
            assert_eq!(parsed(&["--socket-mode", text], &[]).expect("good").socket_mode, Some(mode));
        }
        for text in ["0", "", "66", "00660", "1660", "060", "466", "266", "+660", "888", "0o660"] {
            let error = parsed(&["--socket-mode", text], &[]).expect_err(text);
            assert!(error.contains("such as 660"), "{error}");
        }
    }

    #[test]
    fn variables_that_are_no_options_are_found() {
        let names = ["MSGLOGD_MAXLINE", "MSGLOGD_MAX_LINE", "MSGLOG_SOCKET", "HOME"].map(OsString::from);
        assert_eq!(unknown_variables(names), ["MSGLOGD_MAXLINE"]);
    }

    #[test]
    fn help_names_every_option_and_its_variable() {
        let text = help();
        for spec in SPECS {
            assert!(text.contains(&format!("--{}", spec.name)) && text.contains(&variable(spec.name)));
        }
        assert!(text.lines().all(|line| line.len() <= 80), "it is too wide for a terminal: {text}");
    }
}
