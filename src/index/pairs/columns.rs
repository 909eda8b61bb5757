//! Makes columns of the pairs of messages.

use super::{Side, bits};

/// A column takes no more pairs when so many of its bits are set.
pub const FULL_BITS: u32 = 26;

/// The columns of messages, in memory.
#[derive(Debug, Default)]
pub struct Columns {
    /// The message's number and the bits.
    list: Vec<(u32, u64)>,
    /// The pair before, the end of the word before, and the column that is being made.
    pair: u64,
    end: Option<Side>,
    column: u64,
}

impl Columns {
    /// Adds a word of message `number`: the words of one come in order, and the messages do.
    pub fn add_word(&mut self, number: u32, word: &str) {
        let start = Side::start_of(word, true);
        let pair = self.end.zip(start).map_or(0, |(left, right)| bits(left, right));
        self.end = Side::end_of(word, true);
        if pair == 0 {
            return;
        }
        if self.column != 0 && (self.column | pair).count_ones() > FULL_BITS {
            self.list.push((number, self.column));
            self.column = self.pair;
        }
        self.column |= pair;
        self.pair = pair;
    }

    /// Ends message `number`.
    pub fn end_message(&mut self, number: u32) {
        if self.column != 0 {
            self.list.push((number, self.column));
        }
        (self.pair, self.end, self.column) = (0, None, 0);
    }

    /// The columns, each with the number of its message, ascending.
    #[must_use]
    pub fn list(&self) -> &[(u32, u64)] {
        &self.list
    }
}
