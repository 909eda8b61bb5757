//! A line for each case, as soon as it is known.

use super::cases::Case;
use super::load::Figures;
use crate::client::failure::Result;
use crate::client::output::Output;
use crate::client::request::string;
use crate::client::top::figures::{grouped, microseconds};
use crate::progress::per_second;

/// Where the lines go.
pub struct Report<'a> {
    output: &'a mut Output,
}

impl<'a> Report<'a> {
    /// Lines for people, or of JSON.
    pub fn new(output: &'a mut Output) -> Self {
        Report { output }
    }

    /// Says what is measured.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn about(&mut self, text: &str) -> Result<()> {
        if self.output.is_for_people() {
            self.output.write(&format!("{text}\n\n"))?;
            return self.output.flush();
        }
        crate::client::failure::say(text);
        Ok(())
    }

    /// The headings, for people.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn heading(&mut self) -> Result<()> {
        if self.output.is_for_people() {
            let heading =
                row(["", "connections", "outstanding", "a second", "p50", "p99"].map(str::to_owned));
            self.output.write(&heading)?;
            self.output.flush()?;
        }
        Ok(())
    }

    /// The figures of a case in a shape.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn line(&mut self, case: &Case, connections: u64, outstanding: u64, figures: &Figures) -> Result<()> {
        let rate = per_second(figures.count * case.items, figures.time);
        let [p50, p99] = [500, 990].map(|share| figures.under(share).as_micros());
        if self.output.is_for_people() {
            let [p50, p99] = [p50, p99].map(|us| microseconds(u64::try_from(us).unwrap_or(u64::MAX)));
            let what = case.what.to_owned();
            let numbers = [connections.to_string(), outstanding.to_string(), grouped(rate)];
            let [connections, outstanding, rate] = numbers;
            self.output.write(&row([what, connections, outstanding, rate, p50, p99]))?;
        } else {
            let name = string(case.name);
            self.output.json_line(&format!(
                "{{\"case\":{name},\"connections\":{connections},\"outstanding\":{outstanding},\
                 \"per_second\":{rate},\"p50_us\":{p50},\"p99_us\":{p99}}}"
            ))?;
        }
        self.output.flush()
    }
}

fn row([what, connections, outstanding, rate, p50, p99]: [String; 6]) -> String {
    format!("{what:<24}{connections:>11}{outstanding:>13}{rate:>12}{p50:>10}{p99:>10}\n")
}
