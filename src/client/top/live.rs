//! The terminal while `top` has it: keys, signals, and leaving it as it was.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::history::History;
use super::sample::{Sample, Source, shortly};
use super::screen;
use super::view::View;
use crate::client::failure::{Failure, Result};
use crate::client::signals;

/// How often signals and samples are looked for while no key is pressed.
const TICK: Duration = Duration::from_millis(100);

/// The first two looks are this near to one another, so that the screen fills at once.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// Queues that a page moves by.
const PAGE: isize = 5;

/// Puts the terminal back, however `top` ends. A panic does so, too: `ratatui::try_init` sees to it.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        // When the terminal is gone there is nothing to put back.
        let _ = ratatui::try_restore();
    }
}

/// Shows the daemon until a key or a signal ends it. The last screen.
///
/// # Errors
/// The terminal cannot be used.
pub fn show(source: Source, view: View) -> Result<Option<Buffer>> {
    let trouble = |error: io::Error| Failure::file("cannot use the terminal", &error);
    let stop = Arc::new(AtomicBool::new(false));
    for signal in signals::ending() {
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(trouble)?;
    }
    let (send, samples) = bounded(1);
    let (set_interval, intervals) = bounded(8);
    let first = FIRST_INTERVAL.min(view.interval);
    let interval = view.interval;
    let looking = thread::Builder::new().spawn(move || take(source, &send, &intervals, first, interval));
    looking.map_err(|error| Failure::file("cannot start the thread that looks at the daemon", &error))?;
    let mut terminal = ratatui::try_init().map_err(trouble)?;
    let restore = Restore;
    let mut live = Live { view, history: History::default(), set_interval, queues: 0 };
    let ended = live.run(&mut terminal, &samples, &stop);
    drop(restore);
    ended.map_err(trouble)
}

/// Takes samples until nobody wants them.
fn take(
    mut source: Source,
    send: &Sender<std::result::Result<Sample, String>>,
    intervals: &Receiver<Duration>,
    first: Duration,
    mut interval: Duration,
) {
    let mut wait = first;
    while send.send(source.take().map_err(|failure| shortly(&failure))).is_ok() {
        use crossbeam_channel::RecvTimeoutError::{Disconnected, Timeout};
        match intervals.recv_timeout(wait) {
            Ok(longer_or_shorter) => interval = longer_or_shorter,
            Err(Timeout) => {}
            Err(Disconnected) => return,
        }
        wait = interval;
    }
}

/// What the keys and the samples change.
struct Live {
    view: View,
    history: History,
    set_interval: Sender<Duration>,
    queues: usize,
}

impl Live {
    fn run(
        &mut self,
        terminal: &mut DefaultTerminal,
        samples: &Receiver<std::result::Result<Sample, String>>,
        stop: &AtomicBool,
    ) -> io::Result<Option<Buffer>> {
        let mut last = None;
        let mut changed = true;
        while !stop.load(Ordering::Relaxed) {
            while let Ok(sample) = samples.try_recv() {
                changed |= self.sampled(sample);
            }
            if std::mem::take(&mut changed) {
                let frame = terminal.draw(|frame| screen::draw(frame, &self.view, &self.history))?;
                last = Some(frame.buffer.clone());
            }
            if !event::poll(TICK)? {
                continue;
            }
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    if self.pressed(key) {
                        break;
                    }
                }
                Event::Resize(..) => {}
                _ => continue,
            }
            changed = true;
        }
        Ok(last)
    }

    /// Takes a sample. Whether the screen changes.
    fn sampled(&mut self, sample: std::result::Result<Sample, String>) -> bool {
        if self.view.paused {
            return false;
        }
        match sample {
            Ok(sample) => {
                self.view.away = None;
                self.queues = sample.queues.len();
                self.view.scroll(0, self.queues);
                self.history.push(sample);
            }
            Err(reason) => self.view.away = Some(reason),
        }
        true
    }

    /// Does what a key is for. Whether it is the end.
    fn pressed(&mut self, key: KeyEvent) -> bool {
        let view = &mut self.view;
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => return true,
            KeyCode::Char('p' | ' ') => view.paused = !view.paused,
            KeyCode::Char('s') => view.sort = view.sort.next(),
            KeyCode::Char('r') => view.reversed = !view.reversed,
            KeyCode::Char(sign @ ('+' | '-')) => {
                view.step_interval(sign == '+');
                // When many keys come at once, the last ones can wait for the next press.
                let _ = self.set_interval.try_send(view.interval);
            }
            KeyCode::Down | KeyCode::Char('j') => view.scroll(1, self.queues),
            KeyCode::Up | KeyCode::Char('k') => view.scroll(-1, self.queues),
            KeyCode::PageDown => view.scroll(PAGE, self.queues),
            KeyCode::PageUp => view.scroll(-PAGE, self.queues),
            KeyCode::Home => view.scrolled = 0,
            _ => {}
        }
        false
    }
}
