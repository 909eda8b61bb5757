//! Grams: which groups of a run's words hold three bytes that follow each other.
//!
//! A *group* is what lies between two restarts of a block: sixteen entries, whose keys are words that lie
//! close to each other in the dictionary. Each gram of the words of posts is a term whose postings are
//! numbers of groups. A word's terminator counts as its last byte, so that ends of words are found, too.
//! So a piece of a word leads to the few groups whose words may hold it, and the dictionary need not be
//! read.
//!
//! A term that may stand for longer words is in one more list, with all others like it.

use hashbrown::HashMap;

use super::block::common_prefix;
use super::cursor::{And, Boxed, Or, Postings};
use super::postings_writer::PostingsWriter;
use super::run::Run;
use super::run_writer::RunWriter;
use super::terms::{Kind, may_be_cut, term};
use crate::codec::{read_varint, write_escaped, write_varint};
use crate::domain::command::Order;
use crate::error::Result;

/// Bytes of a gram.
pub const GRAM_BYTES: usize = 3;
/// Stands for all words that may be cut. No text has these bytes.
const CUT: [u8; GRAM_BYTES] = [u8::MAX; GRAM_BYTES];

/// No piece.
const NONE: u32 = u32::MAX;

/// Gathers the grams of a run while its words are written.
#[derive(Debug, Default)]
pub struct Grams {
    /// By the bytes of the gram as a number, so that the order is the same.
    found: HashMap<u32, Groups>,
    pieces: Vec<Piece>,
    /// A step, while it is added.
    step: Vec<u8>,
    /// The word before, and its group.
    before: Vec<u8>,
    group: Option<u64>,
}

/// Numbers of groups, ascending: what each has more than the one before, as varints in linked pieces. Many
/// lists grow side by side, and one with room of its own for each would leave memory in splinters.
#[derive(Debug)]
struct Groups {
    /// One more than the last group.
    last: u64,
    /// The first and the newest of the pieces that are full.
    first: u32,
    newest: u32,
    /// What follows them, and how much that is: most steps are added here, beside the rest.
    open: [u8; PIECE_BYTES],
    filled: u8,
}

const PIECE_BYTES: usize = 12;

/// Lists between two pauses.
const PAUSE_LISTS: usize = 256;

#[derive(Debug)]
struct Piece {
    steps: [u8; PIECE_BYTES],
    /// The piece behind, if there is one.
    next: u32,
}

fn number_of([first, second, third]: [u8; GRAM_BYTES]) -> u32 {
    u32::from_be_bytes([0, first, second, third])
}

impl Grams {
    /// Adds a word, which ends in its terminator, of a group. Groups come ascending.
    pub fn add(&mut self, word: &[u8], group: u64) {
        let cut = may_be_cut(word.get(..word.len().saturating_sub(1)).unwrap_or_default());
        // Words come in order, so most share their beginning with the word before, and its grams.
        let known = if self.group == Some(group) { common_prefix(&self.before, word) } else { 0 };
        let new = word.get(known.saturating_sub(GRAM_BYTES - 1)..).unwrap_or_default();
        self.before.clear();
        self.before.extend_from_slice(word);
        self.group = Some(group);
        for gram in new.array_windows_of().chain(cut.then_some(CUT)) {
            self.give(gram, group);
        }
    }

    fn give(&mut self, gram: [u8; GRAM_BYTES], group: u64) {
        let Grams { found, pieces, step, .. } = self;
        let empty = || Groups { last: 0, first: NONE, newest: NONE, open: [0; PIECE_BYTES], filled: 0 };
        let groups = found.entry(number_of(gram)).or_insert_with(empty);
        if groups.last == group + 1 {
            return;
        }
        step.clear();
        write_varint(step, group + 1 - groups.last);
        groups.last = group + 1;
        for byte in step {
            if usize::from(groups.filled) == PIECE_BYTES {
                groups.close_piece(pieces);
            }
            groups.open[usize::from(groups.filled)] = *byte;
            groups.filled += 1;
        }
    }

    /// Writes the lists. Answers whether there are any. `pause` is called now and then, for other work.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(self, writer: &mut RunWriter, pause: &mut dyn FnMut()) -> std::io::Result<bool> {
        let mut all: Vec<u32> = self.found.keys().copied().collect();
        all.sort_unstable();
        let (mut out, mut steps) = (PostingsWriter::default(), Vec::new());
        for (number, (gram, groups)) in
            all.iter().filter_map(|gram| self.found.get_key_value(gram)).enumerate()
        {
            if number % PAUSE_LISTS == 0 {
                pause();
            }
            steps.clear();
            let mut next = groups.first;
            while let Some(piece) = self.pieces.get(next as usize) {
                steps.extend_from_slice(&piece.steps);
                next = piece.next;
            }
            steps.extend_from_slice(&groups.open[..usize::from(groups.filled)]);
            let (mut steps, mut behind) = (steps.as_slice(), 0);
            let numbers = std::iter::from_fn(|| {
                behind += read_varint(&mut steps)?;
                Some(behind - 1)
            });
            out.write(writer, &term(Kind::Gram, false, &gram.to_be_bytes()[1..]), numbers)?;
        }
        Ok(!all.is_empty())
    }
}

