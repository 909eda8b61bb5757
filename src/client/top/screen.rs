//! Drawing the screen.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};

use super::figures::{bytes, grouped, microseconds, rate};
use super::history::{History, Now, RATES};
use super::sample::{Queue, Sample};
use super::view::View;
use crate::client::moment::{relative, span};
use crate::client::style::visible;
use crate::time::Timestamp;

/// Rows that the boxes above the queues take.
const BOX_ROWS: u16 = 7;

/// Rows that a screen takes beside one for each queue: all boxes, the headings, and one at either end.
pub const ROWS_BESIDE_QUEUES: usize = 2 * BOX_ROWS as usize + 5;

/// What headings look like.
const HEADING: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, view: &View, history: &History) {
    let [head, rates, sizes, queues, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(BOX_ROWS),
        Constraint::Length(BOX_ROWS),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let ink = Inks { coloured: view.coloured };
    frame.render_widget(Paragraph::new(ink.keys(view)), keys);
    let Some(now) = history.now() else {
        frame.render_widget(
            Paragraph::new(format!(" waiting for the daemon at {}", visible(&view.place))),
            head,
        );
        return;
    };
    frame.render_widget(Paragraph::new(ink.head(view, &now.sample)), head);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(41)]).areas(rates);
    throughput(frame, ink, left, history, now);
    latencies(frame, ink, right, now);
    let [stored, log, daemon] = Layout::horizontal([Constraint::Fill(1); 3]).areas(sizes);
    for (area, title, rows) in [
        (stored, "stored", stored_rows(now)),
        (log, "log and index", log_rows(now)),
        (daemon, "daemon", daemon_rows(now)),
    ] {
        pairs(frame, ink, area, title, &rows);
    }
    queue_table(frame, ink, queues, view, &now.sample);
}

/// What stands out, with colours or without.
#[derive(Clone, Copy)]
struct Inks {
    coloured: bool,
}

impl Inks {
    fn of(self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn block(self, title: &str) -> Block<'static> {
        let title = Span::styled(format!(" {title} "), HEADING);
        Block::bordered().border_style(self.of(Color::DarkGray)).title(title)
    }

    /// The first line: which daemon, how long, how far, and what is wrong with it.
    fn head(self, view: &View, sample: &Sample) -> Line<'static> {
        let up =
            Timestamp::parse(&sample.started_at).map_or(0, |started| sample.at.0.saturating_sub(started.0));
        let up = span(std::time::Duration::from_micros(up));
        let mut parts = vec![
            Span::styled(format!(" msglogd {} ", visible(&sample.version)), HEADING),
            Span::raw(format!(" up {up}  seq {}  ", grouped(sample.number("stored.seq")))),
        ];
        let warning = self.of(Color::Red).add_modifier(Modifier::BOLD);
        if let Some(reason) = &view.away {
            parts.push(Span::styled(visible(reason), warning));
        } else if view.paused {
            parts.push(Span::styled("paused", self.of(Color::Yellow).add_modifier(Modifier::BOLD)));
        } else if sample.number("writer.read_only") > 0 {
            parts.push(Span::styled("READ ONLY: the disk failed", warning));
        } else {
            parts.push(Span::styled(visible(&view.place), self.of(Color::DarkGray)));
        }
        Line::from(parts)
    }

    /// The last line: the keys.
    fn keys(self, view: &View) -> Line<'static> {
        let order = if view.reversed { "reversed" } else { "order" };
        let keys = [
            ("q", "quit".to_owned()),
            ("p", if view.paused { "go on".into() } else { "pause".into() }),
            ("s", format!("sort: {}", view.sort.name())),
            ("r", order.into()),
            ("+-", format!("every {} s", view.interval.as_secs_f64())),
            ("arrows", "queues".into()),
        ];
        let spans = keys.into_iter().flat_map(|(key, what)| {
            [
                Span::styled(format!(" {key}"), self.of(Color::Cyan).add_modifier(Modifier::BOLD)),
                Span::raw(format!(" {what} ")),
            ]
        });
        Line::from(spans.collect::<Vec<_>>())
    }
}

