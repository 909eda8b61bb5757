//! Random bytes from the kernel's cryptographic source, fetched many at a time.

/// A store of random bytes.
#[derive(Default)]
pub struct Randomness {
    bytes: Vec<u8>,
}

const FETCH_BYTES: usize = 1024;

impl Randomness {
    /// Fills `out`.
    ///
    /// # Panics
    /// When the kernel has no randomness: no token could be trusted then.
    pub fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.bytes.is_empty() {
                self.bytes.resize(FETCH_BYTES, 0);
                let filled = getrandom::fill(&mut self.bytes);
                assert!(filled.is_ok(), "the kernel gives no random bytes: {filled:?}");
            }
            // Each byte is given once and not kept.
            *byte = self.bytes.pop().unwrap_or_default();
        }
    }
}
