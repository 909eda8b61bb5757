//! The daemon that is measured: that of this source, as it is released.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where it lies. When cargo runs this, it is built first unless it is.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(cargo) = std::env::var_os("CARGO") {
            let done = Command::new(cargo)
                .args(["build", "--quiet", "--release", "--locked", "--package", "msglogd"])
                .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
                .status();
            assert!(done.is_ok_and(|status| status.success()), "the daemon cannot be built");
        }
        // This program lies in target/release/deps.
        let own = std::env::current_exe().expect("a path");
        own.ancestors().nth(2).expect("a folder").join("msglogd")
    })
}
