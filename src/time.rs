//! Points in time: microseconds since 1970 in UTC, written as RFC 3339 text.

use jiff::fmt::temporal::DateTimePrinter;

/// A point in time, in microseconds since 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

static PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(6));

/// The last moment that RFC 3339 can write with a year of four digits.
const LAST_MICROSECOND: u64 = 253_402_300_799_999_999;

impl Timestamp {
    /// So many milliseconds later.
    #[must_use]
    pub fn plus_ms(self, milliseconds: u64) -> Self {
        Timestamp(self.0.saturating_add(milliseconds.saturating_mul(1000)))
    }

    /// Appends the time as `2026-01-31T12:00:00.000000Z`: UTC, six digits, ending in `Z`.
    pub fn write(self, out: &mut Vec<u8>) {
        let microseconds = self.0.min(LAST_MICROSECOND).cast_signed();
        let time = jiff::Timestamp::from_microsecond(microseconds).unwrap_or_default();
        // Writing to a vector cannot fail.
        let _ = PRINTER.print_timestamp(&time, jiff::fmt::StdIoWrite(out));
    }

    /// Reads RFC 3339 with any offset. Digits behind the sixth round up, so that bounds of a range
    /// hold. `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let dated = bytes.len() >= 20 && bytes.get(10).is_some_and(|b| b"Tt ".contains(b));
        let plain =
            !text.contains('[') && bytes.get(..4).is_some_and(|year| year.iter().all(u8::is_ascii_digit));
        if !(dated && plain) {
            return None;
        }
        let time: jiff::Timestamp = text.parse().ok()?;
        // A time before 1970 is before everything in the log.
        let nanoseconds = u128::try_from(time.as_nanosecond()).unwrap_or(0);
        Some(Timestamp(u64::try_from(nanoseconds.div_ceil(1000)).unwrap_or(u64::MAX)))
    }

    /// What the system's clock says now. The writer and the start of the daemon ask; everything
    /// below is told.
    #[must_use]
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = Vec::with_capacity(27);
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_six_digits_and_reads_back() {
        let time = Timestamp(1_700_000_000_000_120);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.000120Z");
        assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        assert_eq!(Timestamp(1_700_000_000_000_000).to_string(), "2023-11-14T22:13:20.000000Z");
    }

    #[test]
    fn any_offset_is_read_and_other_forms_are_not() {
        let utc = Timestamp::parse("2024-02-29T12:00:00Z");
        assert!(utc.is_some());
        assert_eq!(Timestamp::parse("1970-01-01T00:00:00.0000011Z"), Some(Timestamp(2)));
        assert_eq!(Timestamp::parse("2024-02-29T14:30:00+02:30"), utc);
        for wrong in
            ["", "2024-02-29", "2024-02-30T12:00:00Z", "yesterday", "2024-02-29T12:00:00", "12:00:00Z"]
        {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }
}
