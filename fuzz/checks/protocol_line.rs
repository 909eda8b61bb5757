//! Lines: whatever comes, each is parsed or refused, what is accepted is JSON, and what it did is read
//! back from the log.

use msglogd::domain::command::Command;
use msglogd::protocol::request;
use serde::de::IgnoredAny;

use crate::support::Daemon;

/// More add nothing but time.
const LINES_MAX: usize = 48;

/// Sends every line of `bytes` to a daemon of its own; `+N` lets N milliseconds pass.
pub fn check(bytes: &[u8]) {
    let mut daemon = Daemon::new(4 << 10);
    for line in bytes.split(|byte| *byte == b'\n').take(LINES_MAX) {
        if let Some(passed) = line.strip_prefix(b"+").and_then(number) {
            daemon.advance(passed);
        }
        let asked = request::parse(line);
        if let Some(id) = &asked.id {
            assert!(is_json(id), "an id that is no JSON: {id}");
        }
        let Ok(command) = asked.command else { continue };
        let text = std::str::from_utf8(line).expect("what is accepted is UTF-8");
        assert!(is_json(text), "accepted, and no JSON: {text}");
        if matches!(command, Command::Read(_) | Command::Write(_)) {
            let reply = daemon.ask(text);
            let reply = reply.strip_suffix('\n').unwrap_or_default();
            assert!(is_json(reply) && reply.starts_with("{\"ok\":") && !reply.contains('\n'), "{reply}");
            for defect in ["internal", "corrupt", "read_only"] {
                assert!(!reply.contains(&format!("{{\"ok\":false,\"error\":\"{defect}\"")), "{reply}");
            }
        }
    }
    let before = daemon.table();
    daemon.leave_tail();
    daemon.flush();
    assert!(daemon.table() == before, "a run file holds another table");
    daemon.rebuild();
    assert!(daemon.table() == before, "the log gives another table");
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse::<u32>().ok().map(u64::from)
}

/// In the eyes of another reader. Numbers may be of any size.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}
