//! Tables whose columns stand under one another, in whatever script their cells are.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_script::{Script, UnicodeScript};

use super::style::{Ink, Style};

/// One cell of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// What it says, on one line.
    pub text: String,
    /// Whether it is a number, and stands to the right of its column.
    pub number: bool,
}

/// A table with its headings, so many steps from the margin. The last column has no end, so that a
/// long cell in it wraps where the terminal ends.
#[must_use]
pub fn table(style: Style, headings: Vec<String>, rows: Vec<Vec<Cell>>, depth: usize) -> String {
    let numeric: Vec<bool> = (0..headings.len()).map(|column| is_numeric(&rows, column)).collect();
    let mut widths: Vec<usize> = headings.iter().map(|heading| width(heading)).collect();
    for row in &rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(&cell.text).max(*widest);
        }
    }
    let line = |texts: Vec<&str>| {
        let cells = texts.iter().zip(&widths).zip(&numeric).map(|((text, widest), right)| {
            let gap = " ".repeat(widest.saturating_sub(width(text)));
            if *right { format!("{gap}{text}") } else { format!("{text}{gap}") }
        });
        format!("{}{}", "  ".repeat(depth), cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    let mut shown = style.paint(Ink::Heading, &line(headings.iter().map(String::as_str).collect())) + "\n";
    for row in &rows {
        shown += &line(row.iter().map(|cell| cell.text.as_str()).collect());
        shown.push('\n');
    }
    shown
}

/// Whether every cell of a column that says anything is a number.
fn is_numeric(rows: &[Vec<Cell>], column: usize) -> bool {
    let mut cells =
        rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.text.is_empty()).peekable();
    cells.peek().is_some() && cells.all(|cell| cell.number)
}

/// How many columns of a terminal a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(width_of).sum() }
}

/// Marks take no room and the broad scripts two columns. Terminals disagree on the rest.
fn width_of(character: char) -> usize {
    if character.is_ascii() {
        return 1;
    }
    let hidden = character.general_category_group() == GeneralCategoryGroup::Mark
        || character.general_category() == GeneralCategory::Format;
    let broad = matches!(
        character.script(),
        Script::Han | Script::Hiragana | Script::Katakana | Script::Hangul
    ) || matches!(character, '\u{3000}'..='\u{303f}' | '\u{ff01}'..='\u{ff60}' | '\u{1f300}'..='\u{1faff}');
    match (hidden, broad) {
        (true, _) => 0,
        (false, true) => 2,
        (false, false) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_a_terminal() {
        assert_eq!(width("plain"), 5);
        assert_eq!(width("e\u{301}"), 1);
        assert_eq!(width("\u{65e5}\u{672c}"), 4);
        assert_eq!(width("\u{1f680}!"), 3);
    }

    #[test]
    fn numbers_stand_right_and_broad_letters_keep_the_columns() {
        let cell = |text: &str, number| Cell { text: text.into(), number };
        let rows = vec![
            vec![cell("\u{65e5}\u{672c}", false), cell("7", true)],
            vec![cell("a", false), cell("1234", true)],
        ];
        let shown = table(Style::new(false), vec!["key".into(), "seq".into()], rows, 1);
        assert_eq!(shown, "  key    seq\n  \u{65e5}\u{672c}     7\n  a     1234\n");
    }
}
