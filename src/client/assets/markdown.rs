//! Markdown as a man page: what `protocol.md` uses of it.

use std::mem;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

use super::man::literal;

/// Appends a document, less its title.
pub fn render(page: &mut Roff, text: &str) {
    let mut renderer =
        Renderer { page, inlines: Vec::new(), styles: Vec::new(), cells: Vec::new(), lists: 0 };
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(tag) => renderer.start(&tag),
            Event::End(tag) => renderer.end(tag),
            Event::Text(text) => renderer.push(&text),
            Event::Code(text) => renderer.inlines.push(bold(text.as_ref())),
            Event::SoftBreak | Event::HardBreak => renderer.push(" "),
            _ => {}
        }
    }
}

/// How a piece of text stands out.
#[derive(Clone, Copy)]
enum Face {
    Bold,
    Italic,
}

struct Renderer<'a> {
    page: &'a mut Roff,
    /// What has come since the last block ended.
    inlines: Vec<Inline>,
    styles: Vec<Face>,
    /// The cells of the row so far.
    cells: Vec<Vec<Inline>>,
    /// How many lists are open.
    lists: usize,
}

impl Renderer<'_> {
    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Paragraph if self.lists == 0 => {
                self.page.control("PP", []);
            }
            Tag::List(_) => {
                self.flush();
                self.lists += 1;
            }
            Tag::Item => {
                // The bullet by its name in roff: as a character not every output knows it.
                self.page.control("IP", ["\\(bu", "2"]);
            }
            Tag::Strong => self.styles.push(Face::Bold),
            Tag::Emphasis | Tag::Link { .. } => self.styles.push(Face::Italic),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                let title = text_of(&mem::take(&mut self.inlines));
                match level {
                    HeadingLevel::H1 => self.page.control("SH", ["DESCRIPTION"]),
                    HeadingLevel::H2 => self.page.control("SH", [title.to_uppercase().as_str()]),
                    _ => self.page.control("SS", [title.as_str()]),
                };
            }
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::List(_) => {
                self.lists -= 1;
                self.page.control("PP", []);
            }
            TagEnd::CodeBlock => {
                let text = text_of(&mem::take(&mut self.inlines));
                self.page.control("PP", []);
                literal(self.page, &text.lines().collect::<Vec<_>>());
            }
            TagEnd::TableCell => {
                let cell = mem::take(&mut self.inlines);
                self.cells.push(cell);
            }
            // The headings of a table say no more than its rows.
            TagEnd::TableHead => self.cells.clear(),
            TagEnd::TableRow => self.row(),
            TagEnd::Strong | TagEnd::Emphasis | TagEnd::Link => {
                self.styles.pop();
            }
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        self.inlines.push(match self.styles.last() {
            None => roman(text),
            Some(Face::Bold) => bold(text),
            Some(Face::Italic) => italic(text),
        });
    }

    fn flush(&mut self) {
        if !self.inlines.is_empty() {
            self.page.text(mem::take(&mut self.inlines));
        }
    }

    /// A row: its first cell, and under it the others, apart by commas. Columns of a man page would
    /// be too narrow for what they hold.
    fn row(&mut self) {
        let mut cells = mem::take(&mut self.cells).into_iter().filter(|cell| !cell.is_empty());
        self.page.control("TP", []);
        self.page.text(cells.next().unwrap_or_else(|| vec![roman("-")]));
        let rest: Vec<Vec<Inline>> = cells.collect();
        self.page.text(rest.join(&roman("; ")));
    }
}

fn text_of(inlines: &[Inline]) -> String {
    let texts = inlines.iter().map(|inline| match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.as_str(),
        Inline::LineBreak => "\n",
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str) -> String {
        let mut page = Roff::new();
        render(&mut page, text);
        page.to_roff()
    }

    #[test]
    fn blocks_become_requests_of_the_man_macros() {
        let page =
            rendered("# T\n\nOne\ntwo `code`.\n\n## Part\n\n- a\n- b **c**\n\n```console\n> {}\n.x\n```\n");
        for expected in
            [".SH DESCRIPTION", "One two \\fBcode\\fR.", ".SH PART", ".IP \\(bu 2", "b \\fBc\\fR", ".nf"]
        {
            assert!(page.contains(expected), "{expected}: {page}");
        }
        assert!(!page.contains("\n.x"), "{page}");
    }

    #[test]
    fn rows_of_a_table_stand_under_one_another() {
        let page = rendered("| argument | | value |\n| --- | --- | --- |\n| `key` | required | a string |\n");
        assert!(page.contains(".TP\n\\fBkey\\fR\nrequired; a string"), "{page}");
        assert!(!page.contains("argument"), "{page}");
    }
}
