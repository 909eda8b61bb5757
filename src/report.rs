//! Lines for the operator, on standard error. Where systemd reads them they begin with their
//! priority, as sd-daemon(3) has it.

use std::sync::LazyLock;

static TO_JOURNAL: LazyLock<bool> = LazyLock::new(|| std::env::var_os("JOURNAL_STREAM").is_some());

fn say(priority: u8, line: &str) {
    if *TO_JOURNAL {
        eprintln!("<{priority}>{line}");
    } else {
        eprintln!("msglogd: {line}");
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
