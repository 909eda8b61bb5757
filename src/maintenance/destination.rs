//! The folder that a backup is made in, on the host's own file system.
//!
//! It is made under another name beside its place, and gets its own in one step when it is whole. No
//! link is followed on the way: folders are opened one inside the other, and everything happens
//! relative to what was opened.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;

use crate::codec::hex;
use crate::error::{Code, Error, Result};
use crate::randomness::Randomness;
use crate::storage::explained;
use crate::store::Folders;

/// Characters of the folder's name in its temporary one: that has more, and no name may be longer than 255 bytes.
const TEMPORARY_CHARACTERS: usize = 32;

/// A folder in the making. Dropped before it is finished, it goes away.
pub struct Destination {
    /// Where it will be, for people.
    shown: String,
    parent: OwnedFd,
    name: PathBuf,
    temporary: PathBuf,
    folder: OwnedFd,
    finished: bool,
}

/// A path to an open folder that nobody can lead elsewhere.
fn path_of(folder: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

fn open_folder(at: impl std::os::fd::AsFd, path: &Path, more: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more, Mode::empty())
}

fn bad(message: String) -> Error {
    Error::bad_field("to", message)
}

fn conflict(message: String) -> Error {
    Error::conflict(message).of_field("to")
}

/// A refusal by the system.
fn refused(what: &str, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::NotFound,
        io::ErrorKind::PermissionDenied => Code::Forbidden,
        io::ErrorKind::InvalidFilename => Code::BadRequest,
        _ => Code::ReadOnly,
    };
    // Without a path nothing is said of owners, which are no client's business.
    Error::new(code, format!("{what}: {}", explained(Path::new(""), &error))).of_field("to")
}

impl Destination {
    /// Makes a folder for the backup that will be `to`: an absolute path, under `backup_dir` where that
    /// is given, and outside of the data folder.
    ///
    /// # Errors
    /// `bad_request`, `forbidden`, `not_found` and `conflict` say what is wrong with the path.
    pub fn prepare(to: &str, backup_dir: Option<&Path>, data: &Path) -> Result<Self> {
        if to.contains('\0') {
            return Err(bad("`to` holds a NUL byte, which no path may".to_owned()));
        }
        let path = Path::new(to);
        let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !path.is_absolute() || !plain {
            return Err(bad(format!("`to` must be an absolute path without `..`, and not {to:?}")));
        }
        // The folder that the operator named may be reached by links; nothing below it.
        let base = backup_dir.unwrap_or(Path::new("/"));
        let inside = path.strip_prefix(base).map_err(|_| {
            let message = format!("a backup goes into {} (--backup-dir), and not to {to}", base.display());
            Error::new(Code::Forbidden, message).of_field("to")
        })?;
        let (Some(name), Some(folders)) = (inside.file_name(), inside.parent()) else {
            return Err(conflict(format!("{to} is there: a backup is a new folder")));
        };
        let parent = walk(base, folders)?;
        let there = fs::read_link(path_of(&parent)).ok();
        // The log or the index may lie on another disk, behind a link.
        let Folders { data, log, index } = Folders::new(data);
        let of_data = [data, log, index].into_iter().filter_map(|folder| fs::canonicalize(folder).ok());
        if there.is_some_and(|there| of_data.into_iter().any(|folder| there.starts_with(folder))) {
            return Err(bad(format!("{to} is inside the data folder: a backup there is lost with it")));
        }
        refuse_if_taken(&parent, Path::new(name), to)?;
        let mut random = [0; 6];
        Randomness::default().fill(&mut random);
        let beginning: String = name.to_string_lossy().chars().take(TEMPORARY_CHARACTERS).collect();
        let temporary = PathBuf::from(format!("{beginning}.{}.tmp", hex(&random)));
        let failed = |error: Errno| refused(&format!("a folder beside {to} cannot be made"), error.into());
        mkdirat(&parent, &temporary, Mode::RWXU).map_err(failed)?;
        let folder = open_folder(&parent, &temporary, OFlags::NOFOLLOW).map_err(|error| {
            let _ = unlinkat(&parent, &temporary, AtFlags::REMOVEDIR);
            failed(error)
        })?;
        let (shown, name) = (to.to_owned(), PathBuf::from(name));
        Ok(Destination { shown, parent, name, temporary, folder, finished: false })
    }

