//! Man pages and completions, made from the same tables as the help texts.

mod bash;
mod entries;
mod fish;
mod man;
mod markdown;
mod zsh;

use std::fs;
use std::path::Path;

use super::failure::{DONE, Failure, Result};
use super::output::Output;
use super::own::Own;
use super::suggest::did_you_mean;
use crate::time::Timestamp;

/// `msglog completions`, as help and completions know it.
pub const COMPLETIONS: Own = Own {
    words: "completions",
    takes: "bash|zsh|fish",
    doc: "Prints the completions for a shell.",
    about: &["Packages install them. Without one, put them where the shell finds them:"],
    options: &[],
    notes: &[],
    examples: &[
        "source <(msglog completions bash)     # in ~/.bashrc",
        "msglog completions zsh > ~/.zfunc/_msglog     # a folder of $fpath",
        "msglog completions fish > ~/.config/fish/completions/msglog.fish",
    ],
};

/// `msglog assets`, as help and completions know it.
pub const ASSETS: Own = Own {
    words: "assets",
    takes: "DIR",
    doc: "Writes the man pages and all completions into a folder.",
    about: &["For those who make packages. The folder is made where it is not there, and what is in it is \
              replaced: man/msglog.1, man/msglogd.8, man/msglog-protocol.7, completions/msglog.bash, \
              completions/_msglog and completions/msglog.fish. The date in the man pages is that of \
              SOURCE_DATE_EPOCH, or today's."],
    options: &[],
    notes: &[],
    examples: &["msglog assets target/assets"],
};

/// A shell with completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// GNU bash, with or without the package bash-completion.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    /// The shell of that name.
    ///
    /// # Errors
    /// [`Failure::Usage`] when there are no completions for it.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "bash" => Ok(Shell::Bash),
            "zsh" => Ok(Shell::Zsh),
            "fish" => Ok(Shell::Fish),
            _ => {
                let hint = did_you_mean(name, ["bash", "zsh", "fish"]);
                let takes = COMPLETIONS.takes;
                Err(Failure::Usage(format!("`completions` takes {takes}, not `{name}`{hint}")))
            }
        }
    }
}

/// The completions for a shell.
#[must_use]
pub fn completions(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash::script(),
        Shell::Zsh => zsh::script(),
        Shell::Fish => fish::script(),
    }
}

/// Writes everything into a folder and says what.
///
/// # Errors
/// A file cannot be written.
pub fn write(folder: &Path, output: &mut Output) -> Result<u8> {
    let date = date()?;
    let files = [
        ("man/msglog.1", man::client(&date)),
        ("man/msglogd.8", man::daemon(&date)),
        ("man/msglog-protocol.7", man::protocol(&date)),
        ("completions/msglog.bash", bash::script()),
        ("completions/_msglog", zsh::script()),
        ("completions/msglog.fish", fish::script()),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.map_err(|error| Failure::file(&format!("cannot write {}", path.display()), &error))?;
        output.write(&format!("{}\n", path.display()))?;
    }
    output.flush()?;
    Ok(DONE)
}

/// The date for the man pages: what makes them the same for the same sources, or else today.
fn date() -> Result<String> {
    let wrong = || Failure::Usage("SOURCE_DATE_EPOCH is no number of seconds".into());
    let now = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => Timestamp(seconds.parse::<u64>().map_err(|_| wrong())?.saturating_mul(1_000_000)),
        Err(_) => Timestamp::now(),
    };
    Ok(now.to_string().chars().take_while(|character| *character != 'T').collect())
}
