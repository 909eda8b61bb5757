//! What an engine answers to a search.

/// The numbers of the messages found, newest first, with all their bytes; or a count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The messages, by their numbers in the corpus.
    pub found: Vec<usize>,
    /// How many match, where that was asked for.
    pub total: Option<u64>,
    /// Bytes of the messages that were handed out: so that no engine can leave out reading them.
    pub bytes: usize,
}

impl Answer {
    /// Whether two answers say the same.
    pub fn agrees(&self, other: &Answer) -> bool {
        // A count comes with or without messages.
        self.total == other.total && (self.total.is_some() || self.found == other.found)
    }
}
