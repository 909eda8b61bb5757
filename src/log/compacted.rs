//! What the last compaction of the log left: `log/compacted`, one line with a checksum.
//!
//! ```text
//! {"v":1,"generation":2,"last":812,"segments":["00000000000000000001-2.log"]}
//! ```
//!
//! The events up to `last` lie in these segments, in place of all others that ever held them; what
//! comes behind lies in segments that were not compacted. Beside them lies the checkpoint, the table
//! as of `last`, because it cannot be folded from the events that are left. A compaction writes its
//! segments and its checkpoint under names of its own, and then puts this file in the place of the
//! one before: that is the moment at which it happened. What the file does not name is left over from
//! before that moment, or from a compaction that did not reach it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::frame::{check_line, write_line};
use super::recovery::Failure;
use super::segment;
use crate::storage::{Storage, read_list, replace};

/// The version of the file's format.
const VERSION: u64 = 1;
const NAME: &str = "compacted";

/// What a compaction left; what there is before the first one by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    v: u64,
    /// How often the log was compacted.
    pub generation: u64,
    /// The last event of the part that was compacted.
    pub last: u64,
    /// The names of that part's segments, oldest first.
    pub segments: Vec<String>,
}

impl Compacted {
    /// What a compaction leaves.
    #[must_use]
    pub fn new(generation: u64, last: u64, segments: Vec<String>) -> Self {
        Compacted { v: VERSION, generation, last, segments }
    }

    /// The file of a log folder.
    #[must_use]
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// Which compaction made the checkpoint of that file name, and the last event of its part.
    #[must_use]
    pub fn of_checkpoint(name: &str) -> Option<(u64, u64)> {
        let (last, generation) = name.strip_suffix(".checkpoint")?.split_once('-')?;
        let (generation, last) = (generation.parse().ok()?, last.parse().ok()?);
        (Compacted::new(generation, last, Vec::new()).checkpoint() == name).then_some((generation, last))
    }

    /// Whether that is the name of the file.
    #[must_use]
    pub fn is_list(name: &str) -> bool {
        name == NAME
    }

    /// Whether bytes of the file are whole, whatever version wrote them.
    #[must_use]
    pub fn is_whole(bytes: &[u8]) -> bool {
        bytes.strip_suffix(b"\n").and_then(check_line).is_some()
    }

