//! A terminal with the client on it: a pseudo-terminal, and what stands on its screen.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::super::common::{Daemon, until};
use super::msglog_for;

/// A program on a terminal, killed when the test is over.
pub struct Terminal {
    child: Child,
    keys: File,
    /// Kept open, so that the terminal outlives the program and can be looked at.
    side: OwnedFd,
    seen: Arc<Mutex<Seen>>,
    reading: Option<JoinHandle<()>>,
}

/// What came out of the program.
struct Seen {
    bytes: Vec<u8>,
    screen: vt100::Parser,
}

impl Terminal {
    /// Starts the client on a terminal of 80 columns and 24 rows.
    pub fn start(daemon: &Daemon, arguments: &[&str]) -> Terminal {
        Terminal::of(msglog_for(daemon, arguments), 80, 24)
    }

    /// Starts a command on a terminal of this size.
    pub fn of(mut command: Command, columns: u16, rows: u16) -> Terminal {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&main).expect("granted");
        unlockpt(&main).expect("unlocked");
        let name = ptsname(&main, Vec::new()).expect("it has a name");
        let side = open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the other side");
        resize_to(&main, columns, rows);
        let copy = || File::from(side.try_clone().expect("a descriptor"));
        command.env("TERM", "xterm-256color");
        // Signals of the terminal, such as that of a new size, go to the session that it controls.
        // A shell may have started the tests in the background, where its keys for signals mean nothing.
        let mut session = Command::new("env");
        session
            .args(["--default-signal=INT,QUIT", "setsid", "--ctty"])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        let child = session.stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("`setsid` runs");
        let keys = File::from(main);
        let seen = Seen { bytes: Vec::new(), screen: vt100::Parser::new(some(rows), some(columns), 0) };
        let seen = Arc::new(Mutex::new(seen));
        let (shown, mut output) = (Arc::clone(&seen), keys.try_clone().expect("a descriptor"));
        let reading = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                let mut seen = shown.lock().expect("no panic");
                seen.bytes.extend_from_slice(&buffer[..read]);
                seen.screen.process(&buffer[..read]);
            }
        });
        Terminal { child, keys, side, seen, reading: Some(reading) }
    }

    /// Types these keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.seen.lock().expect("no panic").screen.screen_mut().set_size(some(rows), some(columns));
        resize_to(&self.keys, columns, rows);
    }

    /// What stands on the screen now.
    pub fn screen(&self) -> String {
        self.seen.lock().expect("no panic").screen.screen().contents()
    }

    /// Waits until the screen has this text; the screen.
    #[track_caller]
    pub fn await_text(&self, text: &str) -> String {
        let deadline = std::time::Instant::now() + super::super::common::PATIENCE;
        loop {
            let screen = self.screen();
            if screen.contains(text) {
                return screen;
            }
            assert!(std::time::Instant::now() < deadline, "no {text:?} on the screen:\n{screen}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Whether the program shows its own screen instead of that of the shell.
    pub fn has_own_screen(&self) -> bool {
        self.seen.lock().expect("no panic").screen.screen().alternate_screen()
    }

    /// Whether the terminal edits lines and shows what is typed, as a shell needs it.
    pub fn is_as_a_shell_needs_it(&self) -> bool {
        let modes = tcgetattr(self.side.as_fd()).expect("a terminal").local_modes;
        let hidden = self.seen.lock().expect("no panic").screen.screen().hide_cursor();
        modes.contains(LocalModes::ICANON | LocalModes::ECHO) && !hidden && !self.has_own_screen()
    }

    /// Sends the client a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the signal is sent");
    }

    /// Waits until the program has ended; its exit status (nothing when a signal ended it) and
    /// everything that came out.
    #[track_caller]
    pub fn finish(&mut self) -> (Option<i32>, String) {
        let status =
            until("the program on the terminal ends", || self.child.try_wait().expect("a child of ours"));
        // What is on its way through the terminal has come when this has.
        rustix::io::write(&self.side, b"\x1b[8m#end#").expect("the terminal takes it");
        until("all output has come", || {
            self.seen.lock().expect("no panic").bytes.ends_with(b"#end#").then_some(())
        });
        let bytes = self.seen.lock().expect("no panic").bytes.clone();
        let text = String::from_utf8(bytes).expect("UTF-8");
        (status.code(), text.trim_end_matches("\x1b[8m#end#").replace("\r\n", "\n"))
    }
}

/// A size for the screen, also where the terminal does not know its own.
fn some(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap_or(NonZero::<u16>::MIN.saturating_add(79))
}

fn resize_to(terminal: impl AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a terminal has a size");
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The thread ends when the program and its terminal are gone, which it may outlive a little.
        drop(self.reading.take());
    }
}
