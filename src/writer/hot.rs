//! Values of the table that the writer read lately. It alone changes the table, so they stay true
//! as long as every batch that is kept is noted here.

use hashbrown::HashMap;

use crate::domain::table::{Changes, tag};

/// Values kept at most; then all are forgotten and gathered anew.
const VALUES_MAX: usize = 8192;

/// Values read lately; `None` for keys that are not there.
#[derive(Debug, Default)]
pub struct HotValues(HashMap<Vec<u8>, Option<Vec<u8>>>);

impl HotValues {
    /// What is known of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.0.get(key).cloned()
    }

    /// Notes what was read. Keys that come once, each another, are not worth it.
    pub fn note(&mut self, key: &[u8], value: Option<&Vec<u8>>) {
        let once = [tag::KEY, tag::ANSWERED, tag::FORMULA, tag::MESSAGE_CHANGE];
        if key.first().is_none_or(|tag| once.contains(tag)) {
            return;
        }
        if self.0.len() >= VALUES_MAX {
            self.0.clear();
        }
        self.0.insert(key.to_vec(), value.cloned());
    }

    /// Notes what a batch that was kept has changed.
    pub fn change(&mut self, changes: &Changes) {
        for (key, value) in &changes.0 {
            if let Some(known) = self.0.get_mut(key) {
                known.clone_from(value);
            }
        }
    }
}
