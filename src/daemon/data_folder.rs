//! The data folder: made, locked, and had by one process at a time.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use super::Exit;
use crate::paths::own_uid;
use crate::report;
use crate::storage::folder::Lock;
use crate::storage::{Disk, Storage};

/// Takes the lock of a folder that is there, while no daemon runs; others may look, too. Where there is no file for
/// it, as in a backup, none is made: the folder may be on a disk that is not to be written.
pub fn lock_to_look(data: &Path) -> Result<Lock, Exit> {
    let is_data = data.join("lock").exists() || data.join("log").is_dir();
    let lock = if is_data { Lock::look(data) } else { Err(io::ErrorKind::NotFound.into()) };
    lock.map_err(|error| locked(data, &error, "a daemon", "stop it first"))
}

/// Who owns a folder that is there, when that is another user than root, and root is who asks.
pub fn other_owner(data: &Path) -> Option<u32> {
    let owner = fs::metadata(data).ok()?.uid();
    (own_uid() == 0 && owner != 0).then_some(owner)
}

/// Takes the lock of a folder that is there, to change it while no daemon runs.
pub fn lock_to_change(data: &Path) -> Result<Lock, Exit> {
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
        _ => Exit::Io(format!("the data folder {}: {error}", data.display())),
    }
}

/// Makes the data folder, and those above it, where they are not there; their names are on disk then.
fn make_data(storage: &dyn Storage, data: &Path) -> io::Result<()> {
    let above = data.ancestors().take_while(|folder| !folder.as_os_str().is_empty());
    let made: Vec<&Path> = above.take_while(|folder| !folder.exists()).collect();
    storage.create_folder(data)?;
    made.iter().try_for_each(|folder| match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => storage.sync_folder(above),
        _ => storage.sync_folder(Path::new(".")),
    })
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
    make_data(&Disk, data).map_err(failed)?;
    let is_data = data.join("lock").exists() || data.join("log").exists();
    // A file system of its own has that folder from the beginning.
    let is_other = |entry: &io::Result<fs::DirEntry>| {
        entry.as_ref().is_ok_and(|entry| entry.file_name() != "lost+found")
    };
    if !is_data && fs::read_dir(data).map_err(failed)?.any(|entry| is_other(&entry)) {
        return Err(Exit::Io(format!(
            "{} holds other files and no data: name a folder of its own with --data",
            data.display()
        )));
    }
    let mode = fs::metadata(data).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(data, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    let lock = Lock::take(data).map_err(failed)?;
    let storage = lock.storage(data, Arc::new(Disk)).map_err(failed)?;
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
        assert_eq!(folders, [root.clone(), root.join("a"), root.join("a/b")]);
        make_data(noting.as_ref(), &data).expect("it is there");
        assert_eq!(synced.lock().expect("one thread").len(), 3, "nothing was made");
        fs::remove_dir_all(root).expect("a folder");
    }
}
