//! Makes one run of several that follow each other.
//!
//! Of a table's key the newest value stays. Postings of posts are put one behind the other, less
//! those of messages that a later event changed; postings of edits are merged by seq. What the runs
//! say about older messages that changed is kept for the older runs.

use std::cmp::Ordering;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::block::beginning;
use super::chunk::{chunk_of, decode, malformed};
use super::position::Position;
use super::postings::{self, split_key};
use super::postings_writer::PostingsWriter;
use super::run::{Meta, Run, value_in};
use super::run_writer::{RunWriter, cannot_write};
use super::terms::{Kind, is_of_edits, is_of_grams, is_of_posts, term};
use crate::domain::table::FIRST_POSTINGS_TAG;
use crate::error::{Code, Error, Result};

/// Messages whose postings a merge drops.
struct Dead {
    /// Per run: of posts.
    posts: Vec<RoaringTreemap>,
    /// Per run: of edits.
    edits: Vec<RoaringTreemap>,
    /// All that the runs edited, and all that they deleted.
    edited: RoaringTreemap,
    deleted: RoaringTreemap,
}

impl Dead {
    fn find(runs: &[Arc<Run>]) -> Result<Self> {
        let (mut posts, mut edits) = (Vec::new(), Vec::new());
        let (mut edited, mut deleted) = (RoaringTreemap::new(), RoaringTreemap::new());
        for run in runs.iter().rev() {
            let Meta { first, last, edits: has_edits, .. } = *run.meta();
            let set =
                |kind| postings::set(run, &term(kind, false, b"")).map_err(|error| damage_of(run, error));
            deleted |= set(Kind::Deleted)?;
            // Its own edits are the newest there.
            edits.push(if has_edits { &edited | &deleted } else { RoaringTreemap::new() });
            edited |= set(Kind::Edited)?;
            let mut own = &edited | &deleted;
            own.remove_range(..first);
            own.remove_range(last + 1..);
            posts.push(own);
        }
        posts.reverse();
        edits.reverse();
        Ok(Dead { posts, edits, edited, deleted })
    }

    /// Those that a list of a run may have.
    fn of(&self, run: usize, tag: u8) -> Option<&RoaringTreemap> {
        let dead = match tag {
            _ if is_of_posts(tag) => self.posts.get(run),
            _ if is_of_edits(tag) => self.edits.get(run),
            _ => None,
        };
        dead.filter(|dead| !dead.is_empty())
    }
}

/// What makes no sense in a run, whatever its checksums say, is damage of its file: the others are merged without it.
fn damage_of(run: &Run, error: Error) -> Error {
    if error.code() == Code::Internal { Error::corrupt(run.path(), 0, error.message()) } else { error }
}

/// The seqs and times of runs that follow each other, with the counts of the newest.
pub(super) fn meta_of(runs: &[Arc<Run>]) -> Option<Meta> {
    let (first, last) = (runs.first()?.meta(), runs.last()?.meta());
    let metas = runs.iter().map(|run| run.meta());
    let compacted = metas.filter(|meta| meta.dense_from > meta.first).map(|meta| meta.dense_from);
    Some(Meta {
        first: first.first,
        last: last.last,
        // Only the oldest part of the log may have been compacted.
        dense_from: compacted.max().unwrap_or(first.first),
        generation: runs.iter().map(|run| run.meta().generation).max().unwrap_or(0),
        first_at: first.first_at,
        last_at: last.last_at,
        changed: None,
        edits: runs.iter().any(|run| run.meta().edits),
        grams: false,
        checkpoint: false,
        counts: last.counts,
        keys: 0,
        removed: 0,
    })
}

/// Keys and terms between two pauses.
const PAUSE_KEYS: u32 = 256;

/// Writes the entries of all runs, oldest first in `runs`. `bottom`: there is no older run, so that
/// keys that were removed can be left out. `pause` is called now and then, for other work.
///
/// # Errors
/// `corrupt` when a run is damaged, `read_only` when the result cannot be written.
pub fn merge_into(
    runs: &[Arc<Run>],
    bottom: bool,
    writer: &mut RunWriter,
    pause: &mut dyn FnMut(),
) -> Result<Meta> {
    let meta = meta_of(runs).ok_or_else(|| Error::new(Code::Internal, "there is nothing to merge"))?;
    let dead = Dead::find(runs)?;
    for run in runs {
        for window in run.windows() {
            let (rows, seqs) = run.columns(*window)?;
            writer.take_over_columns(&rows, &seqs).map_err(|error| cannot_write(&error))?;
            pause();
        }
    }
    writer.finish_columns().map_err(|error| cannot_write(&error))?;
    let mut inputs = Vec::with_capacity(runs.len());
    for (number, run) in runs.iter().enumerate() {
        let mut place = Position::new(run);
        let open = place.seek(b"")?;
        let mut input = Input { run, number, place, open, beginning: 0, term: 0 };
        input.look();
        inputs.push(input);
    }
    let mut lists =
        Lists { dead, meta, writer, out: PostingsWriter::default(), seqs: Vec::new(), decoded: Vec::new() };
    let (mut key, mut holders) = (Vec::new(), Vec::new());
    let mut left = PAUSE_KEYS;
    while next(&inputs, &mut holders, &mut key) {
        if is_of_grams(&key) {
            // They come last, and are made anew from the words.
            break;
        }
        left -= 1;
        if left == 0 {
            left = PAUSE_KEYS;
            pause();
        }
        if key.first().is_some_and(|tag| *tag < FIRST_POSTINGS_TAG) {
            merge_value(&mut inputs, &holders, &key, bottom, lists.writer)?;
        } else {
            lists.merge(&mut inputs, &holders, &key)?;
        }
    }
    Ok(lists.meta)
}

