//! Plain text in lines of a bounded width: paragraphs and two columns.

/// Where lines end: on the narrowest terminal that is usual.
pub const WIDTH: usize = 80;

/// How wide the left column may become before its text moves to a line of its own.
const LEFT_MOST: usize = 34;

/// Paragraphs, with an empty line before each. One that begins with two spaces stands as it is.
#[must_use]
pub fn paragraphs(texts: &[&str]) -> String {
    let one = |text: &&str| {
        let as_it_is = text.starts_with("  ");
        let lines = if as_it_is { vec![(*text).to_owned()] } else { wrapped(text, WIDTH) };
        format!("\n{}\n", lines.join("\n"))
    };
    texts.iter().map(one).collect()
}

/// Two columns; where the left part is long, the right one begins on the next line.
#[must_use]
pub fn columns(rows: &[(String, String)]) -> String {
    let fitting = rows.iter().map(|(left, _)| left.len()).filter(|width| *width <= LEFT_MOST);
    let width = fitting.max().unwrap_or(0);
    let mut shown = String::new();
    for (left, right) in rows {
        let mut lines = wrapped(right, WIDTH - width - 4).into_iter();
        let beside = if left.len() <= width { lines.next().unwrap_or_default() } else { String::new() };
        shown += format!("  {left:width$}  {beside}").trim_end();
        shown.push('\n');
        for line in lines {
            shown.extend([" ".repeat(width + 4).as_str(), &line, "\n"]);
        }
    }
    shown
}

/// A text broken at its spaces. A word that is too long stands on a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(last) = lines.last_mut() else { continue };
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_spaces_before_the_width() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable x", 4), ["unbreakable", "x"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn a_long_left_part_stands_above_its_text() {
        let rows = [("a".to_owned(), "short".to_owned()), ("b".repeat(40), "long".to_owned())];
        let expected = format!("  a  short\n  {}\n     long\n", "b".repeat(40));
        assert_eq!(columns(&rows), expected);
    }
}
