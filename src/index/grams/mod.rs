//! Grams: which groups of a run's words hold three bytes that follow each other.
//!
//! A *group* is what lies between two restarts of a block: sixteen entries, whose keys are words that lie
//! close to each other in the dictionary. Each gram of the words, of posts and of edits, is a term whose
//! postings are numbers of groups. A word's terminator counts as its last byte, so that ends of words are
//! found, too. So a piece of a word leads to the few groups whose words may hold it, and the dictionary need
//! not be read.
//!
//! A term that may stand for longer words is in one more list, with all others like it.
//!
//! While a run is made they are gathered here, `batch` by batch.

mod batch;

use std::io;

use super::and::And;
use super::block::common_prefix;
use super::cursor::{Boxed, Or, Postings};
use super::postings_writer::PostingsWriter;
use super::run::Run;
use super::run_writer::RunWriter;
use super::scratch::Scratch;
use super::terms::{Kind, may_be_cut, term};
use crate::codec::write_escaped;
use crate::domain::command::Order;
use crate::error::Result;
use batch::{Batch, merge};

/// Bytes of a gram.
pub const GRAM_BYTES: usize = 3;
/// Stands for all words that may be cut. No text has these bytes.
const CUT: [u8; GRAM_BYTES] = [u8::MAX; GRAM_BYTES];

/// Gathers the grams of a run while its words are written. They are sorted batch by batch, and the batches
/// merged at the end: to keep a list for each gram would mean to wait for memory at nearly every one. Of a large
/// vocabulary most batches lie in a scratch file meanwhile.
#[derive(Default)]
pub struct Grams {
    /// Grams and groups as they came: the bytes of the gram as a number, so that the order is the same, before
    /// the number of the group.
    open: Vec<u64>,
    /// The first group in `open`.
    first: u64,
    /// Room to sort in.
    spare: Vec<u64>,
    batches: Vec<Batch>,
    scratch: Option<Scratch>,
    /// The word before, and its group.
    before: Vec<u8>,
    group: Option<u64>,
}

/// Bits of a group's number, behind the 24 of its gram.
const GROUP_BITS: u32 = 40;

/// Half of the bits of a gram.
const DIGIT_BITS: u32 = 12;
const DIGITS: usize = 1 << DIGIT_BITS;

/// Grams in a batch, at most: half of them are soon found to be there already.
const BATCH_GRAMS: usize = 1 << 15;
/// So many batches become a long one, which takes half the room and goes to the scratch file.
const MERGED_BATCHES: usize = 8;

/// Lists between two pauses.
const PAUSE_LISTS: usize = 256;

fn number_of([first, second, third]: [u8; GRAM_BYTES]) -> u64 {
    u64::from(u32::from_be_bytes([0, first, second, third]))
}

impl Grams {
    /// Keeps them in a scratch file when they become many.
    pub fn keep_in(&mut self, scratch: Scratch) {
        self.scratch = Some(scratch);
    }

    /// Adds a word, which ends in its terminator, of a group. Groups come ascending.
    ///
    /// # Errors
    /// What the system says of the scratch file.
    pub fn add(&mut self, word: &[u8], group: u64) -> io::Result<()> {
        let cut = may_be_cut(word.get(..word.len().saturating_sub(1)).unwrap_or_default());
        // Words come in order, so most share their beginning with the word before, and its grams.
        let known = if self.group == Some(group) { common_prefix(&self.before, word) } else { 0 };
        let new = word.get(known.saturating_sub(GRAM_BYTES - 1)..).unwrap_or_default();
        self.before.clear();
        self.before.extend_from_slice(word);
        self.group = Some(group);
        if self.open.is_empty() {
            self.first = group;
        }
        let grams = new.array_windows_of().chain(cut.then_some(CUT));
        self.open.extend(grams.map(|gram| number_of(gram) << GROUP_BITS | group));
        if self.open.len() >= BATCH_GRAMS { self.close_batch() } else { Ok(()) }
    }

    fn close_batch(&mut self) -> io::Result<()> {
        self.sort();
        self.open.dedup();
        let open = &self.open;
        self.batches.push(Batch::of(false, self.first, |each| {
            open.iter().try_for_each(|one| each(one >> GROUP_BITS, one & ((1 << GROUP_BITS) - 1)))
        })?);
        self.open.clear();
        self.merge_batches()
    }

    fn merge_batches(&mut self) -> io::Result<()> {
        let Some(start) = self.batches.len().checked_sub(MERGED_BATCHES) else { return Ok(()) };
        if self.batches[start..].iter().any(|batch| batch.long) {
            return Ok(());
        }
        let merged = self.batches.split_off(start);
        let mut long = Batch::of(true, merged[0].first, |each| merge(&merged, None, each))?;
        if let Some(scratch) = &mut self.scratch {
            long.move_to(scratch)?;
        }
        self.batches.push(long);
        Ok(())
    }

