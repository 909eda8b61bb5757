//! A screen as text, and as a picture.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// Size of a character in the picture.
const WIDTH: u32 = 9;
const HEIGHT: u32 = 19;

/// Room around the screen.
const MARGIN: u32 = 12;

/// The screen line by line, without spaces at their ends.
#[must_use]
pub fn lines(buffer: &Buffer) -> Vec<String> {
    let columns = usize::from(buffer.area.width.max(1));
    let line = |cells: &[Cell]| cells.iter().map(Cell::symbol).collect::<String>().trim_end().to_owned();
    buffer.content().chunks(columns).map(line).collect()
}

/// The screen as an SVG picture. Frames and bars are drawn, so that they meet in any font.
#[must_use]
pub fn svg(buffer: &Buffer) -> String {
    let columns = usize::from(buffer.area.width.max(1));
    let (width, height) = (u32::from(buffer.area.width) * WIDTH, u32::from(buffer.area.height) * HEIGHT);
    let mut shapes = String::new();
    for (row, cells) in (0..).zip(buffer.content().chunks(columns)) {
        row_of(&mut shapes, cells, MARGIN + row * HEIGHT);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" \
         font-family=\"'DejaVu Sans Mono', Menlo, Consolas, ui-monospace, monospace\" font-size=\"15\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>\n{shapes}</svg>\n",
        width + 2 * MARGIN,
        height + 2 * MARGIN
    )
}

/// One row: drawn characters by themselves, the others word by word, so that columns stand under
/// one another in any font.
fn row_of(shapes: &mut String, cells: &[Cell], top: u32) {
    let mut place = 0;
    while let Some(cell) = cells.get(place) {
        let left = MARGIN + u32::try_from(place).unwrap_or(0) * WIDTH;
        if let Some(shape) = shape(cell.symbol()) {
            draw(shapes, shape, colour(cell), left, top);
            place += 1;
            continue;
        }
        let alike = |other: &&Cell| {
            let is_text = other.symbol() != " " && shape(other.symbol()).is_none();
            is_text && other.fg == cell.fg && other.modifier == cell.modifier
        };
        let word: Vec<&str> = cells[place..].iter().take_while(alike).map(Cell::symbol).collect();
        if !word.is_empty() {
            let weight = if cell.modifier.contains(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
            // Writing to a string cannot fail.
            let _ = writeln!(
                shapes,
                "<text x=\"{left}\" y=\"{}\" fill=\"{}\"{weight} textLength=\"{}\">{}</text>",
                top + HEIGHT - 5,
                colour(cell),
                u32::try_from(word.len()).unwrap_or(0) * WIDTH,
                escaped(&word.concat())
            );
        }
        place += word.len().max(1);
    }
}

/// A character that is drawn.
#[derive(Clone, Copy)]
enum Shape {
    /// A bar of so many eighths.
    Bar(u32),
    /// Lines from the middle to these sides: up, down, left, right.
    Lines([bool; 4]),
}

fn shape(symbol: &str) -> Option<Shape> {
    let character = symbol.chars().next()?;
    Some(match character {
        '\u{2581}'..='\u{2588}' => Shape::Bar(u32::from(character) - 0x2580),
        '\u{2500}' => Shape::Lines([false, false, true, true]),
        '\u{2502}' => Shape::Lines([true, true, false, false]),
        '\u{250c}' => Shape::Lines([false, true, false, true]),
        '\u{2510}' => Shape::Lines([false, true, true, false]),
        '\u{2514}' => Shape::Lines([true, false, false, true]),
        '\u{2518}' => Shape::Lines([true, false, true, false]),
        _ => return None,
    })
}

fn draw(shapes: &mut String, shape: Shape, colour: &str, left: u32, top: u32) {
    // Writing to a string cannot fail.
    let _ = match shape {
        Shape::Bar(eighths) => {
            let height = HEIGHT * eighths / 8;
            let y = top + HEIGHT - height;
            writeln!(
                shapes,
                "<rect x=\"{left}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{height}\" fill=\"{colour}\"/>"
            )
        }
        Shape::Lines(sides) => {
            let (x, y) = (left + WIDTH / 2, top + HEIGHT / 2);
            let ends = [(x, top), (x, top + HEIGHT), (left, y), (left + WIDTH, y)];
            let lines = sides.into_iter().zip(ends).filter(|(there, _)| *there);
            let path: String = lines.flat_map(|(_, (to, down))| [format!("M{x} {y}L{to} {down}")]).collect();
            writeln!(shapes, "<path d=\"{path}\" stroke=\"{colour}\"/>")
        }
    };
}

fn colour(cell: &Cell) -> &'static str {
    match cell.fg {
        Color::DarkGray => "#727a88",
        Color::Red => "#ff6b6b",
        Color::Green => "#6fd08c",
        Color::Yellow => "#ffd166",
        Color::Cyan => "#5ccfe6",
        _ => "#e2e5ea",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    fn buffer() -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 2));
        buffer.set_string(0, 0, "\u{250c}\u{2500} <&> ", Style::new());
        buffer.set_string(0, 1, "a\u{2584}b", Style::new().fg(Color::Green));
        buffer
    }

    #[test]
    fn lines_have_no_spaces_at_their_ends() {
        assert_eq!(lines(&buffer()), ["\u{250c}\u{2500} <&>", "a\u{2584}b"]);
    }

    #[test]
    fn frames_and_bars_are_drawn_and_text_is_escaped() {
        let picture = svg(&buffer());
        assert!(
            picture.contains("<text x=\"39\" ") && picture.contains(">&lt;&amp;&gt;</text>"),
            "{picture}"
        );
        assert!(picture.contains("height=\"9\" fill=\"#6fd08c\""), "{picture}");
        assert_eq!((picture.matches("<path").count(), picture.matches("<text").count()), (2, 3));
        assert!(!picture.contains('\u{250c}') && !picture.contains('\u{2584}'));
    }
}
