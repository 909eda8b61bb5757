//! The clients among the examples are modules that other programs import.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Daemon, finish};

/// A program in this interpreter's language that imports a client, and says what it has got.
const IMPORTING: &[(&str, &[&str])] = &[
    ("python3", &["-c", "import client; print(client.Msglog.__name__)"]),
    ("node", &["-e", "import('./client.mjs').then((client) => console.log(client.Msglog.name))"]),
    // The name of the program that imports it is no path.
    ("node", &["-e", "import('./client.mjs').then((client) => console.log(client.Msglog.name))", "name"]),
];

#[test]
fn importing_a_client_posts_nothing() {
    let daemon = Daemon::start();
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (interpreter, arguments) in IMPORTING {
        if !std::env::split_paths(&path).any(|folder| folder.join(interpreter).is_file()) {
            eprintln!("SKIPPED: the client for `{interpreter}`, which is not installed");
            continue;
        }
        let mut command = Command::new(interpreter);
        command.args(*arguments).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"));
        command.env("MSGLOG_SOCKET", daemon.socket()).env("PYTHONDONTWRITEBYTECODE", "1");
        let finished = finish(&mut command);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "Msglog\n"), "{finished:?}");
        assert_eq!(daemon.connect().last_seq(), 0, "{interpreter}");
    }
}
