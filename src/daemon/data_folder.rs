//! The data folder: made, locked, and had by one process at a time.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Exit;
use crate::index;
use crate::log;
use crate::paths::{for_shell, own_uid};
use crate::report;
use crate::storage::folder::Lock;
use crate::storage::{Disk, Storage, of_path};

/// Takes the lock of a folder that is there, while no daemon runs; others may look, too. Where there is no file for
/// it, as in a backup, none is made: the folder may be on a disk that is not to be written.
pub fn lock_to_look(data: &Path) -> Result<Lock, Exit> {
    expect_data(data)?;
    Lock::look(data).map_err(|error| locked(data, &error, "a daemon", "stop it first"))
}

/// Whether there is a folder with data, which this process may look into.
fn expect_data(data: &Path) -> Result<(), Exit> {
    let found = look_into(data).map_err(|error| locked(data, &error, "a daemon", "stop it first"))?;
    if found.has_data {
        return Ok(());
    }
    Err(Exit::Io(data_in(data).map_or_else(
        || {
            format!(
                "{} holds no data (no log): name the data folder of the daemon with --data",
                data.display()
            )
        },
        |inner| name_inner(data, &inner),
    )))
}

/// Whether a file has such a name.
type Named = fn(&str) -> bool;

/// What is in a folder.
#[derive(Debug, Default)]
struct Found {
    /// Whether there are files that only this program gives such names, where it puts them.
    has_data: bool,
    /// Something that this program never made.
    other: Option<PathBuf>,
}

impl Found {
    /// Takes in a folder's files. Those are data that only this program gives such names; others have some names, too.
    fn take(&mut self, folder: PathBuf, is_data: Named, is_ours: Named) -> io::Result<()> {
        let inside = match entries(&folder) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) => {
                vec![folder]
            }
            Err(error) => return Err(error),
            Ok(inside) => inside,
        };
        for path in inside {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if is_data(name) {
                self.has_data = true;
            } else if !is_ours(name) {
                self.other = Some(path);
            }
        }
        Ok(())
    }
}

/// Looks into a folder. Others have files called `log` and `lock`, too: what lies in the folders tells whose it is.
fn look_into(data: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    for path in entries(data)? {
        match path.file_name().and_then(OsStr::to_str) {
            Some("lock") if fs::symlink_metadata(&path).is_ok_and(|about| about.is_file()) => {}
            Some("log") => found.take(path, log::files::is_ours, log::files::is_ours)?,
            Some("index") => found.take(path, index::files::is_run, index::files::is_ours)?,
            _ => found.other = Some(path),
        }
    }
    Ok(found)
}

/// All that a folder holds, where that is a folder with data.
fn data_in(data: &Path) -> Option<PathBuf> {
    let [only]: [PathBuf; 1] = entries(data).ok()?.try_into().ok()?;
    look_into(&only).is_ok_and(|found| found.has_data).then_some(only)
}

/// What is said of a folder where the one in it is meant.
fn name_inner(data: &Path, inner: &Path) -> String {
    let (outer, shown) = (data.display(), inner.display());
    format!("{outer} holds no data, but {shown} does: name that one with --data {}", for_shell(inner))
}

/// How data gets into the folder above it. `mv` and `cp` put it one too deep when the folder was there before, and
/// systemd makes it at every start and stop (`StateDirectory=`). Nothing is said where nobody can have meant that, and
/// where a file of the data has the name of the folder that it is in.
fn how_to_move_up(data: &Path, inner: &Path) -> String {
    let is_link = fs::symlink_metadata(inner).is_ok_and(|about| about.is_symlink());
    if is_link || ["log", "index", "lock"].iter().any(|name| inner.ends_with(name)) {
        return String::new();
    }
    let (inner, outer) = (for_shell(inner), for_shell(data));
    format!(
        "; or, if it was put back one folder too deep, and no daemon runs on it: `mv {inner}/* {outer} && rmdir \
         {inner}`"
    )
}

/// What is in a folder. A file system of its own has `lost+found` from the beginning.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let named = |error| of_path(folder, &error);
    let all = fs::read_dir(folder).map_err(named)?;
    let all = all.map(|entry| entry.map(|entry| entry.path()).map_err(named));
    all.filter(|path| !path.as_ref().is_ok_and(|path| path.ends_with("lost+found"))).collect()
}

/// Who owns a folder that is there, when that is another user than root, and root is who asks.
pub fn other_owner(data: &Path) -> Option<u32> {
    let owner = fs::metadata(data).ok()?.uid();
    (own_uid() == 0 && owner != 0).then_some(owner)
}

/// Takes the lock of a folder that is there, to change it while no daemon runs.
pub fn lock_to_change(data: &Path) -> Result<Lock, Exit> {
    expect_data(data)?;
    Lock::take(data).map_err(|error| locked(data, &error, "a daemon", "stop it first"))
}

/// Why the lock of a data folder was not taken.
fn locked(data: &Path, error: &io::Error, who: &str, what_to_do: &str) -> Exit {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            Exit::Busy(format!("{who} has the data folder {}: {what_to_do}", data.display()))
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Exit::Io(format!("the data folder {} is no folder: name another with --data", data.display()))
        }
        io::ErrorKind::NotFound => Exit::Io(format!(
            "there is no data folder {}: name the one of the daemon with --data",
            data.display()
        )),
        // The error names the file, and says what to do about it.
        io::ErrorKind::PermissionDenied => {
            Exit::Io(format!("the data folder: {error}; or name another with --data"))
        }
        _ => Exit::Io(format!("the data folder: {error}")),
    }
}