/// Rates, each with its history beside it.
fn throughput(frame: &mut Frame<'_>, ink: Inks, area: Rect, history: &History, now: &Now) {
    let block = ink.block("throughput");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let rates = RATES.iter().zip(now.rates).map(|((label, _), value)| (*label, value));
    let rows = rates.chain([("writes/batch", now.writes_per_batch)]);
    for ((place, (label, value)), row) in rows.enumerate().zip(inner.rows()) {
        let [text, chart] = Layout::horizontal([Constraint::Length(23), Constraint::Fill(1)]).areas(row);
        let shown = if now.interval.is_some() { rate(value) } else { "-".into() };
        frame.render_widget(Paragraph::new(format!("{label:<12}{shown:>10}")), text);
        let heights = history.heights(place, usize::from(chart.width));
        let colour = if label == "errors/s" { Color::Red } else { Color::Green };
        // What is newest stands at the right.
        let missing = usize::from(chart.width).saturating_sub(heights.len());
        let heights: Vec<u64> = std::iter::repeat_n(0, missing).chain(heights).collect();
        frame.render_widget(Sparkline::default().data(heights).style(ink.of(colour)), chart);
    }
}

/// How long things took since the look before.
fn latencies(frame: &mut Frame<'_>, ink: Inks, area: Rect, now: &Now) {
    let bound = |us: Option<u64>| us.map_or("-".to_owned(), |us| format!("{:>8}", microseconds(us)));
    let rows = now.latencies.iter().map(|recent| {
        Row::new([
            visible(&recent.name),
            format!("{:>7}", grouped(recent.count)),
            format!("{:>8}", bound(recent.p50)),
            format!("{:>8}", bound(recent.p99)),
        ])
    });
    let widths = [Constraint::Fill(1), Constraint::Length(7), Constraint::Length(8), Constraint::Length(8)];
    let header = Row::new([
        String::new(),
        format!("{:>7}", "count"),
        format!("{:>8}", "p50"),
        format!("{:>8}", "p99"),
    ]);
    let header = header.style(ink.of(Color::DarkGray));
    frame.render_widget(Table::new(rows, widths).header(header).block(ink.block("latency under")), area);
}

fn stored_rows(now: &Now) -> Vec<(&'static str, String)> {
    let number = |name: &str| grouped(now.sample.number(name));
    vec![
        ("messages", number("stored.messages")),
        ("keys", number("stored.keys")),
        ("chats", format!("{} in {} apps", number("stored.chats"), number("stored.apps"))),
        ("formulas", number("stored.formulas")),
        ("queues", number("stored.queues")),
    ]
}

fn log_rows(now: &Now) -> Vec<(&'static str, String)> {
    let sample = &now.sample;
    let runs = |runs, size| format!("{} runs {}", sample.number(runs), bytes(sample.number(size)));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive")]
    let growing = bytes(now.log_bytes_per_second as u64);
    vec![
        ("segments", grouped(sample.number("log.segments"))),
        ("size", bytes(sample.number("log.bytes"))),
        ("growing", format!("{growing}/s")),
        ("index", runs("index.file_runs", "index.file_bytes")),
        ("memory", runs("index.memory_runs", "index.memory_bytes")),
    ]
}

fn daemon_rows(now: &Now) -> Vec<(&'static str, String)> {
    let sample = &now.sample;
    let number = |name: &str| grouped(sample.number(name));
    vec![
        ("connections", number("connections.open")),
        ("followers", number("connections.followers")),
        ("waiting", format!("{} reserves", number("connections.waiting_reserves"))),
        ("buffers", bytes(sample.number("connections.buffered_bytes"))),
        ("memory", bytes(sample.number("memory.resident_bytes"))),
    ]
}