    /// Reads the file of a log folder.
    ///
    /// # Errors
    /// `Damage`, `Io`.
    pub fn read(storage: &dyn Storage, folder: &Path) -> Result<Self, Failure> {
        let path = Compacted::path(folder);
        let bytes = match read_list(storage, &path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Compacted::default()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let what = format!("the list of compacted segments: {error}");
                return Err(Failure::Damage { path, offset: 0, what });
            }
            Err(error) => return Err(Failure::Io { path, error }),
        };
        let json = bytes.strip_suffix(b"\n").and_then(check_line);
        let read = json.and_then(|json| serde_json::from_slice::<Compacted>(json).ok());
        let damage = |what: String| Failure::Damage { path, offset: 0, what };
        match read {
            Some(found) if found.v == VERSION => Ok(found),
            Some(found) => Err(damage(format!(
                "the format of a compacted log is version {}; this program reads {VERSION}",
                found.v
            ))),
            None => Err(damage("the list of compacted segments fails its checksum".to_owned())),
        }
    }

    /// Makes this what the last compaction left.
    ///
    /// # Errors
    /// What the system says; then nobody knows whether this or the one before is on disk.
    pub fn write(&self, storage: &dyn Storage, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self)?;
        let mut line = Vec::new();
        write_line(&mut line, |out| out.extend_from_slice(&json));
        replace(storage, &Compacted::path(folder), &line)
    }

    /// The name of the table's checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> String {
        format!("{:020}-{}.checkpoint", self.last, self.generation)
    }

    /// The path of the table's checkpoint.
    #[must_use]
    pub fn checkpoint_path(&self, folder: &Path) -> PathBuf {
        folder.join(self.checkpoint())
    }

    /// Whether a file of the log folder is this one, or what it names.
    #[must_use]
    pub fn names(&self, name: &str) -> bool {
        name == NAME || name == self.checkpoint() || self.segments.iter().any(|segment| segment == name)
    }

    /// Whether a file of the log folder is one that this took the place of, or that no compaction
    /// finished.
    #[must_use]
    pub fn is_left_over(&self, name: &str) -> bool {
        match segment::first_of(name) {
            Some((first, 0)) => first <= self.last,
            Some(_) => !self.segments.iter().any(|kept| kept == name),
            None => Compacted::of_checkpoint(name).is_some() && name != self.checkpoint(),
        }
    }

    /// Removes what this took the place of. A file that cannot be removed keeps no other.
    ///
    /// # Errors
    /// What the system says of the first such file, or of the folder.
    pub fn remove_left_over(&self, storage: &dyn Storage, folder: &Path) -> Result<(), Failure> {
        let io = |error| Failure::Io { path: folder.to_owned(), error };
        // A start may have found the list in a folder that no sync has confirmed yet: what the list before
        // it named must stay until that one can come back no more.
        storage.sync_folder(folder).map_err(io)?;
        let mut removed = Ok(());
        for name in storage.list(folder).map_err(io)?.iter().filter(|name| self.is_left_over(name)) {
            let path = folder.join(name);
            let done = storage.remove(&path);
            removed = removed.and(done.map_err(|error| Failure::Io { path, error }));
        }
        removed.and(storage.sync_folder(folder).map_err(io))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::Open;
    use crate::storage::failing::{Call, Failing};
    use crate::storage::memory::Memory;

    fn list() -> Compacted {
        Compacted::new(2, 812, vec!["00000000000000000001-2.log".to_owned()])
    }

    #[test]
    fn it_reads_back_and_nothing_reads_as_nothing() {
        let (storage, folder) = (Memory::default(), Path::new("/log"));
        assert_eq!(Compacted::read(&storage, folder).expect("memory"), Compacted::default());
        list().write(&storage, folder).expect("memory");
        assert_eq!(Compacted::read(&storage, folder).expect("memory"), list());
        assert_eq!(storage.list(folder).expect("memory"), ["compacted"]);
    }

    #[test]
    fn damage_and_other_versions_are_told_apart() {
        let (storage, folder) = (Memory::default(), Path::new("/log"));
        let said = |bytes: &[u8]| {
            let file = storage.open(&Compacted::path(folder), Open::Create).expect("memory");
            file.write_at(bytes, 0).expect("memory");
            match Compacted::read(&storage, folder) {
                Err(Failure::Damage { what, .. }) => what,
                other => panic!("{other:?}"),
            }
        };
        let mut line = Vec::new();
        write_line(&mut line, |out| {
            out.extend_from_slice(br#"{"v":2,"generation":1,"last":1,"segments":[]}"#);
        });
        assert!(said(&line).contains("version 2") && Compacted::is_whole(&line));
        line[20] ^= 1;
        assert!(said(&line).contains("checksum") && !Compacted::is_whole(&line));
    }

    #[test]
    fn what_it_names_is_kept_and_what_it_took_the_place_of_is_left_over() {
        let list = list();
        assert_eq!(list.checkpoint(), "00000000000000000812-2.checkpoint");
        assert_eq!(Compacted::of_checkpoint(&list.checkpoint()), Some((2, 812)));
        assert_eq!(list.checkpoint_path(Path::new("/log")), Path::new("/log").join(list.checkpoint()));
        for (name, named, left_over) in [
            ("compacted", true, false),
            ("00000000000000000812-2.checkpoint", true, false),
            ("00000000000000000001-2.log", true, false),
            ("00000000000000000001-1.log", false, true),
            ("00000000000000000500-2.log", false, true),
            ("00000000000000000812.log", false, true),
            ("00000000000000000813.log", false, false),
            ("00000000000000000700-1.checkpoint", false, true),
            ("00000000000000000813.log.40.torn", false, false),
            ("another's.checkpoint", false, false),
            ("812-1.checkpoint", false, false),
        ] {
            assert_eq!((list.names(name), list.is_left_over(name)), (named, left_over), "{name}");
        }
    }

    #[test]
    fn only_what_is_left_over_is_removed() {
        let (storage, folder): (Arc<dyn Storage>, _) = (Arc::new(Memory::default()), Path::new("/log"));
        for name in ["00000000000000000001-1.log", "00000000000000000001-2.log", "00000000000000000813.log"] {
            storage.open(&folder.join(name), Open::Create).expect("memory");
        }
        list().remove_left_over(storage.as_ref(), folder).expect("memory");
        let left = storage.list(folder).expect("memory");
        assert_eq!(left, ["00000000000000000001-2.log", "00000000000000000813.log"]);
    }

    #[test]
    fn a_file_that_cannot_be_removed_is_named_and_keeps_no_other() {
        let [kept, gone] = ["00000000000000000001-1.log", "00000000000000000500-1.log"];
        let storage = Failing::in_memory(move |call, path| {
            let refused = call == Call::Remove && path.ends_with(kept);
            if refused { Err(io::ErrorKind::PermissionDenied.into()) } else { Ok(()) }
        });
        let folder = Path::new("/log");
        for name in [kept, gone, "00000000000000000001-2.log"] {
            storage.open(&folder.join(name), Open::Create).expect("memory");
        }
        let failed = list().remove_left_over(storage.as_ref(), folder).expect_err("one stays");
        assert!(failed.to_string().contains(kept), "{failed}");
        assert_eq!(storage.list(folder).expect("memory"), [kept, "00000000000000000001-2.log"]);
    }
}
