//! Standard output: JSON for programs, text for people.

use std::io::{self, IsTerminal, StdoutLock, Write};

use super::command_line::Globals;
use super::failure::{Failure, Result};
use super::reply::Reply;
use super::show;
use super::style::{Style, visible_json};
use crate::paths::Lookup;
use crate::time::Timestamp;

/// For whom it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// People, on a terminal or behind a pager.
    People,
    /// A program that reads what is piped to it.
    Program,
    /// Who asked for JSON.
    Json,
}

/// Standard output, and how to write to it.
pub struct Output {
    out: io::BufWriter<StdoutLock<'static>>,
    terminal: bool,
    form: Form,
    style: Style,
    relative: bool,
}

impl Output {
    /// For people on a terminal, unless JSON was asked for; otherwise JSON, unless text was.
    #[must_use]
    pub fn new(globals: &Globals, lookup: Lookup<'_>) -> Self {
        let out = io::stdout().lock();
        let terminal = out.is_terminal();
        let form = if globals.json {
            Form::Json
        } else if terminal || globals.readable {
            Form::People
        } else {
            Form::Program
        };
        let human = terminal && form == Form::People;
        let set = |name| lookup(name).is_some_and(|value| !value.is_empty());
        let dumb = lookup("TERM").is_some_and(|value| value == "dumb");
        let style = Style::new(human && !set("NO_COLOR") && !dumb);
        Output { out: io::BufWriter::new(out), terminal, form, style, relative: globals.relative }
    }

    /// Whether people read it.
    #[must_use]
    pub fn is_for_people(&self) -> bool {
        self.form == Form::People
    }

    /// How to write for people now.
    fn style(&self) -> Style {
        if self.relative { self.style.relative_to(Timestamp::now()) } else { self.style }
    }

    /// Whether it is a terminal, where a progress bar would stand between the lines.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether people see colours.
    #[must_use]
    pub fn is_coloured(&self) -> bool {
        self.style.is_coloured()
    }

    /// Prints one reply to this request.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn reply(&mut self, request: &str, reply: &Reply) -> Result<()> {
        if self.is_for_people() {
            let text = show::reply(self.style(), request, reply);
            return self.write(&text);
        }
        // Metrics are a text that other programs read: JSON around it would only be in their way.
        if let Some(text) = reply.text("text").filter(|_| self.form == Form::Program) {
            return self.write(&text);
        }
        self.json_line(reply.line())
    }

    /// Prints a refusal, where replies were asked for as the daemon sends them. Others hear of it on standard error
    /// alone, and do not take it for what they asked for.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn refusal(&mut self, reply: &Reply) -> Result<()> {
        if self.form != Form::Json {
            return Ok(());
        }
        self.json_line(reply.line())?;
        self.flush()
    }

    /// Prints one line that a follower got.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn followed(&mut self, request: &str, line: &Reply) -> Result<()> {
        if self.is_for_people() {
            let text = show::followed(self.style(), request, line);
            return self.write(&text);
        }
        self.json_line(line.line())
    }

    /// Prints a line of JSON.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn json_line(&mut self, line: &str) -> Result<()> {
        if self.terminal {
            return self.write(&(visible_json(line) + "\n"));
        }
        self.write(line)?;
        self.write("\n")
    }

    /// Prints text as it is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes()).map_err(|error| Failure::output(&error))
    }

    /// Hands everything on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(|error| Failure::output(&error))
    }
}
