//! Small binary encodings: varints for values, and numbers and strings that keep their order as
//! bytes for keys.

/// Appends a varint: seven bits a byte, lowest first, the high bit set on all but the last (LEB128).
pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Reads a varint from the front of `bytes` and moves past it. `None` when there is none.
pub fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10_u32 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(place * 7)?;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends a number so that the bytes sort as the numbers do: a count of bytes, then the bytes
/// without leading zeros, highest first. One byte for 0, four for a number under 2^24.
pub fn write_ordered(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let skip = (value.leading_zeros() / 8) as usize;
    out.push(u8::try_from(8 - skip).unwrap_or(8));
    out.extend_from_slice(&bytes[skip..]);
}

/// Reads what [`write_ordered`] wrote and moves past it.
pub fn read_ordered(bytes: &mut &[u8]) -> Option<u64> {
    let (&count, rest) = bytes.split_first()?;
    if count > 8 || rest.len() < usize::from(count) {
        return None;
    }
    let (number, rest) = rest.split_at(usize::from(count));
    *bytes = rest;
    Some(number.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Appends a string so that one that is a prefix of another sorts before it and nothing that
/// follows can be taken for its end: bytes 0 and 1 are escaped, and a 0 ends it.
pub fn write_terminated(out: &mut Vec<u8>, text: &[u8]) {
    write_escaped(out, text);
    out.push(0);
}

/// As [`write_terminated`], without the end: the prefix that all strings beginning so share.
pub fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    // Looks at every byte, many at once: hardly any text has one that is escaped.
    if text.iter().min().is_none_or(|least| *least > 1) {
        out.extend_from_slice(text);
        return;
    }
    for &byte in text {
        if byte <= 1 {
            out.extend_from_slice(&[1, byte + 1]);
        } else {
            out.push(byte);
        }
    }
}

/// The first key behind all keys that begin with `prefix`. `None` when there is none.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut after = prefix[..=kept].to_vec();
    if let Some(last) = after.last_mut() {
        *last += 1;
    }
    Some(after)
}

/// Bytes as lower-case hex digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_read_back(value: u64) {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_varint(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn ordered_numbers_read_back_and_sort_as_numbers(a: u64, b: u64) {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            write_ordered(&mut first, a);
            write_ordered(&mut second, b);
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            prop_assert_eq!(read_ordered(&mut first.as_slice()), Some(a));
        }

        #[test]
        fn terminated_strings_sort_as_strings(a: Vec<u8>, b: Vec<u8>) {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            write_terminated(&mut first, &a);
            write_terminated(&mut second, &b);
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
        }

        #[test]
        fn nothing_that_begins_with_a_prefix_is_at_or_behind_its_end(prefix: Vec<u8>, more: Vec<u8>) {
            let longer = [prefix.clone(), more].concat();
            if let Some(after) = after_prefix(&prefix) {
                prop_assert!(longer < after);
            }
        }
    }

    #[test]
    fn a_cut_number_is_none() {
        assert_eq!(read_varint(&mut [0x80].as_slice()), None);
        assert_eq!(read_varint(&mut [0xff; 11].as_slice()), None);
        assert_eq!(read_ordered(&mut [3, 1, 2].as_slice()), None);
        assert_eq!(read_ordered(&mut [9].as_slice()), None);
    }
}
