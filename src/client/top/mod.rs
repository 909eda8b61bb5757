//! `msglog top`: a live screen of what the daemon does.
//!
//! | module | what is there |
//! | --- | --- |
//! | `options` | what it is told |
//! | `sample`, `latency` | one look at the daemon |
//! | `history` | what happened between looks |
//! | `view` | what the person has chosen to see |
//! | `screen`, `figures` | drawing it |
//! | `picture` | the screen as text and as SVG |
//! | `live` | the terminal: keys, signals, and leaving it as it was |
//!
//! Samples are taken by a thread of their own, so that a slow daemon makes no key wait.

pub mod figures;
pub mod history;
pub mod latency;
mod live;
pub mod options;
pub mod picture;
pub mod sample;
pub mod screen;
pub mod view;

use std::fs;
use std::path::Path;
use std::thread;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

pub use options::{OWN, Options};

use super::address::Address;
use super::failure::{DONE, Failure, Result};
use super::output::Output;
use history::{History, Now};
use sample::Source;
use view::View;

/// The size of the screen where there is no terminal, or one that does not know its own.
const COLUMNS_ROWS: (u16, u16) = (80, 24);

/// The fewest columns that a printed screen takes.
const COLUMNS_MIN: u16 = 72;

/// Shows the daemon until the person ends it, or once.
///
/// # Errors
/// There is no daemon at the start, or no terminal to show it on.
pub fn top(address: &Address, output: &mut Output, options: &Options) -> Result<u8> {
    let (connection, place) = address.connect_and_tell()?;
    let source = Source::new(address.clone(), connection);
    let view = View::new(place.display().to_string(), options.interval, output.is_coloured());
    if options.once {
        return once(source, output, options, &view);
    }
    if !output.is_for_people() || !output.is_terminal() {
        return Err(Failure::Usage("`top` needs a terminal; `msglog top --once` prints one screen".into()));
    }
    let last = live::show(source, view)?;
    match (&options.svg, last) {
        (Some(file), Some(buffer)) => save(file, &buffer),
        _ => Ok(DONE),
    }
}

/// Two looks, and one screen for people or one line of JSON.
fn once(mut source: Source, output: &mut Output, options: &Options, view: &View) -> Result<u8> {
    let mut history = History::default();
    let away = |failure| match failure {
        Failure::NoDaemon(reason) => Failure::NoDaemon(format!("the daemon is away: {reason}")),
        failure => failure,
    };
    history.push(source.take().map_err(away)?);
    thread::sleep(options.interval);
    history.push(source.take().map_err(away)?);
    let size = if output.is_for_people() { ratatui::crossterm::terminal::size().ok() } else { None };
    // Some terminals, such as that of a serial line, do not know how large they are.
    let known = size.filter(|(columns, rows)| *columns > 0 && *rows > 0);
    let (columns, rows) = known.unwrap_or(COLUMNS_ROWS);
    // Narrower boxes have no room for names: lines that a terminal breaks say more.
    let columns = columns.max(COLUMNS_MIN);
    // Between the lines of a shell nothing has to be filled.
    let queues = history.now().map_or(0, |now| now.sample.queues.len());
    let needed = u16::try_from(screen::ROWS_BESIDE_QUEUES + queues).unwrap_or(u16::MAX);
    let buffer = drawn(view, &history, (columns, rows.min(needed)));
    if let Some(file) = &options.svg {
        save(file, &buffer)?;
    }
    if output.is_for_people() {
        // The last row has the keys, and nobody can press them.
        let mut lines = picture::lines(&buffer);
        lines.pop();
        output.write(&(lines.join("\n") + "\n"))?;
    } else {
        let line = history.now().map(json).unwrap_or_default();
        output.json_line(&line)?;
    }
    output.flush()?;
    Ok(DONE)
}

/// The screen of this size.
fn drawn(view: &View, history: &History, (columns, rows): (u16, u16)) -> Buffer {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
    let Ok(_) = terminal.draw(|frame| screen::draw(frame, view, history));
    terminal.backend().buffer().clone()
}

fn save(file: &Path, buffer: &Buffer) -> Result<u8> {
    let trouble = |error| Failure::file(&format!("cannot write {}", file.display()), &error);
    fs::write(file, picture::svg(buffer)).map_err(trouble)?;
    Ok(DONE)
}

/// The numbers of the screen on one line of JSON, and the whole of `stats`.
fn json(now: &Now) -> String {
    let rates: Vec<String> = history::RATES
        .iter()
        .zip(now.rates)
        .map(|((label, _), value)| format!("\"{}_per_second\":{value:.1}", label.trim_end_matches("/s")))
        .collect();
    let bound = |us: Option<u64>| us.map_or("null".to_owned(), |us| us.to_string());
    let latencies: Vec<String> = now
        .latencies
        .iter()
        .map(|recent| {
            let (name, count) = (super::request::string(&recent.name), recent.count);
            let (p50, p99) = (bound(recent.p50), bound(recent.p99));
            format!("{name}:{{\"count\":{count},\"p50_us\":{p50},\"p99_us\":{p99}}}")
        })
        .collect();
    format!(
        "{{\"at\":\"{}\",\"seconds\":{:.3},\"rates\":{{{},\"writes_per_batch\":{:.1},\"log_bytes_per_second\":{:.0}}},\
         \"latencies\":{{{}}},\"stats\":{}}}",
        now.sample.at,
        now.interval.map_or(0.0, |time| time.as_secs_f64()),
        rates.join(","),
        now.writes_per_batch,
        now.log_bytes_per_second,
        latencies.join(","),
        now.sample.stats.line()
    )
}
