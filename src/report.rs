//! Lines for the operator, on standard error. Where the journal reads them they begin with their
//! priority, as sd-daemon(3) has it. A line that cannot be written is lost, and nothing else is: the disk may be
//! full that it goes to, or its reader gone, or asleep.

use std::io::{StderrLock, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether a line is lost rather than waited with until somebody reads.
static WAITS_FOR_NOBODY: AtomicBool = AtomicBool::new(false);
/// Lines that were lost so since that was told last.
static LOST: AtomicU64 = AtomicU64::new(0);
/// A pipe that has room has room for so much.
const LINE_BYTES: usize = 4096;

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

/// From now on nobody is held up by whoever reads the lines, or does not: a daemon's clients have no part in that.
pub fn wait_for_nobody() {
    WAITS_FOR_NOBODY.store(true, Ordering::Relaxed);
}

fn say(priority: u8, text: &str) {
    let mut out = std::io::stderr().lock();
    let lost = LOST.load(Ordering::Relaxed);
    if lost > 0 && write(&mut out, 4, &format!("{lost} lines were lost, as nobody read standard error")) {
        LOST.fetch_sub(lost, Ordering::Relaxed);
    }
    if !write(&mut out, priority, text) {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes a text. `false` when it would have to wait.
fn write(out: &mut StderrLock<'_>, priority: u8, text: &str) -> bool {
    let lines = if is_journal() {
        // Each line of a text is an entry of its own there.
        text.lines().fold(String::new(), |lines, line| lines + &format!("<{priority}>{line}\n"))
    } else {
        format!("msglogd: {text}\n")
    };
    lines.as_bytes().chunks(LINE_BYTES).all(|piece| {
        let room = !WAITS_FOR_NOBODY.load(Ordering::Relaxed) || has_room(out);
        if room {
            // What fails is lost, and would be again.
            let _ = out.write_all(piece);
        }
        room
    })
}

/// Whether standard error takes something at once. An end that is gone does: that is an error.
fn has_room(out: &StderrLock<'_>) -> bool {
    let mut waited = [PollFd::new(out, PollFlags::OUT)];
    !matches!(poll(&mut waited, Some(&Timespec::default())), Ok(0))
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