/// How many keys and terms runs hold, those that several hold counted several times.
#[must_use]
pub fn keys(runs: &[Arc<Run>]) -> u64 {
    runs.iter().map(|run| run.meta().keys).sum()
}

/// One of the runs, at an entry.
struct Input<'r> {
    run: &'r Run,
    number: usize,
    place: Position<'r>,
    open: bool,
    /// The beginning of the entry's key, by which most comparisons are decided.
    beginning: u64,
    /// How much of the key is the term; all of it where it is a key of the table.
    term: usize,
}

impl Input<'_> {
    /// The key of the table or the term that it is at.
    fn key(&self) -> &[u8] {
        self.place.key().get(..self.term).unwrap_or_default()
    }

    fn look(&mut self) {
        let key = self.place.key();
        self.term = split_key(key).map_or(key.len(), |(term, _)| term.len());
        self.beginning = beginning(self.key());
    }

    fn advance(&mut self) -> Result<()> {
        self.open = self.place.advance()?;
        self.look();
        Ok(())
    }

    fn order(&self, other: &Self) -> Ordering {
        self.beginning.cmp(&other.beginning).then_with(|| self.key().cmp(other.key()))
    }
}

/// Finds the smallest key or term, and which inputs are at it, oldest first. `false` at the end.
fn next(inputs: &[Input<'_>], holders: &mut Vec<usize>, key: &mut Vec<u8>) -> bool {
    holders.clear();
    for (number, input) in inputs.iter().enumerate().filter(|(_, input)| input.open) {
        match holders.first().map_or(Ordering::Less, |first| input.order(&inputs[*first])) {
            Ordering::Less => {
                holders.clear();
                holders.push(number);
            }
            Ordering::Equal => holders.push(number),
            Ordering::Greater => {}
        }
    }
    key.clear();
    holders.first().is_some_and(|first| {
        key.extend_from_slice(inputs[*first].key());
        true
    })
}

/// Writes the newest value of a key of the table.
fn merge_value(
    inputs: &mut [Input<'_>],
    holders: &[usize],
    key: &[u8],
    bottom: bool,
    writer: &mut RunWriter,
) -> Result<()> {
    if let Some(newest) = holders.last() {
        let payload = inputs[*newest].place.payload();
        if bottom && value_in(payload).is_none() {
            // There may be very many of these behind each other.
            writer.step();
        } else {
            writer.add(key, payload).map_err(|error| cannot_write(&error))?;
        }
    }
    holders.iter().try_for_each(|holder| inputs[*holder].advance())
}

struct Lists<'w> {
    dead: Dead,
    /// What the merged run covers.
    meta: Meta,
    writer: &'w mut RunWriter,
    out: PostingsWriter,
    /// What was gathered of the lists of a term of edits.
    seqs: Vec<u64>,
    decoded: Vec<u64>,
}

impl Lists<'_> {
    /// Takes over the list of a term from one run, as it is.
    fn copy(&mut self, input: &mut Input<'_>, term: &[u8]) -> Result<()> {
        while input.open && input.key() == term {
            self.writer
                .add(input.place.key(), input.place.payload())
                .map_err(|error| cannot_write(&error))?;
            input.advance()?;
        }
        self.writer.note_term(term);
        Ok(())
    }

    /// Merges the lists of one term.
    fn merge(&mut self, inputs: &mut [Input<'_>], holders: &[usize], term: &[u8]) -> Result<()> {
        let tag = term.first().copied().unwrap_or_default();
        if tag == Kind::Place.tag(false) {
            // Chunks of places are no postings; those of one run lie before those of the next.
            return holders.iter().try_for_each(|holder| self.copy(&mut inputs[*holder], term));
        }
        if tag == Kind::Edited.tag(false) || tag == Kind::Deleted.tag(false) {
            return self.merge_changes(inputs, holders, term);
        }
        let gather = is_of_edits(tag);
        if let [holder] = holders
            && !gather
            && self.dead.of(inputs[*holder].number, tag).is_none()
        {
            return self.copy(&mut inputs[*holder], term);
        }
        self.seqs.clear();
        for holder in holders {
            let input = &mut inputs[*holder];
            self.take(input, term, gather).map_err(|error| damage_of(input.run, error))?;
        }
        if gather {
            self.seqs.sort_unstable();
            self.seqs.dedup();
            write(&mut self.out, self.writer, term, self.seqs.iter().copied())?;
        }
        self.out.finish(self.writer, term).map_err(|error| cannot_write(&error))
    }

    /// Takes the list of a term from one run: what is to be gathered into `seqs`, all else to the output.
    fn take(&mut self, input: &mut Input<'_>, term: &[u8], gather: bool) -> Result<()> {
        let Lists { dead, writer, out, seqs, decoded, .. } = self;
        let dead = dead.of(input.number, term.first().copied().unwrap_or_default());
        let Meta { first, last, .. } = *input.run.meta();
        // Edits are of messages of older runs, too.
        let mut behind = if gather { 0 } else { first };
        while input.open && input.key() == term {
            // Of a list that is dead as a whole nothing is written, which would be a step.
            writer.step();
            let (chunk, postings) = chunk_of(&input.place.key()[term.len()..], input.place.payload())?;
            if chunk.first < behind || chunk.last > last {
                return Err(malformed());
            }
            behind = chunk.last.saturating_add(1);
            if !gather && dead.is_none_or(|dead| !any_between(dead, chunk.first, chunk.last)) {
                out.take_over(writer, term, chunk, postings)?;
            } else {
                decoded.clear();
                decode(chunk, postings, decoded)?;
                let live = decoded.iter().copied().filter(|seq| dead.is_none_or(|dead| !dead.contains(*seq)));
                if gather {
                    seqs.extend(live);
                } else {
                    write(out, writer, term, live)?;
                }
            }
            input.advance()?;
        }
        Ok(())
    }

    /// Writes what the runs say of older messages: postings of their own ones are dropped already.
    fn merge_changes(&mut self, inputs: &mut [Input<'_>], holders: &[usize], term: &[u8]) -> Result<()> {
        for holder in holders {
            let input = &mut inputs[*holder];
            while input.open && input.key() == term {
                input.advance()?;
            }
        }
        let Dead { edited, deleted, .. } = &mut self.dead;
        let of_edits = term.first() == Some(&Kind::Edited.tag(false));
        let mut changed = std::mem::take(if of_edits { edited } else { deleted });
        changed.remove_range(self.meta.first..);
        self.meta.note_changed(&changed);
        self.out.write(self.writer, term, changed.iter()).map_err(|error| cannot_write(&error))
    }
}

/// Whether any of `seqs` lies from `low` to `high`.
fn any_between(seqs: &RoaringTreemap, low: u64, high: u64) -> bool {
    let mut from = seqs.iter();
    from.advance_to(low);
    from.next().is_some_and(|seq| seq <= high)
}

fn write(
    out: &mut PostingsWriter,
    writer: &mut RunWriter,
    term: &[u8],
    mut seqs: impl Iterator<Item = u64>,
) -> Result<()> {
    seqs.try_for_each(|seq| out.push(writer, term, seq)).map_err(|error| cannot_write(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::files::RunFiles;
    use crate::index::postings::List;
    use crate::index::terms::word_term;
    use crate::index::testing::file_run_of;
    use crate::storage::memory::Memory;

    #[test]
    fn chunks_that_overlap_are_damage_of_their_file_to_a_merge_and_refused_by_a_walk_whatever_their_checksums_say()
     {
        let meta = |first, last| Meta { first, last, dense_from: last + 1, ..Meta::default() };
        let run_of = |meta: Meta, lists: &[&[u64]]| {
            Arc::new(file_run_of(meta, 1, |writer| {
                for seqs in lists {
                    // Each list is a chunk: a sound writer makes one of all.
                    let mut out = PostingsWriter::default();
                    out.write(writer, &word_term(false, "a"), seqs.iter().copied()).expect("memory");
                }
            }))
        };
        let files = RunFiles::new(Arc::new(Memory::default()), "/index".into());
        let newer = run_of(meta(101, 200), &[&[150, 160]]);
        for (second, is_sound) in [([51, 90], true), ([50, 90], false), ([20, 90], false)] {
            let older = run_of(meta(1, 100), &[&[10, 30, 50], &second]);
            let mut list = List::open(&older, &word_term(false, "a")).expect("whole").expect("it is there");
            let walked = list.advance().map_err(|error| error.code());
            assert_eq!(walked, is_sound.then_some(true).ok_or(Code::Internal));
            let merged = files.merge(&[Arc::clone(&older), Arc::clone(&newer)], true, &mut || Ok(()));
            match merged {
                Err(error) if !is_sound => {
                    assert_eq!((error.code(), error.file()), (Code::Corrupt, Some(older.path())));
                }
                merged => assert!(is_sound && merged.is_ok()),
            }
        }
    }
}
