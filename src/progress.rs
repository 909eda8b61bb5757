//! What shows how far something is: on standard error, and only on a terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar changes. More often cannot be read, and costs time.
const INTERVAL: Duration = Duration::from_millis(100);

/// How many a second that makes.
#[must_use]
pub fn per_second(count: u64, time: Duration) -> u64 {
    let per_second = u128::from(count) * 1_000_000 / time.as_micros().max(1);
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

/// A bar, or nothing.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    drawn: Instant,
}

impl Progress {
    /// A bar for so much; where that is not known, only a count.
    #[must_use]
    pub fn new(total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            let template = match total {
                Some(_) => "{bar:30} {percent:>3}%  {msg}  {eta} left",
                None => "{spinner} {msg}  {elapsed}",
            };
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.with_style(style.progress_chars("=> "))
        });
        let now = Instant::now();
        Progress { bar, started: now, drawn: now }
    }

    /// Nothing, even on a terminal.
    #[must_use]
    pub fn hidden() -> Self {
        let now = Instant::now();
        Progress { bar: None, started: now, drawn: now }
    }

    /// So many lines are done, which is so much of the total.
    pub fn advance(&mut self, lines: u64, done: u64) {
        let Some(bar) = &self.bar else { return };
        if !lines.is_multiple_of(16) || self.drawn.elapsed() < INTERVAL {
            return;
        }
        self.drawn = Instant::now();
        let rate = per_second(lines, self.started.elapsed());
        bar.set_message(format!("{lines} lines, {rate} per second"));
        bar.set_position(done);
    }

    /// Only that something is under way, and for how long already.
    #[must_use]
    pub fn waiting(what: &str) -> Self {
        let progress = Progress::new(None);
        if let Some(bar) = &progress.bar {
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(INTERVAL);
        }
        progress
    }

    /// Whether anyone sees it.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.bar.is_some()
    }

    /// So many bytes are done, of about so many; 0 where that is not known.
    pub fn amount(&mut self, done: u64, total: u64) {
        let Some(bar) = self.bar.as_ref().filter(|_| total > 0) else { return };
        if bar.length().is_none() {
            let template = "{msg}  {bar:30} {percent:>3}%  {bytes} of about {total_bytes}  {elapsed}";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_length(total);
        bar.set_position(done.min(total));
    }

    /// Counts bytes of a total.
    #[must_use]
    pub fn of_bytes(what: &str, total: u64) -> Self {
        let mut progress = Progress::waiting(what);
        progress.amount(0, total);
        progress
    }

    /// Takes bytes as they are done.
    pub fn counter(&self) -> impl FnMut(u64) + Send + 'static {
        let bar = self.bar.clone();
        move |bytes| bar.iter().for_each(|bar| bar.inc(bytes))
    }

    /// Lets something be said without spoiling the bar.
    pub fn suspend(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
