//! The file that keeps how far an import has come.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use crate::client::failure::{Failure, Result, say};
use crate::client::request::string;
use crate::client::style::visible;
use crate::json;

/// How often the file is written, at the most.
const INTERVAL: Duration = Duration::from_millis(300);

/// How an import is resumed.
#[derive(Debug, Clone)]
pub struct Resume {
    /// The file with the position.
    pub path: PathBuf,
    /// What the import is called in its idempotency keys.
    pub name: String,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// The last line of those that were answered.
    pub line: u64,
    /// How many of them were refused.
    pub refused: u64,
}

/// Where the lines go.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The daemon's socket.
    pub socket: &'a Path,
    /// Whether the user has named it, and so means it.
    pub named: bool,
}

/// The position, and the file that it is kept in.
#[derive(Debug)]
pub struct Position {
    resume: Resume,
    /// The file itself, where its path is that of a link.
    file: PathBuf,
    socket: String,
    kept: Reached,
    saved_at: Instant,
}

impl Position {
    /// Reads the position; the start where there is none yet. Writes it back, so that a file that cannot be
    /// written is noticed before anything is imported.
    ///
    /// # Errors
    /// The file cannot be read or written, or it is another import's, or one into another daemon than is found
    /// now: what that one has would be passed over here.
    pub fn open(resume: &Resume, target: Target<'_>) -> Result<Self> {
        let resume = resume.clone();
        let socket = std::path::absolute(target.socket).unwrap_or_else(|_| target.socket.to_owned());
        let socket = socket.to_string_lossy().into_owned();
        let kept = match read_file(&resume.path) {
            // An empty one was only made, as `mktemp` does.
            Ok(bytes) if bytes.is_empty() => Reached::default(),
            Ok(bytes) => {
                let (kept, before) = read(&resume, &bytes)?;
                if let Some(before) = before.filter(|before| kept.line > 0 && *before != socket) {
                    other_daemon(&resume, kept, &before, &socket, target.named)?;
                }
                kept
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Reached::default(),
            Err(error) => return Err(trouble(&resume, &error)),
        };
        let file = resolved(&resume.path);
        let mut position = Position { resume, file, socket, kept, saved_at: Instant::now() };
        position.save(kept)?;
        Ok(position)
    }

    /// How far it had come when the file was last written.
    #[must_use]
    pub fn kept(&self) -> Reached {
        self.kept
    }

    /// Writes the position unless it was written only just now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&mut self, now: Reached) -> Result<()> {
        // Asking for the time costs more than counting.
        let due = now.line.is_multiple_of(64) && self.saved_at.elapsed() >= INTERVAL;
        if due { self.save(now) } else { Ok(()) }
    }

    /// Writes the position.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&mut self, now: Reached) -> Result<()> {
        let (name, socket) = (string(&self.resume.name), string(&self.socket));
        let Reached { line, refused } = now;
        let text =
            format!("{{\"import\":{name},\"line\":{line},\"refused\":{refused},\"socket\":{socket}}}\n");
        self.replace(&text).map_err(|error| trouble(&self.resume, &error))?;
        self.kept = now;
        self.saved_at = Instant::now();
        Ok(())
    }

    /// Puts a new file in the place of the old one, so that at every moment one of them is whole.
    fn replace(&self, text: &str) -> io::Result<()> {
        let (name, mut file) = new_beside(&self.file)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        written.and_then(|()| fs::rename(&name, &self.file)).inspect_err(|_| {
            // What is half written is of no use to anyone; if it stays, it is in nobody's way.
            let _ = fs::remove_file(&name);
        })
    }
}

/// Makes a file beside this one, under a name that no file has: it must be no other one that is written over.
fn new_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut count = 0;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{count}.new", process::id()));
        match File::create_new(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && count < 100 => count += 1,
            made => return made.map(|file| (name.into(), file)),
        }
    }
}

/// The file that a link leads to, or a chain of them, so that each link stays one. It need not be there yet.
fn resolved(path: &Path) -> PathBuf {
    /// As many as the system follows.
    const LINKS_MAX: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(behind) = fs::read_link(&path) else { break };
        // From the root on it takes the place of the whole path.
        path = path.parent().unwrap_or(Path::new("")).join(behind);
    }
    path
}

/// What the file holds. Only a file can be replaced by another one.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.is_file() { fs::read(path) } else { Err(io::Error::other("it is no file")) }
}

/// A position of an import into a daemon that had another socket. That may be the same one, moved: who names
/// the socket may know.
fn other_daemon(resume: &Resume, kept: Reached, before: &str, now: &str, named: bool) -> Result<()> {
    let (path, line) = (resume.path.display(), kept.line);
    if named {
        say(&visible(&format!("{path} says that {line} lines are imported at {before}; going on at {now}")));
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{path} says that {line} lines are imported at {before}, and the daemon found now is at {now}: name the \
         socket that is meant with --socket, or give another --resume-file"
    )))
}

