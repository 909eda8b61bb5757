//! Makes the C library's allocator give back what the daemon needs no more.
//!
//! glibc gives memory back only from the end of a heap. Large pieces have pages of their own, which go
//! back when they are freed, but it raises by itself the size from which a piece is large, up to
//! 32 MiB (`mallopt(3)`, `M_MMAP_THRESHOLD`). So a daemon that took a burst of posts would go on
//! holding about three times what it uses. The settings against that are read before `main`: the
//! program starts itself once more with them, as the same process.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

/// See `mallopt(3)`. With a size of its own the threshold stays where it is.
const SETTINGS: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
    ("MALLOC_TRIM_THRESHOLD_", "524288"),
    // One for each thread that works all the time, so that none waits for another.
    ("MALLOC_ARENA_MAX", "5"),
];

/// Starts the program again with these settings, unless there are some already: its own, or those of
/// an operator. Goes on without if that is not possible.
pub fn give_back() {
    let set = |(name, _): &(&str, &str)| std::env::var_os(name).is_some();
    if !cfg!(target_env = "gnu") || SETTINGS.iter().any(set) || std::env::var_os("GLIBC_TUNABLES").is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) else { return };
    // This comes back only when it has failed.
    let _ = Command::new(program).arg0(name).args(arguments).envs(SETTINGS).exec();
    // The attempt has made a broken pipe deadly again.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGPIPE, Arc::default());
}
