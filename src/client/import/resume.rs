//! The file that keeps how far an import has come.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::failure::{Failure, Result};
use crate::client::request::string;
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

/// The position, and the file that it is kept in.
#[derive(Debug)]
pub struct Position {
    resume: Resume,
    line: u64,
    saved_at: Instant,
}

impl Position {
    /// Reads the position; 0 where there is none yet. Writes it back, so that a file that cannot be
    /// written is noticed before anything is imported.
    ///
    /// # Errors
    /// The file cannot be read or written, or it is another import's.
    pub fn open(resume: &Resume) -> Result<Self> {
        let resume = resume.clone();
        let line = match fs::read(&resume.path) {
            Ok(bytes) => read(&resume, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(trouble(&resume, &error)),
        };
        let mut position = Position { resume, line, saved_at: Instant::now() };
        position.save(line)?;
        Ok(position)
    }

    /// The last line that was acknowledged when the file was last written.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Writes the position unless it was written only just now.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&mut self, line: u64) -> Result<()> {
        // Asking for the time costs more than counting.
        if line.is_multiple_of(64) && self.saved_at.elapsed() >= INTERVAL { self.save(line) } else { Ok(()) }
    }

    /// Writes the position.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&mut self, line: u64) -> Result<()> {
        let text = format!("{{\"import\":{},\"line\":{line}}}\n", string(&self.resume.name));
        self.replace(&text).map_err(|error| trouble(&self.resume, &error))?;
        self.line = line;
        self.saved_at = Instant::now();
        Ok(())
    }

    /// Puts a new file in the place of the old one, so that at every moment one of them is whole.
    fn replace(&self, text: &str) -> io::Result<()> {
        let mut name = self.resume.path.clone().into_os_string();
        name.push(".new");
        let mut file = File::create(&name)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(&name, &self.resume.path)
    }
}

fn read(resume: &Resume, bytes: &[u8]) -> Result<u64> {
    let path = resume.path.display();
    let object = json::parse_line(bytes).ok();
    let get = |key: &str| object.as_ref().and_then(|object| object.get(key));
    let name = get("import").and_then(json::as_string);
    match (name, get("line").and_then(json::as_u64)) {
        (Some(name), Some(line)) if name == resume.name => Ok(line),
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

    #[test]
    fn a_position_is_found_again_by_its_own_import_only() {
        let path = std::env::temp_dir().join(format!("msglog-position-{}", std::process::id()));
        let resume = |name: &str| Resume { path: path.clone(), name: name.into() };
        let mut position = Position::open(&resume("a")).unwrap();
        assert_eq!(position.line(), 0);
        position.save(1234).unwrap();
        assert_eq!(Position::open(&resume("a")).unwrap().line(), 1234);
        assert!(
            matches!(Position::open(&resume("b")), Err(Failure::Usage(text)) if text.contains("another import"))
        );
        fs::write(&path, "x").unwrap();
        assert!(matches!(Position::open(&resume("a")), Err(Failure::Usage(_))));
        fs::remove_file(&path).unwrap();
    }
}
