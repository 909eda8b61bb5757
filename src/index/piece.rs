//! Pieces of a run file: blocks, rows, starts, offsets. Each has the CRC-32 of its bytes (u32 LE) behind it.

/// What stands behind each piece.
pub const CHECKSUM_BYTES: usize = 4;

/// Where a piece begins in its file, and its length less its checksum.
pub type Piece = (u64, usize);

/// Appends a piece and its checksum.
pub fn write(piece: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(piece);
    close(out, start);
}

/// Appends the checksum of a piece that was written from `start` on.
pub fn close(out: &mut Vec<u8>, start: usize) {
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// A piece that was read with its checksum, without it. `None` when that is wrong.
#[must_use]
pub fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (piece, stored) = bytes.split_last_chunk()?;
    (*stored == crc32fast::hash(piece).to_le_bytes()).then_some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_what_was_written_and_nothing_else() {
        let mut out = b"before".to_vec();
        write(b"piece", &mut out);
        let stored = &out[6..];
        assert_eq!((stored.len(), checked(stored)), (5 + CHECKSUM_BYTES, Some(&b"piece"[..])));
        let mut empty = Vec::new();
        write(b"", &mut empty);
        assert_eq!(checked(&empty), Some(&b""[..]));
        for bit in 0..8 * stored.len() {
            let mut other = stored.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(checked(&other), None, "bit {bit}");
        }
        for short in [&b""[..], b"abc", &stored[..stored.len() - 1]] {
            assert_eq!(checked(short), None);
        }
    }
}