/// Names at the left and values at the right.
fn pairs(frame: &mut Frame<'_>, ink: Inks, area: Rect, title: &str, rows: &[(&str, String)]) {
    let block = ink.block(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    for ((name, value), row) in rows.iter().zip(inner.rows()) {
        frame.render_widget(Paragraph::new(*name), row);
        frame.render_widget(Paragraph::new(value.as_str()).right_aligned(), row);
    }
}

fn queue_table(frame: &mut Frame<'_>, ink: Inks, area: Rect, view: &View, sample: &Sample) {
    let queues = view.ordered(&sample.queues);
    let right = |text: String| Line::from(text).right_aligned();
    let rows = queues.iter().skip(view.scrolled).map(|queue| {
        let dead = if queue.dead > 0 { ink.of(Color::Red) } else { Style::new() };
        let cells = [
            Line::from(visible(&queue.name)),
            right(grouped(queue.ready)),
            right(grouped(queue.delayed)),
            right(grouped(queue.leased)),
            right(grouped(queue.dead)).style(dead),
            right(age(queue, sample.at)),
        ];
        Row::new(cells)
    });
    let headings = ["name", "ready", "delayed", "leased", "dead", "oldest ready"];
    let headings = headings.map(|heading| {
        let line = Line::from(heading);
        if heading == "name" { line } else { line.right_aligned() }
    });
    let header = Row::new(headings).style(ink.of(Color::DarkGray));
    let number = Constraint::Length(10);
    let widths = [Constraint::Fill(1), number, number, number, number, Constraint::Length(12)];
    let more = if sample.more_queues { "+" } else { "" };
    let place = if view.scrolled > 0 { format!(", from {}", view.scrolled + 1) } else { String::new() };
    let title = format!("queues by {}: {}{more}{place}", view.sort.name(), queues.len());
    frame.render_widget(Table::new(rows, widths).header(header).block(ink.block(&title)), area);
}

/// How long the oldest ready job has been there.
fn age(queue: &Queue, now: Timestamp) -> String {
    let Some(oldest) = queue.oldest_at else { return "-".into() };
    relative(&oldest.to_string(), now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::sample;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use std::time::Duration;

    /// What stands on a screen of this size, line by line.
    fn screen(view: &View, history: &History, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(frame, view, history)).unwrap();
        super::super::picture::lines(terminal.backend().buffer())
    }

    fn history() -> History {
        let mut history = History::default();
        let first = sample("2026-01-31T09:00:00.000000Z", 1000, Duration::ZERO);
        let mut second = sample("2026-01-31T09:00:00.000000Z", 13_000, Duration::ZERO);
        second.taken = first.taken + Duration::from_secs(1);
        history.push(first);
        history.push(second);
        history
    }

    fn view() -> View {
        View::new("/run/msglogd.sock".into(), Duration::from_secs(1), false)
    }

    #[test]
    fn everything_fits_on_80_columns_and_24_rows() {
        let shown = screen(&view(), &history(), 80, 24);
        let text = shown.join("\n");
        for expected in [
            " msglogd 0.1.0  up 3h  seq 13,000  /run/msglogd.sock",
            "requests/s      12,000",
            "writes/batch      10.0",
            "writer sync    12,000  1.02 ms  1.02 ms",
            "messages        1,234,567",
            "memory           50.0 MiB",
            "queues by depth: 3",
            "700          0          4          3      10s ago",
            " q quit  p pause  s sort: depth  r order  +- every 1 s  arrows queues",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
        let queues: Vec<&String> = shown.iter().filter(|line| line.contains("ago")).collect();
        assert!(queues[0].contains("thumb^[nails") && queues[1].contains("mails"), "{text}");
    }

    #[test]
    fn the_state_of_the_screen_and_of_the_daemon_is_said() {
        let mut view = view();
        view.paused = true;
        assert!(screen(&view, &history(), 80, 24)[0].contains("paused"));
        view.away = Some("daemon away: no daemon answers".into());
        assert!(screen(&view, &history(), 80, 24)[0].contains("daemon away: no daemon answers"));
        assert!(screen(&view, &History::default(), 80, 24)[0].contains("waiting for the daemon"));
    }

    #[test]
    fn no_size_of_the_screen_is_too_small_or_too_large() {
        for (columns, rows) in [(1, 1), (5, 3), (20, 10), (80, 12), (300, 100), (80, 1)] {
            assert_eq!(screen(&view(), &history(), columns, rows).len(), usize::from(rows));
        }
    }

    #[test]
    fn scrolled_queues_leave_the_screen() {
        let mut view = view();
        view.scroll(1, 3);
        let text = screen(&view, &history(), 80, 24).join("\n");
        assert!(!text.contains("nails") && text.contains("mails") && text.contains(", from 2"), "{text}");
    }

    #[test]
    fn without_colours_nothing_has_one() {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &view(), &history())).unwrap();
        let buffer = terminal.backend().buffer();
        assert!(buffer.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }
}
