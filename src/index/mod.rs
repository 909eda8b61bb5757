//! The index: everything is a term or a key of one sorted structure, the run.
//!
//! - `run` is a file of `piece`s: blocks with an index, `block_index`, and `meta`, what it says of itself. `block`
//!   packs sorted entries; `run_writer` writes a run; `position` walks through its entries, with what `read_ahead`
//!   brings; `filter` tells of most keys that a run does not hold them; `cache` keeps blocks that were read lately.
//! - `postings` lists the seqs of a term in a run; a `chunk` of them is an entry, `packed` is how, and
//!   `postings_writer` writes them.
//! - `grams` tells which words of a run hold a piece; a `scratch` file holds them while they are gathered.
//! - `pairs` tells which messages may have two words next to each other.
//! - `places` tells where records lie in a part of the log that was compacted.
//! - `terms` says which terms a message has; `tail` holds those of the newest events, in memory.
//! - `files` is the folder of run files; `levels` says when some become one.
//! - `rebuild` makes the run of a part of the log that was compacted.
//! - `merge` makes one run of several; `source` is a run or a tail to look in; `changed` says which
//!   messages run files changed; `query` is what a search asks for, `lookup` finds it, and `cursor`, `and`, `union` and
//!   `candidates` walk it; `count` counts without walking; `bitmap` is what both use where lists are
//!   long.

pub mod and;
pub mod bitmap;
pub mod block;
mod block_index;
pub mod cache;
pub mod candidates;
mod changed;
pub mod chunk;
pub mod count;
pub mod cursor;
pub mod files;
pub mod filter;
pub mod grams;
pub mod levels;
mod lookup;
pub mod merge;
pub mod meta;
pub mod packed;
pub mod pairs;
pub mod piece;
pub mod places;
pub mod position;
pub mod postings;
pub mod postings_writer;
pub mod query;
mod read_ahead;
pub mod rebuild;
pub mod run;
pub mod run_writer;
mod scratch;
pub mod source;
pub mod tail;
pub mod terms;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod union;