impl Groups {
    /// Puts the piece that is full behind the others.
    fn close_piece(&mut self, pieces: &mut Vec<Piece>) {
        let place = u32::try_from(pieces.len()).unwrap_or(NONE);
        pieces.push(Piece { steps: self.open, next: NONE });
        match pieces.get_mut(self.newest as usize) {
            Some(newest) => newest.next = place,
            None => self.first = place,
        }
        (self.newest, self.filled) = (place, 0);
    }
}

trait Windows {
    fn array_windows_of(&self) -> impl Iterator<Item = [u8; GRAM_BYTES]>;
}

impl Windows for [u8] {
    fn array_windows_of(&self) -> impl Iterator<Item = [u8; GRAM_BYTES]> {
        self.windows(GRAM_BYTES).filter_map(|window| window.first_chunk().copied())
    }
}

/// What the grams share that begin so.
#[must_use]
pub fn gram_prefix(part: &[u8]) -> Vec<u8> {
    let mut out = vec![Kind::Gram.tag(false)];
    write_escaped(&mut out, part);
    out
}

fn open(run: &Run, gram: [u8; GRAM_BYTES]) -> Result<Option<Postings<'_>>> {
    Postings::open(run, &term(Kind::Gram, false, &gram), Order::Oldest)
}

/// The groups of a run whose words may hold `part`, ascending. `part` has at least [`GRAM_BYTES`].
///
/// # Errors
/// `corrupt`.
pub fn groups<'r>(run: &'r Run, part: &[u8]) -> Result<Option<Boxed<'r>>> {
    let mut all: Vec<Boxed<'r>> = Vec::new();
    for gram in part.array_windows_of() {
        let Some(found) = open(run, gram)? else { return Ok(None) };
        all.push(Box::new(found));
    }
    And::of(all).map(Some)
}

/// Adds the groups with words that may be cut to others.
///
/// # Errors
/// `corrupt`.
pub fn with_cut<'r>(run: &'r Run, groups: Option<Boxed<'r>>) -> Result<Option<Boxed<'r>>> {
    let cut = open(run, CUT)?.map(|cut| Box::new(cut) as Boxed<'r>);
    Ok(match (groups, cut) {
        (Some(groups), Some(cut)) => Some(Box::new(Or(vec![groups, cut]))),
        (groups, cut) => groups.or(cut),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::cursor::Cursor;
    use crate::index::terms::{word_prefix, word_term};
    use crate::index::testing::file_run;
    use crate::index::union::Union;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn a_gram_in_very_many_groups_leads_to_all_of_them() {
        // Where a gram is in few of the groups the steps between them take two bytes.
        let words: Vec<String> = (0..40_000).map(|number| format!("w{number:05}abc")).collect();
        let run = file_run(40_000, 40_000, |writer| {
            let mut out = PostingsWriter::default();
            for (seq, word) in (1..).zip(&words) {
                out.write(writer, &word_term(false, word), [seq].into_iter()).expect("memory");
            }
        });
        for piece in ["abc", "00a", "777", "w39"] {
            let mut groups = groups(&run, piece.as_bytes()).expect("whole").expect("some");
            let mut found = BTreeSet::new();
            while let Some(group) = groups.current() {
                found.insert(group);
                groups.seek(group + 1).expect("whole");
            }
            let holders = (0_u64..).zip(&words).filter(|(_, word)| word.contains(piece));
            assert_eq!(found, holders.map(|(place, _)| place / 16).collect(), "{piece}");
        }
    }

    proptest! {
        #[test]
        fn words_are_found_by_their_pieces(
            words in prop::collection::btree_map(
                prop_oneof!["[ab]{1,7}", "[\u{e9}\u{6771}a]{1,4}", "[ab]{120,126}"],
                prop::collection::btree_set(1_u64..2000, 1..600),
                1..90,
            ),
            piece in prop_oneof!["[ab]{1,6}", "[\u{e9}\u{6771}a]{1,3}"],
            ends: bool,
        ) {
            let words: BTreeMap<String, BTreeSet<u64>> = words;
            let run = file_run(2000, words.len() as u64, |writer| {
                let mut out = PostingsWriter::default();
                for (word, seqs) in &words {
                    out.write(writer, &word_term(false, word), seqs.iter().copied()).expect("memory");
                }
            });
            let wanted = |word: &[u8]| {
                let found = if ends {
                    word.ends_with(piece.as_bytes())
                } else {
                    memchr::memmem::find(word, piece.as_bytes()).is_some()
                };
                found || may_be_cut(word)
            };
            let terminated = format!("{piece}\0");
            let part = if ends { terminated.as_bytes() } else { piece.as_bytes() };
            let mut union =
                Union::of_words(&run, &word_prefix(false, ""), part, Order::Oldest, &wanted).expect("whole");
            let mut found = BTreeSet::new();
            while let Some(seq) = union.current() {
                found.insert(seq);
                union.seek(seq + 1).expect("whole");
            }
            let right: BTreeSet<u64> = words
                .iter()
                .filter(|(word, _)| wanted(word.as_bytes()))
                .flat_map(|(_, seqs)| seqs.iter().copied())
                .collect();
            prop_assert_eq!(found, right);
        }
    }
}
