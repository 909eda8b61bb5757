//! The man pages.

use std::fmt::Write;

use roff::{Inline, Roff, bold, italic, roman};

use super::entries::{Entry, Named, entries, globals};
use super::markdown;
use crate::client::help::{EXIT_STATUSES, described, option};
use crate::client::request::nameable;
use crate::daemon::options::{SPECS, help, variable};
use crate::protocol::table::{COMMANDS, COMMON, COMMON_WRITE, Kind};

/// The reference of the protocol.
const PROTOCOL: &str = include_str!("../../../protocol.md");

/// What the paragraph of the daemon's help begins with that is the section EXIT STATUS.
const STATUSES: &str = "exit status: ";

/// What the daemon does at a signal.
const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGTERM, SIGINT",
        "stop: no new connections, everything that was received is answered and synced, then it ends with status 0. \
         While it still starts, it ends at once; nothing is lost.",
    ),
    (
        "SIGHUP",
        "reload: nothing is read again, as options come with the start; a line on standard error says what the daemon \
         holds.",
    ),
];

/// Where the service that the package installs keeps what.
const FILES: &[(&str, &str)] = &[
    ("/etc/default/msglogd", "the options of the service, as variables"),
    ("/var/lib/msglogd", "the data of the service: log/ holds everything, index/ is made from it"),
    ("/run/msglogd/msglogd.sock", "the socket of the service"),
    ("/var/backups/msglogd", "where the backups of the service go"),
];

/// `msglog.1`.
#[must_use]
pub fn client(date: &str) -> String {
    let mut page = begin("MSGLOG", "1", date, "msglog", "the client of msglogd for people and their scripts");
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold("msglog"), roman(" [options] "), italic("noun verb"), roman(" [arguments]")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        bold("msglog"),
        roman(
            " talks to msglogd(8), the daemon that keeps messages, keys, chats, formulas and work queues of a \
             host in one log. On a terminal it prints for eyes; otherwise, and with ",
        ),
        bold("--json"),
        roman(", it prints the daemon's replies, one JSON object a line, as msglog-protocol(7) describes them."),
    ]);
    page.control("SH", ["OPTIONS"]);
    page.text([roman("Every command takes:")]);
    globals().iter().for_each(|option| listed(&mut page, &option.typed, &option.doc));
    page.control("PP", []);
    page.text([roman("Every request takes:")]);
    COMMON.iter().filter(|argument| argument.name != "cmd").for_each(|argument| {
        listed(&mut page, &option(argument), &described(argument));
    });
    page.control("PP", []);
    page.text([roman("Every command that writes takes:")]);
    COMMON_WRITE.iter().for_each(|argument| {
        let without = COMMANDS.iter().filter(|command| command.kind == Kind::Write);
        let without = without.filter(|command| nameable(command).all(|known| known.name != argument.name));
        let without: Vec<String> = without.map(|command| command.name.replace('.', " ")).collect();
        let but_for =
            if without.is_empty() { String::new() } else { format!(" (not {})", without.join(", ")) };
        listed(&mut page, &option(argument), &(described(argument) + &but_for));
    });
    page.control("SH", ["COMMANDS"]);
    entries().iter().for_each(|entry| command(&mut page, entry));
    section(&mut page, "EXIT STATUS", EXIT_STATUSES);
    page.control("SH", ["ENVIRONMENT"]);
    listed(&mut page, "MSGLOG_SOCKET", "the daemon's socket, where --socket does not name one");
    listed(&mut page, "NO_COLOR", "when it is set and not empty, there are no colours");
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("msglogd(8), msglog-protocol(7)")]);
    finish(&page)
}

