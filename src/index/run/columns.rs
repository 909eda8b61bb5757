//! The columns of a run's windows: see `pairs`.

use super::{Block, Run};
use crate::error::{Code, Error, Result};
use crate::index::pairs::rows::{self, Window};
use crate::index::pairs::starts::Starts;

impl Run {
    /// Where the columns of a window begin.
    pub(in crate::index) fn starts(&self, window: Window) -> Result<Starts> {
        starts_of(window, self.piece(window.starts(), true)?)
    }

    /// The rows of a window, each in words, and the seqs of its columns.
    ///
    /// # Errors
    /// `corrupt`.
    pub(in crate::index) fn columns(&self, window: Window) -> Result<(Vec<Vec<u64>>, Vec<u64>)> {
        let row = |bit| Ok(rows::words_of(&self.read_block(window.row(bit))?).collect());
        let rows = (0..64).map(row).collect::<Result<Vec<_>>>()?;
        let starts = starts_of(window, self.read_block(window.starts())?)?;
        let seqs: Vec<u64> = starts.all().map(|start| window.first.saturating_add(start)).collect();
        let last = self.meta.last.min(window.first.saturating_add(window.reach));
        let sane = seqs.is_sorted() && window.first >= self.meta.first && seqs.last() <= Some(&last);
        if sane { Ok((rows, seqs)) } else { Err(unreadable_window()) }
    }
}

fn starts_of(window: Window, block: Block) -> Result<Starts> {
    Starts::new(block, window.columns as usize, window.reach.saturating_add(1)).ok_or_else(unreadable_window)
}

fn unreadable_window() -> Error {
    Error::new(Code::Internal, "a window of pairs cannot be read: please report this")
}
