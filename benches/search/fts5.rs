//! SQLite FTS5, at its best: merged to one tree, with a prefix index, and trigrams for substrings.
//!
//! The texts are in a table; both indexes hold no text of their own. Originator and recipient are
//! words of a second column that no text has (`zzo...`, `zzr...`), so that the index finds them
//! together with words, and other searches need no filter on the column. Substrings of fewer than
//! three characters have no trigram: they are looked for with LIKE, newest first.
//!
//! Words are the same as ours but next to some emoji, which FTS5 counts as letters (U+1F3FB is one).
//! LIKE knows capitals in ASCII only.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::answer::Answer;
use crate::corpus::{Corpus, Message};
use crate::queries::{Ask, LIMIT};

/// The two databases, opened together.
pub struct Fts5 {
    connection: Connection,
    /// Bytes of the table with the words and the prefixes, and of the trigrams.
    pub bytes: (u64, u64),
}

const SCHEMA: &str = "
    PRAGMA main.journal_mode = off;
    PRAGMA grams.journal_mode = off;
    CREATE TABLE message (seq INTEGER PRIMARY KEY, originator TEXT, recipient TEXT, body TEXT);
    CREATE VIRTUAL TABLE word USING fts5(body, names, content='', prefix='3',
        tokenize = \"unicode61 remove_diacritics 0 categories 'L* N* M*'\");
    CREATE VIRTUAL TABLE grams.gram USING fts5(body, content='', tokenize = 'trigram');
";

fn names(message: &Message) -> String {
    format!("{} {}", originator(&message.originator), recipient(&message.recipient))
}

fn originator(name: &str) -> String {
    format!("zzo{name}")
}

fn recipient(name: &str) -> String {
    format!("zzr{name}")
}

impl Fts5 {
    /// Opens what is in a folder, or makes it.
    pub fn open(folder: &Path, corpus: &Corpus, messages: usize) -> rusqlite::Result<Self> {
        let done = folder.join("fts5.done");
        let paths = [folder.join("fts5.words"), folder.join("fts5.grams")];
        if !done.exists() {
            paths.iter().for_each(|path| drop(std::fs::remove_file(path)));
            build(&paths, corpus, messages)?;
            std::fs::write(&done, "").expect("a file in the folder of the benchmark");
        }
        let connection = connect(&paths)?;
        connection
            .execute_batch("PRAGMA main.mmap_size = 17179869184; PRAGMA grams.mmap_size = 17179869184;")?;
        let size = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
        Ok(Fts5 { connection, bytes: (size(&paths[0]), size(&paths[1])) })
    }

    /// Answers a search.
    pub fn ask(&self, ask: &Ask) -> rusqlite::Result<Answer> {
        match ask {
            Ask::Words(words) => self.page(WORD, &words.join(" AND ")),
            Ask::Prefix(start) => self.page(WORD, &format!("{start}*")),
            Ask::Phrase(words) => self.page(WORD, &format!("\"{}\"", words.join(" "))),
            Ask::Piece(piece) if piece.chars().count() < 3 => self.page(SCAN, &like(piece)),
            Ask::Piece(piece) => self.page(GRAM, &format!("\"{}\"", piece.replace('"', "\"\""))),
            Ask::To(name, word) => self.page(WORD, &format!("{word} AND {}", quoted(&recipient(name)))),
            Ask::From(name, word) => self.page(WORD, &format!("{word} AND {}", quoted(&originator(name)))),
            Ask::Count(words) => {
                let mut statement = self.connection.prepare_cached(COUNT)?;
                let total: i64 = statement.query_row([words.join(" AND ")], |row| row.get(0))?;
                Ok(Answer { total: u64::try_from(total).ok(), ..Answer::default() })
            }
        }
    }

    fn page(&self, sql: &str, what: &str) -> rusqlite::Result<Answer> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![what, LIMIT as i64])?;
        let mut answer = Answer::default();
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            answer.found.push(usize::try_from(seq).unwrap_or(0) - 1);
            for column in 1..=3 {
                answer.bytes += row.get_ref(column)?.as_str()?.len();
            }
        }
        Ok(answer)
    }
}

const WORD: &str = "SELECT message.seq, originator, recipient, message.body FROM word
    JOIN message ON message.seq = word.rowid WHERE word MATCH ?1 ORDER BY word.rowid DESC LIMIT ?2";
const GRAM: &str = "SELECT message.seq, originator, recipient, message.body FROM grams.gram
    JOIN message ON message.seq = gram.rowid WHERE gram MATCH ?1 ORDER BY gram.rowid DESC LIMIT ?2";
const SCAN: &str = "SELECT seq, originator, recipient, body FROM message
    WHERE body LIKE ?1 ESCAPE '\\' ORDER BY seq DESC LIMIT ?2";
const COUNT: &str = "SELECT count(*) FROM word WHERE word MATCH ?1";

fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

fn like(piece: &str) -> String {
    let mut pattern = String::from("%");
    for next in piece.chars() {
        if ['%', '_', '\\'].contains(&next) {
            pattern.push('\\');
        }
        pattern.push(next);
    }
    pattern + "%"
}

fn connect(paths: &[PathBuf; 2]) -> rusqlite::Result<Connection> {
    let connection = Connection::open(&paths[0])?;
    connection.execute("ATTACH ?1 AS grams", [paths[1].display().to_string()])?;
    Ok(connection)
}

fn build(paths: &[PathBuf; 2], corpus: &Corpus, messages: usize) -> rusqlite::Result<()> {
    let mut connection = connect(paths)?;
    connection.execute_batch(SCHEMA)?;
    let transaction = connection.transaction()?;
    {
        let mut message = transaction.prepare("INSERT INTO message VALUES (?1, ?2, ?3, ?4)")?;
        let mut word = transaction.prepare("INSERT INTO word(rowid, body, names) VALUES (?1, ?2, ?3)")?;
        let mut gram = transaction.prepare("INSERT INTO grams.gram(rowid, body) VALUES (?1, ?2)")?;
        for number in 0..messages {
            let one = corpus.message(number);
            let seq = number as i64 + 1;
            message.execute(params![seq, one.originator, one.recipient, one.body])?;
            word.execute(params![seq, one.body, names(&one)])?;
            gram.execute(params![seq, one.body])?;
        }
    }
    transaction.execute_batch(
        "INSERT INTO word(word) VALUES ('optimize'); INSERT INTO grams.gram(gram) VALUES ('optimize');",
    )?;
    transaction.commit()
}
