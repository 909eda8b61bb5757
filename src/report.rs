//! Lines for the operator, on standard error. Where the journal reads them they begin with their
//! priority, as sd-daemon(3) has it. A line that cannot be written is lost, and nothing else is: the disk may be
//! full that it goes to, or its reader gone.

use std::io::Write;
use std::sync::LazyLock;

/// systemd names the stream it connected; a shell in between may have sent standard error elsewhere.
static IS_JOURNAL: LazyLock<bool> = LazyLock::new(|| {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let found = rustix::fs::fstat(std::io::stderr());
    found.is_ok_and(|found| named.to_str() == Some(&format!("{}:{}", found.st_dev, found.st_ino)))
});

/// Whether standard error is the systemd journal.
#[must_use]
pub fn is_journal() -> bool {
    *IS_JOURNAL
}

fn say(priority: u8, text: &str) {
    let mut out = std::io::stderr().lock();
    if is_journal() {
        // Each line of a text is an entry of its own there.
        text.lines().for_each(|line| drop(writeln!(out, "<{priority}>{line}")));
    } else {
        let _ = writeln!(out, "msglogd: {text}");
    }
}

/// Something is lost or will not work until a person acts.
pub fn critical(line: &str) {
    say(2, line);
}

/// Something failed.
pub fn error(line: &str) {
    say(3, line);
}

/// Something is not as it should be, and the daemon goes on.
pub fn warning(line: &str) {
    say(4, line);
}

/// What happened, in order.
pub fn notice(line: &str) {
    say(5, line);
}