/// `msglogd.8`, made from the daemon's own help.
#[must_use]
pub fn daemon(date: &str) -> String {
    let help = help();
    let mut blocks = help.split("\n\n");
    let what = blocks.next().and_then(|title| title.split_once(": ")).map_or("", |(_, what)| what);
    let mut page = begin("MSGLOGD", "8", date, "msglogd", &what.trim().replace('\n', " "));
    page.control("SH", ["SYNOPSIS"]);
    let usages = blocks.next().unwrap_or_default().trim_start_matches("usage:");
    for line in usages.lines().map(str::trim) {
        match line.split_once("  ") {
            Some((usage, doc)) => listed(&mut page, usage, doc.trim()),
            // What does not begin with the program goes on with the line above.
            None if !line.starts_with("msglogd") => drop(page.text([roman(line)])),
            None => listed(&mut page, line, ""),
        }
    }
    page.control("SH", ["OPTIONS"]);
    page.text([roman("Each option is also an environment variable, which an option overrides.")]);
    for spec in SPECS {
        let doc = format!("{} ({})", spec.doc, variable(spec.name));
        listed(&mut page, &format!("--{} {}", spec.name, spec.value), &doc);
    }
    listed(&mut page, "--yes", "with repair: do what it says it would");
    listed(&mut page, "-h, --help", "the help");
    listed(&mut page, "-V, --version", "the version");
    section(&mut page, "SIGNALS", SIGNALS);
    section(&mut page, "FILES", FILES);
    // The first block is the rest of the options, which the table gave already.
    let rest = blocks.skip_while(|block| block.trim_start().starts_with(['o', '-']));
    let (statuses, notes): (Vec<&str>, Vec<&str>) = rest.partition(|block| block.starts_with(STATUSES));
    let statuses = statuses.concat().replace(STATUSES, "").replace('\n', " ");
    section(
        &mut page,
        "EXIT STATUS",
        &statuses.split(", ").filter_map(|one| one.split_once(' ')).collect::<Vec<_>>(),
    );
    page.control("SH", ["NOTES"]);
    notes.iter().for_each(|block| paragraph(&mut page, block.trim()));
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("msglog(1), msglog-protocol(7)")]);
    paragraph(
        &mut page,
        "How to install, watch, upgrade, back up and repair it: /usr/share/doc/msglogd/docs/operations.md",
    );
    finish(&page)
}

/// `msglog-protocol.7`, which is `protocol.md`.
#[must_use]
pub fn protocol(date: &str) -> String {
    let mut page =
        begin("MSGLOG-PROTOCOL", "7", date, "msglog-protocol", "what clients and msglogd say to each other");
    markdown::render(&mut page, PROTOCOL);
    page.control("SH", ["SEE ALSO"]);
    page.text([roman("msglog(1), msglogd(8)")]);
    finish(&page)
}