    /// Where to write to until it is finished.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        path_of(&self.folder)
    }

    /// An error about a file in the folder, with the place where people look for it.
    #[must_use]
    pub fn told(&self, error: &Error) -> Error {
        let (internal, shown) = (self.folder().display().to_string(), self.shown.trim_end_matches('/'));
        let of_people = |text: &str| text.replace(&internal, shown);
        let told = match (error.file(), error.offset()) {
            (Some(file), Some(offset)) => Error::corrupt(of_people(file), offset, of_people(error.message())),
            _ => Error::new(error.code(), of_people(error.message())),
        };
        match error.field() {
            Some(field) => told.of_field(field),
            None => told,
        }
    }

    /// Gives the folder its name, durably. All in it must be on disk.
    ///
    /// # Errors
    /// `conflict` when something else came to be there; `read_only`.
    pub fn finish(mut self) -> Result<()> {
        match rustix::fs::renameat(&self.parent, &self.temporary, &self.parent, &self.name) {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {
                return Err(conflict(format!("{} came to be there meanwhile", self.shown)));
            }
            Err(error) => return Err(refused(&self.shown, error.into())),
        }
        if let Err(error) = rustix::fs::fsync(&self.parent) {
            // It may be gone after a power loss: then it is no backup, and it must not be in the way of the next.
            let back = rustix::fs::renameat(&self.parent, &self.name, &self.parent, &self.temporary);
            self.finished = back.is_err();
            return Err(refused(&self.shown, error.into()));
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = fs::remove_dir_all(path_of(&self.parent).join(&self.temporary))
        {
            crate::report::warning(&format!(
                "{} cannot be removed: {error}",
                Path::new(&self.shown).with_file_name(&self.temporary).display()
            ));
        }
    }
}

/// Opens the folder `folders` below `base`, one after the other.
fn walk(base: &Path, folders: &Path) -> Result<OwnedFd> {
    let mut shown = base.to_owned();
    let failed = |shown: &Path, error: Errno| refused(&shown.display().to_string(), error.into());
    let mut at = open_folder(CWD, base, OFlags::PATH).map_err(|error| failed(&shown, error))?;
    for part in folders.components() {
        shown.push(part);
        at = open_folder(&at, Path::new(part.as_os_str()), OFlags::PATH | OFlags::NOFOLLOW).map_err(
            |error| match error {
                Errno::NOTDIR | Errno::LOOP => {
                    bad(format!("{} is a link or a file: `to` follows no links", shown.display()))
                }
                error => failed(&shown, error),
            },
        )?;
    }
    // To be synced it must be open for reading.
    open_folder(&at, Path::new("."), OFlags::empty()).map_err(|error| failed(&shown, error))
}

/// Only an empty folder may be at the place, and of the file system that the backup is made on before it has its name.
fn refuse_if_taken(parent: &OwnedFd, name: &Path, to: &str) -> Result<()> {
    match open_folder(parent, name, OFlags::NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => Err(conflict(format!("{to} is there, and is no folder"))),
        Err(error) => Err(refused(to, error.into())),
        Ok(folder) => {
            let failed = |error: Errno| refused(to, error.into());
            let device = |of: &OwnedFd| fstat(of).map(|about| about.st_dev).map_err(failed);
            if device(&folder)? != device(parent)? {
                return Err(conflict(format!("{to} is a mount point: name a new folder in it")));
            }
            match fs::read_dir(path_of(&folder)).map_err(|error| refused(to, error))?.next() {
                None => Ok(()),
                Some(_) => Err(conflict(format!("{to} is not empty: a backup is a new folder"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_files_in_the_folder_name_the_place_that_was_asked_for() {
        let root = std::env::temp_dir().join(format!("msglogd-destination-{}", std::process::id()));
        fs::create_dir_all(&root).expect("a folder");
        let root = root.canonicalize().expect("it is there");
        let to = root.join("b").display().to_string();
        let destination = Destination::prepare(&to, None, &root.join("data")).expect("a new folder");
        let file = destination.folder().join("log/1.log").display().to_string();
        let full = Error::new(Code::ReadOnly, format!("the backup failed: {file}: No space left on device"));
        let told = destination.told(&full);
        assert_eq!(told.code(), Code::ReadOnly);
        assert_eq!(told.message(), format!("the backup failed: {to}/log/1.log: No space left on device"));
        let told = destination.told(&Error::corrupt(file, 7, "it is damaged"));
        assert_eq!((told.file(), told.offset()), (Some(format!("{to}/log/1.log").as_str()), Some(7)));
        drop(destination);
        fs::remove_dir(root).expect("nothing is left in it");
    }
}
