//! A follower's next piece: what lies behind its cursor and is on disk, up to a bound. A follower
//! that does not read asks for no more pieces, so it costs no memory.

use super::events::Events;
use super::items;
use super::search::{Finder, require_place};
use super::slice::Slice;
use crate::domain::command::{Follow, Order};
use crate::domain::table::Facts;
use crate::error::{Code, Result};
use crate::snapshot::Snapshot;

/// A piece is closed when it has grown past this.
const PIECE_BYTES: usize = 128 << 10;
/// Matches or events looked at for one piece.
const PIECE_ITEMS: usize = 4096;

/// Lines for a follower.
#[derive(Debug, Default)]
pub struct Piece {
    /// One object a line.
    pub lines: Vec<u8>,
    /// The first seq that the next piece looks at.
    pub next: u64,
}

/// Checks that what a follower asks for is there, before it is told that it follows. Anything more is left to the
/// pieces.
///
/// # Errors
/// `not_found` when there is no such application or chat.
pub fn check(snapshot: &Snapshot, follow: &Follow) -> Result<()> {
    match follow {
        Follow::Log { .. } => Ok(()),
        Follow::Messages(filter) => require_place(snapshot, filter),
    }
}

/// The piece that begins at seq `from`.
///
/// # Errors
/// `corrupt`.
pub fn piece(snapshot: &Snapshot, follow: &Follow, from: u64) -> Result<Piece> {
    // An edit or a deletion that is not on disk yet may never have been.
    let snapshot = &snapshot.on_disk();
    match follow {
        Follow::Log { types } => events(snapshot, types.as_deref(), from),
        Follow::Messages(filter) => {
            // An application that was deleted since has no more messages, one that is not on disk yet none so far.
            match Finder::new(snapshot, filter) {
                Ok(finder) => messages(snapshot, finder, from),
                Err(error) if error.code() != Code::NotFound => Err(error),
                Err(_) => Ok(Piece { lines: Vec::new(), next: snapshot.last + 1 }),
            }
        }
    }
}

/// A piece, or why it could not be made whole; but what lies before damage is sent first, and the next piece will
/// find the damage again.
fn as_far_as_whole(piece: Piece, done: Result<()>) -> Result<Piece> {
    match done {
        Err(error) if piece.lines.is_empty() => Err(error),
        _ => Ok(piece),
    }
}

fn events(snapshot: &Snapshot, types: Option<&[String]>, from: u64) -> Result<Piece> {
    let mut piece = Piece { lines: Vec::new(), next: from };
    let done = add_events(snapshot, types, &mut piece);
    as_far_as_whole(piece, done)
}

fn add_events(snapshot: &Snapshot, types: Option<&[String]>, piece: &mut Piece) -> Result<()> {
    let mut events = Events::new(snapshot, types);
    for _ in 0..PIECE_ITEMS {
        let Some(seq) = events.first_from(piece.next)? else {
            piece.next = piece.next.max(snapshot.last + 1);
            break;
        };
        if let Some(record) = snapshot.record(seq)? {
            piece.lines.extend_from_slice(&record);
            piece.lines.push(b'\n');
        }
        piece.next = seq + 1;
        if piece.lines.len() >= PIECE_BYTES {
            break;
        }
    }
    Ok(())
}

fn messages(snapshot: &Snapshot, mut finder: Finder, from: u64) -> Result<Piece> {
    let mut piece = Piece { lines: Vec::new(), next: from };
    let mut seen = 0;
    let mut whole = true;
    let range = (from.saturating_sub(1), snapshot.last + 1);
    let stopped = finder.visit(snapshot, Order::Oldest, range, &mut Slice::begin(), &mut |mut found| {
        let seq = found.seq;
        if let Some(record) = found.record()? {
            items::message(record, &mut piece.lines)?;
            piece.lines.push(b'\n');
        }
        piece.next = seq + 1;
        seen += 1;
        whole = seen < PIECE_ITEMS && piece.lines.len() < PIECE_BYTES;
        Ok(whole)
    });
    match stopped {
        Ok(Some(seq)) => piece.next = seq + 1,
        Ok(None) if whole => piece.next = snapshot.last + 1,
        _ => {}
    }
    as_far_as_whole(piece, stopped.map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::Filter;
    use crate::reader::testing::{post, snapshot_of};
    use crate::time::Timestamp;

    #[test]
    fn a_filter_is_checked_without_a_look_at_the_log() {
        let snapshot = snapshot_of(vec![vec![post("a"), post("b")]]);
        let filter = Filter { since: Some(Timestamp(15)), ..Filter::default() };
        assert!(Finder::new(&snapshot, &filter).is_err(), "there is no log to find the time in");
        let follow = Follow::Messages(Box::new(filter));
        assert!(check(&snapshot, &follow).is_ok());
        let filter = Filter { app: Some("abcdefghijklmnopqrstuvwx".into()), ..Filter::default() };
        let refused = check(&snapshot, &Follow::Messages(Box::new(filter)));
        assert_eq!(refused.map_err(|error| error.code()), Err(Code::NotFound));
    }
}