    /// Sorts by gram, half of its bits after the other; the groups of each are in order already (Hollerith's
    /// radix sort).
    fn sort(&mut self) {
        let Grams { open, spare, .. } = self;
        spare.resize(open.len(), 0);
        for shift in [GROUP_BITS, GROUP_BITS + DIGIT_BITS] {
            let digit = |one: u64| usize::try_from(one >> shift).unwrap_or(0) % DIGITS;
            let mut places = [0_u32; DIGITS];
            open.iter().for_each(|one| places[digit(*one)] += 1);
            let mut before = 0;
            for place in &mut places {
                before += std::mem::replace(place, before);
            }
            for one in &*open {
                let place = &mut places[digit(*one)];
                spare[*place as usize] = *one;
                *place += 1;
            }
            std::mem::swap(open, spare);
        }
    }

    /// Writes the lists. Answers whether there are any. `pause` is called now and then, for other work.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(mut self, writer: &mut RunWriter, pause: &mut dyn FnMut()) -> io::Result<bool> {
        self.close_batch()?;
        let (mut out, mut lists) = (PostingsWriter::default(), 0);
        let (mut of, mut list) = (None, Vec::new());
        merge(&self.batches, self.scratch.as_ref(), &mut |gram, group| {
            if of != Some(gram) {
                if of.replace(gram).is_some() {
                    out.finish(writer, &list)?;
                }
                list = term(Kind::Gram, false, &gram.to_be_bytes()[8 - GRAM_BYTES..]);
                if lists % PAUSE_LISTS == 0 {
                    pause();
                }
                lists += 1;
            }
            out.push(writer, &list, group)
        })?;
        if of.is_some() {
            out.finish(writer, &list)?;
        }
        Ok(of.is_some())
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
    And::of(all, Order::Oldest).map(Some)
}

/// Adds the groups with words that may be cut to others.
///
/// # Errors
/// `corrupt`.
pub fn with_cut<'r>(run: &'r Run, groups: Option<Boxed<'r>>) -> Result<Option<Boxed<'r>>> {
    let cut = open(run, CUT)?.map(|cut| Box::new(cut) as Boxed<'r>);
    Ok(match (groups, cut) {
        (Some(groups), Some(cut)) => Some(Box::new(Or::of(vec![groups, cut]))),
        (groups, cut) => groups.or(cut),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::cursor::Cursor;
    use crate::index::position::Position;
    use crate::index::terms::{word_prefix, word_term};
    use crate::index::testing::file_run;
    use crate::index::union::{Apart, Union};
    use crate::storage::failing::Failing;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn grams_of_very_many_words_are_found_though_memory_had_no_room_for_them() {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let storage = Failing::in_memory(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        let of = |scratch: bool| {
            let mut random = 7_u64;
            let mut words = BTreeSet::new();
            while words.len() < 60_000 {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                words.insert(format!("{:012}", random >> 25));
            }
            file_run(60_000, 60_000, |writer| {
                if scratch {
                    writer.keep_grams_in(Scratch::at(Arc::clone(&storage) as _, "/grams.tmp".into()));
                }
                let mut out = PostingsWriter::default();
                for (seq, word) in (1..).zip(&words) {
                    out.write(writer, &word_term(false, word), [seq].into_iter()).expect("memory");
                }
            })
        };
        let (with, without) = (of(true), of(false));
        assert!(calls.load(Ordering::Relaxed) > 4, "it is opened, removed, written and read");
        let all = |run: &Run| {
            let mut place = Position::new(run);
            let (mut open, mut entries) = (place.seek(b"").expect("whole"), Vec::new());
            while open {
                entries.push((place.key().to_vec(), place.payload().to_vec()));
                open = place.advance().expect("whole");
            }
            entries
        };
        assert_eq!(all(&with), all(&without));
    }

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
            edit: bool,
        ) {
            let words: BTreeMap<String, BTreeSet<u64>> = words;
            let run = file_run(2000, 2 * words.len() as u64, |writer| {
                let mut out = PostingsWriter::default();
                for of_edits in [false, true] {
                    for (word, seqs) in &words {
                        // Messages that are not found by the words of the other form.
                        let seqs = seqs.iter().map(|seq| if of_edits == edit { *seq } else { *seq + 5000 });
                        out.write(writer, &word_term(of_edits, word), seqs).expect("memory");
                    }
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
                Union::of_words(&run, &word_prefix(edit, ""), part, Order::Oldest, Apart::ALL, &wanted)
                    .expect("whole");
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
