//! A document in Markdown: its sections, tables and examples.

use std::fs;
use std::path::Path;

/// A document by lines.
pub struct Document {
    name: &'static str,
    lines: Vec<String>,
}

/// The examples under one heading of the second level: one story.
pub struct Section {
    /// Its examples, in order.
    pub blocks: Vec<Vec<Line>>,
}

/// A line of an example.
pub struct Line {
    /// Where it is, for people.
    pub place: String,
    /// What it says.
    pub text: String,
}

impl Document {
    /// Reads a document of this package.
    pub fn read(name: &'static str) -> Document {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Document { name, lines: text.lines().map(str::to_owned).collect() }
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The lines under a heading, up to the next one of its level or above.
    pub fn under(&self, heading: &str) -> Vec<&str> {
        let level = heading.split(' ').next().unwrap_or_default().len();
        let ends = |line: &&String| {
            let marks = line.len() - line.trim_start_matches('#').len();
            (1..=level).contains(&marks) && line[marks..].starts_with(' ')
        };
        let start = self.lines.iter().position(|line| line == heading);
        let start = start.unwrap_or_else(|| panic!("{} has no heading {heading:?}", self.name));
        self.lines[start + 1..].iter().take_while(|line| !ends(line)).map(String::as_str).collect()
    }

    /// The sections that have examples.
    pub fn sections(&self) -> Vec<Section> {
        let mut sections = Vec::new();
        let mut section = Section { blocks: Vec::new() };
        let mut block: Option<Vec<Line>> = None;
        for (number, text) in self.lines.iter().enumerate() {
            match (&mut block, text.as_str()) {
                (Some(_), "```") => section.blocks.extend(block.take()),
                (Some(lines), _) => {
                    lines.push(Line { place: format!("{}:{}", self.name, number + 1), text: text.clone() });
                }
                (None, "```console") => block = Some(Vec::new()),
                (None, heading) if heading.starts_with("## ") => {
                    sections.push(std::mem::replace(&mut section, Section { blocks: Vec::new() }));
                }
                (None, _) => {}
            }
        }
        sections.push(section);
        assert!(block.is_none(), "{}: the last example has no end", self.name);
        sections.retain(|section| !section.blocks.is_empty());
        sections
    }
}

/// The cells of a table's row; nothing for other lines and for the line under a table's head.
pub fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<String> = inner.split('|').map(|cell| cell.trim().to_owned()).collect();
    (!cells[0].starts_with("---")).then_some(cells)
}

/// What stands between back quotes in a text.
pub fn quoted(text: impl AsRef<str>) -> Vec<String> {
    text.as_ref().split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