fn begin(title: &str, section: &str, date: &str, name: &str, what: &str) -> Roff {
    let mut page = Roff::new();
    let version = concat!("msglogd ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [title, section, date, version, "msglogd"]);
    // Names of variables and paths are not to be broken, nor lines stretched.
    page.control("nh", []);
    page.control("ad", ["l"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {what}"))]);
    page
}

/// The page as text, without the paragraphs that would be empty: those under a heading, and those
/// in front of another break.
fn finish(page: &Roff) -> String {
    let text = page.to_roff();
    let lines: Vec<&str> = text.lines().collect();
    let is = |line: Option<&&str>, macros: &[&str]| {
        line.is_none_or(|line| {
            macros.iter().any(|name| line.get(1..3) == Some(name) && line.starts_with('.'))
        })
    };
    let empty = |(place, line): &(usize, &&str)| {
        let (before, after) =
            (place.checked_sub(1).and_then(|before| lines.get(before)), lines.get(place + 1));
        **line == ".PP" && (is(before, &["SH", "SS"]) || is(after, &["PP", "SH", "SS", "TP", "IP", "RE"]))
    };
    let kept = lines.iter().enumerate().filter(|line| !empty(line)).map(|(_, line)| *line);
    in_ascii(&(kept.collect::<Vec<_>>().join("\n") + "\n"))
}

/// Characters by their numbers: groff by itself takes bytes for Latin-1.
fn in_ascii(page: &str) -> String {
    page.chars().fold(String::with_capacity(page.len()), |mut text, character| {
        if character.is_ascii() {
            text.push(character);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\[u{:04X}]", u32::from(character));
        }
        text
    })
}

/// A section of names with their descriptions.
fn section(page: &mut Roff, title: &str, rows: &[(&str, &str)]) {
    page.control("SH", [title]);
    rows.iter().for_each(|(name, doc)| listed(page, name, doc));
}

/// Something in bold with its description under it.
fn listed(page: &mut Roff, name: &str, doc: &str) {
    page.control("TP", []);
    page.text([bold(name)]);
    page.text([roman(doc)]);
}

fn command(page: &mut Roff, entry: &Entry) {
    page.control("TP", []);
    page.text([bold(format!("msglog {}", entry.words)), Inline::Italic(format!(" {}", entry.takes))]);
    page.text([roman(entry.doc.as_str())]);
    let common = |option: &&Named| {
        let of_writes = COMMON_WRITE.iter().any(|common| option.typed == self::option(common));
        !of_writes && option.name != "id"
    };
    let options: Vec<&Named> = entry.options.iter().filter(common).collect();
    if entry.about.is_empty() && options.is_empty() && entry.examples.is_empty() {
        return;
    }
    page.control("RS", []);
    entry.about.iter().for_each(|text| paragraph(page, text));
    options.iter().for_each(|option| listed(page, &option.typed, &option.doc));
    if !entry.examples.is_empty() {
        page.control("PP", []);
        literal(page, &entry.examples);
    }
    page.control("RE", []);
}

fn paragraph(page: &mut Roff, text: &str) {
    page.control("PP", []);
    page.text([roman(text)]);
}

/// Lines as they are.
pub fn literal(page: &mut Roff, lines: &[&str]) {
    page.control("RS", ["4"]);
    page.control("nf", []);
    lines.iter().for_each(|line| {
        page.text([roman(*line)]);
    });
    page.control("fi", []);
    page.control("RE", []);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_option_is_in_its_page() {
        let page = client("2026-01-31").replace("\\-", "-");
        for entry in entries() {
            assert!(page.contains(&format!("msglog {}", entry.words)), "{}", entry.words);
            assert!(entry.options.iter().all(|option| page.contains(&option.typed)), "{}", entry.words);
        }
        assert!(page.contains("(not queue reserve)"), "{page}");
        let page = daemon("2026-01-31").replace("\\-", "-");
        assert!(SPECS.iter().all(|spec| page.contains(&format!("--{} {}", spec.name, spec.value))));
        assert!(page.contains("msglogd check"), "{page}");
        let usages = help().split("\n\n").nth(1).unwrap_or_default().matches("msglogd").count();
        let listed = page.split(".SH OPTIONS").next().unwrap_or_default().matches(".TP\n").count();
        assert_eq!(usages, listed, "{page}");
        let page = protocol("2026-01-31");
        assert!(COMMANDS.iter().all(|command| page.contains(&format!("SS {}", command.name))), "{page}");
    }

    /// The names that a section lists.
    fn names(page: &str, section: &str) -> Vec<String> {
        let (_, rest) = page.split_once(&format!(".SH {section}\n")).unwrap();
        let lines: Vec<&str> = rest.lines().take_while(|line| !line.starts_with(".SH")).collect();
        let named = lines.windows(2).filter(|pair| pair[0] == ".TP");
        named.map(|pair| pair[1].replace("\\-", "-").replace("\\fB", "").replace("\\fR", "")).collect()
    }

    #[test]
    fn the_daemons_page_has_what_an_operator_looks_for() {
        let page = daemon("2026-01-31");
        assert_eq!(names(&page, "\"EXIT STATUS\""), ["0", "64", "65", "74", "75"], "{page}");
        assert_eq!(names(&page, "SIGNALS"), ["SIGTERM, SIGINT", "SIGHUP"]);
        assert_eq!(names(&page, "FILES").len(), 4);
        assert!(names(&page, "OPTIONS").ends_with(&["-h, --help".into(), "-V, --version".into()]));
        assert!(page.contains("/usr/share/doc/msglogd/docs/operations.md"), "{page}");
    }

    #[test]
    fn an_id_is_listed_for_every_request_and_what_writes_take_for_writes() {
        let page = client("2026-01-31");
        let (_, requests) = page.split_once("Every request takes:").unwrap();
        let (requests, writes) = requests.split_once("Every command that writes takes:").unwrap();
        let writes = writes.split(".SH").next().unwrap();
        let id = "id JSON";
        assert!(requests.contains(id) && !writes.contains(id) && writes.contains("durable"), "{page}");
    }

    #[test]
    fn no_control_line_comes_from_a_text() {
        let mut page = Roff::new();
        literal(&mut page, &[".so /etc/passwd", "'x"]);
        let page = page.to_roff();
        assert!(!page.contains("\n.so") && !page.contains("\n'x"), "{page}");
    }
}
