//! What is wrong with a command line.

use super::Globals;
use crate::client::failure::Failure;
use crate::client::own::GLOBALS;
use crate::client::{help, suggest};

/// Whether this is a dash and one letter.
pub(super) fn is_short(argument: &str) -> bool {
    matches!(argument.as_bytes(), [b'-', letter] if letter.is_ascii_alphabetic())
}

/// A usage failure for an option that a command does not have.
#[must_use]
pub fn unknown_option(option: &str, command: &str, options: &[&str]) -> Failure {
    if is_short(option) {
        return unknown_short(option, options);
    }
    let known = options.iter().copied().chain(GLOBALS.iter().map(|global| global.name));
    let meant = suggest::nearest(option, known);
    let hint = meant.map_or(".".to_owned(), |meant| format!("; did you mean `--{meant}`?"));
    let topic = if command == "msglog" { String::new() } else { format!(" {command}") };
    Failure::Usage(format!("`{command}` has no option `--{option}`{hint} See `msglog help{topic}`."))
}

/// A usage failure for `-x`, which may be meant as an option or as text.
fn unknown_short(option: &str, options: &[&str]) -> Failure {
    let letter = option.trim_start_matches('-');
    let mut known = options.iter().copied().chain(GLOBALS.iter().map(|global| global.name));
    let meant = known.find(|name| name.starts_with(letter));
    let meant = meant.map_or(String::new(), |name| format!(": --{name}"));
    Failure::Usage(format!(
        "there is no option {option}; options have two dashes{meant}. For text that begins with a dash \
         write `--` first"
    ))
}

/// A usage failure in what lexopt says.
pub(super) fn usage(error: &lexopt::Error) -> Failure {
    Failure::Usage(error.to_string())
}

/// What is wrong with a command line that has options and no command.
pub(super) fn no_command(globals: &Globals) -> String {
    match &globals.socket {
        // As in `msglog --socket $SOCK ping`, where the variable is empty.
        Some(path) => format!("a command is missing: `{}` was taken for the socket's path", path.display()),
        None => "a command is missing".into(),
    }
}

/// A usage failure for a command line that ends too early, with the help on these words.
pub(super) fn missing(what: &str, words: &[String]) -> Failure {
    match help::text(words) {
        Ok(help) => Failure::Usage(format!("{what}\n\n{help}")),
        Err(failure) => failure,
    }
}

#[cfg(test)]
mod tests {
    use crate::client::command_line::testing::usage_of;

    #[test]
    fn a_command_line_that_ends_too_early_gets_the_help_as_a_failure() {
        assert!(usage_of(&[]).starts_with("a command is missing\n\nmsglog talks to"));
        assert!(usage_of(&["--socket", "ping"]).starts_with("a command is missing: `ping` was taken"));
        let usage = usage_of(&["message"]);
        assert!(usage.starts_with("`message` needs a verb\n\nUsage: msglog message VERB"), "{usage}");
    }
}