/// Makes the data folder, and those above it, where they are not there; their names are on disk then.
///
/// Each is made once the name of the one above it is on disk. So an earlier start, wherever it was killed, has left
/// at most one folder whose name is not: the last that is there.
fn make_data(storage: &dyn Storage, data: &Path) -> io::Result<()> {
    let above = data.ancestors().take_while(|folder| !folder.as_os_str().is_empty());
    let mut missing: Vec<&Path> = above.take_while(|folder| !folder.exists()).collect();
    let last_there = missing.last().map_or(Some(data), |folder| folder.parent());
    if let Some(there) = last_there.filter(|folder| !folder.as_os_str().is_empty()) {
        match sync_name(storage, there) {
            // Who may not look above it, or cannot write there, can do no more for its name.
            Err(error) if may_be_passed_over(&error) => {}
            synced => synced?,
        }
    }
    while let Some(folder) = missing.pop() {
        storage.create_folder(folder)?;
        sync_name(storage, folder)?;
    }
    Ok(())
}

/// Brings the name of a folder to disk.
fn sync_name(storage: &dyn Storage, folder: &Path) -> io::Result<()> {
    match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => storage.sync_folder(above),
        Some(_) => storage.sync_folder(Path::new(".")),
        // The root has no name.
        None => Ok(()),
    }
}

/// Whether that is what the system says of a folder that others have made, on a disk that is read only or is none.
fn may_be_passed_over(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported)
}

/// Makes the data folder if need be, and takes its lock until the process is gone: that long the background, for
/// which nobody waits, may change files of the index, and no other daemon is to have them. Answers the door to its
/// files.
pub fn take(data: &Path) -> Result<Arc<dyn Storage>, Exit> {
    let failed = |error| locked(data, &error, "another daemon", "stop it, or name another with --data");
    if let Some(owner) = other_owner(data) {
        report::warning(&format!(
            "{} belongs to user {owner}, and root runs this daemon: that user cannot have what it makes in it",
            data.display()
        ));
    }
    let named = |error| failed(of_path(data, &error));
    make_data(&Disk, data).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Exit::Io(format!(
            "the data folder {} cannot be made: {error}; name another with --data",
            data.display()
        )),
        _ => named(error),
    })?;
    let found = look_into(data).map_err(failed)?;
    if let Some(other) = found.other.filter(|_| !found.has_data) {
        return Err(Exit::Io(match data_in(data) {
            Some(inner) => name_inner(data, &inner) + &how_to_move_up(data, &inner),
            None => format!(
                "{} holds other files ({}) and no data: name a folder of its own with --data",
                data.display(),
                other.display()
            ),
        }));
    }
    let lock = Lock::take(data).map_err(failed)?;
    let mode = fs::metadata(data).map_err(named)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(data, fs::Permissions::from_mode(0o700)).map_err(named)?;
    }
    let storage = lock.storage(data, Arc::new(Disk)).map_err(named)?;
    std::mem::forget(lock);
    Ok(storage)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::storage::failing::{Call, Failing};

    #[test]
    fn the_folder_above_each_that_is_made_for_the_data_is_synced() {
        let root = std::env::temp_dir().join(format!("msglogd-folders-{}", std::process::id()));
        fs::create_dir_all(&root).expect("a folder");
        let synced = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&synced);
        let noting = Failing::over(Arc::new(Disk), move |call, path| {
            if call == Call::SyncFolder {
                noted.lock().expect("one thread").push(path.to_owned());
            }
            Ok(())
        });
        let data = root.join("a/b/data");
        make_data(noting.as_ref(), &data).expect("a folder");
        let mut folders = synced.lock().expect("one thread").clone();
        folders.sort();
        let above = root.parent().expect("it is temporary").to_owned();
        assert_eq!(folders, [above, root.clone(), root.join("a"), root.join("a/b")]);
        synced.lock().expect("one thread").clear();
        // An earlier start may have been killed before it had synced what it made.
        make_data(noting.as_ref(), &data).expect("it is there");
        assert_eq!(*synced.lock().expect("one thread"), [root.join("a/b")]);
        fs::remove_dir_all(root).expect("a folder");
    }

    #[test]
    fn a_folder_above_is_not_made_on_whose_name_is_not_on_disk() {
        let root = std::env::temp_dir().join(format!("msglogd-names-{}", std::process::id()));
        fs::create_dir_all(&root).expect("a folder");
        let refuse = |kind: io::ErrorKind, which: std::path::PathBuf| {
            Failing::over(Arc::new(Disk), move |call, path| {
                if call == Call::SyncFolder && *path == which { Err(kind.into()) } else { Ok(()) }
            })
        };
        let data = root.join("a/b");
        let failing = refuse(io::ErrorKind::Other, root.clone());
        make_data(failing.as_ref(), &data).expect_err("the name of `a` is not on disk");
        assert!(root.join("a").exists() && !data.exists());
        make_data(failing.as_ref(), &data).expect_err("it is not yet");
        assert!(!data.exists());
        let closed = refuse(io::ErrorKind::PermissionDenied, root.clone());
        make_data(closed.as_ref(), &data).expect("another has made `a`");
        assert!(data.is_dir());
        fs::remove_dir_all(root).expect("a folder");
    }
}
