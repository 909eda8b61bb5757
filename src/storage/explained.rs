//! What the system says of a file, with what to do about it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;

use crate::paths::own_uid;

/// What the system says of a file, and what to do about it: where this process may not have it, where a folder is in
/// its place, where the file system is read-only, and where no more files may be open.
#[must_use]
pub fn explained(path: &Path, error: &io::Error) -> String {
    if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) {
        return format!("{error}; allow more of them (LimitNOFILE= of the service, or ulimit -n)");
    }
    match error.kind() {
        io::ErrorKind::IsADirectory => {
            format!("{error}; a file has its place there: move the folder away")
        }
        io::ErrorKind::PermissionDenied => closed(path, error),
        // The kernel makes one so whose disk fails.
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "{error}; the disk may have failed (see `dmesg` and `findmnt`); or, under systemd, where only the folders \
             of ReadWritePaths= can be written, add this one with `systemctl edit`"
        ),
        _ => error.to_string(),
    }
}

/// Whose a file is that this process may not have; or whose the folder above it is, where that is closed.
fn closed(path: &Path, error: &io::Error) -> String {
    let about = |path: &Path| fs::symlink_metadata(path).ok();
    let found = path.ancestors().find_map(|above| Some((above, about(above)?)));
    let Some((found, about)) = found else { return error.to_string() };
    let it = if found == path { "it".to_owned() } else { found.display().to_string() };
    let (owner, own, mode) = (about.uid(), own_uid(), about.mode() & 0o7777);
    if owner == own {
        return format!(
            "{error}; {it} belongs to this user, and has mode {mode:03o}: change that, or the mode of the folder that \
             it is in, with chmod"
        );
    }
    format!(
        "{error}; {it} belongs to user {owner} (mode {mode:03o}), and this is user {own}: run this as user {owner}, or \
         change the owner with chown"
    )
}

/// An error that says of which file or folder it is, and what to do about it.
#[must_use]
pub fn of_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {}", path.display(), explained(path, error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whose_a_file_is_why_it_cannot_be_written_or_that_more_may_be_open() {
        let said = |error: io::Error| explained(Path::new("/"), &error);
        let own = std::env::current_exe().expect("this test");
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        let said_of_own = explained(&own, &refused());
        assert!(said_of_own.contains("chmod") && !said_of_own.contains("this is user"), "{said_of_own}");
        let said_of_missing = explained(&own.join("file/in/it"), &refused());
        assert!(
            said_of_missing.contains(&format!("{} belongs to this user", own.display())),
            "{said_of_missing}"
        );
        assert!(said(io::ErrorKind::IsADirectory.into()).contains("move the folder away"));
        assert!(said(Errno::MFILE.into()).contains("LimitNOFILE="));
        let said_of_disk = said(io::ErrorKind::ReadOnlyFilesystem.into());
        let (disk, unit) = (said_of_disk.find("dmesg"), said_of_disk.find("ReadWritePaths="));
        assert!(disk.is_some() && disk < unit, "{said_of_disk}");
        assert_eq!(said(io::Error::other("it is gone")), "it is gone");
    }
}