fn read(resume: &Resume, bytes: &[u8]) -> Result<(Reached, Option<String>)> {
    let path = resume.path.display();
    let object = json::parse_line(bytes).ok();
    let get = |key: &str| object.as_ref().and_then(|object| object.get(key));
    let name = get("import").and_then(json::as_string);
    match (name, get("line").and_then(json::as_u64)) {
        (Some(name), Some(line)) if name == resume.name => {
            let refused = get("refused").and_then(json::as_u64).unwrap_or(0);
            let socket = get("socket").and_then(json::as_string).map(String::from);
            Ok((Reached { line, refused }, socket))
        }
        (Some(_), Some(_)) => Err(Failure::Usage(format!("{path} keeps the position of another import"))),
        _ => Err(Failure::Usage(format!("{path} keeps no position of an import"))),
    }
}

fn trouble(resume: &Resume, error: &io::Error) -> Failure {
    Failure::file(&format!("cannot keep the position in {}", resume.path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder of one test's own, gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("msglog-{test}-{}", process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn resume(&self, name: &str) -> Resume {
            Resume { path: self.0.join("position"), name: name.into() }
        }

        fn files(&self) -> usize {
            fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn open(resume: &Resume) -> Result<Position> {
        Position::open(resume, Target { socket: Path::new("/s"), named: false })
    }

    fn usage(opened: Result<Position>) -> String {
        match opened {
            Err(Failure::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    const SOME: Reached = Reached { line: 1234, refused: 5 };

    #[test]
    fn a_position_is_found_again_by_its_own_import_only() {
        let folder = Folder::new("position");
        let resume = folder.resume("a");
        let mut position = open(&resume).unwrap();
        assert_eq!(position.kept(), Reached::default());
        position.save(SOME).unwrap();
        assert_eq!(open(&resume).unwrap().kept(), SOME);
        assert!(usage(open(&folder.resume("b"))).contains("another import"));
        fs::write(&resume.path, "{\"import\":\"a\",\"line\":7}\n").unwrap();
        assert_eq!(open(&resume).unwrap().kept(), Reached { line: 7, refused: 0 });
        fs::write(&resume.path, "x").unwrap();
        assert!(usage(open(&resume)).contains("no position"));
        fs::write(&resume.path, "").unwrap();
        assert_eq!(open(&resume).unwrap().kept(), Reached::default());
        assert_eq!(folder.files(), 1);
    }

    #[test]
    fn a_daemon_elsewhere_takes_over_a_position_only_where_it_is_named() {
        let folder = Folder::new("elsewhere");
        let resume = folder.resume("a");
        open(&resume).unwrap();
        let at = |socket: &'static str, named| {
            Position::open(&resume, Target { socket: Path::new(socket), named })
        };
        at("/other", false).unwrap().save(SOME).unwrap();
        let text = usage(at("/s", false));
        assert!(text.contains("at /other") && text.contains("at /s") && text.contains("--socket"), "{text}");
        assert_eq!(at("/s", true).unwrap().kept(), SOME);
        assert_eq!(at("/s", false).unwrap().kept(), SOME);
    }

    #[test]
    fn links_stay_links_and_no_other_file_is_written_over() {
        let folder = Folder::new("links");
        let resume = folder.resume("a");
        let (kept, beside) = (folder.0.join("kept"), folder.0.join("kept.new"));
        let link = folder.0.join("link");
        fs::write(&beside, "of another").unwrap();
        symlink("link", &resume.path).unwrap();
        symlink(&kept, &link).unwrap();
        for _ in 0..2 {
            open(&resume).unwrap().save(SOME).unwrap();
            for link in [&resume.path, &link] {
                assert!(fs::symlink_metadata(link).unwrap().is_symlink());
            }
            assert!(fs::read_to_string(&kept).unwrap().contains("1234"));
        }
        assert_eq!(fs::read_to_string(&beside).unwrap(), "of another");
        assert_eq!(folder.files(), 4);
        let folder = Resume { path: folder.0.clone(), name: "a".into() };
        assert!(matches!(open(&folder), Err(Failure::File(text)) if text.contains("no file")));
    }

    #[test]
    fn a_position_that_cannot_be_put_in_its_place_leaves_nothing_behind() {
        let folder = Folder::new("nothing");
        let mut position = open(&folder.resume("a")).unwrap();
        fs::remove_file(&position.file).unwrap();
        fs::create_dir(&position.file).unwrap();
        assert!(matches!(position.save(SOME), Err(Failure::File(_))));
        assert_eq!(folder.files(), 1);
    }
}
